//! Chains of shapes: one that chooses among N endpoints, and those that remember clients for T seconds.
//!
//! Differs from upstream: session affinity remembers a client per address and port of a Service, not per
//! Service port, so that it may meet one endpoint at the cluster IP and another one at the NodePort. One
//! look-up does for any number of endpoints, where kube-proxy has a rule for each.

use std::time::Duration;

use portolan_core::IpFamily;
use portolan_netfilter::model::{Expression, Verdict};

use super::chains::FIND_AGAIN;
use super::program::Program;
use super::sets::SetName;
use super::{Route, Shape};

/// A chain with its rules.
pub(crate) type Body = (String, Vec<Vec<Expression>>);

fn choose_name(count: u32) -> String {
    format!("choose-{count}")
}

fn client_name(timeout: u32) -> String {
    format!("client-{timeout}s")
}

fn known_name(timeout: u32) -> String {
    format!("client-{timeout}s-known")
}

fn pick_name(count: u32, timeout: u32) -> String {
    format!("client-{timeout}s-choose-{count}")
}

impl Shape {
    /// Name of the chain that serves the shape.
    pub(crate) fn chain(self) -> String {
        match self.affinity {
            None => choose_name(self.count),
            Some(timeout) => client_name(timeout),
        }
    }

    /// Name of the chain that chooses for clients that are not known.
    pub(crate) fn pick_chain(self) -> Option<String> {
        self.affinity.map(|timeout| pick_name(self.count, timeout))
    }

    /// The shape with these chains in `shapes` and `picks`.
    pub(crate) fn from_chains(chain: &str, pick: Option<&str>) -> Option<Self> {
        let shape = match pick {
            None => Self { count: chain.strip_prefix("choose-")?.parse().ok()?, affinity: None },
            Some(pick) => {
                let (timeout, count) = pick.strip_prefix("client-")?.split_once("s-choose-")?;
                Self { count: count.parse().ok()?, affinity: Some(timeout.parse().ok()?) }
            }
        };
        (shape.count > 0 && shape.chain() == chain && shape.pick_chain().as_deref() == pick).then_some(shape)
    }

    /// The chains that the shape needs; those with affinity share some.
    pub(crate) fn chains(self, family: IpFamily) -> Vec<Body> {
        let rule = || Program::new(family);
        let Self { count, affinity } = self;
        let Some(timeout) = affinity else {
            return vec![(
                choose_name(count),
                vec![
                    rule().mask_priority(Route::LIST_MASK).done(),
                    rule().into_any(SetName::Backends, count).done(),
                ],
            )];
        };
        let lasting = Duration::from_secs(u64::from(timeout));
        let choose = || rule().dispatch(Some(Route::SHAPE_MASK), SetName::Picks);
        let known = Verdict::Goto(known_name(timeout));
        let client = vec![rule().priority_by_client(SetName::Affinity).then(known), choose()];
        // An id that names nothing any more ends the first rule before it refreshes the memory. The entry
        // must go then, for an update refreshes but never replaces.
        let known = vec![
            rule().into_remembered(SetName::Endpoints, SetName::Affinity, lasting).done(),
            rule().forget(SetName::Affinity).done(),
            rule().then(Verdict::Jump(FIND_AGAIN.to_owned())),
            choose(),
        ];
        // A full map ends the rule that remembers; the flow is served by the next one all the same.
        let pick = vec![
            rule().mask_priority(Route::LIST_MASK).done(),
            rule().priority_by_chance(SetName::Slots, count).done(),
            rule().remember(SetName::Affinity, lasting).done(),
            rule().into_endpoint(SetName::Endpoints).done(),
        ];
        vec![(client_name(timeout), client), (known_name(timeout), known), (pick_name(count, timeout), pick)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_are_read_back_from_the_names_of_their_chains() {
        for shape in [Shape { count: 3, affinity: None }, Shape { count: 12, affinity: Some(10_800) }] {
            assert_eq!(Shape::from_chains(&shape.chain(), shape.pick_chain().as_deref()), Some(shape));
        }
        for (chain, pick) in [("choose-0", None), ("choose-x", None), ("choose-03", None), ("find", None)] {
            assert_eq!(Shape::from_chains(chain, pick), None, "{chain}");
        }
        assert_eq!(Shape::from_chains("client-5s", Some("client-6s-choose-1")), None);
    }
}
