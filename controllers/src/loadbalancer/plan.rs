//! What to do next for a Service.

use std::sync::Arc;

use portolan_core::{Ingress, Service};

use super::change::{changed, may_help};
use super::nodes::NodeSet;
use super::serves::Serves;

/// What is known of a name's load balancer beside the Service itself; nothing at the start, and again whenever this process
/// comes to lead.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Memory {
    /// Uid of the Service that the API server itself had, when it was last asked or written to.
    pub confirmed: Option<Arc<str>>,
    /// The last call of the provider.
    pub called: Option<Called>,
}

/// A call of the provider that may have done something, and what came of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Called {
    /// What it was called for.
    pub service: Arc<Service>,
    /// With which nodes.
    pub nodes: Arc<NodeSet>,
    /// What came of it.
    pub outcome: Outcome,
}

/// What came of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Not known (any more): it is to be called again.
    Unsure,
    /// The load balancer stands, and is reached there.
    Stands(Vec<Ingress>),
    /// It did not work; not to be tried again before its time comes or something changes.
    Waits,
    /// Somebody else makes it.
    Elsewhere,
    /// It could not be removed; not to be tried again before its time comes.
    Remains,
    /// It is removed.
    Removed,
}

/// What to do next for a Service.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// Nothing.
    Rest,
    /// Forget what is remembered: there is nothing left to be done, now or later.
    Forget,
    /// Ask the API server for the Service: the watch may be behind what another process that led before has done, and a
    /// load balancer that is made for a Service that is gone would never be removed.
    Confirm,
    /// Store the finalizer.
    AddFinalizer,
    /// Have the load balancer made or brought in line.
    Ensure {
        /// Whether this is on behalf of somebody who made or changed the Service, and not only another look.
        asked: bool,
    },
    /// Have the load balancer's nodes brought in line.
    Update,
    /// Store where the load balancer is reached.
    WriteStatus(Vec<Ingress>),
    /// Have the load balancer of this Service removed, as it is or was.
    Remove(Arc<Service>),
    /// Remove the finalizer and what the status says.
    Release,
}

/// What to do next for the Service of a name; `None` = there is none.
pub fn plan(service: Option<&Arc<Service>>, memory: &Memory, nodes: &Arc<NodeSet>, serves: &Serves) -> Step {
    let standing = memory.called.as_ref().filter(|called| called.outcome != Outcome::Removed);
    if let Some(called) = standing {
        let same = |service: &&Arc<Service>| service.meta.uid == called.service.meta.uid;
        if service.filter(same).is_none() {
            let remains = called.outcome == Outcome::Remains;
            return if remains { Step::Rest } else { Step::Remove(called.service.clone()) };
        }
    }
    let done = || if *memory == Memory::default() { Step::Rest } else { Step::Forget };
    let Some(service) = service else { return done() };
    let confirmed = memory.confirmed.as_ref() == Some(&service.meta.uid);
    if !serves.wants(service) {
        let removed = memory.called.as_ref().is_some_and(|called| {
            called.outcome == Outcome::Removed && called.service.meta.uid == service.meta.uid
        });
        let held = serves.holds(service);
        let remains = standing.is_some_and(|called| called.outcome == Outcome::Remains);
        let owed = standing.is_some() || held && !removed && serves.speaks_of_ours(service);
        return match (owed, held && removed) {
            (true, _) if remains => Step::Rest,
            (true, _) if !confirmed => Step::Confirm,
            // Differs from upstream: the provider is asked to remove a load balancer also if it says that there is none:
            // an `ensure` that was interrupted may have made something beside it. The Event DeletingLoadBalancer comes
            // then, too.
            (true, _) => Step::Remove(service.clone()),
            (false, true) => Step::Release,
            (false, false) => done(),
        };
    }
    if !serves.holds(service) {
        return Step::AddFinalizer;
    }
    if !confirmed {
        return Step::Confirm;
    }
    let Some(called) = standing else { return Step::Ensure { asked: service.ingress().is_empty() } };
    if changed(&called.service, service).is_some() {
        return Step::Ensure { asked: true };
    }
    // Without an address nothing is at stake, and any change of the Service may be what was waited for; so it is for one that
    // lacks that of a family.
    let in_vain = match &called.outcome {
        Outcome::Waits => true,
        Outcome::Stands(ingress) => {
            let addresses = ingress.iter().filter(|entry| entry.ip.is_some()).count();
            addresses == ingress.len() && addresses < service.ip_families.len().max(1)
        }
        Outcome::Unsure | Outcome::Elsewhere | Outcome::Remains | Outcome::Removed => false,
    };
    if in_vain && may_help(&called.service, service) {
        return Step::Ensure { asked: true };
    }
    let same_nodes = Arc::ptr_eq(&called.nodes, nodes) || called.nodes == *nodes;
    match &called.outcome {
        Outcome::Unsure => Step::Ensure { asked: false },
        Outcome::Remains => Step::Ensure { asked: true },
        Outcome::Waits if !same_nodes => Step::Ensure { asked: false },
        Outcome::Stands(ingress) if !same_nodes && ingress.is_empty() => Step::Ensure { asked: false },
        Outcome::Stands(_) if !same_nodes => Step::Update,
        Outcome::Stands(ingress) if ingress != service.ingress() => Step::WriteStatus(ingress.clone()),
        Outcome::Stands(_) | Outcome::Waits | Outcome::Elsewhere | Outcome::Removed => Step::Rest,
    }
}
