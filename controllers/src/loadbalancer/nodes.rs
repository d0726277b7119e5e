//! The nodes that load balancers may send traffic to.

use std::sync::Arc;

use portolan_core::{Node, Table};

/// Label of nodes that are not to be used.
const EXCLUDE_LABEL: &str = "node.kubernetes.io/exclude-from-external-load-balancers";
/// Taint of nodes that the cluster autoscaler is about to delete.
const GOING_TAINT: &str = "ToBeDeletedByClusterAutoscaler";
/// How many nodes an Event names.
const NAMES_TOLD: usize = 20;

/// The nodes that load balancers may send traffic to, by name. Ready or not: that is for health checks to find out, and a
/// set that follows readiness would change every load balancer whenever a kubelet is slow.
///
/// Equal if names and provider ids are: nothing else of a node concerns a load balancer.
#[derive(Clone, Debug, Default)]
pub struct NodeSet(Vec<Arc<Node>>);

impl NodeSet {
    /// Those of the nodes that may be used.
    pub fn of<'a>(nodes: impl IntoIterator<Item = &'a Arc<Node>>) -> Self {
        let usable = |node: &&Arc<Node>| {
            let going = node.taints.iter().any(|taint| **taint == *GOING_TAINT);
            !node.meta.deleting() && included(node) && !going
        };
        let mut nodes: Vec<_> = nodes.into_iter().filter(usable).cloned().collect();
        nodes.sort_by(|a, b| a.meta.name.cmp(&b.meta.name));
        Self(nodes)
    }

    /// The same nodes, as they are by now.
    pub fn refreshed(&self, table: &Table<Node>) -> Vec<Arc<Node>> {
        self.0.iter().map(|node| table.get(&node.meta.object_name()).unwrap_or(node).clone()).collect()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many there are, and the names of the first ones, for people.
    pub fn described(&self) -> String {
        let names: Vec<_> = self.0.iter().take(NAMES_TOLD).map(|node| node.meta.name.as_ref()).collect();
        format!("{} [node names limited, total number of nodes: {}]", names.join(" "), self.0.len())
    }
}

impl PartialEq for NodeSet {
    fn eq(&self, other: &Self) -> bool {
        let same = |(a, b): (&Arc<Node>, &Arc<Node>)| {
            Arc::ptr_eq(a, b) || a.meta.name == b.meta.name && a.provider_id == b.provider_id
        };
        self.0.len() == other.0.len() && self.0.iter().zip(&other.0).all(same)
    }
}

/// Whether a change of a node can change who is in a set.
pub fn may_change_set(old: Option<&Node>, new: Option<&Node>) -> bool {
    let differs = |old: &Node, new: &Node| {
        (included(old), old.meta.deleting()) != (included(new), new.meta.deleting())
            || old.provider_id != new.provider_id
            || old.taints != new.taints
    };
    old.zip(new).is_none_or(|(old, new)| differs(old, new))
}

/// Whether a change of a node is a reason to look at all load balancers: it came, went, is to be used or not any more, or
/// is another machine now. As upstream, the autoscaler's taint is none: it counts as soon as there is another reason, so
/// that connections through a node that is about to go are not cut off any earlier.
pub fn may_matter(old: Option<&Node>, new: Option<&Node>) -> bool {
    match (old, new) {
        (Some(old), Some(new)) => included(old) != included(new) || old.provider_id != new.provider_id,
        _ => true,
    }
}

/// A value of the label that Go's `ParseBool` does not know excludes the node, too.
fn included(node: &Node) -> bool {
    let value = node.meta.label(EXCLUDE_LABEL);
    value.is_none_or(|value| ["0", "f", "F", "false", "FALSE", "False"].contains(&value))
}
