//! `cargo xtask COMMAND`: one module of the library for each command.

use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// The repository's own commands.
#[derive(Parser)]
#[command(name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Writes the tables of BENCHMARKS.md from what the last `cargo bench` has measured.
    BenchTable(xtask::bench_table::Arguments),
    /// Builds the host and sample plugins, serves them, and shows them at work.
    Demo(xtask::demo::Arguments),
    /// Builds the programs as they are shipped: stripped, with their symbols beside them.
    Dist(xtask::dist::Arguments),
    /// Writes plugin-api/include/extman_plugin.h from the ABI crate.
    Header(xtask::header::Arguments),
    /// Updates simulated plugins to the same build and to worse ones, and writes what the judge made of them into BENCHMARKS.md.
    JudgeTrial(xtask::judge_trial::Arguments),
    /// Fetches the models of the AI sample plugins, and what their tests compare with, into target/models.
    Models(xtask::models::Arguments),
    /// Builds the default plugins into target/plugins.
    Plugins(xtask::plugins::Arguments),
    /// Simulates plugins whose truth is known, and compares it with what the host's health says of them.
    Simulate(xtask::simulate::Arguments),
}

fn main() -> ExitCode {
    let result: Result<String, Box<dyn std::error::Error>> = match Arguments::parse().command {
        Command::BenchTable(arguments) => xtask::bench_table::run(&arguments).map_err(Into::into),
        Command::Demo(arguments) => xtask::demo::run(&arguments).map_err(Into::into),
        Command::Dist(arguments) => xtask::dist::run(&arguments).map_err(Into::into),
        Command::Header(arguments) => xtask::header::run(&arguments).map_err(Into::into),
        Command::JudgeTrial(arguments) => xtask::judge_trial::run(&arguments).map_err(Into::into),
        Command::Models(arguments) => xtask::models::run(&arguments).map_err(Into::into),
        Command::Plugins(arguments) => xtask::plugins::run(&arguments).map_err(Into::into),
        Command::Simulate(arguments) => xtask::simulate::run(&arguments).map_err(Into::into),
    };
    match result {
        Ok(text) => {
            println!("{text}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
