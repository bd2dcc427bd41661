//! Readiness and the summary of the health of many instances: short, and the same as the full report says.

use crate::answers::plugin;
use crate::served::{Place, Served};
use serde_json::{Value, json};
use std::fmt::Write;

/// Required instances that nobody stands in for. More than are told.
const SICK: usize = 20;
/// Reasons that are told.
const TOLD: usize = 16;

const BESIDE: &str = "\
    [health.redundant]\nscarce = 2\n\
    [[instance]]\nname = 'optional'\nplugin = 'lone'\n\
    [[instance]]\nname = 'off'\nplugin = 'lone'\ncriticality = 'required'\nautostart = false\n\
    [[instance]]\nname = 'maintained'\nplugin = 'lone'\ncriticality = 'required'\nmaintenance = true\n\
    [[instance]]\nname = 'of-scarce'\nplugin = 'lone'\ncriticality = 'required'\nredundant = 'scarce'\n\
    [[instance]]\nname = 'of-enough'\nplugin = 'lone'\ncriticality = 'required'\nredundant = 'enough'\n\
    [[instance]]\nname = 'well-of-scarce'\nplugin = 'pair'\nredundant = 'scarce'\nconfig = { model = 'm' }\n\
    [[instance]]\nname = 'well-of-enough'\nplugin = 'pair'\nredundant = 'enough'\nconfig = { model = 'm' }\n\
    [[instance]]\nname = 'covered'\nplugin = 'pair'\ncriticality = 'required'\n\
    [[instance]]\nname = 'gone'\nplugin = 'nowhere'\ncriticality = 'required'\n\
    [[instance]]\nname = 'gone-too'\nplugin = 'nowhere'\ncriticality = 'required'\n\
    [[instance]]\nname = 'gone-off'\nplugin = 'nowhere'\ncriticality = 'required'\nautostart = false\n\
    [[instance]]\nname = 'gone-optional'\nplugin = 'nowhere'\n";

/// Most of its instances can't be made without a model.
fn host() -> Served {
    let place = Place::default();
    for id in ["lone", "pair"] {
        let library = plugin(id, "1.0.0", "one").requires("model").build(place.path());
        place.put(&library, &format!("{id}.so"));
    }
    let mut settings = format!("[vetting]\nenabled = false\n[probe]\ninterval_ms = 100\n{BESIDE}");
    for number in 0..SICK {
        write!(
            settings,
            "[[instance]]\nname = 'lone-{number}'\nplugin = 'lone'\ncriticality = 'required'\n"
        )
        .expect("written");
    }
    place.serve(&settings)
}

/// Who keeps the host from being ready, by the full report.
fn kept_by(report: &Value) -> Vec<String> {
    let plugins = report["plugins"].as_array().expect("plugins");
    let keeps = plugins.iter().filter(|plugin| {
        let health = &plugin["health"];
        let is_well = health["health"] == "up" || health["health"] == "degraded";
        plugin["required"] == true && plugin["covered"] == false && health["left_out"] == false && !is_well
    });
    keeps
        .map(|plugin| plugin["name"].as_str().expect("a name").to_owned())
        .collect()
}

/// Who keeps the host from being ready, by `/readyz`, and how many more.
fn told_by(host: &Served) -> (Vec<String>, usize) {
    let (status, body) = host.text_of("/readyz");
    if status == 200 {
        assert_eq!(body, "ready\n");
        return (Vec::new(), 0);
    }
    let lines = body
        .strip_prefix("not ready\n")
        .expect("it says so first")
        .lines();
    let (more, reasons): (Vec<_>, Vec<_>) = lines.partition(|line| line.starts_with("and "));
    let more = more.first().and_then(|line| line.split(' ').nth(1)?.parse().ok());
    let names = reasons
        .iter()
        .filter_map(|line| line.split_once(" is required, and "));
    (
        names.map(|(name, _)| name.to_owned()).collect(),
        more.unwrap_or(0),
    )
}

/// Whether `/health` lists each plugin with the report's word, and the report's reason if it is not up.
fn is_summed_up(host: &Served, report: &Value) -> bool {
    let document: Value = serde_json::from_str(&host.text_of("/health").1).expect("JSON");
    let plugins = report["plugins"].as_array().expect("plugins");
    let is_same = |plugin: &Value| {
        let name = plugin["name"].as_str().expect("a name");
        let (health, check) = (
            &plugin["health"],
            &document["checks"][format!("{name}:health")][0],
        );
        let output = check["output"].as_str().unwrap_or_default();
        let reason = health["reason"].as_str().expect("a reason");
        check["observedValue"] == health["health"]
            && check["status"].is_null() == (health["left_out"] == true)
            && (health["health"] == "up" || output.ends_with(reason))
    };
    document["description"] == report["overall"]["sentence"] && plugins.iter().all(is_same)
}

#[test]
fn readiness_and_the_summary_of_health_say_what_the_full_report_says_until_nothing_keeps_the_host() {
    let host = host();
    let expected = |kept: &[String]| {
        let first = kept.iter().take(TOLD).cloned().collect::<Vec<_>>();
        (first, kept.len().saturating_sub(TOLD))
    };
    let mut left = SICK + 3;
    loop {
        let mut kept = Vec::new();
        // They are asked one after the other, and a plugin may change meanwhile.
        host.until("the answers are the same", || {
            let report = host.get("/api/v1/health");
            if report.is_null() {
                return false;
            }
            kept = kept_by(&report);
            kept.len() == left && told_by(&host) == expected(&kept) && is_summed_up(&host, &report)
        });
        let Some(first) = kept.first() else { break };
        let path = format!("/api/v1/plugins/{first}/maintenance");
        let (status, said) = host.post(&path, json!({"for": "1h"}).to_string().as_bytes());
        assert_eq!(status, 200, "{first}: {said}");
        left -= 1;
    }
    assert_eq!(host.status_of("/readyz"), 200);
    host.stop();
}
