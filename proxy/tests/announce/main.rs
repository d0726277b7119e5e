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
    address: IpAddr,
    owner: String,
    /// The other one.
    heir: &'static str,
    /// Has heard the owner.
    listener: Listener,
}

impl Pair {
    fn announcing() -> Self {
        let network = Network::new();
        let leases = Leases::new();
        let nodes = ["node-1", "node-2"].map(|name| Node::start(&network, &leases, name, LEASE));
        std::thread::sleep(LEASE);
        let address: IpAddr = VIPS[0].parse().unwrap();
        let owner = resolve(&network, address, &["node-1", "node-2"], LEASE + GRACE);
        let heir = if owner == "node-1" { "node-2" } else { "node-1" };
        let listener = network.listen();
        listener.hear(number(&owner), GRACE);
        Self { network, leases, nodes, address, owner, heir, listener }
    }
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
    let listener = network.listen();
    let mut turns = vec![number(resolve(&network, VIPS[0].parse().unwrap(), &["node-1", "node-2"], GRACE))];
    for address in VIPS {
        let address: IpAddr = address.parse().unwrap();
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
    let Pair { network, leases, nodes, address, owner, heir, listener } = Pair::announcing();
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
fn an_announced_address_follows_the_interfaces_that_its_pool_names() {
    let network = Network::new();
    ["eth1", "eth2"].into_iter().for_each(|interface| network.link("node-1", interface));
    let wires = ["eth0", "eth1", "eth2"].map(|interface| network.wire(interface));
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
    let Pair { network, nodes, address, owner, heir, listener, .. } = Pair::announcing();
    network.readdress(&owner, "del");
    // Within a look at the interfaces, and what two Leases take: nobody has to die.
    resolve(&network, address, &[heir], LEASE + GRACE);
    listener.hear(number(heir), GRACE);
    network.readdress(&owner, "add");
    resolve(&network, address, &[owner.as_str()], LEASE + GRACE);
    listener.hear(number(&owner), GRACE);
    assert_eq!(listener.turns(), [owner.as_str(), heir, &owner].map(number));
    nodes.into_iter().for_each(Node::stop);
}
