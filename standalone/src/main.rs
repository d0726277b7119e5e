//! `portolan`: Portolan on one machine.

use std::process::ExitCode;

use portolan_runtime::run_program;

mod args;
mod deployments;
mod manifest;
mod privilege;
mod ranges;
mod summary;
mod up;

fn main() -> ExitCode {
    // Becomes a container of a pod, which has to happen before the process has a second thread.
    let mut words = std::env::args_os().skip(1);
    if words.next().is_some_and(|word| word == "pod-exec") {
        return portolan_pods::pod_exec(words);
    }
    run_program("portolan", "Portolan", |args: args::Args| match args.command {
        args::Command::Up(settings) => up::up(settings),
    })
}
