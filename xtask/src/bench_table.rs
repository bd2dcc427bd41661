//! `cargo xtask bench-table`: the tables of BENCHMARKS.md, from what criterion has kept. Nothing there is typed by hand.

mod aims;
mod figures;
mod machine;
mod measured;

use crate::root;
use aims::aims;
use figures::{figure_rows, figure_tables};
use measured::{Row, rows};
use std::fmt::Write;
use std::path::PathBuf;
use std::process::Command;

/// `cargo xtask bench-table`.
#[derive(clap::Args)]
pub struct Arguments {
    /// Forgets what was measured before and runs all benches first, so that all rows are of one run.
    #[arg(long)]
    run: bool,
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
    #[error("{path} has no lines {BEGIN} and {END}; put them where the tables go", path = .0.display())]
    NoMarkers(PathBuf),
}

const COMMAND: &str = "cargo bench -p extman-benches";
const BEGIN: &str = "<!-- bench-table: begin -->";
const END: &str = "<!-- bench-table: end -->";
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
    let kept = crate::target().join("criterion");
    if arguments.run {
        measure(&kept)?;
    }
    let (rows, figures) = (rows(&kept)?, figure_rows(&kept)?);
    let times = rows.iter().map(|row| row.at);
    let Some(last) = times.chain(figures.iter().map(|row| row.at)).max() else {
        return Err(BenchTableError::Nothing(kept));
    };
    let tables = [
        machine::description(last, COMMAND),
        aims(&rows, &figures),
        tables(&rows),
        figure_tables(&figures),
    ]
    .join("\n");
    let path = root().join("BENCHMARKS.md");
    let text = std::fs::read_to_string(&path).map_err(io("read", &path))?;
    let text = between_markers(&text, &tables).ok_or_else(|| BenchTableError::NoMarkers(path.clone()))?;
    std::fs::write(&path, text).map_err(io("write", &path))?;
    Ok(format!(
        "{} rows in {}",
        rows.len() + figures.len(),
        path.display()
    ))
}

fn measure(kept: &std::path::Path) -> Result<(), BenchTableError> {
    match std::fs::remove_dir_all(kept) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(io("remove", kept)(error)),
        _ => {}
    }
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let root = root();
    let status = Command::new(cargo)
        .args(COMMAND.split(' ').skip(1))
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

fn between_markers(text: &str, tables: &str) -> Option<String> {
    let (before, rest) = text.split_once(BEGIN)?;
    let (_, after) = rest.split_once(END)?;
    Some(format!("{before}{BEGIN}\n\n{}\n\n{END}{after}", tables.trim()))
}

fn io(doing: &'static str, path: &std::path::Path) -> impl FnOnce(std::io::Error) -> BenchTableError {
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
    fn only_what_is_between_the_markers_is_replaced() {
        let text = format!("a\n{BEGIN}\nold\n{END}\nb\n");
        let new = between_markers(&text, "new\n").unwrap();
        assert_eq!(new, format!("a\n{BEGIN}\n\nnew\n\n{END}\nb\n"));
        assert_eq!(between_markers(&new, "new").unwrap(), new);
        assert!(between_markers("no markers", "new").is_none());
    }
}
