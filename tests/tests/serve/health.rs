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
    let skipped = |health: &Value| health["checks"]["skipped"].as_u64().unwrap_or(0);
    let first = skipped(&health());
    host.until("a hundred checks more were skipped", || {
        let health = health();
        assert_eq!(
            (&health["health"], &health["busy"]),
            (&"up".into(), &true.into()),
            "{health}"
        );
        skipped(&health) >= first + 100
    });
    std::fs::write(release, "").unwrap();
    assert_eq!(call.join().unwrap(), 200);
    host.until("it is not busy any more", || health()["busy"].is_null());
    assert_eq!(health()["health"], "up");
}

#[test]
fn a_probe_of_a_plugin_that_hangs_ends_with_what_is_known() {
    let place = Place::default();
    let release = place.path().join("release");
    let hung = plugin("hung", "1.0.0", "one").hangs_in_its_check_until(&release);
    place.put(&hung.build(place.path()), "hung.so");
    let host = place.serve("[vetting]\nenabled = false\n[probe]\ninterval_ms = 100\ntimeout_ms = 200\n");
    host.until_lifecycle("hung", "running");
    // Also once its lane is given up, and nobody asks it any more.
    host.until("it is down", || {
        host.get("/api/v1/plugins/hung/health")["health"]["health"] == "down"
    });
    let (status, told) = host.post("/api/v1/plugins/hung/check", b"{}");
    assert_eq!(
        (status, &told["data"]["health"]["health"]),
        (200, &"down".into()),
        "{told}"
    );
    assert!(told["data"]["probe"]["result"].is_string(), "{told}");
    let said = host.extman(&["probe", "hung"]);
    assert_eq!(said.status.code(), Some(12), "{said:?}");
    std::fs::write(release, "").unwrap();
    host.stop();
}

#[test]
fn a_probe_ends_when_the_plugin_leaves() {
    let place = Place::default();
    let release = place.path().join("release");
    let hung = plugin("hung", "1.0.0", "one").hangs_in_its_check_until(&release);
    place.put(&hung.build(place.path()), "hung.so");
    let host = place.serve(
        "[vetting]\nenabled = false\n[[instance]]\nplugin = \"hung\"\nstop_budget_ms = 200\nprobe.timeout_ms = 600000\n",
    );
    host.until_lifecycle("hung", "running");
    let probe = {
        let client = host.client.clone();
        std::thread::spawn(move || client.post("/api/v1/plugins/hung/check", b"{}"))
    };
    let unload = {
        let client = host.client.clone();
        std::thread::spawn(move || client.change("hung", "unload"))
    };
    let (status, told) = probe.join().unwrap();
    // Asked before it left or after that.
    match status {
        200 => assert_eq!(told["data"]["probe"]["result"], "left", "{told}"),
        _ => assert_eq!(
            (status, &told["error"]["kind"]),
            (409, &"conflict".into()),
            "{told}"
        ),
    }
    std::fs::write(release, "").unwrap();
    assert_eq!(unload.join().unwrap().0, 200);
    host.stop();
}

#[test]
fn an_input_that_does_not_fit_is_refused_before_the_plugin_sees_it() {
    let place = Place::default();
    let declared =
        "input = { type = \"object\", required = [\"text\"], properties.text = { type = \"string\" } }\n";
    let strict = plugin("strict", "1.0.0", "one").declares(declared);
    place.put(&strict.build(place.path()), "strict.so");
    let host = place.serve("");
    host.until_ready();
    // `wait` declares it, and waits for the file that is its input: it is not reached.
    for (body, misfit) in [
        (&b"{\"text\": 7}"[..], "input.text: "),
        (b"{}", "\"text\" is a required property"),
        (b"no JSON", "it is no JSON"),
    ] {
        let (status, told) = host.call("strict.wait", "", body);
        let text = told["error"]["text"].as_str().unwrap_or_default();
        assert_eq!(
            (status, &told["error"]["kind"]),
            (400, &"invalid_input".into()),
            "{told}"
        );
        assert!(
            text.contains(misfit) && text.contains("takes {\"text\": string}"),
            "{text}"
        );
    }
    assert_eq!(host.get("/api/v1/plugins/strict")["calls"]["total"], 0);
    // Another capability of it declares nothing.
    assert_eq!(host.ask("strict"), "one");
    host.stop();
}

#[test]
fn what_happened_is_told_with_numbers_and_waited_for() {
    let place = Place::default();
    place.put(&plugin("well", "1.0.0", "one").build(place.path()), "well.so");
    let host = place.serve("");
    let running =
        |event: &Value| event["event"] == "moved" && event["to"] == "running" && event["name"] == "well";
    let told = || {
        host.get("/api/v1/events")["events"]
            .as_array()
            .cloned()
            .unwrap_or_default()
    };
    host.until("its start is told", || told().iter().any(running));
    let events = host.get("/api/v1/events");
    let all = events["events"].as_array().cloned().unwrap_or_default();
    let numbers: Vec<u64> = all.iter().filter_map(|event| event["number"].as_u64()).collect();
    assert!(numbers.windows(2).all(|pair| pair[0] + 1 == pair[1]), "{events}");
    let last = events["last"].as_u64().unwrap();
    let next = {
        let client = host.client.clone();
        let path = format!("/api/v1/events?after={last}&wait_ms=30000");
        std::thread::spawn(move || client.get(&path))
    };
    let (status, _) = host.change("well", "unload");
    assert_eq!(status, 200);
    let next = next.join().unwrap();
    assert!(next["events"][0]["number"].as_u64() > Some(last), "{next}");
    let said = host.extman(&["events", "well"]);
    let text = String::from_utf8(said.stdout).unwrap();
    assert!(text.contains("well: starting → running"), "{text}");
    let waited = host.extman(&["wait", "well", "--for", "running", "--timeout", "1ms"]);
    assert_eq!(waited.status.code(), Some(1));
    host.stop();
}
