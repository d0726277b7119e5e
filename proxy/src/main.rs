//! Entry point.

use std::process::ExitCode;

use portolan_proxy::args::Args;
use portolan_proxy::program::program;
use portolan_runtime::run_program;

fn main() -> ExitCode {
    run_program("portolan-proxy", "Proxy", |args: Args| program(args))
}
