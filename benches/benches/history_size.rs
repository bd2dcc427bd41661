//! How large the history's file becomes: a day of ten thousand instances, written and brought together as the host does it.

use extman_benches::figures::{Asked, Figure};
use extman_benches::history::{BEGIN_MS, HOUR_MS, MINUTE_MS, failed, minute, transition};
use extman_history::HistoryFile;
use extman_model::record::Record;
use std::sync::Arc;

const GROUP: &str = "history, size of its file";
const HOURS: u64 = 24;

fn main() {
    let asked = Asked::from_args();
    for (name, kind) in [
        ("24 h of 10,000 idle instances", Kind::Idle),
        (
            "24 h of 10,000 instances, 60 calls in each fourth minute, down once an hour",
            Kind::Mixed,
        ),
        (
            "24 h of 10,000 busy instances, 60 calls in each minute",
            Kind::Busy,
        ),
    ] {
        asked.row(GROUP, name, |asked| day(asked.count(10_000), kind));
    }
}

/// What the instances do. All are checked every 10 s.
#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Idle,
    Mixed,
    Busy,
}

fn day(count: usize, kind: Kind) -> Vec<Figure> {
    let names: Vec<Arc<str>> = (0..count).map(|n| format!("plugin-{n:05}").into()).collect();
    let dir = tempfile::tempdir().expect("a temporary folder");
    let mut file = HistoryFile::open(&dir.path().join("history.db"), BEGIN_MS).expect("a file");
    for number in 0..HOURS * 60 {
        let (from, now) = (BEGIN_MS + number * MINUTE_MS, BEGIN_MS + (number + 1) * MINUTE_MS);
        let of = |name: &Arc<str>, records: &mut Vec<Record>| {
            if number == 0 {
                records.push(transition(name, from, true));
            } else if number % 60 == 0 && kind == Kind::Mixed {
                records.push(transition(name, from, false));
                records.extend((0..3).map(|n| failed(name, from + n * 10_000)));
                records.push(transition(name, from + MINUTE_MS / 2, true));
            }
            let busy = kind == Kind::Busy || kind == Kind::Mixed && number % 4 == 0;
            records.push(minute(name, from, busy));
        };
        let mut records = Vec::new();
        names.iter().for_each(|name| of(name, &mut records));
        // In as many transactions as the host would use at least.
        for batch in records.chunks(8192) {
            file.write(batch, now).expect("written");
        }
        while file.fold(now).expect("folded") {}
    }
    // The last hour ends.
    let end = BEGIN_MS + (HOURS + 1) * HOUR_MS;
    while file.fold(end).expect("folded") {}
    let bytes = file.size_bytes() as f64;
    vec![
        ("MiB", bytes / f64::from(1 << 20)),
        ("bytes an instance", bytes / count as f64),
    ]
}
