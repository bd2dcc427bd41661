//! Plugins that require each other, in a running host, in a directory alone, and as they are locked.

use crate::answers::plugin;
use crate::served::{Place, program};
use serde_json::{Value, json};
use std::process::{Command, Output};

const RANK: &str = "[[requires]]\nplugin = \"base\"\nversion = \"^1\"\n";

/// The program in this place, with its configuration.
fn run(place: &Place, arguments: &[&str]) -> Output {
    let config = place.config("[vetting]\nenabled = false\n");
    let mut command = Command::new(program());
    command
        .current_dir(place.path())
        .env_remove("RUST_LOG")
        .env("NO_COLOR", "1");
    command.args(arguments).arg("--config").arg(config);
    command.output().expect("it runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn plugin_whose_requirement_is_missing_is_left_out_until_it_comes() {
    let place = Place::default();
    let rank = plugin("rank", "1.0.0", "rank").declares(RANK).build(place.path());
    let base = plugin("base", "1.3.0", "base").build(place.path());
    place.put(&rank, "rank.so");
    place.put(&plugin("other", "1.0.0", "other").build(place.path()), "other.so");
    let host = place.serve("");
    host.until_ready();
    let refused = host.refused("rank.so");
    assert_eq!(refused["code"], "unfulfilled", "{refused}");
    let reason = refused["reason"].as_str().unwrap_or_default();
    assert!(
        reason.contains("rank 1.0.0 (rank.so) requires base ^1; there is no plugin base."),
        "{reason}"
    );
    assert_eq!(
        host.call("other.ask", "", b"x").0,
        200,
        "it keeps no other from serving"
    );
    host.place.put(&base, "base.so");
    host.until("rank serves", || host.ask("rank") == "rank");
    let told = host.get("/api/v1/dependencies");
    assert_eq!(
        told["start_order"],
        json!([["base", "other"], ["rank"]]),
        "{told}"
    );
    assert_eq!(told["plugins"][0]["required_by"], json!(["rank"]), "{told}");
    assert_eq!(told.get("left_out"), None, "{told}");
    host.stop();
}

#[test]
fn version_that_another_plugin_requires_is_taken_before_a_higher_one() {
    let place = Place::default();
    let rank = plugin("rank", "1.0.0", "rank").declares(RANK).build(place.path());
    place.put(&rank, "rank.so");
    place.put(&plugin("base", "1.3.0", "one").build(place.path()), "base-1.so");
    place.put(&plugin("base", "2.0.0", "two").build(place.path()), "base-2.so");
    let host = place.serve("");
    host.until_ready();
    assert_eq!(host.plugin("base")["version"], "1.3.0", "{}", host.log());
    host.stop();
}

#[test]
fn requirement_does_not_take_a_running_plugin_back_to_a_lower_version() {
    let place = Place::default();
    let rank = plugin("rank", "1.0.0", "rank").declares(RANK).build(place.path());
    place.put(&plugin("base", "1.0.0", "low").build(place.path()), "base-1.so");
    place.put(&plugin("base", "2.0.0", "high").build(place.path()), "base-2.so");
    let host = place.serve("");
    host.until_ready();
    assert_eq!(host.ask("base"), "high");
    host.place.put(&rank, "rank.so");
    host.until("rank is refused", || {
        host.refused("rank.so")["code"] == "unfulfilled"
    });
    let reason = host.refused("rank.so")["reason"].to_string();
    assert!(reason.contains("lower than 2.0.0, which runs"), "{reason}");
    assert_eq!(host.ask("base"), "high");
    host.stop();
}

#[test]
fn what_is_locked_is_used_and_nothing_else_starts_with_locked() {
    let place = Place::default();
    let base = plugin("base", "1.3.0", "base").build(place.path());
    place.put(&base, "base.so");
    place.put(
        &plugin("rank", "1.0.0", "rank").declares(RANK).build(place.path()),
        "rank.so",
    );
    let plugins = place.plugins().display().to_string();
    let shown = run(&place, &["deps", "--dir", &plugins]);
    assert_eq!(
        text(&shown.stdout),
        "rank 1.0.0\n└── base 1.3.0 (^1)\n",
        "{}",
        text(&shown.stderr)
    );
    let refused = run(&place, &["serve", "--locked", "--listen", "127.0.0.1:0"]);
    assert_eq!(refused.status.code(), Some(2), "there is no lock yet");
    assert!(
        text(&refused.stderr).contains("extman lock"),
        "{}",
        text(&refused.stderr)
    );
    let written = run(&place, &["lock", "--json"]);
    let told: Value = serde_json::from_slice(&written.stdout).expect("an envelope");
    assert_eq!(told["data"]["plugins"]["base"]["version"], "1.3.0", "{told}");
    let lock = std::fs::read_to_string(place.path().join("extman.lock")).expect("beside the configuration");
    assert!(lock.find("\"base\"") < lock.find("\"rank\""), "{lock}");
    // A higher one comes: without --locked the locked one is used all the same, and the same file with other bytes is refused with it.
    place.put(&plugin("base", "1.4.0", "new").build(place.path()), "base-new.so");
    let shown = run(&place, &["deps", "base", "--dir", &plugins]);
    assert_eq!(text(&shown.stdout), "base 1.3.0\n");
    place.put(
        &plugin("base", "1.3.0", "other bytes").build(place.path()),
        "base.so",
    );
    let refused = run(&place, &["serve", "--locked", "--listen", "127.0.0.1:0"]);
    let said = text(&refused.stderr)
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ");
    assert_eq!(refused.status.code(), Some(1), "{said}");
    assert!(
        said.contains("base can't be used: no file of it is the one in extman.lock."),
        "{said}"
    );
    let refused = run(&place, &["deps", "--locked", "--dir", &plugins]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(
        text(&refused.stdout).contains("extman.lock has 1.3.0"),
        "{}",
        text(&refused.stdout)
    );
}

#[test]
fn plugin_that_others_need_is_unloaded_with_them_and_not_without_a_word() {
    let place = Place::default();
    place.put(&plugin("base", "1.3.0", "base").build(place.path()), "base.so");
    let rank = plugin("rank", "1.0.0", "rank").declares(RANK).build(place.path());
    place.put(&rank, "rank.so");
    let host = place.serve("[vetting]\nenabled = false\n");
    host.until_lifecycle("base", "running");
    host.until_lifecycle("rank", "running");
    for (word, remedy) in [
        ("unload", "`extman unload base --cascade`"),
        ("disable", "disable them first"),
    ] {
        let (status, body) = host.change("base", word);
        let text = body["error"]["text"].as_str().unwrap();
        assert!(
            status == 409 && text.contains("rank requires it") && text.contains(remedy),
            "{body}"
        );
        assert_eq!(host.ask("base"), "base");
    }
    let unloaded = host.extman(&["unload", "base", "--cascade"]);
    assert!(unloaded.status.success(), "{unloaded:?}");
    for name in ["base", "rank"] {
        let view = host.plugin(name);
        assert_eq!(
            (&view["lifecycle"], &view["desired"]),
            (&json!("stopped"), &json!("stopped"))
        );
    }
    let events = host.get("/api/v1/events")["events"].clone();
    let stopped: Vec<_> = events
        .as_array()
        .unwrap()
        .iter()
        .filter(|event| event["to"] == "stopped")
        .map(|event| event["name"].clone())
        .collect();
    assert_eq!(stopped, ["rank", "base"], "who needs it goes first");
    assert_eq!(host.change("base", "load").0, 200);
    assert_eq!(
        host.change("base", "unload").0,
        200,
        "nobody that is to run requires it"
    );
    host.stop();
}
