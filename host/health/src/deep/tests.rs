//! The budget, against a machine and a disk that do what they like.

use crate::deep::account;
use crate::deep::book::{Book, DAY_MS, PER_DAY_MAX};
use crate::deep::lived::{Lived, Mark};
use crate::policy::DeepPolicy;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

const NAMES: [&str; 2] = ["a", "b"];
const APART_MS: u64 = 300_000;

/// What may come.
#[derive(Debug, Clone)]
enum Step {
    /// Time passes; the host looks at none of it.
    Pass(u64),
    /// Until somebody is due, and that one is made.
    Due,
    /// An operator wants one.
    Ask(usize),
    /// It ends; the next one may be wanted soon.
    End(bool),
    /// What is spent can't be kept from here on, or can again.
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

/// A host, as far as the budget goes, on a machine that tells it the time since its start and nothing else.
struct World {
    true_ms: u64,
    booted_at_ms: u64,
    boot: u32,
    disk: BTreeMap<String, String>,
    disk_works: bool,
    policy: DeepPolicy,
    /// From the next start on.
    wanted: DeepPolicy,
    book: Book,
    lived: Lived,
    under_way: bool,
    /// Truly made, in true time, with the most that a day had when it was.
    made: BTreeMap<&'static str, Vec<(u64, u32)>>,
}

impl World {
    fn new() -> World {
        let policy = DeepPolicy {
            every: Duration::from_millis(APART_MS),
            per_day: 5,
            ..DeepPolicy::default()
        };
        let mut world = World {
            true_ms: 1 << 40,
            booted_at_ms: 1 << 39,
            boot: 0,
            disk: BTreeMap::new(),
            disk_works: true,
            policy,
            wanted: policy,
            book: Book::default(),
            lived: Lived::resume(None, "", 0),
            under_way: false,
            made: BTreeMap::new(),
        };
        world.start();
        world
    }

    fn booted_ms(&self) -> u64 {
        self.true_ms - self.booted_at_ms
    }

    fn now_ms(&self) -> u64 {
        self.lived.at(self.booted_ms())
    }

    fn start(&mut self) {
        let mark: Option<Mark> = self
            .disk
            .get("mark")
            .and_then(|word| serde_json::from_str(word).ok());
        self.lived = Lived::resume(mark.as_ref(), &self.boot.to_string(), self.booted_ms());
        (self.book, self.under_way, self.policy) = (Book::default(), false, self.wanted);
        let now_ms = self.now_ms();
        for name in NAMES.map(Arc::<str>::from) {
            if let Some(word) = self.disk.get(&*name) {
                self.book.restore(&name, account::read(word).unwrap().0);
            }
            self.book.want(&name, self.policy, now_ms);
            self.keep(Some(&*name));
        }
    }

    fn keep(&mut self, name: Option<&str>) -> bool {
        if !self.disk_works {
            return false;
        }
        let mark = serde_json::to_string(&self.lived.mark(self.booted_ms())).unwrap();
        self.disk.insert("mark".to_owned(), mark);
        if let Some(name) = name {
            let word = account::write(self.book.account(name).unwrap(), None);
            assert!(word.len() <= 1024);
            self.disk.insert(name.to_owned(), word);
        }
        true
    }

    /// Asked only once it is kept.
    fn make(&mut self, name: &str) {
        let now_ms = self.now_ms();
        if self.book.begin(&name.into(), now_ms).is_err() {
            return;
        }
        assert!(!self.under_way, "two are under way");
        self.under_way = true;
        if !self.keep(Some(name)) {
            self.book.end(name, false);
            self.under_way = false;
            return;
        }
        let name = NAMES.into_iter().find(|known| *known == name).unwrap();
        self.made
            .entry(name)
            .or_default()
            .push((self.true_ms, self.policy.per_day));
    }

    fn step(&mut self, step: &Step) {
        match *step {
            Step::Pass(ms) => self.true_ms += ms,
            Step::Due => {
                let Some((due_ms, name)) = self.book.next() else {
                    return;
                };
                self.true_ms += due_ms.saturating_sub(self.now_ms());
                let before = self.made.get(&*name).map_or(0, Vec::len);
                self.make(&name);
                let after = self.made.get(&*name).map_or(0, Vec::len);
                assert_eq!(
                    after,
                    before + usize::from(self.disk_works),
                    "who is due may be asked"
                );
            }
            Step::Ask(at) => self.make(NAMES[at]),
            Step::End(soon) => {
                if let Some(name) = self.book.under_way().map(str::to_owned) {
                    self.book.end(&name, soon);
                    self.under_way = false;
                }
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
    fn whatever_happens_a_day_holds_no_more_than_it_may(steps in steps()) {
        let mut world = World::new();
        for step in &steps {
            world.step(step);
        }
        world.check();
    }

    #[test]
    fn whoever_is_let_makes_use_of_the_budget(per_day in 1..=PER_DAY_MAX as u32, restart_every in 1..20_usize) {
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
fn a_crash_loop_bills_what_one_host_may() {
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
fn a_machine_that_is_always_started_anew_is_asked_no_more_often() {
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
