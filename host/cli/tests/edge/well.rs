//! How the plugins of the control without plugins are, and were.

use extman_model::Health;
use extman_model::control::report::{
    AnalysisAnswer, Group, HealthAnswer, HealthSummary, HistoryAnswer, PluginHealth, PluginWord, UptimeRow,
};
use serde_json::{Value, json};

pub fn plugin(name: &str, down: bool) -> PluginHealth {
    serde_json::from_value(told(name, down)).unwrap()
}

fn told(name: &str, down: bool) -> Value {
    let (health, cause) = if down {
        ("down", "says_down")
    } else {
        ("up", "answers")
    };
    json!({
        "name": name, "id": format!("{name}-detect"), "kind": if name == "lang" { "ai" } else { "general" },
        "required": name == "lang", "covered": false, "lifecycle": "running",
        "health": {"health": health, "cause": {"code": cause}, "reason": "as it says\u{1b}[2J", "left_out": false,
            "since_unix_ms": 1_700_000_000_000_u64, "failed_checks": 0, "flapping_permille": 0, "figures": []},
        "recent": ["up", "down", "up"], "checks_ns": [900, 1_800],
    })
}

pub fn all(down: bool) -> HealthAnswer {
    let (word, sentence) = match down {
        true => ("down", "Down: 1 of 2 plugins down (lang)"),
        false => ("up", "Up: all 2 plugins are up"),
    };
    let counts =
        |up: u8, down: u8| json!({"up": up, "degraded": 0, "unknown": 0, "down": down, "left_out": 0});
    serde_json::from_value(json!({
        "overall": {"health": word, "sentence": sentence, "groups": {
            "ai": {"health": word, "counts": counts(u8::from(!down), u8::from(down))},
            "general": {"health": "up", "counts": counts(1, 0)},
        }},
        "plugins": [told("lang", down), told("embed", false)],
        "history": {"state": "degraded", "why": "the disk is full", "since_unix_ms": 5, "file": "/var/history.db",
            "size_bytes": 4096, "written": 7, "oldest_unix_ms": null, "last_write_unix_ms": null, "queue_len": 0,
            "dropped": {"transitions": 0, "results": 0, "minutes": 0, "releases": 0, "key_values": 0},
            "set_aside": [], "replaced": 0, "trimmed": []},
        "components": [
            {"name": "disk", "health": "down", "reason": "store at /s: 3 MiB are free", "since_unix_ms": 5},
            {"name": "history", "health": "degraded", "reason": "the disk is full", "since_unix_ms": 5},
            {"name": "lanes", "health": "up", "reason": "all is well", "since_unix_ms": 5},
            {"name": "memory", "health": "unknown", "reason": "can't be measured", "left_out": true, "since_unix_ms": 5}],
        "host": {"checks": 12, "stalls": 0, "lag_p99_ns": 1_000},
    }))
    .unwrap()
}

/// The same in words alone.
pub fn summary(down: bool) -> HealthSummary {
    let all = all(down);
    let plugins = all.plugins.into_iter().map(|plugin| {
        let health = plugin.health.judged.health;
        PluginWord {
            name: plugin.name,
            group: Group::of(plugin.kind),
            health,
            reason: (health != Health::Up).then_some(plugin.health.reason),
            left_out: plugin.health.left_out,
            in_maintenance: plugin.health.in_maintenance,
        }
    });
    HealthSummary {
        overall: all.overall,
        plugins: plugins.collect(),
        components: all.components,
        history: all.history.state,
        crashes: all.crashes,
    }
}

pub fn history(name: &str) -> HistoryAnswer {
    serde_json::from_value(json!({
        "name": name, "range": {"from_unix_ms": 0, "to_unix_ms": 600_000}, "resolution": "minute", "more": false,
        "rollups": [{"from_unix_ms": 0, "up_ms": 1, "degraded_ms": 0, "down_ms": 0, "unknown_ms": 0, "left_out_ms": 0,
            "checks": 6, "checks_failed": 1, "calls": 7, "errors": {"internal": 2}, "p95_ns": 1_500}],
        "spans": [{"from_unix_ms": 60_000, "lifecycle": "running", "health": "up", "cause": {"code": "answers"},
            "left_out": false, "cut": false}],
        "releases": [],
    }))
    .unwrap()
}

fn times() -> Value {
    json!({"range": {"from_unix_ms": 0, "to_unix_ms": 600_000}, "up_ms": 540_000, "degraded_ms": 0, "down_ms": 60_000,
        "unknown_ms": 0, "left_out_ms": 0, "coverage": 1.0, "known": 1.0, "uptime": 0.9, "outages": 1, "mttr_ms": 60_000,
        "mtbf_ms": null, "longest": null, "since_last_ms": null})
}

pub fn uptime(name: &str) -> Vec<UptimeRow> {
    serde_json::from_value(json!([{"name": name, "uptime": times()}])).unwrap()
}

pub fn analysis(name: &str) -> AnalysisAnswer {
    let missing = json!({"result": "missing", "missing": "no other version of it has served"});
    serde_json::from_value(json!({
        "name": name, "range": {"from_unix_ms": 0, "to_unix_ms": 600_000}, "uptime": times(),
        "flapping": {"result": "found", "found": {"flapping": true, "permille": 345}},
        "latency": missing, "heap": missing, "leak": missing, "after_load": missing, "co_failing": missing,
        "errors": {"total": 2, "kinds": [{"kind": "internal", "count": 2, "share": 1.0, "cumulative": 1.0,
            "vital": true, "callers": false}]},
        "periodic": null,
    }))
    .unwrap()
}
