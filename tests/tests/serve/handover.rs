//! The state of an instance goes from the generation that serves to the one that takes its place, or that one is not taken; whoever loses a state is
//! told.

use crate::answers::{Answers, plugin};
use crate::served::{Place, Served};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// Updates are not judged here.
const AT_ONCE: &str = "vetting.enabled = false\nintake.discovery.settle_ms = 20\nintake.watch.debounce_ms = 20\nrollout.enabled = false\n";
/// A step that lasts until somebody ends it.
const JUDGED: &str = "vetting.enabled = false\nintake.discovery.settle_ms = 20\nintake.watch.debounce_ms = 20\n\
    rollout.canary_percent = [1]\nrollout.step_ms = 3600000\nrollout.probation_ms = 3600000\n";
const STOP_FIRST: &str = "update = \"stop-first\"";

/// Counts how often it was asked to; `it.wait` counts once the file that is its input is there, and says in `FILE.begun` that it waits.
const COUNTS: &str = r#"
    int is_waiting = extman_equal(request->capability, extman_bytes("it.wait"));
    if (is_waiting) {
        char path[1024] = {0}, begun[1100];
        memcpy(path, request->input.data, request->input.len < sizeof path - 1 ? request->input.len : sizeof path - 1);
        snprintf(begun, sizeof begun, "%s.begun", path);
        FILE *file = fopen(begun, "w");
        if (file != NULL) { fclose(file); }
        while (access(path, F_OK) != 0) { usleep(1000); }
    }
    if (is_waiting || extman_equal(request->input, extman_bytes("count"))) {
        char said[32];
        snprintf(said, sizeof said, "%ld", __atomic_add_fetch(&instance->count, 1, __ATOMIC_SEQ_CST));
        extman_begin(host, request->call, extman_bytes("application/json"));
        return extman_write(host, request->call, extman_bytes_of_text(said));
    }
"#;

fn stateless(version: &'static str) -> Answers {
    plugin("it", version, version).in_invoke(COUNTS)
}

fn counting(version: &'static str) -> Answers {
    stateless(version).in_snapshot("").in_restore("")
}

fn refusing(version: &'static str) -> Answers {
    let refuses = "return extman_fail(error, EXTMAN_STATUS_DATA_LOSS, \"of another world\");";
    stateless(version).in_snapshot("").in_restore(refuses)
}

/// A host of one plugin, `it`, whose first version has counted to three.
struct Counting {
    host: Served,
    settings: String,
}

impl Counting {
    fn begin(first: &Answers, settings: &str, instance: &str) -> Self {
        let place = Place::default();
        place.put(&first.build(place.path()), "it.so");
        let host = place.serve(&format!("{settings}[[instance]]\nplugin = \"it\"\n{instance}"));
        host.until_ready();
        let counting = Counting {
            host,
            settings: settings.to_owned(),
        };
        for count in 1..=3 {
            assert_eq!(counting.count(), count);
        }
        counting
    }

    fn count(&self) -> u64 {
        let (status, count) = self.host.call("it.ask", "it", b"count");
        count.as_u64().unwrap_or_else(|| panic!("{status}: {count}"))
    }

    fn put(&self, version: &Answers) {
        let place = &self.host.place;
        place.put(&version.build(place.path()), "it.so");
    }

    fn view(&self) -> Value {
        self.host.plugin("it")
    }

    fn until_serves(&self, version: &str) {
        self.host.until(&format!("{version} serves"), || {
            let view = self.view();
            view["version"] == version && view["lifecycle"] == "running" && view["rollout"].is_null()
        });
    }

    fn until_phase(&self, phase: &str) {
        self.host
            .until(phase, || self.view()["rollout"]["phase"] == phase);
    }

    fn events(&self, event: &str) -> Vec<Value> {
        let answer = self.host.get("/api/v1/events?after=0&wait_ms=0");
        let events = answer["events"].as_array().cloned().unwrap_or_default();
        events.into_iter().filter(|one| one["event"] == event).collect()
    }

    /// The text of the only event of this name, once it is there.
    fn told(&self, event: &str, field: &str) -> String {
        self.host.until(event, || !self.events(event).is_empty());
        let events = self.events(event);
        assert_eq!(events.len(), 1, "{events:?}");
        events[0][field].as_str().unwrap_or_default().to_owned()
    }

    /// The state went from one version to the other, and that is told.
    fn has_gone(&self, from: &str, to: &str) {
        let told = self.events("state_handed_over");
        let last = told.last().unwrap_or(&Value::Null);
        let fields = ["from", "to", "format", "bytes"].map(|field| last[field].clone());
        assert_eq!(fields, [json!(from), json!(to), json!(1), json!(1)], "{told:?}");
        assert_eq!(self.events("state_lost"), [] as [Value; 0]);
    }

    fn said(&self, args: &[&str]) -> (Option<i32>, String) {
        let output = self.host.extman(args);
        let text = [output.stdout, output.stderr].concat();
        let text = String::from_utf8_lossy(&text).into_owned();
        let words: Vec<_> = text.split_whitespace().collect();
        (output.status.code(), words.join(" "))
    }

    /// The first version serves on, has its state, and who looks at it is told why by these.
    fn is_kept_for(&self, why: &[&str]) {
        let (_, shown) = self.said(&["show", "it"]);
        for part in why {
            assert!(shown.contains(part), "{part:?} is not in {shown}");
        }
        let view = self.view();
        assert_eq!(
            (&view["version"], &view["lifecycle"]),
            (&json!("1.0.0"), &json!("running"))
        );
        assert_eq!(self.count(), 4);
        assert_eq!(self.events("state_handed_over"), [] as [Value; 0]);
    }

    fn end(self) {
        self.host.stop();
    }
}

/// C code that waits for this file.
fn waits_for(file: &Path) -> String {
    format!("while (access({file:?}, F_OK) != 0) {{ usleep(1000); }}")
}

#[test]
fn state_goes_along_with_an_update_at_once_and_with_going_back() {
    let counting_to = Counting::begin(&counting("1.0.0"), AT_ONCE, "");
    counting_to.put(&counting("1.1.0"));
    counting_to.until_serves("1.1.0");
    assert_eq!(counting_to.count(), 4);
    counting_to.has_gone("1.0.0", "1.1.0");
    let (code, said) = counting_to.said(&["rollback", "it"]);
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(counting_to.count(), 5);
    counting_to.has_gone("1.1.0", "1.0.0");
    counting_to.end();
}

#[test]
fn judged_version_begins_with_the_state_of_its_start_and_the_old_one_keeps_its_own() {
    let judged = Counting::begin(&counting("1.0.0"), JUDGED, "probe = { interval_ms = 50 }\n");
    judged.put(&counting("1.1.0"));
    judged.until_phase("canary");
    judged.has_gone("1.0.0", "1.1.0");
    let (code, said) = judged.said(&["rollout", "it", "promote"]);
    assert_eq!(code, Some(0), "{said}");
    judged.until_phase("probation");
    assert_eq!(
        [judged.count(), judged.count()],
        [4, 5],
        "it goes on from the old one's"
    );
    let (code, said) = judged.said(&["rollout", "it", "abort"]);
    assert_eq!(code, Some(0), "{said}");
    judged.until_serves("1.0.0");
    assert_eq!(judged.count(), 4, "the old one has what it had");
    judged.end();
}

#[test]
fn what_stops_first_hands_its_state_over_after_its_last_call() {
    let first = Counting::begin(&counting("1.0.0").says_of_itself(STOP_FIRST), AT_ONCE, "");
    let file: PathBuf = first.host.place.path().join("go");
    let (client, input) = (first.host.client.clone(), file.to_string_lossy().into_owned());
    let call = std::thread::spawn(move || client.call("it.wait", "it", input.as_bytes()));
    let begun = file.with_extension("begun");
    first.host.until("it waits", || begun.exists());
    first.put(&counting("1.1.0").says_of_itself(STOP_FIRST));
    first.host.until_lifecycle("it", "draining");
    std::fs::write(&file, "").expect("written");
    assert_eq!(
        call.join().expect("answered").1,
        json!(4),
        "it ends where it began"
    );
    first.until_serves("1.1.0");
    assert_eq!(first.count(), 5);
    first.has_gone("1.0.0", "1.1.0");
    first.end();
}

#[test]
fn state_goes_along_with_a_restart_and_with_a_configuration_that_makes_it_anew() {
    for fields in ["", STOP_FIRST] {
        let made = counting("1.0.0").says_of_itself(fields);
        let anew = Counting::begin(&made, AT_ONCE, "config = { size = 1 }\n");
        let (code, said) = anew.said(&["restart", "it"]);
        assert_eq!(code, Some(0), "{said}");
        assert_eq!(anew.count(), 4);
        let more = "[[instance]]\nplugin = \"it\"\nconfig = { size = 2 }\n";
        anew.host.place.config(&format!("{}{more}", anew.settings));
        anew.host.until("it has it", || {
            anew.host.call("it.ask", "it", b"{}").1["config"]["size"] == 2
        });
        assert_eq!(anew.count(), 5);
        anew.has_gone("1.0.0", "1.0.0");
        anew.end();
    }
}

#[test]
fn version_that_refuses_the_state_is_not_taken_and_the_old_one_serves_on_with_it() {
    let why = [
        "1.1.0 did not take the state of version 1.0.0",
        "of another world",
        "extman unload",
    ];
    let at_once = Counting::begin(&counting("1.0.0"), AT_ONCE, "");
    at_once.put(&refusing("1.1.0"));
    let told = at_once.told("version_not_taken", "text");
    assert!(why.iter().all(|part| told.contains(part)), "{told}");
    at_once.is_kept_for(&why);
    // As it says.
    assert_eq!(at_once.said(&["unload", "it"]).0, Some(0));
    let (code, said) = at_once.said(&["update", "it", "--to", "1.1.0"]);
    assert_eq!(code, Some(0), "{said}");
    let (code, said) = at_once.said(&["load", "it"]);
    assert_eq!(code, Some(0), "{said}");
    at_once.until_serves("1.1.0");
    assert_eq!(at_once.count(), 1);
    at_once.end();

    let judged = Counting::begin(&counting("1.0.0"), JUDGED, "");
    judged.put(&refusing("1.1.0"));
    let told = judged.told("taken_back", "why");
    assert!(why.iter().all(|part| told.contains(part)), "{told}");
    judged.until_serves("1.0.0");
    judged.is_kept_for(&why);
    let (_, rollout) = judged.said(&["rollout", "it"]);
    assert!(why.iter().all(|part| rollout.contains(part)), "{rollout}");
    judged.end();
}

#[test]
fn what_was_stopped_first_is_started_again_with_the_state_that_the_new_version_refuses() {
    let first = Counting::begin(&counting("1.0.0").says_of_itself(STOP_FIRST), AT_ONCE, "");
    first.put(&refusing("1.1.0").says_of_itself(STOP_FIRST));
    let told = first.told("version_not_taken", "text");
    assert!(told.contains("of another world"), "{told}");
    first.until_serves("1.0.0");
    assert_eq!(first.count(), 4);
    first.has_gone("1.0.0", "1.0.0");
    first.end();
}

#[test]
fn state_that_can_not_be_had_leaves_the_old_version_serving() {
    let fails = "return extman_fail(error, EXTMAN_STATUS_UNAVAILABLE, \"not just now\");";
    // It does not mind that there was no room.
    let is_large = "static const uint8_t large[2000]; extman_write(instance->host, request->call, extman_bytes_of(large, sizeof large));";
    let cases = [
        (fails, "", "not just now"),
        (is_large, "state_bytes_max = 1000\n", "larger than 1000 bytes"),
    ];
    for (code, instance, why) in cases {
        for fields in ["", STOP_FIRST] {
            let first = stateless("1.0.0").in_snapshot(code).says_of_itself(fields);
            let kept = Counting::begin(&first, AT_ONCE, instance);
            let before = kept.view()["generation"].clone();
            kept.put(&counting("1.1.0").says_of_itself(fields));
            let told = kept.told("version_not_taken", "text");
            assert!(told.contains(why) && told.contains("1.0.0 goes on"), "{told}");
            kept.until_serves("1.0.0");
            kept.is_kept_for(&[why]);
            let (code, said) = kept.said(&["restart", "it"]);
            assert!(code != Some(0) && said.contains(why), "{code:?}: {said}");
            assert_eq!(kept.count(), 5);
            assert_eq!(kept.view()["generation"], before, "it is the same one");
            kept.end();
        }
    }
}

#[test]
fn snapshot_that_hangs_is_given_up_and_what_serves_does_so_all_the_while() {
    let place = Place::default();
    let file = place.path().join("go");
    let limits = "stop_budget_ms = 200\nwedge_after_ms = 200\n";
    let first = stateless("1.0.0").in_snapshot(waits_for(&file));
    let hangs = Counting::begin(&first, AT_ONCE, limits);
    hangs.put(&counting("1.1.0"));
    let told = hangs.told("version_not_taken", "text");
    assert!(
        told.contains("snapshot did not return before its deadline"),
        "{told}"
    );
    assert_eq!(hangs.told("lane_lost", "phase"), "snapshot");
    hangs.is_kept_for(&["snapshot did not return"]);
    std::fs::write(&file, "").expect("written");
    assert_eq!(hangs.told("late_return", "phase"), "snapshot");
    assert_eq!(hangs.count(), 5);
    let (code, said) = hangs.said(&["load", "it"]);
    assert_eq!(code, Some(0), "{said}");
    hangs.until_serves("1.1.0");
    assert_eq!(hangs.count(), 6);
    hangs.end();
}

#[test]
fn restore_that_hangs_leaves_the_old_version_serving() {
    let place = Place::default();
    let file = place.path().join("go");
    let limits = "start_budget_ms = 300\nwedge_after_ms = 200\n";
    let hangs = Counting::begin(&counting("1.0.0"), AT_ONCE, limits);
    hangs.put(&stateless("1.1.0").in_restore(waits_for(&file)));
    let told = hangs.told("version_not_taken", "text");
    assert!(
        told.contains("restore did not return before its deadline"),
        "{told}"
    );
    hangs.is_kept_for(&["restore did not return"]);
    assert_eq!(hangs.told("lane_lost", "phase"), "restore");
    std::fs::write(&file, "").expect("written");
    assert_eq!(hangs.told("late_return", "phase"), "restore");
    hangs.host.until("the new one is unmapped", || {
        let unloaded = self::unloaded(&hangs);
        unloaded
            .last()
            .is_some_and(|verdict| *verdict == json!("unmapped"))
    });
    hangs.end();
}

/// The verdicts of all unloads so far.
fn unloaded(counting: &Counting) -> Vec<Value> {
    let unloaded = counting.events("unloaded").into_iter();
    unloaded
        .map(|event| event["verdict"]["verdict"].clone())
        .collect()
}

#[test]
fn panic_in_restore_leaves_the_old_version_and_one_in_snapshot_has_it_restarted() {
    let panics = "return extman_fail(error, EXTMAN_STATUS_PANICKED, \"a panic, as told\");";
    let restore = Counting::begin(&counting("1.0.0"), AT_ONCE, "");
    restore.put(&stateless("1.1.0").in_restore(panics));
    let told = restore.told("version_not_taken", "text");
    assert!(told.contains("a panic, as told"), "{told}");
    restore.is_kept_for(&["a panic, as told"]);
    restore.end();
    for fields in ["", STOP_FIRST] {
        let first = stateless("1.0.0").in_snapshot(panics).says_of_itself(fields);
        let snapshot = Counting::begin(&first, AT_ONCE, "");
        let before = snapshot.view()["generation"].clone();
        snapshot.put(&counting("1.1.0").says_of_itself(fields));
        let told = snapshot.told("version_not_taken", "text");
        assert!(told.contains("a panic, as told"), "{told}");
        // As after any panic: what panicked is only destroyed.
        snapshot.host.until("it is another one", || {
            let view = snapshot.view();
            view["lifecycle"] == "running" && view["generation"] != before
        });
        assert_eq!(snapshot.view()["version"], "1.0.0");
        assert_eq!(snapshot.count(), 1);
        snapshot.end();
    }
}

#[test]
fn without_the_entries_nothing_is_handed_over_and_a_state_that_nobody_takes_is_told() {
    let without = Counting::begin(&stateless("1.0.0"), AT_ONCE, "");
    without.put(&counting("1.1.0"));
    without.until_serves("1.1.0");
    assert_eq!(without.count(), 1);
    for event in ["state_handed_over", "state_lost"] {
        assert_eq!(without.events(event), [] as [Value; 0]);
    }
    without.put(&stateless("1.2.0"));
    without.until_serves("1.2.0");
    let told = without.told("state_lost", "text");
    assert!(
        told.contains("1.2.0 takes no state") && told.contains("1.1.0"),
        "{told}"
    );
    without.end();
}

#[test]
fn what_refuses_its_own_state_at_a_restart_begins_without_and_that_is_told() {
    let restarted = Counting::begin(&refusing("1.0.0"), AT_ONCE, "");
    let (code, said) = restarted.said(&["restart", "it"]);
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(restarted.count(), 1);
    let told = restarted.told("state_lost", "text");
    assert!(told.contains("of another world"), "{told}");
    restarted.end();
}

#[test]
fn state_that_can_not_be_taken_just_now_waits_for_the_next_try() {
    let folder = tempfile::tempdir().unwrap();
    let tried = folder.path().join("tried");
    let not_now = format!(
        "if (access({tried:?}, F_OK) != 0) {{ fclose(fopen({tried:?}, \"w\")); \
         return extman_fail(error, EXTMAN_STATUS_UNAVAILABLE, \"not now\"); }}"
    );
    let first = stateless("1.0.0").in_snapshot("").in_restore(not_now);
    let restarted = Counting::begin(&first, AT_ONCE, "");
    let (code, said) = restarted.said(&["restart", "it"]);
    assert_ne!(code, Some(0), "{said}");
    assert!(said.contains("not now"), "{said}");
    restarted.until_serves("1.0.0");
    assert_eq!(restarted.count(), 4);
    restarted.end();
}
