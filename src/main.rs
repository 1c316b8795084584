//! The `larder` binary.

use std::process::ExitCode;

fn main() -> ExitCode {
    larder::cli::run()
}
