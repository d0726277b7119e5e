//! Addresses of load balancers from pools: the API server and the controllers, no node.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use portolan_e2e::{Cluster, repository, wait_until};
use serde_json::Value;

/// How the controllers run here.
const FLAGS: &str = "--controllers=*,loadbalancer --cloud-provider=pool";

/// Whoever follows a leader that was killed waits until its Lease is over, 15 s.
const TAKE_OVER: Duration = Duration::from_secs(40);

const POOLS: &str = r#"
apiVersion: v1
kind: Namespace
metadata: {name: shop}
---
apiVersion: v1
kind: Namespace
metadata: {name: mail, labels: {team: mail}}
---
apiVersion: portolan.dev/v1alpha1
kind: LoadBalancerPool
metadata: {name: shop}
spec: {addresses: [192.0.2.16/30], namespaces: [shop]}
---
apiVersion: portolan.dev/v1alpha1
kind: LoadBalancerPool
metadata: {name: mail}
spec: {addresses: [192.0.2.32-192.0.2.33], namespaceSelector: {matchLabels: {team: mail}}}
"#;

fn service(namespace: &str, name: &str, address: &str) -> String {
    let asked =
        if address.is_empty() { String::new() } else { format!("portolan.dev/load-balancer-ips: {address}") };
    format!(
        "apiVersion: v1\nkind: Service\nmetadata: {{name: {name}, namespace: {namespace}, annotations: {{{asked}}}}}\n\
         spec: {{type: LoadBalancer, ports: [{{port: 80}}]}}\n---\n"
    )
}

/// Addresses in the status of a Service.
fn addresses(cluster: &Cluster, namespace: &str, name: &str) -> Result<Vec<String>> {
    let service = cluster.get(&["service", "-n", namespace, name])?;
    let ingress = service["status"]["loadBalancer"]["ingress"].as_array().cloned().unwrap_or_default();
    Ok(ingress.iter().filter_map(|entry| entry["ip"].as_str().map(str::to_owned)).collect())
}

fn gets(cluster: &Cluster, namespace: &str, name: &str, want: &str) -> Result<()> {
    wait_until(TAKE_OVER, || {
        let has = addresses(cluster, namespace, name)?;
        ensure!(has == [want], "{namespace}/{name} has {has:?} and not {want}");
        Ok(())
    })
}

/// Waits for an Event of a Service that says all of that.
fn says(cluster: &Cluster, namespace: &str, name: &str, texts: &[&str]) -> Result<()> {
    wait_until(Duration::from_secs(20), || {
        let field = format!("involvedObject.name={name}");
        let events = cluster.get(&["events", "-n", namespace, "--field-selector", &field])?;
        let notes =
            events["items"].as_array().into_iter().flatten().filter_map(|event| event["message"].as_str());
        let notes: Vec<_> = notes.collect();
        ensure!(notes.iter().any(|note| texts.iter().all(|text| note.contains(text))), "{name}: {notes:?}");
        Ok(())
    })
}

/// Used and free IPv4 addresses of a pool, and its condition.
fn pool(cluster: &Cluster, name: &str) -> Result<(i64, i64, String)> {
    let pool = cluster.get(&["lbpool", name])?;
    let status = &pool["status"];
    let number = |key: &str| status[key].as_i64().with_context(|| format!("{name}: no {key}"));
    let ready = &status["conditions"][0];
    let text = |key: &str| ready[key].as_str().unwrap_or_default().to_owned();
    Ok((number("usedIPv4")?, number("freeIPv4")?, format!("{} {}", text("status"), text("reason"))))
}

fn counts(cluster: &Cluster, name: &str, want: (i64, i64, &str)) -> Result<()> {
    wait_until(TAKE_OVER, || {
        let has = pool(cluster, name)?;
        ensure!((has.0, has.1, &*has.2) == want, "pool {name}: {has:?} and not {want:?}");
        Ok(())
    })
}

/// Has the API server take in definitions of pools.
pub(crate) fn define(cluster: &Cluster, plurals: &[&str]) -> Result<()> {
    for plural in plurals {
        let definition = repository()?.join(format!("charts/portolan/files/crds/{plural}.yaml"));
        cluster.apply(&std::fs::read_to_string(definition)?)?;
        let name = format!("crd/{plural}.portolan.dev");
        cluster.kubectl(&["wait", "--for=condition=Established", &name, "--timeout=20s"])?;
    }
    Ok(())
}

/// Two pools for two namespaces; a conflict; exhaustion and the wake-up; the controllers killed.
pub(crate) fn give_addresses(cluster: &Cluster) -> Result<()> {
    define(cluster, &["loadbalancerpools"])?;
    refuses_nonsense(cluster)?;
    cluster.run_with("PORTOLAN_CONTROLLERS_FLAGS", FLAGS, "restart", &["controllers"])?;
    cluster.apply(POOLS)?;

    // Each namespace from its own pool, to the last address.
    cluster.apply(
        &(service("shop", "asked", "192.0.2.18")
            + &service("mail", "first", "")
            + &service("mail", "second", "")),
    )?;
    gets(cluster, "shop", "asked", "192.0.2.18")?;
    wait_until(Duration::from_secs(10), || {
        let mut has = addresses(cluster, "mail", "first")?;
        has.extend(addresses(cluster, "mail", "second")?);
        has.sort();
        ensure!(has == ["192.0.2.32", "192.0.2.33"], "{has:?}");
        Ok(())
    })?;
    counts(cluster, "mail", (2, 0, "True Usable"))?;
    counts(cluster, "shop", (1, 3, "True Usable"))?;

    // A request for what another one has names the owner; what is used up, the pool.
    cluster.apply(&service("shop", "envious", "192.0.2.18"))?;
    says(cluster, "shop", "envious", &["192.0.2.18", "belongs to Service shop/asked"])?;
    cluster.apply(&service("mail", "third", ""))?;
    says(cluster, "mail", "third", &["\"mail\" is used up (2 of 2)", "\"shop\" does not admit"])?;

    // Whoever waits gets what becomes free, at once.
    cluster.kubectl(&["delete", "-n", "shop", "service/asked", "--wait=false"])?;
    gets(cluster, "shop", "envious", "192.0.2.18")?;
    let freed = addresses(cluster, "mail", "first")?;
    let began = Instant::now();
    cluster.kubectl(&["delete", "-n", "mail", "service/first"])?;
    gets(cluster, "mail", "third", freed.first().context("mail/first had one")?)?;
    ensure!(began.elapsed() < Duration::from_secs(5), "woken after {:?}", began.elapsed());

    // Killed, and a Service made meanwhile: everybody keeps theirs.
    let before = statuses(cluster)?;
    ensure!(before.len() == 3, "{before:?}");
    cluster.kill("controllers", "KILL")?;
    cluster.apply(&service("shop", "meanwhile", ""))?;
    cluster.run_with("PORTOLAN_CONTROLLERS_FLAGS", FLAGS, "restart", &["controllers"])?;
    gets(cluster, "shop", "meanwhile", "192.0.2.16")?;
    let mut after = statuses(cluster)?;
    after.retain(|(name, _)| name != "shop/meanwhile");
    ensure!(after == before, "after the restart {after:?}, before {before:?}");
    counts(cluster, "shop", (2, 2, "True Usable"))?;

    // A pool that overlaps is set aside; a pool that goes takes nothing away.
    cluster.apply(
        "apiVersion: portolan.dev/v1alpha1\nkind: LoadBalancerPool\nmetadata: {name: late}\n\
         spec: {addresses: [192.0.2.19-192.0.2.40]}\n",
    )?;
    counts(cluster, "late", (0, 0, "False Overlaps"))?;
    cluster.kubectl(&["delete", "lbpool/late", "lbpool/mail"])?;
    says(cluster, "mail", "third", &["The address is kept", "is in no LoadBalancerPool"])?;
    ensure!(addresses(cluster, "mail", "third")? == freed, "its pool is gone, its address is not");

    cluster.kubectl(&["delete", "namespace/shop", "namespace/mail", "lbpool/shop"])?;
    cluster.restart("controllers")
}

/// Names and addresses of all Services that have some.
fn statuses(cluster: &Cluster) -> Result<Vec<(String, Value)>> {
    let services = cluster.get(&["services", "-A"])?;
    let items = services["items"].as_array().cloned().unwrap_or_default();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let has = items.iter().filter(|item| item["status"]["loadBalancer"]["ingress"].is_array());
    let pair = |item: &Value| {
        let meta = &item["metadata"];
        let name = format!("{}/{}", text(&meta["namespace"]), text(&meta["name"]));
        (name, item["status"]["loadBalancer"]["ingress"].clone())
    };
    let mut statuses: Vec<_> = has.map(pair).collect();
    statuses.sort_by(|a, b| a.0.cmp(&b.0));
    Ok(statuses)
}

/// What the definition's rules refuse at once.
fn refuses_nonsense(cluster: &Cluster) -> Result<()> {
    let pool = |spec: &str| {
        let head = "apiVersion: portolan.dev/v1alpha1\nkind: LoadBalancerPool\nmetadata: {name: nonsense}\n";
        format!("{head}spec: {{{spec}}}\n")
    };
    for (spec, want) in [
        ("addresses: []", "should have at least 1 items"),
        ("addresses: [192.0.2.0/33]", "each entry must be a CIDR"),
        ("addresses: [192.0.2.1-192.0.2.2-192.0.2.3]", "each entry must be a CIDR"),
        ("addresses: [somewhere]", "each entry must be a CIDR"),
        ("addresses: [\"192.0.2.1-2001:db8::1\"]", "a range must begin and end in one family"),
        ("addresses: [192.0.2.1], announce: BGP", "Unsupported value"),
        (
            "addresses: [192.0.2.1], serviceSelector: {matchExpressions: [{key: a, operator: In}]}",
            "In and NotIn need values",
        ),
    ] {
        let refusal = cluster.apply(&pool(spec)).err().map(|error| error.to_string()).unwrap_or_default();
        ensure!(refusal.contains(want), "{spec}: {refusal:?}");
    }
    let good =
        pool("addresses: [192.0.2.0/24, \"2001:db8::/64\", \"192.0.3.1 - 192.0.3.9\", \"2001:db9::1\"]");
    cluster.apply(&good)?;
    cluster.kubectl(&["delete", "lbpool/nonsense"]).map(|_| ())
}
