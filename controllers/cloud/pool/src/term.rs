//! What a process has to know before it gives addresses.

use std::sync::Arc;
use std::time::Duration;

use kube::Client;
use portolan_core::{Event, Moment, Service};
use portolan_runtime::{Backoff, Leadership, Store};
use tracing::{info, warn};

use crate::KINDS;
use crate::allocator::Allocator;
use crate::call::call;
use crate::follow::take_all;
use crate::provider::Shared;

/// Services with an address are of this type. No version is named: the answer holds every write that was ever acknowledged.
const LIST: &str = "/api/v1/services?fieldSelector=spec.type%3DLoadBalancer";

/// Whenever this process comes to lead, lists the statuses of all load balancers anew: an earlier leader may have written
/// some that the watch has not delivered yet.
pub(crate) async fn keep(client: Client, store: Store, mut leadership: Leadership, shared: Arc<Shared>) {
    store.wait_synced(&KINDS).await;
    loop {
        leadership.acquired().await;
        let mut backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(10));
        while let Err(error) = adopt(&client, &store).await {
            warn!(%error, "cannot list the Services; no addresses are given before that");
            tokio::time::sleep(backoff.next_pause()).await;
        }
        shared.with(Allocator::begin_term);
        take_all(&store, &shared);
        if leadership.may_write() {
            info!("the addresses of all Services are known");
            shared.adopted.send_replace(true);
            shared.counted.notify_one();
        }
        leadership.lost().await;
        shared.adopted.send_replace(false);
    }
}

/// Puts what the API server holds into the State.
async fn adopt(client: &Client, store: &Store) -> Result<(), String> {
    let sent = store.read().services.moment();
    let request = http::Request::get(LIST).header(http::header::ACCEPT, portolan_core::Encoding::ACCEPT);
    let answer = call(client, request, Vec::new()).await?;
    let services = answer.items::<Service>().map_err(|error| error.to_string())?;
    take_in(store, services, sent)
}

/// Puts what was listed into the State, or tells that not all of it stays there. An address whose Service is not in the State
/// would be free.
fn take_in(store: &Store, services: Vec<Service>, sent: Moment) -> Result<(), String> {
    let names: Vec<_> = services.iter().map(|service| service.meta.object_name()).collect();
    store.apply(services.into_iter().map(|service| Event::Answered(service, sent)));
    let state = store.read();
    if state.services.listing() {
        // It may be older, and removes what it does not name.
        return Err("the watch of Services is in the middle of a list".to_owned());
    }
    // Of those that are not there it has to be known that they were deleted.
    let missing = names.iter().find(|name| state.services.get(name).is_none());
    match missing.filter(|_| !state.services.remembers(sent)) {
        Some(name) => Err(format!("Service {name} is not known to the watch yet, or not any more")),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use portolan_core::{Meta, ObjectName};

    use super::*;

    fn service(name: &str) -> Service {
        let meta = Meta { resource_version: 7, ..Meta::named(ObjectName::new("n", name)) };
        Service { meta, ..Service::default() }
    }

    #[test]
    fn a_list_is_asked_for_again_if_a_service_of_it_was_not_taken_in() {
        let store = Store::new();
        let sent = || store.read().services.moment();
        let lists = |events: &[Event<Service>]| store.apply(events.iter().cloned());
        lists(&[Event::ListBegins, Event::ListEnds]);
        let early = sent();
        lists(&[Event::ListBegins, Event::ListEnds]);
        assert!(take_in(&store, vec![service("a")], early).is_err(), "a list came between");
        assert_eq!(take_in(&store, vec![service("a")], sent()), Ok(()));
        assert_eq!(take_in(&store, vec![service("a")], early), Ok(()), "it is there");

        lists(&[Event::ListBegins]);
        assert!(take_in(&store, vec![service("b")], sent()).is_err(), "it may go with the list");
        lists(&[Event::ListEnds]);
        assert_eq!(take_in(&store, vec![service("b")], sent()), Ok(()));

        let before = sent();
        lists(&[Event::Deleted(ObjectName::new("n", "b"), 9)]);
        assert_eq!(take_in(&store, vec![service("b")], before), Ok(()), "it is known to be gone");
    }
}
