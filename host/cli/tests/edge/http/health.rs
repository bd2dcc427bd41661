//! How plugins are and were, over HTTP.

use crate::fake::{Fake, Server};
use crate::wire::ask;
use extman_http::{HttpConfig, Secret};
use extman_model::control::Command;
use serde_json::Value;

const JSON: &str = "content-type: application/json";

fn down() -> Server {
    let fake = Fake {
        down: true,
        ..Fake::default()
    };
    Server::with(fake, HttpConfig::default())
}

#[test]
fn health_has_the_documented_status_and_words() {
    let (up, down) = (Server::start(), down());
    for (server, path, status, word, checks) in [
        (&up, "/health", 200, "pass", 6),
        (&down, "/health", 503, "fail", 6),
        (&down, "/health/ai", 503, "fail", 1),
        (&down, "/health/general", 200, "pass", 1),
        (&up, "/health/host", 200, "pass", 4),
    ] {
        let heard = ask(server.address, &format!("GET {path}"), &[], b"");
        assert_eq!(heard.status, status, "{path}");
        assert_eq!(heard.header("content-type"), Some("application/health+json"));
        assert_eq!(heard.header("cache-control"), Some("no-store"));
        let told: Value = serde_json::from_slice(&heard.body).unwrap();
        assert_eq!(told["status"], word, "{path}: {told}");
        assert_eq!(
            told["checks"].as_object().unwrap().len(),
            checks,
            "{path}: {told}"
        );
    }
    let heard = ask(down.address, "GET /health", &[], b"");
    let told: Value = serde_json::from_slice(&heard.body).unwrap();
    assert_eq!(told["description"], "Down: 1 of 2 plugins down (lang)");
    assert_eq!(told["checks"]["lang:health"][0]["status"], "fail");
    assert_eq!(told["checks"]["embed:health"][0]["observedValue"], "up");
    assert_eq!(
        told["checks"]["host.history:state"][0]["output"],
        "the disk is full"
    );
    let disk = &told["checks"]["host.disk:state"][0];
    assert_eq!(
        (&disk["status"], &disk["observedValue"]),
        (&"fail".into(), &"down".into())
    );
    assert_eq!(disk["output"], "store at /s: 3 MiB are free");
    assert_eq!(told["checks"]["host.lanes:state"][0]["status"], "pass");
    assert_eq!(
        told["checks"]["host.memory:state"][0]["status"],
        Value::Null,
        "left out"
    );
    let heard = ask(up.address, "GET /health/dogs", &[], b"");
    assert_eq!((heard.status, heard.failure()), (404, "not_found".to_owned()));
}

#[test]
fn a_required_plugin_that_is_down_keeps_the_host_from_being_ready_and_never_from_living() {
    let server = down();
    let heard = ask(server.address, "GET /readyz", &[], b"");
    assert_eq!(heard.status, 503);
    assert_eq!(
        String::from_utf8_lossy(&heard.body),
        "not ready\nlang is required, and is running and down\nand 3 more\n"
    );
    assert_eq!(ask(server.address, "GET /livez", &[], b"").status, 200);
    assert!(
        server.fake.asked.lock().unwrap().is_empty(),
        "neither has views built"
    );
}

#[test]
fn reads_carry_how_far_back_and_run_no_check() {
    let server = Server::start();
    let name = || "lang".to_owned();
    let day = 86_400_000;
    for (path, word, at, value, command) in [
        ("health", "health", "/data/overall/health", "up", Command::Health),
        (
            "plugins/lang/health",
            "plugin_health",
            "/data/health/health",
            "up",
            Command::PluginHealth { name: name() },
        ),
        (
            "plugins/lang/history?since=7d",
            "history",
            "/data/name",
            "lang",
            Command::History {
                name: name(),
                since_ms: 7 * day,
            },
        ),
        (
            "plugins/lang/uptime",
            "uptime",
            "/data/0/name",
            "lang",
            Command::Uptime {
                name: Some(name()),
                since_ms: day,
            },
        ),
        (
            "uptime?since=90s",
            "uptime",
            "/data/0/name",
            "lang",
            Command::Uptime {
                name: None,
                since_ms: 90_000,
            },
        ),
        (
            "plugins/lang/analysis",
            "analysis",
            "/data/latency/result",
            "missing",
            Command::Analyse {
                name: name(),
                since_ms: day,
                full: false,
            },
        ),
    ] {
        let heard = ask(server.address, &format!("GET /api/v1/{path}"), &[], b"");
        let told = heard.json();
        assert_eq!((heard.status, &told["command"]), (200, &word.into()), "{told}");
        assert_eq!(told.pointer(at), Some(&value.into()), "{path}: {told}");
        assert_eq!(server.fake.asked.lock().unwrap().pop(), Some(command), "{path}");
    }
    for query in ["since=soon", "since=400d", "until=1h"] {
        let heard = ask(
            server.address,
            &format!("GET /api/v1/plugins/lang/history?{query}"),
            &[],
            b"",
        );
        assert_eq!((heard.status, heard.failure()), (400, "invalid_input".to_owned()));
    }
    let heard = ask(server.address, "GET /api/v1/plugins/nobody/history", &[], b"");
    assert_eq!((heard.status, heard.failure()), (404, "not_found".to_owned()));
}

#[test]
fn a_check_is_a_change() {
    let token = "0123456789abcdef";
    let config = HttpConfig {
        token: Some(Secret::new(token)),
        ..HttpConfig::default()
    };
    let guarded = Server::with(Fake::default(), config);
    let line = "POST /api/v1/plugins/lang/check";
    let heard = ask(guarded.address, line, &[JSON], b"{}");
    assert_eq!((heard.status, heard.failure()), (401, "unauthorized".to_owned()));
    assert!(guarded.fake.asked.lock().unwrap().is_empty());
    let right = format!("authorization: Bearer {token}");
    let heard = ask(guarded.address, line, &[JSON, &right], b"{}");
    assert_eq!(
        (heard.status, &heard.json()["command"]),
        (200, &"check_now".into())
    );
    let name = "lang".to_owned();
    let deep = format!("{line}?deep=true");
    assert_eq!(ask(guarded.address, &deep, &[JSON, &right], b"{}").status, 200);
    let asked = [false, true].map(|deep| Command::CheckNow {
        name: name.clone(),
        deep,
    });
    assert_eq!(*guarded.fake.asked.lock().unwrap(), asked);
    let wrong = format!("{line}?deeep=true");
    let heard = ask(guarded.address, &wrong, &[JSON, &right], b"{}");
    assert_eq!((heard.status, heard.failure()), (400, "invalid_input".to_owned()));
    assert_eq!(
        ask(guarded.address, "GET /api/v1/plugins/lang/check", &[], b"").status,
        405
    );
}
