//! How health looks.

use super::*;
use serde_json::json;

fn plugin(name: &str, health: &str) -> serde_json::Value {
    json!({
        "name": name, "id": name, "kind": "ai", "required": false, "covered": false, "lifecycle": "running",
        "health": {"health": health, "cause": {"code": "answers"}, "reason": "answers its checks\u{1b}[2J",
            "since_unix_ms": 1_000, "left_out": false, "failed_checks": 0, "flapping_permille": 0,
            "figures": [{"name": "heap", "value": 2_097_152, "unit": "bytes", "source": "sdk"}]},
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
    ] {
        assert!(one.contains(part), "{part:?} is missing in\n{one}");
    }
}

#[test]
fn each_word_has_its_exit_code() {
    let codes = [Word::Up, Word::Degraded, Word::Unknown, Word::Down].map(|word| exit(word) as u8);
    assert_eq!(codes, [0, 10, 11, 12]);
}
