//! Services that many clients create at once, with values from pools: the pools, the webhook, replicas that are killed,
//! and the clients.

use std::collections::HashMap;
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use futures::stream::{self, StreamExt, TryStreamExt};
use http::{Method, Request};
use kube::Client;
use serde_json::{Value, json};
use tokio::time::{sleep, sleep_until};

use crate::process::Process;

/// The namespace whose Services get values from the pools; the API server must not have it.
pub const NAMESPACE: &str = "pool-load";
/// One Service of so many is a NodePort.
const NODE_PORT_IS_ONE_OF: usize = 10;
/// Where the first replica of the webhook listens, and where the others do behind it.
const WEBHOOK_PORT: usize = 10281;
const ADMIN_PORT: usize = 10271;
/// Longest that replicas may take until they answer with values of the pools.
const PATIENCE: Duration = Duration::from_secs(60);
/// Answers with values of the pools, one after the other, that show that each replica gives them.
const ANSWERS: usize = 24;

/// The configuration by which the API server asks the webhook for Services, as the chart has it.
pub fn webhook_configuration() -> Value {
    json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingWebhookConfiguration",
    "metadata": {"name": "portolan-pools"}, "webhooks": [{
        "name": "services.pools.portolan.dev",
        "clientConfig": {"service": {"namespace": "kube-system", "name": "portolan-webhook", "port": 443,
            "path": "/mutate-services"}},
        "admissionReviewVersions": ["v1"], "matchPolicy": "Equivalent", "reinvocationPolicy": "IfNeeded",
        "timeoutSeconds": 2, "failurePolicy": "Ignore", "sideEffects": "NoneOnDryRun",
        "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "resources": ["services"],
            "operations": ["CREATE", "UPDATE"], "scope": "Namespaced"}],
        "namespaceSelector": {"matchExpressions": [
            {"key": "kubernetes.io/metadata.name", "operator": "NotIn", "values": ["kube-system"]}]}}]})
}

/// The Service by which the API server finds the webhook (at an address that is of no test's pools), and the slices that it would have if its replicas were pods: they
/// listen on these ports of an address.
pub fn webhook_service(address: &str, ports: impl IntoIterator<Item = usize>) -> Vec<Value> {
    let service = json!({"apiVersion": "v1", "kind": "Service",
        "metadata": {"namespace": "kube-system", "name": "portolan-webhook"},
        "spec": {"clusterIP": "10.96.0.97", "ports": [{"name": "https", "port": 443}]}});
    let slices = ports.into_iter().enumerate().map(|(index, port)| {
        json!({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
        "metadata": {"namespace": "kube-system", "name": format!("portolan-webhook-{index}"),
            "labels": {"kubernetes.io/service-name": "portolan-webhook"}},
        "ports": [{"name": "https", "port": port, "protocol": "TCP"}],
        "endpoints": [{"addresses": [address], "conditions": {"ready": true}}]})
    });
    std::iter::once(service).chain(slices).collect()
}

/// A pool of half of the cluster IPs and one of the lower node ports, both for [`NAMESPACE`].
fn pools() -> [Value; 2] {
    [
        json!({"apiVersion": "portolan.dev/v1alpha1", "kind": "ServiceIPPool", "metadata": {"name": NAMESPACE},
            "spec": {"addresses": ["10.96.128.0/17"], "namespaces": [NAMESPACE]}}),
        json!({"apiVersion": "portolan.dev/v1alpha1", "kind": "NodePortPool", "metadata": {"name": NAMESPACE},
            "spec": {"ports": ["30000-30999"], "namespaces": [NAMESPACE]}}),
    ]
}

/// What replicas need beside the definitions of the pools.
fn surroundings(address: &str, ports: impl IntoIterator<Item = usize>) -> Vec<Value> {
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}});
    pools().into_iter().chain([namespace]).chain(webhook_service(address, ports)).collect()
}

/// Whether the cluster IP of a Service is of the pool.
fn of_pool(service: &Value) -> bool {
    let address = service["spec"]["clusterIP"].as_str().and_then(|address| address.parse().ok());
    address.is_some_and(|address: std::net::Ipv4Addr| {
        let [a, b, c, _] = address.octets();
        (a, b) == (10, 96) && c >= 128
    })
}

/// What a client gets for a request: the object, or the API server's refusal.
async fn call(client: &Client, method: Method, path: &str, body: &Value) -> Result<Result<Value, String>> {
    let body = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
    let request = Request::builder().method(&method).uri(path).header("Content-Type", "application/json");
    match client.request_text(request.body(body)?).await {
        Ok(text) => Ok(Ok(serde_json::from_str(&text)?)),
        Err(kube::Error::Api(status)) => Ok(Err(format!("{} {}", status.code, status.message))),
        Err(error) => Err(error).with_context(|| format!("{method} {path}")),
    }
}

fn collection(object: &Value) -> String {
    let kind = match object["kind"].as_str().unwrap_or_default() {
        "EndpointSlice" => "endpointslices",
        "MutatingWebhookConfiguration" => "mutatingwebhookconfigurations",
        "Namespace" => "namespaces",
        "NodePortPool" => "nodeportpools",
        "Service" => "services",
        "ServiceIPPool" => "serviceippools",
        other => other,
    };
    let group = object["apiVersion"].as_str().unwrap_or_default();
    let root = if group == "v1" { "/api/v1".to_owned() } else { format!("/apis/{group}") };
    match object["metadata"]["namespace"].as_str() {
        Some(namespace) => format!("{root}/namespaces/{namespace}/{kind}"),
        None => format!("{root}/{kind}"),
    }
}

async fn make(client: &Client, object: &Value) -> Result<()> {
    let path = collection(object);
    let made = call(client, Method::POST, &path, object).await?;
    made.map(drop).map_err(|refusal| anyhow::anyhow!("{path}: {refusal}"))
}

async fn remove(client: &Client, object: &Value) -> Result<()> {
    let path = format!("{}/{}", collection(object), object["metadata"]["name"].as_str().unwrap_or_default());
    let gone = call(client, Method::DELETE, &path, &Value::Null).await?;
    gone.map(drop).map_err(|refusal| anyhow::anyhow!("{path}: {refusal}"))
}

/// Switches the webhook on or off, and waits until the API server knows.
pub async fn switch(client: &Client, on: bool) -> Result<()> {
    let configuration = webhook_configuration();
    if on {
        make(client, &configuration).await?;
    } else {
        remove(client, &configuration).await?;
    }
    sleep(Duration::from_secs(3)).await;
    Ok(())
}

/// The controllers with the webhook, several times, on one host.
pub struct Replicas {
    client: Client,
    program: PathBuf,
    kubeconfig: PathBuf,
    logs: PathBuf,
    running: Vec<Process>,
}

impl Replicas {
    /// Makes pools and namespace, starts as many replicas at an address, switches the webhook on and waits until all answer.
    /// The definitions of the pools must be there, and no other controllers; logs go to a folder.
    pub async fn start(
        client: Client,
        program: PathBuf,
        kubeconfig: PathBuf,
        logs: PathBuf,
        address: &str,
        count: usize,
    ) -> Result<Self> {
        for object in surroundings(address, (0..count).map(|index| WEBHOOK_PORT + index)) {
            make(&client, &object).await?;
        }
        let mut replicas = Self { client, program, kubeconfig, logs, running: Vec::new() };
        for index in 0..count {
            let replica = replicas.spawn(index)?;
            replicas.running.push(replica);
        }
        switch(&replicas.client, true).await?;
        replicas.answer().await?;
        Ok(replicas)
    }

    fn spawn(&self, index: usize) -> Result<Process> {
        let mut args: Vec<OsString> = vec!["--kubeconfig".into(), self.kubeconfig.clone().into()];
        args.push("--controllers=*,allocation,pools".into());
        args.push(format!("--admin-bind-address=127.0.0.1:{}", ADMIN_PORT + index).into());
        args.push(format!("--webhook-bind-address=0.0.0.0:{}", WEBHOOK_PORT + index).into());
        args.push("--webhook-configurations=portolan-pools".into());
        Process::start(&self.program, &args, &self.logs.join(format!("replica-{index}.log")))
    }

    /// Waits until every replica answers with values of the pools.
    pub async fn answer(&self) -> Result<()> {
        let began = Instant::now();
        let path = format!("/api/v1/namespaces/{NAMESPACE}/services?dryRun=All");
        let mut answers = 0;
        while answers < ANSWERS {
            let probe = service("probe", 0);
            let seen = call(&self.client, Method::POST, &path, &probe).await?;
            answers = if seen.as_ref().is_ok_and(of_pool) { answers + 1 } else { 0 };
            ensure!(began.elapsed() < PATIENCE, "no values of the pools: {seen:?}");
            sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }

    /// Kills a replica (SIGKILL) and starts it again at once.
    async fn replace(&mut self, index: usize) -> Result<()> {
        self.running.remove(index).kill().await?;
        let replica = self.spawn(index)?;
        self.running.insert(index, replica);
        Ok(())
    }

    /// Where the replicas tell their metrics.
    pub fn admin_addresses(&self) -> impl Iterator<Item = String> {
        (0..self.running.len()).map(|index| format!("127.0.0.1:{}", ADMIN_PORT + index))
    }

    /// Ends the replicas, and takes away what was made for them.
    pub async fn end(self) -> Result<()> {
        switch(&self.client, false).await?;
        for replica in self.running {
            replica.end().await?;
        }
        for object in surroundings("", []) {
            remove(&self.client, &object).await?;
        }
        Ok(())
    }
}

/// How the clients create.
#[derive(Clone, Copy, Debug)]
pub enum Pace {
    /// So many clients, each as fast as it is answered.
    Clients(usize),
    /// So many Services a second, whether the ones before are done or not.
    PerSecond(f64),
}

/// What came of a load.
#[derive(Debug, Default)]
pub struct Outcome {
    /// What each request took, in seconds from the moment in which it was due; sorted.
    pub took: Vec<f64>,
    /// Values that another Service had got before: the text of each 422. The client then asked again.
    pub lost: Vec<String>,
    /// Services with an address of the pool.
    pub of_pool: usize,
    /// Replicas that were killed.
    pub kills: usize,
    /// All of it.
    pub wall: Duration,
}

fn service(name: &str, number: usize) -> Value {
    let node_port = number % NODE_PORT_IS_ONE_OF == NODE_PORT_IS_ONE_OF - 1;
    let kind = if node_port { "NodePort" } else { "ClusterIP" };
    json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name},
        "spec": {"type": kind, "ports": [{"name": "web", "port": 80}]}})
}

/// Creates so many Services in [`NAMESPACE`].
pub async fn create(client: &Client, count: usize, pace: Pace) -> Result<Outcome> {
    let began = tokio::time::Instant::now();
    let path = format!("/api/v1/namespaces/{NAMESPACE}/services");
    let (at_once, interval) = match pace {
        Pace::Clients(clients) => (clients, None),
        Pace::PerSecond(rate) => (count, Some(1.0 / rate)),
    };
    let requests = (0..count).map(|number| {
        let path = &path;
        async move {
            let due = match interval {
                Some(interval) => began + Duration::from_secs_f64(interval * number as f64),
                None => tokio::time::Instant::now(),
            };
            sleep_until(due).await;
            let service = service(&format!("service-{number}"), number);
            let mut lost = Vec::new();
            loop {
                match call(client, Method::POST, path, &service).await? {
                    Ok(made) => return Ok((due.elapsed(), of_pool(&made), lost)),
                    Err(refusal) if refusal.starts_with("422 ") && lost.len() < 5 => lost.push(refusal),
                    Err(refusal) => bail!("{path}: {refusal}"),
                }
            }
        }
    });
    let all: Vec<(Duration, bool, Vec<String>)> =
        stream::iter(requests).buffer_unordered(at_once).try_collect().await?;
    let mut outcome = Outcome { wall: began.elapsed(), ..Outcome::default() };
    for (took, of_pool, lost) in all {
        outcome.took.push(took.as_secs_f64());
        outcome.of_pool += usize::from(of_pool);
        outcome.lost.extend(lost);
    }
    outcome.took.sort_by(f64::total_cmp);
    Ok(outcome)
}

/// The same, while every second the next replica is killed.
pub async fn create_under_kills(replicas: &mut Replicas, count: usize, pace: Pace) -> Result<Outcome> {
    let client = replicas.client.clone();
    let mut work = std::pin::pin!(create(&client, count, pace));
    let mut kills = 0;
    loop {
        tokio::select! {
            done = &mut work => return Ok(Outcome { kills, ..done? }),
            () = sleep(Duration::from_secs(1)) => {
                let index = kills % replicas.running.len();
                replicas.replace(index).await?;
                kills += 1;
            }
        }
    }
}

/// Values of Services of all namespaces that two have, each with its owners; none, if the API server is right.
pub async fn duplicates(client: &Client) -> Result<Vec<String>> {
    let all = call(client, Method::GET, "/api/v1/services", &Value::Null).await?;
    let all = all.map_err(|refusal| anyhow::anyhow!(refusal))?;
    let mut owners: HashMap<String, Vec<String>> = HashMap::new();
    for service in all["items"].as_array().context("a list")? {
        let name = format!("{}/{}", service["metadata"]["namespace"], service["metadata"]["name"]);
        let addresses = service["spec"]["clusterIPs"].as_array().into_iter().flatten();
        let addresses = addresses.filter(|address| *address != "None").map(Value::to_string);
        let ports = service["spec"]["ports"].as_array().into_iter().flatten();
        let ports = ports.filter(|port| !port["nodePort"].is_null());
        let ports = ports.map(|port| format!("{} {}", port["nodePort"], port["protocol"]));
        for value in addresses.chain(ports) {
            owners.entry(value).or_default().push(name.clone());
        }
    }
    let twice = owners.into_iter().filter(|(_, owners)| owners.len() > 1);
    Ok(twice.map(|(value, owners)| format!("{value}: {owners:?}")).collect())
}

/// Addresses that are recorded in the namespace's name, by their IPAddress objects.
pub async fn recorded(client: &Client) -> Result<usize> {
    let path = "/apis/networking.k8s.io/v1/ipaddresses";
    let all =
        call(client, Method::GET, path, &Value::Null).await?.map_err(|refusal| anyhow::anyhow!(refusal))?;
    let all = all["items"].as_array().context("a list")?;
    Ok(all.iter().filter(|address| address["spec"]["parentRef"]["namespace"] == NAMESPACE).count())
}

/// Deletes the namespace's Services, and waits until the addresses are free.
pub async fn clear(client: &Client) -> Result<()> {
    let path = format!("/api/v1/namespaces/{NAMESPACE}/services");
    let all =
        call(client, Method::GET, &path, &Value::Null).await?.map_err(|refusal| anyhow::anyhow!(refusal))?;
    let names =
        all["items"].as_array().into_iter().flatten().filter_map(|one| one["metadata"]["name"].as_str());
    let path = &path;
    let gone = names.map(|name| async move {
        call(client, Method::DELETE, &format!("{path}/{name}"), &Value::Null).await.map(drop)
    });
    stream::iter(gone).buffer_unordered(16).try_collect::<()>().await?;
    ensure!(recorded(client).await? == 0, "addresses are recorded still");
    Ok(())
}
