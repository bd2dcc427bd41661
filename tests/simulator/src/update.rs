//! Updates of which the truth is known: a plugin is updated to the same build or to a worse one, under noise, by the rollout and the judge
//! that the host has. Pure.
//!
//! Both versions have what befalls the machine in common: load that wanders, spells in which everything is slower, spells in which many calls fail. Each has
//! noise of its own as well, and the new one begins cold, with an empty cache. Calls are simulated one by one and go where [`Share`] sends them.

mod plugin;

use crate::random::Chance;
use extman_health::Moment;
use extman_health::judge::{Judge, JudgePolicy, Measure, Side, Verdict};
use extman_health::rollout::{Back, Effect, Input, Judged, Phase, Rollout, RolloutPolicy, Share};
use plugin::{Machine, Version};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// In what the new version is worse.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Regression {
    /// In nothing: it is the same build.
    None,
    /// 5 % more of its calls fail.
    Errors,
    /// Each call takes one and a half times as long.
    Latency,
    /// 16 KiB of each call stay in its heap.
    Leak,
    /// One call in 200 panics.
    Panic,
}

impl Regression {
    /// All of them.
    pub const ALL: [Regression; 5] = [
        Regression::None,
        Regression::Errors,
        Regression::Latency,
        Regression::Leak,
        Regression::Panic,
    ];

    /// By what it should be found.
    fn measure(self) -> Option<Measure> {
        match self {
            Regression::None => None,
            Regression::Errors => Some(Measure::Errors),
            Regression::Latency => Some(Measure::Latency),
            Regression::Leak => Some(Measure::Heap),
            Regression::Panic => Some(Measure::Panics),
        }
    }
}

/// What has become of an update when its window ended.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum End {
    /// It was taken back, so many seconds after the new version got its first call.
    TakenBack {
        /// Seconds.
        seconds: u32,
        /// The new version had all calls by then.
        after_switch: bool,
        /// In what it was found worse.
        measure: Option<Measure>,
    },
    /// The old version was let go.
    Promoted,
    /// There was not enough evidence.
    Held,
}

/// One interval of the judge.
const INTERVAL_S: u32 = 10;
/// So long the old version alone has served before.
const BEFORE_S: u32 = 600;

/// Updates a plugin that is called so often each second, and says what became of it within so many seconds.
pub fn update(seed: u64, number: u32, regression: Regression, per_second: f64, window_s: u32) -> End {
    let chance = Chance::new(seed, u64::from(number));
    Update::new(chance, regression, per_second).run(window_s)
}

struct Update {
    machine: Machine,
    old: Version,
    new: Version,
    judge: Judge,
    rollout: Rollout,
    policy: RolloutPolicy,
    share: Share,
    wakes: Vec<Moment>,
    per_second: f64,
    calls: u64,
    measure: Option<Measure>,
    taken_back: bool,
}

impl Update {
    fn new(mut chance: Chance, regression: Regression, per_second: f64) -> Self {
        Update {
            old: Version::warm(&mut chance),
            new: Version::cold(&mut chance, regression),
            machine: Machine::new(chance),
            judge: Judge::new(JudgePolicy::default()),
            rollout: Rollout::begin(),
            policy: RolloutPolicy::default(),
            share: Share::NONE,
            wakes: Vec::new(),
            per_second,
            calls: 0,
            measure: None,
            taken_back: false,
        }
    }

    fn run(mut self, window_s: u32) -> End {
        for _ in 0..BEFORE_S / INTERVAL_S {
            self.interval(false);
        }
        self.feed(Input::Started, at(0));
        self.feed(Input::Warm, at(0));
        for interval in 1..=window_s / INTERVAL_S {
            let now = at(interval * INTERVAL_S);
            self.interval(true);
            let verdict = self.judge.verdict();
            if let Verdict::Worse(finding) = &verdict {
                self.measure.get_or_insert(finding.measure);
            }
            let after_switch = matches!(self.rollout.phase(), Phase::Probation { .. });
            let due: Vec<Moment> = self.wakes.iter().copied().filter(|wake| *wake <= now).collect();
            self.wakes.retain(|wake| *wake > now);
            due.into_iter().for_each(|wake| self.feed(Input::Due(wake), now));
            self.feed(Input::Judged(Judged::from(&verdict)), now);
            if self.taken_back {
                return End::TakenBack {
                    seconds: interval * INTERVAL_S,
                    after_switch,
                    measure: self.measure,
                };
            }
            if !self.rollout.phase().is_under_way() {
                return End::Promoted;
            }
        }
        End::Held
    }

    /// Gives the rollout an input and carries out what follows.
    fn feed(&mut self, input: Input, now: Moment) {
        for effect in self.rollout.next(input, now, &self.policy) {
            match effect {
                Effect::Route(share) => self.share = share,
                Effect::Judge(aim) => self.judge.begin_step(aim),
                Effect::Wake(wake) => self.wakes.push(wake),
                Effect::TakenBack(Back::Worse(_)) => self.taken_back = true,
                _ => {}
            }
        }
    }

    /// Serves calls for one interval, and has the judge look at them.
    fn interval(&mut self, with_new: bool) {
        for _ in 0..INTERVAL_S {
            self.machine.second();
            for _ in 0..self.machine.calls(self.per_second) {
                let version = if self.share.takes(self.calls) {
                    &mut self.new
                } else {
                    &mut self.old
                };
                version.call(&mut self.machine);
                self.calls += 1;
            }
        }
        let old = self.old.interval(&mut self.machine);
        let new = if with_new {
            self.new.interval(&mut self.machine)
        } else {
            Side::default()
        };
        let lasted = Duration::from_secs(u64::from(INTERVAL_S));
        self.judge.observe(lasted, &new, &old);
    }
}

fn at(seconds: u32) -> Moment {
    Moment::from_nanos(1).after(Duration::from_secs(u64::from(seconds)))
}

/// How many updates ended how.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ends {
    /// Updates.
    pub updates: u32,
    /// Taken back.
    pub taken_back: u32,
    /// Of those, for the reason that is the true one.
    pub for_its_reason: u32,
    /// Of those, after the new version had all calls.
    pub after_switch: u32,
    /// The old version was let go.
    pub promoted: u32,
    /// Not enough evidence in the whole window.
    pub held: u32,
    /// Seconds until each that was taken back was.
    pub seconds: Vec<u32>,
}

impl Ends {
    /// One more.
    pub fn add(&mut self, regression: Regression, end: End) {
        self.updates += 1;
        match end {
            End::Promoted => self.promoted += 1,
            End::Held => self.held += 1,
            End::TakenBack {
                seconds,
                after_switch,
                measure,
            } => {
                self.taken_back += 1;
                self.after_switch += u32::from(after_switch);
                self.for_its_reason += u32::from(measure.is_some() && measure == regression.measure());
                self.seconds.push(seconds);
            }
        }
    }
}

#[cfg(test)]
mod tests;
