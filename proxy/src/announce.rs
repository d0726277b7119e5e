//! Layer-2 announcement (`--announce=layer2`): this node answers ARP and NDP for addresses of load balancers that are
//! its own, as long as the Node object has the label. Who owns what is `portolan_announce`'s to decide.

mod clock;
mod lease;
mod links;
mod metrics;
mod pools;
mod responder;
mod session;
mod socket;

use std::sync::Arc;
use std::time::Duration;

use kube::Client;
use portolan_core::{Kind, Lease, LoadBalancerPool, ObjectName};
use portolan_runtime::{Recorder, Selection, Store, Watches};
use tokio_util::sync::CancellationToken;

pub use metrics::Metrics;
use session::Session;

/// Label of nodes that announce, and its value.
pub const NODE_LABEL: (&str, &str) = ("portolan.dev/announce", "layer2");

/// What is told about announcement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Announcement {
    /// Namespace of the nodes' Leases.
    pub namespace: String,
    /// How long a Lease lasts: the longest that an address is without an owner after one died.
    pub lease_duration: Duration,
}

/// What it works with.
pub struct Context {
    /// Name of the Node object.
    pub node: Arc<str>,
    /// What is told about it.
    pub settings: Announcement,
    /// Takes the Lease.
    pub client: Client,
    /// The State that it follows.
    pub store: Store,
    /// Writes Events; without it the log has to do.
    pub recorder: Option<Recorder>,
    /// Metrics, registered or not.
    pub metrics: Metrics,
}

/// Kinds without a full list of which nobody owns anything.
const NEEDED: [Kind; 4] = [Kind::Service, Kind::EndpointSlice, Kind::LoadBalancerPool, Kind::Lease];

/// Runs until shutdown, and gives the Lease back. Leases and pools are watched only while the node has the label: each
/// node that watches Leases is told of every renewal of every other.
pub(crate) async fn run(context: Context, watches: Watches, shutdown: CancellationToken) {
    let mut changes = context.store.subscribe();
    loop {
        while !labelled(&context) {
            tokio::select! {
                () = shutdown.cancelled() => return,
                _ = changes.next() => {}
            }
        }
        tracing::info!(node = %context.node, "announcing addresses of load balancers");
        let mut watches = watches.apart();
        let selector = format!("{}={}", lease::LABEL.0, lease::LABEL.1);
        watches.open::<Lease>(Selection::labels(selector).in_namespace(&context.settings.namespace));
        watches.open::<LoadBalancerPool>(Selection::default());
        let ended = shutdown.child_token();
        let announced = async {
            tokio::select! {
                () = ended.cancelled() => return,
                () = context.store.wait_synced(&NEEDED) => {}
            }
            announce(&context, &ended).await;
        };
        let label_goes = async {
            while labelled(&context) {
                changes.next().await;
            }
            ended.cancel();
            std::future::pending::<()>().await;
        };
        tokio::select! {
            () = announced => {}
            () = label_goes => {}
        }
        if shutdown.is_cancelled() {
            return;
        }
        if !labelled(&context) {
            tracing::info!(node = %context.node, "the node's label is gone: announcing nothing");
        }
    }
}

/// Announces until it is to end, or until what the API server tells turns out to be too old; then the Lease is given
/// back. The State must hold full lists of Services, EndpointSlices, LoadBalancerPools and Leases.
pub async fn announce(context: &Context, ended: &CancellationToken) {
    Session::new(context).run(ended).await;
}

fn labelled(context: &Context) -> bool {
    let state = context.store.read();
    let node = state.nodes.get(&ObjectName::cluster_scoped(context.node.clone()));
    node.is_some_and(|node| node.meta.label(NODE_LABEL.0) == Some(NODE_LABEL.1))
}
