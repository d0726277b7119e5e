//! The program's ends: wrong settings, and an API server that is not there.

use std::io::Write;
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use crate::dig::dig;

const KUBECONFIG: &str = r#"{"apiVersion": "v1", "kind": "Config", "current-context": "c",
    "clusters": [{"name": "c", "cluster": {"server": "http://127.0.0.1:1"}}],
    "users": [{"name": "u", "user": {}}],
    "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}]}"#;

fn command(directory: &tempfile::TempDir, flags: &[&str]) -> Command {
    let file = directory.path().join("kubeconfig");
    std::fs::File::create(&file).unwrap().write_all(KUBECONFIG.as_bytes()).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_portolan-dns"));
    command.arg("--kubeconfig").arg(file).args(flags);
    command
}

fn run(flags: &[&str]) -> Output {
    command(&tempfile::tempdir().unwrap(), flags).output().unwrap()
}

#[track_caller]
fn ends(flags: &[&str], want: &str) {
    let output = run(flags);
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(64), "{flags:?}: {text}");
    let last = text.lines().last().unwrap_or_default();
    assert!(last.starts_with("portolan-dns: ") && last.contains(want), "{flags:?}: {text}");
    assert_eq!(text.lines().filter(|line| line.starts_with("portolan-dns: ")).count(), 1);
}

#[test]
fn a_taken_port_is_named() {
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = tcp.local_addr().unwrap().to_string();
    ends(
        &["--listen", &address, "--upstream", "none"],
        &format!("--listen {address}: TCP: Address already in use"),
    );
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = udp.local_addr().unwrap().to_string();
    ends(
        &["--listen", &address, "--upstream", "none"],
        &format!("--listen {address}: UDP: Address already in use"),
    );
}

#[test]
fn settings_that_cannot_work_are_named() {
    let listen = ["--listen", "127.0.0.1:0"];
    let with = |more: [&'static str; 2]| [listen, more].concat();
    ends(&[], "--listen");
    ends(&with(["--ttl", "9999"]), "--ttl");
    ends(&with(["--pod-names", "maybe"]), "--pod-names");
    ends(&with(["--cluster-domain", "a..b"]), "--cluster-domain");
    ends(&with(["--upstream", "/does/not/exist"]), "--upstream /does/not/exist: No such file");
    ends(&with(["--log-filter", "=="]), "--log-filter");
    ends(&with(["--corefile", "x"]), "--corefile");
    ends(
        &["--listen", "127.0.0.1:15399", "--upstream", "127.0.0.1:15399"],
        "where this server itself listens",
    );
}

/// Ends the process when the test does, whatever comes.
struct Ends(std::process::Child);

impl Drop for Ends {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A running program that has begun to answer.
fn answering(directory: &tempfile::TempDir, more: &[&str]) -> (Ends, SocketAddr) {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let listen = free.to_string();
    let flags: Vec<_> = ["--listen", &listen, "--upstream", "none"].iter().chain(more).copied().collect();
    let child = Ends(command(directory, &flags).stderr(Stdio::piped()).spawn().unwrap());
    let asked = (0..100).find_map(|_| {
        std::thread::sleep(Duration::from_millis(50));
        Some(dig(free, "web.default.svc.cluster.local A")).filter(|reply| !reply.status.is_empty())
    });
    assert_eq!(asked.unwrap().status, "SERVFAIL");
    (child, free)
}

fn terminate(child: &Ends) {
    let id = child.0.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
}

#[test]
fn without_an_api_server_it_waits_and_ends_when_told() {
    let directory = tempfile::tempdir().unwrap();
    let (mut child, _) = answering(&directory, &[]);
    terminate(&child);
    assert!(child.0.wait().unwrap().success());
    let mut text = String::new();
    std::io::Read::read_to_string(child.0.stderr.as_mut().unwrap(), &mut text).unwrap();
    assert!(text.contains("cannot watch"), "{text}");
    assert!(!text.contains("svc.cluster.local"), "no line per query: {text}");
}

#[test]
fn a_lame_duck_answers_while_its_probes_fail_and_then_ends() {
    let directory = tempfile::tempdir().unwrap();
    let admin = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (mut child, server) =
        answering(&directory, &["--lame-duck", "4", "--admin-bind-address", &admin.to_string()]);
    assert!(TcpStream::connect(admin).is_ok());
    let told = Instant::now();
    terminate(&child);
    while TcpStream::connect(admin).is_ok() {
        assert!(told.elapsed() < Duration::from_secs(3), "probes still succeed");
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(dig(server, "web.default.svc.cluster.local A").status, "SERVFAIL");
    assert!(child.0.wait().unwrap().success());
    assert!(told.elapsed() >= Duration::from_secs(4));
}
