//! Rendezvous hashing: every node ranks the nodes of an address alike, and no node's coming or going moves an
//! address between two others.

use std::net::IpAddr;

/// The rank of a node for an address; the highest owns it. It is part of what nodes of different releases have to
/// agree on, so it never changes: FNV-1a over the name, a zero octet and the address, and SplitMix64's finalizer,
/// since FNV alone hardly mixes what comes last.
pub fn rank(node: &str, address: IpAddr) -> u64 {
    let octets: &[u8] = match &address {
        IpAddr::V4(address) => &address.octets(),
        IpAddr::V6(address) => &address.octets(),
    };
    let bytes = node.bytes().chain([0]).chain(octets.iter().copied());
    let hash = bytes.fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^ (hash >> 31)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::net::Ipv4Addr;

    use super::*;

    #[test]
    fn addresses_spread_evenly() {
        let nodes: Vec<String> = (1..=5).map(|n| format!("node-{n}")).collect();
        let mut owned: BTreeMap<&str, u32> = BTreeMap::new();
        for address in 0..5000u32 {
            let address = IpAddr::from(Ipv4Addr::from(0xc0a8_0000 + address));
            let owner = nodes.iter().max_by_key(|node| rank(node, address)).unwrap();
            *owned.entry(owner).or_default() += 1;
        }
        assert!(owned.values().all(|count| (850..1150).contains(count)), "{owned:?}");
    }

    #[test]
    fn releases_agree() {
        assert_eq!(rank("node-1", "192.0.2.1".parse().unwrap()), 0x991d_967a_56aa_b1ab);
        assert_eq!(rank("node-1", "2001:db8::1".parse().unwrap()), 0xc7b2_d400_8834_02f8);
    }
}
