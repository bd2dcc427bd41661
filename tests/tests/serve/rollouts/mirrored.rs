//! Calls that are mirrored to a new version before it gets any: what it is worse in takes it back before a caller was given to it.

use super::*;
use extman::Attached;
use extman_model::{ConfigChangeAsked, MirroredView};

fn old() -> Answers {
    first().declares(SAFE)
}

fn new() -> Answers {
    second().declares(SAFE)
}

/// All calls are mirrored, until so many were compared. How long calls take on a busy machine is no evidence.
fn mirrors(calls: u64) -> impl Fn(&mut Config) {
    move |config| {
        let rollout = &mut config.rollout;
        (rollout.mirror_percent, rollout.mirror_calls, rollout.mirror_ms) = (100, calls, 600_000);
        let judge = &mut rollout.judge;
        (judge.latency_min, judge.latency_trifle_us) = (10.0, 10_000_000);
    }
}

/// More than are made: the warm-up goes on.
const MANY: u64 = 1_000_000;

async fn begin(old: Answers, change: impl FnOnce(&mut Config)) -> Rolling {
    let place = Place::default();
    place.put(&old.build(place.path()), "updated.so");
    let mut config = config(&place);
    change(&mut config);
    Rolling::in_place(place, config).await
}

impl Rolling {
    fn mirrored(&self) -> Option<MirroredView> {
        self.view().rollout?.mirrored
    }

    async fn until_mirrored(&self, what: &str, is_so: impl Fn(&MirroredView) -> bool) -> MirroredView {
        let mut found = None;
        until_async(what, || {
            found = self.mirrored().filter(&is_so);
            found.is_some()
        })
        .await;
        found.expect("it was found")
    }

    /// The new version is ready, and calls are mirrored.
    async fn until_mirroring(&self) {
        self.until_mirrored("calls are mirrored", |_| true).await;
    }

    /// The steps in which it was told to be, with what came of mirrored calls.
    fn steps(&mut self) -> Vec<(RolloutPhase, Option<MirroredView>)> {
        let step = |what: &What| match what {
            What::RolloutMoved { phase, mirrored, .. } => Some((*phase, mirrored.clone())),
            _ => None,
        };
        self.hear().iter().filter_map(step).collect()
    }

    /// Why it was taken back, before any caller was given to it.
    async fn taken_back_before_its_first_call(mut self) -> (String, Self) {
        let why = self.until_taken_back().await;
        let phases: Vec<_> = self.steps().into_iter().map(|(phase, _)| phase).collect();
        let without = [
            RolloutPhase::Loading,
            RolloutPhase::WarmingUp,
            RolloutPhase::Retiring,
        ];
        assert_eq!(phases, without, "{why}");
        let calls = &self.calls;
        assert_eq!(
            (calls.failed.load(Relaxed), calls.new.load(Relaxed)),
            (0, 0),
            "no caller hears of it: {why}"
        );
        assert!(calls.old.load(Relaxed) > 0);
        let errors = self.view().calls.errors;
        assert!(errors.is_empty(), "{errors:?}");
        (why, self)
    }
}

async fn taken_back_by_mirrored(new: Answers) -> String {
    let rolling = begin(old(), mirrors(200)).await.call_of("updated.safe");
    rolling.put(new);
    let (why, mut rolling) = rolling.taken_back_before_its_first_call().await;
    rolling.is_not_tried_again().await;
    rolling.end().await;
    why
}

#[tokio::test(flavor = "multi_thread")]
async fn version_that_panics_at_its_first_call_is_taken_back_before_a_caller_was_given_to_it() {
    let panics = "return extman_fail(error, EXTMAN_STATUS_PANICKED, \"a panic, as told\");";
    let why = taken_back_by_mirrored(new().in_invoke(panics)).await;
    assert!(why.contains("a panic, as told"), "{why}");
}

#[tokio::test(flavor = "multi_thread")]
async fn version_that_errors_is_taken_back_before_a_caller_was_given_to_it() {
    for status in ["INTERNAL", "INVALID_INPUT"] {
        let fails = format!("return extman_fail(error, EXTMAN_STATUS_{status}, \"broken\");");
        let why = taken_back_by_mirrored(new().in_invoke(fails)).await;
        let said = why.contains("of mirrored calls") && why.contains("calls failed, none of");
        assert!(said, "{status}: {why}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn mirrored_call_that_hangs_holds_up_no_caller_and_takes_the_version_back() {
    let brief = |config: &mut Config| {
        mirrors(200)(config);
        // The time of the warm-up is over before that of the call.
        config.rollout.mirror_ms = 300;
        config.instances[0].call_timeout_ms = Some(2_000);
    };
    let rolling = begin(old(), brief).await.call_of("updated.safe");
    let go = rolling.place.path().join("go");
    rolling.put(new().in_invoke(format!("while (access({go:?}, F_OK) != 0) {{ usleep(1000); }}")));
    let (why, rolling) = rolling.taken_back_before_its_first_call().await;
    assert!(
        why.contains("updated.safe") && why.contains("not returned"),
        "{why}"
    );
    std::fs::write(&go, "").expect("written");
    until_async("what hung is unloaded", || {
        rolling.host.status().resident.is_empty()
    })
    .await;
    rolling.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn different_answers_are_counted_and_shown_and_are_not_worse() {
    for (answer, differs) in [("two", true), ("one", false)] {
        let mut rolling = begin(old(), mirrors(30)).await.call_of("updated.safe");
        rolling.put(plugin("updated", "1.1.0", answer).declares(SAFE));
        let canary = |what: &What| {
            matches!(
                what,
                What::RolloutMoved {
                    phase: RolloutPhase::Canary,
                    ..
                }
            )
        };
        let moved = rolling.until_told("it gets calls", canary).await;
        let What::RolloutMoved { mirrored, .. } = &moved else {
            unreachable!("it was looked for")
        };
        let mirrored = mirrored.clone().expect("calls were mirrored");
        assert!(mirrored.compared >= 30, "{mirrored:?}");
        let expected = MirroredView {
            wanted: 30,
            different: if differs { mirrored.compared } else { 0 },
            different_capability: differs.then(|| "updated.safe".to_owned()),
            failed: 0,
            uncompared: 0,
            ..mirrored
        };
        assert_eq!(mirrored, expected);
        let told = moved.to_string();
        let said = format!("; {} of 30 mirrored calls compared", mirrored.compared);
        assert!(told.contains(&said) && !told.contains("answer\""), "{told}");
        // As long as the update lasts.
        if let Some(rollout) = rolling.view().rollout {
            assert_eq!(rollout.mirrored, Some(mirrored));
        }
        until_async("the update is over", || rolling.view().rollout.is_none()).await;
        assert_eq!(rolling.view().version.to_string(), "1.1.0");
        let told = rolling
            .steps()
            .into_iter()
            .filter(|(_, mirrored)| mirrored.is_some());
        assert_eq!(told.count(), 1);
        let (_, calls) = rolling.end().await;
        assert_eq!(calls.failed.load(Relaxed), 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_setting_nothing_is_mirrored() {
    let mut rolling = begin(old(), |_| {}).await.call_of("updated.safe");
    let called = rolling.place.path().join("called");
    // What is not ready stays before its first call.
    let ready = rolling.place.path().join("ready");
    let waits = format!(
        "if (access({ready:?}, F_OK) != 0) {{ return extman_fail(text, EXTMAN_STATUS_INTERNAL, \"not yet\"); }}"
    );
    let notes = format!("if (access({ready:?}, F_OK) != 0) {{ fclose(fopen({called:?}, \"w\")); }}");
    rolling.put(new().in_check(waits).in_invoke(notes));
    rolling.until_in(RolloutPhase::WarmingUp).await;
    let before = rolling.calls.old.load(Relaxed);
    until_async("calls are made", || {
        rolling.calls.old.load(Relaxed) > before + 100
    })
    .await;
    assert_eq!(rolling.mirrored(), None);
    std::fs::write(&ready, "").expect("written");
    until_async("the update is over", || rolling.view().rollout.is_none()).await;
    assert!(!called.exists());
    assert!(rolling.steps().iter().all(|(_, mirrored)| mirrored.is_none()));
    rolling.end().await;
}

/// A host whose update stays in its warm-up, with calls mirrored to this version.
async fn held(new: Answers) -> Rolling {
    let rolling = begin(old(), mirrors(MANY)).await;
    rolling.put(new);
    rolling.until_mirroring().await;
    rolling
}

async fn called(host: &Host, capability: &str) {
    let answer = ask(host, capability).await.expect("the old one answers");
    assert!(answer.contains("one"), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn only_whole_calls_of_idempotent_capabilities_are_mirrored() {
    // By each file that the new version makes is known what it was called for.
    let place = Place::default();
    let path = place.path().join("called").display().to_string();
    let notes = format!(
        "char path[512]; snprintf(path, sizeof path, \"{path}-%.*s\", (int)request->capability.len, (const char *)request->capability.data); \
         fclose(fopen(path, \"w\"));"
    );
    let rolling = held(new().in_invoke(notes)).await;
    let host = &rolling.host;
    for _ in 0..20 {
        called(host, "updated.ask").await;
        let mut streamed = host
            .invoke_streamed(invocation("updated.safe"))
            .expect("it begins");
        while streamed.frames.next().await.is_some() {}
        streamed.done.await.expect("it ends well");
    }
    called(host, "updated.safe").await;
    // Whatever was to be made before it was begun before it.
    let mirrored = rolling
        .until_mirrored("one is compared", |mirrored| mirrored.compared > 0)
        .await;
    assert_eq!((mirrored.compared, mirrored.uncompared), (1, 0), "{mirrored:?}");
    assert!(std::path::Path::new(&format!("{path}-updated.safe")).exists());
    assert!(!std::path::Path::new(&format!("{path}-updated.ask")).exists());
    rolling.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn capability_that_is_not_idempotent_in_both_versions_or_takes_another_input_is_not_mirrored() {
    const OTHER_INPUT: &str =
        "[[capability]]\nname = \"updated.safe\"\nidempotent = true\ninput = { type = \"object\" }\n";
    for (old, new) in [
        (first(), new()),
        (old(), second()),
        (old(), second().declares(OTHER_INPUT)),
    ] {
        let mut rolling = begin(old, mirrors(MANY)).await;
        rolling.put(new);
        // There is nothing to wait for.
        rolling.until_in(RolloutPhase::Canary).await;
        assert!(rolling.steps().iter().all(|(_, mirrored)| mirrored.is_none()));
        rolling.end().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn mirrored_calls_count_as_nobodys_and_those_of_attached_threads_are_mirrored() {
    const CALLS: u64 = 30;
    let rolling = held(new()).await;
    for _ in 0..CALLS {
        called(&rolling.host, "updated.safe").await;
    }
    let before = rolling
        .until_mirrored("some are compared", |mirrored| mirrored.compared > 0)
        .await;
    let host = rolling.host.clone();
    // A thread that ends: as long as one is attached, the library stays.
    let attached = std::thread::spawn(move || {
        let attached = Attached::new().expect("a context");
        let give_up = Instant::now() + LIMIT;
        let mut calls = 0;
        let more = || {
            let rollout = host.plugin("updated").expect("it is known").rollout;
            rollout
                .and_then(|rollout| rollout.mirrored)
                .expect("it goes on")
                .compared
                > CALLS
        };
        while !more() {
            assert!(
                Instant::now() < give_up,
                "no call of an attached thread is mirrored"
            );
            let answer = host
                .invoke_attached(&attached, "updated.safe", b"{}")
                .expect("an answer");
            assert!(String::from_utf8_lossy(&answer.reply.body).contains("one"));
            calls += 1;
        }
        calls
    });
    let attached = tokio::task::spawn_blocking(|| attached.join()).await;
    let attached: u64 = attached.expect("it is joined").expect("it has called");
    let stats = rolling.view().calls;
    assert!(before.compared <= CALLS);
    assert_eq!((stats.total, stats.errors.len()), (CALLS + attached, 0));
    rolling.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mirrored_call_has_all_that_its_caller_says_but_the_trace() {
    let holds = "if (extman_metadata(request, extman_bytes(\"traceparent\")).data != NULL || extman_metadata(request, extman_bytes(\"tenant\")).data == \
                 NULL) { return extman_fail(error, EXTMAN_STATUS_INTERNAL, \"other metadata\"); }";
    let rolling = held(new().in_invoke(holds)).await;
    let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let mut invocation = invocation("updated.safe");
    invocation.extras.metadata = vec![pair("traceparent", trace), pair("tenant", "one")];
    rolling
        .host
        .invoke_raw(invocation)
        .await
        .expect("the old one answers");
    let mirrored = rolling
        .until_mirrored("it is compared", |mirrored| mirrored.compared > 0)
        .await;
    assert_eq!(mirrored.failed, 0, "{mirrored:?}");
    rolling.end().await;
}

const SAFE_AND_CALLS: &str = "[[capability]]\nname = \"updated.safe\"\nidempotent = true\n[[requires]]\nplugin = \"dep\"\noptional = true\n";

/// A version that calls this capability of another plugin in each call.
fn calling(capability: &str) -> Answers {
    let heard = "static ExtmanStatus heard(void *context, const ExtmanAnswer *answer) { *(ExtmanStatus *)context = answer->status; return \
                 EXTMAN_STATUS_OK; }";
    let calls = format!(
        "ExtmanStatus came = EXTMAN_STATUS_INTERNAL; ExtmanRequest nested = extman_request(request->call, extman_bytes(\"{capability}\"), \
         extman_bytes(\"{{}}\")); ExtmanReceiver receiver = {{.struct_size = sizeof receiver, .context = &came, .answer = heard}}; \
         extman_call_table(host)->call(host, instance->token, &nested, EXTMAN_NO_DEADLINE, &receiver); \
         if (came != EXTMAN_STATUS_OK) {{ return extman_fail(error, EXTMAN_STATUS_INTERNAL, \"not without that\"); }}"
    );
    second().declares(SAFE_AND_CALLS).code(heard).in_invoke(calls)
}

#[tokio::test(flavor = "multi_thread")]
async fn mirrored_call_makes_no_call_that_may_not_be_made_twice() {
    const DEP: &str = "[[capability]]\nname = \"dep.safe\"\nidempotent = true\n";
    for (capability, limits, is_made) in [
        ("dep.safe", CallLimits::default(), true),
        ("dep.ask", CallLimits::default(), false),
        (
            "dep.safe",
            CallLimits {
                in_flight_max: Some(10),
                ..CallLimits::default()
            },
            false,
        ),
    ] {
        let place = Place::default();
        place.put(&old().build(place.path()), "updated.so");
        place.put(
            &plugin("dep", "1.0.0", "dep").declares(DEP).build(place.path()),
            "dep.so",
        );
        let mut config = config(&place);
        mirrors(MANY)(&mut config);
        let limited = InstanceConfig {
            limits,
            ..InstanceConfig::default_for("dep")
        };
        config.instances.push(limited);
        let rolling = Rolling::in_place(place, config).await;
        rolling.put(calling(capability));
        rolling.until_mirroring().await;
        for _ in 0..3 {
            called(&rolling.host, "updated.safe").await;
        }
        let any = |mirrored: &MirroredView| mirrored.compared + mirrored.uncompared > 0;
        let mirrored = rolling.until_mirrored("one is made", any).await;
        assert_eq!(
            (mirrored.compared > 0, mirrored.uncompared > 0, mirrored.failed),
            (is_made, !is_made, 0),
            "{capability} {limits:?}: {mirrored:?}"
        );
        let made = rolling.host.plugin("dep").expect("it is known").calls.total;
        assert_eq!(made > 0, is_made, "{capability} {limits:?}");
        rolling.end().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn warm_up_without_calls_ends_by_its_time_and_says_so() {
    let mut rolling = begin(old(), |config| {
        mirrors(MANY)(config);
        config.rollout.mirror_ms = 300;
    })
    .await;
    rolling.put(new());
    rolling.until_in(RolloutPhase::Canary).await;
    let (_, mirrored) = rolling.steps().pop().expect("it was told");
    let mirrored = mirrored.expect("calls were to be mirrored");
    assert_eq!((mirrored.compared, mirrored.wanted), (0, MANY));
    rolling.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn operator_ends_the_mirroring_and_a_pause_outlasts_it() {
    let mut rolling = held(new()).await;
    let host = rolling.host.clone();
    let steer = |command| host.rollout("updated", command);
    let promoted = steer(RolloutCommand::Promote).await.expect("it is promoted");
    assert_eq!(
        promoted.rollout.map(|rollout| rollout.phase),
        Some(RolloutPhase::Probation)
    );
    steer(RolloutCommand::Abort).await.expect("it is taken back");
    rolling.until_taken_back().await;
    rolling.end().await;

    let mut rolling = held(new()).await;
    let aborted = rolling.host.rollout("updated", RolloutCommand::Abort).await;
    aborted.expect("it is taken back");
    rolling.until_taken_back().await;
    rolling.end().await;

    let rolling = begin(old(), mirrors(5)).await;
    rolling.put(new());
    rolling.until_mirroring().await;
    let host = rolling.host.clone();
    let steer = |command| host.rollout("updated", command);
    steer(RolloutCommand::Pause).await.expect("it is paused");
    let rolling = rolling.call_of("updated.safe");
    until_async("it is warm", || {
        let rollout = rolling.view().rollout.expect("it goes on");
        rollout.due_ms.is_none() && rollout.mirrored.is_some_and(|mirrored| mirrored.compared >= 5)
    })
    .await;
    let phase = rolling.view().rollout.map(|rollout| rollout.phase);
    assert_eq!(phase, Some(RolloutPhase::WarmingUp));
    steer(RolloutCommand::Resume).await.expect("it goes on");
    until_async("the update is over", || rolling.view().rollout.is_none()).await;
    assert_eq!(rolling.view().version.to_string(), "1.1.0");
    rolling.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn other_configuration_begins_the_mirroring_anew() {
    let mut rolling = held(new()).await.call_of("updated.safe");
    rolling
        .until_mirrored("some are compared", |mirrored| mirrored.compared > 0)
        .await;
    let asked = ConfigChangeAsked {
        set: [("config.size".to_owned(), 2.into())].into(),
        ..ConfigChangeAsked::default()
    };
    let _ = rolling.host.change_config("updated", asked).await;
    let loads = |steps: &[(RolloutPhase, Option<MirroredView>)]| {
        let loading = |(phase, _): &&(RolloutPhase, _)| *phase == RolloutPhase::Loading;
        steps.iter().filter(loading).count()
    };
    until_async("it begins anew", || loads(&rolling.steps()) == 2).await;
    rolling
        .until_mirrored("some are compared", |mirrored| mirrored.compared > 0)
        .await;
    assert!(rolling.view().barred.is_empty());
    let (_, calls) = rolling.end().await;
    assert_eq!((calls.failed.load(Relaxed), calls.new.load(Relaxed)), (0, 0));
}
