//! The table as Markdown.

use super::table::Row;
use std::fmt::Write as _;

/// All rows, one a line.
pub fn table(rows: &[Row]) -> String {
    let mut text = String::from(
        "| fault | when | vetting | host | answer | state, cause | unload | calls of the other plugin |\n\
         |---|---|---|---|---|---|---|---|\n",
    );
    for row in rows {
        let seen = row.seen;
        let state = match (seen.state, seen.cause) {
            (state, "") => state.to_owned(),
            (state, cause) => format!("{state}: *{cause}*"),
        };
        let _ = writeln!(
            text,
            "| `{}` | {} | {} | {} | {} | {state} | {} | {} |",
            row.fault,
            row.phases.replace(' ', ", "),
            seen.vetting,
            seen.host,
            seen.answer,
            seen.unload,
            seen.beside
        );
    }
    text
}
