//! Pods, without kubelets: their status is written by hand.

use serde_json::{Value, json};

use super::{APPS, Generator, NODES, PODS, Pod, SERVICES};
use crate::operation::{Method, Operation, Request, Target};

/// More than a slice holds.
const BURST: u64 = 105;

impl Generator {
    fn new_pod(&mut self, name: &str) -> Request {
        let number = if self.random.chance(500) { 8080 } else { 8081 };
        let mut ports = vec![json!({"name": "http", "containerPort": number})];
        if self.random.chance(600) {
            ports.push(json!({"name": "dns", "containerPort": 5353, "protocol": "UDP"}));
        }
        if self.random.chance(200) {
            ports.push(json!({"name": "dns", "containerPort": 5354, "protocol": "TCP"}));
        }
        // Seldom the node that may be missing: a Service with such a pod uses up upstream's retries.
        let node = if self.random.chance(30) { NODES - 1 } else { self.random.below(NODES - 1) };
        let mut spec = json!({"nodeName": self.node_name(node), "terminationGracePeriodSeconds": 600,
            "containers": [{"name": "c", "image": "none", "ports": ports}]});
        if self.random.chance(300) {
            let restart = self.random.chance(700).then_some("Always");
            spec["initContainers"] = json!([{"name": "side", "image": "none", "restartPolicy": restart,
                "ports": [{"name": "metrics", "containerPort": 9100}]}]);
        }
        if self.random.chance(300) {
            spec["hostname"] = format!("h-{name}").into();
            spec["subdomain"] = self.pick(&SERVICES).into();
        }
        let finalizers = if self.random.chance(150) { json!(["example.com/hold"]) } else { json!([]) };
        let metadata = json!({"name": name, "labels": {"app": self.pick(&APPS)}, "finalizers": finalizers});
        let body = json!({"metadata": metadata, "spec": spec});
        Request::new(Method::Create, Target::Namespaced("pods".to_owned()), body)
    }

    /// Addresses come from a small pool, so that pods share some.
    fn ips(&mut self) -> Value {
        let (v4, v6) = (format!("10.0.0.{}", 1 + self.random.below(12)), 1 + self.random.below(12));
        let v6 = if self.random.chance(800) { format!("fd00::{v6:x}") } else { format!("FD00:0::{v6:X}") };
        match self.random.below(6) {
            0 => json!([{"ip": v6}]),
            1 => json!([{"ip": v6}, {"ip": v4}]),
            2 | 3 => json!([{"ip": v4}, {"ip": v6}]),
            _ => json!([{"ip": v4}]),
        }
    }

    fn condition(&mut self, ready: bool) -> Value {
        let status = if ready { "True" } else { "False" };
        json!([{"type": "Ready", "status": status, "lastTransitionTime": self.time()}])
    }

    fn running(&mut self, name: &str, ready: bool) -> Request {
        let ips = self.ips();
        let status = json!({"phase": "Running", "podIP": ips[0]["ip"], "podIPs": ips,
            "conditions": self.condition(ready)});
        self.status(name, &status)
    }

    fn status(&mut self, name: &str, status: &Value) -> Request {
        let target = Target::Namespaced(format!("pods/{name}/status"));
        Request::new(Method::Patch, target, json!({"status": status}))
    }

    pub(super) fn create_pod(&mut self) -> Operation {
        let missing: Vec<_> = (0..PODS).filter(|number| !self.pods.contains_key(number)).collect();
        let Some(number) = self.random.pick(&missing).copied() else { return self.relabel_pod() };
        let name = format!("p{number}");
        let mut requests = vec![self.new_pod(&name)];
        let ready = self.random.chance(700);
        self.pods.insert(number, Pod { ready, ..Pod::default() });
        if self.random.chance(900) {
            requests.push(self.running(&name, ready));
        }
        Operation { kind: "create pod", requests, from_still: false }
    }

    pub(super) fn change_pod_status(&mut self) -> Operation {
        let Some(number) = self.pod(|pod| !pod.ended) else { return self.create_pod() };
        let (name, pod) = (format!("p{number}"), self.pods.get(&number).copied().unwrap_or_default());
        let (kind, request) = match self.random.below(8) {
            0 => ("change pod addresses", self.running(&name, pod.ready)),
            // Upstream takes no notice of a phase that changes alone; a kubelet changes readiness with it.
            1 if pod.ready => {
                let conditions = self.condition(false);
                let phase = self.pick(&["Succeeded", "Failed"]);
                self.pods.insert(number, Pod { ready: false, ended: true, ..pod });
                ("pod ends", self.status(&name, &json!({"phase": phase, "conditions": conditions})))
            }
            _ => {
                let conditions = self.condition(!pod.ready);
                self.pods.insert(number, Pod { ready: !pod.ready, ..pod });
                ("flip readiness", self.status(&name, &json!({"conditions": conditions})))
            }
        };
        Operation { kind, requests: vec![request], from_still: false }
    }

    pub(super) fn relabel_pod(&mut self) -> Operation {
        let Some(number) = self.pod(|_| true) else { return self.create_pod() };
        let app = if self.random.chance(800) { Some(self.pick(&APPS)) } else { None };
        let labels = json!({"metadata": {"labels": {"app": app}}});
        let patch = Request::new(Method::Patch, Target::Namespaced(format!("pods/p{number}")), labels);
        Operation { kind: "relabel pod", requests: vec![patch], from_still: false }
    }

    pub(super) fn end_pod(&mut self) -> Operation {
        let path = |number| Target::Namespaced(format!("pods/p{number}"));
        if self.random.chance(500)
            && let Some(number) = self.pod(|pod| !pod.terminating)
        {
            let pod = self.pods.get(&number).copied().unwrap_or_default();
            self.pods.insert(number, Pod { terminating: true, ..pod });
            let delete = Request::new(Method::Delete, path(number), Value::Null);
            return Operation { kind: "terminate pod", requests: vec![delete], from_still: false };
        }
        let Some(number) = self.pod(|_| true) else { return self.create_pod() };
        let unhold = json!({"metadata": {"finalizers": null}});
        let now = json!({"gracePeriodSeconds": 0});
        let mut requests = vec![
            Request::new(Method::Patch, path(number), unhold),
            Request::new(Method::Delete, path(number), now),
        ];
        self.pods.remove(&number);
        if self.random.chance(600) {
            return Operation { kind: "delete pod", requests, from_still: false };
        }
        let (name, ready) = (format!("p{number}"), self.random.chance(700));
        requests.extend([self.new_pod(&name), self.running(&name, ready)]);
        self.pods.insert(number, Pod { ready, ..Pod::default() });
        Operation { kind: "replace pod", requests, from_still: false }
    }

    /// More pods than fit into a slice.
    pub(super) fn burst(&mut self) -> Operation {
        let mut requests = Vec::new();
        for number in 0..BURST {
            let name = format!("burst-{}-{number}", self.clock);
            requests.push(self.new_pod(&name));
            let status = json!({"phase": "Running", "podIP": format!("10.1.0.{number}"),
                "podIPs": [{"ip": format!("10.1.0.{number}")}], "conditions": self.condition(true)});
            requests.push(self.status(&name, &status));
        }
        Operation { kind: "burst of pods", requests, from_still: false }
    }
}
