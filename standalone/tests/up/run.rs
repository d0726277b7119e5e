//! A running `portolan up`.

use std::ffi::OsStr;
use std::io::Read;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::stage::{Stage, child_of, eventually, example};

/// The binary under test.
const PORTOLAN: &str = env!("CARGO_BIN_EXE_portolan");

/// A `portolan up` on a stage.
pub(crate) struct Run<'a> {
    pub(crate) stage: &'a Stage,
    child: Child,
    out: Arc<Mutex<String>>,
    error: Arc<Mutex<String>>,
}

/// The command, as the stage's root.
pub(crate) fn portolan(stage: &Stage) -> Command {
    stage.command(PORTOLAN)
}

impl<'a> Run<'a> {
    /// Starts it with the example.
    pub(crate) fn shop(stage: &'a Stage) -> Self {
        Self::start(stage, [OsStr::new("-f"), example().as_os_str()])
    }

    pub(crate) fn start<S: AsRef<OsStr>>(stage: &'a Stage, words: impl IntoIterator<Item = S>) -> Self {
        let mut command = portolan(stage);
        command.arg("up").args(words).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("nsenter runs");
        let out = collect(child.stdout.take().expect("it is a pipe"));
        let error = collect(child.stderr.take().expect("it is a pipe"));
        Self { stage, child, out, error }
    }

    pub(crate) fn out(&self) -> String {
        self.out.lock().expect("nobody panics with it").clone()
    }

    pub(crate) fn error(&self) -> String {
        self.error.lock().expect("nobody panics with it").clone()
    }

    /// Waits until all is printed.
    pub(crate) fn ready(self) -> Self {
        let end = Instant::now() + Duration::from_secs(30);
        while !self.out().contains("Ctrl-C") {
            assert!(Instant::now() < end, "not ready:\n{}\n{}", self.out(), self.error());
            std::thread::sleep(Duration::from_millis(20));
        }
        self
    }

    /// What stands behind `NAME=` on a line of its own.
    pub(crate) fn told(&self, name: &str) -> String {
        let prefix = format!("{name}=");
        eventually(&prefix, 10, || {
            self.out().lines().find_map(|line| line.strip_prefix(&prefix)).map(str::to_owned)
        })
    }

    /// The cluster IP of a Service in `default`, from the table.
    pub(crate) fn address(&self, service: &str) -> String {
        let out = self.out();
        let name = format!("default/{service}");
        let line = out.lines().find(|line| line.split_whitespace().next() == Some(&name));
        let line = line.unwrap_or_else(|| panic!("no line for {service}:\n{out}"));
        line.split_whitespace().nth(2).expect("an address").to_owned()
    }

    /// Where the API listens.
    pub(crate) fn api(&self) -> String {
        let config = self.stage.run(&format!("cat {}", self.told("KUBECONFIG")));
        config.split("http://").nth(1).and_then(|rest| rest.split('"').next()).expect("a server").to_owned()
    }

    /// A kubectl command; `{}` in nothing: words are separated by blanks, and run by a shell.
    pub(crate) fn kubectl(&self, line: &str) -> String {
        self.stage.run(&self.kubectl_line(line))
    }

    pub(crate) fn kubectl_line(&self, line: &str) -> String {
        let kube = std::env::var("PORTOLAN_KUBE")
            .expect("PORTOLAN_KUBE must name the binary that tests/cluster/build makes");
        format!("HOME=/run {kube} kubectl --kubeconfig {} {line}", self.told("KUBECONFIG"))
    }

    /// Names of ready pods with a label, and their addresses.
    pub(crate) fn ready_pods(&self, label: &str) -> Vec<(String, String)> {
        let path = format!("{}/api/v1/namespaces/default/pods?labelSelector={label}", self.api());
        let list: serde_json::Value = serde_json::from_str(&self.stage.get(&path)).expect("JSON");
        let pods = list["items"].as_array().expect("a list");
        let ready = pods.iter().filter(|pod| {
            let conditions = pod["status"]["conditions"].as_array();
            let ready =
                conditions.into_iter().flatten().any(|c| c["type"] == "Ready" && c["status"] == "True");
            ready && pod["metadata"]["deletionTimestamp"].is_null()
        });
        let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
        ready.map(|pod| (text(&pod["metadata"]["name"]), text(&pod["status"]["podIP"]))).collect()
    }

    pub(crate) fn wait_ready_pods(&self, label: &str, count: usize) -> Vec<(String, String)> {
        eventually(&format!("{count} ready pods with {label}"), 30, || {
            Some(self.ready_pods(label)).filter(|pods| pods.len() == count)
        })
    }

    /// Sends a signal to the program itself and waits for its end.
    pub(crate) fn end(mut self, signal: Signal) -> ExitStatus {
        let pid = child_of(self.child.id()).expect("nsenter has a child");
        kill(Pid::from_raw(pid.try_into().expect("a number")), signal).expect("it runs");
        self.wait(20)
    }

    /// Waits for its end.
    pub(crate) fn wait(&mut self, seconds: u64) -> ExitStatus {
        let end = Instant::now() + Duration::from_secs(seconds);
        loop {
            if let Some(status) = self.child.try_wait().expect("it is our child") {
                return status;
            }
            assert!(Instant::now() < end, "it does not end:\n{}\n{}", self.out(), self.error());
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

fn collect(mut pipe: impl Read + Send + 'static) -> Arc<Mutex<String>> {
    let text = Arc::new(Mutex::new(String::new()));
    let writer = text.clone();
    std::thread::spawn(move || {
        let mut chunk = [0; 4096];
        while let Ok(length @ 1..) = pipe.read(&mut chunk) {
            writer
                .lock()
                .expect("nobody panics with it")
                .push_str(&String::from_utf8_lossy(&chunk[..length]));
        }
    });
    text
}
