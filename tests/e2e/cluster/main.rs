//! End-to-end tests: Portolan on a real control plane with real nodes.
//!
//! `cargo test -p portolan-e2e --test cluster -- [GROUP|SUITE]… [NAME]…` runs the suites of `tests/cluster`, or those that are named
//! or of a group that is named (`nodes`, `control-planes`, `kind`), or the cases whose name contains a NAME. The cases of a suite
//! share its cluster and run one after the other. `PORTOLAN_CLUSTER` and
//! `PORTOLAN_HARNESS` name a cluster that is up already.

mod allocation;
mod audit;
mod beside;
mod by_hand;
mod cleanup;
mod clients;
mod docs;
mod encodings;
mod environment;
mod install;
mod layer2;
mod load_balancers;
mod nodes;
mod outage;
mod pools;
mod readiness;
mod replicas;
mod resolve;
mod roles;
mod service_pools;
mod settings;
mod stress;
mod traffic;
mod upgrade;
mod workload;

use std::process::ExitCode;
use std::time::Instant;

use anyhow::Result;
use portolan_e2e::Cluster;

/// A named case.
type Case = (&'static str, fn(&Cluster) -> Result<()>);

/// Cases that share a cluster.
struct Suite {
    name: &'static str,
    /// What it runs on, under `tests/`.
    harness: &'static str,
    /// Arguments of the harness's `up`.
    up: &'static [&'static str],
    /// Whether the servers and clients of `workload` are there from the beginning.
    workload: bool,
    cases: &'static [Case],
}

impl Suite {
    fn group(&self) -> &'static str {
        match self.harness {
            "cluster" if self.up.contains(&"--no-kubelet") => "control-planes",
            "cluster" => "nodes",
            other => other,
        }
    }
}

const SUITES: &[Suite] = &[
    // Portolan as pods of its chart.
    Suite { name: "ipv4", harness: "cluster", up: &["--chart", "--audit"], workload: true, cases: IPV4 },
    Suite {
        name: "dual",
        harness: "cluster",
        up: &["--chart", "--family", "dual"],
        workload: true,
        cases: DUAL,
    },
    // Pods that opt in to service variables, and Services with values from pools.
    Suite {
        name: "environment",
        harness: "cluster",
        up: &["--chart", "--audit"],
        workload: false,
        cases: ENVIRONMENT,
    },
    // Load balancers.
    Suite {
        name: "load-balancers",
        harness: "cluster",
        up: &["--chart"],
        workload: true,
        cases: &[("Services are reached at the nodes' addresses", load_balancers::at_the_nodes)],
    },
    // A cluster without Services and names.
    Suite {
        name: "install",
        harness: "cluster",
        up: &["--without-portolan"],
        workload: false,
        cases: INSTALL,
    },
    // The control plane alone.
    Suite {
        name: "control-plane",
        harness: "cluster",
        up: &["--no-kubelet", "--portolan", "controllers"],
        workload: false,
        cases: CONTROL_PLANE,
    },
    // The same, with all that allocation has.
    Suite {
        name: "allocation",
        harness: "cluster",
        up: &["--no-kubelet", "--portolan", "controllers"],
        workload: false,
        cases: ALLOCATION,
    },
    // A plain kind cluster, and one that leaves its Services to Portolan.
    Suite { name: "kind-replace", harness: "kind", up: &[], workload: true, cases: KIND },
    Suite { name: "kind-beside", harness: "kind", up: UPSTREAM, workload: true, cases: BESIDE },
    // Portolan as processes.
    Suite { name: "processes", harness: "cluster", up: &[], workload: true, cases: PROCESSES },
    // A kind cluster with upstream's parts.
    Suite { name: "kind-migrate", harness: "kind", up: UPSTREAM, workload: false, cases: MIGRATE },
];

const UPSTREAM: &[&str] = &["--profile", "beside", "--without-portolan"];

const IPV4: &[Case] = &[
    ("names resolve from pods of both nodes", resolve::names),
    ("headless, SRV, PTR and ExternalName records", resolve::records),
    ("a ClusterIP reaches all three pods by name and from the node", traffic::cluster_ip),
    ("a NodePort on the other node, and on one without a local pod", traffic::node_port),
    ("a pod reaches itself through its Service", traffic::hairpin),
    ("ClientIP affinity", traffic::affinity),
    ("UDP goes on across a change of endpoints", traffic::udp),
    ("an unready pod gets no new connection, and comes back", readiness::unready),
    ("scale 3, 6, 0, 2; with 0 connections are refused at once", readiness::scaling),
    ("slices and Endpoints as upstream writes them, and no write without need", readiness::objects),
    ("Endpoints made by hand are served", by_hand::mirrored),
    ("malformed and hostile objects hurt nobody else", settings::malformed),
    ("what cannot be published or written is told", settings::impossible),
    ("each program killed and started again under traffic", outage::restarts),
    ("the API server away for 60 s", outage::api_server),
    ("connections to the API server that go silent", outage::silence),
    ("a node that comes and goes", nodes::come_and_go),
    ("from the image of an earlier commit and back, under traffic", upgrade::there_and_back),
    ("an API server that the proxy cannot reach", install::unreachable),
    ("a second release is refused", install::second_release),
    ("each part is granted what it uses, and no more", roles::least),
    ("uninstalled without a trace", install::gone_without_trace),
];

const ENVIRONMENT: &[Case] = &[
    ("the same variables by a kubelet, portolan up and the webhook", environment::three_ways),
    ("three thousand Services in a namespace", environment::thousands),
    ("pods are made while the webhook is away", environment::webhook_down),
    (
        "Services get values from pools, and load balancers addresses, by the chart",
        service_pools::by_the_chart,
    ),
    ("what was made goes when nobody wants it", environment::tidied),
    ("what the chart grants for these parts has been used", roles::added),
    ("uninstalled without a trace", install::gone_without_trace),
];

const INSTALL: &[Case] = &[
    ("every object reads the same in JSON and in protobuf", encodings::agree),
    ("wrong and missing values are named", install::wrong_values),
    ("from nothing to a look-up, ten times, and away without a trace", install::from_nothing),
    ("uninstalled, and switched off and on again, with a node down", cleanup::with_a_node_down),
    ("uninstalled and switched off by a helm that is interrupted", cleanup::interrupted),
    ("the commands of docs/install.md", docs::install),
];

const CONTROL_PLANE: &[Case] = &[
    ("load balancers get addresses from pools", pools::give_addresses),
    ("Services get cluster IPs and node ports from pools", service_pools::choose_values),
    ("two thousand Services while replicas of the webhook are killed", stress::pools_under_kills),
];

const ALLOCATION: &[Case] = &[
    ("a ServiceCIDR comes, is kept while it is needed, and goes", allocation::ranges_come_and_go),
    ("a cluster IP out of range is told", allocation::out_of_range),
    ("a node port out of range is told", allocation::port_out_of_range),
    ("an address that is recorded for no Service goes", allocation::address_without_service),
    ("what two Services have, and what no range has, is told at once", audit::duplicates),
    ("the end of ranges is told ahead", audit::nearly_full),
    ("what the API server cannot repair is told after its grace", audit::unrepaired),
    ("what status cannot do is one line", allocation::refusals),
];

/// Those of `ipv4` that look at what differs on kind: its nodes, its network and its own pods.
const KIND: &[Case] = &[
    ("names resolve from pods of both nodes", resolve::names),
    ("headless, SRV, PTR and ExternalName records", resolve::records),
    ("a ClusterIP reaches all three pods by name and from the node", traffic::cluster_ip),
    ("a NodePort on the other node, and on one without a local pod", traffic::node_port),
    ("a pod reaches itself through its Service", traffic::hairpin),
    ("ClientIP affinity", traffic::affinity),
    ("UDP goes on across a change of endpoints", traffic::udp),
    ("an unready pod gets no new connection, and comes back", readiness::unready),
    ("scale 3, 6, 0, 2; with 0 connections are refused at once", readiness::scaling),
    ("malformed and hostile objects hurt nobody else", settings::malformed),
    ("each program killed and started again under traffic", outage::restarts),
    ("a second release is refused", install::second_release),
    ("uninstalled without a trace", install::gone_without_trace),
];

const BESIDE: &[Case] =
    &[("step by step from upstream's parts and back, under traffic", beside::step_by_step)];

const DUAL: &[Case] = &[
    ("names resolve from pods of both nodes", resolve::names),
    ("AAAA records", resolve::quad_a),
    ("a ClusterIP reaches all three pods by name and from the node", traffic::cluster_ip),
    ("ClusterIP and NodePort over IPv6", traffic::ipv6),
    ("a NodePort on the other node, and on one without a local pod", traffic::node_port),
    ("load balancers are found by ARP and NDP from outside", layer2::from_outside),
];

const MIGRATE: &[Case] = &[("the commands of docs/migrate.md, there and back", docs::migrate)];

const PROCESSES: &[Case] = &[
    ("names resolve from pods of both nodes", resolve::names),
    ("a ClusterIP reaches all three pods by name and from the node", traffic::cluster_ip),
    ("wrong settings end with one line and status 64", settings::refused),
    ("each program killed and started again under traffic", outage::restarts),
];

fn main() -> ExitCode {
    // cargo passes flags meant for its own harness; what is left selects.
    let words: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with("--")).collect();
    let says = |word: &str, suite: &Suite| [suite.name, suite.group()].contains(&word);
    let (suites, filters): (Vec<_>, Vec<_>) =
        words.iter().partition(|word| SUITES.iter().any(|suite| says(word, suite)));
    let chosen = |case: &&Case| filters.is_empty() || filters.iter().any(|word| case.0.contains(*word));
    let wanted = |suite: &Suite| match suites[..] {
        [] => suite.harness == "cluster",
        _ => suites.iter().any(|word| says(word, suite)),
    };
    let (mut passed, mut failed) = (0, Vec::new());
    for suite in SUITES.iter().filter(|suite| wanted(suite)) {
        let cases: Vec<_> = suite.cases.iter().filter(chosen).collect();
        if cases.is_empty() {
            continue;
        }
        match run(suite, &cases) {
            Ok(losers) => {
                passed += cases.len() - losers.len();
                failed.extend(losers);
            }
            Err(error) => {
                println!("{}: no cluster: {error:#}", suite.name);
                failed.extend(cases.iter().map(|case| format!("{}: {}", suite.name, case.0)));
            }
        }
    }
    for name in &failed {
        println!("failed: {name}");
    }
    println!("{passed} passed, {} failed", failed.len());
    if failed.is_empty() && passed > 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn run(suite: &Suite, cases: &[&Case]) -> Result<Vec<String>> {
    let name = suite.name;
    let began = Instant::now();
    let cluster = Cluster::up(suite.harness, name, suite.up)?;
    if suite.workload {
        workload::deploy(&cluster)?;
    }
    println!("{name}: cluster ready after {:.1} s", began.elapsed().as_secs_f64());
    let mut failed = Vec::new();
    for (case, test) in cases {
        let began = Instant::now();
        let outcome = test(&cluster);
        let seconds = began.elapsed().as_secs_f64();
        match outcome {
            Ok(()) => println!("test {name}: {case} ... ok ({seconds:.1} s)"),
            Err(error) => {
                println!("test {name}: {case} ... FAILED ({seconds:.1} s)\n    {error:#}");
                failed.push(format!("{name}: {case}"));
                // What follows starts from the same workload, whatever this one left.
                if suite.workload {
                    workload::settle(&cluster)?;
                }
            }
        }
    }
    Ok(failed)
}
