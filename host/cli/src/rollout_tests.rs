//! What is said of an update in each of its phases.

use super::*;
use serde_json::json;

const LOOK: Look = Look {
    width: 80,
    colour: false,
    now_unix_ms: 100_000,
};

fn status(more: serde_json::Value) -> RolloutStatus {
    let mut rollout = json!({
        "phase": "canary", "since_unix_ms": 60_000, "from": "1.2.0", "to": "1.3.0", "digest": "cd".repeat(32),
        "percent": 5, "paused": false,
    });
    let fields = rollout.as_object_mut().unwrap();
    fields.extend(more.as_object().unwrap().clone());
    serde_json::from_value(json!({
        "name": "lang", "version": "1.2.0", "digest": "ab".repeat(32), "rollout": rollout,
        "barred": [{"version": "1.2.9", "digest": "ef".repeat(32), "reason": "12 % of its calls\u{1b}[2J failed",
            "since_unix_ms": 0}],
    }))
    .unwrap()
}

fn words(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn update_under_way_is_told_with_what_is_lacking_and_what_comes_next() {
    let status = status(json!({
        "due_ms": 260_000, "judgement": "not_enough", "because": ["20 of 50 calls of the new version so far"],
    }));
    let text = render(&status, &LOOK);
    let expected = "\
lang
  update  1.2.0 → 1.3.0, digest cdcdcdcdcdcd
  phase   canary for 40 s
  calls   5 % of the calls to 1.3.0
  judge   not enough evidence: 20 of 50 calls of the new version so far
  next    1.3.0 gets more of the calls, or all, in 4 min at the earliest, and
          once the judge says good
  barred  1.2.9 (digest efefefefefef) since 1970-01-01 00:00:00Z: 12 % of its
          calls\u{fffd}[2J failed";
    assert_eq!(text, expected);
    assert_eq!(
        line(status.rollout.as_ref().unwrap()),
        "update 1.2.0 → 1.3.0: canary, 5 % of the calls to 1.3.0; not enough evidence: 20 of 50 calls of the new \
         version so far"
    );
}

#[test]
fn each_phase_says_who_is_called_and_what_comes_next() {
    let resume = "nothing before `extman rollout lang resume`; then";
    for (more, calls, next) in [
        (
            json!({"phase": "loading", "percent": 0}),
            "no call to 1.3.0 yet",
            "1.3.0 gets ready, once it has started".to_owned(),
        ),
        (
            json!({"phase": "warming_up", "percent": 0}),
            "no call to 1.3.0 yet",
            "1.3.0 gets its first calls, once it is ready".to_owned(),
        ),
        (
            json!({"judgement": "good", "due_ms": 9_000}),
            "5 % of the calls to 1.3.0",
            "1.3.0 gets more of the calls, or all, in 9.0 s".to_owned(),
        ),
        (
            json!({"judgement": "not_enough", "paused": true}),
            "5 % of the calls to 1.3.0",
            format!("{resume} 1.3.0 gets more of the calls, or all, as soon as the judge says good"),
        ),
        (
            json!({"phase": "probation", "percent": 100, "judgement": "good"}),
            "all calls to 1.3.0",
            "1.2.0 is drained and unloaded, now".to_owned(),
        ),
        (
            json!({"phase": "retiring", "percent": 100}),
            "all calls to 1.3.0",
            "1.2.0 is unloaded once its calls have ended".to_owned(),
        ),
        (
            json!({"phase": "retiring", "percent": 0}),
            "all calls to 1.2.0 again",
            "1.3.0 is unloaded once its calls have ended".to_owned(),
        ),
    ] {
        let status = status(more.clone());
        let text = render(&status, &LOOK);
        let said = words(&text);
        assert!(said.contains(&format!("calls {calls}")), "{more}: {text}");
        assert!(said.contains(&format!("next {next}")), "{more}: {text}");
        assert_eq!(
            said.contains("canary for 40 s, paused"),
            more["paused"] == true,
            "{text}"
        );
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    }
}

#[test]
fn mirrored_calls_are_told_in_figures_without_what_was_answered() {
    let mirrored = |more: serde_json::Value| {
        let mut mirrored =
            json!({"compared": 0, "wanted": 100, "different": 0, "failed": 0, "uncompared": 0});
        mirrored
            .as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        mirrored
    };
    let warming_up = |mirrored: serde_json::Value, due_ms: u64| {
        let more = json!({"phase": "warming_up", "percent": 0, "due_ms": due_ms, "mirrored": mirrored});
        words(&render(&status(more), &LOOK))
    };
    let few = warming_up(mirrored(json!({})), 9_000);
    assert!(
        few.contains("mirrored 0 of 100 mirrored calls compared next"),
        "{few}"
    );
    let next =
        "next 1.3.0 gets its first calls, once 100 mirrored calls are compared, in 9.0 s at the latest";
    assert!(few.contains(next), "{few}");
    let more = json!({"phase": "warming_up", "percent": 0, "mirrored": mirrored(json!({"compared": 7}))});
    assert_eq!(
        line(status(more).rollout.as_ref().unwrap()),
        "update 1.2.0 → 1.3.0: warming up, no call to 1.3.0 yet; 7 of 100 mirrored calls compared, all answered as before"
    );
    let over = warming_up(mirrored(json!({"compared": 7})), 0);
    assert!(
        over.contains("7 of 100 mirrored calls compared, all answered as before"),
        "{over}"
    );
    assert!(
        over.contains("once the mirrored calls under way have ended"),
        "{over}"
    );
    let different = mirrored(json!({
        "compared": 100, "different": 3, "failed": 1, "different_capability": "lang.detect", "uncompared": 2,
    }));
    // Also once it gets calls.
    let text = words(&render(&status(json!({"mirrored": different})), &LOOK));
    let told = "mirrored 100 of 100 mirrored calls compared, 3 answered otherwise, one of them of lang.detect, 1 failed; 2 more say nothing of it";
    assert!(text.contains(told), "{text}");
}

#[test]
fn without_an_update_the_version_that_serves_and_what_is_barred_are_told() {
    let none = RolloutStatus {
        rollout: None,
        ..status(json!({}))
    };
    let text = render(&none, &LOOK);
    assert!(
        text.starts_with("lang: no update is under way; 1.2.0 serves\n  barred  1.2.9 (digest efef"),
        "{text}"
    );
    let bare = RolloutStatus {
        barred: Vec::new(),
        ..none
    };
    assert_eq!(render(&bare, &LOOK), "lang: no update is under way; 1.2.0 serves");
    let stopped = RolloutStatus {
        serves: false,
        ..bare
    };
    assert_eq!(
        render(&stopped, &LOOK),
        "lang: no update is under way; 1.2.0 does not serve"
    );
    assert_eq!(table(&[], &LOOK), "No update is under way.");
}

#[test]
fn all_updates_are_rows_that_fit() {
    let because =
        json!({"judgement": "worse", "because": ["8 of 60 calls failed, 0 of 1140 of the old one"]});
    let text = table(&[status(because)], &LOOK);
    let row = text.lines().nth(1).unwrap();
    assert!(
        row.starts_with(" lang  1.2.0 → 1.3.0  canary  40 s  5 %"),
        "{text}"
    );
    assert!(words(&text).contains("worse: 8 of 60"), "{text}");
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
}
