use super::*;
use std::fs;
use std::path::Path;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};

const GENEROUS: Duration = Duration::from_secs(60);

fn config(poll_only: bool) -> WatchConfig {
    WatchConfig {
        debounce_ms: 20,
        poll_ms: 20,
        poll_only,
    }
}

/// Each signal brings the names that were there when it came.
fn watch(dir: &Path, poll_only: bool) -> (Watch, Receiver<Vec<String>>) {
    let (sender, signals) = channel();
    let seen = dir.to_owned();
    let watch = Watch::start(&[dir.to_owned()], &config(poll_only), move || {
        let entries = fs::read_dir(&seen).into_iter().flatten().flatten();
        let _ = sender.send(entries.map(|e| e.file_name().into_string().unwrap()).collect());
    });
    (watch.unwrap(), signals)
}

fn until(signals: &Receiver<Vec<String>>, name: &str) {
    while !signals.recv_timeout(GENEROUS).unwrap().contains(&name.to_owned()) {}
}

fn changes_are_signalled(poll_only: bool) {
    let dir = tempfile::tempdir().unwrap();
    let (watch, signals) = watch(dir.path(), poll_only);
    assert_eq!(matches!(watch.modes()[0].1, WatchMode::Polling(_)), poll_only);
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

#[test]
fn the_system_reports_changes() {
    changes_are_signalled(false);
}

#[test]
fn polling_reports_changes() {
    changes_are_signalled(true);
}

#[test]
fn polling_says_why() {
    let dir = tempfile::tempdir().unwrap();
    let (watch, _signals) = watch(dir.path(), true);
    let [(path, WatchMode::Polling(reason))] = &watch.modes()[..] else {
        panic!("not polled")
    };
    assert_eq!(path, dir.path());
    assert!(reason.contains("poll_only"), "{reason}");
}

#[test]
fn a_directory_that_comes_later_or_comes_back_is_watched() {
    let parent = tempfile::tempdir().unwrap();
    let dir = parent.path().join("plugins");
    let (watch, signals) = watch(&dir, false);
    assert_eq!(
        watch.modes()[0].1,
        WatchMode::Polling("it is not there".to_owned())
    );
    let until_native = |native: bool| {
        while (watch.modes()[0].1 == WatchMode::Native) != native {
            signals.recv_timeout(GENEROUS).unwrap();
        }
    };
    for _ in 0..2 {
        fs::create_dir(&dir).unwrap();
        until_native(true);
        fs::write(dir.join("a.so"), b"x").unwrap();
        until(&signals, "a.so");
        fs::remove_dir_all(&dir).unwrap();
        until_native(false);
        while signals.try_recv().is_ok() {}
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
