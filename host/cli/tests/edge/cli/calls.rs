//! Calls against a running host.

use super::{program, run, run_with_input};
use crate::fake::{Fake, Server};
use extman_http::HttpConfig;
use serde_json::{Value, json};
use std::io::Read;
use std::process::Stdio;
use std::time::Duration;

#[test]
fn input_goes_as_it_is_and_output_comes_as_it_is() {
    let server = Server::start();
    let url = server.url();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("in");
    std::fs::write(&file, b"from a file").unwrap();
    let file = format!("@{}", file.display());
    let bytes = [0, 159, 146, 150, b'\n'];
    let call = ["call", "text.echo", "--url", &url, "--input"];
    let with = |input: &str| {
        [&call[..], &[input]]
            .concat()
            .iter()
            .map(|s| (*s).to_owned())
            .collect::<Vec<_>>()
    };
    for (input, stdin, expected, content_type) in [
        (r#"{"a": 1}"#, &b""[..], &br#"{"a": 1}"#[..], "application/json"),
        ("zwölf", b"", "zwölf".as_bytes(), "text/plain; charset=utf-8"),
        (&*file, b"", b"from a file", "text/plain; charset=utf-8"),
        ("-", &bytes, &bytes, "application/octet-stream"),
    ] {
        let arguments = with(input);
        let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
        let ran = run_with_input(&arguments, stdin);
        assert_eq!((ran.code, &ran.out[..], &*ran.err), (0, expected, ""), "{input}");
        let invoked = server.fake.invoked.lock().unwrap();
        assert_eq!(invoked.last().unwrap().content_type, content_type, "{input}");
    }
}

#[test]
fn instance_timeout_and_type_reach_the_host() {
    let server = Server::start();
    let ran = run(&[
        "call",
        "text.echo",
        "--url",
        &server.url(),
        "--instance",
        "la/ng",
        "--timeout",
        "1.5s",
        "--input",
        "a=b",
        "--content-type",
        "application/x-www-form-urlencoded",
    ]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    let invoked = server.fake.invoked.lock().unwrap();
    assert_eq!(invoked[0].instance.as_deref(), Some("la/ng"));
    assert_eq!(invoked[0].timeout, Some(Duration::from_millis(1500)));
    assert_eq!(invoked[0].content_type, "application/x-www-form-urlencoded");
}

#[test]
fn json_holds_the_output_and_who_served() {
    let server = Server::start();
    let call = |input: &str| {
        let ran = run(&[
            "call",
            "text.echo",
            "--json",
            "--url",
            &server.url(),
            "--input",
            input,
        ]);
        assert_eq!(ran.code, 0, "{}", ran.err);
        ran.json()["data"].clone()
    };
    let expected = json!({
        "served_by": "lang", "degraded": false, "degraded_reason": null, "attempts": 1,
        "content_type": "application/json", "ran_ns": 1234,
        "usage": {"tokens_in": 3}, "metadata": {"model": "fake-1"}, "json": {"a": [1]},
    });
    assert_eq!(call(r#"{"a": [1]}"#), expected);
    assert_eq!(call("plain")["text"], "plain");
}

#[test]
fn answer_that_was_kept_is_told_with_its_age() {
    let server = Server::start();
    let call = |more: &[&str]| {
        let args = ["call", "text.kept", "--url", &server.url(), "--input", "plain"];
        let ran = run(&[&args[..], more].concat());
        assert_eq!(ran.code, 0, "{}", ran.err);
        ran
    };
    let data = call(&["--json"]).json()["data"].clone();
    assert_eq!(
        (&data["served_by"], &data["age_ms"], &data["degraded"]),
        (&json!("cached"), &json!(61_500), &json!(true))
    );
    let warned = call(&[]).err.replace('\n', " ");
    assert!(warned.contains("this answer was given 1 min ago"), "{warned}");
}

#[test]
fn a_call_that_fails_says_so_without_driving_the_terminal() {
    let server = Server::start();
    let ran = run(&["call", "panic.now", "--url", &server.url()]);
    assert_eq!((ran.code, ran.text()), (1, ""));
    assert_eq!(
        ran.err,
        "error: panicked: the plugin panicked: \u{fffd}[31mboom\n"
    );
    let ran = run(&["call", "busy.now", "--url", &server.url()]);
    assert_eq!(ran.code, 1);
    assert!(
        ran.err.contains("rate limited") && ran.err.contains("try again in 3 s"),
        "{}",
        ran.err
    );
    let ran = run(&["call", "no.such", "--json", "--url", &server.url()]);
    assert_eq!((ran.code, &ran.json()["error"]["kind"]), (1, &"not_found".into()));
}

#[test]
fn json_that_is_mistyped_is_not_sent() {
    let server = Server::start();
    let ran = run(&["call", "text.echo", "--url", &server.url(), "--input", "{a: 1}"]);
    assert_eq!(ran.code, 2);
    let words: Vec<_> = ran.err.split_whitespace().collect();
    let err = words.join(" ");
    for part in [
        "a name in double quotes",
        "at column 2",
        "`{a: 1}`",
        "next: put it into single quotes",
    ] {
        assert!(err.contains(part), "{part:?} is missing in {err}");
    }
    assert!(server.fake.invoked.lock().unwrap().is_empty());
}

#[test]
fn frames_come_one_after_the_other() {
    let server = Server::start();
    let ran = run(&["call", "stream.words", "--stream", "--url", &server.url()]);
    let expected = [&b"one\n"[..], "zwö\r\nlf".as_bytes(), &[0xff, 0]].concat();
    assert_eq!((ran.code, ran.out, &*ran.err), (0, expected, ""));
    let ran = run(&[
        "call",
        "stream.words",
        "--stream",
        "--json",
        "--url",
        &server.url(),
    ]);
    let lines: Vec<Value> = ran
        .text()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines[0], json!({"event": "frame", "text": "one\n"}));
    assert_eq!(lines[2], json!({"event": "frame", "base64": "/wA="}));
    assert_eq!(
        (lines.len(), &lines[3]["ok"], &lines[3]["data"]["ran_ns"]),
        (4, &true.into(), &1234.into())
    );
}

#[test]
fn a_stream_that_breaks_is_a_failure() {
    let server = Server::start();
    let ran = run(&["call", "stream.broken", "--stream", "--url", &server.url()]);
    assert_eq!((ran.code, ran.text()), (1, "half"));
    assert!(ran.err.contains("the model went away"), "{}", ran.err);
}

#[test]
fn a_reader_that_leaves_is_no_panic_and_ends_the_call() {
    let server = Server::start();
    let mut child = program(&["call", "stream.endless", "--stream", "--url", &server.url()])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut out = child.stdout.take().unwrap();
    out.read_exact(&mut [0; 5]).unwrap();
    drop(out);
    let ended = child.wait_with_output().unwrap();
    assert_eq!(String::from_utf8(ended.stderr).unwrap(), "");
    assert_eq!(ended.status.code(), Some(0));
}

#[test]
fn input_that_is_too_large_for_the_host_is_refused_as_that() {
    let config = HttpConfig {
        body_bytes_max: 100_000,
        ..HttpConfig::default()
    };
    let server = Server::with(Fake::default(), config);
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("large");
    std::fs::write(&path, vec![b'x'; 64 << 20]).unwrap();
    let input = format!("@{}", path.display());
    let ran = run(&["call", "text.echo", "--input", &input, "--url", &server.url()]);
    assert_eq!(ran.code, 2, "{}", ran.err);
    assert!(ran.err.contains("larger than 100000 bytes"), "{}", ran.err);
    std::fs::write(&path, vec![b'x'; 90_000]).unwrap();
    let ran = run(&["call", "text.echo", "--input", &input, "--url", &server.url()]);
    assert_eq!((ran.code, ran.out.len()), (0, 90_000), "{}", ran.err);
}
