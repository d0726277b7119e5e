//! What a process has to know before it gives addresses.

use std::sync::Arc;
use std::time::Duration;

use kube::Client;
use portolan_core::{Event, Service};
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
    store.apply(services.into_iter().map(|service| Event::Answered(service, sent)));
    Ok(())
}
