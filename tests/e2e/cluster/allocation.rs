//! What holds cluster IPs and node ports: the auditor, `portolan status` and ServiceCIDRs, without upstream's controller of
//! these. The API server and the controllers, no node.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use portolan_e2e::{Cluster, wait_until};
use serde_json::Value;

use crate::settings::run;

/// How long a change may take to be told.
pub(crate) const SOON: Duration = Duration::from_secs(2);
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
/// Whoever follows a leader that was killed waits until its Lease is over, 15 s.
const TAKE_OVER: Duration = Duration::from_secs(40);

const SECOND: &str = "apiVersion: networking.k8s.io/v1\nkind: ServiceCIDR\nmetadata: {name: second}\n\
    spec: {cidrs: [10.97.0.0/24]}\n";
const IN_SECOND: &str = "apiVersion: v1\nkind: Service\nmetadata: {name: stray, namespace: default}\n\
    spec: {clusterIP: 10.97.0.9, ports: [{port: 80}]}\n";

/// Who leads the controllers.
fn leader(cluster: &Cluster) -> Result<String> {
    let lease = cluster.get(&["lease", "-n", "kube-system", "portolan-controllers"])?;
    Ok(lease["spec"]["holderIdentity"].as_str().unwrap_or_default().to_owned())
}

/// Starts the controllers with more flags, and waits until they lead.
pub(crate) fn controllers(cluster: &Cluster, flags: &str) -> Result<()> {
    let before = leader(cluster).unwrap_or_default();
    let flags = format!("--controllers=*,allocation,service-cidr {flags}");
    cluster.run_with("PORTOLAN_CONTROLLERS_FLAGS", &flags, "restart", &["controllers"])?;
    wait_until(TAKE_OVER, || {
        let now = leader(cluster)?;
        ensure!(!now.is_empty() && now != before, "{now:?} leads");
        Ok(())
    })
}

/// Runs `portolan status -o json`: its exit status and its report.
fn status(cluster: &Cluster, flags: &[&str]) -> Result<(String, Value)> {
    let kubeconfig = cluster.variable("KUBECONFIG")?;
    let mut words = vec!["status", "-o", "json", "--kubeconfig", kubeconfig];
    words.extend(flags);
    let (status, output) = run(cluster, "portolan", &words)?;
    // A line on standard error follows, where something is wrong.
    let json = output.rsplit_once("\n}").map(|(report, _)| format!("{report}\n}}"));
    let json = json.with_context(|| output.clone())?;
    Ok((status, serde_json::from_str(&json).context(output)?))
}

pub(crate) fn says_healthy(cluster: &Cluster, flags: &[&str]) -> Result<()> {
    let (status, report) = status(cluster, flags)?;
    ensure!(status == "0" && report["healthy"] == true, "exit status {status}: {report}");
    Ok(())
}

/// That it says a reason of an object; no object = of a range.
pub(crate) fn says_finding(
    cluster: &Cluster,
    flags: &[&str],
    reason: &str,
    object: Option<&str>,
) -> Result<()> {
    let (status, report) = status(cluster, flags)?;
    let findings = report["findings"].as_array().context("no findings")?;
    let is = |found: &Value| found["reason"] == reason && found["object"]["name"].as_str() == object;
    let found = findings.iter().any(is);
    ensure!(status == "1" && found, "no {reason} of {object:?}, exit status {status}: {report}");
    Ok(())
}

/// What the auditor counts of a reason.
pub(crate) fn counts(cluster: &Cluster, reason: &str, want: u64) -> Result<()> {
    let metrics = cluster.enter("cp", &["curl", "-s", "http://127.0.0.1:10260/metrics"])?;
    let line = format!("portolan_allocation_findings{{reason=\"{reason}\"}} {want}");
    let found: Vec<_> = metrics.lines().filter(|line| line.contains(reason)).collect();
    ensure!(found.contains(&line.as_str()), "not {line:?} but {found:?}");
    Ok(())
}

/// Who has told a reason about an object.
fn reporters(cluster: &Cluster, name: &str, reason: &str) -> Result<Vec<String>> {
    let events = cluster.get(&["events.events.k8s.io", "-n", "default"])?;
    let events = events["items"].as_array().context("no items")?;
    let about = events.iter().filter(|event| event["regarding"]["name"] == name && event["reason"] == reason);
    Ok(about.map(|event| event["reportingController"].as_str().unwrap_or_default().to_owned()).collect())
}

pub(crate) fn told(cluster: &Cluster, name: &str, reason: &str) -> Result<()> {
    let reporters = reporters(cluster, name, reason)?;
    let ours = reporters.iter().any(|reporter| reporter == "portolan.dev/portolan-controllers");
    ensure!(ours, "{reason} of {name} was told by {reporters:?}");
    Ok(())
}

/// Status and reason of the condition `Ready`, and the finalizers.
fn service_cidr(cluster: &Cluster) -> Result<(String, String, Value)> {
    let object = cluster.get(&["servicecidr", "second"])?;
    let conditions = object["status"]["conditions"].as_array().cloned().unwrap_or_default();
    let ready = conditions.into_iter().find(|condition| condition["type"] == "Ready").unwrap_or_default();
    let text = |key: &str| ready[key].as_str().unwrap_or_default().to_owned();
    Ok((text("status"), text("reason"), object["metadata"]["finalizers"].clone()))
}

fn second_is_ready(cluster: &Cluster) -> Result<()> {
    cluster.apply(SECOND)?;
    wait_until(PATIENCE, || {
        let (status, reason, finalizers) = service_cidr(cluster)?;
        let kept = finalizers == serde_json::json!(["networking.k8s.io/service-cidr-finalizer"]);
        ensure!(status == "True" && kept, "Ready={status}/{reason}, {finalizers}");
        Ok(())
    })?;
    // The API server hears of it a little later.
    wait_until(PATIENCE, || cluster.apply(IN_SECOND))
}

/// A ServiceCIDR gets its finalizer and its condition, and goes only when no Service has an address of it.
pub(crate) fn ranges_come_and_go(cluster: &Cluster) -> Result<()> {
    let without = "--controllers=-service-cidr-controller";
    cluster.run_with("CONTROLLER_MANAGER_FLAGS", without, "restart", &["controller-manager"])?;
    controllers(cluster, "")?;
    second_is_ready(cluster)?;
    cluster.kubectl(&["delete", "servicecidr/second", "--wait=false"])?;
    wait_until(PATIENCE, || {
        let (status, reason, _) = service_cidr(cluster)?;
        ensure!((&*status, &*reason) == ("False", "Terminating"), "Ready={status}/{reason}");
        Ok(())
    })?;
    // Longer than one that is not needed stays.
    std::thread::sleep(Duration::from_secs(15));
    service_cidr(cluster).context("it went although a Service has an address of it")?;
    cluster.kubectl(&["delete", "service/stray"])?;
    cluster.kubectl(&["wait", "--for=delete", "servicecidr/second", "--timeout=30s"]).map(|_| ())
}

/// A cluster IP that a ServiceCIDR left behind: told in an Event, a metric and by `portolan status`.
pub(crate) fn out_of_range(cluster: &Cluster) -> Result<()> {
    controllers(cluster, "")?;
    second_is_ready(cluster)?;
    wait_until(PATIENCE, || says_healthy(cluster, &[]))?;
    cluster.kubectl(&["delete", "servicecidr/second", "--wait=false"])?;
    let without = r#"{"metadata":{"finalizers":null}}"#;
    cluster.kubectl(&["patch", "servicecidr/second", "--type=merge", "--patch", without])?;
    let gone = Instant::now();
    wait_until(SOON, || counts(cluster, "ClusterIPOutOfRange", 1))?;
    wait_until(SOON, || told(cluster, "stray", "ClusterIPOutOfRange"))?;
    println!("    told after {:.1} s at the latest", gone.elapsed().as_secs_f64());
    says_finding(cluster, &[], "ClusterIPOutOfRange", Some("stray"))?;
    cluster.kubectl(&["delete", "service/stray"])?;
    wait_until(SOON, || counts(cluster, "ClusterIPOutOfRange", 0))?;
    wait_until(PATIENCE, || says_healthy(cluster, &[]))
}

/// A node port that the API server gave out and that is not in the auditor's range.
pub(crate) fn port_out_of_range(cluster: &Cluster) -> Result<()> {
    let narrow = ["--service-node-port-range", "30000-30099"];
    controllers(cluster, &narrow.join("="))?;
    cluster.apply(
        "apiVersion: v1\nkind: Service\nmetadata: {name: high, namespace: default}\n\
         spec: {type: NodePort, ports: [{port: 80, nodePort: 31000}]}\n",
    )?;
    wait_until(SOON, || counts(cluster, "PortOutOfRange", 1))?;
    wait_until(SOON, || told(cluster, "high", "PortOutOfRange"))?;
    says_finding(cluster, &narrow, "PortOutOfRange", Some("high"))?;
    says_healthy(cluster, &[])?;
    cluster.kubectl(&["delete", "service/high"])?;
    wait_until(SOON, || counts(cluster, "PortOutOfRange", 0))?;
    says_healthy(cluster, &narrow)
}

/// An IPAddress object without a Service is not told while it may be one that is being made; when it may not any more, the API
/// server's repair loop removes it at about the same time as the auditor would tell it.
pub(crate) fn address_without_service(cluster: &Cluster) -> Result<()> {
    controllers(cluster, "")?;
    cluster.apply(
        "apiVersion: networking.k8s.io/v1\nkind: IPAddress\n\
         metadata: {name: 10.96.200.200, labels: {ipaddress.kubernetes.io/managed-by: ipallocator.k8s.io, \
         ipaddress.kubernetes.io/ip-family: IPv4}}\n\
         spec: {parentRef: {resource: services, namespace: default, name: never}}\n",
    )?;
    let made = Instant::now();
    std::thread::sleep(Duration::from_secs(30));
    says_healthy(cluster, &[])?;
    counts(cluster, "IPAddressNotAllocated", 0)?;
    cluster.kubectl(&["wait", "--for=delete", "ipaddress/10.96.200.200", "--timeout=60s"])?;
    let after = made.elapsed();
    ensure!(after > Duration::from_secs(55), "removed after {after:?} already");
    let reporters = wait_until(PATIENCE, || {
        let reporters = reporters(cluster, "10.96.200.200", "IPAddressNotAllocated")?;
        ensure!(!reporters.is_empty(), "nobody told it");
        Ok(reporters)
    })?;
    println!("    removed after {:.1} s, told by {reporters:?}", after.as_secs_f64());
    wait_until(SOON, || counts(cluster, "IPAddressNotAllocated", 0))?;
    says_healthy(cluster, &[])
}

/// A server that cannot be reached, and settings that cannot work: one line.
pub(crate) fn refusals(cluster: &Cluster) -> Result<()> {
    let kubeconfig = cluster.variable("KUBECONFIG")?;
    for (words, want, line) in [
        (&["status", "--kubeconfig", "/nonexistent"][..], "64", "/nonexistent"),
        (&["status", "--kubeconfig", kubeconfig, "-o", "yaml"], "64", "--output"),
    ] {
        let (status, output) = run(cluster, "portolan", words)?;
        ensure!(status == want && output.contains(line) && output.lines().count() == 1, "{status}: {output}");
    }
    cluster.kill("apiserver", "KILL")?;
    let (status, output) = run(cluster, "portolan", &["status", "--kubeconfig", kubeconfig])?;
    cluster.restart("apiserver")?;
    let line = "portolan: cannot reach the API server: ";
    ensure!(status == "1" && output.starts_with(line) && output.lines().count() == 1, "{status}: {output}");
    wait_until(TAKE_OVER, || says_healthy(cluster, &[]))
}
