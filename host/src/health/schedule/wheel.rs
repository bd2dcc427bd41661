//! Who is due: a wheel of buckets, one a tick (Varghese and Lauck 1987, scheme 6). Pure: it is told what time it is.
//!
//! Putting, moving and taking out cost the same however many there are; what is due comes in the order of ticks, and within a
//! tick in the order of places, which is the order in memory. What is due later than one turn of the wheel waits in its bucket.

/// Number of ticks since the wheel's own zero.
pub type Tick = u64;

/// One turn of the wheel.
const BUCKETS: usize = 8192;
const NONE: u32 = u32::MAX;

/// Places by the tick at which they are due.
#[derive(Debug)]
pub struct Wheel {
    heads: Box<[u32]>,
    entries: Vec<Entry>,
    /// All ticks before this one have been taken.
    next: Tick,
    len: usize,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    due: Tick,
    before: u32,
    after: u32,
    there: bool,
}

const ABSENT: Entry = Entry {
    due: 0,
    before: NONE,
    after: NONE,
    there: false,
};

impl Default for Wheel {
    fn default() -> Self {
        Wheel {
            heads: vec![NONE; BUCKETS].into(),
            entries: Vec::new(),
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
        let entry = self.entries.get(place as usize)?;
        entry.there.then_some(entry.due)
    }

    /// Has a place wait until `due`, wherever it was before. What is due in the past is due at once.
    pub fn put(&mut self, place: u32, due: Tick) {
        self.remove(place);
        if place as usize >= self.entries.len() {
            self.entries.resize(place as usize + 1, ABSENT);
        }
        let due = due.max(self.next);
        let head = &mut self.heads[due as usize % BUCKETS];
        let after = std::mem::replace(head, place);
        if after != NONE {
            self.entries[after as usize].before = place;
        }
        self.entries[place as usize] = Entry {
            due,
            before: NONE,
            after,
            there: true,
        };
        self.len += 1;
    }

    /// A place waits no longer. `false` if it did not.
    pub fn remove(&mut self, place: u32) -> bool {
        let Some(entry) = self.entries.get_mut(place as usize) else {
            return false;
        };
        if !entry.there {
            return false;
        }
        let Entry {
            due, before, after, ..
        } = std::mem::replace(entry, ABSENT);
        match before {
            NONE => self.heads[due as usize % BUCKETS] = after,
            before => self.entries[before as usize].after = after,
        }
        if after != NONE {
            self.entries[after as usize].before = before;
        }
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
            let mut at = self.heads[self.next as usize % BUCKETS];
            while at != NONE {
                let entry = self.entries[at as usize];
                if entry.due <= self.next {
                    due.push(at);
                }
                at = entry.after;
            }
            due[from..].sort_unstable();
            if due.len() > full {
                due.truncate(full);
                for place in &due[from..] {
                    self.remove(*place);
                }
                return;
            }
            for place in &due[from..] {
                self.remove(*place);
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
            let mut at = self.heads[*tick as usize % BUCKETS];
            while at != NONE {
                let entry = &self.entries[at as usize];
                if entry.due <= *tick {
                    return true;
                }
                at = entry.after;
            }
            false
        };
        let end = turn.end;
        Some(turn.into_iter().find(is_due).unwrap_or(end))
    }

    /// Moves on to `now` without a look at each tick between: everybody who was due by then is due at it.
    fn skip(&mut self, now: Tick) {
        let places = 0..self.entries.len() as u32;
        let mut late: Vec<u32> = places
            .filter(|place| self.due(*place).is_some_and(|due| due <= now))
            .collect();
        late.sort_by_key(|place| std::cmp::Reverse(self.entries[*place as usize].due));
        self.next = now;
        for place in late {
            self.put(place, now);
        }
    }
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
