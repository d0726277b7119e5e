//! From a question to its answer.

use hickory_proto::rr::rdata::{CNAME, HINFO, NS, PTR, TXT};
use hickory_proto::rr::{Name, RData, Record, RecordType};

use crate::lookup::Found;
use crate::records::{Below, address, addresses, services};
use crate::target::Target;
use crate::{Zone, reverse};

/// Aliases that are followed within the zone; CoreDNS' limit too.
const MAX_ALIASES: usize = 10;

/// Time to live of the specification's version, in seconds: the specification's own example, and
/// CoreDNS' value.
const VERSION_TTL: u32 = 28_800;

/// The version of the specification that is followed.
const VERSION: &str = "1.1.0";

/// The answer to a question, not yet a message.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// Aliases that were followed, as CNAME records in the order of following. Mostly empty.
    pub chain: Vec<Record>,
    /// The name that the outcome is about: the one asked for, or the last alias' target.
    pub name: Name,
    /// What there is to say about it.
    pub outcome: Outcome,
}

/// What there is to say about a name.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// These records.
    Records {
        /// For the answer section, never empty.
        answer: Vec<Record>,
        /// For the additional section.
        additional: Vec<Record>,
    },
    /// The name exists, but has no record of this type. The SOA record goes into the authority section.
    NoData(Record),
    /// The name does not exist. The SOA record goes into the authority section; the code is about
    /// [`Answer::name`], so it is sent even below a chain of aliases (RFC 6604).
    ///
    /// Differs from upstream: where an alias leads to a name that does not exist, the code is NXDOMAIN;
    /// CoreDNS sends NOERROR with the aliases alone.
    NxDomain(Record),
    /// The name is not known, and not all objects are: to be answered with SERVFAIL, so that nobody
    /// remembers for a while that a Service does not exist which merely was not seen yet.
    NotSynced(Record),
    /// The name is not the cluster's: to be forwarded or refused.
    NotOurs,
    /// Aliases lead in a circle, or on and on: to be answered with SERVFAIL.
    AliasLoop,
}

impl Zone {
    /// Answers a question of class IN.
    ///
    /// Never fails and never blocks. The work grows with the answer, not with the cluster.
    pub fn answer(&self, name: &Name, record_type: RecordType) -> Answer {
        let mut chain = Vec::new();
        let mut name = name.clone();
        loop {
            let target = match self.outcome(&name, record_type) {
                Step::Ends(outcome) => return Answer { chain, name, outcome },
                Step::Alias(target) => target,
            };
            // Differs from upstream: the alias of an ExternalName Service is one for every type (RFC 1034
            // §3.6.2); CoreDNS follows it for addresses only.
            let alias = self.record(&name, RData::CNAME(CNAME(target.clone())));
            if matches!(record_type, RecordType::CNAME | RecordType::ANY) {
                return Answer { chain, name, outcome: records([alias]) };
            }
            chain.push(alias);
            if chain.len() > MAX_ALIASES {
                return Answer { chain, name: target, outcome: Outcome::AliasLoop };
            }
            name = target;
        }
    }

    fn outcome(&self, name: &Name, record_type: RecordType) -> Step {
        let lower = name.to_lowercase();
        if self.config.origin.zone_of(&lower) {
            return self.in_zone(name, &lower, record_type);
        }
        Step::Ends(match reverse::address(&lower) {
            Some(ip) => self.reverse_name(ip, name, record_type),
            None => Outcome::NotOurs,
        })
    }

    fn in_zone(&self, name: &Name, lower: &Name, record_type: RecordType) -> Step {
        let depth = self.config.origin.iter().len();
        // The zone's part of the question is repeated as it was spelled, in targets too: a client
        // that randomises case (draft "0x20") compares it.
        let zone = name.trim_to(depth);
        let labels: Vec<&[u8]> = lower.iter().rev().skip(depth).collect();
        let found = self.find(Target::of(&labels));
        if let Found::Alias(target) = found {
            return Step::Alias(target.clone());
        }
        Step::Ends(match found {
            Found::Missing if self.synced => Outcome::NxDomain(self.soa(zone.clone(), &zone)),
            Found::Missing => Outcome::NotSynced(self.soa(zone.clone(), &zone)),
            _ if record_type == RecordType::ANY => records([self.any(name)]),
            _ => self.records_of(found, name, &zone, record_type),
        })
    }

    fn records_of(&self, found: Found<'_>, name: &Name, zone: &Name, record_type: RecordType) -> Outcome {
        let server = || Below(zone).name(&[b"ns", b"dns"]);
        let mut additional = Vec::new();
        let answer: Vec<Record> = match (found, record_type) {
            (Found::Apex, RecordType::SOA) => vec![self.soa(name.clone(), zone)],
            (Found::Apex, RecordType::NS) => {
                let server = server();
                additional = server.iter().flat_map(|server| self.name_server(server)).collect();
                server.into_iter().map(|server| self.record(name, RData::NS(NS(server)))).collect()
            }
            (Found::Version, RecordType::TXT) => {
                let version = TXT::new(vec![VERSION.to_owned()]);
                vec![Record::from_rdata(name.clone(), VERSION_TTL, RData::TXT(version))]
            }
            (Found::NameServer, _) => {
                self.name_server(name).filter(|record| record.record_type() == record_type).collect()
            }
            (Found::Service { key, hosts, picked }, RecordType::SRV) => {
                let below = Below(zone);
                let answer;
                (answer, additional) = services(self, name, below, key, hosts.members(), picked);
                answer
            }
            (Found::Endpoint { key, host, member }, RecordType::SRV) => {
                let answer;
                let members = std::iter::once((Some(host), member));
                (answer, additional) = services(self, name, Below(zone), key, members, None);
                answer
            }
            (Found::Service { hosts, picked: None, .. }, _) => {
                addresses(self, name, &hosts.own.addresses, record_type).collect()
            }
            (Found::Service { hosts, picked, .. }, _) => {
                // Nothing in the specification, but CoreDNS answers it: the addresses behind a port.
                let members = hosts.members().filter(|(_, member)| member.picked(picked).next().is_some());
                let all = members.flat_map(|(_, member)| member.addresses.iter()).collect();
                addresses(self, name, &all, record_type).collect()
            }
            (Found::Endpoint { member, .. }, _) => {
                addresses(self, name, &member.addresses, record_type).collect()
            }
            (Found::Pod(ip), _) => {
                let record = address(self, name, ip);
                Some(record).filter(|record| record.record_type() == record_type).into_iter().collect()
            }
            _ => Vec::new(),
        };
        if answer.is_empty() {
            Outcome::NoData(self.soa(zone.clone(), zone))
        } else {
            Outcome::Records { answer, additional }
        }
    }

    /// Addresses that belong to no Service are somebody else's to name (kubeadm's Corefile says
    /// `fallthrough in-addr.arpa ip6.arpa`).
    ///
    /// Differs from upstream: before the first sync, reverse look-ups of unknown addresses get SERVFAIL;
    /// CoreDNS forwards those of cluster addresses too, and the NXDOMAIN from there is then cached.
    fn reverse_name(&self, ip: std::net::IpAddr, name: &Name, record_type: RecordType) -> Outcome {
        let zone = || self.soa(name.trim_to(2), &self.config.origin);
        let mut names = self.reverse.pointers(ip).peekable();
        if names.peek().is_none() {
            return if self.synced { Outcome::NotOurs } else { Outcome::NotSynced(zone()) };
        }
        match record_type {
            RecordType::PTR => {
                let below = Below(&self.config.origin);
                let names = names.filter_map(|pointer| below.pointer(pointer));
                let answer: Vec<_> = names.map(|to| self.record(name, RData::PTR(PTR(to)))).collect();
                Outcome::Records { answer, additional: Vec::new() }
            }
            RecordType::ANY => records([self.any(name)]),
            _ => Outcome::NoData(zone()),
        }
    }

    fn name_server<'a>(&'a self, name: &'a Name) -> impl Iterator<Item = Record> + 'a {
        self.config.name_servers.iter().map(|ip| address(self, name, *ip))
    }

    /// RFC 8482 §4.2: one record that says no more than that the name exists.
    ///
    /// Differs from upstream: a query of type ANY gets one HINFO record (RFC 8482); CoreDNS answers NODATA,
    /// which that RFC keeps for names without records.
    fn any(&self, name: &Name) -> Record {
        self.record(name, RData::HINFO(HINFO::new("RFC8482".to_owned(), String::new())))
    }
}

enum Step {
    Ends(Outcome),
    Alias(Name),
}

fn records<const N: usize>(answer: [Record; N]) -> Outcome {
    Outcome::Records { answer: answer.into(), additional: Vec::new() }
}
