//! What the API answers when it refuses: metav1.Status with upstream's reasons, codes and words.

use serde_json::{Value, json};

use crate::Kind;

/// A refused request.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// HTTP status.
    pub code: u16,
    /// Machine-readable reason, such as `NotFound`.
    pub reason: &'static str,
    /// What a person reads.
    pub message: String,
    details: Option<Box<Details>>,
}

#[derive(Clone, Debug, Default, PartialEq)]
struct Details {
    name: String,
    group: &'static str,
    kind: String,
    causes: Vec<Cause>,
    retry_after: u32,
}

/// One thing that is wrong with an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cause {
    /// Machine-readable reason, such as `FieldValueInvalid`.
    pub reason: &'static str,
    /// What a person reads.
    pub message: String,
    /// Where, such as `spec.ports[0].port`.
    pub field: String,
}

impl Failure {
    fn new(code: u16, reason: &'static str, message: impl Into<String>) -> Self {
        Self { code, reason, message: message.into(), details: None }
    }

    fn about(mut self, kind: Kind, name: &str) -> Self {
        let (group, kind) = (kind.facts().group, kind.facts().plural.to_owned());
        self.details = Some(Box::new(Details { name: name.to_owned(), group, kind, ..Details::default() }));
        self
    }

    fn because(mut self, reason: &'static str, message: impl Into<String>, field: &str) -> Self {
        let cause = Cause { reason, message: message.into(), field: field.to_owned() };
        self.details.get_or_insert_default().causes.push(cause);
        self
    }

    /// There is no such object.
    pub fn not_found(kind: Kind, name: &str) -> Self {
        Self::new(404, "NotFound", format!("{} {name:?} not found", kind.resource())).about(kind, name)
    }

    /// There is no such path.
    pub fn no_such_resource() -> Self {
        Self::new(404, "NotFound", "the server could not find the requested resource")
    }

    /// An object of that name exists.
    pub fn already_exists(kind: Kind, name: &str) -> Self {
        let message = format!("{} {name:?} already exists", kind.resource());
        Self::new(409, "AlreadyExists", message).about(kind, name)
    }

    /// The object is not what the writer took it for.
    pub fn conflict(kind: Kind, name: &str, why: &str) -> Self {
        let message = format!("Operation cannot be fulfilled on {} {name:?}: {why}", kind.resource());
        Self::new(409, "Conflict", message).about(kind, name)
    }

    /// The object has changed since the writer read it.
    pub fn modified(kind: Kind, name: &str) -> Self {
        let why =
            "the object has been modified; please apply your changes to the latest version and try again";
        Self::conflict(kind, name, why)
    }

    /// The object breaks the rules of its kind.
    pub fn invalid(kind: Kind, name: &str, causes: Causes) -> Self {
        let facts = kind.facts();
        let mut texts: Vec<String> = Vec::new();
        for cause in &causes.0 {
            let text = format!("{}: {}", cause.field, cause.message);
            // As upstream: the list of causes says again what the text says once.
            if !texts.contains(&text) {
                texts.push(text);
            }
        }
        let list = if texts.len() == 1 { texts.concat() } else { format!("[{}]", texts.join(", ")) };
        let mut failure =
            Self::new(422, "Invalid", format!("{} {name:?} is invalid: {list}", kind.qualified()));
        failure.details = Some(Box::new(Details {
            name: name.to_owned(),
            group: facts.group,
            kind: facts.name.to_owned(),
            causes: causes.0,
            retry_after: 0,
        }));
        failure
    }

    /// A list's options contradict each other.
    pub fn invalid_options(field: &str, message: &str) -> Self {
        Self::new(422, "Invalid", format!("ListOptions.meta.k8s.io \"\" is invalid: {field}: {message}"))
            .because("FieldValueForbidden", message, field)
    }

    /// The rules forbid it here and now.
    pub fn forbidden(kind: Kind, name: &str, why: &str) -> Self {
        let message = format!("{} {name:?} is forbidden: {why}", kind.resource());
        Self::new(403, "Forbidden", message).about(kind, name)
    }

    /// Nothing is created in a namespace that is going away.
    pub fn terminating(kind: Kind, name: &str, namespace: &str) -> Self {
        let why =
            format!("unable to create new content in namespace {namespace} because it is being terminated");
        let cause = format!("namespace {namespace} is being terminated");
        Self::forbidden(kind, name, &why).because("NamespaceTerminating", cause, "metadata.namespace")
    }

    /// The request makes no sense.
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(400, "BadRequest", message)
    }

    /// The request is well-formed but cannot be carried out.
    pub fn unprocessable(message: &str) -> Self {
        Self::new(422, "Invalid", message)
    }

    /// The resource does not know the verb.
    pub fn method_not_allowed() -> Self {
        let message = "the server does not allow this method on the requested resource";
        Self::new(405, "MethodNotAllowed", message)
    }

    /// A part of the API that Portolan leaves out.
    pub fn not_served(what: &str) -> Self {
        Self::new(405, "MethodNotAllowed", format!("{what} is not served by Portolan's in-memory API"))
    }

    /// The answer has no form that the client accepts.
    pub fn not_acceptable() -> Self {
        let message = "only the following media types are accepted: application/json";
        Self::new(406, "NotAcceptable", message)
    }

    /// The body has a form that is not read.
    pub fn unsupported_media_type(accepted: &str) -> Self {
        let message = format!(
            "the body of the request was in an unknown format - accepted media types include: {accepted}"
        );
        Self::new(415, "UnsupportedMediaType", message)
    }

    /// The history no longer reaches back that far.
    pub fn expired(message: impl Into<String>) -> Self {
        Self::new(410, "Expired", message)
    }

    /// The client knows a version that does not exist yet.
    pub fn too_large_version(asked: u64, current: u64) -> Self {
        let message = format!("Too large resource version: {asked}, current: {current}");
        Self::new(504, "Timeout", message)
            .because("ResourceVersionTooLarge", "Too large resource version", "")
            .retry_after(1)
    }

    /// The body is too large.
    pub fn too_large(most: usize) -> Self {
        let message = format!("Request entity too large: limit is {most}");
        Self::new(413, "RequestEntityTooLarge", message)
    }

    /// The server is at fault.
    pub fn internal(message: &str) -> Self {
        Self::new(500, "InternalError", format!("Internal error occurred: {message}"))
            .because("", message, "")
    }

    /// The server is at fault, and nobody has put it into the API's words.
    pub fn fault(message: &str) -> Self {
        Self::new(500, "", message)
    }

    /// The server gave up waiting for its store.
    pub fn timeout() -> Self {
        let message = "Timeout: request did not complete within the allotted timeout";
        Self::new(504, "Timeout", message)
    }

    /// The server is overloaded.
    pub fn too_many_requests(seconds: u32) -> Self {
        let message = "the server has received too many requests and has asked us to try again later";
        Self::new(429, "TooManyRequests", message).retry_after(seconds)
    }

    /// The server cannot answer now.
    pub fn unavailable() -> Self {
        let message = "the server is currently unable to handle the request";
        Self::new(503, "ServiceUnavailable", message)
    }

    fn retry_after(mut self, seconds: u32) -> Self {
        self.details.get_or_insert_default().retry_after = seconds;
        self
    }

    /// What goes into a `Retry-After` header.
    pub fn retry_after_seconds(&self) -> Option<u32> {
        self.details.as_ref().map(|details| details.retry_after).filter(|seconds| *seconds > 0)
    }

    /// What is wrong in particular.
    pub fn causes(&self) -> &[Cause] {
        self.details.as_ref().map_or(&[], |details| &details.causes)
    }

    /// As metav1.Status.
    pub fn status(&self) -> Value {
        let mut status = json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": self.message, "reason": self.reason, "code": self.code,
        });
        if let Some(details) = &self.details {
            let mut out = serde_json::Map::new();
            for (key, text) in
                [("name", details.name.as_str()), ("group", details.group), ("kind", &details.kind)]
            {
                if !text.is_empty() {
                    out.insert(key.to_owned(), text.into());
                }
            }
            if !details.causes.is_empty() {
                let cause = |cause: &Cause| {
                    let fields =
                        [("reason", cause.reason), ("message", &cause.message), ("field", &cause.field)];
                    let said = fields.into_iter().filter(|(_, text)| !text.is_empty());
                    said.map(|(key, text)| (key.to_owned(), Value::from(text))).collect::<Value>()
                };
                out.insert("causes".to_owned(), details.causes.iter().map(cause).collect());
            }
            if details.retry_after > 0 {
                out.insert("retryAfterSeconds".to_owned(), details.retry_after.into());
            }
            status["details"] = Value::Object(out);
        }
        status
    }
}

/// What is wrong with an object, gathered so that its author hears of everything at once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Causes(Vec<Cause>);

impl Causes {
    /// Whether nothing is wrong.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Fails with what was gathered, if anything.
    pub fn check(self, kind: Kind, name: &str) -> Result<(), Failure> {
        if self.is_empty() { Ok(()) } else { Err(Failure::invalid(kind, name, self)) }
    }

    /// Adds what else is wrong.
    pub(crate) fn append(&mut self, mut more: Self) {
        self.0.append(&mut more.0);
    }

    fn add(&mut self, reason: &'static str, field: impl Into<String>, message: String) {
        self.0.push(Cause { reason, message, field: field.into() });
    }

    pub(crate) fn required(&mut self, field: impl Into<String>, why: &str) {
        let message =
            if why.is_empty() { "Required value".to_owned() } else { format!("Required value: {why}") };
        self.add("FieldValueRequired", field, message);
    }

    pub(crate) fn invalid(&mut self, field: impl Into<String>, value: impl Into<Value>, why: &str) {
        self.add("FieldValueInvalid", field, format!("Invalid value: {}: {why}", value.into()));
    }

    pub(crate) fn duplicate(&mut self, field: impl Into<String>, value: impl Into<Value>) {
        self.add("FieldValueDuplicate", field, format!("Duplicate value: {}", value.into()));
    }

    /// In the API server's words, which show a type of its own.
    pub(crate) fn duplicate_port(&mut self, index: usize, protocol: Option<&str>, port: i32) {
        let protocol = protocol.unwrap_or_default();
        let twice = format!(
            r#"{{"Name":"","Protocol":{protocol:?},"AppProtocol":null,"Port":{port},"TargetPort":0,"NodePort":0}}"#
        );
        self.add("FieldValueDuplicate", format!("spec.ports[{index}]"), format!("Duplicate value: {twice}"));
    }

    pub(crate) fn forbidden(&mut self, field: impl Into<String>, why: &str) {
        self.add("FieldValueForbidden", field, format!("Forbidden: {why}"));
    }

    pub(crate) fn too_many(&mut self, field: impl Into<String>, count: usize, most: usize) {
        self.add("FieldValueTooMany", field, format!("Too many: {count}: must have at most {most} items"));
    }

    pub(crate) fn unsupported(&mut self, field: impl Into<String>, value: &str, supported: &[&str]) {
        let supported: Vec<_> = supported.iter().map(|value| format!("{value:?}")).collect();
        let message = format!("Unsupported value: {value:?}: supported values: {}", supported.join(", "));
        self.add("FieldValueNotSupported", field, message);
    }
}
