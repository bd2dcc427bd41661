//! Reads and changes against a running host, and hosts that are not there.

use super::{program, run};
use crate::fake::{Fake, Server};
use extman_http::{HttpConfig, Secret};
use extman_model::MaintenanceAsked;
use extman_model::control::Command;
use std::io::{Read, Write};

#[test]
fn dependencies_are_a_tree_and_what_is_left_out_fails() {
    let server = Server::start();
    let url = server.url();
    let ran = run(&["deps", "--url", &url]);
    let expected =
        "lang 2.0.0\n└── embed 1.2.0 (^1)\n\nrank can't be used.\n  there is no plugin x\nAdd x.\n";
    assert_eq!((ran.code, ran.text(), &*ran.err), (1, expected, ""));
    let ran = run(&["deps", "embed", "--reverse", "--charset", "ascii", "--url", &url]);
    assert_eq!((ran.code, ran.text()), (0, "embed 1.2.0\n`-- lang 2.0.0 (^1)\n"));
    let ran = run(&["deps", "nobody", "--url", &url]);
    assert_eq!((ran.code, ran.text()), (1, ""));
    assert!(ran.err.contains("no plugin \"nobody\""), "{}", ran.err);
    let envelope = run(&["deps", "--json", "--url", &url]).json();
    assert_eq!(
        (&envelope["ok"], &envelope["command"]),
        (&false.into(), &"dependencies".into())
    );
    assert_eq!(
        envelope["data"]["left_out"][0]["code"], "unfulfilled",
        "{envelope}"
    );
    assert_eq!(
        envelope["data"]["start_order"],
        serde_json::json!([["embed"], ["lang"]])
    );
}

#[test]
fn reads_are_tables_for_people() {
    let server = Server::start();
    for (word, expected) in [
        (
            "list",
            &[
                "AI plugins\n",
                " lang",
                "up",
                "General plugins\n",
                "embed: failed: no model file",
                "embed-en: configured, but no plugin",
                "1 file refused: `extman status`",
            ][..],
        ),
        (
            "status",
            &[
                "Ready, 1 running, 1 failed\n",
                "1 refused file\n",
                "1 configured instance whose plugin is not there\n",
                "warning",
                "(truncated)",
                "/opt/plugins",
            ],
        ),
        ("capabilities", &["text.echo", "lang", "embed"]),
        (
            "show lang",
            &["lang-detect 1.2.0", "text.echo 1.0.0, streaming", "2 × internal"],
        ),
    ] {
        let url = server.url();
        let arguments: Vec<_> = word.split(' ').chain(["--url", &url]).collect();
        let ran = run(&arguments);
        assert_eq!((ran.code, &*ran.err), (0, ""), "{word}");
        for part in expected {
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
        assert!(
            !ran.text().contains('\u{1b}'),
            "no colours in a pipe: {}",
            ran.text()
        );
    }
}

#[test]
fn colours_can_be_forced_and_the_width_is_the_terminals() {
    let server = Server::start();
    let mut command = program(&["list", "--url", &server.url()]);
    let out = command.env("CLICOLOR_FORCE", "1").output().unwrap().stdout;
    assert!(String::from_utf8(out).unwrap().contains("\u{1b}["));
    let mut command = program(&["status", "--url", &server.url()]);
    let out = command.env("COLUMNS", "50").output().unwrap().stdout;
    let text = String::from_utf8(out).unwrap();
    assert!(text.lines().all(|line| line.chars().count() <= 50), "{text}");
}

#[test]
fn json_is_the_envelope_that_the_host_gave() {
    let server = Server::start();
    for (arguments, command, path) in [
        (&["list"][..], "plugins", "plugins"),
        (&["status"], "status", "status"),
        (&["capabilities"], "capabilities", "capabilities"),
        (&["show", "lang"], "plugin", "plugins/lang"),
    ] {
        let url = server.url();
        let ran = run(&[arguments, &["--json", "--url", &url]].concat());
        let heard = crate::wire::ask(server.address, &format!("GET /api/v1/{path}"), &[], b"");
        assert_eq!(ran.json(), heard.json());
        assert_eq!((ran.code, &ran.json()["command"]), (0, &command.into()));
    }
}

#[test]
fn changes_reach_the_host_and_show_what_came_of_them() {
    let server = Server::start();
    let ran = run(&["unload", "lang", "--url", &server.url()]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert!(ran.text().starts_with("lang\n"), "{}", ran.text());
    let ran = run(&["unload", "lang", "--cascade", "--url", &server.url()]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    let asked = |cascade| Command::Unload {
        name: "lang".to_owned(),
        cascade,
    };
    assert_eq!(*server.fake.asked.lock().unwrap(), [asked(false), asked(true)]);
    let ran = run(&["disable", "lang", "--cascade", "--url", &server.url()]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    let disable = Command::Disable {
        name: "lang".to_owned(),
        cascade: true,
    };
    assert_eq!(server.fake.asked.lock().unwrap().pop(), Some(disable));
    for (word, name, text) in [
        ("load", "lang", "error: lang is running already\n"),
        (
            "restart",
            "embed",
            "error: embed could not be started: no model file\n",
        ),
        (
            "show",
            "lagn",
            "error: there is no plugin named \"lagn\"; did you mean lang?\n",
        ),
    ] {
        let ran = run(&[word, name, "--url", &server.url()]);
        assert_eq!((ran.code, ran.text(), &*ran.err), (1, "", text));
    }
    let ran = run(&["show", "lagn", "--json", "--url", &server.url()]);
    assert_eq!((ran.code, &*ran.err), (1, ""));
    assert_eq!(ran.json()["ok"], false);
    assert_eq!(ran.json()["error"]["similar"], serde_json::json!(["lang"]));
}

#[test]
fn maintenance_is_begun_ended_and_listed() {
    let server = Server::start();
    let url = server.url();
    let ran = run(&[
        "maintenance",
        "lang",
        "embed",
        "--for",
        "1h",
        "--reason",
        "new model",
        "--url",
        &url,
    ]);
    assert_eq!((ran.code, &*ran.err), (0, ""));
    assert!(
        ran.text().starts_with("lang is in maintenance until ") && ran.text().contains("\n\nembed is"),
        "{}",
        ran.text()
    );
    let begun = |name: &str| Command::StartMaintenance {
        name: name.to_owned(),
        asked: MaintenanceAsked {
            for_ms: 3_600_000,
            reason: Some("new model".to_owned()),
        },
    };
    assert_eq!(
        *server.fake.asked.lock().unwrap(),
        [begun("lang"), begun("embed")]
    );
    let ran = run(&["maintenance", "lang", "--end", "--url", &url]);
    assert_eq!((ran.code, ran.text()), (0, "lang: maintenance has ended\n"));
    let ran = run(&["maintenance", "lang", "--url", &url]);
    assert_eq!((ran.code, ran.text()), (0, "lang is in no maintenance\n"));
    let ran = run(&["maintenance", "--url", &url]);
    assert!(
        ran.text().contains(" embed ") && ran.text().contains("its configuration"),
        "{}",
        ran.text()
    );
    for line in [
        "--for 1h",
        "--end",
        "lang --reason x",
        "lang --for 1h --end",
        "lang --for soon",
    ] {
        let arguments: Vec<&str> = ["maintenance"].into_iter().chain(line.split(' ')).collect();
        assert_eq!(run(&arguments).code, 2, "{line}");
    }
}

#[test]
fn the_token_comes_from_a_file_or_the_environment() {
    let token = "0123456789abcdef";
    let config = HttpConfig {
        token: Some(Secret::new(token)),
        ..HttpConfig::default()
    };
    let server = Server::with(Fake::default(), config);
    let url = server.url();
    let load = ["load", "embed", "--url", &url];
    let ran = run(&load);
    assert_eq!(ran.code, 2);
    assert!(ran.err.contains("--token-file"), "{}", ran.err);
    let status = program(&load).env("EXTMAN_TOKEN", token).output().unwrap().status;
    assert_eq!(status.code(), Some(0));
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("token");
    let path = path.to_str().unwrap();
    let given = [&load[..], &["--token-file", path]].concat();
    assert_eq!(run(&given).code, 2, "no such file");
    std::fs::write(path, format!("{token}\n")).unwrap();
    assert_eq!(run(&given).code, 0);
}

#[test]
fn host_that_is_not_there_is_no_host() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", free.local_addr().unwrap());
    drop(free);
    let ran = program(&["list"]).env("EXTMAN_URL", &url).output().unwrap();
    assert_eq!(ran.status.code(), Some(3));
    let err = String::from_utf8(ran.stderr).unwrap();
    let words: Vec<_> = err.split_whitespace().collect();
    let err = words.join(" ");
    for part in [&*url, "extman serve", "--dir"] {
        assert!(err.contains(part), "{part:?} is missing in {err}");
    }
    let ran = run(&["list", "--json", "--url", &url]);
    assert_eq!((ran.code, &ran.json()["error"]["kind"]), (3, &"no_host".into()));
    assert_eq!(run(&["list", "--url", "https://localhost"]).code, 2);
    assert_eq!(run(&["list", "--url", "http://"]).code, 2);
}

#[test]
fn server_that_is_no_host_is_no_host() {
    for (answer, expected) in [
        (
            "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi",
            "is no extman host",
        ),
        ("HTTP/1.1 404 x\r\ncontent-length: 0\r\n\r\n", "is no extman host"),
        (
            "HTTP/1.1 302 x\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n",
            "is no extman host",
        ),
        (
            "HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n{\"schema_version\":2,\"ok\":true,\"command\":\"x\",\"answer\":123}",
            "version 2",
        ),
        (
            "HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n{\"schema",
            "cut off",
        ),
        ("\u{1b}[2J", "no host answers"),
    ] {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let stranger = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                stream.read_exact(&mut byte).unwrap();
                request.push(byte[0]);
            }
            stream.write_all(answer.as_bytes()).unwrap();
        });
        let ran = run(&["list", "--url", &url]);
        stranger.join().unwrap();
        let words: Vec<_> = ran.err.split_whitespace().collect();
        assert_eq!(ran.code, 3, "{}", ran.err);
        assert!(
            words.join(" ").contains(expected),
            "{expected:?} is missing in {}",
            ran.err
        );
    }
}

#[test]
fn a_proxy_in_the_environment_does_not_get_the_token() {
    let server = Server::start();
    let mut command = program(&["list", "--url", &server.url()]);
    for name in ["http_proxy", "HTTP_PROXY", "ALL_PROXY", "all_proxy"] {
        command.env(name, "http://127.0.0.1:1");
    }
    assert_eq!(command.output().unwrap().status.code(), Some(0));
}

#[test]
fn what_is_typed_wrong_is_an_envelope_where_json_is_wanted() {
    for line in [
        "lsit --json",
        "--json list --colour",
        "list -o json --colour",
        "show --json",
    ] {
        let ran = run(&line.split(' ').collect::<Vec<_>>());
        assert_eq!((ran.code, &*ran.err), (2, ""), "{line}");
        let envelope = ran.json();
        assert_eq!(
            (&envelope["ok"], &envelope["error"]["kind"]),
            (&false.into(), &"usage".into())
        );
        assert!(
            envelope["error"]["text"].as_str().unwrap().len() > 20,
            "{envelope}"
        );
    }
    assert_eq!(run(&["--json", "--help"]).code, 0);
}

#[test]
fn several_names_are_asked_and_the_one_that_is_not_there_stops_nobody() {
    let server = Server::start();
    let url = server.url();
    let ran = run(&["--url", &url, "show", "lang", "nobody", "embed"]);
    assert_eq!(ran.code, 1);
    assert!(
        ran.text().contains("lang-detect 1.2.0") && ran.text().contains("embed-detect 1.2.0"),
        "{}",
        ran.text()
    );
    assert!(ran.err.contains("nobody: there is no plugin"), "{}", ran.err);
    let ran = run(&["--url", &url, "show", "lang", "nobody", "--json"]);
    let envelope = ran.json();
    assert_eq!(
        (
            ran.code,
            &envelope["ok"],
            envelope["data"].as_array().unwrap().len()
        ),
        (1, &false.into(), 1)
    );
    let ran = run(&["--url", &url, "unload", "lang", "embed", "--json"]);
    assert_eq!((ran.code, &ran.json()["data"][1]["name"]), (0, &"embed".into()));
}

#[test]
fn names_are_one_a_line_for_other_programs() {
    let server = Server::start();
    let url = server.url();
    assert_eq!(
        run(&["list", "-o", "name", "--url", &url]).text(),
        "lang\nembed\n"
    );
    assert_eq!(
        run(&["list", "-o", "name", "--sort", "state", "--url", &url]).text(),
        "embed\nlang\n"
    );
    assert_eq!(
        run(&["health", "-o", "name", "--sort", "name", "--url", &url]).text(),
        "embed\nlang\n"
    );
    assert!(
        run(&["list", "-o", "wide", "--url", &url])
            .text()
            .contains("/opt/plugins/a.so")
    );
    assert_eq!(
        run(&["list", "-o", "json", "--url", &url]).json()["data"][0]["name"],
        "lang"
    );
}

#[test]
fn events_are_lines_and_of_one_plugin_where_that_is_named() {
    let server = Server::start();
    let url = server.url();
    let ran = run(&["events", "--url", &url]);
    assert_eq!((ran.code, ran.text().lines().count()), (0, 3), "{}", ran.text());
    let ran = run(&["events", "lang", "--url", &url]);
    assert_eq!(ran.text(), "2023-11-14 22:13:20Z  lang: starting → running\n");
    assert_eq!(
        run(&["events", "--json", "--url", &url]).json()["data"]["last"],
        9
    );
}

#[test]
fn who_follows_events_ends_with_the_host() {
    let mut server = Server::start();
    let mut follows = program(&["events", "--follow", "lang", "--url", &server.url()])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let mut line = String::new();
    let mut lines = std::io::BufReader::new(follows.stdout.take().unwrap());
    std::io::BufRead::read_line(&mut lines, &mut line).unwrap();
    assert!(line.ends_with("lang: starting → running\n"), "{line}");
    server.stop();
    assert_eq!(follows.wait().unwrap().code(), Some(3));
}

#[test]
fn wait_ends_where_it_is_so_and_says_why_where_it_is_not_in_time() {
    let server = Server::start();
    let url = server.url();
    for goal in ["running", "up"] {
        let ran = run(&["wait", "lang", "--for", goal, "--url", &url]);
        assert_eq!(ran.code, 0, "{}", ran.err);
        assert!(
            ran.text().starts_with(&format!("lang is {goal}")),
            "{}",
            ran.text()
        );
    }
    let ran = run(&["wait", "embed", "--for", "up", "--timeout", "50ms", "--url", &url]);
    assert_eq!((ran.code, ran.text()), (1, ""));
    assert!(ran.err.contains("it is failed: no model file"), "{}", ran.err);
    let ran = run(&[
        "wait",
        "nobody",
        "--for",
        "up",
        "--timeout",
        "50ms",
        "--url",
        &url,
    ]);
    assert_eq!(ran.code, 1, "it may come: {}", ran.err);
    let ran = run(&[
        "wait",
        "lang",
        "--for",
        "up",
        "--timeout",
        "50ms",
        "--url",
        "http://127.0.0.1:1",
    ]);
    assert_eq!(ran.code, 3);
}

#[test]
fn what_is_typed_wrong_is_usage() {
    for line in [
        "",
        "lsit",
        "list --colour",
        "show",
        "call",
        "call a --timeout soon",
        "serve --listen here",
    ] {
        let arguments: Vec<_> = line.split_whitespace().collect();
        let ran = run(&arguments);
        assert_eq!((ran.code, ran.text()), (2, ""), "{line}");
        assert!(!ran.err.is_empty(), "{line}");
    }
    let help = run(&["--help"]);
    assert_eq!(help.code, 0);
    assert!(help.text().contains("Exit codes:"), "{}", help.text());
    assert_eq!(run(&["--version"]).code, 0);
}
