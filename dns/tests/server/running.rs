//! A server on a port of its own, over a State that the test fills.

use std::net::SocketAddr;

use portolan_core::{EndpointSlice, Event, Namespace, Service, Watched};
use portolan_dns::{Server, Settings};
use portolan_runtime::{Admin, Store};
use portolan_zone::PodNames;
use serde_json::{Value, json};
use tokio_util::sync::{CancellationToken, DropGuard};

/// A running server; it ends with this value.
pub(crate) struct Running {
    pub(crate) address: SocketAddr,
    pub(crate) store: Store,
    pub(crate) admin: Admin,
    _stop: DropGuard,
}

/// Settings for a free port.
pub(crate) fn settings(upstream: &str) -> Settings {
    Settings {
        listen: vec!["127.0.0.1:0".parse().unwrap()],
        cluster_domain: hickory_proto::rr::Name::from_ascii("cluster.local.").unwrap(),
        upstream: upstream.parse().unwrap(),
        ttl: 30,
        pod_names: PodNames::Insecure,
    }
}

impl Running {
    /// A server over an empty State.
    pub(crate) async fn empty(upstream: &str) -> Self {
        let (store, admin) = (Store::new(), Admin::new());
        let server = Server::new(settings(upstream), store.clone(), &admin, None).await.unwrap();
        let address = server.addresses()[0];
        let shutdown = CancellationToken::new();
        tokio::spawn(server.serve(shutdown.clone()));
        Self { address, store, admin, _stop: shutdown.drop_guard() }
    }

    /// A server that knows a few Services, and that there are no others.
    pub(crate) async fn synced(upstream: &str) -> Self {
        let running = Self::empty(upstream).await;
        let service = |name: &str, spec: Value| object::<Service>(name, json!({"spec": spec}));
        running.list([object::<Namespace>("default", json!({}))]);
        running.list([
            service(
                "web",
                json!({"clusterIPs": ["10.0.0.1", "fd00::1"], "ports": [{"name": "http", "port": 80}]}),
            ),
            service("many", json!({"clusterIP": "None"})),
            service("out", json!({"type": "ExternalName", "externalName": "a.example"})),
            service("broken", json!({"type": "ExternalName", "externalName": "servfail.example"})),
        ]);
        let endpoints: Vec<_> = (1..=200).map(|n| json!({"addresses": [format!("10.1.0.{n}")]})).collect();
        running.list([object::<EndpointSlice>(
            "many",
            json!({
            "addressType": "IPv4", "endpoints": endpoints, "ports": [{"name": "http", "port": 80}]}),
        )]);
        running.wait_ready().await;
        running
    }

    /// A complete list of one kind.
    pub(crate) fn list<T: Watched>(&self, objects: impl IntoIterator<Item = T>) {
        let objects = objects.into_iter().map(Event::Applied);
        self.store.apply([Event::ListBegins].into_iter().chain(objects).chain([Event::ListEnds]));
    }

    /// Waits until /readyz says so.
    pub(crate) async fn wait_ready(&self) {
        for _ in 0..500 {
            if self.get("/readyz").await.0 == 200 {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        panic!("not ready: {}", self.get("/readyz?verbose").await.1);
    }

    /// Asks the admin server.
    pub(crate) async fn get(&self, path: &str) -> (u16, String) {
        use tower::ServiceExt;
        let request = http::Request::get(path).body(String::new()).unwrap();
        let response = self.admin.routes().oneshot(request).await.unwrap();
        let status = response.status().as_u16();
        let body = http_body_util::BodyExt::collect(response.into_body()).await.unwrap().to_bytes();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }
}

/// An object in the namespace `default`; slices belong to the Service of their name.
pub(crate) fn object<T: Watched>(name: &str, mut body: Value) -> T {
    let labels = json!({"kubernetes.io/service-name": name});
    body["metadata"] = json!({"namespace": "default", "name": name, "labels": labels});
    if T::KIND == portolan_core::Kind::Namespace {
        body["metadata"]["namespace"] = json!("");
    }
    serde_json::from_value(body).unwrap()
}
