//! What can be wrong, in words and with upstream's Event reasons.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use portolan_core::ObjectName;

use crate::{AddressRange, PortRange};

use super::GRACE;

/// Something that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Finding {
    /// Two Services have one address.
    AddressTwice {
        /// The address.
        address: IpAddr,
        /// The one that should not have it.
        owner: ObjectName,
        /// The one that its record names, else the first by name.
        holder: ObjectName,
    },
    /// Two Services have one node port.
    PortTwice {
        /// The port.
        port: u16,
        /// The one that should not have it.
        owner: ObjectName,
        /// The first by name.
        holder: ObjectName,
    },
    /// An address is in none of the cluster's ranges.
    AddressOutOfRange {
        /// The address.
        address: IpAddr,
        /// Who has it.
        owner: ObjectName,
    },
    /// A node port is not in the range.
    PortOutOfRange {
        /// The port.
        port: u16,
        /// Who has it.
        owner: ObjectName,
        /// The range.
        range: PortRange,
    },
    /// No IPAddress object says that the address is taken.
    NotRecorded {
        /// The address.
        address: IpAddr,
        /// Who has it.
        owner: ObjectName,
    },
    /// The IPAddress object is for another Service, or for none.
    RecordedForAnother {
        /// The address.
        address: IpAddr,
        /// Who has it.
        owner: ObjectName,
        /// Whom the object is for.
        recorded: Option<ObjectName>,
    },
    /// An IPAddress object keeps an address that no Service has.
    Orphan {
        /// The address.
        address: IpAddr,
        /// Whom the object is for.
        recorded: Option<ObjectName>,
    },
    /// Less than a tenth of a range is free.
    AddressesRunningOut {
        /// The range.
        range: AddressRange,
    },
    /// Less than a tenth of the node ports is free.
    PortsRunningOut {
        /// The range.
        range: PortRange,
    },
}

/// The object that a finding is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject<'a> {
    /// A Service.
    Service(&'a ObjectName),
    /// The IPAddress object of an address.
    IpAddress(IpAddr),
    /// The ServiceCIDRs with a range.
    ServiceCidr(AddressRange),
    /// The range of node ports, which is no object.
    NodePorts,
}

impl Finding {
    /// Every reason.
    pub const REASONS: [&str; 9] = [
        "ClusterIPAlreadyAllocated",
        "PortAlreadyAllocated",
        "ClusterIPOutOfRange",
        "PortOutOfRange",
        "ClusterIPNotAllocated",
        "IPAddressWrongReference",
        "IPAddressNotAllocated",
        "ClusterIPRangeNearlyFull",
        "PortRangeNearlyFull",
    ];

    /// Event reason and metric label; upstream's where it has one.
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::AddressTwice { .. } => "ClusterIPAlreadyAllocated",
            Self::PortTwice { .. } => "PortAlreadyAllocated",
            Self::AddressOutOfRange { .. } => "ClusterIPOutOfRange",
            Self::PortOutOfRange { .. } => "PortOutOfRange",
            Self::NotRecorded { .. } => "ClusterIPNotAllocated",
            Self::RecordedForAnother { .. } => "IPAddressWrongReference",
            Self::Orphan { .. } => "IPAddressNotAllocated",
            Self::AddressesRunningOut { .. } => "ClusterIPRangeNearlyFull",
            Self::PortsRunningOut { .. } => "PortRangeNearlyFull",
        }
    }

    /// How long it must last to count.
    pub const fn grace(&self) -> Duration {
        match self {
            Self::NotRecorded { .. } | Self::RecordedForAnother { .. } | Self::Orphan { .. } => GRACE,
            _ => Duration::ZERO,
        }
    }

    /// The object that it is about.
    pub const fn subject(&self) -> Subject<'_> {
        match self {
            Self::AddressTwice { owner, .. }
            | Self::PortTwice { owner, .. }
            | Self::AddressOutOfRange { owner, .. }
            | Self::PortOutOfRange { owner, .. }
            | Self::NotRecorded { owner, .. } => Subject::Service(owner),
            Self::RecordedForAnother { address, .. } | Self::Orphan { address, .. } => {
                Subject::IpAddress(*address)
            }
            Self::AddressesRunningOut { range, .. } => Subject::ServiceCidr(*range),
            Self::PortsRunningOut { .. } => Subject::NodePorts,
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whom = |recorded: &Option<ObjectName>| {
            recorded.as_ref().map_or_else(|| "no Service".to_owned(), |name| format!("Service {name}"))
        };
        match self {
            Self::AddressTwice { address, owner, holder } => {
                write!(
                    f,
                    "cluster IP {address} of Service {owner} belongs to Service {holder}; please recreate {owner}"
                )
            }
            Self::PortTwice { port, owner, holder } => {
                write!(
                    f,
                    "node port {port} of Service {owner} belongs to Service {holder}; please recreate {owner}"
                )
            }
            Self::AddressOutOfRange { address, owner } => {
                write!(f, "cluster IP {address} of Service {owner} is in no ServiceCIDR; please recreate it")
            }
            Self::PortOutOfRange { port, owner, range } => {
                write!(
                    f,
                    "node port {port} of Service {owner} is not in {range} (--service-node-port-range); please recreate it"
                )
            }
            Self::NotRecorded { address, owner } => {
                write!(
                    f,
                    "no IPAddress object records cluster IP {address} of Service {owner}; it could be given away"
                )
            }
            Self::RecordedForAnother { address, owner, recorded } => {
                let recorded = whom(recorded);
                write!(f, "cluster IP {address} of Service {owner} is recorded for {recorded}")
            }
            Self::Orphan { address, recorded } => {
                let recorded = whom(recorded);
                write!(f, "{address} is recorded for {recorded}, and no Service has it: nobody can get it")
            }
            Self::AddressesRunningOut { range } => write!(f, "less than a tenth of {range} is free"),
            Self::PortsRunningOut { range } => {
                write!(f, "less than a tenth of the node ports {range} is free")
            }
        }
    }
}
