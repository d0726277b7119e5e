use super::*;

fn range(cidr: &str) -> AddressRange {
    cidr.parse().unwrap()
}

#[test]
fn bands_are_upstream_s() {
    for (cidr, count, band) in [
        ("10.0.0.0/30", 2, 0),
        ("10.0.0.0/28", 14, 0),
        ("10.0.0.0/27", 30, 16),
        ("10.0.0.0/24", 254, 16),
        ("10.0.0.0/23", 510, 32),
        ("10.0.0.0/20", 4094, 256),
        ("10.96.0.0/12", (1 << 20) - 2, 256),
        ("fd00::/124", 15, 0),
        ("fd00::/120", 255, 16),
        ("fd00::/108", (1 << 20) - 1, 256),
        ("fd00::/64", u64::MAX, 256),
    ] {
        assert_eq!((range(cidr).count(), range(cidr).static_band()), (count, band), "{cidr}");
    }
    for (ports, band) in [(30000..=32767, 86), (1..=16, 0), (1..=17, 16), (1..=8192, 128), (7..=7, 0)] {
        let range = PortRange::new(&ports).unwrap();
        assert_eq!((range.count(), range.static_band()), (ports.len() as u64, band), "{ports:?}");
    }
}

#[test]
fn the_network_and_the_broadcast_address_belong_to_nobody() {
    for (cidr, address, index) in [
        ("10.0.0.0/24", "10.0.0.0", None),
        ("10.0.0.0/24", "10.0.0.1", Some(0)),
        ("10.0.0.0/24", "10.0.0.254", Some(253)),
        ("10.0.0.0/24", "10.0.0.255", None),
        ("10.0.0.0/24", "10.0.1.0", None),
        ("10.0.0.0/24", "::10.0.0.1", None),
        ("255.255.255.0/24", "255.255.255.254", Some(253)),
        ("10.0.0.7/24", "10.0.0.7", Some(6)),
        ("10.0.0.0/32", "10.0.0.0", None),
        ("10.0.0.0/31", "10.0.0.1", None),
        ("fd00::/64", "fd00::", None),
        ("fd00::/64", "fd00::ffff:ffff:ffff:ffff", Some(u64::MAX - 1)),
        ("fd00::/64", "fd00:0:0:1::", None),
    ] {
        let (range, address) = (range(cidr), address.parse().unwrap());
        assert_eq!(range.index(address), index, "{address} in {cidr}");
        assert!(index.is_none_or(|index| range.item(index) == address), "{address} in {cidr}");
    }
    let ports = PortRange::new(&(30000..=32767)).unwrap();
    assert_eq!([29999, 30000, 32767, 32768].map(|port| ports.index(port)), [None, Some(0), Some(2767), None]);
}

#[test]
fn what_cannot_be_a_range_says_so() {
    let large = "fd00::/63".parse::<AddressRange>().unwrap_err();
    assert_eq!("10.0.0.0".parse::<AddressRange>(), Err(Unusable::Cidr));
    assert_eq!(large.to_string(), "fd00::/63 is larger than a /64, the largest IPv6 range");
    assert!(PortRange::new(&(0..=9)).is_err());
    assert_eq!(
        PortRange::new(&RangeInclusive::new(9, 8)).unwrap_err().to_string(),
        "9-8 is no range of ports"
    );
    assert_eq!(PortRange::new(&(8..=9)).unwrap().to_string(), "8-9");
}
