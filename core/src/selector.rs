//! Which Services select a pod, at the cost of the Services that match.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::{Labels, ObjectName};

/// Inverted index of the selectors of one cluster's Services.
///
/// A Service is filed under one pair of its selector, the one that the fewest other Services of the
/// namespace are filed under at that time. A lookup visits the pairs of the pod's labels and checks the
/// candidates' other pairs.
#[derive(Debug, Default)]
pub struct SelectorIndex {
    namespaces: HashMap<Arc<str>, Selectors>,
}

type Pair = (Arc<str>, Arc<str>);

#[derive(Debug, Default)]
struct Selectors {
    by_pair: HashMap<Pair, HashSet<Arc<str>>>,
    /// Services whose selector is empty: they select every pod.
    all: HashSet<Arc<str>>,
    /// Each Service's selector and the pair it is filed under.
    filed: HashMap<Arc<str>, (Labels, Option<Pair>)>,
}

impl SelectorIndex {
    /// Sets or (`None`) removes the selector of a Service.
    pub fn set(&mut self, service: &ObjectName, selector: Option<&Labels>) {
        let selectors = self.namespaces.entry(service.namespace.clone()).or_default();
        selectors.remove(&service.name);
        if let Some(selector) = selector {
            selectors.insert(service.name.clone(), selector.clone());
        }
        if selectors.filed.is_empty() {
            self.namespaces.remove(&service.namespace);
        }
    }

    /// Names, in the namespace, of the Services that select `labels`; in no particular order.
    pub fn matching<'a>(&'a self, namespace: &str, labels: &'a Labels) -> impl Iterator<Item = &'a Arc<str>> {
        self.namespaces.get(namespace).into_iter().flat_map(move |selectors| {
            let candidates = labels
                .iter()
                .filter_map(|(key, value)| selectors.by_pair.get(&(key.clone(), value.clone())))
                .flatten()
                .filter(move |name| selectors.selects(name, labels));
            selectors.all.iter().chain(candidates)
        })
    }
}

impl Selectors {
    fn insert(&mut self, name: Arc<str>, selector: Labels) {
        let crowd = |pair: &Pair| self.by_pair.get(pair).map_or(0, HashSet::len);
        let pair = selector.iter().map(|(key, value)| (key.clone(), value.clone())).min_by_key(crowd);
        match &pair {
            Some(pair) => self.by_pair.entry(pair.clone()).or_default().insert(name.clone()),
            None => self.all.insert(name.clone()),
        };
        self.filed.insert(name, (selector, pair));
    }

    fn remove(&mut self, name: &str) {
        match self.filed.remove(name) {
            Some((_, Some(pair))) => {
                if let Some(names) = self.by_pair.get_mut(&pair) {
                    names.remove(name);
                    if names.is_empty() {
                        self.by_pair.remove(&pair);
                    }
                }
            }
            Some((_, None)) => {
                self.all.remove(name);
            }
            None => {}
        }
    }

    fn selects(&self, name: &str, labels: &Labels) -> bool {
        self.filed
            .get(name)
            .is_some_and(|(selector, _)| selector.iter().all(|(key, value)| labels.get(key) == Some(value)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(pairs: &str) -> Labels {
        pairs
            .split_whitespace()
            .map(|pair| pair.split_once('=').unwrap())
            .map(|(k, v)| (k.into(), v.into()))
            .collect()
    }

    fn matching(index: &SelectorIndex, pairs: &str) -> Vec<String> {
        let labels = labels(pairs);
        let mut names: Vec<_> = index.matching("n", &labels).map(ToString::to_string).collect();
        names.sort();
        names
    }

    #[test]
    fn finds_exactly_the_services_whose_whole_selector_matches() {
        let mut index = SelectorIndex::default();
        for (name, selector) in
            [("web", "app=web"), ("blue", "app=web color=blue"), ("all", ""), ("other", "app=other")]
        {
            index.set(&ObjectName::new("n", name), Some(&labels(selector)));
        }
        index.set(&ObjectName::new("elsewhere", "web"), Some(&labels("app=web")));
        assert_eq!(matching(&index, "app=web color=blue x=y"), ["all", "blue", "web"]);
        assert_eq!(matching(&index, "app=web"), ["all", "web"]);
        assert_eq!(matching(&index, ""), ["all"]);
        index.set(&ObjectName::new("n", "web"), Some(&labels("app=new")));
        index.set(&ObjectName::new("n", "all"), None);
        assert_eq!(matching(&index, "app=web color=blue"), ["blue"]);
        assert_eq!(matching(&index, "app=new"), ["web"]);
    }

    #[test]
    fn an_emptied_index_holds_nothing() {
        let mut index = SelectorIndex::default();
        let name = ObjectName::new("n", "s");
        index.set(&name, Some(&labels("a=b")));
        index.set(&name, None);
        assert!(index.namespaces.is_empty());
    }
}
