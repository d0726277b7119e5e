//! Reverse names: from an address back to the Services behind it (specification §2.3.3 and §2.4.3).

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use hickory_proto::rr::Name;
use portolan_core::ObjectName;

use crate::label::Label;

/// The address whose reverse name this is; `None` for every other name, networks' included.
pub(crate) fn address(lower: &Name) -> Option<IpAddr> {
    let mut labels = lower.iter().rev();
    if labels.next()? != b"arpa" {
        return None;
    }
    let family = labels.next()?;
    let ip = match family {
        b"in-addr" => {
            let mut octets = [0; 4];
            for octet in &mut octets {
                *octet = decimal(labels.next()?)?;
            }
            Ipv4Addr::from(octets).into()
        }
        b"ip6" => {
            let mut bits: u128 = 0;
            for _ in 0..32 {
                let [digit] = labels.next()? else { return None };
                bits = bits << 4 | u128::from(char::from(*digit).to_digit(16)?);
            }
            Ipv6Addr::from(bits).into()
        }
        _ => return None,
    };
    labels.next().is_none().then_some(ip)
}

/// Only the canonical spelling: `01` is another name than `1`.
fn decimal(label: &[u8]) -> Option<u8> {
    let canonical =
        label.iter().all(u8::is_ascii_digit) && (label.len() == 1 || label.first() != Some(&b'0'));
    if canonical { std::str::from_utf8(label).ok()?.parse().ok() } else { None }
}

/// A name that an address belongs to. Cluster IPs come first.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Pointer {
    /// Host name of an endpoint; `None` = the address is the Service's own.
    pub(crate) host: Option<Label>,
    /// Service.
    pub(crate) service: ObjectName,
}

/// Names by address: one set, for most addresses have one name.
#[derive(Debug, Default)]
pub(crate) struct Reverse(BTreeSet<(IpAddr, Pointer)>);

impl Reverse {
    pub(crate) fn insert(&mut self, ip: IpAddr, pointer: Pointer) {
        self.0.insert((ip, pointer));
    }

    pub(crate) fn remove(&mut self, ip: IpAddr, pointer: Pointer) {
        self.0.remove(&(ip, pointer));
    }

    /// Names of an address: one Service for a cluster IP, else every endpoint that has it, those of
    /// ClusterIP Services too.
    pub(crate) fn pointers(&self, ip: IpAddr) -> impl Iterator<Item = &Pointer> {
        let lowest = Pointer { host: None, service: ObjectName::cluster_scoped("") };
        let mut all =
            self.0.range((ip, lowest)..).take_while(move |(held, _)| *held == ip).map(|(_, p)| p).peekable();
        let own = all.next_if(|first| first.host.is_none());
        let rest = if own.is_some() { None } else { Some(all) };
        own.into_iter().chain(rest.into_iter().flatten())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_full_reverse_names_only() {
        let v6 = "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.d.c.b.a.4.3.2.1.ip6.arpa.";
        for (name, want) in [
            ("1.0.0.10.in-addr.arpa.", Some("10.0.0.1")),
            ("0.0.0.10.in-addr.arpa.", Some("10.0.0.0")),
            (v6, Some("1234:abcd::1")),
            ("0.0.10.in-addr.arpa.", None),
            ("1.1.0.0.10.in-addr.arpa.", None),
            ("01.0.0.10.in-addr.arpa.", None),
            ("256.0.0.10.in-addr.arpa.", None),
            ("x.ip6.arpa.", None),
            ("1.0.0.10.example.", None),
            (".", None),
        ] {
            let ip = address(&Name::from_ascii(name).unwrap());
            assert_eq!(ip, want.map(|ip| ip.parse().unwrap()), "{name}");
        }
    }
}
