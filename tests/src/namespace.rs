//! Network namespaces for one test: made with unique names, removed whatever happens.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Once;
use std::sync::atomic::{AtomicU32, Ordering};

use nix::sched::{CloneFlags, setns};

/// How names of these namespaces begin; the number of the process follows.
const PREFIX: &str = "portolan-test-";

/// A network namespace that goes away with this value.
#[derive(Debug)]
pub struct Namespace {
    name: String,
    handle: File,
}

impl Namespace {
    /// Makes a namespace with loopback up.
    ///
    /// # Panics
    /// Without root: these tests must not pass by doing nothing.
    pub fn new(role: &str) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        assert!(nix::unistd::geteuid().is_root(), "tests with network namespaces need root");
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        static SWEPT: Once = Once::new();
        SWEPT.call_once(sweep);
        let name = format!("{PREFIX}{}-{number}-{role}", std::process::id());
        run("ip", &["netns", "add", &name], "");
        let handle = File::open(format!("/run/netns/{name}")).expect("the namespace just made");
        let namespace = Self { name, handle };
        // Addresses must be usable at once.
        namespace.sysctl(&[("net/ipv6/conf/default/accept_dad", "0"), ("net/ipv6/conf/all/accept_dad", "0")]);
        namespace.ip("link set lo up");
        namespace
    }

    /// Its name, as `ip netns` lists it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Runs lines of `ip` commands in it.
    ///
    /// # Panics
    /// If one fails.
    pub fn ip(&self, lines: &str) {
        run("ip", &["-n", &self.name, "-batch", "-"], lines);
    }

    /// Runs a program in it; its output if it ends well.
    ///
    /// # Panics
    /// If it cannot be run or fails.
    pub fn run(&self, program: &str, arguments: &[&str]) -> String {
        self.enter(|| run(program, arguments, ""))
    }

    /// Writes settings below `/proc/sys`.
    ///
    /// # Panics
    /// If one cannot be written.
    pub fn sysctl(&self, settings: &[(&str, &str)]) {
        self.enter(|| {
            for (name, value) in settings {
                let path = format!("/proc/sys/{name}");
                std::fs::write(&path, value).unwrap_or_else(|error| panic!("{path}: {error}"));
            }
        });
    }

    /// Runs a closure on a thread of its own in the namespace. Sockets that it opens stay there.
    ///
    /// # Panics
    /// If the closure does.
    pub fn enter<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let result = std::thread::scope(|scope| {
            let inside = scope.spawn(|| {
                setns(&self.handle, CloneFlags::CLONE_NEWNET).expect("enter a network namespace");
                work()
            });
            inside.join()
        });
        result.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let removed = Command::new("ip").args(["netns", "del", &self.name]).status();
        if !removed.is_ok_and(|status| status.success()) {
            eprintln!("namespace {} could not be removed", self.name);
        }
    }
}

/// Removes what tests left that were killed.
fn sweep() {
    for entry in std::fs::read_dir("/run/netns").into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let process = name.strip_prefix(PREFIX).and_then(|rest| rest.split('-').next());
        if process.is_some_and(|process| !Path::new("/proc").join(process).exists()) {
            let _ = Command::new("ip").args(["netns", "del", &name]).status();
        }
    }
}

fn run(program: &str, arguments: &[&str], input: &str) -> String {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap_or_else(|error| panic!("cannot run {program}: {error}"));
    // A program that does not read its input may end first.
    let _ = child.stdin.take().expect("piped").write_all(input.as_bytes());
    let output = child.wait_with_output().expect("wait for a child");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}: {}\n{errors}{input}", output.status);
    String::from_utf8_lossy(&output.stdout).into_owned()
}
