//! Runs the trial of the judge on threads. `cargo xtask judge-trial` builds this and speaks to it: one argument, a JSON object; the answer is one
//! line of JSON for each row.

use extman_simulator::{Ends, Regression, update};
use serde::{Deserialize, Serialize};
use std::io::Write as _;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU32, Ordering};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    seed: u64,
    updates: u32,
    window_s: u32,
    per_second: Vec<f64>,
    threads: usize,
}

#[derive(Serialize)]
struct Row {
    regression: Regression,
    per_second: f64,
    ends: Ends,
}

fn main() -> ExitCode {
    let text = std::env::args().nth(1).unwrap_or_default();
    let wanted: Wanted = match serde_json::from_str(&text) {
        Ok(wanted) => wanted,
        Err(error) => {
            eprintln!("error: the argument is no trial: {error}; use `cargo xtask judge-trial`");
            return ExitCode::from(2);
        }
    };
    for regression in Regression::ALL {
        for per_second in &wanted.per_second {
            let row = Row {
                regression,
                per_second: *per_second,
                ends: ends(&wanted, regression, *per_second),
            };
            let line = serde_json::to_string(&row).unwrap_or_default();
            if writeln!(std::io::stdout(), "{line}").is_err() {
                return ExitCode::from(2);
            }
        }
    }
    ExitCode::SUCCESS
}

/// All updates of one row. Each has its chance from the seed and its number, so that threads change nothing.
fn ends(wanted: &Wanted, regression: Regression, per_second: f64) -> Ends {
    let next = AtomicU32::new(0);
    let run = || {
        let mut ends = Vec::new();
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= wanted.updates {
                return ends;
            }
            let end = update(wanted.seed, number, regression, per_second, wanted.window_s);
            ends.push((number, end));
        }
    };
    let mut all = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..wanted.threads.max(1)).map(|_| scope.spawn(run)).collect();
        let ends = threads.into_iter().filter_map(|thread| thread.join().ok());
        ends.flatten().collect::<Vec<_>>()
    });
    all.sort_by_key(|(number, _)| *number);
    let mut ends = Ends::default();
    all.into_iter().for_each(|(_, end)| ends.add(regression, end));
    ends
}
