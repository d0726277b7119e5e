//! Cluster IPs and node ports from pools: the API server and the controllers, no node.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use portolan_bench::pool_load::{webhook_configuration, webhook_service};
use portolan_e2e::{Cluster, repository, wait_until};
use serde_json::{Value, json};

use crate::pools::define;
use crate::replicas;

/// How the controllers run here: in the API server's own network.
const FLAGS: &str = "--controllers=*,pools --webhook-bind-address=0.0.0.0:10263 \
                     --webhook-configurations=portolan-pools";

const TIME: Duration = Duration::from_secs(60);
const ROLLED: Duration = Duration::from_secs(120);

const OBJECTS: &str = r#"
apiVersion: v1
kind: Namespace
metadata: {name: shop}
---
apiVersion: v1
kind: Namespace
metadata: {name: lab, labels: {team: lab}}
---
apiVersion: portolan.dev/v1alpha1
kind: ServiceIPPool
metadata: {name: shop}
spec: {addresses: [10.96.0.32/27], reserved: [10.96.0.32-10.96.0.33], namespaces: [shop]}
---
apiVersion: portolan.dev/v1alpha1
kind: ServiceIPPool
metadata: {name: lab}
spec: {addresses: [10.96.0.64-10.96.0.95, 192.0.2.1], namespaceSelector: {matchLabels: {team: lab}}}
---
apiVersion: portolan.dev/v1alpha1
kind: NodePortPool
metadata: {name: shop}
spec: {ports: [30010-30029], namespaces: [shop]}
---
apiVersion: portolan.dev/v1alpha1
kind: NodePortPool
metadata: {name: lab}
spec: {ports: [30040-30059], namespaceSelector: {matchLabels: {team: lab}}}
"#;

fn service(namespace: &str, name: &str, spec: &Value) -> String {
    let mut service = json!({"apiVersion": "v1", "kind": "Service",
        "metadata": {"namespace": namespace, "name": name}, "spec": {"type": "NodePort", "ports": [{"port": 80}]}});
    for (field, value) in spec.as_object().into_iter().flatten() {
        service["spec"][field] = value.clone();
    }
    service.to_string()
}

/// The last part of the cluster IP, and the first node port.
fn values(spec: &Value) -> Result<(u8, u64)> {
    let address = spec["clusterIP"].as_str().context("no address")?;
    let address: std::net::Ipv4Addr = address.parse()?;
    let [10, 96, 0, last] = address.octets() else { bail!("{address} is of no pool") };
    Ok((last, spec["ports"][0]["nodePort"].as_u64().context("no node port")?))
}

fn within(spec: &Value, namespace: &str) -> Result<()> {
    let (address, port) = values(spec)?;
    let fits = match namespace {
        "shop" => (34..=63).contains(&address) && (30010..=30029).contains(&port),
        _ => (64..=95).contains(&address) && (30040..=30059).contains(&port),
    };
    ensure!(fits, "{namespace} got 10.96.0.{address} and {port}");
    Ok(())
}

fn get(cluster: &Cluster, namespace: &str, name: &str) -> Result<Value> {
    Ok(cluster.get(&["service", "-n", namespace, name])?["spec"].take())
}

/// Waits until the webhook answers and has values at hand.
fn answering(cluster: &Cluster) -> Result<()> {
    wait_until(TIME, || {
        for namespace in ["shop", "lab"] {
            let spec = dry_run(cluster, namespace, "probe")?;
            within(&spec, namespace)?;
        }
        Ok(())
    })
}

fn dry_run(cluster: &Cluster, namespace: &str, name: &str) -> Result<Value> {
    let arguments = [
        "create",
        "service",
        "nodeport",
        name,
        "--tcp=80",
        "-n",
        namespace,
        "--dry-run=server",
        "-o",
        "json",
    ];
    let made: Value = serde_json::from_str(&cluster.kubectl(&arguments)?)?;
    Ok(made["spec"].clone())
}

/// Two namespaces with pools; a value that is taken; dry runs; the webhook away; a replica killed.
pub(crate) fn choose_values(cluster: &Cluster) -> Result<()> {
    define(cluster, &["serviceippools", "nodeportpools"])?;
    refuses_nonsense(cluster)?;
    cluster.apply(OBJECTS)?;
    for object in webhook_service(cluster.variable("CP_IP")?, [10263]) {
        cluster.apply(&object.to_string())?;
    }
    let mut configuration = webhook_configuration();
    // An answer that is late because the machine is busy is no gap.
    configuration["webhooks"][0]["timeoutSeconds"] = json!(10);
    cluster.apply(&configuration.to_string())?;
    cluster.run_with("PORTOLAN_CONTROLLERS_FLAGS", FLAGS, "restart", &["controllers"])?;
    answering(cluster)?;

    // Each namespace from its own pools, no value twice.
    for namespace in ["shop", "lab"] {
        for number in 0..4 {
            cluster.apply(&service(namespace, &format!("web-{number}"), &json!({})))?;
            within(&get(cluster, namespace, &format!("web-{number}"))?, namespace)?;
        }
    }
    // A change of type, and one number for two protocols.
    cluster.apply(&service("shop", "plain", &json!({"type": "ClusterIP"})))?;
    let before = get(cluster, "shop", "plain")?["clusterIP"].clone();
    cluster.apply(&service("shop", "plain", &json!({})))?;
    let after = get(cluster, "shop", "plain")?;
    within(&after, "shop")?;
    ensure!(after["clusterIP"] == before, "the address changed from {before}");
    let both = json!({"ports": [{"name": "a", "port": 53}, {"name": "b", "port": 53, "protocol": "UDP"}]});
    cluster.apply(&service("shop", "dns", &both))?;
    let ports = get(cluster, "shop", "dns")?["ports"].clone();
    ensure!(ports[0]["nodePort"] == ports[1]["nodePort"], "{ports}");
    // A namespace without pools is the API server's.
    cluster.apply(&service("default", "other", &json!({})))?;

    taken(cluster)?;

    // As many dry runs as a block has values, and each shows one.
    for _ in 0..20 {
        within(&dry_run(cluster, "shop", "dry")?, "shop")?;
    }
    reports(cluster)?;
    many_ports(cluster)?;

    // Nobody answers: Services are made as without pools.
    cluster.kill("controllers", "KILL")?;
    cluster.apply(&service("shop", "meanwhile", &json!({})))?;
    cluster.run_with("PORTOLAN_CONTROLLERS_FLAGS", FLAGS, "restart", &["controllers"])?;
    answering(cluster)?;
    for number in 0..3 {
        cluster.apply(&service("shop", &format!("later-{number}"), &json!({})))?;
        within(&get(cluster, "shop", &format!("later-{number}"))?, "shop")?;
    }

    cluster.kubectl(&[
        "delete",
        "mutatingwebhookconfiguration/portolan-pools",
        "namespace/shop",
        "namespace/lab",
    ])?;
    cluster.kubectl(&["delete", "svcpool,nppool", "--all"])?;
    cluster.kubectl(&["delete", "service/other"])?;
    cluster.kubectl(&[
        "delete",
        "-n",
        "kube-system",
        "service/portolan-webhook",
        "endpointslice/portolan-webhook-0",
    ])?;
    cluster.restart("controllers")
}

/// What another Service has is refused by the API server, and the warning names the owner.
fn taken(cluster: &Cluster) -> Result<()> {
    let spec = get(cluster, "shop", "web-0")?;
    let (address, port) = values(&spec)?;
    let asks = service("lab", "envious", &json!({"clusterIP": spec["clusterIP"]}));
    let refusal = cluster.apply(&asks).err().map(|error| error.to_string()).unwrap_or_default();
    let warning = format!("Warning: 10.96.0.{address} is the cluster IP of shop/web-0");
    ensure!(refusal.contains(&warning) && refusal.contains("already allocated"), "{refusal}");
    let asks = service("lab", "envious", &json!({"ports": [{"port": 80, "nodePort": port}]}));
    let refusal = cluster.apply(&asks).err().map(|error| error.to_string()).unwrap_or_default();
    let warning = format!("Warning: {port} is a node port of shop/web-0");
    ensure!(refusal.contains(&warning) && refusal.contains("already allocated"), "{refusal}");
    Ok(())
}

/// More ports than a replica has at hand of so small a pool.
fn many_ports(cluster: &Cluster) -> Result<()> {
    let ports: Vec<_> = (1..=9).map(|port| json!({"name": format!("port-{port}"), "port": port})).collect();
    cluster.apply(&service("lab", "many", &json!({"ports": ports})))?;
    let found = get(cluster, "lab", "many")?["ports"].take();
    let mut found: Vec<_> =
        found.as_array().into_iter().flatten().map(|port| port["nodePort"].as_u64()).collect();
    found.sort_unstable();
    found.dedup();
    let all = found.iter().flatten().all(|port| (30040..=30059).contains(port));
    ensure!(found.len() == 9 && all, "{found:?}");
    Ok(())
}

/// The leader tells what is used and what is wrong.
fn reports(cluster: &Cluster) -> Result<()> {
    wait_until(TIME, || {
        let pool = cluster.get(&["svcpool", "lab"])?;
        let status = &pool["status"];
        let ready = &status["conditions"][0];
        // What was chosen for a Service that was refused is reserved for a while.
        ensure!(status["used"] == 4, "{status}");
        ensure!(status["free"].as_u64().is_some_and(|free| (26..=28).contains(&free)), "{status}");
        ensure!(ready["status"] == "True" && ready["reason"] == "OutOfRange", "{ready}");
        ensure!(ready["message"].as_str().is_some_and(|text| text.contains("192.0.2.1")), "{ready}");
        Ok(())
    })
}

/// What the definitions' rules refuse at once.
fn refuses_nonsense(cluster: &Cluster) -> Result<()> {
    for (kind, spec, want) in [
        ("ServiceIPPool", "addresses: []", "should have at least 1 items"),
        ("ServiceIPPool", "addresses: [10.96.0.0/33]", "each entry must be a CIDR"),
        ("ServiceIPPool", "addresses: [10.96.0.1], reserved: [x]", "each entry must be a CIDR"),
        ("NodePortPool", "ports: [\"30000-\"]", "each entry must be a range of ports"),
        ("NodePortPool", "ports: []", "should have at least 1 items"),
    ] {
        let pool = format!(
            "apiVersion: portolan.dev/v1alpha1\nkind: {kind}\nmetadata: {{name: nonsense}}\nspec: {{{spec}}}\n"
        );
        let refusal = cluster.apply(&pool).err().map(|error| error.to_string()).unwrap_or_default();
        ensure!(refusal.contains(want), "{kind} {spec}: {refusal:?}");
    }
    let examples = std::fs::read_to_string(repository()?.join("examples/service-pools.yaml"))?;
    cluster.apply(&examples)?;
    cluster.kubectl(&["delete", "svcpool,nppool", "--all"]).map(|_| ())
}

/// The same as pods of the chart, beside the service environment: two namespaces, a warning, a load balancer from a pool
/// that is announced; and Services are made while no replica is there.
pub(crate) fn by_the_chart(cluster: &Cluster) -> Result<()> {
    cluster.run("chart", FEATURES)?;
    cluster.apply(OBJECTS)?;
    cluster.apply(
        "{apiVersion: portolan.dev/v1alpha1, kind: LoadBalancerPool, metadata: {name: bench}, \
         spec: {addresses: [192.0.2.7]}}",
    )?;
    answering(cluster)?;
    for namespace in ["shop", "lab"] {
        cluster.apply(&service(namespace, "web-0", &json!({})))?;
        within(&get(cluster, namespace, "web-0")?, namespace)?;
    }
    taken(cluster)?;
    many_ports(cluster)?;
    cluster.apply(&service("shop", "balanced", &json!({"type": "LoadBalancer"})))?;
    let balanced = || cluster.get(&["service", "-n", "shop", "balanced"]);
    wait_until(TIME, || {
        let ingress = balanced()?["status"]["loadBalancer"]["ingress"].take();
        ensure!(ingress[0]["ip"] == "192.0.2.7", "{ingress}");
        Ok(())
    })?;
    within(&balanced()?["spec"], "shop")?;
    cluster.kubectl(&["label", "nodes", "--all", "portolan.dev/announce=layer2"])?;
    wait_until(TIME, || {
        let leases = cluster.get(&["leases", "-n", "kube-system", "-l", "portolan.dev/announcer=layer2"])?;
        let held = leases["items"].as_array().map_or(0, Vec::len);
        ensure!(held == 2, "{held} nodes announce");
        Ok(())
    })?;

    rolls_without_a_gap(cluster)?;
    replicas::take_away(cluster, TIME)?;
    cluster.apply(&service("shop", "meanwhile", &json!({})))?;
    replicas::bring_back(cluster)?;
    replicas::rolled(cluster, ROLLED)?;
    answering(cluster)?;
    cluster.kubectl(&["label", "nodes", "--all", "portolan.dev/announce-"])?;
    cluster.kubectl(&["delete", "namespace/shop", "namespace/lab", "namespace/roll"])?;
    cluster.kubectl(&["delete", "svcpool,nppool,lbpool", "--all"]).map(|_| ())
}

/// While all replicas are replaced, one after the other, every Service gets an address of its pool.
fn rolls_without_a_gap(cluster: &Cluster) -> Result<()> {
    cluster.apply("{apiVersion: v1, kind: Namespace, metadata: {name: roll}}")?;
    // Large enough for the leases of those that have ended and of those that follow.
    cluster.apply(
        "{apiVersion: portolan.dev/v1alpha1, kind: ServiceIPPool, metadata: {name: roll}, \
         spec: {addresses: [10.96.64.0/20], namespaces: [roll]}}",
    )?;
    let ask = || {
        let create =
            ["create", "service", "clusterip", "probe", "--tcp=80", "-n", "roll", "--dry-run=server"];
        let made: Value = serde_json::from_str(&cluster.kubectl(&[&create[..], &["-o", "json"]].concat())?)?;
        let address = made["spec"]["clusterIP"].as_str().context("no address")?;
        let [a, b, c, _] = address.parse::<std::net::Ipv4Addr>()?.octets();
        ensure!((a, b) == (10, 96) && (64..80).contains(&c), "{address} is not of the pool");
        Ok(())
    };
    wait_until(TIME, ask)?;
    let before = unanswered(cluster);
    replicas::restart(cluster)?;
    std::thread::scope(|scope| {
        let rolled = scope.spawn(|| replicas::rolled(cluster, ROLLED));
        let mut asked = 0;
        // The last one that goes still answers when all is rolled, and has gone when there are two.
        let mut rest = 100;
        while rest > 0 {
            ask().with_context(|| {
                format!("after {asked} others; before: {before}; now: {}", unanswered(cluster))
            })?;
            asked += 1;
            rest -= usize::from(rolled.is_finished() && replicas::count(cluster)? == 2);
        }
        rolled.join().map_err(|_| anyhow::anyhow!("kubectl"))??;
        ensure!(asked > 100, "only {asked} were asked for");
        Ok(())
    })
}

/// How often the API server had no answer of a webhook, in its own words.
fn unanswered(cluster: &Cluster) -> String {
    let metrics = cluster.kubectl(&["get", "--raw", "/metrics"]).unwrap_or_default();
    let lines =
        metrics.lines().filter(|line| line.starts_with("apiserver_admission_webhook_fail_open_count"));
    lines.collect::<Vec<_>>().join("; ")
}

/// What the chart switches on for it. An answer that is late because the machine is busy is no gap.
pub(crate) const FEATURES: &[&str] = &[
    "--set",
    "environment.enabled=true,pools.enabled=true,controllers.allocation=true",
    "--set",
    "controllers.loadBalancer.provider=pool,proxy.announce.enabled=true,webhook.timeoutSeconds=5",
];
