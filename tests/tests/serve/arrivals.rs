//! Files that come, change and go while the host runs.

use crate::answers::plugin;
use crate::served::Place;
use serde_json::Value;
use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

#[test]
fn a_copied_plugin_answers_soon_and_a_removed_one_is_unloaded() {
    let place = Place::default();
    let library = plugin("copied", "1.0.0", "one").build(place.path());
    let host = place.serve("");
    host.until_ready();
    let to = host.place.plugins().join("libcopied.so");
    let since = Instant::now();
    std::fs::copy(&library, &to).unwrap();
    host.until("it answers", || host.ask("copied") == "one");
    println!("a copied plugin answered after {:?}", since.elapsed());
    assert_eq!(host.mapped_plugins(), 1);

    std::fs::remove_file(&to).unwrap();
    host.until("it is gone", || host.plugin("copied") == Value::Null);
    host.until_log("unloaded: unmapped");
    assert_eq!(host.mapped_plugins(), 0, "{}", host.log());
    let (status, body) = host.call("copied.ask", "", b"{}");
    assert_eq!(
        (status, &body["error"]["kind"]),
        (404, &Value::from("not_found")),
        "{body}"
    );

    let since = Instant::now();
    let renamed = host.place.put(&library, "other-name.so");
    host.until("it answers again", || host.ask("copied") == "one");
    println!("a renamed plugin answered after {:?}", since.elapsed());
    let moved = host.place.plugins().join("third-name.so");
    let generation = host.plugin("copied")["generation"].clone();
    std::fs::rename(renamed, &moved).unwrap();
    host.until("the new name is shown", || {
        host.plugin("copied")["origin"] == moved.to_str().unwrap()
    });
    assert_eq!(
        host.plugin("copied")["generation"],
        generation,
        "the same bytes go on"
    );
    host.stop();
}

#[test]
fn a_plugin_that_is_written_slowly_is_taken_once_it_is_whole() {
    let place = Place::default();
    let library = plugin("slowly", "1.0.0", "whole").build(place.path());
    let host = place.serve("");
    host.until_ready();
    let bytes = std::fs::read(library).unwrap();
    let mut file = std::fs::File::create(host.place.plugins().join("slowly.so")).unwrap();
    let (first, rest) = bytes.split_at(bytes.len() / 2);
    file.write_all(first).unwrap();
    file.sync_all().unwrap();
    // A writer that pauses for longer than a file takes to settle: what is there so far is looked at and refused.
    host.until("half of it is refused", || {
        host.refused("slowly.so") != Value::Null
    });
    assert_eq!(host.plugin("slowly"), Value::Null);
    for piece in rest.chunks(512) {
        file.write_all(piece).unwrap();
        file.sync_data().unwrap();
    }
    drop(file);
    let since = Instant::now();
    host.until("it answers", || host.ask("slowly") == "whole");
    println!("a slowly written plugin answered after {:?}", since.elapsed());
    host.until("nothing is refused", || host.refused("slowly.so") == Value::Null);
    host.stop();
}

#[test]
fn garbage_in_place_of_a_loaded_plugin_is_refused_and_the_old_one_goes_on() {
    let place = Place::default();
    let first = plugin("spoilt", "1.0.0", "one").build(place.path());
    let second = plugin("spoilt", "1.1.0", "two").build(place.path());
    let file = place.put(&first, "spoilt.so");
    let host = place.serve("");
    host.until_ready();
    let generation = host.plugin("spoilt")["generation"].clone();
    for garbage in [&b"no library at all"[..], b""] {
        // In place: the same inode, as `cp` does.
        std::fs::write(&file, garbage).unwrap();
        let bytes = garbage.len();
        host.until(&format!("{bytes} bytes are refused"), || {
            host.refused("spoilt.so") != Value::Null && host.ask("spoilt") == "one"
        });
        let reason = host.refused("spoilt.so")["reason"].to_string();
        assert!(reason.contains("goes on"), "{reason}");
        assert_eq!(host.plugin("spoilt")["generation"], generation);
        let whole = std::fs::read(&first).unwrap();
        std::fs::write(&file, whole).unwrap();
        host.until("it is well again", || host.refused("spoilt.so") == Value::Null);
    }
    std::fs::write(&file, std::fs::read(second).unwrap()).unwrap();
    host.until("the good build answers", || host.ask("spoilt") == "two");
    host.until("the old one is unmapped", || host.mapped_plugins() == 1);
    host.stop();
}

#[test]
fn a_newer_build_at_the_same_path_takes_over_without_a_failed_call() {
    let place = Place::default();
    let builds = [("1.0.0", "one"), ("1.1.0", "two"), ("1.2.0", "three")]
        .map(|(version, answer)| (answer, plugin("switched", version, answer).build(place.path())));
    place.put(&builds[0].1, "switched.so");
    let host = place.serve("");
    host.until_ready();
    let (calls, over) = (calls_in_a_loop(&host, "switched"), &builds[1..]);
    for (answer, library) in over {
        let since = Instant::now();
        host.place.put(library, "switched.so");
        host.until("the new code answers", || host.ask("switched") == *answer);
        println!("a replaced plugin answered after {:?}", since.elapsed());
        host.until("the old one is unmapped", || host.mapped_plugins() == 1);
    }
    calls.end();
    assert_eq!(host.plugin("switched")["version"], "1.2.0");
    assert_eq!(host.plugin("switched")["unload"]["verdict"], "unmapped");
    assert!(host.log().contains("replaced"), "{}", host.log());
    host.stop();
}

#[test]
fn the_highest_version_serves_whatever_its_file_is_called() {
    let place = Place::default();
    let low = plugin("ranked", "1.9.0", "low").build(place.path());
    let high = plugin("ranked", "1.10.0", "high").build(place.path());
    place.put(&low, "b.so");
    let host = place.serve("");
    host.until_ready();
    assert_eq!(host.ask("ranked"), "low");
    let calls = calls_in_a_loop(&host, "ranked");
    let higher = host.place.put(&high, "a.so");
    host.until("the higher one answers", || host.ask("ranked") == "high");
    std::fs::remove_file(higher).unwrap();
    host.until("the lower one answers again", || host.ask("ranked") == "low");
    calls.end();
    assert_eq!(host.plugin("ranked")["version"], "1.9.0");
    host.stop();
}

#[test]
fn the_same_plugin_twice_is_reported_and_the_second_takes_over() {
    let place = Place::default();
    let library = plugin("twice", "1.0.0", "once").build(place.path());
    let first = place.put(&library, "a.so");
    place.put(&library, "b.so");
    let host = place.serve("");
    host.until_ready();
    let refused = host.refused("b.so");
    assert_eq!(refused["code"], "duplicate", "{refused}");
    assert!(refused["reason"].as_str().unwrap().contains("a.so"), "{refused}");
    let generation = host.plugin("twice")["generation"].clone();
    std::fs::remove_file(first).unwrap();
    host.until("nothing is refused", || host.refused("b.so") == Value::Null);
    assert_eq!(host.ask("twice"), "once");
    assert_eq!(host.plugin("twice")["generation"], generation);
    host.stop();
}

#[test]
fn a_better_build_frees_a_plugin_that_hangs() {
    let place = Place::default();
    let hanging = plugin("stuck", "1.0.0", "old").build(place.path());
    let better = plugin("stuck", "1.0.1", "new").build(place.path());
    place.put(&hanging, "stuck.so");
    let host = place.serve(
        "[[instance]]\nplugin = \"stuck\"\ncall_timeout_ms = 50\nwedge_after_ms = 50\nstop_budget_ms = 200\n",
    );
    host.until_ready();
    let never = host.place.path().join("never");
    let (status, body) = host.call("stuck.wait", "", never.to_str().unwrap().as_bytes());
    assert_eq!(body["error"]["kind"], "deadline_exceeded", "{status} {body}");
    host.until_lifecycle("stuck", "wedged");
    host.place.put(&better, "stuck.so");
    host.until("the better build answers", || host.ask("stuck") == "new");
    assert_eq!(host.lifecycle("stuck"), "running");
    // The old call comes back: that is not the new generation's fault.
    std::fs::write(never, b"").unwrap();
    host.until_log("has returned");
    assert_eq!(host.lifecycle("stuck"), "running");
    assert_eq!(host.ask("stuck"), "new");
    host.stop();
}

/// Calls `ID.ask` again and again.
struct Loop {
    over: std::sync::Arc<AtomicBool>,
    threads: Vec<std::thread::JoinHandle<u64>>,
}

fn calls_in_a_loop(client: &crate::served::Client, id: &'static str) -> Loop {
    let over = std::sync::Arc::new(AtomicBool::new(false));
    let caller = || {
        let (over, client) = (over.clone(), client.clone());
        std::thread::spawn(move || {
            let mut calls = 0;
            while !over.load(Ordering::Relaxed) {
                let (status, body) = client.call(&format!("{id}.ask"), "", b"{}");
                assert_eq!(status, 200, "call {calls}: {body}");
                calls += 1;
            }
            calls
        })
    };
    let threads = (0..3).map(|_| caller()).collect();
    Loop { over, threads }
}

impl Loop {
    /// Ends it. None of the calls may have failed.
    fn end(self) {
        self.over.store(true, Ordering::Relaxed);
        let calls: u64 = self
            .threads
            .into_iter()
            .map(|t| t.join().expect("no call fails"))
            .sum();
        assert!(calls > 0);
        println!("{calls} calls, none failed");
    }
}
