//! How health looks.

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
        "history": {"state": "working", "file": null, "size_bytes": 0, "written": 0, "dropped": {"turns": 0,
            "results": 0, "minutes": 0, "releases": 0, "ledger": 0}, "oldest_unix_ms": null,
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
fn what_the_history_lost_is_told_also_when_it_works_again() {
    let mut health = answer();
    assert!(!render(&health, &LOOK).contains("lost"));
    health.history.dropped.results = 7;
    let text = render(&health, &LOOK);
    let lost = "history: 7 records were lost since the host began";
    assert!(text.ends_with(lost), "{text}");
    // As from a host that tells of no other part.
    health.components.clear();
    let text = render(&health, &LOOK);
    let works = "history: works; 7 records were lost since the host began";
    assert!(text.ends_with(works), "{text}");
    health.history.state = HistoryState::Degraded {
        why: "no room".to_owned(),
        since_unix_ms: 1,
    };
    let text = render(&health, &LOOK);
    let degraded = "history: degraded: no room; 7 records were lost";
    assert!(text.contains(degraded), "{text}");
}

#[test]
fn what_flaps_says_so_and_why_even_while_it_is_up() {
    let mut health = answer();
    let flags = &mut health.plugins[0].health;
    flags.judged.flags.flapping = true;
    flags.flapping_permille = 342;
    for width in [120, 50] {
        let look = Look { width, ..LOOK };
        let text = render(&health, &look).replace('\n', " ");
        assert!(
            text.contains("lang: flapping, 34.2 % of its last states changed; now up: answers its checks"),
            "{text}"
        );
    }
    let text = one(&health.plugins[0], &LOOK);
    assert!(text.starts_with("lang is up for 3 min, flapping\n"), "{text}");
    assert!(
        text.contains("\n  flapping, 34.2 % of its last states changed\n"),
        "{text}"
    );
    let narrow = render(&health, &Look { width: 40, ..LOOK });
    assert!(narrow.contains("   up for 3 min, flapping\n"), "{narrow}");
}

#[test]
fn what_keeps_deep_checks_from_being_made_is_told() {
    let mut answer = answer();
    let deep = json!({"every_ms": 300_000, "timeout_ms": 30_000, "per_day": 24, "left": 0, "under_way": false, "failed": 0,
        "obstacle": "there is no history"});
    answer.plugins[0].health.deep = serde_json::from_value(deep).unwrap();
    let told = "lang: no deep checks are made: there is no history";
    assert!(render(&answer, &LOOK).lines().any(|line| line == told));
    assert!(one(&answer.plugins[0], &LOOK).contains("deep checks   none is made\n    there is no history"));
}

#[test]
fn a_table_has_bars_and_curves_and_reasons_of_what_is_not_up() {
    let text = render(&answer(), &LOOK);
    assert!(
        text.starts_with("Degraded: 1 of 2 plugins down (embed)\n"),
        "{text}"
    );
    let row = text.lines().find(|line| line.starts_with(" embed")).unwrap();
    for part in ["down", "3 min", "█▅▁", "▄█▆", "1.5 µs"] {
        assert!(row.contains(part), "{part:?} is missing in {row:?}");
    }
    assert!(
        text.contains("embed: answers its checks") && !text.contains("lang: "),
        "{text}"
    );
    assert!(
        text.ends_with(
            "Host: disk degraded, history left out, lanes up\ndisk: degraded: store at /s\u{fffd}: 3 MiB are free"
        ),
        "{text}"
    );
    assert!(!text.contains('\u{1b}'), "{text:?}");
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    let coloured = render(&answer(), &Look { colour: true, ..LOOK });
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
fn a_narrow_screen_gets_paragraphs() {
    let text = render(&answer(), &Look { width: 40, ..LOOK });
    assert!(text.contains(" embed\n   down for 3 min\n   █▅▁"), "{text}");
    assert!(text.lines().all(|line| line.chars().count() <= 40), "{text}");
}

#[test]
fn one_shows_its_figures_with_their_source() {
    let one = one(&answer().plugins[0], &LOOK);
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
