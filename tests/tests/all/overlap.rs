//! Which calls may overlap, and on which threads they come.

use crate::faulty::Faulty;
use extman_model::{CheckKind, CheckOutcome, ErrorKind, ResidentReason, Verdict};
use extman_runtime::instance::InstanceSettings;
use extman_runtime::lanes::Phase;
use extman_runtime::module::ModuleBudgets;
use extman_tests::until::LIMIT;
use extman_tests::{Bench, build, call, until_async};
use std::sync::Arc;
use std::time::Duration;

#[tokio::test]
async fn a_serial_plugin_is_entered_once_at_a_time() {
    let bench = Bench::new();
    let module = bench.module(&build::c_fault("serial")).await;
    let instance = Arc::new(bench.started(&module, "{}", InstanceSettings::default()).await);
    let release = bench.folder().join("release");
    let begun = bench.folder().join("release.begun");
    let spawn = || {
        let (instance, path) = (instance.clone(), release.to_str().unwrap().to_owned());
        tokio::spawn(async move { instance.invoke(call("c.echo", path), None).await })
    };
    let calls: Vec<_> = (0..4).map(|_| spawn()).collect();
    until_async("one is inside and three wait", || {
        begun.exists() && instance.call_metrics().in_flight() == 4
    })
    .await;
    for kind in [CheckKind::Liveness, CheckKind::Readiness, CheckKind::Deep] {
        assert_eq!(instance.check(kind, LIMIT).await.0, CheckOutcome::Busy);
    }
    std::fs::write(&release, "").unwrap();
    for call in calls {
        let reply = call.await.unwrap().unwrap();
        assert!(
            reply.body.starts_with(br#"{"most":1,"#),
            "two were inside at once"
        );
    }
    let (outcome, took) = instance.check(CheckKind::Readiness, LIMIT).await;
    assert!(matches!(outcome, CheckOutcome::Answered { .. }), "{outcome:?}");
    assert!(took.is_some());
}

#[tokio::test]
async fn a_plugin_for_many_is_entered_by_many() {
    let faulty = Faulty::new(InstanceSettings::default()).await;
    let release = faulty.file("release");
    let begun: Vec<_> = (0..4).map(|n| faulty.file(&format!("begun-{n}"))).collect();
    let calls = begun.iter().map(|begun| {
        let (instance, call) = (faulty.instance.clone(), faulty.hang(&release, begun));
        tokio::spawn(async move { instance.invoke(call, None).await })
    });
    let calls: Vec<_> = calls.collect();
    until_async("all are inside at once", || {
        begun.iter().all(|file| file.exists())
    })
    .await;
    let (outcome, _) = faulty.instance.check(CheckKind::Readiness, LIMIT).await;
    assert!(matches!(outcome, CheckOutcome::Answered { .. }), "{outcome:?}");
    std::fs::write(release, "").unwrap();
    for call in calls {
        assert!(call.await.unwrap().is_ok());
    }
}

#[tokio::test]
async fn an_affine_plugin_stays_on_one_thread() {
    let bench = Bench::new();
    let module = bench.module(&build::c_fault("affine")).await;
    let instance = Arc::new(bench.started(&module, "{}", InstanceSettings::default()).await);
    let calls = (0..16).map(|_| {
        let instance = instance.clone();
        tokio::spawn(async move { instance.invoke(call("c.echo", ""), None).await })
    });
    let calls: Vec<_> = calls.collect();
    let mut replies = Vec::new();
    for call in calls {
        replies.push(call.await.unwrap().unwrap().body);
    }
    replies.dedup();
    assert_eq!(replies.len(), 1, "{replies:?}");
    assert!(replies[0].starts_with(br#"{"most":1,"#));
    let attached = extman_runtime::lanes::Attached::new().unwrap();
    let refused = instance.invoke_attached(&attached, "c.echo", b"").unwrap_err();
    assert_eq!(refused.kind, ErrorKind::Unsupported);
    let instance = Arc::into_inner(instance).unwrap();
    assert_eq!(bench.finished(instance, module).await, Verdict::Unmapped);
}

#[tokio::test]
async fn an_affine_plugin_whose_thread_is_lost_waits_for_that_thread() {
    let bench = Bench::new();
    let module = bench.module(&build::c_fault("affine")).await;
    let settings = InstanceSettings {
        wedge_after: Duration::from_millis(50),
        ..InstanceSettings::default()
    };
    let instance = bench.started(&module, "{}", settings).await;
    let before = instance.invoke(call("c.echo", ""), None).await.unwrap().body;
    let (release, begun) = (
        bench.folder().join("release"),
        bench.folder().join("release.begun"),
    );
    let mut hangs = call("c.echo", release.to_str().unwrap());
    hangs.timeout = Some(Duration::from_millis(500));
    let late = instance.invoke(hangs, None).await.unwrap_err();
    assert_eq!(late.kind, ErrorKind::DeadlineExceeded);
    assert!(begun.exists());
    until_async("the thread is given up", || bench.heard.lost() == [Phase::Invoke]).await;
    for _ in 0..3 {
        let refused = instance.invoke(call("c.echo", ""), None).await.unwrap_err();
        assert_eq!(refused.kind, ErrorKind::NotServing);
        assert!(refused.text.contains("its one thread"), "{refused}");
    }
    assert!(
        instance.destroy().await.is_err(),
        "also this runs on the one thread"
    );
    std::fs::write(release, "").unwrap();
    until_async("it has come back", || bench.heard.late() == [Phase::Invoke]).await;
    let after = instance.invoke(call("c.echo", ""), None).await.unwrap().body;
    assert_eq!(before, after, "the same thread, and one at a time");
    assert_eq!(bench.finished(instance, module).await, Verdict::Unmapped);
}

#[tokio::test]
async fn one_check_at_a_time() {
    let bench = Bench::new();
    let module = bench.module(&build::plugin("faults")).await;
    let (release, begun) = (bench.folder().join("release"), bench.folder().join("begun"));
    let config = serde_json::json!({
        "hazard": "hang", "phase": "check", "times": 1, "release": release, "marker": begun
    });
    let settings = InstanceSettings::default();
    let instance = Arc::new(bench.started(&module, &config.to_string(), settings).await);
    let first = tokio::spawn({
        let instance = instance.clone();
        async move {
            instance
                .check(CheckKind::Readiness, Duration::from_secs(2))
                .await
                .0
        }
    });
    until_async("the check is inside", || begun.exists()).await;
    // Were it asked, it would answer: the hazard happens once.
    assert_eq!(
        instance.check(CheckKind::Liveness, LIMIT).await.0,
        CheckOutcome::Busy
    );
    assert_eq!(first.await.unwrap(), CheckOutcome::TimedOut);
    assert_eq!(
        instance.check(CheckKind::Liveness, LIMIT).await.0,
        CheckOutcome::TimedOut,
        "the one that is late is waited for"
    );
    std::fs::write(release, "").unwrap();
    let give_up = tokio::time::Instant::now() + LIMIT;
    while !matches!(
        instance.check(CheckKind::Liveness, LIMIT).await.0,
        CheckOutcome::Answered { .. }
    ) {
        assert!(tokio::time::Instant::now() < give_up, "it is never asked again");
    }
    let instance = Arc::into_inner(instance).unwrap();
    assert_eq!(bench.finished(instance, module).await, Verdict::Unmapped);
}

#[tokio::test]
async fn an_embedders_thread_calls_inline_and_holds_the_library_until_it_ends() {
    let faulty = Faulty::new(InstanceSettings::default()).await;
    let (called, answered) = std::sync::mpsc::channel();
    let (end, ended) = std::sync::mpsc::channel::<()>();
    let thread = std::thread::spawn({
        let instance = faulty.instance.clone();
        move || {
            let attached = extman_runtime::lanes::Attached::new().unwrap();
            for text in [&b"one"[..], b"two"] {
                let reply = instance.invoke_attached(&attached, "fault.echo", text);
                called.send(reply.map(|reply| reply.body)).unwrap();
            }
            let order = br#"{"hazard": "thread-local"}"#;
            let reply = instance.invoke_attached(&attached, "fault.run", order);
            called.send(reply.map(|reply| reply.body)).unwrap();
            drop((attached, instance, called));
            let _ = ended.recv();
        }
    });
    let replies: Vec<_> = answered.iter().map(|reply| reply.unwrap()).collect();
    assert_eq!(replies, [&b"one"[..], b"two", b""]);
    assert_eq!(faulty.instance.call_metrics().stats().total, 3);
    faulty.instance.destroy().await.unwrap();
    let module = faulty.module.clone();
    drop(faulty.instance);
    let verdict = module.clone().unload(ModuleBudgets::default()).await;
    let held = matches!(
        verdict,
        Verdict::Resident {
            reason: ResidentReason::AttachedThread,
            ..
        }
    );
    assert!(held, "{verdict}");
    end.send(()).unwrap();
    thread.join().unwrap();
    assert_eq!(module.unload(ModuleBudgets::default()).await, Verdict::Unmapped);
}
