//! Topology hints (KEP-2433, KEP-3015): traffic stays near when every endpoint says where it belongs.

use super::endpoints::Candidate;
use crate::NodeView;

/// Which ready endpoints this node may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Topology {
    /// Those that name the node.
    SameNode,
    /// Those that name the node's zone.
    SameZone,
    /// All.
    Off,
}

impl Topology {
    /// Reads the hints; never the Service's spec. One ready endpoint without a hint turns the mode off:
    /// hints that do not cover everything could overload the few that have them.
    pub(super) fn of(candidates: &[Candidate], node: &NodeView) -> Self {
        let ready = || candidates.iter().filter(|candidate| candidate.ready);
        let all = |has: &dyn Fn(&Candidate) -> bool| ready().all(has);
        let any = |is: &dyn Fn(&Candidate) -> bool| ready().any(is);
        if all(&|c| !c.nodes.is_empty()) && any(&|c| c.nodes.contains(&node.name)) {
            Self::SameNode
        } else if let Some(zone) = &node.zone
            && all(&|c| !c.zones.is_empty())
            && any(&|c| c.zones.contains(zone))
        {
            Self::SameZone
        } else {
            Self::Off
        }
    }

    /// Whether this node may use the endpoint.
    pub(super) fn allows(self, candidate: &Candidate, node: &NodeView) -> bool {
        match self {
            Self::SameNode => candidate.nodes.contains(&node.name),
            Self::SameZone => node.zone.as_ref().is_some_and(|zone| candidate.zones.contains(zone)),
            Self::Off => true,
        }
    }
}
