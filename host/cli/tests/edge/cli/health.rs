//! How plugins are and were, for people.

use super::{program, run};
use crate::fake::{Fake, Server};
use extman_http::HttpConfig;
use extman_model::control::Command;
use std::io::{BufRead, BufReader};
use std::process::Stdio;

#[test]
fn the_exit_code_says_what_the_sentence_says() {
    let fake = Fake {
        down: true,
        ..Fake::default()
    };
    let (up, down) = (Server::start(), Server::with(fake, HttpConfig::default()));
    for (server, arguments, code, part) in [
        (&up, &["health"][..], 0, "Up: all 2 plugins are up"),
        (&down, &["health"], 12, "Down: 1 of 2 plugins down (lang)"),
        (&down, &["health", "lang"], 12, "lang is down for"),
        (&up, &["health", "lang"], 0, "lang is up for"),
        (&up, &["probe", "lang"], 0, "lang is up for"),
    ] {
        let url = server.url();
        let ran = run(&[arguments, &["--url", &url]].concat());
        assert_eq!((ran.code, &*ran.err), (code, ""), "{arguments:?}");
        assert!(
            ran.text().contains(part),
            "{part:?} is missing in\n{}",
            ran.text()
        );
        assert!(ran.text().contains("█▁█"), "{}", ran.text());
        assert!(!ran.text().contains('\u{1b}'), "{}", ran.text());
        let json = run(&[arguments, &["--json", "--url", &url]].concat());
        assert_eq!((json.code, &json.json()["ok"]), (code, &true.into()));
    }
    assert!(
        run(&["health", "--help"])
            .text()
            .contains("10 degraded, 11 unknown, 12 down")
    );
    let gone = run(&["health", "--url", "http://127.0.0.1:1"]);
    assert_eq!(gone.code, 3);
    assert_eq!(run(&["health", "nobody", "--url", &up.url()]).code, 1);
}

#[test]
fn what_was_is_shown() {
    let server = Server::start();
    let url = server.url();
    for (line, parts, command) in [
        (
            "history lang --since 7d",
            &["states", "7, 2 failed", "1.5 µs"][..],
            Command::History {
                name: "lang".to_owned(),
                since_ms: 604_800_000,
            },
        ),
        (
            "uptime --since 15m",
            &["lang", "90.000 %", "OUTAGES"],
            Command::Uptime {
                name: None,
                since_ms: 900_000,
            },
        ),
        (
            "analyse lang",
            &[
                "flapping",
                "34.5 %",
                "can't be told: no other version",
                "2 × internal",
            ],
            Command::Analyse {
                name: "lang".to_owned(),
                since_ms: 86_400_000,
                full: true,
            },
        ),
    ] {
        let arguments: Vec<_> = line.split(' ').chain(["--url", &url]).collect();
        let ran = run(&arguments);
        assert_eq!((ran.code, &*ran.err), (0, ""), "{line}");
        for part in parts {
            assert!(
                ran.text().contains(part),
                "{part:?} is missing in\n{}",
                ran.text()
            );
        }
        assert!(
            ran.text().lines().all(|line| line.chars().count() <= 80),
            "{}",
            ran.text()
        );
        assert_eq!(server.fake.asked.lock().unwrap().pop(), Some(command), "{line}");
    }
    for line in [
        "history lang --since soon",
        "uptime --since 400d",
        "health --interval 1s",
    ] {
        assert_eq!(run(&line.split(' ').collect::<Vec<_>>()).code, 2, "{line}");
    }
}

#[test]
fn watch_in_a_pipe_prints_each_change_and_that_the_host_is_gone() {
    let mut server = Server::start();
    let arguments = ["health", "--watch", "--interval", "10ms", "--url", &server.url()];
    let mut child = program(&arguments).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let first = lines.next().unwrap().unwrap();
    assert!(first.ends_with("Z Up: all 2 plugins are up"), "{first}");
    server.join().unwrap();
    let gone = lines.next().unwrap().unwrap();
    assert!(gone.contains("no answer from the host since "), "{gone}");
    child.kill().unwrap();
    child.wait().unwrap();
}
