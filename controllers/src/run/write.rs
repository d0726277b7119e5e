//! Carries out one write.

use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, StatusCode, header};
use kube::Client;
use kube::client::Body;
use portolan_core::{EndpointSlice, Endpoints, Event, Kind, Meta, ObjectName, Service, Watched};
use portolan_runtime::{Leadership, Store, explain};
use serde::Deserialize;
use tracing::debug;

use super::gate::Awaited;
use crate::plan::{Because, Content, Write};

/// How long an answer may take. Less than what lies between the end of a leader's time to write and the
/// first moment at which another may lead, so that a write sent at the last moment is given up before
/// that. It may still happen later; its precondition, and the one of the next try, keep that harmless.
pub(super) const PATIENCE: Duration = Duration::from_secs(4);
/// Largest pause that a server's Retry-After is believed.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(60);
const MANAGER: &str = "fieldManager=portolan-controllers";

/// Why a write was not made.
#[derive(Debug, PartialEq, thiserror::Error)]
pub(super) enum WriteError {
    /// An object is not as it was seen (404, 409): the watch has yet to deliver what changed.
    #[error("{} {} has changed meanwhile", .0.kind, .0.name)]
    Stale(Awaited),
    /// The server does not know the namespace (yet, or any more).
    #[error("the API server does not know the namespace")]
    NoNamespace,
    /// The server asks for a pause (429, 503 with Retry-After).
    #[error("the API server asks to wait {} s", .0.as_secs())]
    Busy(Duration),
    /// The namespace is being deleted; everything in it goes anyway.
    #[error("the namespace is being deleted")]
    NamespaceGoes,
    /// The server finds the object invalid (422): the same write will not succeed later.
    #[error("the API server refuses the object: {0}")]
    Invalid(String),
    /// The server does not let us (other 4xx): rights, a webhook, a quota.
    #[error("the API server answered {0}: {1}")]
    Denied(u16, String),
    /// The server cannot be reached or fails (5xx).
    #[error("{0}")]
    Unavailable(String),
    /// Another process leads.
    #[error("another process leads")]
    NotLeading,
}

impl WriteError {
    /// Label in metrics.
    pub(super) fn label(&self) -> &'static str {
        match self {
            Self::Stale(_) => "stale",
            Self::NoNamespace => "no_namespace",
            Self::Busy(_) => "busy",
            Self::NamespaceGoes => "namespace_terminating",
            Self::Invalid(_) => "invalid",
            Self::Denied(..) => "denied",
            Self::Unavailable(_) => "unavailable",
            Self::NotLeading => "not_leading",
        }
    }
}

/// Sends writes and takes their answers into the State.
#[derive(Clone)]
pub(super) struct Writer {
    pub(super) client: Client,
    pub(super) store: Store,
    pub(super) leadership: Leadership,
}

impl Writer {
    /// Carries out a write that concerns a Service.
    pub(super) async fn carry_out<C: Content>(
        &self,
        service: &ObjectName,
        write: &Write<C>,
    ) -> Result<(), WriteError> {
        if let Write::Delete { because: Because::Gone(kind), .. } = write {
            self.confirm_gone(*kind, service).await?;
        }
        let kind = C::Object::KIND;
        let name = write.name();
        let collection = collection(kind, &name.namespace);
        let (method, uri, content) = match write {
            Write::Create { .. } => (Method::POST, format!("{collection}?{MANAGER}"), "application/json"),
            Write::Update { .. } => (
                Method::PATCH,
                format!("{collection}/{}?{MANAGER}", name.name),
                "application/merge-patch+json",
            ),
            Write::Delete { .. } => {
                (Method::DELETE, format!("{collection}/{}", name.name), "application/json")
            }
        };
        let era = self.era::<C::Object>();
        // Asked last, so that nothing is awaited between this and the request.
        if !self.leadership.may_write() {
            return Err(WriteError::NotLeading);
        }
        let (status, body) = self.send(method, &uri, content, write.body().to_string().into_bytes()).await?;
        let awaited = || Awaited { kind, name: name.clone(), seen: write.seen() };
        match (write, status) {
            (Write::Delete { target, .. }, StatusCode::NOT_FOUND) => {
                self.store.apply([Event::<C::Object>::Deleted(target.name.clone(), target.resource_version)]);
                Ok(())
            }
            (Write::Update { target, .. }, StatusCode::NOT_FOUND) => {
                self.store.apply([Event::<C::Object>::Deleted(target.name.clone(), target.resource_version)]);
                Err(WriteError::Stale(awaited()))
            }
            (Write::Create { .. }, StatusCode::NOT_FOUND) => Err(WriteError::NoNamespace),
            (_, StatusCode::CONFLICT) => Err(WriteError::Stale(awaited())),
            (_, status) if !status.is_success() => Err(refusal(status, &body)),
            (Write::Delete { target, .. }, _) if !still_there(&body) => {
                self.store.apply([Event::<C::Object>::Deleted(target.name.clone(), target.resource_version)]);
                Ok(())
            }
            _ => {
                match serde_json::from_slice::<C::Object>(&body) {
                    Ok(object) => self.store.apply([Event::Answered(object, era)]),
                    // The watch will deliver it, or tell that it cannot.
                    Err(error) => debug!(%kind, %name, %error, "the answer to a write does not decode"),
                }
                Ok(())
            }
        }
    }

    /// Asks whether an object of the core group that is not in the State is gone: a view that lags must not
    /// remove the endpoints of one that is there.
    async fn confirm_gone(&self, kind: Kind, name: &ObjectName) -> Result<(), WriteError> {
        match self.read(kind, name).await? {
            None => Ok(()),
            Some(_) => Err(WriteError::Stale(Awaited { kind, name: name.clone(), seen: None })),
        }
    }

    /// Asks whether an object is the one that the State holds under its name: a view that lags must not
    /// take the slices of the one that is there now for those of an earlier one.
    pub(super) async fn confirm_current<T: Watched>(&self, meta: &Meta) -> Result<(), WriteError> {
        let name = meta.object_name();
        let awaited = Awaited { kind: T::KIND, name: name.clone(), seen: Some(meta.resource_version) };
        let era = self.era::<T>();
        match self.read(T::KIND, &name).await?.map(|body| serde_json::from_slice::<T>(&body)) {
            Some(Ok(object)) if object.meta().uid == meta.uid => Ok(()),
            Some(Ok(object)) => {
                self.store.apply([Event::Answered(object, era)]);
                Err(WriteError::Stale(awaited))
            }
            _ => Err(WriteError::Stale(awaited)),
        }
    }

    /// Takes in from the API what the watch should have delivered.
    pub(super) async fn catch_up(&self, awaited: &Awaited) -> Result<(), WriteError> {
        match awaited.kind {
            Kind::EndpointSlice => self.take_in::<EndpointSlice>(awaited).await,
            Kind::Endpoints => self.take_in::<Endpoints>(awaited).await,
            _ => self.take_in::<Service>(awaited).await,
        }
    }

    async fn take_in<T: Watched>(&self, awaited: &Awaited) -> Result<(), WriteError> {
        let Awaited { kind, name, seen } = awaited;
        let era = self.era::<T>();
        match (self.read(*kind, name).await?, seen) {
            (None, Some(seen)) => self.store.apply([Event::<T>::Deleted(name.clone(), *seen)]),
            (None, None) => {}
            (Some(body), _) => match serde_json::from_slice::<T>(&body) {
                Ok(object) => self.store.apply([Event::Answered(object, era)]),
                Err(error) => debug!(%kind, %name, %error, "the answer to a read does not decode"),
            },
        }
        Ok(())
    }

    fn era<T: Watched>(&self) -> u64 {
        T::table(&self.store.read()).era()
    }

    /// An object as the API server has it now.
    async fn read(&self, kind: Kind, name: &ObjectName) -> Result<Option<Bytes>, WriteError> {
        let uri = format!("{}/{}", collection(kind, &name.namespace), name.name);
        let (status, body) = self.send(Method::GET, &uri, "application/json", Vec::new()).await?;
        match status {
            StatusCode::NOT_FOUND => Ok(None),
            status if status.is_success() => Ok(Some(body)),
            status => Err(refusal(status, &body)),
        }
    }

    /// The answer's status and body. 429 and 503 are errors here, because only the head of the answer
    /// says for how long.
    async fn send(
        &self,
        method: Method,
        uri: &str,
        content: &str,
        body: Vec<u8>,
    ) -> Result<(StatusCode, Bytes), WriteError> {
        let request = Request::builder()
            .method(method)
            .uri(uri)
            .header(header::CONTENT_TYPE, content)
            .header(header::ACCEPT, "application/json")
            .body(Body::from(body))
            .map_err(|error| WriteError::Invalid(format!("not a request: {error}")))?;
        let answer = async {
            let response = self.client.send(request).await?;
            let (head, body) = response.into_parts();
            Ok((head, body.collect_bytes().await?))
        };
        let (head, body) = tokio::time::timeout(PATIENCE, answer)
            .await
            .map_err(|_| {
                WriteError::Unavailable(format!("the API server does not answer within {PATIENCE:?}"))
            })?
            .map_err(|error: kube::Error| WriteError::Unavailable(explain(&error)))?;
        let wait = head.headers.get(header::RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
        match (head.status, wait.map(Duration::from_secs)) {
            (StatusCode::TOO_MANY_REQUESTS, wait) => {
                Err(WriteError::Busy(wait.unwrap_or(Duration::from_secs(1)).min(LONGEST_RETRY_AFTER)))
            }
            (StatusCode::SERVICE_UNAVAILABLE, Some(wait)) => {
                Err(WriteError::Busy(wait.min(LONGEST_RETRY_AFTER)))
            }
            (status, _) => Ok((status, body)),
        }
    }
}

/// Path of the objects of a kind in a namespace.
fn collection(kind: Kind, namespace: &str) -> String {
    let group = match kind.api_version() {
        "v1" => "/api/v1".to_owned(),
        group => format!("/apis/{group}"),
    };
    format!("{group}/namespaces/{namespace}/{}", kind.plural())
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Status {
    message: String,
    details: Details,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Details {
    causes: Vec<Cause>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Cause {
    reason: String,
}

fn refusal(code: StatusCode, body: &[u8]) -> WriteError {
    let status: Status = serde_json::from_slice(body).unwrap_or_default();
    let message = if status.message.is_empty() {
        String::from_utf8_lossy(body).chars().take(200).collect()
    } else {
        status.message
    };
    match code {
        StatusCode::FORBIDDEN
            if status.details.causes.iter().any(|cause| cause.reason == "NamespaceTerminating") =>
        {
            WriteError::NamespaceGoes
        }
        StatusCode::UNPROCESSABLE_ENTITY => WriteError::Invalid(message),
        code if code.is_client_error() => WriteError::Denied(code.as_u16(), message),
        code => WriteError::Unavailable(format!("the API server answered {code}: {message}")),
    }
}

/// Whether an object outlives its deletion for now: the answer is then the object and not a Status.
fn still_there(body: &[u8]) -> bool {
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Object {
        metadata: Metadata,
    }
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Metadata {
        finalizers: Vec<String>,
    }
    serde_json::from_slice::<Object>(body).is_ok_and(|object| !object.metadata.finalizers.is_empty())
}

#[cfg(test)]
mod tests;
