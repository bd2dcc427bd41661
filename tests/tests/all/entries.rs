//! Every entry of the ABI is called by the host: steps with content, calls that hold no thread, cancellation, threads.

use extman_model::{ErrorKind, InputPart, LogLevel, Progress, Reply, Report, RequestExtras, Verdict};
use extman_runtime::instance::{Call, Instance, InstanceSettings};
use extman_runtime::lanes::{Attached, PoolLimits};
use extman_runtime::loader::{Listener, Snapshot, Step};
use extman_runtime::module::{Module, ModuleBudgets};
use extman_tests::until::LIMIT;
use extman_tests::{Bench, build, call, until_async};
use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

async fn module(bench: &Bench) -> Arc<Module> {
    bench.module(&build::c_fault("every-entry")).await
}

async fn counts(instance: &Instance) -> serde_json::Value {
    let reply = instance.invoke(call("c.echo", ""), None).await.unwrap();
    serde_json::from_slice(&reply.body).unwrap()
}

#[tokio::test]
async fn each_step_of_the_lifecycle_is_called_with_what_it_needs() {
    let bench = Bench::new();
    let module = module(&bench).await;
    let settings = InstanceSettings::default;
    let old = bench.started(&module, r#"{"a":1}"#, settings()).await;
    let half_way = Progress {
        done: 1,
        total: Some(2),
        text: "half way".to_owned(),
    };
    assert_eq!(bench.heard.progress(), [half_way]);
    old.configure(r#"{"a":2}"#).await.unwrap();
    let too_long = format!(r#"{{"a":"{}"}}"#, "x".repeat(200));
    let refused = old.configure(&too_long).await.unwrap_err();
    assert_eq!(
        (refused.kind, &*refused.text),
        (ErrorKind::Configuration, "too long")
    );
    assert_eq!(
        counts(&old).await["config"]["a"],
        2,
        "it goes on with the old one"
    );
    old.step(Step::Drain).await.unwrap();
    let left = old.snapshot(7).await.unwrap();
    let state = br#"{"a":2}"#.to_vec();
    assert_eq!(left, Snapshot { format: 7, state });
    let too_large = old.snapshot(6).await.unwrap_err();
    assert_eq!(
        (too_large.kind, &*too_large.text),
        (ErrorKind::Exhausted, "it is larger than 6 bytes")
    );

    let new = bench.created(&module, "{}", settings()).await.unwrap();
    let strange = Snapshot {
        format: 8,
        ..left.clone()
    };
    let refused = new.restore(Arc::new(strange), "0.9.0").await.unwrap_err();
    assert_eq!(refused.kind, ErrorKind::DataLoss);
    new.restore(Arc::new(left), "0.9.0").await.unwrap();
    new.step(Step::Start).await.unwrap();
    assert_eq!(counts(&new).await["config"]["a"], 2);
    for instance in [old, new] {
        instance.step(Step::Stop).await.unwrap();
        let told = instance.destroy().await.unwrap().expect("what the plugin says");
        assert_eq!(
            (told.kind, &*told.text),
            (ErrorKind::Unavailable, "a connection is left")
        );
    }
    assert_eq!(module.unload(ModuleBudgets::default()).await, Verdict::Unmapped);
}

#[tokio::test]
async fn metadata_and_parts_reach_the_plugin_and_metadata_comes_back() {
    let bench = Bench::new();
    let module = module(&bench).await;
    let instance = bench.started(&module, "{}", InstanceSettings::default()).await;
    let tenant = ("tenant".to_owned(), "t1".to_owned());
    let extras = RequestExtras {
        metadata: vec![tenant.clone()],
        parts: vec![InputPart::default(), InputPart::default()],
        ..RequestExtras::NONE
    };
    let asked = Call {
        extras,
        ..call("c.echo", "")
    };
    let reply = instance.invoke(asked, None).await.unwrap();
    assert_eq!(reply.metadata, [tenant]);
    let said: serde_json::Value = serde_json::from_slice(&reply.body).unwrap();
    assert_eq!(said["parts"], 2);
}

const IN_FLIGHT: usize = 10_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_calls_are_in_flight_on_two_lanes() {
    let bench = Bench::new();
    let limits = PoolLimits {
        lanes_max: 2,
        queue_max: IN_FLIGHT,
        ..PoolLimits::default()
    };
    let plugin = bench.verified(&build::c_fault("every-entry"));
    let module = bench.load(plugin, limits, ModuleBudgets::default()).await;
    let settings = InstanceSettings {
        call_timeout: Duration::from_secs(300),
        ..InstanceSettings::default()
    };
    let instance = Arc::new(bench.started(&module, "{}", settings).await);
    let caller = |input: &'static str| {
        let instance = instance.clone();
        tokio::spawn(async move { instance.invoke(call("c.wait", input), None).await })
    };
    let calls: Vec<_> = (0..IN_FLIGHT).map(|_| caller("wait")).collect();
    loop {
        let now = counts(&instance).await;
        if now["waiting"] == IN_FLIGHT {
            assert!(
                now["attached"].as_u64().unwrap() <= 3,
                "two lanes for calls, one for steps: {now}"
            );
            break;
        }
        tokio::task::yield_now().await;
    }
    assert_eq!(instance.call_metrics().in_flight(), IN_FLIGHT as u64);
    until_async("no thread is inside", || instance.inside() == 0).await;
    caller("release").await.unwrap().unwrap();
    for call in calls {
        let Reply { body, usage, .. } = call.await.unwrap().unwrap();
        assert_eq!((&*body, usage.tokens_reasoning), (&b"done"[..], Some(3)));
    }
    assert_eq!(instance.call_metrics().in_flight(), 0);
}

#[tokio::test]
async fn a_call_that_is_not_taken_ends_with_what_the_plugin_says() {
    let bench = Bench::new();
    let module = module(&bench).await;
    let instance = bench.started(&module, "{}", InstanceSettings::default()).await;
    let refused = instance.invoke(call("c.wait", "refuse"), None).await.unwrap_err();
    assert_eq!(
        (refused.kind, &*refused.text),
        (ErrorKind::RateLimited, "not now")
    );
}

#[tokio::test]
async fn a_call_in_flight_is_cancelled_by_its_deadline_and_by_its_caller() {
    let bench = Bench::new();
    let module = module(&bench).await;
    let instance = Arc::new(bench.started(&module, "{}", InstanceSettings::default()).await);
    let short = Call {
        timeout: Some(Duration::from_millis(50)),
        ..call("c.wait", "wait")
    };
    let late = instance.invoke(short, None).await.unwrap_err();
    assert_eq!(late.kind, ErrorKind::DeadlineExceeded);
    let told = async |cancels: u64| {
        while counts(&instance).await["cancels"] != cancels {
            tokio::task::yield_now().await;
        }
    };
    told(1).await;
    let leaves = tokio::spawn({
        let instance = instance.clone();
        async move { instance.invoke(call("c.wait", "wait"), None).await }
    });
    while counts(&instance).await["waiting"] != 1 {
        tokio::task::yield_now().await;
    }
    leaves.abort();
    told(2).await;
    let now = counts(&instance).await;
    assert_eq!((&now["waiting"], &now["late"]), (&0.into(), &2.into()), "{now}");
    assert_eq!(instance.call_metrics().in_flight(), 0);
}

#[tokio::test]
async fn a_call_that_is_completed_in_a_submit_that_hangs_is_answered_at_once() {
    let bench = Bench::new();
    let release = bench.folder().join("release");
    let module = module(&bench).await;
    let config = format!(r#"{{"hold":"{}"}}"#, release.display());
    let instance = Arc::new(bench.started(&module, &config, InstanceSettings::default()).await);
    // As long as it would hang.
    let stays = Call {
        timeout: Some(10 * LIMIT),
        ..call("c.wait", "stay")
    };
    let called = instance.invoke(stays, None);
    let answered = tokio::time::timeout(LIMIT, called).await;
    answered
        .expect("nobody waits for the lane")
        .expect("it is completed");
    assert_eq!((instance.inside(), instance.call_metrics().in_flight()), (1, 0));
    std::fs::write(&release, "").unwrap();
    until_async("it has come back", || instance.inside() == 0).await;
}

#[tokio::test]
async fn notices_of_cancelled_calls_take_one_lane_and_are_bounded_while_the_plugin_takes_none() {
    const CALLS: usize = 3000;
    const TOLD_AT_MOST: u64 = 1 + 1024;
    let bench = Bench::new();
    let release = bench.folder().join("release");
    let plugin = bench.verified(&build::c_fault("every-entry"));
    let limits = PoolLimits {
        lanes_max: 2,
        queue_max: CALLS,
        ..PoolLimits::default()
    };
    let module = bench.load(plugin, limits, ModuleBudgets::default()).await;
    let config = format!(r#"{{"hold":"{}"}}"#, release.display());
    let instance = Arc::new(bench.started(&module, &config, InstanceSettings::default()).await);
    let calls: Vec<_> = (0..CALLS)
        .map(|_| {
            let instance = instance.clone();
            tokio::spawn(async move { instance.invoke(call("c.wait", "wait"), None).await })
        })
        .collect();
    while counts(&instance).await["waiting"] != CALLS {
        tokio::task::yield_now().await;
    }
    calls.iter().for_each(|call| call.abort());
    for call in calls {
        assert!(call.await.unwrap_err().is_cancelled());
    }
    until_async("a notice is inside", || instance.inside() > 0).await;
    let lanes = &instance.lanes();
    assert!(
        lanes.queued() == 0 && lanes.lanes() <= 3 && instance.inside() == 1,
        "{} wait, {} are inside, on {} lanes",
        lanes.queued(),
        instance.inside(),
        lanes.lanes()
    );
    std::fs::write(&release, "").unwrap();
    while counts(&instance).await["cancels"] != TOLD_AT_MOST {
        tokio::task::yield_now().await;
    }
    until_async("no notice is inside", || instance.inside() == 0).await;
    assert_eq!(counts(&instance).await["cancels"], TOLD_AT_MOST);
}

#[tokio::test]
async fn a_page_that_never_comes_stalls_the_call_that_lent_it_and_nobody_else() {
    let bench = Bench::new();
    let release = bench.folder().join("release");
    let module = bench.module(&build::c_fault("page-that-never-comes")).await;
    let instance = bench.started(&module, "{}", InstanceSettings::default()).await;
    for _ in 0..2 {
        let stalled = Call {
            timeout: Some(Duration::from_millis(50)),
            ..call("c.echo", release.to_str().unwrap())
        };
        let late = instance.invoke(stalled, None).await.unwrap_err();
        assert_eq!(late.kind, ErrorKind::DeadlineExceeded, "{late}");
    }
    let reply = instance.invoke(call("c.echo", ""), None).await.unwrap();
    assert_eq!(reply.body, b"");
    std::fs::write(&release, "").unwrap();
    until_async("the calls have come back", || instance.inside() == 0).await;
    assert_eq!(bench.finished(instance, module).await, Verdict::Unmapped);
}

async fn on_lanes(bench: &Bench, limits: PoolLimits) -> (Arc<Module>, Arc<Instance>) {
    let plugin = bench.verified(&build::c_fault("every-entry"));
    let module = bench.load(plugin, limits, ModuleBudgets::default()).await;
    let instance = Arc::new(bench.started(&module, "{}", InstanceSettings::default()).await);
    (module, instance)
}

#[tokio::test]
async fn lane_is_attached_once_and_an_embedders_thread_until_its_guard_ends() {
    let bench = Bench::new();
    let limits = PoolLimits {
        lanes_max: 1,
        ..PoolLimits::default()
    };
    let (module, instance) = on_lanes(&bench, limits).await;
    let first = counts(&instance).await;
    for _ in 0..20 {
        assert_eq!(counts(&instance).await["attaches"], first["attaches"]);
    }
    let calls = instance.clone();
    let called = std::thread::spawn(move || {
        let attached = Attached::new().unwrap();
        let call = |_| calls.invoke_attached(&attached, "c.echo", b"").unwrap().body;
        let said: [Vec<u8>; 3] = std::array::from_fn(call);
        said.map(|said| serde_json::from_slice::<serde_json::Value>(&said).unwrap())
    });
    let once_more = first["attaches"].as_u64().unwrap() + 1;
    for said in called.join().unwrap() {
        assert_eq!(said["attaches"], once_more);
    }
    let now = counts(&instance).await;
    assert_eq!(now["attached"], first["attached"], "its guard has ended");
    instance.step(Step::Stop).await.unwrap();
    instance.destroy().await.unwrap();
    drop(instance);
    assert_eq!(module.unload(ModuleBudgets::default()).await, Verdict::Unmapped);
}

#[tokio::test]
async fn lane_that_ends_is_detached() {
    let bench = Bench::new();
    let limits = PoolLimits {
        lanes_max: 1,
        idle_max: Duration::ZERO,
        idle_kept: 0,
        ..PoolLimits::default()
    };
    let (_module, instance) = on_lanes(&bench, limits).await;
    let mut calls = 0;
    loop {
        calls += 1;
        let now = counts(&instance).await;
        let (attaches, attached) = (&now["attaches"], &now["attached"]);
        if calls > 5 && attaches.as_u64().unwrap() > 5 && *attached == 1 {
            break;
        }
    }
}

/// The thread's guard, whom to call, and what it answered.
type Inner = (Rc<Attached>, Arc<Instance>, Option<Vec<u8>>);

thread_local! {
    /// What a call on this thread calls in turn, when its plugin logs.
    static INNER: RefCell<Option<Inner>> = const { RefCell::new(None) };
}

/// An embedder that calls a plugin again from inside a call on the same thread.
struct CallsAgain;

impl Listener for CallsAgain {
    fn log(&self, _: LogLevel, _: &str, _: &str, _: &str) {
        INNER.with_borrow_mut(|inner| {
            if let Some((attached, instance, answer)) = inner
                && answer.is_none()
            {
                *answer = Some(
                    instance
                        .invoke_attached(attached, "fault.echo", b"inner")
                        .unwrap()
                        .body,
                );
            }
        });
    }

    fn keeps(&self, _: LogLevel) -> bool {
        true
    }

    fn progress(&self, _: Progress) {}

    fn health(&self, _: Report) {}
}

#[tokio::test]
async fn an_attached_call_inside_another_leaves_that_one_its_output() {
    let bench = Bench::new();
    let module = bench.module(&build::plugin("faults")).await;
    let settings = InstanceSettings::default;
    let inner = Arc::new(bench.started(&module, "{}", settings()).await);
    // It logs, then echoes.
    let config = r#"{"hazard": "flood-log", "phase": "invoke", "count": 1}"#;
    let listener = Arc::new(CallsAgain);
    let outer = Instance::create(module, "outer", config, listener, settings())
        .await
        .unwrap();
    outer.step(Step::Start).await.unwrap();
    let said = std::thread::spawn(move || {
        let attached = Rc::new(Attached::new().unwrap());
        INNER.set(Some((attached.clone(), inner, None)));
        let reply = outer.invoke_attached(&attached, "fault.echo", b"outer");
        let (_, _, inner) = INNER.take().unwrap();
        (reply.unwrap().body, inner.unwrap())
    });
    assert_eq!(said.join().unwrap(), (b"outer".to_vec(), b"inner".to_vec()));
}
