//! How a host ends.

use crate::answers::plugin;
use crate::served::{Place, Served};
use extman_tests::build;
use serde_json::json;

/// A host with a plugin that waits for a file, and a call that waits.
fn with_a_call_under_way(
    more: &str,
) -> (
    Served,
    std::path::PathBuf,
    std::thread::JoinHandle<crate::served::Answer>,
) {
    let place = Place::default();
    place.put(
        &plugin("ending", "1.0.0", "late").build(place.path()),
        "ending.so",
    );
    place.put(
        &plugin("beside", "1.0.0", "fine").build(place.path()),
        "beside.so",
    );
    let host = place.serve(more);
    host.until_ready();
    let release = host.place.path().join("release");
    let (client, file) = (host.client.clone(), release.clone());
    let call = std::thread::spawn(move || client.call("ending.wait", "", file.to_str().unwrap().as_bytes()));
    host.until("the call is inside", || {
        host.plugin("ending")["calls"]["in_flight"] == 1
    });
    (host, release, call)
}

#[test]
fn at_sigterm_calls_are_answered_and_verdicts_told() {
    let (host, release, call) = with_a_call_under_way("[http]\nshutdown_ms = 100\n");
    host.signal("TERM");
    host.until_log("unloaded: unmapped");
    assert!(
        !call.is_finished(),
        "it is waited for, longer than requests that nobody works on"
    );
    std::fs::write(release, b"").unwrap();
    let (status, body) = call.join().unwrap();
    assert_eq!((status, &body["answer"]), (200, &json!("late")), "{body}");
    let (status, log) = host.ended();
    assert_eq!(status.code(), Some(0), "{log}");
    for name in ["ending", "beside"] {
        let told =
            |line: &str| line.contains(&format!("plugin=\"{name}\"")) && line.contains("unloaded: unmapped");
        assert!(log.lines().any(told), "{name}: {log}");
    }
}

#[test]
fn a_call_that_hangs_does_not_keep_the_host() {
    let (host, _, call) = with_a_call_under_way("[shutdown]\nbudget_ms = 500\n");
    host.signal("INT");
    let (status, log) = host.ended();
    assert_eq!(status.code(), Some(0), "{log}");
    assert!(log.contains("the time for stopping is over"), "{log}");
    let told = |line: &str| line.contains("plugin=\"beside\"") && line.contains("unloaded: unmapped");
    assert!(log.lines().any(told), "what could be unloaded was: {log}");
    let (status, _) = call.join().unwrap();
    assert_ne!(status, 200);
}

#[test]
fn a_second_signal_ends_it_at_once() {
    for (first, second, code) in [("TERM", "TERM", 143), ("TERM", "INT", 130)] {
        let (host, _, call) = with_a_call_under_way(
            "[shutdown]\nbudget_ms = 3600000\n[[instance]]\nplugin = \"ending\"\nstop_budget_ms = 3600000\n",
        );
        host.signal(first);
        host.until_log("draining and unloading");
        host.signal(second);
        let (status, log) = host.ended();
        assert_eq!(status.code(), Some(code), "{log}");
        call.join().unwrap();
    }
}

#[test]
fn a_finaliser_that_hangs_does_not_keep_the_host() {
    let place = Place::default();
    place.put(&build::c_fault("hang-finaliser"), "hang.so");
    let host = place.serve("[vetting]\nenabled = false\n[shutdown]\nbudget_ms = 2000\n");
    host.until_ready();
    host.stop();
}

#[test]
fn a_process_that_hangs_at_its_very_end_is_ended() {
    let place = Place::default();
    let code = "#include <unistd.h>\n\
                __attribute__((destructor)) static void hang(void) { for (;;) pause(); }\n";
    let library = build::preloaded("hang", code);
    let host = place.serve_with("[shutdown]\nbudget_ms = 500\n", &[("LD_PRELOAD", &library)]);
    host.until_ready();
    host.signal("TERM");
    let (status, log) = host.ended();
    assert_eq!(status.code(), Some(0), "{log}");
    assert!(log.contains("holds up the process"), "{log}");
}
