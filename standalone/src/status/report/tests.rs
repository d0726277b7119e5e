use portolan_core::{ChangeSet, Event, IpAddress, Lease, Service, ServiceCidr, Watched};
use serde_json::{Value, json};

use super::*;

const NOW: &str = "2026-01-01T00:10:00Z";
/// Long before that.
const OLD: &str = "2026-01-01T00:00:00Z";

impl Reading {
    fn take<T: Watched>(&mut self, object: Value) {
        self.state
            .apply(Event::Applied(serde_json::from_value::<T>(object).unwrap()), &mut ChangeSet::default());
    }

    fn service(&mut self, name: &str, spec: &Value) {
        let metadata = json!({"namespace": "shop", "name": name, "creationTimestamp": OLD});
        self.take::<Service>(json!({"metadata": metadata, "spec": spec}));
    }

    fn record(&mut self, address: &str, name: &str) {
        let labels = json!({"ipaddress.kubernetes.io/managed-by": "ipallocator.k8s.io"});
        self.take::<IpAddress>(json!({
            "metadata": {"name": address, "creationTimestamp": OLD, "labels": labels},
            "spec": {"parentRef": {"group": "", "resource": "services", "namespace": "shop", "name": name}}}));
    }

    fn lease(&mut self, holder: &str, renewed: &str) {
        let spec = json!({"holderIdentity": holder, "leaseDurationSeconds": 15, "renewTime": renewed});
        let metadata = json!({"namespace": "kube-system", "name": "portolan-controllers"});
        self.take::<Lease>(json!({"metadata": metadata, "spec": spec}));
    }

    fn workload(&mut self, kind: &'static str, component: &str, spec: &Value, status: &Value) {
        let labels = json!({"app.kubernetes.io/component": component, "app.kubernetes.io/version": "0.1.0"});
        let name = format!("portolan-{component}");
        let metadata = json!({"namespace": "kube-system", "name": name, "labels": labels, "generation": 3});
        let object = json!({"metadata": metadata, "spec": spec, "status": status});
        self.workloads.push((kind, serde_json::from_value(object).unwrap()));
    }

    fn deployment(&mut self, component: &str, ready: u64) {
        let status = json!({"observedGeneration": 3, "readyReplicas": ready, "updatedReplicas": 2});
        self.workload("Deployment", component, &json!({"replicas": 2}), &status);
    }

    fn report(&self, before: Option<&Report>) -> Report {
        Report::new(self, PortRange::default(), before, NOW.parse().unwrap())
    }
}

/// A cluster where nothing is wrong.
fn healthy() -> Reading {
    let mut reading = Reading { slices: Some(7), ..Reading::default() };
    reading
        .take::<ServiceCidr>(json!({"metadata": {"name": "kubernetes"}, "spec": {"cidrs": ["10.96.0.0/24"]},
        "status": {"conditions": [{"type": "Ready", "status": "True"}]}}));
    reading.service("web", &json!({"clusterIP": "10.96.0.9", "clusterIPs": ["10.96.0.9"]}));
    reading.record("10.96.0.9", "web");
    reading.service("db", &json!({"clusterIP": "None"}));
    reading.service("alias", &json!({"type": "ExternalName", "externalName": "web.example"}));
    reading.lease("pod-1_2_3", "2026-01-01T00:09:59.000000Z");
    let status = json!({"observedGeneration": 3, "desiredNumberScheduled": 3, "numberReady": 3, "updatedNumberScheduled": 1});
    reading.workload("DaemonSet", "proxy", &json!({}), &status);
    reading.workload("DaemonSet", "proxy-cleanup", &json!({}), &json!({"observedGeneration": 3}));
    reading.deployment("dns", 2);
    reading.deployment("controllers", 2);
    reading
}

#[test]
fn one_screen_where_nothing_is_wrong() {
    let report = healthy().report(None);
    let want = "\
PART         NAMESPACE    READY  VERSION
controllers  kube-system  2/2    0.1.0
dns          kube-system  2/2    0.1.0
proxy        kube-system  3/3    0.1.0    1 of 3 are up to date
Lease kube-system/portolan-controllers: pod-1_2_3

Services: 3 (2 ClusterIP, 1 of them headless, 1 ExternalName); EndpointSlices: 7

RANGE         HELD  FREE
10.96.0.0/24  1     253   ServiceCIDR kubernetes
30000-32767   0     2768  node ports

Nothing is wrong.
";
    assert_eq!(report.text(), want);
    assert_eq!((report.faults(), report.healthy), (None, true));
}

#[test]
fn what_is_wrong_is_told_with_its_reason() {
    let mut reading = healthy();
    reading.deployment("dns", 1);
    reading.lease("pod-1_2_3", "2026-01-01T00:09:00.000000Z");
    reading.service("out", &json!({"clusterIP": "10.97.0.1", "clusterIPs": ["10.97.0.1"]}));
    reading.record("10.97.0.1", "out");
    reading.record("10.96.0.77", "gone");
    reading.service(
        "port",
        &json!({"type": "LoadBalancer", "clusterIP": "10.96.0.9", "clusterIPs": ["10.96.0.9"],
        "ports": [{"port": 80, "nodePort": 29999}]}),
    );
    reading.take::<ServiceCidr>(json!({"metadata": {"name": "going"}, "spec": {"cidrs": ["10.98.0.0/24"]},
        "status": {"conditions": [{"type": "Ready", "status": "False", "reason": "Terminating"}]}}));
    let report = reading.report(None);
    let text = report.text();
    for line in [
        "dns          kube-system  1/2    0.1.0    not ready\n",
        "Lease kube-system/portolan-controllers: nobody: pod-1_2_3 does not renew it any more\n",
        "10.98.0.0/24  0     254   ServiceCIDR going (not ready: Terminating)\n",
        "ClusterIPAlreadyAllocated  cluster IP 10.96.0.9 of Service shop/port belongs to Service shop/web; please recreate shop/port\n",
        "ClusterIPOutOfRange        cluster IP 10.97.0.1 of Service shop/out is in no ServiceCIDR; please recreate it\n",
        "IPAddressNotAllocated      10.96.0.77 is recorded for Service shop/gone, and no Service has it: nobody can get it\n",
        "PortOutOfRange             node port 29999 of Service shop/port is not in 30000-32767 (--service-node-port-range); please recreate it\n",
        "Load balancers without an address: shop/port\n",
        "Wrong: 1 part is not ready, nobody leads the controllers, 4 findings.\n",
    ] {
        assert!(text.contains(line), "no {line:?} in\n{text}");
    }
    let json = serde_json::to_value(&report).unwrap();
    assert_eq!((&json["healthy"], &json["loadBalancersPending"]), (&json!(false), &json!(["shop/port"])));
    let found: Vec<_> =
        json["findings"].as_array().unwrap().iter().map(|found| found["reason"].clone()).collect();
    assert_eq!(found.len(), 4, "{found:?}");
    assert_eq!(
        json["findings"][0]["object"],
        json!({"kind": "Service", "namespace": "shop", "name": "port"})
    );
}

#[test]
fn what_is_wrong_is_so_at_the_second_look_too() {
    let mut reading = healthy();
    reading.record("10.96.0.77", "gone");
    // The clocks differ by an hour.
    reading.lease("pod-1_2_3", "2025-12-31T23:10:00.000000Z");
    let first = reading.report(None);
    assert_eq!(first.faults().as_deref(), Some("nobody leads the controllers, 1 finding"));
    assert_eq!(reading.report(Some(&first)).faults(), first.faults());
    // By now it was renewed; and another finding is one of this look alone.
    let mut later = healthy();
    later.lease("pod-1_2_3", "2025-12-31T23:10:02.000000Z");
    later.record("10.96.0.78", "gone");
    assert_eq!(later.report(Some(&first)).faults(), None);
}

#[test]
fn a_lease_is_missed_where_controllers_should_lead() {
    let faults = |reading: &Reading| reading.report(None).faults();
    // Nothing is installed, and what was left the Lease behind in order.
    let mut reading = Reading::default();
    assert_eq!(faults(&reading), None);
    reading.lease("", OLD);
    assert_eq!(faults(&reading), None);
    reading.lease("a", OLD);
    assert_eq!(faults(&reading).as_deref(), Some("nobody leads the controllers"));
    reading.deployment("controllers", 2);
    reading.lease("", NOW);
    assert_eq!(faults(&reading).as_deref(), Some("nobody leads the controllers"));
    // With pods elsewhere it is a thing of the past.
    let mut reading = Reading::default();
    reading.lease("a", OLD);
    reading.deployment("controllers", 2);
    reading.workloads[0].1 = serde_json::from_value(json!({
        "metadata": {"namespace": "net", "labels": {"app.kubernetes.io/component": "controllers"}},
        "spec": {"replicas": 1}, "status": {"readyReplicas": 1}}))
    .unwrap();
    assert_eq!(faults(&reading), None);
}

#[test]
fn parts_that_do_not_run_are_named() {
    for (kind, spec, status, want) in [
        ("Deployment", json!({"replicas": 0}), json!({"observedGeneration": 3}), Some("scaled to 0")),
        ("Deployment", json!({}), json!({"observedGeneration": 3}), Some("not ready")),
        (
            "Deployment",
            json!({}),
            json!({"observedGeneration": 2, "readyReplicas": 1}),
            Some("a change of it was not taken up"),
        ),
        ("DaemonSet", json!({}), json!({"observedGeneration": 3}), Some("no node is to run it")),
        ("Deployment", json!({}), json!({"observedGeneration": 3, "readyReplicas": 1}), None),
    ] {
        let mut reading = Reading::default();
        reading.workload(kind, "dns", &spec, &status);
        assert_eq!(reading.report(None).parts[0].fault().as_deref(), want);
    }
}

#[test]
fn what_a_server_does_not_have_is_said_and_not_held_against_it() {
    let mut reading =
        Reading { unserved: vec!["IPAddress", "ServiceCIDR"], unreadable: 1, ..Reading::default() };
    reading.service("web", &json!({"clusterIP": "10.96.0.9", "clusterIPs": ["10.96.0.9"]}));
    let report = reading.report(None);
    let text = report.text();
    assert!(text.contains("Note: the API server serves no IPAddress, no ServiceCIDR.\n"), "{text}");
    assert!(text.contains("Note: objects that cannot be read, and are left out: 1.\n"), "{text}");
    assert_eq!(report.faults(), None, "{text}");
}

#[test]
fn a_screen_has_its_limits_and_nobody_writes_on_it() {
    let mut reading = healthy();
    (10..40).for_each(|host| reading.record(&format!("10.96.0.{host}"), "gone"));
    reading.lease("pod\n\u{1b}[2J", "2026-01-01T00:09:59.000000Z");
    let text = reading.report(None).text();
    assert_eq!(text.matches("IPAddressNotAllocated").count(), MOST_SHOWN, "{text}");
    assert!(text.contains("… and 10 more (-o json has all)\n"), "{text}");
    assert!(text.contains("portolan-controllers: pod??[2J\n"), "{text}");
}

const MOST_SHOWN: usize = 20;
