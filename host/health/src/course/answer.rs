//! What is put to an instance, what it answers, and what that comes to. Plain data.

use extman_model::Judgement;
use extman_model::record::ResultWord;
use std::time::Duration;

/// Calls so far, as somebody counts them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Calls {
    /// Calls whose caller was answered.
    pub ended: u64,
    /// Those of them that failed and count against the plugin.
    pub blamed: u64,
    /// Calls whose code came back.
    pub returned: u64,
}

/// What is to be done with an instance that is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Begin {
    /// It is to be asked, and to answer within this time.
    Ask {
        /// How long an answer may take.
        timeout: Duration,
        /// On a lane apart, since it was slow or failed last time.
        apart: bool,
    },
    /// It need not be asked: a call has come back since, and it has nothing to say besides.
    Seen,
    /// It has not answered the last time yet.
    StillAsked,
}

/// What came of asking.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answer {
    /// The generation that was asked.
    pub generation: u64,
    /// What it said, or why it did not.
    pub result: ResultWord,
    /// How long its code ran, if it came back.
    pub took: Option<Duration>,
    /// The host stood still meanwhile.
    pub host_late: bool,
}

/// What the end of a check came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ended {
    /// The result that counts; `None` if it counts for nothing or was counted before.
    pub counted: Option<ResultWord>,
    /// How it was judged before, if that is different now.
    pub changed: Option<Judgement>,
}

impl Ended {
    pub(super) const NOTHING: Ended = Ended {
        counted: None,
        changed: None,
    };
}
