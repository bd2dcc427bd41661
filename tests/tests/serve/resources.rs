//! What plugins use: the processor time of their lanes and threads, their threads, their heap. Each figure under the name of whoever
//! used it, with who measured it, and none that was not measured.

use crate::answers::plugin;
use crate::served::{Client, Place};
use extman_tests::build;
use serde_json::{Value, json};

const QUICK: &str = "[vetting]\nenabled = false\n[probe]\ninterval_ms = 100\n";

fn health(host: &Client, name: &str) -> Value {
    host.get(&format!("/api/v1/plugins/{name}/health"))["health"].clone()
}

/// The figure of this name; null if there is none.
fn figure(health: &Value, name: &str) -> Value {
    let all = health["figures"].as_array().cloned().unwrap_or_default();
    all.into_iter()
        .find(|figure| figure["name"] == name)
        .unwrap_or_default()
}

fn value(health: &Value, name: &str) -> u64 {
    figure(health, name)["value"]
        .as_u64()
        .unwrap_or_else(|| panic!("{name}: {health}"))
}

fn why_not(health: &Value, name: &str) -> String {
    let all = health["not_measured"].as_array().cloned().unwrap_or_default();
    let found = all.into_iter().find(|missing| missing["name"] == name);
    found.unwrap_or_default()["why"]
        .as_str()
        .unwrap_or_default()
        .to_owned()
}

#[test]
fn a_thread_that_spins_is_seen_under_its_plugins_name_and_no_others() {
    let place = Place::default();
    let release = place.path().join("release");
    place.put(&build::plugin("faults"), "faults.so");
    place.put(
        &plugin("beside", "1.0.0", "here").build(place.path()),
        "beside.so",
    );
    let host = place.serve(QUICK);
    host.until_ready();
    assert_eq!(value(&health(&host, "faults"), "threads"), 0);
    let before = value(&health(&host, "beside"), "cpu_threads");
    let order = json!({"hazard": "spin", "release": release}).to_string();
    let (status, said) = host.call("fault.run", "", order.as_bytes());
    assert_eq!(status, 200, "{said}");

    let told = health(&host, "faults");
    assert_eq!(value(&told, "threads"), 1, "{told}");
    assert_eq!(figure(&told, "threads")["source"], "host");
    let first = value(&told, "cpu_threads");
    host.until("it uses the processor", || {
        value(&health(&host, "faults"), "cpu_threads") > first + 200_000_000
    });
    let beside = health(&host, "beside");
    assert_eq!(
        (value(&beside, "threads"), value(&beside, "cpu_threads")),
        (0, before)
    );

    std::fs::write(&release, "").unwrap();
    host.until("the thread has ended", || {
        value(&health(&host, "faults"), "threads") == 0
    });
    let ended = value(&health(&host, "faults"), "cpu_threads");
    assert!(ended > first + 200_000_000, "what it used stays counted: {ended}");
    host.stop();
}

#[test]
fn threads_that_libstdcpp_makes_for_a_plugin_are_that_plugins_and_so_are_those_that_they_make() {
    let place = Place::default();
    let release = place.path().join("release");
    place.put(&build::c_fault("std-thread-alive"), "standard.so");
    place.put(&build::c_fault("unique-symbol"), "beside.so");
    let host = place.serve(QUICK);
    host.until_ready();
    let (name, beside) = ("fault-std-thread-alive", "fault-unique-symbol");
    assert_eq!(value(&health(&host, name), "threads"), 0);
    let (status, said) = host.call("c.echo", name, release.to_string_lossy().as_bytes());
    assert_eq!(status, 200, "{said}");
    host.until("both have begun", || value(&health(&host, name), "threads") == 2);
    host.until("both use the processor", || {
        value(&health(&host, name), "cpu_threads") > 200_000_000
    });
    let told = health(&host, beside);
    assert_eq!((value(&told, "threads"), value(&told, "cpu_threads")), (0, 0));
    std::fs::write(&release, "").unwrap();
    host.until("they have ended", || value(&health(&host, name), "threads") == 0);
    assert!(
        value(&health(&host, name), "cpu_threads") > 200_000_000,
        "what they used stays counted"
    );
    assert_eq!(host.change(name, "unload").0, 200);
    host.stop();
}

#[test]
fn a_thread_that_leaves_by_pthread_exit_has_used_what_it_used() {
    let place = Place::default();
    place.put(&build::c_fault("pthread-exit"), "exit.so");
    let host = place.serve(QUICK);
    host.until_ready();
    for calls in 1..=2 {
        assert_eq!(host.call("c.echo", "fault-pthread-exit", b"1").0, 200);
        let told = health(&host, "fault-pthread-exit");
        assert_eq!(value(&told, "threads"), 0, "{told}");
        assert!(value(&told, "cpu_threads") >= calls * 50_000_000, "{told}");
    }
    host.stop();
}

#[test]
fn threads_of_openmp_belong_to_the_plugin_whose_code_made_them() {
    let place = Place::default();
    place.put(&build::c_fault("openmp"), "openmp.so");
    place.put(&build::c_fault("echo"), "beside.so");
    let host = place.serve(QUICK);
    host.until_ready();
    assert_eq!(value(&health(&host, "fault-openmp"), "threads"), 0);
    let (status, said) = host.call("c.echo", "fault-openmp", b"1");
    assert_eq!(status, 200, "{said}");
    let told = health(&host, "fault-openmp");
    assert_eq!(value(&told, "threads"), 2, "{told}");
    assert!(value(&told, "cpu_lanes") > 0, "{told}");
    assert_eq!(value(&health(&host, "fault-echo"), "threads"), 0);
    host.stop();
}

#[test]
fn a_thread_that_is_made_past_the_host_is_in_nobodys_figures() {
    let place = Place::default();
    place.put(&build::c_fault("echo"), "before.so");
    place.put(&build::c_fault("thrd-create-alive"), "past.so");
    let host = place.serve(QUICK);
    host.until_ready();
    for name in ["fault-echo", "fault-thrd-create-alive"] {
        let told = health(&host, name);
        assert_eq!(value(&told, "threads"), 0, "{told}");
        let note = figure(&told, "threads")["note"].clone();
        assert!(
            note.as_str().is_some_and(|note| note.contains("pthread_create")),
            "{told}"
        );
    }
    host.stop();
}

#[test]
fn a_thread_that_is_left_is_counted_and_a_call_that_computes_is_its_lanes() {
    let place = Place::default();
    let release = place.path().join("release");
    place.put(&build::plugin("faults"), "faults.so");
    let host = place.serve(QUICK);
    host.until_ready();
    let order = json!({"hazard": "thread-alive", "release": release}).to_string();
    for left in 1..=3 {
        assert_eq!(host.call("fault.run", "", order.as_bytes()).0, 200);
        assert_eq!(value(&health(&host, "faults"), "threads"), left);
    }
    let before = value(&health(&host, "faults"), "cpu_lanes");
    let flood = json!({"hazard": "leak", "bytes": 64 << 20}).to_string();
    host.until("its lanes have used the processor", || {
        assert_eq!(host.call("fault.run", "", flood.as_bytes()).0, 200);
        value(&health(&host, "faults"), "cpu_lanes") > before + 20_000_000
    });
    std::fs::write(&release, "").unwrap();
    host.until("they have ended", || {
        value(&health(&host, "faults"), "threads") == 0
    });
    host.stop();
}

#[test]
fn a_heap_is_told_with_its_limit_by_who_counts_it_and_where_nobody_does_it_is_not_made_up() {
    let place = Place::default();
    place.put(&build::plugin("faults"), "faults.so");
    place.put(
        &plugin("counted-by-none", "1.0.0", "here").build(place.path()),
        "none.so",
    );
    let limit = "[[instance]]\nplugin = \"faults\"\n[instance.config]\nhazard = \"heap-limit\"\nphase = \"check\"\n\
                 limit_bytes = 1000000000\n";
    let host = place.serve(&format!("{QUICK}{limit}"));
    host.until_ready();
    host.until("it has told of its heap", || {
        figure(&health(&host, "faults"), "heap_limit") != Value::Null
    });
    let told = health(&host, "faults");
    let sources: Vec<Value> = ["heap", "heap_peak", "heap_limit"]
        .map(|name| figure(&told, name)["source"].clone())
        .to_vec();
    assert_eq!(sources, ["sdk", "sdk", "plugin"], "{told}");
    assert!(
        value(&told, "heap") > 0 && value(&told, "heap_peak") >= value(&told, "heap"),
        "{told}"
    );
    assert_eq!(value(&told, "heap_limit"), 1_000_000_000);
    assert!(value(&told, "heap_share") <= 1, "{told}");

    host.until("it has been checked", || {
        figure(&health(&host, "counted-by-none"), "check_round_trip") != Value::Null
    });
    let none = health(&host, "counted-by-none");
    for name in ["heap", "heap_peak", "heap_limit", "heap_share"] {
        assert_eq!(figure(&none, name), Value::Null, "{name}: {none}");
    }
    assert!(!why_not(&none, "heap").is_empty(), "{none}");
    let text = String::from_utf8(host.extman(&["health", "counted-by-none", "-v"]).stdout).unwrap();
    assert!(text.contains("heap                    not measured: "), "{text}");
    assert!(text.contains("(by the host"), "{text}");
    host.stop();
}

#[test]
fn what_two_instances_use_together_is_told_as_shared_and_not_divided() {
    let place = Place::default();
    place.put(&build::plugin("faults"), "faults.so");
    let two = "[[instance]]\nname = \"left\"\nplugin = \"faults\"\n[[instance]]\nname = \"right\"\nplugin = \"faults\"\n";
    let host = place.serve(&format!("{QUICK}{two}"));
    host.until_ready();
    host.until("both have been checked", || {
        ["left", "right"]
            .iter()
            .all(|name| figure(&health(&host, name), "heap") != Value::Null)
    });
    for name in ["left", "right"] {
        let told = health(&host, name);
        for shared in ["cpu_lanes", "cpu_threads", "threads", "heap", "heap_peak"] {
            assert_eq!(figure(&told, shared)["shared_by"], 2, "{shared}: {told}");
        }
        assert_eq!(figure(&told, "calls")["shared_by"], Value::Null, "{told}");
    }
    assert_eq!(host.change("right", "unload").0, 200);
    assert_eq!(
        figure(&health(&host, "left"), "cpu_lanes")["shared_by"],
        Value::Null
    );
    host.stop();
}

#[test]
fn calls_and_their_errors_are_told_by_kind() {
    let place = Place::default();
    place.put(&build::plugin("faults"), "faults.so");
    let host = place.serve(QUICK);
    host.until_ready();
    for hazard in ["internal", "internal", "unavailable"] {
        host.call("fault.run", "", json!({"hazard": hazard}).to_string().as_bytes());
    }
    assert_eq!(host.call("fault.echo", "", b"\"ping\"").0, 200);
    let told = health(&host, "faults");
    let counts = [
        "calls",
        "errors_internal",
        "errors_unavailable",
        "calls_in_flight",
        "calls_queued",
    ];
    assert_eq!(counts.map(|name| value(&told, name)), [4, 2, 1, 0, 0], "{told}");
    assert!(value(&told, "call_p50") <= value(&told, "call_p99"), "{told}");
    host.stop();
}

#[test]
fn the_history_keeps_processor_time_where_it_is_known_whose_it_is() {
    let place = Place::default();
    let release = place.path().join("release");
    place.put(&build::plugin("faults"), "faults.so");
    place.put(&plugin("pair", "1.0.0", "same").build(place.path()), "pair.so");
    let two = "[[instance]]\nname = \"left\"\nplugin = \"pair\"\n[[instance]]\nname = \"right\"\nplugin = \"pair\"\n";
    let host = place.serve(&format!("{QUICK}{two}"));
    host.until_ready();
    let order = json!({"hazard": "spin", "release": release}).to_string();
    assert_eq!(host.call("fault.run", "", order.as_bytes()).0, 200);
    host.until("it has computed", || {
        value(&health(&host, "faults"), "cpu_threads") > 300_000_000
    });
    std::fs::write(&release, "").unwrap();
    host.until("the thread has ended", || {
        value(&health(&host, "faults"), "threads") == 0
    });
    let used = value(&health(&host, "faults"), "cpu_threads");

    let host = host.stopped().serve(&format!("{QUICK}{two}"));
    let cpu = |name: &str| -> Vec<u64> {
        let history = host.get(&format!("/api/v1/plugins/{name}/history?since=1h"));
        let rollups = history["rollups"].as_array().cloned().unwrap_or_default();
        rollups
            .iter()
            .filter_map(|bucket| bucket["cpu_ns"].as_u64())
            .collect()
    };
    host.until("the minutes are written down", || {
        cpu("faults").iter().sum::<u64>() >= used
    });
    assert_eq!(
        (cpu("left"), cpu("right")),
        (vec![], vec![]),
        "it is not known whose it was"
    );
    let text = String::from_utf8(host.extman(&["history", "faults", "--since", "1h"]).stdout).unwrap();
    assert!(text.contains("  cpu       "), "{text}");
    host.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_attached_thread_used_is_nobodys_and_the_figure_says_so() {
    let place = Place::default();
    place.put(&plugin("inline", "1.0.0", "one").build(place.path()), "inline.so");
    let builder = extman::Host::builder().dir(place.plugins());
    let builder = builder.store_dir(place.path().join("store")).vetting(false);
    let host = builder.build().await.expect("a host");
    host.wait_ready().await;
    let note = || {
        let figures = host.plugin_health("inline").unwrap().health.figures;
        let lanes = figures.into_iter().find(|figure| figure.name == "cpu_lanes");
        lanes.unwrap().note.unwrap_or_default()
    };
    assert!(!note().contains("attached"), "{}", note());
    let calling = host.clone();
    let thread = std::thread::spawn(move || {
        let attached = extman::Attached::new().expect("a slot");
        let answer = calling.invoke_attached(&attached, "inline.ask", b"{}");
        answer.expect("an answer");
    });
    thread.join().unwrap();
    assert!(note().contains("without calls on attached threads"), "{}", note());
    host.shutdown().await;
}
