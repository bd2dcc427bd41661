//! Maintenance at run time: it counts in no sum, outlives the host, and ends by itself.

use crate::answers::plugin;
use crate::served::{Place, Served};
use serde_json::Value;

const SICK: &str = "[vetting]\nenabled = false\n[probe]\ninterval_ms = 100\n[[instance]]\nplugin = 'sick'\ncriticality = 'required'\n";

/// A host with a required plugin that can't be created.
fn host_with_sick_plugin() -> Served {
    let place = Place::default();
    place.put(
        &plugin("sick", "1.0.0", "one")
            .requires("model")
            .build(place.path()),
        "sick.so",
    );
    let host = place.serve(SICK);
    host.until("it is down", || word(&host) == "down");
    host
}

fn word(host: &Served) -> Value {
    host.get("/api/v1/health")["overall"]["health"].clone()
}

fn text(host: &Served, args: &[&str]) -> String {
    String::from_utf8(host.extman(args).stdout).unwrap()
}

#[test]
fn plugin_in_maintenance_counts_in_no_sum_until_it_ends_and_survives_a_killed_host() {
    let host = host_with_sick_plugin();
    assert_eq!(host.status_of("/readyz"), 503);
    let said = text(
        &host,
        &["maintenance", "sick", "--for", "1h", "--reason", "new model"],
    );
    assert!(
        said.contains("in maintenance until") && said.contains("new model"),
        "{said}"
    );
    host.until("it counts no longer", || word(&host) == "up");
    assert_eq!((host.status_of("/readyz"), host.status_of("/health")), (200, 200));
    let (_, document) = host.text_of("/health");
    assert!(
        document.contains("in maintenance until") && document.contains("new model"),
        "{document}"
    );
    for args in [&["health"][..], &["health", "sick"], &["list"], &["status"]] {
        let said = text(&host, args);
        assert!(said.contains("maintenance"), "{args:?}: {said}");
    }
    assert!(text(&host, &["maintenance"]).contains(" sick "));
    // Killed, it writes nothing any more: what was answered is on the disk.
    host.signal("KILL");
    let mut host = host;
    let place = std::mem::take(&mut host.place);
    drop(host);

    let host = place.serve(SICK);
    host.until_ready();
    let kept = host.get("/api/v1/plugins/sick/maintenance");
    assert_eq!(
        (&kept[0]["by"], &kept[0]["reason"]),
        (&"operator".into(), &"new model".into()),
        "{kept}"
    );
    assert_eq!(word(&host), "up");
    let said = text(&host, &["maintenance", "sick", "--end"]);
    assert_eq!(said, "sick: maintenance has ended\n");
    host.until("it counts again", || word(&host) == "down");
    let ended = host.extman(&["maintenance", "sick", "--end"]);
    assert_eq!(ended.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&ended.stderr).contains("sick is in no maintenance"));
    let history = text(&host, &["history", "sick"]);
    assert!(history.contains("(maintenance)"), "{history}");
    let uptime = host.get("/api/v1/plugins/sick/uptime?since=1h");
    assert!(
        uptime[0]["uptime"]["left_out_ms"].as_u64().unwrap() > 0,
        "{uptime}"
    );
    let events = text(&host, &["events"]);
    assert!(events.contains("maintenance has ended"), "{events}");
    host.stop();
}

#[test]
fn maintenance_ends_by_itself() {
    let host = host_with_sick_plugin();
    let (status, begun) = host.post("/api/v1/plugins/sick/maintenance", br#"{"for": "1s"}"#);
    assert_eq!(
        (status, &begun["data"][0]["name"]),
        (200, &"sick".into()),
        "{begun}"
    );
    host.until("it has ended", || {
        host.get("/api/v1/maintenance") == serde_json::json!([])
    });
    host.until("it counts again", || word(&host) == "down");
    let place = host.stopped();
    let host = place.serve(SICK);
    host.until("it counts from the start on", || word(&host) == "down");
    assert_eq!(host.get("/api/v1/maintenance"), serde_json::json!([]));
    host.stop();
}

#[test]
fn maintenance_that_can_not_be_kept_is_refused_and_what_the_configuration_says_has_no_end() {
    let place = Place::default();
    place.put(&plugin("well", "1.0.0", "one").build(place.path()), "well.so");
    place.put(&plugin("other", "1.0.0", "one").build(place.path()), "other.so");
    let host = place.serve("history.enabled = false\n[[instance]]\nplugin = 'other'\nmaintenance = true\n");
    host.until_ready();
    let (status, refused) = host.post("/api/v1/plugins/well/maintenance", br#"{"for": "1h"}"#);
    assert_eq!(
        (status, &refused["error"]["kind"]),
        (503, &"unavailable".into()),
        "{refused}"
    );
    assert_eq!(
        host.get("/api/v1/plugins/well/maintenance"),
        serde_json::json!([])
    );
    for body in [&br#"{"for": "1h"}"#[..], br#"{"end": true}"#] {
        let (status, refused) = host.post("/api/v1/plugins/other/maintenance", body);
        assert_eq!(
            (status, &refused["error"]["kind"]),
            (409, &"conflict".into()),
            "{refused}"
        );
    }
    assert_eq!(host.get("/api/v1/maintenance")[0]["by"], "configuration");
    host.stop();
}

#[test]
fn plugin_in_maintenance_is_called_only_where_nobody_else_serves() {
    let place = Place::default();
    let pair = plugin("pair", "1.0.0", "one");
    place.put(&pair.build(place.path()), "pair.so");
    let host = place.serve(
        "[probe]\ninterval_ms = 100\n[[instance]]\nplugin = 'pair'\nname = 'first'\npriority = 10\nconfig.who = 'first'\n\
         [[instance]]\nplugin = 'pair'\nname = 'second'\nconfig.who = 'second'\n",
    );
    host.until_ready();
    let up = |name: &str| host.get(&format!("/api/v1/plugins/{name}/health"))["health"]["health"] == "up";
    host.until("both are up", || up("first") && up("second"));
    let served_by = || {
        let (status, body) = host.call("pair.ask", "", b"{}");
        assert_eq!(status, 200, "{body}");
        body["config"]["who"].clone()
    };
    assert_eq!(served_by(), "first");
    let said = text(&host, &["maintenance", "first", "--for", "1h"]);
    assert!(said.contains("in maintenance until"), "{said}");
    assert_eq!(served_by(), "second", "from the moment that it is answered");
    let (status, body) = host.change("second", "unload");
    assert_eq!(status, 200, "{body}");
    assert_eq!(served_by(), "first", "it alone serves");
    let (status, body) = host.change("second", "load");
    assert_eq!(status, 200, "{body}");
    host.until("the other serves again", || served_by() == "second");
    text(&host, &["maintenance", "first", "--end"]);
    assert_eq!(served_by(), "first");
    host.stop();
}

#[test]
fn plugin_whose_file_is_replaced_in_its_maintenance_counts_in_no_sum() {
    let place = Place::default();
    let file = place.put(&plugin("sick", "1.0.0", "one").build(place.path()), "sick.so");
    let host = place.serve(SICK);
    host.until_ready();
    text(&host, &["maintenance", "sick", "--for", "1h"]);
    std::fs::remove_file(&file).unwrap();
    host.until("its file is seen to be gone", || {
        host.get("/api/v1/status")["missing"][0]["name"] == "sick"
    });
    assert_ne!(word(&host), "down");
    assert_eq!((host.status_of("/readyz"), host.status_of("/health")), (200, 200));
    assert!(text(&host, &["health"]).contains("maintenance"));
    text(&host, &["maintenance", "sick", "--end"]);
    host.until("it counts again", || word(&host) == "down");
}
