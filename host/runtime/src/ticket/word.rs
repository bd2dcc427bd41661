//! How far a call has come, and whether its caller still waits: the word that both share.
//!
//! Each step adds one mark, and what was there before tells who acts: of an opening and a giving up that meet, the later one cancels.

use crate::sync::atomic::{AtomicU32, AtomicU64, Ordering::*};

/// A call on its way through a lane.
#[derive(Debug, Default)]
pub(super) struct CallWord {
    marks: AtomicU32,
    /// Written before `OPEN`.
    token: AtomicU64,
}

/// The caller has given a call up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum GivenUp {
    /// It has not begun, and will not.
    NotBegun,
    /// It has begun. There is nothing to cancel, or whoever opens it cancels it.
    Begun,
    /// It is under way under this token, and the caller has to cancel it.
    Open(u64),
}

const BEGUN: u32 = 1;
const OPEN: u32 = 2;
const OVER: u32 = 4;
const GIVEN_UP: u32 = 8;

impl CallWord {
    /// A lane has taken it. `false` if it is not to run any more.
    pub(super) fn begin(&self) -> bool {
        self.marks.fetch_or(BEGUN, AcqRel) & GIVEN_UP == 0
    }

    /// It is under way under a token. `true` if it was given up before: then whoever opened it has to cancel it.
    pub(super) fn open(&self, token: u64) -> bool {
        self.token.store(token, Relaxed);
        self.marks.fetch_or(OPEN, AcqRel) & GIVEN_UP != 0
    }

    /// The lane is done with it.
    pub(super) fn end(&self) {
        self.marks.fetch_or(OVER, AcqRel);
    }

    /// The caller goes away, once.
    pub(super) fn give_up(&self) -> GivenUp {
        let before = self.marks.fetch_or(GIVEN_UP, AcqRel);
        if before & BEGUN == 0 {
            GivenUp::NotBegun
        } else if before & (OPEN | OVER) == OPEN {
            GivenUp::Open(self.token.load(Relaxed))
        } else {
            GivenUp::Begun
        }
    }
}
