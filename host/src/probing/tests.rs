//! The engine on real lanes, with targets that a test can hold up.

use super::*;
use extman_health::course::Calls;
use extman_model::record::Record;
use extman_model::sketch::Sketch;
use extman_model::{CheckKind, CheckOutcome, ErrorKind, Report};
use extman_runtime::instance::Asked;
use extman_runtime::lanes::{LaneObserver, Phase, PoolLimits, Station, Work};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};

const LONG: Duration = Duration::from_secs(60);

/// Answers as it is told.
struct Fake {
    says: Mutex<CheckOutcome>,
    asked: AtomicU64,
    hangs: AtomicBool,
    inside: AtomicU64,
    calls: Mutex<Calls>,
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

impl Fake {
    fn new() -> Arc<Self> {
        Arc::new(Fake {
            says: Mutex::new(said(Health::Up)),
            asked: AtomicU64::new(0),
            hangs: AtomicBool::new(false),
            inside: AtomicU64::new(0),
            calls: Mutex::default(),
        })
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
    fn is_asked_anywhere(&self) -> bool {
        true
    }
    fn has_check(&self) -> bool {
        true
    }
    fn check_on(&self, station: &Station<'_>, timeout: Duration, began: Moment) -> Option<Asked> {
        let work = Work {
            subject: "fake".into(),
            generation: 1,
            phase: Phase::Check,
            deadline: began.after(timeout),
            wedge_after: LONG,
        };
        let outcome = station.run(work, began, |_| self.answer())?;
        let ended = clock::monotonic();
        Some(Asked {
            outcome,
            took: Some(ended.since(began)),
            ended,
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
    fn errors(&self) -> Vec<(ErrorKind, u64)> {
        vec![(ErrorKind::Internal, self.calls.lock().unwrap().blamed)]
    }
    fn take_latency(&self) -> Sketch {
        Sketch::default()
    }
}

#[derive(Default)]
struct Ears {
    announced: Mutex<Vec<Announced>>,
    records: Mutex<Vec<Record>>,
    panicked: Mutex<Vec<String>>,
}

impl Audience for Ears {
    fn announced(&self, announced: Announced) {
        self.announced.lock().unwrap().push(announced);
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
    }
}

fn started() -> (Engine, Arc<Ears>) {
    let ears = Arc::new(Ears::default());
    let limits = PoolLimits {
        lanes_max: 8,
        ..PoolLimits::default()
    };
    let lanes = RoundLanes::new("t-health", limits, Arc::new(Unobserved));
    (Engine::start(lanes, ears.clone()).unwrap(), ears)
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
    tokio::task::spawn_blocking(move || engine.shutdown(LONG))
        .await
        .unwrap()
        .unwrap();
    let told: Vec<Health> = ears
        .announced
        .lock()
        .unwrap()
        .iter()
        .map(|a| a.to.health)
        .collect();
    let mut turns = told.clone();
    turns.dedup();
    assert_eq!(
        turns,
        [Health::Unknown, Health::Up, Health::Down, Health::Up],
        "{told:?}"
    );
    assert_eq!(
        ears.announced.lock().unwrap()[1].text.as_deref(),
        Some("its words")
    );
    let records = ears.records.lock().unwrap();
    let results = records.iter().filter(|r| matches!(r, Record::Check(_))).count();
    assert!(
        results > 0 && (results as u64) < fake.asked.load(SeqCst),
        "only those that were not good"
    );
    let Some(Record::Transition(last)) = records.last() else {
        panic!("{records:?}")
    };
    assert_eq!(last.state, None);
    let Record::Minute(rest) = &records[records.len() - 2] else {
        panic!()
    };
    assert!(rest.sums.states.up > 0 && rest.sums.checks > 0 && rest.sums.heap_bytes == Some((7, 7)));
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
    tokio::task::spawn_blocking(move || engine.shutdown(LONG))
        .await
        .unwrap()
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
    tokio::task::spawn_blocking(move || engine.shutdown(LONG))
        .await
        .unwrap()
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
    tokio::task::spawn_blocking(move || engine.shutdown(LONG))
        .await
        .unwrap()
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
    engine.set([]);
    assert!(engine.is_empty() && engine.view("a").is_none());
    tokio::task::spawn_blocking(move || engine.shutdown(LONG))
        .await
        .unwrap()
        .unwrap();
}
