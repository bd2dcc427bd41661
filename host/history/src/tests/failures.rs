//! What befalls the file or the disk befalls the history alone, is told, and passes when its cause does.

use super::{DAY, SOON, minute, now, transition, up};
use crate::open::beside;
use crate::{History, HistoryConfig, HistoryState, Range};
use extman_model::record::{KeyValueRow, Record, StateTransition};
use std::fs::{self, File};
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

const ALL: Range = Range {
    from_unix_ms: 0,
    to_unix_ms: u64::MAX,
};

fn config(dir: &Path) -> HistoryConfig {
    HistoryConfig {
        file: dir.join("history.db"),
        ..HistoryConfig::default()
    }
}

/// A history with one span and many minutes, closed.
fn written(config: &HistoryConfig) {
    let history = History::start(config).unwrap();
    assert!(history.record(Record::Transition(transition("before", DAY, up()))));
    for n in 0..5000 {
        history.record(Record::Minute(Box::new(minute("before", DAY + n * 60_000, 1000))));
    }
    assert!(history.flush(SOON) && history.close(SOON));
}

fn works(history: &History) {
    assert!(history.record(Record::Transition(transition("after", DAY, up()))));
    assert!(history.flush(SOON), "{:?}", history.status());
    assert_eq!(history.status().state, HistoryState::Working);
    let spans = history
        .reader()
        .unwrap()
        .spans("after", ALL, 10_000)
        .unwrap()
        .rows;
    assert_eq!(spans.last().unwrap().to_unix_ms, None);
}

/// Why it is degraded.
fn degraded(history: &History) -> String {
    match history.state() {
        HistoryState::Degraded { why, .. } => why,
        state => panic!("{state:?}"),
    }
}

fn overwrite(path: &Path, at: u64, bytes: &[u8]) {
    let mut file = File::options().write(true).open(path).unwrap();
    file.seek(SeekFrom::Start(at)).unwrap();
    file.write_all(bytes).unwrap();
}

#[test]
fn a_broken_file_is_set_aside_whole_and_a_new_one_begun() {
    let breaks: [fn(&Path); 4] = [
        // No database at all.
        |path| fs::write(path, "not a database").unwrap(),
        // A bad header.
        |path| overwrite(path, 0, b"SQLite format 9"),
        // Pages in the middle.
        |path| overwrite(path, 2 * 4096, &[0x5a; 8 * 4096]),
        // Cut.
        |path| {
            File::options()
                .write(true)
                .open(path)
                .unwrap()
                .set_len(3 * 4096 + 100)
                .unwrap()
        },
    ];
    for (number, break_it) in breaks.into_iter().enumerate() {
        let dir = tempfile::tempdir().unwrap();
        let config = config(dir.path());
        written(&config);
        break_it(&config.file);
        let bytes = fs::read(&config.file).unwrap();
        let history = History::start(&config).unwrap();
        works(&history);
        let aside = history.status().set_aside;
        let name = aside
            .first()
            .unwrap_or_else(|| panic!("{number}: nothing was set aside"))
            .to_string_lossy();
        assert!(name.contains("history.db.corrupt-"), "{name}");
        assert_eq!(fs::read(&aside[0]).unwrap(), bytes);
        assert!(
            history
                .reader()
                .unwrap()
                .spans("before", ALL, 10_000)
                .unwrap()
                .rows
                .is_empty()
        );
    }
}

#[test]
fn only_the_newest_broken_files_are_kept() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(dir.path());
    for _ in 0..5 {
        fs::write(&config.file, "not a database").unwrap();
        let history = History::start(&config).unwrap();
        assert_eq!(history.status().set_aside.len(), 1);
        assert!(history.close(SOON));
    }
    let names = fs::read_dir(dir.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name());
    let aside = names.filter(|name| name.to_string_lossy().contains(".corrupt-"));
    assert_eq!(aside.count(), 3);
}

#[test]
fn a_file_that_breaks_while_the_host_runs_is_set_aside_and_what_goes_on_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(dir.path());
    written(&config);
    let history = History::start(&config).unwrap();
    assert!(history.record(Record::Transition(transition("goes on", DAY + 5, up()))) && history.flush(SOON));
    // Another program writes, so that nothing of before is taken from memory, and then breaks the file in place.
    let other = rusqlite::Connection::open(&config.file).unwrap();
    other
        .execute("INSERT INTO key_value VALUES ('theirs', 1, '')", [])
        .unwrap();
    other
        .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
        .unwrap();
    drop(other);
    let length = fs::metadata(&config.file).unwrap().len();
    overwrite(&config.file, 4096, &vec![0x5a; length as usize - 4096]);
    let is_set_aside = || {
        history.record(Record::Minute(Box::new(minute("before", DAY, 1))));
        history.record(Record::Transition(transition("another", DAY, up())));
        history.flush(SOON);
        !history.status().set_aside.is_empty()
    };
    assert!(
        std::iter::repeat_with(is_set_aside).take(50).any(|aside| aside),
        "{:?}",
        history.status()
    );
    works(&history);
    let spans = history
        .reader()
        .unwrap()
        .spans("goes on", ALL, 10_000)
        .unwrap()
        .rows;
    assert_eq!(
        spans.iter().map(|span| span.from_unix_ms).collect::<Vec<_>>(),
        [DAY + 5]
    );
}

#[test]
fn a_file_that_is_removed_or_replaced_is_noticed_and_what_goes_on_is_written_anew() {
    for replace in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        let config = config(dir.path());
        let history = History::start(&config).unwrap();
        assert!(
            history.record(Record::Transition(transition("goes on", DAY + 5, up()))) && history.flush(SOON)
        );
        let reader = history.reader().unwrap();
        assert_eq!(reader.spans("goes on", ALL, 10_000).unwrap().rows.len(), 1);
        if replace {
            fs::write(dir.path().join("other"), "").unwrap();
            fs::rename(dir.path().join("other"), &config.file).unwrap();
        } else {
            fs::remove_file(&config.file).unwrap();
        }
        works(&history);
        assert_eq!(history.status().replaced, 1);
        // Whoever asks now reads the new file.
        let reader = history.reader().unwrap();
        let spans = reader.spans("goes on", ALL, 10_000).unwrap().rows;
        assert_eq!(
            spans.iter().map(|span| span.from_unix_ms).collect::<Vec<_>>(),
            [DAY + 5]
        );
        assert_eq!(reader.spans("after", ALL, 10_000).unwrap().rows.len(), 1);
    }
}

#[test]
fn a_file_that_is_deleted_is_noticed_though_the_new_one_gets_its_number() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(dir.path());
    let history = History::start(&config).unwrap();
    let spent = KeyValueRow {
        key: "deep/a".into(),
        at_unix_ms: DAY,
        value: Some("3".into()),
    };
    assert!(history.record(Record::KeyValue(spent.clone())));
    assert!(history.record(Record::Transition(transition("goes on", DAY + 5, up()))) && history.flush(SOON));
    // No reader holds the old one, so its number is free as soon as the writer lets go of it.
    for part in ["", "-wal", "-shm"] {
        fs::remove_file(beside(&config.file, part)).unwrap();
    }
    works(&history);
    assert_eq!(history.status().replaced, 1);
    let reader = history.reader().unwrap();
    assert_eq!(reader.spans("goes on", ALL, 10_000).unwrap().rows.len(), 1);
    assert_eq!(reader.key_values("deep/").unwrap(), [spent]);
}

#[test]
fn what_only_a_reader_meets_is_set_aside_too() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(dir.path());
    let history = History::start(&config).unwrap();
    assert!(history.record(Record::Transition(transition("goes on", DAY + 5, up()))) && history.flush(SOON));
    // Where versions stand: what is written from here on does not come by it.
    let other = rusqlite::Connection::open(&config.file).unwrap();
    let root: u32 = other
        .query_row(
            "SELECT rootpage FROM sqlite_schema WHERE name = 'release_by_instance'",
            [],
            |row| row.get(0),
        )
        .unwrap();
    let page: u32 = other.query_row("PRAGMA page_size", [], |row| row.get(0)).unwrap();
    other
        .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
        .unwrap();
    drop(other);
    overwrite(
        &config.file,
        u64::from((root - 1) * page),
        &vec![0x5a; page as usize],
    );
    for n in 0..5 {
        assert!(history.record(Record::Transition(transition("more", DAY + n, up()))) && history.flush(SOON));
    }
    assert!(history.status().set_aside.is_empty(), "the writer has met it");
    assert!(history.reader().unwrap().releases("goes on").is_err());
    assert!(history.flush(SOON));
    assert_eq!(history.status().set_aside.len(), 1, "{:?}", history.status());
    assert_eq!(history.status().replaced, 0, "the host did it itself");
    works(&history);
    assert_eq!(
        history
            .reader()
            .unwrap()
            .spans("goes on", ALL, 10_000)
            .unwrap()
            .rows
            .len(),
        1
    );
}

#[test]
fn a_log_that_is_removed_takes_nothing_with_it() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(dir.path());
    let history = History::start(&config).unwrap();
    assert!(history.record(Record::Transition(transition("in the log", DAY, up()))) && history.flush(SOON));
    fs::remove_file(beside(&config.file, "-wal")).unwrap();
    works(&history);
    assert!(history.close(SOON));
    let history = History::start(&config).unwrap();
    assert_eq!(
        history
            .reader()
            .unwrap()
            .spans("in the log", ALL, 10_000)
            .unwrap()
            .rows
            .len(),
        1
    );
    assert_eq!(
        history
            .reader()
            .unwrap()
            .spans("after", ALL, 10_000)
            .unwrap()
            .rows
            .len(),
        1
    );
}

#[test]
fn what_is_a_newer_hosts_or_another_programs_is_refused_and_left_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(dir.path());
    written(&config);
    let sqlite = |sql: &str| {
        rusqlite::Connection::open(&config.file)
            .unwrap()
            .execute_batch(sql)
            .unwrap()
    };
    sqlite("PRAGMA user_version = 99; PRAGMA journal_mode = DELETE;");
    let bytes = fs::read(&config.file).unwrap();
    let history = History::start(&config).unwrap();
    let why = degraded(&history);
    assert!(history.reader().is_err() && history.close(SOON));
    assert!(why.contains("version 99"), "{why}");
    assert_eq!(fs::read(&config.file).unwrap(), bytes);

    fs::remove_file(&config.file).unwrap();
    sqlite("CREATE TABLE theirs (a); INSERT INTO theirs VALUES (1)");
    let bytes = fs::read(&config.file).unwrap();
    let why = degraded(&History::start(&config).unwrap());
    assert!(why.contains("another program"), "{why}");
    assert_eq!(fs::read(&config.file).unwrap(), bytes);
}

#[test]
fn second_host_on_one_file_is_degraded_reads_nothing_and_writes_once_the_first_has_ended() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(dir.path());
    let first = History::start(&config).unwrap();
    works(&first);
    let second = History::start(&config).unwrap();
    assert!(second.is_on());
    let why = degraded(&second);
    assert!(why.contains("another host writes this history"), "{why}");
    assert!(second.reader().is_err(), "what stands there is the first host's");
    assert!(second.record(Record::Transition(transition("kept", now(), up()))));
    assert!(!second.flush(SOON));
    assert!(first.close(SOON));
    works(&second);
    let kept = second.reader().unwrap().spans("kept", ALL, 9).unwrap().rows;
    assert_eq!((kept.len(), second.status().dropped.total()), (1, 0));
}

#[test]
fn lock_that_becomes_free_is_taken_without_anybody_asking() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(dir.path());
    let first = History::start(&config).unwrap();
    let second = History::start(&config).unwrap();
    assert!(first.close(SOON));
    let since = std::time::Instant::now();
    while second.state() != HistoryState::Working {
        assert!(since.elapsed() < SOON * 2, "{:?}", second.status());
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
}

#[test]
fn place_that_can_not_be_written_to_is_named() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("file"), "").unwrap();
    let start = |file: PathBuf| {
        let config = HistoryConfig {
            file,
            ..HistoryConfig::default()
        };
        degraded(&History::start(&config).unwrap())
    };
    let why = start(dir.path().join("file/deeper/history.db"));
    assert!(
        why.contains("file/deeper: the history's directory can't be made"),
        "{why}"
    );
    let why = start(PathBuf::from("/proc/history.db"));
    assert!(
        why.contains("/proc/history.db.lock: the lock of the history can't be taken"),
        "{why}"
    );
}

#[test]
fn what_stands_in_the_way_is_waited_for() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(dir.path());
    // A directory where the log should be: nothing can be written until it is gone.
    fs::create_dir(beside(&config.file, "-wal")).unwrap();
    let history = History::start(&config).unwrap();
    assert!(history.record(Record::Transition(transition("kept", DAY, up()))));
    assert!(!history.flush(SOON));
    let state = history.status().state;
    assert!(
        matches!(&state, HistoryState::Degraded { why, .. } if why.contains("history.db")),
        "{state:?}"
    );
    fs::remove_dir(beside(&config.file, "-wal")).unwrap();
    works(&history);
    assert_eq!(
        history
            .reader()
            .unwrap()
            .spans("kept", ALL, 10_000)
            .unwrap()
            .rows
            .len(),
        1
    );
    assert_eq!(history.status().dropped.total(), 0);
}

#[test]
fn a_burst_that_the_file_has_no_room_for_is_written_once_the_oldest_is_gone() {
    let dir = tempfile::tempdir().unwrap();
    let config = HistoryConfig {
        size_max_mib: 4,
        ..config(dir.path())
    };
    let (history, begin) = (History::start(&config).unwrap(), now());
    let words = "x".repeat(1024);
    for n in 0..10_000 {
        let state = if n % 2 == 0 { up() } else { super::down() };
        let turn = StateTransition {
            text: Some(words.clone()),
            ..transition("talks", begin + n, state)
        };
        assert!(history.record(Record::Transition(turn)));
    }
    // Far more than fits at once, and than may stay.
    let mut was_full = false;
    while !history.flush(SOON) {
        was_full |= matches!(history.status().state, HistoryState::Degraded { .. });
    }
    assert!(was_full, "the limit was never felt: {:?}", history.status());
    works(&history);
    let status = history.status();
    assert!(
        !status.trimmed.is_empty() && status.size_bytes < 24 << 20,
        "{status:?}"
    );
    assert_eq!(status.dropped.total(), 0);
}
