//! Announcement on real links: the kernel of a client asks by ARP and NDP, nodes answer. These tests need root and fail
//! without.

#![allow(clippy::unwrap_used, reason = "in a test a failed step is a failed test")]

mod host;
mod leases;
mod network;
mod wire;

use std::net::IpAddr;
use std::time::{Duration, Instant};

use leases::Leases;
use network::{Listener, Network, Node, VIPS};
use wire::{Heard, Wire};

/// How long a Lease lasts in these tests (the default: a fifth of it is what a node may stand still), and what may come on top of it on a busy machine.
const LEASE: Duration = Duration::from_secs(5);
const GRACE: Duration = Duration::from_secs(4);

/// The node whose hardware address the client's kernel has found, asking until it finds one of `wanted`.
fn resolve(network: &Network, address: IpAddr, wanted: &[&str], patience: Duration) -> String {
    let began = Instant::now();
    loop {
        let found = network.neighbour(address).and_then(|mac| network.node_of(&mac));
        if let Some(found) = found.filter(|found| wanted.contains(&found.as_str())) {
            return found;
        }
        assert!(began.elapsed() < patience, "{address} is announced by none of {wanted:?}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Two nodes that have joined, one of which announces.
struct Pair {
    network: Network,
    leases: Leases,
    nodes: [Node; 2],
    owner: String,
    /// The other one.
    heir: &'static str,
    /// Has heard the owner.
    listener: Listener,
}

impl Pair {
    fn announcing(address: IpAddr) -> Self {
        let network = Network::new();
        let leases = Leases::new();
        let nodes = ["node-1", "node-2"].map(|name| Node::start(&network, &leases, name, LEASE));
        std::thread::sleep(LEASE);
        let owner = resolve(&network, address, &["node-1", "node-2"], LEASE + GRACE);
        let heir = if owner == "node-1" { "node-2" } else { "node-1" };
        let listener = network.listen(address);
        listener.hear(number(&owner), GRACE);
        Self { network, leases, nodes, owner, heir, listener }
    }
}

/// The address of the Service that is of IPv4 (0) or of IPv6 (1).
fn vip(family: usize) -> IpAddr {
    VIPS[family].parse().unwrap()
}

fn number(node: impl AsRef<str>) -> u8 {
    node.as_ref().trim_start_matches("node-").parse().unwrap()
}

#[test]
fn the_kernel_of_a_client_finds_the_owner_and_another_after_it_died() {
    let network = Network::new();
    let leases = Leases::new();
    let mut nodes = ["node-1", "node-2"].map(|name| Some(Node::start(&network, &leases, name, LEASE)));
    // Until both have joined.
    std::thread::sleep(LEASE);
    let listener = network.listen(vip(0));
    let mut turns = vec![number(resolve(&network, vip(0), &["node-1", "node-2"], GRACE))];
    for address in [vip(0), vip(1)] {
        let owner = resolve(&network, address, &["node-1", "node-2"], LEASE + GRACE);
        // The listener asks for the IPv4 address, which this node may have as well.
        let moves = number(&owner) == turns[0];
        if moves {
            turns.extend([number(&owner) ^ 3, number(&owner)]);
        }
        assert!(network.neighbour("192.0.2.99".parse().unwrap()).is_none(), "an address of no pool");
        let (died, heir) = if owner == "node-1" { (0, "node-2") } else { (1, "node-1") };
        // As if the power was cut: nothing is given back.
        nodes[died].take().unwrap().kill();
        let at = Instant::now();
        resolve(&network, address, &[heir], LEASE + GRACE);
        assert!(at.elapsed() > LEASE / 4, "nobody could know so soon");
        listener.hear(if moves { number(heir) } else { turns[0] }, GRACE);
        nodes[died] = Some(Node::start(&network, &leases, ["node-1", "node-2"][died], LEASE));
        resolve(&network, address, &[owner.as_str()], LEASE * 2 + GRACE);
        listener.hear(turns[0], GRACE);
    }
    assert_eq!(listener.turns(), turns);
}

#[test]
fn a_node_that_is_cut_off_falls_silent_before_another_takes_over() {
    falls_silent_in_time(vip(0));
}

#[test]
fn a_node_that_is_cut_off_falls_silent_by_ndp_too() {
    falls_silent_in_time(vip(1));
}

fn falls_silent_in_time(address: IpAddr) {
    let Pair { network, leases, nodes, owner, heir, listener } = Pair::announcing(address);
    // The API server does not hear it; the clients do.
    leases.cut(&owner, true);
    resolve(&network, address, &[heir], LEASE + GRACE);
    listener.hear(number(heir), GRACE);
    leases.cut(&owner, false);
    resolve(&network, address, &[owner.as_str()], LEASE * 3 + GRACE);
    listener.hear(number(&owner), GRACE);
    // In good order, it is a matter of milliseconds.
    let (leaving, staying): (Vec<_>, Vec<_>) = nodes.into_iter().partition(|node| node.name() == owner);
    let at = Instant::now();
    leaving.into_iter().for_each(Node::stop);
    resolve(&network, address, &[heir], GRACE);
    assert!(at.elapsed() < LEASE / 2, "{:?} for an address that was handed over", at.elapsed());
    listener.hear(number(heir), GRACE);
    let turns = [owner.as_str(), heir, &owner, heir].map(number);
    assert_eq!(listener.turns(), turns);
    staying.into_iter().for_each(Node::stop);
}

#[test]
fn a_slow_api_server_silences_nobody_and_one_too_slow_for_a_node_has_another_take_over() {
    let Pair { network, leases, nodes, owner, heir, listener } = Pair::announcing(vip(0));
    // Longer than from one renewal to the next.
    [&owner, heir].into_iter().for_each(|node| leases.slow(node, LEASE * 3 / 10));
    let began = Instant::now();
    while began.elapsed() < LEASE * 3 {
        resolve(&network, vip(0), &[owner.as_str()], Duration::from_secs(1));
        std::thread::sleep(LEASE / 10);
    }
    leases.slow(heir, Duration::ZERO);
    leases.slow(&owner, LEASE * 3 / 5);
    resolve(&network, vip(0), &[heir], LEASE * 3 + GRACE);
    listener.hear(number(heir), GRACE);
    let began = Instant::now();
    while began.elapsed() < LEASE * 3 {
        resolve(&network, vip(0), &[heir], Duration::from_secs(1));
        std::thread::sleep(LEASE / 10);
    }
    leases.slow(&owner, Duration::ZERO);
    resolve(&network, vip(0), &[owner.as_str()], LEASE * 2 + GRACE);
    listener.hear(number(&owner), GRACE);
    assert_eq!(listener.turns(), [owner.as_str(), heir, &owner].map(number));
    nodes.into_iter().for_each(Node::stop);
}

#[test]
fn an_announced_address_follows_the_interfaces_that_its_pool_names() {
    let network = Network::new();
    ["eth1", "eth2"].into_iter().for_each(|interface| network.link("node-1", interface));
    let wires = ["eth0", "eth1", "eth2"].map(|interface| network.wire(interface, vip(0)));
    let node = Node::start(&network, &Leases::new(), "node-1", LEASE);
    wires[0].answered(LEASE + GRACE);
    assert_eq!(wires[1].heard(), [], "not an interface of the address's network");
    node.name_interfaces(&["eth0", "eth1"]);
    wires[1].announced(1, GRACE);
    wires[1].answered(GRACE);
    wires[0].answered(GRACE);
    node.name_interfaces(&["eth0", "eth2"]);
    // Interfaces are gone through by name: when this one is told of the address, the one before is silent.
    wires[2].announced(1, GRACE);
    wires[1].heard();
    for _ in 0..10 {
        wires[1].ask();
        wires[0].answered(GRACE);
    }
    // An announcement is two frames and said five times, last of all where it began last.
    wires[2].announced(9, LEASE + GRACE);
    assert_eq!(wires[1].heard(), [], "neither answers nor what was still to be repeated");
    wires[2].answered(GRACE);
    node.stop();
}

#[test]
fn an_address_goes_to_a_node_whose_interface_reaches_it() {
    follows_reach(|network, owner, has| network.readdress(owner, if has { "add" } else { "del" }));
}

#[test]
fn an_address_leaves_a_node_whose_cable_is_pulled() {
    follows_reach(|network, owner, has| network.plug(owner, if has { "up" } else { "down" }));
}

fn follows_reach(change: impl Fn(&Network, &str, bool)) {
    let address = vip(0);
    let Pair { network, nodes, owner, heir, listener, .. } = Pair::announcing(address);
    change(&network, &owner, false);
    // Within a look at the interfaces, and what two Leases take: nobody has to die.
    resolve(&network, address, &[heir], LEASE + GRACE);
    listener.hear(number(heir), GRACE);
    change(&network, &owner, true);
    resolve(&network, address, &[owner.as_str()], LEASE + GRACE);
    listener.hear(number(&owner), GRACE);
    assert_eq!(listener.turns(), [owner.as_str(), heir, &owner].map(number));
    nodes.into_iter().for_each(Node::stop);
}

#[test]
fn an_announced_address_is_nobody_elses() {
    let network = Network::new();
    let node = Node::start(&network, &Leases::new(), "node-1", LEASE);
    for address in [vip(0), vip(1)] {
        resolve(&network, address, &["node-1"], LEASE + GRACE);
    }
    // A host that asks first (RFC 4862, 5.4) is told so; one that does not is heard.
    assert!(!network.take(vip(1), true), "a duplicate");
    assert_eq!(node.conflicts(), 0);
    assert!(network.take(vip(1), false));
    until_heard(&node, 1);
    network.wire("eth0", vip(0)).claim();
    until_heard(&node, 2);
    node.stop();
}

#[test]
fn a_question_in_a_vlan_is_not_answered_outside_of_it() {
    let network = Network::new();
    // One without an interface of the node, and one with, as far as the kernel has such.
    network.try_vlan("node-1", 200);
    let node = Node::start(&network, &Leases::new(), "node-1", LEASE);
    for address in [vip(0), vip(1)] {
        let wire = network.wire("eth0", address);
        wire.answered(LEASE + GRACE);
        for vlan in [100, 200] {
            answers_only_the_last(&wire, || wire.ask_in(vlan));
        }
    }
    node.stop();
}

#[test]
fn a_question_to_an_interface_above_another_is_answered_there_if_its_pool_names_it() {
    const UPPER: [u8; 6] = [2, 0, 0, 0, 0, 0xaa];
    let network = Network::new();
    network.stack("node-1", "upper", "eth0");
    let wire = network.wire("eth0", vip(0));
    let node = Node::start(&network, &Leases::new(), "node-1", LEASE);
    wire.answered(LEASE + GRACE);
    answers_only_the_last(&wire, || wire.ask_only(UPPER));
    node.name_interfaces(&["upper"]);
    let began = Instant::now();
    loop {
        wire.ask_only(UPPER);
        if wire.heard().contains(&Heard::Answer { node: UPPER[5] }) {
            break;
        }
        assert!(began.elapsed() < GRACE, "no answer");
    }
    node.stop();
}

/// Asks some times in a way that is not to be answered, and once as usual: answers come in the order of questions.
fn answers_only_the_last(wire: &Wire, ask: impl Fn()) {
    std::thread::sleep(Duration::from_millis(200));
    wire.answers();
    (0..3).for_each(|_| ask());
    wire.ask();
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(wire.answers(), 1);
}

#[test]
fn a_node_with_two_interfaces_in_one_network_is_in_no_conflict_with_itself() {
    let network = Network::new();
    network.attach_again("node-1", "eth1");
    let wire = network.wire("eth0", vip(0));
    let node = Node::start(&network, &Leases::new(), "node-1", LEASE);
    wire.answered(LEASE + GRACE);
    // Announcements of both, of which each hears the other's.
    wire.announced(15, LEASE + GRACE);
    assert_eq!(node.conflicts(), 0);
    wire.claim();
    until_heard(&node, 2);
    node.stop();
}

#[test]
fn a_lease_whose_label_somebody_took_off_gets_it_again_and_nobody_falls_silent() {
    let Pair { network, leases, nodes, owner, listener, .. } = Pair::announcing(vip(0));
    let lease = format!("portolan-announcer-{owner}");
    leases.unlabel(&lease);
    let began = Instant::now();
    while began.elapsed() < LEASE * 2 {
        resolve(&network, vip(0), &[owner.as_str()], Duration::from_secs(1));
        std::thread::sleep(LEASE / 10);
    }
    assert!(leases.labelled(&lease));
    assert_eq!(listener.turns(), [number(&owner)]);
    nodes.into_iter().for_each(Node::stop);
}

fn until_heard(node: &Node, conflicts: usize) {
    let began = Instant::now();
    while node.conflicts() != conflicts {
        assert!(began.elapsed() < GRACE, "{} conflicts heard, not {conflicts}", node.conflicts());
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_great_many_addresses_are_announced_where_the_kernel_has_no_room_for_their_filter() {
    let network = Network::new();
    network.limit_filters("node-1", 20_480);
    network.route("10.99.0.0/16");
    let node = Node::start(&network, &Leases::new(), "node-1", LEASE);
    resolve(&network, vip(0), &["node-1"], LEASE + GRACE);
    let many: Vec<IpAddr> = (0..1000u32).map(|n| std::net::Ipv4Addr::from(0x0a63_0000 + n).into()).collect();
    node.announce_all("10.99.0.0/16", &many);
    resolve(&network, many[0], &["node-1"], LEASE + GRACE);
    // Until nobody is told any more without asking.
    std::thread::sleep(LEASE + Duration::from_secs(1));
    for address in [many[0], many[999]] {
        resolve(&network, address, &["node-1"], LEASE + GRACE);
    }
    node.stop();
}
