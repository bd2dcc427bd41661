//! Writing down how ten thousand instances were, and reading one of them. How large the file becomes is measured in `history_size`.

use criterion::{
    BenchmarkGroup, Criterion, Throughput, criterion_group, criterion_main, measurement::WallTime,
};
use extman_benches::history::{BEGIN_MS, DAY_MS, HOUR_MS, MINUTE_MS, failed, minute};
use extman_benches::timing::{MEASURED, SAMPLES, WARMED_UP};
use extman_history::{HistoryFile, Range};
use extman_model::history::Resolution;
use extman_model::record::Record;
use rusqlite::Connection;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(SAMPLES / 2).measurement_time(MEASURED).warm_up_time(WARMED_UP);
    targets = history
}
criterion_main!(benches);

/// As many as criterion measures; as few as only shows that it runs.
const INSTANCES: usize = 10_000;
const INSTANCES_OF_A_TEST: usize = 20;

fn history(criterion: &mut Criterion) {
    let is_test = std::env::args().any(|argument| argument == "--test");
    let count = if is_test { INSTANCES_OF_A_TEST } else { INSTANCES };
    let names: Vec<Arc<str>> = (0..count).map(|n| format!("plugin-{n:05}").into()).collect();
    writing(
        &mut criterion.benchmark_group("history, one record written"),
        &names,
    );
    reading(
        &mut criterion.benchmark_group("history, a day of 10,000 instances in the file"),
        &names,
    );
}

fn writing(group: &mut BenchmarkGroup<'_, WallTime>, names: &[Arc<str>]) {
    group.throughput(Throughput::Elements(1));
    for (name, busy) in [
        ("a minute of an idle instance", false),
        ("a minute with 60 calls", true),
    ] {
        group.bench_function(name, |b| {
            b.iter_custom(|times| {
                written(names, times, |name, n| {
                    minute(name, BEGIN_MS + n * MINUTE_MS, busy)
                })
            });
        });
        group.bench_function(format!("{name}, folded too"), |b| {
            b.iter_custom(|times| folded(&names[..names.len().min(1000)], times, busy));
        });
    }
    group.bench_function("bare SQLite row", |b| {
        b.iter_custom(|times| written_bare(names.len(), times))
    });
    group.bench_function("a check that failed", |b| {
        b.iter_custom(|times| written(names, times, |name, n| failed(name, BEGIN_MS + n * 10_000)));
    });
}

/// Time for so many records, in whole rounds of all instances, a batch each.
fn written(names: &[Arc<str>], times: u64, record: impl Fn(&Arc<str>, u64) -> Record) -> Duration {
    let (_dir, mut file) = begun(names);
    let whole = times.next_multiple_of(names.len() as u64);
    let took = write(&mut file, names, whole, record);
    took.mul_f64(times as f64 / whole as f64)
}

/// A file that knows the instances.
fn begun(names: &[Arc<str>]) -> (tempfile::TempDir, HistoryFile) {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let mut file = HistoryFile::open(&dir.path().join("history.db"), BEGIN_MS).expect("a file");
    write(&mut file, names, names.len() as u64, |name, _| {
        failed(name, BEGIN_MS - DAY_MS)
    });
    (dir, file)
}

fn write(
    file: &mut HistoryFile,
    names: &[Arc<str>],
    times: u64,
    record: impl Fn(&Arc<str>, u64) -> Record,
) -> Duration {
    let (mut took, mut left, mut round) = (Duration::ZERO, times, 0);
    while left > 0 {
        let batch: Vec<Record> = names
            .iter()
            .take(usize::try_from(left).unwrap_or(usize::MAX))
            .map(|name| record(name, round))
            .collect();
        let began = Instant::now();
        file.write(&batch, BEGIN_MS + DAY_MS * 365).expect("written");
        took += began.elapsed();
        left -= batch.len() as u64;
        round += 1;
    }
    took
}

/// The least that a minute costs: one row with the same numbers, in transactions of as many rows.
fn written_bare(count: usize, times: u64) -> Duration {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let mut file = bare_file(dir.path());
    let whole = times.next_multiple_of(count as u64);
    let mut took = Duration::ZERO;
    for round in 0..whole / count as u64 {
        let began = Instant::now();
        write_bare(&mut file, round, count);
        took += began.elapsed();
    }
    took.mul_f64(times as f64 / whole as f64)
}

fn bare_file(dir: &Path) -> Connection {
    let file = Connection::open(dir.join("bare.db")).expect("a file");
    file.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(()))
        .expect("a log");
    file.pragma_update(None, "synchronous", "NORMAL")
        .expect("a setting");
    file.execute_batch(
        "CREATE TABLE minute (minute INTEGER, instance INTEGER, up INTEGER, checks INTEGER, calls INTEGER, p95 INTEGER, heap INTEGER,
         PRIMARY KEY (instance, minute)) WITHOUT ROWID",
    )
    .expect("a table");
    file
}

fn write_bare(file: &mut Connection, minute: u64, count: usize) {
    let transaction = file.transaction().expect("a transaction");
    let mut insert = transaction
        .prepare_cached("INSERT INTO minute VALUES (?1, ?2, 60000, 6, 60, 3000000, 41943040)")
        .expect("SQL");
    for instance in 0..count {
        insert.execute((minute as i64, instance as i64)).expect("written");
    }
    drop(insert);
    transaction.commit().expect("written");
}

/// The least that reading a day costs: its 1,440 rows.
fn read_bare(file: &Connection, instance: i64) -> i64 {
    let mut select = file
        .prepare_cached("SELECT up, checks, calls, p95, heap FROM minute WHERE instance = ?1 ORDER BY minute")
        .expect("SQL");
    let rows = select
        .query_map([instance], |row| {
            Ok(row.get::<_, i64>(0)?
                + row.get::<_, i64>(1)?
                + row.get::<_, i64>(2)?
                + row.get::<_, i64>(3)?
                + row.get::<_, i64>(4)?)
        })
        .expect("an answer");
    rows.map(|row| row.expect("a row")).sum()
}

/// The same in whole hours, with folding them.
fn folded(names: &[Arc<str>], times: u64, busy: bool) -> Duration {
    let (_dir, mut file) = begun(names);
    let whole = times.next_multiple_of(60 * names.len() as u64);
    let mut took = write(&mut file, names, whole, |name, n| {
        minute(name, BEGIN_MS + n * MINUTE_MS, busy)
    });
    let began = Instant::now();
    while file.fold(u64::MAX).expect("folded") {}
    took += began.elapsed();
    took.mul_f64(times as f64 / whole as f64)
}

fn reading(group: &mut BenchmarkGroup<'_, WallTime>, names: &[Arc<str>]) {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let mut file = HistoryFile::open(&dir.path().join("history.db"), BEGIN_MS).expect("a file");
    // The last hour is still open, as it is in a host that runs.
    for hour in 0..24 {
        let of_hour = 60 * names.len() as u64;
        write(&mut file, names, of_hour, |name, n| {
            let from = BEGIN_MS + hour * HOUR_MS + n * MINUTE_MS;
            minute(name, from, n % 4 == 0)
        });
        while hour < 23 && file.fold(BEGIN_MS + (hour + 2) * HOUR_MS).expect("folded") {}
    }
    let reader = file.reader();
    let (name, day) = (&*names[names.len() / 2], Range::new(BEGIN_MS, BEGIN_MS + DAY_MS));
    for (row, resolution) in [
        ("24 h of one instance, by minutes", Resolution::Minute),
        ("24 h of one instance, by hours", Resolution::Hour),
    ] {
        group.bench_function(row, |b| {
            b.iter(|| reader.rollups(name, day, Some(resolution)).expect("an answer"));
        });
    }
    let mut bare = bare_file(dir.path());
    for minute in 0..24 * 60 {
        write_bare(&mut bare, minute, names.len());
    }
    let instance = names.len() as i64 / 2;
    group.bench_function("bare SQLite rows, by minutes", |b| {
        b.iter(|| read_bare(&bare, instance))
    });
}
