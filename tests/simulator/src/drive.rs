//! Plugins on one wheel, event by event, as the engine drives their monitors. Pure.

use super::bounds::Bounds;
use super::deep::{DeepChecks, Reports};
use super::fault::{self, Fault};
use super::instance::SimulatedInstance;
use super::judge::Judge;
use super::nature::Nature;
use super::plugin::Plugin;
use super::random::Chance;
use super::report::Report;
use super::systems::Systems;
use super::world::World;
use super::{SECOND, SHARD, Scenario, Time};
use extman_health::wheel::{Tick, Wheel};

/// The engine's step.
pub(super) const TICK: Time = SECOND / 100;

/// Runs one shard of a scenario in its world: the same comes out whoever runs it, and when.
pub fn run_shard(scenario: &Scenario, world: &World, shard: u32) -> Report {
    let first = shard * SHARD;
    let numbers = first..scenario.plugins.min(first.saturating_add(SHARD));
    // Those of a shard share the one deep check that is made at a time: who is looked at alone is run among them all the same.
    if scenario.only.is_some_and(|only| !numbers.contains(&only)) {
        return Report::default();
    }
    let made = numbers.map(|number| (number, make(scenario, world, number)));
    run(scenario, world, made.collect())
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
    let mut reports = Reports::new(scenario.only);
    let bounds = Bounds::new(&scenario.policy);
    let mut wheel = Wheel::default();
    let mut instances: Vec<SimulatedInstance<'_>> = made
        .iter()
        .map(|(number, (nature, faults, chance))| {
            let plugin = Plugin::new(nature.clone(), faults.clone(), chance.clone());
            let judge = Judge::new(*number, faults, nature, world, &bounds);
            let traced = scenario.only == Some(*number);
            SimulatedInstance::new(*number, plugin, judge, world, &scenario.policy, traced)
        })
        .collect();
    for (place, instance) in instances.iter_mut().enumerate() {
        let report = reports.of(instance.judge.plugin());
        wheel.put(place as u32, tick(instance.begin(report)));
    }
    let mut desk = DeepChecks::new(&instances, world, scenario.seed);
    let desk_place = instances.len() as u32;
    if let Some(at) = desk.next() {
        wheel.put(desk_place, tick(at));
    }
    let mut systems = Systems::new(&instances, scenario.only.is_none());
    let mut due = Vec::new();
    while let Some(next) = wheel.next_due() {
        let now = next * TICK;
        if now >= scenario.length {
            break;
        }
        systems.sample(now, &mut instances, world, &mut reports.told);
        wheel.take_due(next, usize::MAX, &mut due);
        for place in due.drain(..) {
            if place != desk_place {
                let instance = &mut instances[place as usize];
                let then = instance.run_until(now, reports.of(instance.judge.plugin()));
                wheel.put(place, tick(then).max(next + 1));
                continue;
            }
            if world.awake(now) == now {
                for touched in desk.turn(now, &mut instances, &mut reports) {
                    let instance = &mut instances[touched];
                    let then = instance.run_until(now, reports.of(instance.judge.plugin()));
                    wheel.put(touched as u32, tick(then).max(next + 1));
                }
            }
            if let Some(at) = desk.next() {
                wheel.put(desk_place, tick(at).max(next + 1));
            }
        }
    }
    for instance in &mut instances {
        instance.finish(scenario.length, reports.of(instance.judge.plugin()));
    }
    reports.told
}

fn tick(at: Time) -> Tick {
    at.div_ceil(TICK)
}
