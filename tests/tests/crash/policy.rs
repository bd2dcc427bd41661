//! What follows from crashes: no host is lost to one plugin more than twice.

use crate::host::{Host, Place, Settings};
use serde_json::Value;
use std::process::Command;

fn crashing(when: &str) -> String {
    format!("{{ crash = \"segfault\", when = {when:?} }}")
}

/// Starts hosts until one lives; how many were lost.
fn lost(place: &mut Place, settings: Settings<'_>) -> (usize, Host) {
    for lost in 0..10 {
        let mut host = place.launch(settings);
        if host.listens() {
            // It may listen for a moment before its plugins are loaded.
            let lives = loop {
                let status = host.status();
                if status.is_null() {
                    break false;
                }
                if ["quarantined", "failed", "running"]
                    .iter()
                    .any(|word| host.plugin("one")["lifecycle"] == *word)
                {
                    break true;
                }
            };
            if lives {
                return (lost, host);
            }
        }
        host.ended();
    }
    panic!("no host lives");
}

#[test]
fn plugin_that_crashes_every_start_is_quarantined_after_two() {
    let mut place = Place::new();
    let config = crashing("create");
    let (lost, mut host) = lost(
        &mut place,
        Settings {
            config: &config,
            crash: "",
        },
    );
    assert_eq!(lost, 2, "{}", host.log());
    host.until_lifecycle("one", "quarantined");
    host.until_lifecycle("fault-echo", "running");
    assert_eq!(host.call("fault-echo"), Some(200));
    let plugin = host.plugin("one");
    for (field, parts) in [
        (
            "cause",
            &["it ended the host twice within 10 min, last by SIGSEGV in create"][..],
        ),
        ("way_back", &["`extman load one`", "another library file"]),
    ] {
        let said = plugin[field].to_string();
        for part in parts {
            assert!(said.contains(part), "{part:?} is missing in {field}: {said}");
        }
    }
    for command in [&["list"][..], &["show", "one"], &["health", "one"]] {
        let said = host
            .extman(command)
            .split_whitespace()
            .collect::<Vec<_>>()
            .join(" ");
        assert!(said.contains("quarantined"), "{command:?}: {said}");
        assert!(said.contains("ended the host twice"), "{command:?}: {said}");
    }
    host.stop();
    // It stays so, without a crash.
    let mut later = place.launch(Settings {
        config: &config,
        crash: "",
    });
    assert!(later.listens(), "{}", later.log());
    later.until_lifecycle("one", "quarantined");
    later.stop();
}

#[test]
fn person_or_another_digest_brings_a_quarantined_plugin_back() {
    let mut place = Place::new();
    let config = crashing("invoke");
    let settings = Settings {
        config: &config,
        crash: "",
    };
    for _ in 0..2 {
        let mut host = place.launch(settings);
        assert!(host.listens(), "{}", host.log());
        host.call_until_gone();
        host.ended();
    }
    let mut host = place.launch(settings);
    assert!(host.listens(), "{}", host.log());
    host.until_lifecycle("one", "quarantined");
    let said = host.extman(&["load", "one"]);
    host.until_lifecycle("one", "running");
    assert!(!said.contains("error"), "{said}");
    host.stop();
    // What the person said outlives the host, and what comes after it is counted anew.
    for _ in 0..2 {
        let mut host = place.launch(settings);
        assert!(host.listens(), "{}", host.log());
        host.until_lifecycle("one", "running");
        host.call_until_gone();
        host.ended();
    }
    let mut host = place.launch(settings);
    assert!(host.listens(), "{}", host.log());
    host.until_lifecycle("one", "quarantined");
    // Other bytes are another library.
    let library = place.path().join("plugins/libcrashes.so");
    let stripped = place.path().join("stripped.so");
    let strip = Command::new("strip")
        .arg("--strip-debug")
        .arg("-o")
        .arg(&stripped)
        .arg(&library)
        .status();
    assert!(strip.is_ok_and(|status| status.success()), "strip");
    std::fs::rename(stripped, library).expect("renamed");
    host.until_lifecycle("one", "running");
    host.stop();
}

#[test]
fn plugin_that_crashed_must_pass_vetting_where_that_is_the_policy() {
    let mut place = Place::new();
    let config = crashing("create");
    let vet = Settings {
        config: &config,
        crash: "policy = \"vet\"",
    };
    let (lost_hosts, mut host) = lost(&mut place, vet);
    assert_eq!(lost_hosts, 1, "{}", host.log());
    let cause = host.plugin("one")["cause"].to_string();
    assert!(cause.contains("SIGSEGV") && cause.contains("create"), "{cause}");
    host.until_lifecycle("one", "quarantined");
    host.stop();

    // One that passes and crashes again all the same is not tried a third time.
    let mut place = Place::new();
    let config = crashing("invoke");
    let vet = Settings {
        config: &config,
        crash: "policy = \"vet\"",
    };
    for _ in 0..2 {
        let mut host = place.launch(vet);
        assert!(host.listens(), "{}", host.log());
        host.until_lifecycle("one", "running");
        host.call_until_gone();
        host.ended();
    }
    let mut host = place.launch(vet);
    assert!(host.listens(), "{}", host.log());
    host.until_lifecycle("one", "quarantined");
    let cause = host.plugin("one")["cause"].to_string();
    assert!(cause.contains("twice within 10 min"), "{cause}");
    host.stop();
}

#[test]
fn crashes_that_were_ignored_count_once_they_are_minded() {
    let mut place = Place::new();
    let config = crashing("create");
    let ignoring = Settings {
        config: &config,
        crash: Settings::IGNORING,
    };
    for _ in 0..3 {
        place.launch(ignoring).ended();
    }
    // The same ledger under a policy that minds: what was counted before is known.
    let mut host = place.launch(Settings {
        config: &config,
        crash: "",
    });
    assert!(host.listens(), "{}", host.log());
    host.until_lifecycle("one", "quarantined");
    host.stop();
}

#[test]
fn policy_that_changes_while_a_host_runs_holds_for_the_next_start_of_the_plugin() {
    let mut place = Place::new();
    let (config, other) = (crashing("invoke"), crashing("never"));
    let minding = |config| Settings { config, crash: "" };
    for _ in 0..2 {
        let mut host = place.launch(minding(&config));
        assert!(host.listens(), "{}", host.log());
        host.until_lifecycle("one", "running");
        host.call_until_gone();
        host.ended();
    }
    let mut host = place.launch(minding(&config));
    assert!(host.listens(), "{}", host.log());
    host.until_lifecycle("one", "quarantined");
    // Another configuration has it started again; its library is still not loaded.
    let heard = host.get("/api/v1/events?wait_ms=0")["last"].clone();
    place.reconfigure(&host, minding(&other));
    let tried_again = || {
        let events = host.get(&format!("/api/v1/events?after={heard}&wait_ms=0"));
        let events = events["events"].as_array().cloned().unwrap_or_default();
        let is_it = |event: &&Value| event["event"] == "moved" && event["to"] == "quarantined";
        events.iter().find(is_it).is_some()
    };
    host.until("it is refused again", tried_again);
    place.reconfigure(
        &host,
        Settings {
            config: &config,
            crash: Settings::IGNORING,
        },
    );
    host.until_lifecycle("one", "running");
    host.stop();
}
