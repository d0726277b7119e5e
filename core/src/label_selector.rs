//! Label selectors with requirements, as custom resources have them.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Deserialize;

use crate::meta::or_default;
use crate::{Labels, Problem};

/// A query over labels (meta/v1 LabelSelector). An empty one matches everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LabelSelector(Vec<Requirement>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Requirement {
    In(Arc<str>, Vec<Arc<str>>),
    NotIn(Arc<str>, Vec<Arc<str>>),
    Exists(Arc<str>),
    DoesNotExist(Arc<str>),
}

impl LabelSelector {
    /// Whether all of it holds for these labels.
    pub fn matches(&self, labels: &Labels) -> bool {
        let one_of = |key: &Arc<str>, values: &[Arc<str>]| {
            labels.get(key).is_some_and(|value| values.iter().any(|wanted| wanted == value))
        };
        self.0.iter().all(|requirement| match requirement {
            Requirement::In(key, values) => one_of(key, values),
            Requirement::NotIn(key, values) => !one_of(key, values),
            Requirement::Exists(key) => labels.contains_key(key),
            Requirement::DoesNotExist(key) => !labels.contains_key(key),
        })
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[derive(Default)]
pub(crate) struct Wire {
    #[serde(deserialize_with = "or_default")]
    match_labels: BTreeMap<String, String>,
    #[serde(deserialize_with = "or_default")]
    match_expressions: Vec<WireRequirement>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct WireRequirement {
    key: String,
    operator: String,
    #[serde(deserialize_with = "or_default")]
    values: Vec<String>,
}

impl Wire {
    /// The selector. One that is not understood must not match more than was meant: it matches nothing.
    pub(crate) fn read(self, field: &str, problems: &mut Vec<Problem>) -> LabelSelector {
        let equal = |(key, value): (String, String)| Requirement::In(key.into(), vec![value.into()]);
        let mut requirements: Vec<_> = self.match_labels.into_iter().map(equal).collect();
        for WireRequirement { key, operator, values } in self.match_expressions {
            let key: Arc<str> = key.into();
            let values = values.into_iter().map(Arc::from).collect();
            requirements.push(match operator.as_str() {
                "In" => Requirement::In(key, values),
                "NotIn" => Requirement::NotIn(key, values),
                "Exists" => Requirement::Exists(key),
                "DoesNotExist" => Requirement::DoesNotExist(key),
                other => {
                    let reason = format!("{other:?} is not an operator; nothing is selected");
                    problems.push(Problem::new(format!("{field}.matchExpressions"), reason));
                    Requirement::In(key, Vec::new())
                }
            });
        }
        LabelSelector(requirements)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(selector: &str, labels: &[(&str, &str)]) -> bool {
        let wire: Wire = serde_json::from_str(selector).unwrap();
        let labels = labels.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect();
        wire.read("spec.selector", &mut Vec::new()).matches(&labels)
    }

    #[test]
    fn all_requirements_must_hold() {
        for (selector, want) in [
            ("{}", [true, true, true]),
            (r#"{"matchLabels": {"a": "1"}}"#, [false, true, false]),
            (
                r#"{"matchExpressions": [{"key": "a", "operator": "In", "values": ["1", "2"]}]}"#,
                [false, true, true],
            ),
            (
                r#"{"matchExpressions": [{"key": "a", "operator": "NotIn", "values": ["1"]}]}"#,
                [true, false, true],
            ),
            (r#"{"matchExpressions": [{"key": "a", "operator": "Exists"}]}"#, [false, true, true]),
            (r#"{"matchExpressions": [{"key": "a", "operator": "DoesNotExist"}]}"#, [true, false, false]),
            (
                r#"{"matchLabels": {"a": "1"}, "matchExpressions": [{"key": "b", "operator": "Exists"}]}"#,
                [false, false, false],
            ),
        ] {
            let got = [&[] as &[_], &[("a", "1")], &[("a", "2")]].map(|labels| matches(selector, labels));
            assert_eq!(got, want, "{selector}");
        }
    }

    #[test]
    fn what_is_not_understood_selects_nothing() {
        let wire: Wire =
            serde_json::from_str(r#"{"matchExpressions": [{"key": "a", "operator": "Like"}]}"#).unwrap();
        let mut problems = Vec::new();
        let selector = wire.read("spec.serviceSelector", &mut problems);
        let labels: Labels = [("a".into(), "1".into())].into_iter().collect();
        assert!(!selector.matches(&labels) && !selector.matches(&Labels::new()));
        assert_eq!(problems[0].field, "spec.serviceSelector.matchExpressions");
    }
}
