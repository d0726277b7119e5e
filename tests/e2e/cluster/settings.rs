//! Bad input: objects and settings.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use portolan_e2e::{Cluster, target_folder, wait_until};
use serde_json::Value;

use crate::workload::address;

/// What a real API server lets through and still cannot be used, beside Services that must go on.
pub(crate) fn malformed(cluster: &Cluster) -> Result<()> {
    // A Service that names a target port which no pod has; slices of others with odd contents.
    cluster.apply(
        r#"
apiVersion: v1
kind: Service
metadata: {name: odd, namespace: e2e}
spec: {selector: {app: web}, ports: [{name: a, port: 80, targetPort: no-such-port}, {name: b, port: 81, targetPort: http}]}
---
apiVersion: v1
kind: Service
metadata: {name: foreign, namespace: e2e}
spec: {ports: [{name: http, port: 80, targetPort: 8080}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: foreign-names, namespace: e2e, labels: {kubernetes.io/service-name: foreign}}
addressType: FQDN
endpoints: [{addresses: [example.com]}]
ports: [{name: http, port: 8080}]
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: foreign-empty, namespace: e2e, labels: {kubernetes.io/service-name: foreign}}
addressType: IPv4
endpoints: [{addresses: ["192.0.2.1"], conditions: {ready: false}}]
ports: [{name: http}]
---
apiVersion: v1
kind: Service
metadata: {name: claims, namespace: e2e}
spec: {selector: {app: web}, externalIPs: [192.0.2.80], ports: [{name: http, port: 80, targetPort: http}]}
"#,
    )?;
    // A second Service that claims the same address: the first keeps it, and the second is told why.
    cluster.apply(
        r#"
apiVersion: v1
kind: Service
metadata: {name: claims-too, namespace: e2e}
spec: {selector: {app: lonely}, externalIPs: [192.0.2.80], ports: [{name: http, port: 80, targetPort: 8080}]}
"#,
    )?;
    told(cluster, "e2e", "claims-too", "Malformed", "192.0.2.80")?;
    let report =
        cluster.client_on("node-1", &["get", "http://192.0.2.80/", "--count", "30", "--new-connections"])?;
    ensure!(report.all_answered()?.by_server.len() == 3, "the first Service lost its address");
    wait_until(Duration::from_secs(10), || {
        let target = address(cluster, "odd")?;
        let report = cluster.client(
            "client-1",
            &["get", &format!("http://{target}:81/"), "--count", "30", "--new-connections"],
        )?;
        ensure!(report.all_answered()?.by_server.len() == 3);
        Ok(())
    })?;
    let target = address(cluster, "foreign")?;
    let output = cluster
        .exec("client-1", &["portolan-test-server", "connect", &format!("{target}:80"), "--timeout", "3s"])?;
    ensure!(String::from_utf8_lossy(&output.stdout).contains("refused"), "no usable endpoint: {output:?}");
    let target = address(cluster, "my-svc")?;
    cluster
        .client("client-2", &["get", &format!("http://{target}:80/"), "--count", "30", "--new-connections"])?
        .all_answered()?;
    cluster.kubectl(&[
        "delete",
        "-n",
        "e2e",
        "service/odd",
        "service/foreign",
        "endpointslice/foreign-names",
        "endpointslice/foreign-empty",
    ])?;
    Ok(())
}

/// Waits for an Event about a Service.
pub(crate) fn told(
    cluster: &Cluster,
    namespace: &str,
    service: &str,
    reason: &str,
    note: &str,
) -> Result<()> {
    wait_until(Duration::from_secs(20), || {
        let events = cluster.get(&["events.events.k8s.io", "-n", namespace])?;
        let events = events["items"].as_array().context("no items")?;
        let told = |event: &&Value| event["regarding"]["name"] == service && event["reason"] == reason;
        let event = events.iter().find(told).with_context(|| format!("no Event {reason} about {service}"))?;
        ensure!(event["note"].as_str().is_some_and(|text| text.contains(note)), "{event}");
        Ok(())
    })
}

/// A name that DNS cannot publish, and a namespace that takes no slice.
pub(crate) fn impossible(cluster: &Cluster) -> Result<()> {
    cluster.apply(
        r#"
apiVersion: v1
kind: Service
metadata: {name: alias, namespace: e2e}
spec: {type: ExternalName, externalName: 192.0.2.81}
---
apiVersion: v1
kind: Namespace
metadata: {name: full}
---
apiVersion: v1
kind: ResourceQuota
metadata: {name: none, namespace: full}
spec: {hard: {count/endpointslices.discovery.k8s.io: 0}}
"#,
    )?;
    told(cluster, "e2e", "alias", "Malformed", "192.0.2.81")?;
    wait_until(Duration::from_secs(20), || {
        let quota = cluster.get(&["resourcequota", "-n", "full", "none"])?;
        ensure!(quota["status"]["hard"].is_object(), "the quota does not count yet");
        Ok(())
    })?;
    cluster.apply(
        r#"
apiVersion: v1
kind: Service
metadata: {name: denied, namespace: full}
spec: {selector: {app: web}, ports: [{port: 80}]}
"#,
    )?;
    told(cluster, "full", "denied", "FailedToUpdateEndpointSlices", "exceeded quota")?;
    cluster.kubectl(&["delete", "namespace/full"])?;
    cluster.kubectl(&["delete", "-n", "e2e", "service/alias"]).map(|_| ())
}

/// A program of ours on this machine.
pub(crate) fn program_path(program: &str) -> String {
    let folder = std::env::var_os("PORTOLAN_BIN_DIR")
        .map_or_else(|| target_folder().join("release"), std::path::PathBuf::from);
    folder.join(program).display().to_string()
}

/// Runs a program of ours in the control plane's namespace; its exit status and its last line.
pub(crate) fn run(cluster: &Cluster, program: &str, arguments: &[&str]) -> Result<(String, String)> {
    let program = program_path(program);
    let words: Vec<_> = arguments.iter().map(|word| format!("'{word}'")).collect();
    let script = format!("timeout 10 {program} {} 2>&1; echo \"status $?\"", words.join(" "));
    let text = cluster.enter("cp", &["sh", "-c", &script])?;
    let (output, status) = text.trim_end().rsplit_once("status ").context("no status")?;
    Ok((status.to_owned(), output.trim().to_owned()))
}

/// Each wrong setting: one clear line that names it, and status 64.
pub(crate) fn refused(cluster: &Cluster) -> Result<()> {
    let kubeconfig = cluster.variable("KUBECONFIG")?.to_owned();
    let listen = format!("{}:53", cluster.variable("CP_IP")?);
    let cases: &[(&str, &[&str], &str)] = &[
        ("portolan-controllers", &["--no-such-flag"], "--no-such-flag"),
        ("portolan-controllers", &["--kubeconfig", "/nonexistent"], "/nonexistent"),
        ("portolan-controllers", &["--kubeconfig", &kubeconfig, "--controllers", "nonsense"], "nonsense"),
        ("portolan-dns", &["--kubeconfig", &kubeconfig, "--listen", "nonsense"], "--listen"),
        ("portolan-dns", &["--kubeconfig", &kubeconfig, "--listen", &listen], &listen),
        (
            "portolan-proxy",
            &["--kubeconfig", &kubeconfig, "--node-name", "x", "--mode", "nonsense"],
            "--mode",
        ),
        (
            "portolan-proxy",
            &["--kubeconfig", &kubeconfig, "--node-name", "x", "--mode", "nftables", "--cluster-cidr", "x"],
            "--cluster-cidr",
        ),
        ("portolan-proxy", &["--kubeconfig", &kubeconfig, "--node-name", "x", "--mode", "ipvs"], "ipvs"),
    ];
    for (program, arguments, named) in cases {
        let (status, output) = run(cluster, program, arguments)?;
        ensure!(status == "64", "{program} {arguments:?}: status {status}: {output}");
        let last = output.lines().last().context("no output")?;
        ensure!(last.contains(named), "{program} {arguments:?}: {named:?} is not named: {output}");
        ensure!(output.lines().count() <= 3, "{program} {arguments:?}: not one clear line: {output}");
    }
    unreachable(cluster)?;
    unprivileged(cluster, &kubeconfig)
}

/// An API server that is not there, or that does not know us, is a matter of patience: the program says so in
/// one line, is not ready, and goes on trying.
fn unreachable(cluster: &Cluster) -> Result<()> {
    let kubeconfig = std::fs::read_to_string(cluster.variable("KUBECONFIG")?)?;
    let token = kubeconfig
        .split("token: ")
        .nth(1)
        .and_then(|rest| rest.split([',', '}', '\n']).next())
        .context("no token")?;
    let nobody = kubeconfig.replace(token, "nonsense");
    let gone = kubeconfig.replace(":6443", ":1");
    for (name, text, want) in [("nobody", nobody, "401"), ("gone", gone, "cannot reach the API server")] {
        let file = std::env::temp_dir().join(format!("portolan-e2e-{name}.kubeconfig"));
        std::fs::write(&file, text)?;
        let path = file.display().to_string();
        let (status, output) =
            run(cluster, "portolan-dns", &["--kubeconfig", &path, "--listen", "127.0.0.1:5353"])?;
        std::fs::remove_file(&file)?;
        ensure!(status == "124", "{name}: ended with {status}: {output}");
        ensure!(output.contains(want), "{name}: {want:?} is not said: {output}");
        ensure!(output.lines().count() < 20, "{name}: says it over and over: {output}");
    }
    Ok(())
}

/// The proxy without CAP_NET_ADMIN.
fn unprivileged(cluster: &Cluster, kubeconfig: &str) -> Result<()> {
    ensure!(Command::new("setpriv").arg("--version").output().is_ok(), "no setpriv");
    let program = program_path("portolan-proxy");
    let script = format!(
        "setpriv --bounding-set -net_admin --inh-caps -net_admin timeout 10 {program} --kubeconfig {kubeconfig} --node-name x --mode nftables 2>&1; echo \"status $?\""
    );
    let text = cluster.enter("cp", &["sh", "-c", &script])?;
    ensure!(
        text.contains("CAP_NET_ADMIN") && !text.contains("status 0") && !text.contains("status 124"),
        "{text}"
    );
    Ok(())
}
