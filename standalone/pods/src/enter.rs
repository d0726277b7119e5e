//! The launcher: a process enters a pod's namespaces, then becomes the container's command.
//!
//! It is a program of its own (the same one, started anew) because a thread of a running program cannot
//! do this safely between fork and exec.

use std::ffi::OsString;
use std::fs::File;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::Signal;
use nix::unistd::{getppid, sethostname, setsid};

/// Status of a launcher that could not start the command, as shells have it.
const CANNOT_EXECUTE: u8 = 126;

/// How a command is launched.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Launch {
    /// File of the network namespace.
    pub(crate) netns: PathBuf,
    /// Host name.
    pub(crate) hostname: OsString,
    /// File to be seen as `/etc/resolv.conf`.
    pub(crate) resolv: PathBuf,
    /// File to be seen as `/etc/hosts`.
    pub(crate) hosts: PathBuf,
    /// Process whose end kills the command.
    pub(crate) parent: i32,
    /// The command and its arguments.
    pub(crate) command: Vec<OsString>,
}

impl Launch {
    /// As arguments of the launcher.
    pub(crate) fn arguments(&self) -> Vec<OsString> {
        let mut arguments: Vec<OsString> = Vec::with_capacity(11 + self.command.len());
        let parent = OsString::from(self.parent.to_string());
        let options = [
            ("--netns", self.netns.as_os_str()),
            ("--hostname", &self.hostname),
            ("--resolv", self.resolv.as_os_str()),
            ("--hosts", self.hosts.as_os_str()),
            ("--parent-death", &parent),
        ];
        for (name, value) in options {
            arguments.extend([name.into(), value.to_owned()]);
        }
        arguments.push("--".into());
        arguments.extend(self.command.iter().cloned());
        arguments
    }

    fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Self, String> {
        let mut launch = Self::default();
        let mut arguments = arguments.into_iter();
        while let Some(name) = arguments.next() {
            if name == "--" {
                launch.command = arguments.collect();
                if launch.command.is_empty() {
                    return Err("no command".to_owned());
                }
                return Ok(launch);
            }
            let value = arguments.next().ok_or_else(|| format!("{} has no value", name.display()))?;
            match name.to_str() {
                Some("--netns") => launch.netns = value.into(),
                Some("--hostname") => launch.hostname = value,
                Some("--resolv") => launch.resolv = value.into(),
                Some("--hosts") => launch.hosts = value.into(),
                Some("--parent-death") => {
                    let pid = value.to_str().and_then(|text| text.parse().ok());
                    launch.parent = pid.ok_or("--parent-death is not a process")?;
                }
                _ => return Err(format!("unknown option {}", name.display())),
            }
        }
        Err("no command".to_owned())
    }
}

/// Enters a pod and becomes the command; returns only when that failed.
///
/// To be called with what follows the subcommand's name, before the process has a second thread.
pub fn pod_exec(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let launch = match Launch::parse(arguments) {
        Ok(launch) => launch,
        Err(error) => {
            eprintln!("portolan pod-exec is for portolan up only: {error}");
            return ExitCode::from(portolan_runtime::USAGE);
        }
    };
    if let Err(error) = enter(&launch) {
        eprintln!("portolan pod-exec: {error}");
        return ExitCode::from(CANNOT_EXECUTE);
    }
    let (program, arguments) = launch.command.split_at(1);
    let error = Command::new(&program[0]).args(arguments).exec();
    eprintln!("portolan pod-exec: cannot start {}: {error}", program[0].display());
    ExitCode::from(CANNOT_EXECUTE)
}

fn enter(launch: &Launch) -> Result<(), String> {
    let failed = |what: &str| {
        let what = what.to_owned();
        move |error: nix::Error| format!("cannot {what}: {error}")
    };
    set_pdeathsig(Signal::SIGKILL).map_err(failed("follow portolan up to its end"))?;
    // It may have ended before the line above.
    if getppid().as_raw() != launch.parent {
        return Err("portolan up has ended".to_owned());
    }
    setsid().map_err(failed("start a session"))?;
    let netns = File::open(&launch.netns).map_err(|error| format!("{}: {error}", launch.netns.display()))?;
    setns(&netns, CloneFlags::CLONE_NEWNET).map_err(failed("enter the network namespace"))?;
    unshare(CloneFlags::CLONE_NEWUTS | CloneFlags::CLONE_NEWNS).map_err(failed("make namespaces"))?;
    sethostname(&launch.hostname).map_err(failed("set the host name"))?;
    // What is mounted here is nobody else's; what others unmount goes here too.
    mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_SLAVE, None::<&str>)
        .map_err(failed("keep mounts apart"))?;
    for (source, target) in [(&launch.resolv, "/etc/resolv.conf"), (&launch.hosts, "/etc/hosts")] {
        mount(Some(source), target, None::<&str>, MsFlags::MS_BIND, None::<&str>)
            .map_err(failed(&format!("mount {target}")))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_launch_survives_its_arguments() {
        let launch = Launch {
            netns: "/run/a".into(),
            hostname: "h".into(),
            resolv: "/run/r".into(),
            hosts: "/run/h".into(),
            parent: 7,
            command: vec!["sh".into(), "-c".into(), "--".into()],
        };
        assert_eq!(Launch::parse(launch.arguments()), Ok(launch));
        for wrong in [&["--netns"][..], &["--odd", "x", "--", "sh"], &["--parent-death", "x"], &["--"], &[]] {
            assert!(Launch::parse(wrong.iter().map(OsString::from)).is_err(), "{wrong:?}");
        }
    }
}
