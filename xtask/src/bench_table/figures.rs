//! Rows that are not durations alone: what the benches have kept of them, each in a file beside criterion's own.

use super::measured::{folders, json};
use super::{BenchTableError, io, three_digits};
use serde_json::Value;
use std::fmt::Write;
use std::path::Path;
use std::time::SystemTime;

/// One row with a figure for each of its columns.
pub(super) struct FigureRow {
    pub group: String,
    pub name: String,
    pub figures: Vec<(String, f64)>,
    pub at: SystemTime,
}

impl FigureRow {
    pub(super) fn figure(&self, what: &str) -> Option<f64> {
        let (_, value) = self.figures.iter().find(|(other, _)| other == what)?;
        Some(*value)
    }
}

/// All such rows, in the order in which they were measured.
pub(super) fn figure_rows(kept: &Path) -> Result<Vec<FigureRow>, BenchTableError> {
    let mut rows = Vec::new();
    for group in folders(kept)? {
        for row in folders(&group)? {
            let path = row.join("figures.json");
            if path.exists() {
                rows.extend(read(&path)?);
            }
        }
    }
    rows.sort_by_key(|row| row.at);
    Ok(rows)
}

fn read(path: &Path) -> Result<Option<FigureRow>, BenchTableError> {
    let kept = json(path)?;
    let at = std::fs::metadata(path)
        .and_then(|metadata| metadata.modified())
        .map_err(io("read", path))?;
    let figure = |figure: &Value| Some((figure["what"].as_str()?.to_owned(), figure["value"].as_f64()?));
    let row = || {
        Some(FigureRow {
            group: kept["group"].as_str()?.to_owned(),
            name: kept["name"].as_str()?.to_owned(),
            figures: kept["figures"].as_array()?.iter().filter_map(figure).collect(),
            at,
        })
    };
    Ok(row())
}

/// A table for each group.
pub(super) fn figure_tables(rows: &[FigureRow]) -> String {
    let mut groups: Vec<&str> = rows.iter().map(|row| row.group.as_str()).collect();
    groups.sort_unstable();
    groups.dedup();
    groups.iter().map(|group| table(group, rows)).collect()
}

fn table(group: &str, rows: &[FigureRow]) -> String {
    let rows: Vec<_> = rows.iter().filter(|row| row.group == group).collect();
    let mut columns: Vec<&str> = Vec::new();
    for (what, _) in rows.iter().flat_map(|row| &row.figures) {
        if !columns.contains(&what.as_str()) {
            columns.push(what);
        }
    }
    let (heads, lines) = (columns.join(" | "), "---:|".repeat(columns.len()));
    let mut text = format!("### {group}\n\n| | {heads} |\n|---|{lines}\n");
    for row in rows {
        let _ = write!(text, "| {} |", row.name);
        for column in &columns {
            let value = row.figure(column).map(three_digits);
            let _ = write!(text, " {} |", value.unwrap_or_default());
        }
        text.push('\n');
    }
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_read_and_stand_below_the_columns_of_all() {
        let kept = tempfile::tempdir().unwrap();
        for (name, what, value) in [("few", "CPU, %", 0.5), ("many", "lag, ms", 12.0)] {
            let row = kept.path().join("paced").join(name);
            std::fs::create_dir_all(&row).unwrap();
            let figures = serde_json::json!([{ "what": what, "value": value }]);
            let text = serde_json::json!({ "group": "paced", "name": name, "figures": figures });
            std::fs::write(row.join("figures.json"), text.to_string()).unwrap();
        }
        let mut rows = figure_rows(kept.path()).unwrap();
        rows.sort_by(|a, b| a.name.cmp(&b.name));
        let text = figure_tables(&rows);
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines[0], "### paced");
        assert_eq!(
            lines[2..],
            [
                "| | CPU, % | lag, ms |",
                "|---|---:|---:|",
                "| few | 0.50 |  |",
                "| many |  | 12.0 |",
                ""
            ]
        );
    }
}
