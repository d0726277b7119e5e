//! Elections before an API server of one Lease.

use std::io;
use std::sync::{Arc, Mutex, OnceLock};

use http::{Method, Request, Response};
use http_body_util::BodyExt;
use kube::client::Body;
use prometheus_client::encoding::text::encode;
use serde_json::json;
use tracing::Dispatch;
use tracing::subscriber::{DefaultGuard, NoSubscriber};
use tracing_subscriber::fmt::MakeWriter;

use super::*;

/// An API server that holds at most one Lease, and says no if it is told to.
#[derive(Clone, Default)]
struct Server(Arc<Mutex<Held>>);

#[derive(Default)]
struct Held {
    version: u64,
    spec: Option<Value>,
    refusal: Option<u16>,
    /// How long a write is on its way, whether or not somebody still waits for the answer.
    delay: Duration,
    /// How often somebody else changes the Lease's metadata right before a write of ours.
    touches: u32,
}

impl Server {
    fn answer(&self, method: &Method, body: &[u8]) -> (u16, Value) {
        let mut held = self.0.lock().unwrap();
        if let Some(code) = held.refusal {
            return (code, json!({"code": code, "message": "leases are forbidden", "reason": ""}));
        }
        if *method != Method::GET {
            let sent: Value = serde_json::from_slice(body).unwrap();
            if held.touches > 0 {
                held.touches -= 1;
                held.version += 1;
            }
            let current = held.spec.as_ref().map_or(Value::Null, |_| json!(held.version.to_string()));
            if sent["metadata"]["resourceVersion"] != current {
                return (409, json!({"code": 409, "message": "the lease has been modified", "reason": ""}));
            }
            held.version += 1;
            held.spec = Some(sent["spec"].clone());
        }
        match &held.spec {
            Some(spec) => {
                (200, json!({"metadata": {"resourceVersion": held.version.to_string()}, "spec": spec}))
            }
            None => (404, json!({"code": 404, "message": "leases \"l\" not found", "reason": ""})),
        }
    }

    fn client(&self) -> Client {
        let server = self.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let server = server.clone();
            async move {
                let (head, body) = request.into_parts();
                let body = body.collect().await?.to_bytes();
                let delay = server.0.lock().unwrap().delay;
                let arrives = tokio::spawn(async move {
                    if head.method != Method::GET {
                        sleep(delay).await;
                    }
                    server.answer(&head.method, &body)
                });
                let (status, answer) = arrives.await.unwrap();
                let body = Body::from(answer.to_string().into_bytes());
                Ok::<_, kube::Error>(Response::builder().status(status).body(body).unwrap())
            }
        });
        Client::new(service, "default")
    }

    fn refuse(&self, refusal: Option<u16>) {
        self.0.lock().unwrap().refusal = refusal;
    }

    fn election(&self) -> Election {
        Election {
            client: self.client(),
            namespace: "n".to_owned(),
            name: "l".to_owned(),
            identity: "me".to_owned(),
            times: LeaseTimes::default(),
        }
    }
}

/// What is logged at INFO and above, while the guard lives.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn new() -> (Self, DefaultGuard) {
        // Who comes first to a line that logs decides for all threads whether anybody listens, if tracing knows but one subscriber.
        static ANOTHER: OnceLock<Dispatch> = OnceLock::new();
        ANOTHER.get_or_init(|| Dispatch::new(NoSubscriber::default()));
        let log = Self::default();
        let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(log.clone()).finish();
        (log, tracing::subscriber::set_default(subscriber))
    }

    /// Takes the lines that there are.
    fn lines(&self) -> Vec<String> {
        let text = String::from_utf8(std::mem::take(&mut *self.0.lock().unwrap())).unwrap();
        text.lines().map(str::to_owned).collect()
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn master_status(admin: &Admin) -> String {
    let mut text = String::new();
    admin.register(|registry| encode(&mut text, registry).unwrap());
    let figure =
        text.lines().find_map(|line| line.strip_prefix("leader_election_master_status{name=\"l\"} "));
    figure.unwrap().to_owned()
}

async fn seconds(seconds: u64) {
    sleep(Duration::from_secs(seconds)).await;
}

fn assert_told(lines: &[String], want: &[[&str; 3]]) {
    let told = |(line, words): (&String, &[&str; 3])| words.iter().all(|word| line.contains(word));
    assert!(lines.len() == want.len() && lines.iter().zip(want).all(told), "{lines:#?}");
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_cannot_be_used_is_told_once() {
    let (server, (log, _guard)) = (Server::default(), Log::new());
    server.refuse(Some(403));
    let shutdown = CancellationToken::new();
    let (leadership, _) = server.election().run(&Admin::new(), shutdown.clone());
    seconds(60).await;
    assert_told(&log.lines(), &[["WARN", "cannot take or renew", "403: leases are forbidden"]]);
    server.refuse(None);
    seconds(5).await;
    assert!(leadership.may_write());
    assert_told(&log.lines(), &[["INFO", "leading", "me"], ["INFO", "works again after", " s"]]);
}

#[tokio::test(start_paused = true)]
async fn whoever_loses_the_lead_tells_why_and_shows_it() {
    let (server, admin, (log, _guard)) = (Server::default(), Admin::new(), Log::new());
    let (leadership, _) = server.election().run(&admin, CancellationToken::new());
    assert_eq!(master_status(&admin), "0");
    seconds(1).await;
    assert_eq!(master_status(&admin), "1");
    server.refuse(Some(500));
    seconds(12).await;
    assert!(!leadership.may_write());
    assert_eq!(master_status(&admin), "0");
    let lost = ["WARN", "lost the lead", "500: leases are forbidden"];
    assert_told(&log.lines(), &[["leading", "", ""], ["WARN", "cannot", "500"], lost]);

    server.refuse(None);
    seconds(5).await;
    assert_eq!(master_status(&admin), "1");
    log.lines();
    {
        let mut held = server.0.lock().unwrap();
        held.version += 1;
        held.spec = Some(json!({"holderIdentity": "other", "leaseDurationSeconds": 15}));
    }
    seconds(3).await;
    assert_eq!(master_status(&admin), "0");
    assert_told(&log.lines(), &[["WARN", "lost the lead", "other holds it"]]);
}

#[tokio::test(start_paused = true)]
async fn a_lease_is_released_over_a_renewal_that_is_still_on_its_way() {
    let server = Server::default();
    server.0.lock().unwrap().delay = Duration::from_millis(100);
    let shutdown = CancellationToken::new();
    let (_, ended) = server.election().run(&Admin::new(), shutdown.clone());
    // Leads since 0.1 s; the renewal of 2.1 s arrives at 2.2 s.
    sleep(Duration::from_millis(2150)).await;
    shutdown.cancel();
    ended.await.unwrap();
    let held = server.0.lock().unwrap();
    assert_eq!(held.version, 3, "taken, renewed, released");
    assert_eq!(held.spec.as_ref().unwrap()["holderIdentity"], "");
}

#[tokio::test(start_paused = true)]
async fn a_conflict_ends_the_lead_only_if_another_holds_the_lease() {
    let (server, (log, _guard)) = (Server::default(), Log::new());
    let (leadership, _) = server.election().run(&Admin::new(), CancellationToken::new());
    seconds(1).await;
    assert_told(&log.lines(), &[["INFO", "leading", "me"]]);
    // The renewal of 2 s meets a version that has moved, and is tried again at once.
    server.0.lock().unwrap().touches = 1;
    let before = server.0.lock().unwrap().spec.clone();
    seconds(2).await;
    assert!(leadership.may_write());
    assert_ne!(server.0.lock().unwrap().spec, before, "renewed");
    assert_eq!(log.lines(), [""; 0]);
}
