//! The table of Services.

use std::collections::BTreeMap;
use std::sync::Arc;

use portolan_core::{ObjectName, Service, ServiceType, State};

use crate::up::kubernetes;

/// Services whose slices do not show all ready pods yet.
pub(super) fn behind(state: &State) -> impl Iterator<Item = ObjectName> {
    state.services.iter().filter_map(|service| {
        let name = service.meta.object_name();
        let ready = state.pods_of(&name).filter(|pod| pod.ready && !pod.meta.deleting()).count();
        (service.has_managed_endpoints() && ready_endpoints(state, &name) < ready).then_some(name)
    })
}

/// Those that somebody has made: all but `kubernetes`.
pub(super) fn made(state: &State) -> impl Iterator<Item = &Arc<Service>> {
    let kubernetes = |service: &Service| {
        (&*service.meta.namespace, &*service.meta.name) == (kubernetes::NAMESPACE, kubernetes::NAME)
    };
    state.services.iter().filter(move |service| !kubernetes(service))
}

/// A line for each of these, by name, with a head.
pub(super) fn table(state: &State) -> String {
    let named = |service: &Arc<Service>| (service.meta.object_name(), service.clone());
    let services: BTreeMap<_, _> = made(state).map(named).collect();
    let head = ["SERVICE", "TYPE", "ADDRESS", "PORTS", "READY"].map(str::to_owned);
    let rows = services.iter().map(|(name, service)| row(state, name, service));
    let rows: Vec<_> = std::iter::once(head).chain(rows).collect();
    if rows.len() == 1 {
        return "There is no Service yet.\n".to_owned();
    }
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: [usize; 5] = std::array::from_fn(width);
    let line = |row: &[String; 5]| {
        let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned() + "\n"
    };
    rows.iter().map(line).collect()
}

fn row(state: &State, name: &ObjectName, service: &Service) -> [String; 5] {
    let addresses: Vec<_> = service.cluster_ips.iter().map(ToString::to_string).collect();
    let address = match service.kind {
        ServiceType::ExternalName => service.external_name.as_deref().unwrap_or("").to_owned(),
        _ if service.headless => "None (headless)".to_owned(),
        _ => addresses.join(","),
    };
    let ports = service.ports.iter().map(|port| {
        let node = port.node_port.map(|number| format!(":{number}")).unwrap_or_default();
        format!("{}{node}/{}", port.port, port.protocol)
    });
    let ready = match service.kind {
        ServiceType::ExternalName => "-".to_owned(),
        _ => ready_endpoints(state, name).to_string(),
    };
    [name.to_string(), format!("{:?}", service.kind), address, ports.collect::<Vec<_>>().join(","), ready]
}

fn ready_endpoints(state: &State, name: &ObjectName) -> usize {
    state.slices_of(name).flat_map(|slice| &slice.endpoints).filter(|endpoint| endpoint.ready()).count()
}

#[cfg(test)]
mod tests {
    use portolan_core::{ChangeSet, EndpointSlice, Event};
    use serde_json::json;

    use super::*;

    #[test]
    fn services_with_addresses_and_ready_endpoints() {
        let mut state = State::default();
        let mut changes = ChangeSet::default();
        for service in [
            json!({"metadata": {"namespace": "default", "name": "shop"}, "spec": {"clusterIP": "10.96.0.9",
                "clusterIPs": ["10.96.0.9"], "type": "NodePort", "selector": {"a": "b"},
                "ports": [{"port": 80, "protocol": "TCP", "nodePort": 30080, "targetPort": "http"}]}}),
            json!({"metadata": {"namespace": "default", "name": "kubernetes"}, "spec": {"clusterIP": "10.96.0.1"}}),
            json!({"metadata": {"namespace": "default", "name": "away"},
                "spec": {"type": "ExternalName", "externalName": "example.test"}}),
        ] {
            let service: Service = serde_json::from_value(service).unwrap();
            state.apply(Event::Applied(service), &mut changes);
        }
        let slice: EndpointSlice = serde_json::from_value(json!({
            "metadata": {"namespace": "default", "name": "shop-1", "labels": {"kubernetes.io/service-name": "shop"}},
            "addressType": "IPv4", "ports": [],
            "endpoints": [{"addresses": ["10.0.0.1"], "conditions": {"ready": true}},
                {"addresses": ["10.0.0.2"], "conditions": {"ready": false}}]}))
        .unwrap();
        state.apply(Event::Applied(slice), &mut changes);
        assert_eq!(
            table(&state),
            "SERVICE       TYPE          ADDRESS       PORTS         READY\n\
             default/away  ExternalName  example.test                -\n\
             default/shop  NodePort      10.96.0.9     80:30080/TCP  1\n"
        );
        assert_eq!(behind(&state).count(), 0);
        assert_eq!(table(&State::default()), "There is no Service yet.\n");
    }
}
