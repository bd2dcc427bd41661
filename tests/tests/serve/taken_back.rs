//! Ways in which a new version may be worse, one after the other in a running host whose plugin is called all the time: each version is taken back
//! by itself, its cause is named wherever updates are told of, and no caller of an idempotent capability sees an error.

use crate::answers::{Answers, plugin};
use crate::served::{Client, Place, Served};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

/// Steps of a second, in which both versions are looked at twenty times. How long calls take on a busy machine is no evidence.
const SETTINGS: &str = "[vetting]\nenabled = false\n[probe]\ninterval_ms = 50\n[rollout]\ncanary_percent = [20, 50]\nstep_ms = 1000\n\
                        probation_ms = 1000\nwarm_up_ms = 2000\n[rollout.judge]\nlatency_min = 4.0\nlatency_max = 10.0\n[[instance]]\n\
                        plugin = 'updated'\nstart_budget_ms = 1000\n";
const SAFE: &str = "[[capability]]\nname = \"updated.safe\"\nidempotent = true\n";
const HEAP: &str = "report->valid |= EXTMAN_REPORT_HEAP; report->heap_bytes = (UINT64_C(8) << 20) + __sync_fetch_and_add(&held, 0);";

fn version(version: &'static str, answer: &'static str, in_check: &str) -> Answers {
    let plugin = plugin("updated", version, answer).declares(SAFE);
    let in_check = format!("{HEAP}\n{in_check}");
    plugin.code("static size_t held;").in_check(in_check)
}

/// Calls all the time, from four threads.
struct Callers {
    ends: Arc<AtomicBool>,
    /// Answers of the new versions.
    new: Arc<AtomicU64>,
    failed: Arc<Mutex<Vec<String>>>,
    threads: Vec<JoinHandle<()>>,
}

impl Callers {
    fn of(client: &Client) -> Self {
        let (ends, new, failed) = <(Arc<AtomicBool>, Arc<AtomicU64>, Arc<Mutex<Vec<String>>>)>::default();
        let thread = |_| {
            let (client, ends, new, failed) = (client.clone(), ends.clone(), new.clone(), failed.clone());
            std::thread::spawn(move || {
                while !ends.load(Relaxed) {
                    let (status, body) = client.call("updated.safe", "", b"{}");
                    if status != 200 {
                        failed.lock().unwrap().push(format!("{status}: {body}"));
                    } else if body["answer"] == "new" {
                        new.fetch_add(1, Relaxed);
                    }
                }
            })
        };
        let threads = (0..4).map(thread).collect();
        Callers {
            ends,
            new,
            failed,
            threads,
        }
    }

    /// So many were answered by new versions, and no call has failed.
    fn end(self) -> u64 {
        self.ends.store(true, Relaxed);
        for thread in self.threads {
            thread.join().unwrap();
        }
        let failed = self.failed.lock().unwrap();
        assert!(
            failed.is_empty(),
            "{} calls failed: {:?}",
            failed.len(),
            failed.first()
        );
        self.new.load(Relaxed)
    }
}

/// What a command says, with one space between words.
fn said(host: &Served, args: &[&str]) -> String {
    let output = host.extman(args);
    let text = String::from_utf8(output.stdout).unwrap();
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Puts the build there and waits until it is taken back for a reason that contains `cause`; how many calls new versions answered meanwhile.
fn is_taken_back(host: &Served, build: Answers, version: &str, cause: &str) -> u64 {
    let callers = Callers::of(&host.client);
    let library = build.build(host.place.path());
    host.place.put(&library, &format!("updated-{version}.so"));
    let barred = || {
        let status = host.get("/api/v1/plugins/updated/rollout");
        let barred = status["barred"].as_array().cloned().unwrap_or_default();
        barred.into_iter().find(|barred| barred["version"] == version)
    };
    host.until(&format!("{version} is taken back"), || barred().is_some());
    let reason = barred().unwrap()["reason"].as_str().unwrap().to_owned();
    assert!(reason.contains(cause), "{version}: {reason}");
    host.until("its update is over", || {
        host.get("/api/v1/plugins/updated/rollout")["rollout"].is_null()
    });
    let plugin = host.plugin("updated");
    assert_eq!(
        (&plugin["version"], &plugin["lifecycle"]),
        (&"1.0.0".into(), &"running".into()),
        "{plugin}"
    );
    let event = format!("version {version} was taken back, and is not tried again by itself: {reason}");
    host.until(&event, || said(host, &["events", "updated"]).contains(&event));
    for args in [
        &["show", "updated"][..],
        &["rollout", "updated"],
        &["health", "updated"],
        &["health"],
    ] {
        let shown = said(host, args);
        assert!(shown.contains(version), "{args:?}: {shown}");
        assert!(shown.contains(cause), "{args:?}: {shown}");
    }
    callers.end()
}

#[test]
fn version_that_is_worse_in_any_way_is_taken_back_and_no_caller_who_may_be_answered_by_the_old_one_sees_an_error()
 {
    let place = Place::default();
    let go = place.path().join("go");
    let old = version("1.0.0", "old", "");
    place.put(&old.build(place.path()), "updated.so");
    let host = place.serve(SETTINGS);
    host.until_ready();
    let is_taken_back = |build, version, cause| is_taken_back(&host, build, version, cause);

    let slower = version("1.1.0", "new", "").in_invoke("usleep(20000);");
    assert!(is_taken_back(slower, "1.1.0", "times the") > 0);

    let fails = "static unsigned calls; if (__sync_add_and_fetch(&calls, 1) % 20 == 0) { \
                 return extman_fail(error, EXTMAN_STATUS_INTERNAL, \"one in twenty\"); }";
    let errors = version("1.2.0", "new", "").in_invoke(fails);
    assert!(is_taken_back(errors, "1.2.0", "failed") > 0);

    let leaks =
        "char *volatile kept = malloc(1 << 16); if (kept != NULL) { __sync_fetch_and_add(&held, 1 << 16); }";
    let leaks = version("1.3.0", "new", "").in_invoke(leaks);
    assert!(is_taken_back(leaks, "1.3.0", "heap") > 0);

    let hangs = format!("while (access({go:?}, F_OK) != 0) {{ usleep(1000); }}");
    let hangs = version("1.4.0", "new", "").in_create(hangs);
    assert_eq!(is_taken_back(hangs, "1.4.0", "create"), 0);
    std::fs::write(&go, "").unwrap();

    let panics = "return extman_fail(error, EXTMAN_STATUS_PANICKED, \"a panic, as told\");";
    let panics = version("1.5.0", "new", "").in_invoke(panics);
    assert_eq!(is_taken_back(panics, "1.5.0", "a panic, as told"), 0);

    let fails = "return extman_fail(text, EXTMAN_STATUS_INTERNAL, \"no model\");";
    let later = format!("static unsigned asked; if (__sync_add_and_fetch(&asked, 1) > 3) {{ {fails} }}");
    let unready = version("1.6.0", "new", fails);
    assert_eq!(
        is_taken_back(unready, "1.6.0", "it was not ready within 2000 ms"),
        0
    );
    let ill = version("1.7.0", "new", &later);
    assert!(is_taken_back(ill, "1.7.0", "checks failed") > 0);

    host.until("what hung is unloaded", || {
        host.get("/api/v1/status")["resident"]
            .as_array()
            .is_none_or(Vec::is_empty)
    });
    host.stop();
}
