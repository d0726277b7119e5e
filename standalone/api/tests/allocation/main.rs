//! Families, addresses and ports of Services: the answers to a table of requests are those that a real API server gave.
//!
//! `tests/allocation/*.answers` hold what kube-apiserver 1.36 said. To ask one again, in the network of a cluster
//! without any Service but its own (`tests/cluster/up --no-kubelet --without-portolan --family ipv4|dual`):
//!
//! ```text
//! ALLOCATION_CLUSTER=ipv4|dual tests/cluster/enter cp allocation-… --nocapture
//! ```
//!
//! With `ALLOCATION_RECORD=1` the answers are written down instead of compared.

#![allow(clippy::unwrap_used, reason = "a test ends where something is not as it should be")]

mod cases;
mod replay;

use jiff::Timestamp;
use kube::Client;
use portolan_api::{Api, Config};
use serde_json::json;

use cases::{Case, Family, Step, cases};
use replay::{NO_ANSWER, replay};

fn in_memory(family: Family) -> Client {
    let ranges: &[&str] = match family {
        Family::IPv4 => &["10.96.0.0/16"],
        Family::Dual => &["10.96.0.0/16", "fd00:96::/112"],
    };
    let service_ranges = ranges.iter().map(|range| range.parse().unwrap()).collect();
    let api = Api::new(&Config { service_ranges, ..Config::default() }, Timestamp::now);
    Client::new(api.router(), "default")
}

fn recorded(family: Family) -> String {
    format!("{}/tests/allocation/{}.answers", env!("CARGO_MANIFEST_DIR"), family.as_str())
}

/// Lines that differ, with what stands in the record.
fn compare(family: Family, got: &[String]) {
    let text = std::fs::read_to_string(recorded(family)).unwrap();
    let want: Vec<_> = text.lines().collect();
    assert_eq!(got.len(), want.len(), "the record is of other requests");
    let wrong: Vec<_> =
        got.iter().zip(want).filter(|(got, want)| *got != want && !want.contains(NO_ANSWER)).collect();
    let lines: Vec<_> = wrong.iter().map(|(got, want)| format!("got  {got}\nwant {want}")).collect();
    println!("{}: {} answers, {} differ", family.as_str(), got.len(), wrong.len());
    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), lines.join("\n"));
}

#[tokio::test]
async fn answers_are_the_real_server_s_on_a_cluster_of_one_family() {
    compare(Family::IPv4, &replay(&in_memory(Family::IPv4), &cases(Family::IPv4)).await);
}

#[tokio::test]
async fn answers_are_the_real_server_s_on_a_cluster_of_two_families() {
    compare(Family::Dual, &replay(&in_memory(Family::Dual), &cases(Family::Dual)).await);
}

/// kube-apiserver lets all of it through.
#[tokio::test]
async fn what_an_external_name_says_of_node_ports_is_held_by_nobody() {
    let external = |number: u16| {
        let ports = json!([{"port": 80, "nodePort": number}]);
        Step::Create("s", json!({"type": "ExternalName", "externalName": "a.b", "ports": ports}))
    };
    let other = || Step::Create("t", json!({"type": "NodePort", "ports": [{"port": 80, "nodePort": 30001}]}));
    let becomes = || Step::Patch("s", json!({"type": "NodePort"}));
    for (steps, refused) in [
        (vec![external(30001), other(), becomes()], "provided port is already allocated"),
        (vec![external(22), becomes()], "provided port is not in the valid range"),
        (vec![external(30001), becomes(), other()], "provided port is already allocated"),
    ] {
        let case = Case { name: String::new(), steps, known_start: false };
        let answers = replay(&in_memory(Family::IPv4), &[case]).await;
        let (last, before) = answers.split_last().unwrap();
        assert!(last.contains(": 422 ") && last.contains(refused), "{last}");
        assert!(before.iter().all(|answer| !answer.contains(": 422 ")), "{before:?}");
    }
}

#[tokio::test]
async fn a_real_server_still_answers_as_it_did() {
    let Ok(name) = std::env::var("ALLOCATION_CLUSTER") else {
        return println!("not asked: ALLOCATION_CLUSTER names no cluster");
    };
    let family = Family::ALL.into_iter().find(|family| family.as_str() == name).unwrap();
    let got = replay(&Client::try_default().await.unwrap(), &cases(family)).await;
    if std::env::var_os("ALLOCATION_RECORD").is_some() {
        std::fs::write(recorded(family), got.join("\n") + "\n").unwrap();
    }
    compare(family, &got);
}
