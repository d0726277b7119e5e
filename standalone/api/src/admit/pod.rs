//! Pods, alone and as the template of a Deployment: defaults and rules.

use std::collections::HashSet;

use k8s_openapi::api::core::v1::{Container, Pod, PodSpec, Probe};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use serde_json::Value;

use super::{Admit, encode, grammar};
use crate::failure::Causes;
use crate::object::fields;

impl Admit for Pod {
    fn fill(&mut self) {
        let spec = self.spec.get_or_insert_default();
        fill(spec);
        spec.enable_service_links.get_or_insert(true);
        let class = quality(spec).to_owned();
        let status = self.status.get_or_insert_default();
        status.phase.get_or_insert_with(|| "Pending".to_owned());
        status.qos_class.get_or_insert(class);
    }

    fn check(&self, old: Option<&Value>, causes: &mut Causes) {
        let Some(spec) = &self.spec else { return };
        check("spec", spec, causes);
        let addresses = self.status.iter().flat_map(|status| status.pod_ips.iter().flatten());
        for (index, address) in addresses.enumerate() {
            if address.ip.parse::<std::net::IpAddr>().is_err() {
                let why = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)";
                causes.invalid(format!("status.podIPs[{index}].ip"), address.ip.as_str(), why);
            }
        }
        if let Some(old) = old.and_then(|old| old.get("spec"))
            && changeless(old.clone()) != changeless(encode(spec))
        {
            causes.forbidden("spec", "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)");
        }
    }
}

/// The part of a pod that nobody can change; the node is set once, by binding.
fn changeless(mut spec: Value) -> Value {
    for list in ["containers", "initContainers"] {
        for container in spec.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten() {
            fields(container).remove("image");
        }
    }
    for field in
        ["activeDeadlineSeconds", "tolerations", "terminationGracePeriodSeconds", "ephemeralContainers"]
    {
        fields(&mut spec).remove(field);
    }
    spec
}

pub(super) fn fill(spec: &mut PodSpec) {
    spec.restart_policy.get_or_insert_with(|| "Always".to_owned());
    spec.dns_policy.get_or_insert_with(|| "ClusterFirst".to_owned());
    spec.scheduler_name.get_or_insert_with(|| "default-scheduler".to_owned());
    spec.termination_grace_period_seconds.get_or_insert(30);
    spec.security_context.get_or_insert_default();
    let host_network = spec.host_network == Some(true);
    for container in spec.containers.iter_mut().chain(spec.init_containers.iter_mut().flatten()) {
        fill_container(container, host_network);
    }
}

fn fill_container(container: &mut Container, host_network: bool) {
    let image = container.image.as_deref().unwrap_or("");
    // A tag comes after the last slash; a registry's port before it.
    let tag = image.rsplit('/').next().and_then(|name| name.split_once(':')).map(|(_, tag)| tag);
    let moving = !image.contains('@') && tag.is_none_or(|tag| tag == "latest");
    let policy = if moving { "Always" } else { "IfNotPresent" };
    container.image_pull_policy.get_or_insert_with(|| policy.to_owned());
    container.resources.get_or_insert_default();
    container.termination_message_path.get_or_insert_with(|| "/dev/termination-log".to_owned());
    container.termination_message_policy.get_or_insert_with(|| "File".to_owned());
    for port in container.ports.iter_mut().flatten() {
        port.protocol.get_or_insert_with(|| "TCP".to_owned());
        if host_network {
            port.host_port.get_or_insert(port.container_port);
        }
    }
    let probes =
        [&mut container.liveness_probe, &mut container.readiness_probe, &mut container.startup_probe];
    for probe in probes.into_iter().flatten() {
        fill_probe(probe);
    }
    for variable in container.env.iter_mut().flatten() {
        let field = variable.value_from.as_mut().and_then(|from| from.field_ref.as_mut());
        if let Some(field) = field {
            field.api_version.get_or_insert_with(|| "v1".to_owned());
        }
    }
}

fn fill_probe(probe: &mut Probe) {
    probe.timeout_seconds.get_or_insert(1);
    probe.period_seconds.get_or_insert(10);
    probe.success_threshold.get_or_insert(1);
    probe.failure_threshold.get_or_insert(3);
    if let Some(get) = &mut probe.http_get {
        get.path.get_or_insert_with(|| "/".to_owned());
        get.scheme.get_or_insert_with(|| "HTTP".to_owned());
    }
}

/// Quality of service: what is guaranteed, limited, or neither.
fn quality(spec: &PodSpec) -> &'static str {
    let resources = || spec.containers.iter().filter_map(|container| container.resources.as_ref());
    let asks = |container: &k8s_openapi::api::core::v1::ResourceRequirements| {
        container.requests.as_ref().is_some_and(|map| !map.is_empty())
            || container.limits.as_ref().is_some_and(|map| !map.is_empty())
    };
    let full = |container: &k8s_openapi::api::core::v1::ResourceRequirements| {
        let limits = container.limits.as_ref();
        let both = limits.is_some_and(|map| map.contains_key("cpu") && map.contains_key("memory"));
        both && container.requests.as_ref().is_none_or(|requests| Some(requests) == limits)
    };
    if !resources().any(asks) {
        "BestEffort"
    } else if resources().all(full) {
        "Guaranteed"
    } else {
        "Burstable"
    }
}

pub(super) fn check(at: &str, spec: &PodSpec, causes: &mut Causes) {
    if spec.containers.is_empty() {
        causes.required(format!("{at}.containers"), "");
    }
    one_of(
        format!("{at}.restartPolicy"),
        spec.restart_policy.as_deref(),
        &["Always", "Never", "OnFailure"],
        causes,
    );
    let policies = ["ClusterFirst", "ClusterFirstWithHostNet", "Default", "None"];
    one_of(format!("{at}.dnsPolicy"), spec.dns_policy.as_deref(), &policies, causes);
    for (field, name) in [("hostname", &spec.hostname), ("subdomain", &spec.subdomain)] {
        if let Some(name) = name.as_deref().filter(|name| !name.is_empty()) {
            grammar::text(format!("{at}.{field}"), name, grammar::label, causes);
        }
    }
    let mut names = HashSet::new();
    let inits = spec.init_containers.as_deref().unwrap_or_default();
    for (field, containers) in [("initContainers", inits), ("containers", &spec.containers)] {
        for (index, container) in containers.iter().enumerate() {
            let at = format!("{at}.{field}[{index}]");
            if !container.name.is_empty() && !names.insert(container.name.as_str()) {
                causes.duplicate(format!("{at}.name"), container.name.as_str());
            }
            check_container(&at, container, causes);
        }
    }
    for (index, volume) in spec.volumes.iter().flatten().enumerate() {
        grammar::text(format!("{at}.volumes[{index}].name"), &volume.name, grammar::label, causes);
    }
}

fn check_container(at: &str, container: &Container, causes: &mut Causes) {
    if container.name.is_empty() {
        causes.required(format!("{at}.name"), "");
    } else {
        grammar::text(format!("{at}.name"), &container.name, grammar::label, causes);
    }
    if container.image.as_deref().is_none_or(str::is_empty) {
        causes.required(format!("{at}.image"), "");
    }
    let mut names = HashSet::new();
    for (index, port) in container.ports.iter().flatten().enumerate() {
        let at = format!("{at}.ports[{index}]");
        grammar::port(format!("{at}.containerPort"), port.container_port, causes);
        grammar::protocol(format!("{at}.protocol"), port.protocol.as_deref(), causes);
        if let Some(name) = port.name.as_deref().filter(|name| !name.is_empty()) {
            grammar::text(format!("{at}.name"), name, grammar::port_name, causes);
            if !names.insert(name) {
                causes.duplicate(format!("{at}.name"), name);
            }
        }
    }
    for (index, variable) in container.env.iter().flatten().enumerate() {
        if variable.name.is_empty() {
            causes.required(format!("{at}.env[{index}].name"), "");
        }
    }
    let probes = [
        ("livenessProbe", &container.liveness_probe),
        ("readinessProbe", &container.readiness_probe),
        ("startupProbe", &container.startup_probe),
    ];
    for (field, probe) in probes {
        if let Some(probe) = probe {
            check_probe(&format!("{at}.{field}"), probe, causes);
        }
    }
}

fn check_probe(at: &str, probe: &Probe, causes: &mut Causes) {
    let handlers = usize::from(probe.exec.is_some())
        + usize::from(probe.http_get.is_some())
        + usize::from(probe.tcp_socket.is_some())
        + usize::from(probe.grpc.is_some());
    match handlers {
        0 => causes.required(at, "must specify a handler type"),
        1 => {}
        _ => causes.forbidden(at, "may not specify more than 1 handler type"),
    }
    let ports = [
        ("httpGet", probe.http_get.as_ref().map(|get| &get.port)),
        ("tcpSocket", probe.tcp_socket.as_ref().map(|socket| &socket.port)),
    ];
    for (handler, port) in ports {
        match port {
            Some(IntOrString::Int(number)) => grammar::port(format!("{at}.{handler}.port"), *number, causes),
            Some(IntOrString::String(name)) => {
                grammar::text(format!("{at}.{handler}.port"), name, grammar::port_name, causes);
            }
            None => {}
        }
    }
}

fn one_of(field: String, value: Option<&str>, known: &[&str], causes: &mut Causes) {
    if let Some(value) = value.filter(|value| !known.contains(value)) {
        causes.unsupported(field, value, known);
    }
}
