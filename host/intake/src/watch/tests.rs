use super::*;
use std::fs;
use std::path::Path;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};

const GENEROUS: Duration = Duration::from_secs(60);

const HOUR_MS: u64 = 3_600_000;

/// Each signal brings the names that were there when it came.
fn watch(dir: &Path, poll_ms: u64, poll_only: bool) -> (Watch, Receiver<Vec<String>>) {
    let config = WatchConfig {
        debounce_ms: 20,
        poll_ms,
        poll_only,
    };
    let (sender, signals) = channel();
    let seen = dir.to_owned();
    let watch = Watch::start(&[dir.to_owned()], &config, move || {
        let entries = fs::read_dir(&seen).into_iter().flatten().flatten();
        let _ = sender.send(entries.map(|e| e.file_name().into_string().unwrap()).collect());
    });
    (watch.unwrap(), signals)
}

fn until(signals: &Receiver<Vec<String>>, name: &str) {
    while !signals.recv_timeout(GENEROUS).unwrap().contains(&name.to_owned()) {}
}

fn changes_are_signalled(poll_ms: u64, poll_only: bool) {
    let dir = tempfile::tempdir().unwrap();
    let (watch, signals) = watch(dir.path(), poll_ms, poll_only);
    let file = dir.path().join("a.so");
    fs::write(&file, b"x").unwrap();
    until(&signals, "a.so");
    fs::rename(&file, dir.path().join("b.so")).unwrap();
    until(&signals, "b.so");
    drop(watch);
    while signals.try_recv().is_ok() {}
    assert_eq!(
        signals.recv_timeout(GENEROUS),
        Err(RecvTimeoutError::Disconnected),
        "the thread is gone"
    );
}

/// Nobody would look within the hour.
#[test]
fn the_system_reports_changes() {
    changes_are_signalled(HOUR_MS, false);
}

#[test]
fn polling_reports_changes() {
    changes_are_signalled(20, true);
}

#[test]
fn directory_is_handed_to_the_system_when_it_is_there_and_is_polled_while_it_is_not() {
    let parent = tempfile::tempdir().unwrap();
    let dir = parent.path().join("plugins");
    let dirs = [dir.clone()];
    let mut directories = Directories::new(&dirs, native(&dirs, &Arc::default()).map_err(|e| e.to_string()));
    let mut polled = Directories::new(&dirs, Err("polling was asked for".to_owned()));
    for is_there in [false, true, false, true] {
        match is_there {
            true => fs::create_dir(&dir).unwrap(),
            false => drop(fs::remove_dir(&dir)),
        }
        for directories in [&mut directories, &mut polled] {
            directories.scan(false);
        }
        assert_eq!(directories.all[0].is_native(), is_there);
        assert!(!polled.all[0].is_native());
    }
}

#[test]
fn a_directory_that_comes_later_or_comes_back_is_watched() {
    let parent = tempfile::tempdir().unwrap();
    let dir = parent.path().join("plugins");
    let (_watch, signals) = watch(&dir, 20, false);
    for name in ["a.so", "b.so"] {
        fs::create_dir(&dir).unwrap();
        fs::write(dir.join(name), b"x").unwrap();
        until(&signals, name);
        fs::remove_dir_all(&dir).unwrap();
        while !signals.recv_timeout(GENEROUS).unwrap().is_empty() {}
    }
}

#[test]
fn reading_a_plugin_is_no_change() {
    assert!(is_only_reading(&EventKind::Access(AccessKind::Open(
        AccessMode::Any
    ))));
    assert!(is_only_reading(&EventKind::Access(AccessKind::Close(
        AccessMode::Read
    ))));
    assert!(!is_only_reading(&EventKind::Access(AccessKind::Close(
        AccessMode::Write
    ))));
    assert!(!is_only_reading(&EventKind::Any));
}
