//! `cargo xtask bench-table`: the tables of BENCHMARKS.md, from what criterion has kept. Nothing there is typed by hand.

mod aims;
mod figures;
mod machine;
mod measured;

use crate::root;
use aims::{aims, benches_of_aims};
use figures::{figure_rows, figure_tables};
use measured::{Row, rows};
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

/// `cargo xtask bench-table`.
#[derive(clap::Args)]
pub struct Arguments {
    /// Forgets what was measured before and runs benches first, so that all rows are of one run: all of them, or only what the aims are
    /// about, some minutes; then only the table of aims is written.
    #[arg(long, value_name = "WHAT", num_args = 0..=1, default_missing_value = "all")]
    run: Option<Run>,
}

#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Run {
    All,
    Aims,
}

/// What stops the tables from being written.
#[derive(Debug, thiserror::Error)]
pub enum BenchTableError {
    /// A file can't be read or written.
    #[error("can't {doing} {path}: {source}; check that the file is there and yours", path = .path.display())]
    Io {
        /// What was tried.
        doing: &'static str,
        /// On which file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// One of criterion's files is not as expected.
    #[error(
        "{path} is not what this version of criterion writes: {source}; remove target/criterion and run with --run",
        path = .path.display()
    )]
    Format {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// The benches failed.
    #[error("`{COMMAND}` failed; its own message is above")]
    Benches,
    /// Nothing has been measured.
    #[error("nothing has been measured yet in {path}; run `cargo xtask bench-table --run`", path = .0.display())]
    Nothing(PathBuf),
    /// The place for the tables is missing.
    #[error(
        "{path} has no lines {} and {}; put them where the tables go",
        marker(place, "begin"),
        marker(place, "end"),
        path = path.display()
    )]
    NoMarkers {
        /// The file.
        path: PathBuf,
        /// What the place is called.
        place: &'static str,
    },
}

const COMMAND: &str = "cargo bench -p extman-benches";
const AIMS_COMMAND: &str = "cargo xtask bench-table --run aims";
/// What the two places are called where tables go.
const AIMS: &str = "bench-aims";
const TABLES: &str = "bench-table";
/// Rows that others are compared with, wherever a group has them.
const BASELINES: [&str; 10] = [
    "bare vtable call",
    "bare vtable call, timed",
    "futex hop, no call",
    "async hop, no call, current-thread runtime",
    "async hop, no call, multi-thread runtime",
    "dlopen + dlclose",
    "dlopen + dlclose, from sealed memory",
    "SHA-256 of its bytes",
    "bare SQLite row",
    "bare SQLite rows, by minutes",
];

/// Writes the tables; the text says where.
///
/// # Errors
/// There is nothing to write, or no place for it.
pub fn run(arguments: &Arguments) -> Result<String, BenchTableError> {
    // Beside each other: rows of two runs can't be compared.
    let is_aims = arguments.run == Some(Run::Aims);
    let kept = crate::target().join(if is_aims { "criterion-aims" } else { "criterion" });
    match arguments.run {
        Some(Run::All) => measure(&kept, &[])?,
        Some(Run::Aims) => measure(&kept, &benches_of_aims())?,
        None => {}
    }
    let (rows, figures) = (rows(&kept)?, figure_rows(&kept)?);
    let times = rows.iter().map(|row| row.at);
    let Some(last) = times.chain(figures.iter().map(|row| row.at)).max() else {
        return Err(BenchTableError::Nothing(kept));
    };
    let path = root().join("BENCHMARKS.md");
    let mut text = std::fs::read_to_string(&path).map_err(io("read", &path))?;
    let mut put = |place, tables: &[String]| {
        let new = between_markers(&text, place, &tables.join("\n"));
        text = new.ok_or_else(|| BenchTableError::NoMarkers {
            path: path.clone(),
            place,
        })?;
        Ok(())
    };
    let command = if is_aims { AIMS_COMMAND } else { COMMAND };
    let about = machine::description(last, command);
    put(AIMS, &[about.clone(), aims(&rows, &figures)])?;
    if !is_aims {
        put(TABLES, &[about, tables(&rows), figure_tables(&figures)])?;
    }
    std::fs::write(&path, text).map_err(io("write", &path))?;
    Ok(format!(
        "{} rows in {}",
        rows.len() + figures.len(),
        path.display()
    ))
}

/// Runs benches, what came of which lies in `kept` afterwards and nothing else: all, or the rows of some of them.
fn measure(kept: &Path, benches: &[aims::BenchRows]) -> Result<(), BenchTableError> {
    match std::fs::remove_dir_all(kept) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(io("remove", kept)(error)),
        _ => {}
    }
    if benches.is_empty() {
        return cargo_bench(kept, &[]);
    }
    benches.iter().try_for_each(|bench| {
        let rows = bench.filter();
        cargo_bench(kept, &["--bench", bench.name, "--", &rows])
    })
}

fn cargo_bench(kept: &Path, arguments: &[&str]) -> Result<(), BenchTableError> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let root = root();
    let status = Command::new(cargo)
        .args(COMMAND.split(' ').skip(1))
        .args(arguments)
        .env("CRITERION_HOME", kept)
        .current_dir(&root)
        .status()
        .map_err(io("run cargo in", &root))?;
    if status.success() {
        Ok(())
    } else {
        Err(BenchTableError::Benches)
    }
}

fn tables(rows: &[Row]) -> String {
    let mut groups: Vec<&str> = rows.iter().map(|row| row.group.as_str()).collect();
    groups.sort_unstable();
    groups.dedup();
    groups.iter().map(|group| table(group, rows)).collect()
}

/// The table of one group, the fastest row first.
fn table(group: &str, rows: &[Row]) -> String {
    let mut rows: Vec<_> = rows.iter().filter(|row| row.group == group).collect();
    rows.sort_by(|a, b| a.median_ns.total_cmp(&b.median_ns));
    let has = |name: &&&str| rows.iter().find(|row| row.name == **name).copied();
    let baselines: Vec<&Row> = BASELINES.iter().filter_map(|name| has(&name)).collect();
    let mut text = format!("### {group}\n\n| | median | 95 % interval |");
    for baseline in &baselines {
        let _ = write!(text, " ÷ {} |", baseline.name);
    }
    let _ = writeln!(text, "\n|---|---:|---:|{}", "---:|".repeat(baselines.len()));
    for row in rows {
        let (low, high) = row.interval_ns;
        let _ = write!(
            text,
            "| {} | {} | {} to {} |",
            row.name,
            time(row.median_ns),
            time(low),
            time(high)
        );
        for baseline in &baselines {
            let _ = write!(text, " {} |", ratio(row.median_ns / baseline.median_ns));
        }
        text.push('\n');
    }
    text.push('\n');
    text
}

fn time(ns: f64) -> String {
    let (value, unit) = match ns {
        ..1e3 => (ns, "ns"),
        1e3..1e6 => (ns / 1e3, "µs"),
        1e6..1e9 => (ns / 1e6, "ms"),
        _ => (ns / 1e9, "s"),
    };
    format!("{} {unit}", three_digits(value))
}

fn ratio(value: f64) -> String {
    three_digits(value)
}

fn three_digits(value: f64) -> String {
    match value {
        ..0.01 => format!("{value:.4}"),
        0.01..10.0 => format!("{value:.2}"),
        10.0..100.0 => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    }
}

fn between_markers(text: &str, place: &str, tables: &str) -> Option<String> {
    let (begin, end) = (marker(place, "begin"), marker(place, "end"));
    let (before, rest) = text.split_once(&begin)?;
    let (_, after) = rest.split_once(&end)?;
    Some(format!("{before}{begin}\n\n{}\n\n{end}{after}", tables.trim()))
}

fn marker(place: &str, side: &str) -> String {
    format!("<!-- {place}: {side} -->")
}

fn io(doing: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> BenchTableError {
    let path = path.to_owned();
    move |source| BenchTableError::Io { doing, path, source }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::UNIX_EPOCH;

    fn row(name: &str, median_ns: f64) -> Row {
        Row {
            group: "g".to_owned(),
            name: name.to_owned(),
            median_ns,
            interval_ns: (median_ns - 1.0, median_ns + 1.0),
            at: UNIX_EPOCH,
        }
    }

    #[test]
    fn rows_are_ordered_and_compared_with_each_baseline_that_is_there() {
        let rows = [
            row("slow", 4000.0),
            row("bare vtable call", 20.0),
            row("futex hop, no call", 2000.0),
        ];
        let text = table("g", &rows);
        let lines: Vec<_> = text.lines().skip(2).collect();
        assert_eq!(
            lines[0],
            "| | median | 95 % interval | ÷ bare vtable call | ÷ futex hop, no call |"
        );
        assert_eq!(
            lines[2],
            "| bare vtable call | 20.0 ns | 19.0 ns to 21.0 ns | 1.00 | 0.01 |"
        );
        assert_eq!(lines[4], "| slow | 4.00 µs | 4.00 µs to 4.00 µs | 200 | 2.00 |");
    }

    #[test]
    fn only_what_is_between_the_markers_of_a_place_is_replaced() {
        let text = "a\n<!-- x: begin -->\nold\n<!-- x: end -->\nb\n<!-- y: begin -->\nold\n<!-- y: end -->\n";
        let new = between_markers(text, "x", "new\n").unwrap();
        assert_eq!(
            new,
            "a\n<!-- x: begin -->\n\nnew\n\n<!-- x: end -->\nb\n<!-- y: begin -->\nold\n<!-- y: end -->\n"
        );
        assert_eq!(between_markers(&new, "x", "new").unwrap(), new);
        assert!(between_markers("no markers", "x", "new").is_none());
    }
}
