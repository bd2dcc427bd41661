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

/// Instances, at most; of more, those that were changed first are forgotten.
const INSTANCES_MAX: usize = 4096;

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
    file: Option<PathBuf>,
    instances: BTreeMap<String, T>,
    unwritten: Arc<Unwritten<T>>,
}

/// Changes that are not in the file yet: whoever writes, writes all of them.
#[derive(Debug)]
struct Unwritten<T> {
    changes: Mutex<BTreeMap<String, Option<T>>>,
    writing: Mutex<()>,
}

/// As it stands in the file.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields, bound = "T: Serialize + DeserializeOwned")]
struct Whole<T> {
    instances: BTreeMap<String, T>,
}

/// A change that is to be written down.
pub(super) struct Change<T> {
    file: Option<PathBuf>,
    unwritten: Arc<Unwritten<T>>,
}

impl<T> Default for KeptFile<T> {
    fn default() -> Self {
        KeptFile {
            file: None,
            instances: BTreeMap::new(),
            unwritten: Arc::new(Unwritten {
                changes: Mutex::default(),
                writing: Mutex::default(),
            }),
        }
    }
}

impl<T: OfInstance> KeptFile<T> {
    /// What an earlier host kept in this state directory. Without one, what is kept is so until the host ends.
    ///
    /// # Errors
    /// The file is there and can't be read: it is named, with what to do.
    pub fn read(state: Option<&Path>) -> Result<Self, String> {
        let file = state.map(|state| state.join(T::FILE));
        let instances = file.as_deref().map_or(Ok(BTreeMap::new()), read)?;
        Ok(KeptFile {
            file,
            instances,
            ..KeptFile::default()
        })
    }

    pub fn of(&self, name: &str) -> Option<&T> {
        self.instances.get(name)
    }

    pub fn all(&self) -> impl Iterator<Item = (&str, &T)> {
        self.instances.iter().map(|(name, kept)| (name.as_str(), kept))
    }

    /// From here on this is kept of an instance, or nothing. The change has to be written.
    pub fn keep(&mut self, name: &str, kept: Option<T>) -> Change<T> {
        match &kept {
            Some(kept) => drop(self.instances.insert(name.to_owned(), kept.clone())),
            None => drop(self.instances.remove(name)),
        }
        if self.file.is_some() {
            lock(&self.unwritten.changes).insert(name.to_owned(), kept);
        }
        Change {
            file: self.file.clone(),
            unwritten: self.unwritten.clone(),
        }
    }
}

impl<T: OfInstance> Change<T> {
    /// Writes it down, and whatever else has changed since. Returns when that is on the disk. Blocking.
    ///
    /// # Errors
    /// It can't be written: it holds until the host ends.
    pub fn write(self) -> Result<(), String> {
        let Some(file) = &self.file else { return Ok(()) };
        let failed = |error: &dyn std::fmt::Display| {
            let what = T::WHAT;
            format!(
                "{}: {what} can't be written down: {error}; it holds until this host ends",
                file.display()
            )
        };
        // Who finds its change written by another has waited for it here.
        let _writing = lock(&self.unwritten.writing);
        let changes = std::mem::take(&mut *lock(&self.unwritten.changes));
        if changes.is_empty() {
            return Ok(());
        }
        let _alone = durable::lock(file).map_err(|error| failed(&error))?;
        let mut instances: BTreeMap<String, T> = read(file)?;
        for (name, change) in changes {
            match change {
                Some(kept) => instances.insert(name, kept),
                None => instances.remove(&name),
            };
        }
        while instances.len() > INSTANCES_MAX {
            let oldest = instances.iter().min_by_key(|(_, of)| of.changed_unix_ms());
            let Some(oldest) = oldest.map(|(name, _)| name.clone()) else {
                break;
            };
            instances.remove(&oldest);
        }
        let text = serde_json::to_string_pretty(&Whole { instances }).map_err(|error| failed(&error))?;
        durable::write(file, &text).map_err(|error| failed(&error))
    }
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
