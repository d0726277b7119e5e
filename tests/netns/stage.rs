//! A network with somebody who answers everywhere, and the rules of both families on its node.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use portolan_netfilter::{Ruleset, Socket};
use portolan_tests::echo::Echo;
use portolan_tests::network::{Network, address, pods};
use portolan_tests::probe::{Observed, Probe};
use portolan_tests::product::Product;
use portolan_tests::reference::{Expected, Flow, World};
use portolan_tests::scene::{PORT, TARGET_PORT};
use portolan_tests::sctp::Listeners;

/// How long an answer may take, and how long silence has to last.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);
const SILENCE: Duration = Duration::from_millis(300);
/// Refusals come at once, and not for a second try.
const AT_ONCE: Duration = Duration::from_millis(900);
/// Flows after which every one of three endpoints was chosen, but for once in ten thousand million times.
const ENOUGH: usize = 60;

/// Network, servers and rules.
pub(crate) struct Stage {
    pub(crate) network: Network,
    _servers: Vec<Echo>,
    products: [Product<Socket>; 2],
}

impl Stage {
    pub(crate) fn new() -> Self {
        let network = Network::new();
        let servers = servers(&network);
        let start = |v4| {
            let socket = network.node.enter(|| Socket::open().expect("a socket"));
            Product::start(socket, v4).expect("nf_tables")
        };
        let products = [start(true), start(false)];
        Self { network, _servers: servers, products }
    }

    pub(crate) fn product(&mut self, v4: bool) -> &mut Product<Socket> {
        &mut self.products[usize::from(!v4)]
    }

    /// Brings the rules up to a cluster, and reads them back.
    pub(crate) fn install(&mut self, world: &World) -> Ruleset {
        let product = self.product(world.addresses[0].is_ipv4());
        product.sync(world).expect("the kernel takes the batch");
        product.read_back().expect("the rules can be read")
    }
}

/// Somebody who answers on every pod.
pub(crate) fn servers(network: &Network) -> Vec<Echo> {
    let both = pods().flat_map(|pod| [(pod, true), (pod, false)]);
    both.map(|(pod, v4)| Echo::new(network.home(pod), address(pod, v4), TARGET_PORT)).collect()
}

/// Somebody on every pod who notes SCTP packets.
pub(crate) fn sctp_listeners(network: &Network, v4: bool) -> Listeners {
    let listeners = Listeners::default();
    for pod in pods() {
        listeners.listen(network.home(pod), address(pod, v4), TARGET_PORT);
    }
    listeners
}

/// A probe from somebody to the cluster IP.
pub(crate) fn to_cluster_ip(udp: bool, from: &str, v4: bool) -> Probe {
    let destination = SocketAddr::new(address("cluster", v4), PORT);
    Probe { udp, source: SocketAddr::new(address(from, v4), 0), destination, patience: PATIENCE }
}

/// Who answered.
pub(crate) fn server(observed: Observed) -> IpAddr {
    match observed {
        Observed::Answer { server, .. } => server.ip(),
        other => panic!("no answer: {other:?}"),
    }
}

/// Sends real packets and tells how what became of them differs from what is expected.
pub(crate) fn packets(
    network: &Network,
    sctp: &Listeners,
    from: &str,
    flow: &Flow,
    expected: &Expected,
) -> Result<(), String> {
    let patience = match expected {
        Expected::Drop | Expected::Untouched => SILENCE,
        Expected::Reject => AT_ONCE,
        Expected::Forward(_) => PATIENCE,
    };
    let home = network.home(from);
    let send = |count: usize| -> Vec<Observed> {
        let (source, destination) = (flow.source, flow.destination);
        if flow.protocol == "SCTP" {
            return (0..count).map(|_| sctp.send(home, source, destination, patience)).collect();
        }
        Probe { udp: flow.protocol == "UDP", source, destination, patience }.send_many(home, count)
    };
    let Expected::Forward(targets) = expected else {
        let observed = send(1)[0];
        let right = match expected {
            Expected::Drop => observed == Observed::Silence,
            Expected::Reject => observed == Observed::Refused,
            // The host that it goes to may refuse it or not be there.
            _ => !matches!(observed, Observed::Answer { .. }),
        };
        return if right { Ok(()) } else { Err(format!("{observed:?}")) };
    };
    let v4 = flow.source.is_ipv4();
    let node = ["node", "node-2"].map(|who| address(who, v4));
    let count = if targets.len() == 1 { 5 } else { ENOUGH };
    let mut seen = Vec::new();
    for observed in send(count) {
        let Observed::Answer { server, client } = observed else { return Err(format!("{observed:?}")) };
        let Some(masquerade) = targets.get(&server) else { return Err(format!("{server} answered")) };
        let masqueraded = client.ip() != flow.source.ip();
        if masqueraded && !node.contains(&client.ip()) {
            return Err(format!("{server} saw {client}"));
        }
        // The node's own flows carry one of its addresses either way.
        if masqueraded != *masquerade && !node.contains(&flow.source.ip()) {
            return Err(format!("{server} saw {client}, source {}", flow.source));
        }
        if !seen.contains(&server) {
            seen.push(server);
        }
    }
    if seen.len() == targets.len() { Ok(()) } else { Err(format!("only {seen:?} answered")) }
}
