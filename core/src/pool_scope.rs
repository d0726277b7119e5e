//! What pools of every kind say: which Services they are for, and values that can be read.

use std::fmt::Display;
use std::sync::Arc;

use serde::Deserialize;

use crate::meta::or_default;
use crate::{LabelSelector, Labels, Problem, label_selector};

/// Which Services a pool is for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PoolScope {
    /// Of several pools the lower one comes first, none comes last.
    pub priority: Option<i32>,
    /// Namespaces, by name.
    pub namespaces: Vec<Arc<str>>,
    /// Namespaces, by labels.
    pub namespace_selector: Option<LabelSelector>,
    /// Services, by labels.
    pub service_selector: Option<LabelSelector>,
}

impl PoolScope {
    /// Whether the pool is only for some namespaces or Services.
    pub fn restricted(&self) -> bool {
        !self.namespaces.is_empty() || self.namespace_selector.is_some() || self.service_selector.is_some()
    }

    /// Whether the pool is for a Service: by its own labels, and by name or labels of its namespace.
    pub fn admits(&self, namespace: &str, namespace_labels: &Labels, labels: &Labels) -> bool {
        let any_namespace = self.namespaces.is_empty() && self.namespace_selector.is_none();
        let named = self.namespaces.iter().any(|name| **name == *namespace);
        let selected = |selector: &LabelSelector| selector.matches(namespace_labels);
        (any_namespace || named || self.namespace_selector.as_ref().is_some_and(selected))
            && self.service_selector.as_ref().is_none_or(|selector| selector.matches(labels))
    }
}

/// The scope as the fields of a pool's spec.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Wire {
    priority: Option<i32>,
    #[serde(deserialize_with = "or_default")]
    namespaces: Vec<String>,
    namespace_selector: Option<label_selector::Wire>,
    service_selector: Option<label_selector::Wire>,
}

impl Wire {
    /// The scope; what cannot be used of it is told.
    pub(crate) fn read(self, problems: &mut Vec<Problem>) -> PoolScope {
        let mut selector =
            |field: &str, wire: Option<label_selector::Wire>| wire.map(|wire| wire.read(field, problems));
        PoolScope {
            priority: self.priority,
            namespaces: self.namespaces.into_iter().map(Arc::from).collect(),
            namespace_selector: selector("spec.namespaceSelector", self.namespace_selector),
            service_selector: selector("spec.serviceSelector", self.service_selector),
        }
    }
}

/// The entries that can be read.
pub(crate) fn read<R>(
    field: &str,
    texts: &[String],
    parse: fn(&str) -> Result<R, String>,
    problems: &mut Vec<Problem>,
) -> Vec<R> {
    let entries = texts.iter().enumerate();
    let read = entries.filter_map(|(place, text)| {
        let parsed = parse(text);
        parsed.map_err(|reason| problems.push(Problem::new(format!("{field}[{place}]"), reason))).ok()
    });
    read.collect()
}

/// The entries that can be read and have nothing in common with an earlier one.
pub(crate) fn ranges<R: Copy + Display>(
    field: &str,
    texts: &[String],
    parse: fn(&str) -> Result<R, String>,
    overlaps: fn(R, R) -> bool,
    problems: &mut Vec<Problem>,
) -> Vec<R> {
    let mut ranges: Vec<R> = Vec::new();
    for (place, text) in texts.iter().enumerate() {
        let range =
            parse(text).and_then(|range| match ranges.iter().find(|earlier| overlaps(**earlier, range)) {
                Some(earlier) => Err(format!("{text:?} overlaps {earlier}, and is left out")),
                None => Ok(range),
            });
        match range {
            Ok(range) => ranges.push(range),
            Err(reason) => problems.push(Problem::new(format!("{field}[{place}]"), reason)),
        }
    }
    ranges
}
