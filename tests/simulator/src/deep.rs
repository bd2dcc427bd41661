//! Deep checks of one host: the book, its words on a disk, and the one that is under way; as the host's own task goes about it. It asks,
//! and counts by the true time what was made. Pure.

use super::bounds::HELD;
use super::random::Chance;
use super::report::{Report, Violation, Wrong};
use super::seat::Seat;
use super::world::{Restart, World};
use super::{DAY, MINUTE, SECOND, Time};
use extman_health::deep::account;
use extman_health::deep::book::{APART_MS, Book, Refusal};
use extman_health::deep::lived::{Lived, Mark};
use extman_health::monitor::deep_counts;
use extman_health::policy::DeepPolicy;
use extman_model::Health;
use extman_model::record::ResultWord;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

const MS: Time = SECOND / 1000;
/// How far time has come is written down so often.
const MARK_EVERY: Time = 5 * MINUTE;
/// An operator wants one of somebody now and then, in seconds.
const ASKED_MEAN: f64 = 3600.0;
/// The stream of chance that belongs to the operator; each shard has its own.
const OPERATOR: u64 = 1 << 41;
/// Where the ledger keeps how far time has come.
const MARK: &str = "lived";

/// Reports of all, of which one may be the only one that counts.
pub(super) struct Reports {
    pub told: Report,
    others: Report,
    only: Option<u32>,
}

/// Makes the deep checks of a shard.
pub(super) struct DeepDesk<'a> {
    world: &'a World,
    /// Whose checks are wanted, by place.
    wanted: BTreeMap<usize, (Arc<str>, DeepPolicy)>,
    book: Book,
    lived: Lived,
    /// What outlives the host.
    disk: BTreeMap<String, String>,
    machine: u32,
    booted_at: Time,
    /// When this host began, by the machine's clock.
    resumed_ms: u64,
    marked: Time,
    flight: Option<Flight>,
    restarted: usize,
    operator: Chance,
    asked_at: Time,
    /// When each of a place's was made, in true time.
    made: BTreeMap<usize, Vec<Time>>,
}

struct Flight {
    place: usize,
    generation: u64,
    began: Time,
    ends_at: Time,
    result: ResultWord,
}

impl Reports {
    pub fn new(only: Option<u32>) -> Self {
        Reports {
            told: Report::default(),
            others: Report::default(),
            only,
        }
    }

    /// Where what concerns this plugin is to be told.
    pub fn of(&mut self, number: u32) -> &mut Report {
        match self.only {
            Some(only) if only != number => &mut self.others,
            _ => &mut self.told,
        }
    }
}

impl<'a> DeepDesk<'a> {
    pub fn new(seats: &[Seat<'_>], world: &'a World, seed: u64) -> Self {
        let wanted = seats.iter().enumerate().filter_map(|(place, seat)| {
            let policy = seat.deep_policy()?;
            Some((place, (Arc::from(seat.name()), policy)))
        });
        let first = seats.first().map_or(0, |seat| seat.judge.plugin());
        let mut desk = DeepDesk {
            world,
            wanted: wanted.collect(),
            book: Book::default(),
            lived: Lived::resume(None, "", 0),
            disk: BTreeMap::new(),
            machine: 0,
            booted_at: 0,
            resumed_ms: 0,
            marked: 0,
            flight: None,
            restarted: 0,
            operator: Chance::new(seed, OPERATOR + u64::from(first)),
            asked_at: 0,
            made: BTreeMap::new(),
        };
        desk.begin_anew(0);
        desk.asked_at = desk.next_question(0);
        desk
    }

    /// When there is something to do next.
    pub fn next(&self) -> Option<Time> {
        let restart = self.world.restarts.get(self.restarted).map(|restart| restart.at);
        if self.wanted.is_empty() {
            return restart;
        }
        let flight = self.flight.as_ref().map(|flight| flight.ends_at);
        let due = self.book.next().map(|(due_ms, _)| self.true_time(due_ms));
        let others = [self.marked + MARK_EVERY, self.asked_at];
        let all = others.into_iter().chain(flight).chain(due).chain(restart);
        all.min().map(|at| self.world.awake(at))
    }

    /// Does what is due, while the host runs. Gives whom it has touched.
    pub fn turn(&mut self, now: Time, seats: &mut [Seat<'_>], reports: &mut Reports) -> Vec<usize> {
        let restart = self.world.restarts.get(self.restarted).copied();
        if let Some(restart) = restart.filter(|restart| restart.at <= now) {
            self.restarted += 1;
            self.restart(restart, now);
            for seat in seats.iter_mut() {
                let report = reports.of(seat.judge.plugin());
                seat.run_until(now, report);
                seat.restart(now, report);
            }
            return (0..seats.len()).collect();
        }
        if now >= self.marked + MARK_EVERY {
            self.mark(now);
        }
        if let Some(flight) = self.flight.take_if(|flight| flight.ends_at <= now) {
            return self.land(&flight, now, seats, reports);
        }
        if now >= self.asked_at && !self.wanted.is_empty() {
            self.asked_at = self.next_question(now);
            let of = (self.operator.bits() % self.wanted.len() as u64) as usize;
            let place = self.wanted.keys().nth(of).copied();
            return self.make(place, true, now, seats, reports);
        }
        let due = self.book.next().filter(|(due_ms, _)| *due_ms <= self.now_ms(now));
        let place = due.and_then(|(_, name)| self.place_of(&name));
        self.make(place, false, now, seats, reports)
    }

    fn make(
        &mut self,
        place: Option<usize>,
        by_operator: bool,
        now: Time,
        seats: &mut [Seat<'_>],
        reports: &mut Reports,
    ) -> Vec<usize> {
        let Some(((name, policy), place)) = place.and_then(|at| Some((self.wanted.get(&at)?.clone(), at)))
        else {
            return Vec::new();
        };
        let (seat, now_ms) = (&mut seats[place], self.now_ms(now));
        let report = reports.of(seat.judge.plugin());
        seat.run_until(now, report);
        let Some(generation) = seat.deep_candidate(now, by_operator) else {
            if !by_operator {
                self.book.hold(&name, now_ms + HELD / MS);
            }
            return vec![place];
        };
        match self.book.begin(&name, now_ms) {
            Ok(()) => {}
            Err(refusal) => {
                report.deep_spent += u64::from(matches!(refusal, Refusal::Spent { .. }));
                return vec![place];
            }
        }
        self.keep(&name, now);
        report.deep_checks += 1;
        self.look_at_budget(place, &policy, now, &seat.judge, report);
        let reply = seat.ask_deep(now);
        let too_late = self.world.awake(now + policy.timeout.as_nanos() as Time);
        let back = reply.after.map(|after| self.world.end_of(now, after));
        let (ends_at, result) = match back {
            Some(back) if back <= too_late => (back, reply.result),
            _ => (too_late, ResultWord::TimedOut),
        };
        self.flight = Some(Flight {
            place,
            generation,
            began: now,
            ends_at,
            result,
        });
        vec![place]
    }

    fn land(
        &mut self,
        flight: &Flight,
        now: Time,
        seats: &mut [Seat<'_>],
        reports: &mut Reports,
    ) -> Vec<usize> {
        let place = flight.place;
        let seat = &mut seats[place];
        let report = reports.of(seat.judge.plugin());
        seat.run_until(now, report);
        let is_good = matches!(flight.result, ResultWord::Said(None | Some(Health::Up)));
        let host_late = self.world.stood_still(flight.began, now) > Duration::ZERO;
        let result = if host_late && !is_good {
            ResultWord::HostLate
        } else {
            flight.result
        };
        report.deep_failed += u64::from(!is_good && deep_counts(result));
        let failed = seat.deep_ended(now, flight.generation, result, report);
        if let Some((name, _)) = self.wanted.get(&place).cloned() {
            self.book.end(&name, failed == 1);
            self.keep(&name, now);
        }
        vec![place]
    }

    /// No two of one plugin closer than they may be, and no 24 hours with more than they may have, wherever they begin.
    fn look_at_budget(
        &mut self,
        place: usize,
        policy: &DeepPolicy,
        now: Time,
        judge: &super::judge::Judge<'_>,
        report: &mut Report,
    ) {
        let made = self.made.entry(place).or_default();
        made.retain(|at| at + DAY > now);
        let is_near = made.last().is_some_and(|last| last + APART_MS * MS > now);
        made.push(now);
        if is_near || made.len() as u64 > u64::from(policy.per_day) {
            report.deep_beyond += 1;
            report.violation(Violation {
                plugin: judge.plugin(),
                at_ms: now / MS,
                wall_ms: self.world.wall_ms(now),
                wrong: Wrong::Budget,
                fault: None,
                fault_from_ms: None,
                fault_to_ms: None,
                judged: judge.judged().health,
                cause: None,
            });
        }
    }

    fn restart(&mut self, restart: Restart, now: Time) {
        if restart.of_machine {
            self.machine += 1;
            self.booted_at = now;
        }
        if restart.of_disk {
            self.disk.clear();
        }
        self.flight = None;
        self.begin_anew(now);
    }

    /// A host begins, and reads what the one before it wrote.
    fn begin_anew(&mut self, now: Time) {
        let mark: Option<Mark> = self
            .disk
            .get(MARK)
            .and_then(|word| serde_json::from_str(word).ok());
        let boot = format!("machine {}", self.machine);
        self.resumed_ms = self.booted_ms(now);
        self.lived = Lived::resume(mark.as_ref(), &boot, self.resumed_ms);
        self.book = Book::default();
        let now_ms = self.now_ms(now);
        for (name, policy) in self.wanted.clone().into_values() {
            if let Some((account, _)) = self.disk.get(&*name).and_then(|word| account::read(word)) {
                self.book.restore(&name, account);
            }
            self.book.want(&name, policy, now_ms);
            self.keep(&name, now);
        }
    }

    fn keep(&mut self, name: &Arc<str>, now: Time) {
        if let Some(account) = self.book.account(name) {
            self.disk.insert(name.to_string(), account::write(account, None));
        }
        self.mark(now);
    }

    fn mark(&mut self, now: Time) {
        self.marked = now;
        let mark = self.lived.mark(self.booted_ms(now));
        self.disk
            .insert(MARK.to_owned(), serde_json::to_string(&mark).unwrap_or_default());
    }

    fn place_of(&self, name: &str) -> Option<usize> {
        let mut all = self.wanted.iter();
        all.find(|(_, (known, _))| &**known == name)
            .map(|(place, _)| *place)
    }

    fn next_question(&mut self, now: Time) -> Time {
        now + (self.operator.exponential(ASKED_MEAN) * SECOND as f64) as Time
    }

    fn booted_ms(&self, now: Time) -> u64 {
        (now - self.booted_at) / MS
    }

    fn now_ms(&self, now: Time) -> u64 {
        self.lived.at(self.booted_ms(now))
    }

    /// When so many milliseconds will certainly have passed.
    fn true_time(&self, lived_ms: u64) -> Time {
        let ahead = lived_ms.saturating_sub(self.lived.at(0));
        let booted_ms = self.resumed_ms.saturating_add(ahead);
        self.booted_at.saturating_add(booted_ms.saturating_mul(MS))
    }
}
