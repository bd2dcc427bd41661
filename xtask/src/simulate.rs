//! `cargo xtask simulate`: plugins whose truth is known, and whether the host's health says it. The simulator is the package
//! `extman-simulator` in `tests/simulator`; here is its command line. It is built when it is needed, so that this package stays small.

use crate::root;
use std::process::Command;

/// `cargo xtask simulate`.
#[derive(clap::Args)]
pub struct Arguments {
    /// Where chance comes from: the same seed gives the same report.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// So many seeds, beginning with that one.
    #[arg(long, default_value_t = 1)]
    seeds: u32,
    /// How many plugins.
    #[arg(long, default_value_t = 1000)]
    plugins: u32,
    /// For how many simulated days.
    #[arg(long, default_value_t = 7.0, value_parser = days)]
    days: f64,
    /// Nothing befalls them: noise alone.
    #[arg(long)]
    healthy: bool,
    /// On so many threads; as many as there are processors, if it is not said.
    #[arg(long)]
    threads: Option<usize>,
    /// Failed checks in a row that make one down, instead of the default policy's.
    #[arg(long)]
    fall: Option<u8>,
    /// Prints the report as JSON, one line for each seed.
    #[arg(long)]
    json: bool,
    /// Simulates this plugin alone: it goes the same way as among all.
    #[arg(long)]
    only: Option<u32>,
    /// Prints what happens to that plugin.
    #[arg(long, requires = "only")]
    trace: bool,
}

/// Why there is no report, or no good one.
#[derive(Debug, thiserror::Error)]
pub enum SimulateError {
    /// Cargo can't be run.
    #[error("cargo can't be run: {0}; is it in the PATH?")]
    Cargo(std::io::Error),
    /// The simulator can't be built, or could not run.
    #[error("the simulator can't be built or run; its words are above")]
    NotRun,
    /// What was said of the plugins was wrong.
    #[error(
        "what was said of the plugins is not always true: see the violations above, and follow one with --only PLUGIN --trace"
    )]
    Violations,
}

/// The longest simulation, in days.
const DAYS_MAX: f64 = 3660.0;

fn days(text: &str) -> Result<f64, String> {
    let days: f64 = text.parse().map_err(|error| format!("{error}"))?;
    if days > 0.0 && days <= DAYS_MAX {
        Ok(days)
    } else {
        Err(format!("give more than 0 and at most {DAYS_MAX} days"))
    }
}

/// Builds the simulator and runs it.
///
/// # Errors
/// It can't be built or run, or something was not judged as it should be.
pub fn run(arguments: &Arguments) -> Result<String, SimulateError> {
    let threads = arguments
        .threads
        .unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from));
    let wanted = serde_json::json!({
        "seed": arguments.seed,
        "seeds": arguments.seeds,
        "plugins": arguments.plugins,
        "days": arguments.days,
        "healthy": arguments.healthy,
        "threads": threads,
        "only": arguments.only,
        "trace": arguments.trace,
        "fall": arguments.fall,
        "json": arguments.json,
    });
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(cargo)
        .args(["run", "--quiet", "--release", "-p", "extman-simulator", "--"])
        .arg(wanted.to_string())
        .current_dir(root())
        .status()
        .map_err(SimulateError::Cargo)?;
    match status.code() {
        // Whoever reads JSON wants nothing else.
        Some(0) if arguments.json => Ok(String::new()),
        Some(0) => Ok("simulate: nothing was judged wrongly".to_owned()),
        Some(EXIT_VIOLATIONS) => Err(SimulateError::Violations),
        _ => Err(SimulateError::NotRun),
    }
}

/// What the simulator ends with if there are violations. Not 1, which a failed build ends with too.
const EXIT_VIOLATIONS: i32 = 10;
