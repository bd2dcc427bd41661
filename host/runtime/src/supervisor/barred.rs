//! Builds that are not tried again by themselves, by instance.

use super::kept::{Change, KeptFile, OfInstance};
use extman_model::{BarredView, Digest};
use serde::{Deserialize, Serialize};
use std::path::Path;

/// Builds of one instance, at most; of more the latest.
const BARRED_MAX: usize = 64;

/// Which builds are barred, and the file that says so.
#[derive(Debug, Default)]
pub struct Barred(KeptFile<OfOne>);

/// What is kept of an instance.
#[derive(Debug, Default, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct OfOne {
    /// The oldest first.
    barred: Vec<BarredView>,
    /// What served instead when the last one was barred.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    good: Option<Digest>,
}

impl OfInstance for OfOne {
    const FILE: &'static str = "barred.json";
    const WHAT: &'static str = "which builds are barred";
    const WITHOUT: &'static str = "each build is tried again";

    fn changed_unix_ms(&self) -> u64 {
        self.barred.last().map_or(0, |barred| barred.since_unix_ms)
    }
}

impl Barred {
    /// What an earlier host kept in this state directory. Without one, what is barred is so until the host ends.
    ///
    /// # Errors
    /// The file is there and can't be read: it is named, with what to do.
    pub fn read(state: Option<&Path>) -> Result<Self, String> {
        KeptFile::read(state).map(Barred)
    }

    /// The builds of an instance, the oldest first.
    pub(super) fn of(&self, name: &str) -> &[BarredView] {
        self.0.of(name).map_or(&[], |kept| &kept.barred)
    }

    /// Whether a build is barred for an instance, and why.
    pub(super) fn reason(&self, name: &str, digest: Digest) -> Option<&BarredView> {
        self.of(name).iter().find(|barred| barred.digest == digest)
    }

    /// For each instance what served when its last build was barred.
    pub fn good(&self) -> impl Iterator<Item = (&str, Digest)> {
        self.0.all().filter_map(|(name, kept)| Some((name, kept.good?)))
    }

    /// Bars a build in favour of what serves. The change has to be written.
    pub(super) fn add(&mut self, name: &str, barred: BarredView, good: Option<Digest>) -> Change<OfOne> {
        let mut kept = self.0.of(name).cloned().unwrap_or_default();
        kept.barred.retain(|known| known.digest != barred.digest);
        kept.barred.push(barred);
        kept.good = good.or(kept.good);
        let surplus = kept.barred.len().saturating_sub(BARRED_MAX);
        kept.barred.drain(..surplus);
        self.0.keep(name, Some(kept))
    }

    /// All that has changed so far.
    pub(super) fn changes(&self) -> Change<OfOne> {
        self.0.changes()
    }

    /// A build is barred no longer. The change, if it is one, has to be written.
    pub(super) fn remove(&mut self, name: &str, digest: Digest) -> Option<Change<OfOne>> {
        self.reason(name, digest)?;
        let mut kept = self.0.of(name)?.clone();
        kept.barred.retain(|known| known.digest != digest);
        let kept = Some(kept).filter(|kept| !kept.barred.is_empty());
        Some(self.0.keep(name, kept))
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
        one.remove("a", barred(1).digest).unwrap().write().unwrap();
        let again = Barred::read(Some(state.path())).unwrap();
        assert_eq!((again.of("a"), again.of("b").len()), (&[][..], 1));
    }

    #[test]
    fn changes_that_are_written_out_of_order_come_to_the_last_one() {
        let state = tempfile::tempdir().unwrap();
        let mut all = Barred::read(Some(state.path())).unwrap();
        let first = all.add("a", barred(1), None);
        let second = all.add("a", barred(2), None);
        second.write().unwrap();
        first.write().unwrap();
        let again = Barred::read(Some(state.path())).unwrap();
        assert_eq!(again.of("a"), [barred(1), barred(2)]);
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
        std::fs::write(state.path().join(OfOne::FILE), "{").unwrap();
        let error = Barred::read(Some(state.path())).unwrap_err();
        assert!(
            error.contains(OfOne::FILE) && error.contains("mend the file"),
            "{error}"
        );
    }
}
