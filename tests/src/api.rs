//! As much of an API server as one node proxy asks for: lists and watches of a few kinds, Events swallowed.

mod exchange;

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use serde_json::{Value, json};

use crate::namespace::Namespace;
use crate::reference::World;

/// Path and kind of what is served.
const KINDS: [(&str, &str, &str); 3] = [
    ("/api/v1/services", "v1", "Service"),
    ("/apis/discovery.k8s.io/v1/endpointslices", "discovery.k8s.io/v1", "EndpointSlice"),
    ("/api/v1/nodes", "v1", "Node"),
];

/// A stand-in for an API server, in a namespace.
#[derive(Debug)]
pub struct Api {
    shared: Arc<Shared>,
    address: SocketAddr,
}

#[derive(Debug, Default)]
struct Shared {
    store: Mutex<Store>,
    changed: Condvar,
}

/// Objects by kind and name, and everything that ever happened to them.
#[derive(Debug, Default)]
struct Store {
    objects: BTreeMap<(&'static str, String), Value>,
    log: Vec<(&'static str, Value)>,
    ended: bool,
}

impl Api {
    /// Starts serving on a port of the namespace's loopback.
    ///
    /// # Panics
    /// If there is no port left.
    pub fn new(home: &Namespace) -> Self {
        let listener = home.enter(|| TcpListener::bind((Ipv4Addr::LOCALHOST, 0))).expect("a port");
        let address = listener.local_addr().expect("a bound listener has an address");
        let shared = Arc::new(Shared::default());
        let served = shared.clone();
        std::thread::spawn(move || exchange::serve(&listener, &served));
        Self { shared, address }
    }

    /// The text of a kubeconfig that leads here.
    pub fn kubeconfig(&self) -> String {
        json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "test",
            "clusters": [{ "name": "test", "cluster": { "server": format!("http://{}", self.address) } }],
            "users": [{ "name": "test", "user": {} }],
            "contexts": [{ "name": "test", "context": { "cluster": "test", "user": "test" } }],
        })
        .to_string()
    }

    /// Makes the objects be those of these worlds, which have the same node, one per address family.
    ///
    /// # Panics
    /// If an object cannot be written as JSON.
    pub fn show(&self, worlds: &[&World]) {
        let mut wanted = BTreeMap::new();
        for world in worlds {
            let services = world.services.iter().map(|service| (KINDS[0].0, value(service)));
            let slices = world.slices.iter().map(|slice| (KINDS[1].0, value(slice)));
            for (path, object) in services.chain(slices) {
                wanted.insert((path, key(&object)), object);
            }
        }
        let addresses = worlds.iter().flat_map(|world| &world.addresses);
        let addresses: Vec<Value> =
            addresses.map(|address| json!({ "type": "InternalIP", "address": address })).collect();
        let world = worlds.first().expect("a world");
        let labels = json!({ "topology.kubernetes.io/zone": world.zone });
        let node = json!({
            "metadata": { "name": world.node, "labels": if world.zone.is_some() { labels } else { json!({}) } },
            "status": { "addresses": addresses },
        });
        wanted.insert((KINDS[2].0, key(&node)), node);
        self.shared.lock().become_like(wanted);
        self.shared.changed.notify_all();
    }
}

impl Drop for Api {
    fn drop(&mut self) {
        self.shared.lock().ended = true;
        self.shared.changed.notify_all();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Store> {
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Store {
    fn become_like(&mut self, wanted: BTreeMap<(&'static str, String), Value>) {
        let gone: Vec<_> = self.objects.keys().filter(|key| !wanted.contains_key(key)).cloned().collect();
        for key in gone {
            let object = self.objects.remove(&key).unwrap_or_default();
            self.record(key.0, "DELETED", object);
        }
        for (key, object) in wanted {
            let old = self.objects.get(&key).cloned();
            if old.as_ref().is_some_and(|old| same(old, &object)) {
                continue;
            }
            let stored = self.record(key.0, if old.is_some() { "MODIFIED" } else { "ADDED" }, object);
            self.objects.insert(key, stored);
        }
    }

    /// Adds an event to the log; the object with what the API server adds.
    fn record(&mut self, path: &'static str, kind: &str, mut object: Value) -> Value {
        let (_, version, object_kind) =
            KINDS.into_iter().find(|(known, _, _)| *known == path).unwrap_or_default();
        object["apiVersion"] = json!(version);
        object["kind"] = json!(object_kind);
        object["metadata"]["resourceVersion"] = json!((self.log.len() + 1).to_string());
        object["metadata"]["uid"] = json!(format!("{path}/{}", key(&object)));
        object["metadata"]["creationTimestamp"] = json!("2026-01-01T00:00:00Z");
        self.log.push((path, json!({ "type": kind, "object": object })));
        object
    }
}

/// Whether an object equals a stored one but for what the API server adds.
fn same(stored: &Value, object: &Value) -> bool {
    let plain = |object: &Value| {
        let mut plain = object.clone();
        for added in ["resourceVersion", "uid", "creationTimestamp"] {
            plain["metadata"].as_object_mut().map(|metadata| metadata.remove(added));
        }
        plain.as_object_mut().map(|object| (object.remove("apiVersion"), object.remove("kind")));
        plain
    };
    plain(stored) == plain(object)
}

fn key(object: &Value) -> String {
    let text = |name: &str| object["metadata"][name].as_str().unwrap_or_default().to_owned();
    format!("{}/{}", text("namespace"), text("name"))
}

fn value(object: &impl serde::Serialize) -> Value {
    serde_json::to_value(object).expect("an object is JSON")
}
