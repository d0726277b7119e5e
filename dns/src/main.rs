//! `portolan-dns`: answers the cluster's names.

use std::process::ExitCode;

fn main() -> ExitCode {
    portolan_dns::main()
}
