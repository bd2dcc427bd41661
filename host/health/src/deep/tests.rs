//! The quota, against a machine and a disk that do what they like.

use super::{APART_MS, DAY_MS, MonotonicAge, OverQuota, PER_DAY_MAX, UsageLog};
use crate::policy::DeepPolicy;
use extman_model::{CheckKind, CheckOutcome, CheckView, DeepResult, ErrorKind};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::time::Duration;

const NAMES: [&str; 2] = ["a", "b"];
const HOUR_MS: u64 = 3_600_000;

fn policy(every_ms: u64, per_day: u32) -> DeepPolicy {
    DeepPolicy {
        every: Duration::from_millis(every_ms),
        per_day,
        ..DeepPolicy::default()
    }
}

fn failed(text: &str) -> DeepResult {
    DeepResult {
        times: 1,
        last_unix_ms: None,
        check: CheckView {
            kind: CheckKind::Deep,
            at_unix_ms: 1,
            outcome: CheckOutcome::Failed {
                kind: ErrorKind::Unavailable,
                text: text.to_owned(),
            },
            took_ns: Some(5),
        },
        counted: true,
    }
}

#[test]
fn the_first_check_is_due_an_interval_after_it_was_wanted() {
    let mut log = UsageLog::since(1_000);
    assert_eq!(log.due_ms(&policy(HOUR_MS, 24), false), 1_000 + HOUR_MS);
    assert_eq!(log.due_ms(&policy(2 * HOUR_MS, 24), false), 1_000 + 2 * HOUR_MS);
    log.begin(5_000);
    assert_eq!(log.due_ms(&policy(HOUR_MS, 24), false), 5_000 + HOUR_MS);
    assert_eq!(
        log.due_ms(&policy(HOUR_MS, 24), true),
        5_000 + APART_MS,
        "a first failure is confirmed soon"
    );
}

#[test]
fn a_check_is_refused_too_soon_after_the_last_and_beyond_the_quota() {
    let (mut log, policy) = (UsageLog::since(0), policy(HOUR_MS, 2));
    log.begin(5_000);
    assert_eq!(log.left(2, 5_000), 1);
    assert_eq!(
        log.allows(&policy, 5_000 + APART_MS - 1),
        Err(OverQuota::TooSoon { wait_ms: 1 })
    );
    assert_eq!(log.allows(&policy, 5_000 + APART_MS), Ok(()));
    log.begin(5_000 + APART_MS);
    let spent = OverQuota::Spent {
        per_day: 2,
        wait_ms: 1,
    };
    assert_eq!(log.allows(&policy, 5_000 + DAY_MS - 1), Err(spent));
    assert_eq!(
        (log.left(2, 5_000 + DAY_MS - 1), log.left(2, 5_000 + DAY_MS)),
        (0, 1)
    );
    assert_eq!(log.due_ms(&policy, false), 5_000 + DAY_MS);
    assert_eq!(log.allows(&policy, 5_000 + DAY_MS), Ok(()));
}

#[test]
fn a_lost_log_counts_as_spent() {
    let (log, policy) = (UsageLog::lost(7_000), policy(APART_MS, 288));
    assert_eq!(log.left(288, 7_000), 0);
    assert_eq!(log.due_ms(&policy, false), 7_000 + DAY_MS);
}

#[test]
fn a_refusal_says_why_and_leaves_the_wait_to_whoever_shows_it() {
    let soon = OverQuota::TooSoon { wait_ms: 252_001 }.to_string();
    assert_eq!(soon, "the last deep check was less than 5 minutes ago");
    let spent = OverQuota::Spent {
        per_day: 3,
        wait_ms: 7_260_000,
    };
    let expected = "all 3 deep checks of 24 hours are spent; wait, or raise deep_per_day";
    assert_eq!(spent.to_string(), expected);
}

#[test]
fn a_log_is_read_as_it_was_written_and_never_more_generously() {
    let mut log = UsageLog::since(7);
    (0..PER_DAY_MAX as u64).for_each(|n| log.begun_ms.push((1 << 40) + n * APART_MS));
    let newest_ms = log.newest_ms();
    let text = log.written();
    assert!(text.len() <= 8 * 1024, "{}", text.len());
    assert_eq!(UsageLog::read(&text, newest_ms), Some(log.clone()));
    let read = UsageLog::read(&text, 5).unwrap();
    assert_eq!(
        (read.newest_ms(), read.since_ms, read.left(288, 5)),
        (5, 5, 0),
        "what is still to come counts from now"
    );
    let long = "\u{1}".repeat(4_000);
    for (text, is_kept) in [("no credit", true), (&*long, false)] {
        let log = UsageLog {
            last: Some(failed(text)),
            ..log.clone()
        };
        let written = log.written();
        assert!(written.len() <= 8 * 1024, "{}", written.len());
        let read = UsageLog::read(&written, newest_ms).unwrap();
        assert_eq!((read.last.is_some(), &read.begun_ms), (is_kept, &log.begun_ms));
    }
    log.begun_ms.push(newest_ms + APART_MS);
    for text in [
        "",
        "5",
        "{}",
        r#"{"since_ms": 1, "begun_ms": [2, 1]}"#,
        r#"{"since_ms": 1, "newest_ms": 5}"#,
        &log.written(),
    ] {
        assert_eq!(UsageLog::read(text, newest_ms), None, "{text}");
    }
    assert!(UsageLog::read(r#"{"since_ms": 1}"#, 5).is_some());
}

#[test]
fn age_goes_on_within_a_boot_and_stands_still_over_a_reboot() {
    let after = |boot: &str, booted_ms: u64| {
        let last = MonotonicAge {
            boot: "a".to_owned(),
            booted_ms: 1_000,
            age_ms: 50,
        };
        MonotonicAge::resume(Some(&last), boot, booted_ms).at(booted_ms + 7)
    };
    assert_eq!(after("a", 1_600), 50 + 600 + 7);
    assert_eq!(after("b", 1_600), 50 + 7, "the machine was booted anew");
    assert_eq!(after("a", 900), 50 + 7, "its clock can't be what it was");
    assert_eq!(
        after("", 1_600),
        50 + 7,
        "a boot without a name is never the same"
    );
    let age = MonotonicAge::resume(None, "", 1_000);
    assert_eq!((age.at(5_000), age.at(0)), (4_000, 0));
    assert_eq!(
        MonotonicAge::resume(Some(&age.checkpoint(1_030)), "", 90).at(90),
        30
    );
}

/// What may come.
#[derive(Debug, Clone)]
enum Step {
    /// Time passes; the host looks at none of it.
    Pass(u64),
    /// Until somebody is due, and that one is made.
    Due,
    /// An operator wants one.
    Ask(usize),
    /// It ends; the next one may have to confirm it.
    End(bool),
    /// Nothing can be kept from here on, or can again.
    Disk(bool),
    /// The host ends without a word, and begins again.
    Restart,
    /// The machine does, and its clocks with it.
    Reboot,
    /// How far time has come is written down.
    Mark,
    /// The operator wants it otherwise from the next start on.
    Want(u64, u32),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => (0..2 * APART_MS).prop_map(Step::Pass),
        1 => (0..DAY_MS).prop_map(Step::Pass),
        8 => Just(Step::Due),
        8 => (0..NAMES.len()).prop_map(Step::Ask),
        8 => any::<bool>().prop_map(Step::End),
        1 => any::<bool>().prop_map(Step::Disk),
        3 => Just(Step::Restart),
        1 => Just(Step::Reboot),
        1 => Just(Step::Mark),
        1 => (0..2 * APART_MS, 1..10_u32).prop_map(|(every_ms, per_day)| Step::Want(every_ms, per_day)),
    ];
    proptest::collection::vec(step, 1..400)
}

/// A host, as far as the quota goes, on a machine that tells it the time since its boot and nothing else.
struct World {
    true_ms: u64,
    booted_at_ms: u64,
    boot: u32,
    disk: BTreeMap<String, String>,
    disk_works: bool,
    policy: DeepPolicy,
    /// From the next start on.
    wanted: DeepPolicy,
    logs: BTreeMap<&'static str, UsageLog>,
    age: MonotonicAge,
    in_flight: Option<&'static str>,
    /// Whose first failure is to be confirmed.
    confirm: Option<&'static str>,
    /// Truly made, in true time, with the most that a day had when it was.
    made: BTreeMap<&'static str, Vec<(u64, u32)>>,
}

impl World {
    fn new() -> World {
        let policy = policy(APART_MS, 5);
        let mut world = World {
            true_ms: 1 << 40,
            booted_at_ms: 1 << 39,
            boot: 0,
            disk: BTreeMap::new(),
            disk_works: true,
            policy,
            wanted: policy,
            logs: BTreeMap::new(),
            age: MonotonicAge::resume(None, "", 0),
            in_flight: None,
            confirm: None,
            made: BTreeMap::new(),
        };
        world.start();
        world
    }

    fn booted_ms(&self) -> u64 {
        self.true_ms - self.booted_at_ms
    }

    fn now_ms(&self) -> u64 {
        self.age.at(self.booted_ms())
    }

    fn start(&mut self) {
        let last = self.disk.get("age");
        let last: Option<MonotonicAge> = last.and_then(|text| serde_json::from_str(text).ok());
        self.age = MonotonicAge::resume(last.as_ref(), &self.boot.to_string(), self.booted_ms());
        (self.in_flight, self.confirm, self.policy) = (None, None, self.wanted);
        let now_ms = self.now_ms();
        for name in NAMES {
            let log = match self.disk.get(name) {
                Some(text) => UsageLog::read(text, now_ms).unwrap(),
                None => UsageLog::since(now_ms),
            };
            self.logs.insert(name, log);
            self.keep(Some(name));
        }
    }

    fn keep(&mut self, name: Option<&str>) -> bool {
        if !self.disk_works {
            return false;
        }
        let age = serde_json::to_string(&self.age.checkpoint(self.booted_ms())).unwrap();
        self.disk.insert("age".to_owned(), age);
        if let Some(name) = name {
            self.disk.insert(name.to_owned(), self.logs[name].written());
        }
        true
    }

    fn next_due(&self) -> Option<(u64, &'static str)> {
        let due = |name: &'static str| {
            let due_ms = self.logs[name].due_ms(&self.policy, self.confirm == Some(name));
            (due_ms, name)
        };
        let none = self.in_flight.is_none();
        NAMES.into_iter().map(due).filter(|_| none).min()
    }

    /// Asked only once it is kept.
    fn make(&mut self, name: &'static str) {
        let (now_ms, policy) = (self.now_ms(), self.policy);
        let log = self.logs.get_mut(name).unwrap();
        if self.in_flight.is_some() || log.allows(&policy, now_ms).is_err() {
            return;
        }
        log.begin(now_ms);
        self.confirm = self.confirm.filter(|other| *other != name);
        if !self.keep(Some(name)) {
            return;
        }
        self.in_flight = Some(name);
        let made = self.made.entry(name).or_default();
        made.push((self.true_ms, self.policy.per_day));
    }

    fn step(&mut self, step: &Step) {
        match *step {
            Step::Pass(ms) => self.true_ms += ms,
            Step::Due => {
                let Some((due_ms, name)) = self.next_due() else {
                    return;
                };
                self.true_ms += due_ms.saturating_sub(self.now_ms());
                let before = self.made.get(name).map_or(0, Vec::len);
                self.make(name);
                let after = self.made.get(name).map_or(0, Vec::len);
                assert_eq!(
                    after,
                    before + usize::from(self.disk_works),
                    "who is due may be asked"
                );
            }
            Step::Ask(at) => self.make(NAMES[at]),
            Step::End(soon) => {
                let ended = self.in_flight.take();
                self.confirm = ended.filter(|_| soon).or(self.confirm);
            }
            Step::Disk(works) => self.disk_works = works,
            Step::Restart => self.start(),
            Step::Reboot => {
                self.boot += 1;
                self.booted_at_ms = self.true_ms;
                self.start();
            }
            Step::Mark => {
                self.keep(None);
            }
            Step::Want(every_ms, per_day) => {
                self.wanted.every = Duration::from_millis(every_ms);
                self.wanted.per_day = per_day;
            }
        }
    }

    /// No two closer than they may be, and no day with more than it may have, wherever the day begins.
    fn check(&self) {
        for made in self.made.values() {
            for pair in made.windows(2) {
                assert!(pair[1].0 - pair[0].0 >= APART_MS, "{pair:?}");
            }
            for (at, (when, per_day)) in made.iter().enumerate() {
                let of_day = made[..=at]
                    .iter()
                    .filter(|(other, _)| other + DAY_MS > *when)
                    .count();
                assert!(
                    of_day <= *per_day as usize,
                    "{of_day} within a day, where {per_day} may be"
                );
            }
        }
    }
}

proptest! {
    #[test]
    fn no_day_holds_more_than_the_quota_whatever_happens(steps in steps()) {
        let mut world = World::new();
        for step in &steps {
            world.step(step);
        }
        world.check();
    }

    #[test]
    fn the_whole_quota_can_be_used(per_day in 1..=PER_DAY_MAX as u32, restart_every in 1..20_usize) {
        let mut world = World::new();
        world.wanted.per_day = per_day;
        world.start();
        let from_ms = world.true_ms;
        for n in 0..2 * per_day as usize {
            world.step(&Step::Due);
            world.step(&Step::End(false));
            if n % restart_every == 0 {
                world.step(&Step::Restart);
            }
        }
        world.check();
        // Two instances, both alike.
        let made: usize = world.made.values().map(Vec::len).sum();
        prop_assert_eq!(made, 2 * per_day as usize);
        prop_assert!(world.true_ms - from_ms <= DAY_MS + 2 * APART_MS);
    }
}

#[test]
fn a_crash_loop_spends_what_one_host_may() {
    let mut world = World::new();
    for _ in 0..20_000 {
        world.step(&Step::Pass(20_000));
        world.step(&Step::Ask(0));
        world.step(&Step::Restart);
    }
    world.check();
    let days = 20_000 * 20_000 / DAY_MS + 1;
    let made = world.made["a"].len() as u64;
    assert!((5..=days * 5).contains(&made), "{made} in {days} days");
}

#[test]
fn a_reboot_loop_spends_no_more_than_one_host_may() {
    let mut world = World::new();
    for _ in 0..1000 {
        world.step(&Step::Pass(60_000));
        world.step(&Step::Mark);
        world.step(&Step::Ask(0));
        world.step(&Step::Reboot);
    }
    world.check();
    assert!(world.made["a"].len() >= 5, "{:?}", world.made);
}
