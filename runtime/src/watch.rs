//! Watches: they keep the State equal to what the API server holds.
//!
//! kube's own `watcher` is not used because it needs each object's full `ObjectMeta`, fails a whole list
//! for one object that does not decode, and stays at a version that the server has answered with an
//! HTTP-level 410. This one decodes straight into the State's projections, object by object.

use std::sync::Arc;
use std::time::Duration;

use futures::{AsyncBufRead, AsyncBufReadExt};
use kube::Client;
use portolan_core::{Event, Watched};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};
use tracing::{debug, info, warn};

use crate::{Admin, Backoff, Problems, Store};

mod frame;
mod request;

use frame::{Frame, Listed};
pub use request::Selection;
use request::{KindLabel, ListPage};

/// How long the server keeps a watch open before it ends it itself.
const SERVER_TIMEOUT: Duration = Duration::from_secs(290);
/// Without a byte for this long (the server ends each watch, and sends bookmarks about once a minute),
/// the connection is dead even if TCP has not noticed.
const IDLE: Duration = Duration::from_secs(310);
/// How long a list or the opening of a watch may take to begin answering.
const OPENING: Duration = Duration::from_secs(30);

/// The watches of a process.
pub struct Watches {
    client: Client,
    store: Store,
    problems: Problems,
    metrics: Metrics,
    recovered: Recovered,
    tasks: JoinSet<()>,
}

/// Moves when a watch works again after a failure: the others need not wait out their pauses.
type Recovered = Arc<tokio::sync::watch::Sender<u64>>;

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
        Self { client, store, problems, metrics, recovered: Recovered::default(), tasks: JoinSet::new() }
    }

    /// Opens a watch on one kind; it ends when `self` is dropped.
    pub fn open<T: Watched>(&mut self, selection: Selection) {
        let watch = Watch::<T> {
            client: self.client.clone(),
            store: self.store.clone(),
            problems: self.problems.clone(),
            metrics: self.metrics.clone(),
            recovered: self.recovered.clone(),
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
    recovered: Recovered,
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
    /// The version is too old: list again.
    Expired,
    /// The server does not know streaming lists.
    NoStreamLists,
}

impl<T: Watched> Watch<T> {
    async fn run(mut self) {
        let mut backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(10));
        let mut failing_since = None;
        loop {
            let began = Instant::now();
            let outcome = self.step(&mut failing_since).await;
            // A watch that lasted has proved that the server works again.
            if began.elapsed() > Duration::from_secs(30) {
                backoff.reset();
            }
            match outcome {
                Ok(End::Closed) => backoff.reset(),
                Ok(End::Expired) => {
                    debug!(kind = %T::KIND, "watch expired, listing again");
                    self.version = None;
                    tokio::time::sleep(backoff.next_pause()).await;
                }
                Ok(End::NoStreamLists) => self.stream_lists = false,
                Err(error) => {
                    if failing_since.is_none() {
                        failing_since = Some(Instant::now());
                        warn!(kind = %T::KIND, %error, "cannot watch; serving what is known and trying again");
                    }
                    let mut recovered = self.recovered.subscribe();
                    tokio::select! {
                        () = tokio::time::sleep(backoff.next_pause()) => {}
                        _ = recovered.changed() => {}
                    }
                }
            }
            self.metrics.reopened.get_or_create(&KindLabel::of(T::KIND)).inc();
        }
    }

    async fn step(&mut self, failing_since: &mut Option<Instant>) -> Result<End, Error> {
        if self.version.is_none() && !self.stream_lists {
            self.list().await?;
        }
        let request = self.selection.watch(T::KIND, self.version.as_deref(), SERVER_TIMEOUT)?;
        let opened = timeout(OPENING, self.client.request_stream(request))
            .await
            .map_err(|_| Error::Silent(OPENING))?;
        let stream = match opened {
            Ok(stream) => stream,
            Err(kube::Error::Api(status)) if status.code == 410 => return Ok(End::Expired),
            // 1.33 has the feature off by default and answers 422; other servers may not know the parameter.
            Err(kube::Error::Api(status))
                if self.version.is_none() && matches!(status.code, 400 | 405 | 422) =>
            {
                return Ok(End::NoStreamLists);
            }
            Err(error) => return Err(error.into()),
        };
        if let Some(since) = failing_since.take() {
            self.recovered.send_modify(|times| *times += 1);
            info!(kind = %T::KIND, "watching again after {:.1} s", since.elapsed().as_secs_f64());
        }
        self.follow(stream).await
    }

    /// A list in pages, for servers without streaming lists.
    async fn list(&mut self) -> Result<(), Error> {
        self.metrics.lists.get_or_create(&KindLabel::of(T::KIND)).inc();
        self.store.apply::<T>([Event::ListBegins]);
        let mut next = None;
        loop {
            let request = self.selection.list(T::KIND, next.as_deref())?;
            let text = timeout(OPENING, self.client.request_text(request))
                .await
                .map_err(|_| Error::Silent(OPENING))?;
            // If the token of the next page has expired, the next try starts from the first page.
            let text = text?;
            let page: ListPage<'_, T> = serde_json::from_str(&text).map_err(Error::Decode)?;
            self.take(page.items.into_iter().filter_map(Listed::event));
            next = page.metadata.next;
            if next.is_none() {
                self.version = Some(page.metadata.resource_version);
                break;
            }
        }
        self.store.apply::<T>([Event::ListEnds]);
        Ok(())
    }

    async fn follow(&mut self, mut stream: impl AsyncBufRead + Unpin) -> Result<End, Error> {
        let mut listing = self.version.is_none();
        if listing {
            self.metrics.lists.get_or_create(&KindLabel::of(T::KIND)).inc();
            self.store.apply::<T>([Event::ListBegins]);
        }
        let mut line = Vec::new();
        loop {
            line.clear();
            let read =
                timeout(IDLE, stream.read_until(b'\n', &mut line)).await.map_err(|_| Error::Silent(IDLE))?;
            if read.map_err(Error::Read)? == 0 {
                return if listing { Err(Error::ListCut) } else { Ok(End::Closed) };
            }
            if line.last() != Some(&b'\n') {
                return Err(Error::Cut);
            }
            match Frame::<T>::decode(&line) {
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
                        self.store.apply::<T>([Event::ListEnds]);
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

    fn take(&self, events: impl IntoIterator<Item = Event<T>>) {
        let events: Vec<_> = events.into_iter().inspect(|event| self.problems.look(event)).collect();
        self.store.apply(events);
    }
}

/// Why a watch failed.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("{}", explain(.0))]
    Request(#[from] kube::Error),
    #[error("cannot build the request: {0}")]
    Build(#[from] http::Error),
    #[error("the API server said nothing for {} s", .0.as_secs())]
    Silent(Duration),
    #[error("the list does not decode: {0}")]
    Decode(serde_json::Error),
    #[error("the connection broke: {0}")]
    Read(std::io::Error),
    #[error("the connection ended in the middle of an event")]
    Cut,
    #[error("the connection ended in the middle of a list")]
    ListCut,
    #[error("the API server answered {code}: {message}")]
    Server { code: u16, message: String },
}

/// A request's failure in one line; kube's own text repeats the whole status.
pub fn explain(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) if status.code == 401 => {
            "the API server does not accept these credentials (401 Unauthorized)".to_owned()
        }
        kube::Error::Api(status) => format!("the API server answered {}: {}", status.code, status.message),
        other => {
            let mut source: &dyn std::error::Error = other;
            while let Some(next) = source.source() {
                source = next;
            }
            format!("cannot reach the API server: {source}")
        }
    }
}
