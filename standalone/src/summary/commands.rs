//! Commands to try.

use portolan_api::Name;
use portolan_core::{IpFamily, Protocol, Service, State};

use super::{Place, services};

/// A command a line, made for what there is.
pub(super) fn list(state: &State, deployments: &[(Name, u64)], place: &Place) -> String {
    let mut commands = Vec::new();
    // The one that the author wrote first is most likely what it is about.
    let first = services::made(state).filter(|service| !service.cluster_ips.is_empty());
    let first = first.min_by_key(|service| service.meta.resource_version);
    commands.extend(first.and_then(|service| fetch(service)));
    let kubectl = format!("kubectl --kubeconfig {}", place.kubeconfig.display());
    commands.push(format!("{kubectl} get pods --all-namespaces"));
    let like = |name: &Name, service: &Service| {
        name.namespace == service.meta.namespace && name.name == service.meta.name
    };
    let namesake = deployments.iter().find(|(name, _)| first.is_some_and(|service| like(name, service)));
    if let Some((name, replicas)) = namesake.or(deployments.first()) {
        let (namespace, name) = (&name.namespace, &name.name);
        commands
            .push(format!("{kubectl} -n {namespace} scale deployment {name} --replicas={}", replicas + 2));
    }
    if let (Some(dns), Some(service)) = (place.dns, first) {
        let (ip, name, namespace) = (dns.ip(), &service.meta.name, &service.meta.namespace);
        commands.push(format!("dig @{ip} {name}.{namespace}.svc.cluster.local"));
    }
    commands.into_iter().map(|command| format!("  {command}\n")).collect()
}

/// A request to a Service over TCP.
fn fetch(service: &Service) -> Option<String> {
    let port = service.ports.iter().find(|port| port.protocol == Protocol::Tcp)?.port;
    let address = service.cluster_ip(IpFamily::V4)?;
    let port = if port == 80 { String::new() } else { format!(":{port}") };
    Some(format!("curl http://{address}{port}/"))
}

#[cfg(test)]
mod tests {
    use portolan_core::{ChangeSet, Event};
    use serde_json::json;

    use super::*;

    #[test]
    fn commands_fit_what_there_is() {
        let place = Place { kubeconfig: "/r/k".into(), dns: Some("10.244.0.1:53".parse().unwrap()) };
        let mut state = State::default();
        assert_eq!(list(&state, &[], &place), "  kubectl --kubeconfig /r/k get pods --all-namespaces\n");
        let mut changes = ChangeSet::default();
        for (name, version, port) in [("prices", "9", 80), ("shop", "4", 8080)] {
            let service: Service = serde_json::from_value(json!({
                "metadata": {"namespace": "default", "name": name, "resourceVersion": version},
                "spec": {"clusterIPs": ["10.96.0.9"], "ports": [{"port": port}]}}))
            .unwrap();
            state.apply(Event::Applied(service), &mut changes);
        }
        let deployments = [(Name::new("default", "prices"), 2), (Name::new("default", "shop"), 3)];
        let want = "  curl http://10.96.0.9:8080/\n  kubectl --kubeconfig /r/k get pods --all-namespaces\n  \
            kubectl --kubeconfig /r/k -n default scale deployment shop --replicas=5\n  \
            dig @10.244.0.1 shop.default.svc.cluster.local\n";
        assert_eq!(list(&state, &deployments, &place), want);
    }
}
