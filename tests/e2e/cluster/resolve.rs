//! Names.

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};
use portolan_e2e::Cluster;

use crate::workload::{address, web_pods};

/// `nslookup` of the full and the short name in a pod of each node.
pub(crate) fn names(cluster: &Cluster) -> Result<()> {
    let address = address(cluster, "my-svc")?;
    for pod in ["client-1", "client-2"] {
        for name in ["my-svc.e2e.svc.cluster.local", "my-svc"] {
            let output = cluster.exec(pod, &["nslookup", "-type=a", name])?;
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            ensure!(text.contains(&format!("Address: {address}")), "{pod}, {name}: no {address} in {text}");
        }
        // busybox's nslookup does not search for names with a dot; the C library does.
        cluster.client(pod, &["get", "http://my-svc.e2e:80/"])?.all_answered()?;
        // What the name leads to answers, too.
        let output = cluster.exec(pod, &["portolan-test-server", "connect", "kubernetes.default:443"])?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        ensure!(
            text.contains(r#""result":"ok""#),
            "{pod}: no connection to kubernetes.default: {text} {output:?}"
        );
    }
    Ok(())
}

/// `dig +short` through the cluster's DNS Service, from a node.
fn dig(cluster: &Cluster, question: &[&str]) -> Result<BTreeSet<String>> {
    let server = format!("@{}", cluster.variable("CLUSTER_DNS")?);
    let mut command = vec!["dig", "+short", "+tries=2", "+time=2", &server];
    command.extend(question);
    let text = cluster.enter("node-1", &command)?;
    Ok(text.lines().map(str::to_owned).collect())
}

fn status(cluster: &Cluster, question: &[&str]) -> Result<String> {
    let server = format!("@{}", cluster.variable("CLUSTER_DNS")?);
    let mut command = vec!["dig", "+tries=2", "+time=2", &server];
    command.extend(question);
    let text = cluster.enter("node-1", &command)?;
    let status = text.split("status: ").nth(1).and_then(|rest| rest.split(',').next());
    Ok(status.context("no status")?.to_owned())
}

/// Headless, SRV, PTR, ExternalName; what does not exist.
pub(crate) fn records(cluster: &Cluster) -> Result<()> {
    let zone = "e2e.svc.cluster.local";
    let pods: BTreeSet<String> = web_pods(cluster)?.into_iter().map(|pod| pod.ip).collect();
    let headless = dig(cluster, &[&format!("headless.{zone}"), "A"])?;
    ensure!(headless == pods, "headless: {headless:?}, pods {pods:?}");

    let named = dig(cluster, &[&format!("first.named.{zone}"), "A"])?;
    ensure!(named.len() == 1, "hostname and subdomain: {named:?}");

    let srv = dig(cluster, &[&format!("_http._tcp.my-svc.{zone}"), "SRV"])?;
    ensure!(
        srv.len() == 1 && srv.iter().all(|line| line.ends_with(&format!(" 80 my-svc.{zone}."))),
        "SRV: {srv:?}"
    );
    let srv = dig(cluster, &[&format!("_http._tcp.headless.{zone}"), "SRV"])?;
    ensure!(srv.len() == 3 && srv.iter().all(|line| line.contains(" 8080 ")), "headless SRV: {srv:?}");

    let address = address(cluster, "my-svc")?;
    let ptr = dig(cluster, &["-x", &address])?;
    ensure!(ptr == [format!("my-svc.{zone}.")].into(), "PTR: {ptr:?}");

    let elsewhere = dig(cluster, &[&format!("elsewhere.{zone}"), "A"])?;
    ensure!(elsewhere == [format!("my-svc.{zone}."), address.clone()].into(), "ExternalName: {elsewhere:?}");

    let tcp = dig(cluster, &["+tcp", &format!("my-svc.{zone}"), "A"])?;
    ensure!(tcp == [address].into(), "over TCP: {tcp:?}");

    for (name, kind, want) in [
        (format!("nobody.{zone}"), "A", "NXDOMAIN"),
        (format!("my-svc.{zone}"), "TXT", "NOERROR"),
        (format!("_tcp.my-svc.{zone}"), "A", "NOERROR"),
        ("nothing.nowhere.svc.cluster.local".to_owned(), "A", "NXDOMAIN"),
    ] {
        let status = status(cluster, &[&name, kind])?;
        ensure!(status == want, "{name} {kind}: {status}, not {want}");
    }
    Ok(())
}

/// AAAA of ClusterIP and headless Services.
pub(crate) fn quad_a(cluster: &Cluster) -> Result<()> {
    let service = cluster.get(&["service", "-n", "e2e", "my-svc"])?;
    let address = service["spec"]["clusterIPs"][1].as_str().context("no IPv6 clusterIP")?;
    let answer = dig(cluster, &["my-svc.e2e.svc.cluster.local", "AAAA"])?;
    ensure!(answer == [address.to_owned()].into(), "AAAA: {answer:?}, not {address}");
    let headless = dig(cluster, &["headless.e2e.svc.cluster.local", "AAAA"])?;
    ensure!(headless.len() == 3, "headless AAAA: {headless:?}");
    let reverse = dig(cluster, &["-x", address])?;
    ensure!(reverse == ["my-svc.e2e.svc.cluster.local.".to_owned()].into(), "PTR of {address}: {reverse:?}");
    Ok(())
}
