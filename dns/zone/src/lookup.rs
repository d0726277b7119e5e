//! Whether a name of the zone exists, and what it stands for.

use std::net::IpAddr;

use hickory_proto::rr::Name;

use crate::label::Label;
use crate::members::{Member, PortName};
use crate::pods::address;
use crate::subtree::{Hosts, Subtree};
use crate::target::{ServiceKey, Target, protocol_of};
use crate::{PodNames, Zone};

/// What a name stands for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Found<'a> {
    /// The name does not exist.
    Missing,
    /// The name exists, without any record: names exist below it (an empty non-terminal, RFC 8020).
    Empty,
    /// The zone itself.
    Apex,
    /// The version of the specification.
    Version,
    /// The zone's name server.
    NameServer,
    /// Another name.
    Alias(&'a Name),
    /// A Service, or one of its ports.
    Service {
        /// The Service's labels.
        key: ServiceKey<'a>,
        /// What it has.
        hosts: &'a Hosts,
        /// The port that the question picks.
        picked: Option<PortName<'a>>,
    },
    /// Endpoints of a Service that share a host name.
    Endpoint {
        /// The Service's labels.
        key: ServiceKey<'a>,
        /// Host name.
        host: &'a Label,
        /// What they have.
        member: &'a Member,
    },
    /// A pod's address.
    Pod(IpAddr),
}

impl Zone {
    /// What a name of the zone stands for.
    pub(crate) fn find<'a>(&'a self, target: Target<'a>) -> Found<'a> {
        match target {
            Target::Apex => Found::Apex,
            Target::Version => Found::Version,
            // Differs from upstream: names that only have others below them (`svc`, `dns`, the protocol
            // above a port's name) exist and have no data; CoreDNS answers NXDOMAIN, and resolvers that
            // minimise names (RFC 9156) or cut at NXDOMAIN (RFC 8020) then never ask for what is below.
            Target::NameServers | Target::Services => Found::Empty,
            Target::NameServer => Found::NameServer,
            Target::ServicesOf(namespace) => self.namespace(namespace),
            Target::Service(key) => self.own_name(key, None),
            Target::Member(key, label) => self.member(key, label),
            Target::Port(key, port) => self.own_name(key, Some(port)),
            Target::Pods | Target::PodsOf(_) | Target::Pod { .. }
                if self.config.pod_names == PodNames::Disabled =>
            {
                Found::Missing
            }
            Target::Pods => Found::Empty,
            Target::PodsOf(namespace) => self.namespace(namespace),
            Target::Pod { namespace, label } => self.pod(namespace, label),
            Target::Nothing => Found::Missing,
        }
    }

    fn namespace(&self, label: &[u8]) -> Found<'_> {
        if self.namespaces.contains_key(label) { Found::Empty } else { Found::Missing }
    }

    fn own_name<'a>(&'a self, key: ServiceKey<'a>, picked: Option<PortName<'a>>) -> Found<'a> {
        match self.service(key) {
            None => Found::Missing,
            Some(Subtree::Alias(target)) if picked.is_none() => Found::Alias(target),
            Some(Subtree::Alias(_)) => Found::Missing,
            Some(Subtree::Hosts(hosts)) if picked.is_none_or(|port| hosts.has_port(port)) => {
                Found::Service { key, hosts, picked }
            }
            Some(Subtree::Hosts(_)) => Found::Missing,
        }
    }

    fn member<'a>(&'a self, key: ServiceKey<'a>, label: &[u8]) -> Found<'a> {
        let Some(Subtree::Hosts(hosts)) = self.service(key) else { return Found::Missing };
        if let Some((host, member)) = hosts.endpoint(label) {
            return Found::Endpoint { key, host, member };
        }
        match protocol_of(label) {
            Some(protocol) if hosts.has_protocol(protocol) => Found::Empty,
            _ => Found::Missing,
        }
    }

    fn pod(&self, namespace: &[u8], label: &[u8]) -> Found<'_> {
        let exists = |ip: &IpAddr| match self.config.pod_names {
            PodNames::Insecure => self.namespaces.contains_key(namespace),
            PodNames::Verified => self.pods.contains(namespace, *ip),
            PodNames::Disabled => false,
        };
        address(label).filter(exists).map_or(Found::Missing, Found::Pod)
    }
}
