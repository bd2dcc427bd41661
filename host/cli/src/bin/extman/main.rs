//! The program: the command line, with hosts of this library behind it.

mod app;
mod hosts;

use extman::process_guard;
use std::io::Write;
use std::process::ExitCode;

fn main() -> ExitCode {
    // Before there is a second thread: what belongs to the process is the program's from here on.
    let taken = process_guard::keep_signals().and_then(|()| process_guard::take_stdout());
    let out = match taken {
        Ok(out) => out,
        Err(error) => {
            let text = format!("error: signals and standard output can't be kept for the program: {error}\n");
            let _ = std::io::stderr().write_all(text.as_bytes());
            return ExitCode::FAILURE;
        }
    };
    match out.try_clone() {
        Ok(announcing) => extman_cli::main(&hosts::Hosts::announcing_to(announcing), out),
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "error: no descriptor is left: {error}");
            ExitCode::FAILURE
        }
    }
}
