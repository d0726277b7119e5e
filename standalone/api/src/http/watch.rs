//! Watches: one line of JSON for each event.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use futures::stream;
use http::header::{CONTENT_TYPE, HeaderValue};
use serde_json::{Value, json};
use tokio::sync::watch::Receiver;
use tokio::time::{Instant, sleep_until};

use super::Call;
use super::answer::{Form, metadata_only};
use super::{event, resource};
use crate::table::Table;
use crate::{Api, Change, Failure, Kind, ListOptions, Selection};

/// How often a watch that hears nothing is told how far it is.
const BOOKMARKS: Duration = Duration::from_secs(60);
/// How long a watch lasts that asks for no limit.
const LONGEST: Duration = Duration::from_secs(1800);

struct Watch {
    api: Api,
    kind: Kind,
    selection: Selection,
    form: Form,
    table: Table,
    /// Whether the columns have been sent; they are sent once.
    columns_sent: bool,
    changes: Receiver<u64>,
    /// Everything up to here has been sent or is pending.
    version: u64,
    pending: VecDeque<Bytes>,
    bookmarks: bool,
    next_bookmark: Instant,
    end: Instant,
    ended: bool,
}

pub(super) fn answer(api: &Api, kind: Kind, selection: Selection, call: &Call) -> Result<Response, Failure> {
    let now = Instant::now();
    let mut watch = Watch {
        api: api.clone(),
        kind,
        selection,
        form: call.form,
        table: resource::table(api, kind, call)?,
        columns_sent: false,
        changes: api.changes(),
        version: 0,
        pending: VecDeque::new(),
        bookmarks: call.query.flag("allowWatchBookmarks"),
        next_bookmark: now + BOOKMARKS,
        end: now + call.query.timeout()?.unwrap_or(LONGEST),
        ended: false,
    };
    watch.begin(call)?;
    let lines = stream::unfold(watch, |mut watch| async move {
        let line = watch.next().await?;
        Some((Ok::<_, Infallible>(line), watch))
    });
    let mut response = Response::new(Body::from_stream(lines));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(response)
}

impl Watch {
    /// Finds out where the watch starts, and puts what exists first where that is asked for.
    fn begin(&mut self, call: &Call) -> Result<(), Failure> {
        let asked = call.query.number::<u64>("resourceVersion")?.unwrap_or(0);
        let initial = call.query.text("sendInitialEvents");
        let matching = call.query.text("resourceVersionMatch");
        match (initial, matching) {
            (Some(_), None) => {
                let why = "resourceVersionMatch is required when sendInitialEvents is set";
                return Err(Failure::invalid_options("resourceVersionMatch", why));
            }
            (None, Some(_)) => {
                let why = "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided";
                return Err(Failure::invalid_options("resourceVersionMatch", why));
            }
            (Some(_), Some(other)) if other != "NotOlderThan" => {
                let why = "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan";
                return Err(Failure::invalid_options("resourceVersionMatch", why));
            }
            _ => {}
        }
        let streams_list = initial.is_some() && call.query.flag("sendInitialEvents");
        // Without a version, or from any, a watch begins with what exists (a way of old clients).
        if !streams_list && (asked > 0 || initial.is_some()) {
            self.version = if asked > 0 { asked } else { self.api.read(crate::Store::version) };
            // Fails now if that is too long ago.
            return self
                .api
                .read(|store| store.changes(self.kind.stored(), self.version, &self.selection))
                .map(drop);
        }
        let list = self.api.read(|store| {
            if asked > store.version() {
                return Err(Failure::too_large_version(asked, store.version()));
            }
            store.list(self.kind.stored(), &self.selection, &ListOptions::default())
        })?;
        self.version = list.version;
        for object in list.items {
            let line = self.line("ADDED", object);
            self.pending.push_back(line);
        }
        if streams_list && self.bookmarks {
            let line = self.bookmark(true);
            self.pending.push_back(line);
        }
        Ok(())
    }

    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if let Some(line) = self.pending.pop_front() {
                return Some(line);
            }
            if self.ended {
                return None;
            }
            self.changes.mark_unchanged();
            let changes =
                self.api.read(|store| store.changes(self.kind.stored(), self.version, &self.selection));
            match changes {
                Ok(changes) => {
                    // A watch may start at a version that does not exist yet.
                    self.version = self.version.max(changes.version);
                    for change in changes.changes {
                        let line = self.change(&change);
                        self.pending.push_back(line);
                    }
                }
                Err(expired) => {
                    self.ended = true;
                    return Some(frame("ERROR", &expired.status()));
                }
            }
            if !self.pending.is_empty() {
                continue;
            }
            tokio::select! {
                changed = self.changes.changed() => self.ended = changed.is_err(),
                () = sleep_until(self.next_bookmark), if self.bookmarks => {
                    self.next_bookmark = Instant::now() + BOOKMARKS;
                    let line = self.bookmark(false);
                    self.pending.push_back(line);
                }
                () = sleep_until(self.end) => {
                    self.ended = true;
                    // The next watch starts where this one ends, and hears nothing twice.
                    if self.bookmarks {
                        let line = self.bookmark(false);
                        self.pending.push_back(line);
                    }
                }
            }
        }
    }

    fn change(&mut self, change: &Change) -> Bytes {
        self.line(change.label(), change.object().clone())
    }

    fn line(&mut self, label: &str, object: Arc<Value>) -> Bytes {
        let object = event::outward(self.kind, object);
        match self.form {
            Form::Plain => frame(label, &object),
            Form::Metadata => frame(label, &metadata_only(&object)),
            Form::Table => {
                let version = object.pointer("/metadata/resourceVersion").cloned().unwrap_or_default();
                self.table.now = self.api.now();
                let columns = !std::mem::replace(&mut self.columns_sent, true);
                frame(label, &self.table.of(&[object], &json!({"resourceVersion": version}), columns))
            }
        }
    }

    fn bookmark(&self, list_ends: bool) -> Bytes {
        let mut metadata = json!({"resourceVersion": self.version.to_string()});
        if list_ends {
            metadata["annotations"] = json!({"k8s.io/initial-events-end": "true"});
        }
        let object = match self.form {
            Form::Plain => json!({
                "kind": self.kind.facts().name, "apiVersion": self.kind.api_version(), "metadata": metadata
            }),
            Form::Metadata => {
                json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": metadata})
            }
            Form::Table => self.table.of(&[], &metadata, false),
        };
        frame("BOOKMARK", &object)
    }
}

/// A line of a watch.
pub(crate) fn frame(label: &str, object: &Value) -> Bytes {
    #[derive(serde::Serialize)]
    struct Frame<'a> {
        r#type: &'a str,
        object: &'a Value,
    }
    let mut line =
        serde_json::to_vec(&Frame { r#type: label, object }).expect("JSON values have a form in JSON");
    line.push(b'\n');
    line.into()
}
