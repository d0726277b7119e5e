//! What the proxy is told.

use std::net::SocketAddr;
use std::time::Duration;

use ipnet::IpNet;

use crate::announce::Announcement;
use crate::sysctl::Conntrack;

/// Everything that decides how the proxy works.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Name of the Node object of this machine.
    pub node_name: String,
    /// Name of the nftables tables, one of each family.
    pub table: String,
    /// Addresses of pods, at most one range of each family is used; empty = it is not known which clients are
    /// pods (kube-proxy's ClusterCIDR detection).
    pub cluster_cidrs: Vec<IpNet>,
    /// Where NodePorts answer.
    pub node_port_addresses: NodePortAddresses,
    /// Whether all traffic to cluster IPs gets the node's source address.
    pub masquerade_all: bool,
    /// Connection tracking settings to raise at the start.
    pub conntrack: Conntrack,
    /// Address of `/healthz` and `/livez`; `None` = not served.
    pub healthz_bind_address: Option<SocketAddr>,
    /// How the node announces addresses of load balancers; `None` = not at all.
    pub announcement: Option<Announcement>,
    /// How often it is checked that nobody else changed our tables.
    pub check_interval: Duration,
}

/// Addresses of the node on which NodePorts answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum NodePortAddresses {
    /// The addresses of the Node object.
    #[default]
    Primary,
    /// All local addresses in these ranges; a family without a range serves all of its local addresses.
    Ranges(Vec<IpNet>),
}

impl Settings {
    /// Name of the tables unless another part of Portolan asks for its own.
    pub const TABLE: &str = "portolan";

    /// Defaults for a node.
    pub fn new(node_name: impl Into<String>) -> Self {
        Self {
            node_name: node_name.into(),
            table: Self::TABLE.to_owned(),
            cluster_cidrs: Vec::new(),
            node_port_addresses: NodePortAddresses::default(),
            masquerade_all: false,
            conntrack: Conntrack::default(),
            healthz_bind_address: None,
            announcement: None,
            check_interval: Duration::from_secs(30),
        }
    }
}
