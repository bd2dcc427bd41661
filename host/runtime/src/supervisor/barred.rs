//! Builds that are not tried again by themselves, by instance: kept in a file of the host's state directory, so that it outlives the host.
//!
//! Hosts with the same state directory share the file: each of them changes it under a lock, and reads it when it starts.

use crate::durable;
use extman_model::{BarredView, Digest};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Its name in the state directory.
const FILE: &str = "barred.json";
/// Builds of one instance, at most; of more the latest.
const BARRED_MAX: usize = 64;
/// Instances, at most; of more those whose last one is the oldest are forgotten.
const INSTANCES_MAX: usize = 4096;

/// Which builds are barred, and the file that says so.
#[derive(Debug, Default)]
pub struct Barred {
    file: Option<PathBuf>,
    kept: Kept,
}

/// As it stands in the file.
#[derive(Debug, Default, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    instances: BTreeMap<String, OfInstance>,
}

/// What is kept of an instance.
#[derive(Debug, Default, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct OfInstance {
    /// The oldest first.
    barred: Vec<BarredView>,
    /// What served instead when the last one was barred.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    good: Option<Digest>,
}

/// A change that is to be written down.
pub(super) struct Change {
    file: Option<PathBuf>,
    name: String,
    of_instance: Option<OfInstance>,
}

impl Barred {
    /// What an earlier host kept in this state directory. Without one, what is barred is so until the host ends.
    ///
    /// # Errors
    /// The file is there and can't be read: it is named, with what to do.
    pub fn read(state: Option<&Path>) -> Result<Self, String> {
        let file = state.map(|state| state.join(FILE));
        let kept = file.as_deref().map_or(Ok(Kept::default()), read)?;
        Ok(Barred { file, kept })
    }

    /// The builds of an instance, the oldest first.
    pub(super) fn of(&self, name: &str) -> &[BarredView] {
        self.kept
            .instances
            .get(name)
            .map_or(&[], |of_instance| &of_instance.barred)
    }

    /// Whether a build is barred for an instance, and why.
    pub(super) fn reason(&self, name: &str, digest: Digest) -> Option<&BarredView> {
        self.of(name).iter().find(|barred| barred.digest == digest)
    }

    /// For each instance what served when its last build was barred.
    pub fn good(&self) -> impl Iterator<Item = (&str, Digest)> {
        let all = self.kept.instances.iter();
        all.filter_map(|(name, of_instance)| Some((name.as_str(), of_instance.good?)))
    }

    /// Bars a build in favour of what serves. The change has to be written.
    pub(super) fn add(&mut self, name: &str, barred: BarredView, good: Option<Digest>) -> Change {
        let of_instance = self.kept.instances.entry(name.to_owned()).or_default();
        of_instance.barred.retain(|known| known.digest != barred.digest);
        of_instance.barred.push(barred);
        of_instance.good = good.or(of_instance.good);
        let surplus = of_instance.barred.len().saturating_sub(BARRED_MAX);
        of_instance.barred.drain(..surplus);
        self.change(name)
    }

    /// A build is barred no longer. The change has to be written.
    pub(super) fn remove(&mut self, name: &str, digest: Digest) -> Change {
        if let Some(of_instance) = self.kept.instances.get_mut(name) {
            of_instance.barred.retain(|known| known.digest != digest);
            if of_instance.barred.is_empty() {
                self.kept.instances.remove(name);
            }
        }
        self.change(name)
    }

    fn change(&self, name: &str) -> Change {
        Change {
            file: self.file.clone(),
            name: name.to_owned(),
            of_instance: self.kept.instances.get(name).cloned(),
        }
    }
}

impl Change {
    /// Writes it down. Returns when that is on the disk. Blocking.
    ///
    /// # Errors
    /// It can't be written: it holds until the host ends.
    pub(super) fn write(self) -> Result<(), String> {
        let Some(file) = &self.file else { return Ok(()) };
        let failed = |error: &dyn std::fmt::Display| {
            format!(
                "{}: which builds are barred can't be written down: {error}; it holds until this host ends",
                file.display()
            )
        };
        let _alone = durable::lock(file).map_err(|error| failed(&error))?;
        let mut kept = read(file)?;
        match self.of_instance {
            Some(of_instance) => kept.instances.insert(self.name, of_instance),
            None => kept.instances.remove(&self.name),
        };
        while kept.instances.len() > INSTANCES_MAX {
            let latest = |of: &OfInstance| of.barred.last().map(|barred| barred.since_unix_ms);
            let oldest = kept.instances.iter().min_by_key(|(_, of)| latest(of));
            let Some(oldest) = oldest.map(|(name, _)| name.clone()) else {
                break;
            };
            kept.instances.remove(&oldest);
        }
        let text = serde_json::to_string_pretty(&kept).map_err(|error| failed(&error))?;
        durable::write(file, &text).map_err(|error| failed(&error))
    }
}

fn read(file: &Path) -> Result<Kept, String> {
    let unreadable = |error: &dyn std::fmt::Display| {
        format!(
            "{}: which builds are barred can't be read: {error}; mend the file, or remove it: without it, each build is tried again",
            file.display()
        )
    };
    match durable::read(file) {
        Ok(Some(text)) => serde_json::from_str(&text).map_err(|error| unreadable(&error)),
        Ok(None) => Ok(Kept::default()),
        Err(error) => Err(unreadable(&error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use semver::Version;

    fn barred(number: u64) -> BarredView {
        BarredView {
            version: Version::new(1, number, 0),
            digest: Digest::new([number as u8; 32]),
            reason: "it is worse".to_owned(),
            since_unix_ms: number,
        }
    }

    #[test]
    fn what_is_barred_is_found_again_and_what_other_hosts_wrote_stays() {
        let state = tempfile::tempdir().unwrap();
        let mut one = Barred::read(Some(state.path())).unwrap();
        let mut other = Barred::read(Some(state.path())).unwrap();
        let good = Digest::new([9; 32]);
        one.add("a", barred(1), Some(good)).write().unwrap();
        other.add("b", barred(2), None).write().unwrap();
        let again = Barred::read(Some(state.path())).unwrap();
        assert_eq!(
            (again.of("a"), again.of("b")),
            (&[barred(1)][..], &[barred(2)][..])
        );
        assert_eq!(again.good().collect::<Vec<_>>(), [("a", good)]);
        one.remove("a", barred(1).digest).write().unwrap();
        let again = Barred::read(Some(state.path())).unwrap();
        assert_eq!((again.of("a"), again.of("b").len()), (&[][..], 1));
    }

    #[test]
    fn so_many_are_kept_of_an_instance_and_the_latest_of_them() {
        let mut all = Barred::read(None).unwrap();
        (1..=100).for_each(|number| drop(all.add("a", barred(number), None)));
        assert_eq!(all.of("a").len(), BARRED_MAX);
        assert_eq!(all.of("a").last(), Some(&barred(100)));
    }

    #[test]
    fn file_that_can_not_be_read_is_named_with_what_to_do() {
        let state = tempfile::tempdir().unwrap();
        std::fs::write(state.path().join(FILE), "{").unwrap();
        let error = Barred::read(Some(state.path())).unwrap_err();
        assert!(error.contains(FILE) && error.contains("mend the file"), "{error}");
    }
}
