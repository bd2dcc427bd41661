//! What an instance answers, and what that comes to. Plain data.

use crate::health::record::ResultWord;
use crate::model::Judgement;
use std::time::Duration;

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
