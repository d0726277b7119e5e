//! A machine in a network namespace, with the proxy on it.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use portolan_core::{EndpointSlice, Event, Node, ObjectName, Service};
use portolan_netfilter::Socket;
use portolan_proxy::sysctl::Conntrack;
use portolan_proxy::{Context, Proxy, Settings};
use portolan_runtime::{Admin, Store};
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;

/// Runs a test on a thread in a fresh network namespace; threads that it starts are in it too.
pub(crate) fn in_namespace(test: impl FnOnce() + Send + 'static) {
    let run = move || {
        nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET)
            .expect("root is needed for a network namespace");
        for command in [
            "ip link set lo up",
            "ip address add 10.1.0.1/32 dev lo",
            "ip address add 10.1.0.2/32 dev lo",
            "ip address add 192.0.2.1/32 dev lo",
            "ip route add 10.0.0.0/24 dev lo",
            "ip address add fd00:1::1/128 dev lo nodad",
            "ip address add fd00:1::2/128 dev lo nodad",
            "ip address add 2001:db8::1/128 dev lo nodad",
            "ip route add fd00:10::/64 dev lo",
        ] {
            let mut words = command.split(' ');
            assert!(Command::new(words.next().unwrap()).args(words).status().unwrap().success(), "{command}");
        }
        for endpoint in ["10.1.0.1", "10.1.0.2", "fd00:1::1", "fd00:1::2"] {
            serve(endpoint);
        }
        test();
    };
    if let Err(panic) = thread::spawn(run).join() {
        std::panic::resume_unwind(panic);
    }
}

/// Tells its address to whoever asks, over TCP and UDP.
fn serve(endpoint: &'static str) {
    let tcp = TcpListener::bind((endpoint, 8080)).unwrap();
    thread::spawn(move || {
        for mut stream in tcp.incoming().flatten() {
            let _ = stream.write_all(endpoint.as_bytes());
        }
    });
    let udp = UdpSocket::bind((endpoint, 8080)).unwrap();
    thread::spawn(move || {
        let mut buffer = [0; 16];
        while let Ok((_, client)) = udp.recv_from(&mut buffer) {
            let _ = udp.send_to(endpoint.as_bytes(), client);
        }
    });
}

pub(crate) fn eventually(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !condition() {
        assert!(Instant::now() < deadline, "never: {what}");
        thread::sleep(Duration::from_millis(20));
    }
}

/// A client that keeps its socket.
pub(crate) struct UdpClient(UdpSocket);

pub(crate) fn udp_client(to: &str) -> UdpClient {
    let to: SocketAddr = to.parse().unwrap();
    let from = if to.is_ipv4() { "192.0.2.1:0" } else { "[2001:db8::1]:0" };
    let socket = UdpSocket::bind(from).unwrap();
    socket.connect(to).unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    UdpClient(socket)
}

impl UdpClient {
    /// Who answers.
    pub(crate) fn ask(&self) -> Option<String> {
        self.0.send(b"?").ok()?;
        let mut buffer = [0; 64];
        let length = self.0.recv(&mut buffer).ok()?;
        Some(String::from_utf8_lossy(&buffer[..length]).into_owned())
    }
}

/// Port of the admin server.
const ADMIN_PORT: u16 = 9999;

pub(crate) struct Fixture {
    pub(crate) settings: Settings,
    store: Store,
    version: AtomicU64,
    running: Option<Running>,
}

struct Running {
    runtime: Runtime,
    task: tokio::task::JoinHandle<()>,
    shutdown: CancellationToken,
}

impl Fixture {
    pub(crate) fn new() -> Self {
        let settings = Settings {
            conntrack: Conntrack::LEFT_ALONE,
            healthz_bind_address: Some(SocketAddr::from(([127, 0, 0, 1], 10256))),
            check_interval: Duration::from_millis(100),
            ..Settings::new("me")
        };
        let fixture = Self { settings, store: Store::new(), version: AtomicU64::new(1), running: None };
        fixture.node("none");
        fixture
    }

    /// A Service on port 80, with more text for its spec.
    pub(crate) fn service(&self, name: &str, address: &str, protocol: &str, more: &str) {
        let service: Service = serde_json::from_str(&format!(
            r#"{{"metadata": {{"namespace": "n", "name": "{name}", "uid": "{name}", "resourceVersion": "{}"}},
                "spec": {{"clusterIP": "{address}", "ports": [{{"port": 80, "protocol": "{protocol}"{}}}]{more}}}}}"#,
            self.next(),
            if more.is_empty() { "" } else { r#", "nodePort": 30080"# },
        ))
        .unwrap();
        self.store.apply([Event::Applied(service)]);
    }

    pub(crate) fn delete_service(&self, name: &str) {
        self.store.apply([Event::<Service>::Deleted(ObjectName::new("n", name), 0)]);
    }

    /// The Service's slice, with endpoints on this node.
    pub(crate) fn slice(&self, service: &str, endpoints: &[&str]) {
        let endpoint = |ip: &&str| format!(r#"{{"addresses": ["{ip}"], "nodeName": "me"}}"#);
        let endpoints: Vec<_> = endpoints.iter().map(endpoint).collect();
        let family = if endpoints.concat().contains("::") { "IPv6" } else { "IPv4" };
        let ports = ["TCP", "UDP"].map(|p| format!(r#"{{"name": "", "port": 8080, "protocol": "{p}"}}"#));
        let slice: EndpointSlice = serde_json::from_str(&format!(
            r#"{{"metadata": {{"namespace": "n", "name": "{service}-1", "resourceVersion": "{}",
                    "labels": {{"kubernetes.io/service-name": "{service}"}}}},
                "addressType": "{family}", "endpoints": [{}], "ports": [{}]}}"#,
            self.next(),
            endpoints.join(","),
            ports.join(",")
        ))
        .unwrap();
        self.store.apply([Event::Applied(slice)]);
    }

    /// The node, with a taint.
    pub(crate) fn node(&self, taint: &str) {
        let node: Node = serde_json::from_str(&format!(
            r#"{{"metadata": {{"name": "me", "resourceVersion": "{}"}}, "spec": {{"taints": [{{"key": "{taint}"}}]}},
                "status": {{"addresses": [{{"type": "InternalIP", "address": "192.0.2.1"}},
                    {{"type": "InternalIP", "address": "2001:db8::1"}}]}}}}"#,
            self.next()
        ))
        .unwrap();
        self.store.apply([Event::Applied(node)]);
    }

    /// Completes the lists with what there is.
    pub(crate) fn list(&self) {
        self.store.apply::<Service>([Event::ListEnds]);
        self.store.apply::<EndpointSlice>([Event::ListEnds]);
        self.store.apply::<Node>([Event::ListEnds]);
    }

    fn next(&self) -> u64 {
        self.version.fetch_add(1, Ordering::Relaxed)
    }

    /// Starts the proxy.
    pub(crate) fn start(&mut self) {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let (shutdown, admin) = (CancellationToken::new(), Admin::new());
        let context = Context {
            store: self.store.clone(),
            recorder: None,
            admin: admin.clone(),
            shutdown: shutdown.clone(),
        };
        let proxy = Proxy::new(self.settings.clone(), context);
        let listener = runtime.block_on(Admin::bind(([127, 0, 0, 1], ADMIN_PORT).into())).unwrap();
        runtime.spawn(admin.serve(listener, shutdown.clone()));
        let task = runtime.spawn(async move { proxy.run().await.unwrap() });
        self.running = Some(Running { runtime, task, shutdown });
    }

    /// Stops the proxy; its rules stay.
    pub(crate) fn stop(&mut self) {
        let Running { runtime, task, shutdown, .. } = self.running.take().unwrap();
        shutdown.cancel();
        runtime.block_on(task).unwrap();
    }

    /// Whether the first sync is done.
    pub(crate) fn ready(&self) -> bool {
        let running = self.running.as_ref().unwrap();
        assert!(!running.task.is_finished(), "the proxy ended");
        self.get(ADMIN_PORT, "/readyz").is_some_and(|(status, _)| status == 200)
    }

    /// Value of a metric.
    pub(crate) fn metric(&self, name: &str) -> Option<f64> {
        let (_, text) = self.get(ADMIN_PORT, "/metrics")?;
        text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok())
    }

    pub(crate) fn generation(&self) -> u32 {
        Socket::open().unwrap().generation().unwrap()
    }

    /// The tables of the namespace.
    pub(crate) fn tables(&self) -> Vec<String> {
        let mut tables: Vec<_> =
            Socket::open().unwrap().tables().unwrap().into_iter().map(|table| table.id.to_string()).collect();
        tables.sort();
        tables
    }

    /// Who answers at an address.
    pub(crate) fn connect(&self, to: &str) -> Option<String> {
        let to = to.parse().unwrap();
        let mut stream = TcpStream::connect_timeout(&to, Duration::from_millis(300)).ok()?;
        let mut text = String::new();
        stream.read_to_string(&mut text).ok()?;
        Some(text)
    }

    /// Status and text of an HTTP answer.
    pub(crate) fn get(&self, port: u16, path: &str) -> Option<(u16, String)> {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
        write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").ok()?;
        let mut text = String::new();
        stream.read_to_string(&mut text).ok()?;
        Some((text.split(' ').nth(1)?.parse().ok()?, text))
    }

    /// UDP flows as the `conntrack` tool prints them, without what changes with time.
    pub(crate) fn flows(&self, family: &str) -> Vec<String> {
        let output = Command::new("conntrack").args(["-L", "-p", "udp", "-f", family]).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        text.lines().map(|line| line.split_whitespace().skip(3).collect::<Vec<_>>().join(" ")).collect()
    }
}

impl Drop for Fixture {
    fn drop(&mut self) {
        if let Some(running) = self.running.take() {
            running.shutdown.cancel();
            running.runtime.shutdown_background();
        }
    }
}
