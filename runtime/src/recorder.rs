//! Events about objects (events.k8s.io/v1).

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use kube::Client;
use portolan_core::{Kind, ObjectName};
use serde_json::json;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tracing::debug;

/// The object an Event is about.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Reference {
    kind: Kind,
    name: ObjectName,
    uid: Arc<str>,
}

impl Reference {
    /// A reference to an object.
    pub fn of(kind: Kind, name: ObjectName, uid: Arc<str>) -> Self {
        Self { kind, name, uid }
    }
}

/// Type of an Event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EventType {
    /// Information.
    Normal,
    /// Something is wrong.
    Warning,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Note {
    reference: Reference,
    kind: EventType,
    reason: &'static str,
    action: &'static str,
    text: String,
}

/// Writes Events in the background. Events are a courtesy: they are dropped when they come faster than
/// the API server takes them, and the same Event is written once in five minutes.
#[derive(Clone)]
pub struct Recorder(mpsc::Sender<Note>);

/// How long the same Event is not repeated.
const QUIET: Duration = Duration::from_secs(300);
/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// Events that may wait to be written.
const WAITING: usize = 4096;
/// Events written per second at most, over time.
const PACE: Duration = Duration::from_millis(100);

impl Recorder {
    /// Events by `controller` (such as `portolan-proxy`) running as `instance` (pod or node name).
    pub fn new(client: Client, controller: &'static str, instance: String) -> Self {
        let (sender, receiver) = mpsc::channel(WAITING);
        tokio::spawn(write(client, controller, instance, receiver));
        Self(sender)
    }

    /// Records an Event; never blocks.
    pub fn record(
        &self,
        reference: &Reference,
        kind: EventType,
        reason: &'static str,
        action: &'static str,
        text: &str,
    ) {
        let note = Note { reference: reference.clone(), kind, reason, action, text: text.to_owned() };
        if self.0.try_send(note).is_err() {
            debug!(name = %reference.name, reason, "event dropped: too many at once");
        }
    }
}

async fn write(client: Client, controller: &'static str, instance: String, mut notes: mpsc::Receiver<Note>) {
    let mut written: HashMap<Note, Instant> = HashMap::new();
    while let Some(note) = notes.recv().await {
        written.retain(|_, at| at.elapsed() < QUIET);
        if written.contains_key(&note) {
            continue;
        }
        let answer = client.request_text(request(&note, controller, &instance));
        match tokio::time::timeout(PATIENCE, answer).await {
            Ok(Ok(_)) => {
                written.insert(note, Instant::now());
            }
            Ok(Err(error)) => debug!(error = %crate::watch::explain(&error), "event not written"),
            Err(_) => debug!("event not written: the API server does not answer"),
        }
        tokio::time::sleep(PACE).await;
    }
}

/// What an Event about an object of this name is called by: a DNS subdomain (RFC 1123), as the API server wants it, which masks only a
/// last dash. Not every name is one: that of an IPv6 IPAddress is not.
fn prefix(name: &str) -> String {
    let part = |text: char| if text.is_ascii_lowercase() || text.is_ascii_digit() { text } else { '-' };
    let parts: Vec<_> = name.split('.').map(|label| label.chars().map(part).collect::<String>()).collect();
    let labels = parts.iter().map(|label| label.trim_matches('-')).filter(|label| !label.is_empty());
    let mut text = labels.collect::<Vec<_>>().join(".");
    text.truncate(200);
    let text = text.trim_end_matches('.');
    if text.is_empty() { "event-".to_owned() } else { format!("{text}-") }
}

fn request(note: &Note, controller: &str, instance: &str) -> http::Request<Vec<u8>> {
    let Reference { kind, name, uid } = &note.reference;
    // Events of cluster-scoped objects live in `default`.
    let namespace = if name.namespace.is_empty() { "default" } else { &name.namespace };
    let event_type = match note.kind {
        EventType::Normal => "Normal",
        EventType::Warning => "Warning",
    };
    let mut text = note.text.clone();
    // The API refuses notes over 1 KiB.
    while text.len() > 1000 {
        text.pop();
    }
    let body = json!({
        "apiVersion": "events.k8s.io/v1",
        "kind": "Event",
        "metadata": {"generateName": prefix(&name.name), "namespace": namespace},
        "eventTime": format!("{:.6}", Timestamp::now()),
        "type": event_type,
        "reason": note.reason,
        "action": note.action,
        "note": text,
        "reportingController": format!("portolan.dev/{controller}"),
        "reportingInstance": instance,
        "regarding": {"apiVersion": kind.api_version(), "kind": kind.as_str(), "namespace": name.namespace,
            "name": name.name, "uid": uid},
    });
    http::Request::post(format!("/apis/events.k8s.io/v1/namespaces/{namespace}/events"))
        .header(http::header::CONTENT_TYPE, "application/json")
        .body(body.to_string().into_bytes())
        .expect("a path of a namespace's name is a valid URI")
}

#[cfg(test)]
mod tests {
    use super::prefix;

    #[test]
    fn events_are_called_by_names_that_the_api_server_takes() {
        let long = "a".repeat(300);
        for (name, want) in [
            ("web", "web-"),
            ("10.96.0.9", "10.96.0.9-"),
            ("fd00:96::5", "fd00-96--5-"),
            ("::1", "1-"),
            ("::", "event-"),
            ("system:node", "system-node-"),
            ("Ä.b..C", "b-"),
            (&*long, &*format!("{}-", &long[..200])),
        ] {
            assert_eq!(prefix(name), want, "{name}");
        }
    }
}
