//! Layer-2 announcement (`--announce=layer2`): this node answers ARP and NDP for addresses of load balancers that are
//! its own, as long as the Node object has the label. Who owns what is `portolan_announce`'s to decide.

mod clock;
mod conflicts;
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
use portolan_runtime::{Changes, Recorder, Selection, Store, Watches};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::healthz::SharedHealth;

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

/// How often it is looked whether the rules are installed.
const LOOK: Duration = Duration::from_millis(250);

/// Kinds without a full list of which nobody owns anything.
const NEEDED: [Kind; 4] = [Kind::Service, Kind::EndpointSlice, Kind::LoadBalancerPool, Kind::Lease];

/// Runs until shutdown, and gives the Lease back. Leases and pools are watched only while the node takes part: each
/// node that watches Leases is told of every renewal of every other.
pub(crate) async fn run(
    context: Context,
    watches: Watches,
    health: SharedHealth,
    shutdown: CancellationToken,
) {
    let mut changes = context.store.subscribe();
    loop {
        let uid = tokio::select! {
            () = shutdown.cancelled() => return,
            uid = begins(&context, &health, &mut changes) => uid,
        };
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
        let ends = async {
            let why = tokio::select! {
                () = node_goes(&context.store, &context.node, &uid, &mut changes) => "the node's label is gone",
                () = rules_fail(&health) => "the rules of this node are not brought up to date",
            };
            tracing::warn!(node = %context.node, why, "announcing nothing");
            ended.cancel();
            std::future::pending::<()>().await;
        };
        tokio::select! {
            () = announced => {}
            () = ends => {}
        }
        if shutdown.is_cancelled() {
            return;
        }
    }
}

/// Announces until it is to end, or until what the API server tells turns out to be too old; then the Lease is given
/// back. The State must hold full lists of Services, EndpointSlices, LoadBalancerPools and Leases.
pub async fn announce(context: &Context, ended: &CancellationToken) {
    Session::new(context).run(ended).await;
}

/// Waits until this node can take part, and returns the uid of its Node: where the rules are not installed, what is announced
/// would be drawn here from nodes that can serve it.
async fn begins(context: &Context, health: &SharedHealth, changes: &mut Changes) -> Arc<str> {
    loop {
        let uid = takes_part(&context.store, &context.node);
        let labelled = uid.is_some();
        if let Some(uid) = uid.filter(|_| health.serves()) {
            return uid;
        }
        tokio::select! {
            _ = changes.next() => {}
            // Nobody tells of rules.
            () = sleep(LOOK), if labelled => {}
        }
    }
}

async fn rules_fail(health: &SharedHealth) {
    while health.serves() {
        sleep(LOOK).await;
    }
}

/// Waits until the Node has the label no longer, or is another one under the same name: the API server deletes the Lease of
/// one that is gone.
async fn node_goes(store: &Store, node: &Arc<str>, uid: &Arc<str>, changes: &mut Changes) {
    while takes_part(store, node).as_ref() == Some(uid) {
        changes.next().await;
    }
}

/// The uid of the Node if it has the label.
fn takes_part(store: &Store, node: &Arc<str>) -> Option<Arc<str>> {
    let state = store.read();
    let node = state.nodes.get(&ObjectName::cluster_scoped(node.clone()))?;
    (node.meta.label(NODE_LABEL.0) == Some(NODE_LABEL.1)).then(|| node.meta.uid.clone())
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use portolan_core::{Event, IpFamily, Node};
    use serde_json::json;
    use tokio::time::timeout;

    use super::*;
    use crate::healthz::TIMEOUT;

    impl Context {
        /// Of node `a`, with an API server that says nothing.
        pub(super) fn unconnected() -> Self {
            let unused = tower::service_fn(|_: http::Request<kube::client::Body>| async {
                Ok::<_, std::convert::Infallible>(http::Response::new(kube::client::Body::empty()))
            });
            Self {
                node: "a".into(),
                settings: Announcement { namespace: "n".to_owned(), lease_duration: Duration::from_secs(5) },
                client: Client::new(unused, "n"),
                store: Store::for_readers(),
                recorder: None,
                metrics: Metrics::default(),
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_node_takes_part_as_long_as_it_has_the_label_and_its_rules() {
        let context = Context::unconnected();
        let health = SharedHealth::default();
        health.update(|health| health.expect(&IpFamily::ALL));
        let node = json!({"metadata": {"name": "a", "uid": "u", "resourceVersion": "1",
            "labels": {NODE_LABEL.0: NODE_LABEL.1}}});
        let mut changes = context.store.subscribe();
        let mut soon = async || timeout(2 * LOOK, begins(&context, &health, &mut changes)).await.ok();
        let program = |family| health.update(|health| health.updated(family, Timestamp::UNIX_EPOCH));
        program(IpFamily::V4);
        context.store.apply([Event::Applied(serde_json::from_value::<Node>(node).unwrap())]);
        assert_eq!(soon().await, None, "its rules are not there");
        program(IpFamily::V6);
        assert_eq!(soon().await.as_deref(), Some("u"));
        let fail = async || timeout(2 * LOOK, rules_fail(&health)).await.is_ok();
        assert!(!fail().await);
        let long_ago = std::time::Instant::now() - TIMEOUT;
        health.update(|health| health.queued(IpFamily::V4, long_ago));
        assert!(fail().await);
        assert_eq!(soon().await, None);
    }

    #[tokio::test]
    async fn a_node_made_again_under_its_name_is_another_one() {
        let (store, name) = (Store::for_readers(), Arc::from("a"));
        let put = |version: &str, uid: &str, label: &str| {
            let node = json!({"metadata": {"name": "a", "uid": uid, "resourceVersion": version,
                "labels": {NODE_LABEL.0: label}}});
            store.apply([Event::Applied(serde_json::from_value::<Node>(node).unwrap())]);
        };
        let mut changes = store.subscribe();
        let mut goes = async |uid: &Arc<str>| {
            timeout(Duration::ZERO, node_goes(&store, &name, uid, &mut changes)).await.is_ok()
        };
        put("1", "u", "none");
        assert_eq!(takes_part(&store, &name), None);
        put("2", "u", "layer2");
        let uid = takes_part(&store, &name).unwrap();
        assert!(!goes(&uid).await);
        put("3", "u", "none");
        assert!(goes(&uid).await, "the label is gone");
        // In a gap of the watch.
        put("4", "v", "layer2");
        assert!(goes(&uid).await);
        assert_eq!(takes_part(&store, &name).as_deref(), Some("v"));
    }
}
