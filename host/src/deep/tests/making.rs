//! When they are made, what comes of them, and when they are not.

use super::bench::{Bench, HOUR_MS, Memory, said, until};
use crate::deep::Refused;
use extman_health::deep::OverQuota;
use extman_health::policy::DeepPolicy;
use extman_model::{Cause, CheckKind, CheckOutcome, ErrorKind, Health};
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;

const APART_MS: u64 = 300_000;

fn failed() -> CheckOutcome {
    CheckOutcome::Failed {
        kind: ErrorKind::Unavailable,
        text: "no credit".to_owned(),
    }
}

#[tokio::test]
async fn a_check_is_made_each_interval_and_counted_on_the_disk_before_it_is_asked() {
    let bench = Bench::start().await;
    until("its usage log is begun", || {
        bench.store.value("deep/of/a").is_some()
    })
    .await;
    bench.pass(HOUR_MS - 1);
    // Whoever is let looks at once; a check that should not be made would show when the next one is counted.
    tokio::task::yield_now().await;
    bench.pass(1);
    until("it is asked", || bench.times_asked() == 1).await;
    until("its result is there", || {
        bench.deep.view("a").unwrap().last.is_some()
    })
    .await;
    assert_eq!(
        *bench.fake.asked.lock().unwrap(),
        [(CheckKind::Deep, DeepPolicy::default().timeout)]
    );
    let kept = bench.fake.kept.lock().unwrap()[0].clone().unwrap();
    assert!(kept.contains("\"begun_ms\":[3600000]"), "{kept}");
    let view = bench.deep.view("a").unwrap();
    let last = view.last.unwrap();
    assert_eq!(
        (last.check.health(), last.check.took_ns, last.counted),
        (Some(Health::Up), Some(7_000), true)
    );
    assert_eq!(
        (view.left, view.per_day, view.next_ms, view.failed),
        (2, 3, Some(HOUR_MS), 0)
    );
    assert!(bench.store.value("deep/of/a").unwrap().contains("its words"));
    for times in 2..=3 {
        bench.pass(HOUR_MS);
        until("it is asked again", || bench.times_asked() == times).await;
        until("it is over", || !bench.deep.view("a").unwrap().under_way).await;
    }
    bench.pass(HOUR_MS);
    let view = bench.deep.view("a").unwrap();
    assert_eq!(
        (view.left, view.next_ms),
        (0, Some(21 * HOUR_MS)),
        "the first three are spent"
    );
}

#[tokio::test]
async fn a_check_by_an_operator_is_made_at_once_on_the_same_quota() {
    let bench = Bench::start().await;
    bench.deep.make_now("a").await.unwrap();
    let soon = bench.deep.make_now("a").await.unwrap_err();
    assert_eq!(soon.retry_after_ms(), Some(APART_MS), "{soon}");
    for _ in 0..2 {
        bench.pass(APART_MS);
        bench.deep.make_now("a").await.unwrap();
    }
    bench.pass(APART_MS);
    let spent = bench.deep.make_now("a").await.unwrap_err();
    assert!(
        matches!(&spent, Refused::OverQuota(_, OverQuota::Spent { per_day: 3, .. })),
        "{spent}"
    );
    assert_eq!(spent.retry_after_ms(), Some(24 * HOUR_MS - 3 * APART_MS));
    assert_eq!(bench.times_asked(), 3);
    assert_eq!(
        bench.deep.make_now("b").await,
        Err(Refused::NotWanted("b".into()))
    );
}

#[tokio::test]
async fn two_failures_in_a_row_degrade_and_one_success_recovers() {
    let bench = Bench::start().await;
    *bench.fake.says.lock().unwrap() = failed();
    bench.deep.make_now("a").await.unwrap();
    let view = bench.deep.view("a").unwrap();
    assert_eq!(
        (view.failed, view.next_ms),
        (1, Some(APART_MS)),
        "it is confirmed soon"
    );
    assert_eq!(bench.health(), Health::Up);
    bench.pass(APART_MS);
    until("it is degraded", || bench.health() == Health::Degraded).await;
    let seen = bench.engine.view("a").unwrap();
    assert_eq!(seen.judged.cause, Cause::DeepFails(ErrorKind::Unavailable));
    assert_eq!(seen.deep_words.as_deref(), Some("no credit"));
    until("it is over", || !bench.deep.view("a").unwrap().under_way).await;
    let view = bench.deep.view("a").unwrap();
    assert_eq!(
        (view.failed, view.next_ms),
        (2, Some(HOUR_MS)),
        "only a first one is confirmed soon"
    );
    let last = bench.ears.changes.lock().unwrap().last().cloned().unwrap();
    assert_eq!(
        (last.to.health, last.text.as_deref()),
        (Health::Degraded, Some("no credit"))
    );
    *bench.fake.says.lock().unwrap() = said(Health::Up);
    bench.pass(APART_MS);
    bench.deep.make_now("a").await.unwrap();
    assert_eq!(
        (bench.health(), bench.deep.view("a").unwrap().failed),
        (Health::Up, 0)
    );
}

#[tokio::test]
async fn a_new_generation_starts_without_failures_and_with_the_old_quota() {
    let bench = Bench::start().await;
    *bench.fake.says.lock().unwrap() = failed();
    bench.deep.make_now("a").await.unwrap();
    bench.pass(APART_MS);
    until("it is degraded", || bench.health() == Health::Degraded).await;
    bench.runs(2);
    until("it is up", || bench.health() == Health::Up).await;
    let view = bench.deep.view("a").unwrap();
    assert_eq!((view.failed, view.left), (0, 1));
    assert!(matches!(
        bench.deep.make_now("a").await,
        Err(Refused::OverQuota(_, OverQuota::TooSoon { .. }))
    ));
}

#[tokio::test]
async fn a_second_check_is_refused_while_one_is_in_flight_which_ends_with_its_instance() {
    let bench = Bench::start().await;
    bench.fake.hangs.store(true, SeqCst);
    let deep = bench.deep.clone();
    let first = tokio::spawn(async move { deep.make_now("a").await });
    until("it is asked", || bench.fake.inside.load(SeqCst) == 1).await;
    assert!(bench.deep.view("a").unwrap().under_way);
    assert_eq!(bench.deep.make_now("a").await, Err(Refused::InFlight("a".into())));
    bench.runs(0);
    assert_eq!(first.await.unwrap(), Err(Refused::Stopped("a".into())));
    until("it was let go of", || bench.fake.inside.load(SeqCst) == 0).await;
    assert_eq!(
        bench.deep.make_now("a").await,
        Err(Refused::NotRunning("a".into()))
    );
    let view = bench.deep.view("a").unwrap();
    assert_eq!(
        (view.under_way, view.last, view.left, view.next_ms),
        (false, None, 2, None)
    );
    bench.fake.hangs.store(false, SeqCst);
    bench.runs(2);
    until("it is up", || bench.health() == Health::Up).await;
    assert!(
        matches!(
            bench.deep.make_now("a").await,
            Err(Refused::OverQuota(_, OverQuota::TooSoon { .. }))
        ),
        "it was spent"
    );
}

#[tokio::test]
async fn usage_survives_a_restart_of_the_host() {
    let bench = Bench::start().await;
    *bench.fake.says.lock().unwrap() = failed();
    bench.deep.make_now("a").await.unwrap();
    let (store, booted_ms) = (bench.store.clone(), bench.booted_ms());
    drop(bench);
    let bench = Bench::on(store, booted_ms + 60_000).await;
    let soon = bench.deep.make_now("a").await.unwrap_err();
    assert_eq!(soon.retry_after_ms(), Some(APART_MS - 60_000), "{soon}");
    let view = bench.deep.view("a").unwrap();
    assert_eq!(
        (view.left, view.next_ms, view.failed),
        (2, Some(HOUR_MS - 60_000), 0)
    );
    assert_eq!(view.last.unwrap().check.outcome, failed());
    assert_eq!(bench.times_asked(), 0);
}

#[tokio::test]
async fn a_check_due_at_the_start_waits_until_the_instance_has_settled() {
    let bench = Bench::start().await;
    bench.deep.make_now("a").await.unwrap();
    let (store, booted_ms) = (bench.store.clone(), bench.booted_ms());
    drop(bench);
    let bench = Bench::on(store, booted_ms + 5 * HOUR_MS).await;
    let held = || bench.deep.view("a").unwrap().next_ms == Some(15_000);
    until("it was looked at and held", held).await;
    for _ in 0..3 {
        bench.pass(15_000);
        until("it is held again", held).await;
    }
    assert_eq!(bench.times_asked(), 0);
    bench.pass(15_000);
    until("it is asked", || bench.times_asked() == 1).await;
}

#[tokio::test]
async fn an_instance_in_maintenance_is_asked_by_operators_alone() {
    let mut bench = Bench::start().await;
    bench.maintenance = true;
    bench.runs(1);
    until("its usage log is begun", || {
        bench.store.value("deep/of/a").is_some()
    })
    .await;
    bench.pass(HOUR_MS);
    until("it was looked at and held", || {
        bench.deep.view("a").unwrap().next_ms == Some(15_000)
    })
    .await;
    assert_eq!(bench.times_asked(), 0);
    bench.deep.make_now("a").await.unwrap();
    assert_eq!(bench.times_asked(), 1);
}

#[tokio::test]
async fn without_a_store_no_check_is_made_and_the_reason_is_shown() {
    let bench = Bench::start().await;
    for (flag, why) in [
        (&bench.store.is_broken, "the disk is gone"),
        (&bench.store.is_full, "the disk is full"),
    ] {
        flag.store(true, SeqCst);
        let refused = bench.deep.make_now("a").await.unwrap_err();
        assert!(refused.to_string().ends_with(why), "{refused}");
        flag.store(false, SeqCst);
    }
    bench.store.is_broken.store(true, SeqCst);
    let view = bench.deep.view("a").unwrap();
    assert_eq!(
        (view.obstacle.as_deref(), view.next_ms),
        (Some("the disk is gone"), None)
    );
    assert_eq!(bench.times_asked(), 0);
}

#[tokio::test]
async fn a_store_lost_at_run_time_is_written_anew_and_one_lost_before_counts_as_spent() {
    let bench = Bench::start().await;
    bench.deep.make_now("a").await.unwrap();
    bench.store.values.lock().unwrap().clear();
    bench.store.lost.store(1, SeqCst);
    bench.pass(APART_MS);
    until("it is written anew", || bench.store.value("deep/of/a").is_some()).await;
    drop(bench);
    for word in ["nonsense", ""] {
        let store = Arc::new(Memory::default());
        match word {
            "" => store.lost.store(1, SeqCst),
            word => store.note_one("deep/of/a", word),
        }
        let bench = Bench::on(store, 1_000_000).await;
        let spent = bench.deep.make_now("a").await.unwrap_err();
        assert_eq!(spent.retry_after_ms(), Some(24 * HOUR_MS), "{spent}");
    }
}

#[tokio::test]
async fn an_instance_without_deep_checks_is_not_asked_again() {
    let mut bench = Bench::start().await;
    let says_no = CheckOutcome::Failed {
        kind: ErrorKind::Unsupported,
        text: "no".to_owned(),
    };
    *bench.fake.says.lock().unwrap() = says_no;
    bench.deep.make_now("a").await.unwrap();
    let view = bench.deep.view("a").unwrap();
    assert!(view.obstacle.unwrap().contains("says that it answers none"));
    assert_eq!(
        (view.failed, view.last.unwrap().counted, view.next_ms),
        (0, false, None)
    );
    bench.pass(APART_MS);
    assert!(matches!(
        bench.deep.make_now("a").await,
        Err(Refused::Obstacle(..))
    ));
    assert_eq!(bench.times_asked(), 1);
    bench.policy.answered = false;
    bench.runs(2);
    let refused = bench.deep.make_now("a").await.unwrap_err();
    assert!(refused.to_string().contains("`[probe] deep = true`"), "{refused}");
}

#[tokio::test]
async fn a_panic_in_a_deep_check_is_reported() {
    let bench = Bench::start().await;
    *bench.fake.says.lock().unwrap() = CheckOutcome::Failed {
        kind: ErrorKind::Panicked,
        text: "index out of bounds".to_owned(),
    };
    bench.deep.make_now("a").await.unwrap();
    assert_eq!(*bench.ears.panicked.lock().unwrap(), ["a"]);
}
