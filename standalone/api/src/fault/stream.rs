//! What may happen to a watch on its way. Each chunk of its body is one line.

use std::collections::VecDeque;
use std::time::Duration;

use axum::body::{Body, BodyDataStream};
use axum::response::Response;
use bytes::Bytes;
use futures::{StreamExt, stream};
use tower::BoxError;

use super::{Fault, Simulator, broken};
use crate::Failure;

struct Disturbed {
    inner: BodyDataStream,
    simulator: Simulator,
    path: String,
    /// Lines that come before those of `inner`.
    first: VecDeque<Bytes>,
    /// Whether `inner` still repeats, as its list, what `first` has told.
    repeats: bool,
    /// Whether the list is over, in whose events versions have no order.
    listed: bool,
    pending: VecDeque<Result<Bytes, BoxError>>,
    over: bool,
}

/// What happens to an event.
enum Fate {
    Delivered,
    Twice,
    Late(Duration),
    Stalled,
    Ends,
    Breaks,
    BreaksWithin,
    Expires,
}

/// How a watch begins.
pub(super) struct Beginning {
    /// Whether with a list.
    pub(super) lists: bool,
    /// What is told instead of that list.
    pub(super) instead: Option<Vec<Bytes>>,
}

pub(super) fn disturb(
    response: Response,
    simulator: Simulator,
    path: String,
    beginning: Beginning,
) -> Response {
    let (head, body) = response.into_parts();
    let watch = Disturbed {
        inner: body.into_data_stream(),
        simulator,
        path,
        repeats: beginning.instead.is_some(),
        first: beginning.instead.unwrap_or_default().into(),
        listed: !beginning.lists,
        pending: VecDeque::new(),
        over: false,
    };
    let stream = stream::unfold(watch, |mut watch| async move {
        let item = watch.next().await?;
        Some((item, watch))
    });
    Response::from_parts(head, Body::from_stream(stream))
}

fn is_bookmark(line: &[u8]) -> bool {
    line.starts_with(b"{\"type\":\"BOOKMARK\"")
}

impl Disturbed {
    async fn next(&mut self) -> Option<Result<Bytes, BoxError>> {
        if let Some(item) = self.pending.pop_front() {
            return Some(item);
        }
        if self.over {
            return None;
        }
        let line = match self.line().await? {
            Ok(line) => line,
            Err(error) => return Some(Err(error)),
        };
        match self.fate() {
            Fate::Delivered => {}
            // A bookmark that ends a list is not an event of an object.
            Fate::Twice if is_bookmark(&line) => {}
            Fate::Twice => {
                self.count(Fault::WatchDuplicated);
                self.pending.push_back(Ok(line.clone()));
            }
            Fate::Late(pause) => {
                self.count(Fault::WatchDelayed);
                tokio::time::sleep(pause).await;
            }
            Fate::Stalled => {
                self.count(Fault::WatchStalled);
                std::future::pending::<()>().await;
            }
            Fate::Ends => {
                self.count(Fault::WatchDropped);
                return None;
            }
            Fate::Breaks => {
                self.count(Fault::WatchDropped);
                self.over = true;
                return Some(Err(broken()));
            }
            Fate::BreaksWithin => {
                self.count(Fault::WatchDropped);
                self.over = true;
                self.pending.push_back(Err(broken()));
                return Some(Ok(line.slice(..line.len() / 2)));
            }
            Fate::Expires => {
                self.count(Fault::GoneMidStream);
                self.over = true;
                let status = Failure::expired("too old resource version: simulated").status();
                let event = serde_json::json!({"type": "ERROR", "object": status});
                return Some(Ok(format!("{event}\n").into()));
            }
        }
        self.simulator.hold().await;
        if is_bookmark(&line) {
            self.listed = true;
        } else if self.listed {
            self.note_order(&line);
        }
        Some(Ok(line))
    }

    /// The next line as the API sent it.
    async fn line(&mut self) -> Option<Result<Bytes, BoxError>> {
        if let Some(line) = self.first.pop_front() {
            return Some(Ok(line));
        }
        loop {
            let line = self.inner.next().await?;
            match line {
                Ok(line) if self.repeats && !is_bookmark(&line) => {}
                line => {
                    self.repeats = false;
                    return Some(line.map_err(Into::into));
                }
            }
        }
    }

    fn fate(&self) -> Fate {
        let mut shared = self.simulator.lock();
        let faults = shared.faults;
        if shared.random.chance(faults.watch_cut) {
            return match shared.random.below(3) {
                0 => Fate::Ends,
                1 => Fate::Breaks,
                _ => Fate::BreaksWithin,
            };
        }
        if shared.random.chance(faults.watch_expired) {
            Fate::Expires
        } else if shared.random.chance(faults.watch_twice) {
            Fate::Twice
        } else if shared.random.chance(faults.watch_late) {
            Fate::Late(shared.moment())
        } else if shared.random.chance(faults.watch_stalled) {
            Fate::Stalled
        } else {
            Fate::Delivered
        }
    }

    fn count(&self, fault: Fault) {
        self.simulator.lock().tally.count(fault);
    }

    /// Counts an event that comes after a newer one of another kind.
    fn note_order(&self, line: &[u8]) {
        let version = std::str::from_utf8(line).ok().and_then(|line| {
            let (_, rest) = line.split_once("\"resourceVersion\":\"")?;
            rest.split_once('"')?.0.parse().ok()
        });
        let Some(version) = version else { return };
        if self.simulator.client().delivers(&self.path, version) {
            self.count(Fault::Reordered);
        }
    }
}
