//! Which Services are to be looked at, and when.

use std::time::Duration;

use portolan_core::{ChangeSet, Edit, Kind, ObjectName, Service, State};
use portolan_runtime::Changes;

use super::Shared;
use crate::loadbalancer::{changed, may_change_set, may_matter};

/// How long a change waits that is none for a load balancer: most are our own writes of the status, for which this is a
/// second look. If another controller writes against us, it keeps the two from writing in turn as fast as they can.
///
/// Differs from upstream: where somebody overwrites the status of a Service with a load balancer, it is put right after a
/// second; cloud controller managers take notice when something else about the Service changes.
const OUTPUT_PAUSE: Duration = Duration::from_secs(1);

/// Adds what changes, for ever.
pub(super) async fn changes(shared: &Shared, mut changes: Changes) {
    let mut lists = shared.store.lists();
    shared.desk.set_nodes(&shared.store.read().nodes);
    loop {
        tokio::select! {
            changes = changes.next() => take_in(shared, &changes, &shared.store.read()),
            // The store goes with the process.
            Ok(()) = lists.changed() => shared.gate.open_all(),
        }
    }
}

/// Looks at everything whenever this process comes to lead, for ever.
pub(super) async fn terms(shared: &Shared) {
    let mut leadership = shared.leadership.clone();
    loop {
        leadership.acquired().await;
        let remembered = shared.desk.begin_term();
        let concerned: Vec<ObjectName> = {
            let state = shared.store.read();
            debug_assert!(
                state.synced(Kind::Service),
                "whoever knows only a part of the Services must not begin"
            );
            let services = state.services.iter().filter(|service| shared.serves.may_concern(service));
            services.map(|service| service.meta.object_name()).collect()
        };
        remembered.into_iter().chain(concerned).for_each(|name| shared.desk.queue.look_through(name));
        leadership.lost().await;
    }
}

fn take_in(shared: &Shared, changes: &ChangeSet, state: &State) {
    shared.gate.open(changes);
    let edits = || changes.nodes.iter().map(|(_, edit)| (edit.old.as_deref(), edit.new.as_deref()));
    if edits().any(|(old, new)| may_change_set(old, new)) {
        shared.desk.set_nodes(&state.nodes);
    }
    if edits().any(|(old, new)| may_matter(old, new)) {
        let behind = shared.desk.behind_the_nodes();
        shared.metrics.pass_begins(&behind);
        behind.into_iter().for_each(|name| shared.desk.queue.look_through(name));
    }
    for (name, edit) in changes.services.iter() {
        let either = [&edit.old, &edit.new].into_iter().flatten();
        if !either.clone().any(|service| shared.serves.may_concern(service)) && !shared.desk.knows(name) {
            continue;
        }
        if is_input(shared, edit) {
            shared.desk.queue.add(name.clone());
        } else {
            shared.desk.queue.add_after(name.clone(), OUTPUT_PAUSE);
        }
    }
}

/// Whether a change of a Service is one that a load balancer has to follow.
fn is_input(shared: &Shared, edit: &Edit<Service>) -> bool {
    let (Some(old), Some(new)) = (&edit.old, &edit.new) else { return true };
    let wanted = |service: &Service| (shared.serves.wants(service), shared.serves.holds(service));
    wanted(old) != wanted(new) || changed(old, new).is_some()
}
