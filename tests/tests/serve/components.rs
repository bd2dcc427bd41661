//! The host's own parts: the store, the lanes, the disk, the memory, the descriptors, the log, the threads. What is wrong with them is the host's, and no plugin's.

use crate::answers::plugin;
use crate::served::{Client, Place};
use extman_tests::build;
use serde_json::{Value, json};

const OFTEN: &str =
    "[vetting]\nenabled = false\n[probe]\ninterval_ms = 100\n[health]\ncomponents_every_ms = 100\n";

/// A part of the host; null if it is not told of.
fn part(host: &Client, name: &str) -> Value {
    let health = host.get("/api/v1/health");
    let all = health["components"].as_array().cloned().unwrap_or_default();
    all.into_iter()
        .find(|part| part["name"] == name)
        .unwrap_or_default()
}

fn figure(part: &Value, name: &str) -> Option<u64> {
    let all = part["figures"].as_array().cloned().unwrap_or_default();
    let found = all.into_iter().find(|figure| figure["name"] == name)?;
    assert_eq!(found["source"], "host");
    found["value"].as_u64()
}

#[test]
fn a_host_that_is_well_tells_of_each_of_its_parts() {
    let place = Place::default();
    place.put(
        &plugin("beside", "1.0.0", "here").build(place.path()),
        "beside.so",
    );
    let host = place.serve(OFTEN);
    host.until_ready();
    let names = [
        "descriptors",
        "disk",
        "history",
        "lanes",
        "log",
        "memory",
        "store",
        "threads",
    ];
    host.until("all is up", || {
        let health = host.get("/api/v1/health");
        let group = &health["overall"]["groups"]["host"];
        (&group["health"], &group["counts"]["up"]) == (&json!("up"), &json!(8))
    });
    for name in names {
        let part = part(&host, name);
        assert_eq!(part["health"], "up", "{part}");
        assert!(part["since_unix_ms"].as_u64() > Some(0), "{part}");
    }
    assert!(figure(&part(&host, "disk"), "store_free") > Some(0));
    assert!(figure(&part(&host, "memory"), "resident") > Some(1 << 20));
    assert_eq!(figure(&part(&host, "lanes"), "lanes_lost"), Some(0));
    host.until("checks have been late by something", || {
        figure(&part(&host, "lanes"), "lag_p99").is_some()
    });
    let document = host.extman(&["health"]);
    let text = String::from_utf8(document.stdout).unwrap();
    // Wherever its lines are broken.
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(
        text.contains("Host: all up (descriptors, disk, history, lanes, log, memory, store, threads)"),
        "{text}"
    );
    host.stop();
}

#[test]
fn a_disk_that_is_full_is_the_hosts_and_no_plugins() {
    let place = Place::default();
    place.put(
        &plugin("beside", "1.0.0", "here").build(place.path()),
        "beside.so",
    );
    // More than there is.
    let host = place.serve(&format!("{OFTEN}disk_degraded_mib = 1000000000\n"));
    host.until_ready();
    host.until("the plugin is up", || {
        host.get("/api/v1/plugins/beside/health")["health"]["health"] == "up"
    });
    let health = host.get("/api/v1/health");
    assert_eq!(health["overall"]["health"], "degraded", "{health}");
    assert_eq!(health["overall"]["groups"]["general"]["health"], "up", "{health}");
    let sentence = health["overall"]["sentence"].as_str().unwrap();
    assert_eq!(sentence, "Degraded: 1 of 8 host components degraded (disk)");
    assert_eq!(host.status_of("/health/host"), 200);
    assert_eq!((host.status_of("/readyz"), host.status_of("/livez")), (200, 200));
    host.stop();
}

#[test]
fn a_store_that_can_t_be_written_to_is_down_until_it_can_and_nothing_is_written_to_find_out() {
    let place = Place::default();
    let (store, aside) = (place.path().join("store"), place.path().join("aside"));
    place.put(&plugin("first", "1.0.0", "one").build(place.path()), "first.so");
    let second = plugin("second", "1.0.0", "two").build(place.path());
    let host = place.serve(OFTEN);
    host.until_ready();
    assert_eq!(part(&host, "store")["health"], "up");
    std::fs::rename(&store, &aside).unwrap();
    std::fs::write(&store, "no directory").unwrap();
    host.place.put(&second, "second.so");
    host.until("the store is down", || part(&host, "store")["health"] == "down");
    assert_eq!(host.ask("first"), "one", "what was taken in goes on");
    std::fs::remove_file(&store).unwrap();
    std::fs::rename(&aside, &store).unwrap();
    host.until("the store is up again", || part(&host, "store")["health"] == "up");
    host.until_lifecycle("second", "running");
    host.until_log("a part of the host is up again");
    host.stop();
}

#[test]
fn a_lane_that_is_lost_is_counted_until_it_comes_back() {
    let place = Place::default();
    let release = place.path().join("release");
    place.put(&build::plugin("faults"), "faults.so");
    let instance = "[[instance]]\nplugin = \"faults\"\ncall_timeout_ms = 100\nwedge_after_ms = 100\n";
    let host = place.serve(&format!("{OFTEN}{instance}"));
    host.until_ready();
    let order = json!({"hazard": "hang", "release": release}).to_string();
    assert_ne!(host.call("fault.run", "", order.as_bytes()).0, 200);
    host.until("it is counted", || {
        figure(&part(&host, "lanes"), "lanes_lost") == Some(1)
    });
    assert_eq!(
        part(&host, "lanes")["health"],
        "up",
        "one plugin that hangs is that plugin's"
    );
    std::fs::write(&release, "").unwrap();
    host.until("it is back", || {
        figure(&part(&host, "lanes"), "lanes_lost") == Some(0)
    });
    host.stop();
}
