//! What happens to the version that serves while a newer one is being started beside it.

use crate::answers::plugin;
use crate::served::Place;
use extman::control::Invocation;
use extman::{Host, InstanceConfig, Restart};
use extman_model::{Lifecycle, PluginView};
use extman_tests::until_async;
use std::path::{Path, PathBuf};

/// A host in which version 1.0.0 of `updated` serves, and 1.1.0 is being started and waits for a file.
struct Updating {
    host: Host,
    place: Place,
    go: PathBuf,
}

impl Updating {
    /// `before` is done while the old version serves alone.
    async fn begin(before: impl AsyncFnOnce(&Host, &Place)) -> Self {
        let place = Place::default();
        let go = place.path().join("go");
        let first = plugin("updated", "1.0.0", "one").build(place.path());
        let second = plugin("updated", "1.1.0", "two")
            .in_create(waits_for(&go))
            .build(place.path());
        place.put(&first, "updated.so");
        let config = InstanceConfig {
            call_timeout_ms: Some(50),
            wedge_after_ms: Some(50),
            restart: Some(Restart::Never),
            ..InstanceConfig::default_for("updated")
        };
        let builder = Host::builder()
            .dir(place.plugins())
            .store_dir(place.path().join("store"));
        let host = builder
            .instance(config)
            .rollouts(false)
            .vetting(false)
            .build()
            .await
            .expect("a host");
        host.wait_ready().await;
        before(&host, &place).await;
        place.put(&second, "updated.so");
        host.look_now();
        let begun = go.with_extension("begun");
        until_async("the new version is being made", || begun.exists()).await;
        Updating { host, place, go }
    }

    /// The new version can be made from now on, or is refused by itself.
    fn go(&self, word: &str) {
        let unfinished = self.place.path().join("unfinished");
        std::fs::write(&unfinished, word).expect("written");
        std::fs::rename(unfinished, &self.go).expect("renamed");
    }

    fn view(&self) -> PluginView {
        self.host.plugin("updated").expect("it is known")
    }

    /// It has failed, and all of this is told.
    async fn until_failed_by(&self, causes: [&str; 2]) {
        until_async("it has failed, for both causes", || {
            let view = self.view();
            let cause = view.cause.unwrap_or_default();
            view.lifecycle == Lifecycle::Failed && causes.iter().all(|part| cause.contains(part))
        })
        .await;
    }

    /// A failed instance can be loaded, restarted and unloaded, and each command does what its answer says.
    async fn obeys(&self) {
        self.go("well");
        let loaded = self.host.load("updated").await.expect("it is loaded");
        assert_eq!(loaded.lifecycle, Lifecycle::Running);
        let restarted = self.host.restart("updated").await.expect("it is restarted");
        assert!(restarted.generation > loaded.generation, "{restarted:?}");
        let unloaded = self.host.unload("updated").await.expect("it is unloaded");
        assert_eq!(unloaded.lifecycle, Lifecycle::Stopped);
        self.host.shutdown().await;
    }
}

/// C code for `create`: it writes `FILE.begun` and waits for this file; it fails if that reads `fail`.
fn waits_for(file: &Path) -> String {
    let begun = file.with_extension("begun");
    format!(
        r#"
    FILE *file = fopen({begun:?}, "w");
    if (file != NULL) {{
        fclose(file);
    }}
    do {{
        usleep(1000);
        file = fopen({file:?}, "r");
    }} while (file == NULL);
    char said[8] = {{0}};
    size_t read = fread(said, 1, sizeof said - 1, file);
    fclose(file);
    if (read >= 4 && memcmp(said, "fail", 4) == 0) {{
        return extman_fail(error, EXTMAN_STATUS_INTERNAL, "as told");
    }}"#
    )
}

async fn wait(host: &Host, input: &[u8]) {
    let invocation = Invocation {
        capability: "updated.wait".to_owned(),
        instance: None,
        content_type: "application/json".to_owned(),
        body: input.to_vec(),
        timeout: None,
        extras: extman_model::RequestExtras::NONE,
    };
    host.invoke_raw(invocation).await.expect_err("it fails, as told");
}

#[tokio::test(flavor = "multi_thread")]
async fn update_that_fails_after_the_old_version_panicked_ends_failed_and_obeys_commands() {
    let updating = Updating::begin(async |_, _| {}).await;
    wait(&updating.host, b"panic").await;
    until_async("it serves no more", || {
        updating.view().lifecycle != Lifecycle::Running
    })
    .await;
    updating.go("fail");
    updating
        .until_failed_by(["create failed", "a panic, as told"])
        .await;
    updating.obeys().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn update_that_fails_after_a_wedged_call_returned_ends_failed_and_obeys_commands() {
    let updating = Updating::begin(async |host, place| {
        let never = place.path().join("never");
        wait(host, never.to_str().expect("UTF-8").as_bytes()).await;
        until_async("it is wedged", || {
            host.plugin("updated")
                .is_ok_and(|view| view.lifecycle == Lifecycle::Wedged)
        })
        .await;
    })
    .await;
    std::fs::write(updating.place.path().join("never"), b"").expect("written");
    until_async("the call has returned", || {
        updating.view().lifecycle != Lifecycle::Wedged
    })
    .await;
    updating.go("fail");
    updating.until_failed_by(["create failed", "came back"]).await;
    updating.obeys().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn restart_during_update_ends_running_the_new_version() {
    let updating = Updating::begin(async |_, _| {}).await;
    let before = updating.view().generation;
    let mut restart = std::pin::pin!(updating.host.restart("updated"));
    // The command is given when it is first polled, and the update can't end before that.
    tokio::select! {
        biased;
        answer = &mut restart => panic!("answered before the update has ended: {answer:?}"),
        () = std::future::ready(()) => updating.go("well"),
    }
    let view = restart.await;
    let view = view.expect("it is restarted");
    assert_eq!(view.lifecycle, Lifecycle::Running, "{view:?}");
    assert!(view.generation > before, "{view:?}");
    assert_eq!(updating.view().lifecycle, Lifecycle::Running);
    assert_eq!(updating.view().version.to_string(), "1.1.0");
    updating.host.shutdown().await;
}

/// C code of a plugin that holds a lock on a file in its own folder as long as it is loaded.
const LOCKS: &str = r#"
#include <fcntl.h>
#include <sys/file.h>

static int lock = -1;

__attribute__((destructor)) static void on_unload(void) {
    close(lock);
}

static int take_lock(const ExtmanCreateRequest *request) {
    char path[4096];
    snprintf(path, sizeof path, "%.*s/lock", (int)request->data_dir.len, (const char *)request->data_dir.data);
    lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    return lock >= 0 && flock(lock, LOCK_EX | LOCK_NB) == 0;
}
"#;

#[tokio::test(flavor = "multi_thread")]
async fn version_that_can_not_run_beside_another_is_started_once_that_is_stopped() {
    let place = Place::default();
    let version = |version, answer| {
        let locks =
            "if (!take_lock(request)) { return extman_fail(error, EXTMAN_STATUS_UNAVAILABLE, \"locked\"); }";
        plugin("updated", version, answer)
            .says_of_itself("update = \"stop-first\"")
            .code(LOCKS)
            .in_create(locks)
            .build(place.path())
    };
    let (first, second) = (version("1.0.0", "one"), version("1.1.0", "two"));
    place.put(&first, "updated.so");
    let builder = Host::builder()
        .dir(place.plugins())
        .store_dir(place.path().join("store"))
        .state_dir(place.path().join("state"));
    let host = builder.vetting(false).build().await.expect("a host");
    host.wait_ready().await;
    let serves = || {
        let view = host.plugin("updated").expect("it is known");
        let version = view.version.to_string();
        assert_ne!(view.lifecycle, Lifecycle::Failed, "{:?}", view.cause);
        (view.lifecycle == Lifecycle::Running).then_some(version)
    };
    assert_eq!(serves().as_deref(), Some("1.0.0"));
    place.put(&second, "updated.so");
    host.look_now();
    until_async("the new version serves", || serves().as_deref() == Some("1.1.0")).await;
    host.shutdown().await;
}
