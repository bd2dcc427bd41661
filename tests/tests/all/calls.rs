//! Calls that are late, hang, panic, overlap or write too much: what the caller gets, and what becomes of the instance.

use extman::model::{CheckKind, CheckOutcome, ErrorKind, ResidentReason, Verdict};
use extman::runtime::instance::{Call, Instance, InstanceSettings};
use extman::runtime::lanes::{Phase, PoolLimits};
use extman::runtime::loader::Step;
use extman::runtime::module::{Module, ModuleBudgets};
use extman_tests::until::LIMIT;
use extman_tests::{Bench, build, call, until_async};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

const SHORT: Duration = Duration::from_millis(1);

/// An instance of the plugin that misbehaves as it is told to.
struct Faulty {
    bench: Bench,
    module: Arc<Module>,
    instance: Arc<Instance>,
}

impl Faulty {
    async fn new(settings: InstanceSettings) -> Self {
        Self::with(settings, PoolLimits::default()).await
    }

    async fn with(settings: InstanceSettings, limits: PoolLimits) -> Self {
        let bench = Bench::new();
        let plugin = bench.verified(&build::plugin("faults"));
        let module = bench.load(plugin, limits, ModuleBudgets::default()).await;
        let instance = Arc::new(bench.started(&module, "{}", settings).await);
        Faulty {
            bench,
            module,
            instance,
        }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.bench.folder().join(name)
    }

    /// A call that waits for the file `release` and makes the file `begun` first.
    fn hang(&self, release: &Path, begun: &Path) -> Call {
        let order = serde_json::json!({"hazard": "hang", "release": release, "marker": begun});
        call("fault.run", order.to_string())
    }

    async fn echo(&self, text: &str) -> Result<String, ErrorKind> {
        match self.instance.invoke(call("fault.echo", text), None).await {
            Ok(reply) => Ok(String::from_utf8(reply.body).unwrap()),
            Err(error) => Err(error.kind),
        }
    }

    async fn fails(&self, call: Call) -> ErrorKind {
        self.instance.invoke(call, None).await.unwrap_err().kind
    }

    /// Waits until nothing is inside, destroys and unloads.
    async fn unloaded(self) -> Verdict {
        let give_up = tokio::time::Instant::now() + LIMIT;
        while let Err(error) = self.instance.destroy().await {
            assert!(tokio::time::Instant::now() < give_up, "{error}");
        }
        drop(self.instance);
        self.module.unload(ModuleBudgets::default()).await
    }
}

fn wedging_soon() -> InstanceSettings {
    InstanceSettings {
        wedge_after: Duration::from_millis(100),
        ..InstanceSettings::default()
    }
}

fn with_timeout(timeout: Duration, call: Call) -> Call {
    Call {
        timeout: Some(timeout),
        ..call
    }
}

#[tokio::test]
async fn a_deadline_answers_the_caller_and_is_no_wedge() {
    let faulty = Faulty::new(InstanceSettings::default()).await;
    let (release, begun) = (faulty.file("release"), faulty.file("begun"));
    // Once by a call that is inside for sure when its deadline comes, once by one that may not even have begun.
    let inside = with_timeout(Duration::from_millis(200), faulty.hang(&release, &begun));
    assert_eq!(faulty.fails(inside).await, ErrorKind::DeadlineExceeded);
    assert!(begun.exists());
    let slow = call("fault.run", r#"{"hazard": "slow", "ms": 2000}"#);
    assert_eq!(
        faulty.fails(with_timeout(SHORT, slow)).await,
        ErrorKind::DeadlineExceeded
    );
    // The first is still inside: nothing has released it.
    assert_eq!(faulty.echo("next").await.unwrap(), "next");
    assert_eq!(faulty.module.lost_lanes(), 0);
    std::fs::write(release, "").unwrap();
    let heard = faulty.bench.heard.clone();
    assert_eq!(faulty.unloaded().await, Verdict::Unmapped);
    assert!(heard.lost().is_empty(), "{:?}", heard.lost());
}

#[tokio::test]
async fn cancellation_reaches_the_plugin() {
    let faulty = Faulty::new(InstanceSettings::default()).await;
    let order = call("fault.run", r#"{"hazard": "hang-until-cancelled"}"#);
    let at_deadline = with_timeout(Duration::from_millis(50), order);
    assert_eq!(faulty.fails(at_deadline).await, ErrorKind::DeadlineExceeded);

    // Without a deadline in sight: only the caller's going away ends it.
    let begun = faulty.file("begun");
    let order = serde_json::json!({"hazard": "hang-until-cancelled", "marker": begun}).to_string();
    let caller = tokio::spawn({
        let (instance, call) = (faulty.instance.clone(), call("fault.run", order));
        async move { instance.invoke(call, None).await }
    });
    until_async("the call is inside", || begun.exists()).await;
    caller.abort();
    assert!(caller.await.unwrap_err().is_cancelled());
    assert_eq!(faulty.unloaded().await, Verdict::Unmapped);
}

#[tokio::test]
async fn a_call_that_never_returns_costs_its_lane_and_nothing_else() {
    let one_lane = PoolLimits {
        lanes_max: 1,
        ..PoolLimits::default()
    };
    let faulty = Faulty::with(wedging_soon(), one_lane).await;
    let heard = faulty.bench.heard.clone();
    let (release, begun) = (faulty.file("release"), faulty.file("begun"));
    let hang = with_timeout(Duration::from_millis(50), faulty.hang(&release, &begun));
    assert_eq!(faulty.fails(hang).await, ErrorKind::DeadlineExceeded);
    until_async("the lane is given up", || heard.lost() == [Phase::Invoke]).await;
    assert_eq!(faulty.module.lost_lanes(), 1);
    assert_eq!(faulty.echo("next").await.unwrap(), "next");
    assert_eq!(
        faulty.instance.destroy().await.unwrap_err().kind,
        ErrorKind::NotServing
    );

    let verdict = faulty.module.clone().unload(ModuleBudgets::default()).await;
    let Verdict::Resident { reason, culprit } = verdict else {
        panic!("unmapped under a running call")
    };
    assert_eq!(reason, ResidentReason::WedgedCall);
    assert!(culprit.to_string().contains("invoke of tested"), "{culprit}");

    assert!(heard.late().is_empty());
    std::fs::write(release, "").unwrap();
    until_async("the late return is told", || heard.late() == [Phase::Invoke]).await;
    assert_eq!(faulty.module.lost_lanes(), 0);
    assert_eq!(faulty.unloaded().await, Verdict::Unmapped);
}

#[tokio::test]
async fn a_queue_that_is_full_takes_no_more() {
    let limits = PoolLimits {
        queue_max: 1,
        ..PoolLimits::default()
    };
    let one_at_a_time = InstanceSettings {
        concurrency_max: 1,
        ..InstanceSettings::default()
    };
    let faulty = Faulty::with(one_at_a_time, limits).await;
    let (release, begun) = (faulty.file("release"), faulty.file("begun"));
    let spawn = |call: Call| {
        let instance = faulty.instance.clone();
        tokio::spawn(async move { instance.invoke(call, None).await })
    };
    let inside = spawn(faulty.hang(&release, &begun));
    until_async("the call is inside", || begun.exists()).await;
    let waiting = spawn(call("fault.echo", "waited"));
    until_async("the second call waits", || {
        faulty.instance.accounts().in_flight() == 2
    })
    .await;
    assert_eq!(faulty.echo("too many").await, Err(ErrorKind::Exhausted));
    std::fs::write(release, "").unwrap();
    assert!(inside.await.unwrap().is_ok());
    assert_eq!(waiting.await.unwrap().unwrap().body, b"waited");
    assert_eq!(faulty.echo("room").await.unwrap(), "room");
}

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
async fn after_a_panic_the_instance_fails_closed_and_is_destroyed_once() {
    for hazard in ["panic", "panic-in-payload"] {
        let faulty = Faulty::new(InstanceSettings::default()).await;
        let panics = call("fault.run", format!(r#"{{"hazard": "{hazard}"}}"#));
        assert_eq!(faulty.fails(panics).await, ErrorKind::Panicked);
        assert_eq!(faulty.echo("next").await, Err(ErrorKind::Panicked));
        let (outcome, _) = faulty.instance.check(CheckKind::Liveness, LIMIT).await;
        let panicked = matches!(
            outcome,
            CheckOutcome::Failed {
                kind: ErrorKind::Panicked,
                ..
            }
        );
        assert!(panicked, "{outcome:?}");
        let other = faulty
            .bench
            .started(&faulty.module, "{}", InstanceSettings::default())
            .await;
        assert!(other.invoke(call("fault.echo", "other"), None).await.is_ok());
        other.destroy().await.unwrap();
        drop(other);
        faulty.instance.destroy().await.unwrap();
        assert_eq!(faulty.echo("gone").await, Err(ErrorKind::NotServing));
        assert_eq!(faulty.unloaded().await, Verdict::Unmapped);
    }
}

#[tokio::test]
async fn a_panic_in_destroy_is_caught_and_told() {
    let bench = Bench::new();
    let module = bench.module(&build::plugin("faults")).await;
    let config = r#"{"hazard": "panic", "phase": "destroy"}"#;
    let instance = bench.started(&module, config, InstanceSettings::default()).await;
    assert_eq!(bench.finished(instance, module).await, Verdict::Unmapped);
    let logs = bench.heard.logs();
    assert!(
        logs.iter().any(|text| text.contains("panicked: as told")),
        "{logs:?}"
    );
}

#[tokio::test]
async fn a_step_that_hangs_loses_its_lane_too() {
    let bench = Bench::new();
    let module = bench.module(&build::plugin("faults")).await;
    let release = bench.folder().join("release");
    let config = serde_json::json!({"hazard": "hang", "phase": "start", "release": release}).to_string();
    let settings = InstanceSettings {
        start_budget: Duration::from_millis(200),
        ..wedging_soon()
    };
    let instance = bench.created(&module, &config, settings).await.unwrap();
    let failed = instance.step(Step::Start).await.unwrap_err();
    assert_eq!(failed.kind, ErrorKind::DeadlineExceeded);
    let heard = bench.heard.clone();
    until_async("the lane is given up", || heard.lost() == [Phase::Start]).await;
    std::fs::write(release, "").unwrap();
    until_async("the late return is told", || heard.late() == [Phase::Start]).await;
    instance.destroy().await.unwrap();
    drop(instance);
    assert_eq!(module.unload(ModuleBudgets::default()).await, Verdict::Unmapped);
}

#[tokio::test]
async fn what_comes_after_its_time_is_refused_and_harms_nobody() {
    let faulty = Faulty::new(InstanceSettings::default()).await;
    let order = r#"{"hazard": "write-after-return"}"#;
    let reply = faulty
        .instance
        .invoke(call("fault.run", order), None)
        .await
        .unwrap();
    assert_eq!(reply.body, b"");
    assert_eq!(
        last(&faulty.instance, "write-after-return").await["accepted"],
        false
    );

    let release = faulty.file("release");
    let config = serde_json::json!({"hazard": "push-after-destroy", "phase": "destroy", "release": release});
    let doomed = faulty
        .bench
        .started(&faulty.module, &config.to_string(), InstanceSettings::default())
        .await;
    doomed.destroy().await.unwrap();
    std::fs::write(release, "").unwrap();
    assert_eq!(
        last(&faulty.instance, "push-after-destroy").await["accepted"],
        false
    );
    assert!(faulty.bench.heard.reports().is_empty());
    drop(doomed);
    assert_eq!(faulty.unloaded().await, Verdict::Unmapped);
}

/// What `fault.last` says, once it says something of `hazard`.
async fn last(instance: &Instance, hazard: &str) -> serde_json::Value {
    let give_up = tokio::time::Instant::now() + LIMIT;
    loop {
        let reply = instance.invoke(call("fault.last", ""), None).await.unwrap();
        let said: serde_json::Value = serde_json::from_slice(&reply.body).unwrap();
        if said["hazard"] == hazard {
            return said;
        }
        assert!(tokio::time::Instant::now() < give_up, "{said}");
    }
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
