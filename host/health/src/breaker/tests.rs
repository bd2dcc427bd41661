//! The breaker in words, and then all orders of what three callers, checks and time can do.

use super::*;
use std::collections::HashSet;

fn at(seconds: u64) -> Moment {
    Moment::from_nanos(1).after(Duration::from_secs(seconds))
}

fn admitted(breaker: &mut Breaker, now: Moment, policy: &BreakerPolicy) -> BreakerPermit {
    match breaker.admit(now, policy) {
        Admission::Admitted(permit) => permit,
        Admission::Refused { retry_at } => panic!("refused until {retry_at:?}"),
    }
}

/// A breaker, and how many calls there were.
struct Called {
    breaker: Breaker,
    calls: u64,
}

impl Called {
    fn new(seed: u64) -> Self {
        let breaker = Breaker::new(seed);
        Called { breaker, calls: 0 }
    }

    fn call(&mut self, end: CallEnd, now: Moment) {
        let policy = BreakerPolicy::default();
        let permit = admitted(&mut self.breaker, now, &policy);
        self.calls += 1;
        // As a host does: of a good call it hears only where it has lent a permit.
        if end != CallEnd::Well || permit.is_lease() {
            self.breaker.ended(permit, end, self.calls, now, &policy);
        }
    }

    fn is_closed(&self) -> bool {
        self.breaker.is_closed()
    }
}

fn open_for(breaker: &mut Breaker, now: Moment) -> Option<Duration> {
    match breaker.admit(now, &BreakerPolicy::default()) {
        Admission::Refused { retry_at } => Some(retry_at.since(now)),
        Admission::Admitted(_) => None,
    }
}

#[test]
fn half_failed_or_four_fifths_slow_open_it_and_not_before_the_minimum() {
    use CallEnd::{Failed, Slow, Well};
    for (ends, opens) in [
        (&[Failed, Failed, Failed, Failed][..], false),
        (&[Failed, Failed, Well, Well, Failed], true),
        (&[Failed, Failed, Well, Well, Well], false),
        (&[Slow, Slow, Slow, Well, Slow], true),
        (&[Slow, Slow, Well, Well, Slow], false),
    ] {
        let mut called = Called::new(1);
        ends.iter().for_each(|end| called.call(*end, at(1)));
        assert_eq!(!called.is_closed(), opens, "{ends:?}");
    }
    // What is older than the window, or than its calls, counts no longer.
    let mut called = Called::new(1);
    for _ in 0..4 {
        called.call(Failed, at(1));
    }
    called.call(Failed, at(61));
    assert!(called.is_closed());
    let mut called = Called::new(1);
    for end in [[Well; 1000], [Failed; 1000]].concat() {
        if called.is_closed() {
            called.call(end, at(1));
        }
    }
    assert_eq!(called.calls, 1010, "ten of the latest twenty failed");
}

#[test]
fn breaker_that_is_tripped_opens_once_and_closes_by_its_calls() {
    let (mut called, policy) = (Called::new(1), BreakerPolicy::default());
    called.breaker.trip(at(1), &policy);
    let open = open_for(&mut called.breaker, at(1)).unwrap();
    called.breaker.trip(at(2), &policy);
    assert_eq!(
        called.breaker.open_until(),
        Some(at(1).after(open)),
        "it is open already"
    );
    let now = at(1).after(open);
    for _ in 0..3 {
        called.call(CallEnd::Well, now);
    }
    assert!(called.is_closed() && called.breaker.closed_epoch().is_some());
}

#[test]
fn failures_that_both_counted_each_other_are_two() {
    let (mut breaker, policy) = (Breaker::new(1), BreakerPolicy::default());
    let permit = admitted(&mut breaker, at(1), &policy);
    for calls in [2, 2, 4, 4] {
        assert!(breaker.is_closed(), "four calls are too few");
        breaker.ended(permit, CallEnd::Failed, calls, at(1), &policy);
    }
    assert!(!breaker.is_closed(), "the last one is the fifth");
}

#[test]
fn it_opens_for_longer_each_time_up_to_the_greatest_and_anew_after_it_was_closed() {
    let (mut called, mut now) = (Called::new(1), at(1));
    for _ in 0..5 {
        called.call(CallEnd::Failed, now);
    }
    for whole in [5, 10, 20, 40, 60, 60] {
        let open = open_for(&mut called.breaker, now).unwrap();
        let whole = Duration::from_secs(whole);
        assert!(open <= whole && open >= whole * 3 / 4, "{open:?} of {whole:?}");
        now = now.after(open);
        called.call(CallEnd::Failed, now);
    }
    now = now.after(open_for(&mut called.breaker, now).unwrap());
    for _ in 0..3 {
        assert!(!called.is_closed());
        called.call(CallEnd::Well, now);
    }
    assert!(called.is_closed());
    for _ in 0..5 {
        called.call(CallEnd::Failed, now);
    }
    assert!(open_for(&mut called.breaker, now).unwrap() <= Duration::from_secs(5));
    let mut other = Called::new(2);
    for _ in 0..5 {
        other.call(CallEnd::Failed, now);
    }
    assert_ne!(
        open_for(&mut other.breaker, now),
        open_for(&mut called.breaker, now)
    );
}

#[test]
fn good_check_has_calls_tried_and_closes_nothing() {
    let mut called = Called::new(1);
    called.breaker.check_was_good();
    assert!(called.is_closed());
    for _ in 0..5 {
        called.call(CallEnd::Failed, at(1));
    }
    let mut breaker = called.breaker;
    breaker.check_was_good();
    assert!(!breaker.is_closed());
    let policy = BreakerPolicy::default();
    let permits: Vec<BreakerPermit> = (0..3).map(|_| admitted(&mut breaker, at(1), &policy)).collect();
    let lease_ends = Admission::Refused { retry_at: at(31) };
    assert_eq!(breaker.admit(at(1), &policy), lease_ends);
    breaker.give_back(permits[0], at(2));
    admitted(&mut breaker, at(2), &policy);
    // The second of the first three never comes back.
    assert!(open_for(&mut breaker, at(31)).is_some());
    breaker.ended(permits[2], CallEnd::Well, 6, at(32), &policy);
    assert!(
        open_for(&mut breaker, at(32)).is_some(),
        "that call was of before"
    );
}

// All orders.

const CALLERS: usize = 3;
/// The moment that all states are moved to, in ticks of a second.
const NOW: u64 = 1_000;
/// The number of calls that they are moved to.
const CALLS: u64 = 1_000;

fn small() -> BreakerPolicy {
    BreakerPolicy {
        window_calls: 3,
        window: Duration::from_secs(3),
        calls_min: 2,
        permits: 2,
        open_first: Duration::from_secs(2),
        open_max: Duration::from_secs(4),
        lease: Duration::from_secs(2),
        ..BreakerPolicy::default()
    }
}

/// Epochs: the one that is, and any before.
const THIS_ONE: NonZeroU64 = NonZeroU64::new(2).unwrap();
const BEFORE: NonZeroU64 = NonZeroU64::MIN;

/// The breaker, and what each caller holds.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct World {
    breaker: Breaker,
    callers: [Option<BreakerPermit>; CALLERS],
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Move {
    Begin(usize),
    End(usize, CallEnd),
    GiveBack(usize),
    Check,
    Trip,
    Tick,
}

impl World {
    fn moves(&self) -> Vec<Move> {
        let mut moves = vec![Move::Check, Move::Trip, Move::Tick];
        for (caller, permit) in self.callers.iter().enumerate() {
            match permit {
                None => moves.push(Move::Begin(caller)),
                Some(_) => {
                    use CallEnd::{Failed, Slow, Well};
                    moves.extend([Well, Slow, Failed].map(|end| Move::End(caller, end)));
                    moves.push(Move::GiveBack(caller));
                }
            }
        }
        moves
    }

    fn next(&self, chosen: Move) -> World {
        let (mut world, policy) = (self.clone(), small());
        match chosen {
            Move::Begin(caller) => {
                if let Admission::Admitted(permit) = world.breaker.admit(at(NOW), &policy) {
                    world.callers[caller] = Some(permit);
                }
            }
            Move::End(caller, end) => {
                let permit = world.callers[caller].take().unwrap();
                world.count();
                // As a host does: of a good call it hears only where it has lent a permit.
                if end != CallEnd::Well || permit.is_lease() {
                    world.breaker.ended(permit, end, CALLS, at(NOW), &policy);
                }
            }
            Move::GiveBack(caller) => {
                let permit = world.callers[caller].take().unwrap();
                world.breaker.give_back(permit, at(NOW));
            }
            Move::Check => world.breaker.check_was_good(),
            Move::Trip => world.breaker.trip(at(NOW), &policy),
            Move::Tick => world.shift(),
        }
        world.normalise();
        world
    }

    /// A second passes: all moments lie a second further back.
    fn shift(&mut self) {
        const SECOND: u64 = 1_000_000_000;
        let back = |moment: &mut Moment| *moment = Moment::from_nanos(moment.as_nanos() - SECOND);
        match &mut self.breaker.state {
            State::Closed { bad, .. } => {
                bad.iter_mut().for_each(|call| back(&mut call.ended));
                // What left the window is looked at no more.
                bad.retain(|call| at(NOW).since(call.ended) < small().window);
            }
            State::Open { until } => back(until),
            State::HalfOpen { leases, .. } => leases.iter_mut().for_each(|(_, end)| back(end)),
        }
    }

    /// A call ends: all others lie a call further back.
    fn count(&mut self) {
        if let State::Closed { since, bad } = &mut self.breaker.state {
            bad.iter_mut().for_each(|call| call.number -= 1);
            *since -= 1;
        }
    }

    /// Numbers that only count up are made small, so that states that behave alike are alike. Moments of the past lie one tick back.
    fn normalise(&mut self) {
        let past = at(NOW - 1);
        match &mut self.breaker.state {
            State::Open { until } => *until = (*until).max(past),
            State::HalfOpen { leases, lent, .. } => {
                leases.iter_mut().for_each(|(_, end)| *end = (*end).max(past));
                for (number, lease) in (1..).zip(leases.iter_mut()) {
                    let before = std::mem::replace(&mut lease.0, number);
                    for permit in self.callers.iter_mut().flatten() {
                        if permit.epoch == self.breaker.epoch && permit.lease == Some(before) {
                            permit.lease = Some(number);
                        }
                    }
                }
                *lent = leases.len() as u64;
            }
            State::Closed { since, bad } => {
                let window = small().window_calls as u64;
                bad.retain(|call| CALLS - call.number < window);
                *since = (*since).max(CALLS - window);
            }
        }
        for permit in self.callers.iter_mut().flatten() {
            if permit.epoch == self.breaker.epoch {
                permit.epoch = THIS_ONE;
            } else {
                *permit = BreakerPermit::closed(BEFORE);
            }
        }
        self.breaker.epoch = THIS_ONE;
        self.breaker.opened = self.breaker.opened.min(3);
    }

    fn leased(&self) -> usize {
        let holders = self.callers.iter().flatten();
        holders
            .filter(|permit| permit.epoch == THIS_ONE && permit.is_lease())
            .count()
    }
}

fn explored() -> HashSet<World> {
    let mut breaker = Breaker::new(1);
    if let State::Closed { since, .. } = &mut breaker.state {
        *since = CALLS;
    }
    let mut start = World {
        breaker,
        callers: [None; CALLERS],
    };
    start.normalise();
    let mut seen = HashSet::from([start.clone()]);
    let mut open = vec![start];
    while let Some(world) = open.pop() {
        for chosen in world.moves() {
            let next = world.next(chosen);
            holds(&world, chosen, &next);
            if seen.insert(next.clone()) {
                open.push(next);
            }
        }
    }
    seen
}

fn holds(world: &World, chosen: Move, next: &World) {
    let says = || format!("{world:?}\n{chosen:?}\n{next:?}");
    assert!(next.leased() <= small().permits, "too many permits: {}", says());
    if let (State::Closed { since, .. }, State::Open { .. }) = (&world.breaker.state, &next.breaker.state) {
        let calls = CALLS - since + 1;
        assert!(
            chosen == Move::Trip || calls >= small().calls_min as u64,
            "before the minimum: {}",
            says()
        );
    }
    if !world.breaker.is_closed() && next.breaker.is_closed() {
        let by_a_call = matches!(chosen, Move::End(_, CallEnd::Well));
        assert!(by_a_call, "closed by no call: {}", says());
    }
}

#[test]
fn all_orders_of_three_callers_checks_and_time() {
    let all = explored();
    assert!(all.len() > 1_000, "{}", all.len());
    for world in &all {
        time_alone_lets_a_call_through(world);
        closes_once_the_cause_is_gone(world);
    }
}

/// Nobody gives anything back: a lease ends, it is open, that ends, and there is a permit again.
fn time_alone_lets_a_call_through(world: &World) {
    let mut waiting = world.clone();
    let policy = small();
    let longest = (policy.lease + policy.open_max).as_secs() + 1;
    for _ in 0..=longest {
        let (mut breaker, now) = (waiting.breaker.clone(), at(NOW));
        if matches!(breaker.admit(now, &policy), Admission::Admitted(_)) {
            return;
        }
        // Whoever asks has time looked at.
        waiting.breaker = breaker;
        waiting = waiting.next(Move::Tick);
    }
    panic!("no way out by time: {world:?}");
}

/// From here on every call is answered at once and well, and those under way are lost.
fn closes_once_the_cause_is_gone(world: &World) {
    let mut world = World {
        callers: [None; CALLERS],
        ..world.clone()
    };
    let policy = small();
    let begun = world.clone();
    for _ in 0..=(policy.lease + policy.open_max).as_secs() + 1 {
        for _ in 0..policy.permits {
            world = world.next(Move::Begin(0));
            if world.callers[0].is_some() {
                world = world.next(Move::End(0, CallEnd::Well));
            }
        }
        if world.breaker.is_closed() {
            return;
        }
        world = world.next(Move::Tick);
    }
    panic!("it does not close: {begun:?}");
}
