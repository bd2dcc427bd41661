//! What criterion has kept of a run: one folder a row, and in its `new` the names and the estimates.

use super::{BenchTableError, io};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// One row as it was measured.
pub(super) struct Row {
    pub group: String,
    pub name: String,
    pub median_ns: f64,
    pub interval_ns: (f64, f64),
    pub at: SystemTime,
}

/// All rows that lie in criterion's folder; none if there is no such folder.
pub(super) fn rows(kept: &Path) -> Result<Vec<Row>, BenchTableError> {
    let mut rows = Vec::new();
    for group in folders(kept)? {
        for row in folders(&group)? {
            let new = row.join("new");
            if new.join("estimates.json").exists() {
                rows.extend(read(&new)?);
            }
        }
    }
    Ok(rows)
}

pub(super) fn folders(of: &Path) -> Result<Vec<PathBuf>, BenchTableError> {
    let entries = match std::fs::read_dir(of) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(io("list", of))?,
    };
    let folders = entries.flatten().map(|entry| entry.path());
    Ok(folders.filter(|path| path.is_dir()).collect())
}

fn read(new: &Path) -> Result<Option<Row>, BenchTableError> {
    let path = new.join("estimates.json");
    let (names, estimates) = (json(&new.join("benchmark.json"))?, json(&path)?);
    let at = std::fs::metadata(&path)
        .and_then(|metadata| metadata.modified())
        .map_err(io("read", &path))?;
    let median = &estimates["median"];
    let interval = &median["confidence_interval"];
    let row = || {
        Some(Row {
            group: names["group_id"].as_str()?.to_owned(),
            name: names["function_id"].as_str()?.to_owned(),
            median_ns: median["point_estimate"].as_f64()?,
            interval_ns: (
                interval["lower_bound"].as_f64()?,
                interval["upper_bound"].as_f64()?,
            ),
            at,
        })
    };
    Ok(row())
}

pub(super) fn json(path: &Path) -> Result<Value, BenchTableError> {
    let text = std::fs::read(path).map_err(io("read", path))?;
    serde_json::from_slice(&text).map_err(|source| BenchTableError::Format {
        path: path.to_owned(),
        source,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_median_and_its_interval() {
        let kept = tempfile::tempdir().unwrap();
        let new = kept.path().join("probe").join("row").join("new");
        std::fs::create_dir_all(&new).unwrap();
        std::fs::write(
            new.join("benchmark.json"),
            r#"{"group_id":"probe","function_id":"a, b"}"#,
        )
        .unwrap();
        let estimates = r#"{"mean":{"point_estimate":9.0},"median":{"point_estimate":2.5,
            "confidence_interval":{"confidence_level":0.95,"lower_bound":2.0,"upper_bound":3.0}}}"#;
        std::fs::write(new.join("estimates.json"), estimates).unwrap();
        let rows = rows(kept.path()).unwrap();
        assert_eq!((rows.len(), rows[0].name.as_str()), (1, "a, b"));
        assert_eq!((rows[0].median_ns, rows[0].interval_ns), (2.5, (2.0, 3.0)));
    }

    #[test]
    fn no_folder_is_no_rows_and_a_damaged_file_is_named() {
        let kept = tempfile::tempdir().unwrap();
        assert!(rows(&kept.path().join("none")).unwrap().is_empty());
        let new = kept.path().join("g").join("row").join("new");
        std::fs::create_dir_all(&new).unwrap();
        std::fs::write(new.join("benchmark.json"), "{").unwrap();
        std::fs::write(new.join("estimates.json"), "{}").unwrap();
        let text = rows(kept.path()).err().unwrap().to_string();
        assert!(text.contains("benchmark.json"), "{text}");
    }
}
