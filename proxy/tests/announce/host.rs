//! Network namespaces: one is a host.

use std::fs::File;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use nix::sched::{CloneFlags, setns};

/// A host; it goes away with this value.
pub(crate) struct Host {
    name: String,
    handle: File,
}

impl Host {
    pub(crate) fn new(role: &str) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("portolan-announce-{}-{number}-{role}", std::process::id());
        run("ip", &["netns", "add", &name]);
        let handle = File::open(format!("/run/netns/{name}")).expect("the namespace just made");
        let host = Self { name, handle };
        host.enter(|| std::fs::write("/proc/sys/net/ipv6/conf/default/accept_dad", "0").unwrap());
        host
    }

    /// Runs `ip` with these words in it.
    pub(crate) fn ip(&self, words: &str) -> String {
        let words: Vec<&str> = ["-n", &self.name].into_iter().chain(words.split_whitespace()).collect();
        run("ip", &words)
    }

    /// Its name, for `ip link … netns`.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Runs a closure on a thread of its own in it.
    pub(crate) fn enter<T: Send>(&self, inside: impl FnOnce() -> T + Send) -> T {
        let handle = &self.handle;
        std::thread::scope(|scope| {
            let thread = scope.spawn(move || {
                setns(handle, CloneFlags::CLONE_NEWNET).expect("root is needed for a network namespace");
                inside()
            });
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// A handle for a thread that lives longer.
    pub(crate) fn handle(&self) -> File {
        self.handle.try_clone().unwrap()
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["netns", "delete", &self.name]).status();
    }
}

fn run(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().expect(program);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}: {errors}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}
