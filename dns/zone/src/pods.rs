//! Names made of pod addresses: `a-b-c-d.<namespace>.pod.<zone>` (specification §2.6, deprecated there).

use std::collections::HashMap;
use std::net::IpAddr;
use std::str::FromStr;

use portolan_core::{IpAddrs, ObjectName, Pod};

/// Which pod names are answered (`--pod-names`, CoreDNS' `pods`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PodNames {
    /// Any address in a namespace that exists, without looking whether a pod has it.
    #[default]
    Insecure,
    /// Addresses of the namespace's pods that run; needs a watch of all pods.
    Verified,
    /// None.
    Disabled,
}

/// A word that is not a mode of pod names.
#[derive(Debug, thiserror::Error)]
#[error("{0:?} is none of insecure, verified, disabled")]
pub struct UnknownPodNames(String);

impl FromStr for PodNames {
    type Err = UnknownPodNames;

    fn from_str(text: &str) -> Result<Self, UnknownPodNames> {
        match text {
            "insecure" => Ok(Self::Insecure),
            "verified" => Ok(Self::Verified),
            "disabled" => Ok(Self::Disabled),
            _ => Err(UnknownPodNames(text.to_owned())),
        }
    }
}

/// The address that a label spells with dashes: three of them, none doubled, make an IPv4 address.
pub(crate) fn address(label: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(label).ok().filter(|text| !text.contains(['.', ':']))?;
    let dotted = text.matches('-').count() == 3 && !text.contains("--");
    text.replace('-', if dotted { "." } else { ":" }).parse().ok()
}

/// Addresses of pods.
///
/// Differs from upstream: with verified pod names, all addresses of a pod count, in any spelling; CoreDNS
/// compares text with the first one only, so that the second family of a dual-stack pod has no name.
#[derive(Debug, Default)]
pub(crate) struct PodIndex {
    addresses: HashMap<ObjectName, IpAddrs>,
    /// How many pods of a namespace have an address; several do on the host's network.
    counts: HashMap<(Box<[u8]>, IpAddr), usize>,
}

impl PodIndex {
    /// Takes in a pod as it is now; `None` = it is gone.
    ///
    /// A pod that ended or is going away has no name: its address may soon be another's.
    pub(crate) fn set(&mut self, name: &ObjectName, pod: Option<&Pod>) {
        let key = |ip: IpAddr| (Box::from(name.namespace.as_bytes()), ip);
        for ip in self.addresses.remove(name).into_iter().flatten() {
            let key = key(ip);
            if let Some(count) = self.counts.get_mut(&key) {
                *count -= 1;
                if *count == 0 {
                    self.counts.remove(&key);
                }
            }
        }
        let Some(pod) = pod.filter(|pod| !pod.finished() && !pod.meta.deleting() && !pod.ips.is_empty())
        else {
            return;
        };
        for ip in &pod.ips {
            *self.counts.entry(key(*ip)).or_default() += 1;
        }
        self.addresses.insert(name.clone(), pod.ips.clone());
    }

    /// Whether a pod of the namespace has the address.
    pub(crate) fn contains(&self, namespace: &[u8], ip: IpAddr) -> bool {
        self.counts.contains_key(&(Box::from(namespace), ip))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_spell_addresses() {
        for (label, want) in [
            ("10-240-0-1", Some("10.240.0.1")),
            ("fd00--1", Some("fd00::1")),
            ("1234-abcd--1", Some("1234:abcd::1")),
            ("--1", Some("::1")),
            ("1-2-3-4-5-6-7-8", Some("1:2:3:4:5:6:7:8")),
            ("10-240-0", None),
            ("10-240-0-256", None),
            ("010-0-0-1", None),
            ("10.240.0.1", None),
            ("web-0", None),
        ] {
            assert_eq!(address(label.as_bytes()), want.map(|ip| ip.parse().unwrap()), "{label}");
        }
    }
}
