//! Libraries that stay in memory after their unload, and go once what held them is gone.

use crate::answers::plugin;
use crate::served::{Place, Served};
use extman::Host;
use extman_model::{ResidentReason, Verdict, What};
use extman_tests::{build, until_async};
use serde_json::{Value, json};

const UNVETTED: &str = "[vetting]\nenabled = false\n[supervision]\nrestart = \"never\"\n";

fn reasons(host: &Served) -> Vec<Value> {
    let all = host.get("/api/v1/status")["resident"].clone();
    let all = all.as_array().cloned().unwrap_or_default();
    all.iter().map(|one| one["verdict"]["reason"].clone()).collect()
}

fn until_gone(host: &Served, name: &str) {
    host.until("nothing is listed any more", || reasons(host).is_empty());
    let view = host.plugin(name);
    assert_eq!(view["unload"]["verdict"], "unmapped", "{view}");
    assert_eq!(host.mapped_plugins(), 0, "the verdict is a lie");
    host.until_log("unloaded: unmapped");
}

#[test]
fn a_call_that_comes_back_after_the_unload_frees_the_library() {
    let place = Place::default();
    place.put(&build::plugin("faults"), "faults.so");
    let host = place.serve(&format!(
        "[[instance]]\nplugin = \"faults\"\ncall_timeout_ms = 50\nwedge_after_ms = 50\nstop_budget_ms = 300\n{UNVETTED}"
    ));
    host.until_ready();
    let release = host.place.path().join("release");
    let order = json!({"hazard": "hang", "release": release}).to_string();
    host.call("fault.run", "", order.as_bytes());
    host.until_lifecycle("faults", "wedged");
    let (_, body) = host.change("faults", "unload");
    assert_eq!(body["data"]["unload"]["reason"], "wedged-call", "{body}");
    assert_eq!(reasons(&host), ["wedged-call"]);
    assert_eq!(host.mapped_plugins(), 1);
    std::fs::write(release, b"").unwrap();
    until_gone(&host, "faults");
    let cause = host.plugin("faults")["cause"].to_string();
    assert!(
        cause.contains("invoke (fault.run) came back only after"),
        "{cause}"
    );
    host.stop();
}

#[test]
fn a_thread_that_ends_after_the_unload_frees_the_library() {
    let place = Place::default();
    place.put(&build::plugin("faults"), "faults.so");
    let host = place.serve(UNVETTED);
    host.until_ready();
    let release = host.place.path().join("release");
    let order = json!({"hazard": "thread-alive", "release": release}).to_string();
    assert_eq!(host.call("fault.run", "", order.as_bytes()).0, 200);
    let (_, body) = host.change("faults", "restart");
    assert_eq!(body["data"]["unload"]["reason"], "live-thread", "{body}");
    let (now, before) = (&body["data"]["generation"], &body["data"]["unload_generation"]);
    assert!(before.as_u64() < now.as_u64(), "whose verdict it is: {body}");
    assert_eq!(reasons(&host), ["live-thread"]);
    assert_eq!(host.mapped_plugins(), 2);
    std::fs::write(release, b"").unwrap();
    host.until("nothing is listed any more", || reasons(&host).is_empty());
    assert_eq!(host.mapped_plugins(), 1, "the one that serves");
    let view = host.plugin("faults");
    assert_eq!(view["unload"]["verdict"], "unmapped", "{view}");
    assert_eq!(view["lifecycle"], "running", "{view}");
    host.stop();
}

#[test]
fn a_finaliser_that_returns_late_leaves_nothing_listed_and_others_can_be_loaded_again() {
    let place = Place::default();
    place.put(&build::c_fault("hang-finaliser"), "hang.so");
    place.put(&build::plugin("lang-detect"), "lang.so");
    let release = place.path().join("release");
    let host = place.serve_with(UNVETTED, &[(faults_build::RELEASE_VARIABLE, &release)]);
    host.until_ready();
    let (_, body) = host.change("fault-hang-finaliser", "unload");
    assert_eq!(body["data"]["unload"]["reason"], "close-hangs", "{body}");
    assert_eq!(reasons(&host), ["close-hangs"]);
    std::fs::write(release, b"").unwrap();
    host.until("nothing is listed any more", || reasons(&host).is_empty());
    let view = host.plugin("fault-hang-finaliser");
    assert_eq!(view["unload"]["verdict"], "unmapped", "{view}");
    assert_eq!(host.mapped_plugins(), 1, "the other one");
    let (status, body) = host.change("lang-detect", "restart");
    assert_eq!(status, 200, "{body}");
    host.until_lifecycle("lang-detect", "running");
    host.stop();
}

#[test]
fn a_refused_library_that_is_held_is_listed_until_it_can_go() {
    let place = Place::default();
    let release = place.path().join("release");
    let library = plugin("broken", "1.0.0", "").refused_with_a_thread_until(&release);
    place.put(&library.build(place.path()), "broken.so");
    let host = place.serve(UNVETTED);
    host.until_ready();
    let view = host.plugin("broken");
    assert_eq!(view["lifecycle"], "failed", "{view}");
    assert!(
        view["cause"].as_str().unwrap().contains("no lifecycle table"),
        "{view}"
    );
    assert_eq!(reasons(&host), ["live-thread"], "{view}");
    assert_eq!(host.mapped_plugins(), 1);
    std::fs::write(release, b"").unwrap();
    until_gone(&host, "broken");
    host.stop();
}

#[test]
fn what_the_dynamic_loader_keeps_stays_listed() {
    let place = Place::default();
    place.put(&build::c_fault("nodelete"), "nodelete.so");
    // A second one goes after it: by then the first has had its chance too.
    place.put(&build::plugin("faults"), "faults.so");
    let host = place.serve(UNVETTED);
    host.until_ready();
    host.change("fault-nodelete", "unload");
    let release = host.place.path().join("release");
    let order = json!({"hazard": "thread-alive", "release": release}).to_string();
    assert_eq!(host.call("fault.run", "", order.as_bytes()).0, 200);
    host.change("faults", "unload");
    assert_eq!(reasons(&host), ["kept-by-loader", "live-thread"]);
    std::fs::write(release, b"").unwrap();
    host.until("the other one is gone", || reasons(&host) == ["kept-by-loader"]);
    host.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_attached_thread_that_ends_after_the_unload_frees_the_library() {
    let place = Place::default();
    place.put(&plugin("inline", "1.0.0", "yes").build(place.path()), "inline.so");
    let builder = Host::builder()
        .dir(place.plugins())
        .store_dir(place.path().join("store"));
    let host = builder.vetting(false).build().await.expect("a host");
    host.wait_ready().await;
    let (end, ended) = std::sync::mpsc::channel::<()>();
    let (called, answered) = tokio::sync::oneshot::channel();
    let thread = std::thread::spawn({
        let host = host.clone();
        move || {
            let attached = extman_runtime::lanes::Attached::new().expect("a slot");
            let answer = host.invoke_attached(&attached, "inline.ask", b"{}");
            called.send(answer.is_ok()).expect("somebody waits");
            let _ = ended.recv();
        }
    });
    assert!(answered.await.unwrap());
    let mut events = host.events();
    let view = host.unload("inline").await.expect("it is unloaded");
    let held = |verdict: &Verdict| {
        matches!(
            verdict,
            Verdict::Resident {
                reason: ResidentReason::AttachedThread,
                ..
            }
        )
    };
    assert!(view.unload.as_ref().is_some_and(held), "{view:?}");
    assert!(host.status().resident.iter().any(|one| held(&one.verdict)));
    drop(end);
    thread.join().unwrap();
    until_async("it is gone", || host.status().resident.is_empty()).await;
    assert_eq!(host.plugin("inline").unwrap().unload, Some(Verdict::Unmapped));
    let mut verdicts = Vec::new();
    while let Ok(event) = events.try_recv() {
        if let What::Unloaded { verdict, .. } = event.what {
            verdicts.push(verdict.is_unmapped());
        }
    }
    assert_eq!(verdicts, [false, true], "each is told once");
    host.shutdown().await;
}
