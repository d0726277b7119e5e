//! `portolan-proxy` as a program: it follows an API server, is killed and comes back, and cleans up.

use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use portolan_netfilter::Socket;
use portolan_tests::api::Api;
use portolan_tests::echo::Echo;
use portolan_tests::network::{CLUSTER_CIDRS, Network, address};
use portolan_tests::probe::{Connection, Observed, Probe};
use portolan_tests::program::{Program, path};
use portolan_tests::reference::World;
use portolan_tests::scene::{add, empty, set_endpoints};
use tempfile::NamedTempFile;

use crate::stage::{server, servers, to_cluster_ip};

/// How long a change may take until it is in the kernel; far more than it does.
const DEADLINE: Duration = Duration::from_secs(10);
const STICKY: &str = r#"{"spec":{"sessionAffinity":"ClientIP"}}"#;

/// A node whose rules the program makes.
struct Node {
    network: Network,
    _servers: Vec<Echo>,
    api: Api,
    kubeconfig: NamedTempFile,
    /// The cluster in both families; a Service is of one family, so they have names of their own.
    worlds: [World; 2],
}

impl Node {
    fn new(patch: &str, endpoints: &str) -> Self {
        let network = Network::new();
        let servers = servers(&network);
        let api = Api::new(&network.node);
        let kubeconfig = NamedTempFile::new().expect("a file");
        std::fs::write(kubeconfig.path(), api.kubeconfig()).expect("a file can be written");
        let mut worlds = [empty(true), empty(false)];
        for (world, name) in worlds.iter_mut().zip(["v4", "v6"]) {
            add(world, name, patch, endpoints);
        }
        let node = Self { network, _servers: servers, api, kubeconfig, worlds };
        node.show();
        node
    }

    fn show(&self) {
        self.api.show(&[&self.worlds[0], &self.worlds[1]]);
    }

    fn set_endpoints(&mut self, endpoints: &str) {
        for (world, name) in self.worlds.iter_mut().zip(["v4", "v6"]) {
            set_endpoints(world, name, endpoints);
        }
        self.show();
    }

    fn start(&self) -> Program {
        let kubeconfig = self.kubeconfig.path().to_string_lossy();
        let cidrs = CLUSTER_CIDRS.join(",");
        let arguments = [
            "--kubeconfig",
            &kubeconfig,
            "--node-name",
            "node",
            "--cluster-cidr",
            &cidrs,
            "--conntrack-max-per-core",
            "0",
            "--admin-bind-address",
            "127.0.0.1:10249",
        ];
        Program::start(&self.network.node, "portolan-proxy", &arguments)
    }

    /// Starts the program and waits until it serves.
    fn serving(&self) -> Program {
        let program = self.start();
        for v4 in [true, false] {
            self.wait_for("service", || matches!(self.ask(v4), Observed::Answer { .. }), &program);
        }
        program
    }

    fn ask(&self, v4: bool) -> Observed {
        Probe { patience: Duration::from_millis(300), ..to_cluster_ip(false, "pod-c", v4) }
            .send(self.network.home("pod-c"))
    }

    fn open(&self, udp: bool, v4: bool) -> Connection {
        let probe = to_cluster_ip(udp, "pod-c", v4);
        probe.open(self.network.home("pod-c")).expect("a connection")
    }

    fn wait_for(&self, what: &str, mut is_so: impl FnMut() -> bool, program: &Program) {
        let begun = Instant::now();
        while !is_so() {
            assert!(begun.elapsed() < DEADLINE, "no {what} after {DEADLINE:?}:\n{}", program.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn generation(&self) -> u32 {
        self.network.node.enter(|| {
            Socket::open().and_then(|mut socket| socket.generation()).expect("the number of the last batch")
        })
    }
}

#[test]
fn nobody_notices_that_it_is_killed_and_comes_back() {
    let node = Node::new(STICKY, "pod-a pod-b remote-a remote-b");
    let mut program = node.serving();
    let mut kept = [true, false].map(|v4| node.open(false, v4));
    let before: Vec<IpAddr> = kept.iter_mut().map(|flow| server(flow.ask())).collect();
    let generation = node.generation();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let load: Vec<_> = [true, false]
            .into_iter()
            .zip(&before)
            .map(|(v4, chosen)| {
                let (node, done) = (&node, &done);
                // Counts, so that a failure here cannot leave the others running for ever.
                scope.spawn(move || {
                    let (mut flows, mut wrong) = (0, Vec::new());
                    while !done.load(Ordering::Relaxed) {
                        flows += 1;
                        match node.ask(v4) {
                            Observed::Answer { server, .. } if server.ip() == *chosen => {}
                            other => wrong.push(other),
                        }
                    }
                    (flows, wrong)
                })
            })
            .collect();
        for round in 0..4 {
            if round % 2 == 0 {
                program.kill();
            } else {
                assert!(program.stop().success(), "{}", program.log());
            }
            std::thread::sleep(Duration::from_millis(200));
            program = node.start();
            std::thread::sleep(Duration::from_millis(800));
        }
        done.store(true, Ordering::Relaxed);
        for load in load {
            let (flows, wrong) = load.join().expect("no panic");
            assert!(flows > 500, "only {flows} flows");
            assert!(wrong.is_empty(), "{} of {flows} new flows: {wrong:?}", wrong.len());
        }
    });
    let after: Vec<IpAddr> = kept.iter_mut().map(|flow| server(flow.ask())).collect();
    assert_eq!(after, before, "kept flows");
    assert!(program.is_running());
    assert_eq!(node.generation(), generation, "a restart wrote rules:\n{}", program.log());
}

#[test]
fn what_changed_meanwhile_is_taken_up() {
    let mut node = Node::new("", "pod-a");
    let mut program = node.serving();
    program.kill();
    node.set_endpoints("pod-b");
    assert_eq!(server(node.ask(true)), address("pod-a", true), "rules stay while nobody is there");
    let program = node.start();
    for v4 in [true, false] {
        let is_so =
            || matches!(node.ask(v4), Observed::Answer { server, .. } if server.ip() == address("pod-b", v4));
        node.wait_for("change", is_so, &program);
    }
}

#[test]
fn udp_flows_leave_endpoints_that_are_gone() {
    let mut node = Node::new("", "pod-a");
    let program = node.serving();
    for v4 in [true, false] {
        node.set_endpoints("pod-a");
        let at = |flow: &mut Connection| match flow.ask() {
            Observed::Answer { server, .. } => Some(server.ip()),
            _ => None,
        };
        let on = |pod: &str| Some(address(pod, v4));
        let mut flow = node.open(true, v4);
        node.wait_for("pod-a", || at(&mut flow) == on("pod-a"), &program);
        // An endpoint that leaves but still answers keeps its flows; new ones go elsewhere.
        node.set_endpoints("pod-a:leaving pod-b");
        let fresh = || at(&mut node.open(true, v4)) == on("pod-b");
        node.wait_for("pod-b for new flows", fresh, &program);
        assert_eq!(at(&mut flow), on("pod-a"));
        node.set_endpoints("pod-b");
        node.wait_for("pod-b for the old flow", || at(&mut flow) == on("pod-b"), &program);
        // The last one goes: no black hole but an error. And the next one is found.
        node.set_endpoints("");
        node.wait_for("refusal", || flow.ask() == Observed::Refused, &program);
        node.set_endpoints("remote-a");
        node.wait_for("remote-a", || at(&mut flow) == on("remote-a"), &program);
    }
}

#[test]
fn cleanup_removes_our_tables_and_no_other() {
    let node = Node::new("", "pod-a");
    node.network.node.run("nft", &["add table ip other"]);
    let mut program = node.serving();
    let tables = || node.network.node.run("nft", &["list", "tables"]);
    assert!(tables().contains("table ip6 portolan"), "{}", tables());
    assert!(program.stop().success(), "{}", program.log());
    assert!(tables().contains("table ip portolan"), "the rules stay when it ends");
    let proxy = path("portolan-proxy");
    for _ in 0..2 {
        node.network.node.run(&proxy.to_string_lossy(), &["--cleanup"]);
        assert_eq!(tables().trim(), "table ip other");
    }
    assert!(!matches!(node.ask(true), Observed::Answer { .. }), "served without rules");
}
