//! The engine on real lanes, with targets that a test can hold up.

use super::*;
use extman_health::monitor::Calls;
use extman_model::latency::LatencyHistogram;
use extman_model::record::Record;
use extman_model::vital;
use extman_model::{CheckKind, CheckOutcome, Connection, ErrorKind, Figures, Report};
use extman_runtime::instance::{Answer, Asked, FailedCalls};
use extman_runtime::lanes::{LaneContext, LaneObserver, Pool, PoolLimits, Work};
use std::sync::Weak;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::time::Duration;

const LONG: Duration = Duration::from_secs(60);

/// Answers as it is told.
struct Fake {
    says: Mutex<CheckOutcome>,
    asked: AtomicU64,
    hangs: AtomicBool,
    inside: AtomicU64,
    calls: Mutex<Calls>,
    watched: Mutex<Option<(Weak<dyn FailedCalls>, u32)>>,
    rearmed: AtomicU64,
    lanes: Pool,
    wedge_after: Duration,
}

fn said(health: Health) -> CheckOutcome {
    CheckOutcome::Answered {
        report: Some(Report {
            health: Some(health),
            text: Some("its words".to_owned()),
            heap_bytes: Some(7),
            ..Report::default()
        }),
    }
}

fn figures(health: Health) -> CheckOutcome {
    CheckOutcome::Answered {
        report: Some(Report {
            health: Some(health),
            heap_bytes: Some(7),
            ..Report::default()
        }),
    }
}

impl Fake {
    fn new() -> Arc<Self> {
        Fake::on(&own_lanes())
    }

    fn on(lanes: &Pool) -> Arc<Self> {
        Fake::with(lanes, LONG)
    }

    fn with(lanes: &Pool, wedge_after: Duration) -> Arc<Self> {
        Arc::new(Fake {
            wedge_after,
            says: Mutex::new(said(Health::Up)),
            asked: AtomicU64::new(0),
            hangs: AtomicBool::new(false),
            inside: AtomicU64::new(0),
            calls: Mutex::default(),
            watched: Mutex::default(),
            rearmed: AtomicU64::new(0),
            lanes: lanes.clone(),
        })
    }

    /// A call of it fails, and nobody had called it since it was looked at.
    fn fail_call(&self) {
        {
            let mut calls = self.calls.lock().unwrap();
            calls.ended += 1;
            calls.blamed += 1;
            calls.failed_run += 1;
        }
        let watched = self.watched.lock().unwrap().clone();
        let (sink, number) = watched.expect("the engine hears of failed calls");
        sink.upgrade().expect("the engine is there").failed(number);
    }

    fn answer(&self) -> CheckOutcome {
        self.asked.fetch_add(1, SeqCst);
        self.inside.fetch_add(1, SeqCst);
        while self.hangs.load(SeqCst) {
            std::thread::park_timeout(Duration::from_millis(1));
        }
        self.inside.fetch_sub(1, SeqCst);
        self.says.lock().unwrap().clone()
    }
}

impl Target for Fake {
    fn lanes(&self) -> &Pool {
        &self.lanes
    }
    fn wedge_after(&self) -> Duration {
        self.wedge_after
    }
    fn has_check(&self) -> bool {
        true
    }
    fn check_on(&self, lane: &LaneContext<'_>, timeout: Duration, began: Moment) -> Option<Asked> {
        let lost_at = began.after(timeout).after(self.wedge_after);
        let outcome = lane.run(began, lost_at, |_| self.answer())?;
        Some(Asked {
            answer: match &outcome {
                CheckOutcome::Answered { report: Some(report) } => {
                    Figures::of(report).map(|figures| Answer::Figures(Some(figures)))
                }
                _ => None,
            }
            .unwrap_or(Answer::Other(Box::new(outcome))),
            ended: clock::monotonic(),
        })
    }
    fn check_apart(self: Arc<Self>, _: CheckKind, timeout: Duration) -> Apart {
        Box::pin(async move {
            let asked = tokio::task::spawn_blocking(move || self.answer());
            match tokio::time::timeout(timeout, asked).await {
                Ok(outcome) => (outcome.unwrap(), Some(Duration::from_micros(1))),
                Err(_) => (CheckOutcome::TimedOut, None),
            }
        })
    }
    fn calls(&self) -> Calls {
        *self.calls.lock().unwrap()
    }
    fn watch_failures(&self, sink: Weak<dyn FailedCalls>, number: u32) {
        *self.watched.lock().unwrap() = Some((sink, number));
    }
    fn rearm_failures(&self) {
        self.rearmed.fetch_add(1, SeqCst);
    }
    fn errors(&self) -> Vec<(ErrorKind, u64)> {
        vec![(ErrorKind::Internal, self.calls.lock().unwrap().blamed)]
    }
    fn take_latency(&self) -> LatencyHistogram {
        LatencyHistogram::default()
    }
}

#[derive(Default)]
struct Ears {
    changes: Mutex<Vec<HealthChange>>,
    reports: Mutex<Vec<ReportChange>>,
    records: Mutex<Vec<Record>>,
    panicked: Mutex<Vec<String>>,
}

impl EventSink for Ears {
    fn changed(&self, change: HealthChange) {
        self.changes.lock().unwrap().push(change);
    }
    fn reported(&self, _: &str, change: ReportChange) {
        self.reports.lock().unwrap().push(change);
    }
    fn panicked(&self, name: &str, _: u64, _: String) {
        self.panicked.lock().unwrap().push(name.to_owned());
    }
    fn stalled(&self, _: Duration) {}
    fn record(&self, records: &mut Vec<Record>) {
        self.records.lock().unwrap().append(records);
    }
    fn keeps_results(&self) -> bool {
        true
    }
}

struct Unobserved;

impl LaneObserver for Unobserved {
    fn lost(&self, _: &Work, _: Duration) {}
    fn returned_late(&self, _: &Work, _: Duration) {}
}

/// The lanes of a library that nobody else is of.
fn own_lanes() -> Pool {
    Pool::new("t-lanes", PoolLimits::default(), Arc::new(Unobserved))
}

/// Quick enough for a test, and with bounds wide enough for a machine that is busy.
fn quick() -> Policy {
    Policy {
        interval: Duration::from_millis(20),
        recheck: Duration::from_millis(10),
        down_backoff: (Duration::from_millis(20), Duration::from_millis(50)),
        timeout: (Duration::from_millis(300), Duration::from_secs(2)),
        stale_intervals: 250,
        ..Policy::default()
    }
}

fn subject(name: &str, target: &Arc<Fake>, generation: u64) -> Subject {
    Subject {
        name: name.into(),
        policy: Arc::new(quick()),
        lifecycle: Lifecycle::Running,
        target: Some((target.clone(), generation)),
        maintenance: false,
        suppressed_by: None,
    }
}

fn started() -> (Engine, Arc<Ears>) {
    let ears = Arc::new(Ears::default());
    (Engine::start(ears.clone()).unwrap(), ears)
}

async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let give_up = clock::monotonic().after(LONG);
    while !holds() {
        assert!(clock::monotonic() < give_up, "it never came to be that {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

fn health(engine: &Engine, name: &str) -> Health {
    engine.view(name).unwrap().judged.health
}

#[tokio::test]
async fn what_it_says_is_what_it_is_held_to_be() {
    let (engine, ears) = started();
    let fake = Fake::new();
    engine.put(subject("a", &fake, 1));
    until("it is up", || health(&engine, "a") == Health::Up).await;
    *fake.says.lock().unwrap() = said(Health::Down);
    until("it is down", || health(&engine, "a") == Health::Down).await;
    *fake.says.lock().unwrap() = said(Health::Up);
    until("it is up again", || health(&engine, "a") == Health::Up).await;
    let seen = engine.view("a").unwrap();
    assert_eq!(seen.check.unwrap().health(), Some(Health::Up));
    assert!(seen.round_trip.is_some());
    tokio::task::spawn_blocking(move || engine.shutdown())
        .await
        .unwrap();
    let told: Vec<Health> = ears.changes.lock().unwrap().iter().map(|a| a.to.health).collect();
    let mut turns = told.clone();
    turns.dedup();
    assert_eq!(
        turns,
        [Health::Unknown, Health::Up, Health::Down, Health::Up],
        "{told:?}"
    );
    assert_eq!(ears.changes.lock().unwrap()[1].text.as_deref(), Some("its words"));
    let records = ears.records.lock().unwrap();
    let results = records.iter().filter(|r| matches!(r, Record::Check(_))).count();
    assert!(
        results > 0 && (results as u64) < fake.asked.load(SeqCst),
        "only those that were not good"
    );
    let ends = records
        .iter()
        .filter(|record| matches!(record, Record::Transition(transition) if transition.state.is_none()));
    assert_eq!(ends.count(), 1);
    let Some(Record::Minute(rest)) = records.last() else {
        panic!("{records:?}")
    };
    assert!(rest.rollup.states.up > 0 && rest.rollup.checks > 0 && rest.rollup.heap_bytes == Some((7, 7)));
}

#[tokio::test]
async fn one_that_hangs_is_down_and_costs_nobody_else() {
    let (engine, _) = started();
    let (hanging, others) = (Fake::new(), [Fake::new(), Fake::new(), Fake::new()]);
    for (number, fake) in others.iter().enumerate() {
        engine.put(subject(&format!("other-{number}"), fake, 1));
    }
    engine.put(subject("hanging", &hanging, 1));
    until("it is up", || health(&engine, "hanging") == Health::Up).await;
    hanging.hangs.store(true, SeqCst);
    until("it hangs", || hanging.inside.load(SeqCst) == 1).await;
    let then: Vec<u64> = others.iter().map(|fake| fake.asked.load(SeqCst)).collect();
    until("the others are asked on", || {
        others
            .iter()
            .zip(&then)
            .all(|(fake, then)| fake.asked.load(SeqCst) > then + 5)
    })
    .await;
    until("it is down", || health(&engine, "hanging") == Health::Down).await;
    assert!(
        others
            .iter()
            .enumerate()
            .all(|(n, _)| health(&engine, &format!("other-{n}")) == Health::Up)
    );
    assert_eq!(
        hanging.inside.load(SeqCst),
        1,
        "it was asked again while it had not answered"
    );
    hanging.hangs.store(false, SeqCst);
    until("it is up again", || health(&engine, "hanging") == Health::Up).await;
    tokio::task::spawn_blocking(move || engine.shutdown())
        .await
        .unwrap();
}

#[tokio::test]
async fn many_that_hang_at_once_do_not_stop_the_rest() {
    let (engine, _) = started();
    let hanging: Vec<_> = (0..6).map(|_| Fake::new()).collect();
    let well = Fake::new();
    for (number, fake) in hanging.iter().enumerate() {
        engine.put(subject(&format!("h{number}"), fake, 1));
    }
    engine.put(subject("well", &well, 1));
    until("all are up", || {
        engine.views().iter().all(|seen| seen.judged.health == Health::Up)
    })
    .await;
    hanging.iter().for_each(|fake| fake.hangs.store(true, SeqCst));
    until("all are down", || {
        (0..6).all(|n| health(&engine, &format!("h{n}")) == Health::Down)
    })
    .await;
    let then = well.asked.load(SeqCst);
    until("the well one is asked on", || well.asked.load(SeqCst) > then + 5).await;
    assert_eq!(health(&engine, "well"), Health::Up);
    hanging.iter().for_each(|fake| fake.hangs.store(false, SeqCst));
    tokio::task::spawn_blocking(move || engine.shutdown())
        .await
        .unwrap();
}

#[tokio::test]
async fn two_who_ask_at_once_get_one_answer() {
    let (engine, _) = started();
    let fake = Fake::new();
    let slow = Policy {
        interval: Duration::from_secs(3600),
        ..quick()
    };
    engine.put(Subject {
        policy: Arc::new(slow),
        ..subject("a", &fake, 1)
    });
    until("it was asked", || fake.asked.load(SeqCst) == 1).await;
    fake.hangs.store(true, SeqCst);
    let ask = || {
        let engine = engine.clone();
        tokio::spawn(async move { engine.check_now("a").await })
    };
    let (one, two) = (ask(), ask());
    until("it is being asked", || fake.inside.load(SeqCst) == 1).await;
    let three = ask();
    tokio::task::yield_now().await;
    fake.hangs.store(false, SeqCst);
    for answer in [one, two, three] {
        assert_eq!(answer.await.unwrap().unwrap().health(), Some(Health::Up));
    }
    assert!(fake.asked.load(SeqCst) <= 3, "{}", fake.asked.load(SeqCst));
    assert!(engine.check_now("nobody").await.is_none());
    tokio::task::spawn_blocking(move || engine.shutdown())
        .await
        .unwrap();
}

#[tokio::test]
async fn life_and_generations() {
    let (engine, ears) = started();
    let (old, new) = (Fake::new(), Fake::new());
    engine.put(subject("a", &old, 1));
    until("it is up", || health(&engine, "a") == Health::Up).await;
    engine.put(Subject {
        lifecycle: Lifecycle::Wedged,
        target: None,
        ..subject("a", &old, 1)
    });
    assert_eq!(health(&engine, "a"), Health::Down);
    *new.says.lock().unwrap() = said(Health::Degraded);
    engine.put(subject("a", &new, 2));
    until("the new one is asked", || {
        health(&engine, "a") == Health::Degraded
    })
    .await;
    *new.says.lock().unwrap() = CheckOutcome::Failed {
        kind: ErrorKind::Panicked,
        text: "boom".to_owned(),
    };
    until("its panic is told", || !ears.panicked.lock().unwrap().is_empty()).await;
    engine.remove("a");
    assert!(engine.view("a").is_none());
    tokio::task::spawn_blocking(move || engine.shutdown())
        .await
        .unwrap();
}

#[tokio::test]
async fn what_lacks_something_is_told_with_the_root_of_that_and_not_with_its_own_words() {
    let (engine, ears) = started();
    let fake = Fake::new();
    *fake.says.lock().unwrap() = said(Health::Up);
    engine.put(subject("a", &fake, 1));
    until("it is up", || health(&engine, "a") == Health::Up).await;
    engine.put(Subject {
        suppressed_by: Some("store".into()),
        ..subject("a", &fake, 1)
    });
    let told = ears.changes.lock().unwrap().last().cloned().unwrap();
    assert_eq!(
        (told.to.health, told.to.cause, told.text.as_deref()),
        (
            Health::Degraded,
            extman_model::Cause::DependencyDown,
            Some("suppressed by store")
        )
    );
    engine.put(Subject {
        suppressed_by: Some("disk".into()),
        ..subject("a", &fake, 1)
    });
    let written = |record: &Record| match record {
        Record::Transition(row) => row.text.clone().filter(|text| text.starts_with("suppressed")),
        _ => None,
    };
    let written: Vec<_> = ears.records.lock().unwrap().iter().filter_map(written).collect();
    assert_eq!(written, ["suppressed by store", "suppressed by disk"]);
    engine.put(subject("a", &fake, 1));
    assert_eq!(health(&engine, "a"), Health::Up);
    tokio::task::spawn_blocking(move || engine.shutdown())
        .await
        .unwrap();
}

#[tokio::test]
async fn one_that_hangs_costs_the_others_of_its_library_no_check() {
    let (engine, _) = started();
    let lanes = own_lanes();
    let all: Vec<_> = (0..40).map(|_| Fake::on(&lanes)).collect();
    for (number, fake) in all.iter().enumerate() {
        *fake.says.lock().unwrap() = figures(Health::Up);
        engine.put(subject(&format!("n{number}"), fake, 1));
    }
    let is_up = |seen: &Seen| seen.judged.health == Health::Up;
    until("all are up", || engine.views().iter().all(is_up)).await;
    all[7].hangs.store(true, SeqCst);
    until("one hangs", || all[7].inside.load(SeqCst) == 1).await;
    let then: Vec<u64> = all.iter().map(|fake| fake.asked.load(SeqCst)).collect();
    let goes_on = |at: usize| at == 7 || all[at].asked.load(SeqCst) > then[at] + 5;
    until("the others are asked on", || (0..40).all(goes_on)).await;
    until("it is down", || health(&engine, "n7") == Health::Down).await;
    assert_eq!(engine.views().iter().filter(|seen| is_up(seen)).count(), 39);
    assert_eq!(all[7].inside.load(SeqCst), 1, "it was asked once");
    all[7].hangs.store(false, SeqCst);
    until("it is up again", || health(&engine, "n7") == Health::Up).await;
    tokio::task::spawn_blocking(move || engine.shutdown())
        .await
        .unwrap();
}

#[tokio::test]
async fn planning_for_one_looks_at_no_other_library_however_many_lanes_are_under_way() {
    for others in [3, 300] {
        let (engine, _) = started();
        let hanging: Vec<_> = (0..others).map(|_| Fake::new()).collect();
        for (number, fake) in hanging.iter().enumerate() {
            fake.hangs.store(true, SeqCst);
            engine.put(subject(&format!("h{number}"), fake, 1));
        }
        until("all hang", || {
            hanging.iter().all(|fake| fake.inside.load(SeqCst) == 1)
        })
        .await;
        let one = Fake::new();
        engine.put(subject("one", &one, 1));
        until("it is up", || health(&engine, "one") == Health::Up).await;
        let (asked, looked) = (one.asked.load(SeqCst), engine.scheduler().looked);
        until("it is asked on", || one.asked.load(SeqCst) >= asked + 10).await;
        let looked = engine.scheduler().looked - looked;
        assert!(
            looked <= 100,
            "{looked} looks for ten checks, among {others} others"
        );
        hanging.iter().for_each(|fake| fake.hangs.store(false, SeqCst));
        tokio::task::spawn_blocking(move || engine.shutdown())
            .await
            .unwrap();
    }
}

/// Soon nothing is known of it if nothing comes.
fn impatient(name: &str, target: &Arc<Fake>) -> Subject {
    let policy = Policy {
        stale_intervals: 3,
        ..quick()
    };
    Subject {
        policy: Arc::new(policy),
        ..subject(name, target, 1)
    }
}

/// No lane begins its checks any more: that is the host's, and everybody is told.
async fn is_unknown_for_want_of_a_lane(engine: &Engine, ears: &Ears, name: &str) {
    let starved = (Health::Unknown, extman_model::Cause::HostStarved);
    let is_told = |told: &HealthChange| &*told.name == name && (told.to.health, told.to.cause) == starved;
    until("it is told that nothing is known", || {
        ears.changes.lock().unwrap().iter().any(is_told)
    })
    .await;
    let seen = engine.view(name).unwrap();
    assert_eq!(
        ((seen.judged.health, seen.judged.cause), seen.failed_checks),
        (starved, 0)
    );
    assert!(seen.recent.iter().all(|was| *was == Health::Up));
    let asked = tokio::time::timeout(LONG, engine.check_now(name)).await;
    let answer = asked.expect("who asks is answered").expect("it runs");
    assert_eq!(answer.outcome, CheckOutcome::NotBegun);
}

#[tokio::test]
async fn instance_that_no_lane_asks_becomes_unknown_and_is_not_blamed() {
    let (engine, ears) = started();
    let fake = Fake::new();
    engine.put(impatient("a", &fake));
    until("it is up", || health(&engine, "a") == Health::Up).await;
    fake.lanes.shutdown(LONG).unwrap();
    is_unknown_for_want_of_a_lane(&engine, &ears, "a").await;
    tokio::task::spawn_blocking(move || engine.shutdown())
        .await
        .unwrap();
}

#[tokio::test]
async fn instance_that_waits_behind_lanes_that_hang_becomes_unknown_and_is_up_once_one_is_free() {
    let (engine, ears) = started();
    let lanes = own_lanes();
    let fake = Fake::on(&lanes);
    engine.put(impatient("waits", &fake));
    until("it is up", || health(&engine, "waits") == Health::Up).await;
    let hanging: Vec<_> = (0..16).map(|_| Fake::on(&lanes)).collect();
    for (number, fake) in hanging.iter().enumerate() {
        fake.hangs.store(true, SeqCst);
        engine.put(subject(&format!("h{number}"), fake, 1));
    }
    until("all lanes hang", || {
        hanging.iter().all(|fake| fake.inside.load(SeqCst) == 1)
    })
    .await;
    is_unknown_for_want_of_a_lane(&engine, &ears, "waits").await;
    hanging.iter().for_each(|fake| fake.hangs.store(false, SeqCst));
    until("it is up again", || health(&engine, "waits") == Health::Up).await;
    tokio::task::spawn_blocking(move || engine.shutdown())
        .await
        .unwrap();
}

#[tokio::test]
async fn a_lane_that_is_lost_in_a_check_is_told_by_the_instances_name_though_it_is_forgotten() {
    #[derive(Default)]
    struct Heard(Mutex<Vec<(Arc<str>, u64)>>, Mutex<Vec<Arc<str>>>);
    impl LaneObserver for Heard {
        fn lost(&self, work: &Work, _: Duration) {
            self.0
                .lock()
                .unwrap()
                .push((work.subject.clone(), work.generation));
        }
        fn returned_late(&self, work: &Work, _: Duration) {
            self.1.lock().unwrap().push(work.subject.clone());
        }
    }
    let (engine, _) = started();
    let heard = Arc::new(Heard::default());
    let lanes = Pool::new("t-lost", PoolLimits::default(), heard.clone());
    let fake = Fake::with(&lanes, Duration::ZERO);
    let well = Fake::on(&lanes);
    engine.put(subject("well", &well, 7));
    engine.put(subject("lost", &fake, 7));
    until("it is up", || health(&engine, "lost") == Health::Up).await;
    fake.hangs.store(true, SeqCst);
    until("its lane is lost", || !heard.0.lock().unwrap().is_empty()).await;
    assert_eq!(&*heard.0.lock().unwrap(), &[("lost".into(), 7)]);
    engine.remove("lost");
    engine.put(subject("another", &Fake::on(&lanes), 7));
    fake.hangs.store(false, SeqCst);
    until("it came back late", || !heard.1.lock().unwrap().is_empty()).await;
    assert_eq!(&*heard.1.lock().unwrap()[0], "lost");
    until("the others are asked on", || well.asked.load(SeqCst) > 20).await;
    tokio::task::spawn_blocking(move || engine.shutdown())
        .await
        .unwrap();
}

#[tokio::test]
async fn what_one_says_in_figures_is_counted_and_kept_as_what_it_says_in_words() {
    let (engine, ears) = started();
    let fake = Fake::new();
    *fake.says.lock().unwrap() = figures(Health::Up);
    engine.put(subject("a", &fake, 1));
    until("it was asked often", || fake.asked.load(SeqCst) > 30).await;
    let seen = engine.view("a").unwrap();
    assert_eq!(seen.latencies_ns.len(), 16);
    let CheckOutcome::Answered { report: Some(report) } = seen.check.unwrap().outcome else {
        panic!()
    };
    assert_eq!((report.heap_bytes, report.health), (Some(7), Some(Health::Up)));
    tokio::task::spawn_blocking(move || engine.shutdown())
        .await
        .unwrap();
    let records = ears.records.lock().unwrap();
    let minutes = || {
        records.iter().filter_map(|record| match record {
            Record::Minute(row) => Some(&row.rollup),
            _ => None,
        })
    };
    let written = records.iter().filter(|record| matches!(record, Record::Check(_)));
    let (written, asked) = (written.count(), fake.asked.load(SeqCst));
    let checks = minutes().map(|sums| sums.checks).sum::<u64>();
    assert!(checks <= asked && checks + 1 >= asked, "{checks} {asked}");
    assert_eq!(written, 0, "{asked} good ones");
    assert!(minutes().all(|sums| sums.checks == 0 || sums.heap_bytes == Some((7, 7))));
}

/// One that is checked once an hour.
fn seldom(name: &str, target: &Arc<Fake>) -> Subject {
    let hour = Policy {
        interval: Duration::from_secs(3600),
        ..quick()
    };
    Subject {
        policy: Arc::new(hour),
        ..subject(name, target, 1)
    }
}

#[tokio::test]
async fn failed_calls_of_an_idle_instance_count_at_once_and_hasten_its_check() {
    let (engine, _) = started();
    let fake = Fake::new();
    engine.put(seldom("a", &fake));
    until("it is up", || health(&engine, "a") == Health::Up).await;
    let asked = fake.asked.load(SeqCst);
    fake.fail_call();
    until("it is checked", || fake.asked.load(SeqCst) > asked).await;
    assert!(fake.rearmed.load(SeqCst) > 0, "the next failure is heard of");
    (0..2).for_each(|_| fake.fail_call());
    until("it is degraded", || health(&engine, "a") == Health::Degraded).await;
    (0..2).for_each(|_| fake.fail_call());
    until("it is down", || health(&engine, "a") == Health::Down).await;
    tokio::task::spawn_blocking(move || engine.shutdown())
        .await
        .unwrap();
}

#[tokio::test]
async fn failed_call_is_heard_of_again_though_something_else_came_before_the_next_check() {
    let (engine, _) = started();
    let fake = Fake::new();
    *fake.says.lock().unwrap() = figures(Health::Up);
    let policy = Policy {
        recheck: Duration::from_secs(1),
        ..(*seldom("a", &fake).policy).clone()
    };
    engine.put(Subject {
        policy: Arc::new(policy),
        ..subject("a", &fake, 1)
    });
    until("it is up", || health(&engine, "a") == Health::Up).await;
    let before = (fake.asked.load(SeqCst), fake.rearmed.load(SeqCst));
    fake.fail_call();
    engine.pushed("a", 1, Health::Up);
    until("its check is hastened", || fake.asked.load(SeqCst) > before.0).await;
    until("the next failure would be heard of", || {
        fake.rearmed.load(SeqCst) > before.1
    })
    .await;
    tokio::task::spawn_blocking(move || engine.shutdown())
        .await
        .unwrap();
}

#[tokio::test]
async fn check_that_says_down_is_a_failed_check_in_every_count() {
    let (engine, ears) = started();
    let fake = Fake::new();
    *fake.says.lock().unwrap() = said(Health::Down);
    engine.put(subject("a", &fake, 1));
    until("it is down", || health(&engine, "a") == Health::Down).await;
    let (of_one, of_all) = (engine.view("a").unwrap().counts, engine.stats().counts);
    assert!(of_one.failed >= 3 && of_one.failed == of_one.checks, "{of_one:?}");
    assert!(of_all.failed >= 3 && of_all.failed == of_all.checks, "{of_all:?}");
    assert_eq!((of_one.timed_out, of_all.timed_out), (0, 0));
    *fake.says.lock().unwrap() = figures(Health::Up);
    until("it is up", || health(&engine, "a") == Health::Up).await;
    let counted = engine.view("a").unwrap().counts;
    tokio::task::spawn_blocking(move || engine.shutdown())
        .await
        .unwrap();
    let records = ears.records.lock().unwrap();
    let (mut checks, mut failed) = (0, 0);
    for record in records.iter() {
        if let Record::Minute(row) = record {
            checks += row.rollup.checks;
            failed += row.rollup.checks_failed;
        }
    }
    assert!(
        checks >= counted.checks && failed == counted.failed,
        "{checks} {failed} {counted:?}"
    );
}

#[tokio::test]
async fn instance_that_flaps_is_published_once_when_it_begins_and_once_when_it_ends() {
    let (engine, ears) = started();
    let fake = Fake::new();
    let eager = Policy {
        fall: 1,
        rise: 1,
        ..quick()
    };
    engine.put(Subject {
        policy: Arc::new(eager),
        ..subject("a", &fake, 1)
    });
    let flapping = || -> Vec<FlappingChange> {
        let changes = ears.changes.lock().unwrap();
        let flapping = changes.iter().filter_map(|change| change.flapping);
        flapping
            .filter(|change| *change != FlappingChange::GoesOn)
            .collect()
    };
    let mut turns = 0;
    let mut turn = async |health_is| {
        *fake.says.lock().unwrap() = said(health_is);
        until("it turns", || health(&engine, "a") == health_is).await;
        turns += 1;
    };
    while flapping().is_empty() {
        turn(Health::Down).await;
        turn(Health::Up).await;
    }
    let is_told = |change: &HealthChange| change.flapping != Some(FlappingChange::GoesOn);
    let published = || {
        ears.changes
            .lock()
            .unwrap()
            .iter()
            .filter(|change| is_told(change))
            .count()
    };
    let before = published();
    for _ in 0..20 {
        turn(Health::Down).await;
        turn(Health::Up).await;
    }
    assert_eq!(published(), before, "nothing between");
    until("it is steady", || flapping().len() == 2).await;
    let told = flapping();
    assert!(
        matches!(told[0], FlappingChange::Begins { permille: 300.. }),
        "{told:?}"
    );
    assert!(
        matches!(told[1], FlappingChange::Ends { changes: 40.., .. }),
        "{told:?}"
    );
    let is_transition = |record: &&Record| matches!(record, Record::Transition(_));
    let written = ears.records.lock().unwrap().iter().filter(is_transition).count();
    assert!(written >= turns, "each turn is in the history");
    tokio::task::spawn_blocking(move || engine.shutdown())
        .await
        .unwrap();
}

#[tokio::test]
async fn parts_and_connection_are_kept_and_published_when_they_change() {
    let (engine, ears) = started();
    let fake = Fake::new();
    let says = |model, connection| CheckOutcome::Answered {
        report: Some(Report {
            health: Some(Health::Up),
            connection: Some(connection),
            parts: vec![extman_model::Part {
                name: "model".to_owned(),
                health: model,
                message: "its words".to_owned(),
                duration_ns: Some(7),
                value: Some(0.5),
            }],
            ..Report::default()
        }),
    };
    *fake.says.lock().unwrap() = says(Health::Up, Connection::Connected);
    engine.put(subject("a", &fake, 1));
    until("it is up", || health(&engine, "a") == Health::Up).await;
    assert_eq!(*ears.reports.lock().unwrap(), []);
    *fake.says.lock().unwrap() = says(Health::Degraded, Connection::Broken);
    until("both are published", || ears.reports.lock().unwrap().len() == 2).await;
    *fake.says.lock().unwrap() = CheckOutcome::Failed {
        kind: ErrorKind::Internal,
        text: "no report".to_owned(),
    };
    until("it is down", || health(&engine, "a") == Health::Down).await;
    let seen = engine.view("a").unwrap();
    let part = &seen.parts[0];
    assert_eq!(
        (part.health, part.duration_ns, part.value),
        (Health::Degraded, Some(7), Some(0.5))
    );
    assert_eq!(seen.connection.unwrap().state, Connection::Broken);
    // In figures alone, on the quiet path, a connection that breaks is no less seen.
    let quiet = |connection| CheckOutcome::Answered {
        report: Some(Report {
            health: Some(Health::Up),
            connection: Some(connection),
            ..Report::default()
        }),
    };
    *fake.says.lock().unwrap() = quiet(Connection::Connected);
    until("it is connected", || ears.reports.lock().unwrap().len() == 3).await;
    let asked = fake.asked.load(SeqCst);
    until("it is quiet", || fake.asked.load(SeqCst) > asked + 10).await;
    *fake.says.lock().unwrap() = quiet(Connection::Broken);
    until("it is broken", || ears.reports.lock().unwrap().len() == 4).await;
    tokio::task::spawn_blocking(move || engine.shutdown())
        .await
        .unwrap();
}

#[tokio::test]
async fn engine_whose_thread_has_died_says_so() {
    /// Panics in the thread that keeps the time.
    struct Breaks;
    impl EventSink for Breaks {
        fn changed(&self, _: HealthChange) {
            let thread = std::thread::current();
            assert!(thread.name() != Some("extman-probe"), "as the test wants it");
        }
        fn panicked(&self, _: &str, _: u64, _: String) {}
        fn stalled(&self, _: Duration) {}
        fn record(&self, _: &mut Vec<Record>) {}
        fn keeps_results(&self) -> bool {
            false
        }
    }
    let engine = Engine::start(Arc::new(Breaks)).unwrap();
    let fake = Fake::new();
    engine.put(subject("a", &fake, 1));
    until("it is up", || health(&engine, "a") == Health::Up).await;
    let has_died = || {
        vital::deaths()
            .iter()
            .any(|death| death.name.contains("plugins checked"))
    };
    assert!(!has_died());
    (0..5).for_each(|_| fake.fail_call());
    until("its thread has died", has_died).await;
    until("what it knew is no longer known", || {
        let seen = engine.view("a").unwrap();
        seen.judged.health == Health::Unknown && seen.judged.flags.stale
    })
    .await;
    tokio::task::spawn_blocking(move || engine.shutdown())
        .await
        .unwrap();
}

/// Records each change after a while, in which another one might overtake it.
#[derive(Default)]
struct Slow {
    changes: Mutex<Vec<Health>>,
    recorded: std::sync::Condvar,
}

impl EventSink for Slow {
    fn changed(&self, change: HealthChange) {
        let changes = self.changes.lock().unwrap();
        let before = changes.len();
        let while_alone = |changes: &mut Vec<Health>| changes.len() == before;
        let short = Duration::from_millis(20);
        let waited = self.recorded.wait_timeout_while(changes, short, while_alone);
        waited.unwrap().0.push(change.to.health);
        self.recorded.notify_all();
    }
    fn panicked(&self, _: &str, _: u64, _: String) {}
    fn stalled(&self, _: Duration) {}
    fn record(&self, _: &mut Vec<Record>) {}
    fn keeps_results(&self) -> bool {
        false
    }
}

#[tokio::test]
async fn changes_are_published_in_the_order_in_which_they_were_decided() {
    let sink = Arc::new(Slow::default());
    let engine = Engine::start(sink.clone()).unwrap();
    let fake = Fake::new();
    let eager = Policy {
        fall: 1,
        rise: 1,
        interval: Duration::from_secs(3600),
        ..quick()
    };
    engine.put(Subject {
        policy: Arc::new(eager),
        ..subject("a", &fake, 1)
    });
    until("it is up", || health(&engine, "a") == Health::Up).await;
    for _ in 0..20 {
        let threads: Vec<_> = [Health::Down, Health::Up]
            .into_iter()
            .map(|health_is| {
                let engine = engine.clone();
                std::thread::spawn(move || engine.pushed("a", 1, health_is))
            })
            .collect();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    }
    tokio::task::spawn_blocking(move || engine.shutdown())
        .await
        .unwrap();
    let changes = sink.changes.lock().unwrap();
    let twice = changes.windows(2).any(|pair| pair[0] == pair[1]);
    assert!(!twice, "one overtook another: {changes:?}");
}
