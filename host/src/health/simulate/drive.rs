//! Plugins on one wheel, event by event, as the engine drives their courses. Pure.

use super::bounds::Bounds;
use super::fault::{self, Fault};
use super::judge::Judge;
use super::nature::Nature;
use super::plugin::Plugin;
use super::random::Chance;
use super::report::Report;
use super::seat::Seat;
use super::systems::Systems;
use super::world::World;
use super::{SECOND, SHARD, Scenario, Time};
use crate::health::schedule::{Tick, Wheel};

/// The engine's step.
pub(super) const TICK: Time = SECOND / 100;

/// Runs one shard of a scenario in its world: the same comes out whoever runs it, and when.
pub fn run_shard(scenario: &Scenario, world: &World, shard: u32) -> Report {
    let first = shard * SHARD;
    let numbers = first..scenario.plugins.min(first.saturating_add(SHARD));
    let numbers: Vec<u32> = numbers
        .filter(|number| scenario.only.is_none_or(|only| only == *number))
        .collect();
    let made = numbers.iter().map(|number| make(scenario, world, *number));
    run(scenario, world, numbers.iter().copied().zip(made).collect())
}

/// A plugin, what befalls it, and its chance.
pub(super) type Made = (Nature, Vec<Fault>, Chance);

fn make(scenario: &Scenario, world: &World, number: u32) -> Made {
    let mut chance = Chance::new(scenario.seed, u64::from(number));
    let nature = Nature::any(&mut chance);
    let faults = if scenario.healthy {
        Vec::new()
    } else {
        fault::schedule(&nature, world, scenario.length, &mut chance)
    };
    (nature, faults, chance)
}

/// Runs these plugins together.
pub(super) fn run(scenario: &Scenario, world: &World, made: Vec<(u32, Made)>) -> Report {
    let mut report = Report::default();
    let bounds = Bounds::new(&scenario.policy);
    let mut wheel = Wheel::default();
    let traced = scenario.only.is_some();
    let mut seats: Vec<Seat<'_>> = made
        .iter()
        .map(|(number, (nature, faults, chance))| {
            let plugin = Plugin::new(nature.clone(), faults.clone(), chance.clone());
            let judge = Judge::new(*number, faults, nature, world, &bounds);
            Seat::new(*number, plugin, judge, world, &scenario.policy, traced)
        })
        .collect();
    for (place, seat) in seats.iter_mut().enumerate() {
        wheel.put(place as u32, tick(seat.begin(&mut report)));
    }
    let mut systems = Systems::new(&seats, scenario.only.is_none());
    let mut due = Vec::new();
    while let Some(next) = wheel.next_due() {
        let now = next * TICK;
        if now >= scenario.length {
            break;
        }
        systems.sample(now, &mut seats, world, &mut report);
        wheel.take_due(next, usize::MAX, &mut due);
        for place in due.drain(..) {
            let then = seats[place as usize].run_until(now, &mut report);
            wheel.put(place, tick(then).max(next + 1));
        }
    }
    for seat in &mut seats {
        seat.finish(scenario.length, &mut report);
    }
    report
}

fn tick(at: Time) -> Tick {
    at.div_ceil(TICK)
}
