//! How one plugin is shown.

use super::duration::{lasted, short};
use super::list::{breaker, health, way_back};
use super::rollout;
use super::screen::Look;
use super::text::wrap;
use extman_model::{PluginView, UnreturnedView};

pub(super) fn render(plugin: &PluginView, look: &Look) -> String {
    let mut rows = vec![
        ("plugin", format!("{} {}", plugin.id, plugin.version)),
        ("desired", plugin.desired.as_str().to_owned()),
        ("state", state(plugin, look)),
        ("health", check(plugin, look)),
        ("calls", calls(plugin)),
        ("origin", plugin.origin.display().to_string()),
        ("digest", plugin.digest.to_string()),
    ];
    // Below the health, which is the fourth as long as nothing goes before it.
    if let Some(shown) = &plugin.breaker {
        rows.insert(4, ("", breaker(shown)));
    }
    if let Some(rollout) = &plugin.rollout {
        rows.insert(3, ("update", rollout::line(rollout)));
    }
    if !plugin.limits.are_none() {
        let at = rows.len() - 2;
        rows.insert(at, ("limits", plugin.limits.to_string()));
    }
    if let Some(root) = &plugin.suppressed_by {
        rows.insert(3, ("lacks", format!("what it requires: suppressed by {root}")));
    }
    if let Some(fault) = &plugin.config_fault {
        rows.insert(3, ("config", format!("not in force: {fault}")));
    }
    if let Some(way) = &plugin.way_back {
        rows.insert(3, ("back", way_back(way, look)));
    }
    if let Some(description) = &plugin.description {
        rows.insert(1, ("", description.clone()));
    }
    for capability in &plugin.capabilities {
        let streaming = if capability.streaming { ", streaming" } else { "" };
        rows.push((
            "offers",
            format!("{} {}{streaming}", capability.name, capability.version),
        ));
    }
    rows.extend(
        plugin
            .declared
            .iter()
            .map(|(label, text)| (label.as_str(), text.clone())),
    );
    let barred = plugin.barred.iter();
    rows.extend(barred.map(|barred| ("barred", rollout::barred(barred))));
    if let Some(generation) = plugin.generation {
        rows.push(("load", format!("number {generation} of this process")));
    }
    if let Some(verdict) = &plugin.unload {
        let previous = plugin.generation.is_some() && plugin.generation != plugin.unload_generation;
        let whose = match (previous, plugin.unload_generation) {
            (true, Some(generation)) => format!("number {generation}, before this one: "),
            _ => String::new(),
        };
        rows.push(("unload", format!("{whose}{verdict}")));
    }
    for change in &plugin.process_changes {
        rows.push(("process", format!("it {change}")));
    }
    for field in plugin.unknown_manifest_fields.keys() {
        rows.push((
            "unknown",
            format!("the manifest's field {field} means nothing to this host"),
        ));
    }
    format!("{}\n{}", wrap(&plugin.name, look.width, 0), fields(&rows, look))
}

/// Names and values, the values under each other.
pub(super) fn fields(rows: &[(&str, String)], look: &Look) -> String {
    let margin = rows.iter().map(|(name, _)| name.len()).max().unwrap_or(0) + 4;
    let shown = rows.iter().map(|(name, value)| {
        let value = wrap(value, look.width, margin);
        format!("  {name:<rest$}{}", value.trim_start(), rest = margin - 2)
    });
    shown.collect::<Vec<_>>().join("\n")
}

fn state(plugin: &PluginView, look: &Look) -> String {
    let cause = plugin.cause.as_ref().map(|cause| format!(": {cause}"));
    format!(
        "{} for {}{}",
        plugin.lifecycle.as_str(),
        look.since(plugin.since_unix_ms),
        cause.unwrap_or_default()
    )
}

fn check(plugin: &PluginView, look: &Look) -> String {
    let Some(shown) = &plugin.health else {
        return health(plugin);
    };
    let since = format!(" for {}: {}", look.since(shown.since_unix_ms), shown.reason);
    let checked = plugin.check.as_ref().map(|check| {
        let took = check.took_ns.map(|ns| format!(", took {}", short(ns)));
        format!(
            " (checked {} ago{})",
            look.since(check.at_unix_ms),
            took.unwrap_or_default()
        )
    });
    format!("{}{since}{}", health(plugin), checked.unwrap_or_default())
}

fn calls(plugin: &PluginView) -> String {
    let mut text = plugin.calls.total.to_string();
    if plugin.calls.in_flight > 0 {
        text.push_str(&format!(", {} under way", plugin.calls.in_flight));
    }
    if let Some(ns) = plugin.calls.mean_ns {
        text.push_str(&format!(", {} on average", short(ns)));
    }
    for (kind, number) in &plugin.calls.errors {
        text.push_str(&format!(", {number} × {kind}"));
    }
    if let Some(UnreturnedView { calls, longest_ms }) = plugin.unreturned {
        let lasted = lasted(longest_ms);
        text.push_str(&match calls {
            1 => format!("; one has not returned for {lasted}"),
            _ => format!("; {calls} have not returned, the first for {lasted}"),
        });
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_known_is_shown_and_nothing_else() {
        let plugin: PluginView = serde_json::from_value(json!({
            "name": "lang", "id": "lang-detect", "version": "1.2.0", "kind": "ai", "lifecycle": "stopped",
            "since_unix_ms": 0, "digest": "ab".repeat(32), "origin": "/opt/a.so",
            "calls": {"total": 7, "in_flight": 1, "mean_ns": 1500, "errors": {"internal": 2}},
            "capabilities": [{"name": "text.detect", "version": "1.0.0", "streaming": true}],
            "health": {"health": "down", "cause": {"code": "check_fails", "of": "unavailable"}, "busy": true,
                "reason": "its checks fail: unavailable: no route", "since_unix_ms": 50_000, "left_out": false,
                "failed_checks": 3, "flapping_permille": 0, "figures": []},
            "check": {"kind": "readiness", "at_unix_ms": 57_000, "took_ns": 900,
                "outcome": {"result": "failed", "kind": "unavailable", "text": "no route"}},
            "unload": {"verdict": "resident", "reason": "live-thread", "culprit": "tid 7"},
            "unknown_manifest_fields": {"plugin.colour": "blue"},
            "declared": {"update": "stop-first"}, "desired": "disabled",
            "way_back": {"next_try_unix_ms": 72_000, "text": "it is started again by itself"},
            "unreturned": {"calls": 1, "longest_ms": 12_300},
            "breaker": {"state": "open", "retry_after_ms": 4_000},
            "limits": {"calls_per_s": 10, "in_flight_max": 5},
        }))
        .unwrap();
        let look = Look {
            width: 80,
            colour: false,
            now_unix_ms: 60_000,
        };
        let text = render(&plugin, &look);
        let expected = [
            "lang\n",
            "  plugin   lang-detect 1.2.0",
            "  desired  disabled",
            "  state    stopped for 1 min",
            "  back     next try in 12 s: it is started again by itself",
            "  health   down, busy for 10 s: its checks fail: unavailable: no route",
            "took 900 ns)",
            "           breaker open for 4.0 s more: its latest calls failed or were slow,",
            "  limits   at most 10 calls/s, 10 at once after a pause, 5 under way",
            "  calls    7, 1 under way, 1.5 µs on average, 2 × internal; one has not",
            "for 12 s",
            "  offers   text.detect 1.0.0, streaming",
            "  unload   resident: a thread of its own is alive (tid 7)",
            "plugin.colour",
            "  update   stop-first",
        ];
        for part in expected {
            assert!(text.contains(part), "{part:?} is missing in\n{text}");
        }
        assert!(!text.contains("load number"), "{text}");
        let again = PluginView {
            generation: Some(5),
            unload_generation: Some(4),
            unload: Some(extman_model::Verdict::Unmapped),
            ..plugin
        };
        let text_again = render(&again, &look);
        assert!(
            text_again.contains("  unload   number 4, before this one: unmapped"),
            "{text_again}"
        );
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    }
}
