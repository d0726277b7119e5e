//! Processes, known by their id and when they started, so that an id used anew is never mistaken.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

/// A process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) struct Process {
    /// Its id.
    pub(crate) pid: i32,
    /// When it started, in ticks since the machine did.
    pub(crate) start: u64,
}

impl Process {
    /// The process that has this id now.
    pub(crate) fn find(pid: i32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        Some(Self { pid, start: field(&stat, 22)?.parse().ok()? })
    }

    /// Whether it still exists, possibly only as an unread exit status.
    pub(crate) fn exists(self) -> bool {
        Self::find(self.pid) == Some(self)
    }

    /// Whether it runs: an exit status that nobody reads does not.
    pub(crate) fn runs(self) -> bool {
        let state = self.field(3);
        self.exists() && state.is_some_and(|state| state != "Z" && state != "X")
    }

    /// This process.
    pub(crate) fn own() -> Option<Self> {
        Self::find(std::process::id().cast_signed())
    }

    /// Sends a signal to it.
    pub(crate) fn signal(self, signal: Signal) {
        if self.exists() {
            // It may have ended just now.
            let _ = kill(Pid::from_raw(self.pid), signal);
        }
    }

    /// Sends a signal to it and to the rest of the group that it leads.
    pub(crate) fn signal_group(self, signal: Signal) {
        // As long as its exit status is unread its id, and so the group's, is nobody else's.
        if self.exists() && killpg(Pid::from_raw(self.pid), signal).is_err() {
            // It has not come to lead a group yet.
            self.signal(signal);
        }
    }

    /// The session that it belongs to.
    fn session(self) -> Option<i32> {
        self.field(6)?.parse().ok()
    }

    fn field(self, number: usize) -> Option<String> {
        field(&fs::read_to_string(format!("/proc/{}/stat", self.pid)).ok()?, number).map(str::to_owned)
    }
}

/// Kills what is left of a session in the network namespace of its pod, when its leader has ended.
pub(crate) fn kill_session(leader: i32, namespace: &Path) {
    for process in in_namespace(namespace) {
        if process.session() == Some(leader) {
            process.signal(Signal::SIGKILL);
        }
    }
}

/// A field of `/proc/PID/stat` (3 or later), counted as proc(5) does. Field 2, the name, may contain
/// blanks and parentheses.
fn field(stat: &str, number: usize) -> Option<&str> {
    stat.rsplit_once(')')?.1.split_whitespace().nth(number.checked_sub(3)?)
}

/// All processes in the network namespace that is mounted on a file; none if nothing is mounted there,
/// as only the mount keeps the namespace's number from being used anew.
pub(crate) fn in_namespace(file: &Path) -> Vec<Process> {
    if !is_namespace(file) {
        return Vec::new();
    }
    let Ok(namespace) = fs::metadata(file) else { return Vec::new() };
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let pids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    pids.filter(|pid| {
        fs::metadata(format!("/proc/{pid}/ns/net"))
            .is_ok_and(|own| own.ino() == namespace.ino() && own.dev() == namespace.dev())
    })
    .filter_map(Process::find)
    .collect()
}

/// Whether a namespace is mounted on this file.
pub(crate) fn is_namespace(file: &Path) -> bool {
    nix::sys::statfs::statfs(file).is_ok_and(|stat| stat.filesystem_type() == nix::sys::statfs::NSFS_MAGIC)
}

/// Kills everything in a network namespace; gives up on processes that do not even end then.
pub(crate) fn kill_namespace(file: &Path) -> io::Result<()> {
    // What forks while it is looked for is found the next time.
    for _ in 0..500 {
        let processes = in_namespace(file);
        if processes.is_empty() {
            return Ok(());
        }
        for process in processes {
            process.signal(Signal::SIGKILL);
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    Err(io::Error::other(format!("processes in {} do not end", file.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_counted_behind_any_name() {
        let tail = (3..=30).map(|field| field.to_string()).collect::<Vec<_>>().join(" ");
        assert_eq!(field(&format!("1 (a b) c) {tail}"), 22), Some("22"));
        assert_eq!(field("1 (a", 22), None);
    }

    #[test]
    fn an_id_alone_does_not_make_a_process() {
        let own = Process::find(i32::try_from(std::process::id()).unwrap()).unwrap();
        assert!(own.exists() && own.runs());
        assert!(!Process { start: own.start + 1, ..own }.exists());
        assert!(in_namespace(Path::new("/proc/self/status")).is_empty());
    }
}
