//! Labels of DNS names, as objects give them.

use std::borrow::Borrow;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

/// Longest label, in octets (RFC 1035 §2.3.4).
const MAX_LENGTH: usize = 63;

/// A label in lower case, 1 to 63 octets. Forward and reverse names share its text.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Label(Arc<[u8]>);

impl Label {
    /// The label that an object's field holds, or what is wrong with it.
    ///
    /// More is accepted than the API server's validation lets through: a name that was stored under
    /// older or relaxed rules (KEP-5311: a Service name may start with a digit) is still served.
    pub(crate) fn new(text: &str) -> Result<Self, String> {
        if text.len() > MAX_LENGTH {
            return Err(format!("{text:?} has {} characters, a DNS label at most {MAX_LENGTH}", text.len()));
        }
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        if text.is_empty() || !text.bytes().all(allowed) {
            return Err(format!("{text:?} is not a DNS label"));
        }
        Ok(Self(text.to_ascii_lowercase().into_bytes().into()))
    }

    /// The label of an endpoint without host name: its address with dashes.
    ///
    /// As CoreDNS writes it; a trailing dash (`fd00::`) gets a zero, since a label must not end in one.
    pub(crate) fn of_address(ip: IpAddr) -> Self {
        let mut text = ip.to_string().replace(['.', ':'], "-");
        if text.ends_with('-') {
            text.push('0');
        }
        Self(text.into_bytes().into())
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl Borrow<[u8]> for Label {
    fn borrow(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_have_1_to_63_octets_of_host_name_characters() {
        let long = "a".repeat(64);
        for (text, good) in [
            ("a", true),
            ("1-digit", true),
            ("Host", true),
            (&long[..63], true),
            (&long[..], false),
            ("", false),
            ("a.b", false),
            ("ä", false),
            ("a b", false),
        ] {
            assert_eq!(Label::new(text).is_ok(), good, "{text:?}");
        }
        assert_eq!(Label::new("Host").unwrap().as_bytes(), b"host");
    }

    #[test]
    fn addresses_become_labels() {
        for (ip, want) in
            [("10.0.0.1", "10-0-0-1"), ("fd00::1", "fd00--1"), ("fd00::", "fd00--0"), ("::1", "--1")]
        {
            assert_eq!(format!("{:?}", Label::of_address(ip.parse().unwrap())), want);
        }
    }
}
