//! What the auditor tells of faults that a sound API server does not make: they are written into its etcd, or it is kept from
//! its repairs. The API server and the controllers, no node.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use portolan_e2e::{Cluster, wait_until};
use serde_json::{Value, json};

use crate::allocation::{PATIENCE, SOON, controllers, counts, says_finding, says_healthy, told};

/// As long as the API server lets a request last.
const GRACE: Duration = Duration::from_secs(60);

/// A key and its value, by etcd's gateway for JSON.
const PUT: &str = r#"encode() { printf %s "$1" | base64 --wrap 0; }
    printf '{"key": "%s", "value": "%s"}' "$(encode "$1")" "$(encode "$2")" |
    curl --silent --show-error --fail --data @- http://127.0.0.1:2379/v3/kv/put"#;

/// Of all clients, the API server's own may not make and delete IPAddress objects: nothing is repaired.
const NO_REPAIR: &str = r#"
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata: {name: no-repair}
spec:
  matchConstraints:
    resourceRules:
    - {apiGroups: [networking.k8s.io], apiVersions: [v1], resources: [ipaddresses], operations: [CREATE, DELETE]}
  matchConditions: [{name: repairs, expression: "request.userInfo.username == 'system:apiserver'"}]
  validations: [{expression: "false", message: nothing is repaired}]
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata: {name: no-repair}
spec: {policyName: no-repair, validationActions: [Deny]}
"#;

fn service(name: &str, spec: &Value) -> String {
    let metadata = json!({"name": name, "namespace": "default"});
    json!({"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec}).to_string()
}

/// A finding is counted, told of an object, and said by `portolan status`; of a range status names no object.
fn found(cluster: &Cluster, flags: &[&str], reason: &str, name: &str, range: bool) -> Result<()> {
    wait_until(SOON, || counts(cluster, reason, 1))?;
    wait_until(SOON, || told(cluster, name, reason))?;
    says_finding(cluster, flags, reason, (!range).then_some(name))
}

/// Two findings of what has just been written, counted in time together.
fn at_once(cluster: &Cluster, findings: [(&str, &str); 2]) -> Result<()> {
    let written = Instant::now();
    for (reason, _) in findings {
        wait_until(SOON.saturating_sub(written.elapsed()), || counts(cluster, reason, 1))?;
    }
    println!("    counted after {:.1} s at the latest", written.elapsed().as_secs_f64());
    findings.iter().try_for_each(|(reason, name)| found(cluster, &[], reason, name, false))
}

/// Writes a copy of a Service into etcd.
fn copy(cluster: &Cluster, of: &Value, name: &str, uid: u8, change: impl FnOnce(&mut Value)) -> Result<()> {
    let mut copy = of.clone();
    copy["metadata"] = json!({"name": name, "namespace": "default",
        "uid": format!("00000000-0000-4000-8000-{uid:012}"), "creationTimestamp": of["metadata"]["creationTimestamp"]});
    change(&mut copy["spec"]);
    let key = format!("/registry/services/specs/default/{name}");
    cluster.enter("cp", &["sh", "-c", PUT, "sh", &key, &copy.to_string()]).map(|_| ())
}

/// A copy of a Service with its cluster IP and node port, and one with values that are in no range.
pub(crate) fn duplicates(cluster: &Cluster) -> Result<()> {
    controllers(cluster, "")?;
    cluster.apply(&service("original", &json!({"type": "NodePort", "ports": [{"port": 80}]})))?;
    wait_until(PATIENCE, || says_healthy(cluster, &[]))?;
    let original = cluster.get(&["service", "original"])?;

    copy(cluster, &original, "copy", 1, |_| ())?;
    // The IPAddress object says whose the address is. Nothing says it of a port, which is the first's by name.
    at_once(cluster, [("ClusterIPAlreadyAllocated", "copy"), ("PortAlreadyAllocated", "original")])?;

    copy(cluster, &original, "beyond", 2, |spec| {
        spec["clusterIP"] = json!("192.0.2.9");
        spec["clusterIPs"] = json!(["192.0.2.9"]);
        spec["ports"][0]["nodePort"] = json!(20000);
    })?;
    at_once(cluster, [("ClusterIPOutOfRange", "beyond"), ("PortOutOfRange", "beyond")])?;

    cluster.kubectl(&["delete", "service/copy", "service/beyond", "service/original"])?;
    for reason in
        ["ClusterIPAlreadyAllocated", "PortAlreadyAllocated", "ClusterIPOutOfRange", "PortOutOfRange"]
    {
        wait_until(SOON, || counts(cluster, reason, 0))?;
    }
    wait_until(PATIENCE, || says_healthy(cluster, &[]))
}

/// Less than a tenth of a ServiceCIDR, and of the node ports, is free.
pub(crate) fn nearly_full(cluster: &Cluster) -> Result<()> {
    let narrow = ["--service-node-port-range", "30200-30210"];
    controllers(cluster, &narrow.join("="))?;
    cluster.apply(
        "apiVersion: networking.k8s.io/v1\nkind: ServiceCIDR\nmetadata: {name: small}\n\
         spec: {cidrs: [10.97.1.0/28]}\n",
    )?;
    let addresses: Vec<_> = (1..=13)
        .map(|host| {
            let spec = json!({"clusterIP": format!("10.97.1.{host}"), "ports": [{"port": 80}]});
            service(&format!("small-{host}"), &spec)
        })
        .collect();
    let ports = |count: u16| {
        let ports = (0..count)
            .map(|index| json!({"name": format!("p{index}"), "port": 80 + index, "nodePort": 30200 + index}));
        // Its own address would be of any ServiceCIDR, and so one of the last ones of the small one, if the API server chose it.
        let spec =
            json!({"type": "NodePort", "clusterIP": "10.96.200.30", "ports": ports.collect::<Vec<_>>()});
        service("ports", &spec)
    };
    let (last, most) = addresses.split_last().context("no addresses")?;
    // The API server hears of the range a little later.
    wait_until(PATIENCE, || cluster.apply(&most.join("\n---\n")))?;
    cluster.apply(&ports(9))?;
    wait_until(PATIENCE, || says_healthy(cluster, &narrow))?;
    for reason in ["ClusterIPRangeNearlyFull", "PortRangeNearlyFull"] {
        counts(cluster, reason, 0)?;
    }

    cluster.apply(last)?;
    found(cluster, &narrow, "ClusterIPRangeNearlyFull", "small", true)?;
    cluster.apply(&ports(10))?;
    found(cluster, &narrow, "PortRangeNearlyFull", "kubernetes", true)?;
    let metrics = cluster.enter("cp", &["curl", "-s", "http://127.0.0.1:10260/metrics"])?;
    for range in ["10.97.1.0/28", "30200-30210"] {
        let name = format!("portolan_allocation_free{{range=\"{range}\"}} ");
        let free = metrics.lines().find_map(|line| line.strip_prefix(&name)).context(name.clone())?;
        ensure!(free.parse::<f64>()?.round() == 1.0, "{name}{free}");
    }

    let services: Vec<_> = (1..=13).map(|host| format!("service/small-{host}")).collect();
    let services = services.iter().map(String::as_str);
    cluster.kubectl(&["delete", "service/ports"].into_iter().chain(services).collect::<Vec<_>>())?;
    for reason in ["ClusterIPRangeNearlyFull", "PortRangeNearlyFull"] {
        wait_until(SOON, || counts(cluster, reason, 0))?;
    }
    cluster.kubectl(&["delete", "servicecidr/small", "--timeout=60s"])?;
    wait_until(PATIENCE, || says_healthy(cluster, &narrow))
}

/// A cluster IP without its IPAddress object, one whose object is for another Service, and an object without a Service.
pub(crate) fn unrepaired(cluster: &Cluster) -> Result<()> {
    controllers(cluster, "")?;
    for name in ["bare", "astray", "other"] {
        cluster.apply(&service(name, &json!({"ports": [{"port": 80}]})))?;
    }
    let astray = cluster_ip(cluster, "astray")?;
    wait_until(PATIENCE, || says_healthy(cluster, &[]))?;
    cluster.apply(NO_REPAIR)?;
    let outcome = repairs(cluster, false).and_then(|()| lasting(cluster, &astray));
    cluster.kubectl(&[
        "delete",
        "validatingadmissionpolicy,validatingadmissionpolicybinding",
        "no-repair",
    ])?;
    repairs(cluster, true)?;
    outcome?;

    // What the API server has not repaired by itself meanwhile.
    cluster.kubectl(&["delete", "ipaddress", "--ignore-not-found", &astray, ORPHAN])?;
    // A change makes the API server look at a Service at once.
    cluster.kubectl(&["label", "service/bare", "service/astray", "looked=at"])?;
    for reason in ["ClusterIPNotAllocated", "IPAddressWrongReference", "IPAddressNotAllocated"] {
        wait_until(SOON, || counts(cluster, reason, 0))?;
    }
    wait_until(PATIENCE, || says_healthy(cluster, &[]))?;
    cluster.kubectl(&["delete", "service/bare", "service/astray", "service/other"]).map(|_| ())
}

const ORPHAN: &str = "10.96.200.201";

fn cluster_ip(cluster: &Cluster, name: &str) -> Result<String> {
    let address = cluster.get(&["service", name])?["spec"]["clusterIP"].take();
    Ok(address.as_str().context("no cluster IP")?.to_owned())
}

/// Waits until the API server may make and delete IPAddress objects, or may not.
fn repairs(cluster: &Cluster, may: bool) -> Result<()> {
    let address = format!("ipaddress/{}", cluster_ip(cluster, "other")?);
    let itself = ["--as=system:apiserver", "--as-group=system:masters", "--dry-run=server"];
    let words = [&["delete", &address], &itself[..]].concat();
    wait_until(PATIENCE, || match cluster.kubectl(&words) {
        Ok(_) if may => Ok(()),
        Err(error) if !may && error.to_string().contains("nothing is repaired") => Ok(()),
        outcome => bail!("{outcome:?}"),
    })
}

/// Makes an IPAddress object as the API server does.
fn record(cluster: &Cluster, address: &str, of: &str) -> Result<()> {
    let labels = json!({"ipaddress.kubernetes.io/managed-by": "ipallocator.k8s.io",
        "ipaddress.kubernetes.io/ip-family": "IPv4"});
    let parent = json!({"resource": "services", "namespace": "default", "name": of});
    let record = json!({"apiVersion": "networking.k8s.io/v1", "kind": "IPAddress",
        "metadata": {"name": address, "labels": labels}, "spec": {"parentRef": parent}});
    cluster.apply(&record.to_string())
}

/// Makes the three faults, and sees each told after the grace and not before.
fn lasting(cluster: &Cluster, astray: &str) -> Result<()> {
    let began = Instant::now();
    cluster.kubectl(&["delete", "ipaddress", &cluster_ip(cluster, "bare")?, astray])?;
    record(cluster, astray, "other")?;
    record(cluster, ORPHAN, "never")?;
    let made = Instant::now();
    let faults = [
        ("ClusterIPNotAllocated", "bare"),
        ("IPAddressWrongReference", astray),
        ("IPAddressNotAllocated", ORPHAN),
    ];
    std::thread::sleep(GRACE - Duration::from_secs(15));
    for (reason, name) in faults {
        counts(cluster, reason, 0)?;
        ensure!(told(cluster, name, reason).is_err(), "{reason} was told after {:?}", began.elapsed());
    }
    for (reason, _) in faults {
        wait_until((GRACE + SOON).saturating_sub(made.elapsed()), || counts(cluster, reason, 1))?;
        let after = began.elapsed();
        ensure!(after >= GRACE, "{reason} was counted after {after:?}");
    }
    println!("    told after {:.1} s at the latest", made.elapsed().as_secs_f64());
    faults.iter().try_for_each(|(reason, name)| found(cluster, &[], reason, name, false))
}
