//! Who sees the pod's readiness: watches, DNS, the kernel.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::path::Path;
use std::str::FromStr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use futures::{AsyncBufReadExt, StreamExt};
use hickory_proto::op::{Message, MessageType, OpCode, Query};
use hickory_proto::rr::{Name, RecordType};
use http::Request;
use kube::Client;
use portolan_netfilter::Socket;
use portolan_netfilter::model::{Data, Element, Family, TableId};
use serde_json::Value;
use tokio::sync::watch;

use crate::api::NAMESPACE;
use crate::flips::Seen;

/// How often DNS and the kernel are asked; what is measured is late by this much at most.
const POLL: Duration = Duration::from_micros(200);

fn publish(sender: &watch::Sender<(bool, Instant)>, ready: bool) {
    sender.send_if_modified(|seen| {
        let changed = seen.0 != ready;
        if changed {
            *seen = (ready, Instant::now());
        }
        changed
    });
}

fn follow(client: Client, path: String, ready: impl Fn(&Value) -> Option<bool> + Send + 'static) -> Seen {
    let (sender, receiver) = watch::channel((false, Instant::now()));
    tokio::spawn(async move {
        loop {
            let request = Request::get(&path).body(Vec::new()).expect("the path is a URI");
            let Ok(stream) = client.request_stream(request).await else { continue };
            let mut lines = stream.lines();
            while let Some(Ok(line)) = lines.next().await {
                if let Some(ready) = serde_json::from_str::<Value>(&line).ok().as_ref().and_then(&ready) {
                    publish(&sender, ready);
                }
            }
        }
    });
    receiver
}

/// The pod, as a watch shows it.
pub(crate) fn pod(client: Client) -> Seen {
    let path = format!("/api/v1/namespaces/{NAMESPACE}/pods?watch=true");
    follow(client, path, |event| {
        let conditions = event["object"]["status"]["conditions"].as_array()?;
        let ready = conditions.iter().find(|condition| condition["type"] == "Ready")?;
        Some(ready["status"] == "True")
    })
}

/// The slice of the ClusterIP Service, as a watch shows it.
pub(crate) fn slice(client: Client) -> Seen {
    let selector = "kubernetes.io%2Fservice-name%3Dflip";
    let path = format!(
        "/apis/discovery.k8s.io/v1/namespaces/{NAMESPACE}/endpointslices?watch=true&labelSelector={selector}"
    );
    follow(client, path, |event| event["object"]["endpoints"][0]["conditions"]["ready"].as_bool())
}

/// The headless Service's A record.
pub(crate) fn dns(server: SocketAddr, ip: IpAddr) -> Result<Seen> {
    let socket = UdpSocket::bind("0.0.0.0:0")?;
    socket.connect(server)?;
    socket.set_read_timeout(Some(Duration::from_millis(500)))?;
    let name = Name::from_str(&format!("headless.{NAMESPACE}.svc.cluster.local."))?;
    let mut query = Message::new(7, MessageType::Query, OpCode::Query);
    query.add_query(Query::query(name, RecordType::A));
    let query = query.to_vec()?;
    let (sender, receiver) = watch::channel((false, Instant::now()));
    std::thread::spawn(move || {
        let mut buffer = [0; 1500];
        loop {
            if socket.send(&query).is_ok()
                && let Ok(length) = socket.recv(&mut buffer)
                && let Ok(answer) = Message::from_vec(&buffer[..length])
            {
                publish(&sender, answer.answers.iter().any(|record| record.data.ip_addr() == Some(ip)));
            }
            std::thread::sleep(POLL);
        }
    });
    Ok(receiver)
}

/// The proxy's endpoints in the kernel of a node.
pub(crate) fn kernel(namespace: &Path, ip: IpAddr) -> Result<Seen> {
    let namespace = std::fs::File::open(namespace).with_context(|| namespace.display().to_string())?;
    let (sender, receiver) = watch::channel((false, Instant::now()));
    std::thread::Builder::new().name("kernel".to_owned()).spawn(move || {
        nix::sched::setns(&namespace, nix::sched::CloneFlags::CLONE_NEWNET)
            .expect("root may enter the namespace");
        let mut socket = Socket::open().expect("netlink opens");
        let table = TableId { family: Family::Ip, name: "portolan".to_owned() };
        let address = match ip {
            IpAddr::V4(ip) => ip.octets().to_vec(),
            IpAddr::V6(ip) => ip.octets().to_vec(),
        };
        loop {
            let holds = |bytes: &[u8]| bytes.windows(address.len()).any(|window| window == address);
            let held = |elements: Vec<Element>| {
                elements
                    .iter()
                    .any(|element| matches!(&element.data, Some(Data::Value(bytes)) if holds(bytes)))
            };
            // Where connections without affinity find their endpoint.
            if let Ok(elements) = socket.elements(&table, "backends") {
                publish(&sender, held(elements));
            }
            std::thread::sleep(POLL);
        }
    })?;
    Ok(receiver)
}
