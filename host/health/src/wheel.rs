//! Who is due: a wheel of buckets, one a tick (Varghese and Lauck 1987, scheme 6). Pure: it is told what time it is.
//!
//! What is due comes in the order of ticks, and within a tick in the order of places, which is the order in memory. What is due later
//! than one turn of the wheel waits in its bucket. Moving a place leaves its old entry where it is, to be passed over: the
//! entries of a bucket lie side by side, so that going over them does not wait for memory as following a list would.

/// Number of ticks since the wheel's own zero.
pub type Tick = u64;

/// One turn of the wheel.
const BUCKETS: usize = 8192;
const ABSENT: Tick = Tick::MAX;
/// Buckets that keep their memory while they are empty.
const SPARE_MAX: usize = 16;

/// Places by the tick at which they are due.
#[derive(Debug)]
pub struct Wheel {
    /// Places, among them some that were moved or taken out since.
    buckets: Box<[Vec<u32>]>,
    entries: usize,
    spare: Vec<Vec<u32>>,
    /// Of each place.
    due: Vec<Tick>,
    /// All ticks before this one have been taken.
    next: Tick,
    len: usize,
}

impl Default for Wheel {
    fn default() -> Self {
        Wheel {
            buckets: vec![Vec::new(); BUCKETS].into(),
            entries: 0,
            spare: Vec::new(),
            due: Vec::new(),
            next: 0,
            len: 0,
        }
    }
}

impl Wheel {
    /// How many places wait.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether nobody waits.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// When a place is due, if it waits.
    pub fn due(&self, place: u32) -> Option<Tick> {
        let due = *self.due.get(place as usize)?;
        (due != ABSENT).then_some(due)
    }

    /// Has a place wait until `due`, wherever it was before. What is due in the past is due at once.
    #[inline]
    pub fn put(&mut self, place: u32, due: Tick) {
        let at = place as usize;
        if at >= self.due.len() {
            self.due.resize(at + 1, ABSENT);
        }
        let due = due.max(self.next).min(ABSENT - 1);
        let before = std::mem::replace(&mut self.due[at], due);
        if before == ABSENT {
            self.len += 1;
        } else if bucket(before) == bucket(due) {
            return;
        }
        self.push(place, due);
        if self.entries > 4 * self.len + BUCKETS {
            self.tidy_up();
        }
    }

    /// A place waits no longer. `false` if it did not.
    pub fn remove(&mut self, place: u32) -> bool {
        let Some(due) = self.due.get_mut(place as usize).filter(|due| **due != ABSENT) else {
            return false;
        };
        *due = ABSENT;
        self.len -= 1;
        true
    }

    /// Takes out who is due up to `now`, at most `max` of them, the ones that are due longest first. Appends them to `due`.
    pub fn take_due(&mut self, now: Tick, max: usize, due: &mut Vec<u32>) {
        let full = due.len().saturating_add(max);
        // After a long pause one turn shows everybody.
        if now.saturating_sub(self.next) > BUCKETS as u64 {
            self.skip(now);
        }
        while self.next <= now && !self.is_empty() {
            let from = due.len();
            self.take_tick(due);
            due[from..].sort_unstable();
            if due.len() > full {
                for place in due.drain(full..) {
                    self.due[place as usize] = self.next;
                    self.len += 1;
                    self.push(place, self.next);
                }
                return;
            }
            self.next += 1;
        }
        if self.is_empty() {
            self.next = self.next.max(now.saturating_add(1));
        }
    }

    /// The next tick at which somebody may be due; `None` if nobody waits. Never later than the true one.
    pub fn next_due(&self) -> Option<Tick> {
        if self.is_empty() {
            return None;
        }
        let turn = self.next..self.next + BUCKETS as u64;
        let is_due = |tick: &Tick| {
            let mut places = self.buckets[bucket(*tick)].iter();
            places.any(|place| self.due[*place as usize] == *tick)
        };
        let end = turn.end;
        Some(turn.into_iter().find(is_due).unwrap_or(end))
    }

    /// Takes out who is due at the next tick.
    fn take_tick(&mut self, due: &mut Vec<u32>) {
        let here = bucket(self.next);
        if self.buckets[here].is_empty() {
            return;
        }
        let mut places = std::mem::take(&mut self.buckets[here]);
        self.entries -= places.len();
        places.retain(|place| {
            let at = &mut self.due[*place as usize];
            if *at == self.next {
                *at = ABSENT;
                self.len -= 1;
                due.push(*place);
            }
            *at != ABSENT && bucket(*at) == here
        });
        if places.is_empty() {
            if self.spare.len() < SPARE_MAX {
                self.spare.push(places);
            }
            return;
        }
        // They come another turn. One that was moved away and back is there twice.
        places.sort_unstable();
        places.dedup();
        self.entries += places.len();
        self.buckets[here] = places;
    }

    fn push(&mut self, place: u32, due: Tick) {
        let here = &mut self.buckets[bucket(due)];
        if here.capacity() == 0
            && let Some(spare) = self.spare.pop()
        {
            *here = spare;
        }
        here.push(place);
        self.entries += 1;
    }

    /// Forgets the entries of places that were moved or taken out.
    fn tidy_up(&mut self) {
        self.buckets.iter_mut().for_each(Vec::clear);
        self.entries = 0;
        for place in 0..self.due.len() as u32 {
            if let Some(due) = self.due(place) {
                self.push(place, due);
            }
        }
    }

    /// Moves on to `now` without a look at each tick between: everybody who was due by then is due at it.
    fn skip(&mut self, now: Tick) {
        self.next = now;
        for due in &mut self.due {
            if *due < now {
                *due = now;
            }
        }
        self.tidy_up();
    }
}

fn bucket(tick: Tick) -> usize {
    tick as usize % BUCKETS
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn take(wheel: &mut Wheel, now: Tick) -> Vec<u32> {
        let mut due = Vec::new();
        wheel.take_due(now, usize::MAX, &mut due);
        due
    }

    #[test]
    fn each_is_taken_once_when_it_is_due() {
        let mut wheel = Wheel::default();
        for (place, due) in [(0, 5), (1, 3), (2, 5), (3, 5 + BUCKETS as u64)] {
            wheel.put(place, due);
        }
        assert!(take(&mut wheel, 2).is_empty());
        assert_eq!(wheel.next_due(), Some(3));
        assert_eq!(take(&mut wheel, 4), [1]);
        assert_eq!(take(&mut wheel, 5), [0, 2]);
        assert!(take(&mut wheel, 4 + BUCKETS as u64).is_empty());
        assert_eq!(take(&mut wheel, 5 + BUCKETS as u64), [3]);
        assert!(wheel.is_empty());
        assert_eq!(wheel.next_due(), None);
    }

    #[test]
    fn what_is_too_much_at_once_comes_next() {
        let mut wheel = Wheel::default();
        (0..10).for_each(|place| wheel.put(place, 1));
        let mut due = Vec::new();
        wheel.take_due(1, 4, &mut due);
        assert_eq!(due, [0, 1, 2, 3]);
        wheel.take_due(1, 100, &mut due);
        assert_eq!(due, (0..10).collect::<Vec<_>>());
    }

    #[test]
    fn what_is_put_into_the_past_is_due_at_once() {
        let mut wheel = Wheel::default();
        wheel.put(0, 10);
        assert_eq!(take(&mut wheel, 20), [0]);
        wheel.put(1, 3);
        assert_eq!(take(&mut wheel, 20).len() + take(&mut wheel, 21).len(), 1);
    }

    #[test]
    fn whoever_is_moved_a_lot_takes_no_more_room() {
        let mut wheel = Wheel::default();
        (0..100_000).for_each(|step| wheel.put(0, 1 + step * 7 % BUCKETS as u64));
        assert!(wheel.entries <= 2 * BUCKETS, "{}", wheel.entries);
        let last = 1 + 99_999 * 7 % BUCKETS as u64;
        assert_eq!(wheel.next_due(), Some(last));
        assert_eq!(take(&mut wheel, BUCKETS as u64), [0]);
    }

    #[derive(Debug, Clone)]
    enum Step {
        Put(u32, u64),
        Remove(u32),
        Pass(u64),
    }

    fn any_step() -> impl Strategy<Value = Step> {
        let far = BUCKETS as u64 * 3;
        prop_oneof![
            4 => (0..50_u32, 0..far).prop_map(|(place, in_ticks)| Step::Put(place, in_ticks)),
            1 => (0..50_u32).prop_map(Step::Remove),
            3 => (0..200_u64).prop_map(Step::Pass),
            1 => (0..far).prop_map(Step::Pass),
        ]
    }

    proptest! {
        #[test]
        fn as_a_sorted_map_does(steps in proptest::collection::vec(any_step(), 1..200)) {
            let (mut wheel, mut map, mut now) = (Wheel::default(), BTreeMap::new(), 0_u64);
            for step in steps {
                match step {
                    Step::Put(place, in_ticks) => {
                        wheel.put(place, now + 1 + in_ticks);
                        map.insert(place, now + 1 + in_ticks);
                    }
                    Step::Remove(place) => prop_assert_eq!(wheel.remove(place), map.remove(&place).is_some()),
                    Step::Pass(ticks) => {
                        now += ticks;
                        let mut due = take(&mut wheel, now);
                        due.sort_unstable();
                        let expected: Vec<u32> = map.iter().filter(|(_, at)| **at <= now).map(|(p, _)| *p).collect();
                        prop_assert_eq!(due, expected);
                        map.retain(|_, at| *at > now);
                    }
                }
                prop_assert_eq!(wheel.len(), map.len());
                if let Some(next) = wheel.next_due() {
                    prop_assert!(next <= *map.values().min().unwrap());
                }
            }
        }
    }
}
