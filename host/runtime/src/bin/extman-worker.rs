//! The throwaway processes in which a library is loaded for the first time. Started by `extman`, not by hand.

use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    ExitCode::from(extman_runtime::vetting::worker::run(&arguments))
}
