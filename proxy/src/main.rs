//! `portolan-proxy`: programs the node's kernel from Services.

use std::process::ExitCode;

fn main() -> ExitCode {
    portolan_proxy::main()
}
