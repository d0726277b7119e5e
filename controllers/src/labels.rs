//! Labels that an object takes over from the one that it is made for.

use std::sync::Arc;

use portolan_core::{HEADLESS_LABEL, Labels, Service};

use crate::plan::Note;

/// The Service's labels without the reserved ones, with `own` added, and with the mark of a headless
/// Service where it is one.
///
/// Differs from upstream: the mark of a headless Service is put right where it is wrong;
/// kube-controller-manager leaves it while nothing else about the object has to be written.
pub(crate) fn inherited(
    service: &Service,
    reserved: &[&str],
    own: &[(&str, Arc<str>)],
) -> (Labels, Vec<Note>) {
    let theirs = service.meta.labels.iter();
    let (mut labels, notes) = copied(theirs.filter(|(key, _)| key.as_ref() != HEADLESS_LABEL), reserved);
    if headless(service) {
        labels.insert(HEADLESS_LABEL.into(), "".into());
    }
    labels.extend(own.iter().map(|(key, value)| (Arc::from(*key), value.clone())));
    (labels, notes)
}

/// Labels without the reserved ones. What is not a valid label is set aside: a write with it would be
/// refused as a whole.
pub(crate) fn copied<'a>(
    labels: impl Iterator<Item = (&'a Arc<str>, &'a Arc<str>)>,
    reserved: &[&str],
) -> (Labels, Vec<Note>) {
    let mut good = Labels::new();
    let mut notes = Vec::new();
    for (key, value) in labels.filter(|(key, _)| !reserved.contains(&key.as_ref())) {
        match invalid(key, value) {
            None => {
                good.insert(key.clone(), value.clone());
            }
            Some(reason) => notes.push(Note::malformed(format!("metadata.labels[{key}]"), reason)),
        }
    }
    (good, notes)
}

/// Whether consumers take the Service for headless: `clusterIP` is `None` or not set. A cluster IP
/// that cannot be read is one that is set.
pub(crate) fn headless(service: &Service) -> bool {
    let unreadable = || service.problems.iter().any(|problem| problem.field == "spec.clusterIPs");
    service.headless || (service.cluster_ips.is_empty() && !unreadable())
}

/// What is wrong with a label, by the API server's rules (apimachinery `IsQualifiedName`,
/// `IsValidLabelValue`).
pub(crate) fn invalid(key: &str, value: &str) -> Option<String> {
    let (prefix, name) = match key.split_once('/') {
        Some((prefix, name)) => (Some(prefix), name),
        None => (None, key),
    };
    if prefix.is_some_and(|prefix| !subdomain(prefix)) || name.is_empty() || !word(name) {
        return Some(format!("{key:?} is not a label key"));
    }
    if value.len() > 63 {
        return Some(format!("the value has {} characters, more than 63", value.len()));
    }
    (!word(value)).then(|| format!("{value:?} is not a label value"))
}

/// Up to 63 letters, digits, `-`, `_` and `.`, with a letter or digit at both ends; or nothing.
fn word(text: &str) -> bool {
    let bytes = text.as_bytes();
    let inner = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    let end = |byte: Option<&u8>| byte.is_none_or(u8::is_ascii_alphanumeric);
    bytes.len() <= 63 && bytes.iter().all(inner) && end(bytes.first()) && end(bytes.last())
}

/// A DNS subdomain (RFC 1123).
fn subdomain(text: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let label = |part: &str| {
        !part.is_empty() && part.bytes().all(inner) && !part.starts_with('-') && !part.ends_with('-')
    };
    text.len() <= 253 && text.split('.').all(label)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_judged_as_the_api_server_does() {
        let long = "x".repeat(64);
        for (key, value, good) in [
            ("app", "web", true),
            ("app.kubernetes.io/name", "a-b_c.d", true),
            ("app", "", true),
            ("app", &long, false),
            ("app", "-web", false),
            ("app", "a b", false),
            ("", "web", false),
            ("/name", "web", false),
            ("Example.com/name", "web", false),
            ("a/b/c", "web", false),
            (&long, "web", false),
        ] {
            assert_eq!(invalid(key, value).is_none(), good, "{key}={value}");
        }
    }
}
