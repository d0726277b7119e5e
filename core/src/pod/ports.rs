//! Ports that a pod declares.

use std::net::IpAddr;
use std::sync::Arc;

use serde::Deserialize;

use crate::meta::text;
use crate::net::{parse_ip, parse_protocol};
use crate::{Pool, Problem, Protocol};

/// What the containers of a pod and then its restartable init containers (sidecars, KEP-753) declare of ports, as far as
/// anybody asks for it. Equal ones are held once: replicas have the same.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct PodPorts(Option<Arc<Declared>>);

#[derive(Debug, PartialEq, Eq, Hash)]
struct Declared {
    named: Box<[ContainerPort]>,
    host: Box<[HostPort]>,
}

/// A named port that a container declares.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ContainerPort {
    /// Name.
    pub name: Arc<str>,
    /// Protocol.
    pub protocol: Protocol,
    /// Number, 1 to 65535.
    pub port: u16,
}

/// A port of the node that a container has for itself (`hostPort`; on the network of the node, every port it declares).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct HostPort {
    /// The only address of the node where that is (`hostIP`); `None` = at all of them.
    pub address: Option<IpAddr>,
    /// Protocol.
    pub protocol: Protocol,
    /// Number, 1 to 65535.
    pub port: u16,
}

impl PodPorts {
    /// Of these ports, in the order of the containers.
    pub fn new(named: Vec<ContainerPort>, host: Vec<HostPort>) -> Self {
        let some = !named.is_empty() || !host.is_empty();
        Self(some.then(|| Arc::new(Declared { named: named.into(), host: host.into() })))
    }

    /// Those with a name, which Services may refer to.
    pub fn named(&self) -> &[ContainerPort] {
        self.0.as_ref().map_or(&[], |declared| &declared.named)
    }

    /// Those of the node.
    pub fn host(&self) -> &[HostPort] {
        self.0.as_ref().map_or(&[], |declared| &declared.host)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// Whether nobody else holds the same ones.
    pub(crate) fn unshared(&self) -> bool {
        self.0.as_ref().is_none_or(|declared| Arc::strong_count(declared) == 1)
    }

    /// Holds the names where everybody's are held, unless others have these ports already.
    pub(crate) fn pool_names(&mut self, pool: &mut Pool) {
        let declared = self.0.as_mut().and_then(Arc::get_mut);
        pool.texts(declared.into_iter().flat_map(|declared| &mut declared.named).map(|port| &mut port.name));
    }
}

#[derive(prost::Message, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Wire {
    #[prost(string, optional, tag = "1")]
    name: Option<String>,
    #[prost(string, optional, tag = "4")]
    protocol: Option<String>,
    #[prost(int64, tag = "3")]
    container_port: i64,
    #[prost(int64, tag = "2")]
    host_port: i64,
    #[prost(string, optional, tag = "5")]
    #[serde(rename = "hostIP")]
    host_ip: Option<String>,
}

/// Reads the ports of containers, each with its name. What is malformed is left out and told of.
pub(super) fn read<'a>(
    containers: impl Iterator<Item = (&'a str, &'a [Wire])>,
    problems: &mut Vec<Problem>,
) -> PodPorts {
    let (mut named, mut host) = (Vec::new(), Vec::new());
    let wires = containers.flat_map(|(container, wires)| wires.iter().map(move |wire| (container, wire)));
    for (container, wire) in wires {
        let name = text(wire.name.clone());
        if name.is_none() && wire.host_port == 0 {
            continue;
        }
        match wire.read(name.as_ref()) {
            Ok((port, of_host)) => {
                named.extend(port);
                host.extend(of_host);
            }
            Err(reason) => {
                let port = name.map_or_else(|| wire.container_port.to_string(), |name| name.to_string());
                problems.push(Problem::new(format!("spec.containers[{container}].ports[{port}]"), reason));
            }
        }
    }
    PodPorts::new(named, host)
}

impl Wire {
    fn read(&self, name: Option<&Arc<str>>) -> Result<(Option<ContainerPort>, Option<HostPort>), String> {
        let protocol = parse_protocol(self.protocol.as_deref())?;
        let number = |number: i64| {
            let port = u16::try_from(number).ok().filter(|port| *port > 0);
            port.ok_or_else(|| format!("{number} is not a port"))
        };
        let port = number(self.container_port)?;
        let named = name.map(|name| ContainerPort { name: name.clone(), protocol, port });
        if self.host_port == 0 {
            return Ok((named, None));
        }
        let address = match self.host_ip.as_deref().unwrap_or_default() {
            "" => None,
            text => Some(parse_ip(text).ok_or_else(|| format!("{text:?} is not an IP address"))?),
        };
        let port = number(self.host_port)?;
        Ok((named, Some(HostPort { address: address.filter(|ip| !ip.is_unspecified()), protocol, port })))
    }
}
