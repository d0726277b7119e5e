//! Names of new slices.

use portolan_core::{EndpointPort, IpFamily, Meta};

/// Characters of the hash: no vowels, so that it spells no words, and nothing that looks alike.
const ALPHABET: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";
const HASH_LENGTH: usize = 10;
/// A name as long as a DNS label can be.
const LONGEST: usize = 63;

/// Name of the `ordinal`th slice that an object (a Service, or Endpoints) has for a family and a set of
/// ports.
///
/// Differs from upstream: the name of a new slice follows from its owner, the family and the ports;
/// kube-controller-manager lets the API server draw a random suffix. Of two writers that both think that
/// the slice is missing, one gets "already exists" instead of making a duplicate (kubernetes#100033).
pub(super) fn name(owner: &Meta, family: IpFamily, ports: &[EndpointPort], ordinal: usize) -> String {
    let mut hash = Hash::new();
    hash.field(owner.uid.as_bytes());
    hash.field(family.to_string().as_bytes());
    for port in ports {
        hash.field(port.name.as_bytes());
        hash.field(port.protocol.as_str().as_bytes());
        hash.field(&port.port.to_be_bytes());
        hash.field(port.app_protocol.as_deref().unwrap_or_default().as_bytes());
    }
    hash.field(&(ordinal as u64).to_be_bytes());
    let stem = &owner.name[..owner.name.len().min(LONGEST - HASH_LENGTH - 1)];
    format!("{}-{}", stem.trim_end_matches(['-', '.']), hash.finish())
}

/// FNV-1a with 64 bits and a final mix. Not std's hasher: the names must be the same in every version
/// of this program.
struct Hash(u64);

impl Hash {
    fn new() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }

    /// Adds a field and its length, so that the border between two fields counts.
    fn field(&mut self, bytes: &[u8]) {
        for byte in (bytes.len() as u64).to_be_bytes().iter().chain(bytes) {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }

    fn finish(self) -> String {
        let mut rest = (self.0 ^ (self.0 >> 31)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        rest ^= rest >> 32;
        let mut text = String::with_capacity(HASH_LENGTH);
        for _ in 0..HASH_LENGTH {
            text.push(char::from(ALPHABET[(rest % ALPHABET.len() as u64) as usize]));
            rest /= ALPHABET.len() as u64;
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owner(name: &str, uid: &str) -> Meta {
        Meta { name: name.into(), uid: uid.into(), ..Meta::default() }
    }

    #[test]
    fn a_name_is_the_same_for_ever() {
        let port = EndpointPort { port: 80, ..EndpointPort::default() };
        assert_eq!(name(&owner("web", "u"), IpFamily::V4, &[port], 0), "web-99f9xmpd9q");
    }

    #[test]
    fn everything_that_tells_slices_apart_is_in_the_name() {
        let port = |port| EndpointPort { port, ..EndpointPort::default() };
        let (web, again) = (owner("web", "u"), owner("web", "v"));
        let names = [
            name(&web, IpFamily::V4, &[port(80)], 0),
            name(&web, IpFamily::V4, &[port(80)], 1),
            name(&web, IpFamily::V4, &[port(81)], 0),
            name(&web, IpFamily::V4, &[], 0),
            name(&web, IpFamily::V6, &[port(80)], 0),
            name(&again, IpFamily::V4, &[port(80)], 0),
        ];
        assert_eq!(std::collections::BTreeSet::from(names.clone()).len(), names.len(), "{names:?}");
    }

    #[test]
    fn a_long_name_is_cut_to_a_dns_label() {
        let long = format!("{}-{}", "a".repeat(51), "b".repeat(11));
        let name = name(&owner(&long, "u"), IpFamily::V4, &[], 0);
        assert!(name.len() <= 63, "{name}");
        assert!(name.starts_with(&format!("{}-", "a".repeat(51))), "{name}");
        assert!(!name.contains("--"), "{name}");
    }
}
