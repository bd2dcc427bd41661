//! Which calls may overlap, and on which threads they come.

use crate::faulty::Faulty;
use extman::model::{CheckKind, CheckOutcome, ErrorKind, ResidentReason, Verdict};
use extman::runtime::instance::InstanceSettings;
use extman::runtime::module::ModuleBudgets;
use extman_tests::until::LIMIT;
use extman_tests::{Bench, build, call, until_async};
use std::sync::Arc;

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
        begun.exists() && instance.accounts().in_flight() == 4
    })
    .await;
    for kind in [CheckKind::Liveness, CheckKind::Readiness] {
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
    let attached = extman::runtime::lanes::Attached::new().unwrap();
    let refused = instance.invoke_attached(&attached, "c.echo", b"").unwrap_err();
    assert_eq!(refused.kind, ErrorKind::Unsupported);
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
            let attached = extman::runtime::lanes::Attached::new().unwrap();
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
    assert_eq!(faulty.instance.accounts().stats().total, 3);
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
