//! An API in memory and a runner, in namespaces of their own.

use std::fs;
use std::net::Ipv4Addr;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::time::Duration;

use http::Request;
use jiff::Timestamp;
use kube::Client;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, setns, unshare};
use portolan_api::{Api, Config};
use portolan_core::Event;
use portolan_pods::{Runner, Settings};
use portolan_runtime::Store;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

/// Runs a test on a thread with namespaces of its own.
pub(crate) fn alone(test: impl AsyncFnOnce() + Send + 'static) {
    let thread = std::thread::spawn(|| {
        unshare(CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS).expect("namespaces: run as root");
        mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>).unwrap();
        here(test());
    });
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}

/// Runs a future on this thread, in its namespaces.
pub(crate) fn here(test: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(test);
}

/// What a future finds in another network namespace.
pub(crate) fn inside<T: Send + 'static>(file: PathBuf, look: impl AsyncFnOnce() -> T + Send + 'static) -> T {
    let thread = std::thread::spawn(move || {
        setns(fs::File::open(file).unwrap(), CloneFlags::CLONE_NEWNET).unwrap();
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(look())
    });
    thread.join().unwrap()
}

/// An API in memory and a runner.
pub(crate) struct Stage {
    pub(crate) gateway: Ipv4Addr,
    folder: PathBuf,
    _temporary: Option<TempDir>,
    client: Client,
    store: Store,
    shutdown: CancellationToken,
    running: JoinHandle<()>,
}

impl Stage {
    pub(crate) async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let stage = Self::start_in(folder.path()).await;
        Self { _temporary: Some(folder), ..stage }
    }

    pub(crate) async fn start_in(folder: &Path) -> Self {
        let api = Api::new(&Config::default(), Timestamp::now);
        let client = Client::new(api.router(), "default");
        let store = Store::new();
        store.apply::<portolan_core::Service>([Event::ListBegins, Event::ListEnds]);
        let settings = Settings {
            run_folder: folder.to_owned(),
            node_name: "node".to_owned(),
            pod_cidr: "10.244.7.0/24".parse().unwrap(),
            dns: "10.96.0.10".parse().unwrap(),
            cluster_domain: "cluster.local".to_owned(),
            launcher: Settings::own_launcher(),
        };
        let runner = Runner::start(settings, client.clone(), store.clone()).await.unwrap();
        let (gateway, shutdown) = (runner.gateway(), CancellationToken::new());
        assert_eq!(gateway, Ipv4Addr::new(10, 244, 7, 1));
        let running = tokio::spawn(runner.run(shutdown.clone()));
        let folder = folder.to_owned();
        Self { gateway, folder, _temporary: None, client, store, shutdown, running }
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    pub(crate) fn service(&self, name: &str, address: &str, port: u16) {
        let service = json!({"metadata": {"namespace": "default", "name": name, "resourceVersion": "1", "uid": name},
            "spec": {"clusterIP": address, "clusterIPs": [address], "ports": [{"port": port}]}});
        self.store
            .apply::<portolan_core::Service>([Event::Applied(serde_json::from_value(service).unwrap())]);
    }

    pub(crate) async fn create(&self, name: &str, mut spec: Value) {
        spec["nodeName"] = "node".into();
        let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec});
        self.call("POST", "/api/v1/namespaces/default/pods", &pod).await.unwrap();
    }

    pub(crate) async fn config_map(&self, name: &str, data: Value) {
        let object =
            json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data});
        self.call("POST", "/api/v1/namespaces/default/configmaps", &object).await.unwrap();
    }

    pub(crate) async fn delete(&self, name: &str, grace: u32) {
        let options = json!({"apiVersion": "v1", "kind": "DeleteOptions", "gracePeriodSeconds": grace});
        self.call("DELETE", &format!("/api/v1/namespaces/default/pods/{name}"), &options).await.unwrap();
    }

    async fn call(&self, method: &str, path: &str, body: &Value) -> Result<Value, kube::Error> {
        let request = Request::builder().method(method).uri(path).header("content-type", "application/json");
        self.client.request(request.body(serde_json::to_vec(body).unwrap()).unwrap()).await
    }

    /// The pod as the API has it; none if it has no such pod.
    pub(crate) async fn pod(&self, name: &str) -> Option<Value> {
        let path = format!("/api/v1/namespaces/default/pods/{name}");
        match self.client.request(Request::get(path).body(Vec::new()).unwrap()).await {
            Ok(pod) => Some(pod),
            Err(kube::Error::Api(status)) if status.code == 404 => None,
            Err(error) => panic!("{error}"),
        }
    }

    pub(crate) async fn condition(&self, name: &str, kind: &str) -> String {
        let pod = self.pod(name).await.unwrap();
        let conditions = pod["status"]["conditions"].as_array().cloned().unwrap_or_default();
        let found = conditions.iter().find(|condition| condition["type"] == kind);
        found.map_or("none", |condition| condition["status"].as_str().unwrap()).to_owned()
    }

    pub(crate) async fn ready(&self, name: &str) -> Value {
        eventually(&format!("{name} ready"), async || {
            (self.condition(name, "Ready").await == "True").then_some(())
        })
        .await;
        self.pod(name).await.unwrap()
    }

    pub(crate) async fn unready(&self, name: &str) {
        eventually(&format!("{name} unready"), async || {
            (self.condition(name, "Ready").await == "False").then_some(())
        })
        .await;
    }

    /// Ends the runner, which must leave nothing but logs.
    pub(crate) async fn stop(self) {
        self.shutdown.cancel();
        timeout(Duration::from_secs(20), self.running).await.expect("the runner ends").unwrap();
        let left: Vec<_> =
            fs::read_dir(&self.folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert!(left.iter().all(|name| name == "logs" || name == "mark"), "{left:?}");
    }
}

/// Tries until something is there.
pub(crate) async fn eventually<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    for _ in 0..300 {
        if let Some(found) = look().await {
            return found;
        }
        sleep(Duration::from_millis(50)).await;
    }
    panic!("waited in vain for {what}");
}

/// The body of an answer over HTTP.
pub(crate) async fn get(address: Ipv4Addr, port: u16) -> Option<String> {
    let answer = async {
        let mut connection = tokio::net::TcpStream::connect((address, port)).await.ok()?;
        connection.write_all(b"GET / HTTP/1.0\r\n\r\n").await.ok()?;
        let mut answer = String::new();
        connection.read_to_string(&mut answer).await.ok()?;
        Some(answer.split_once("\r\n\r\n")?.1.to_owned())
    };
    timeout(Duration::from_secs(2), answer).await.ok().flatten()
}

/// Links beside the loopback, mounts of namespaces, and processes started by pods of this test.
pub(crate) fn left_over() -> Vec<String> {
    let links = fs::read_to_string("/proc/thread-self/net/dev").unwrap();
    let mut left: Vec<String> = links
        .lines()
        .skip(2)
        .filter_map(|line| line.split_once(':'))
        .map(|(name, _)| name.trim().to_owned())
        .filter(|name| name.starts_with("portolan") || name.starts_with("pup"))
        .collect();
    left.extend(mounts_and_processes().into_iter().filter(|one| !FOREIGN.contains(one)));
    left
}

/// What a `portolan up` that runs on this machine, or was killed on it, has before the first test.
pub(crate) static FOREIGN: LazyLock<Vec<String>> = LazyLock::new(mounts_and_processes);

fn mounts_and_processes() -> Vec<String> {
    let mounts = fs::read_to_string("/proc/thread-self/mounts").unwrap();
    let mounts = mounts.lines().filter(|line| line.contains("/netns/portolan-up-")).map(str::to_owned);
    mounts.chain(strange_children()).collect()
}

/// Processes in other network namespaces than this thread's and the machine's that came from this one.
fn strange_children() -> Vec<String> {
    let own = fs::metadata("/proc/thread-self/ns/net").unwrap().ino();
    let first = fs::metadata("/proc/self/ns/net").unwrap().ino();
    let id = std::process::id().to_string();
    let entries = fs::read_dir("/proc").unwrap().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.filter(|pid| {
        let space = fs::metadata(format!("/proc/{pid}/ns/net")).map(|space| space.ino());
        let ours = fs::read(format!("/proc/{pid}/environ"))
            .is_ok_and(|environ| environ.windows(9).any(|part| part == b"HOSTNAME="));
        let status = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let parent =
            status.rsplit_once(')').and_then(|(_, rest)| rest.split_whitespace().nth(1)).unwrap_or("");
        // Orphans come to process 1.
        space.is_ok_and(|space| space != own && space != first) && ours && (parent == id || parent == "1")
    })
    .map(|pid| format!("process {pid}"))
    .collect()
}
