//! The node: this machine.

use std::net::{IpAddr, Ipv4Addr, UdpSocket};

use ipnet::Ipv4Net;
use portolan_api::{Api, Failure, Kind, Name, Part, WriteOptions};
use serde_json::{Value, json};

use super::NODE;

/// Creates the Node object with its addresses and its condition.
pub(crate) fn create(api: &Api, address: Ipv4Addr, pods: Ipv4Net) -> Result<(), Failure> {
    let now = api.now();
    let node = json!({
        "metadata": {"name": NODE, "labels": {
            "kubernetes.io/hostname": NODE,
            "kubernetes.io/os": "linux",
            "kubernetes.io/arch": architecture(),
        }},
        "spec": {"podCIDR": pods.to_string(), "podCIDRs": [pods.to_string()]},
    });
    api.write(|store, now| store.create(Kind::Node, "", node, &WriteOptions::at(now)))?;
    let since = now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let name = Name::new("", NODE);
    api.write(|store, now| {
        let mut node = Value::clone(&*store.get(Kind::Node, &name)?);
        node["status"] = json!({
            "addresses": [
                {"type": "InternalIP", "address": address.to_string()},
                {"type": "Hostname", "address": NODE},
            ],
            "conditions": [{
                "type": "Ready", "status": "True", "reason": "PortolanUp",
                "message": "pods run as processes of this machine",
                "lastTransitionTime": since, "lastHeartbeatTime": since,
            }],
            "nodeInfo": {
                "architecture": architecture(), "operatingSystem": "linux",
                "osImage": "", "kernelVersion": kernel(), "machineID": "", "systemUUID": "", "bootID": "",
                "containerRuntimeVersion": concat!("portolan://", env!("CARGO_PKG_VERSION")),
                "kubeletVersion": concat!("v", env!("CARGO_PKG_VERSION"), "-portolan"),
                "kubeProxyVersion": "",
            },
        });
        store.update(Kind::Node, &name, Part::Status, node, &WriteOptions::at(now)).map(drop)
    })
}

/// The machine's main address: the one that packets to the outside carry; none without a route there.
pub(crate) fn primary_address() -> Option<Ipv4Addr> {
    // Connecting a UDP socket sends nothing; the address is for documentation (RFC 5737).
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
    socket.connect((Ipv4Addr::new(192, 0, 2, 1), 9)).ok()?;
    match socket.local_addr().ok()?.ip() {
        IpAddr::V4(address) if !address.is_loopback() && !address.is_unspecified() => Some(address),
        _ => None,
    }
}

fn kernel() -> String {
    std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim().to_owned()
}

/// In Go's words, as everywhere in Kubernetes.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}
