//! Plugins that call each other, in whole hosts: `extman.call/1`, from Rust and from C.

use extman::Host;
use extman::config::Config;
use extman_model::control::{Invocation, Invoked};
use extman_model::{CallError, ErrorKind, Lifecycle, RequestExtras, Verdict};
use extman_tests::until::LIMIT;
use extman_tests::{build, until_async};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// A host with plugins that call each other.
struct Together {
    host: Host,
    folder: TempDir,
}

/// Where the plugins' libraries are.
fn relay() -> PathBuf {
    build::plugin("relay")
}

fn c_relay() -> PathBuf {
    build::c_fault("relay")
}

fn faults() -> PathBuf {
    build::plugin("faults")
}

impl Together {
    async fn of(plugins: &[PathBuf]) -> Self {
        Self::with(plugins, json!({})).await
    }

    /// With these settings beside those of the folders.
    async fn with(plugins: &[PathBuf], settings: Value) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path().join("plugins");
        std::fs::create_dir(&dir).unwrap();
        for (number, plugin) in plugins.iter().enumerate() {
            // Two of them have one name.
            let name = plugin.file_name().unwrap().to_string_lossy();
            std::fs::copy(plugin, dir.join(format!("{number}-{name}"))).unwrap();
        }
        let mut config = json!({
            "intake": {
                "discovery": {"dirs": [dir], "settle_ms": 10},
                "store": {"dir": folder.path().join("store")},
                "trust": {"allow_world_writable": true},
            },
            "history": {"enabled": false},
            "vetting": {"enabled": false},
            "supervision": {"restart": "never"},
        });
        for (key, value) in settings.as_object().unwrap() {
            config[key] = value.clone();
        }
        let config: Config = serde_json::from_value(config).unwrap();
        let host = Host::builder().config(config).build().await.unwrap();
        host.wait_ready().await;
        Together { host, folder }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    async fn call(&self, capability: &str, input: &str) -> Result<Invoked, CallError> {
        self.host.invoke_raw(invocation(capability, input)).await
    }

    /// What a call answers, as text.
    async fn says(&self, capability: &str, input: &str) -> String {
        match self.call(capability, input).await {
            Ok(invoked) => String::from_utf8(invoked.reply.body).unwrap(),
            Err(error) => panic!("{input:?}: {error}"),
        }
    }

    async fn fails(&self, capability: &str, input: &str) -> CallError {
        let came_to = self.call(capability, input).await;
        came_to.expect_err(input)
    }

    async fn fails_within(&self, timeout: Duration, capability: &str, input: &str) -> CallError {
        let late = Invocation {
            timeout: Some(timeout),
            ..invocation(capability, input)
        };
        self.host.invoke_raw(late).await.expect_err(input)
    }

    /// What `test.last` says, once it says anything.
    async fn last(&self) -> String {
        let mut said = Value::Null;
        while said.is_null() {
            said = serde_json::from_str(&self.says("test.last", "").await).unwrap();
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        said.as_str().unwrap().to_owned()
    }

    /// Calls of an instance that ended, those that failed and count against it, and those that failed and do not.
    fn counts(&self, name: &str) -> (u64, u64, u64) {
        let entry = self.host.snapshot().get(name).unwrap();
        let (instance, _) = entry.serving.as_ref().unwrap();
        let counts = instance.call_metrics().counts();
        (counts.ended, counts.blamed, counts.excused)
    }

    fn in_flight(&self, name: &str) -> u64 {
        let entry = self.host.snapshot().get(name).unwrap();
        let (instance, _) = entry.serving.as_ref().unwrap();
        instance.call_metrics().in_flight()
    }

    /// Ends the host: every library is gone.
    async fn end(self) {
        for (name, verdict) in self.host.shutdown().await {
            assert_eq!(verdict, Verdict::Unmapped, "{name}");
        }
    }
}

fn invocation(capability: &str, input: &str) -> Invocation {
    Invocation {
        capability: capability.to_owned(),
        instance: None,
        content_type: "application/json".to_owned(),
        body: input.into(),
        timeout: None,
        extras: RequestExtras::NONE,
    }
}

/// A call of `fault.run` that makes the file `begun` and waits for the file `release`.
fn hang(release: &Path, begun: &Path) -> String {
    json!({"hazard": "hang", "release": release, "marker": begun}).to_string()
}

/// Long enough for calls to have begun, also on a busy machine.
const LONG: Duration = Duration::from_secs(2);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn call_of_another_plugin_is_answered_counted_and_says_who_served_it() {
    let together = Together::of(&[relay(), c_relay(), faults()]).await;
    for (capability, mode) in [
        ("test.relay", "call"),
        ("test.relay", "submit"),
        ("test.relay", "thread"),
        ("test.later", "call"),
        ("test.later", "stream"),
    ] {
        let said = together
            .says(capability, &format!("{mode} fault.echo\nhello"))
            .await;
        assert_eq!(said, "hello", "{capability}, {mode}");
    }
    // From C, through Rust, to the end.
    for mode in ["call", "submit"] {
        let input = format!("{mode} test.relay\ncall fault.echo\nin depth");
        let invoked = together.call("c.relay", &input).await.unwrap();
        assert_eq!(invoked.reply.body, b"in depth", "{mode}");
        let served_by = ("served-by".to_owned(), "relay".to_owned());
        assert_eq!(invoked.reply.metadata, [served_by], "{mode}");
    }
    assert_eq!(together.counts("faults"), (7, 0, 0));
    assert_eq!(together.counts("relay"), (7, 0, 0));
    assert_eq!(together.counts("fault-relay"), (2, 0, 0));
    together.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn usage_and_class_of_a_failure_are_carried_through_and_count_against_the_one_that_failed() {
    let together = Together::of(&[relay(), c_relay(), faults()]).await;
    let usage = json!({"hazard": "usage", "tokens_in": 3, "tokens_out": 4});
    let invoked = together
        .call("test.relay", &format!("call fault.run\n{usage}"))
        .await
        .unwrap();
    assert_eq!(
        (invoked.reply.usage.tokens_in, invoked.reply.usage.tokens_out),
        (Some(3), Some(4))
    );
    let limited = json!({"hazard": "rate-limited", "retry_after_ms": 7}).to_string();
    let direct = together.fails("fault.run", &limited).await;
    for relayed in ["test.relay", "c.relay", "test.later"] {
        let passed_on = together
            .fails(relayed, &format!("call fault.run\n{limited}"))
            .await;
        assert_eq!(
            (passed_on.kind, &passed_on.text),
            (direct.kind, &direct.text),
            "{relayed}"
        );
    }
    let passed_on = together
        .fails("test.relay", &format!("call fault.run\n{limited}"))
        .await;
    assert_eq!(passed_on.retry_after_ms, Some(7));
    // Whoever copes with it has not failed at all.
    let said = together
        .says("test.relay", &format!("ignore fault.run\n{limited}"))
        .await;
    assert_eq!(said, "in spite of RateLimited");
    let (_, blamed, excused) = together.counts("relay");
    assert_eq!((blamed, excused), (0, 3), "what it passed on was not its own");
    assert_eq!(together.counts("fault-relay").1, 0);
    let (ended, blamed, _) = together.counts("faults");
    assert_eq!((ended, blamed), (7, 6));
    together.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn panic_of_whoever_is_called_is_not_its_callers() {
    let together = Together::of(&[relay(), c_relay(), faults()]).await;
    let panics = json!({"hazard": "panic"}).to_string();
    for relayed in ["c.relay", "test.relay"] {
        let error = together
            .fails(relayed, &format!("call fault.run\n{panics}"))
            .await;
        assert!(
            matches!(error.kind, ErrorKind::Internal | ErrorKind::Unavailable),
            "{relayed}: {error}"
        );
    }
    until_async("only who panicked has failed", || {
        together.host.plugin("faults").unwrap().lifecycle == Lifecycle::Failed
    })
    .await;
    for name in ["relay", "fault-relay"] {
        assert_eq!(
            together.host.plugin(name).unwrap().lifecycle,
            Lifecycle::Running,
            "{name}"
        );
    }
    together.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn frames_are_handed_on_as_they_come_and_a_caller_may_take_some_of_them() {
    let script = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(script.path(), r#"{"frames": 200}"#).unwrap();
    let instances = json!([{"plugin": "scripted", "config": {"script": script.path()}}]);
    let plugins = [relay(), c_relay(), build::plugin("scripted")];
    let together = Together::with(&plugins, json!({"instance": instances})).await;
    for relayed in ["test.relay", "test.later", "c.relay"] {
        let said = together.says(relayed, "stream truth.answer\nab").await;
        assert_eq!(said, "ab".repeat(200), "{relayed}");
        let mut streamed = together
            .host
            .invoke_streamed(invocation(relayed, "stream truth.answer\nab"))
            .unwrap();
        let mut frames = 0;
        while let Some(frame) = streamed.frames.next().await {
            assert_eq!(frame, b"ab");
            frames += 1;
        }
        streamed.done.await.unwrap();
        assert_eq!(frames, 200, "{relayed}");
    }
    let error = together.fails("test.relay", "one truth.answer\nab").await;
    assert_eq!((error.kind, &*error.text), (ErrorKind::Aborted, "one is enough"));
    let error = together.fails("test.relay", "panic truth.answer\nab").await;
    assert_eq!(
        (error.kind, &*error.text),
        (ErrorKind::Panicked, "panicked: in a frame")
    );
    together.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deadline_and_cancellation_reach_whoever_is_called() {
    let together = Together::of(&[relay(), c_relay(), faults()]).await;
    for (number, relayed) in ["test.relay", "c.relay", "test.later"].into_iter().enumerate() {
        let waits = json!({"hazard": "hang-until-cancelled"});
        let input = format!("call fault.run\n{waits}");
        let late = together
            .fails_within(Duration::from_millis(300), relayed, &input)
            .await;
        assert_eq!(late.kind, ErrorKind::DeadlineExceeded, "{late}");
        assert!(late.text.contains(&format!("{relayed} → fault.run")), "{late}");
        // The plugin sees the deadline of whoever called first: it comes back.
        until_async("nobody is inside", || together.in_flight("faults") == 0).await;
        let begun = together.file(&format!("begun {number}"));
        let waits = json!({"hazard": "hang-until-cancelled", "marker": begun});
        let caller = tokio::spawn({
            let (host, input) = (together.host.clone(), format!("call fault.run\n{waits}"));
            let call = invocation(relayed, &input);
            async move { host.invoke_raw(call).await }
        });
        until_async("the call is inside", || begun.exists()).await;
        caller.abort();
        assert!(caller.await.unwrap_err().is_cancelled());
        until_async("whoever was called is told", || together.in_flight("faults") == 0).await;
    }
    let (_, blamed, _) = together.counts("relay");
    assert_eq!(blamed, 0, "time that another plugin took is not its own");
    let error = together
        .fails(
            "test.relay",
            "within-50 fault.run\n{\"hazard\": \"hang-until-cancelled\"}",
        )
        .await;
    assert_eq!(
        error.kind,
        ErrorKind::DeadlineExceeded,
        "by its caller's own limit: {error}"
    );
    for relayed in ["test.relay", "c.relay"] {
        let waits = json!({"hazard": "hang-until-cancelled"});
        let error = together
            .fails(relayed, &format!("cancel fault.run\n{waits}"))
            .await;
        assert_eq!(error.kind, ErrorKind::Cancelled, "{relayed}: {error}");
    }
    together.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reader_that_goes_away_ends_the_call_that_was_made_for_it() {
    let together = Together::of(&[relay(), faults()]).await;
    let begun = together.file("begun");
    let waits = json!({"hazard": "hang-until-cancelled", "marker": begun});
    for relayed in ["test.relay", "test.later"] {
        let _ = std::fs::remove_file(&begun);
        let streamed = together
            .host
            .invoke_streamed(invocation(relayed, &format!("call fault.run\n{waits}")))
            .unwrap();
        until_async("the call is inside", || begun.exists()).await;
        drop(streamed);
        until_async("whoever was called is told", || together.in_flight("faults") == 0).await;
    }
    together.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cycle_of_calls_with_all_lanes_taken_ends_by_deadline_and_names_the_chain() {
    let lanes = json!({"lanes": {"per_module_max": 1}});
    let together = Together::with(&[relay(), c_relay(), faults()], lanes).await;
    let cycle = "call c.relay\ncall test.relay\ncall fault.echo\nround";
    let call = |timeout| {
        let host = together.host.clone();
        let call = Invocation {
            timeout: Some(timeout),
            ..invocation("test.relay", cycle)
        };
        tokio::spawn(async move { host.invoke_raw(call).await })
    };
    // The first takes the one lane of each, and comes back to one that it holds itself; the others wait for that.
    let first = call(2 * LONG);
    until_async("the first waits for itself", || together.in_flight("relay") == 2).await;
    let others: Vec<_> = (0..3).map(|_| call(LONG / 4)).collect();
    for call in others {
        let error = call.await.unwrap().expect_err("there is one lane");
        assert_eq!(error.kind, ErrorKind::DeadlineExceeded, "{error}");
        assert_eq!(error.text, "no lane was free for invoke before its deadline");
    }
    let error = first.await.unwrap().expect_err("there is one lane");
    assert_eq!(error.kind, ErrorKind::DeadlineExceeded, "{error}");
    assert!(
        error.text.contains("test.relay → c.relay → test.relay"),
        "{error}"
    );
    // The host goes on, and so does whoever was in it.
    assert_eq!(
        together.says("test.relay", "call c.relay\nmetadata here").await,
        ""
    );
    assert_eq!(together.says("test.relay", "call fault.echo\non").await, "on");
    together.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cycle_through_a_plugin_with_one_place_ends_by_deadline_also_without_its_lane_lost() {
    let instances = json!([{"plugin": "relay", "concurrency_max": 1, "wedge_after_ms": 100}]);
    let together = Together::with(&[relay(), c_relay(), faults()], json!({"instance": instances})).await;
    let cycle = "call c.relay\ncall test.relay\ncall fault.echo\nround";
    let error = together.fails_within(LONG, "test.relay", cycle).await;
    assert_eq!(error.kind, ErrorKind::DeadlineExceeded, "{error}");
    assert!(
        error.text.contains("test.relay → c.relay → test.relay"),
        "{error}"
    );
    let (_, blamed, _) = together.counts("relay");
    assert_eq!(blamed, 1, "a plugin that waits for itself is to blame");
    assert_eq!(together.says("test.relay", "call fault.echo\non").await, "on");
    assert_eq!(
        together.host.plugin("relay").unwrap().lifecycle,
        Lifecycle::Running
    );
    together.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_are_nested_eight_deep_at_most_and_never_lead_back_to_the_plugin_itself() {
    let together = Together::of(&[relay(), c_relay(), faults()]).await;
    let deep = "call c.relay\ncall test.relay\n".repeat(5);
    let error = together.fails("test.relay", &deep).await;
    assert_eq!(error.kind, ErrorKind::Exhausted, "{error}");
    assert!(
        error.text.contains("nested 8 deep: test.relay → c.relay → "),
        "{error}"
    );
    let itself = together
        .fails("test.relay", "call test.relay\ncall fault.echo\nx")
        .await;
    assert_eq!(itself.kind, ErrorKind::Unavailable);
    assert!(
        itself.text.contains("no other plugin offers test.relay"),
        "{itself}"
    );
    together.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_manifest_does_not_require_is_refused_with_what_to_add() {
    let together = Together::of(&[
        relay(),
        c_relay(),
        faults(),
        build::plugin("lang-detect"),
        build::plugin("scripted"),
    ])
    .await;
    for (relayed, id) in [("test.relay", "relay"), ("c.relay", "fault-relay")] {
        let refused = together.fails(relayed, "call text.detect-language\n{}").await;
        assert_eq!(refused.kind, ErrorKind::Configuration, "{refused}");
        assert_eq!(
            refused.text,
            format!(
                "{id} calls text.detect-language and does not require it: add [[requires]] with capability = \
                 \"text.detect-language\" to its plugin.toml, and build it again"
            )
        );
    }
    assert_eq!(together.counts("lang-detect").0, 0);
    assert_eq!(together.counts("relay").1, 1, "that is its own fault");
    let other = together.fails("test.relay", "call truth.push\n\"up\"").await;
    assert_eq!(other.kind, ErrorKind::Unavailable, "{other}");
    assert!(
        other.text.contains("no other plugin offers truth.push ^2"),
        "{other}"
    );
    let nothing = together.fails("c.relay", "nothing test.relay\nx").await;
    assert_eq!(
        nothing.kind,
        ErrorKind::Internal,
        "a receiver without `answer`: {nothing}"
    );
    together.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn trace_is_handed_on_and_nothing_else_of_the_metadata() {
    let together = Together::of(&[relay(), c_relay(), build::plugin("scripted")]).await;
    let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    // The innermost answers with the metadata that it was called with.
    let mut call = invocation(
        "test.relay",
        "call c.relay\ncall test.relay\ncall c.relay\nmetadata here",
    );
    let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    call.extras.metadata = vec![pair("traceparent", trace), pair("idempotency-key", "k")];
    let reply = together.host.invoke_raw(call).await.unwrap().reply;
    assert_eq!(
        String::from_utf8_lossy(&reply.body),
        format!("traceparent={trace}")
    );
    together.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fallback_serves_a_plugins_call_as_it_serves_any() {
    let instances = json!([
        {"plugin": "scripted", "name": "first", "priority": 10},
        {"plugin": "scripted", "name": "second"},
    ]);
    let together = Together::with(
        &[relay(), build::plugin("scripted")],
        json!({"instance": instances}),
    )
    .await;
    // What has just been started may not be known to be well yet.
    let serves = async |name: &str| {
        let give_up = Instant::now() + LIMIT;
        loop {
            let invoked = together.call("test.relay", "call truth.answer\nx").await.unwrap();
            if invoked.reply.metadata == [("served-by".to_owned(), name.to_owned())] {
                break;
            }
            assert!(Instant::now() < give_up, "{:?}", invoked.reply.metadata);
        }
    };
    serves("first").await;
    together.host.unload("first").await.unwrap();
    serves("second").await;
    together.host.unload("second").await.unwrap();
    let error = together.fails("test.relay", "call truth.answer\nx").await;
    assert_eq!(error.kind, ErrorKind::Unavailable, "{error}");
    assert!(error.text.contains("extman load first"), "{error}");
    together.host.load("first").await.unwrap();
    serves("first").await;
    together.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn start_may_call_what_is_required_and_create_and_check_may_not() {
    for (at, told) in [
        ("start", "hello"),
        (
            "check",
            "FailedPrecondition: no other plugin is called from a check",
        ),
    ] {
        let config = json!({"at": at, "call": "call fault.echo\nhello"});
        // What is optional is not waited for: so it is started once that serves.
        let instances = json!([{
            "plugin": "relay", "config": config, "probe": {"interval_ms": 100}, "autostart": false,
        }]);
        let together = Together::with(&[relay(), faults()], json!({"instance": instances})).await;
        together.host.load("relay").await.unwrap();
        let last = together.last().await;
        assert!(last.starts_with(told), "{at}: {last}");
        assert_eq!(together.counts("faults").0, u64::from(at == "start"));
        together.end().await;
    }
    let config = json!({"at": "create", "call": "call fault.echo\nhello"});
    let instances = json!([{"plugin": "relay", "config": config}]);
    let together = Together::with(&[relay(), faults()], json!({"instance": instances})).await;
    let view = together.host.plugin("relay").unwrap();
    let cause = view.cause.unwrap_or_default();
    assert!(cause.contains("no other plugin is called from create"), "{cause}");
    together.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn instance_that_is_unloaded_with_calls_under_way_receives_their_end_and_is_unmapped() {
    let together = Together::of(&[relay(), c_relay(), faults()]).await;
    let (release, begun) = (together.file("release"), together.file("begun"));
    // One from its own thread, one that nobody waits for, and one that is never answered.
    together.says("test.relay", "for-ever fault.echo\nx").await;
    together
        .says(
            "test.relay",
            &format!("detach fault.run\n{}", hang(&release, &begun)),
        )
        .await;
    until_async("the call is inside", || begun.exists()).await;
    let view = together.host.unload("relay").await.unwrap();
    assert_eq!(view.unload, Some(Verdict::Unmapped), "{view:?}");
    std::fs::write(&release, "").unwrap();
    until_async("whoever was called has come back", || {
        together.in_flight("faults") == 0
    })
    .await;
    assert_eq!(
        together
            .says("c.relay", "call fault.run\n{\"hazard\": \"slow\", \"ms\": 1}")
            .await,
        ""
    );
    together.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn callee_that_is_unloaded_answers_calls_under_way_first_and_refuses_those_that_come() {
    let together = Together::of(&[relay(), faults()]).await;
    let (release, begun) = (together.file("release"), together.file("begun"));
    let caller = tokio::spawn({
        let (host, call) = (
            together.host.clone(),
            invocation(
                "test.relay",
                &format!("call fault.run\n{}", hang(&release, &begun)),
            ),
        );
        async move { host.invoke_raw(call).await }
    });
    until_async("the call is inside", || begun.exists()).await;
    let unloads = tokio::spawn({
        let host = together.host.clone();
        async move { host.unload("faults").await }
    });
    until_async("it takes no more calls", || {
        together.host.plugin("faults").unwrap().lifecycle != Lifecycle::Running
    })
    .await;
    let refused = together.fails("test.relay", "call fault.echo\nx").await;
    assert_eq!(refused.kind, ErrorKind::Unavailable, "{refused}");
    std::fs::write(&release, "").unwrap();
    caller.await.unwrap().unwrap();
    let view = unloads.await.unwrap().unwrap();
    assert_eq!(view.unload, Some(Verdict::Unmapped), "{view:?}");
    together.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn host_that_ends_with_calls_under_way_ends_them() {
    let together = Together::of(&[relay(), c_relay(), faults()]).await;
    let begun = together.file("begun");
    let waits = json!({"hazard": "hang-until-cancelled", "marker": begun});
    together
        .says("test.relay", &format!("detach fault.run\n{waits}"))
        .await;
    together.says("test.relay", "for-ever fault.echo\nx").await;
    until_async("the call is inside", || begun.exists()).await;
    together.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_panics_as_it_receives_an_answer_fails_its_instance() {
    let together = Together::of(&[relay(), faults()]).await;
    together.says("test.relay", "detach-panic fault.echo\nx").await;
    until_async("it has failed", || {
        together.host.plugin("relay").unwrap().lifecycle == Lifecycle::Failed
    })
    .await;
    assert_eq!(
        together.host.plugin("faults").unwrap().lifecycle,
        Lifecycle::Running
    );
    together.end().await;
}
