//! Reads, changes, and requests that no route takes.

use crate::fake::{Fake, Server, rollout};
use crate::wire::ask;
use extman_http::{HttpConfig, Secret};
use extman_model::control::Command;
use extman_model::{RolloutCommand, UpdateTo};

const JSON: &str = "content-type: application/json";
const TOKEN: &str = "0123456789abcdef";

#[test]
fn livez_says_ok_and_readyz_says_whether_the_host_is_ready() {
    let starting = Fake {
        starting: true,
        ..Fake::default()
    };
    let (ready, starting) = (Server::start(), Server::with(starting, HttpConfig::default()));
    for server in [&ready, &starting] {
        let heard = ask(server.address, "GET /livez", &["host: probe.example"], b"");
        assert_eq!((heard.status, heard.text()), (200, "ok\n"));
        assert!(server.fake.asked.lock().unwrap().is_empty(), "livez asks nobody");
    }
    let heard = ask(ready.address, "GET /readyz", &[], b"");
    assert_eq!((heard.status, heard.text()), (200, "ready\n"));
    assert_eq!(ask(starting.address, "GET /readyz", &[], b"").status, 503);
}

#[test]
fn reads_answer_in_the_envelope() {
    let server = Server::start();
    for (path, command, at, value) in [
        ("/api/v1/status", "status", "/data/pid", serde_json::json!(77)),
        ("/api/v1/plugins", "plugins", "/data/1/name", "embed".into()),
        (
            "/api/v1/plugins/lang",
            "plugin",
            "/data/lifecycle",
            "running".into(),
        ),
        (
            "/api/v1/capabilities",
            "capabilities",
            "/data/0/not_serving/0",
            "embed".into(),
        ),
    ] {
        let heard = ask(server.address, &format!("GET {path}"), &[], b"");
        let envelope = heard.json();
        assert_eq!((heard.status, &envelope["ok"]), (200, &true.into()), "{envelope}");
        assert_eq!(envelope["schema_version"], 1);
        assert_eq!(envelope["command"], command);
        let warnings = envelope["warnings"].as_array().unwrap();
        if command == "plugins" {
            // Who is configured and not there is no plugin, but is told to those who only ask for the list.
            assert!(
                warnings[0].as_str().unwrap().starts_with("embed-en: "),
                "{warnings:?}"
            );
        } else {
            assert!(warnings.is_empty(), "{warnings:?}");
        }
        assert_eq!(envelope.pointer(at), Some(&value), "{path}");
        assert_eq!(heard.header("x-content-type-options"), Some("nosniff"));
        assert_eq!(heard.header("access-control-allow-origin"), None);
    }
}

#[test]
fn a_name_that_is_not_there_brings_suggestions() {
    let server = Server::start();
    let heard = ask(server.address, "GET /api/v1/plugins/l%C3%A4ng", &[], b"");
    assert_eq!((heard.status, heard.failure()), (404, "not_found".to_owned()));
    let error = &heard.json()["error"];
    assert_eq!(error["similar"][0], "lang");
    assert!(error["text"].as_str().unwrap().contains("läng"), "{error}");
    for (path, status) in [("%ff", 400), (&*"x".repeat(300), 400)] {
        let heard = ask(server.address, &format!("GET /api/v1/plugins/{path}"), &[], b"");
        assert_eq!(
            (heard.status, heard.failure()),
            (status, "invalid_input".to_owned())
        );
    }
}

#[test]
fn changes_reach_the_control() {
    let server = Server::start();
    for (word, name, body) in [
        ("load", "embed", ""),
        ("unload", "lang", "{}"),
        ("unload", "lang", "{\"cascade\": true}"),
        ("restart", "lang", " {} \n"),
        ("disable", "lang", ""),
        ("disable", "lang", "{\"cascade\": true}"),
        ("enable", "lang", "{}"),
        ("rollback", "lang", ""),
        ("update", "lang", ""),
        ("update", "lang", r#"{"to": "1.3.0"}"#),
        ("update", "lang", r#"{"file": "/p/lang.so"}"#),
    ] {
        let line = format!("POST /api/v1/plugins/{name}/{word}");
        let heard = ask(server.address, &line, &[JSON], body.as_bytes());
        assert_eq!(heard.status, 200, "{}", heard.text());
        assert_eq!(heard.json()["command"], word);
        assert_eq!(heard.json()["data"]["name"], name);
    }
    let name = |name: &str| name.to_owned();
    let update = |to| Command::Update {
        name: name("lang"),
        to,
    };
    let expected = [
        Command::Load { name: name("embed") },
        Command::Unload {
            name: name("lang"),
            cascade: false,
        },
        Command::Unload {
            name: name("lang"),
            cascade: true,
        },
        Command::Restart { name: name("lang") },
        Command::Disable {
            name: name("lang"),
            cascade: false,
        },
        Command::Disable {
            name: name("lang"),
            cascade: true,
        },
        Command::Enable { name: name("lang") },
        Command::RollBack { name: name("lang") },
        update(UpdateTo::Newest),
        update(UpdateTo::Version("1.3.0".parse().unwrap())),
        update(UpdateTo::File("/p/lang.so".into())),
    ];
    assert_eq!(*server.fake.asked.lock().unwrap(), expected);
}

#[test]
fn changes_that_fail_say_how() {
    let server = Server::start();
    for (path, status, kind) in [
        ("lang/load", 409, "conflict"),
        ("embed/restart", 502, "failed"),
        ("nobody/unload", 404, "not_found"),
        ("nobody/update", 404, "not_found"),
        ("embed/rollout/promote", 409, "conflict"),
    ] {
        let heard = ask(
            server.address,
            &format!("POST /api/v1/plugins/{path}"),
            &[JSON],
            b"{}",
        );
        assert_eq!((heard.status, heard.failure()), (status, kind.to_owned()));
    }
    for body in [r#"{"force": true}"#, "[]", "x"] {
        let line = "POST /api/v1/plugins/lang/unload";
        let heard = ask(server.address, line, &[JSON], body.as_bytes());
        assert_eq!((heard.status, heard.failure()), (400, "invalid_input".to_owned()));
    }
    let asked = server.fake.asked.lock().unwrap().len();
    assert_eq!(asked, 5, "what is refused does not reach the control");
}

#[test]
fn what_may_not_be_asked_does_not_reach_the_control() {
    let server = Server::start();
    let load = "POST /api/v1/plugins/embed/load";
    for (line, headers, status, kind) in [
        (load, &["host: evil.example", JSON][..], 403, "forbidden"),
        ("GET /api/v1/plugins", &["host: evil.example"], 403, "forbidden"),
        (load, &[JSON, "origin: http://evil.example"], 403, "forbidden"),
        (load, &["content-type: text/plain"], 415, "unsupported_media_type"),
        (
            "POST /api/v1/capabilities/text.echo/invoke",
            &[JSON, "sec-fetch-site: cross-site"],
            403,
            "forbidden",
        ),
    ] {
        let heard = ask(server.address, line, headers, b"{}");
        assert_eq!(
            (heard.status, &*heard.failure()),
            (status, kind),
            "{line} {headers:?}"
        );
    }
    assert!(server.fake.asked.lock().unwrap().is_empty());
    assert!(server.fake.invoked.lock().unwrap().is_empty());
}

#[test]
fn a_token_opens_what_it_guards() {
    let config = HttpConfig {
        token: Some(Secret::new(TOKEN)),
        ..HttpConfig::default()
    };
    let server = Server::with(Fake::default(), config);
    let load = "POST /api/v1/plugins/embed/load";
    let heard = ask(server.address, load, &[JSON], b"{}");
    assert_eq!((heard.status, heard.failure()), (401, "unauthorized".to_owned()));
    assert_eq!(heard.header("www-authenticate"), Some("Bearer"));
    assert_eq!(heard.json()["command"], "load");
    let wrong = ask(
        server.address,
        load,
        &[JSON, "authorization: Bearer 0123456789abcdeF"],
        b"{}",
    );
    assert_eq!(wrong.status, 401);
    assert!(server.fake.asked.lock().unwrap().is_empty());
    let right = format!("authorization: Bearer {TOKEN}");
    assert_eq!(ask(server.address, load, &[JSON, &right], b"{}").status, 200);
    assert_eq!(ask(server.address, "GET /api/v1/plugins", &[], b"").status, 200);
}

#[test]
fn no_route_and_no_method_get_the_envelope_too() {
    let server = Server::start();
    for line in [
        "GET /",
        "GET /api/v1/plugin",
        "POST /api/v1/plugins/lang/explode",
        "GET /api/v1/plugins/a/b/c",
    ] {
        let heard = ask(server.address, line, &[JSON], b"");
        assert_eq!(
            (heard.status, heard.failure()),
            (404, "not_found".to_owned()),
            "{line}"
        );
    }
    for (line, allow) in [
        ("DELETE /api/v1/plugins/lang", "GET, HEAD"),
        ("POST /api/v1/status", "GET, HEAD"),
        ("GET /api/v1/plugins/lang/load", "POST"),
        ("GET /api/v1/capabilities/text.echo/invoke", "POST"),
        ("OPTIONS /api/v1/plugins/lang/load", "POST"),
        ("DELETE /api/v1/plugins/lang/maintenance", "GET, HEAD, POST"),
        ("POST /api/v1/maintenance", "GET, HEAD"),
    ] {
        let heard = ask(server.address, line, &[JSON], b"");
        assert_eq!(
            (heard.status, heard.failure()),
            (405, "method_not_allowed".to_owned()),
            "{line}"
        );
        assert_eq!(heard.header("allow"), Some(allow), "{line}");
    }
}

#[test]
fn another_method_than_a_route_takes_is_405_before_anything_else_is_asked() {
    let config = HttpConfig {
        token: Some(Secret::new(TOKEN)),
        ..HttpConfig::default()
    };
    for server in [Server::start(), Server::with(Fake::default(), config)] {
        for (line, allowed) in [
            ("POST /livez", "GET, HEAD"),
            ("DELETE /readyz", "GET, HEAD"),
            ("PUT /health", "GET, HEAD"),
            ("DELETE /api/v1/plugins", "GET, HEAD"),
            ("POST /api/v1/plugins/lang", "GET, HEAD"),
            ("PATCH /api/v1/plugins/lang/load", "POST"),
            ("GET /api/v1/plugins/lang/load", "POST"),
            ("PUT /api/v1/capabilities/text.echo/invoke", "POST"),
        ] {
            let heard = ask(server.address, line, &["host: elsewhere.example"], b"");
            assert_eq!(
                (heard.status, heard.header("allow")),
                (405, Some(allowed)),
                "{line}"
            );
            assert_eq!(heard.failure(), "method_not_allowed");
        }
        assert!(server.fake.asked.lock().unwrap().is_empty());
    }
}

#[test]
fn maintenance_is_begun_and_ended_by_what_the_body_says() {
    let server = Server::start();
    let path = "/api/v1/plugins/lang/maintenance";
    let heard = ask(
        server.address,
        &format!("POST {path}"),
        &[JSON],
        br#"{"for": "2h", "reason": "new model"}"#,
    );
    let envelope = heard.json();
    assert_eq!(
        (heard.status, &envelope["command"]),
        (200, &"maintenance".into()),
        "{envelope}"
    );
    assert_eq!(envelope["data"][0]["until_unix_ms"], 7_200_000, "{envelope}");
    assert_eq!(envelope["data"][0]["reason"], "new model");
    assert_eq!(
        ask(
            server.address,
            &format!("POST {path}"),
            &[JSON],
            br#"{"end": true}"#
        )
        .status,
        200
    );
    let commands: Vec<&str> = server
        .fake
        .asked
        .lock()
        .unwrap()
        .iter()
        .map(Command::word)
        .collect();
    assert_eq!(commands, ["maintenance", "maintenance"]);
    let heard = ask(server.address, &format!("POST {path}"), &[JSON], b"{}");
    assert_eq!((heard.status, heard.failure()), (400, "invalid_input".to_owned()));
    let listed = ask(server.address, "GET /api/v1/maintenance", &[], b"").json();
    assert_eq!(listed["data"][0]["by"], "configuration", "{listed}");
    assert_eq!(
        ask(server.address, "GET /api/v1/plugins/nobody/maintenance", &[], b"").status,
        404
    );
}

#[test]
fn an_update_under_way_is_shown_and_changed() {
    let server = Server::start();
    let path = "/api/v1/plugins/lang/rollout";
    let none = ask(server.address, &format!("GET {path}"), &[], b"");
    assert_eq!((none.status, &none.json()["command"]), (200, &"rollout".into()));
    assert_eq!(
        none.json()["data"],
        serde_json::json!({"name": "lang", "version": "1.2.0", "digest": "ab".repeat(32), "serves": true})
    );
    server
        .fake
        .rollouts
        .lock()
        .unwrap()
        .push_back(rollout(serde_json::json!({})));
    let canary = ask(server.address, &format!("GET {path}"), &[], b"").json();
    assert_eq!(canary["data"]["rollout"]["phase"], "canary", "{canary}");
    let status = ask(server.address, "GET /api/v1/status", &[], b"").json();
    assert_eq!(status["data"]["rollouts"][0]["rollout"]["percent"], 5, "{status}");
    server.fake.asked.lock().unwrap().clear();
    let mut expected = Vec::new();
    for (word, change) in [
        ("pause", RolloutCommand::Pause),
        ("resume", RolloutCommand::Resume),
        ("promote", RolloutCommand::Promote),
        ("abort", RolloutCommand::Abort),
    ] {
        let heard = ask(server.address, &format!("POST {path}/{word}"), &[JSON], b"{}");
        assert_eq!(heard.status, 200, "{}", heard.text());
        assert_eq!(heard.json()["command"], format!("rollout_{word}"));
        assert_eq!(heard.json()["data"]["rollout"]["to"], "1.3.0");
        let name = "lang".to_owned();
        expected.push(Command::ChangeRollout { name, change });
    }
    assert_eq!(*server.fake.asked.lock().unwrap(), expected);
    for (line, body) in [
        ("rollout/pause", r#"{"for": "1h"}"#),
        ("rollback", r#"{"to": "1.0.0"}"#),
        ("update", r#"{"to": "soon"}"#),
        ("update", r#"{"file": "lang.so"}"#),
    ] {
        let line = format!("POST /api/v1/plugins/lang/{line}");
        let heard = ask(server.address, &line, &[JSON], body.as_bytes());
        assert_eq!(
            (heard.status, heard.failure()),
            (400, "invalid_input".to_owned()),
            "{line}"
        );
    }
    // Neither a page in a browser nor who has no token may do any of it, as it is for all changes.
    for word in ["update", "rollback", "rollout/promote"] {
        let line = format!("POST /api/v1/plugins/lang/{word}");
        let heard = ask(
            server.address,
            &line,
            &[JSON, "origin: http://evil.example"],
            b"{}",
        );
        assert_eq!(heard.status, 403, "{word}");
    }
}
