//! A host of thousands of instances: it starts, is asked, changes one of them, and ends, like a small one.

use crate::answers::plugin;
use crate::served::Place;
use serde_json::{Value, json};
use std::fmt::Write;

const COUNT: usize = 10_000;

#[test]
fn ten_thousand_instances_start_are_listed_change_and_stop() {
    let place = Place::default();
    place.put(&plugin("many", "1.0.0", "one").build(place.path()), "many.so");
    let mut settings = String::from("shutdown.budget_ms = 60000\n");
    for number in 0..COUNT {
        write!(
            settings,
            "[[instance]]\nname = \"many-{number}\"\nplugin = \"many\"\n"
        )
        .expect("written");
    }
    let host = place.serve(&settings);
    host.until_ready();
    let status = host.get("/api/v1/status");
    assert_eq!(status["instances"], json!({"running": COUNT}), "{status}");
    assert_eq!(host.ask("many"), "one");

    let listed = host.extman(&["list", "--json"]);
    assert!(listed.status.success(), "{listed:?}");
    let listed: Value = serde_json::from_slice(&listed.stdout).expect("JSON");
    let listed = listed["data"].as_array().or(listed.as_array()).map(Vec::len);
    assert_eq!(listed, Some(COUNT));
    assert_eq!(host.status_of("/health"), 200);

    let (status, body) = host.change("many-7", "unload");
    assert_eq!(
        (status, &body["data"]["lifecycle"]),
        (200, &json!("stopped")),
        "{body}"
    );
    let status = host.get("/api/v1/status");
    assert_eq!(
        status["instances"],
        json!({"running": COUNT - 1, "stopped": 1}),
        "{status}"
    );
    let lost = host.log().contains("events came faster");
    assert!(!lost, "events of the start are missing from the log");
    host.stop();
}
