//! States and results as what stands in the file. A code once used is never given another meaning.

use extman_model::record::{ResultWord, SpanState};
use extman_model::{Cause, ErrorKind, Health};
use rusqlite::Row;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

pub(super) fn error_kind(code: u64) -> Option<ErrorKind> {
    ErrorKind::ALL.get(usize::try_from(code).ok()?).copied()
}

/// Results by their codes. Never change one.
const RESULTS: [ResultWord; 8] = [
    ResultWord::Said(None),
    ResultWord::Said(Some(Health::Up)),
    ResultWord::Said(Some(Health::Degraded)),
    ResultWord::Said(Some(Health::Unknown)),
    ResultWord::Said(Some(Health::Down)),
    ResultWord::TimedOut,
    ResultWord::Busy,
    ResultWord::HostLate,
];
/// Codes of results from here on are failures by kind.
const FAILED: u8 = RESULTS.len() as u8;

/// A result's code, below 32.
pub(super) fn result_code(word: ResultWord) -> u8 {
    match word {
        ResultWord::Failed(kind) => FAILED + kind as u8,
        word => RESULTS.iter().position(|known| *known == word).unwrap_or(0) as u8,
    }
}

pub(super) fn result_word(code: u8) -> Option<ResultWord> {
    match code.checked_sub(FAILED) {
        Some(kind) => error_kind(kind.into()).map(ResultWord::Failed),
        None => RESULTS.get(usize::from(code)).copied(),
    }
}

/// A state's columns: the words of the API, so that whoever opens the file with another program can read it.
pub(super) const STATE: &str = "lifecycle, health, cause, cause_of, left_out";

/// What a cause names, such as the kind of a failure; empty if it names nothing.
pub(super) fn cause_of(cause: Cause) -> String {
    let cause = serde_json::to_value(cause).unwrap_or_default();
    let of = cause.get("of").and_then(Value::as_str);
    of.unwrap_or_default().to_owned()
}

/// The state in the columns of [`STATE`]; `None` for words that this host does not know.
pub(super) fn state(row: &Row<'_>) -> rusqlite::Result<Option<SpanState>> {
    let (lifecycle, health): (String, String) = (row.get("lifecycle")?, row.get("health")?);
    let (cause, left_out) = (cause(row)?, row.get("left_out")?);
    let state = || {
        Some(SpanState {
            lifecycle: read(lifecycle)?,
            health: read(health)?,
            cause: cause?,
            left_out,
        })
    };
    Ok(state())
}

/// The cause in the columns `cause` and `cause_of`; `None` for words that this host does not know.
pub(super) fn cause(row: &Row<'_>) -> rusqlite::Result<Option<Cause>> {
    let (code, of): (String, String) = (row.get("cause")?, row.get("cause_of")?);
    Ok(match of.as_str() {
        "" => read(json!({"code": code})),
        of => read(json!({"code": code, "of": of})),
    })
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
        // Released: what stands in files. A new kind is added at the end.
        let released = [
            "invalid_input",
            "unavailable",
            "rate_limited",
            "configuration",
            "internal",
            "cancelled",
            "deadline_exceeded",
            "unsupported",
            "exhausted",
            "panicked",
            "not_found",
            "not_serving",
            "already_exists",
            "failed_precondition",
            "permission_denied",
            "unauthenticated",
            "aborted",
            "data_loss",
        ];
        for (code, word) in released.into_iter().enumerate() {
            let kind = error_kind(code as u64).unwrap();
            assert_eq!((kind.as_str(), kind as usize), (word, code));
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
            let connection = rusqlite::Connection::open_in_memory().unwrap();
            let sql = "SELECT ?1 AS lifecycle, ?2 AS health, ?3 AS cause, ?4 AS cause_of, 1 AS left_out";
            let words = (
                before.lifecycle.as_str(),
                before.health.as_str(),
                cause.code(),
                cause_of(cause),
            );
            assert_eq!(connection.query_row(sql, words, state), Ok(Some(before)));
        }
    }
}
