//! An account as a word of the ledger, at most 1 KiB of it. Pure.
//!
//! What is read is never more generous than what was written: times are rounded up.

use super::book::{Account, PER_DAY_MAX};
use extman_model::DeepResult;
use serde::{Deserialize, Serialize};

const MINUTE_MS: u64 = 60_000;
const BYTES_MAX: usize = 1024;

#[derive(Serialize, Deserialize)]
struct Words {
    from_ms: u64,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    newest_ms: Option<u64>,
    /// Minutes from each to the one after it, on a grid of whole minutes, the newest first.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    before_min: Vec<u64>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    last: Option<DeepResult>,
}

/// As a word of the ledger, with what the last one came to, if that finds room.
pub fn write(account: &Account, last: Option<&DeepResult>) -> String {
    let newest = account.spent_ms.iter().rev().take(PER_DAY_MAX);
    // On one grid for all, so that being written again and again moves nothing any further.
    let minutes: Vec<u64> = newest.map(|at_ms| at_ms.div_ceil(MINUTE_MS)).collect();
    let before_min = minutes
        .windows(2)
        .map(|pair| pair[0].saturating_sub(pair[1]))
        .collect();
    let mut words = Words {
        from_ms: account.from_ms,
        newest_ms: account.spent_ms.last().copied(),
        before_min,
        last: last.cloned(),
    };
    let text = serde_json::to_string(&words).unwrap_or_default();
    if text.len() <= BYTES_MAX {
        return text;
    }
    words.last = None;
    serde_json::to_string(&words).unwrap_or_default()
}

/// What a word of the ledger says; `None` if it can't be read.
pub fn read(text: &str) -> Option<(Account, Option<DeepResult>)> {
    let words: Words = serde_json::from_str(text).ok()?;
    let mut spent_ms: Vec<u64> = words.newest_ms.into_iter().collect();
    if words.before_min.len() > PER_DAY_MAX || spent_ms.is_empty() && !words.before_min.is_empty() {
        return None;
    }
    let newest_ms = words.newest_ms.unwrap_or(0);
    let mut minute = newest_ms.div_ceil(MINUTE_MS);
    for minutes in words.before_min {
        minute = minute.checked_sub(minutes)?;
        spent_ms.push(minute.checked_mul(MINUTE_MS)?.min(newest_ms));
    }
    spent_ms.reverse();
    let account = Account {
        from_ms: words.from_ms,
        spent_ms,
    };
    Some((account, words.last))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deep::book::{APART_MS, DAY_MS};
    use extman_model::{CheckKind, CheckOutcome, CheckView, ErrorKind};

    fn result(text: String) -> DeepResult {
        DeepResult {
            times: 1,
            last_unix_ms: None,
            check: CheckView {
                kind: CheckKind::Deep,
                at_unix_ms: 1,
                outcome: CheckOutcome::Failed {
                    kind: ErrorKind::Unavailable,
                    text,
                },
                took_ns: Some(5),
            },
            counted: true,
        }
    }

    #[test]
    fn what_is_read_is_never_earlier_than_what_was_written() {
        let steps = [APART_MS, APART_MS + 59_999, 3 * APART_MS + 1, APART_MS + 30_000];
        let mut at_ms = 12_345;
        let spent_ms: Vec<u64> = (0..PER_DAY_MAX)
            .map(|n| {
                at_ms += steps[n % steps.len()];
                at_ms
            })
            .collect();
        let account = Account { from_ms: 7, spent_ms };
        let text = write(&account, None);
        assert!(text.len() <= BYTES_MAX, "{}", text.len());
        let (read, last) = read(&text).unwrap();
        assert_eq!((read.from_ms, last, read.spent_ms.len()), (7, None, PER_DAY_MAX));
        let pairs = account.spent_ms.iter().zip(&read.spent_ms);
        for (written, read) in pairs {
            assert!((0..MINUTE_MS).contains(&(read - written)), "{written} {read}");
        }
        assert_eq!(account.spent_ms.last(), read.spent_ms.last());
        assert_eq!(
            super::read(&write(&read, None)).unwrap().0,
            read,
            "once is enough"
        );
    }

    #[test]
    fn the_last_result_is_kept_where_it_finds_room() {
        let account = Account {
            from_ms: 0,
            spent_ms: vec![DAY_MS],
        };
        let short = result("no credit".to_owned());
        assert_eq!(
            read(&write(&account, Some(&short))),
            Some((account.clone(), Some(short)))
        );
        let long = result("\u{1}".repeat(400));
        assert_eq!(read(&write(&account, Some(&long))), Some((account, None)));
    }

    #[test]
    fn what_is_no_account_is_not_read_as_one() {
        for text in [
            "",
            "5",
            "{}",
            r#"{"from_ms": 1, "before_min": [1]}"#,
            r#"{"from_ms": 1, "newest_ms": 5, "before_min": [2]}"#,
            r#"{"from_ms": 1, "newest_ms": 5, "before_min": [18446744073709551615]}"#,
        ] {
            assert_eq!(read(text), None, "{text}");
        }
        assert!(read(r#"{"from_ms": 1}"#).is_some());
    }
}
