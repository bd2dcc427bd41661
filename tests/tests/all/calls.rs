//! Calls that are late, hang, panic, overlap or write too much: what the caller gets, and what becomes of the instance.

use crate::faulty::Faulty;
use extman_model::{CheckKind, CheckOutcome, ErrorKind, ResidentReason, Verdict};
use extman_runtime::instance::{Call, Instance, InstanceSettings};
use extman_runtime::lanes::{Attached, Phase, PoolLimits};
use extman_runtime::loader::Step;
use extman_runtime::module::ModuleBudgets;
use extman_tests::until::LIMIT;
use extman_tests::{Bench, build, call, until_async};
use std::time::Duration;

const SHORT: Duration = Duration::from_millis(1);
/// Enough for a call to have begun.
const LONG: Duration = Duration::from_secs(1);

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
    let inside = with_timeout(LONG, faulty.hang(&release, &begun));
    assert_eq!(faulty.fails(inside).await, ErrorKind::DeadlineExceeded);
    assert!(begun.exists());
    assert_eq!(faulty.instance.unreturned().map(|late| late.calls), Some(1));
    let slow = call("fault.run", r#"{"hazard": "slow", "ms": 2000}"#);
    assert_eq!(
        faulty.fails(with_timeout(SHORT, slow)).await,
        ErrorKind::DeadlineExceeded
    );
    // The first is still inside: nothing has released it.
    assert_eq!(faulty.echo("next").await.unwrap(), "next");
    assert_eq!(faulty.module.lost_lanes(), 0);
    std::fs::write(release, "").unwrap();
    until_async("both have returned", || faulty.instance.unreturned().is_none()).await;
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
    let stats = faulty.instance.call_metrics().stats();
    assert_eq!(stats.errors.get(&ErrorKind::Cancelled), Some(&1), "{stats:?}");
    assert_eq!((stats.total, stats.in_flight), (2, 0), "{stats:?}");
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
    let hang = with_timeout(LONG, faulty.hang(&release, &begun));
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
    assert!(
        culprit.to_string().contains("invoke (fault.run) of tested"),
        "{culprit}"
    );

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
        faulty.instance.call_metrics().in_flight() == 2
    })
    .await;
    assert_eq!(faulty.echo("too many").await, Err(ErrorKind::Exhausted));
    let counts = faulty.instance.call_metrics().counts();
    assert_eq!((counts.blamed, counts.excused), (0, 1), "the queue is the host's");
    std::fs::write(release, "").unwrap();
    assert!(inside.await.unwrap().is_ok());
    assert_eq!(waiting.await.unwrap().unwrap().body, b"waited");
    assert_eq!(faulty.echo("room").await.unwrap(), "room");
}

#[tokio::test]
async fn attached_call_that_finds_no_room_says_nothing_of_the_plugin() {
    let settings = InstanceSettings {
        concurrency_max: 1,
        call_timeout: Duration::from_millis(50),
        ..InstanceSettings::default()
    };
    let faulty = Faulty::with(settings, PoolLimits::default()).await;
    let (release, begun) = (faulty.file("release"), faulty.file("begun"));
    let inside = tokio::spawn({
        let instance = faulty.instance.clone();
        let hang = with_timeout(Duration::from_secs(60), faulty.hang(&release, &begun));
        async move { instance.invoke(hang, None).await }
    });
    until_async("the call is inside", || begun.exists()).await;
    let instance = faulty.instance.clone();
    let refused = std::thread::spawn(move || {
        let attached = Attached::new().unwrap();
        instance.invoke_attached(&attached, "fault.echo", b"too many")
    });
    let refused = refused.join().unwrap().unwrap_err();
    assert_eq!(refused.kind, ErrorKind::Exhausted, "{refused}");
    let counts = faulty.instance.call_metrics().counts();
    assert_eq!((counts.blamed, counts.excused, counts.failed_run), (0, 1, 0));
    std::fs::write(release, "").unwrap();
    assert!(inside.await.unwrap().is_ok());
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
    let told = instance.destroy().await.unwrap().expect("what went wrong");
    assert_eq!(
        (told.kind, &*told.text),
        (ErrorKind::Panicked, "panicked: as told")
    );
    assert_eq!(instance.destroy().await, Ok(None), "once");
    drop(instance);
    assert_eq!(module.unload(ModuleBudgets::default()).await, Verdict::Unmapped);
}

#[tokio::test]
async fn a_step_that_hangs_loses_its_lane_too() {
    let bench = Bench::new();
    let module = bench.module(&build::plugin("faults")).await;
    let release = bench.folder().join("release");
    let config = serde_json::json!({"hazard": "hang", "phase": "start", "release": release}).to_string();
    let settings = InstanceSettings {
        start_budget: LONG,
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
