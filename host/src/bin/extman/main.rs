//! The program: the command line, with hosts of this library behind it.

mod hosts;

use std::process::ExitCode;

fn main() -> ExitCode {
    extman::cli::main(&hosts::Hosts)
}
