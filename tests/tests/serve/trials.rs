//! An instance that nothing but its calls say to be down gets calls on trial after a while, whoever calls and however: only so is it seen to
//! be well.

use crate::answers::plugin;
use crate::served::Place;
use extman::config::{AllDown, BreakerConfig, Config, RoutingConfig};
use extman::control::{Control, Invocation};
use extman::{Attached, Host, InstanceConfig};
use extman_model::{CallError, Health, ProbeSettings, RequestExtras};
use extman_tests::until::LIMIT;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// A host with `tried`, whose calls fail until it is told to be well, and maybe with `other`, which stands in for it.
struct Trials {
    host: Host,
    well: PathBuf,
    place: Place,
}

const SHARED: &str = "[[capability]]\nname = \"shared.ask\"\n";
/// Of the one that is tried.
const HELD: &str =
    "[[capability]]\nname = \"shared.ask\"\n[capability.input]\ntype = \"object\"\nrequired = [\"text\"]\n";

impl Trials {
    async fn begin(all_down: AllDown, is_alone: bool) -> Self {
        let place = Place::default();
        let (well, wrong) = (place.path().join("well"), place.path().join("wrong"));
        let code = format!(
            r#"
    if (request->input.len < 6) {{
        FILE *wrong = fopen({wrong:?}, "w");
        if (wrong != NULL) {{
            fclose(wrong);
        }}
    }}
    if (access({well:?}, F_OK) != 0) {{
        return extman_fail(error, EXTMAN_STATUS_INTERNAL, "as told");
    }}"#
        );
        let tried = plugin("tried", "1.0.0", "tried").declares(HELD).in_invoke(code);
        place.put(&tried.build(place.path()), "tried.so");
        if !is_alone {
            let other = plugin("other", "1.0.0", "other").declares(SHARED);
            place.put(&other.build(place.path()), "other.so");
        }
        let mut config = Config {
            probe: ProbeSettings {
                interval_ms: Some(100),
                window_ms: Some(1000),
                ..ProbeSettings::default()
            },
            routing: RoutingConfig {
                all_down,
                breaker: BreakerConfig {
                    open_ms: 100,
                    open_max_ms: 100,
                    ..BreakerConfig::default()
                },
                ..RoutingConfig::default()
            },
            ..Config::default()
        };
        (config.history.enabled, config.state.dir) = (false, None);
        let instance = InstanceConfig {
            priority: 10,
            ..InstanceConfig::default_for("tried")
        };
        let builder = Host::builder().config(config).dir(place.plugins());
        let builder = builder.store_dir(place.path().join("store")).instance(instance);
        let host = builder.vetting(false).build().await.expect("a host");
        host.wait_ready().await;
        Trials { host, well, place }
    }

    fn health(&self) -> Option<Health> {
        Some(self.host.plugin("tried").ok()?.health?.judged.health)
    }

    /// Its calls fail until it is down for that; from then on they would succeed. Calls on until it is up.
    async fn is_well_again(&self, what: &str, mut call: impl AsyncFnMut(&Host)) {
        let give_up = Instant::now() + LIMIT;
        while self.health() != Some(Health::Down) {
            call(&self.host).await;
            assert!(Instant::now() < give_up, "{what}: not down: {:?}", self.health());
        }
        std::fs::write(&self.well, "").expect("written");
        while self.health() != Some(Health::Up) {
            call(&self.host).await;
            assert!(Instant::now() < give_up, "{what}: not up: {:?}", self.health());
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        self.host.shutdown().await;
    }
}

fn invocation(body: &str) -> Invocation {
    Invocation {
        capability: "shared.ask".to_owned(),
        instance: None,
        content_type: "application/json".to_owned(),
        body: body.as_bytes().to_vec(),
        timeout: None,
        extras: RequestExtras::NONE,
    }
}

const FITS: &str = "{\"text\": 1}";

#[tokio::test(flavor = "multi_thread")]
async fn instance_that_alone_serves_and_is_down_by_its_calls_is_up_once_they_succeed_though_all_down_is_fail()
{
    let trials = Trials::begin(AllDown::Fail, true).await;
    let call = async |host: &Host| drop(host.invoke_raw(invocation(FITS)).await);
    trials.is_well_again("alone", call).await;
}

async fn stream(host: &Host) -> Result<(), CallError> {
    host.invoke_streamed(invocation(FITS))?.done.await.map(drop)
}

#[tokio::test(flavor = "multi_thread")]
async fn instance_down_by_its_calls_is_up_once_they_succeed_though_all_callers_stream() {
    let trials = Trials::begin(AllDown::LeastBad, false).await;
    let call = async |host: &Host| drop(stream(host).await);
    trials.is_well_again("streams", call).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn instance_down_by_its_calls_is_up_once_they_succeed_though_all_callers_are_attached() {
    let trials = Trials::begin(AllDown::LeastBad, false).await;
    let call = async |host: &Host| {
        let host = host.clone();
        let called = tokio::task::spawn_blocking(move || {
            let attached = Attached::new().expect("a context");
            (0..10).for_each(|_| drop(host.invoke_attached(&attached, "shared.ask", FITS.as_bytes())));
        });
        called.await.expect("it has called");
    };
    trials.is_well_again("attached", call).await;
}

/// Calls of which two in three fit the one that stands in alone, by the host as programs and people use it.
async fn holds_the_input_on_trial(what: &str, ask: impl AsyncFn(&Host, &str) -> Result<(), CallError>) {
    let trials = Trials::begin(AllDown::LeastBad, false).await;
    let (mut calls, mut well) = (0_u64, false);
    let call = async |host: &Host| {
        calls += 1;
        well |= trials.well.exists();
        let fits = !well || calls.is_multiple_of(3);
        let snapshot = host.snapshot();
        let choice = snapshot.route("shared.ask").expect("it is offered").choice();
        let serving = choice.as_ref().and_then(|choice| choice.serving.clone());
        let other_serves = serving.is_some_and(|serving| &*serving.entry.name == "other");
        let asked = ask(host, if fits { FITS } else { "{}" }).await;
        // Once it serves again, what does not fit is refused for good reason.
        if let Err(error) = asked
            && well
            && other_serves
        {
            panic!("{what}: the other one serves: {error}");
        }
    };
    trials.is_well_again(what, call).await;
    let wrong = trials.place.path().join("wrong");
    assert!(!wrong.exists(), "it was given what does not fit its schema");
}

#[tokio::test(flavor = "multi_thread")]
async fn trial_holds_the_input_against_the_schema_of_the_plugin_on_trial_and_the_other_serves_what_does_not_fit()
 {
    holds_the_input_on_trial("held", async |host, body| {
        host.invoke(invocation(body)).await.map(drop)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn trial_that_streams_holds_the_input_too_and_the_other_serves_what_does_not_fit() {
    holds_the_input_on_trial("held stream", async |host, body| {
        let stream = Control::invoke_stream(host, invocation(body)).await?;
        stream.done.await.map(drop)
    })
    .await;
}
