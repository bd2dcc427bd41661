//! Tables of what was observed, in `tests/FAULTS.md` and `tests/TRUTH.md`, between two marks each. A test run writes them when
//! `EXTMAN_WRITE_TABLES` is 1 and compares them otherwise.

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

/// Puts `table` between the marks called `name`, or holds it against what is there.
///
/// # Panics
/// The file says something else, or lacks the marks.
pub fn publish(name: &str, table: &str) {
    publish_in("tests/FAULTS.md", name, table);
}

/// The same, in another file of the project.
///
/// # Panics
/// As there.
pub fn publish_in(file: &str, name: &str, table: &str) {
    static WRITING: Mutex<()> = Mutex::new(());
    let _writing = WRITING.lock().unwrap_or_else(PoisonError::into_inner);
    let (path, before, published, after) = parts(file, name);
    if is_writing() {
        std::fs::write(path, format!("{before}\n{}\n{after}", table.trim()))
            .unwrap_or_else(|error| panic!("{file} is not written: {error}"));
    } else {
        let advice = format!("{file} is out of date: run this test again with EXTMAN_WRITE_TABLES=1");
        assert!(
            published.trim() == table.trim(),
            "{advice}; it should say\n{table}\nwhich differs in\n{}",
            differing(published.trim(), table.trim())
        );
    }
}

/// The lines that one of the two lacks: `-` as published, `+` as seen. They come last, where they are read when the table is long.
fn differing(published: &str, seen: &str) -> String {
    let gone = published
        .lines()
        .filter(|line| !seen.lines().any(|other| other == *line));
    let new = seen
        .lines()
        .filter(|line| !published.lines().any(|other| other == *line));
    let lines: Vec<String> = gone
        .map(|line| format!("- {line}"))
        .chain(new.map(|line| format!("+ {line}")))
        .collect();
    lines.join("\n")
}

/// Writes a table that differs from run to run, when that was asked for.
///
/// # Panics
/// The file lacks the marks.
pub fn publish_if_asked(name: &str, table: &str) {
    if is_writing() {
        publish(name, table);
    }
}

fn is_writing() -> bool {
    std::env::var("EXTMAN_WRITE_TABLES").is_ok_and(|value| value == "1")
}

fn parts(file: &str, name: &str) -> (PathBuf, String, String, String) {
    let path = xtask::root().join(file);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{file} can't be read: {error}"));
    let (begin, end) = (format!("<!-- begin {name} -->"), format!("<!-- end {name} -->"));
    let (Some(from), Some(to)) = (text.find(&begin), text.find(&end)) else {
        panic!("{file} lacks the marks {begin} and {end}");
    };
    let from = from + begin.len();
    let part = |range: std::ops::Range<usize>| text[range].to_owned();
    (path, part(0..from), part(from..to), part(to..text.len()))
}
