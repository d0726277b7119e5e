//! What a watch makes of a stream in protobuf, and how often it asks.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use futures::io::Cursor;
use http::{Request, Response};
use kube::client::Body;
use portolan_core::{EndpointSlice, Meta, ObjectName, Problem, Service};
use prometheus_client::encoding::text::encode;

use super::*;

const MILLISECOND: Duration = Duration::from_millis(1);

struct World {
    admin: Admin,
    watch: Watch<EndpointSlice>,
}

impl World {
    fn new() -> Self {
        let nobody = |_: Request<Body>| async { Ok::<_, kube::Error>(Response::new(Body::empty())) };
        let admin = Admin::new();
        let watch = Watch {
            client: Client::new(tower::service_fn(nobody), "default"),
            store: Store::new(),
            problems: Problems::new(&admin, None),
            metrics: Metrics::default(),
            selection: Selection::default(),
            stream_lists: true,
            version: None,
            kind: std::marker::PhantomData,
        };
        Self { admin, watch }
    }

    async fn follow(&mut self, stream: &[Vec<u8>]) -> Result<End, Error> {
        let stream = stream.concat();
        self.watch.follow(Events::new(Cursor::new(stream), portolan_core::Encoding::Protobuf)).await
    }

    /// The slices that are held, with their versions.
    fn held(&self) -> Vec<(String, u64)> {
        let state = self.watch.store.read();
        let name = |slice: &Arc<EndpointSlice>| (slice.meta.name.to_string(), slice.meta.resource_version);
        let mut held: Vec<_> = state.slices.iter().map(name).collect();
        held.sort();
        held
    }

    /// The answer to a write of this process.
    fn answered(&self, name: &str, version: u64) {
        let sent = self.watch.store.read().slices.moment();
        self.watch.store.apply([Event::Answered(slice(name, version), sent)]);
    }

    fn malformed(&self) -> bool {
        let mut text = String::new();
        self.admin.register(|registry| encode(&mut text, registry).unwrap());
        text.contains("portolan_malformed_objects{kind=\"EndpointSlice\"} 1")
    }
}

fn slice(name: &str, version: u64) -> EndpointSlice {
    let meta = Meta { resource_version: version, ..Meta::named(ObjectName::new("n", name)) };
    EndpointSlice { meta, ..EndpointSlice::default() }
}

fn message(fields: &[(u8, &[u8])]) -> Vec<u8> {
    let field = |(number, content): &(u8, &[u8])| {
        let length = u8::try_from(content.len()).unwrap();
        assert!(length < 0x80, "one byte tells the length");
        [&[number << 3 | 2, length], *content].concat()
    };
    fields.iter().flat_map(field).collect()
}

fn event(kind: &str, metadata: &[(u8, &[u8])]) -> Vec<u8> {
    let object = message(&[(1, &message(metadata))]);
    let document = [b"k8s\0", &*message(&[(2, &object)])].concat();
    let event = message(&[(1, kind.as_bytes()), (2, &message(&[(1, &document)]))]);
    [&u32::try_from(event.len()).unwrap().to_be_bytes(), &*event].concat()
}

fn of(kind: &str, name: &str, version: &str) -> Vec<u8> {
    event(kind, &[(1, name.as_bytes()), (3, b"n"), (6, version.as_bytes())])
}

fn list_ends(version: &str) -> Vec<u8> {
    let annotation = message(&[(1, b"k8s.io/initial-events-end"), (2, b"true")]);
    event("BOOKMARK", &[(6, version.as_bytes()), (12, &annotation)])
}

#[tokio::test]
async fn a_list_over_what_is_held_keeps_it() {
    let mut world = World::new();
    let list = [of("ADDED", "a", "3"), of("ADDED", "b", "4"), list_ends("5")];
    assert!(matches!(world.follow(&list).await, Ok(End::Closed)));
    assert_eq!(world.watch.version.as_deref(), Some("5"));
    world.watch.version = None;
    let list = [of("ADDED", "a", "3"), list_ends("9")];
    assert!(matches!(world.follow(&list).await, Ok(End::Closed)));
    assert_eq!(world.held(), [("a".to_owned(), 3)]);
}

#[tokio::test]
async fn the_echo_of_a_write_moves_the_version_and_nothing_else() {
    let mut world = World::new();
    world.follow(&[list_ends("5")]).await.ok().unwrap();
    world.answered("a", 7);
    let mut changes = world.watch.store.subscribe();
    world.follow(&[of("ADDED", "a", "6"), of("MODIFIED", "a", "7")]).await.ok().unwrap();
    assert_eq!(world.watch.version.as_deref(), Some("7"));
    assert!(changes.take().is_empty());
    world.follow(&[of("MODIFIED", "a", "8"), of("DELETED", "a", "9")]).await.ok().unwrap();
    assert_eq!((world.held(), world.watch.version.as_deref()), (vec![], Some("9")));
}

#[tokio::test]
async fn what_a_write_has_put_right_is_told_by_its_echo() {
    let mut world = World::new();
    world.follow(&[list_ends("5")]).await.ok().unwrap();
    let problems = vec![Problem::new("endpoints[0].addresses", "127.0.0.1 cannot be an endpoint")];
    world.watch.take([Event::Applied(EndpointSlice { problems, ..slice("a", 6) })]);
    assert!(world.malformed());
    world.answered("a", 7);
    assert!(world.malformed());
    world.follow(&[of("MODIFIED", "a", "7")]).await.ok().unwrap();
    assert!(!world.malformed());
}

#[tokio::test]
async fn what_was_malformed_and_vanishes_in_a_list_counts_no_more() {
    let mut world = World::new();
    world.follow(&[list_ends("5")]).await.ok().unwrap();
    let problems = vec![Problem::new("endpoints[0].addresses", "127.0.0.1 cannot be an endpoint")];
    world.watch.take([Event::Applied(EndpointSlice { problems, ..slice("a", 6) })]);
    world.watch.version = None;
    world.follow(&[of("ADDED", "b", "3")]).await.err().unwrap();
    assert!(world.malformed(), "the list broke off");
    world.follow(&[of("ADDED", "b", "3"), list_ends("9")]).await.ok().unwrap();
    assert!(!world.malformed());
}

/// When a watch asked, from its beginning on, of a server whose every answer takes a millisecond.
async fn asked(
    lasts: Duration,
    answer: impl Fn() -> Response<Body> + Send + Sync + 'static,
) -> Vec<Duration> {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let (began, journal) = (Instant::now(), asked.clone());
    let server = move |_: Request<Body>| {
        journal.lock().unwrap().push(began.elapsed());
        let answer = answer();
        async {
            tokio::time::sleep(MILLISECOND).await;
            Ok::<_, kube::Error>(answer)
        }
    };
    let mut world = World::new();
    world.watch.client = Client::new(tower::service_fn(server), "default");
    world.watch.version = Some("5".to_owned());
    assert!(timeout(lasts, world.watch.run()).await.is_err(), "a watch goes on for ever");
    asked.lock().unwrap().clone()
}

#[tokio::test(start_paused = true)]
async fn watches_that_end_at_once_are_opened_ever_less_often() {
    let asked = asked(Duration::from_secs(60), || Response::new(Body::empty())).await;
    assert!((6..=20).contains(&asked.len()), "{asked:?}");
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_ends_after_an_event_is_opened_at_once() {
    let answer = || {
        let response = Response::builder().header("content-type", "application/vnd.kubernetes.protobuf");
        response.body(Body::from(of("ADDED", "a", "6"))).unwrap()
    };
    assert_eq!(asked(MILLISECOND * 3, answer).await, [0, 1, 2].map(|pause| MILLISECOND * pause));
}

#[tokio::test(start_paused = true)]
async fn a_server_that_asks_for_a_pause_gets_it() {
    let busy = |pause: &'static str| {
        move || Response::builder().status(429).header("retry-after", pause).body(Body::empty()).unwrap()
    };
    let times = asked(Duration::from_secs(16), busy("5")).await;
    assert_eq!(times, [0, 1, 2, 3].map(|time| (Duration::from_secs(5) + MILLISECOND) * time));
    let times = asked(Duration::from_secs(61), busy("86400")).await;
    assert_eq!(times.len(), 2, "a minute is the longest: {times:?}");
}

#[tokio::test(start_paused = true)]
async fn a_pause_that_is_asked_for_does_not_shorten_ones_own() {
    let busy = || Response::builder().status(503).header("retry-after", "1").body(Body::empty()).unwrap();
    let asked = asked(Duration::from_secs(120), busy).await;
    assert!(asked.len() < 30, "{} times", asked.len());
}

#[tokio::test(start_paused = true)]
async fn watches_that_open_and_then_fail_do_not_wake_each_other_without_end() {
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = asked.clone();
    // A list that breaks off at once.
    let server = move |_: Request<Body>| {
        counted.fetch_add(1, Ordering::Relaxed);
        async {
            tokio::time::sleep(MILLISECOND).await;
            Ok::<_, kube::Error>(Response::new(Body::empty()))
        }
    };
    let admin = Admin::new();
    let client = Client::new(tower::service_fn(server), "default");
    let mut watches = Watches::new(client, Store::new(), Problems::new(&admin, None), &admin);
    watches.open::<EndpointSlice>(Selection::default());
    watches.open::<Service>(Selection::default());
    tokio::time::sleep(Duration::from_secs(60)).await;
    let asked = asked.load(Ordering::Relaxed);
    assert!((12..=80).contains(&asked), "{asked} times");
}

#[tokio::test(start_paused = true)]
async fn how_long_a_kind_could_not_be_watched_is_known() {
    let refuses = Arc::new(AtomicBool::new(true));
    let refused = refuses.clone();
    let server = move |_: Request<Body>| {
        let status = if refused.load(Ordering::Relaxed) { 503 } else { 200 };
        async move { Ok::<_, kube::Error>(Response::builder().status(status).body(Body::empty()).unwrap()) }
    };
    let mut world = World::new();
    world.watch.client = Client::new(tower::service_fn(server), "default");
    world.watch.version = Some("5".to_owned());
    let store = world.watch.store.clone();
    let kinds = [Kind::EndpointSlice, Kind::Service];
    assert_eq!(store.unwatched(&kinds), Duration::ZERO);
    let watch = tokio::spawn(world.watch.run());
    tokio::time::sleep(Duration::from_secs(20)).await;
    assert!((19..=20).contains(&store.unwatched(&kinds).as_secs()));
    assert_eq!(store.unwatched(&kinds[1..]), Duration::ZERO);
    refuses.store(false, Ordering::Relaxed);
    // Somebody else has found out; nobody waits for the end of a pause of ten seconds.
    store.server_answers();
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(store.unwatched(&kinds), Duration::ZERO);
    watch.abort();
}
