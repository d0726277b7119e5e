//! ConfigMaps at the API server: lists of their metadata, and writes.

use std::collections::HashMap;
use std::sync::Arc;

use http::{Request, header};
use kube::Client;
use portolan_core::{ObjectName, OwnerReference, ServiceEnvironment};
use portolan_runtime::explain;
use serde_json::Value;

use crate::environment::{Held, Shard, Write};

/// Answers without the data (meta.k8s.io/v1 PartialObjectMetadata).
const METADATA: &str = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1";
const METADATA_LIST: &str = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1";
const MANAGER: &str = "fieldManager=portolan-controllers";
/// How long an answer may take.
const PATIENCE: std::time::Duration = super::super::write::PATIENCE;

/// The API server.
#[derive(Clone)]
pub(super) struct Objects {
    pub(super) client: Client,
    /// Name of the MutatingWebhookConfiguration that owns what is made.
    pub(super) owner: String,
}

/// How a write ended, and what is there since.
pub(super) enum Outcome {
    /// It was made.
    Done(Option<Held>),
    /// The ConfigMap was not as it was seen.
    Stale(Option<Held>),
    /// The API server does not take it, and says why: a quota is used up, or a policy is against it.
    Refused(String),
}

impl Objects {
    /// The owner, and every ConfigMap of our names. Each name is asked for on its own: that is what the
    /// controller may list.
    pub(super) async fn list(&self) -> Result<(Option<OwnerReference>, HashMap<Shard, Held>), String> {
        let mut listed = HashMap::new();
        for environment in ServiceEnvironment::EACH {
            for shard in Shard::each(&Arc::from(""), environment) {
                let uri =
                    format!("/api/v1/configmaps?fieldSelector=metadata.name%3D{}", shard.object_name().name);
                let list =
                    self.send(Request::get(uri).header(header::ACCEPT, METADATA_LIST), Vec::new()).await;
                for item in list.map_err(|error| explain(&error))?["items"].as_array().into_iter().flatten() {
                    let metadata = &item["metadata"];
                    if let (Some(namespace), Some(held)) =
                        (metadata["namespace"].as_str(), Held::read(metadata))
                    {
                        listed.insert(Shard { namespace: namespace.into(), ..shard.clone() }, held);
                    }
                }
            }
        }
        Ok((self.owner().await?, listed))
    }

    async fn owner(&self) -> Result<Option<OwnerReference>, String> {
        let kind = "MutatingWebhookConfiguration";
        let path = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations";
        let request = Request::get(format!("{path}/{}", self.owner)).header(header::ACCEPT, METADATA);
        let found = absent(self.send(request, Vec::new()).await)?;
        Ok(found.and_then(|found| {
            Some(OwnerReference {
                api_version: "admissionregistration.k8s.io/v1".into(),
                kind: kind.into(),
                name: self.owner.as_str().into(),
                uid: found["metadata"]["uid"].as_str()?.into(),
                ..OwnerReference::default()
            })
        }))
    }

    /// Writes, and tells what is there afterwards. A namespace that goes, or is gone, needs nothing.
    pub(super) async fn write(&self, name: &ObjectName, write: &Write) -> Result<Outcome, String> {
        let collection = format!("/api/v1/namespaces/{}/configmaps", name.namespace);
        let object = format!("{collection}/{}", name.name);
        let (request, body) = match write {
            Write::Create(body) => (Request::post(format!("{collection}?{MANAGER}")), body),
            Write::Replace(body) => (Request::put(format!("{object}?{MANAGER}")), body),
            Write::Delete(body) => (Request::delete(&object), body),
        };
        let request =
            request.header(header::CONTENT_TYPE, "application/json").header(header::ACCEPT, METADATA);
        match self.send(request, body.to_string().into_bytes()).await {
            Ok(_) if matches!(write, Write::Delete(_)) => Ok(Outcome::Done(None)),
            Ok(answer) => Ok(Outcome::Done(Held::read(&answer["metadata"]))),
            Err(kube::Error::Api(status)) if status.code == 404 && !matches!(write, Write::Replace(_)) => {
                Ok(Outcome::Done(None))
            }
            Err(kube::Error::Api(status))
                if status.code == 403 && status.message.contains("being terminated") =>
            {
                Ok(Outcome::Done(None))
            }
            Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => {
                let get = Request::get(object).header(header::ACCEPT, METADATA);
                let found = absent(self.send(get, Vec::new()).await)?;
                Ok(Outcome::Stale(found.and_then(|found| Held::read(&found["metadata"]))))
            }
            Err(kube::Error::Api(status)) if matches!(status.code, 403 | 422) => {
                Ok(Outcome::Refused(status.message))
            }
            Err(error) => Err(explain(&error)),
        }
    }

    async fn send(&self, request: http::request::Builder, body: Vec<u8>) -> Result<Value, kube::Error> {
        let request = request.body(body).expect("names of objects are valid in URIs");
        match tokio::time::timeout(PATIENCE, self.client.request(request)).await {
            Ok(answer) => answer,
            Err(_) => Err(kube::Error::Service("the API server does not answer".into())),
        }
    }
}

fn absent(answer: Result<Value, kube::Error>) -> Result<Option<Value>, String> {
    match answer {
        Ok(found) => Ok(Some(found)),
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(None),
        Err(error) => Err(explain(&error)),
    }
}
