//! Watches: they keep the State equal to what the API server holds.
//!
//! kube's own `watcher` is not used because it needs each object's full `ObjectMeta`, fails a whole list
//! for one object that does not decode, and stays at a version that the server has answered with an
//! HTTP-level 410. This one decodes straight into the State's projections, object by object, from protobuf
//! where the server offers it.

use std::time::Duration;

use futures::{AsyncBufRead, TryStreamExt};
use http_body_util::BodyExt;
use kube::Client;
use portolan_core::{Event, Kind, List, Watched};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};
use tracing::{debug, info, warn};

use crate::answer::{self, Answer};
use crate::{Admin, Backoff, Problems, Store};

mod failure;
mod frame;
mod request;
mod stream;

use failure::Error;
pub use failure::explain;
use frame::{Frame, listed};
use request::KindLabel;
pub use request::Selection;
use stream::Events;

/// How long the server keeps a watch open before it ends it itself.
const SERVER_TIMEOUT: Duration = Duration::from_secs(290);
/// Without a byte for this long (the server ends each watch, and sends bookmarks about once a minute),
/// the connection is dead even if TCP has not noticed.
const IDLE: Duration = Duration::from_secs(310);
/// How long a list or the opening of a watch may take to begin answering.
const OPENING: Duration = Duration::from_secs(30);
/// A watch that ends earlier without an event has failed, in good order or not; as client-go takes it.
const VERY_SHORT: Duration = Duration::from_secs(1);

/// The watches of a process.
pub struct Watches {
    client: Client,
    store: Store,
    problems: Problems,
    metrics: Metrics,
    tasks: JoinSet<()>,
}

#[derive(Clone, Default)]
struct Metrics {
    lists: Family<KindLabel, Counter>,
    reopened: Family<KindLabel, Counter>,
}

impl Watches {
    /// Watches that feed `store`; none is open yet.
    pub fn new(client: Client, store: Store, problems: Problems, admin: &Admin) -> Self {
        let metrics = Metrics::default();
        admin.register(|registry| {
            registry.register("portolan_watch_lists", "Full lists taken", metrics.lists.clone());
            registry.register("portolan_watch_reopened", "Watches opened again", metrics.reopened.clone());
        });
        Self { client, store, problems, metrics, tasks: JoinSet::new() }
    }

    /// Further watches on the same State, which end when these are dropped.
    #[must_use]
    pub fn apart(&self) -> Self {
        Self {
            client: self.client.clone(),
            store: self.store.clone(),
            problems: self.problems.clone(),
            metrics: self.metrics.clone(),
            tasks: JoinSet::new(),
        }
    }

    /// Opens a watch on one kind; it ends when `self` is dropped.
    pub fn open<T: Watched>(&mut self, selection: Selection) {
        let watch = Watch::<T> {
            client: self.client.clone(),
            store: self.store.clone(),
            problems: self.problems.clone(),
            metrics: self.metrics.clone(),
            selection,
            stream_lists: true,
            version: None,
            kind: std::marker::PhantomData,
        };
        self.tasks.spawn(watch.run());
    }
}

struct Watch<T> {
    client: Client,
    store: Store,
    problems: Problems,
    metrics: Metrics,
    selection: Selection,
    /// Whether the server may know streaming lists (KEP-3157); off once it refused one.
    stream_lists: bool,
    /// Where the next watch starts; `None` = a list is due.
    version: Option<String>,
    kind: std::marker::PhantomData<fn() -> T>,
}

/// Why a watch ended.
enum End {
    /// The server ended it in good order; go on from the same version.
    Closed,
    /// The same, before any event.
    Silent,
    /// The version is too old: list again.
    Expired,
    /// The server does not know streaming lists.
    NoStreamLists,
}

impl<T: Watched> Watch<T> {
    async fn run(mut self) {
        let mut backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(10));
        // Since the last pause that was waited out: watches that open and then fail would else wake each other without end.
        let mut woken = false;
        loop {
            let began = Instant::now();
            let outcome = self.step().await;
            // A watch that lasted has proved that the server works again.
            if began.elapsed() > Duration::from_secs(30) {
                backoff.reset();
                woken = false;
            }
            match outcome {
                Ok(End::Silent) if began.elapsed() < VERY_SHORT => {
                    debug!(kind = %T::KIND, "watch ended at once, without an event");
                    tokio::time::sleep(backoff.next_pause()).await;
                }
                Ok(End::Closed | End::Silent) => backoff.reset(),
                Ok(End::Expired) => {
                    debug!(kind = %T::KIND, "watch expired, listing again");
                    self.version = None;
                    tokio::time::sleep(backoff.next_pause()).await;
                }
                Ok(End::NoStreamLists) => self.stream_lists = false,
                Err(error) => {
                    if self.store.watch_fails(T::KIND) {
                        warn!(kind = %T::KIND, %error, "cannot watch; serving what is known and trying again");
                    }
                    let mut answers = self.store.answers();
                    // What the server asks for is waited out, whatever else works again.
                    let asked = error.retry_after();
                    tokio::time::sleep(asked).await;
                    tokio::select! {
                        () = tokio::time::sleep(backoff.next_pause().saturating_sub(asked)) => woken = false,
                        _ = answers.changed(), if !woken => woken = true,
                    }
                }
            }
            self.metrics.reopened.get_or_create(&KindLabel::of(T::KIND)).inc();
        }
    }

    async fn step(&mut self) -> Result<End, Error> {
        if self.version.is_none() && !self.stream_lists {
            self.list().await?;
        }
        let request = self.selection.watch(T::KIND, self.version.as_deref(), SERVER_TIMEOUT)?;
        let opened =
            timeout(OPENING, answer::ask(&self.client, request)).await.map_err(|_| Error::Silent(OPENING))?;
        let response = match opened {
            Ok(response) => response,
            Err(kube::Error::Api(status)) if status.code == 410 => return Ok(End::Expired),
            // 1.33 has the feature off by default and answers 422; other servers may not know the parameter.
            Err(kube::Error::Api(status))
                if self.version.is_none() && matches!(status.code, 400 | 405 | 422) =>
            {
                return Ok(End::NoStreamLists);
            }
            Err(kube::Error::Api(status)) if status.code == 404 && T::KIND.custom() => {
                return Err(Error::NotServed(definition(T::KIND)));
            }
            Err(error) => return Err(error.into()),
        };
        if let Some(failed) = self.store.watch_works(T::KIND) {
            self.store.server_answers();
            info!(kind = %T::KIND, "watching again after {:.1} s", failed.as_secs_f64());
        }
        let encoding = answer::encoding(response.headers());
        let body = response.into_body().into_data_stream().map_err(std::io::Error::other);
        self.follow(Events::new(body.into_async_read(), encoding)).await
    }

    /// A list in pages, for servers without streaming lists.
    async fn list(&mut self) -> Result<(), Error> {
        self.metrics.lists.get_or_create(&KindLabel::of(T::KIND)).inc();
        self.store.apply::<T>([Event::ListBegins]);
        let mut next = None;
        loop {
            let request = self.selection.list(T::KIND, next.as_deref())?;
            let answer = async { Answer::read(answer::ask(&self.client, request).await?).await };
            let answer = timeout(OPENING, answer).await.map_err(|_| Error::Silent(OPENING))?;
            // If the token of the next page has expired, the next try starts from the first page.
            let (encoding, list) = answer?.content().map_err(Error::Decode)?;
            let page = List::read(encoding, &list).map_err(Error::Decode)?;
            self.take(page.items.iter().filter_map(|item| listed(encoding, item)));
            next = page.next;
            if next.is_none() {
                self.list_ends(&page.resource_version);
                self.version = Some(page.resource_version);
                return Ok(());
            }
        }
    }

    async fn follow<R: AsyncBufRead + Unpin>(&mut self, mut events: Events<R>) -> Result<End, Error> {
        let mut listing = self.version.is_none();
        if listing {
            self.metrics.lists.get_or_create(&KindLabel::of(T::KIND)).inc();
            self.store.apply::<T>([Event::ListBegins]);
        }
        let mut end = End::Silent;
        loop {
            let next = timeout(IDLE, events.next()).await.map_err(|_| Error::Silent(IDLE))?;
            let Some(event) = next? else {
                return if listing { Err(Error::ListCut) } else { Ok(end) };
            };
            end = End::Closed;
            // Each object of a list has to be taken in, for it stays only if the list names it.
            let held =
                |namespace: &str, name: &str| T::table(&self.store.read()).find(namespace, name).cloned();
            let held = (!listing).then_some(held);
            match Frame::<T>::decode(events.encoding, &event, held) {
                Frame::Held { object, version } => {
                    self.problems.look_at(&*object);
                    self.version = Some(version.to_string());
                }
                Frame::Event { event, version } => {
                    // During a streaming list the versions of single objects are in no order, and
                    // the list must be begun anew if it breaks off.
                    if !listing && version != 0 {
                        self.version = Some(version.to_string());
                    }
                    self.take([event]);
                }
                Frame::Bookmark { version, list_ends } => {
                    if list_ends {
                        listing = false;
                        self.list_ends(&version);
                    } else if !listing {
                        self.store.apply::<T>([reached(&version)]);
                    }
                    if !listing {
                        self.version = Some(version);
                    }
                }
                Frame::Error { code: 410, .. } => return Ok(End::Expired),
                Frame::Error { code, message } => return Err(Error::Server { code, message }),
                Frame::Malformed { name, error } => {
                    self.problems.undecodable(T::KIND, &name, &error);
                }
            }
        }
    }

    fn list_ends(&self, version: &str) {
        self.store.apply::<T>([Event::ListEnds, reached(version)]);
        self.problems.listed(T::table(&self.store.read()));
    }

    fn take(&self, events: impl IntoIterator<Item = Event<T>>) {
        let events: Vec<_> = events.into_iter().inspect(|event| self.problems.look(event)).collect();
        self.store.apply(events);
    }
}

/// What a list's or a bookmark's version says.
fn reached<T>(version: &str) -> Event<T> {
    Event::Reached(version.parse().unwrap_or(0))
}

/// Name of the CustomResourceDefinition of a kind that has one.
pub(crate) fn definition(kind: Kind) -> String {
    let group = kind.api_version().split('/').next().unwrap_or_default();
    format!("{}.{group}", kind.plural())
}

#[cfg(test)]
mod tests;
