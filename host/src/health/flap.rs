//! Whether an instance changes too often to be believed. Pure.
//!
//! The last 21 states give 20 possible changes; each that happened counts with a weight that rises from 0.8 for the oldest to 1.2
//! for the newest, as in the Nagios monitoring system ("Detection and Handling of State Flapping", Nagios Core documentation).

use crate::model::Health;

const STATES: u32 = 21;
/// From this share of changes on it flaps, in thousandths.
const IN_PERMILLE: u16 = 300;
/// Below this share it no longer does.
const OUT_PERMILLE: u16 = 250;

/// The last 21 states in 16 bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Flap {
    /// Two bits each, the newest lowest.
    states: u64,
    known: u8,
    flapping: bool,
    permille: u16,
}

impl Flap {
    /// One more state. Unknown ones are none of its business.
    pub fn push(&mut self, health: Health) -> bool {
        let bits = match health {
            Health::Up => 0,
            Health::Degraded => 1,
            Health::Down => 2,
            Health::Unknown => return self.flapping,
        };
        self.states = ((self.states << 2) | bits) & ((1 << (2 * STATES)) - 1);
        self.known = (self.known + 1).min(STATES as u8);
        self.permille = self.share();
        self.flapping = self.permille >= if self.flapping { OUT_PERMILLE } else { IN_PERMILLE };
        self.flapping
    }

    /// Whether it flaps.
    pub fn is_flapping(&self) -> bool {
        self.flapping
    }

    /// The weighted share of changes, in thousandths. Until 21 states are known, those that are missing count as unchanged.
    pub fn permille(&self) -> u16 {
        self.permille
    }

    fn share(&self) -> u16 {
        let changes = u32::from(self.known).saturating_sub(1);
        let state = |age: u32| (self.states >> (2 * age)) & 3;
        // In units of 1/19 000: weight = 1.2 − 0.4 · age / 19, and 20 of weight 1 are the whole.
        let weighted: u32 = (0..changes)
            .filter(|age| state(*age) != state(age + 1))
            .map(|age| 22_800 - 400 * age)
            .sum();
        (weighted / (19 * 20)) as u16
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(states: impl IntoIterator<Item = Health>) -> Flap {
        let mut flap = Flap::default();
        states.into_iter().for_each(|health| {
            flap.push(health);
        });
        flap
    }

    #[test]
    fn sixteen_bytes() {
        assert!(size_of::<Flap>() <= 16);
    }

    #[test]
    fn all_changes_are_all() {
        let alternating = (0..40).map(|i| if i % 2 == 0 { Health::Up } else { Health::Down });
        assert_eq!(after(alternating).permille(), 1000);
        assert_eq!(after([Health::Up; 40]).permille(), 0);
    }

    #[test]
    fn the_newest_change_counts_most() {
        let newest = after([Health::Up; 20].into_iter().chain([Health::Down]));
        let oldest = after([Health::Up].into_iter().chain([Health::Down; 20]));
        // 1.2 / 20 and 0.8 / 20.
        assert_eq!((newest.permille(), oldest.permille()), (60, 40));
    }

    #[test]
    fn in_at_thirty_out_at_twenty_five() {
        let mut flap = after([Health::Up; 21]);
        let mut changes = 0;
        while !flap.push(if changes % 2 == 0 {
            Health::Down
        } else {
            Health::Up
        }) {
            changes += 1;
        }
        assert!(flap.permille() >= 300);
        let mut calm = 0;
        while flap.push(Health::Up) {
            calm += 1;
            assert!(flap.permille() >= 250 && calm < 40);
        }
        assert!(flap.permille() < 250);
    }
}
