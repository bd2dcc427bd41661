//! Updates as an operator has them: each command against a running host, while an update is under way, without one, and after it.

use crate::answers::{Answers, plugin};
use crate::served::{Client, Place, Served};
use serde_json::Value;
use std::process::Output;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::JoinHandle;

/// Steps that last until an operator ends them.
const LONG: &str = "[vetting]\nenabled = false\n[probe]\ninterval_ms = 50\n[rollout]\ncanary_percent = [20]\nstep_ms = 3600000\n\
                    probation_ms = 3600000\n[rollout.judge]\ncalls_min = 20\n[[instance]]\nplugin = 'updated'\nupdate = 'manual'\n";
/// Steps that end by themselves.
const SHORT: &str = "[vetting]\nenabled = false\n[probe]\ninterval_ms = 50\n[rollout]\ncanary_percent = [20]\nstep_ms = 300\n\
                     probation_ms = 300\n[rollout.judge]\ncalls_min = 20\nlatency_max = 10.0\n[[instance]]\nplugin = 'updated'\nupdate = 'manual'\n";

/// A host in which 1.0.0 serves, and this build lies beside it and waits for an operator.
fn host(settings: &str, second: Answers) -> Served {
    let place = Place::default();
    place.put(
        &plugin("updated", "1.0.0", "one").build(place.path()),
        "updated.so",
    );
    let host = place.serve(settings);
    host.until_ready();
    host.place
        .put(&second.build(host.place.path()), "updated-next.so");
    host.until("the other version is known", || {
        text(host.extman(&["events", "updated"])).contains("extman update updated")
    });
    host
}

fn second() -> Answers {
    plugin("updated", "1.1.0", "two")
}

fn text(output: Output) -> String {
    String::from_utf8(output.stdout).unwrap()
}

fn words(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// What a command says, which ends with this code.
fn says(host: &Served, args: &[&str], code: i32) -> String {
    let output = host.extman(args);
    let said = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    assert_eq!(output.status.code(), Some(code), "{args:?}: {said}");
    // What is watched is a line a change, however long it is.
    let is_page = !args
        .iter()
        .any(|arg| ["--watch", "--wait", "--json"].contains(arg));
    let fits = said.lines().all(|line| line.chars().count() <= 80);
    assert!(fits || !is_page, "{args:?}: {said}");
    words(&said)
}

fn phase(host: &Served) -> Value {
    host.get("/api/v1/plugins/updated/rollout")["rollout"]["phase"].clone()
}

/// Calls it until this is dropped.
struct Calls(Arc<AtomicBool>, Option<JoinHandle<()>>);

impl Calls {
    fn of(client: &Client) -> Self {
        let (ends, client) = (Arc::new(AtomicBool::new(false)), client.clone());
        let until = ends.clone();
        let calling = move || {
            while !until.load(Relaxed) {
                client.ask("updated");
            }
        };
        Calls(ends, Some(std::thread::spawn(calling)))
    }
}

impl Drop for Calls {
    fn drop(&mut self) {
        self.0.store(true, Relaxed);
        if let Some(thread) = self.1.take() {
            let _ = thread.join();
        }
    }
}

#[test]
fn update_is_steered_by_commands_and_seen_wherever_its_plugin_is() {
    let host = host(LONG, second());
    for args in [&["rollout", "updated", "pause"][..], &["rollback", "updated"]] {
        says(&host, args, 1);
    }
    let none = says(&host, &["rollout", "updated"], 0);
    assert_eq!(none, "updated: no update is under way; 1.0.0 serves");
    assert_eq!(says(&host, &["rollout"], 0), "No update is under way.");
    assert!(says(&host, &["rollout", "updated", "--watch"], 1).contains("no update of updated is under way"));

    let begun = says(&host, &["update", "updated"], 0);
    assert!(begun.contains("update 1.0.0 → 1.1.0, digest"), "{begun}");
    host.until("it gets calls", || phase(&host) == "canary");
    let shown = says(&host, &["rollout", "updated"], 0);
    for part in [
        "phase canary for",
        "calls 20 % of the calls to 1.1.0",
        "next 1.1.0 gets more of the calls, or all, in ",
        "at the earliest, and once the judge says good",
    ] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    host.until("the judge says what it lacks", || {
        says(&host, &["rollout", "updated"], 0).contains("judge not enough evidence:")
    });
    for args in [
        &["list"][..],
        &["show", "updated"],
        &["status"],
        &["health", "updated"],
        &["rollout"],
    ] {
        let said = says(&host, args, 0);
        assert!(said.contains("1.0.0 → 1.1.0"), "{args:?}: {said}");
    }
    let paused = says(&host, &["rollout", "updated", "pause"], 0);
    assert!(
        paused.contains(", paused") && paused.contains("`extman rollout updated resume`"),
        "{paused}"
    );
    says(&host, &["rollout", "updated", "pause"], 1);
    let resumed = says(&host, &["rollout", "updated", "resume"], 0);
    assert!(!resumed.contains("paused"), "{resumed}");
    let (status, promoted) = host.post("/api/v1/plugins/updated/rollout/promote", b"{}");
    assert_eq!(
        (status, &promoted["data"]["rollout"]["phase"]),
        (200, &"probation".into()),
        "{promoted}"
    );
    assert_eq!(host.ask("updated"), "two");
    says(&host, &["rollout", "updated", "promote"], 0);
    host.until("it is over", || phase(&host).is_null());
    assert_eq!(host.plugin("updated")["version"], "1.1.0");

    let back = says(&host, &["rollback", "updated"], 0);
    assert!(
        back.contains("plugin updated 1.0.0") && back.contains("barred 1.1.0"),
        "{back}"
    );
    assert_eq!(host.ask("updated"), "one");
    host.stop();
}

#[test]
fn update_that_is_aborted_is_barred_and_can_be_asked_for_again() {
    let host = host(LONG, second());
    says(&host, &["update", "updated", "--to", "1.1.0"], 0);
    host.until("it gets calls", || phase(&host) == "canary");
    let ended = says(&host, &["rollout", "updated", "abort", "--watch"], 20);
    assert!(
        ended.contains("updated: 1.1.0 was taken back, 1.0.0 serves:"),
        "{ended}"
    );
    let shown = says(&host, &["show", "updated"], 0);
    assert!(
        shown.contains("plugin updated 1.0.0") && shown.contains("barred 1.1.0"),
        "{shown}"
    );
    let again = says(&host, &["update", "updated", "--to", "1.1.0"], 0);
    assert!(
        again.contains("update 1.0.0 → 1.1.0") && !again.contains("barred"),
        "{again}"
    );
    let unknown = says(&host, &["update", "updated", "--to", "7.0.0"], 1);
    assert!(unknown.contains("7.0.0"), "{unknown}");
    host.stop();
}

#[test]
fn update_that_is_waited_for_ends_with_what_became_of_it() {
    let good = host(SHORT, second());
    let calls = Calls::of(&good);
    let said = says(&good, &["update", "updated", "--wait", "--json"], 0);
    assert!(
        said.contains(r#""phase":"canary""#) && said.contains(r#""version":"1.1.0""#),
        "{said}"
    );
    drop(calls);
    good.stop();

    let broken = "return extman_fail(error, EXTMAN_STATUS_INTERNAL, \"broken\");";
    let bad = host(SHORT, second().in_invoke(broken));
    let calls = Calls::of(&bad);
    let said = says(&bad, &["update", "updated", "--wait"], 20);
    assert!(
        said.contains("updated: 1.1.0 was taken back, 1.0.0 serves: "),
        "{said}"
    );
    drop(calls);
    let (status, refused) = bad.post("/api/v1/plugins/updated/rollout/abort", b"{}");
    assert_eq!((status, &refused["ok"]), (502, &false.into()), "{refused}");
    bad.stop();
}

/// Whether it is refused by its schema or by its code: the old version takes it.
#[test]
fn input_that_a_new_version_does_not_take_is_served_by_the_old_one() {
    const PLAIN: &str = "[[capability]]\nname = \"updated.plain\"\n";
    const STRICT: &str =
        "[[capability]]\nname = \"updated.plain\"\ninput = { type = \"object\", required = [\"text\"] }\n";
    let refuses = "return extman_fail(error, EXTMAN_STATUS_INVALID_INPUT, \"as told\");";
    for stricter in [
        second().declares(STRICT),
        second().declares(PLAIN).in_invoke(refuses),
    ] {
        let place = Place::default();
        let first = plugin("updated", "1.0.0", "one").declares(PLAIN);
        place.put(&first.build(place.path()), "updated.so");
        let host = place.serve(LONG);
        host.until_ready();
        host.place
            .put(&stricter.build(host.place.path()), "updated-next.so");
        host.until("the other version is known", || {
            text(host.extman(&["events", "updated"])).contains("extman update updated")
        });
        says(&host, &["update", "updated"], 0);
        host.until("it gets calls", || phase(&host) == "canary");
        for _ in 0..100 {
            let (status, told) = host.call("updated.plain", "", b"{}");
            assert_eq!(status, 200, "{told}");
        }
        host.stop();
    }
}

/// The name of an instance whose plugin is another one by now is updated to nothing of the plugin before.
#[test]
fn instance_of_another_plugin_is_made_from_that() {
    const OF: &str =
        "[vetting]\nenabled = false\n[rollout]\nenabled = false\n[[instance]]\nname = 'it'\nplugin = ";
    let place = Place::default();
    place.put(&plugin("one", "1.0.0", "one").build(place.path()), "one.so");
    place.put(&plugin("two", "1.0.0", "two").build(place.path()), "two.so");
    let host = place.serve(&format!("{OF}'one'\n"));
    host.until_ready();
    says(&host, &["update", "it", "--to", "1.0.0"], 0);
    host.place.config(&format!("{OF}'two'\n"));
    host.until("it is of the other plugin", || {
        host.plugin("it")["id"] == "two" && host.lifecycle("it") == "running"
    });
    host.stop();
}
