//! Deep checks of one host, made as the host's own task makes them: the usage logs, what of them is on a disk, and the check in flight. It
//! counts by the true time what was made. Pure.

use super::bounds::HELD;
use super::instance::SimulatedInstance;
use super::random::Chance;
use super::report::{Report, Violation, Wrong};
use super::world::{Restart, World};
use super::{DAY, MINUTE, SECOND, Time};
use extman_health::deep::{APART_MS, MonotonicAge, OverQuota, UsageLog};
use extman_health::monitor::deep_counts;
use extman_health::policy::DeepPolicy;
use extman_model::Health;
use extman_model::record::ResultWord;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

const MS: Time = SECOND / 1000;
/// The age is written down so often.
const CHECKPOINT_EVERY: Time = 5 * MINUTE;
/// An operator wants one of somebody now and then, in seconds.
const ASKED_MEAN: f64 = 3600.0;
/// The stream of chance that belongs to the operator; each shard has its own.
const OPERATOR: u64 = 1 << 41;
/// Where the disk keeps the age.
const AGE: &str = "age";

/// Reports of all, of which one may be the only one that counts.
pub(super) struct Reports {
    pub told: Report,
    others: Report,
    only: Option<u32>,
}

/// Makes the deep checks of a shard.
pub(super) struct DeepChecks<'a> {
    world: &'a World,
    /// Whose checks are wanted, by place.
    wanted: BTreeMap<usize, (Arc<str>, DeepPolicy)>,
    logs: BTreeMap<usize, UsageLog>,
    /// Whose first failure is to be confirmed soon.
    confirm: BTreeSet<usize>,
    /// Who could not be asked, and is looked at again then.
    hold_until_ms: BTreeMap<usize, u64>,
    age: MonotonicAge,
    /// What outlives the host.
    disk: BTreeMap<String, String>,
    machine: u32,
    booted_at: Time,
    /// When this host began, by the machine's clock.
    resumed_ms: u64,
    checkpoint_at: Time,
    in_flight: Option<InFlight>,
    restarted: usize,
    operator: Chance,
    asked_at: Time,
    /// When each of a place's was made, in true time.
    made: BTreeMap<usize, Vec<Time>>,
}

struct InFlight {
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

impl<'a> DeepChecks<'a> {
    pub fn new(instances: &[SimulatedInstance<'_>], world: &'a World, seed: u64) -> Self {
        let wanted = instances.iter().enumerate().filter_map(|(place, instance)| {
            let policy = instance.deep_policy()?;
            Some((place, (Arc::from(instance.name()), policy)))
        });
        let first = instances.first().map_or(0, |instance| instance.judge.plugin());
        let mut deep = DeepChecks {
            world,
            wanted: wanted.collect(),
            logs: BTreeMap::new(),
            confirm: BTreeSet::new(),
            hold_until_ms: BTreeMap::new(),
            age: MonotonicAge::resume(None, "", 0),
            disk: BTreeMap::new(),
            machine: 0,
            booted_at: 0,
            resumed_ms: 0,
            checkpoint_at: 0,
            in_flight: None,
            restarted: 0,
            operator: Chance::new(seed, OPERATOR + u64::from(first)),
            asked_at: 0,
            made: BTreeMap::new(),
        };
        deep.begin_anew(0);
        deep.asked_at = deep.next_question(0);
        deep
    }

    /// When there is something to do next.
    pub fn next(&self) -> Option<Time> {
        let restart = self.world.restarts.get(self.restarted).map(|restart| restart.at);
        if self.wanted.is_empty() {
            return restart;
        }
        let ends = self.in_flight.as_ref().map(|flight| flight.ends_at);
        let due = self.next_due().map(|(due_ms, _)| self.true_time(due_ms));
        let others = [self.checkpoint_at + CHECKPOINT_EVERY, self.asked_at];
        let all = others.into_iter().chain(ends).chain(due).chain(restart);
        all.min().map(|at| self.world.awake(at))
    }

    /// Does what is due, while the host runs. Gives whom it has touched.
    pub fn turn(
        &mut self,
        now: Time,
        instances: &mut [SimulatedInstance<'_>],
        reports: &mut Reports,
    ) -> Vec<usize> {
        let restart = self.world.restarts.get(self.restarted).copied();
        if let Some(restart) = restart.filter(|restart| restart.at <= now) {
            self.restarted += 1;
            self.restart(restart, now);
            for instance in instances.iter_mut() {
                let report = reports.of(instance.judge.plugin());
                instance.run_until(now, report);
                instance.restart(now, report);
            }
            return (0..instances.len()).collect();
        }
        if now >= self.checkpoint_at + CHECKPOINT_EVERY {
            self.checkpoint(now);
        }
        if let Some(flight) = self.in_flight.take_if(|flight| flight.ends_at <= now) {
            return self.complete(&flight, now, instances, reports);
        }
        if now >= self.asked_at && !self.wanted.is_empty() {
            self.asked_at = self.next_question(now);
            let of = (self.operator.bits() % self.wanted.len() as u64) as usize;
            let place = self.wanted.keys().nth(of).copied();
            return self.make(place, true, now, instances, reports);
        }
        let due = self.next_due().filter(|(due_ms, _)| *due_ms <= self.now_ms(now));
        self.make(due.map(|(_, place)| place), false, now, instances, reports)
    }

    fn make(
        &mut self,
        place: Option<usize>,
        by_operator: bool,
        now: Time,
        instances: &mut [SimulatedInstance<'_>],
        reports: &mut Reports,
    ) -> Vec<usize> {
        let Some(((_, policy), place)) = place.and_then(|at| Some((self.wanted.get(&at)?.clone(), at)))
        else {
            return Vec::new();
        };
        let (instance, now_ms) = (&mut instances[place], self.now_ms(now));
        let report = reports.of(instance.judge.plugin());
        instance.run_until(now, report);
        let Some(generation) = instance.deep_candidate(now, by_operator) else {
            if !by_operator {
                self.hold_until_ms.insert(place, now_ms + HELD / MS);
            }
            return vec![place];
        };
        let log = self.logs.entry(place).or_default();
        if self.in_flight.is_some() {
            return vec![place];
        }
        if let Err(over) = log.allows(&policy, now_ms) {
            report.deep_spent += u64::from(matches!(over, OverQuota::Spent { .. }));
            return vec![place];
        }
        log.begin(now_ms);
        self.confirm.remove(&place);
        self.keep(place, now);
        report.deep_checks += 1;
        self.check_quota(place, &policy, now, &instance.judge, report);
        let reply = instance.ask_deep(now);
        let too_late = self.world.awake(now + policy.timeout.as_nanos() as Time);
        let back = reply.after.map(|after| self.world.end_of(now, after));
        let (ends_at, result) = match back {
            Some(back) if back <= too_late => (back, reply.result),
            _ => (too_late, ResultWord::TimedOut),
        };
        self.in_flight = Some(InFlight {
            place,
            generation,
            began: now,
            ends_at,
            result,
        });
        vec![place]
    }

    fn complete(
        &mut self,
        flight: &InFlight,
        now: Time,
        instances: &mut [SimulatedInstance<'_>],
        reports: &mut Reports,
    ) -> Vec<usize> {
        let place = flight.place;
        let instance = &mut instances[place];
        let report = reports.of(instance.judge.plugin());
        instance.run_until(now, report);
        let is_good = matches!(flight.result, ResultWord::Said(None | Some(Health::Up)));
        let host_late = self.world.stood_still(flight.began, now) > Duration::ZERO;
        let result = if host_late && !is_good {
            ResultWord::HostLate
        } else {
            flight.result
        };
        report.deep_failed += u64::from(!is_good && deep_counts(result));
        let failed = instance.deep_ended((flight.began, now), flight.generation, result, report);
        if failed == 1 {
            self.confirm.insert(place);
        }
        self.keep(place, now);
        vec![place]
    }

    /// No two of one plugin closer than they may be, and no 24 hours with more than they may have, wherever they begin.
    fn check_quota(
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
        self.in_flight = None;
        self.begin_anew(now);
    }

    /// A host begins, and reads what the one before it wrote.
    fn begin_anew(&mut self, now: Time) {
        let last = self.disk.get(AGE);
        let last: Option<MonotonicAge> = last.and_then(|text| serde_json::from_str(text).ok());
        let boot = format!("machine {}", self.machine);
        self.resumed_ms = self.booted_ms(now);
        self.age = MonotonicAge::resume(last.as_ref(), &boot, self.resumed_ms);
        self.confirm.clear();
        self.hold_until_ms.clear();
        let now_ms = self.now_ms(now);
        for (place, (name, _)) in self.wanted.clone() {
            let kept = self.disk.get(&*name);
            let kept = kept.and_then(|text| UsageLog::read(text, now_ms));
            self.logs
                .insert(place, kept.unwrap_or_else(|| UsageLog::since(now_ms)));
            self.keep(place, now);
        }
    }

    /// Who is due first, and when. Nobody while one is in flight.
    fn next_due(&self) -> Option<(u64, usize)> {
        if self.in_flight.is_some() {
            return None;
        }
        let due = |(place, (_, policy)): (&usize, &(Arc<str>, DeepPolicy))| {
            let due_ms = self.logs.get(place)?.due_ms(policy, self.confirm.contains(place));
            let hold_ms = self.hold_until_ms.get(place).copied().unwrap_or(0);
            Some((due_ms.max(hold_ms), *place))
        };
        self.wanted.iter().filter_map(due).min()
    }

    fn keep(&mut self, place: usize, now: Time) {
        if let Some((name, _)) = self.wanted.get(&place) {
            let log = self.logs.entry(place).or_default();
            self.disk.insert(name.to_string(), log.written());
        }
        self.checkpoint(now);
    }

    fn checkpoint(&mut self, now: Time) {
        self.checkpoint_at = now;
        let age = self.age.checkpoint(self.booted_ms(now));
        let text = serde_json::to_string(&age).unwrap_or_default();
        self.disk.insert(AGE.to_owned(), text);
    }

    fn next_question(&mut self, now: Time) -> Time {
        now + (self.operator.exponential(ASKED_MEAN) * SECOND as f64) as Time
    }

    fn booted_ms(&self, now: Time) -> u64 {
        (now - self.booted_at) / MS
    }

    fn now_ms(&self, now: Time) -> u64 {
        self.age.at(self.booted_ms(now))
    }

    /// When so many milliseconds will certainly have passed.
    fn true_time(&self, age_ms: u64) -> Time {
        let ahead = age_ms.saturating_sub(self.age.at(0));
        let booted_ms = self.resumed_ms.saturating_add(ahead);
        self.booted_at.saturating_add(booted_ms.saturating_mul(MS))
    }
}
