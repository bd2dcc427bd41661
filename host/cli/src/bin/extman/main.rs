//! The program: the command line, with hosts of this library behind it.

mod app;
mod hosts;

use std::process::ExitCode;

fn main() -> ExitCode {
    extman_cli::main(&hosts::Hosts)
}
