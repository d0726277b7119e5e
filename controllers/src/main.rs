//! `portolan-controllers`: keeps Endpoints and EndpointSlices.

use std::process::ExitCode;

fn main() -> ExitCode {
    portolan_controllers::main()
}
