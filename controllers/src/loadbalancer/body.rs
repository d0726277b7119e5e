//! Patches of a Service's status, as JSON merge patches (RFC 7386). By the subresource `status` the API server takes changes
//! of metadata, too, so that no right to write Services is needed. Each holds the version that it is for.

use std::sync::Arc;

use portolan_core::{Ingress, Service};
use serde::Serialize;
use serde_json::{Value, json};

/// Adds the finalizer.
pub fn with_finalizer(service: &Service, finalizer: &str) -> Vec<u8> {
    let finalizers = finalizers(service).iter().map(AsRef::as_ref).chain([finalizer]);
    patch(service, Some(finalizers.collect()), None)
}

/// Removes the finalizer, and where the load balancer was reached.
pub fn released(service: &Service, finalizer: &str) -> Vec<u8> {
    let others = finalizers(service).iter().map(AsRef::as_ref).filter(|other| *other != finalizer);
    let nowhere = (!service.ingress().is_empty()).then_some(&[][..]);
    patch(service, Some(others.collect()), nowhere)
}

/// Says where the load balancer is reached.
pub fn with_ingress(service: &Service, ingress: &[Ingress]) -> Vec<u8> {
    patch(service, None, Some(ingress))
}

fn finalizers(service: &Service) -> &[Arc<str>] {
    service.load_balancer.as_deref().map_or(&[], |said| &said.finalizers)
}

fn patch(service: &Service, finalizers: Option<Vec<&str>>, ingress: Option<&[Ingress]>) -> Vec<u8> {
    let mut patch = json!({"metadata": {"resourceVersion": service.meta.resource_version.to_string()}});
    if let Some(finalizers) = finalizers {
        patch["metadata"]["finalizers"] = list(&finalizers);
    }
    if let Some(ingress) = ingress {
        patch["status"]["loadBalancer"]["ingress"] = list(ingress);
    }
    patch.to_string().into_bytes()
}

/// An empty list is stored as none.
fn list<T: Serialize>(items: &[T]) -> Value {
    if items.is_empty() { Value::Null } else { json!(items) }
}
