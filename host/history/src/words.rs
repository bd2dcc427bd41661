//! States and results as what stands in the file. A code once used is never given another meaning.

use extman_model::record::{ResultWord, SpanState};
use extman_model::{Cause, ErrorKind, Health};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

/// A failure's code. Never change one; add at the end.
pub(super) fn error_code(kind: ErrorKind) -> u8 {
    match kind {
        ErrorKind::InvalidInput => 0,
        ErrorKind::Unavailable => 1,
        ErrorKind::RateLimited => 2,
        ErrorKind::Configuration => 3,
        ErrorKind::Internal => 4,
        ErrorKind::Cancelled => 5,
        ErrorKind::DeadlineExceeded => 6,
        ErrorKind::Unsupported => 7,
        ErrorKind::Exhausted => 8,
        ErrorKind::Panicked => 9,
        ErrorKind::NotFound => 10,
        ErrorKind::NotServing => 11,
        ErrorKind::AlreadyExists => 12,
        ErrorKind::FailedPrecondition => 13,
        ErrorKind::PermissionDenied => 14,
        ErrorKind::Unauthenticated => 15,
        ErrorKind::Aborted => 16,
        ErrorKind::DataLoss => 17,
    }
}

pub(super) fn error_kind(code: u64) -> Option<ErrorKind> {
    ErrorKind::ALL.get(usize::try_from(code).ok()?).copied()
}

/// Codes of results from here on are failures by kind.
const FAILED: u8 = 8;

/// A result's code, below 32.
pub(super) fn result_code(word: ResultWord) -> u8 {
    match word {
        ResultWord::Said(None) => 0,
        ResultWord::Said(Some(Health::Up)) => 1,
        ResultWord::Said(Some(Health::Degraded)) => 2,
        ResultWord::Said(Some(Health::Unknown)) => 3,
        ResultWord::Said(Some(Health::Down)) => 4,
        ResultWord::TimedOut => 5,
        ResultWord::Busy => 6,
        ResultWord::HostLate => 7,
        ResultWord::Failed(kind) => FAILED + error_code(kind),
    }
}

pub(super) fn result_word(code: u8) -> Option<ResultWord> {
    Some(match code {
        0 => ResultWord::Said(None),
        1 => ResultWord::Said(Some(Health::Up)),
        2 => ResultWord::Said(Some(Health::Degraded)),
        3 => ResultWord::Said(Some(Health::Unknown)),
        4 => ResultWord::Said(Some(Health::Down)),
        5 => ResultWord::TimedOut,
        6 => ResultWord::Busy,
        7 => ResultWord::HostLate,
        _ => ResultWord::Failed(error_kind(u64::from(code - FAILED))?),
    })
}

/// A state in the words of the API: whoever opens the file with another program can read it.
pub(super) type StateWords = (String, String, String, String, bool);

pub(super) fn words(state: &SpanState) -> StateWords {
    let cause = serde_json::to_value(state.cause).unwrap_or_default();
    let of = cause.get("of").and_then(Value::as_str).unwrap_or_default();
    (
        state.lifecycle.as_str().to_owned(),
        state.health.as_str().to_owned(),
        state.cause.code().to_owned(),
        of.to_owned(),
        state.left_out,
    )
}

/// `None` for words that this host does not know.
pub(super) fn state((lifecycle, health, cause, of, left_out): StateWords) -> Option<SpanState> {
    Some(SpanState {
        lifecycle: read(lifecycle)?,
        health: read(health)?,
        cause: cause_of(&cause, &of)?,
        left_out,
    })
}

/// `None` for words that this host does not know.
pub(super) fn cause_of(code: &str, of: &str) -> Option<Cause> {
    match of {
        "" => read(json!({"code": code})),
        of => read(json!({"code": code, "of": of})),
    }
}

fn read<T: DeserializeOwned>(value: impl Into<Value>) -> Option<T> {
    serde_json::from_value(value.into()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use extman_model::Lifecycle;

    #[test]
    fn codes_are_read_back() {
        for (code, kind) in ErrorKind::ALL.iter().enumerate() {
            assert_eq!(usize::from(error_code(*kind)), code);
        }
        let known = (0..=u8::MAX).filter_map(|code| Some((code, result_word(code)?)));
        let known: Vec<_> = known.collect();
        assert_eq!(known.len(), usize::from(FAILED) + ErrorKind::ALL.len());
        assert!(
            known
                .iter()
                .all(|(code, word)| result_code(*word) == *code && *code < 32)
        );
    }

    #[test]
    fn states_are_read_back() {
        for cause in [
            Cause::Answers,
            Cause::CheckFails(ErrorKind::RateLimited),
            Cause::Lifecycle(Lifecycle::Backoff),
            Cause::ChecksSucceedCallsFail,
            Cause::DeepFails(ErrorKind::Exhausted),
            Cause::DeepTimesOut,
            Cause::HostStarved,
        ] {
            let before = SpanState {
                lifecycle: Lifecycle::Running,
                health: Health::Degraded,
                cause,
                left_out: true,
            };
            assert_eq!(state(words(&before)), Some(before));
        }
    }
}
