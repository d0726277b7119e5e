//! What people do by hand: Endpoints for Services without a selector, slices of other managers, and edits of
//! what the controllers keep.

use serde_json::{Value, json};

use super::{BY_MIRRORING, BY_SLICES, Generator, Service};
use crate::operation::{Method, Operation, Request, Target};

impl Generator {
    fn addresses(&mut self) -> Value {
        let count = self.random.below(4);
        let addresses: Vec<_> = (0..count).map(|_| self.address()).collect();
        json!(addresses)
    }

    fn address(&mut self) -> Value {
        let number = 1 + self.random.below(6);
        let ip = match self.random.below(6) {
            0 | 1 => format!("fd01::{number}"),
            // other addresses: the same one in two spellings would be two for upstream
            2 => format!("FD01:0::A{number}"),
            _ => format!("192.0.2.{number}"),
        };
        let mut address = json!({"ip": ip});
        if self.random.chance(200) {
            address["hostname"] = format!("host-{number}").into();
        }
        if self.random.chance(200) {
            address["nodeName"] = self.node_name(0).into();
        }
        if self.random.chance(200) {
            address["targetRef"] = json!({"kind": "Pod", "namespace": "elsewhere", "name": format!("t{number}"), "uid": "by-hand"});
            if self.random.chance(300) {
                address["targetRef"]["resourceVersion"] = "1".into();
            }
        }
        address
    }

    fn subsets(&mut self) -> Value {
        let subset = |this: &mut Self, first: bool| {
            let mut ports = vec![json!({"name": "web", "port": 8000 + this.random.below(3)})];
            // Upstream takes a port with a protocol of the application for another one in each subset.
            if first && this.random.chance(400) {
                ports.push(json!({"name": "dns", "port": 53, "protocol": "UDP", "appProtocol": "dns"}));
            }
            if this.random.chance(150) {
                ports.clear();
            }
            let (mut ready, not_ready) = (this.addresses(), this.addresses());
            if ready == json!([]) && not_ready == json!([]) {
                ready = json!([this.address()]); // the API demands one
            }
            json!({"addresses": ready, "notReadyAddresses": not_ready, "ports": ports})
        };
        let subsets: Vec<_> = (0..self.random.below(4)).map(|index| subset(self, index == 0)).collect();
        json!(subsets)
    }

    fn put_endpoints(&mut self, name: &str) -> Request {
        let mut labels = json!({"test": "custom"});
        if self.random.chance(150) {
            labels["endpointslice.kubernetes.io/skip-mirror"] = self.pick(&["true", "false"]).into();
        }
        if self.random.chance(100) {
            labels["kubernetes.io/service-name"] = "s9".into();
        }
        let mut annotations = json!({});
        if self.random.chance(300) {
            annotations["note"] = self.time().into();
        }
        if self.random.chance(200) {
            annotations["kubectl.kubernetes.io/last-applied-configuration"] = "{}".into();
        }
        if self.random.chance(50) {
            annotations["control-plane.alpha.kubernetes.io/leader"] = "{}".into();
        }
        let metadata = json!({"name": name, "labels": labels, "annotations": annotations});
        let body = json!({"metadata": metadata, "subsets": self.subsets()});
        Request::new(Method::Put, Target::Namespaced(format!("endpoints/{name}")), body)
    }

    /// Endpoints for a Service without a selector, which are mirrored.
    pub(super) fn custom_endpoints(&mut self) -> Operation {
        let Some(name) = self.service(|service| !service.selector) else { return self.create_service() };
        if self.random.chance(150) {
            let target = Target::Namespaced(format!("endpoints/{name}"));
            let delete = Request::new(Method::Delete, target, Value::Null);
            return Operation { kind: "delete custom endpoints", requests: vec![delete], from_still: true };
        }
        let put = self.put_endpoints(name);
        Operation { kind: "custom endpoints", requests: vec![put], from_still: false }
    }

    fn slice(&mut self, name: &str, service: &str, manager: Option<&str>) -> Value {
        let mut labels = json!({"kubernetes.io/service-name": service, "test": "by-hand"});
        if let Some(manager) = manager {
            labels["endpointslice.kubernetes.io/managed-by"] = manager.into();
        }
        json!({"metadata": {"name": name, "labels": labels}, "addressType": "IPv4",
            "ports": [{"name": "web", "port": 8000}],
            "endpoints": [{"addresses": [format!("198.51.100.{}", 1 + self.random.below(9))]}]})
    }

    /// A slice that somebody else keeps comes, changes or goes.
    pub(super) fn foreign_slice(&mut self) -> Operation {
        let name = self.pick(&["f0", "f1"]);
        let service = self.pick(&super::SERVICES);
        let path = Target::Slices(format!("endpointslices/{name}"));
        let (kind, request) = match self.foreign.get(name).copied() {
            None => {
                let manager = *self.random.pick(&[None, Some("example.com")]).unwrap_or(&None);
                self.foreign.insert(name, service);
                let slice = self.slice(name, service, manager);
                let all = Target::Slices("endpointslices".to_owned());
                ("create foreign slice", Request::new(Method::Create, all, slice))
            }
            Some(_) if self.random.chance(400) => {
                self.foreign.remove(name);
                ("delete foreign slice", Request::new(Method::Delete, path, Value::Null))
            }
            Some(service) => {
                let slice = self.slice(name, service, None);
                let patch = json!({"endpoints": slice["endpoints"]});
                ("change foreign slice", Request::new(Method::Patch, path, patch))
            }
        };
        Operation { kind, requests: vec![request], from_still: false }
    }

    /// Somebody edits or deletes what a controller keeps.
    pub(super) fn meddle(&mut self) -> Operation {
        let kept = |service: &Service| service.selector && !service.external;
        let Some(name) = self.service(kept) else { return self.custom_endpoints() };
        let endpoints = Target::Namespaced(format!("endpoints/{name}"));
        let manager = self.pick(&[BY_SLICES, BY_SLICES, BY_MIRRORING]);
        let slices = Target::EachSlice { service: name, manager };
        let patch = |target, body| Request::new(Method::Patch, target, body);
        let (kind, request) = match self.random.below(8) {
            0 => ("delete managed endpoints", Request::new(Method::Delete, endpoints, Value::Null)),
            1 => ("overwrite managed endpoints", self.put_endpoints(name)),
            2 => {
                let metadata = json!({"labels": {"test": "by-hand"}, "annotations": {"note": "x"}});
                ("relabel managed endpoints", patch(endpoints, json!({"metadata": metadata})))
            }
            3 => ("delete managed slices", Request::new(Method::Delete, slices, Value::Null)),
            4 => ("empty managed slices", patch(slices, json!({"endpoints": []}))),
            5 => {
                let metadata = json!({"labels": {"test": "by-hand"}, "annotations": {"note": "x"}});
                ("relabel managed slices", patch(slices, json!({"metadata": metadata})))
            }
            6 => {
                let endpoints =
                    json!([{"addresses": ["203.0.113.9"], "hints": {"forZones": [{"name": "x"}]}}]);
                ("other endpoints in managed slices", patch(slices, json!({"endpoints": endpoints})))
            }
            _ => {
                let name_of_slice = format!("given-{}", self.time().replace([':', 'T', 'Z'], ""));
                let slice = self.slice(&name_of_slice, name, Some(manager));
                let all = Target::Slices("endpointslices".to_owned());
                ("slice under a controller's label", Request::new(Method::Create, all, slice))
            }
        };
        let mut requests = vec![request];
        if kind == "overwrite managed endpoints" || kind == "relabel managed endpoints" {
            // Upstream takes no notice of Endpoints that change; only of their Service and its pods.
            requests.extend(self.touch(&[name]));
        }
        Operation { kind, requests, from_still: true }
    }
}
