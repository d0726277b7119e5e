//! Label and field selectors of list, watch and delete requests.

use serde_json::Value;

use crate::object::{Name, meta};
use crate::{Failure, Kind};

/// What a list or watch is about.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Selection {
    /// Only this namespace.
    pub namespace: Option<String>,
    /// Only objects with such labels.
    pub labels: Vec<Requirement>,
    /// Only objects with such fields.
    pub fields: Vec<FieldRequirement>,
}

/// What a label must be like.
#[derive(Clone, Debug, PartialEq)]
pub struct Requirement {
    key: String,
    test: Test,
}

#[derive(Clone, Debug, PartialEq)]
enum Test {
    In(Vec<String>),
    NotIn(Vec<String>),
    Exists,
    Missing,
}

/// What a field must be.
#[derive(Clone, Debug, PartialEq)]
pub struct FieldRequirement {
    pointer: String,
    value: String,
    equal: bool,
}

impl Selection {
    /// Whether the object is meant.
    pub fn matches(&self, object: &Value) -> bool {
        let label = |key: &str| object.get("metadata")?.get("labels")?.get(key)?.as_str();
        self.namespace.as_deref().is_none_or(|namespace| meta(object, "namespace") == Some(namespace))
            && self.labels.iter().all(|requirement| requirement.test.passes(label(&requirement.key)))
            && self.fields.iter().all(|field| {
                let value = object.pointer(&field.pointer).map_or(String::new(), |value| match value {
                    Value::String(text) => text.clone(),
                    Value::Null => String::new(),
                    other => other.to_string(),
                });
                (value == field.value) == field.equal
            })
    }

    /// Whether an object of that name may be meant.
    pub(crate) fn covers(&self, name: &Name) -> bool {
        self.namespace.as_deref().is_none_or(|namespace| *name.namespace == *namespace)
    }

    /// Whether it names labels or fields.
    pub(crate) fn selective(&self) -> bool {
        !self.labels.is_empty() || !self.fields.is_empty()
    }
}

impl Test {
    fn passes(&self, value: Option<&str>) -> bool {
        let within = |values: &[String]| value.is_some_and(|value| values.iter().any(|other| other == value));
        match self {
            Self::In(values) => within(values),
            Self::NotIn(values) => !within(values),
            Self::Exists => value.is_some(),
            Self::Missing => value.is_none(),
        }
    }
}

/// Reads a label selector, such as `app=shop,tier in (a, b),!old`.
pub fn labels(selector: &str) -> Result<Vec<Requirement>, Failure> {
    split(selector).into_iter().map(|part| requirement(part.trim())).collect()
}

/// Splits at the commas that are not within parentheses.
fn split(selector: &str) -> Vec<&str> {
    let mut depth = 0_u32;
    let parts = selector.split(move |c| {
        match c {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            _ => {}
        }
        c == ',' && depth == 0
    });
    parts.filter(|part| !part.trim().is_empty()).collect()
}

fn requirement(part: &str) -> Result<Requirement, Failure> {
    let one = |value: &str| vec![value.trim().to_owned()];
    let (key, test) = if let Some(key) = part.strip_prefix('!') {
        (key, Test::Missing)
    } else if let Some((key, value)) = part.split_once("!=") {
        (key, Test::NotIn(one(value)))
    } else if let Some((key, value)) = part.split_once("==").or_else(|| part.split_once('=')) {
        (key, Test::In(one(value)))
    } else if let Some((head, values)) = part.strip_suffix(')').and_then(|part| part.split_once('(')) {
        let values = values.split(',').map(|value| value.trim().to_owned()).collect();
        match head.trim().rsplit_once(char::is_whitespace) {
            Some((key, "in")) => (key, Test::In(values)),
            Some((key, "notin")) => (key, Test::NotIn(values)),
            _ => return Err(unreadable(part)),
        }
    } else {
        (part, Test::Exists)
    };
    let key = key.trim();
    if key.is_empty() || key.contains([' ', '(', ')', '=', '!', '<', '>']) {
        return Err(unreadable(part));
    }
    Ok(Requirement { key: key.to_owned(), test })
}

fn unreadable(part: &str) -> Failure {
    Failure::bad_request(format!(
        "unable to parse requirement: found '{part}', expected key=value, key!=value, key in (a,b), key notin (a,b), key or !key"
    ))
}

/// Reads a field selector, such as `metadata.name=a,status.phase!=Running`.
pub fn fields(kind: Kind, selector: &str) -> Result<Vec<FieldRequirement>, Failure> {
    let parts = selector.split(',').map(str::trim).filter(|part| !part.is_empty());
    parts
        .map(|part| {
            let (field, value, equal) = if let Some((field, value)) = part.split_once("!=") {
                (field, value, false)
            } else if let Some((field, value)) = part.split_once("==").or_else(|| part.split_once('=')) {
                (field, value, true)
            } else {
                return Err(Failure::bad_request(format!(
                    "invalid selector: '{part}'; can't understand '{part}'"
                )));
            };
            if !selectable(kind).any(|known| known == field) {
                return Err(Failure::bad_request(format!("field label not supported: {field}")));
            }
            let pointer = format!("/{}", field.replace('.', "/"));
            Ok(FieldRequirement { pointer, value: value.to_owned(), equal })
        })
        .collect()
}

/// Fields of a kind that selectors may name, as upstream.
fn selectable(kind: Kind) -> impl Iterator<Item = &'static str> {
    let own: &[&str] = match kind {
        Kind::Pod => &[
            "spec.nodeName",
            "spec.restartPolicy",
            "spec.schedulerName",
            "spec.serviceAccountName",
            "spec.hostNetwork",
            "status.phase",
            "status.podIP",
            "status.nominatedNodeName",
        ],
        Kind::Service => &["spec.clusterIP", "spec.type"],
        Kind::Node => &["spec.unschedulable"],
        Kind::Namespace => &["status.phase"],
        Kind::Secret => &["type"],
        Kind::Event => &[
            "involvedObject.kind",
            "involvedObject.namespace",
            "involvedObject.name",
            "involvedObject.uid",
            "involvedObject.apiVersion",
            "involvedObject.resourceVersion",
            "involvedObject.fieldPath",
            "reason",
            "reportingComponent",
            "source",
            "type",
        ],
        _ => &[],
    };
    ["metadata.name", "metadata.namespace"].into_iter().chain(own.iter().copied())
}

/// A Deployment's selector as text, for its scale.
pub(crate) fn of_deployment(deployment: &Value) -> String {
    let labels = deployment.pointer("/spec/selector/matchLabels").and_then(Value::as_object);
    let pairs =
        labels.into_iter().flatten().filter_map(|(key, value)| Some(format!("{key}={}", value.as_str()?)));
    pairs.collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn label_selectors() {
        let object = json!({"metadata": {"labels": {"app": "shop", "tier": "b"}}});
        for (selector, expected) in [
            ("", true),
            ("app=shop", true),
            ("app==shop,tier=b", true),
            ("app!=shop", false),
            ("other!=x", true),
            ("tier in (a, b),app", true),
            ("tier notin (a,b)", false),
            ("none notin (a)", true),
            ("!app", false),
            ("!none", true),
            ("none", false),
        ] {
            let selection = Selection { labels: labels(selector).unwrap(), ..Selection::default() };
            assert_eq!(selection.matches(&object), expected, "{selector}");
        }
        for wrong in ["a within (b)", "=b", "a (b)", "a b"] {
            assert_eq!(labels(wrong).unwrap_err().code, 400, "{wrong}");
        }
    }

    #[test]
    fn field_selectors() {
        let object = json!({"metadata": {"name": "a", "namespace": "n"}, "spec": {"nodeName": "n1"}});
        for (selector, expected) in [
            ("metadata.name=a", true),
            ("metadata.name==a,metadata.namespace=m", false),
            ("spec.nodeName!=n1", false),
            ("status.phase=", true),
        ] {
            let selection =
                Selection { fields: fields(Kind::Pod, selector).unwrap(), ..Selection::default() };
            assert_eq!(selection.matches(&object), expected, "{selector}");
        }
        assert!(fields(Kind::Pod, "spec.color=red").is_err());
        assert!(fields(Kind::Service, "spec.nodeName=x").is_err());
    }
}
