//! Requests of a watch.

use std::time::Duration;

use http::Request;
use portolan_core::{Encoding, Kind};
use prometheus_client::encoding::EncodeLabelSet;

/// Which objects of a kind to watch; the default is all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// Label selector, in kubectl's syntax.
    pub labels: Option<String>,
    /// Field selector, such as `metadata.name=node-1`.
    pub fields: Option<String>,
    /// The namespace; `None` = every one.
    pub namespace: Option<String>,
}

/// Objects a page of a list has at most; client-go's default.
const PAGE: &str = "500";

impl Selection {
    /// Objects with these labels.
    pub fn labels(selector: impl Into<String>) -> Self {
        Self { labels: Some(selector.into()), ..Self::default() }
    }

    /// Objects with these fields.
    pub fn fields(selector: impl Into<String>) -> Self {
        Self { fields: Some(selector.into()), ..Self::default() }
    }

    /// Only those of a namespace, so that a right to that namespace is enough.
    #[must_use]
    pub fn in_namespace(self, namespace: impl Into<String>) -> Self {
        Self { namespace: Some(namespace.into()), ..self }
    }

    /// A page of a list, as of now (no `resourceVersion`: a consistent read).
    pub(super) fn list(&self, kind: Kind, next: Option<&str>) -> Result<Request<Vec<u8>>, http::Error> {
        let mut query = vec![("limit", PAGE)];
        query.extend(next.map(|next| ("continue", next)));
        self.request(kind, query, Encoding::ACCEPT)
    }

    /// A watch from a version, or (`None`) a streaming list that goes on as a watch.
    pub(super) fn watch(
        &self,
        kind: Kind,
        version: Option<&str>,
        server_timeout: Duration,
    ) -> Result<Request<Vec<u8>>, http::Error> {
        let seconds = server_timeout.as_secs().to_string();
        let mut query =
            vec![("watch", "true"), ("allowWatchBookmarks", "true"), ("timeoutSeconds", seconds.as_str())];
        match version {
            Some(version) => query.push(("resourceVersion", version)),
            None => query.extend([("sendInitialEvents", "true"), ("resourceVersionMatch", "NotOlderThan")]),
        }
        self.request(kind, query, Encoding::ACCEPT_WATCH)
    }

    fn request<'a>(
        &'a self,
        kind: Kind,
        mut query: Vec<(&'static str, &'a str)>,
        accept: &str,
    ) -> Result<Request<Vec<u8>>, http::Error> {
        query.extend(self.labels.as_deref().map(|selector| ("labelSelector", selector)));
        query.extend(self.fields.as_deref().map(|selector| ("fieldSelector", selector)));
        let query: Vec<_> =
            query.into_iter().map(|(key, value)| format!("{key}={}", escape(value))).collect();
        let path = match kind.api_version() {
            "v1" => "/api/v1".to_owned(),
            group => format!("/apis/{group}"),
        };
        let place = self.namespace.as_ref().map(|name| format!("namespaces/{name}/")).unwrap_or_default();
        Request::get(format!("{path}/{place}{}?{}", kind.plural(), query.join("&")))
            .header(http::header::ACCEPT, accept)
            // Kubernetes 1.37 compresses each event of a watch apart, which decoders take for the end.
            .header(http::header::ACCEPT_ENCODING, "identity")
            .body(Vec::new())
    }
}

fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            escaped.push(char::from(byte));
        } else {
            escaped.push_str(&format!("%{byte:02X}"));
        }
    }
    escaped
}

/// Label of a metric.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct KindLabel {
    kind: &'static str,
}

impl KindLabel {
    pub(super) fn of(kind: Kind) -> Self {
        Self { kind: kind.as_str() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_name_what_they_want() {
        let selection = Selection::labels("!service.kubernetes.io/headless");
        let accept = |request: &Request<Vec<u8>>| request.headers()["accept"].to_str().unwrap().to_owned();
        let watch = selection.watch(Kind::Pod, None, Duration::from_secs(9)).unwrap();
        assert_eq!(accept(&watch), "application/vnd.kubernetes.protobuf;stream=watch, application/json");
        let list = selection.list(Kind::Pod, None).unwrap();
        assert_eq!(accept(&list), "application/vnd.kubernetes.protobuf, application/json");
        let uri = |request: Result<Request<Vec<u8>>, http::Error>| request.unwrap().uri().to_string();
        assert_eq!(
            uri(selection.watch(Kind::EndpointSlice, Some("7"), Duration::from_secs(9))),
            "/apis/discovery.k8s.io/v1/endpointslices?watch=true&allowWatchBookmarks=true&timeoutSeconds=9\
             &resourceVersion=7&labelSelector=%21service.kubernetes.io%2Fheadless"
        );
        assert_eq!(
            uri(Selection::default().list(Kind::Pod, Some("a+b"))),
            "/api/v1/pods?limit=500&continue=a%2Bb"
        );
        assert_eq!(
            uri(Selection::labels("a=b").in_namespace("n").list(Kind::Lease, None)),
            "/apis/coordination.k8s.io/v1/namespaces/n/leases?limit=500&labelSelector=a%3Db"
        );
    }
}
