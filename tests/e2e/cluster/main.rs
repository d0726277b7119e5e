//! End-to-end tests: Portolan's three programs on a real control plane with two real nodes.
//!
//! `cargo test -p portolan-e2e --test cluster -- [ipv4|dual] [NAME]` runs all, one cluster, or the cases
//! whose name contains NAME. The cases of a cluster share it and its workload and run one after the other.

mod outage;
mod readiness;
mod resolve;
mod settings;
mod traffic;
mod workload;

use std::process::ExitCode;
use std::time::Instant;

use anyhow::Result;
use portolan_e2e::{Cluster, Family};

/// A named case.
type Case = (&'static str, fn(&Cluster) -> Result<()>);

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
    ("malformed and hostile objects hurt nobody else", settings::malformed),
    ("wrong settings end with one line and status 64", settings::refused),
    ("each program killed and started again under traffic", outage::restarts),
    ("the API server away for 60 s", outage::api_server),
    ("connections to the API server that go silent", outage::silence),
];

const DUAL: &[Case] = &[
    ("names resolve from pods of both nodes", resolve::names),
    ("AAAA records", resolve::quad_a),
    ("a ClusterIP reaches all three pods by name and from the node", traffic::cluster_ip),
    ("ClusterIP and NodePort over IPv6", traffic::ipv6),
    ("a NodePort on the other node, and on one without a local pod", traffic::node_port),
];

fn main() -> ExitCode {
    // cargo passes flags meant for its own harness; what is left selects.
    let words: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with("--")).collect();
    let wanted = |word: &str| words.iter().any(|other| other == word);
    let filter = words.iter().find(|word| !["ipv4", "dual"].contains(&word.as_str()));
    let both = !wanted("ipv4") && !wanted("dual");
    let (mut passed, mut failed) = (0, Vec::new());
    for (family, name, cases) in [(Family::Ipv4, "ipv4", IPV4), (Family::Dual, "dual", DUAL)] {
        if !both && !wanted(name) {
            continue;
        }
        let cases: Vec<_> =
            cases.iter().filter(|case| filter.is_none_or(|filter| case.0.contains(filter))).collect();
        match run(family, name, &cases) {
            Ok(losers) => {
                passed += cases.len() - losers.len();
                failed.extend(losers);
            }
            Err(error) => {
                println!("{name}: no cluster: {error:#}");
                failed.extend(cases.iter().map(|case| format!("{name}: {}", case.0)));
            }
        }
    }
    for name in &failed {
        println!("failed: {name}");
    }
    println!("{passed} passed, {} failed", failed.len());
    if failed.is_empty() && passed > 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn run(family: Family, name: &str, cases: &[&Case]) -> Result<Vec<String>> {
    let began = Instant::now();
    let cluster = Cluster::up(family)?;
    workload::deploy(&cluster, family)?;
    println!("{name}: cluster and workload ready after {:.1} s", began.elapsed().as_secs_f64());
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
                workload::settle(&cluster)?;
            }
        }
    }
    Ok(failed)
}
