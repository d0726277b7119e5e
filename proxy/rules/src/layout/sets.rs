//! The sets and maps.

use portolan_core::IpFamily;
use portolan_netfilter::model::{DataType, KeyType, Set, SetData, SetFlags, TableId};

/// Greatest number of affinity entries; when they are used up, flows are served without being remembered.
const AFFINITY_SIZE: u32 = 65_535;

/// A set or map of the layout.
///
/// "Destination" is address, protocol and port; "own flows" are those that the node itself opens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum SetName {
    /// Destination -> route, for everybody unless `frontends-outside` has it.
    Frontends,
    /// Destination -> route, for packets that come in and are not from local pods.
    FrontendsOutside,
    /// Protocol and port -> route, on the node's addresses.
    NodePorts,
    /// The same for packets that come in and are not from local pods.
    NodePortsOutside,
    /// List and index -> address and port: lists without affinity.
    Backends,
    /// List and index -> endpoint id: lists with affinity.
    Slots,
    /// Endpoint id -> address and port. An id is one endpoint of one list, and never given again.
    Endpoints,
    /// Destination and source -> endpoint id; rules fill it.
    Affinity,
    /// Destination -> what happens to new flows that have no endpoint ([`Refusal`](super::chains::Refusal)).
    Unserved,
    /// The same for protocol and port on the node's addresses.
    UnservedNodePorts,
    /// Destinations that only some sources may use.
    Restricted,
    /// Destination and range of sources that may use it.
    Allowed,
    /// Cluster IPs.
    ClusterIps,
    /// Addresses on which NodePorts are served, unless all local ones are.
    NodeIps,
    /// Pairs of the same address of an endpoint on this node: endpoints that reach themselves.
    Hairpin,
    /// Destinations whose flows get the node's address.
    Masquerade,
    /// The same for protocol and port on the node's addresses.
    MasqueradeNodePorts,
    /// Destinations whose own flows get the node's address, and others keep theirs.
    MasqueradeOwn,
    /// The same for protocol and port on the node's addresses.
    MasqueradeOwnNodePorts,
    /// Shape -> chain.
    Shapes,
    /// Shape with affinity -> chain that chooses anew.
    Picks,
    /// Refusal -> chain.
    Refusals,
}

/// What a set's keys and data are.
struct Columns {
    key: Vec<DataType>,
    data: Option<SetData>,
}

impl SetName {
    /// All of them.
    pub const ALL: [Self; 22] = [
        Self::Frontends,
        Self::FrontendsOutside,
        Self::NodePorts,
        Self::NodePortsOutside,
        Self::Backends,
        Self::Slots,
        Self::Endpoints,
        Self::Affinity,
        Self::Unserved,
        Self::UnservedNodePorts,
        Self::Restricted,
        Self::Allowed,
        Self::ClusterIps,
        Self::NodeIps,
        Self::Hairpin,
        Self::Masquerade,
        Self::MasqueradeNodePorts,
        Self::MasqueradeOwn,
        Self::MasqueradeOwnNodePorts,
        Self::Shapes,
        Self::Picks,
        Self::Refusals,
    ];

    /// Its name in the kernel.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Frontends => "frontends",
            Self::FrontendsOutside => "frontends-outside",
            Self::NodePorts => "nodeports",
            Self::NodePortsOutside => "nodeports-outside",
            Self::Backends => "backends",
            Self::Slots => "slots",
            Self::Endpoints => "endpoints",
            Self::Affinity => "affinity",
            Self::Unserved => "unserved",
            Self::UnservedNodePorts => "unserved-nodeports",
            Self::Restricted => "restricted",
            Self::Allowed => "allowed",
            Self::ClusterIps => "cluster-ips",
            Self::NodeIps => "node-ips",
            Self::Hairpin => "hairpin",
            Self::Masquerade => "masquerade",
            Self::MasqueradeNodePorts => "masquerade-nodeports",
            Self::MasqueradeOwn => "masquerade-own",
            Self::MasqueradeOwnNodePorts => "masquerade-own-nodeports",
            Self::Shapes => "shapes",
            Self::Picks => "picks",
            Self::Refusals => "refusals",
        }
    }

    /// The set with this name in the kernel.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|set| set.as_str() == name)
    }

    /// Whether several Services may ask for the same element.
    pub(crate) const fn is_shared(self) -> bool {
        matches!(self, Self::ClusterIps | Self::Hairpin)
    }

    /// Whether its elements follow the Services.
    pub(crate) const fn is_of_services(self) -> bool {
        !matches!(self, Self::Affinity | Self::NodeIps | Self::Shapes | Self::Picks | Self::Refusals)
    }

    fn columns(self, address: DataType) -> Columns {
        use DataType as T;
        let destination = || vec![address, T::INET_PROTO, T::INET_SERVICE];
        let destination_and_source = || vec![address, T::INET_PROTO, T::INET_SERVICE, address];
        let port = || vec![T::INET_PROTO, T::INET_SERVICE];
        // numgen's numbers are typed as marks: `nft` needs a type with a length and host byte order.
        let slot = || vec![T::CLASSID, T::MARK];
        let set = |key| Columns { key, data: None };
        let map = |key, data: &[T]| Columns { key, data: Some(SetData::Value(KeyType::of(data))) };
        let verdicts = || Columns { key: vec![T::CLASSID], data: Some(SetData::Verdict) };
        match self {
            Self::Frontends | Self::FrontendsOutside | Self::Unserved => map(destination(), &[T::CLASSID]),
            Self::NodePorts | Self::NodePortsOutside | Self::UnservedNodePorts => map(port(), &[T::CLASSID]),
            Self::Backends => map(slot(), &[address, T::INET_SERVICE]),
            Self::Slots => map(slot(), &[T::CLASSID]),
            Self::Endpoints => map(vec![T::CLASSID], &[address, T::INET_SERVICE]),
            Self::Affinity => map(destination_and_source(), &[T::CLASSID]),
            Self::Restricted | Self::Masquerade | Self::MasqueradeOwn => set(destination()),
            Self::Allowed => set(destination_and_source()),
            Self::ClusterIps | Self::NodeIps => set(vec![address]),
            Self::Hairpin => set(vec![address, address]),
            Self::MasqueradeNodePorts | Self::MasqueradeOwnNodePorts => set(port()),
            Self::Shapes | Self::Picks | Self::Refusals => verdicts(),
        }
    }

    /// The set, as it is made.
    pub(crate) fn declare(self, table: &TableId, family: IpFamily) -> Set {
        let address = match family {
            IpFamily::V4 => DataType::IPV4_ADDR,
            IpFamily::V6 => DataType::IPV6_ADDR,
        };
        let Columns { key, data } = self.columns(address);
        let key = if self == Self::Allowed { KeyType::of_intervals(&key) } else { KeyType::of(&key) };
        let set = match data {
            Some(data) => Set::map(table.clone(), self.as_str(), key, data),
            None => Set::new(table.clone(), self.as_str(), key),
        };
        match self {
            Self::Allowed => set.with_flags(SetFlags::INTERVAL.union(SetFlags::CONCAT)),
            Self::Affinity => {
                set.with_flags(SetFlags::TIMEOUT.union(SetFlags::EVAL)).with_size(AFFINITY_SIZE)
            }
            _ => set,
        }
    }
}

/// All sets and maps.
pub(super) fn all(table: &TableId, family: IpFamily) -> Vec<Set> {
    SetName::ALL.into_iter().map(|name| name.declare(table, family)).collect()
}
