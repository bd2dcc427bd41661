//! Updates: asked for, steered, watched, and seen wherever a plugin is.

use super::{program, run};
use crate::fake::{Server, rollout};
use extman_model::control::Command;
use extman_model::{RolloutCommand, RolloutStatus, UpdateTo};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader};
use std::process::Stdio;

/// A host whose `lang` is seen like this, look after look.
fn server(looks: impl IntoIterator<Item = Value>) -> Server {
    let server = Server::start();
    server
        .fake
        .rollouts
        .lock()
        .unwrap()
        .extend(looks.into_iter().map(rollout));
    server
}

fn canary() -> Value {
    json!({"due_ms": 260_000, "judgement": "not_enough", "because": ["20 of 50 calls of the new version so far"]})
}

fn words(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn update_goes_to_the_newest_or_a_version_or_a_file_and_shows_what_is_under_way() {
    let server = server([canary()]);
    let url = server.url();
    let here = std::env::current_dir().unwrap();
    for (arguments, to) in [
        (&[][..], UpdateTo::Newest),
        (&["--to", "1.3.0"], UpdateTo::Version("1.3.0".parse().unwrap())),
        (&["--to", "liblang.so"], UpdateTo::File(here.join("liblang.so"))),
    ] {
        let ran = run(&[&["update", "lang", "--url", &url], arguments].concat());
        assert_eq!((ran.code, &*ran.err), (0, ""), "{arguments:?}");
        assert!(
            ran.text().starts_with("lang\n  update  1.2.0 → 1.3.0"),
            "{}",
            ran.text()
        );
        let asked = server.fake.asked.lock().unwrap().pop();
        let name = "lang".to_owned();
        assert_eq!(asked, Some(Command::Update { name, to }));
    }
    let envelope = run(&["update", "lang", "--json", "--url", &url]).json();
    assert_eq!(
        (&envelope["command"], &envelope["data"]["rollout"]["to"]),
        (&"update".into(), &"1.3.0".into())
    );
    assert_eq!(run(&["update", "lang", "--to", "newest"]).code, 2);
    let ran = run(&["update", "nobody", "--url", &url]);
    assert_eq!(ran.code, 1);
    assert!(ran.err.contains("no plugin named \"nobody\""), "{}", ran.err);
}

#[test]
fn rollback_shows_the_plugins_as_they_are_after_it() {
    let server = server([json!("taken back")]);
    let ran = run(&["rollback", "lang", "--url", &server.url()]);
    assert_eq!((ran.code, &*ran.err), (0, ""));
    let said = words(ran.text());
    assert!(said.contains("plugin lang-detect 1.2.0"), "{said}");
    assert!(
        said.contains(
            "barred 1.3.0 (digest cdcdcdcdcdcd) since 2023-11-14 22:13:20Z: 12 of 60 calls failed\u{fffd}[2J"
        ),
        "{said}"
    );
    let rollback = Command::RollBack {
        name: "lang".to_owned(),
    };
    assert_eq!(*server.fake.asked.lock().unwrap(), [rollback]);
}

#[test]
fn rollout_is_shown_and_changed() {
    let server = server([canary()]);
    let url = server.url();
    for (arguments, change) in [
        (&["pause"][..], RolloutCommand::Pause),
        (&["resume"], RolloutCommand::Resume),
        (&["promote"], RolloutCommand::Promote),
        (&["abort"], RolloutCommand::Abort),
    ] {
        let ran = run(&[&["rollout", "lang", "--url", &url], arguments].concat());
        assert_eq!((ran.code, &*ran.err), (0, ""), "{arguments:?}");
        assert!(words(ran.text()).contains("judge not enough evidence: 20 of 50 calls"));
        let asked = server.fake.asked.lock().unwrap().pop();
        let name = "lang".to_owned();
        assert_eq!(asked, Some(Command::ChangeRollout { name, change }));
    }
    let shown = run(&["rollout", "lang", "--url", &url]);
    assert_eq!(
        shown.text(),
        run(&["rollout", "lang", "status", "--url", &url]).text()
    );
    let all = run(&["rollout", "--url", &url]);
    assert!(
        all.text().starts_with(" NAME  UPDATE         PHASE"),
        "{}",
        all.text()
    );
    for text in [shown.text(), all.text()] {
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    }
    let envelope = run(&["rollout", "--json", "--url", &url]).json();
    assert_eq!(envelope["data"][0]["rollout"]["phase"], "canary", "{envelope}");
    let heard = crate::wire::ask(server.address, "GET /api/v1/plugins/lang/rollout", &[], b"");
    assert_eq!(
        run(&["rollout", "lang", "--json", "--url", &url]).json(),
        heard.json()
    );
    assert_eq!(run(&["rollout", "lang", "stop"]).code, 2);
}

#[test]
fn without_an_update_that_is_said_and_nothing_can_be_changed_or_watched() {
    let server = Server::start();
    let url = server.url();
    let ran = run(&["rollout", "lang", "--url", &url]);
    assert_eq!(
        (ran.code, ran.text()),
        (0, "lang: no update is under way; 1.2.0 serves\n")
    );
    let ran = run(&["rollout", "--url", &url]);
    assert_eq!((ran.code, ran.text()), (0, "No update is under way.\n"));
    let ran = run(&["rollout", "embed", "promote", "--url", &url]);
    assert_eq!(
        (ran.code, &*ran.err),
        (1, "error: embed: there is no update under way\n")
    );
    let ran = run(&["rollout", "lang", "--watch", "--url", &url]);
    assert_eq!((ran.code, ran.text()), (1, ""));
    assert!(
        words(&ran.err).contains("no update of lang is under way; 1.2.0 serves next: `extman show lang`")
    );
}

#[test]
fn watch_prints_a_line_for_each_change_and_its_exit_code_is_the_end() {
    let more_evidence =
        json!({"judgement": "not_enough", "because": ["40 of 50 calls of the new version so far"]});
    let good = json!({"judgement": "good", "percent": 100, "phase": "probation"});
    let promoted = server([canary(), more_evidence, good, json!("promoted")]);
    let ran = run(&["rollout", "lang", "--watch", "--url", &promoted.url()]);
    assert_eq!((ran.code, &*ran.err), (0, ""));
    let lines: Vec<_> = ran
        .text()
        .lines()
        .map(|line| line.split_once("Z  ").unwrap().1)
        .collect();
    assert_eq!(
        lines,
        [
            "lang: update 1.2.0 → 1.3.0: canary, 5 % of the calls to 1.3.0; not enough evidence: 20 of 50 calls of the \
             new version so far",
            "lang: update 1.2.0 → 1.3.0: probation, all calls to 1.3.0; good",
            "lang: the update is done: 1.3.0 serves",
        ]
    );
    let worse = json!({"judgement": "worse", "percent": 0, "phase": "retiring"});
    let taken_back = server([canary(), worse, json!("taken back")]);
    let ran = run(&["rollout", "lang", "--watch", "--json", "--url", &taken_back.url()]);
    assert_eq!((ran.code, &*ran.err), (20, ""));
    let envelopes: Vec<Value> = ran
        .text()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(envelopes.len(), 3, "{envelopes:?}");
    assert_eq!(
        (&envelopes[1]["ok"], &envelopes[1]["data"]["rollout"]["phase"]),
        (&true.into(), &"retiring".into())
    );
    assert_eq!(
        (&envelopes[2]["ok"], &envelopes[2]["error"]["kind"]),
        (&false.into(), &"taken_back".into())
    );
    let text = envelopes[2]["error"]["text"].as_str().unwrap();
    assert_eq!(
        text,
        "lang: 1.3.0 was taken back, 1.2.0 serves: 12 of 60 calls failed\u{fffd}[2J"
    );
}

#[test]
fn update_that_is_waited_for_ends_as_it_ends() {
    let before = json!("before");
    let bare = |status: Value| RolloutStatus {
        barred: Vec::new(),
        ..rollout(status)
    };
    for (after, code, said) in [
        (
            [canary(), json!("promoted")],
            0,
            "the update is done: 1.3.0 serves",
        ),
        (
            [canary(), json!("taken back")],
            20,
            "1.3.0 was taken back, 1.2.0 serves: 12 of 60",
        ),
        // It is over by the time that it is answered.
        (
            [json!("taken back"), json!("taken back")],
            20,
            "1.3.0 was taken back",
        ),
        (
            [json!("stopped"), json!("stopped")],
            1,
            "lang: the update is over, and 1.3.0 does not serve; `extman show lang` says why",
        ),
        (
            [json!("promoted"), json!("promoted")],
            0,
            "the update is done: 1.3.0 serves",
        ),
    ] {
        let server = server(after);
        server
            .fake
            .rollouts
            .lock()
            .unwrap()
            .push_front(bare(before.clone()));
        let ran = run(&["update", "lang", "--wait", "--url", &server.url()]);
        assert_eq!((ran.code, &*ran.err), (code, ""), "{}", ran.text());
        assert!(ran.text().contains(said), "{said}: {}", ran.text());
    }
}

#[test]
fn update_that_was_overtaken_has_failed_and_was_not_taken_back() {
    let server = server([canary()]);
    let over = RolloutStatus {
        barred: Vec::new(),
        ..rollout(json!("before"))
    };
    server.fake.rollouts.lock().unwrap().push_back(over);
    let ran = run(&["rollout", "lang", "--watch", "--url", &server.url()]);
    assert_eq!(ran.code, 1, "{}", ran.text());
    let end = ran.text().lines().last().unwrap().to_owned();
    assert!(
        end.ends_with("lang: the update to 1.3.0 was overtaken, 1.2.0 serves"),
        "{end}"
    );
}

#[test]
fn watch_without_a_name_follows_all_until_nobody_reads() {
    let server = server([canary(), json!("taken back")]);
    let arguments = ["rollout", "--watch", "--url", &server.url()];
    let mut child = program(&arguments).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let first = lines.next().unwrap().unwrap();
    assert!(first.contains("Z  lang: update 1.2.0 → 1.3.0: canary"), "{first}");
    server.fake.rollouts.lock().unwrap().pop_front();
    let end = lines.next().unwrap().unwrap();
    assert!(
        end.contains("Z  lang: 1.3.0 was taken back, 1.2.0 serves"),
        "{end}"
    );
    let again = rollout(json!({"phase": "loading", "percent": 0}));
    server.fake.rollouts.lock().unwrap().push_front(again);
    let next = lines.next().unwrap().unwrap();
    assert!(
        next.contains("Z  lang: update 1.2.0 → 1.3.0: loading, no call to 1.3.0 yet"),
        "{next}"
    );
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn update_under_way_is_seen_wherever_its_plugin_is() {
    let server = server([canary()]);
    let url = server.url();
    let line = "update 1.2.0 → 1.3.0: canary, 5 % of the calls to 1.3.0; not enough evidence: 20 of 50 calls";
    for arguments in [&["list"][..], &["show", "lang"], &["status"], &["health", "lang"]] {
        let ran = run(&[arguments, &["--url", &url]].concat());
        let text = ran.text();
        assert!(
            words(text).contains(&line.replace("update ", "")),
            "{arguments:?}: {text}"
        );
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    }
}
