//! Plugins that panic or hang, beside one that is well.

use crate::answers::plugin;
use crate::served::{Place, Served};
use extman_tests::build;
use serde_json::{Value, json};

const SETTINGS: &str = "[vetting]\nenabled = false\n[supervision]\nrestart = \"never\"\n";
const HASTY: &str = "[[instance]]\nplugin = \"faults\"\nrestart = \"never\"\ncall_timeout_ms = 50\nwedge_after_ms = 50\n\
                     stop_budget_ms = 300\n[vetting]\nenabled = false\n";

fn with_faults(settings: &str) -> Served {
    let place = Place::default();
    place.put(&build::plugin("faults"), "faults.so");
    place.put(&plugin("well", "1.0.0", "fine").build(place.path()), "well.so");
    let host = place.serve(settings);
    host.until_ready();
    host
}

fn run(host: &Served, order: Value) -> Value {
    host.call("fault.run", "", order.to_string().as_bytes()).1
}

fn echoes(host: &Served) -> bool {
    host.call("fault.echo", "", b"\"ping\"") == (200, json!("ping"))
}

#[test]
fn a_panic_fails_the_instance_and_a_load_brings_it_back() {
    let host = with_faults(SETTINGS);
    let body = run(&host, json!({"hazard": "panic"}));
    assert_eq!(body["error"]["kind"], "panicked", "{body}");
    host.until("it is freed", || host.plugin("faults")["unload"] != Value::Null);
    host.until_lifecycle("faults", "failed");
    let view = host.plugin("faults");
    assert!(view["cause"].as_str().unwrap().contains("as told"), "{view}");
    assert_eq!(view["unload"]["verdict"], "unmapped", "{view}");
    let log = host.log();
    assert!(
        !log.contains("stopping goes on"),
        "steps that are not called: {log}"
    );
    let (status, body) = host.call("fault.echo", "", b"1");
    let text = body["error"]["text"].as_str().unwrap();
    assert!(
        status == 503 && text.contains("failed") && text.contains("as told"),
        "{body}"
    );
    assert_eq!(host.ask("well"), "fine");
    let (status, body) = host.change("faults", "load");
    assert_eq!(
        (status, &body["data"]["lifecycle"]),
        (200, &json!("running")),
        "{body}"
    );
    assert!(echoes(&host));
    host.stop();
}

#[test]
fn a_hang_wedges_one_instance_and_a_late_return_frees_it() {
    let host = with_faults(HASTY);
    let release = host.place.path().join("release");
    let body = run(&host, json!({"hazard": "hang", "release": release}));
    assert_eq!(body["error"]["kind"], "deadline_exceeded", "{body}");
    host.until_lifecycle("faults", "wedged");
    let view = host.plugin("faults");
    assert!(
        view["cause"]
            .as_str()
            .unwrap()
            .contains("invoke (fault.run) has not returned"),
        "{view}"
    );
    assert_eq!(host.ask("well"), "fine");
    let (status, body) = host.change("faults", "load");
    let text = body["error"]["text"].as_str().unwrap();
    assert!(status >= 400 && text.contains("extman restart"), "{body}");
    std::fs::write(release, b"").unwrap();
    host.until_lifecycle("faults", "failed");
    host.until("it is freed", || {
        host.plugin("faults")["unload"]["verdict"] == "unmapped"
    });
    let cause = host.plugin("faults")["cause"].to_string();
    assert!(cause.contains("came back"), "{cause}");
    let (status, body) = host.change("faults", "load");
    assert_eq!(
        (status, &body["data"]["lifecycle"]),
        (200, &json!("running")),
        "{body}"
    );
    assert!(echoes(&host));
    host.stop();
}

#[test]
fn a_hang_for_ever_is_given_up_by_a_restart() {
    let host = with_faults(HASTY);
    run(&host, json!({"hazard": "hang"}));
    host.until_lifecycle("faults", "wedged");
    let (status, body) = host.change("faults", "restart");
    assert_eq!(
        (status, &body["data"]["lifecycle"]),
        (200, &json!("running")),
        "{body}"
    );
    assert_eq!(body["data"]["unload"]["reason"], "wedged-call", "{body}");
    assert!(echoes(&host));
    let resident = host.get("/api/v1/status")["resident"].clone();
    assert_eq!(resident.as_array().map(Vec::len), Some(1), "{resident}");
    assert_eq!(host.ask("well"), "fine");
    host.stop();
}

#[test]
fn an_unload_during_a_hang_ends_and_what_hangs_can_be_loaded_anew() {
    let place = Place::default();
    place.put(&build::plugin("faults"), "faults.so");
    // The call is given up as wedged while the instance is being stopped.
    let host = place.serve(
        "[[instance]]\nplugin = \"faults\"\ncall_timeout_ms = 400\nwedge_after_ms = 50\nstop_budget_ms = 2000\n\
         [vetting]\nenabled = false\n",
    );
    host.until_ready();
    let release = host.place.path().join("release");
    let hanging = {
        let (client, order) = (host.client.clone(), json!({"hazard": "hang", "release": release}));
        std::thread::spawn(move || client.call("fault.run", "", order.to_string().as_bytes()))
    };
    host.until("the call is inside", || {
        host.plugin("faults")["calls"]["in_flight"] == 1
    });
    let (status, body) = host.change("faults", "unload");
    assert_eq!(status, 200, "{body}");
    assert_eq!(body["data"]["unload"]["reason"], "wedged-call", "{body}");
    hanging.join().unwrap();
    let (status, body) = host.change("faults", "load");
    assert_eq!(
        (status, &body["data"]["lifecycle"]),
        (200, &json!("running")),
        "{body}"
    );
    std::fs::write(release, b"").unwrap();
    host.until_log("has returned");
    assert_eq!(host.lifecycle("faults"), "running");
    assert!(echoes(&host));
    host.stop();
}

#[test]
fn a_start_that_hangs_fails_and_can_be_tried_again() {
    let place = Place::default();
    place.put(&build::plugin("faults"), "faults.so");
    let release = place.path().join("release");
    let host = place.serve(&format!(
        "[[instance]]\nplugin = \"faults\"\nrestart = \"never\"\nstart_budget_ms = 100\nwedge_after_ms = 50\nstop_budget_ms = 500\n\
         config = {{ hazard = \"hang\", phase = \"start\", release = {release:?} }}\n[vetting]\nenabled = false\n"
    ));
    host.until_lifecycle("faults", "failed");
    let cause = host.plugin("faults")["cause"].to_string();
    assert!(cause.contains("start"), "{cause}");
    std::fs::write(release, b"").unwrap();
    let (status, body) = host.change("faults", "load");
    assert_eq!(
        (status, &body["data"]["lifecycle"]),
        (200, &json!("running")),
        "{body}"
    );
    host.stop();
}

#[test]
fn what_fails_while_it_is_stopped_is_told() {
    for (phase, said) in [
        ("drain", "drain failed: panicked: as told"),
        ("destroy", "destroy failed: panicked: as told"),
    ] {
        let host = with_faults(&format!(
            "[[instance]]\nplugin = \"faults\"\nconfig = {{ hazard = \"panic\", phase = {phase:?} }}\n{SETTINGS}"
        ));
        let (_, body) = host.change("faults", "unload");
        let cause = body["data"]["cause"].as_str().unwrap();
        assert_eq!(cause, format!("stopped by an operator; {said}"), "{body}");
        host.until_log("stopping goes on: panicked: as told");
        host.stop();
    }
}

#[test]
fn a_caller_that_goes_away_is_counted_and_its_call_is_told() {
    use std::io::Write as _;
    let host = with_faults(SETTINGS);
    let order = json!({"hazard": "hang-until-cancelled"}).to_string();
    let address = host.url.strip_prefix("http://").unwrap().to_owned();
    let mut caller = std::net::TcpStream::connect(&address).unwrap();
    let request = format!(
        "POST /api/v1/capabilities/fault.run/invoke HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n{order}",
        order.len()
    );
    caller.write_all(request.as_bytes()).unwrap();
    let calls = || host.plugin("faults")["calls"].clone();
    host.until("the call is inside", || calls()["in_flight"] == 1);
    drop(caller);
    host.until("it is counted", || calls()["errors"]["cancelled"] == 1);
    assert_eq!(
        (calls()["total"].clone(), calls()["in_flight"].clone()),
        (json!(1), json!(0))
    );
    // Had the plugin not been told, it would be inside still.
    let (_, body) = host.change("faults", "unload");
    assert_eq!(body["data"]["unload"]["verdict"], "unmapped", "{body}");
    host.stop();
}
