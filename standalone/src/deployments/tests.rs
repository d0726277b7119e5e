//! The plan, run against pods that become ready and go as they are told.

use jiff::Timestamp;
use portolan_api::Name;
use serde_json::{Value, json};

use super::plan::plan;
use super::wire::{self, Deployment, Replica};

const NOW: Timestamp = Timestamp::UNIX_EPOCH;

fn deployment(replicas: usize, image: &str, status: &Value) -> Deployment {
    wire::deployment(&json!({
        "metadata": {"namespace": "n", "name": "d", "uid": "u", "generation": 3},
        "spec": {"replicas": replicas, "template": {"spec": {"containers": [{"image": image}]}}},
        "status": status,
    }))
    .unwrap()
}

fn replica(number: usize, template: &str, ready: bool) -> Replica {
    Replica {
        name: Name::new("n", &format!("d-{number}")),
        uid: number.to_string(),
        template: template.to_owned(),
        created: format!("2026-01-01T00:00:{number:02}Z"),
        ready,
        going: false,
        finished: false,
        unbound: false,
    }
}

/// A Deployment and its pods, of which all are ready a step after they came.
struct Rollout {
    pods: Vec<Replica>,
    made: usize,
    least_ready: usize,
    most: usize,
}

impl Rollout {
    fn new() -> Self {
        Self { pods: Vec::new(), made: 0, least_ready: usize::MAX, most: 0 }
    }

    /// Steps until nothing is to be done.
    fn settle(&mut self, deployment: &Deployment) {
        for _ in 0..100 {
            let todo = plan(deployment, &self.pods, NOW);
            if todo.create == 0 && todo.delete.is_empty() {
                return;
            }
            self.pods.retain(|pod| !todo.delete.iter().any(|(_, uid)| *uid == pod.uid));
            self.least_ready = self.least_ready.min(self.pods.iter().filter(|pod| pod.ready).count());
            for _ in 0..todo.create {
                self.made += 1;
                self.pods.push(replica(self.made, &deployment.template_hash(), false));
            }
            self.most = self.most.max(self.pods.len());
            if todo.create == 0 {
                self.pods.iter_mut().for_each(|pod| pod.ready = true);
            } else {
                // They need a step of their own, in which nothing may be deleted for them.
                let between = plan(deployment, &self.pods, NOW);
                assert_eq!(between.create, 0);
                self.pods.iter_mut().for_each(|pod| pod.ready = true);
            }
        }
        panic!("it never settles");
    }
}

#[test]
fn as_many_pods_as_wanted() {
    let mut rollout = Rollout::new();
    for wanted in [3, 6, 0, 2] {
        rollout.settle(&deployment(wanted, "a", &Value::Null));
        assert_eq!(rollout.pods.len(), wanted);
    }
}

#[test]
fn a_new_template_replaces_pods_one_by_one() {
    let mut rollout = Rollout::new();
    rollout.settle(&deployment(3, "a", &Value::Null));
    (rollout.least_ready, rollout.most) = (usize::MAX, 0);
    let changed = deployment(3, "b", &Value::Null);
    rollout.settle(&changed);
    assert!(rollout.pods.iter().all(|pod| pod.template == changed.template_hash()));
    assert_eq!((rollout.pods.len(), rollout.least_ready, rollout.most), (3, 3, 4));
}

#[test]
fn a_change_of_number_during_a_rollout_ends_well() {
    for wanted in [0, 1, 7] {
        let mut rollout = Rollout::new();
        rollout.settle(&deployment(3, "a", &Value::Null));
        let changed = deployment(wanted, "b", &Value::Null);
        rollout.pods.push(replica(50, &changed.template_hash(), false));
        rollout.settle(&changed);
        assert_eq!(rollout.pods.len(), wanted);
        assert!(rollout.pods.iter().all(|pod| pod.template == changed.template_hash()));
    }
}

#[test]
fn a_broken_new_template_leaves_the_old_pods_alone() {
    let old = deployment(3, "a", &Value::Null).template_hash();
    let changed = deployment(3, "b", &Value::Null);
    let mut pods: Vec<_> = (1..=3).map(|number| replica(number, &old, true)).collect();
    assert_eq!(plan(&changed, &pods, NOW).create, 1);
    pods.push(replica(4, &changed.template_hash(), false));
    let todo = plan(&changed, &pods, NOW);
    assert_eq!((todo.create, todo.delete), (0, vec![]));
}

#[test]
fn the_pod_that_is_missed_least_goes_first() {
    let wanted = deployment(1, "a", &Value::Null);
    let hash = wanted.template_hash();
    let pods = [replica(1, &hash, true), replica(2, &hash, true), replica(3, &hash, false)];
    let names = |pods: &[Replica]| {
        let todo = plan(&wanted, pods, NOW);
        todo.delete.into_iter().map(|(name, _)| name.name.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(names(&pods), ["d-3", "d-2"]);
    assert_eq!(names(&pods[..2]), ["d-2"]);
}

#[test]
fn finished_pods_are_replaced_and_going_ones_do_not_count() {
    let wanted = deployment(2, "a", &Value::Null);
    let hash = wanted.template_hash();
    let finished = Replica { finished: true, ..replica(1, &hash, false) };
    let going = Replica { going: true, ..replica(2, &hash, true) };
    let todo = plan(&wanted, &[finished.clone(), going], NOW);
    assert_eq!((todo.create, todo.delete), (2, vec![(finished.name, finished.uid)]));
}

#[test]
fn recreate_waits_for_the_last_old_pod() {
    let old = deployment(1, "a", &Value::Null).template_hash();
    let mut changed = deployment(1, "b", &Value::Null);
    changed.spec.strategy.kind = "Recreate".to_owned();
    let todo = plan(&changed, &[replica(1, &old, true)], NOW);
    assert_eq!((todo.create, todo.delete.len()), (0, 1));
    let going = Replica { going: true, ..replica(1, &old, true) };
    assert_eq!(plan(&changed, &[going], NOW).create, 0);
    assert_eq!(plan(&changed, &[], NOW).create, 1);
}

#[test]
fn the_status_is_written_once() {
    let wanted = deployment(3, "a", &Value::Null);
    let hash = wanted.template_hash();
    let pods = [replica(1, &hash, true), replica(2, &hash, true), replica(3, "other", false)];
    let status = plan(&wanted, &pods, NOW).status.unwrap();
    assert_eq!(
        status,
        json!({
            "observedGeneration": 3, "replicas": 3, "updatedReplicas": 2, "readyReplicas": 2,
            "availableReplicas": 2, "unavailableReplicas": 1,
            "conditions": [{"type": "Available", "status": "False", "reason": "MinimumReplicasUnavailable",
                "message": "Deployment does not have minimum availability.",
                "lastTransitionTime": "1970-01-01T00:00:00Z", "lastUpdateTime": "1970-01-01T00:00:00Z"}],
        })
    );
    let later = NOW + std::time::Duration::from_secs(60);
    assert_eq!(plan(&deployment(3, "a", &status), &pods, later).status, None);
}
