//! Services of all shapes.

use std::time::Duration;

use serde_json::{Value, json};

use super::{AFTER, APPS, Generator, LOSES_ADDRESS, LOSES_SELECTOR, SERVICES, Service};
use crate::operation::{Method, Operation, Request, Target};

impl Generator {
    fn ports(&mut self) -> Value {
        let target = match self.random.below(4) {
            0 => json!(8080),
            1 => json!("http"),
            2 => json!("metrics"),
            _ => json!("dns"),
        };
        match self.random.below(5) {
            // a single port may have no name
            0 => json!([{"port": 80, "targetPort": target}]),
            1 => {
                json!([{"name": "web", "port": 80, "targetPort": target, "appProtocol": "kubernetes.io/h2c"}])
            }
            2 => json!([{"name": "web", "port": 80, "targetPort": target},
                        {"name": "dns", "port": 53, "protocol": "UDP", "targetPort": "dns"}]),
            3 => json!([{"name": "dns-tcp", "port": 53, "targetPort": 5353},
                        {"name": "dns", "port": 53, "protocol": "UDP", "targetPort": 5353},
                        {"name": "m", "port": 9100, "targetPort": "metrics"}]),
            _ => json!([{"name": "web", "port": 80, "targetPort": target}]),
        }
    }

    fn labels(&mut self) -> Value {
        match self.random.below(6) {
            0 => json!({"team": "x", "app.kubernetes.io/name": "shop"}),
            1 => json!({"team": "y"}),
            2 => json!({"service.kubernetes.io/service-proxy-name": "other"}),
            3 => json!({"service.kubernetes.io/headless": ""}),
            4 => json!({"endpointslice.kubernetes.io/managed-by": "me", "kubernetes.io/service-name": "s9"}),
            _ => json!({}),
        }
    }

    pub(super) fn create_service(&mut self) -> Operation {
        let missing: Vec<_> = SERVICES.into_iter().filter(|name| !self.services.contains_key(name)).collect();
        let Some(name) = self.random.pick(&missing).copied() else { return self.change_service() };
        Operation { kind: "create service", requests: vec![self.create(name)], from_still: false }
    }

    /// A Service whose endpoints nobody keeps comes when all know that the one before is gone: who sees its deletion
    /// late makes Endpoints anew that then stay.
    fn create(&mut self, name: &'static str) -> Request {
        let body = self.new_service(name);
        let kept = self.services.get(name).is_some_and(|service| service.selector && !service.external);
        let create = Request::new(Method::Create, Target::Namespaced("services".to_owned()), body);
        Request { pause: if kept { Duration::ZERO } else { AFTER }, ..create }
    }

    fn new_service(&mut self, name: &'static str) -> Value {
        let mut spec = json!({"ports": self.ports(), "publishNotReadyAddresses": self.random.chance(200)});
        let mut service = Service { selector: self.random.chance(800), external: false };
        if service.selector {
            spec["selector"] = json!({"app": self.pick(&APPS)});
        }
        match self.random.below(10) {
            0 | 1 => spec["clusterIP"] = "None".into(),
            2 => {
                spec["clusterIP"] = "None".into();
                spec["ports"] = json!([]);
            }
            3 => spec["type"] = "NodePort".into(),
            4 => {
                service.external = true;
                spec["type"] = "ExternalName".into();
                spec["externalName"] = "example.com".into();
            }
            _ => {}
        }
        if !service.external {
            match self.random.below(6) {
                0 | 1 => spec["ipFamilyPolicy"] = "PreferDualStack".into(),
                2 => spec["ipFamilies"] = json!(["IPv6"]),
                3 => {
                    spec["ipFamilyPolicy"] = "RequireDualStack".into();
                    spec["ipFamilies"] = json!(["IPv6", "IPv4"]);
                }
                _ => {}
            }
        }
        if self.random.chance(250) {
            spec["trafficDistribution"] =
                self.pick(&["PreferClose", "PreferSameZone", "PreferSameNode"]).into();
        }
        let mut metadata = json!({"name": name, "labels": self.labels()});
        if self.random.chance(80) {
            metadata["annotations"] = json!({"service.kubernetes.io/topology-mode": "Auto"});
        }
        self.services.insert(name, service);
        json!({"metadata": metadata, "spec": spec})
    }

    pub(super) fn change_service(&mut self) -> Operation {
        let Some(name) = self.service(|_| true) else { return self.create_service() };
        let Service { selector, external } = self.services.get(name).copied().unwrap_or_default();
        let mut from_still = false;
        let (kind, patch) = match self.random.below(12) {
            0 => ("change selector", self.select(name)),
            1 => ("change ports", json!({"spec": {"ports": self.ports()}})),
            2 => {
                let publish = self.random.chance(500);
                ("publish not ready", json!({"spec": {"publishNotReadyAddresses": publish}}))
            }
            3 => {
                let mut labels = json!({"team": null, "service.kubernetes.io/headless": null});
                for (key, value) in self.labels().as_object().into_iter().flatten() {
                    labels[key] = value.clone();
                }
                ("change service labels", json!({"metadata": {"labels": labels}}))
            }
            4 => {
                let note = self.time();
                ("annotate service", json!({"metadata": {"annotations": {"note": note}}}))
            }
            5 | 6 => {
                let wanted = *self
                    .random
                    .pick(&[None, Some("PreferClose"), Some("PreferSameZone"), Some("PreferSameNode")])
                    .unwrap_or(&None);
                ("traffic distribution", json!({"spec": {"trafficDistribution": wanted}}))
            }
            7 => {
                let mode = self.random.chance(500).then_some("Auto");
                let annotations = json!({"service.kubernetes.io/topology-mode": mode});
                ("topology mode", json!({"metadata": {"annotations": annotations}}))
            }
            8 => match self.pick(&["SingleStack", "PreferDualStack"]) {
                "SingleStack" => {
                    let spec =
                        json!({"ipFamilyPolicy": "SingleStack", "ipFamilies": null, "clusterIPs": null});
                    ("one family", json!({"spec": spec}))
                }
                policy => ("both families", json!({"spec": {"ipFamilyPolicy": policy}})),
            },
            9 if selector => {
                from_still = true;
                self.services.insert(name, Service { selector: false, external });
                (LOSES_SELECTOR, json!({"spec": {"selector": null}}))
            }
            9 => ("gain selector", self.select(name)),
            10 if external => {
                self.services.insert(name, Service { selector, external: false });
                let spec = json!({"type": "ClusterIP", "externalName": null, "ports": self.ports()});
                ("from ExternalName", json!({"spec": spec}))
            }
            10 => {
                from_still = true;
                self.services.insert(name, Service { selector, external: true });
                let spec = json!({"type": "ExternalName", "externalName": "example.com", "clusterIP": null,
                    "clusterIPs": null, "ipFamilies": null, "ipFamilyPolicy": null});
                (LOSES_ADDRESS, json!({"spec": spec}))
            }
            _ => ("change type", json!({"spec": {"type": self.pick(&["ClusterIP", "NodePort"])}})),
        };
        let patch = Request::new(Method::Patch, Target::Namespaced(format!("services/{name}")), patch);
        Operation { kind, requests: vec![patch], from_still }
    }

    fn select(&mut self, name: &'static str) -> Value {
        let selector = match self.random.below(4) {
            0 => json!({"app": "none"}),
            // a selector that selects all, as `null` selects none
            _ => json!({"app": self.pick(&APPS)}),
        };
        let external = self.services.get(name).is_some_and(|service| service.external);
        self.services.insert(name, Service { selector: true, external });
        json!({"spec": {"selector": selector}})
    }

    /// A Service goes; in half of the cases another one comes under its name at once.
    pub(super) fn delete_service(&mut self) -> Operation {
        let Some(name) = self.service(|_| true) else { return self.create_service() };
        let path = Target::Namespaced(format!("services/{name}"));
        let mut requests = vec![Request::new(Method::Delete, path, Value::Null)];
        self.services.remove(name);
        if self.random.chance(500) {
            return Operation { kind: "delete service", requests, from_still: false };
        }
        requests.push(self.create(name));
        Operation { kind: "replace service", requests, from_still: false }
    }
}
