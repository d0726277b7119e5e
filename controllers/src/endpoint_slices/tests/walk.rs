//! Where a Service ends up does not depend on how it got there.

use std::collections::BTreeSet;

use super::*;

const SERVICES: [&str; 6] = [
    "v4 :80",
    "v4 v6 :80>web label:a=b",
    "v6 w:80>web n:81",
    "v4 headless publish",
    "v4 v6 headless :80>web prefer=PreferSameNode",
    "v4 publish :80>web prefer=PreferClose",
];

/// Numbers that look random and are the same in every run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }
}

/// Every endpoint with its family, ports and labels, whatever slice it is in. Hints of endpoints that
/// are not ready are left out: they keep what they had.
fn endpoints(cluster: &Cluster) -> BTreeSet<String> {
    let lines = cluster.slices.values().flat_map(|slice| {
        assert!(slice.endpoints.len() <= MAX_ENDPOINTS);
        let head = format!("{:?} {:?} {:?}", slice.address_type, slice.ports, slice.meta.labels);
        slice.endpoints.iter().map(move |endpoint| {
            let mut endpoint = endpoint.clone();
            if !endpoint.ready() {
                endpoint.hints = Default::default();
            }
            format!("{head} {endpoint:?}")
        })
    });
    let lines: Vec<_> = lines.collect();
    let set: BTreeSet<_> = lines.iter().cloned().collect();
    assert_eq!(lines.len(), set.len(), "no endpoint is in two slices");
    set
}

fn walk(seed: u64) {
    let mut dice = Dice(seed);
    let mut cluster = Cluster::new(SERVICES[0], &[]);
    for step in 0..120 {
        match dice.below(10) {
            0 => {
                let words = SERVICES[usize::try_from(dice.below(6)).unwrap()];
                cluster.service = Some(service(words));
            }
            1 => {
                let zone = ["z1", "z2"][usize::try_from(dice.below(2)).unwrap()];
                cluster.nodes.insert("n1".to_owned(), node("n1", Some(zone)));
            }
            2 => {
                cluster.nodes.remove("n2");
            }
            3 => {
                cluster.nodes.insert("n2".to_owned(), node("n2", None));
            }
            4 => {
                cluster.slices.pop_first();
            }
            5 => {
                let slice = cluster.slices.values_mut().next();
                slice.into_iter().for_each(|slice| slice.endpoints.truncate(1));
            }
            _ => {
                // Many at a time, so that more than one slice fills.
                for _ in 0..1 + dice.below(40) {
                    let number = dice.below(300);
                    if dice.below(4) == 0 {
                        cluster.pods.remove(&format!("p{number:03}"));
                        continue;
                    }
                    let mut words = format!("p{number:03} node=n{}", 1 + dice.below(2));
                    words += ["", " unready", " deleting", " phase=Failed"]
                        [usize::try_from(dice.below(4)).unwrap()];
                    words += [" web=80", " web=81", ""][usize::try_from(dice.below(3)).unwrap()];
                    if dice.below(8) > 0 {
                        words += &format!(" 10.0.{}.{}", number / 200, number % 200 + 1);
                    }
                    if dice.below(2) > 0 {
                        words += &format!(" fd00::{number:x}1");
                    }
                    cluster.pod(&words);
                }
            }
        }
        cluster.settle();
        let mut fresh = Cluster::new("v4", &[]);
        fresh.service = cluster.service.clone();
        fresh.pods = cluster.pods.clone();
        fresh.nodes = cluster.nodes.clone();
        fresh.settle();
        assert_eq!(endpoints(&cluster), endpoints(&fresh), "seed {seed}, step {step}");
    }
}

#[test]
fn a_service_that_was_changed_is_like_a_new_one() {
    (1..=8).for_each(walk);
}
