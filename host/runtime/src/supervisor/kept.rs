//! What is kept of each instance in a file of the host's state directory, so that it outlives the host.
//!
//! Hosts with the same state directory share the file: each of them changes it under a lock, and reads it when it starts.

use crate::durable;
use crate::sync::lock;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

/// What a file has of one instance.
pub(super) trait OfInstance: Clone + Serialize + DeserializeOwned + Send + 'static {
    /// The file's name in the state directory.
    const FILE: &'static str;
    /// What stands in it.
    const WHAT: &'static str;
    /// What is so without the file.
    const WITHOUT: &'static str;

    /// When it was last changed, in milliseconds since 1970.
    fn changed_unix_ms(&self) -> u64;
}

/// The file, and what stands in it.
#[derive(Debug)]
pub(super) struct KeptFile<T> {
    instances: BTreeMap<String, T>,
    /// Nothing is written without a file.
    unwritten: Option<Arc<Unwritten<T>>>,
}

/// The file, and what is not in it yet: whoever writes, writes all of it.
#[derive(Debug)]
struct Unwritten<T> {
    file: PathBuf,
    of: Mutex<Waiting<T>>,
}

struct Waiting<T> {
    changes: Changes<T>,
    /// What is to be done once they are written, or could not be.
    then: Vec<Then>,
    /// Somebody writes, and goes on until nothing is to be done any more.
    is_being_written: bool,
}

type Changes<T> = BTreeMap<String, Option<T>>;
type Then = Box<dyn FnOnce(Result<(), String>) + Send>;

/// As it stands in the file.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields, bound = "T: Serialize + DeserializeOwned")]
struct Whole<T> {
    instances: BTreeMap<String, T>,
}

/// A change that is to be written down, with all that were made before it.
#[must_use]
#[derive(Debug, Clone)]
pub(super) struct Change<T>(Option<Arc<Unwritten<T>>>);

impl<T> std::fmt::Debug for Waiting<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Waiting").finish_non_exhaustive()
    }
}

impl<T> Default for KeptFile<T> {
    fn default() -> Self {
        KeptFile {
            instances: BTreeMap::new(),
            unwritten: None,
        }
    }
}

impl<T: OfInstance> KeptFile<T> {
    /// What an earlier host kept in this state directory. Without one, what is kept is so until the host ends.
    ///
    /// # Errors
    /// The file is there and can't be read: it is named, with what to do.
    pub fn read(state: Option<&Path>) -> Result<Self, String> {
        let Some(file) = state.map(|state| state.join(T::FILE)) else {
            return Ok(KeptFile::default());
        };
        let instances = read(&file)?;
        let of = Mutex::new(Waiting {
            changes: BTreeMap::new(),
            then: Vec::new(),
            is_being_written: false,
        });
        Ok(KeptFile {
            instances,
            unwritten: Some(Arc::new(Unwritten { file, of })),
        })
    }

    pub fn of(&self, name: &str) -> Option<&T> {
        self.instances.get(name)
    }

    pub fn all(&self) -> impl Iterator<Item = (&str, &T)> {
        self.instances.iter().map(|(name, kept)| (name.as_str(), kept))
    }

    /// From here on this is kept of an instance, or nothing.
    pub fn keep(&mut self, name: &str, kept: Option<T>) -> Change<T> {
        match &kept {
            Some(kept) => drop(self.instances.insert(name.to_owned(), kept.clone())),
            None => drop(self.instances.remove(name)),
        }
        if let Some(unwritten) = &self.unwritten {
            lock(&unwritten.of).changes.insert(name.to_owned(), kept);
        }
        self.changes()
    }

    /// All that has changed so far.
    pub fn changes(&self) -> Change<T> {
        Change(self.unwritten.clone())
    }
}

impl<T: OfInstance> Change<T> {
    /// Has this done once it is on the disk, or could not be written: then it holds until the host ends, or is written with a later one. What is
    /// returned writes it, and whatever changes meanwhile, and has to be run, blocking; nothing where somebody does so already.
    pub fn written(
        self,
        then: impl FnOnce(Result<(), String>) + Send + 'static,
    ) -> Option<impl FnOnce() + Send + 'static> {
        let Some(unwritten) = self.0 else {
            then(Ok(()));
            return None;
        };
        {
            let mut waiting = lock(&unwritten.of);
            waiting.then.push(Box::new(then));
            if std::mem::replace(&mut waiting.is_being_written, true) {
                return None;
            }
        }
        Some(move || unwritten.write_all())
    }

    /// Writes it down, and returns when that is on the disk.
    #[cfg(test)]
    pub fn write(self) -> Result<(), String> {
        let (done, outcome) = std::sync::mpsc::channel();
        let writer = self.written(move |written| done.send(written).unwrap());
        writer.into_iter().for_each(|write| write());
        outcome.recv().unwrap()
    }
}

impl<T: OfInstance> Unwritten<T> {
    fn write_all(&self) {
        loop {
            let (changes, then) = {
                let mut waiting = lock(&self.of);
                if waiting.then.is_empty() {
                    waiting.is_being_written = false;
                    return;
                }
                (
                    std::mem::take(&mut waiting.changes),
                    std::mem::take(&mut waiting.then),
                )
            };
            let written = self.write(&changes);
            if let Err(why) = &written {
                tracing::warn!("{why}");
                let mut waiting = lock(&self.of);
                for (name, change) in changes {
                    waiting.changes.entry(name).or_insert(change);
                }
            }
            for then in then {
                then(written.clone());
            }
        }
    }

    fn write(&self, changes: &Changes<T>) -> Result<(), String> {
        if changes.is_empty() {
            return Ok(());
        }
        let file = &self.file;
        let failed = |error: &dyn std::fmt::Display| {
            let what = T::WHAT;
            format!(
                "{}: {what} can't be written down: {error}; until a later write succeeds, this host alone knows",
                file.display()
            )
        };
        let _alone = durable::lock(file).map_err(|error| failed(&error))?;
        let mut instances: BTreeMap<String, T> = read(file)?;
        for (name, change) in changes {
            match change {
                Some(kept) => instances.insert(name.clone(), kept.clone()),
                None => instances.remove(name),
            };
        }
        let text = fitting(instances, file).map_err(|error| failed(&error))?;
        durable::write(file, &text).map_err(|error| failed(&error))
    }
}

/// As text. Of more than a file may have, those that were changed first are forgotten.
fn fitting<T: OfInstance>(instances: BTreeMap<String, T>, file: &Path) -> serde_json::Result<String> {
    let mut whole = Whole { instances };
    let text = serde_json::to_string_pretty(&whole)?;
    let mut surplus = text.len().saturating_sub(durable::BYTES_MAX);
    if surplus == 0 {
        return Ok(text);
    }
    let aged = whole
        .instances
        .iter()
        .map(|(name, kept)| (kept.changed_unix_ms(), name.clone()));
    let mut aged: Vec<_> = aged.collect();
    aged.sort();
    let mut forgotten = Vec::new();
    for (_, name) in aged {
        if surplus == 0 {
            break;
        }
        if let Some(kept) = whole.instances.remove(&name) {
            // In the file it is longer, with its name and indented.
            surplus = surplus.saturating_sub(serde_json::to_string(&kept)?.len());
            forgotten.push(name);
        }
    }
    tracing::warn!(
        "{}: it has more than {} bytes, so what was changed first is kept no longer: {}",
        file.display(),
        durable::BYTES_MAX,
        forgotten.join(", ")
    );
    serde_json::to_string_pretty(&whole)
}

fn read<T: OfInstance>(file: &Path) -> Result<BTreeMap<String, T>, String> {
    let unreadable = |error: &dyn std::fmt::Display| {
        format!(
            "{}: {} can't be read: {error}; mend the file, or remove it: without it, {}",
            file.display(),
            T::WHAT,
            T::WITHOUT
        )
    };
    match durable::read(file) {
        Ok(Some(text)) => {
            let whole: Result<Whole<T>, _> = serde_json::from_str(&text);
            Ok(whole.map_err(|error| unreadable(&error))?.instances)
        }
        Ok(None) => Ok(BTreeMap::new()),
        Err(error) => Err(unreadable(&error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    /// A text, and when it was changed.
    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    struct Note(u64, String);

    impl OfInstance for Note {
        const FILE: &'static str = "notes.json";
        const WHAT: &'static str = "which notes there are";
        const WITHOUT: &'static str = "there are none";

        fn changed_unix_ms(&self) -> u64 {
            self.0
        }
    }

    fn note(text: &str) -> Option<Note> {
        Some(Note(1, text.to_owned()))
    }

    fn found(state: &Path) -> BTreeMap<String, Note> {
        KeptFile::read(Some(state)).unwrap().instances
    }

    #[test]
    fn what_could_not_be_written_is_told_to_who_waits_and_written_with_the_next_unless_newer_is_there() {
        let state = tempfile::tempdir().unwrap();
        let mut kept: KeptFile<Note> = KeptFile::read(Some(state.path())).unwrap();
        let first = [
            kept.keep("a", note("a")),
            kept.keep("b", note("old")),
            kept.keep("b", note("b")),
        ];
        let file = state.path().join(Note::FILE);
        std::fs::write(&file, "{").unwrap();
        for change in first {
            let error = change.write().unwrap_err();
            assert!(error.contains("mend the file"), "{error}");
        }
        std::fs::remove_file(&file).unwrap();
        kept.keep("b", None).write().unwrap();
        assert_eq!(
            found(state.path()),
            BTreeMap::from([("a".to_owned(), note("a").unwrap())])
        );
    }

    #[test]
    fn there_is_one_writer_at_a_time_who_writes_what_changes_meanwhile() {
        let state = tempfile::tempdir().unwrap();
        let mut kept: KeptFile<Note> = KeptFile::read(Some(state.path())).unwrap();
        let (done, written) = mpsc::channel();
        let mut writers = Vec::new();
        for number in 0..1000 {
            let done = done.clone();
            let change = kept.keep(&format!("{number}"), note("new"));
            writers.extend(change.written(move |outcome| done.send((number, outcome)).unwrap()));
        }
        assert_eq!(writers.len(), 1);
        writers.into_iter().for_each(|write| write());
        let written: Vec<_> = written.try_iter().collect();
        assert_eq!(
            written,
            (0..1000).map(|number| (number, Ok(()))).collect::<Vec<_>>()
        );
        assert_eq!(found(state.path()).len(), 1000);
        assert!(kept.keep("a", None).written(|_| {}).is_some());
    }

    #[test]
    fn what_does_not_fit_is_forgotten_the_oldest_first() {
        let state = tempfile::tempdir().unwrap();
        let mut kept: KeptFile<Note> = KeptFile::read(Some(state.path())).unwrap();
        let text = "x".repeat(durable::BYTES_MAX / 10);
        // The highest name is the oldest.
        for number in 0..20 {
            let note = Note(100 - number, text.clone());
            let _ = kept.keep(&format!("{number:02}"), Some(note));
        }
        kept.changes().write().unwrap();
        let names: Vec<_> = found(state.path()).into_keys().collect();
        let expected: Vec<_> = (0..9).map(|number| format!("{number:02}")).collect();
        assert_eq!(names, expected);
    }
}
