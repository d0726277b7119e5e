//! `portolan`: Portolan on one machine, and every program of a cluster under its own name.
//!
//! An image needs the code that the programs share once only: the others are links to this one.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use portolan_runtime::{Threads, run_program};

mod args;
mod deployments;
mod manifest;
mod privilege;
mod ranges;
mod status;
mod summary;
mod up;

fn main() -> ExitCode {
    let mut words = std::env::args_os();
    let program = PathBuf::from(words.next().unwrap_or_default());
    match program.file_name().and_then(|name| name.to_str()) {
        Some("portolan-controllers") => portolan_controllers::main(),
        Some("portolan-dns") => portolan_dns::main(),
        Some("portolan-proxy") => portolan_proxy::main(),
        _ => portolan(words),
    }
}

fn portolan(mut words: impl Iterator<Item = OsString>) -> ExitCode {
    // Becomes a container of a pod, which has to happen before the process has a second thread.
    if words.next().is_some_and(|word| word == "pod-exec") {
        return portolan_pods::pod_exec(words);
    }
    run_program("portolan", "Portolan", Threads::PerCpu, async |args: args::Args| match args.command {
        args::Command::Up(settings) => up::up(settings).await,
        args::Command::Status(settings) => status::status(settings).await,
    })
}
