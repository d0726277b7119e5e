//! What may happen to a watch on its way. Each chunk of its body is one line.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::body::{Body, BodyDataStream};
use axum::response::Response;
use bytes::Bytes;
use futures::{StreamExt, stream};
use tower::BoxError;

use super::{Shared, broken};
use crate::Failure;

struct Disturbed {
    inner: BodyDataStream,
    shared: Arc<Mutex<Shared>>,
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

pub(super) fn disturb(response: Response, shared: Arc<Mutex<Shared>>) -> Response {
    let (head, body) = response.into_parts();
    let watch = Disturbed { inner: body.into_data_stream(), shared, pending: VecDeque::new(), over: false };
    let stream = stream::unfold(watch, |mut watch| async move {
        let item = watch.next().await?;
        Some((item, watch))
    });
    Response::from_parts(head, Body::from_stream(stream))
}

impl Disturbed {
    async fn next(&mut self) -> Option<Result<Bytes, BoxError>> {
        if let Some(item) = self.pending.pop_front() {
            return Some(item);
        }
        if self.over {
            return None;
        }
        let line = match self.inner.next().await? {
            Ok(line) => line,
            Err(error) => return Some(Err(error.into())),
        };
        match self.fate() {
            Fate::Delivered => {}
            // A bookmark that ends a list is not an event of an object.
            Fate::Twice if line.starts_with(b"{\"type\":\"BOOKMARK\"") => {}
            Fate::Twice => self.pending.push_back(Ok(line.clone())),
            Fate::Late(pause) => tokio::time::sleep(pause).await,
            Fate::Stalled => std::future::pending().await,
            Fate::Ends => return None,
            Fate::Breaks => {
                self.over = true;
                return Some(Err(broken()));
            }
            Fate::BreaksWithin => {
                self.over = true;
                self.pending.push_back(Err(broken()));
                return Some(Ok(line.slice(..line.len() / 2)));
            }
            Fate::Expires => {
                self.over = true;
                let status = Failure::expired("too old resource version: simulated").status();
                let event = serde_json::json!({"type": "ERROR", "object": status});
                return Some(Ok(format!("{event}\n").into()));
            }
        }
        Some(Ok(line))
    }

    fn fate(&mut self) -> Fate {
        let mut shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
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
}
