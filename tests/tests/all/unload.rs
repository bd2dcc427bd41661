//! What becomes of a library after each hazard, in a process of its own, and that the verdict is the truth.

use extman_model::{ResidentReason, Verdict};
use extman_tests::build;
use extman_tests::late::{INSTANCE, Seen};
use extman_tests::scenario::{Order, Outcome};
use std::path::Path;

const HOST: &str = env!("CARGO_BIN_EXE_fault-host");

fn run(order: &Order) -> Outcome {
    let outcome = order.run(Path::new(HOST), &[]);
    assert!(outcome.interposed);
    outcome
}

#[track_caller]
fn is_unmapped(order: &Order) -> Outcome {
    let outcome = run(order);
    assert_eq!(outcome.verdict, Verdict::Unmapped, "{order:?}");
    assert!(!outcome.mapped, "{order:?}: the verdict is a lie");
    outcome
}

#[track_caller]
fn stays(order: &Order, expected: ResidentReason) -> String {
    let order = Order {
        patience_ms: 300,
        ..order.clone()
    };
    let outcome = run(&order);
    let Verdict::Resident { reason, culprit } = &outcome.verdict else {
        panic!("{order:?}: unmapped")
    };
    assert_eq!(*reason, expected, "{order:?}: {culprit}");
    assert!(outcome.mapped, "{order:?}: the verdict is a lie");
    culprit.to_string()
}

#[test]
fn good_plugins_are_unmapped_and_answered() {
    let text = r#"{"text": "Bonjour tout le monde, comment allez-vous aujourd'hui ?"}"#;
    let rust = Order::new(build::plugin("lang-detect"), "text.detect-language", text);
    assert!(is_unmapped(&rust).reply.contains(r#""fra""#));
    let c = Order::new(
        build::c_plugin("hash-embedder"),
        "text.embed",
        r#"{"text": "ping"}"#,
    );
    assert!(is_unmapped(&c).reply.contains("embeddings"));
    assert_eq!(is_unmapped(&Order::c("echo")).reply, "\"ping\"");
}

#[test]
fn what_a_plugin_ends_or_leaves_to_its_thread_does_not_hold_it() {
    for hazard in [
        "usage",
        "tokio-current-thread",
        "tokio-multi-thread",
        "thread-local",
        "thread-current",
        "panic",
    ] {
        is_unmapped(&Order::fault(hazard));
    }
    is_unmapped(&Order::c("pthread-key"));
}

#[test]
fn threads_that_live_on_hold_it() {
    for hazard in ["static-tokio", "rayon-global", "thread-alive"] {
        let culprit = stays(&Order::fault(hazard), ResidentReason::LiveThread);
        assert!(culprit.starts_with("thread "), "{culprit}");
    }
    stays(&Order::c("pthread-alive"), ResidentReason::LiveThread);
    // Wherever its start routine lies: the host knows for whom it was made.
    stays(&Order::c("std-thread-alive"), ResidentReason::LiveThread);
}

#[test]
fn threads_that_openmp_keeps_for_a_lane_end_with_it() {
    let order = Order {
        cycles: 20,
        ..Order::c("openmp")
    };
    assert_eq!(is_unmapped(&order).unmapped, 20);
}

#[test]
fn a_thread_made_behind_the_hosts_back_holds_it() {
    stays(&Order::c("thrd-create-alive"), ResidentReason::UnknownThread);
}

#[test]
fn a_signal_handler_holds_it() {
    for order in [Order::fault("signal-handler"), Order::c("signal-handler")] {
        let culprit = stays(&order, ResidentReason::SignalHandler);
        assert!(culprit.starts_with("signal "), "{culprit}");
    }
}

#[test]
fn what_the_dynamic_loader_keeps_is_told() {
    for name in ["nodelete", "unique-symbol"] {
        stays(&Order::c(name), ResidentReason::KeptByLoader);
    }
}

#[test]
fn a_finaliser_that_hangs_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let (begun, release) = (folder.path().join("begun"), folder.path().join("release"));
    let order = Order {
        patience_ms: 300,
        ..Order::c("hang-finaliser")
    };
    let mut command = order.command(Path::new(HOST));
    command
        .env(faults_build::FILE_VARIABLE, &begun)
        .env(faults_build::RELEASE_VARIABLE, &release)
        .stdout(std::process::Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut line = String::new();
    let mut out = std::io::BufReader::new(child.stdout.take().unwrap());
    std::io::BufRead::read_line(&mut out, &mut line).unwrap();
    let outcome: Outcome = serde_json::from_str(&line).unwrap();
    assert!(begun.exists());
    assert!(
        matches!(
            outcome.verdict,
            Verdict::Resident {
                reason: ResidentReason::CloseHangs,
                ..
            }
        ),
        "{outcome:?}"
    );
    std::fs::write(&release, "").unwrap();
    assert!(child.wait().unwrap().success());
}

#[test]
fn a_library_that_comes_after_its_loading_was_given_up_is_unloaded() {
    let folder = tempfile::tempdir().unwrap();
    let release = folder.path().join("release");
    let mut child = std::process::Command::new(env!("CARGO_BIN_EXE_late-host"))
        .arg(build::c_fault("hang-constructor"))
        .env(faults_build::RELEASE_VARIABLE, &release)
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut out = std::io::BufReader::new(child.stdout.take().unwrap());
    let mut next = || {
        let mut line = String::new();
        std::io::BufRead::read_line(&mut out, &mut line).unwrap();
        serde_json::from_str::<Seen>(&line).unwrap_or_else(|error| panic!("{error} in {line:?}"))
    };
    let hangs = next();
    assert!(hangs.error.contains("constructors did not return"), "{hangs:?}");
    assert!(hangs.mapped, "{hangs:?}");
    let called = matches!(
        &hangs.verdict,
        Verdict::Resident {
            reason: ResidentReason::WedgedCall,
            ..
        }
    );
    assert!(called, "{hangs:?}");
    std::fs::write(&release, "").unwrap();
    let gone = next();
    assert_eq!(gone.verdict, Verdict::Unmapped, "{gone:?}");
    assert!(!gone.mapped, "the verdict is a lie");
    assert_eq!([&*gone.lost, &*gone.late], [[INSTANCE], [INSTANCE]]);
    assert!(child.wait().unwrap().success());
}

#[test]
fn without_the_interposition_nothing_is_closed() {
    let program = build::host_without_interposition();
    let order = Order::c("echo");
    let outcome = order.run(&program, &[]);
    assert!(!outcome.interposed);
    assert_eq!(outcome.reply, "\"ping\"");
    assert!(
        matches!(
            outcome.verdict,
            Verdict::Resident {
                reason: ResidentReason::NotInterposed,
                ..
            }
        ),
        "{outcome:?}"
    );
    assert!(outcome.mapped);
}
