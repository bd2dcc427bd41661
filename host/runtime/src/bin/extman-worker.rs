//! The throwaway child in which a library is loaded for the first time. Started by `extman`, not by hand.

use std::process::ExitCode;

fn main() -> ExitCode {
    let order = std::env::args().nth(1).unwrap_or_default();
    ExitCode::from(extman_runtime::vetting::worker::run(&order))
}
