//! Vetting: what crashes or hangs does so in a child, the refusal says where and how, and it is kept by digest.

use extman_intake::{DiscoveryConfig, Store, TrustConfig, VerifiedPlugin, find, inspect, verify};
use extman_model::{VettingDepth, VettingFailure, VettingPhase, VettingRefusal, VettingReport};
use extman_runtime::vetting::{Vetting, VettingConfig, VettingError};
use extman_tests::{Bench, build};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

fn config() -> VettingConfig {
    VettingConfig {
        worker: Some(build::worker()),
        ..VettingConfig::default()
    }
}

fn vetting(bench: &Bench, config: VettingConfig) -> Vetting {
    Vetting::new(config, bench.folder().join("vetting"))
}

/// Time enough for a child that does not hang, and not long to wait for one that does.
fn impatient() -> VettingConfig {
    VettingConfig {
        timeout_ms: 3_000,
        ..config()
    }
}

async fn report(library: &Path, plugin_config: &str, config: VettingConfig) -> VettingReport {
    let bench = Bench::new();
    let plugin = bench.verified(library);
    vetting(&bench, config)
        .try_out(&plugin, plugin_config)
        .await
        .unwrap()
}

#[track_caller]
fn refusal(report: VettingReport) -> VettingRefusal {
    report.refusal.expect("it passed")
}

fn signal(number: i32, name: &str) -> VettingFailure {
    VettingFailure::Signal {
        number,
        name: name.to_owned(),
    }
}

#[tokio::test]
async fn good_plugins_pass_and_are_unloaded_in_the_child() {
    for library in [
        build::plugin("lang-detect"),
        build::c_plugin("hash-embedder"),
        build::c_fault("echo"),
    ] {
        let report = report(&library, "{}", config()).await;
        assert!(report.passed(), "{report:?}");
        let phases: Vec<_> = report.steps.iter().map(|step| step.phase).collect();
        use VettingPhase::*;
        assert_eq!(phases, [Open, Create, Start, Check, Drain, Stop, Destroy, Close]);
        assert!(report.unload.unwrap().is_unmapped());
        assert!(report.report.unwrap().health.is_some());
    }
}

#[tokio::test]
async fn a_crash_in_an_entry_is_a_refusal_with_its_phase_and_signal() {
    let faults = build::plugin("faults");
    for (phase, expected) in [
        ("create", VettingPhase::Create),
        ("start", VettingPhase::Start),
        ("check", VettingPhase::Check),
        ("drain", VettingPhase::Drain),
        ("stop", VettingPhase::Stop),
        ("destroy", VettingPhase::Destroy),
    ] {
        for (hazard, why) in [
            ("segfault", signal(11, "SIGSEGV")),
            ("abort", signal(6, "SIGABRT")),
            ("exit", VettingFailure::Exited { code: 3 }),
        ] {
            let order = format!(r#"{{"hazard": "{hazard}", "phase": "{phase}"}}"#);
            let seen = refusal(report(&faults, &order, config()).await);
            let expected = VettingRefusal { phase: expected, why };
            assert_eq!(seen, expected, "{hazard} in {phase}");
        }
    }
}

#[tokio::test]
async fn a_hang_in_an_entry_is_a_refusal_with_its_phase() {
    for (phase, expected) in [
        ("create", VettingPhase::Create),
        ("start", VettingPhase::Start),
        ("check", VettingPhase::Check),
    ] {
        let order = format!(r#"{{"hazard": "hang", "phase": "{phase}"}}"#);
        let seen = refusal(report(&build::plugin("faults"), &order, impatient()).await);
        let why = VettingFailure::TimedOut { limit_ms: 3_000 };
        assert_eq!(seen, VettingRefusal { phase: expected, why });
    }
}

#[tokio::test]
async fn a_panic_is_a_refusal_with_its_text_and_the_child_goes_on_to_unload() {
    for (phase, expected) in [
        ("create", VettingPhase::Create),
        ("start", VettingPhase::Start),
        ("check", VettingPhase::Check),
    ] {
        let order = format!(r#"{{"hazard": "panic", "phase": "{phase}"}}"#);
        let report = report(&build::plugin("faults"), &order, config()).await;
        assert!(report.unload.as_ref().unwrap().is_unmapped());
        let VettingRefusal { phase, why } = refusal(report);
        assert_eq!(phase, expected);
        assert!(
            matches!(&why, VettingFailure::Refused { text } if text.contains("as told")),
            "{why:?}"
        );
    }
}

#[tokio::test]
async fn constructors_and_finalisers_are_caught() {
    for (name, phase, why) in [
        ("segfault-constructor", VettingPhase::Open, signal(11, "SIGSEGV")),
        (
            "exit-constructor",
            VettingPhase::Open,
            VettingFailure::Exited { code: 3 },
        ),
        (
            "hang-constructor",
            VettingPhase::Open,
            VettingFailure::TimedOut { limit_ms: 3_000 },
        ),
        (
            "hang-finaliser",
            VettingPhase::Close,
            VettingFailure::TimedOut { limit_ms: 3_000 },
        ),
    ] {
        let seen = refusal(report(&build::c_fault(name), "{}", impatient()).await);
        assert_eq!(seen, VettingRefusal { phase, why }, "{name}");
    }
}

#[tokio::test]
async fn tables_that_are_wrong_are_refused_before_anything_is_called() {
    for (name, part) in [
        ("wrong-struct-size", "64 bytes"),
        ("wrong-abi-major", "ABI 2"),
        ("bad-magic", "magic"),
        ("null-vtable", "no lifecycle table"),
        ("null-create", "no create"),
    ] {
        let report = report(&build::c_fault(name), "{}", config()).await;
        assert_eq!(report.steps.len(), 1, "{name}");
        let VettingRefusal { phase, why } = refusal(report);
        assert_eq!(phase, VettingPhase::Open);
        let text = match why {
            VettingFailure::Refused { text } => text,
            other => panic!("{name}: {other:?}"),
        };
        assert!(text.contains(part), "{name}: {text}");
    }
}

#[tokio::test]
async fn only_the_steps_of_the_chosen_depth_are_done() {
    let order = r#"{"hazard": "abort", "phase": "start"}"#;
    for (depth, steps) in [(VettingDepth::Open, 2), (VettingDepth::Create, 4)] {
        let config = VettingConfig { depth, ..config() };
        let report = report(&build::plugin("faults"), order, config).await;
        assert!(report.passed(), "{report:?}");
        assert_eq!(report.steps.len(), steps);
    }
}

#[tokio::test]
async fn a_child_gets_no_more_memory_than_allowed() {
    let order = r#"{"hazard": "leak", "phase": "create", "bytes": 1000000000}"#;
    let little = VettingConfig {
        memory_bytes_max: 600 << 20,
        ..config()
    };
    let seen = refusal(report(&build::plugin("faults"), order, little).await);
    assert_eq!(seen.phase, VettingPhase::Create);
    assert!(matches!(seen.why, VettingFailure::OverMemory { .. }), "{seen}");
    assert!(report(&build::plugin("faults"), order, config()).await.passed());
}

/// A copy of a library with other bytes and so another digest, whose constructor makes a file next to it.
struct Marked {
    bench: Bench,
    library: PathBuf,
    marker: PathBuf,
}

impl Marked {
    /// A worker that runs with the marker's path in its environment.
    fn worker(&self) -> PathBuf {
        let script = self.bench.folder().join("worker.sh");
        let text = format!(
            "#!/bin/sh\n{}={} exec {} \"$@\"\n",
            faults_build::FILE_VARIABLE,
            self.marker.display(),
            build::worker().display()
        );
        executable(&script, &text);
        script
    }

    fn new(fault: &str) -> Self {
        let bench = Bench::new();
        let library = bench.folder().join("marked.so");
        std::fs::copy(build::c_fault(fault), &library).unwrap();
        let marker = bench.folder().join("ran");
        Marked {
            bench,
            library,
            marker,
        }
    }
}

#[tokio::test]
async fn intake_runs_nothing_and_vetting_runs_it_once() {
    let marked = Marked::new("write-file-constructor");
    let store = Store::open(marked.bench.folder().join("another-store")).unwrap();
    let found = find(&marked.library, &DiscoveryConfig::default()).unwrap();
    let trust = TrustConfig {
        allow_world_writable: true,
        ..TrustConfig::default()
    };
    let plugin = verify(inspect(store.take(&found).unwrap()).unwrap(), &trust).unwrap();
    assert!(!marked.marker.exists(), "intake ran a constructor");
    let config = VettingConfig {
        worker: Some(marked.worker()),
        ..VettingConfig::default()
    };
    let vetting = vetting(&marked.bench, config);
    let now = SystemTime::now();
    vetting.vet(plugin.clone(), "{}", now).await.unwrap();
    assert!(marked.marker.exists(), "vetting did not load it");

    std::fs::remove_file(&marked.marker).unwrap();
    let much_later = now + Duration::from_secs(10 * 365 * 86_400);
    vetting.vet(plugin.clone(), "{}", much_later).await.unwrap();
    assert!(!marked.marker.exists(), "what passed was tried again");

    assert!(vetting.release(plugin.digest()));
    vetting.vet(plugin, "{}", now).await.unwrap();
    assert!(marked.marker.exists(), "what was released was not tried again");
}

/// What came of vetting a library that is refused: whether it was remembered.
async fn refused(vetting: &Vetting, plugin: &VerifiedPlugin, at: SystemTime) -> bool {
    match vetting.vet(plugin.clone(), "{}", at).await {
        Err(VettingError::Refused { remembered, .. }) => remembered,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_refusal_is_remembered_until_it_expires_or_is_released() {
    let bench = Bench::new();
    let plugin = bench.verified(&build::c_fault("segfault-constructor"));
    let config = VettingConfig {
        refusal_expires_s: 3_600,
        ..config()
    };
    let vetting = vetting(&bench, config);
    let now = SystemTime::now();
    let later = now + Duration::from_secs(3_700);
    assert!(!refused(&vetting, &plugin, now).await);
    assert!(refused(&vetting, &plugin, now).await);
    assert!(refused(&vetting, &plugin, now + Duration::from_secs(3_500)).await);
    assert!(!refused(&vetting, &plugin, later).await, "it has expired");
    assert!(refused(&vetting, &plugin, later).await);
    assert!(vetting.release(plugin.digest()));
    assert!(!refused(&vetting, &plugin, later).await, "it was released");
}

#[tokio::test]
async fn a_refusal_is_void_when_the_limits_the_worker_or_the_configuration_change() {
    let bench = Bench::new();
    let plugin = bench.verified(&build::c_fault("segfault-constructor"));
    let now = SystemTime::now();
    assert!(!refused(&vetting(&bench, config()), &plugin, now).await);
    assert!(refused(&vetting(&bench, config()), &plugin, now).await);
    let more_memory = VettingConfig {
        memory_bytes_max: 1 << 40,
        ..config()
    };
    assert!(!refused(&vetting(&bench, more_memory), &plugin, now).await);
    let worker = bench.folder().join("another-worker");
    std::fs::copy(build::worker(), &worker).unwrap();
    let other = VettingConfig {
        worker: Some(worker),
        ..VettingConfig::default()
    };
    assert!(!refused(&vetting(&bench, other), &plugin, now).await);
    let answer = vetting(&bench, config())
        .vet(plugin.clone(), r#"{"a": 1}"#, now)
        .await;
    assert!(
        matches!(
            &answer,
            Err(VettingError::Refused {
                remembered: false,
                ..
            })
        ),
        "{answer:?}"
    );
    assert!(
        refused(&vetting(&bench, config()), &plugin, now).await,
        "the first is kept"
    );
}

#[tokio::test]
async fn what_took_too_long_is_tried_again() {
    let bench = Bench::new();
    let plugin = bench.verified(&build::c_fault("hang-constructor"));
    let config = VettingConfig {
        timeout_ms: 1_000,
        ..config()
    };
    let vetting = vetting(&bench, config);
    let now = SystemTime::now();
    assert!(!refused(&vetting, &plugin, now).await);
    assert!(!refused(&vetting, &plugin, now).await);
}

#[tokio::test]
async fn a_worker_that_is_none_says_nothing_of_the_plugin() {
    let bench = Bench::new();
    let plugin = bench.verified(&build::c_fault("echo"));
    for (text, said) in [
        ("#!/bin/sh\necho broken >&2\nexit 1\n", "broken"),
        ("#!/bin/sh\nkill -SEGV $$\n", "did not begin"),
        ("not even a script", ""),
    ] {
        let script = bench.folder().join("broken-worker");
        // A new inode: the system does not let a program be changed that runs.
        let _ = std::fs::remove_file(&script);
        executable(&script, text);
        let broken = VettingConfig {
            worker: Some(script),
            ..VettingConfig::default()
        };
        let error = vetting(&bench, broken)
            .vet(plugin.clone(), "{}", SystemTime::now())
            .await
            .unwrap_err();
        assert!(matches!(error, VettingError::Worker(_)), "{error}");
        assert!(error.to_string().contains(said), "{error}");
    }
    vetting(&bench, config())
        .vet(plugin, "{}", SystemTime::now())
        .await
        .unwrap();
}

#[tokio::test]
async fn host_that_ends_does_not_wait_for_a_worker_that_takes_no_order() {
    let bench = Bench::new();
    let plugin = bench.verified(&build::c_fault("echo"));
    let script = bench.folder().join("deaf-worker");
    executable(&script, "#!/bin/sh\nexec sleep 3600\n");
    let deaf = VettingConfig {
        worker: Some(script),
        timeout_ms: 3_600_000,
        ..VettingConfig::default()
    };
    let vetting = vetting(&bench, deaf);
    // More than fits into a socket that nobody reads.
    let order = format!("{{\"key\": \"{}\"}}", "k".repeat(4 << 20));
    let (vetted, ()) = tokio::join!(
        vetting.vet(plugin.clone(), order.as_str(), SystemTime::now()),
        async {
            extman_tests::until_async("it is under way", || vetting.phase(plugin.digest()).is_some()).await;
            vetting.end();
        }
    );
    let error = vetted.unwrap_err();
    assert!(matches!(error, VettingError::HostEnds), "{error}");
}

#[tokio::test]
async fn plugin_that_ends_its_thread_is_refused_with_the_reason_at_once_and_that_is_kept() {
    let bench = Bench::new();
    let plugin = bench.verified(&build::c_fault("process"));
    let order = r#"{"act":"pthread_exit","when":"create"}"#;
    let vetting = vetting(&bench, config());
    for remembered in [false, true] {
        let error = vetting
            .vet(plugin.clone(), order, SystemTime::now())
            .await
            .unwrap_err();
        let text = error.to_string();
        assert!(text.contains("create") && text.contains("pthread_exit"), "{text}");
        assert!(
            matches!(error, VettingError::Refused { remembered: was, .. } if was == remembered),
            "{text}"
        );
    }
}

fn executable(path: &Path, text: &str) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::write(path, text).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

#[tokio::test]
async fn without_a_worker_nothing_passes_unless_vetting_is_off() {
    let bench = Bench::new();
    let plugin = bench.verified(&build::c_fault("echo"));
    let nowhere = bench.folder().join("extman-worker");
    let missing = VettingConfig {
        worker: Some(nowhere.clone()),
        ..VettingConfig::default()
    };
    let refused = vetting(&bench, missing.clone())
        .vet(plugin.clone(), "{}", SystemTime::now())
        .await
        .unwrap_err();
    assert!(
        matches!(&refused, VettingError::NoWorker(path) if *path == nowhere),
        "{refused}"
    );
    assert!(refused.to_string().contains(&nowhere.display().to_string()));
    let off = VettingConfig {
        enabled: false,
        ..missing
    };
    vetting(&bench, off)
        .vet(plugin, "{}", SystemTime::now())
        .await
        .unwrap();
}
