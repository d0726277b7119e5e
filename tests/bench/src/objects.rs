//! Services, pods and nodes of the size that real ones have.

use std::net::Ipv4Addr;
use std::sync::LazyLock;

use serde_json::{Value, json};

/// Addresses of pods begin here; nothing is ever sent to them.
const FIRST: Ipv4Addr = Ipv4Addr::new(10, 128, 0, 0);
const PODS_PER_NODE: usize = 110;
/// Every namespace of a [`Shape`] begins so.
pub(crate) const NAMESPACE_PREFIX: &str = "bench-";

/// How many objects, and where they are.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(crate) struct Shape {
    /// Services
    #[arg(long, default_value_t = 2000)]
    pub(crate) services: usize,
    /// Ready pods of each Service
    #[arg(long, default_value_t = 10)]
    pub(crate) endpoints: usize,
    /// Services of each namespace
    #[arg(long, default_value_t = 500)]
    pub(crate) per_namespace: usize,
}

impl Shape {
    pub(crate) fn pods(self) -> usize {
        self.services * self.endpoints
    }

    pub(crate) fn nodes(self) -> usize {
        self.pods().div_ceil(PODS_PER_NODE)
    }

    pub(crate) fn namespaces(self) -> impl Iterator<Item = String> {
        (0..self.services).step_by(self.per_namespace).map(move |service| self.namespace(service))
    }

    pub(crate) fn namespace(self, service: usize) -> String {
        format!("{NAMESPACE_PREFIX}{}", service / self.per_namespace)
    }

    /// A pod of a Service. Each number is another pod with another address.
    pub(crate) fn pod(self, number: usize, service: usize) -> Pod {
        Pod {
            name: format!("{}-5d8f9c7b64-{number}", app(service)),
            namespace: self.namespace(service),
            app: app(service),
            node: node_name(number % self.nodes()),
            ip: Ipv4Addr::from_bits(
                FIRST.to_bits() + u32::try_from(number).expect("a pod's number is small") + 1,
            ),
            number,
        }
    }

    pub(crate) fn service(self, number: usize) -> Value {
        json!({"metadata": {"name": app(number), "namespace": self.namespace(number), "labels": {"app": app(number)}},
            "spec": {"selector": {"app": app(number)}, "ports": [
                {"name": "http", "port": 80, "targetPort": "http"}, {"name": "metrics", "port": 9090, "targetPort": "metrics"}]}})
    }
}

pub(crate) fn node_name(number: usize) -> String {
    format!("node-{number}.bench.example.com")
}

pub(crate) fn node(number: usize) -> Value {
    let labels = json!({"kubernetes.io/hostname": node_name(number),
        "topology.kubernetes.io/zone": format!("zone-{}", number % 3)});
    json!({"metadata": {"name": node_name(number), "labels": labels}})
}

fn app(service: usize) -> String {
    format!("app-{service}")
}

/// A pod as a ReplicaSet and a kubelet leave it: `pod.json`, 7.6 kB of JSON with its managedFields.
#[derive(Clone, Debug)]
pub(crate) struct Pod {
    pub(crate) name: String,
    pub(crate) namespace: String,
    pub(crate) ip: Ipv4Addr,
    app: String,
    node: String,
    number: usize,
}

static TEMPLATE: LazyLock<String> = LazyLock::new(|| {
    serde_json::from_str::<Value>(include_str!("pod.json")).expect("pod.json is JSON").to_string()
});

impl Pod {
    /// The whole object, in JSON, as an API server tells it.
    pub(crate) fn text(&self) -> String {
        TEMPLATE
            .replace("@NAME@", &self.name)
            .replace("@NAMESPACE@", &self.namespace)
            .replace("@APP@", &self.app)
            .replace("@NODE@", &self.node)
            .replace("@IP@", &self.ip.to_string())
            .replace("@UID@", &format!("00000000-0000-4000-8000-{:012}", self.number))
            .replace("@VERSION@", &(self.number + 1).to_string())
    }

    /// The body that creates it, and the body of the status with which it gets ready.
    pub(crate) fn bodies(&self) -> (Value, Value) {
        let mut pod: Value = serde_json::from_str(&self.text()).expect("the template stays JSON");
        let status = json!({"status": pod["status"].take()});
        let metadata = pod["metadata"].as_object_mut().expect("the template has metadata");
        for set_by_the_server in
            ["uid", "resourceVersion", "generation", "creationTimestamp", "managedFields"]
        {
            metadata.remove(set_by_the_server);
        }
        (pod, status)
    }
}
