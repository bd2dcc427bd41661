//! Instances that fail and come back by themselves: within their budget, and one after the other where the host is in trouble.

use crate::answers::plugin;
use crate::served::{Place, Served};
use extman_tests::build;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

const QUICK: &str = "[vetting]\nenabled = false\n[supervision]\nfirst_wait_ms = 10\n";

fn host_with_frail(settings: &str) -> Served {
    let place = Place::default();
    place.put(&plugin("frail", "1.0.0", "one").build(place.path()), "frail.so");
    let host = place.serve(settings);
    host.until_lifecycle("frail", "running");
    host
}

fn generation(host: &Served, name: &str) -> u64 {
    host.plugin(name)["generation"].as_u64().unwrap_or(0)
}

/// A call of it panics; the generation that it was in.
fn panic_in(host: &Served, name: &str) -> u64 {
    let generation = generation(host, name);
    let (_, body) = host.call("frail.wait", name, b"panic");
    assert_eq!(body["error"]["kind"], "panicked", "{body}");
    generation
}

fn until_newer(host: &Served, name: &str, than: u64) {
    host.until("it runs again", || generation(host, name) > than);
}

fn said(host: &Served, args: &[&str]) -> String {
    let output = host.extman(args);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn events(host: &Served) -> Vec<Value> {
    let told = host.get("/api/v1/events");
    told["events"].as_array().cloned().unwrap_or_default()
}

/// C code for `create`: it fails as long as this file is not there.
fn needs(file: &Path) -> String {
    format!(
        "if (access({file:?}, F_OK) != 0) {{ return extman_fail(error, EXTMAN_STATUS_UNAVAILABLE, \"not yet\"); }}"
    )
}

/// With `frail`, which can't be created before this file is there.
fn place_with_one_that_needs_a_file() -> (Place, PathBuf) {
    let place = Place::default();
    let file = place.path().join("now");
    let library = plugin("frail", "1.0.0", "one")
        .in_create(needs(&file))
        .build(place.path());
    place.put(&library, "frail.so");
    (place, file)
}

#[test]
fn instance_that_panicked_runs_again_by_itself() {
    let host = host_with_frail(QUICK);
    let before = panic_in(&host, "frail");
    until_newer(&host, "frail", before);
    assert_eq!(host.ask("frail"), "one");
    let backoff = events(&host).into_iter().find(|event| event["to"] == "backoff");
    let cause = backoff.unwrap_or_default()["cause"].to_string();
    assert!(cause.contains("a panic, as told"), "{cause}");
    host.stop();
}

#[test]
fn spent_budget_quarantines_and_a_person_and_other_bytes_bring_it_back() {
    let host = host_with_frail(&format!("{QUICK}max_restarts = 2\n"));
    for _ in 0..2 {
        let before = panic_in(&host, "frail");
        until_newer(&host, "frail", before);
    }
    panic_in(&host, "frail");
    host.until_lifecycle("frail", "quarantined");
    let view = host.plugin("frail");
    assert!(
        view["cause"].as_str().unwrap().contains("a panic, as told"),
        "{view}"
    );
    assert_eq!(view["desired"], "running", "{view}");
    let way = "it was started again 2 times within 30 min, and is no longer started by itself; `extman load frail`, another \
               configuration or library file, or the next start of the host, starts it";
    assert_eq!(view["way_back"]["text"], way, "{view}");
    for args in [&["show", "frail"][..], &["list"], &["health", "frail"]] {
        let text = said(&host, args);
        assert!(text.contains(way), "{args:?}: {text}");
    }
    let (status, body) = host.change("frail", "load");
    assert_eq!((status, &body["data"]["way_back"]), (200, &Value::Null), "{body}");
    // A person's start gives the budget anew.
    for _ in 0..2 {
        let before = panic_in(&host, "frail");
        until_newer(&host, "frail", before);
    }
    panic_in(&host, "frail");
    host.until_lifecycle("frail", "quarantined");
    let second = plugin("frail", "1.0.1", "two").build(host.place.path());
    host.place.put(&second, "frail.so");
    host.until("the other bytes serve", || host.ask("frail") == "two");
    host.stop();
}

#[test]
fn start_that_failed_is_tried_again_until_it_comes_to_another_end() {
    let (place, file) = place_with_one_that_needs_a_file();
    let host = place.serve("[vetting]\nenabled = false\n");
    host.until("its next try is shown", || {
        said(&host, &["list"]).contains("frail: backoff: create failed: unavailable: not yet; next try in ")
    });
    let mut view = Value::Null;
    host.until("it waits", || {
        view = host.plugin("frail");
        view["lifecycle"] == "backoff"
    });
    assert!(view["way_back"]["next_try_unix_ms"].is_u64(), "{view}");
    assert_eq!(view["desired"], "running", "{view}");
    std::fs::write(file, b"").unwrap();
    host.until_lifecycle("frail", "running");
    host.stop();
}

#[test]
fn person_starts_one_that_waits_and_one_that_a_policy_leaves_failed() {
    let place = Place::default();
    let library = plugin("frail", "1.0.0", "one").build(place.path());
    place.put(&library, "frail.so");
    // Nobody waits for a minute here.
    let host = place.serve(
        "[vetting]\nenabled = false\n[[instance]]\nplugin = \"frail\"\nname = \"never\"\nrestart = \"never\"\n[[instance]]\n\
         plugin = \"frail\"\nname = \"waits\"\n",
    );
    host.until_lifecycle("never", "running");
    host.until_lifecycle("waits", "running");
    panic_in(&host, "never");
    host.until_lifecycle("never", "failed");
    let way = host.plugin("never")["way_back"]["text"].to_string();
    assert!(
        way.contains("never") && way.contains("extman load never"),
        "{way}"
    );
    for name in ["never", "waits"] {
        if name == "waits" {
            panic_in(&host, name);
        }
        host.until("it is loaded", || host.change(name, "load").0 == 200);
        assert_eq!(host.call("frail.ask", name, b"{}").0, 200);
    }
    host.stop();
}

#[test]
fn lane_that_returned_late_brings_the_instance_back_by_itself() {
    let place = Place::default();
    place.put(&build::plugin("faults"), "faults.so");
    let host = place.serve(&format!(
        "{QUICK}[[instance]]\nplugin = \"faults\"\ncall_timeout_ms = 50\nwedge_after_ms = 50\nstop_budget_ms = 300\n"
    ));
    host.until_lifecycle("faults", "running");
    let (before, release) = (generation(&host, "faults"), host.place.path().join("release"));
    let order = json!({"hazard": "hang", "release": release}).to_string();
    host.call("fault.run", "", order.as_bytes());
    host.until_lifecycle("faults", "wedged");
    std::fs::write(release, b"").unwrap();
    until_newer(&host, "faults", before);
    assert_eq!(host.call("fault.echo", "", b"\"ping\""), (200, json!("ping")));
    host.stop();
}

#[test]
fn instance_that_stays_down_by_its_checks_is_started_again() {
    let place = Place::default();
    place.put(&build::plugin("faults"), "faults.so");
    let host = place.serve(&format!(
        "{QUICK}max_restarts = 1\ndown_ms = 100\n[probe]\ninterval_ms = 50\nrecheck_ms = 20\n[[instance]]\nplugin = \"faults\"\n\
         config = {{ hazard = \"internal\", phase = \"check\" }}\n"
    ));
    host.until_lifecycle("faults", "quarantined");
    let view = host.plugin("faults");
    let cause = view["cause"].as_str().unwrap();
    assert!(
        cause.starts_with("it was down for 0.1 s: its checks fail: internal"),
        "{view}"
    );
    let starts = events(&host);
    let starts = starts.iter().filter(|event| event["to"] == "starting").count();
    assert_eq!(starts, 2, "its first one, and the one that its budget allows");
    host.stop();
}

#[test]
fn most_instances_that_fail_together_are_one_event_and_are_tried_one_after_the_other() {
    let (place, file) = place_with_one_that_needs_a_file();
    let names = ["a", "b", "c", "d"];
    let instances = names.map(|name| format!("[[instance]]\nplugin = \"frail\"\nname = {name:?}\n"));
    // A budget that is spent at once, but for the host's being at fault.
    let settings = "[vetting]\nenabled = false\n[supervision]\nmax_restarts = 1\n";
    let host = place.serve(&format!("{settings}{}", instances.concat()));
    let told = |begins: bool| {
        let of_host = |event: &Value| event["event"] == "host_trouble" && event["begins"] == begins;
        events(&host).iter().filter(|event| of_host(event)).count()
    };
    host.until("it is told", || told(true) == 1);
    host.until_log("that is held to be the host's trouble");
    std::fs::write(file, b"").unwrap();
    for name in names {
        host.until_lifecycle(name, "running");
    }
    host.until("that it is over is told too", || told(false) == 1);
    assert_eq!(told(true), 1, "one event");
    let mut starting = Vec::new();
    let events = events(&host);
    assert!(
        !events.iter().any(|event| event["to"] == "quarantined"),
        "their budgets were left alone: {events:?}"
    );
    for event in events.iter().skip_while(|event| event["event"] != "host_trouble") {
        if event["to"] == "starting" {
            starting.push(event["name"].clone());
        } else if event["from"] == "starting" {
            starting.retain(|name| *name != event["name"]);
        }
        assert!(starting.len() <= 1, "{starting:?} at the same time: {events:?}");
    }
    host.stop();
}
