//! Sends requests and writes down the answers, with a word in the place of each value that the server drew.

use std::collections::BTreeSet;

use http::Request;
use kube::Client;
use serde_json::{Value, json};

use crate::cases::{Case, Step};

/// What stands in the record where the server did not answer.
pub(crate) const NO_ANSWER: &str = "no answer";

/// Answers in the order of the requests, each after what was asked.
pub(crate) async fn replay(client: &Client, cases: &[Case]) -> Vec<String> {
    let mut lines = Vec::new();
    for case in cases {
        let mut drawn = Drawn::default();
        for (index, step) in case.steps.iter().enumerate() {
            let answer = drawn.name(step, &send(client, step).await);
            if index > 0 || !case.known_start {
                lines.push(format!("{} {}: {answer}", case.name, step.what()));
            }
        }
        let names: BTreeSet<_> = case.steps.iter().map(Step::name).collect();
        for name in names {
            send(client, &Step::Delete(name)).await;
        }
    }
    lines
}

async fn send(client: &Client, step: &Step) -> Value {
    let path = "/api/v1/namespaces/default/services";
    let (method, path, body) = match step {
        Step::Create(name, spec) => ("POST", path.to_owned(), object(name, spec)),
        Step::DryRun(name, spec) => ("POST", format!("{path}?dryRun=All"), object(name, spec)),
        Step::Put(name, spec) => ("PUT", format!("{path}/{name}"), object(name, spec)),
        Step::Patch(name, spec) => ("PATCH", format!("{path}/{name}"), object(name, spec)),
        Step::Delete(name) => ("DELETE", format!("{path}/{name}"), json!({})),
    };
    let content = if method == "PATCH" { "application/merge-patch+json" } else { "application/json" };
    let request = Request::builder().method(method).uri(path).header("content-type", content);
    let request = request.body(serde_json::to_vec(&body).unwrap()).unwrap();
    match client.request::<Value>(request).await {
        Ok(answer) => answer,
        Err(kube::Error::Api(status)) => serde_json::to_value(&*status).unwrap(),
        // kube-apiserver 1.36.3 cuts the connection on some updates instead of answering.
        Err(_) => json!({"message": NO_ANSWER}),
    }
}

fn object(name: &str, spec: &Value) -> Value {
    let mut metadata = json!({"name": name});
    let mut spec = spec.clone();
    for field in ["labels", "annotations"] {
        if let Some(value) = spec.as_object_mut().and_then(|spec| spec.remove(field)) {
            metadata[field] = value;
        }
    }
    json!({"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec})
}

/// Addresses that are asked for, and what stands for none.
const ASKED: [&str; 6] = ["None", "10.96.7.1", "10.96.7.2", "10.96.7.5", "10.96.7.9", "fd00:96::701"];

/// What the server drew in a case, in the order in which it showed.
#[derive(Default)]
struct Drawn(Vec<String>);

impl Drawn {
    fn name(&mut self, step: &Step, answer: &Value) -> String {
        if matches!(step, Step::Delete(_)) {
            return answer["status"].as_str().unwrap_or("").to_owned();
        }
        let mut text = if answer["spec"].is_object() {
            let spec = &answer["spec"];
            self.learn(spec);
            allocated(spec)
        } else {
            let causes = answer["details"]["causes"].as_array().into_iter().flatten();
            let causes: Vec<_> = causes
                .map(|cause| format!("{} {}", plain(&cause["reason"]), plain(&cause["field"])))
                .collect();
            let [code, reason, message] = ["code", "reason", "message"].map(|field| plain(&answer[field]));
            format!("{code} {reason} {message} ({})", causes.join(", "))
        };
        for (index, value) in self.0.iter().enumerate() {
            let family = if value.contains(':') {
                "IPv6"
            } else if value.contains('.') {
                "IPv4"
            } else {
                "port"
            };
            text = text.replace(value, &format!("<{family} {index}>"));
        }
        text
    }

    /// Ports that are asked for are of the static band; what else comes was drawn.
    fn learn(&mut self, spec: &Value) {
        let addresses = spec.get("clusterIPs").and_then(Value::as_array).into_iter().flatten();
        let asked = |address: &str| ASKED.contains(&address);
        let ports = spec["ports"].as_array().into_iter().flatten();
        let ports = ports.map(|port| &port["nodePort"]).chain(spec.get("healthCheckNodePort"));
        let ports =
            ports.filter_map(Value::as_u64).filter(|port| *port >= 30086).map(|port| port.to_string());
        let addresses =
            addresses.filter_map(Value::as_str).filter(|address| !asked(address)).map(str::to_owned);
        for value in addresses.chain(ports) {
            if !self.0.contains(&value) {
                self.0.push(value);
            }
        }
    }
}

/// The fields that allocation decides, or that decide about it.
fn allocated(spec: &Value) -> String {
    let mut text = plain(&spec["type"]);
    if spec.get("clusterIP") != spec.pointer("/clusterIPs/0") {
        text += &format!(" clusterIP {}", plain(&spec["clusterIP"]));
    }
    for field in [
        "clusterIPs",
        "ipFamilyPolicy",
        "ipFamilies",
        "healthCheckNodePort",
        "allocateLoadBalancerNodePorts",
        "loadBalancerClass",
        "externalTrafficPolicy",
        "internalTrafficPolicy",
    ] {
        match &spec[field] {
            Value::Null => {}
            Value::Array(list) => {
                text += &format!(" {field} {}", list.iter().map(plain).collect::<Vec<_>>().join(","));
            }
            value => text += &format!(" {field} {}", plain(value)),
        }
    }
    for port in spec["ports"].as_array().into_iter().flatten() {
        let [name, number, protocol, node] =
            ["name", "port", "protocol", "nodePort"].map(|field| plain(&port[field]));
        text += &format!(" {name}:{number}/{protocol}:{node}");
    }
    text
}

fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}
