//! The sums of a minute, as they grow. Pure: it is told both clocks.
//!
//! How long a state lasted comes from the monotonic clock, and to which minute that belongs from the wall clock. So a wall clock that
//! steps neither loses nor doubles time: a stretch is put into one minute or another, once.

use extman_health::{Moment, nanos};
use extman_model::Health;
use extman_model::record::{Rollup, StateMs};
use std::time::Duration;

const MINUTE_MS: u64 = 60_000;
/// What nobody looked at for longer than this was not observed.
const UNOBSERVED: Duration = Duration::from_secs(600);

/// The minute that is under way.
#[derive(Debug, Clone)]
pub(super) struct Minute {
    /// Its number since the Unix epoch.
    number: u64,
    until: Moment,
    nanos: [u64; 5],
    pub checks: u32,
    pub checks_failed: u32,
    heap: Option<(u64, u64)>,
}

impl Minute {
    pub(super) fn new(now: Moment, unix_ms: u64) -> Self {
        Minute {
            number: unix_ms / MINUTE_MS,
            until: now,
            nanos: [0; 5],
            checks: 0,
            checks_failed: 0,
            heap: None,
        }
    }

    /// Up to `now` it was so. Gives the minutes that are over.
    pub(super) fn pass(&mut self, now: Moment, unix_ms: u64, health: Health, left_out: bool) -> Vec<Rollup> {
        let passed = now.since(self.until);
        self.until = self.until.max(now);
        let place = if left_out { 4 } else { place(health) };
        let number = unix_ms / MINUTE_MS;
        if number == self.number {
            if passed <= UNOBSERVED {
                self.nanos[place] += nanos(passed);
            }
            return Vec::new();
        }
        if passed > UNOBSERVED || number < self.number || number - self.number > UNOBSERVED.as_secs() / 60 {
            // Nobody looked, or the wall clock has stepped: the stretch belongs to the minute before, if to any.
            if passed <= UNOBSERVED {
                self.nanos[place] += nanos(passed);
            }
            return vec![self.end(number)];
        }
        let mut ended = Vec::new();
        let mut left = nanos(passed);
        let ahead = (unix_ms % MINUTE_MS * 1_000_000).min(left);
        while self.number < number {
            let between = (number - self.number - 1) * MINUTE_MS * 1_000_000;
            let here = (left - ahead).saturating_sub(between);
            self.nanos[place] += here;
            left -= here;
            let next = self.number + 1;
            ended.push(self.end(next));
        }
        self.nanos[place] += left;
        ended
    }

    /// When it is over, as both clocks stand now.
    pub(super) fn ends(now: Moment, unix_ms: u64) -> Moment {
        now.after(Duration::from_millis(MINUTE_MS - unix_ms % MINUTE_MS))
    }

    /// So long nobody could look.
    pub(super) fn skip(&mut self, stall: Duration, now: Moment) {
        self.until = self.until.after(stall).min(now);
    }

    /// This much heap was in use.
    pub(super) fn heap(&mut self, bytes: u64) {
        self.heap = Some(self.heap.map_or((bytes, bytes), |(least, most)| {
            (least.min(bytes), most.max(bytes))
        }));
    }

    /// What there is of the minute that is under way.
    pub(super) fn rest(&mut self) -> Rollup {
        let number = self.number;
        self.end(number)
    }

    fn end(&mut self, next: u64) -> Rollup {
        // What is less than a millisecond goes on into the next minute.
        let mut ms = [0; 5];
        for (ms, nanos) in ms.iter_mut().zip(&mut self.nanos) {
            *ms = *nanos / 1_000_000;
            *nanos %= 1_000_000;
        }
        let [up, degraded, down, unknown, left_out] = ms;
        let ended = Rollup {
            from_unix_ms: self.number * MINUTE_MS,
            states: StateMs {
                up,
                degraded,
                down,
                unknown,
                left_out,
            },
            checks: u64::from(std::mem::take(&mut self.checks)),
            checks_failed: u64::from(std::mem::take(&mut self.checks_failed)),
            heap_bytes: self.heap.take(),
            ..Rollup::default()
        };
        self.number = next;
        ended
    }
}

fn place(health: Health) -> usize {
    match health {
        Health::Up => 0,
        Health::Degraded => 1,
        Health::Down => 2,
        Health::Unknown => 3,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(ms: u64) -> Moment {
        Moment::from_nanos((5_000 + ms) * 1_000_000)
    }

    fn sum(states: StateMs) -> u64 {
        states.up + states.degraded + states.down + states.unknown + states.left_out
    }

    #[test]
    fn a_stretch_is_cut_where_the_minutes_are() {
        let mut minute = Minute::new(at(0), 30_000);
        assert!(minute.pass(at(10_000), 40_000, Health::Up, false).is_empty());
        let ended = minute.pass(at(100_000), 130_000, Health::Down, false);
        let states: Vec<_> = ended
            .iter()
            .map(|r| (r.from_unix_ms, r.states.up, r.states.down))
            .collect();
        assert_eq!(states, [(0, 10_000, 20_000), (60_000, 0, 60_000)]);
        let ended = minute.pass(at(150_000), 180_000, Health::Up, true);
        assert_eq!(ended[0].states.down, 10_000);
        assert_eq!(ended[0].states.left_out, 50_000);
    }

    #[test]
    fn what_nobody_looked_at_is_nobodys() {
        let mut minute = Minute::new(at(0), 0);
        minute.skip(Duration::from_secs(30), at(40_000));
        let ended = minute.pass(at(60_000), 60_000, Health::Up, false);
        assert_eq!(sum(ended[0].states), 30_000);
        let ended = minute.pass(at(60_000 + 700_000), 760_000, Health::Up, false);
        assert_eq!(ended.iter().map(|r| sum(r.states)).sum::<u64>(), 0);
    }

    proptest! {
        #[test]
        fn whatever_the_wall_clock_does_no_time_is_lost_or_doubled(
            steps in proptest::collection::vec((0..90_000_u64, -200_000..200_000_i64), 1..60)
        ) {
            let (mut mono, mut wall) = (0_u64, 1_000_000_i64);
            let mut minute = Minute::new(at(0), wall as u64);
            let mut told = 0;
            for (ms, step) in steps {
                mono += ms;
                wall = (wall + ms as i64 + if step.abs() > 150_000 { step } else { 0 }).max(0);
                for ended in minute.pass(at(mono), wall as u64, Health::Up, false) {
                    prop_assert_eq!(ended.from_unix_ms % MINUTE_MS, 0);
                    told += sum(ended.states);
                }
            }
            let rest = minute.nanos.iter().sum::<u64>() / 1_000_000;
            prop_assert_eq!(told + rest, mono);
        }
    }
}
