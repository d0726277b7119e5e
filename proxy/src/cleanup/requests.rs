//! What is asked of the API server.

use http::{Method, Request};
use portolan_core::ObjectName;
use serde_json::{Value, json};

fn request(method: Method, path: &str, content: &str, body: Vec<u8>) -> Request<Vec<u8>> {
    let request = Request::builder().method(method).uri(path).header(http::header::CONTENT_TYPE, content);
    request.body(body).expect("names and labels of objects are valid in URIs")
}

fn daemon_set(name: &ObjectName) -> String {
    format!("/apis/apps/v1/namespaces/{}/daemonsets/{}", name.namespace, name.name)
}

pub(super) fn get(name: &ObjectName) -> Request<Vec<u8>> {
    request(Method::GET, &daemon_set(name), "application/json", Vec::new())
}

/// A JSON merge patch.
pub(super) fn patch(name: &ObjectName, patch: &Value) -> Request<Vec<u8>> {
    let body = patch.to_string().into_bytes();
    request(Method::PATCH, &daemon_set(name), "application/merge-patch+json", body)
}

/// Its pods are deleted after it.
pub(super) fn delete(name: &ObjectName) -> Request<Vec<u8>> {
    let options = json!({"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": "Background"});
    request(Method::DELETE, &daemon_set(name), "application/json", options.to_string().into_bytes())
}

pub(super) fn pods(namespace: &str, selector: &str) -> Request<Vec<u8>> {
    let path = format!("/api/v1/namespaces/{namespace}/pods?labelSelector={selector}");
    request(Method::GET, &path, "application/json", Vec::new())
}

pub(super) fn nodes() -> Request<Vec<u8>> {
    request(Method::GET, "/api/v1/nodes", "application/json", Vec::new())
}
