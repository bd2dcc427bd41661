//! Threads without which a host is not whole: one that dies is told of, and one without which nothing is answered ends the host.

use crate::answers::plugin;
use crate::served::Place;
use extman_tests::build;
use serde_json::Value;
use std::process::Command;

fn failing(place: &Place, more: &str, what: &str) -> Command {
    let mut command = place.command(more);
    command.env("LD_PRELOAD", build::failing());
    command.env("EXTMAN_FAILS", what);
    command.env("EXTMAN_FAILS_ONCE_THERE", place.path().join("fails"));
    command
}

#[test]
fn thread_of_the_host_that_dies_is_a_component_that_is_down_and_the_host_ends_well() {
    let place = Place::default();
    place.put(&plugin("one", "1.0.0", "here").build(place.path()), "one.so");
    let settings = "vetting.enabled = false\n[health]\ncomponents_every_ms = 100\n";
    let command = failing(&place, settings, "extman-deadline");
    let host = place.serve_by(command);
    host.until("it runs", || host.ask("one") == "here");
    let threads = || {
        let health = host.get("/api/v1/health");
        let parts = health["components"].as_array().cloned().unwrap_or_default();
        let found = parts.into_iter().find(|part| part["name"] == "threads");
        found.unwrap_or_default()
    };
    host.until("all live", || threads()["health"] == "up");
    std::fs::write(host.place.path().join("fails"), b"").unwrap();
    host.until("its death is told", || {
        // Whoever is called has a deadline, which that thread keeps.
        let _ = host.ask("one");
        threads()["health"] == "down"
    });
    let part: Value = threads();
    assert!(
        part["reason"].to_string().contains("the clock of deadlines"),
        "{part}"
    );
    std::fs::remove_file(host.place.path().join("fails")).unwrap();
    host.signal("TERM");
    let (status, log) = host.ended();
    assert!(status.code().is_some(), "{status}: {log}");
    assert!(log.contains("clock of deadlines"), "{log}");
}

#[test]
fn host_whose_async_runtime_has_stopped_ends_and_says_why() {
    let place = Place::default();
    place.put(&plugin("one", "1.0.0", "here").build(place.path()), "one.so");
    let mut command = failing(&place, "vetting.enabled = false\n", "epoll_wait");
    command.env("EXTMAN_INTERNAL_RUNTIME_WATCH_MS", "20");
    let host = place.serve_by(command);
    host.until("it runs", || host.ask("one") == "here");
    std::fs::write(host.place.path().join("fails"), b"").unwrap();
    let (status, log) = host.ended();
    assert_eq!(status.code(), Some(70), "{log}");
    assert!(log.contains("async runtime has stopped"), "{log}");
}
