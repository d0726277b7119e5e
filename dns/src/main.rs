//! Entry point.

use std::process::ExitCode;

use portolan_dns::args::Args;
use portolan_dns::program::program;
use portolan_runtime::run_program;

fn main() -> ExitCode {
    run_program("portolan-dns", "DNS", |args: Args| program(args))
}
