//! A link with a client and nodes on it.

use std::collections::BTreeMap;
use std::net::{IpAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::sched::{CloneFlags, setns};
use portolan_core::{EndpointSlice, Event, LoadBalancerPool, Node as NodeObject, Service};
use portolan_proxy::announce::{self, Announcement, Context, Metrics};
use portolan_runtime::Store;
use prometheus_client::registry::Registry;
use tokio_util::sync::CancellationToken;

use crate::host::Host;
use crate::leases::Leases;
use crate::wire::{Heard, Wire};

/// Addresses of the Service.
pub(crate) const VIPS: [&str; 2] = ["192.0.2.100", "2001:db8::100"];

/// Hosts on a bridge.
pub(crate) struct Network {
    bridge: Host,
    client: Host,
    nodes: BTreeMap<String, Host>,
}

impl Network {
    /// A client and two nodes; the nodes' hardware addresses end in their numbers.
    pub(crate) fn new() -> Self {
        let bridge = Host::new("bridge");
        bridge.ip("link add br0 type bridge mcast_snooping 1");
        bridge.ip("link set br0 up");
        let attach = |role: &str, number: u8| {
            let host = Host::new(role);
            let mac = format!("02:00:00:00:00:{number:02x}");
            bridge
                .ip(&format!("link add {role} type veth peer name eth0 address {mac} netns {}", host.name()));
            bridge.ip(&format!("link set {role} master br0 up"));
            host.ip(&format!("address add 192.0.2.{number}/24 dev eth0"));
            host.ip(&format!("address add 2001:db8::{number}/64 dev eth0 nodad"));
            host.ip("link set eth0 up");
            host
        };
        let client = attach("client", 9);
        let nodes =
            [1, 2].map(|number| (format!("node-{number}"), attach(&format!("node-{number}"), number)));
        Self { client, nodes: nodes.into(), bridge }
    }

    /// Another link between the client and a node, without addresses.
    pub(crate) fn link(&self, node: &str, interface: &str) {
        let (client, node) = (&self.client, &self.nodes[node]);
        let far = node.name();
        client.ip(&format!("link add {interface} type veth peer name {interface} netns {far}"));
        client.ip(&format!("link set {interface} up"));
        node.ip(&format!("link set {interface} up"));
    }

    /// An interface of a node above another one. Like that of a VLAN, it gets its frames from that one's receive handler; its
    /// hardware address ends in `aa`.
    pub(crate) fn stack(&self, node: &str, interface: &str, below: &str) {
        let node = &self.nodes[node];
        node.ip(&format!(
            "link add link {below} name {interface} address 02:00:00:00:00:aa type macvlan mode bridge"
        ));
        node.ip(&format!("link set {interface} up"));
    }

    /// An interface of a node for a VLAN; not every kernel has them.
    pub(crate) fn try_vlan(&self, node: &str, vlan: u16) {
        let name = self.nodes[node].name();
        let words = format!("-n {name} link add link eth0 name eth0.{vlan} up type vlan id {vlan}");
        let _ = std::process::Command::new("ip").args(words.split_whitespace()).output();
    }

    /// Another interface of a node on the same bridge.
    pub(crate) fn attach_again(&self, node: &str, interface: &str) {
        let number = crate::number(node);
        let (far, port) = (self.nodes[node].name(), format!("{node}-2"));
        self.bridge.ip(&format!("link add {port} type veth peer name {interface} netns {far}"));
        self.bridge.ip(&format!("link set {port} master br0 up"));
        self.nodes[node].ip(&format!("address add 192.0.2.{number}1/24 dev {interface}"));
        self.nodes[node].ip(&format!("link set {interface} up"));
    }

    /// Takes a node's IPv4 address off its interface (`del`), or gives it back (`add`).
    pub(crate) fn readdress(&self, node: &str, how: &str) {
        let number = crate::number(node);
        self.nodes[node].ip(&format!("address {how} 192.0.2.{number}/24 dev eth0"));
    }

    /// Pulls the cable of a node out of its switch (`down`), or plugs it in (`up`); the node's interface stays up.
    pub(crate) fn plug(&self, node: &str, how: &str) {
        self.bridge.ip(&format!("link set {node} {how}"));
    }

    /// What is said on an interface of the client about an address.
    pub(crate) fn wire(&self, interface: &str, address: IpAddr) -> Wire {
        self.client.enter(|| Wire::open(interface, address))
    }

    /// The client takes an IPv6 address for itself, after it has asked whether it is free, or without asking but not
    /// without saying so. Returns whether it has it.
    pub(crate) fn take(&self, address: IpAddr, asks: bool) -> bool {
        self.client.enter(|| {
            for (setting, on) in [("accept_dad", asks), ("ndisc_notify", !asks)] {
                let file = format!("/proc/sys/net/ipv6/conf/eth0/{setting}");
                std::fs::write(file, if on { "1" } else { "0" }).unwrap();
            }
        });
        self.client.ip(&format!("address add {address}/64 dev eth0"));
        let began = Instant::now();
        loop {
            let shown = self.client.ip(&format!("address show dev eth0 to {address}"));
            if shown.contains("dadfailed") {
                self.client.ip(&format!("address del {address}/64 dev eth0"));
                return false;
            }
            if !shown.contains("tentative") {
                return true;
            }
            assert!(began.elapsed() < Duration::from_secs(10), "{shown}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// The hardware address that the client's kernel finds for an address, if it finds one at once.
    pub(crate) fn neighbour(&self, address: IpAddr) -> Option<String> {
        let _ = std::process::Command::new("ip")
            .args(["-n", self.client.name(), "neigh", "flush", "to", &address.to_string()])
            .output();
        self.client.enter(|| {
            let any = if address.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
            let socket = UdpSocket::bind(any).unwrap();
            let _ = socket.send_to(b"?", (address, 9));
        });
        for _ in 0..10 {
            let shown = self.client.ip(&format!("neigh show to {address}"));
            if let Some((_, rest)) = shown.split_once("lladdr ") {
                return rest.split_whitespace().next().map(str::to_owned);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        None
    }

    /// Whose hardware address it is.
    pub(crate) fn node_of(&self, mac: &str) -> Option<String> {
        mac.strip_prefix("02:00:00:00:00:0").map(|number| format!("node-{number}"))
    }

    /// The client is on the same link as these addresses.
    pub(crate) fn route(&self, addresses: &str) {
        self.client.ip(&format!("route add {addresses} dev eth0"));
    }

    /// The kernel of a node has little room for filters, as older ones had (`net.core.optmem_max`).
    pub(crate) fn limit_filters(&self, node: &str, bytes: usize) {
        // Before Linux 6.8 the limit is the same in all namespaces, and not there to be set.
        let limit = || std::fs::write("/proc/sys/net/core/optmem_max", bytes.to_string());
        self.nodes[node].enter(|| drop(limit()));
    }

    /// Asks for an address without end, and notes who answers.
    pub(crate) fn listen(&self, address: IpAddr) -> Listener {
        let (answers, over) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicBool::new(false)));
        let (noted, ended, handle) = (answers.clone(), over.clone(), self.client.handle());
        let thread = std::thread::spawn(move || {
            setns(&handle, CloneFlags::CLONE_NEWNET).unwrap();
            let wire = Wire::open("eth0", address);
            while !ended.load(Ordering::Relaxed) {
                wire.ask();
                while let Some(heard) = wire.hear() {
                    if let Heard::Answer { node } = heard {
                        noted.lock().unwrap().push(node);
                    }
                }
            }
        });
        Listener { answers, over, thread }
    }
}

/// Who answered the client's questions.
pub(crate) struct Listener {
    answers: Arc<Mutex<Vec<u8>>>,
    over: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Listener {
    /// Waits until its last answer came from that node: on a busy machine it asks seldom.
    pub(crate) fn hear(&self, node: u8, patience: Duration) {
        let began = Instant::now();
        while self.answers.lock().unwrap().last() != Some(&node) {
            assert!(began.elapsed() < patience, "no answer from node {node}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// The nodes that answered, by number, each as often as it came after another: two that answer at a time would
    /// stand there in turns.
    pub(crate) fn turns(self) -> Vec<u8> {
        self.over.store(true, Ordering::Relaxed);
        self.thread.join().unwrap();
        let mut turns = self.answers.lock().unwrap().clone();
        turns.dedup();
        turns
    }
}

/// A node that announces.
pub(crate) struct Node {
    name: String,
    store: Store,
    metrics: Metrics,
    ended: CancellationToken,
    killed: CancellationToken,
    thread: JoinHandle<()>,
}

impl Node {
    pub(crate) fn start(network: &Network, leases: &Leases, name: &str, lease_duration: Duration) -> Self {
        let (ended, killed) = (CancellationToken::new(), CancellationToken::new());
        let (end, kill, handle) = (ended.clone(), killed.clone(), network.nodes[name].handle());
        let (leases, node, store) = (leases.clone(), name.to_owned(), store(name));
        let (held, metrics) = (store.clone(), Metrics::default());
        let counted = metrics.clone();
        let thread = std::thread::spawn(move || {
            setns(&handle, CloneFlags::CLONE_NEWNET).unwrap();
            // On this thread alone, so that all sockets are in the namespace.
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let context = Context {
                    client: leases.connect(&node, &store),
                    node: node.as_str().into(),
                    settings: Announcement { namespace: "n".to_owned(), lease_duration },
                    store,
                    recorder: None,
                    metrics: counted,
                };
                tokio::select! {
                    () = announce::announce(&context, &end) => {}
                    () = kill.cancelled() => {}
                }
            });
        });
        Self { name: name.to_owned(), store: held, metrics, ended, killed, thread }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Another Service has these addresses, and the pool as well.
    pub(crate) fn announce_all(&self, addresses: &str, ingress: &[IpAddr]) {
        let ingress: Vec<_> = ingress.iter().map(|ip| serde_json::json!({"ip": ip})).collect();
        let service: Service = serde_json::from_value(serde_json::json!({
            "metadata": {"namespace": "n", "name": "many", "uid": "v"},
            "spec": {"type": "LoadBalancer", "clusterIPs": ["10.0.0.2"], "ports": [{"port": 80}]},
            "status": {"loadBalancer": {"ingress": ingress}}}))
        .unwrap();
        self.store.apply([Event::Applied(pool_of(&[addresses], &["eth0"]))]);
        self.store.apply([Event::Applied(slice("many", "IPv4", "10.1.0.2"))]);
        self.store.apply([Event::Applied(service)]);
    }

    /// How often it has heard that somebody else has an address of its own.
    pub(crate) fn conflicts(&self) -> usize {
        let (mut registry, mut text) = (Registry::default(), String::new());
        self.metrics.register(&mut registry);
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        let value = text.lines().find_map(|line| line.strip_prefix("portolan_announce_conflicts_total "));
        value.unwrap().parse().unwrap()
    }

    /// The pool names these interfaces from now on.
    pub(crate) fn name_interfaces(&self, interfaces: &[&str]) {
        self.store.apply([Event::Applied(pool(interfaces))]);
    }

    /// Ends it without a word to anybody.
    pub(crate) fn kill(self) {
        self.killed.cancel();
        self.thread.join().unwrap();
    }

    /// Ends it in good order.
    pub(crate) fn stop(self) {
        self.ended.cancel();
        self.thread.join().unwrap();
    }
}

/// A Service with an address of each family, and a pool.
fn store(node: &str) -> Store {
    let store = Store::for_readers();
    let object: NodeObject =
        serde_json::from_str(&format!(r#"{{"metadata": {{"name": "{node}", "uid": "u"}}}}"#)).unwrap();
    store.apply([Event::ListBegins, Event::Applied(object), Event::ListEnds]);
    store.apply([Event::ListBegins, Event::Applied(pool(&[])), Event::ListEnds]);
    let service: Service = serde_json::from_str(
        r#"{"metadata": {"namespace": "n", "name": "s", "uid": "u"},
            "spec": {"type": "LoadBalancer", "clusterIPs": ["10.0.0.1", "fd00::a"], "ports": [{"port": 80}]},
            "status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.100"}, {"ip": "2001:db8::100"}, {"ip": "192.0.2.99"}]}}}"#,
    )
    .unwrap();
    store.apply([Event::ListBegins, Event::Applied(service), Event::ListEnds]);
    let slices = [("IPv4", "10.1.0.1"), ("IPv6", "fd00:1::1")];
    let slices = slices.map(|(family, address)| Event::Applied(slice("s", family, address)));
    store.apply([Event::ListBegins].into_iter().chain(slices).chain([Event::ListEnds]));
    store
}

fn slice(service: &str, family: &str, address: &str) -> EndpointSlice {
    let labels = serde_json::json!({"kubernetes.io/service-name": service});
    serde_json::from_value(serde_json::json!({
        "metadata": {"namespace": "n", "name": format!("{service}-{family}"), "labels": labels},
        "addressType": family, "endpoints": [{"addresses": [address]}]}))
    .unwrap()
}

fn pool(interfaces: &[&str]) -> LoadBalancerPool {
    pool_of(&["192.0.2.100-192.0.2.110", "2001:db8::100"], interfaces)
}

fn pool_of(addresses: &[&str], interfaces: &[&str]) -> LoadBalancerPool {
    let spec = serde_json::json!({"addresses": addresses, "interfaces": interfaces});
    serde_json::from_value(serde_json::json!({"metadata": {"name": "p"}, "spec": spec})).unwrap()
}
