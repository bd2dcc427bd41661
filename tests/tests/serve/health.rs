//! How a served plugin is and was: told over HTTP and on the command line, as it happens.

use crate::answers::plugin;
use crate::served::Place;
use extman_tests::build;
use serde_json::Value;

#[test]
fn a_served_plugin_tells_how_it_is_and_how_it_was() {
    let place = Place::default();
    place.put(&plugin("well", "1.0.0", "one").build(place.path()), "well.so");
    let host = place.serve("[probe]\ninterval_ms = 100\n");
    host.until_ready();
    host.until("it is up", || {
        host.get("/api/v1/plugins/well/health")["health"]["health"] == "up"
    });
    let health = host.get("/api/v1/health");
    assert_eq!(health["overall"]["health"], "up", "{health}");
    assert_eq!(host.status_of("/health"), 200);
    let said = host.extman(&["health", "well"]);
    assert_eq!(said.status.code(), Some(0));
    let (status, checked) = host.post("/api/v1/plugins/well/check", b"{}");
    assert_eq!(
        (status, &checked["data"]["name"]),
        (200, &"well".into()),
        "{checked}"
    );

    let states = |history: &Value| -> Vec<Value> {
        let spans = history["spans"].as_array().cloned().unwrap_or_default();
        spans.iter().map(|span| span["health"].clone()).collect()
    };
    let history = || host.get("/api/v1/plugins/well/history?since=1h");
    host.until("its state is written down", || {
        states(&history()).contains(&"up".into())
    });
    let of = |uptime: &Value| uptime[0]["uptime"]["up_ms"].as_u64().unwrap_or(0);
    host.until("its time up is counted", || {
        of(&host.get("/api/v1/plugins/well/uptime?since=1h")) > 0
    });
    let analysis = host.get("/api/v1/plugins/well/analysis?since=1h");
    assert_eq!(analysis["latency"]["result"], "missing", "{analysis}");

    let (status, _) = host.change("well", "unload");
    assert_eq!(status, 200);
    host.until("its end is written down", || {
        let told = history();
        let spans = told["spans"].as_array().cloned().unwrap_or_default();
        spans
            .iter()
            .any(|span| span["lifecycle"] == "stopped" && span["left_out"] == true)
    });
    let uptime = |args: &[&str]| String::from_utf8(host.extman(args).stdout).unwrap();
    assert!(
        uptime(&["uptime", "well"]).contains(" well "),
        "{}",
        uptime(&["uptime", "well"])
    );
    let unknown = host.extman(&["uptime", "nobody"]);
    assert!(!unknown.status.success() && String::from_utf8_lossy(&unknown.stderr).contains("nobody"));
    let text = String::from_utf8(host.extman(&["history", "well", "--since", "1h"]).stdout).unwrap();
    assert!(text.contains("stopped (left out)"), "{text}");
    host.stop();
}

#[test]
fn a_plugin_whose_calls_leave_no_room_for_a_check_is_up_and_busy_for_as_long_as_they_take() {
    let place = Place::default();
    place.put(&build::c_fault("serial"), "serial.so");
    let host = place.serve("[vetting]\nenabled = false\n[probe]\ninterval_ms = 20\nrecheck_ms = 20\n");
    host.until_ready();
    let health = || host.get("/api/v1/plugins/fault-serial/health")["health"].clone();
    host.until("it is up", || health()["health"] == "up");

    let release = host.place.path().join("release");
    let begun = host.place.path().join("release.begun");
    let call = {
        let (client, release) = (host.client.clone(), release.clone());
        let body = release.to_str().unwrap_or_default().to_owned();
        std::thread::spawn(move || client.call("c.echo", "", body.as_bytes()).0)
    };
    host.until("the call is inside", || begun.exists());
    host.until("it is seen to be busy", || health()["busy"] == true);
    // Many more than make it down, and longer than makes it stale.
    let checks = || host.get("/api/v1/health")["host"]["checks"].as_u64().unwrap_or(0);
    let first = checks();
    host.until("it was to be checked a hundred times more", || {
        let health = health();
        assert_eq!(
            (&health["health"], &health["busy"]),
            (&"up".into(), &true.into()),
            "{health}"
        );
        checks() >= first + 100
    });
    std::fs::write(release, "").unwrap();
    assert_eq!(call.join().unwrap(), 200);
    host.until("it is not busy any more", || health()["busy"].is_null());
    assert_eq!(health()["health"], "up");
}
