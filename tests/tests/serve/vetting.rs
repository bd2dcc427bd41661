//! A plugin that crashes its first load, under a host that vets.

use crate::answers::plugin;
use crate::served::{Place, Served};
use serde_json::{Value, json};
use std::path::PathBuf;

/// A host with a plugin that crashes as long as a file is not there; that file, and the library.
fn with_crasher() -> (Served, PathBuf, PathBuf) {
    let place = Place::default();
    let mended = place.path().join("mended");
    let library = plugin("crasher", "1.0.0", "alive")
        .crashes_without(&mended)
        .build(place.path());
    let file = place.put(&library, "crasher.so");
    place.put(&plugin("well", "1.0.0", "fine").build(place.path()), "well.so");
    let host = place.serve("");
    host.until_ready();
    (host, mended, file)
}

fn assert_quarantined(view: &Value) {
    let cause = view["cause"].as_str().unwrap_or_default();
    assert_eq!(view["lifecycle"], "quarantined", "{view}");
    assert!(cause.contains("create") && cause.contains("SIGSEGV"), "{cause}");
}

#[test]
fn a_crash_is_kept_out_and_an_operator_has_it_tried_again() {
    let (host, mended, _) = with_crasher();
    assert_quarantined(&host.plugin("crasher"));
    assert_eq!(host.ask("well"), "fine");

    // Looks at the directory don't try it again.
    let since = host.plugin("crasher")["since_unix_ms"].clone();
    let other = plugin("other", "1.0.0", "new").build(host.place.path());
    host.place.put(&other, "other.so");
    host.until("another look was taken", || host.ask("other") == "new");
    assert_eq!(host.plugin("crasher")["since_unix_ms"], since);

    // Nothing has changed: tried, and refused for what is seen now.
    let (status, body) = host.change("crasher", "load");
    assert!(status >= 400, "{body}");
    let text = body["error"]["text"].as_str().unwrap();
    assert!(text.contains("SIGSEGV") && !text.contains("earlier"), "{body}");
    assert_quarantined(&host.plugin("crasher"));

    std::fs::write(mended, b"").unwrap();
    let output = host.extman(&["load", "crasher"]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert_eq!(host.ask("crasher"), "alive");
    host.stop();
}

#[test]
fn a_refusal_outlives_the_host_until_it_is_forgotten() {
    let (host, mended, file) = with_crasher();
    let place = host.stopped();
    std::fs::write(mended, b"").unwrap();
    let host = place.serve("");
    host.until_ready();
    assert_quarantined(&host.plugin("crasher"));
    let cause = host.plugin("crasher")["cause"].to_string();
    assert!(
        cause.contains("earlier try") && cause.contains("extman load"),
        "{cause}"
    );

    let config = host.place.path().join("extman.toml");
    let [file, config] = [&file, &config].map(|path| path.to_str().unwrap());
    let output = host.extman(&["check", "--forget", "--host-config", config, file]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let place = host.stopped();
    let host = place.serve("");
    host.until_ready();
    assert_eq!(host.ask("crasher"), "alive", "{}", host.plugin("crasher"));
    host.stop();
}

#[test]
fn a_better_build_is_tried_without_an_operator() {
    let (host, _, _) = with_crasher();
    let better = plugin("crasher", "1.0.1", "better").build(host.place.path());
    host.place.put(&better, "crasher.so");
    host.until("the better build answers", || host.ask("crasher") == "better");
    assert_eq!(host.lifecycle("crasher"), "running");
    host.stop();
}

#[test]
fn a_newer_build_that_crashes_is_not_taken_and_the_old_one_goes_on() {
    let place = Place::default();
    place.put(&plugin("steady", "1.0.0", "old").build(place.path()), "steady.so");
    let never = place.path().join("never");
    let crashing = plugin("steady", "1.1.0", "new")
        .crashes_without(&never)
        .build(place.path());
    let host = place.serve("");
    host.until_ready();
    let generation = host.plugin("steady")["generation"].clone();
    host.place.put(&crashing, "steady.so");
    host.until("the refusal is told", || {
        host.plugin("steady")["cause"] != Value::Null
    });
    let view = host.plugin("steady");
    let cause = view["cause"].as_str().unwrap();
    assert!(
        cause.contains("1.1.0 was not taken") && cause.contains("SIGSEGV"),
        "{cause}"
    );
    assert_eq!(
        (&view["version"], &view["generation"]),
        (&json!("1.0.0"), &generation)
    );
    assert_eq!(host.ask("steady"), "old");
    host.stop();
}
