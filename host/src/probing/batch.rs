//! A batch of due instances in the hands of a lane, as other threads see it: which of them the lane is in, since when, and whether the rest was
//! given to another lane.

use super::hot::LibraryNumber;
use super::lock;
use super::probe_loop::ProbeLoop;
use super::target::Target;
use extman_health::Moment;
use extman_model::clock;
use extman_runtime::instance::Asked;
use extman_runtime::lanes::{CheckBatch, Phase, Work};
use std::sync::atomic::{AtomicU64, Ordering::*};
use std::sync::{Arc, Weak};
use std::time::Duration;

/// Instances that a lane takes at a time.
pub(super) const GROUP: usize = 16;
/// A lane that stays in one of them for longer leaves the rest to another.
pub(super) const STAYS: Duration = Duration::from_millis(25);

/// The batches that one lane takes, one after the other.
pub(super) struct Batch {
    pub number: u64,
    pub library: LibraryNumber,
    /// For those that were slow or failed last time, one after the other.
    pub is_apart: bool,
    /// Of which library, for people.
    name: String,
    /// What the lane is in: when that began, which of the group it is, and whether the rest was taken over; 0 between groups.
    inside: AtomicU64,
    probes: Weak<ProbeLoop>,
}

const TAKEN_OVER: u64 = 1;
const AT_BITS: u32 = 5;
const _: () = assert!(GROUP <= 1 << (AT_BITS - 1));

/// What a lane is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Inside {
    pub at: usize,
    pub began: Moment,
    word: u64,
}

/// One that is to be asked.
pub(super) struct Asking {
    pub index: u32,
    pub asking: u32,
    pub target: Arc<dyn Target>,
    pub timeout: Duration,
}

/// One that was asked.
pub(super) struct Done {
    pub index: u32,
    pub asking: u32,
    pub began: Moment,
    pub timeout: Duration,
    pub asked: Asked,
    /// Let go of without the engine's lock: it may be the last that holds the instance.
    pub target: Arc<dyn Target>,
}

impl Batch {
    pub(super) fn new(
        number: u64,
        library: LibraryNumber,
        is_apart: bool,
        name: &str,
        probes: Weak<ProbeLoop>,
    ) -> Arc<Self> {
        Arc::new(Batch {
            number,
            library,
            is_apart,
            name: name.to_owned(),
            inside: AtomicU64::new(0),
            probes,
        })
    }

    /// On the lane: the code of the one at `at` begins. `false` if another lane has the rest.
    #[inline]
    pub(super) fn enter(&self, at: usize, began: Moment, before: &mut u64) -> bool {
        let word = began.as_nanos() << AT_BITS | (at as u64) << 1;
        let entered = self
            .inside
            .compare_exchange(*before, word, AcqRel, Relaxed)
            .is_ok();
        *before = word;
        entered
    }

    /// On the lane: it is in none.
    pub(super) fn leave(&self) {
        self.inside.store(0, Release);
    }

    /// What the lane is in.
    pub(super) fn inside(&self) -> Option<Inside> {
        let word = self.inside.load(Acquire);
        (word != 0).then(|| Inside {
            at: (word >> 1) as usize & (GROUP - 1),
            began: Moment::from_nanos(word >> AT_BITS),
            word: word & !TAKEN_OVER,
        })
    }

    /// The lane goes on to none after the one that it is in. `false` if it has gone on meanwhile.
    pub(super) fn take_over(&self, inside: Inside) -> bool {
        let taken = inside.word | TAKEN_OVER;
        self.inside
            .compare_exchange(inside.word, taken, AcqRel, Relaxed)
            .is_ok()
    }
}

impl CheckBatch for Batch {
    fn work(&self) -> Work {
        let (probes, inside) = (self.probes.upgrade(), self.inside());
        let known = probes
            .zip(inside)
            .and_then(|(probes, inside)| lock(&probes.scheduler).given(self, inside));
        known.unwrap_or_else(|| Work {
            subject: self.name.as_str().into(),
            generation: 0,
            phase: Phase::Check,
            capability: None,
            deadline: clock::monotonic(),
            wedge_after: Duration::ZERO,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lane_goes_on_to_the_next_unless_the_rest_was_taken_over_in_the_same_moment() {
        let batch = Batch::new(1, LibraryNumber::MIN, false, "library", Weak::new());
        let (mut before, at) = (0, |n: u64| Moment::from_nanos(1_000_000 + n));
        assert_eq!(batch.inside(), None);
        assert!(batch.enter(0, at(0), &mut before));
        let first = batch.inside().unwrap();
        assert_eq!((first.at, first.began), (0, at(0)));
        assert!(batch.enter(15, at(1), &mut before));
        assert!(!batch.take_over(first), "it has gone on");
        let second = batch.inside().unwrap();
        assert_eq!((second.at, second.began), (15, at(1)));
        assert!(batch.take_over(second));
        assert_eq!(batch.inside().map(|inside| inside.at), Some(15));
        assert!(!batch.enter(1, at(2), &mut before), "another lane has it");
        batch.leave();
        assert_eq!(batch.inside(), None);
        assert_eq!(&*batch.work().subject, "library");
    }
}
