//! What is wrong with a JSON text, in words for whoever typed it.

use serde_json::error::Category;

/// Longest part of a text that is quoted, in characters.
const QUOTED_CHARS_MAX: usize = 40;

/// What is wrong, where, and what stands there.
pub(super) fn json_problem(error: &serde_json::Error, text: &str) -> String {
    let said = error.to_string();
    let said = said.split(" at line ").next().unwrap_or_default();
    let what = match error.classify() {
        Category::Eof => "it ends too early: a quote, a bracket or a value is missing at its end",
        _ => in_plain_words(said),
    };
    let place = match (error.line(), error.column()) {
        (0, _) => String::new(),
        (1, column) => format!(" at column {column}"),
        (line, column) => format!(" at line {line}, column {column}"),
    };
    format!("{what}{place}, in {}", quoted(text, error.line(), error.column()))
}

fn in_plain_words(said: &str) -> &str {
    match said {
        "key must be a string" => "a name in double quotes has to stand",
        "expected value" | "expected ident" => {
            "a value has to stand (text in double quotes, a number, true, false, null, {…} or […])"
        }
        "expected `:`" => "a colon has to stand after the name",
        "expected `,` or `}`" => "a comma or } has to stand",
        "expected `,` or `]`" => "a comma or ] has to stand",
        "trailing comma" => "a comma stands before the end of the list or object",
        "trailing characters" => "something follows after the end of the JSON",
        "invalid number" => "a number is not written as JSON writes it",
        "invalid escape" => "a backslash stands before a character that it can't escape",
        other => other,
    }
}

/// The text around a place, on one line.
fn quoted(text: &str, line: usize, column: usize) -> String {
    let line = text.lines().nth(line.saturating_sub(1)).unwrap_or_default();
    // Columns count bytes.
    let at = line.floor_char_boundary(column.saturating_sub(1).min(line.len()));
    let before = line[..at].chars().count();
    let skipped = before.saturating_sub(QUOTED_CHARS_MAX / 2);
    let shown: String = line.chars().skip(skipped).take(QUOTED_CHARS_MAX).collect();
    let cut_before = if skipped > 0 { "…" } else { "" };
    let cut_after = if line.chars().count() > skipped + QUOTED_CHARS_MAX {
        "…"
    } else {
        ""
    };
    format!("`{cut_before}{shown}{cut_after}`")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_says_what_where_and_shows_it() {
        let of = |text: &str| {
            json_problem(
                &serde_json::from_str::<serde_json::Value>(text).unwrap_err(),
                text,
            )
        };
        assert_eq!(
            of("{a: 1}"),
            "a name in double quotes has to stand at column 2, in `{a: 1}`"
        );
        assert_eq!(
            of("[1, 2"),
            "it ends too early: a quote, a bracket or a value is missing at its end at column 5, in `[1, 2`"
        );
        assert_eq!(
            of("{\n \"a\" 1}"),
            "a colon has to stand after the name at line 2, column 6, in ` \"a\" 1}`"
        );
        let long = format!("{{\"text\": \"{}\" x{}", "ä".repeat(200), "y".repeat(100));
        let text = of(&long);
        assert!(
            text.starts_with("a comma or } has to stand at column")
                && text.contains("ä\" xy")
                && text.len() < 200,
            "{text}"
        );
    }

    #[test]
    fn shape_that_is_not_wanted_is_named() {
        let error = serde_json::from_str::<serde_json::Map<String, serde_json::Value>>("[1]").unwrap_err();
        let text = json_problem(&error, "[1]");
        assert!(
            text.contains("expected a map") && text.ends_with("`[1]`"),
            "{text}"
        );
    }
}
