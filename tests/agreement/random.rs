//! Random clusters through random changes.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use portolan_netfilter::model::CtState;
use portolan_rules::evaluate::{Memory, Packet};
use portolan_tests::judgement::{judge_packet, packet};
use portolan_tests::kernel::Kernel;
use portolan_tests::product::Product;
use portolan_tests::reference::{Expected, Flow, World, expect};
use portolan_tests::sample::{self, Dice};

const SEEDS: u64 = 100;
const CHANGES: usize = 8;
/// One in so many of all flows is looked at.
const SPARSE: usize = 10;

#[test]
fn rules_do_what_the_reference_says_for_random_clusters() {
    let mut seen = [0usize; 4];
    for seed in 0..SEEDS {
        for v4 in [true, false] {
            let mut dice = Dice::new(seed);
            let mut world = sample::world(&mut dice, v4);
            let mut product = Product::start(Kernel::new(), v4).expect("an empty kernel");
            for step in 0..CHANGES {
                let at = format!("seed {seed}, IPv4 {v4}, step {step}");
                if step > 0 {
                    let number = dice.below(4);
                    sample::change(&mut dice, &mut world, number, v4);
                }
                // A new process takes over what the one before it left.
                if dice.one_in(4) {
                    product = Product::start(product.kernel, v4).expect("a kernel that can be read");
                }
                let batch = product.sync(&world).unwrap_or_else(|error| panic!("{at}: {error}"));
                let again = product.sync(&world).expect("a plan that does nothing");
                assert!(
                    again.is_empty(),
                    "{at}: a second plan for the same cluster does\n{again}after\n{batch}"
                );
                check(&mut product, &world, &at, &mut dice, &mut seen);
            }
        }
    }
    assert!(seen.iter().all(|count| *count > 1000), "hardly any verdict of some kind: {seen:?}");
}

fn check(product: &mut Product<Kernel>, world: &World, at: &str, dice: &mut Dice, seen: &mut [usize; 4]) {
    let ruleset = product.read_back().expect("readable");
    let memory = Memory::of(&ruleset);
    for flow in flows(world) {
        if !dice.one_in(SPARSE) {
            continue;
        }
        let want = expect(world, &flow);
        seen[match want {
            Expected::Untouched => 0,
            Expected::Forward(_) => 1,
            Expected::Drop => 2,
            Expected::Reject => 3,
        }] += 1;
        // Whoever sends can choose the priority, which our rules use for values of their own.
        let priority = *dice.pick(&[0, 1, 1 << 19 | 1, 2 << 19 | 3, 1 << 31, u32::MAX]);
        let first = Packet { priority, ..packet(world, &flow) };
        let got = judge_packet(&ruleset, world, &memory, &flow, &first);
        assert_eq!(got.as_ref(), Ok(&want), "{at}: {first:?} in\n{}", describe(world));
        let later = Packet { state: CtState::ESTABLISHED, ..first };
        let got = judge_packet(&ruleset, world, &memory, &flow, &later);
        assert_eq!(got, Ok(Expected::Untouched), "{at}: {later:?}");
    }
}

/// Everybody to everywhere: each address on each port in each protocol.
fn flows(world: &World) -> Vec<Flow> {
    let v4 = world.addresses[0].is_ipv4();
    let parse = |texts: &[&str]| -> Vec<IpAddr> {
        texts.iter().filter_map(|text| text.parse().ok()).filter(|ip: &IpAddr| ip.is_ipv4() == v4).collect()
    };
    let sources = parse(&[
        "10.1.0.2",
        "10.1.0.5",
        "10.2.0.9",
        "192.168.0.1",
        "192.168.0.9",
        "203.0.113.5",
        "9.9.9.9",
        "fd00:10::2",
        "fd00:10::5",
        "fd00:10::1:9",
        "fd00:50::1",
        "fd00:50::9",
        "2001:db8::5",
        "2001:db9::1",
    ]);
    let mut destinations: Vec<(IpAddr, Vec<u16>)> = Vec::new();
    for service in &world.services {
        let spec = service.spec.clone().unwrap_or_default();
        let status = service.status.clone().unwrap_or_default();
        let ingress = status.load_balancer.and_then(|balancer| balancer.ingress).unwrap_or_default();
        let texts = spec.cluster_ips.into_iter().flatten().chain(spec.external_ips.into_iter().flatten());
        let texts = texts.chain(ingress.into_iter().filter_map(|ingress| ingress.ip));
        let ips = texts.filter_map(|text| text.parse().ok()).filter(|ip: &IpAddr| ip.is_ipv4() == v4);
        let ports = spec.ports.unwrap_or_default();
        let node_ports: Vec<u16> =
            ports.iter().filter_map(|port| u16::try_from(port.node_port?).ok()).collect();
        let some = [53, 80, 443, 81].into_iter().chain(node_ports.first().copied());
        let some: Vec<u16> = some.collect();
        destinations.extend(ips.map(|ip| (ip, some.clone())));
        let own = world.addresses.iter().chain(&world.other_addresses);
        let loopback: IpAddr = if v4 { Ipv4Addr::LOCALHOST.into() } else { Ipv6Addr::LOCALHOST.into() };
        destinations.extend(own.chain([&loopback]).map(|ip| (*ip, node_ports.clone())));
    }
    let mut flows = Vec::new();
    for (ip, ports) in destinations {
        for port in ports {
            // An address of a balancer that a node has on an interface sends to itself.
            for source in sources.iter().chain([&ip]) {
                for protocol in ["TCP", "UDP", "SCTP"] {
                    flows.push(Flow {
                        protocol: protocol.to_owned(),
                        source: SocketAddr::new(*source, 999),
                        destination: SocketAddr::new(ip, port),
                    });
                }
            }
        }
    }
    flows
}

fn describe(world: &World) -> String {
    format!(
        "node {:?}, zone {:?}, pods {:?}\n{}\n{}",
        world.addresses,
        world.zone,
        world.cluster_cidrs,
        serde_json::to_string_pretty(&world.services).unwrap_or_default(),
        serde_json::to_string_pretty(&world.slices).unwrap_or_default(),
    )
}
