//! The machine, and the two versions of the plugin on it.

use super::Regression;
use crate::random::Chance;
use extman_health::judge::{Failures, Side};
use extman_model::latency::LatencyHistogram;
use std::time::Duration;

/// How much of a wandering figure is left after a second: it forgets within a minute.
const REMAINS: f64 = 0.983_5;
const MIB: f64 = 1_048_576.0;

/// What both versions have in common, second by second.
pub(super) struct Machine {
    pub chance: Chance,
    /// The logarithm of the load: load makes calls more frequent and slower.
    load: f64,
    slow: Spell,
    failing: Spell,
}

/// A spell in which something is bad: seconds that are left of it, and how bad it is.
#[derive(Default)]
struct Spell {
    left: f64,
    strength: f64,
}

impl Spell {
    /// Begins now and then, once in so many seconds, and lasts for so many, both exponential.
    fn second(&mut self, chance: &mut Chance, every: f64, lasts: f64, strength: (f64, f64)) {
        self.left -= 1.0;
        if self.left <= 0.0 {
            self.strength = 0.0;
            if chance.happens(1.0 / every) {
                self.left = chance.exponential(lasts).max(1.0);
                self.strength = chance.between(strength.0, strength.1);
            }
        }
    }
}

impl Machine {
    pub fn new(chance: Chance) -> Self {
        let mut machine = Machine {
            chance,
            load: 0.0,
            slow: Spell::default(),
            failing: Spell::default(),
        };
        machine.load = 0.3 * machine.chance.normal();
        machine
    }

    pub fn second(&mut self) {
        self.load = wander(self.load, 0.3, &mut self.chance);
        // From twice to ten times as slow for 20 s, each five minutes; a tenth to a half fail for 15 s, each seven.
        self.slow
            .second(&mut self.chance, 300.0, 20.0, (2_f64.ln(), 10_f64.ln()));
        self.failing.second(&mut self.chance, 420.0, 15.0, (0.1, 0.5));
    }

    /// How many calls there are in this second, at so many a second on average.
    pub fn calls(&mut self, per_second: f64) -> u64 {
        let mean = per_second * (self.load - 0.045).exp();
        self.chance.poisson(mean)
    }
}

/// One second of a first-order autoregressive process with this standard deviation.
fn wander(value: f64, deviation: f64, chance: &mut Chance) -> f64 {
    value * REMAINS + deviation * (1.0 - REMAINS * REMAINS).sqrt() * chance.normal()
}

/// One version of the plugin, and what the host has counted of it in this interval.
pub(super) struct Version {
    regression: Regression,
    /// Calls since its start; a warm one has had many.
    served: f64,
    cold: f64,
    /// The logarithm of how much slower it is by itself.
    own: f64,
    leaked: f64,
    calls: Failures,
    panics: u64,
    durations: Vec<Duration>,
}

impl Version {
    pub fn warm(chance: &mut Chance) -> Self {
        let mut version = Version::cold(chance, Regression::None);
        version.served = 1e9;
        version
    }

    pub fn cold(chance: &mut Chance, regression: Regression) -> Self {
        Version {
            regression,
            served: 0.0,
            cold: 1.0,
            own: 0.05 * chance.normal(),
            leaked: 0.0,
            calls: Failures::default(),
            panics: 0,
            durations: Vec::new(),
        }
    }

    pub fn call(&mut self, machine: &mut Machine) {
        self.served += 1.0;
        self.calls.of += 1;
        if self.regression == Regression::Leak {
            self.leaked += 16.0 * 1024.0;
        }
        if self.regression == Regression::Panic && machine.chance.happens(1.0 / 200.0) {
            self.panics += 1;
            self.calls.failed += 1;
            return;
        }
        let more = if self.regression == Regression::Errors {
            0.05
        } else {
            0.0
        };
        let failing = 0.002 + more + machine.failing.strength;
        if machine.chance.happens(failing) {
            self.calls.failed += 1;
            return;
        }
        let slower = if self.regression == Regression::Latency {
            1.5
        } else {
            1.0
        };
        // The first calls of a process are up to twice as slow.
        self.cold *= if self.served < 1e6 { 0.9 } else { 0.0 };
        let usual = (0.8 * machine.chance.normal() + self.own + machine.load + machine.slow.strength).exp();
        // One in fifty has a tail without a mean worth the name: Pareto with exponent 1.5.
        let tail = if machine.chance.happens(0.02) {
            (1.0 - machine.chance.unit()).powf(-1.0 / 1.5)
        } else {
            1.0
        };
        let ms = 8.0 * usual * tail * slower * (1.0 + self.cold);
        self.durations.push(Duration::from_secs_f64((ms / 1e3).min(60.0)));
    }

    /// What the host has counted since the last interval.
    pub fn interval(&mut self, machine: &mut Machine) -> Side {
        for _ in 0..super::INTERVAL_S {
            self.own = wander(self.own, 0.05, &mut machine.chance);
        }
        let check_fails = machine.chance.happens(0.001 + 0.4 * machine.failing.strength);
        let cache = 16.0 * MIB * (1.0 - (-self.served / 2_000.0).exp());
        let in_use = 4.0 * MIB * machine.load.exp() + machine.chance.between(0.0, 8.0 * MIB);
        Side {
            calls: std::mem::take(&mut self.calls),
            latencies: LatencyHistogram::of(self.durations.drain(..)),
            panics: std::mem::take(&mut self.panics),
            checks: Some(Failures {
                failed: u64::from(check_fails),
                of: 1,
            }),
            heap_bytes: Some((48.0 * MIB + cache + in_use + self.leaked) as u64),
        }
    }
}
