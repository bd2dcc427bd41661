//! Updates that are judged: a newer version gets its calls step by step, beside the one that serves, and one that is worse is taken back.

mod chosen;
mod mirrored;

use crate::answers::{Answers, plugin};
use crate::served::Place;
use extman::config::Config;
use extman::control::Invocation;
use extman::{Host, InstanceConfig, Restart};
use extman_model::{
    CallLimits, Event, Lifecycle, PluginView, ProbeSettings, RequestExtras, RolloutCommand, RolloutPhase,
    UpdatePolicy, UpdateTo, What,
};
use extman_runtime::instance::Instance;
use extman_runtime::registry::Candidate;
use extman_tests::until::LIMIT;
use extman_tests::until_async;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Instant;
use tokio::sync::broadcast::Receiver;
use tokio::task::JoinHandle;

/// A host in which version 1.0.0 of `updated` serves and is called all the time.
struct Rolling {
    host: Host,
    place: Place,
    events: Receiver<Event>,
    told: Vec<What>,
    calls: Arc<Calls>,
    callers: Vec<JoinHandle<()>>,
}

#[derive(Default)]
struct Calls {
    ends: AtomicBool,
    old: AtomicU64,
    new: AtomicU64,
    failed: AtomicU64,
}

fn first() -> Answers {
    plugin("updated", "1.0.0", "one").in_check("")
}

fn second() -> Answers {
    plugin("updated", "1.1.0", "two")
}

fn config(place: &Place) -> Config {
    let mut config = Config::default();
    config.intake.discovery.dirs = vec![place.plugins()];
    config.intake.store.dir = place.path().join("store");
    config.state.dir = Some(place.path().join("state"));
    config.history.enabled = false;
    config.vetting.enabled = false;
    let rollout = &mut config.rollout;
    rollout.canary_percent = vec![20, 50];
    (rollout.step_ms, rollout.probation_ms, rollout.warm_up_ms) = (300, 300, 2_000);
    let judge = &mut rollout.judge;
    (judge.calls_min, judge.panics_max) = (20, 10);
    (judge.errors_max, judge.latency_max) = (0.3, 10.0);
    let probe = ProbeSettings {
        interval_ms: Some(50),
        timeout_ms: Some(500),
        ..ProbeSettings::default()
    };
    config.instances = vec![InstanceConfig {
        probe,
        start_budget_ms: Some(1_000),
        stop_budget_ms: Some(1_000),
        wedge_after_ms: Some(500),
        ..InstanceConfig::default_for("updated")
    }];
    config
}

impl Rolling {
    async fn begin(change: impl FnOnce(&mut Config)) -> Self {
        let place = Place::default();
        place.put(&first().build(place.path()), "updated.so");
        let mut config = config(&place);
        change(&mut config);
        Rolling::in_place(place, config).await
    }

    async fn in_place(place: Place, config: Config) -> Self {
        let builder = Host::builder().config(config);
        let (host, events) = builder.build_and_listen().await.expect("a host");
        host.wait_ready().await;
        Rolling {
            host,
            place,
            events,
            told: Vec::new(),
            calls: Arc::default(),
            callers: Vec::new(),
        }
    }

    /// Has it called all the time from here on.
    fn call(self) -> Self {
        self.call_of("updated.ask")
    }

    fn call_of(mut self, capability: &'static str) -> Self {
        for _ in 0..4 {
            let (host, calls) = (self.host.clone(), self.calls.clone());
            self.callers.push(tokio::spawn(async move {
                while !calls.ends.load(Relaxed) {
                    let counter = match ask(&host, capability).await {
                        Ok(answer) if answer.contains("two") => &calls.new,
                        Ok(_) => &calls.old,
                        Err(_) => &calls.failed,
                    };
                    counter.fetch_add(1, Relaxed);
                    tokio::task::yield_now().await;
                }
            }));
        }
        self
    }

    /// Puts another build in the place of the one that is there.
    fn put(&self, build: Answers) {
        let library: PathBuf = build.build(self.place.path());
        self.place.put(&library, "updated.so");
        self.host.look_now();
    }

    fn view(&self) -> PluginView {
        self.host.plugin("updated").expect("it is known")
    }

    fn hear(&mut self) -> &[What] {
        while let Ok(event) = self.events.try_recv() {
            self.told.push(event.what);
        }
        &self.told
    }

    async fn until_told(&mut self, what: &str, is_it: impl Fn(&What) -> bool) -> What {
        let mut found = None;
        until_async(what, || {
            found = self.hear().iter().find(|what| is_it(what)).cloned();
            found.is_some()
        })
        .await;
        found.expect("it was told")
    }

    /// The instance of the new version.
    async fn canary(&self) -> Arc<Instance> {
        let mut found = None;
        until_async("it gets a share", || {
            let entry = self.host.snapshot().get("updated").expect("it is known");
            let (instance, generation) = entry.serving.clone().expect("it runs");
            let old = Candidate {
                entry,
                instance,
                generation,
            };
            found = old.canary(|_| true, |_| true).map(|new| new.instance.clone());
            found.is_some()
        })
        .await;
        found.expect("it was found")
    }

    async fn until_in(&self, phase: RolloutPhase) {
        until_async(phase.as_str(), || {
            self.view().rollout.is_some_and(|rollout| rollout.phase == phase)
        })
        .await;
    }

    /// Why it was taken back. Then the old version serves, and nothing else of it is loaded.
    async fn until_taken_back(&mut self) -> String {
        let taken_back = |what: &What| matches!(what, What::TakenBack { .. });
        let What::TakenBack { version, why, .. } = self.until_told("it is taken back", taken_back).await
        else {
            unreachable!("it was looked for")
        };
        assert_eq!(version.to_string(), "1.1.0");
        until_async("the update is over", || self.view().rollout.is_none()).await;
        let view = self.view();
        assert_eq!(
            (view.lifecycle, view.version.to_string().as_str()),
            (Lifecycle::Running, "1.0.0"),
            "{view:?}"
        );
        assert_eq!(view.barred.len(), 1, "{view:?}");
        assert_eq!(view.barred[0].reason, why);
        why
    }

    /// A further look at the directories tries it no more.
    async fn is_not_tried_again(&mut self) {
        self.hear();
        let loads = |told: &[What]| {
            let is_load = |what: &&What| {
                matches!(
                    what,
                    What::RolloutMoved {
                        phase: RolloutPhase::Loading,
                        ..
                    }
                )
            };
            told.iter().filter(is_load).count()
        };
        let before = loads(&self.told);
        // Whatever comes of that look is done when the new directory is known.
        self.place.put(
            &plugin("other", "1.0.0", "other").build(self.place.path()),
            "other.so",
        );
        self.host.look_now();
        until_async("a look is over", || self.host.plugin("other").is_ok()).await;
        self.hear();
        assert_eq!(loads(&self.told), before);
        assert_eq!(self.view().version.to_string(), "1.0.0");
    }

    async fn end(mut self) -> (Place, Arc<Calls>) {
        self.calls.ends.store(true, Relaxed);
        for caller in self.callers.drain(..) {
            caller.await.expect("it ends");
        }
        let verdicts = self.host.shutdown().await;
        for (name, verdict) in verdicts {
            assert!(verdict.is_unmapped(), "{name}: {verdict}");
        }
        (self.place, self.calls)
    }
}

fn invocation(capability: &str) -> Invocation {
    Invocation {
        capability: capability.to_owned(),
        instance: None,
        content_type: "application/json".to_owned(),
        body: b"{}".to_vec(),
        timeout: None,
        extras: RequestExtras::NONE,
    }
}

async fn ask(host: &Host, capability: &str) -> Result<String, String> {
    let invoked = host.invoke_raw(invocation(capability)).await;
    let invoked = invoked.map_err(|error| error.to_string())?;
    Ok(String::from_utf8_lossy(&invoked.reply.body).into_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn good_version_goes_all_the_way_under_calls_and_none_of_them_fails() {
    let mut rolling = Rolling::begin(|_| {}).await.call();
    let before = rolling.view().generation;
    rolling.put(second());
    let is_unmapped = |what: &What| matches!(what, What::Unloaded { generation, verdict, .. } if Some(*generation) == before && verdict.is_unmapped());
    rolling
        .until_told("the old version is unmapped", is_unmapped)
        .await;
    until_async("the update is over", || rolling.view().rollout.is_none()).await;
    assert_eq!(rolling.view().version.to_string(), "1.1.0");
    assert!(ask(&rolling.host, "updated.ask").await.unwrap().contains("two"));
    let steps: Vec<_> = rolling
        .hear()
        .iter()
        .filter_map(|what| match what {
            What::RolloutMoved { phase, percent, .. } => Some((*phase, *percent)),
            _ => None,
        })
        .collect();
    let expected = [
        (RolloutPhase::Loading, 0),
        (RolloutPhase::WarmingUp, 0),
        (RolloutPhase::Canary, 20),
        (RolloutPhase::Canary, 50),
        (RolloutPhase::Probation, 100),
        (RolloutPhase::Retiring, 100),
    ];
    // Without a check it is ready as soon as it has started.
    assert_eq!(steps, expected);
    let (_, calls) = rolling.end().await;
    assert_eq!(calls.failed.load(Relaxed), 0);
    assert!(calls.old.load(Relaxed) > 0 && calls.new.load(Relaxed) > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn version_that_errors_is_taken_back_with_its_cause_and_not_tried_again() {
    let mut rolling = Rolling::begin(|_| {}).await.call();
    rolling.put(second().in_invoke("return extman_fail(error, EXTMAN_STATUS_INTERNAL, \"broken\");"));
    let why = rolling.until_taken_back().await;
    assert!(why.contains("it is worse") && why.contains("failed"), "{why}");
    rolling.is_not_tried_again().await;
    rolling.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn idempotent_call_that_a_new_version_fails_is_answered_by_the_old_one() {
    let place = Place::default();
    place.put(&first().declares(SAFE).build(place.path()), "updated.so");
    let config = config(&place);
    let mut rolling = Rolling::in_place(place, config).await.call_of("updated.safe");
    let fails = "return extman_fail(error, EXTMAN_STATUS_INTERNAL, \"broken\");";
    rolling.put(second().declares(SAFE).in_invoke(fails));
    let why = rolling.until_taken_back().await;
    assert!(why.contains("failed"), "{why}");
    let (_, calls) = rolling.end().await;
    assert_eq!(
        (calls.failed.load(Relaxed), calls.new.load(Relaxed)),
        (0, 0),
        "no caller sees a failure"
    );
    assert!(calls.old.load(Relaxed) > 0);
}

const SAFE: &str = "[[capability]]\nname = \"updated.safe\"\nidempotent = true\n";

/// Version 1.0.0 in a host whose next update stays in its canary, at half of the calls; and a file that makes all calls fail once it is there.
async fn with_canary(declared: &'static str, change: impl FnOnce(&mut Config)) -> (Rolling, PathBuf, String) {
    let place = Place::default();
    let ill = place.path().join("ill");
    let fails = "return extman_fail(error, EXTMAN_STATUS_UNAVAILABLE, \"as told\");";
    let fails = format!("if (access({ill:?}, F_OK) == 0) {{ {fails} }}");
    let old = first().declares(declared).in_invoke(fails.clone());
    place.put(&old.build(place.path()), "updated.so");
    let mut config = config(&place);
    config.rollout.canary_percent = vec![50];
    (config.rollout.step_ms, config.rollout.probation_ms) = (600_000, 600_000);
    change(&mut config);
    (Rolling::in_place(place, config).await, ill, fails)
}

/// An answer is kept for an hour.
fn keeps(config: &mut Config) {
    let max_age_ms = &mut config.routing.cache.max_age_ms;
    max_age_ms.insert("updated.safe".to_owned(), 3_600_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn kept_answer_of_a_version_that_was_tried_is_not_given_for_the_one_that_was_gone_back_to() {
    let (mut rolling, ill, fails) = with_canary(SAFE, keeps).await;
    ask(&rolling.host, "updated.safe").await.expect("it is kept");
    rolling.put(second().declares(SAFE).in_invoke(fails));
    rolling.until_in(RolloutPhase::Canary).await;
    let by_new = async || {
        let answer = ask(&rolling.host, "updated.safe").await.expect("it is well");
        answer.contains("two").then_some(())
    };
    let give_up = Instant::now() + LIMIT;
    while by_new().await.is_none() {
        assert!(Instant::now() < give_up, "the new version gets no call");
    }
    let aborted = rolling.host.rollout("updated", RolloutCommand::Abort).await;
    aborted.expect("it is taken back");
    rolling.until_taken_back().await;
    std::fs::write(&ill, "").expect("written");
    let given = ask(&rolling.host, "updated.safe").await;
    let given = given.expect("the old version's answer was kept");
    assert!(given.contains("one"), "{given}");
    drop(rolling.end().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn kept_answer_of_a_version_is_not_given_for_the_next_one() {
    let (rolling, ill, fails) = with_canary(SAFE, keeps).await;
    ask(&rolling.host, "updated.safe").await.expect("it is kept");
    std::fs::write(&ill, "").expect("written");
    let kept = ask(&rolling.host, "updated.safe").await.expect("it was kept");
    assert!(kept.contains("one"), "{kept}");
    rolling.put(second().declares(SAFE).in_invoke(fails));
    rolling.until_in(RolloutPhase::Canary).await;
    let promoted = rolling.host.rollout("updated", RolloutCommand::Promote).await;
    promoted.expect("it is promoted");
    let given = ask(&rolling.host, "updated.safe").await;
    given.expect_err("the new version has answered nothing");
    drop(rolling.end().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn call_that_finds_no_room_in_a_new_version_is_answered_by_the_old_one() {
    const PLAIN: &str = "[[capability]]\nname = \"updated.plain\"\n";
    let narrow = |config: &mut Config| (config.lanes.per_module_max, config.lanes.queue_max) = (1, 1);
    let (rolling, well, _) = with_canary(PLAIN, |config| narrow(config)).await;
    let hangs = format!("while (access({well:?}, F_OK) != 0) {{ usleep(1000); }}");
    rolling.put(second().declares(PLAIN).in_invoke(hangs));
    rolling.until_in(RolloutPhase::Canary).await;
    let new = rolling.canary().await;
    let call = || {
        let host = rolling.host.clone();
        tokio::spawn(async move { ask(&host, "updated.plain").await })
    };
    let mut waiting = Vec::new();
    let mut answers = Vec::new();
    let by_old = |answer: Result<String, String>| {
        let answer = answer.expect("one of them has room");
        assert!(answer.contains("one"), "{answer}");
    };
    // One runs and one waits; ten more come after that.
    while waiting.len() < 2 || answers.len() < 10 {
        let before = new.call_metrics().in_flight();
        let call = call();
        let is_there = || call.is_finished() || new.call_metrics().in_flight() > before;
        until_async("it is answered, or in the new version", is_there).await;
        match call.is_finished() {
            true => answers.push(call.await.expect("it has called")),
            false => waiting.push(call),
        }
        if waiting.len() < 2 {
            answers.drain(..).for_each(by_old);
        }
    }
    answers.drain(..).for_each(by_old);
    drop(new);
    std::fs::write(&well, "").expect("written");
    for call in waiting {
        drop(call.await.expect("it has called"));
    }
    drop(rolling.end().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn breaker_of_the_version_that_is_gone_back_to_is_told_as_open_again() {
    let long = |config: &mut Config| {
        (config.routing.breaker.open_ms, config.routing.breaker.open_max_ms) = (3_600_000, 3_600_000);
    };
    let (mut rolling, ill, _) = with_canary("", long).await;
    std::fs::write(&ill, "").expect("written");
    let breaker = |what: &What| match what {
        What::BreakerOpened { .. } => Some(true),
        What::BreakerClosed { .. } => Some(false),
        _ => None,
    };
    let told = |rolling: &mut Rolling| rolling.hear().iter().filter_map(breaker).collect::<Vec<_>>();
    let give_up = Instant::now() + LIMIT;
    while told(&mut rolling).is_empty() {
        assert!(Instant::now() < give_up, "its breaker does not open");
        drop(ask(&rolling.host, "updated.ask").await);
    }
    rolling.put(second());
    rolling.until_in(RolloutPhase::Canary).await;
    let promoted = rolling.host.rollout("updated", RolloutCommand::Promote).await;
    promoted.expect("it is promoted");
    assert_eq!(told(&mut rolling), [true, false]);
    let aborted = rolling.host.rollout("updated", RolloutCommand::Abort).await;
    aborted.expect("it is taken back");
    rolling.until_taken_back().await;
    assert_eq!(told(&mut rolling), [true, false, true]);
    drop(rolling.end().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn call_that_a_new_version_fails_counts_once_for_the_limits() {
    const CALLS: u64 = 12;
    let limits = CallLimits {
        calls_per_s: Some(1),
        burst: Some(CALLS),
        ..CallLimits::default()
    };
    let limited = |config: &mut Config| config.instances[0].limits = limits;
    let (rolling, ..) = with_canary(SAFE, limited).await;
    let fails = "return extman_fail(error, EXTMAN_STATUS_INTERNAL, \"broken\");";
    rolling.put(second().declares(SAFE).in_invoke(fails));
    rolling.until_in(RolloutPhase::Canary).await;
    for _ in 0..CALLS {
        let answer = ask(&rolling.host, "updated.safe")
            .await
            .expect("the old one answers");
        assert!(answer.contains("one"), "{answer}");
    }
    drop(rolling.end().await);
}

/// Each is taken back by itself, with a cause in which this stands.
async fn taken_back(second: Answers, change: impl FnOnce(&mut Config), cause: &str) {
    let mut rolling = Rolling::begin(change).await.call();
    rolling.put(second);
    let why = rolling.until_taken_back().await;
    assert!(why.contains(cause), "{why}");
    rolling.is_not_tried_again().await;
    rolling.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn version_that_panics_at_its_first_call_is_taken_back() {
    let panics =
        second().in_invoke("return extman_fail(error, EXTMAN_STATUS_PANICKED, \"a panic, as told\");");
    taken_back(panics, |_| {}, "a panic, as told").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn version_that_hangs_at_its_start_is_taken_back() {
    let place = Place::default();
    let go = place.path().join("go");
    let hangs = second().in_create(format!("while (access({go:?}, F_OK) != 0) {{ usleep(1000); }}"));
    let mut rolling = Rolling::begin(|_| {}).await.call();
    rolling.put(hangs);
    let why = rolling.until_taken_back().await;
    assert!(why.contains("create"), "{why}");
    std::fs::write(&go, "").expect("written");
    rolling.is_not_tried_again().await;
    until_async("what hung is unloaded", || {
        rolling.host.status().resident.is_empty()
    })
    .await;
    rolling.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn version_that_fails_its_checks_alone_is_taken_back_before_it_is_called_or_while_it_is() {
    let fails = "return extman_fail(text, EXTMAN_STATUS_INTERNAL, \"no model\");";
    taken_back(
        second().in_check(fails),
        |_| {},
        "it was not ready within 2000 ms",
    )
    .await;
    let later = format!("static int asked; if (__sync_fetch_and_add(&asked, 1) > 2) {{ {fails} }}");
    let slow = |config: &mut Config| config.rollout.step_ms = 5_000;
    taken_back(second().in_check(later), slow, "checks failed").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn version_that_fails_its_checks_later_is_taken_back_though_the_old_one_has_no_check() {
    let place = Place::default();
    place.put(
        &plugin("updated", "1.0.0", "one").build(place.path()),
        "updated.so",
    );
    let mut config = config(&place);
    config.rollout.step_ms = 5_000;
    let mut rolling = Rolling::in_place(place, config).await.call();
    rolling.put(second().in_check(
        "static int asked; if (__sync_fetch_and_add(&asked, 1) > 2) { return extman_fail(text, EXTMAN_STATUS_INTERNAL, \"no model\"); }",
    ));
    let why = rolling.until_taken_back().await;
    assert!(why.contains("checks failed"), "{why}");
    rolling.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn version_that_is_slower_is_taken_back() {
    taken_back(second().in_invoke("usleep(3000);"), |_| {}, "times the").await;
}

/// A host in which an update is in its canary or in its probation, and stays there.
async fn held_in(phase: RolloutPhase) -> Rolling {
    let rolling = Rolling::begin(|config| {
        config.rollout.step_ms = match phase {
            RolloutPhase::Canary => 600_000,
            _ => 100,
        };
        config.rollout.probation_ms = 600_000;
    });
    let rolling = rolling.await.call();
    rolling.put(second());
    rolling.until_in(phase).await;
    rolling
}

#[tokio::test(flavor = "multi_thread")]
async fn operator_pauses_resumes_promotes_and_aborts() {
    let mut rolling = held_in(RolloutPhase::Canary).await;
    let host = rolling.host.clone();
    let steer = |command| host.rollout("updated", command);
    let paused = steer(RolloutCommand::Pause).await.expect("it is paused");
    assert!(paused.rollout.is_some_and(|rollout| rollout.paused));
    let again = steer(RolloutCommand::Pause)
        .await
        .expect_err("it is paused already");
    assert!(again.to_string().contains("paused already"), "{again}");
    let resumed = steer(RolloutCommand::Resume).await.expect("it goes on");
    assert!(resumed.rollout.is_some_and(|rollout| !rollout.paused));
    let promoted = steer(RolloutCommand::Promote).await.expect("it is promoted");
    assert_eq!(promoted.version.to_string(), "1.1.0");
    assert_eq!(
        promoted.rollout.map(|rollout| (rollout.phase, rollout.percent)),
        Some((RolloutPhase::Probation, 100))
    );
    // From probation it is one change back to what is still warm.
    let aborted = steer(RolloutCommand::Abort).await.expect("it is taken back");
    assert_eq!(aborted.version.to_string(), "1.0.0");
    let why = rolling.until_taken_back().await;
    assert!(why.contains("operator"), "{why}");
    let nothing = steer(RolloutCommand::Promote).await.expect_err("there is none");
    assert!(nothing.to_string().contains("no update under way"), "{nothing}");
    let (_, calls) = rolling.end().await;
    assert_eq!(calls.failed.load(Relaxed), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_ends_an_instance_leaves_nothing_of_its_update_loaded() {
    for phase in [RolloutPhase::Canary, RolloutPhase::Probation] {
        for end in ["unload", "disable", "file", "host"] {
            let rolling = held_in(phase).await;
            let host = &rolling.host;
            match end {
                "unload" => drop(host.unload("updated").await.expect("it is unloaded")),
                "disable" => drop(host.disable("updated").await.expect("it is disabled")),
                "file" => {
                    std::fs::remove_file(rolling.place.plugins().join("updated.so")).expect("removed");
                    host.look_now();
                    until_async("it is forgotten", || host.plugin("updated").is_err()).await;
                }
                _ => {}
            }
            if let Ok(view) = host.plugin("updated")
                && end != "host"
            {
                assert_eq!(view.lifecycle, Lifecycle::Stopped, "{phase:?} {end}");
                assert_eq!((view.rollout, view.generation), (None, None), "{phase:?} {end}");
            }
            let maps = rolling.place.path().join("store");
            rolling.end().await;
            let mapped = std::fs::read_to_string("/proc/self/maps").expect("readable");
            assert!(
                !mapped.contains(&*maps.to_string_lossy()),
                "{phase:?} {end}: {mapped}"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn restart_during_an_update_serves_the_old_version_and_begins_anew() {
    let mut rolling = held_in(RolloutPhase::Canary).await;
    let before = rolling.view().generation;
    let view = rolling.host.restart("updated").await.expect("it is restarted");
    assert_eq!(view.version.to_string(), "1.0.0");
    assert!(view.generation > before);
    rolling.until_in(RolloutPhase::Canary).await;
    rolling.hear();
    rolling.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn next_start_of_the_host_serves_what_was_gone_back_to_and_an_update_by_name_tries_it_again() {
    let mut rolling = Rolling::begin(|_| {}).await.call();
    rolling.put(second().in_create("return extman_fail(error, EXTMAN_STATUS_INTERNAL, \"no room\");"));
    let why = rolling.until_taken_back().await;
    assert!(why.contains("no room"), "{why}");
    let (place, _) = rolling.end().await;
    let config = config(&place);
    let rolling = Rolling::in_place(place, config).await;
    let view = rolling.view();
    assert_eq!(
        (
            view.lifecycle,
            view.version.to_string().as_str(),
            view.barred.len()
        ),
        (Lifecycle::Running, "1.0.0", 1),
        "{view:?}"
    );
    let again = rolling
        .host
        .update("updated", UpdateTo::Newest)
        .await
        .expect_err("it can't");
    assert!(again.to_string().contains("no room"), "{again}");
    until_async("it is barred again", || rolling.view().barred.len() == 1).await;
    let (place, _) = rolling.end().await;
    // Without the bytes that served there is nothing to go back to.
    std::fs::remove_dir_all(place.path().join("store")).expect("removed");
    let config = self::config(&place);
    let rolling = Rolling::in_place(place, config).await;
    let view = rolling.view();
    assert_eq!(view.lifecycle, Lifecycle::Quarantined, "{view:?}");
    assert!(
        view.cause
            .is_some_and(|cause| cause.contains("extman update updated"))
    );
    rolling.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn operator_updates_what_is_pinned_by_its_version_and_goes_back() {
    let pinned = |config: &mut Config| config.instances[0].update = UpdatePolicy::Pinned;
    let mut rolling = Rolling::begin(pinned).await.call();
    rolling.put(second());
    let available = rolling
        .until_told("it is there", |what| matches!(what, What::UpdateAvailable { .. }))
        .await;
    assert!(
        available
            .to_string()
            .contains("`extman update updated --to 1.1.0`"),
        "{available}"
    );
    assert_eq!(rolling.view().rollout, None);
    let host = rolling.host.clone();
    let unnamed = host
        .update("updated", UpdateTo::Newest)
        .await
        .expect_err("it is pinned");
    assert!(unnamed.to_string().contains("--to"), "{unnamed}");
    let version = "1.1.0".parse().expect("a version");
    let begun = host
        .update("updated", UpdateTo::Version(version))
        .await
        .expect("it has started");
    assert!(begun.rollout.is_some(), "{begun:?}");
    until_async("it is over", || {
        let view = rolling.view();
        view.rollout.is_none() && view.version.to_string() == "1.1.0"
    })
    .await;
    let back = host.rollback("updated").await.expect("it goes back");
    assert_eq!(
        (back.version.to_string().as_str(), back.barred.len()),
        ("1.0.0", 1),
        "{back:?}"
    );
    rolling.is_not_tried_again().await;
    rolling.end().await;
}
