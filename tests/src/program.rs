//! Programs of this workspace as the tests run them: built for release, in a namespace.

use std::fs::File;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::namespace::Namespace;

/// Where the release build of a program is: in `PORTOLAN_BIN_DIR`, else in the target folder.
///
/// # Panics
/// If it was not built.
pub fn path(name: &str) -> PathBuf {
    let exe = std::env::current_exe().expect("a test is a program");
    // target/PROFILE/deps/TEST
    let target = exe.ancestors().nth(3).expect("tests lie in the target folder");
    let folder = std::env::var_os("PORTOLAN_BIN_DIR").map_or_else(|| target.join("release"), PathBuf::from);
    let path = folder.join(name);
    assert!(path.is_file(), "{} is missing: run `cargo build --release` first", path.display());
    path
}

/// A running program, killed when dropped. What it logs goes to a file that a failing test shows.
#[derive(Debug)]
pub struct Program {
    child: Child,
    log: PathBuf,
    _folder: tempfile::TempDir,
}

impl Program {
    /// Starts a program.
    ///
    /// # Panics
    /// If it cannot be started.
    pub fn start(home: &Namespace, name: &str, arguments: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let log = folder.path().join("log");
        let file = File::create(&log).expect("a file");
        let mut command = Command::new(path(name));
        command.args(arguments).stdin(Stdio::null());
        command.stdout(file.try_clone().expect("a second handle")).stderr(file);
        let child = home.enter(|| command.spawn()).unwrap_or_else(|error| panic!("{name}: {error}"));
        Self { child, log, _folder: folder }
    }

    /// Ends it without a chance to tidy up.
    ///
    /// # Panics
    /// If it had ended already.
    pub fn kill(&mut self) {
        assert!(self.is_running(), "it ended by itself:\n{}", self.log());
        self.child.kill().expect("a process can be killed");
        self.child.wait().expect("a child can be waited for");
    }

    /// Asks it to end, and waits.
    ///
    /// # Panics
    /// If it cannot be asked.
    pub fn stop(&mut self) -> ExitStatus {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).expect("process numbers are small"));
        kill(pid, Signal::SIGTERM).expect("a process can be asked to end");
        self.child.wait().expect("a child can be waited for")
    }

    /// Whether it runs.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// What it logged.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("log of the program:\n{}", self.log());
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
