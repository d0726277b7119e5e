//! A server under rotation, with an API server that does compare-and-swap.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Mutex;
use std::time::Duration;

use http::{Method, Request, Response};
use kube::client::Body;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::super::admission::Verdict;
use super::super::{Webhooks, serve};
use super::*;

const NAME: &str = "portolan-webhook.ns.svc";
const SECRET: &str = "/api/v1/namespaces/ns/secrets/portolan-webhook";
const CONFIGURATION: &str = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/c";

/// Objects by path.
#[derive(Clone, Default)]
struct Api(Arc<Mutex<(u64, BTreeMap<String, Value>)>>);

impl Api {
    fn get(&self, path: &str) -> Value {
        self.0.lock().unwrap().1.get(path).cloned().unwrap_or_default()
    }

    fn put(&self, path: &str, mut object: Value) -> Value {
        let mut held = self.0.lock().unwrap();
        held.0 += 1;
        object["metadata"]["resourceVersion"] = json!(held.0.to_string());
        held.1.insert(path.to_owned(), object.clone());
        object
    }

    fn handle(&self, method: &Method, path: &str, body: &[u8]) -> (u16, Value) {
        let found = self.get(path);
        let refused = |code: u16| {
            (
                code,
                json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": "", "reason": if code == 404 { "NotFound" } else { "" }, "code": code}),
            )
        };
        let body: Value = serde_json::from_slice(body).unwrap_or_default();
        match *method {
            Method::GET if found.is_null() => refused(404),
            Method::GET => (200, found),
            Method::POST => {
                let path = format!("{path}/{}", body["metadata"]["name"].as_str().unwrap());
                if self.get(&path).is_null() { (201, self.put(&path, body)) } else { refused(409) }
            }
            Method::PUT if body["metadata"]["resourceVersion"] != found["metadata"]["resourceVersion"] => {
                refused(409)
            }
            Method::PUT => (200, self.put(path, body)),
            _ => {
                let mut object = found;
                let patch: json_patch::Patch = serde_json::from_value(body).unwrap();
                match json_patch::patch(&mut object, &patch) {
                    Ok(()) => (200, self.put(path, object)),
                    Err(_) => refused(422),
                }
            }
        }
    }

    fn client(&self) -> Client {
        let api = self.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let api = api.clone();
            async move {
                let (head, body) = request.into_parts();
                let body = body.collect_bytes().await?;
                let (status, body) = api.handle(&head.method, head.uri.path(), &body);
                let response =
                    Response::builder().status(status).body(Body::from(body.to_string().into_bytes()));
                Ok::<_, kube::Error>(response.unwrap())
            }
        });
        Client::new(service, "ns")
    }

    fn trusted(&self) -> Option<RootCertStore> {
        let bundle = self.get(CONFIGURATION)["webhooks"][0]["clientConfig"]["caBundle"].clone();
        let pem: ByteString = serde_json::from_value(bundle).ok()?;
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(CertificateDer::pem_slice_iter(&pem.0).map(Result::unwrap));
        Some(roots).filter(|roots| !roots.is_empty())
    }
}

fn identity(api: &Api, times: Times, leads: bool) -> Identity {
    let leadership = if leads { Leadership::always() } else { never() };
    Identity {
        client: api.client(),
        namespace: "ns".to_owned(),
        secret: "portolan-webhook".to_owned(),
        keeper: Keeper::Portolan,
        name: NAME.to_owned(),
        configurations: vec!["c".to_owned()],
        leadership,
        times,
    }
}

/// A candidate whose Lease the API server never gives.
fn never() -> Leadership {
    let election = portolan_runtime::Election {
        client: Client::new(
            tower::service_fn(|_: Request<Body>| {
                std::future::pending::<Result<Response<Body>, kube::Error>>()
            }),
            "ns",
        ),
        namespace: "ns".to_owned(),
        name: "l".to_owned(),
        identity: "me".to_owned(),
        times: portolan_runtime::LeaseTimes::default(),
    };
    election.run(&Admin::new(), CancellationToken::new()).0
}

async fn start(api: &Api, times: Times, leads: bool, shutdown: &CancellationToken) -> SocketAddr {
    let admin = Admin::new();
    let (served, _) = identity(api, times, leads).run(&admin, shutdown.clone());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let webhooks = Webhooks::new(&admin).on("/x", |_| async { Verdict::default() });
    tokio::spawn(serve(listener, webhooks, served, shutdown.clone()));
    address
}

/// A connection, by whom the API server trusts at this moment.
async fn connect(api: &Api, address: SocketAddr) -> Result<TlsStream<TcpStream>, String> {
    let roots = api.trusted().ok_or("nobody is trusted yet")?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let connector = TlsConnector::from(Arc::new(config.with_root_certificates(roots).with_no_client_auth()));
    let stream = TcpStream::connect(address).await.map_err(|error| error.to_string())?;
    let connected = connector.connect(ServerName::try_from(NAME).unwrap(), stream).await;
    connected.map_err(|error| error.to_string())
}

async fn send(stream: &mut TlsStream<TcpStream>, connection: &str) -> Result<(), String> {
    let body = r#"{"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": {"uid": "u"}}"#;
    let request = format!(
        "POST /x HTTP/1.1\r\nhost: {NAME}\r\ncontent-type: application/json\r\nconnection: {connection}\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).await.map_err(|error| error.to_string())
}

/// One review over a connection of its own.
async fn ask(api: &Api, address: SocketAddr) -> Result<(), String> {
    let mut stream = connect(api, address).await?;
    send(&mut stream, "close").await?;
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    let answer = String::from_utf8_lossy(&answer);
    if answer.starts_with("HTTP/1.1 200") { Ok(()) } else { Err(answer.into_owned()) }
}

fn world() -> Api {
    let api = Api::default();
    api.put(
        CONFIGURATION,
        json!({"metadata": {"name": "c"}, "webhooks": [{"name": "w", "clientConfig": {}}]}),
    );
    api
}

async fn until_answered(api: &Api, address: SocketAddr) {
    let answered = async {
        while ask(api, address).await.is_err() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), answered).await.expect("answers by and by");
}

/// Who connects when a replica has just started waits for its certificate.
#[tokio::test]
async fn a_start_is_waited_for() {
    let (api, shutdown) = (world(), CancellationToken::new());
    let address = start(&api, Times::default(), true, &shutdown).await;
    until_answered(&api, address).await;
    let (kept, _) = identity(&api, Times::default(), false).run(&Admin::new(), shutdown.clone());
    kept.there().await;

    let late = Arc::new(Served::default());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let webhooks = Webhooks::new(&Admin::new()).on("/x", |_| async { Verdict::default() });
    tokio::spawn(serve(listener, webhooks, late.clone(), shutdown.clone()));
    let set = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        late.set(kept.get().unwrap());
    };
    let (answer, ()) = tokio::join!(ask(&api, address), set);
    assert_eq!(answer, Ok(()));
    shutdown.cancel();
}

/// An API server keeps its connections; one to a replica that ends is left after an answer, and not in the midst of a request.
#[tokio::test]
async fn whoever_asks_a_replica_that_ends_is_answered_and_connects_anew() {
    let (api, ending) = (world(), CancellationToken::new());
    let address = start(&api, Times::default(), true, &ending).await;
    until_answered(&api, address).await;
    let mut kept = connect(&api, address).await.unwrap();
    send(&mut kept, "keep-alive").await.unwrap();
    let mut answer = [0; 1024];
    let read = kept.read(&mut answer).await.unwrap();
    let head = String::from_utf8_lossy(&answer[..read]).to_ascii_lowercase();
    assert!(head.starts_with("http/1.1 200") && !head.contains("connection: close"), "{head}");

    ending.cancel();
    send(&mut kept, "keep-alive").await.unwrap();
    let mut rest = Vec::new();
    kept.read_to_end(&mut rest).await.unwrap();
    let rest = String::from_utf8_lossy(&rest).to_ascii_lowercase();
    assert!(rest.contains("http/1.1 200") && rest.contains("connection: close"), "{rest}");
    // Who has not been told yet is answered as well.
    assert_eq!(ask(&api, address).await, Ok(()));
}

/// Always too old: one rotation follows the other.
fn restless() -> Times {
    Times {
        lifetime: Duration::from_secs(3600),
        renew_before: Duration::from_secs(7200),
        overlap: Duration::from_secs(1),
        look: Duration::from_millis(50),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_fails_while_certificates_are_rotated() {
    let (api, shutdown) = (world(), CancellationToken::new());
    let leader = start(&api, restless(), true, &shutdown).await;
    let follower = start(&api, restless(), false, &shutdown).await;
    until_answered(&api, leader).await;
    until_answered(&api, follower).await;
    let mut shown = std::collections::BTreeSet::new();
    let mut asked = 0;
    let enough = tokio::time::Instant::now() + Duration::from_secs(30);
    while shown.len() < 4 && tokio::time::Instant::now() < enough {
        for address in [leader, follower] {
            assert_eq!(
                ask(&api, address).await,
                Ok(()),
                "after {asked} requests, {} certificates",
                shown.len()
            );
            asked += 1;
        }
        shown.insert(api.get(SECRET)["data"][keys::CERTIFICATE].to_string());
    }
    shutdown.cancel();
    assert!(shown.len() >= 4, "only {} certificates in 30 s", shown.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage_in_the_secret_is_repaired() {
    let (api, shutdown) = (world(), CancellationToken::new());
    let garbage = json!({"metadata": {"name": "portolan-webhook", "labels": {"kept": "yes"}}, "type": "Opaque",
        "data": {"tls.crt": "Z2FyYmFnZQ==", "other": "a2VwdA=="}});
    api.put(SECRET, garbage);
    let times = Times { look: Duration::from_millis(50), ..Times::default() };
    let address = start(&api, times, true, &shutdown).await;
    until_answered(&api, address).await;
    let secret = api.get(SECRET);
    assert_eq!(
        (&secret["metadata"]["labels"], &secret["data"]["other"]),
        (&json!({"kept": "yes"}), &json!("a2VwdA=="))
    );
    shutdown.cancel();
}

/// A replica of a wrong clock does not take a healthy one's certificate away.
#[tokio::test]
async fn what_a_clock_refuses_the_leader_alone_replaces() {
    let look = async |api: &Api, leads| {
        let keeping = Keeping { served: Arc::default(), not_after: Gauge::default() };
        let looked = identity(api, Times::default(), leads).look(&keeping).await;
        (looked, keeping.served.get().is_some())
    };
    let day = Duration::from_secs(86_400);
    for made in [Timestamp::now() + day, Timestamp::now() - day * 91] {
        let api = world();
        let Issued { authority, certificate, key } = issue(NAME, made, Times::default().lifetime).unwrap();
        let values = [(keys::AUTHORITIES, authority), (keys::CERTIFICATE, certificate), (keys::KEY, key)];
        let data: BTreeMap<_, _> = values.map(|(key, value)| (key, ByteString(value.into_bytes()))).into();
        let refused = api.put(SECRET, json!({"metadata": {"name": "portolan-webhook"}, "data": data}));
        let (looked, served) = look(&api, false).await;
        assert!(looked.as_ref().is_err_and(|reason| reason.contains("leader")), "{looked:?}");
        assert!(served, "it is better than none");
        assert_eq!(api.get(SECRET), refused);
        assert_eq!(look(&api, true).await.0, Ok(false));
        assert_ne!(api.get(SECRET), refused);
        assert_eq!(look(&api, false).await.0, Ok(true));
    }
    // What nobody can read, whoever comes first makes.
    let api = world();
    assert_eq!(look(&api, false).await.0, Ok(false));
    assert_eq!(look(&api, false).await, (Ok(true), true));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_that_start_together_agree_on_one_secret() {
    let (api, shutdown) = (world(), CancellationToken::new());
    let times = Times { look: Duration::from_millis(50), ..Times::default() };
    let mut addresses = Vec::new();
    for number in 0..4 {
        addresses.push(start(&api, times, number == 0, &shutdown).await);
    }
    for address in &addresses {
        until_answered(&api, *address).await;
    }
    let before = api.get(SECRET);
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(api.get(SECRET), before, "nothing is written any more");
    for address in addresses {
        assert_eq!(ask(&api, address).await, Ok(()));
    }
    shutdown.cancel();
}
