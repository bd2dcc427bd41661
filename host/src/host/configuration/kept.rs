//! What commands have set, and who changed what when: kept in a file of the host's state directory, so that it outlives the host. Hosts with
//! the same state directory share it: each of them changes it under a lock.

use super::fields::{Overrides, Section, changes};
use extman_model::{ConfigChange, ConfigChangeBy};
use extman_runtime::durable;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, VecDeque};
use std::path::{Path, PathBuf};

/// Its name in the state directory.
const FILE: &str = "config.json";
/// Changes that are remembered, over all instances.
const CHANGES_MAX: usize = 500;
/// Bytes of the file from which on the oldest changes are forgotten.
const BYTES_MAX: usize = 768 << 10;

/// As it stands in the file.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Kept {
    /// By instance.
    pub(super) overrides: BTreeMap<String, Overrides>,
    changes: VecDeque<KeptChange>,
    /// The number of the last change.
    last: u64,
}

/// A change of one instance's section, whole before and after.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct KeptChange {
    #[serde(default)]
    pub(super) number: u64,
    pub(super) at_unix_ms: u64,
    pub(super) name: String,
    pub(super) who: String,
    pub(super) by: ConfigChangeBy,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(super) not_taken: Option<String>,
    pub(super) before: Section,
    pub(super) after: Section,
}

impl Kept {
    /// Changes of one instance, the newest last.
    pub(super) fn of<'k>(&'k self, name: &'k str) -> impl DoubleEndedIterator<Item = &'k KeptChange> {
        self.changes.iter().filter(move |change| change.name == name)
    }

    pub(super) fn note(&mut self, change: KeptChange) {
        self.last += 1;
        self.changes.push_back(KeptChange {
            number: self.last,
            ..change
        });
        while self.changes.len() > CHANGES_MAX {
            self.changes.pop_front();
        }
    }

    /// As JSON, without as many of the oldest changes as it takes.
    fn text(&mut self) -> Result<String, String> {
        loop {
            let text = serde_json::to_string(self).map_err(|error| error.to_string())?;
            if text.len() <= BYTES_MAX || self.changes.is_empty() {
                return Ok(text);
            }
            let half = self.changes.len().div_ceil(2);
            self.changes.drain(..half);
        }
    }
}

impl KeptChange {
    pub(super) fn view(&self) -> ConfigChange {
        ConfigChange {
            number: self.number,
            at_unix_ms: self.at_unix_ms,
            who: self.who.clone(),
            by: self.by,
            not_taken: self.not_taken.clone(),
            fields: changes(&self.before, &self.after),
        }
    }
}

/// Where it is kept under a state directory.
pub(super) fn file(state: &Path) -> PathBuf {
    state.join(FILE)
}

/// What was kept.
///
/// # Errors
/// The file is there and can't be read.
pub(super) fn read(file: &Path) -> Result<Kept, String> {
    match durable::read(file) {
        Ok(Some(text)) => serde_json::from_str(&text).map_err(|error| error.to_string()),
        Ok(None) => Ok(Kept::default()),
        Err(error) => Err(error.to_string()),
    }
}

/// Changes what stands in the file, which other hosts may have changed since. Returns what stands there now, when it is on the disk.
///
/// # Errors
/// It can't be read or written; nothing has changed.
pub(super) fn change(file: &Path, change: impl FnOnce(&mut Kept)) -> Result<Kept, String> {
    let failed = |why: String| format!("{}: what is set can't be written down: {why}", file.display());
    let _alone = durable::lock(file).map_err(|error| failed(error.to_string()))?;
    let mut kept = read(file).map_err(|why| failed(format!("{why}; mend the file, or remove it")))?;
    change(&mut kept);
    kept.overrides.retain(|_, overrides| !overrides.is_empty());
    let text = kept.text().map_err(failed)?;
    durable::write(file, &text).map_err(|error| failed(error.to_string()))?;
    Ok(kept)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Map, Value, json};

    fn changed(name: &str, size: usize) -> KeptChange {
        let after: Map<String, Value> = [("config".to_owned(), json!({"text": "x".repeat(size)}))]
            .into_iter()
            .collect();
        KeptChange {
            number: 0,
            at_unix_ms: 7,
            name: name.to_owned(),
            who: "somebody".to_owned(),
            by: ConfigChangeBy::Command,
            not_taken: None,
            before: Map::new(),
            after,
        }
    }

    #[test]
    fn what_is_kept_is_found_again_with_numbers_that_go_on() {
        let state = tempfile::tempdir().unwrap();
        let file = file(&state.path().join("new"));
        assert_eq!(read(&file).unwrap(), Kept::default());
        for name in ["a", "b", "a"] {
            let kept = change(&file, |kept| {
                kept.note(changed(name, 1));
                let overrides = kept.overrides.entry(name.to_owned()).or_default();
                overrides.insert("config.x".to_owned(), None);
            });
            kept.unwrap();
        }
        let kept = read(&file).unwrap();
        let numbers: Vec<u64> = kept.of("a").map(|change| change.number).collect();
        assert_eq!(numbers, [1, 3]);
        assert_eq!(kept.overrides["b"]["config.x"], None);
    }

    #[test]
    fn the_oldest_changes_are_forgotten_where_there_are_too_many_or_too_much() {
        let state = tempfile::tempdir().unwrap();
        let file = file(state.path());
        let kept = change(&file, |kept| {
            (0..CHANGES_MAX + 10).for_each(|_| kept.note(changed("a", 1)));
        });
        assert_eq!(kept.unwrap().of("a").count(), CHANGES_MAX);
        let kept = change(&file, |kept| kept.note(changed("a", 700 << 10))).unwrap();
        assert!(kept.of("a").next_back().is_some_and(|last| last.number == 511));
        let kept = change(&file, |kept| kept.note(changed("a", 700 << 10))).unwrap();
        assert_eq!(kept.of("a").count(), 1);
    }

    #[test]
    fn file_that_can_not_be_read_is_left_as_it_is() {
        let state = tempfile::tempdir().unwrap();
        let file = file(state.path());
        std::fs::write(&file, "{").unwrap();
        assert!(change(&file, |_| {}).unwrap_err().contains("mend the file"));
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "{");
    }
}
