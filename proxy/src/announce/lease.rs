//! This node's Lease: the only object that the proxy writes, but for Events.

use std::sync::Arc;
use std::time::Duration;

use http::Request;
use jiff::Timestamp;
use kube::Client;
use portolan_announce::{Member, Reach, Report};
use serde_json::{Value, json};

/// Label of the Leases of nodes that announce, and its value.
pub(super) const LABEL: (&str, &str) = ("portolan.dev/announcer", "layer2");

const VALID: &str = "names of nodes and namespaces are valid in URIs";

/// Where the Lease is and what it says but for times.
#[derive(Clone)]
pub(super) struct OwnLease {
    pub(super) client: Client,
    pub(super) namespace: String,
    pub(super) node: Arc<str>,
    /// Uid of the Node object: who deletes that has the Lease deleted too.
    pub(super) node_uid: Arc<str>,
    pub(super) duration: Duration,
}

impl OwnLease {
    /// Writes what the node reports, when that is, and where it can announce, over the version that is there (`None` =
    /// none is). The new version. If there is one although none was shown, it lost its label, and gets it again.
    pub(super) async fn write(
        &self,
        over: Option<u64>,
        report: Report,
        renewed: Timestamp,
        reach: &Reach,
    ) -> Result<u64, kube::Error> {
        let answer = self.client.request(self.request(over, report, renewed, reach)).await;
        if over.is_none() && matches!(&answer, Err(kube::Error::Api(status)) if status.is_already_exists()) {
            // Watches show it then, and the next write goes over what they show. This one changes nothing else, so that it
            // does no harm however late it is.
            self.client.request::<Value>(self.relabel()).await?;
        }
        let answer: Value = answer?;
        let version = answer.pointer("/metadata/resourceVersion").and_then(Value::as_str);
        Ok(version.and_then(|version| version.parse().ok()).unwrap_or(0))
    }

    /// Writes that nobody holds the Lease any more.
    pub(super) async fn give_back(self, over: u64) -> Result<u64, kube::Error> {
        self.write(Some(over), Report::default(), Timestamp::now(), &Reach::default()).await
    }

    fn request(
        &self,
        over: Option<u64>,
        report: Report,
        renewed: Timestamp,
        reach: &Reach,
    ) -> Request<Vec<u8>> {
        let mut metadata = json!({
            "name": self.name(),
            "namespace": self.namespace,
            "labels": {LABEL.0: LABEL.1},
            "annotations": {
                Member::SEEN: report.seen.to_string(),
                Member::TOLD: report.told.to_string(),
                Member::REACH: reach.to_string(),
            },
            "ownerReferences": [{"apiVersion": "v1", "kind": "Node", "name": *self.node, "uid": *self.node_uid}],
        });
        if let Some(version) = over {
            metadata["resourceVersion"] = json!(version.to_string());
        }
        let body = json!({
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": metadata,
            "spec": {
                "holderIdentity": if report.held { &*self.node } else { "" },
                "leaseDurationSeconds": self.duration.as_secs(),
                "renewTime": format!("{renewed:.6}"),
            },
        });
        if over.is_some() {
            return self.patch(&body);
        }
        let request = Request::post(self.path()).header(http::header::CONTENT_TYPE, "application/json");
        request.body(body.to_string().into_bytes()).expect(VALID)
    }

    fn relabel(&self) -> Request<Vec<u8>> {
        self.patch(&json!({"metadata": {"name": self.name(), "labels": {LABEL.0: LABEL.1}}}))
    }

    fn patch(&self, body: &Value) -> Request<Vec<u8>> {
        Request::patch(format!("{}/{}", self.path(), self.name()))
            .header(http::header::CONTENT_TYPE, "application/merge-patch+json")
            .body(body.to_string().into_bytes())
            .expect(VALID)
    }

    fn name(&self) -> String {
        format!("{}{}", Member::PREFIX, self.node)
    }

    fn path(&self) -> String {
        format!("/apis/coordination.k8s.io/v1/namespaces/{}/leases", self.namespace)
    }
}
