//! Runs the health simulator on threads. `cargo xtask simulate` builds this and speaks to it: one argument, a JSON object.

use extman_simulator::{DAY, Report, Scenario, Summary, run_shard};
use serde::Deserialize;
use std::io::{IsTerminal as _, Write as _};
use std::process::ExitCode;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc;
use std::time::Instant;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    seed: u64,
    seeds: u32,
    plugins: u32,
    days: f64,
    healthy: bool,
    threads: usize,
    only: Option<u32>,
    trace: bool,
    fall: Option<u8>,
    json: bool,
}

/// There are violations. Another code than that of a build that failed.
const VIOLATIONS: u8 = 10;

fn main() -> ExitCode {
    let text = std::env::args().nth(1).unwrap_or_default();
    let wanted: Wanted = match serde_json::from_str(&text) {
        Ok(wanted) => wanted,
        Err(error) => {
            eprintln!("error: the argument is no scenario: {error}; use `cargo xtask simulate`");
            return ExitCode::from(2);
        }
    };
    let mut failures = 0;
    for seed in wanted.seed..wanted.seed.saturating_add(u64::from(wanted.seeds)) {
        let mut scenario = Scenario::new(seed, wanted.plugins, (wanted.days * DAY as f64) as u64);
        (scenario.healthy, scenario.only) = (wanted.healthy, wanted.only);
        if let Some(fall) = wanted.fall {
            scenario.policy.fall = fall;
        }
        let began = Instant::now();
        let report = run(&scenario, wanted.threads.max(1));
        let took = began.elapsed();
        failures += report.failures();
        if let Err(error) = tell(&scenario, &report, &wanted) {
            eprintln!("error: the report can't be written: {error}");
            return ExitCode::from(2);
        }
        eprintln!("seed {seed}: {:.1} s", took.as_secs_f64());
    }
    ExitCode::from(if failures > 0 { VIOLATIONS } else { 0 })
}

/// All shards, each by whichever thread is free; their reports are added in order, so that threads change nothing.
fn run(scenario: &Scenario, threads: usize) -> Report {
    let (world, next, shards) = (scenario.world(), AtomicU32::new(0), scenario.shards());
    let mut reports: Vec<Option<Report>> = (0..shards).map(|_| None).collect();
    let (sender, done) = mpsc::channel();
    std::thread::scope(|scope| {
        for _ in 0..threads {
            let (sender, next, world) = (sender.clone(), &next, &world);
            scope.spawn(move || {
                loop {
                    let shard = next.fetch_add(1, Ordering::Relaxed);
                    if shard >= shards || sender.send((shard, run_shard(scenario, world, shard))).is_err() {
                        return;
                    }
                }
            });
        }
        drop(sender);
        let mut finished = 0;
        for (shard, report) in done {
            finished += 1;
            progress(scenario.seed, finished, shards);
            reports[shard as usize] = Some(report);
        }
    });
    let mut all = Report::default();
    reports.into_iter().flatten().for_each(|report| all.add(report));
    all
}

fn progress(seed: u64, finished: u32, shards: u32) {
    let mut terminal = std::io::stderr();
    if terminal.is_terminal() {
        let end = if finished == shards { "\n" } else { "" };
        // A line that can't be shown is no reason to stop.
        let _ = write!(terminal, "\rseed {seed}: {finished} of {shards} shards{end}");
        let _ = terminal.flush();
    }
}

fn tell(scenario: &Scenario, report: &Report, wanted: &Wanted) -> std::io::Result<()> {
    let summary = Summary::new(scenario, report);
    let mut out = std::io::stdout().lock();
    if wanted.json {
        return writeln!(out, "{}", serde_json::to_string(&summary)?);
    }
    for line in report.trace.iter().filter(|_| wanted.trace) {
        writeln!(out, "{line}")?;
    }
    writeln!(out, "{summary}")
}
