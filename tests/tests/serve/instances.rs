//! Several uses of one plugin, and what operators do with them.

use crate::answers::plugin;
use crate::served::Place;
use serde_json::{Value, json};
use std::os::unix::fs::PermissionsExt;

const TWO: &str = "[[instance]]\nname = \"left\"\nplugin = \"pair\"\nconfig = { side = \"l\" }\n\
                   [[instance]]\nname = \"right\"\nplugin = \"pair\"\nconfig = { side = \"r\" }\n";

#[test]
fn each_instance_has_folders_of_its_own_that_stay() {
    let place = Place::default();
    let keeps = r#"
    const ExtmanBytes folders[] = {request->data_dir, request->cache_dir};
    for (int i = 0; i < 2; i++) {
        char path[4096];
        snprintf(path, sizeof path, "%.*s/kept", (int)folders[i].len, (const char *)folders[i].data);
        FILE *file = folders[i].len == 0 ? NULL : fopen(path, "a");
        if (file == NULL || fputs("x", file) < 0 || fclose(file) != 0) {
            return extman_fail(error, EXTMAN_STATUS_CONFIGURATION, "no folder of its own");
        }
    }"#;
    let library = plugin("pair", "1.0.0", "same")
        .in_create(keeps)
        .build(place.path());
    place.put(&library, "pair.so");
    let state = place.path().join("state");
    let host = place.serve(TWO);
    host.until_ready();
    assert_eq!(host.change("left", "restart").0, 200);
    for (folder, name, kept) in [
        ("data", "left", "xx"),
        ("cache", "left", "xx"),
        ("data", "right", "x"),
        ("cache", "right", "x"),
    ] {
        let folder = state.join(folder).join(name);
        let mode = std::fs::metadata(&folder).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700, "{}", folder.display());
        let text = std::fs::read_to_string(folder.join("kept")).unwrap();
        assert_eq!(
            text,
            kept,
            "what vetting has left is nowhere in it: {}",
            folder.display()
        );
    }
}

#[test]
fn two_instances_share_a_library_until_both_are_stopped() {
    let place = Place::default();
    place.put(&plugin("pair", "1.0.0", "same").build(place.path()), "pair.so");
    let host = place.serve(TWO);
    host.until_ready();
    for (name, side) in [("left", "l"), ("right", "r")] {
        let (status, body) = host.call("pair.ask", name, b"{}");
        assert_eq!(
            (status, body),
            (200, json!({"answer": "same", "config": {"side": side}}))
        );
    }
    assert_eq!(
        host.plugin("pair"),
        Value::Null,
        "no instance besides those that are configured"
    );
    assert_eq!(
        host.plugin("left")["generation"],
        host.plugin("right")["generation"]
    );
    assert_eq!(host.mapped_plugins(), 1);

    let (status, body) = host.change("left", "unload");
    assert_eq!(
        (status, &body["data"]["lifecycle"]),
        (200, &json!("stopped")),
        "{body}"
    );
    assert_eq!(
        body["data"]["unload"],
        Value::Null,
        "the other one still uses it: {body}"
    );
    assert_eq!(host.mapped_plugins(), 1);
    let (status, body) = host.call("pair.ask", "left", b"{}");
    assert_eq!(
        (status, &body["error"]["kind"]),
        (503, &json!("not_serving")),
        "{body}"
    );
    assert_eq!(
        host.ask("pair"),
        "same",
        "the other one serves whoever names none"
    );

    let (_, body) = host.change("right", "unload");
    assert_eq!(body["data"]["unload"]["verdict"], "unmapped", "{body}");
    assert_eq!(host.mapped_plugins(), 0);
    let (status, body) = host.change("left", "load");
    assert_eq!(
        (status, &body["data"]["lifecycle"]),
        (200, &json!("running")),
        "{body}"
    );
    host.stop();
}

#[test]
fn what_is_missing_in_a_configuration_is_named() {
    let place = Place::default();
    let library = plugin("keyed", "1.0.0", "yes")
        .requires("endpoint")
        .build(place.path());
    place.put(&library, "keyed.so");
    let host = place.serve("");
    host.until_ready();
    let view = host.plugin("keyed");
    let cause = view["cause"].as_str().unwrap();
    assert_eq!(view["lifecycle"], "failed", "{view}");
    for word in ["endpoint", "[[instance]]", "plugin = \"keyed\""] {
        assert!(cause.contains(word), "{cause}");
    }
    let (status, body) = host.change("keyed", "load");
    assert!(
        status >= 400 && body["error"]["text"].as_str().unwrap().contains("endpoint"),
        "{body}"
    );
    let place = host.stopped();
    let host = place.serve("[[instance]]\nplugin = \"keyed\"\nconfig.endpoint = \"there\"\n");
    host.until_ready();
    assert_eq!(host.ask("keyed"), "yes");
    host.stop();
}

#[test]
fn the_command_line_changes_a_running_host() {
    let place = Place::default();
    place.put(
        &plugin("steered", "1.0.0", "yes").build(place.path()),
        "steered.so",
    );
    let host = place.serve("");
    host.until_ready();
    let generation = |host: &crate::served::Served| host.plugin("steered")["generation"].as_u64();
    let before = generation(&host);
    for (word, lifecycle) in [
        ("load", "running"),
        ("unload", "stopped"),
        ("unload", "stopped"),
        ("load", "running"),
        ("restart", "running"),
        ("unload", "stopped"),
        ("restart", "running"),
    ] {
        let output = host.extman(&[word, "steered"]);
        let said = String::from_utf8_lossy(&output.stdout);
        assert_eq!(output.status.code(), Some(0), "{word}: {output:?}");
        assert!(said.contains(lifecycle), "{word}: {said}");
        assert_eq!(host.lifecycle("steered"), lifecycle, "after {word}");
    }
    assert!(generation(&host) > before);
    for word in ["load", "unload", "restart"] {
        let output = host.extman(&[word, "stered"]);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{word}: {said}");
        assert!(said.contains("did you mean steered?"), "{said}");
        let (status, body) = host.change("stered", word);
        assert_eq!(
            (status, &body["error"]["similar"]),
            (404, &json!(["steered"])),
            "{body}"
        );
    }
    host.stop();
}

#[test]
fn plugin_that_does_nothing_wrong_is_blamed_for_nothing_and_leaves_nothing() {
    let place = Place::default();
    place.put(&plugin("steady", "1.0.0", "yes").build(place.path()), "steady.so");
    let host = place.serve("");
    host.until_ready();
    let change = |word| assert_eq!(host.change("steady", word).0, 200, "{word}");
    let descriptors = || host.descriptors();
    change("unload");
    change("load");
    let before = descriptors();
    for _ in 0..5 {
        change("unload");
        change("load");
        change("restart");
    }
    // A connection of this test's own may be closing still.
    host.until("as many descriptors as before", || descriptors() <= before);
    change("unload");
    let log = host.log();
    assert!(!log.contains("WARN") && !log.contains("ERROR"), "{log}");
    let changes = host.plugin("steady")["process_changes"].clone();
    assert!(changes.is_null(), "{changes}");
    host.signal("TERM");
    let (status, log) = host.ended();
    assert!(
        status.success() && !log.contains("WARN") && !log.contains("ERROR"),
        "{log}"
    );
}

#[test]
fn what_an_operator_stopped_stays_stopped_when_its_file_changes() {
    let place = Place::default();
    place.put(&plugin("held", "1.0.0", "one").build(place.path()), "held.so");
    let newer = plugin("held", "1.1.0", "two").build(place.path());
    let host = place.serve("");
    host.until_ready();
    host.change("held", "unload");
    host.place.put(&newer, "held.so");
    host.until("the new version is seen", || {
        host.plugin("held")["version"] == "1.1.0"
    });
    assert_eq!(host.mapped_plugins(), 0);
    assert_ne!(host.lifecycle("held"), "running");
    host.change("held", "load");
    assert_eq!(host.ask("held"), "two");
    host.stop();
}

#[test]
fn a_call_under_way_is_answered_before_its_plugin_is_unloaded() {
    let place = Place::default();
    place.put(
        &plugin("drained", "1.0.0", "late").build(place.path()),
        "drained.so",
    );
    let host = place.serve("[[instance]]\nplugin = \"drained\"\nstop_budget_ms = 60000\n");
    host.until_ready();
    let release = host.place.path().join("release");
    let waiting = {
        let (client, release) = (host.client.clone(), release.clone());
        std::thread::spawn(move || client.call("drained.wait", "", release.to_str().unwrap().as_bytes()))
    };
    host.until("the call is inside", || {
        host.plugin("drained")["calls"]["in_flight"] == 1
    });
    let unloading = {
        let client = host.client.clone();
        std::thread::spawn(move || client.change("drained", "unload"))
    };
    host.until_lifecycle("drained", "draining");
    let (status, body) = host.call("drained.ask", "", b"{}");
    assert_eq!(
        (status, &body["error"]["kind"]),
        (503, &json!("not_serving")),
        "{body}"
    );
    assert!(!unloading.is_finished(), "it waits for the call");
    std::fs::write(release, b"").unwrap();
    let (status, body) = waiting.join().unwrap();
    assert_eq!((status, &body["answer"]), (200, &json!("late")), "{body}");
    let (status, body) = unloading.join().unwrap();
    assert_eq!(
        (status, &body["data"]["unload"]["verdict"]),
        (200, &json!("unmapped")),
        "{body}"
    );
    host.stop();
}

#[test]
fn a_plugin_whose_name_is_taken_is_told() {
    let place = Place::default();
    place.put(&plugin("taker", "1.0.0", "one").build(place.path()), "taker.so");
    place.put(&plugin("taken", "1.0.0", "two").build(place.path()), "taken.so");
    let host = place.serve("[[instance]]\nname = \"taken\"\nplugin = \"taker\"\n");
    host.until_ready();
    assert_eq!(host.plugin("taken")["id"], "taker");
    let refused = host.refused("taken.so");
    assert_eq!(refused["code"], "name-taken", "{refused}");
    let reason = refused["reason"].as_str().unwrap();
    assert!(
        reason.contains("\"taker\"") && reason.contains("another name"),
        "{reason}"
    );
    host.until_log("name-taken");
    let place = host.stopped();
    // With an instance of its own it has its place.
    let host = place.serve(
        "[[instance]]\nname = \"taken\"\nplugin = \"taker\"\n[[instance]]\nname = \"other\"\nplugin = \"taken\"\n",
    );
    host.until_ready();
    assert_eq!(host.refused("taken.so"), Value::Null);
    assert_eq!(host.ask("taken"), "two");
    host.stop();
}

#[test]
fn calls_are_counted_over_all_generations() {
    let place = Place::default();
    place.put(
        &plugin("counted", "1.0.0", "one").build(place.path()),
        "counted.so",
    );
    let newer = plugin("counted", "1.1.0", "two").build(place.path());
    let host = place.serve("");
    host.until_ready();
    let total = || host.plugin("counted")["calls"]["total"].as_u64().unwrap();
    host.ask("counted");
    host.ask("counted");
    assert_eq!(total(), 2);
    host.change("counted", "unload");
    assert_eq!(total(), 2, "it is stopped");
    host.change("counted", "load");
    assert_eq!(total(), 2, "another generation");
    host.place.put(&newer, "counted.so");
    host.until("the new version serves", || host.ask("counted") == "two");
    let by_now = total();
    assert!(by_now > 2);
    std::fs::remove_file(host.place.plugins().join("counted.so")).unwrap();
    host.until("it is gone", || host.plugin("counted") == Value::Null);
    host.until_log("its file is gone");
    host.place.put(&newer, "counted.so");
    host.until_lifecycle("counted", "running");
    assert_eq!(total(), by_now, "it is back");
    host.signal("TERM");
    let (_, log) = host.ended();
    assert!(log.contains("the host is ending"), "{log}");
}
