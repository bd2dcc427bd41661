//! Who serves a call where several could, what the reply says of that, and what becomes of calls whose first choice fails.

use crate::answers::plugin;
use crate::served::Place;
use extman::config::{AllDown, BreakerConfig, Config, RoutingConfig};
use extman::control::{Invocation, Invoked};
use extman::{Attached, Host, InstanceConfig};
use extman_model::{CallError, CallLimits, ErrorKind, Event, Health, RequestExtras, What};
use extman_runtime::instance::Instance;
use extman_tests::until::{LIMIT, until_async};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::broadcast::Receiver;
use tokio::task::JoinHandle;

const SHARED: &str = "[[capability]]\nname = \"shared.ask\"\n";
const EMBED: &str = "[[capability]]\nname = \"text.embed\"\n";
const IDEMPOTENT: &str = "[[capability]]\nname = \"shared.ask\"\nidempotent = true\n";

/// A host with `first`, whose calls fail with this status until it is well, and maybe with `second` beside it.
struct Pair {
    host: Host,
    well: PathBuf,
    _place: Place,
}

impl Pair {
    async fn begin(declared: &'static str, status: &str, routing: RoutingConfig, is_alone: bool) -> Self {
        let second = (!is_alone).then(|| InstanceConfig::default_for("second"));
        Pair::of(declared, &fails(status), routing, second).await
    }

    /// The first one runs this C code at the beginning of its calls until it is well.
    async fn of(
        declared: &'static str,
        unwell: &str,
        routing: RoutingConfig,
        second: Option<InstanceConfig>,
    ) -> Self {
        let config = Config {
            routing,
            ..Config::default()
        };
        let first = InstanceConfig {
            priority: 10,
            ..InstanceConfig::default_for("first")
        };
        Pair::with(declared, [unwell, ""], config, first, second).await
    }

    /// The same, configured so; each of the two plugins runs its code.
    async fn with(
        declared: &'static str,
        unwell: [&str; 2],
        mut config: Config,
        first: InstanceConfig,
        others: impl IntoIterator<Item = InstanceConfig>,
    ) -> Self {
        let instances: Vec<_> = std::iter::once(first).chain(others).collect();
        let place = Place::default();
        let well = place.path().join("well");
        let [code, code_of_second] = unwell.map(|unwell| {
            let code = format!("if (access(WELL, F_OK) != 0) {{ {unwell} }}");
            code.replace("WELL", &format!("{well:?}"))
        });
        let first = plugin("first", "1.0.0", "one").declares(declared).in_invoke(code);
        place.put(&first.build(place.path()), "first.so");
        if instances.len() > 1 {
            let second = plugin("second", "1.0.0", "two")
                .declares(declared)
                .in_invoke(code_of_second);
            place.put(&second.build(place.path()), "second.so");
        }
        (config.history.enabled, config.state.dir) = (false, None);
        config.instances = instances;
        let builder = Host::builder().config(config).dir(place.plugins());
        let builder = builder.store_dir(place.path().join("store"));
        let host = builder.vetting(false).build().await.expect("a host");
        host.wait_ready().await;
        // One of which nothing is known yet is not the first choice.
        until_async("all are up", || {
            let plugins = host
                .snapshot()
                .all()
                .map(|entry| entry.name.to_string())
                .collect::<Vec<_>>();
            let health = |name: &String| Some(host.plugin(name).ok()?.health?.judged.health);
            plugins.iter().all(|name| health(name) == Some(Health::Up))
        })
        .await;
        // That is shown a moment before calls go by it.
        until_async("calls go to the first one", || {
            let snapshot = host.snapshot();
            let first = snapshot.get("first").expect("it is there");
            let route = snapshot.route("shared.ask").expect("it is offered");
            !route.has_stand_in_for(&first)
        })
        .await;
        Pair {
            host,
            well,
            _place: place,
        }
    }

    async fn call(&self) -> Result<Invoked, CallError> {
        self.host.invoke_raw(invocation()).await
    }

    /// The same on a thread of the caller's.
    async fn call_attached(&self) -> Result<Invoked, CallError> {
        let host = self.host.clone();
        let called = tokio::task::spawn_blocking(move || {
            let attached = Attached::new().expect("a context");
            host.invoke_attached(&attached, "shared.ask", b"{}")
        });
        called.await.expect("it has called")
    }

    /// How many calls of the first one have ended.
    fn calls_of_first(&self) -> u64 {
        self.first().call_metrics().counts().ended
    }

    fn first(&self) -> Arc<Instance> {
        let snapshot = self.host.snapshot();
        let entry = snapshot.get("first").expect("it is there");
        entry.serving.clone().expect("it runs").0
    }

    /// A call that waits in the first one, which has so many then. One that came before there was room is made again.
    async fn begin_call(&self, in_flight: u64) -> JoinHandle<Result<Invoked, CallError>> {
        let call = || {
            let host = self.host.clone();
            tokio::spawn(async move { host.invoke_raw(invocation()).await })
        };
        let mut waiting = call();
        until_async("a call is under way", || {
            if waiting.is_finished() {
                waiting = call();
            }
            self.first().call_metrics().in_flight() == in_flight
        })
        .await;
        waiting
    }
}

fn invocation() -> Invocation {
    Invocation {
        capability: "shared.ask".to_owned(),
        instance: None,
        content_type: "application/json".to_owned(),
        body: b"{}".to_vec(),
        timeout: None,
        extras: RequestExtras::NONE,
    }
}

/// Its calls do not return until it is well.
const HANGS: &str = "while (access(WELL, F_OK) != 0) { usleep(1000); }";

fn fails(status: &str) -> String {
    format!("return extman_fail(error, EXTMAN_STATUS_{status}, \"as told\");")
}

fn opens_for(open_ms: u64) -> RoutingConfig {
    RoutingConfig {
        breaker: BreakerConfig {
            open_ms,
            open_max_ms: open_ms,
            ..BreakerConfig::default()
        },
        ..RoutingConfig::default()
    }
}

/// Longer than any test takes.
const FOR_EVER_MS: u64 = 86_400_000;

/// Calls until the second one serves; then has the first one be well, which is preferred again.
async fn fails_over_and_back(call: impl AsyncFn(&Pair) -> Result<Invoked, CallError>) {
    let pair = Pair::begin(SHARED, "INTERNAL", opens_for(100), false).await;
    let give_up = Instant::now() + LIMIT;
    let mut failed = 0;
    let stands_in = loop {
        match call(&pair).await {
            Ok(invoked) => break invoked,
            Err(error) => assert_eq!(error.kind, ErrorKind::Internal, "{error}"),
        }
        failed += 1;
        assert!(Instant::now() < give_up, "{failed} calls failed");
    };
    assert!(failed >= 5, "fewer calls say nothing: {failed}");
    assert_eq!(&*stands_in.served_by, "second");
    assert_eq!(
        stands_in.degraded.as_deref(),
        Some("first failed its latest calls")
    );
    std::fs::write(&pair.well, "").expect("written");
    loop {
        let invoked = call(&pair).await;
        if invoked.is_ok_and(|invoked| &*invoked.served_by == "first" && invoked.degraded.is_none()) {
            break;
        }
        assert!(Instant::now() < give_up, "it is not called again");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    pair.host.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn instance_that_fails_its_calls_is_skipped_and_preferred_again_once_they_succeed() {
    fails_over_and_back(async |pair| pair.call().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn instance_that_fails_attached_calls_is_skipped_and_preferred_again_once_they_succeed() {
    fails_over_and_back(async |pair| pair.call_attached().await).await;
}

async fn slow_calls_fail_over(call: impl AsyncFn(&Pair) -> Result<Invoked, CallError>) {
    let mut routing = opens_for(FOR_EVER_MS);
    routing.breaker.slow_ms = Some(1);
    let second = InstanceConfig::default_for("second");
    let pair = Pair::of(SHARED, "usleep(3000);", routing, Some(second)).await;
    for _ in 0..5 {
        let invoked = call(&pair).await.expect("it is slow");
        assert_eq!(&*invoked.served_by, "first");
    }
    let invoked = call(&pair).await.expect("the other one is not");
    assert_eq!(&*invoked.served_by, "second");
    pair.host.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn instance_whose_calls_are_slow_is_skipped() {
    slow_calls_fail_over(async |pair| pair.call().await).await;
    slow_calls_fail_over(async |pair| pair.call_attached().await).await;
}

/// What has no room left for its answer may have done all that was asked of it.
#[tokio::test(flavor = "multi_thread")]
async fn call_on_trial_that_may_have_been_done_is_not_made_again() {
    let unwell = format!(
        "static int calls; if (calls++ < 5) {{ {} }} {}",
        fails("INTERNAL"),
        fails("RESOURCE_EXHAUSTED")
    );
    let second = InstanceConfig::default_for("second");
    let pair = Pair::of(SHARED, &unwell, opens_for(10), Some(second)).await;
    let give_up = Instant::now() + LIMIT;
    loop {
        let called = pair.call().await;
        if called.is_err_and(|error| error.kind == ErrorKind::Exhausted) {
            break;
        }
        assert!(Instant::now() < give_up, "no call on trial was its caller's");
    }
    pair.host.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn instance_is_tried_again_though_one_in_maintenance_comes_before_it() {
    let second = InstanceConfig {
        priority: 20,
        maintenance: true,
        ..InstanceConfig::default_for("second")
    };
    let pair = Pair::of(SHARED, &fails("INTERNAL"), opens_for(10), Some(second)).await;
    let give_up = Instant::now() + LIMIT;
    while pair
        .call()
        .await
        .map_or("first".into(), |invoked| invoked.served_by)
        != "second".into()
    {
        assert!(Instant::now() < give_up, "its breaker does not open");
    }
    std::fs::write(&pair.well, "").expect("written");
    while pair
        .call()
        .await
        .is_ok_and(|invoked| &*invoked.served_by == "second")
    {
        assert!(Instant::now() < give_up, "it is not called again");
    }
    pair.host.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn open_breaker_keeps_all_calls_away() {
    let pair = Pair::begin(SHARED, "INTERNAL", opens_for(FOR_EVER_MS), false).await;
    for _ in 0..5 {
        let error = pair.call().await.expect_err("it fails");
        assert_eq!(error.kind, ErrorKind::Internal, "{error}");
    }
    for _ in 0..50 {
        let invoked = pair.call().await.expect("the other one serves");
        assert_eq!((&*invoked.served_by, invoked.attempts), ("second", 1));
    }
    assert_eq!(pair.calls_of_first(), 5);
    pair.host.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn breaker_of_a_busy_instance_stays_closed() {
    let pair = Pair::begin(SHARED, "RATE_LIMITED", opens_for(FOR_EVER_MS), true).await;
    // Eight calls of ten are turned away, more than the breaker needs, and fewer in a row than make its health down.
    for _ in 0..2 {
        for _ in 0..4 {
            let error = pair.call().await.expect_err("it is busy");
            assert_eq!(error.kind, ErrorKind::RateLimited, "{error}");
        }
        std::fs::write(&pair.well, "").expect("written");
        pair.call().await.expect("an answer");
        std::fs::remove_file(&pair.well).expect("removed");
    }
    assert_eq!(pair.calls_of_first(), 10);
    assert!(pair.first().breaker().is_closed());
    pair.host.shutdown().await;
}

/// Two that are equals.
async fn equals(unwell: &str) -> Pair {
    let [first, second] = ["first", "second"].map(InstanceConfig::default_for);
    Pair::with(SHARED, [unwell, ""], Config::default(), first, Some(second)).await
}

async fn calls_are_shared(call: impl AsyncFn(&Pair) -> Result<Invoked, CallError>) {
    let pair = equals("").await;
    // Who serves is chosen a moment after it is shown to be up.
    let give_up = Instant::now() + LIMIT;
    while call(&pair).await.expect("an answer").degraded.is_some() {
        assert!(Instant::now() < give_up, "one stays unknown to be well");
    }
    let mut served = BTreeMap::new();
    for _ in 0..100 {
        let invoked = call(&pair).await.expect("an answer");
        assert_eq!(invoked.degraded, None, "each is as good as the other");
        *served.entry(invoked.served_by.to_string()).or_insert(0) += 1;
    }
    // By chance alone once in some 10^12 runs.
    assert!(
        served.len() == 2 && served.values().all(|calls| *calls > 15),
        "{served:?}"
    );
    pair.host.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn equal_instances_share_the_calls() {
    calls_are_shared(async |pair| pair.call().await).await;
    calls_are_shared(async |pair| pair.call_attached().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn instance_with_more_calls_under_way_than_its_equal_gets_no_further_ones() {
    let pair = equals(HANGS).await;
    // It gets this one, or the other one is drawn and answers.
    let mut hanging = None;
    let give_up = Instant::now() + LIMIT;
    while hanging.is_none() {
        let host = pair.host.clone();
        let mut call = tokio::spawn(async move { host.invoke_raw(invocation()).await });
        let hangs = until_async("it hangs or is answered", || {
            call.is_finished() || pair.first().call_metrics().in_flight() == 1
        });
        hangs.await;
        hanging = match call.is_finished() {
            true => (&mut call).await.expect("it has called").err().map(|_| call),
            false => Some(call),
        };
        assert!(Instant::now() < give_up, "the first one is never drawn");
    }
    for _ in 0..50 {
        let invoked = pair.call().await.expect("an answer");
        assert_eq!(&*invoked.served_by, "second");
        let invoked = pair.call_attached().await.expect("an answer");
        assert_eq!(&*invoked.served_by, "second");
    }
    std::fs::write(&pair.well, "").expect("written");
    let hanging = hanging.expect("it hangs").await.expect("it has called");
    assert_eq!(&*hanging.expect("it is well").served_by, "first");
    pair.host.shutdown().await;
}

/// Of one lane and one place in the queue of each.
fn narrow() -> Config {
    let mut config = Config::default();
    (config.lanes.per_module_max, config.lanes.queue_max) = (1, 1);
    config
}

#[tokio::test(flavor = "multi_thread")]
async fn call_that_finds_no_room_goes_to_the_next_instance_and_the_busy_one_is_not_held_to_be_ill() {
    let first = InstanceConfig {
        priority: 10,
        ..InstanceConfig::default_for("first")
    };
    let second = InstanceConfig::default_for("second");
    let pair = Pair::with(SHARED, [HANGS, ""], narrow(), first, Some(second)).await;
    let waiting = [pair.begin_call(1).await, pair.begin_call(2).await];
    for _ in 0..20 {
        let invoked = pair.call().await.expect("the next one has room");
        assert_eq!((&*invoked.served_by, invoked.attempts), ("second", 1));
        assert_eq!(invoked.degraded.as_deref(), Some("first is busy"));
    }
    let mut stream = pair
        .host
        .invoke_streamed(invocation())
        .expect("the next one has room");
    assert_eq!(&*stream.served_by, "second");
    while stream.frames.next().await.is_some() {}
    let first = pair.first();
    assert!(first.breaker().is_closed());
    assert_eq!(
        first.call_metrics().errors().map(|(_, count)| count).sum::<u64>(),
        0
    );
    std::fs::write(&pair.well, "").expect("written");
    for call in waiting {
        let invoked = call.await.expect("it has called").expect("an answer");
        assert_eq!(&*invoked.served_by, "first");
    }
    drop(first);
    pair.host.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn call_that_finds_no_room_anywhere_is_refused_as_busy_and_none_that_is_down_is_called_for_it() {
    let first = InstanceConfig {
        priority: 10,
        ..InstanceConfig::default_for("first")
    };
    let config = Config {
        routing: opens_for(FOR_EVER_MS),
        ..narrow()
    };
    let fails = fails("INTERNAL");
    let second = InstanceConfig::default_for("second");
    let pair = Pair::with(SHARED, [HANGS, &fails], config, first, Some(second)).await;
    for _ in 0..5 {
        let by_name = Invocation {
            instance: Some("second".to_owned()),
            ..invocation()
        };
        pair.host
            .invoke_raw(by_name)
            .await
            .map(|_| ())
            .expect_err("it fails");
    }
    let waiting = [pair.begin_call(1).await, pair.begin_call(2).await];
    let error = pair.call().await.map(|_| ()).expect_err("nobody has room");
    assert_eq!(error.kind, ErrorKind::Exhausted, "{error}");
    std::fs::write(&pair.well, "").expect("written");
    for call in waiting {
        call.await.expect("it has called").expect("an answer");
    }
    pair.host.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn idempotent_call_that_fails_is_answered_by_another_instance() {
    for status in ["INTERNAL", "UNAVAILABLE", "RATE_LIMITED"] {
        let pair = Pair::begin(IDEMPOTENT, status, opens_for(FOR_EVER_MS), false).await;
        let invoked = pair.call().await.expect("no caller sees the failure");
        assert_eq!((&*invoked.served_by, invoked.attempts), ("second", 2), "{status}");
        assert_eq!(invoked.degraded.as_deref(), Some("first failed this call"));
        let invoked = pair.call_attached().await.expect("nor on a thread of its own");
        assert_eq!((&*invoked.served_by, invoked.attempts), ("second", 2), "{status}");
        for _ in 0..5 {
            pair.call().await.expect("no caller sees a failure");
        }
        pair.host.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn call_is_not_retried_where_retries_are_off_or_the_input_is_wrong() {
    let off = RoutingConfig {
        retry_percent: 0,
        ..RoutingConfig::default()
    };
    for (status, routing) in [("INTERNAL", off), ("INVALID_INPUT", RoutingConfig::default())] {
        let pair = Pair::begin(IDEMPOTENT, status, routing, false).await;
        pair.call().await.map(|_| ()).expect_err("it fails");
        pair.call_attached().await.map(|_| ()).expect_err("it fails");
        pair.host.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn error_of_a_call_that_nobody_may_serve_says_when_to_try_again() {
    let routing = RoutingConfig {
        all_down: AllDown::Fail,
        ..opens_for(FOR_EVER_MS)
    };
    let pair = Pair::begin(SHARED, "INTERNAL", routing, true).await;
    let give_up = Instant::now() + LIMIT;
    loop {
        let error = pair.call().await.map(|_| ()).expect_err("it fails");
        if error.kind == ErrorKind::NotServing {
            let after = error.retry_after_ms.expect("it says when");
            assert!(after > 0 && after <= FOR_EVER_MS, "{after}");
            assert_eq!(error.retryable, Some(true));
            break;
        }
        assert!(Instant::now() < give_up, "{error}");
    }
    pair.host.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn error_of_a_call_that_finds_no_permit_of_a_half_open_breaker_says_when_to_try_again() {
    let unwell = format!(
        "static int calls; if (calls++ < 5) {{ {} }} {HANGS}",
        fails("INTERNAL")
    );
    let routing = RoutingConfig {
        all_down: AllDown::Fail,
        ..opens_for(10)
    };
    let pair = Pair::of(SHARED, &unwell, routing, None).await;
    for _ in 0..5 {
        let error = pair.call().await.map(|_| ()).expect_err("it fails");
        assert_eq!(error.kind, ErrorKind::Internal, "{error}");
    }
    // As many as there are permits hang.
    let mut calls = Vec::new();
    until_async("all permits are lent", || {
        let host = pair.host.clone();
        calls.push(tokio::spawn(async move { host.invoke_raw(invocation()).await }));
        pair.first().call_metrics().in_flight() == 3
    })
    .await;
    let error = pair.call().await.map(|_| ()).expect_err("there is none left");
    assert_eq!(error.kind, ErrorKind::NotServing, "{error}");
    let after = error.retry_after_ms.expect("it says when");
    assert!(after > 0 && after <= 30_000, "{after}");
    std::fs::write(&pair.well, "").expect("written");
    for call in calls {
        drop(call.await.expect("it has called"));
    }
    pair.host.shutdown().await;
}

/// Answers of the capability are kept, if `is_kept`.
async fn keeping(declared: &'static str, is_kept: bool) -> Pair {
    let mut routing = opens_for(FOR_EVER_MS);
    if is_kept {
        let hour_ms = 3_600_000;
        routing.cache.max_age_ms.insert("shared.ask".to_owned(), hour_ms);
    }
    let pair = Pair::begin(declared, "UNAVAILABLE", routing, true).await;
    std::fs::write(&pair.well, "").expect("written");
    pair.call().await.expect("it is well");
    std::fs::remove_file(&pair.well).expect("removed");
    pair
}

#[tokio::test(flavor = "multi_thread")]
async fn call_that_nobody_serves_is_answered_as_before_with_the_age_of_the_answer() {
    let pair = keeping(IDEMPOTENT, true).await;
    // More than its breaker needs to open.
    for _ in 0..10 {
        let invoked = pair.call().await.expect("the answer was kept");
        assert_eq!(&*invoked.served_by, "cached");
        let body: Value = serde_json::from_slice(&invoked.reply.body).expect("JSON");
        assert_eq!(body["answer"], "one");
        assert!(invoked.age.is_some());
        let reason = invoked.degraded.expect("it says so");
        assert!(reason.contains("first 1.0.0 gave this answer"), "{reason}");
    }
    let other = Invocation {
        body: b"{\"other\": 1}".to_vec(),
        ..invocation()
    };
    let by_name = Invocation {
        instance: Some("first".to_owned()),
        ..invocation()
    };
    for asked in [other, by_name] {
        let error = pair
            .host
            .invoke_raw(asked)
            .await
            .map(|_| ())
            .expect_err("nobody serves");
        assert_eq!(error.kind, ErrorKind::Unavailable, "{error}");
    }
    let stream = pair.host.invoke_streamed(invocation()).expect("it begins");
    stream
        .done
        .await
        .map(|_| ())
        .expect_err("what is kept is never streamed");
    pair.call_attached()
        .await
        .map(|_| ())
        .expect_err("nor given to an attached thread");
    pair.host.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_answer_is_kept_of_what_is_not_declared_idempotent_or_not_configured_so() {
    for (declared, is_kept) in [(SHARED, true), (IDEMPOTENT, false)] {
        let pair = keeping(declared, is_kept).await;
        let error = pair.call().await.map(|_| ()).expect_err("nobody serves");
        assert_eq!(error.kind, ErrorKind::Unavailable, "{error}");
        pair.host.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn callers_mistake_is_told_though_an_answer_was_kept() {
    let mut routing = RoutingConfig::default();
    routing
        .cache
        .max_age_ms
        .insert("shared.ask".to_owned(), 3_600_000);
    let pair = Pair::begin(IDEMPOTENT, "INVALID_INPUT", routing, true).await;
    std::fs::write(&pair.well, "").expect("written");
    pair.call().await.expect("it is well");
    std::fs::remove_file(&pair.well).expect("removed");
    let error = pair.call().await.map(|_| ()).expect_err("the input is wrong");
    assert_eq!(error.kind, ErrorKind::InvalidInput, "{error}");
    pair.host.shutdown().await;
}

fn limited(limits: CallLimits) -> InstanceConfig {
    InstanceConfig {
        priority: 10,
        limits,
        ..InstanceConfig::default_for("first")
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_beyond_an_instances_rate_go_to_the_next_one_else_are_refused_with_when_to_try_again() {
    let rarely = CallLimits {
        calls_per_s: Some(1),
        burst: Some(3),
        ..CallLimits::default()
    };
    let second = InstanceConfig::default_for("second");
    let pair = Pair::with(SHARED, ["", ""], Config::default(), limited(rarely), Some(second)).await;
    let mut refused = 0;
    for _ in 0..20 {
        let invoked = pair.call_attached().await.expect("one of them serves");
        let by_first = &*invoked.served_by == "first";
        let reason = (!by_first).then_some("first is busy");
        assert_eq!(invoked.degraded.as_deref(), reason);
        refused += u32::from(!by_first);
    }
    // So long as twenty calls take less than fourteen seconds.
    assert!(refused > 2, "{refused}");
    assert!(pair.first().breaker().is_closed());
    assert_eq!(pair.host.plugin("first").expect("it is there").limits, rarely);
    pair.host.shutdown().await;

    let pair = Pair::with(SHARED, ["", ""], Config::default(), limited(rarely), None).await;
    let give_up = Instant::now() + LIMIT;
    let error = loop {
        if let Err(error) = pair.call().await {
            break error;
        }
        assert!(Instant::now() < give_up, "no call is refused");
    };
    assert_eq!(error.kind, ErrorKind::RateLimited, "{error}");
    assert!((1..=1000).contains(&error.retry_after_ms.expect("it says when")));
    let by_name = Invocation {
        instance: Some("first".to_owned()),
        ..invocation()
    };
    let give_up = Instant::now() + LIMIT;
    while pair.host.invoke_raw(by_name.clone()).await.is_ok() {
        assert!(Instant::now() < give_up, "no call by its name is refused");
    }
    assert!(pair.first().breaker().is_closed());
    pair.host.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn call_whose_input_is_too_large_counts_for_no_limit() {
    const SMALL: &str = "[[capability]]\nname = \"shared.ask\"\nlimits = { input_bytes_max = 2 }\n";
    let rarely = CallLimits {
        calls_per_s: Some(1),
        burst: Some(2),
        ..CallLimits::default()
    };
    let pair = Pair::with(SMALL, ["", ""], Config::default(), limited(rarely), None).await;
    for _ in 0..100 {
        let too_large = Invocation {
            body: b"{ }".to_vec(),
            ..invocation()
        };
        let error = pair.host.invoke_raw(too_large).await.map(|_| ());
        assert_eq!(error.expect_err("it is too large").kind, ErrorKind::InvalidInput);
    }
    for _ in 0..2 {
        pair.call().await.expect("it is one of the burst");
    }
    pair.host.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn reply_of_the_third_names_the_first_choice_where_the_second_has_no_room() {
    let of_second = |name: &str, priority, calls_per_s| InstanceConfig {
        name: Some(name.to_owned()),
        priority,
        limits: CallLimits {
            calls_per_s,
            ..CallLimits::default()
        },
        ..InstanceConfig::default_for("second")
    };
    let first = InstanceConfig {
        priority: 10,
        ..InstanceConfig::default_for("first")
    };
    let config = Config {
        routing: opens_for(FOR_EVER_MS),
        ..Config::default()
    };
    let others = [of_second("second", 5, Some(1)), of_second("third", 0, None)];
    let pair = Pair::with(SHARED, [&fails("INTERNAL"), ""], config, first, others).await;
    let give_up = Instant::now() + LIMIT;
    let by_third = loop {
        assert!(Instant::now() < give_up, "the third one does not serve");
        match pair.call().await {
            Ok(invoked) if &*invoked.served_by == "third" => break invoked,
            Ok(_) => {}
            Err(error) => assert_eq!(error.kind, ErrorKind::Internal, "{error}"),
        }
    };
    let why = by_third.degraded.expect("it is not the first choice");
    assert!(why.starts_with("first ") && !why.contains("second"), "{why}");
    pair.host.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_beyond_those_that_may_be_under_way_go_to_the_next_one_and_to_the_first_once_one_has_ended() {
    let one = CallLimits {
        in_flight_max: Some(1),
        ..CallLimits::default()
    };
    let second = InstanceConfig::default_for("second");
    let pair = Pair::with(SHARED, [HANGS, ""], Config::default(), limited(one), Some(second)).await;
    let hanging = pair.begin_call(1).await;
    for _ in 0..5 {
        let invoked = pair.call().await.expect("the next one serves");
        assert_eq!(&*invoked.served_by, "second");
        assert_eq!(invoked.degraded.as_deref(), Some("first is busy"));
    }
    std::fs::write(&pair.well, "").expect("written");
    hanging.await.expect("it has called").expect("an answer");
    let invoked = pair.call().await.expect("an answer");
    assert_eq!((&*invoked.served_by, invoked.degraded), ("first", None));
    pair.host.shutdown().await;
}

#[test]
fn limits_of_an_instance_are_shown_hold_over_http_and_change_without_a_restart() {
    let place = Place::default();
    let built = plugin("first", "1.0.0", "one")
        .declares(SHARED)
        .build(place.path());
    place.put(&built, "first.so");
    let with =
        |limits: &str| format!("[[instance]]\nplugin = \"first\"\n{limits}[vetting]\nenabled = false\n");
    let host = place.serve(&with("limits = { calls_per_s = 1, burst = 1 }\n"));
    host.until_ready();
    host.until("it is up", || host.plugin("first")["health"]["health"] == "up");
    let generation = host.plugin("first")["generation"].clone();
    host.until("a call is refused", || {
        let (status, body) = host.call("shared.ask", "", b"{}");
        status == 429
            && body["error"]["retry_after_ms"]
                .as_u64()
                .is_some_and(|ms| ms <= 1000)
    });
    let shown = host.extman(&["show", "first"]);
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert!(shown.contains("at most 1 calls/s, 1 at once"), "{shown}");
    host.place.config(&with("limits = { calls_per_s = 100000 }\n"));
    host.until("the new limits are in force", || {
        host.plugin("first")["limits"] == json!({"calls_per_s": 100_000})
    });
    for _ in 0..20 {
        assert_eq!(host.call("shared.ask", "", b"{}").0, 200);
    }
    assert_eq!(
        host.plugin("first")["generation"],
        generation,
        "it goes on as it is"
    );
    host.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn open_breaker_is_shown_and_told_each_time_it_opens_and_once_when_it_closes() {
    let routing = RoutingConfig {
        breaker: BreakerConfig {
            open_max_ms: 150,
            ..opens_for(100).breaker
        },
        ..RoutingConfig::default()
    };
    let pair = Pair::begin(SHARED, "INTERNAL", routing, false).await;
    let mut events = pair.host.events();
    let shown = || {
        let plugin = pair.host.plugin("first").expect("it is there").breaker;
        let health = pair.host.plugin_health("first").expect("it is there").breaker;
        assert_eq!(plugin.is_some(), health.is_some());
        plugin
    };
    assert_eq!(shown(), None);
    let give_up = Instant::now() + LIMIT;
    while shown().is_none() {
        drop(pair.call().await);
        assert!(Instant::now() < give_up, "its breaker does not open");
    }
    let (mut states, mut told) = (BTreeSet::new(), Vec::new());
    while states.len() < 2 || told.len() < 2 {
        // It fails on trial, too, and opens again without having been closed.
        drop(pair.call().await);
        told.extend(told_of_breaker(&mut events));
        states.extend(shown().map(|breaker| breaker.state.as_str()));
        assert!(Instant::now() < give_up, "{states:?}");
    }
    std::fs::write(&pair.well, "").expect("written");
    while shown().is_some() {
        drop(pair.call().await);
        assert!(Instant::now() < give_up, "its breaker does not close");
    }
    pair.host.shutdown().await;
    told.extend(told_of_breaker(&mut events));
    let (closed, opened) = told.split_last().expect("it was told");
    assert_eq!(*closed, None);
    for (time, for_ms) in opened.iter().enumerate() {
        // The first time is the shortest; what is left of it is told.
        let at_most = if time == 0 { 100 } else { 150 };
        assert!(for_ms.is_some_and(|ms| ms > 0 && ms <= at_most), "{opened:?}");
    }
}

/// For how long the first one's breaker opened each time, and `None` each time that it closed.
fn told_of_breaker(events: &mut Receiver<Event>) -> Vec<Option<u64>> {
    let mut told = Vec::new();
    while let Ok(event) = events.try_recv() {
        let change = match event.what {
            What::BreakerOpened { name, for_ms } => (name, Some(for_ms)),
            What::BreakerClosed { name } => (name, None),
            _ => continue,
        };
        assert_eq!(change.0, "first");
        told.push(change.1);
    }
    told
}

#[tokio::test(flavor = "multi_thread")]
async fn breaker_that_is_open_is_told_to_be_closed_when_its_instance_goes() {
    let pair = Pair::begin(SHARED, "INTERNAL", opens_for(FOR_EVER_MS), false).await;
    let mut events = pair.host.events();
    let until_open = async || {
        let give_up = Instant::now() + LIMIT;
        while pair.first().breaker().is_closed() {
            let by_name = Invocation {
                instance: Some("first".to_owned()),
                ..invocation()
            };
            drop(pair.host.invoke_raw(by_name).await);
            assert!(Instant::now() < give_up, "its breaker does not open");
        }
    };
    until_open().await;
    pair.host.restart("first").await.expect("it is restarted");
    until_open().await;
    pair.host.unload("first").await.expect("it is unloaded");
    let told = told_of_breaker(&mut events);
    let kinds: Vec<_> = told.iter().map(Option::is_some).collect();
    assert_eq!(kinds, [true, false, true, false], "{told:?}");
    pair.host.shutdown().await;
}

#[test]
fn with_the_first_choice_gone_the_other_answers_degraded_and_on_its_return_it_is_preferred_again() {
    let place = Place::default();
    for (id, answer) in [("embedder", "dense"), ("hash-embedder", "hashed")] {
        let built = plugin(id, "1.0.0", answer).declares(EMBED).build(place.path());
        place.put(&built, &format!("{id}.so"));
    }
    let host = place.serve(
        "[[instance]]\nplugin = \"embedder\"\npriority = 10\nrestart = \"never\"\n[vetting]\nenabled = false\n",
    );
    host.until_ready();
    host.until("both are up", || {
        ["embedder", "hash-embedder"]
            .iter()
            .all(|name| host.plugin(name)["health"]["health"] == "up")
    });
    let told = |served_by: &str, degraded: bool, reason: Value| json!({"served_by": served_by, "degraded": degraded, "degraded_reason": reason, "attempts": 1});
    let call = || {
        let ran = host.extman(&["call", "text.embed", "--input", "{}", "--json"]);
        let mut envelope: Value = serde_json::from_slice(&ran.stdout).expect("JSON");
        let data = envelope["data"].as_object_mut().expect("an answer");
        data.retain(|key, _| ["served_by", "degraded", "degraded_reason", "attempts"].contains(&&**key));
        Value::Object(data.clone())
    };
    assert_eq!(call(), told("embedder", false, Value::Null));
    host.call("text.embed", "", b"panic");
    host.until_lifecycle("embedder", "failed");
    let reason = json!("embedder is failed");
    assert_eq!(call(), told("hash-embedder", true, reason));
    let ran = host.extman(&["call", "text.embed", "--input", "{}"]);
    let warned = String::from_utf8_lossy(&ran.stderr).replace('\n', " ");
    assert!(
        warned.contains("degraded") && warned.contains("embedder is failed"),
        "{warned}"
    );
    assert_eq!(host.change("embedder", "load").0, 200);
    host.until("it is preferred again", || {
        call() == told("embedder", false, Value::Null)
    });
    host.stop();
}
