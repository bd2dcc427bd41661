//! A plugin's deep checks, for people.

use super::duration::{long, short};
use super::screen::Look;
use super::text::{plain, wrap};
use extman_model::{DeepResult, DeepView};

/// What is known of them, in a few lines.
pub(super) fn lines(deep: &DeepView, look: &Look) -> Vec<String> {
    let budget = format!("{} of {} left in 24 h", deep.left, deep.per_day);
    let next = match (&deep.obstacle, deep.under_way, deep.next_ms) {
        (Some(_), ..) => "none is made".to_owned(),
        (None, true, _) => format!("one is under way; {budget}"),
        (None, false, Some(0)) => format!("the next is due; {budget}"),
        (None, false, Some(ms)) => format!("the next in {}; {budget}", long(ms)),
        (None, false, None) => format!("none while it does not run; {budget}"),
    };
    let mut lines = vec![format!("  deep checks   {next}")];
    if let Some(why) = &deep.obstacle {
        lines.push(wrap(&plain(why), look.width, 4));
    }
    if let Some(last) = &deep.last {
        let failed = match deep.failed {
            0 | 1 => String::new(),
            failed => format!(", {failed} failed in a row"),
        };
        let rendered = format!(
            "the last {} ago: {}{failed}",
            look.since(last.check.at_unix_ms),
            said(last)
        );
        lines.push(wrap(&rendered, look.width, 4));
    }
    lines
}

/// What came of one.
pub(super) fn said(result: &DeepResult) -> String {
    let outcome = &result.check.outcome;
    let (word, text) = (outcome.word(), outcome.text());
    let took = result
        .check
        .took_ns
        .map_or(String::new(), |ns| format!(" in {}", short(ns)));
    let text = text.map_or(String::new(), |text| format!(": {}", plain(text)));
    let counted = if result.counted {
        ""
    } else {
        " (counts for nothing)"
    };
    format!("{word}{took}{text}{counted}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use extman_model::{CheckKind, CheckOutcome, CheckView, ErrorKind};

    fn view() -> DeepView {
        DeepView {
            every_ms: 3_600_000,
            timeout_ms: 30_000,
            per_day: 24,
            left: 22,
            next_ms: Some(2_400_000),
            under_way: false,
            failed: 2,
            obstacle: None,
            last: Some(DeepResult {
                times: 1,
                last_unix_ms: None,
                check: CheckView {
                    kind: CheckKind::Deep,
                    at_unix_ms: 0,
                    outcome: CheckOutcome::Failed {
                        kind: ErrorKind::Unavailable,
                        text: "no credit".to_owned(),
                    },
                    took_ns: Some(2_500_000),
                },
                counted: true,
            }),
        }
    }

    fn text(view: &DeepView) -> String {
        let look = Look {
            width: 100,
            colour: false,
            now_unix_ms: 181_000,
        };
        lines(view, &look).join("\n")
    }

    #[test]
    fn deep_checks_show_the_next_the_budget_and_the_last() {
        let text = text(&view());
        assert!(
            text.starts_with("  deep checks   the next in 40 min; 22 of 24 left in 24 h\n"),
            "{text}"
        );
        assert!(
            text.ends_with("unavailable in 2.5 ms: no credit, 2 failed in a row"),
            "{text}"
        );
    }

    #[test]
    fn obstacle_of_a_deep_check_is_shown() {
        let kept = DeepView {
            obstacle: Some("there is no history".to_owned()),
            last: None,
            ..view()
        };
        assert_eq!(
            text(&kept),
            "  deep checks   none is made\n    there is no history"
        );
        let working = DeepView {
            under_way: true,
            last: None,
            ..view()
        };
        assert_eq!(
            text(&working),
            "  deep checks   one is under way; 22 of 24 left in 24 h"
        );
    }
}
