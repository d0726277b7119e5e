//! The Service `kubernetes`, which every API server makes.

use ipnet::Ipv4Net;
use portolan_allocation::{AddressRange, Range};
use portolan_api::{Api, Failure, Kind, WriteOptions};
use serde_json::json;

/// Its namespace and name.
pub(crate) const NAMESPACE: &str = "default";
pub(crate) const NAME: &str = "kubernetes";

/// Creates it with the first address of the range of cluster IPs, as kube-apiserver does. It has no endpoints: the API
/// listens for root of this machine alone, where the kubeconfig says, and connections to it are refused.
pub(crate) fn create(api: &Api, range: Ipv4Net) -> Result<(), Failure> {
    let service = json!({
        "metadata": {"namespace": NAMESPACE, "name": NAME,
            "labels": {"component": "apiserver", "provider": "kubernetes"}},
        "spec": {"clusterIP": AddressRange::from(range).item(0).to_string(),
            "ports": [{"name": "https", "port": 443, "protocol": "TCP", "targetPort": 6443}]},
    });
    api.write(|store, now| store.create(Kind::Service, NAMESPACE, service, &WriteOptions::at(now))).map(drop)
}
