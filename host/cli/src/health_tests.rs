//! How health looks.

use super::super::text::width;
use super::*;
use serde_json::json;

fn plugin(name: &str, health: &str) -> serde_json::Value {
    json!({
        "name": name, "id": name, "kind": "ai", "required": false, "covered": false, "lifecycle": "running",
        "health": {"health": health, "cause": {"code": "answers"}, "reason": "answers its checks\u{1b}[2J",
            "since_unix_ms": 1_000, "left_out": false, "failed_checks": 0, "flapping_permille": 0,
            "figures": [{"name": "heap", "value": 2_097_152, "unit": "bytes", "source": "sdk"},
                {"name": "heap_share", "value": 941, "unit": "permille", "source": "sdk", "note": "of heap_limit"},
                {"name": "cpu_lanes", "value": 1_500_000_000, "unit": "ns", "source": "host", "shared_by": 3}],
            "not_measured": [{"name": "cpu_threads", "why": "the host does not see the threads that plugins make, and this goes on"}]},
        "recent": ["up", "degraded", "down"], "checks_ns": [1_000, 2_000, 1_500],
    })
}

fn answer() -> HealthAnswer {
    serde_json::from_value(json!({
        "overall": {"health": "degraded", "sentence": "Degraded: 1 of 2 plugins down (embed)", "groups": {}},
        "plugins": [plugin("lang", "up"), plugin("embed", "down")],
        "history": {"state": "working", "file": null, "size_bytes": 0, "written": 0, "dropped": {"transitions": 0,
            "results": 0, "minutes": 0, "releases": 0, "key_values": 0}, "oldest_unix_ms": null,
            "last_write_unix_ms": null, "queue_len": 0, "set_aside": [], "replaced": 0, "trimmed": []},
        "components": [
            {"name": "disk", "health": "degraded", "reason": "store at /s\u{1b}: 3 MiB are free", "since_unix_ms": 1},
            {"name": "history", "health": "up", "reason": "is off", "left_out": true, "since_unix_ms": 1},
            {"name": "lanes", "health": "up", "reason": "all is well", "since_unix_ms": 1}],
        "host": {"checks": 7, "stalls": 0},
    }))
    .unwrap()
}

const LOOK: Look = Look {
    width: 80,
    colour: false,
    now_unix_ms: 181_000,
};

#[test]
fn crash_of_the_host_is_told_beside_the_headline_in_sight_and_changes_no_verdict() {
    let mut health = answer();
    let crash = |at_unix_ms: u64| {
        json!({"at_unix_ms": at_unix_ms, "pid": 7, "signal": "SIGSEGV", "thread": "9 (x-embed-1)",
            "culprit": {"id": "embedder", "version": "1.2.0", "digest": "07".repeat(32), "instance": "embed",
                "capability": "text.embed", "phase": "invoke"}})
    };
    health.crashes = serde_json::from_value(json!([crash(120_000)])).unwrap();
    let told = "host crashed at 1970-01-01 00:02:00Z in text.embed of embed, embedder 1.2.0 (SIGSEGV)";
    let flat = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let text = render(&health, &LOOK, Layout::default());
    assert!(
        flat(&text).starts_with(&format!("Degraded: 1 of 2 plugins down (embed) {told} NAME")),
        "{text}"
    );
    health.crashes = serde_json::from_value(json!([crash(120_000), crash(60_000)])).unwrap();
    for number in 0..40 {
        let mut other = health.plugins[1].clone();
        other.name = format!("plugin-{number:03}");
        other.health.reason = format!("its checks fail: no route to 10.0.0.{number}");
        health.plugins.push(other);
    }
    let text = in_sight(&health);
    assert!(
        flat(&text).ends_with(&format!(
            "{told}; 2 crashes within a day Degraded: 1 of 2 plugins down (embed)"
        )),
        "{text}"
    );
    let headline = text.lines().rev().take_while(|line| !line.is_empty()).count();
    assert_eq!(headline, 1, "{text}");
}

#[test]
fn lost_records_are_shown_also_when_the_history_works_again() {
    let mut health = answer();
    assert!(!render(&health, &LOOK, Layout::default()).contains("lost"));
    health.history.dropped.results = 7;
    let text = render(&health, &LOOK, Layout::default());
    let lost = "history: 7 records were lost since the host began";
    assert!(text.ends_with(lost), "{text}");
}

#[test]
fn what_flaps_says_so_and_why_even_while_it_is_up() {
    let mut health = answer();
    let flags = &mut health.plugins[0].health;
    flags.judged.flags.flapping = true;
    flags.flapping_permille = 342;
    for width in [120, 50] {
        let look = Look { width, ..LOOK };
        let text = render(&health, &look, Layout::default()).replace('\n', " ");
        assert!(
            text.contains(
                "lang: up for 3 min: answers its checks\u{fffd}[2J; flapping, 34.2 % of its last states changed"
            ),
            "{text}"
        );
    }
    let text = one(&health.plugins[0], &LOOK, false);
    assert!(text.starts_with("lang is up for 3 min, flapping\n"), "{text}");
    assert!(
        text.contains("\n  flapping, 34.2 % of its last states changed\n"),
        "{text}"
    );
    let narrow = render(&health, &Look { width: 40, ..LOOK }, Layout::default());
    assert!(narrow.contains("up, flapping"), "{narrow}");
}

/// Of one plugin that is up, with these figures beside what it says.
fn with_figures(figures: serde_json::Value) -> String {
    let mut health = answer();
    let mut told = plugin("lang", "up");
    told["health"]["figures"] = figures;
    health.plugins = vec![serde_json::from_value(told).unwrap()];
    render(&health, &LOOK, Layout::default())
}

fn figure(name: &str, value: u64, unit: &str) -> serde_json::Value {
    json!({"name": name, "value": value, "unit": unit, "source": "host"})
}

#[test]
fn calls_that_fail_or_are_slow_are_told_of_one_that_is_up() {
    let calls = |name: &str, failed: u64| {
        with_figures(json!([
            figure("calls", 1000, "count"),
            figure("errors_exhausted", failed, "count"),
            figure(name, 40, "count"),
            figure("calls_failed_5min", 30, "count"),
        ]))
    };
    let text = calls("calls_5min", 30);
    let told = "lang: 75.0 % of 40 calls failed in the last five minutes, mostly exhausted";
    assert!(text.contains(told), "{text}");
    let text = with_figures(json!([
        figure("errors_exhausted", 900, "count"),
        figure("errors_internal", 30, "count"),
        figure("calls_5min", 40, "count"),
        figure("calls_failed_5min", 30, "count"),
    ]));
    assert!(
        text.contains("failed in the last five minutes") && !text.contains("mostly"),
        "the kinds are those of its whole life: {text}"
    );
    let text = calls("no whole minute", 954);
    assert!(
        text.contains("lang: 95.4 % of 1000 calls failed since it began, mostly exhausted"),
        "{text}"
    );
    assert!(!calls("no whole minute", 99).contains("calls failed"));
    let slow = |ms: u64| {
        with_figures(json!([
            figure("calls", 100, "count"),
            figure("call_p95_5min", ms * 1_000_000, "ns"),
            figure("call_timeout", 1000, "ms"),
        ]))
    };
    let told =
        "lang: its calls are slow: p95 700 ms in the last five minutes, of the 1.0 s that they may take";
    let shown = slow(700).split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(shown.contains(told), "{shown}");
    assert!(!slow(499).contains("slow"));
}

#[test]
fn row_of_one_in_maintenance_says_until_when_and_why() {
    let mut health = answer();
    let maintenance =
        json!({"by": "operator", "since_unix_ms": 0, "until_unix_ms": 3_781_000, "reason": "new model"});
    health.plugins[0].health.in_maintenance = serde_json::from_value(maintenance).unwrap();
    health.plugins[0].health.judged.flags.maintenance = true;
    let text = render(&health, &Look { width: 160, ..LOOK }, Layout::default());
    let row = text.lines().find(|line| line.starts_with(" lang")).unwrap();
    let told = "in maintenance until 1970-01-01 01:03:01Z, for 1 h more: new model; answers";
    assert!(row.contains(told), "{text}");
}

#[test]
fn names_alone_come_in_the_order_of_the_table() {
    let health = answer();
    assert_eq!(health.plugins[0].name, "lang", "as the host gave it");
    let names = |sort| {
        let layout = Layout {
            sort,
            names: true,
            ..Layout::default()
        };
        rendered(&Answer::Health(Box::new(health.clone())), &LOOK, layout)
            .unwrap()
            .text
    };
    assert_eq!(names(Sort::Health), "embed\nlang");
    assert_eq!(names(Sort::Name), "embed\nlang");
}

#[test]
fn obstacle_of_deep_checks_is_shown() {
    let mut answer = answer();
    let deep = json!({"every_ms": 300_000, "timeout_ms": 30_000, "per_day": 24, "left": 0, "under_way": false, "failed": 0,
        "obstacle": "there is no history"});
    answer.plugins[0].health.deep = serde_json::from_value(deep).unwrap();
    let rendered = "lang: no deep checks are made: there is no history";
    assert!(
        render(&answer, &LOOK, Layout::default())
            .lines()
            .any(|line| line == rendered)
    );
    assert!(
        one(&answer.plugins[0], &LOOK, false).contains("deep checks   none is made\n    there is no history")
    );
}

#[test]
fn a_table_has_bars_and_curves_and_reasons_of_what_is_not_up() {
    let text = render(&answer(), &LOOK, Layout::default());
    assert!(
        text.starts_with("Degraded: 1 of 2 plugins down (embed)\n"),
        "{text}"
    );
    let row = text.lines().find(|line| line.starts_with(" embed")).unwrap();
    for part in ["down", "3 min", "█▅▁", "answers its checks"] {
        assert!(row.contains(part), "{part:?} is missing in {row:?}");
    }
    let wide = render(&answer(), &Look { width: 120, ..LOOK }, Layout::default());
    let row = wide.lines().find(|line| line.starts_with(" embed")).unwrap();
    assert!(row.contains("▄█▆") && row.ends_with("1.5 µs"), "{row}");
    assert!(
        text.ends_with(
            "Host: disk degraded, history left out, lanes up\ndisk: degraded for 3 min: store at /s\u{fffd}: 3 MiB are free"
        ),
        "{text}"
    );
    assert!(!text.contains('\u{1b}'), "{text:?}");
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    let coloured = render(&answer(), &Look { colour: true, ..LOOK }, Layout::default());
    let bare: String = coloured
        .split('\u{1b}')
        .enumerate()
        .map(|(at, part)| {
            if at == 0 {
                part
            } else {
                part.split_once('m').unwrap().1
            }
        })
        .collect();
    assert_eq!(bare, text, "colours take no room");
}

#[test]
fn a_narrow_screen_loses_columns_and_no_row() {
    let reason = "its checks fail: unavailable: no route to the model server at 10.0.0.7";
    for columns in [40, 50, 60, 80, 100, 140] {
        let mut health = answer();
        health.components.clear();
        health.plugins[1].health.reason = reason.to_owned();
        let text = render(
            &health,
            &Look {
                width: columns,
                ..LOOK
            },
            Layout::default(),
        );
        for name in [" lang  ", " embed "] {
            let rows = text.lines().filter(|line| line.starts_with(name));
            assert_eq!(rows.count(), 1, "{columns}: {text}");
        }
        assert!(
            text.lines()
                .all(|line| super::super::text::width(line) <= columns),
            "{columns}: {text}"
        );
        let words: Vec<&str> = text.split_whitespace().collect();
        assert!(
            words.join(" ").contains(reason),
            "cut in the row, it is told below: {columns}: {text}"
        );
    }
    let wide = Layout {
        wide: true,
        ..Layout::default()
    };
    let text = render(&answer(), &Look { width: 40, ..LOOK }, wide);
    assert!(text.contains("CHECKS TOOK") && text.contains("1.5 µs"), "{text}");
}

#[test]
fn the_worst_comes_first_and_what_is_left_out_last() {
    let mut health = answer();
    let mut left = health.plugins[1].clone();
    left.name = "gone".to_owned();
    left.health.left_out = true;
    health.plugins.insert(0, left);
    let rendered = rendered(
        &Answer::Health(Box::new(health.clone())),
        &LOOK,
        Layout::default(),
    )
    .unwrap();
    let at = |name: &str| rendered.text.find(&format!("\n {name} ")).unwrap();
    assert!(
        at("embed") < at("lang") && at("lang") < at("gone"),
        "{}",
        rendered.text
    );
    let layout = Layout {
        json: true,
        ..Layout::default()
    };
    let data = super::rendered(&Answer::Health(Box::new(health)), &LOOK, layout)
        .unwrap()
        .data;
    let data: serde_json::Value = serde_json::from_str(data.get()).unwrap();
    assert_eq!(data["plugins"][0]["name"], "gone", "JSON is as the host gave it");
}

#[test]
fn on_a_terminal_that_scrolls_the_headline_is_last_and_the_sick_stay_in_sight() {
    let mut health = answer();
    let lang = health.plugins[0].clone();
    for number in 0..100 {
        let mut other = lang.clone();
        other.name = format!("plugin-{number:03}");
        health.plugins.push(other);
    }
    let layout = Layout {
        scrolls: Some(24),
        ..Layout::default()
    };
    let rendered = rendered(&Answer::Health(Box::new(health)), &LOOK, layout).unwrap();
    let lines: Vec<&str> = rendered.text.lines().collect();
    assert_eq!(lines.last(), Some(&"Degraded: 1 of 2 plugins down (embed)"));
    let in_sight = lines[lines.len() - 23..].join("\n");
    assert!(
        in_sight.contains("embed: down for 3 min: answers its checks"),
        "{in_sight}"
    );
    assert_eq!(
        lines.iter().filter(|line| line.starts_with(" plugin-")).count(),
        100
    );
}

/// What stays in sight of a terminal of 80 × 24.
fn in_sight(health: &HealthAnswer) -> String {
    let layout = Layout {
        scrolls: Some(24),
        ..Layout::default()
    };
    let rendered = rendered(&Answer::Health(Box::new(health.clone())), &LOOK, layout).unwrap();
    let lines: Vec<&str> = rendered.text.lines().collect();
    lines[lines.len().saturating_sub(23)..].join("\n")
}

#[test]
fn many_that_are_sick_for_one_reason_leave_room_for_one_that_is_sick_for_another() {
    let mut health = answer();
    let sick = health.plugins.remove(1);
    for number in 0..60 {
        let mut other = sick.clone();
        other.name = format!("plugin-{number:03}");
        other.health.reason = "its checks fail: no route to the model server at 10.0.0.7".to_owned();
        other.health.since_unix_ms = 1_000 * number;
        health.plugins.push(other);
    }
    let mut last = sick;
    last.name = "vision".to_owned();
    last.health.reason = "failed: panicked: index out of bounds".to_owned();
    health.plugins.push(last);
    let text = in_sight(&health);
    let flat = text.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(
        flat.contains("vision: down for 3 min: failed: panicked: index out of bounds"),
        "{text}"
    );
    assert!(
        flat.contains(
            "60 plugins are down, for 2 min to 3 min: its checks fail: no route to the model server at 10.0.0.7: \
             plugin-000, plugin-001, plugin-002, plugin-003 and 56 more"
        ),
        "{text}"
    );
}

#[test]
fn one_that_goes_up_and_down_is_told_of_with_its_changes_and_not_by_its_last_state_alone() {
    let mut health = answer();
    let recent = json!(["up", "down", "down", "up", "up", "down"]);
    health.plugins[1].recent = serde_json::from_value(recent).unwrap();
    health.plugins[1].health.reason = "says that it is down: the upstream provider answers 503".to_owned();
    let flat = in_sight(&health).split_whitespace().collect::<Vec<_>>().join(" ");
    let told = "embed: down for 3 min, 3 changes in its last 6 states: says that it is down: the upstream";
    assert!(flat.contains(told), "{flat}");
}

#[test]
fn components_that_are_all_up_take_one_line() {
    let mut health = answer();
    health.components.retain(|part| part.name == "lanes");
    let text = render(&health, &LOOK, Layout::default());
    assert!(text.ends_with("\nHost: all up (lanes)"), "{text}");
}

#[test]
fn what_is_at_the_root_comes_before_what_it_takes_with_it_and_what_is_required_before_both() {
    let mut health = answer();
    let sick = health.plugins.remove(1);
    let mut add = |name: &str, cause: &str, required: bool| {
        let mut plugin = sick.clone();
        (plugin.name, plugin.required) = (name.to_owned(), required);
        plugin.health.judged.cause = serde_json::from_value(json!({ "code": cause })).unwrap();
        health.plugins.push(plugin);
    };
    add("a-rank", "dependency_down", false);
    add("b-store", "check_times_out", false);
    add("c-gate", "check_times_out", true);
    let rendered = rendered(&Answer::Health(Box::new(health)), &LOOK, Layout::default()).unwrap();
    let names = ["c-gate", "b-store", "a-rank", "lang"];
    let at = names.map(|name| rendered.text.find(&format!("\n {name} ")).unwrap());
    assert!(at.is_sorted(), "{}", rendered.text);
}

#[test]
fn one_leads_with_what_one_looks_for_and_the_numbers_by_which_it_is_judged() {
    let mut plugin = answer().plugins.remove(0);
    plugin.health.figures = serde_json::from_value(json!([
        {"name": "calls", "value": 400, "unit": "count", "source": "host"},
        {"name": "errors_internal", "value": 5, "unit": "count", "source": "host"},
        {"name": "errors_panicked", "value": 1, "unit": "count", "source": "host"},
        {"name": "errors_invalid_input", "value": 7, "unit": "count", "source": "host"},
        {"name": "call_p95", "value": 9_000, "unit": "ns", "source": "host"},
        {"name": "call_p95_5min", "value": 3_400_000, "unit": "ns", "source": "host"},
        {"name": "heap", "value": 2_097_152, "unit": "bytes", "source": "sdk"},
        {"name": "heap_limit", "value": 67_108_864, "unit": "bytes", "source": "plugin"},
    ]))
    .unwrap();
    plugin.health.next_check_ms = Some(4_200);
    plugin.policy = serde_json::from_value(json!({
        "interval_ms": 10_000, "idle_interval_ms": 60_000, "timeout_min_ms": 250, "timeout_max_ms": 5_000, "fall": 3,
        "rise": 2, "stale_intervals": 3, "window_ms": 60_000, "window_calls_min": 5, "degraded_permille": 100,
        "down_permille": 500,
    }))
    .unwrap();
    let text = one(&plugin, &LOOK, false);
    for part in [
        "  calls         400\n  failed        1.5 %, beside 7 by the callers' fault\n  p95           3.4 ms in the last five minutes\n",
        "  heap          2.0 MiB of 64.0 MiB\n",
        "  checked       every 10 s, next in 4.2 s, answers within 250 ms to 5.0 s;",
        "  judged        by calls of 1 min, from 5 on: degraded at 10 % failures, bad at",
    ] {
        assert!(text.contains(part), "{part:?} is missing in\n{text}");
    }
    assert!(
        !text.contains("by the sdk") && !text.contains("not measured"),
        "{text}"
    );
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
}

#[test]
fn one_shows_its_parts_and_its_connection() {
    let mut plugin = answer().plugins.remove(0);
    let part = |name: &str, message: &str| json!({"name": name, "health": "down", "message": message, "duration_ns": 12_000_000, "value": 12.5});
    let more: Vec<_> = (0..20).map(|n| part(&format!("part {n}"), "")).collect();
    let first = part(
        "connection\u{1b} to the provider of models",
        &"refused by its firewall ".repeat(5),
    );
    let parts: Vec<_> = std::iter::once(first).chain(more).collect();
    plugin.health.parts = serde_json::from_value(json!(parts)).unwrap();
    plugin.health.connection =
        serde_json::from_value(json!({"state": "broken", "since_unix_ms": 91_000})).unwrap();
    plugin.health.figures = serde_json::from_value(json!([
        {"name": "connection_round_trip", "value": 12_000_000, "unit": "ns", "source": "plugin"}]))
    .unwrap();
    let text = one(&plugin, &LOOK, false);
    for line in [
        "  connection    broken for 1 min, round trip 12 ms\n  parts\n",
        " down, 12 ms, 12.5: refused by its firewall",
        "    part 14                       down, 12 ms, 12.5\n",
        "    … and 5 more; --json has all",
    ] {
        assert!(text.contains(line), "{line:?} is missing in\n{text}");
    }
    assert!(
        !text.contains('\u{1b}') && text.lines().all(|line| width(line) <= 80),
        "{text}"
    );
}

#[test]
fn a_probe_without_a_result_says_so_and_is_unknown() {
    let mut plugin = answer().plugins.remove(0);
    plugin.probe = Some(ProbeEnd::NoResult { waited_ms: 7_000 });
    let text = one(&plugin, &LOOK, false);
    assert!(text.contains("no result after 7.0 s"), "{text}");
    assert_eq!(word_of(&Answer::PluginHealth(Box::new(plugin))), Word::Unknown);
}

#[test]
fn one_shows_its_figures_with_their_source() {
    let one = one(&answer().plugins[0], &LOOK, true);
    for part in [
        "lang is up for 3 min",
        "last states   █▅▁",
        "heap",
        "2.0 MiB (by the sdk)",
        "heap share              94.1 % (by the sdk; of heap limit)",
        "cpu lanes               1.5 s (by the host; 3 instances share it)",
        "cpu threads             not measured: the host does not see",
    ] {
        assert!(one.contains(part), "{part:?} is missing in\n{one}");
    }
    assert!(one.lines().all(|line| line.chars().count() <= 80), "{one}");
}

#[test]
fn each_word_has_its_exit_code() {
    let codes = [Word::Up, Word::Degraded, Word::Unknown, Word::Down].map(|word| exit(word) as u8);
    assert_eq!(codes, [0, 10, 11, 12]);
}

/// What is in sight of this answer, as words.
fn shown(health: &HealthAnswer) -> String {
    let text = render(health, &LOOK, Layout::default());
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn configuration_that_is_not_taken_is_told_with_where_it_is_wrong_and_since_when() {
    let mut health = serde_json::to_value(answer()).unwrap();
    health["config"] = json!({"in_sync": false, "since_unix_ms": 61_000, "file": "/etc/extman.toml",
        "faults": [{"file": "/etc/extman.toml", "line": 25, "column": 12, "field": "instance[0].config.script",
            "text": "[[instance]] \"lang\": config.script: value is not of type \"string\""}],
        "not_taken": ["lang"]});
    let health: HealthAnswer = serde_json::from_value(health).unwrap();
    let told = "Configured and not in force for 2 min: /etc/extman.toml:25:12: [[instance]] \"lang\": config.script: value is \
                not of type \"string\"";
    assert!(shown(&health).contains(told), "{}", shown(&health));
    let in_sight = in_sight(&health);
    assert!(in_sight.contains("Configured and not in force"), "{in_sight}");
    let exit = rendered(&Answer::Health(Box::new(health)), &LOOK, Layout::default())
        .unwrap()
        .exit;
    assert_eq!(exit, Exit::Degraded, "it changes no verdict");
}

#[test]
fn update_that_was_taken_back_lately_is_told_also_of_one_that_is_up() {
    let mut told = plugin("lang", "up");
    told["taken_back"] = json!({"version": "1.1.0", "digest": "07".repeat(32), "since_unix_ms": 61_000,
        "reason": "it is worse: 100.0 % of 6 calls failed, none of 106 of the version before"});
    let mut health = answer();
    health.plugins = vec![serde_json::from_value(told).unwrap()];
    let expected = "version 1.1.0 was taken back 2 min ago: it is worse: 100.0 % of 6 calls failed, none of 106 of the version before";
    assert!(
        shown(&health).contains(&format!("lang: {expected}")),
        "{}",
        shown(&health)
    );
    let one = one(&health.plugins[0], &LOOK, false);
    let one = one.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(one.contains(expected), "{one}");
}

#[test]
fn way_back_and_breaker_are_told_beside_the_reason() {
    let mut told = plugin("lang", "down");
    told["health"]["way_back"] = json!({"next_try_unix_ms": 193_000, "text": "it is started again by itself, 7 of 10 times within 30 min"});
    let mut failing = plugin("embed", "degraded");
    failing["breaker"] = json!({"state": "open", "retry_after_ms": 4_000});
    let mut health = answer();
    health.plugins = vec![
        serde_json::from_value(told).unwrap(),
        serde_json::from_value(failing).unwrap(),
    ];
    let text = shown(&health);
    assert!(
        text.contains("answers its checks\u{fffd}[2J; next try in 12 s: it is started again by itself, 7 of 10 times within 30 min"),
        "{text}"
    );
    assert!(
        text.contains(
            "embed: degraded for 3 min: answers its checks\u{fffd}[2J; breaker open for 4.0 s more"
        ),
        "{text}"
    );
}

#[test]
fn what_flaps_says_since_when() {
    let mut told = plugin("lang", "up");
    told["health"]["flapping"] = json!(true);
    told["health"]["flapping_permille"] = json!(342);
    told["health"]["flapping_since_unix_ms"] = json!(61_000);
    let mut health = answer();
    health.plugins = vec![serde_json::from_value(told).unwrap()];
    let expected = "flapping for 2 min, 34.2 % of its last states changed";
    assert!(shown(&health).contains(expected), "{}", shown(&health));
    assert!(one(&health.plugins[0], &LOOK, false).contains(expected));
}

#[test]
fn calls_that_take_many_times_as_long_as_before_are_told_however_long_they_may_take() {
    let slow_of = |calls: u64, p95_ms: u64, usual_ms: u64| {
        let text = with_figures(json!([
            figure("calls", 1000, "count"),
            figure("calls_5min", calls, "count"),
            figure("calls_failed_5min", 0, "count"),
            figure("call_p95_5min", p95_ms * 1_000_000, "ns"),
            figure("call_p95_usual", usual_ms * 1_000_000, "ns"),
            figure("call_timeout", 30_000, "ms"),
        ]));
        text.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    let slow = |p95_ms, usual_ms| slow_of(20, p95_ms, usual_ms);
    let told = "lang: its calls are slow: p95 600 ms in the last five minutes, usually 3.0 ms";
    assert!(slow(600, 3).contains(told), "{}", slow(600, 3));
    assert!(!slow(600, 201).contains("slow"), "less than three times as long");
    assert!(!slow_of(1, 600, 3).contains("slow"), "one call");
    assert!(
        !slow(9, 1).contains("slow"),
        "nobody waits for a few milliseconds"
    );
}

#[test]
fn of_some_that_are_down_together_the_first_next_try_is_told() {
    let of = |name: &str, next_ms: u64| {
        let mut told = plugin(name, "down");
        told["health"]["way_back"] =
            json!({"next_try_unix_ms": next_ms, "text": "it is started again by itself"});
        serde_json::from_value(told).unwrap()
    };
    let mut health = answer();
    health.plugins = vec![of("a", 195_000), of("b", 193_000), of("c", 199_000)];
    let text = shown(&health);
    assert!(
        text.contains("a, b and c; b first: next try in 12 s: it is started again by itself"),
        "{text}"
    );
}

#[test]
fn open_breaker_of_one_that_is_up_is_told() {
    let mut told = plugin("lang", "up");
    told["breaker"] = json!({"state": "open", "retry_after_ms": 4_000});
    let mut health = answer();
    health.plugins = vec![serde_json::from_value(told).unwrap()];
    let text = shown(&health);
    assert!(text.contains("lang: breaker open for 4.0 s more"), "{text}");
}
