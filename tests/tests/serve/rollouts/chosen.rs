//! Which build an instance is made from, where an operator has said something of it: a version or a file that was chosen, one that was gone back from,
//! one that waits to be asked for.

use super::*;
use extman_model::ConfigChangeAsked;
use extman_runtime::durable;
use std::path::Path;
use std::time::{Duration, SystemTime};

fn third() -> Answers {
    plugin("updated", "1.2.0", "three")
}

fn to(version: &str) -> UpdateTo {
    UpdateTo::Version(version.parse().expect("a version"))
}

fn manual(config: &mut Config) {
    config.instances[0].update = UpdatePolicy::Manual;
}

/// C code that ends a start with this text.
fn fails(text: &str) -> String {
    format!("return extman_fail(error, EXTMAN_STATUS_INTERNAL, \"{text}\");")
}

fn broken() -> Answers {
    second().in_create(fails("no room"))
}

impl Rolling {
    fn version(&self) -> String {
        self.view().version.to_string()
    }

    fn put_as(&self, build: Answers, name: &str) {
        self.place.put(&build.build(self.place.path()), name);
        self.host.look_now();
    }

    async fn until_serves(&self, version: &str) {
        until_async("it serves", || {
            let view = self.view();
            view.rollout.is_none() && view.version.to_string() == version
        })
        .await;
    }

    /// Everything that was put there is known: so is this plugin, which comes last.
    async fn until_looked(&self, id: &'static str) {
        self.put_as(plugin(id, "1.0.0", "other"), &format!("{id}.so"));
        until_async("a look is over", || self.host.plugin(id).is_ok()).await;
    }

    fn loads(&mut self) -> usize {
        let is_load = |what: &&What| {
            matches!(
                what,
                What::RolloutMoved {
                    phase: RolloutPhase::Loading,
                    ..
                }
            )
        };
        self.hear().iter().filter(is_load).count()
    }

    /// The host ends, and another one starts.
    async fn again(self, change: impl FnOnce(&mut Config)) -> Rolling {
        let (place, _) = self.end().await;
        let mut config = config(&place);
        change(&mut config);
        Rolling::in_place(place, config).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn changed_configuration_does_not_start_what_is_barred() {
    let mut rolling = Rolling::begin(|_| {}).await.call();
    rolling.put(broken());
    rolling.until_taken_back().await;
    let before = rolling.loads();
    let asked = ConfigChangeAsked {
        set: [("config.size".to_owned(), 2.into())].into(),
        ..ConfigChangeAsked::default()
    };
    rolling
        .host
        .change_config("updated", asked)
        .await
        .expect("what serves takes it");
    assert_eq!((rolling.loads(), rolling.version()), (before, "1.0.0".to_owned()));
    rolling.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rollback_after_an_update_was_taken_back_from_probation_is_refused() {
    let mut rolling = held_in(RolloutPhase::Probation).await;
    let host = rolling.host.clone();
    host.rollout("updated", RolloutCommand::Abort)
        .await
        .expect("it is taken back");
    rolling.until_taken_back().await;
    let refused = host
        .rollback("updated")
        .await
        .expect_err("there is nothing before it");
    assert!(
        refused
            .to_string()
            .contains("no version before this one is known"),
        "{refused}"
    );
    let barred = rolling.view().barred;
    assert_eq!(barred.len(), 1, "{barred:?}");
    rolling.is_not_tried_again().await;
    rolling.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rollback_that_fails_bars_nothing_of_what_serves() {
    let place = Place::default();
    let gone = place.path().join("gone");
    let fails = format!("if (access({gone:?}, F_OK) == 0) {{ {} }}", fails("no model"));
    place.put(&first().in_create(fails).build(place.path()), "updated.so");
    let config = config(&place);
    let mut rolling = Rolling::in_place(place, config).await.call();
    rolling.put(second());
    rolling.until_serves("1.1.0").await;
    std::fs::write(&gone, "").expect("written");
    let failed = rolling
        .host
        .rollback("updated")
        .await
        .expect_err("it can't start");
    assert!(failed.to_string().contains("no model"), "{failed}");
    until_async("nothing is barred", || rolling.view().barred.is_empty()).await;
    let before = rolling.loads();
    rolling.until_looked("other").await;
    assert_eq!((rolling.loads(), rolling.version()), (before, "1.1.0".to_owned()));
    let rolling = rolling.again(|_| {}).await;
    assert_eq!(rolling.version(), "1.1.0");
    rolling.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn manual_holds_while_nothing_is_loaded_and_over_a_restart_of_the_host() {
    let mut rolling = Rolling::begin(manual).await;
    let host = rolling.host.clone();
    host.unload("updated").await.expect("it is unloaded");
    rolling.put_as(second(), "updated-next.so");
    rolling
        .until_told("it waits", |what| matches!(what, What::UpdateAvailable { .. }))
        .await;
    let view = host.load("updated").await.expect("it starts");
    assert_eq!(view.version.to_string(), "1.0.0");
    let rolling = rolling.again(manual).await;
    assert_eq!(rolling.version(), "1.0.0");
    rolling
        .host
        .update("updated", UpdateTo::Newest)
        .await
        .expect("it is asked for");
    rolling.until_in(RolloutPhase::Canary).await;
    rolling
        .host
        .rollout("updated", RolloutCommand::Promote)
        .await
        .expect("it is ready");
    let rolling = rolling.again(manual).await;
    assert_eq!(rolling.version(), "1.1.0");
    rolling.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn version_that_was_chosen_is_served_over_a_restart_of_the_host_until_another_one_comes() {
    let rolling = Rolling::begin(|config| config.rollout.enabled = false).await;
    rolling.put_as(second(), "updated-next.so");
    rolling.until_serves("1.1.0").await;
    rolling
        .host
        .update("updated", to("1.0.0"))
        .await
        .expect("it starts");
    assert_eq!(rolling.version(), "1.0.0");
    let rolling = rolling.again(|config| config.rollout.enabled = false).await;
    rolling.until_looked("other").await;
    assert_eq!(rolling.version(), "1.0.0");
    rolling.put_as(third(), "updated-third.so");
    rolling.until_serves("1.2.0").await;
    rolling.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn update_of_what_is_manual_is_not_undone_by_a_third_file() {
    let mut rolling = Rolling::begin(|config| {
        manual(config);
        config.rollout.step_ms = 600_000;
    })
    .await
    .call();
    rolling.put_as(second(), "updated-next.so");
    rolling
        .until_told("it waits", |what| matches!(what, What::UpdateAvailable { .. }))
        .await;
    let host = rolling.host.clone();
    host.update("updated", to("1.1.0")).await.expect("it starts");
    rolling.put_as(third(), "updated-third.so");
    let of_third = |what: &What| {
        matches!(what, What::UpdateAvailable { from, to, .. }
            if (from.to_string().as_str(), to.to_string().as_str()) == ("1.1.0", "1.2.0"))
    };
    rolling.until_told("the third one waits", of_third).await;
    let under_way = rolling.view().rollout.expect("it goes on");
    assert_eq!(under_way.to.to_string(), "1.1.0");
    rolling.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn update_that_is_refused_leaves_what_is_barred_and_what_is_under_way() {
    let mut rolling = Rolling::begin(|config| {
        config.rollout.step_ms = 100;
        config.rollout.probation_ms = 600_000;
    })
    .await
    .call();
    rolling.put_as(third().in_create(fails("no room")), "updated-third.so");
    rolling
        .until_told("it is taken back", |what| matches!(what, What::TakenBack { .. }))
        .await;
    let host = rolling.host.clone();
    rolling.put_as(second(), "updated-next.so");
    rolling.until_looked("other").await;
    host.update("updated", to("1.1.0")).await.expect("it starts");
    rolling.until_in(RolloutPhase::Probation).await;
    let refused = host
        .update("updated", to("1.2.0"))
        .await
        .expect_err("one is in probation");
    assert!(refused.to_string().contains("ends that first"), "{refused}");
    let barred = rolling.view().barred;
    assert_eq!(barred.len(), 1, "{barred:?}");
    rolling.until_looked("another").await;
    host.rollout("updated", RolloutCommand::Promote)
        .await
        .expect("it is settled");
    rolling.until_serves("1.1.0").await;
    let rolling = rolling.again(|_| {}).await;
    assert_eq!(
        (rolling.version(), rolling.view().barred.len()),
        ("1.1.0".to_owned(), 1)
    );
    rolling.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn restart_while_a_version_is_loading_that_fails_serves_the_old_one_and_so_does_the_next_host() {
    let mut rolling = Rolling::begin(|_| {}).await;
    let go = rolling.place.path().join("go");
    let waits = format!(
        "while (access({go:?}, F_OK) != 0) {{ usleep(1000); }} {}",
        fails("no room")
    );
    rolling.put(second().in_create(waits));
    rolling.until_in(RolloutPhase::Loading).await;
    let host = rolling.host.clone();
    let then_go = async {
        // What is asked for later is answered later: the restart is under way by then.
        host.rollout("updated", RolloutCommand::Pause)
            .await
            .expect("it is paused");
        std::fs::write(&go, "").expect("written");
    };
    let (restarted, ()) = tokio::join!(host.restart("updated"), then_go);
    let view = restarted.expect("what served is started again");
    assert_eq!(
        (view.lifecycle, view.version.to_string().as_str()),
        (Lifecycle::Running, "1.0.0")
    );
    rolling
        .until_told("it is taken back", |what| matches!(what, What::TakenBack { .. }))
        .await;
    let rolling = rolling.again(|_| {}).await;
    let view = rolling.view();
    assert_eq!(
        (view.lifecycle, view.version.to_string().as_str()),
        (Lifecycle::Running, "1.0.0"),
        "{view:?}"
    );
    rolling.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn version_that_is_taken_back_is_shown_as_barred_as_soon_as_its_update_is_over() {
    let mut rolling = Rolling::begin(|_| {}).await;
    // As long as this is held, nothing is written down.
    let held = durable::lock(&rolling.place.path().join("state/barred.json")).expect("locked");
    rolling.put(broken());
    let mut seen = false;
    until_async("its update is over", || {
        let is_under_way = rolling.view().rollout.is_some();
        seen |= is_under_way;
        seen && !is_under_way || !rolling.view().barred.is_empty()
    })
    .await;
    assert_eq!(rolling.view().barred.len(), 1, "{:?}", rolling.view());
    drop(held);
    rolling.until_taken_back().await;
    rolling.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn version_that_is_taken_back_is_written_down_as_barred_before_that_is_answered() {
    let rolling = Rolling::begin(|config| config.rollout.step_ms = 600_000)
        .await
        .call();
    rolling.put(second());
    rolling.until_in(RolloutPhase::Canary).await;
    let file = rolling.place.path().join("state/barred.json");
    let held = durable::lock(&file).expect("locked");
    let host = rolling.host.clone();
    let abort = tokio::spawn(async move {
        let aborted = host.rollout("updated", RolloutCommand::Abort).await;
        (aborted, durable::read(&file))
    });
    until_async("its update is over", || rolling.view().rollout.is_none()).await;
    drop(held);
    let (aborted, written) = abort.await.expect("it ends");
    let barred = aborted.expect("it is taken back").barred;
    let written = written.expect("it can be read").expect("it is there");
    assert!(written.contains(&barred[0].digest.to_string()), "{written}");
    rolling.end().await;
}

// Files.

/// A file that lies in no plugin directory.
fn file(rolling: &Rolling, build: Answers) -> UpdateTo {
    UpdateTo::File(build.build(rolling.place.path()))
}

#[tokio::test(flavor = "multi_thread")]
async fn file_that_lies_elsewhere_is_taken_and_served_over_a_restart_without_it() {
    for policy in [UpdatePolicy::Auto, UpdatePolicy::Pinned] {
        let pinned = |config: &mut Config| config.instances[0].update = policy;
        let rolling = Rolling::begin(pinned).await.call();
        let lower = plugin("updated", "0.9.0", "two").build(rolling.place.path());
        let begun = rolling
            .host
            .update("updated", UpdateTo::File(lower.clone()))
            .await
            .expect("it has started");
        assert_eq!(
            begun.rollout.expect("it is judged").to.to_string(),
            "0.9.0",
            "{policy:?}"
        );
        rolling.until_serves("0.9.0").await;
        std::fs::remove_file(&lower).expect("removed");
        rolling.until_looked("other").await;
        assert_eq!(rolling.version(), "0.9.0");
        let rolling = rolling.again(pinned).await;
        rolling.until_looked("another").await;
        assert_eq!(rolling.version(), "0.9.0", "{policy:?}");
        rolling.end().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn file_that_can_not_be_taken_is_refused_and_nothing_changes() {
    let mut rolling = Rolling::begin(|_| {}).await;
    let text = rolling.place.path().join("text.so");
    std::fs::write(&text, "no library").expect("written");
    let absent = rolling.place.path().join("absent.so");
    let other = plugin("other", "1.0.0", "other").build(rolling.place.path());
    let path = |path: &Path| path.display().to_string();
    for (file, part) in [
        (absent.clone(), "is not there"),
        (text.clone(), "not"),
        (
            other.clone(),
            "is the plugin other, and updated is one of updated",
        ),
    ] {
        let refused = rolling
            .host
            .update("updated", UpdateTo::File(file.clone()))
            .await
            .expect_err("it can't be taken")
            .to_string();
        assert!(
            refused.contains(&path(&file)) && refused.contains(part),
            "{file:?}: {refused}"
        );
    }
    assert_eq!((rolling.loads(), rolling.version()), (0, "1.0.0".to_owned()));
    assert!(rolling.view().barred.is_empty());
    rolling.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn build_that_does_not_go_with_what_is_there_is_refused_with_the_reason() {
    let mut rolling = Rolling::begin(manual).await;
    let user = plugin("user", "1.0.0", "user");
    rolling.put_as(
        user.declares("[[requires]]\nplugin = \"updated\"\nversion = \"<1.2\"\n"),
        "user.so",
    );
    until_async("the other one is there", || rolling.host.plugin("user").is_ok()).await;
    let needs = second().declares("[[requires]]\nplugin = \"store\"\nversion = \"^1\"\n");
    let against = second().declares("[[conflicts]]\nplugin = \"user\"\n");
    rolling.put_as(plugin("updated", "0.9.0", "two"), "updated-lower.so");
    rolling.put_as(plugin("updated", "1.3.0", "three"), "updated-third.so");
    rolling.until_looked("other").await;
    for (build, part) in [
        (file(&rolling, needs), "store"),
        (file(&rolling, against), "conflicts with user"),
        (file(&rolling, third()), "user 1.0.0"),
        (to("1.3.0"), "user 1.0.0"),
    ] {
        let refused = rolling.host.update("updated", build).await;
        let refused = refused.expect_err("it does not fit").to_string();
        assert!(
            refused.contains(part) && refused.contains("does not go with what is used here"),
            "{part}: {refused}"
        );
    }
    assert_eq!((rolling.loads(), rolling.version()), (0, "1.0.0".to_owned()));
    let lower = rolling.host.update("updated", to("0.9.0")).await;
    lower.expect("a lower one fits");
    rolling.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn file_that_does_not_start_is_taken_back_and_what_served_goes_on() {
    let mut rolling = Rolling::begin(manual).await;
    let failed = rolling
        .host
        .update("updated", file(&rolling, broken()))
        .await
        .expect_err("it can't start");
    assert!(failed.to_string().contains("no room"), "{failed}");
    rolling.until_taken_back().await;
    let rolling = rolling.again(manual).await;
    assert_eq!(rolling.version(), "1.0.0");
    rolling.end().await;
}

// What becomes of a choice that comes to nothing.

#[tokio::test(flavor = "multi_thread")]
async fn choice_holds_over_an_update_that_comes_to_nothing() {
    for is_judged in [true, false] {
        let change = |config: &mut Config| config.rollout.enabled = is_judged;
        let rolling = Rolling::begin(change).await.call();
        rolling.put_as(third(), "updated-third.so");
        rolling.until_serves("1.2.0").await;
        rolling
            .host
            .update("updated", to("1.0.0"))
            .await
            .expect("it starts");
        rolling.until_serves("1.0.0").await;
        rolling.put_as(broken(), "updated-next.so");
        rolling.until_looked("other").await;
        let failed = rolling.host.update("updated", to("1.1.0")).await;
        assert!(
            failed
                .expect_err("it can't start")
                .to_string()
                .contains("no room")
        );
        rolling.until_looked("another").await;
        rolling.until_serves("1.0.0").await;
        let rolling = rolling.again(change).await;
        rolling.until_looked("third").await;
        let view = rolling.view();
        assert_eq!(
            (view.version.to_string().as_str(), view.rollout),
            ("1.0.0", None),
            "judged: {is_judged}"
        );
        rolling.end().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_manual_is_what_served_after_an_unjudged_update_that_comes_to_nothing() {
    let change = |config: &mut Config| {
        manual(config);
        config.rollout.enabled = false;
    };
    let rolling = Rolling::begin(change).await;
    rolling.put_as(third(), "updated-third.so");
    rolling.put_as(broken(), "updated-next.so");
    rolling.until_looked("other").await;
    let failed = rolling.host.update("updated", to("1.1.0")).await;
    assert!(
        failed
            .expect_err("it can't start")
            .to_string()
            .contains("no room")
    );
    let rolling = rolling.again(change).await;
    assert_eq!(rolling.version(), "1.0.0");
    rolling.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn choice_that_does_not_start_where_nothing_serves_is_none() {
    let place = Place::default();
    let go = place.path().join("go");
    let waits = format!("if (access({go:?}, F_OK) != 0) {{ {} }}", fails("not yet"));
    place.put(&third().in_create(waits).build(place.path()), "updated-third.so");
    place.put(&broken().build(place.path()), "updated.so");
    let mut config = config(&place);
    config.supervision.restart = Restart::Never;
    let rolling = Rolling::in_place(place, config).await;
    until_async("it has failed", || rolling.view().lifecycle == Lifecycle::Failed).await;
    std::fs::write(&go, "").expect("written");
    let failed = rolling.host.update("updated", to("1.1.0")).await;
    assert!(
        failed
            .expect_err("it can't start")
            .to_string()
            .contains("no room")
    );
    until_async("the newest serves", || {
        let view = rolling.view();
        (view.lifecycle, view.version.to_string().as_str()) == (Lifecycle::Running, "1.2.0")
    })
    .await;
    rolling.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn host_that_ends_while_an_update_is_judged_leaves_what_served_unless_it_was_promoted() {
    for is_promoted in [false, true] {
        let slow = |config: &mut Config| {
            manual(config);
            (config.rollout.step_ms, config.rollout.probation_ms) = (600_000, 600_000);
        };
        let rolling = Rolling::begin(slow).await.call();
        rolling.put_as(second(), "updated-next.so");
        rolling.until_looked("other").await;
        rolling
            .host
            .update("updated", to("1.1.0"))
            .await
            .expect("it starts");
        rolling.until_in(RolloutPhase::Canary).await;
        if is_promoted {
            let promoted = rolling.host.rollout("updated", RolloutCommand::Promote).await;
            promoted.expect("it is ready");
        }
        let rolling = rolling.again(slow).await;
        rolling.until_looked("another").await;
        let expected = if is_promoted { "1.1.0" } else { "1.0.0" };
        assert_eq!(rolling.version(), expected);
        assert!(rolling.view().rollout.is_none());
        rolling.end().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn choice_whose_build_is_not_there_holds_until_it_is_again() {
    let rolling = Rolling::begin(manual).await;
    rolling.until_looked("other").await;
    let (place, _) = rolling.end().await;
    let (file, aside) = (
        place.plugins().join("updated.so"),
        place.path().join("updated.aside"),
    );
    std::fs::rename(&file, &aside).expect("moved");
    std::fs::remove_dir_all(place.path().join("store")).expect("removed");
    place.put(&second().build(place.path()), "updated-next.so");
    let mut without = config(&place);
    manual(&mut without);
    let rolling = Rolling::in_place(place, without).await;
    rolling.until_serves("1.1.0").await;
    rolling.until_looked("another").await;
    std::fs::rename(&aside, &file).expect("moved");
    let rolling = rolling.again(manual).await;
    rolling.until_serves("1.0.0").await;
    rolling.end().await;
}

/// Until all files are known, the one it is to be made from may be among those that are still being written.
#[tokio::test(flavor = "multi_thread")]
async fn instance_that_is_not_updated_by_itself_waits_for_all_files_and_says_so() {
    for is_chosen in [true, false] {
        let rolling = Rolling::begin(manual).await;
        rolling.until_looked("other").await;
        let (place, _) = rolling.end().await;
        std::fs::remove_dir_all(place.path().join("store")).expect("removed");
        let (first, second) = (
            place.plugins().join("updated.so"),
            place.put(&second().build(place.path()), "updated-next.so"),
        );
        let (written, known, serves) = match is_chosen {
            true => (&first, &second, "1.0.0"),
            false => (&second, &first, "1.1.0"),
        };
        if !is_chosen {
            std::fs::remove_file(place.path().join("state/chosen.json")).expect("removed");
        }
        let now = SystemTime::now();
        let changed = |file: &Path, at| {
            let file = std::fs::File::options().append(true).open(file);
            file.and_then(|file| file.set_modified(at)).expect("set");
        };
        let long_ago = now - Duration::from_secs(86_400);
        changed(&place.plugins().join("other.so"), long_ago);
        changed(known, long_ago);
        changed(written, now);
        let mut waiting = config(&place);
        manual(&mut waiting);
        waiting.intake.discovery.settle_ms = 60_000;
        let builder = Host::builder().config(waiting);
        let (host, _events) = builder.build_and_listen().await.expect("a host");
        let view = || host.plugin("updated").ok();
        let is_decided = |view: PluginView| view.lifecycle != Lifecycle::Starting;
        until_async("it is known", || view().is_some_and(is_decided)).await;
        let waits = view().expect("it is known");
        let cause = waits.cause.clone().unwrap_or_default();
        assert!(
            waits.lifecycle == Lifecycle::Waiting && cause.contains("all files in the plugin directories"),
            "{waits:?}"
        );
        let way_back = waits.way_back.expect("it comes by itself").text;
        assert!(way_back.contains("`extman load updated`"), "{way_back}");
        changed(written, long_ago);
        host.look_now();
        until_async("it runs", || {
            view().is_some_and(|view| view.lifecycle == Lifecycle::Running)
        })
        .await;
        assert_eq!(view().expect("it is known").version.to_string(), serves);
        drop(host.shutdown().await);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn update_whose_choice_can_not_be_written_down_says_so() {
    let rolling = Rolling::begin(|config| config.rollout.enabled = false).await;
    rolling.put_as(plugin("updated", "0.9.0", "two"), "updated-lower.so");
    rolling.until_looked("other").await;
    let chosen = rolling.place.path().join("state/chosen.json");
    std::fs::create_dir_all(chosen.parent().expect("a directory")).expect("made");
    std::fs::write(&chosen, "{").expect("written");
    let told = rolling.host.update("updated", to("0.9.0")).await;
    let told = told.expect_err("it is not kept").to_string();
    assert!(
        told.contains("done, but not kept") && told.contains("mend the file"),
        "{told}"
    );
    assert_eq!(rolling.version(), "0.9.0");
    std::fs::remove_file(&chosen).expect("removed");
    // What could not be written is written with the next, whichever it is.
    rolling
        .host
        .update("updated", to("0.9.0"))
        .await
        .expect("it is kept");
    let rolling = rolling.again(|config| config.rollout.enabled = false).await;
    rolling.until_looked("another").await;
    assert_eq!(rolling.version(), "0.9.0");
    rolling.end().await;
}
