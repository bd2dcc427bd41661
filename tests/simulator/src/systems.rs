//! Small systems of a few plugins each: is the verdict on the whole what its members' truth asks for? Pure.

use super::instance::SimulatedInstance;
use super::report::{Report, Violation, Wrong};
use super::world::World;
use super::{HOUR, MINUTE, Time};
use extman_health::aggregate::{Member, aggregate};
use extman_model::Group;
use extman_model::{Criticality, Health};
use std::collections::BTreeMap;

/// Plugins of one system.
const MEMBERS: usize = 16;
/// Between two looks.
const EVERY: Time = HOUR;
/// Plugins of a system that do the same, and how many of them are needed.
const POOL: std::ops::Range<usize> = 12..16;
const POOL_MIN_UP: usize = 2;

/// Looks at all systems of a shard from time to time.
#[derive(Debug)]
pub(super) struct Systems {
    names: Vec<String>,
    next: Option<Time>,
}

impl Systems {
    pub fn new(instances: &[SimulatedInstance<'_>], wanted: bool) -> Self {
        Systems {
            names: instances
                .iter()
                .map(|instance| instance.name().to_owned())
                .collect(),
            next: wanted.then_some(EVERY),
        }
    }

    /// Looks at what should have been looked at by now, at its time.
    pub fn sample(
        &mut self,
        now: Time,
        instances: &mut [SimulatedInstance<'_>],
        world: &World,
        report: &mut Report,
    ) {
        while let Some(at) = self.next.filter(|at| *at <= now) {
            self.next = Some(at + EVERY);
            // Of a host that just stood still or was started nobody expects a verdict.
            let just_begun = world.restarted(at.saturating_sub(10 * MINUTE), at) > 0;
            if world.paused(at - 3 * MINUTE, at).1 > 0 || just_begun {
                continue;
            }
            for (system, names) in instances.chunks_mut(MEMBERS).zip(self.names.chunks(MEMBERS)) {
                let truth: Option<Vec<Health>> = system
                    .iter_mut()
                    .map(|instance| {
                        instance
                            .judge
                            .truth(at, report)
                            .filter(|_| !instance.waits_for_a_call())
                    })
                    .collect();
                let Some(truth) = truth else { continue };
                let seen: Vec<Health> = system.iter().map(|instance| instance.seen(at).health).collect();
                if let Some(verdict) = compare(&truth, &seen, names, report) {
                    report.violation(Violation {
                        plugin: system[0].judge.plugin(),
                        at_ms: at / 1_000_000,
                        wall_ms: world.wall_ms(at),
                        wrong: Wrong::Verdict,
                        fault: None,
                        fault_from_ms: None,
                        fault_to_ms: None,
                        judged: verdict,
                        cause: None,
                    });
                }
            }
        }
    }
}

/// Gives the verdict if it is wrong.
fn compare(truth: &[Health], seen: &[Health], names: &[String], report: &mut Report) -> Option<Health> {
    let members: Vec<Member<'_>> = seen
        .iter()
        .enumerate()
        .map(|(place, health)| Member {
            name: &names[place],
            group: if place % 2 == 0 { Group::Ai } else { Group::General },
            health: *health,
            left_out: false,
            criticality: if is_required(place) {
                Criticality::Required
            } else {
                Criticality::Optional
            },
            redundant: POOL.contains(&place).then_some("pool"),
            covered: is_covered(place).then(|| vec!["capability"]),
        })
        .collect();
    let verdict = aggregate(&members, &BTreeMap::from([("pool".to_owned(), POOL_MIN_UP)])).health;
    report.verdicts += 1;
    let (by_seen, by_truth) = (rules(seen), rules(truth));
    // Noise may degrade it; that is counted where it happens.
    if verdict != by_seen || (verdict == Health::Down) != (by_truth == Health::Down) {
        report.verdicts_wrong += 1;
        return Some(verdict);
    }
    report.verdicts_noisy += u64::from(verdict != by_truth);
    None
}

fn is_required(place: usize) -> bool {
    place.is_multiple_of(4)
}

fn is_covered(place: usize) -> bool {
    place.is_multiple_of(8)
}

/// The rules once more, in other words: not how the host computes it.
fn rules(members: &[Health]) -> Health {
    let pool: Vec<Health> = members
        .iter()
        .copied()
        .enumerate()
        .filter(|(at, _)| POOL.contains(at))
        .map(|(_, h)| h)
        .collect();
    let serving = pool
        .iter()
        .filter(|health| matches!(health, Health::Up | Health::Degraded))
        .count();
    let alone = || {
        members
            .iter()
            .copied()
            .enumerate()
            .filter(|(at, _)| !POOL.contains(at))
    };
    let pool_fails = !pool.is_empty() && serving < POOL_MIN_UP;
    if pool_fails || alone().any(|(at, health)| is_required(at) && !is_covered(at) && health == Health::Down)
    {
        return Health::Down;
    }
    if alone().any(|(_, health)| health != Health::Up) || pool.iter().any(|health| *health != Health::Up) {
        Health::Degraded
    } else {
        Health::Up
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verdict_that_hides_one_that_is_down_is_found() {
        let names: Vec<String> = (0..MEMBERS).map(|place| place.to_string()).collect();
        let (mut truth, seen) = ([Health::Up; MEMBERS], [Health::Up; MEMBERS]);
        let mut report = Report::default();
        assert_eq!(compare(&truth, &seen, &names, &mut report), None);
        // Required, and nobody does its work.
        truth[4] = Health::Down;
        assert_eq!(compare(&truth, &seen, &names, &mut report), Some(Health::Up));
        assert_eq!(compare(&truth, &truth, &names, &mut report), None);
        assert_eq!((report.verdicts, report.verdicts_wrong), (3, 1));
    }
}
