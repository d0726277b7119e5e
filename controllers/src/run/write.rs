//! Carries out one write.

mod service;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http::{Method, Request, StatusCode, header};
use kube::Client;
use kube::client::Body;
use portolan_core::{
    Encoding, EndpointSlice, Endpoints, Event, Kind, Meta, Moment, ObjectName, Service, Watched,
};
use portolan_runtime::{Answer, Leadership, Store, explain};
use tracing::debug;

use super::gate::Awaited;
use crate::plan::{Because, Content, Write};

/// How long an answer may take. Less than what lies between the end of a leader's time to write and the
/// first moment at which another may lead, so that a write sent at the last moment is given up before
/// that. It may still happen later; its precondition, and the one of the next try, keep that harmless.
pub(super) const PATIENCE: Duration = Duration::from_secs(4);
const JSON: &str = Encoding::Json.media_type();
const MANAGER: &str = "fieldManager=portolan-controllers";

/// Why a write was not made.
#[derive(Debug, PartialEq, thiserror::Error)]
pub(super) enum WriteError {
    /// An object is not as it was seen (404, 409), so that the watch has yet to deliver what changed, or not as it was
    /// written any more.
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
    pub(super) protobuf: ReadsProtobuf,
}

/// Whether the server reads protobuf: one that answers in it does, unless something before it does not let it through.
#[derive(Clone, Debug, Default)]
pub(super) struct ReadsProtobuf(Arc<Answers>);

#[derive(Debug, Default)]
struct Answers {
    in_protobuf: AtomicBool,
    refused: AtomicBool,
}

impl ReadsProtobuf {
    fn yes(&self) -> bool {
        self.0.in_protobuf.load(Ordering::Relaxed) && !self.0.refused.load(Ordering::Relaxed)
    }

    /// Only what succeeded tells: an overloaded server refuses in plain text.
    fn learn(&self, answer: &Answer) {
        if answer.status.is_success() {
            self.0.in_protobuf.store(answer.encoding() == Encoding::Protobuf, Ordering::Relaxed);
        } else if answer.status == StatusCode::UNSUPPORTED_MEDIA_TYPE {
            self.0.refused.store(true, Ordering::Relaxed);
        }
    }
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
        let stored = C::Object::table(&self.store.read()).get(name).cloned();
        let whole = write.whole(stored.as_deref().map(Watched::meta));
        let (method, uri, json) = match write {
            Write::Create { .. } => (Method::POST, format!("{collection}?{MANAGER}"), JSON),
            Write::Update { .. } => {
                let (method, json) = match whole {
                    Some(_) => (Method::PUT, JSON),
                    None => (Method::PATCH, "application/merge-patch+json"),
                };
                (method, format!("{collection}/{}?{MANAGER}", name.name), json)
            }
            Write::Delete { .. } => (Method::DELETE, format!("{collection}/{}", name.name), JSON),
        };
        let (content_type, body) = match whole {
            Some(whole) if self.protobuf.yes() => (Encoding::Protobuf.media_type(), whole.protobuf()),
            Some(whole) => (json, whole.json()),
            None => (json, write.body()),
        };
        let sent = self.moment::<C::Object>();
        // Asked last, so that nothing is awaited between this and the request.
        if !self.leadership.may_write() {
            return Err(WriteError::NotLeading);
        }
        let answer = self.send(method, &uri, content_type, body).await?;
        let awaited = || Awaited { kind, name: name.clone(), seen: write.seen() };
        match (write, answer.status) {
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
            (_, status) if !status.is_success() => Err(refusal(&answer)),
            (Write::Delete { target, .. }, _) if !still_there::<C::Object>(&answer) => {
                self.store.apply([Event::<C::Object>::Deleted(target.name.clone(), target.resource_version)]);
                Ok(())
            }
            _ => match answer.object::<C::Object>() {
                Ok(object) => self.answered(object, sent),
                // The watch will deliver it, or tell that it cannot.
                Err(error) => {
                    debug!(%kind, %name, %error, "the answer to a write does not decode");
                    Ok(())
                }
            },
        }
    }

    /// Takes in what was written. If it is not in the State then, it was deleted before the answer came. A watch that
    /// delivers both at once changes nothing in the State, and nobody would look at the Service again.
    fn answered<T: Watched>(&self, object: T, sent: Moment) -> Result<(), WriteError> {
        let (name, version) = (object.meta().object_name(), object.meta().resource_version);
        self.store.apply([Event::Answered(object, sent)]);
        let state = self.store.read();
        let table = T::table(&state);
        if table.get(&name).is_some() {
            return Ok(());
        }
        // If not all deletions since are known, it may be that the watch has yet to deliver it.
        let seen = table.remembers(sent).then_some(version);
        Err(WriteError::Stale(Awaited { kind: T::KIND, name, seen }))
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
        let sent = self.moment::<T>();
        match self.read(T::KIND, &name).await?.map(|answer| answer.object::<T>()) {
            Some(Ok(object)) if object.meta().uid == meta.uid => Ok(()),
            Some(Ok(object)) => {
                self.store.apply([Event::Answered(object, sent)]);
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
        .map(|_| ())
    }

    /// Returns the object's uid, if it is there.
    async fn take_in<T: Watched>(&self, awaited: &Awaited) -> Result<Option<Arc<str>>, WriteError> {
        let Awaited { kind, name, seen } = awaited;
        let sent = self.moment::<T>();
        match (self.read(*kind, name).await?, seen) {
            (None, Some(seen)) => self.store.apply([Event::<T>::Deleted(name.clone(), *seen)]),
            (None, None) => {}
            (Some(answer), _) => match answer.object::<T>() {
                Ok(object) => {
                    let uid = object.meta().uid.clone();
                    self.store.apply([Event::Answered(object, sent)]);
                    return Ok(Some(uid));
                }
                Err(error) => debug!(%kind, %name, %error, "the answer to a read does not decode"),
            },
        }
        Ok(None)
    }

    fn moment<T: Watched>(&self) -> Moment {
        T::table(&self.store.read()).moment()
    }

    /// An object as the API server has it now.
    async fn read(&self, kind: Kind, name: &ObjectName) -> Result<Option<Answer>, WriteError> {
        let uri = format!("{}/{}", collection(kind, &name.namespace), name.name);
        let answer = self.send(Method::GET, &uri, JSON, Vec::new()).await?;
        match answer.status {
            StatusCode::NOT_FOUND => Ok(None),
            status if status.is_success() => Ok(Some(answer)),
            _ => Err(refusal(&answer)),
        }
    }

    /// The answer to a request. 429 and 503 are errors here, because only the head of the answer says for how
    /// long.
    async fn send(
        &self,
        method: Method,
        uri: &str,
        content_type: &str,
        body: Vec<u8>,
    ) -> Result<Answer, WriteError> {
        let request = Request::builder()
            .method(method)
            .uri(uri)
            .header(header::CONTENT_TYPE, content_type)
            .header(header::ACCEPT, Encoding::ACCEPT)
            .body(Body::from(body))
            .map_err(|error| WriteError::Invalid(format!("not a request: {error}")))?;
        let answer = async { Answer::read(self.client.send(request).await?).await };
        let answer = tokio::time::timeout(PATIENCE, answer)
            .await
            .map_err(|_| {
                WriteError::Unavailable(format!("the API server does not answer within {PATIENCE:?}"))
            })?
            .map_err(|error| WriteError::Unavailable(explain(&error)))?;
        self.protobuf.learn(&answer);
        match (answer.status, answer.retry_after()) {
            (StatusCode::TOO_MANY_REQUESTS, pause) => {
                Err(WriteError::Busy(pause.unwrap_or(Duration::from_secs(1))))
            }
            (status, Some(pause)) if status.is_server_error() => Err(WriteError::Busy(pause)),
            _ => Ok(answer),
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

fn refusal(answer: &Answer) -> WriteError {
    let status = answer.failure();
    match answer.status {
        StatusCode::FORBIDDEN if status.has_cause("NamespaceTerminating") => WriteError::NamespaceGoes,
        StatusCode::UNPROCESSABLE_ENTITY => WriteError::Invalid(status.message),
        code if code.is_client_error() => WriteError::Denied(code.as_u16(), status.message),
        code => WriteError::Unavailable(format!("the API server answered {code}: {}", status.message)),
    }
}

/// Whether an object outlives its deletion for now: the answer is then the object, with the time of the
/// deletion, and not a Status.
fn still_there<T: Watched>(answer: &Answer) -> bool {
    answer.object::<T>().is_ok_and(|object| object.meta().deleting())
}

#[cfg(test)]
mod tests;
