//! A host that is killed, and a disk that takes no more: each in a process of its own, which is this test once more.

use super::{DAY, SOON, check, failed, minute, now, transition, up};
use crate::{History, HistoryConfig, HistoryState, Range};
use extman_model::history::Resolution;
use extman_model::record::Record;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

const DIR: &str = "EXTMAN_TEST_HISTORY_DIR";
const ALL: Range = Range {
    from_unix_ms: 0,
    to_unix_ms: u64::MAX,
};

fn config(dir: &Path) -> HistoryConfig {
    HistoryConfig {
        file: dir.join("history.db"),
        batch_ms: 1,
        ..HistoryConfig::default()
    }
}

/// The directory, if this is the process that the test started.
fn dir_of_child() -> Option<PathBuf> {
    std::env::var_os(DIR).map(PathBuf::from)
}

/// This test once more, by a shell that has it live through writes beyond its limit (they would end it by a signal otherwise).
fn child(test: &str, dir: &Path) -> Child {
    Command::new("sh")
        .args(["-c", "trap '' XFSZ; exec \"$0\" --exact --nocapture \"$1\""])
        .arg(std::env::current_exe().unwrap())
        .arg(format!("tests::crash::{test}"))
        .env(DIR, dir)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

#[test]
fn killed_host_leaves_a_whole_file_and_its_last_heartbeat() {
    if let Some(dir) = dir_of_child() {
        return write_until_killed(&dir);
    }
    for _ in 0..3 {
        let dir = tempfile::tempdir().unwrap();
        let mut child = child(
            "killed_host_leaves_a_whole_file_and_its_last_heartbeat",
            dir.path(),
        );
        // A few batches are known to be written, and more are under way.
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let flushed = lines
            .map_while(Result::ok)
            .filter(|line| line.contains("written"))
            .take(5)
            .count();
        child.kill().unwrap();
        assert!(child.wait().unwrap().code().is_none() && flushed == 5);

        let history = History::start(&config(dir.path())).unwrap();
        let status = history.status();
        assert!(
            status.set_aside.is_empty() && status.state == HistoryState::Working,
            "{status:?}"
        );
        let reader = history.reader().unwrap();
        let runs = host_runs(&config(dir.path()).file);
        let spans = reader.spans("a", ALL, 10_000).unwrap().rows;
        let [span] = spans.as_slice() else {
            panic!("{spans:?}")
        };
        // It ends where the dead host last wrote, which is after its beginning and before the new one.
        assert!(
            span.cut && span.to_unix_ms == Some(runs[0].to_unix_ms),
            "{span:?} {runs:?}"
        );
        assert!(
            runs.len() == 2 && runs[0].length_ms() > 0 && runs[0].to_unix_ms <= runs[1].from_unix_ms,
            "{runs:?}"
        );
        let minutes = reader.rollups("a", ALL, None).unwrap().rows;
        assert!(minutes.iter().map(|row| row.states.up).sum::<u64>() >= 5 * 50);
        let connection = rusqlite::Connection::open(&config(dir.path()).file).unwrap();
        let check: String = connection
            .query_row("PRAGMA integrity_check", [], |row| row.get(0))
            .unwrap();
        assert_eq!(check, "ok");
    }
}

fn host_runs(file: &Path) -> Vec<Range> {
    let connection = rusqlite::Connection::open(file).unwrap();
    let mut select = connection
        .prepare("SELECT from_ms, alive_ms FROM host_run ORDER BY id")
        .unwrap();
    let runs = select
        .query_map([], |row| {
            Ok(Range::new(
                row.get::<_, i64>(0)? as u64,
                row.get::<_, i64>(1)? as u64,
            ))
        })
        .unwrap();
    runs.map(Result::unwrap).collect()
}

fn write_until_killed(dir: &Path) {
    let history = History::start(&config(dir)).unwrap();
    let begin = now();
    history.record(Record::Transition(transition("a", now(), up())));
    loop {
        for n in 0..50 {
            history.record(Record::Minute(Box::new(minute("a", begin + n * 60_000, 1))));
            history.record(check(failed("a", now())));
        }
        assert!(history.flush(SOON));
        println!("written");
    }
}

#[test]
fn a_disk_that_takes_no_more_degrades_the_history_until_it_does() {
    if let Some(dir) = dir_of_child() {
        return meet_the_limit(&dir);
    }
    let dir = tempfile::tempdir().unwrap();
    let output = child(
        "a_disk_that_takes_no_more_degrades_the_history_until_it_does",
        dir.path(),
    )
    .wait_with_output()
    .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("came through"), "{text}");
}

fn meet_the_limit(dir: &Path) {
    let limit = |current| {
        let maximum = getrlimit(Resource::Fsize).maximum;
        setrlimit(Resource::Fsize, Rlimit { current, maximum }).unwrap();
    };
    let config = HistoryConfig {
        queue_max: 1000,
        ..config(dir)
    };
    let history = History::start(&config).unwrap();
    assert!(history.record(Record::Transition(transition("a", DAY, up()))) && history.flush(SOON));

    let begin = now();
    limit(Some(0));
    let mut sent = 0;
    let mut is_degraded = || {
        for _ in 0..100 {
            let from = begin + sent * 60_000;
            sent += u64::from(history.record(Record::Minute(Box::new(minute("a", from, 1)))));
        }
        history.flush(SOON);
        matches!(history.status().state, HistoryState::Degraded { .. })
    };
    assert!(
        std::iter::repeat_with(&mut is_degraded)
            .take(200)
            .any(|degraded| degraded)
    );
    // Nobody waits for it; what finds no room is counted.
    while history.record(Record::Transition(transition("b", DAY, up()))) {}
    let status = history.status();
    assert!(
        status.dropped.transitions == 1 && status.queue_len == 1000,
        "{status:?}"
    );
    assert!(!history.flush(SOON));
    // What is written already can be read.
    assert_eq!(
        history
            .reader()
            .unwrap()
            .spans("a", ALL, 10_000)
            .unwrap()
            .rows
            .len(),
        1
    );

    limit(None);
    assert!(history.flush(SOON), "{:?}", history.status());
    assert_eq!(history.status().state, HistoryState::Working);
    let days = history
        .reader()
        .unwrap()
        .rollups("a", ALL, Some(Resolution::Day))
        .unwrap();
    assert_eq!(days.rows.iter().map(|row| row.checks).sum::<u64>(), 6 * sent);
    assert_eq!(
        history
            .reader()
            .unwrap()
            .spans("b", ALL, 10_000)
            .unwrap()
            .rows
            .len(),
        1
    );
    println!("came through");
}
