//! Variables of Services: the kubelet's, those of `portolan up`, and those of pods that opt in.

use std::collections::BTreeMap;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use portolan_e2e::{Cluster, wait_until};
use serde_json::json;

use crate::replicas;
use crate::settings::program_path;

type Variables = BTreeMap<String, String>;

const SERVICES: &str = r#"
apiVersion: v1
kind: Namespace
metadata: {name: vars}
---
apiVersion: v1
kind: Service
metadata: {name: web-1, namespace: vars}
spec: {selector: {app: web}, ports: [{name: http, port: 80}, {name: h-2, port: 8080}, {name: dns, port: 80, protocol: UDP}]}
---
apiVersion: v1
kind: Service
metadata: {name: db, namespace: vars, annotations: {portolan.dev/service-environment: "true"}}
spec: {ports: [{port: 5432}]}
---
apiVersion: v1
kind: Service
metadata: {name: headless, namespace: vars}
spec: {clusterIP: None, ports: [{port: 80}]}
---
apiVersion: v1
kind: Service
metadata: {name: alias, namespace: vars}
spec: {type: ExternalName, externalName: web.example}
"#;

/// Makes a pod of the test image in a namespace. `environment` is its annotation, where it has one.
fn make(cluster: &Cluster, namespace: &str, name: &str, environment: Option<&str>) -> Result<()> {
    let annotations = environment.map(|value| json!({"portolan.dev/service-environment": value}));
    // As the first process of its namespace it ends by a signal only if it waits for one.
    let script = "trap 'exit 0' TERM; while :; do sleep 1; done";
    let container = json!({"name": "client", "image": "portolan.test/client:local", "command": ["sh", "-c", script],
        "env": [{"name": "OWN", "value": "mine"}, {"name": "SAID", "value": "db at $(DB_SERVICE_HOST)"}]});
    let pod = json!({"apiVersion": "v1", "kind": "Pod",
        "metadata": {"namespace": namespace, "name": name, "annotations": annotations},
        "spec": {"terminationGracePeriodSeconds": 0, "containers": [container]}});
    cluster.apply(&pod.to_string())
}

fn ready(cluster: &Cluster, namespace: &str, name: &str) -> Result<()> {
    let pod = format!("pod/{name}");
    cluster.kubectl(&["wait", "-n", namespace, "--for=condition=Ready", "--timeout=60s", &pod]).map(|_| ())
}

/// Variables with which a pod's first process was started, without the name of its host.
fn variables(cluster: &Cluster, namespace: &str, pod: &str) -> Result<Variables> {
    let text = cluster.kubectl(&["exec", "-n", namespace, pod, "--", "cat", "/proc/1/environ"])?;
    Ok(parsed(&text))
}

fn parsed(text: &str) -> Variables {
    let pairs = text.split('\0').filter_map(|pair| pair.split_once('='));
    pairs
        .filter(|(name, _)| *name != "HOSTNAME")
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

fn same(one: &Variables, other: &Variables, what: &str) -> Result<()> {
    let differs: Vec<_> = one
        .keys()
        .chain(other.keys())
        .filter(|name| one.get(*name) != other.get(*name))
        .map(|name| format!("{name}: {:?} and {:?}", one.get(name), other.get(name)))
        .collect();
    ensure!(differs.is_empty(), "{what}: {}", differs.join(", "));
    Ok(())
}

/// Waits until the API server trusts the webhook, and so pods are changed.
fn answering(cluster: &Cluster) -> Result<()> {
    wait_until(Duration::from_secs(60), || {
        let _ = cluster.kubectl(&["delete", "pod", "-n", "vars", "--ignore-not-found", "--wait", "probe"]);
        make(cluster, "vars", "probe", Some("all"))?;
        let pod = cluster.get(&["pod", "-n", "vars", "probe"])?;
        ensure!(pod["spec"]["enableServiceLinks"] == false, "the webhook does not change pods yet");
        Ok(())
    })
}

/// The same pod with the kubelet's links, under `portolan up`, and opted in.
pub(crate) fn three_ways(cluster: &Cluster) -> Result<()> {
    // An answer that is late because the machine is busy is no gap.
    cluster.run("chart", &["--set", "environment.enabled=true,webhook.timeoutSeconds=5"])?;
    cluster.apply(SERVICES)?;
    answering(cluster)?;
    make(cluster, "vars", "links", None)?;
    make(cluster, "vars", "opted", Some("all"))?;
    make(cluster, "vars", "chosen", Some("chosen"))?;
    for pod in ["links", "opted", "chosen"] {
        ready(cluster, "vars", pod)?;
    }
    let links = variables(cluster, "vars", "links")?;
    ensure!(links.get("WEB_1_SERVICE_PORT_H_2").is_some_and(|port| port == "8080"), "{links:?}");
    ensure!(links.get("SAID") == Some(&format!("db at {}", links["DB_SERVICE_HOST"])), "{links:?}");
    ensure!(links.len() > 30, "only {} variables", links.len());
    same(&links, &variables(cluster, "vars", "opted")?, "the kubelet's and opted in")?;
    let mut few = links.clone();
    few.retain(|name, _| !name.starts_with("WEB_1_"));
    same(&few, &variables(cluster, "vars", "chosen")?, "the kubelet's without the others and chosen")?;
    let mut links = links;
    links.retain(|name, _| compared(name));
    same(&links, &standalone(cluster)?, "the kubelet's and those of portolan up")?;
    println!("    {} variables in three ways", links.len());
    restarted(cluster)
}

/// The variables of a pod of `portolan up` with the same Services, as far as they are of these or the pod's own.
fn standalone(cluster: &Cluster) -> Result<Variables> {
    let folder = tempfile::tempdir()?;
    let output = folder.path().join("environ");
    let mut items = vec![json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "vars"}})];
    let services = cluster.get(&["services", "-n", "vars"])?["items"].take();
    for service in services.as_array().into_iter().flatten() {
        let mut spec = json!({});
        for field in ["type", "clusterIP", "externalName", "ports"] {
            if !service["spec"][field].is_null() {
                spec[field] = service["spec"][field].clone();
            }
        }
        let metadata =
            json!({"namespace": service["metadata"]["namespace"], "name": service["metadata"]["name"]});
        items.push(json!({"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec}));
    }
    // Moved when it is complete.
    let script = format!("cat /proc/self/environ > {0}.new; mv {0}.new {0}; sleep 100", output.display());
    items.push(json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"namespace": "vars", "name": "p"}, "spec": {"containers": [
        {"name": "c", "image": "any", "command": ["sh", "-c", script],
         "env": [{"name": "OWN", "value": "mine"}, {"name": "SAID", "value": "db at $(DB_SERVICE_HOST)"}]}]}}));
    let file = folder.path().join("manifests.json");
    let list = json!({"apiVersion": "v1", "kind": "List", "items": items});
    std::fs::write(&file, list.to_string())?;
    let mut up = Command::new(program_path("portolan"))
        .args(["up", "--pod-cidr", "10.247.0.0/24", "-f"])
        .arg(&file)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .context("portolan up")?;
    let found = wait_until(Duration::from_secs(30), || Ok(std::fs::read_to_string(&output)?));
    // By SIGTERM it removes what it has made.
    Command::new("kill").arg(up.id().to_string()).status()?;
    up.wait()?;
    let mut found = parsed(&found?);
    found.retain(|name, _| compared(name));
    Ok(found)
}

/// Whether it is a variable of a Service or of the pod, and not one of the image or of who started the process.
fn compared(name: &str) -> bool {
    ["WEB_1_", "DB_", "HEADLESS_", "ALIAS_", "KUBERNETES_", "OWN", "SAID"]
        .iter()
        .any(|start| name.starts_with(start))
}

/// A container that starts again sees the Services of that moment.
fn restarted(cluster: &Cluster) -> Result<()> {
    cluster.apply(
        "{apiVersion: v1, kind: Service, metadata: {name: late, namespace: vars}, spec: {ports: [{port: 99}]}}",
    )?;
    wait_until(Duration::from_secs(10), || {
        let maps = cluster.kubectl(&["get", "configmaps", "-n", "vars", "-o", "yaml"])?;
        ensure!(maps.contains("LATE_SERVICE_PORT"), "the ConfigMaps do not name it");
        Ok(())
    })?;
    cluster.kubectl(&["exec", "-n", "vars", "opted", "--", "sh", "-c", "kill 1"])?;
    wait_until(Duration::from_secs(60), || {
        let found = variables(cluster, "vars", "opted")?;
        ensure!(found.get("LATE_SERVICE_PORT").is_some_and(|port| port == "99"), "{found:?}");
        Ok(())
    })?;
    // ConfigMaps that somebody has touched get what is new as well; more Services come than there are ConfigMaps.
    cluster.kubectl(&["annotate", "configmaps", "-n", "vars", "--all", "touched=yes"])?;
    let more = (0..8).map(|number| {
        json!({"apiVersion": "v1", "kind": "Service", "spec": {"ports": [{"port": 98}]},
            "metadata": {"namespace": "vars", "name": format!("more-{number}")}})
    });
    let list = json!({"apiVersion": "v1", "kind": "List", "items": more.collect::<Vec<_>>()});
    cluster.apply(&list.to_string())?;
    wait_until(Duration::from_secs(10), || {
        let maps = cluster.kubectl(&["get", "configmaps", "-n", "vars", "-o", "yaml"])?;
        let missing = (0..8).find(|number| !maps.contains(&format!("MORE_{number}_SERVICE_PORT:")));
        ensure!(missing.is_none(), "the ConfigMaps do not name more-{}", missing.unwrap_or_default());
        Ok(())
    })
}

/// Three thousand Services of long names, a pod that wants twenty of them, and one that wants all and gets what has room.
pub(crate) fn thousands(cluster: &Cluster) -> Result<()> {
    const SERVICES: usize = 3000;
    let long = "x".repeat(55);
    cluster.kubectl(&["create", "namespace", "many"])?;
    let items: Vec<_> = (0..SERVICES)
        .map(|number| {
            let chosen = (number % 150 == 0).then(|| json!({"portolan.dev/service-environment": "true"}));
            json!({"apiVersion": "v1", "kind": "Service", "spec": {"ports": [{"port": 80}]},
                "metadata": {"namespace": "many", "name": format!("{long}-{number}"), "annotations": chosen}})
        })
        .collect();
    cluster.apply(&json!({"apiVersion": "v1", "kind": "List", "items": items}).to_string())?;
    // What the label of the namespace is for: a first pod may be faster than a megabyte of ConfigMaps.
    cluster.kubectl(&["label", "namespace", "many", "portolan.dev/service-environment=all"])?;
    wait_until(Duration::from_secs(30), || {
        let maps =
            cluster.get(&["configmaps", "-n", "many", "-l", "app.kubernetes.io/managed-by=portolan"])?;
        ensure!(maps["items"].as_array().is_some_and(|maps| maps.len() == 4), "not all are there");
        Ok(())
    })?;
    for name in ["chosen", "all"] {
        make(cluster, "many", name, Some(name))?;
    }
    ready(cluster, "many", "chosen")?;
    ready(cluster, "many", "all")?;
    let count = |pod: &str| -> Result<usize> {
        Ok(variables(cluster, "many", pod)?.keys().filter(|name| name.starts_with("XXX")).count())
    };
    let (chosen, all) = (count("chosen")?, count("all")?);
    ensure!(chosen == 20 * 7, "{chosen} variables of 20 Services");
    ensure!(all > 1500 * 7 && all < SERVICES * 7 && all % 7 == 0, "{all} variables");
    let events =
        cluster.get(&["events", "-n", "default", "--field-selector", "reason=ServiceEnvironmentFull"])?;
    ensure!(events["items"].as_array().is_some_and(|events| !events.is_empty()), "nobody was told");
    println!("    of {} variables: chosen {chosen}, all {all}", SERVICES * 7);
    cluster.kubectl(&["delete", "namespace", "many", "--wait=false"]).map(|_| ())
}

/// Pods are made while no webhook answers, and have the kubelet's variables then.
pub(crate) fn webhook_down(cluster: &Cluster) -> Result<()> {
    replicas::take_away(cluster, Duration::from_secs(30))?;
    let began = Instant::now();
    make(cluster, "vars", "alone", Some("all"))?;
    let took = began.elapsed();
    ready(cluster, "vars", "alone")?;
    let links = variables(cluster, "vars", "alone")?;
    ensure!(links.contains_key("DB_SERVICE_HOST"), "{links:?}");
    ensure!(took < Duration::from_secs(10), "making a pod took {took:?}");
    println!("    a pod is made after {:.1} s without a webhook", took.as_secs_f64());
    replicas::bring_back(cluster)?;
    replicas::rolled(cluster, Duration::from_secs(60))?;
    answering(cluster)
}

/// A ConfigMap that nothing is in goes, and with the feature all that it has made.
pub(crate) fn tidied(cluster: &Cluster) -> Result<()> {
    let maps = || {
        cluster.kubectl(&[
            "get",
            "configmaps",
            "-A",
            "-o",
            "name",
            "-l",
            "app.kubernetes.io/managed-by=portolan",
        ])
    };
    ensure!(!maps()?.is_empty(), "there are none to go");
    cluster.kubectl(&["label", "namespace", "vars", "portolan.dev/service-environment=chosen"])?;
    cluster.kubectl(&["delete", "pods", "-n", "vars", "--all"])?;
    wait_until(Duration::from_secs(30), || {
        let left = maps()?;
        ensure!(left.contains("configmap/portolan-environment-chosen-0"), "there are: {left}");
        Ok(())
    })?;
    cluster.kubectl(&["annotate", "namespace", "vars", "portolan.dev/import-services-"])?;
    cluster.kubectl(&["annotate", "service", "-n", "vars", "db", "portolan.dev/service-environment-"])?;
    wait_until(Duration::from_secs(30), || {
        let name = "portolan-environment-chosen-0";
        let left =
            cluster.kubectl(&["get", "configmap", "-n", "vars", name, "--ignore-not-found", "-o", "name"])?;
        ensure!(left.is_empty(), "left: {left}");
        Ok(())
    })?;
    cluster.run("chart", &["--set", "environment.enabled=false"])?;
    wait_until(Duration::from_secs(60), || {
        let left = maps()?;
        ensure!(left.is_empty(), "left: {left}");
        let secrets = cluster.kubectl(&["get", "secrets", "-n", "kube-system", "-o", "name"])?;
        ensure!(!secrets.contains("portolan-webhook"), "the Secret is left");
        Ok(())
    })
}
