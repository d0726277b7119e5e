//! `portolan-controllers`: keeps Endpoints and EndpointSlices.

use std::process::ExitCode;

use portolan_controllers::program;
use portolan_runtime::run_program;

fn main() -> ExitCode {
    run_program("portolan-controllers", "Controllers", program)
}
