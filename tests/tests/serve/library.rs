//! The library, as a program that embeds it uses it.

use crate::answers::plugin;
use crate::served::Place;
use extman::Host;
use extman_model::{Event, Lifecycle, Verdict, What};
use extman_tests::{build, until_async};
use serde::Deserialize;
use serde_json::json;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::broadcast::Receiver;

#[derive(Debug, PartialEq, Deserialize)]
struct Answered {
    answer: String,
    config: serde_json::Value,
}

fn answered(answer: &str) -> Answered {
    Answered {
        answer: answer.to_owned(),
        config: json!({}),
    }
}

async fn host(place: &Place, store: &Path) -> Host {
    let builder = Host::builder().dir(place.plugins()).store_dir(store);
    builder.vetting(false).build().await.expect("a host")
}

async fn next(events: &mut Receiver<Event>) -> What {
    let event = tokio::time::timeout(extman_tests::until::LIMIT, events.recv()).await;
    event.expect("an event comes").expect("none is missed").what
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_listens_from_the_start_hears_what_is_wrong_with_a_directory() {
    let place = Place::default();
    let missing = place.path().join("none");
    let builder = Host::builder()
        .dir(&missing)
        .store_dir(place.path().join("store"));
    let (host, mut events) = builder.vetting(false).build_and_listen().await.expect("a host");
    let first = next(&mut events).await;
    assert!(
        matches!(&first, What::Refused(refused) if refused.path == missing && refused.code == "directory-missing"),
        "{first:?}"
    );
    host.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn events_come_in_order_and_what_they_tell_can_be_seen_by_then() {
    let place = Place::default();
    place.put(&plugin("told", "1.0.0", "one").build(place.path()), "told.so");
    let host = host(&place, &place.path().join("store")).await;
    let mut events = host.events();
    let found = next(&mut events).await;
    assert!(
        matches!(&found, What::Found { id, .. } if id == "told"),
        "{found:?}"
    );
    for (was, is) in [
        (Lifecycle::Verified, Lifecycle::Starting),
        (Lifecycle::Starting, Lifecycle::Running),
    ] {
        let What::Moved { name, from, to, .. } = next(&mut events).await else {
            panic!("not moved");
        };
        assert_eq!((name.as_str(), from, to), ("told", was, is));
        let seen = host.plugin("told").expect("it is known by then").lifecycle;
        assert!(seen == is || seen == Lifecycle::Running, "{seen:?} after {is:?}");
    }
    let typed: Answered = host.call("told.ask", &json!({})).await.expect("an answer");
    assert_eq!(typed, answered("one"));
    let wrong = host
        .call::<u32>("told.ask", &json!({}))
        .await
        .unwrap_err()
        .to_string();
    assert!(wrong.contains("the answer of told is not as expected"), "{wrong}");
    let nobody = host
        .call::<u32>("no.such", &json!({}))
        .await
        .unwrap_err()
        .to_string();
    assert!(nobody.contains("no.such"), "{nobody}");
    assert_eq!(host.shutdown().await, [("told".to_owned(), Verdict::Unmapped)]);
    assert_eq!(host.shutdown().await, [], "there is nothing left");
    assert!(host.load("told").await.is_err());
    let mut rest = Vec::new();
    while let Ok(event) = events.try_recv() {
        rest.push(event.what);
    }
    let unloaded = |what: &What| matches!(what, What::Unloaded { name, .. } if name == "told");
    assert!(rest.iter().any(unloaded), "{rest:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hosts_live_in_one_process() {
    let place = Place::default();
    place.put(
        &plugin("shared", "1.0.0", "both").build(place.path()),
        "shared.so",
    );
    for stores in [["one", "one"], ["one", "two"]] {
        let [left, right] = stores.map(|store| place.path().join(store));
        let (left, right) = (host(&place, &left).await, host(&place, &right).await);
        for host in [&left, &right] {
            host.wait_ready().await;
            let typed: Answered = host.call("shared.ask", &json!({})).await.expect("an answer");
            assert_eq!(typed, answered("both"));
        }
        assert_eq!(left.shutdown().await, [("shared".to_owned(), Verdict::Unmapped)]);
        let typed: Answered = right.call("shared.ask", &json!({})).await.expect("an answer");
        assert_eq!(typed, answered("both"), "the other one has a library of its own");
        assert_eq!(right.shutdown().await, [("shared".to_owned(), Verdict::Unmapped)]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_is_shut_down_before_it_is_ready_ends() {
    let place = Place::default();
    place.put(&plugin("early", "1.0.0", "one").build(place.path()), "early.so");
    let host = host(&place, &place.path().join("store")).await;
    let verdicts = host.shutdown().await;
    assert!(
        verdicts.iter().all(|(_, verdict)| verdict.is_unmapped()),
        "{verdicts:?}"
    );
    host.wait_ready().await;
    until_async("nobody is left", || host.plugins().is_empty()).await;
}

#[test]
fn a_process_that_drops_its_host_ends_well() {
    let place = Place::default();
    place.put(
        &plugin("dropped", "1.0.0", "one").build(place.path()),
        "dropped.so",
    );
    place.put(&build::plugin("faults"), "faults.so");
    let output = Command::new(env!("CARGO_BIN_EXE_drop-host"))
        .args([place.plugins(), place.path().join("store")])
        .output()
        .expect("it runs");
    let said = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert_eq!(said.trim(), "2 running", "{output:?}");
}

#[test]
fn the_example_of_embedding_runs() {
    let what = [
        "-p",
        "extman",
        "-p",
        "extman-runtime",
        "--example",
        "embed",
        "--bins",
    ];
    let example = build::cargo(&xtask::root(), &build::folder("test-plugins"), &what, "embed");
    let place = Place::default();
    place.put(&build::plugin("lang-detect"), "lang-detect.so");
    std::fs::write(place.plugins().join("no.so"), b"no library").unwrap();
    let output = Command::new(example)
        .arg(place.plugins())
        .output()
        .expect("it runs");
    let said = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let lines: Vec<&str> = said.lines().map(str::trim).collect();
    assert!(
        lines[0].starts_with("lang-detect ") && lines[0].ends_with(" is running"),
        "{said}"
    );
    assert!(lines[1].contains("no.so was refused: "), "{said}");
    assert!(
        lines[2].starts_with("text.detect-language: ") && lines[2].contains("fr"),
        "{said}"
    );
    assert_eq!(lines[3..], ["lang-detect: unmapped"], "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn plugin_that_is_seen_to_run_is_chosen_for_calls() {
    let place = Place::default();
    place.put(&plugin("seen", "1.0.0", "one").build(place.path()), "seen.so");
    let host = host(&place, &place.path().join("store")).await;
    host.wait_ready().await;
    let ended = Arc::new(AtomicBool::new(false));
    let watcher = std::thread::spawn({
        let (host, ended) = (host.clone(), ended.clone());
        move || {
            let (mut looked, mut overlooked) = (0_u64, 0_u64);
            while !ended.load(Ordering::SeqCst) {
                let snapshot = host.snapshot();
                let Some(before) = snapshot.get("seen").filter(|entry| entry.serving.is_some()) else {
                    continue;
                };
                let is_chosen = snapshot
                    .route("seen.ask")
                    .is_some_and(|route| route.choice().is_some());
                // Only what has been the same all the while says that it ran meanwhile.
                let after = snapshot.get("seen");
                if after.is_some_and(|after| Arc::ptr_eq(&before, &after))
                    && before.lifecycle == Lifecycle::Running
                {
                    looked += 1;
                    overlooked += u64::from(!is_chosen);
                }
            }
            (looked, overlooked)
        }
    });
    for _ in 0..300 {
        host.unload("seen").await.expect("unloaded");
        host.load("seen").await.expect("loaded");
    }
    ended.store(true, Ordering::SeqCst);
    let (looked, overlooked) = watcher.join().expect("it looked");
    assert!(looked > 0);
    assert_eq!(overlooked, 0, "of {looked}");
    host.shutdown().await;
}
