//! The part of an instance that nearly every check touches, side by side in one array: its target, whether it is quiet, and its last answer.

use super::latencies::RecentLatencies;
use super::target::Target;
use extman_health::monitor::{Calls, Quiet};
use extman_health::policy::Policy;
use extman_model::Figures;
use std::hint::black_box;
use std::sync::Arc;

/// The part of an instance that checks change while it is quiet. Four cache lines.
#[repr(align(64))]
pub(super) struct Hot {
    pub quiet: Quiet,
    pub target: Option<Arc<dyn Target>>,
    pub policy: Arc<Policy>,
    /// Whose lanes it is asked on: a place in the list of libraries.
    pub library: Option<LibraryNumber>,
    /// The number of the last asking: an answer to an earlier one is nobody's.
    pub asking: u32,
    pub progress: Progress,
    /// Somebody waits for its next answer.
    pub is_awaited: bool,
    /// It was slow or failed last time, and is asked on a lane apart.
    pub is_suspect: bool,
    /// Least and most heap that quiet answers told of, until the minute's sums know; the least is more than the most while none did.
    pub heap: (u64, u64),
    pub recent: RecentLatencies,
    /// The last answer, if it was figures alone.
    pub last: Option<LastFigures>,
}

/// A library's place in the list of them, from 1.
pub(super) type LibraryNumber = std::num::NonZeroU32;

/// Nothing was told of a heap.
pub(super) const NO_HEAP: (u64, u64) = (u64::MAX, 0);

/// How far one check of an instance has come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Progress {
    /// It is not asked. By its due_state it is not due either.
    #[default]
    Idle,
    /// It is due, and waits for a lane. Only its due_state says that.
    Queued,
    /// A lane asks it, or is about to; its monitor does not know.
    Asked,
    /// A lane asks it, and its monitor knows.
    Begun,
}

/// An answer of figures alone.
#[derive(Debug, Clone, Copy)]
pub(super) struct LastFigures {
    pub figures: Option<Figures>,
    pub at_unix_ms: u64,
    pub took_ns: u64,
}

impl Hot {
    pub(super) fn new(policy: Arc<Policy>) -> Self {
        Hot {
            quiet: Quiet::not(),
            target: None,
            policy,
            library: None,
            asking: 0,
            progress: Progress::Idle,
            is_awaited: false,
            is_suspect: false,
            heap: NO_HEAP,
            recent: RecentLatencies::default(),
            last: None,
        }
    }

    pub(super) fn calls(&self) -> Calls {
        let target = self.target.as_ref();
        target.map_or_else(Calls::default, |target| target.calls())
    }

    /// What is asked of it now, or waits to be, is nobody's any more.
    pub(super) fn drop_asking(&mut self) {
        self.asking = self.asking.wrapping_add(1);
        self.progress = Progress::Idle;
    }

    /// A new asking, and its number.
    #[inline]
    pub(super) fn ask(&mut self, progress: Progress) -> u32 {
        self.asking = self.asking.wrapping_add(1);
        self.progress = progress;
        self.asking
    }

    /// Fetches its memory: one read a cache line, so that those of many are waited for together.
    #[inline]
    pub(super) fn warm(&self) {
        black_box((self.asking, self.quiet.due(), self.is_awaited));
        black_box((self.last.is_some(), self.heap));
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn four_cache_lines() {
        assert_eq!(size_of::<super::Hot>(), 256);
    }
}
