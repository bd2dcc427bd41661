//! `cargo xtask judge-trial`: a thousand updates to the same build and to worse ones, under noise, and what the judge made of them; the table in
//! BENCHMARKS.md. The updates are simulated by the package `extman-simulator`, which is built when it is needed, so that this package stays small.

use crate::root;
use serde_json::Value;
use std::fmt::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// `cargo xtask judge-trial`.
#[derive(clap::Args)]
pub struct Arguments {
    /// Where chance comes from: the same seed gives the same table.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Updates for each row.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..))]
    updates: u32,
    /// Seconds after which an update that is still held counts as held.
    #[arg(long, default_value_t = 7200)]
    window_s: u32,
    /// Calls a second, one row each for every regression.
    #[arg(long, value_delimiter = ',', default_values_t = [0.1, 1.0, 10.0, 100.0])]
    rates: Vec<f64>,
    /// On so many threads; as many as there are processors, if it is not said.
    #[arg(long)]
    threads: Option<usize>,
    /// Prints the table and leaves BENCHMARKS.md as it is.
    #[arg(long)]
    print: bool,
}

/// Why there is no table, or no good one.
#[derive(Debug, thiserror::Error)]
pub enum JudgeTrialError {
    /// Cargo can't be run.
    #[error("cargo can't be run: {0}; is it in the PATH?")]
    Cargo(std::io::Error),
    /// The simulator can't be built, or could not run.
    #[error("the simulator can't be built or run; its words are above")]
    NotRun,
    /// What it says is not understood.
    #[error(
        "the simulator's answer is not understood: {0}; are this program and the simulator of the same sources?"
    )]
    Answer(String),
    /// The file can't be read or written.
    #[error("can't read or write {path}: {source}; check that the file is there and yours", path = .path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// The place for the table is missing.
    #[error("{path} has no lines {BEGIN} and {END}; put them where the table goes", path = .0.display())]
    NoMarkers(PathBuf),
    /// An aim is missed.
    #[error("{0}\nan aim is missed: see the last column")]
    Missed(String),
}

const BEGIN: &str = "<!-- judge-trial: begin -->";
const END: &str = "<!-- judge-trial: end -->";

/// Runs the trial and writes the table.
///
/// # Errors
/// It can't be built or run, the file can't be written, or an aim is missed.
pub fn run(arguments: &Arguments) -> Result<String, JudgeTrialError> {
    let rows = rows(&simulate(arguments)?)?;
    let table = table(&rows, arguments);
    if !arguments.print {
        let path = root().join("BENCHMARKS.md");
        let file = |source| JudgeTrialError::File {
            path: path.clone(),
            source,
        };
        let text = std::fs::read_to_string(&path).map_err(file)?;
        let text = between_markers(&text, &table).ok_or_else(|| JudgeTrialError::NoMarkers(path.clone()))?;
        std::fs::write(&path, text).map_err(file)?;
    }
    if rows.iter().any(|row| row.aim() == Aim::Missed) {
        return Err(JudgeTrialError::Missed(table));
    }
    Ok(table)
}

fn simulate(arguments: &Arguments) -> Result<String, JudgeTrialError> {
    let threads = arguments
        .threads
        .unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from));
    let wanted = serde_json::json!({
        "seed": arguments.seed,
        "updates": arguments.updates,
        "window_s": arguments.window_s,
        "per_second": arguments.rates,
        "threads": threads,
    });
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args([
            "run",
            "--quiet",
            "--release",
            "-p",
            "extman-simulator",
            "--bin",
            "judge-trial",
            "--",
        ])
        .arg(wanted.to_string())
        .current_dir(root())
        .stderr(Stdio::inherit())
        .output()
        .map_err(JudgeTrialError::Cargo)?;
    if !output.status.success() {
        return Err(JudgeTrialError::NotRun);
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The updates of one regression at one rate.
#[derive(Debug, Clone, PartialEq)]
struct Row {
    regression: String,
    per_second: f64,
    updates: u64,
    taken_back: u64,
    for_its_reason: u64,
    after_switch: u64,
    promoted: u64,
    held: u64,
    seconds: Vec<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Aim {
    Met,
    /// Too few calls to tell, and nothing was told.
    Held,
    Missed,
}

impl Row {
    /// Of the same build no more than 1 % are taken back, of a worse one no less than 99 %; where evidence is lacking, no more than 1 % of a worse one
    /// are promoted.
    fn aim(&self) -> Aim {
        let percent = |of: u64| of as f64 * 100.0 / self.updates as f64;
        match &*self.regression {
            "none" if percent(self.taken_back) > 1.0 => Aim::Missed,
            "none" if self.held > 0 && percent(self.promoted) < 99.0 => Aim::Held,
            "none" => Aim::Met,
            _ if percent(self.taken_back) >= 99.0 => Aim::Met,
            _ if percent(self.promoted) <= 1.0 => Aim::Held,
            _ => Aim::Missed,
        }
    }

    fn name(&self) -> &str {
        match &*self.regression {
            "none" => "the same build",
            "errors" => "5 % errors",
            "latency" => "latency × 1.5",
            "leak" => "a leak, 16 KiB a call",
            "panic" => "a panic in 200 calls",
            other => other,
        }
    }
}

fn rows(answer: &str) -> Result<Vec<Row>, JudgeTrialError> {
    answer.lines().map(row).collect()
}

fn row(line: &str) -> Result<Row, JudgeTrialError> {
    let not_understood = || JudgeTrialError::Answer(line.chars().take(200).collect());
    let value: Value = serde_json::from_str(line).map_err(|_| not_understood())?;
    let ends = &value["ends"];
    let number = |name: &str| ends[name].as_u64().ok_or_else(not_understood);
    let seconds = ends["seconds"].as_array().ok_or_else(not_understood)?;
    let mut seconds: Vec<u64> = seconds.iter().filter_map(Value::as_u64).collect();
    seconds.sort_unstable();
    Ok(Row {
        regression: value["regression"]
            .as_str()
            .ok_or_else(not_understood)?
            .to_owned(),
        per_second: value["per_second"].as_f64().ok_or_else(not_understood)?,
        updates: number("updates")?,
        taken_back: number("taken_back")?,
        for_its_reason: number("for_its_reason")?,
        after_switch: number("after_switch")?,
        promoted: number("promoted")?,
        held: number("held")?,
        seconds,
    })
}

fn table(rows: &[Row], arguments: &Arguments) -> String {
    let mut text = format!(
        "- Command: `cargo xtask judge-trial --seed {} --updates {} --window-s {}`\n\n",
        arguments.seed, arguments.updates, arguments.window_s
    );
    text += "| the new version | calls a second | taken back | for its reason | after it had all calls | promoted | not enough evidence | \
             until taken back: median | 99 % | |\n|---|---:|---:|---:|---:|---:|---:|---:|---:|---|\n";
    for row in rows {
        let percent = |of: u64| format!("{:.1} %", of as f64 * 100.0 / row.updates.max(1) as f64);
        let after = |share: usize| {
            let at = (row.seconds.len() * share / 100).min(row.seconds.len().saturating_sub(1));
            row.seconds
                .get(at)
                .map_or(String::new(), |seconds| format!("{seconds} s"))
        };
        let reason = if row.regression == "none" {
            String::new()
        } else {
            percent(row.for_its_reason)
        };
        let aim = match row.aim() {
            Aim::Met => "met",
            Aim::Held => "held",
            Aim::Missed => "missed",
        };
        let _ = writeln!(
            text,
            "| {} | {} | {} | {reason} | {} | {} | {} | {} | {} | {aim} |",
            row.name(),
            row.per_second,
            percent(row.taken_back),
            percent(row.after_switch),
            percent(row.promoted),
            percent(row.held),
            after(50),
            after(99),
        );
    }
    text
}

fn between_markers(text: &str, table: &str) -> Option<String> {
    let (before, rest) = text.split_once(BEGIN)?;
    let (_, after) = rest.split_once(END)?;
    Some(format!("{before}{BEGIN}\n\n{}\n\n{END}{after}", table.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &str = r#"{"regression":"errors","per_second":10.0,"ends":{"updates":4,"taken_back":3,"for_its_reason":3,"after_switch":1,"promoted":0,"held":1,"seconds":[90,30,60]}}"#;

    fn arguments() -> Arguments {
        Arguments {
            seed: 1,
            updates: 4,
            window_s: 60,
            rates: vec![10.0],
            threads: None,
            print: true,
        }
    }

    #[test]
    fn row_of_the_simulator_is_a_row_of_the_table() {
        let rows = rows(LINE).unwrap();
        let text = table(&rows, &arguments());
        assert_eq!(
            text.lines().last().unwrap(),
            "| 5 % errors | 10 | 75.0 % | 75.0 % | 25.0 % | 0.0 % | 25.0 % | 60 s | 90 s | held |"
        );
        assert!(matches!(row("{}"), Err(JudgeTrialError::Answer(_))));
    }

    #[test]
    fn aims_are_what_they_are_said_to_be() {
        let of = |regression: &str, taken_back, promoted| Row {
            regression: regression.to_owned(),
            updates: 1_000,
            taken_back,
            promoted,
            held: 1_000 - taken_back - promoted,
            ..row(LINE).unwrap()
        };
        for (row, aim) in [
            (of("none", 10, 990), Aim::Met),
            (of("none", 11, 989), Aim::Missed),
            (of("none", 0, 0), Aim::Held),
            (of("leak", 990, 10), Aim::Met),
            (of("leak", 989, 11), Aim::Missed),
            (of("leak", 5, 0), Aim::Held),
        ] {
            assert_eq!(row.aim(), aim, "{row:?}");
        }
    }

    #[test]
    fn only_what_is_between_the_markers_is_replaced() {
        let text = format!("a\n{BEGIN}\nold\n{END}\nb\n");
        let new = between_markers(&text, "new\n").unwrap();
        assert_eq!(new, format!("a\n{BEGIN}\n\nnew\n\n{END}\nb\n"));
        assert!(between_markers("no markers", "new").is_none());
    }
}
