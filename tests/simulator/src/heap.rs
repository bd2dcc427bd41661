//! A plugin's heap against the most that it means to use: how it swings while all is well, climbs before a fault and is released. Pure.
//!
//! ```text
//!   1000 ‰                     ______
//!    900 ‰ ─ ─ ─ ─ ─ ─ ─ ─ ─ /─ ─ ─ \\─ ─ ─ ─ ─ ─ near from here on
//!    800 ‰ ─ ─ ─ ─ ─ ─ ─ ─ /─ ─ ─ ─ ─\\____ ─ ─ ─ no more from here on
//!          ______________/                 \\____
//!                        climbs │ fault      │ released
//! ```

use super::fault::{Fault, Kind};
use super::random::Chance;
use super::{MINUTE, Time};

/// The most that it means to use, in bytes.
const LIMIT: u64 = 1 << 30;
/// It climbs for so long before it is near its limit.
const CLIMB: Time = 20 * MINUTE;
/// After a figure that is near the limit for no reason, the next comes no sooner: these are single figures.
const SPIKES_APART: Time = 3 * MINUTE;

/// One plugin's heap.
#[derive(Debug, Clone)]
pub struct Heap {
    /// Thousandths of the limit, and how far it swings.
    usual: f64,
    swing: f64,
    /// How likely one figure is near the limit for no reason.
    spike: f64,
    not_before: Time,
    /// Whether this generation has told of it.
    told: bool,
}

impl Heap {
    /// Any plugin's: most have room, some swing between the two bounds all the time.
    pub fn any(chance: &mut Chance) -> Self {
        if chance.happens(0.2) {
            return Heap {
                swing: 20.0,
                ..Heap::steady(chance.between(825.0, 875.0))
            };
        }
        Heap {
            swing: chance.between(0.0, 30.0),
            spike: chance.log_between(1e-5, 1e-3),
            ..Heap::steady(chance.between(100.0, 750.0))
        }
    }

    /// One that does not swing.
    pub fn steady(usual: f64) -> Self {
        Heap {
            usual,
            swing: 0.0,
            spike: 0.0,
            not_before: 0,
            told: false,
        }
    }

    /// Whether it is far from its limit again when it is released.
    pub fn has_room(&self) -> bool {
        self.usual + self.swing < 790.0
    }

    /// Another generation begins.
    pub fn begins(&mut self) {
        self.told = false;
    }

    /// In use and the most, in bytes. `next` is the fault that is at work or comes next.
    pub fn figure(&mut self, now: Time, next: Option<&Fault>, chance: &mut Chance) -> (u64, u64) {
        if !std::mem::replace(&mut self.told, true) {
            // The first figure of a generation decides alone, and is none of the odd ones.
            self.not_before = now + SPIKES_APART;
        }
        let permille = match next.filter(|fault| fault.kind == Kind::HeapNear) {
            Some(fault) if fault.is_on(now) => near(now, fault),
            Some(fault) if now + CLIMB > fault.from && now < fault.from => {
                let left = (fault.from - now) as f64 / CLIMB as f64;
                899.0 - (899.0 - self.usual).max(0.0) * left
            }
            _ if chance.happens(self.spike) && now >= self.not_before => {
                self.not_before = now + SPIKES_APART;
                950.0
            }
            _ => self.usual + self.swing * (2.0 * chance.unit() - 1.0),
        };
        ((LIMIT as f64 * permille / 1000.0) as u64, LIMIT)
    }
}

/// Above the upper bound at first, then between the two: a part was released, too little to be well again.
fn near(now: Time, fault: &Fault) -> f64 {
    if now >= fault.shows_until() {
        return 850.0;
    }
    let share = (now - fault.from) as f64 / (fault.shows_until() - fault.from) as f64;
    901.0 + 120.0 * share
}
