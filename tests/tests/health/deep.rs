//! Deep checks in a real host. An operator asks for them: the five minutes that must lie between two are the product's own.

use super::observe::{PROBE, way};
use extman_model::{CheckOutcome, DeepView, ErrorKind, Health, HealthView, Lifecycle};
use extman_tests::served::Served;
use extman_tests::{build, until};

const CHECK: &str = "/api/v1/plugins/faults/check";
const WANTED: &str = "deep_every_ms = 300000\ndeep_per_day = 2\ndeep_timeout_ms = 500\n";

/// A host with `faults`, up; `probe` is for that instance.
fn served(config: &str, probe: &str) -> Served {
    let settings = format!(
        "[vetting]\nenabled = false\n{PROBE}[[instance]]\nplugin = \"faults\"\nwedge_after_ms = 1000\n[instance.probe]\n{probe}\
         [instance.config]\n{config}"
    );
    let served = Served::start(&settings, &[]);
    served.put(&build::plugin("faults"));
    until("it is up", || {
        health(&served).is_some_and(|health| health.judged.health == Health::Up)
    });
    served
}

fn health(served: &Served) -> Option<HealthView> {
    served.client().plugin("faults")?.health
}

fn deep(served: &Served) -> DeepView {
    *health(served).unwrap().deep.unwrap()
}

fn ask(served: &Served) -> Result<(), String> {
    served
        .client()
        .post(&format!("{CHECK}?deep=true"), "{}")
        .map(drop)
}

#[test]
fn one_that_fails_while_it_is_ready_is_seen_and_its_cost_outlives_a_killed_host() {
    let mut served = served("hazard = \"unavailable\"\nphase = \"deep\"\n", WANTED);
    ask(&served).unwrap();
    let view = deep(&served);
    assert_eq!((view.left, view.per_day, view.failed), (1, 2, 1));
    let last = view.last.unwrap();
    assert!(
        matches!(
            &last.check.outcome,
            CheckOutcome::Failed {
                kind: ErrorKind::Unavailable,
                ..
            }
        ),
        "{last:?}"
    );
    assert!(last.counted && last.check.took_ns.is_some());
    assert_eq!(
        health(&served).unwrap().judged.health,
        Health::Up,
        "one failure is not believed"
    );
    assert_eq!(ask(&served).unwrap_err(), "rate_limited");
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let now = u64::try_from(now.unwrap().as_millis()).unwrap();
    until("what came of it is written down, too", || {
        let told = served.client().get("/api/v1/health").unwrap();
        told["history"]["last_write_unix_ms"].as_u64() > Some(now)
    });
    served.kill_and_start();
    until("it is up again", || {
        health(&served).is_some_and(|health| health.judged.health == Health::Up)
    });
    assert_eq!(ask(&served).unwrap_err(), "rate_limited");
    until("what was spent is known", || deep(&served).left == 1);
    let view = deep(&served);
    assert_eq!((view.last.as_ref(), view.failed), (Some(&last), 0));
    let history = served
        .client()
        .get("/api/v1/plugins/faults/history?since=1h")
        .unwrap();
    let checks = history["checks"].as_array().unwrap();
    assert_eq!(checks.len(), 1, "{checks:?}");
    assert_eq!(
        (
            &checks[0]["check"]["kind"],
            &checks[0]["check"]["outcome"],
            &checks[0]["counted"]
        ),
        (
            &serde_json::json!("deep"),
            &serde_json::to_value(&last.check.outcome).unwrap(),
            &serde_json::json!(true)
        )
    );
    assert!(view.next_ms.unwrap() <= 300_000);
}

#[test]
fn one_that_hangs_hinders_no_other_check_and_a_plugin_that_never_comes_back_is_wedged() {
    let served = served("hazard = \"hang\"\nphase = \"deep\"\n", WANTED);
    let client = served.client().clone();
    let asking = std::thread::spawn(move || client.post(&format!("{CHECK}?deep=true"), "{}"));
    until("it is under way", || deep(&served).under_way);
    let checked = || {
        served
            .client()
            .plugin("faults")
            .unwrap()
            .check
            .unwrap()
            .at_unix_ms
    };
    let before = checked();
    until("it is asked how it is meanwhile", || {
        checked() > before && deep(&served).under_way
    });
    asking.join().unwrap().unwrap();
    let view = deep(&served);
    assert_eq!(
        (view.failed, view.last.unwrap().check.outcome),
        (1, CheckOutcome::TimedOut)
    );
    until("it is wedged, and so down", || {
        let wedged = served.client().plugin("faults").unwrap().lifecycle == Lifecycle::Wedged;
        wedged && health(&served).is_some_and(|health| health.judged.health == Health::Down)
    });
    assert!(
        !way(&served)
            .iter()
            .any(|step| step.contains("→ unknown: no result"))
    );
}

#[test]
fn one_that_takes_long_does_not_hold_up_its_plugins_end() {
    let long = WANTED.replace("deep_timeout_ms = 500", "deep_timeout_ms = 300000");
    let served = served("hazard = \"hang-until-cancelled\"\nphase = \"deep\"\n", &long);
    let client = served.client().clone();
    let asking = std::thread::spawn(move || client.post(&format!("{CHECK}?deep=true"), "{}"));
    until("it is under way", || deep(&served).under_way);
    served
        .client()
        .post("/api/v1/plugins/faults/unload", "{}")
        .unwrap();
    // Whoever sees it first tells: the request that is refused now, or that the plugin has left.
    match asking.join().unwrap() {
        Ok(answer) => assert_eq!(answer["data"]["probe"]["result"], "left", "{answer}"),
        Err(word) => assert_eq!(word, "conflict"),
    }
    let view = served.client().plugin("faults").unwrap();
    assert_eq!(view.lifecycle, Lifecycle::Stopped);
    assert!(served.client().status().unwrap().resident.is_empty());
}

#[test]
fn nobody_is_asked_who_was_not_wanted_or_whose_cost_is_not_kept() {
    let host = served("", "");
    assert_eq!(ask(&host).unwrap_err(), "conflict");
    assert!(health(&host).unwrap().deep.is_none());
    drop(host);
    let mut host = served("", WANTED);
    let file = host.folder().join("extman.toml");
    let config = std::fs::read_to_string(&file).unwrap();
    std::fs::write(
        &file,
        config.replace("[history]\n", "[history]\nenabled = false\n"),
    )
    .unwrap();
    host.kill_and_start();
    until("it is up again", || {
        health(&host).is_some_and(|health| health.judged.health == Health::Up)
    });
    assert_eq!(ask(&host).unwrap_err(), "unavailable");
    let view = deep(&host);
    assert!(view.obstacle.unwrap().contains("history.enabled is false"));
    assert_eq!((view.last, view.next_ms), (None, None));
}
