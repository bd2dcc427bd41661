//! When the next check of an instance is due. Pure.

use crate::policy::Policy;
use crate::{Moment, nanos};
use extman_model::{Health, Judgement};
use std::time::Duration;

/// Time from one check to the next, without jitter: the interval at which results are due. `down_for`: checks since its checks alone have it
/// down; `quiet_for`: how long ago a call was made.
pub fn usual(policy: &Policy, judged: Judgement, down_for: Option<u8>, quiet_for: Duration) -> Duration {
    let interval = policy.interval.max(INTERVAL_MIN);
    if judged.flags.soft {
        return policy.recheck.max(INTERVAL_MIN).min(interval);
    }
    match (judged.health, down_for) {
        // Who answers its checks is not spared by fewer of them, and its calls are looked at when it is asked.
        (Health::Down, Some(down_for)) => {
            let (first, most) = policy.down_backoff;
            let doubled = 1_u32.checked_shl(u32::from(down_for)).unwrap_or(u32::MAX);
            first.saturating_mul(doubled).min(most).max(INTERVAL_MIN)
        }
        (Health::Up, _) if quiet_for >= policy.idle_after && !judged.flags.flapping => {
            policy.idle_interval.max(interval)
        }
        _ => interval,
    }
}

/// A first check comes within this time, spread by phase.
const FIRST_WITHIN: Duration = Duration::from_millis(500);

/// When the first check of an instance is due that begins to run now.
pub fn first(now: Moment, seed: u64, policy: &Policy) -> Moment {
    let first = now.after(phase(seed, policy.interval.min(FIRST_WITHIN)));
    coalesced(first, policy.interval).max(now)
}

/// When the next check is due of an instance whose last one was due at `from`, and that is checked each `interval`.
#[inline]
pub fn next_due(
    policy: &Policy,
    interval: Duration,
    (seed, cycle): (u64, u32),
    from: Moment,
    now: Moment,
) -> Moment {
    let step = jittered(policy, interval, seed, cycle);
    let mut due = from.after(step);
    if due <= now {
        // Some were missed: the next one that is not.
        let step = nanos(step).max(1);
        let steps = (now.nanos_since(from) / step).saturating_add(1);
        due = from.after(Duration::from_nanos(step.saturating_mul(steps)));
    }
    let coalesced = coalesced(due, interval);
    if coalesced > now { coalesced } else { due }
}

/// However it is configured, nothing is asked more often.
pub const INTERVAL_MIN: Duration = Duration::from_millis(10);

/// A number for an instance that stays the same from run to run: FNV-1a (Fowler, Noll and Vo), finished by SplitMix64.
pub fn seed(name: &str) -> u64 {
    let hash = name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    mix(hash)
}

/// Where in its interval an instance is asked first, so that many of them don't come at once.
fn phase(seed: u64, interval: Duration) -> Duration {
    Duration::from_nanos(share(seed, nanos(interval)))
}

/// The interval of this cycle: moved by at most the jitter, to either side, by chance that the seed decides.
#[inline]
fn jittered(policy: &Policy, interval: Duration, seed: u64, cycle: u32) -> Duration {
    let whole = nanos(interval);
    let reach = whole / 1000 * u64::from(policy.jitter_permille.min(500));
    let chance = mix(seed ^ u64::from(cycle).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    Duration::from_nanos((whole - reach).saturating_add(share(chance, 2 * reach)))
}

/// The moment nearest to `moment` at which anybody of this interval is asked. To be woken costs as much as many checks, so those who
/// are due at about the same time are asked together: there are such moments each 100 ms for intervals of ten seconds or more, each 50 ms
/// for those of a second or more, which is half of what the usual jitter moves the shortest of them, and for others each 10 ms.
#[inline]
fn coalesced(moment: Moment, interval: Duration) -> Moment {
    const FINE: u64 = nanos(INTERVAL_MIN);
    let nanos = moment.as_nanos();
    // Each divides by a constant, which is not a division.
    Moment::from_nanos(if interval >= Duration::from_secs(10) {
        nearest::<COALESCED>(nanos)
    } else if interval >= Duration::from_secs(1) {
        nearest::<{ COALESCED / 2 }>(nanos)
    } else {
        nearest::<FINE>(nanos)
    })
}

/// Moments at which instances of any interval are asked are this far apart, in nanoseconds.
pub const COALESCED: u64 = 100_000_000;

#[inline]
fn nearest<const GRAIN: u64>(nanos: u64) -> u64 {
    nanos.saturating_add(GRAIN / 2) / GRAIN * GRAIN
}

/// A part of a whole: a 64-bit number as a fraction of 2⁶⁴.
#[inline]
fn share(number: u64, whole: u64) -> u64 {
    ((u128::from(number) * u128::from(whole)) >> 64) as u64
}

/// SplitMix64's finisher (Steele, Lea and Flood, 2014).
#[inline]
fn mix(mut z: u64) -> u64 {
    z = z.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use extman_model::{Cause, HealthFlags};
    use proptest::prelude::*;

    fn judged(health: Health, soft: bool, flapping: bool) -> Judgement {
        let flags = HealthFlags {
            soft,
            flapping,
            ..HealthFlags::default()
        };
        Judgement {
            health,
            cause: Cause::Answers,
            flags,
        }
    }

    #[test]
    fn intervals_follow_the_verdict() {
        let policy = Policy::default();
        let at = |judged, down_for, quiet_for| usual(&policy, judged, down_for, quiet_for).as_secs();
        let (up, now) = (judged(Health::Up, false, false), Duration::ZERO);
        assert_eq!(at(up, None, now), 10);
        assert_eq!(at(judged(Health::Up, true, false), None, now), 2);
        assert_eq!(at(up, None, Duration::from_secs(600)), 60);
        assert_eq!(at(judged(Health::Up, false, true), None, Duration::MAX), 10);
        assert_eq!(
            at(judged(Health::Degraded, false, false), None, Duration::MAX),
            10
        );
        let down = judged(Health::Down, false, false);
        assert_eq!(at(down, None, now), 10, "by its calls");
        for (down_for, seconds) in [
            (0, 5),
            (1, 10),
            (2, 20),
            (3, 40),
            (4, 60),
            (31, 60),
            (32, 60),
            (255, 60),
        ] {
            assert_eq!(at(down, Some(down_for), now), seconds, "{down_for}");
        }
    }

    #[test]
    fn a_recheck_never_slows_and_nothing_is_asked_without_pause() {
        let quick = Policy {
            interval: Duration::from_millis(500),
            ..Policy::default()
        };
        let soft = judged(Health::Up, true, false);
        assert_eq!(
            usual(&quick, soft, None, Duration::ZERO),
            Duration::from_millis(500)
        );
        let mad = Policy {
            interval: Duration::ZERO,
            recheck: Duration::ZERO,
            down_backoff: (Duration::ZERO, Duration::ZERO),
            ..Policy::default()
        };
        let well = judged(Health::Up, false, false);
        for (judged, down_for) in [
            (well, None),
            (soft, None),
            (judged(Health::Down, false, false), Some(0)),
        ] {
            assert_eq!(usual(&mad, judged, down_for, Duration::ZERO), INTERVAL_MIN);
        }
    }

    #[test]
    fn phases_are_spread_evenly() {
        let mut tenths = [0; 10];
        for number in 0..10_000 {
            let phase = phase(seed(&format!("plugin-{number}")), Duration::from_secs(10));
            tenths[phase.as_secs() as usize] += 1;
        }
        assert!(tenths.iter().all(|n| (900..1100).contains(n)), "{tenths:?}");
    }

    proptest! {
        #[test]
        fn jitter_stays_within_its_reach(name: String, cycle: u32, ms in 10..10_000_000_u64, permille: u16) {
            let policy = Policy { jitter_permille: permille, ..Policy::default() };
            let whole = Duration::from_millis(ms);
            let reach = whole * u32::from(permille.min(500)) / 1000;
            let moved = jittered(&policy, whole, seed(&name), cycle);
            prop_assert!(moved >= whole - reach && moved <= whole + reach);
        }
    }

    #[test]
    fn those_who_are_due_at_about_the_same_time_are_asked_together() {
        let ms = |ms: u64| Moment::from_nanos(ms * 1_000_000);
        let second = Duration::from_secs(1);
        let at = |moment| coalesced(ms(moment), second).as_nanos() / 1_000_000;
        assert_eq!(
            [0, 24, 25, 50, 74, 75, 10_024].map(at),
            [0, 0, 50, 50, 50, 100, 10_000]
        );
        let seldom = |moment| coalesced(ms(moment), 10 * second).as_nanos() / 1_000_000;
        assert_eq!(
            [0, 49, 50, 149, 150, 10_024].map(seldom),
            [0, 0, 100, 100, 200, 10_000]
        );
        let often = |moment| coalesced(ms(moment), second / 2).as_nanos() / 1_000_000;
        assert_eq!([0, 4, 5, 14, 15].map(often), [0, 0, 10, 10, 20]);
        assert!(coalesced(Moment::from_nanos(u64::MAX), second) > ms(1));
        assert_eq!(COALESCED % nanos(INTERVAL_MIN), 0);
    }

    #[test]
    fn jitter_differs_from_cycle_to_cycle() {
        let moved: std::collections::BTreeSet<_> = (0..100)
            .map(|cycle| jittered(&Policy::default(), Duration::from_secs(10), seed("a"), cycle))
            .collect();
        assert!(moved.len() > 90);
    }
}
