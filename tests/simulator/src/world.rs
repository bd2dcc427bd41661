//! What all plugins share: the host that stands still now and then, and a wall clock that is set. Pure.

use super::random::Chance;
use super::{HOUR, MINUTE, SECOND, Time};
use std::time::Duration;

/// Stalls up to this long are noticed by nobody: the watchdog's own limit.
const NOTICED: Time = SECOND / 2;
/// Streams of chance that belong to no plugin.
const STREAM: u64 = u64::MAX;

/// The host does not run from one moment to the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pause {
    /// From then on.
    pub from: Time,
    /// Until then.
    pub to: Time,
}

/// The host ends without a word and begins again; the machine too, or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Restart {
    /// When.
    pub at: Time,
    /// The machine was started anew, and its clock with it.
    pub of_machine: bool,
    /// What the host had written down is gone; only where a test wants to see more deep checks than there may be.
    pub of_disk: bool,
}

/// The host's share in what is seen.
#[derive(Debug, Clone, Default)]
pub struct World {
    /// In order, apart from each other.
    pub pauses: Vec<Pause>,
    /// When the wall clock is set, and by how many milliseconds.
    pub wall_steps: Vec<(Time, i64)>,
    /// In order.
    pub restarts: Vec<Restart>,
}

impl World {
    /// A host that runs for so long, and stands still as hosts do: a few long pauses a day, several that are too short to be noticed,
    /// and now and then minutes in which it hardly runs. Every few days it is started anew, at times with the machine.
    pub fn new(seed: u64, until: Time) -> Self {
        let mut chance = Chance::new(seed, STREAM);
        let mut found = Vec::new();
        let mut scatter = |chance: &mut Chance, mean: f64, least: f64, most: f64| {
            let mut at = 0;
            loop {
                at += (chance.exponential(mean) * SECOND as f64) as Time;
                if at >= until {
                    break;
                }
                let length = (chance.log_between(least, most) * SECOND as f64) as Time;
                found.push(Pause {
                    from: at,
                    to: at + length,
                });
            }
        };
        scatter(&mut chance, 6.0 * 3600.0, 1.0, 60.0);
        scatter(&mut chance, 2.0 * 3600.0, 0.05, 0.5);
        let mut at = 0;
        loop {
            at += (chance.exponential(2.0 * 86_400.0) * SECOND as f64) as Time;
            if at >= until {
                break;
            }
            let mut within = at;
            for _ in 0..40 {
                within += (chance.between(0.5, 8.0) * SECOND as f64) as Time;
                let length = (chance.log_between(0.2, 4.0) * SECOND as f64) as Time;
                found.push(Pause {
                    from: within,
                    to: within + length,
                });
                within += length;
            }
        }
        found.sort_by_key(|pause| pause.from);
        let mut pauses: Vec<Pause> = Vec::new();
        for pause in found {
            // Nothing runs between pauses that touch.
            if pauses
                .last()
                .is_none_or(|last| pause.from > last.to + SECOND / 10)
            {
                pauses.push(pause);
            }
        }
        let mut wall_steps = Vec::new();
        let mut at = 0;
        loop {
            at += (chance.exponential(86_400.0) * SECOND as f64) as Time;
            if at >= until {
                break;
            }
            wall_steps.push((at, chance.between(-7_200_000.0, 7_200_000.0) as i64));
        }
        let mut world = World {
            pauses,
            wall_steps,
            restarts: Vec::new(),
        };
        let mut at = 0;
        loop {
            at += (chance.exponential(4.0 * 86_400.0) * SECOND as f64) as Time;
            if at >= until {
                return world;
            }
            let restart = Restart {
                at: world.awake(at),
                of_machine: chance.happens(0.3),
                of_disk: false,
            };
            world.restarts.push(restart);
        }
    }

    /// A host that never stands still.
    pub fn steady() -> Self {
        World::default()
    }

    /// A host that never stands still, whose wall clock is set once by so many milliseconds.
    pub fn stepping(at: Time, by_ms: i64) -> Self {
        World {
            wall_steps: vec![(at, by_ms)],
            ..World::default()
        }
    }

    /// The number of pauses that begin before this.
    pub fn begun(&self, at: Time) -> usize {
        self.pauses.partition_point(|pause| pause.from < at)
    }

    /// When work of this length ends that begins at `at`, outside a pause.
    pub fn end_of(&self, at: Time, length: Time) -> Time {
        let mut end = at.saturating_add(length);
        for pause in &self.pauses[self.begun(at)..] {
            if pause.from >= end {
                break;
            }
            end += pause.to - pause.from;
        }
        end
    }

    /// This moment, or the end of the pause that it lies in.
    pub fn awake(&self, at: Time) -> Time {
        match self.pauses[..self.begun(at.saturating_add(1))].last() {
            Some(pause) if at < pause.to => pause.to,
            _ => at,
        }
    }

    /// How long the host stood still between two moments, as far as it noticed.
    pub fn stood_still(&self, from: Time, to: Time) -> Duration {
        if to.saturating_sub(from) < NOTICED {
            return Duration::ZERO;
        }
        let ended = self.pauses.partition_point(|pause| pause.to <= from);
        let stalls = self.pauses[ended..].iter().take_while(|pause| pause.to <= to);
        let noticed = stalls
            .map(|pause| pause.to - pause.from)
            .filter(|long| *long > NOTICED);
        Duration::from_nanos(noticed.sum())
    }

    /// Time in pauses between two moments, and how many they are.
    pub fn paused(&self, from: Time, to: Time) -> (Time, u32) {
        let ended = self.pauses.partition_point(|pause| pause.to <= from);
        let inside = self.pauses[ended..].iter().take_while(|pause| pause.from < to);
        inside.fold((0, 0), |(sum, count), pause| {
            (sum + (pause.to - pause.from), count + 1)
        })
    }

    /// How often the host was started anew between two moments.
    pub fn restarted(&self, from: Time, to: Time) -> u32 {
        let inside = self
            .restarts
            .iter()
            .filter(|restart| (from..to).contains(&restart.at));
        inside.count() as u32
    }

    /// What the wall clock shows, in milliseconds since the simulation began.
    pub fn wall_ms(&self, at: Time) -> i64 {
        let steps = self.wall_steps.iter().take_while(|(when, _)| *when <= at);
        (at / 1_000_000) as i64 + steps.map(|(_, by)| by).sum::<i64>()
    }

    /// A pause of at least a few seconds, for a fault to fall upon.
    pub(super) fn any_pause(&self, chance: &mut Chance) -> Option<Pause> {
        let place = (chance.unit() * self.pauses.len() as f64) as usize;
        let pause = self.pauses.get(place).copied()?;
        (pause.to - pause.from > SECOND && pause.from > HOUR + MINUTE).then_some(pause)
    }
}

impl Pause {
    /// Whether the host notices that it stood still.
    pub fn is_noticed(self) -> bool {
        self.to - self.from > NOTICED
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::DAY;

    #[test]
    fn pauses_are_in_order_and_apart() {
        let world = World::new(3, 30 * DAY);
        assert!(world.pauses.len() > 100);
        assert!(world.pauses.windows(2).all(|two| two[0].to < two[1].from));
        assert!(
            world
                .pauses
                .iter()
                .any(|pause| pause.to - pause.from > 30 * SECOND)
        );
        assert!(world.pauses.iter().any(|pause| !pause.is_noticed()));
    }

    #[test]
    fn work_ends_later_for_each_pause_in_it() {
        let pause = |from, to| Pause {
            from: from * SECOND,
            to: to * SECOND,
        };
        let world = World {
            pauses: vec![pause(10, 20), pause(22, 23), pause(40, 41)],
            wall_steps: vec![(5 * SECOND, -3000)],
            ..World::default()
        };
        assert_eq!(world.end_of(SECOND, SECOND), 2 * SECOND);
        assert_eq!(world.end_of(9 * SECOND, 4 * SECOND), 24 * SECOND);
        assert_eq!(world.awake(15 * SECOND), 20 * SECOND);
        assert_eq!(world.awake(20 * SECOND), 20 * SECOND);
        assert_eq!(
            world.stood_still(9 * SECOND, 30 * SECOND),
            Duration::from_secs(11)
        );
        assert_eq!(world.stood_still(20 * SECOND, 21 * SECOND), Duration::ZERO);
        assert_eq!(world.wall_ms(6 * SECOND), 3000);
    }
}
