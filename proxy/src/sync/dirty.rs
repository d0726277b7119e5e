//! What has to be looked at again, and why.

use std::collections::BTreeSet;

use jiff::Timestamp;
use portolan_core::{ChangeSet, IpFamily, ObjectName};

use crate::metrics::trigger_time;
use crate::node::Facts;

/// Work that waits for the kernel. It only says where to look: what is right is read from the
/// State when the work is done, so nothing is lost if that fails or comes late.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Dirty {
    /// Everything, because the node changed or the kernel's state is not known.
    pub(crate) all: bool,
    /// These Services.
    pub(crate) services: BTreeSet<ObjectName>,
    /// When the changes to endpoints happened, as far as they tell.
    pub(crate) triggers: Vec<Timestamp>,
}

/// More moments than this are not kept while the kernel refuses changes.
const TRIGGERS: usize = 10_000;

impl Dirty {
    /// Everything.
    pub(crate) fn all() -> Self {
        Self { all: true, ..Self::default() }
    }

    /// Whether no rule can be out of date.
    pub(crate) fn is_empty(&self) -> bool {
        !self.all && self.services.is_empty()
    }

    /// Adds what a change set touches in a family. Moments before `since` are not timed.
    pub(crate) fn add(&mut self, changes: &ChangeSet, family: IpFamily, node: &str, since: Timestamp) {
        self.services.extend(changes.services.iter().map(|(name, _)| name.clone()));
        for (_, edit) in changes.slices.iter() {
            let sides = [&edit.old, &edit.new].into_iter().flatten();
            let ours = sides.filter(|slice| slice.address_type.family() == Some(family));
            self.services.extend(ours.filter_map(|slice| slice.service()));
            let new = edit.new.as_ref().filter(|slice| slice.address_type.family() == Some(family));
            if self.triggers.len() < TRIGGERS {
                self.triggers.extend(new.and_then(|slice| trigger_time(slice, since)));
            }
        }
        for (_, edit) in changes.nodes.iter().filter(|(name, _)| *name.name == *node) {
            let view = |node: &Option<_>| node.as_deref().map(Facts::from).unwrap_or_default();
            self.all |= view(&edit.old) != view(&edit.new);
        }
    }
}

#[cfg(test)]
mod tests {
    use portolan_core::{EndpointSlice, Event, Node, Pod, Service, State, Watched};

    use super::*;

    fn add<T: Watched>(state: &mut State, event: Event<T>) -> Dirty {
        let (mut changes, mut dirty) = (ChangeSet::default(), Dirty::default());
        state.apply(event, &mut changes);
        dirty.add(&changes, IpFamily::V4, "me", Timestamp::UNIX_EPOCH);
        dirty
    }

    fn slice(family: &str) -> EndpointSlice {
        serde_json::from_str(&format!(
            r#"{{"metadata": {{"namespace": "n", "name": "s-{family}", "labels": {{"kubernetes.io/service-name": "s"}},
                "annotations": {{"endpoints.kubernetes.io/last-change-trigger-time": "2026-01-01T00:00:00Z"}}}},
                "addressType": "{family}"}}"#
        ))
        .unwrap()
    }

    #[test]
    fn a_change_touches_its_service_only() {
        let mut state = State::default();
        let service: Service = serde_json::from_str(
            r#"{"metadata": {"namespace": "n", "name": "s"}, "spec": {"selector": {"a": "b"}}}"#,
        )
        .unwrap();
        let touched = BTreeSet::from([ObjectName::new("n", "s")]);
        assert_eq!(add(&mut state, Event::Applied(service)).services, touched);
        let dirty = add(&mut state, Event::Applied(slice("IPv4")));
        assert_eq!((dirty.services, dirty.triggers.len()), (touched, 1));
        assert_eq!(add(&mut state, Event::Applied(slice("IPv6"))), Dirty::default(), "another family");
        let pod: Pod = serde_json::from_str(
            r#"{"metadata": {"namespace": "n", "name": "p", "labels": {"a": "b"}}, "spec": {}}"#,
        )
        .unwrap();
        assert_eq!(add(&mut state, Event::Applied(pod)), Dirty::default(), "pods are not read here");
    }

    #[test]
    fn the_own_node_touches_all_if_rules_depend_on_the_change() {
        let mut state = State::default();
        let node = |name: &str, zone: &str, version: u64| -> Node {
            serde_json::from_str(&format!(
                r#"{{"metadata": {{"name": "{name}", "resourceVersion": "{version}", "labels": {{"topology.kubernetes.io/zone": "{zone}"}}}}}}"#
            ))
            .unwrap()
        };
        assert!(!add(&mut state, Event::Applied(node("other", "z", 1))).all);
        assert!(add(&mut state, Event::Applied(node("me", "z", 2))).all);
        assert!(!add(&mut state, Event::Applied(node("me", "z", 3))).all, "a heartbeat");
        assert!(add(&mut state, Event::Applied(node("me", "y", 4))).all);
    }
}
