//! Every hazard at every phase, seen from a host of a few lines; the deadly ones in a process of their own.

mod host;

use crate::catalogue::{HAZARDS, Hazard, Phase};
use extman_plugin_api::abi;
use host::{Instance, close, new_token};
use serde_json::json;
use std::process::Command;
use std::time::{Duration, Instant};

#[test]
fn the_readme_has_the_same_table() {
    let readme = include_str!("../../README.md");
    let table = readme.split("## In C").next().unwrap();
    let rows: Vec<&str> = table.lines().filter(|line| line.starts_with("| `")).collect();
    let expected: Vec<String> = HAZARDS
        .iter()
        .map(|entry| {
            let phases: Vec<String> = entry
                .phases
                .iter()
                .map(|p| format!("{p:?}").to_lowercase())
                .collect();
            let phases = if phases.len() == 9 {
                "any".to_owned()
            } else {
                phases.join(", ")
            };
            format!("| `{}` | {phases} | {} |", entry.name, entry.does)
        })
        .collect();
    assert_eq!(rows, expected);
}

fn expected_status(hazard: Hazard) -> abi::Status {
    match hazard {
        Hazard::Panic | Hazard::PanicInPayload => abi::STATUS_PANICKED,
        Hazard::InvalidInput => abi::STATUS_INVALID_INPUT,
        Hazard::Unavailable => abi::STATUS_UNAVAILABLE,
        Hazard::RateLimited => abi::STATUS_RATE_LIMITED,
        Hazard::Misconfigured => abi::STATUS_CONFIGURATION,
        Hazard::Internal | Hazard::UpButFailing => abi::STATUS_INTERNAL,
        Hazard::Cancelled | Hazard::HangUntilCancelled => abi::STATUS_CANCELLED,
        Hazard::DeadlineExceeded => abi::STATUS_DEADLINE_EXCEEDED,
        Hazard::Unsupported => abi::STATUS_UNIMPLEMENTED,
        Hazard::Exhausted => abi::STATUS_RESOURCE_EXHAUSTED,
        _ => abi::STATUS_OK,
    }
}

fn is_deadly(hazard: Hazard) -> bool {
    matches!(hazard, Hazard::Segfault | Hazard::Abort | Hazard::Exit)
}

fn is_late(hazard: Hazard) -> bool {
    matches!(hazard, Hazard::WriteAfterReturn | Hazard::PushAfterDestroy)
}

#[test]
fn each_happens_at_each_of_its_phases_and_not_before() {
    let folder = tempfile::tempdir().unwrap();
    let release = folder.path().join("release");
    std::fs::write(&release, "").unwrap();
    for entry in HAZARDS
        .iter()
        .filter(|e| !is_deadly(e.hazard) && !is_late(e.hazard))
    {
        for phase in entry.phases {
            let marker = folder.path().join(format!("{}-{phase:?}", entry.name));
            let config = json!({
                "hazard": entry.name, "phase": format!("{phase:?}").to_lowercase(), "release": release,
                "marker": marker, "count": 10, "writes": 10, "bytes": 100, "ms": 1,
            });
            let status = go_to(*phase, &config.to_string(), || {
                assert!(!marker.exists(), "{config}")
            });
            assert_eq!(status, expected_status(entry.hazard), "{config}");
            assert!(marker.exists(), "{config} did not happen");
        }
    }
}

/// Leads an instance to the phase and through it; the status of its call there. `before` runs just before that call.
fn go_to(phase: Phase, config: &str, before: impl Fn()) -> abi::Status {
    let token = new_token();
    let is_cancelled = config.contains("hang-until");
    if is_cancelled {
        close(token);
    }
    if phase == Phase::Create {
        before();
        return Instance::create_as(config, token)
            .err()
            .map_or(abi::STATUS_OK, |(status, _)| status);
    }
    let mut instance = Instance::create(config).unwrap();
    if phase != Phase::Start {
        assert_eq!(instance.start(), abi::STATUS_OK);
    }
    before();
    if is_cancelled {
        instance.cancel_steps();
    }
    match phase {
        Phase::Start => instance.start(),
        Phase::Configure => instance.configure("{}"),
        Phase::Drain => instance.drain(),
        Phase::Stop => instance.stop(),
        Phase::Destroy => instance.destroy(),
        Phase::Check => instance.check_as(token, abi::CHECK_READINESS).0,
        Phase::Deep => instance.check_as(token, abi::CHECK_DEEP).0,
        Phase::Create | Phase::Invoke => instance.invoke_as(token, "fault.echo", b"x").status,
    }
}

#[test]
fn an_instance_without_a_plan_serves_and_takes_orders() {
    let instance = Instance::create("{}").unwrap();
    assert_eq!(instance.start(), abi::STATUS_OK);
    assert_eq!(instance.check(new_token()), (abi::STATUS_OK, abi::HEALTH_UP));
    let echo = instance.invoke("fault.echo", b"hello");
    assert_eq!(
        (echo.status, echo.output.as_slice()),
        (abi::STATUS_OK, &b"hello"[..])
    );

    let usage = instance.invoke("fault.run", br#"{"hazard":"usage","tokens_in":3,"tokens_out":5}"#);
    assert_eq!((usage.outcome.tokens_in, usage.outcome.tokens_out), (3, 5));
    let limited = instance.invoke("fault.run", br#"{"hazard":"rate-limited","retry_after_ms":70}"#);
    assert_eq!(
        (limited.status, limited.outcome.retry_after_ms),
        (abi::STATUS_RATE_LIMITED, 70)
    );
    let flood = instance.invoke("fault.run", br#"{"hazard":"flood-sink","bytes":7,"writes":11}"#);
    assert_eq!(flood.output.len(), 77);
    let held = instance.invoke(
        "fault.run",
        br#"{"hazard":"hold-memory","bytes":11,"limit_bytes":10}"#,
    );
    assert_eq!(held.status, abi::STATUS_RESOURCE_EXHAUSTED);
    let unknown = instance.invoke("fault.run", br#"{"hazard":"nap"}"#);
    assert_eq!(unknown.status, abi::STATUS_INVALID_INPUT);
}

#[test]
fn health_and_service_may_contradict_each_other() {
    let up = Instance::create(r#"{"hazard":"up-but-failing"}"#).unwrap();
    assert_eq!(up.check(new_token()), (abi::STATUS_OK, abi::HEALTH_UP));
    assert_eq!(up.invoke("fault.echo", b"x").status, abi::STATUS_INTERNAL);
    let down = Instance::create(r#"{"hazard":"down-but-serving","phase":"check"}"#).unwrap();
    assert_eq!(down.check(new_token()), (abi::STATUS_OK, abi::HEALTH_DOWN));
    assert_eq!(down.invoke("fault.echo", b"x").status, abi::STATUS_OK);
    let deep = Instance::create(r#"{"hazard":"unavailable","phase":"deep"}"#).unwrap();
    assert_eq!(deep.check(new_token()), (abi::STATUS_OK, abi::HEALTH_UP));
    let asked = deep.check_as(new_token(), abi::CHECK_DEEP);
    assert_eq!(asked.0, abi::STATUS_UNAVAILABLE);
}

#[test]
fn flapping_takes_turns() {
    let flapping = Instance::create(r#"{"hazard":"flap","phase":"check","count":2}"#).unwrap();
    let said: Vec<_> = (0..6).map(|_| flapping.check(new_token()).1).collect();
    let (up, down) = (abi::HEALTH_UP, abi::HEALTH_DOWN);
    assert_eq!(said, [up, up, down, down, up, up]);
    assert_eq!(flapping.invoke("fault.echo", b"x").status, abi::STATUS_OK);
}

#[test]
fn a_new_configuration_ends_the_old_one() {
    let instance = Instance::create(r#"{"hazard":"internal"}"#).unwrap();
    assert_eq!(instance.invoke("fault.echo", b"x").status, abi::STATUS_INTERNAL);
    assert_eq!(
        instance.configure(r#"{"hazard":"none"}"#),
        abi::STATUS_CONFIGURATION
    );
    assert_eq!(instance.invoke("fault.echo", b"x").status, abi::STATUS_INTERNAL);
    assert_eq!(instance.configure("{}"), abi::STATUS_OK);
    assert_eq!(instance.invoke("fault.echo", b"x").status, abi::STATUS_OK);
}

#[test]
fn a_hang_ends_with_its_release_and_not_with_a_cancel() {
    let folder = tempfile::tempdir().unwrap();
    let (release, marker) = (folder.path().join("release"), folder.path().join("marker"));
    let order = json!({"hazard": "hang", "release": release, "marker": marker}).to_string();
    let call = std::thread::spawn(move || {
        let token = new_token();
        close(token);
        let instance = Instance::create("{}").unwrap();
        instance.invoke_as(token, "fault.run", order.as_bytes()).status
    });
    wait_until(|| marker.exists());
    assert!(!call.is_finished());
    std::fs::write(&release, "").unwrap();
    assert_eq!(call.join().unwrap(), abi::STATUS_OK);
}

#[test]
fn what_comes_too_late_is_recorded() {
    let reader = Instance::create("{}").unwrap();
    let last =
        || -> serde_json::Value { serde_json::from_slice(&reader.invoke("fault.last", b"").output).unwrap() };
    let refused = |hazard: &str| {
        wait_until(|| last()["hazard"] == hazard);
        assert_eq!(last()["accepted"], false);
        assert!(
            last()["refusal"].as_str().unwrap().starts_with("Cancelled"),
            "{}",
            last()
        );
    };

    let token = new_token();
    let call = reader.invoke_as(token, "fault.run", br#"{"hazard":"write-after-return"}"#);
    assert_eq!(call.status, abi::STATUS_OK);
    close(token);
    refused("write-after-return");

    let config = r#"{"hazard":"push-after-destroy","phase":"destroy","ms":1}"#;
    drop(Instance::create(config).unwrap());
    refused("push-after-destroy");
}

const CHILD: &str = "FAULTS_TEST_CHILD";

#[test]
#[cfg(unix)]
fn deadly_ones_end_the_process() {
    use std::os::unix::process::ExitStatusExt;
    if let Ok(order) = std::env::var(CHILD) {
        Instance::create("{}")
            .unwrap()
            .invoke("fault.run", order.as_bytes());
        return;
    }
    let end = |hazard: &str| {
        Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "tests::deadly_ones_end_the_process"])
            .env(CHILD, json!({"hazard": hazard}).to_string())
            .output()
            .unwrap()
            .status
    };
    assert_eq!(end("segfault").signal(), Some(libc::SIGSEGV));
    assert_eq!(end("abort").signal(), Some(libc::SIGABRT));
    assert_eq!(end("exit").code(), Some(3));
    assert!(end("usage").success());
}

fn wait_until(condition: impl Fn() -> bool) {
    let limit = Instant::now() + Duration::from_secs(60);
    while !condition() {
        assert!(Instant::now() < limit, "it never came");
        std::thread::yield_now();
    }
}
