//! What each part may ask of the API server, and what it asks.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{Display, Formatter};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use portolan_e2e::{Cluster, wait_until};
use serde_json::Value;

use crate::service_pools;

/// A verb on a resource of a namespace; no namespace = all of them.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Access {
    group: String,
    resource: String,
    verb: String,
    namespace: Option<String>,
}

impl Display for Access {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.verb, self.resource)?;
        if !self.group.is_empty() {
            write!(f, ".{}", self.group)?;
        }
        self.namespace.as_ref().map_or(Ok(()), |namespace| write!(f, " in {namespace}"))
    }
}

/// Grants and requests by service account.
type Accesses = BTreeMap<String, BTreeSet<Access>>;

/// What is granted for clusters other than this one, and why.
const ELSEWHERE: &[(&str, &str, &str)] = &[
    ("list", "", "an API server that does not stream lists with the watch"),
    ("get", "endpointslices", "a watch that does not deliver what a write has met"),
    ("create", "endpoints/restricted", "an API server that restricts endpoints to the ranges of pods"),
    // This cluster has that plugin, so that the writes show whether the grant is there; but it asks no request of its own.
    ("update", "services/finalizers", "the admission plugin OwnerReferencesPermissionEnforcement"),
    ("update", "endpoints/finalizers", "the admission plugin OwnerReferencesPermissionEnforcement"),
];

/// Everything that is granted has been used by the cases before, and nothing was refused.
pub(crate) fn least(cluster: &Cluster) -> Result<()> {
    anew(cluster)?;
    orphan(cluster)?;
    patched(cluster)?;
    let granted = granted(cluster)?;
    ensure!(granted.len() >= 3, "roles of three parts, not of {:?}", granted.keys());
    used(cluster, &granted)
}

/// What the chart grants for parts that are off without flags has been used by the cases before, and nothing was refused.
pub(crate) fn added(cluster: &Cluster) -> Result<()> {
    cluster.run("chart", service_pools::FEATURES)?;
    certified(cluster)?;
    let mut more = granted(cluster)?;
    cluster.run("chart", &[])?;
    let usual = granted(cluster)?;
    for (account, grants) in &mut more {
        grants.retain(|grant| usual.get(account).is_none_or(|usual| !usual.contains(grant)));
    }
    more.retain(|_, grants| !grants.is_empty());
    ensure!(!more.is_empty(), "nothing is granted beside the usual");
    // Leases go with their nodes.
    cluster.kubectl(&["delete", "leases", "-n", "kube-system", "-l", "portolan.dev/announcer=layer2"])?;
    // The chart leaves the definitions, and with them what people made.
    for plural in ["serviceippools", "nodeportpools", "loadbalancerpools"] {
        cluster.kubectl(&["delete", "crd", &format!("{plural}.portolan.dev")])?;
    }
    used(cluster, &more)
}

/// The audit log shows a use of each grant, and no refusal.
fn used(cluster: &Cluster, granted: &Accesses) -> Result<()> {
    let (used, refused) = requests(cluster)?;
    ensure!(refused.is_empty(), "refused: {}", refused.join("; "));
    let mut idle = Vec::new();
    for (account, grants) in granted {
        let used = used.get(account).with_context(|| format!("{account} has asked for nothing"))?;
        let covers = |grant: &&Access| {
            used.iter().any(|access| {
                let namespace = grant.namespace.is_none() || access.namespace == grant.namespace;
                (&access.group, &access.resource, &access.verb)
                    == (&grant.group, &grant.resource, &grant.verb)
                    && namespace
            })
        };
        println!("    {account}: {} grants, {} requests of different kinds", grants.len(), used.len());
        let elsewhere = |grant: &Access| {
            let named = |resource: &str| resource.is_empty() || resource == grant.resource;
            ELSEWHERE.iter().find(|(verb, resource, _)| *verb == grant.verb && named(resource))
        };
        for grant in grants.iter().filter(|grant| !covers(grant)) {
            match elsewhere(grant) {
                Some((.., reason)) => println!("    {account}: {grant}: for {reason}"),
                None => idle.push(format!("{account}: {grant}")),
            }
        }
    }
    ensure!(idle.is_empty(), "granted and never used: {}", idle.join("; "));
    Ok(())
}

/// The Lease is made again when somebody has deleted it.
fn anew(cluster: &Cluster) -> Result<()> {
    cluster.kubectl(&["delete", "lease", "-n", "kube-system", "portolan-controllers"])?;
    wait_until(Duration::from_secs(60), || {
        let lease = cluster.get(&["lease", "-n", "kube-system", "portolan-controllers"])?;
        ensure!(lease["spec"]["holderIdentity"].is_string(), "nobody leads");
        Ok(())
    })?;
    // Helm takes away only what it knows as its own, which the next upgrade makes it.
    cluster.run("chart", &[]).map(|_| ())
}

/// The webhook's Secret is made again when somebody has deleted it to have a new certificate.
fn certified(cluster: &Cluster) -> Result<()> {
    let secret = ["secret", "-n", "kube-system", "portolan-webhook"];
    cluster.kubectl(&[&["delete"], &secret[..]].concat())?;
    wait_until(Duration::from_secs(60), || {
        ensure!(cluster.get(&secret)?["data"]["tls.crt"].is_string(), "it has no certificate");
        Ok(())
    })
}

/// Endpoints without a Service are deleted. Those of a deleted Service mostly are by the API server itself, before.
fn orphan(cluster: &Cluster) -> Result<()> {
    cluster.apply(
        "{apiVersion: v1, kind: Endpoints, metadata: {name: left-behind, namespace: default, \
         labels: {endpoints.kubernetes.io/managed-by: endpoint-controller}}}",
    )?;
    wait_until(Duration::from_secs(30), || {
        let held =
            cluster.kubectl(&["get", "endpoints", "-n", "default", "--ignore-not-found", "left-behind"])?;
        ensure!(held.is_empty(), "Endpoints left-behind are still there");
        Ok(())
    })
}

/// Objects with a finalizer of somebody else are patched and not replaced, and keep it.
fn patched(cluster: &Cluster) -> Result<()> {
    let service = ["-n", "e2e", "-l", "kubernetes.io/service-name=my-svc"];
    let slices = cluster.get(&[&["endpointslices"], &service[..]].concat())?;
    let slice = slices["items"][0]["metadata"]["name"].as_str().context("my-svc has no slice")?.to_owned();
    let objects = [("endpoints", "my-svc"), ("endpointslice", slice.as_str())];
    let set = |finalizers: &str| -> Result<()> {
        let patch = format!(r#"{{"metadata": {{"finalizers": {finalizers}}}}}"#);
        for (kind, name) in objects {
            cluster.kubectl(&["patch", kind, "-n", "e2e", name, "--type=merge", "-p", &patch])?;
        }
        Ok(())
    };
    set(r#"["example.com/kept"]"#)?;
    cluster.kubectl(&["label", "service", "-n", "e2e", "my-svc", "patched=yes"])?;
    wait_until(Duration::from_secs(30), || {
        for (kind, name) in objects {
            let metadata = cluster.get(&[kind, "-n", "e2e", name])?["metadata"].take();
            ensure!(metadata["labels"]["patched"] == "yes", "{kind} {name} lacks the Service's label");
            ensure!(metadata["finalizers"][0] == "example.com/kept", "{kind} {name} has lost its finalizer");
        }
        Ok(())
    })?;
    set("null")?;
    cluster.kubectl(&["label", "service", "-n", "e2e", "my-svc", "patched-"]).map(|_| ())
}

/// From the API: what the bindings of the release give to its service accounts.
fn granted(cluster: &Cluster) -> Result<Accesses> {
    let mut all = Accesses::new();
    for (bindings, roles) in [("clusterrolebindings", "clusterrole"), ("rolebindings", "role")] {
        let release = "app.kubernetes.io/instance=portolan";
        let bindings = cluster.get(&[bindings, "-n", "kube-system", "-l", release])?;
        for binding in bindings["items"].as_array().context("no items")? {
            let name = binding["roleRef"]["name"].as_str().context("no role")?;
            let role = cluster.get(&[roles, "-n", "kube-system", name])?;
            let namespace = binding["metadata"]["namespace"].as_str().map(str::to_owned);
            for subject in binding["subjects"].as_array().context("no subjects")? {
                let account = subject["name"].as_str().context("no account")?.to_owned();
                all.entry(account).or_default().extend(accesses(&role, namespace.as_ref()));
            }
        }
    }
    Ok(all)
}

/// The rules of a role, one by one.
fn accesses(role: &Value, namespace: Option<&String>) -> Vec<Access> {
    let words = |value: &Value| -> Vec<String> {
        let words = value.as_array().into_iter().flatten().filter_map(Value::as_str);
        words.map(str::to_owned).collect()
    };
    let mut all = Vec::new();
    for rule in role["rules"].as_array().into_iter().flatten() {
        for group in words(&rule["apiGroups"]) {
            for resource in words(&rule["resources"]) {
                for verb in words(&rule["verbs"]) {
                    let (group, resource) = (group.clone(), resource.clone());
                    all.push(Access { group, resource, verb, namespace: namespace.cloned() });
                }
            }
        }
    }
    all
}

/// From the audit log: what the service accounts of the release asked for, and what of it was refused.
fn requests(cluster: &Cluster) -> Result<(Accesses, Vec<String>)> {
    let log = Path::new(cluster.variable("LOG_DIR")?).join("audit.log");
    let log = std::fs::read_to_string(&log).with_context(|| log.display().to_string())?;
    let (mut used, mut allowed, mut refused) = (Accesses::new(), BTreeSet::new(), BTreeSet::new());
    for line in log.lines().filter(|line| line.contains("system:serviceaccount:kube-system:portolan-")) {
        // The last line may still be on its way.
        let Ok(event) = serde_json::from_str::<Value>(line) else { continue };
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let user = text(&event["user"]["username"]);
        let Some(account) = user.strip_prefix("system:serviceaccount:kube-system:") else { continue };
        let object = &event["objectRef"];
        let subresource = object["subresource"].as_str().map(|name| format!("/{name}"));
        let access = Access {
            group: text(&object["apiGroup"]),
            resource: text(&object["resource"]) + &subresource.unwrap_or_default(),
            verb: text(&event["verb"]),
            namespace: object["namespace"].as_str().map(str::to_owned),
        };
        let request = (account.to_owned(), access.to_string());
        match event["annotations"]["authorization.k8s.io/decision"].as_str() {
            Some("forbid") => refused.insert(request),
            _ => allowed.insert(request),
        };
        used.entry(account.to_owned()).or_default().insert(access);
    }
    // A server that has just started refuses whoever comes before it has read all roles.
    let never = refused.difference(&allowed).map(|(account, access)| format!("{account}: {access}"));
    Ok((used, never.collect()))
}
