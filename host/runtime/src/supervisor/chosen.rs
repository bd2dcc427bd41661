//! Builds that instances are to be made from whatever else lies in the directories, since an operator has chosen them or nobody has asked for another
//! one.

use super::kept::{Change, KeptFile, OfInstance};
use extman_intake::VerifiedPlugin;
use extman_model::{Digest, clock};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// Which build is chosen for each instance, and the file that says so.
#[derive(Default)]
pub struct Chosen {
    kept: KeptFile<Choice>,
    /// Those of each instance's builds that were there when they were chosen, or when the host started.
    plugins: BTreeMap<String, Vec<VerifiedPlugin>>,
    /// Instances of which it was told that their build is not there.
    lost: BTreeSet<String>,
    /// Updates that the host before did not live to settle, and that are undone: the instance, and to which build.
    undone: Vec<(String, Digest)>,
}

/// A build that is chosen.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Choice {
    pub digest: Digest,
    /// What an instance that is updated by itself would have been made from: as long as that is so, the choice holds. Nothing where no operator has
    /// chosen it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub over: Option<Digest>,
    since_unix_ms: u64,
    /// The update to it is not settled yet: what it would be undone to.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    unsettled: Option<Before>,
}

/// How it was before an update.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Before {
    /// What was chosen.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    digest: Option<Digest>,
    /// Over what.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    over: Option<Digest>,
    /// What serves until the update to be judged is settled: if the host ends before that, the next one goes back.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    serves: Option<Digest>,
}

impl OfInstance for Choice {
    const FILE: &'static str = "chosen.json";
    const WHAT: &'static str = "which builds are chosen";
    const WITHOUT: &'static str = "instances are made from the newest that lies in the directories";

    fn changed_unix_ms(&self) -> u64 {
        self.since_unix_ms
    }
}

impl Choice {
    fn new(digest: Digest, over: Option<Digest>) -> Self {
        Choice {
            digest,
            over,
            since_unix_ms: clock::unix_ms(clock::wall()),
            unsettled: None,
        }
    }

    /// All builds that it may come to.
    fn builds(&self) -> impl Iterator<Item = Digest> + '_ {
        let before = self.unsettled.iter();
        let before = before.flat_map(|before| [before.digest, before.serves]).flatten();
        [self.digest].into_iter().chain(before)
    }

    /// The choice that an update makes. What [`undo`](Chosen::undo) goes back to is what was chosen before all updates that are not settled.
    fn to_settle(
        so_far: Option<&Choice>,
        (digest, over): (Digest, Option<Digest>),
        serves: Option<Digest>,
    ) -> Self {
        let before_updates = |choice: &Choice| {
            let before = match choice.unsettled {
                Some(_) => choice.before(),
                None => Some(choice.clone()),
            };
            (
                before.as_ref().map(|one| one.digest),
                before.and_then(|one| one.over),
            )
        };
        let unsettled = match so_far {
            // The update that is under way goes on.
            Some(Choice {
                digest: same,
                unsettled: Some(before),
                ..
            }) if *same == digest => before.clone(),
            so_far => {
                let (digest, over) = so_far.map(before_updates).unwrap_or_default();
                Before { digest, over, serves }
            }
        };
        Choice {
            unsettled: Some(unsettled),
            ..Choice::new(digest, over)
        }
    }

    /// What was chosen before an update that is not settled.
    fn before(&self) -> Option<Choice> {
        let before = self.unsettled.as_ref()?;
        Some(Choice::new(before.digest?, before.over))
    }

    /// What a host goes back to that finds it unsettled.
    fn after_crash(&self) -> Option<Choice> {
        let serves = self.unsettled.as_ref()?.serves?;
        Some(self.before().unwrap_or_else(|| Choice::new(serves, self.over)))
    }
}

impl Chosen {
    /// What an earlier host kept in this state directory, with the builds that `find` finds. Updates to be judged that it did not live to settle are
    /// undone. Without a directory, what is chosen is so until the host ends.
    ///
    /// # Errors
    /// The file is there and can't be read: it is named, with what to do.
    pub fn read(
        state: Option<&Path>,
        find: impl Fn(Digest) -> Option<VerifiedPlugin>,
    ) -> Result<Self, String> {
        let kept: KeptFile<Choice> = KeptFile::read(state)?;
        let found = |(name, choice): (&str, &Choice)| {
            let plugins: Vec<_> = choice.builds().filter_map(&find).collect();
            (name.to_owned(), plugins)
        };
        let plugins = kept.all().map(found).collect();
        let undone = kept
            .all()
            .filter_map(|(name, choice)| Some((name.to_owned(), choice.digest, choice.after_crash()?)));
        let undone: Vec<_> = undone.collect();
        let mut chosen = Chosen {
            kept,
            plugins,
            ..Chosen::default()
        };
        for (name, digest, before) in undone {
            let _ = chosen.keep(&name, before);
            chosen.undone.push((name, digest));
        }
        Ok(chosen)
    }

    /// What is chosen for an instance, and its build if that was found.
    pub(super) fn of(&self, name: &str) -> Option<(&Choice, Option<&VerifiedPlugin>)> {
        let choice = self.kept.of(name)?;
        let mut plugins = self.plugins.get(name).into_iter().flatten();
        Some((choice, plugins.find(|plugin| plugin.digest() == choice.digest)))
    }

    /// Chooses a build for an instance for good, since it serves. The change has to be written.
    pub(super) fn choose(&mut self, name: &str, plugin: &VerifiedPlugin) -> Change<Choice> {
        self.add(name, plugin);
        self.keep(name, Choice::new(plugin.digest(), None))
    }

    /// An operator chooses a build; until the update to it is settled, that can be undone. `serves`: what serves until then, if the update is to be
    /// judged. The change has to be written.
    pub(super) fn update(
        &mut self,
        name: &str,
        plugin: &VerifiedPlugin,
        over: Option<Digest>,
        serves: Option<&VerifiedPlugin>,
    ) -> Change<Choice> {
        for plugin in [plugin].into_iter().chain(serves) {
            self.add(name, plugin);
        }
        let serves = serves.map(|plugin| plugin.digest());
        let choice = Choice::to_settle(self.kept.of(name), (plugin.digest(), over), serves);
        self.keep(name, choice)
    }

    /// The build for which an instance's update is not settled yet.
    pub(super) fn unsettled(&self, name: &str) -> Option<Digest> {
        let choice = self.kept.of(name)?;
        choice.unsettled.is_some().then_some(choice.digest)
    }

    /// The update of an instance is settled. The change, if it is one, has to be written.
    pub(super) fn settle(&mut self, name: &str) -> Option<Change<Choice>> {
        self.unsettled(name)?;
        let mut choice = self.kept.of(name)?.clone();
        choice.unsettled = None;
        Some(self.keep(name, choice))
    }

    /// An operator wants the update of an instance settled on: a host does not go back any more that finds it unsettled. The change, if it is one, has
    /// to be written.
    pub(super) fn promote(&mut self, name: &str) -> Option<Change<Choice>> {
        let mut choice = self.kept.of(name)?.clone();
        choice.unsettled.as_mut()?.serves.take()?;
        Some(self.keep(name, choice))
    }

    /// What is chosen for an instance was not taken, or was taken back: what was chosen before is again. Where that is nothing, what `serves` is, if
    /// that is given. The change, if it is one, has to be written.
    pub(super) fn undo(&mut self, name: &str, serves: Option<&VerifiedPlugin>) -> Option<Change<Choice>> {
        match (self.kept.of(name)?.before(), serves) {
            (Some(before), _) => Some(self.keep(name, before)),
            (None, Some(serves)) => Some(self.choose(name, serves)),
            (None, None) => self.forget(name),
        }
    }

    /// Nothing is chosen for an instance any more. The change, if it is one, has to be written.
    pub(super) fn forget(&mut self, name: &str) -> Option<Change<Choice>> {
        self.plugins.remove(name);
        self.lost.remove(name);
        self.kept.of(name)?;
        Some(self.kept.keep(name, None))
    }

    /// All that has changed so far.
    pub(super) fn changes(&self) -> Change<Choice> {
        self.kept.changes()
    }

    /// Notes that the build of an instance is not there. `true` the first time, until something is chosen anew.
    pub(super) fn note_lost(&mut self, name: &str) -> bool {
        self.lost.insert(name.to_owned())
    }

    /// Updates that the host before did not live to settle, and that are undone; once.
    pub(super) fn take_undone(&mut self) -> Vec<(String, Digest)> {
        std::mem::take(&mut self.undone)
    }

    fn add(&mut self, name: &str, plugin: &VerifiedPlugin) {
        let plugins = self.plugins.entry(name.to_owned()).or_default();
        if plugins.iter().all(|known| known.digest() != plugin.digest()) {
            plugins.push(plugin.clone());
        }
    }

    fn keep(&mut self, name: &str, choice: Choice) -> Change<Choice> {
        self.lost.remove(name);
        if let Some(plugins) = self.plugins.get_mut(name) {
            plugins.retain(|plugin| choice.builds().any(|digest| digest == plugin.digest()));
        }
        self.kept.keep(name, Some(choice))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(number: u8) -> Digest {
        Digest::new([number; 32])
    }

    fn written(state: &Path, instances: impl IntoIterator<Item = (&'static str, Choice)>) {
        let mut kept: KeptFile<Choice> = KeptFile::read(Some(state)).unwrap();
        for (name, choice) in instances {
            kept.keep(name, Some(choice)).write().unwrap();
        }
    }

    fn unsettled(before: Option<u8>, serves: Option<u8>) -> Choice {
        let before = Before {
            digest: before.map(digest),
            over: before.map(|_| digest(3)),
            serves: serves.map(digest),
        };
        Choice {
            unsettled: Some(before),
            ..Choice::new(digest(2), Some(digest(4)))
        }
    }

    #[test]
    fn host_that_finds_an_update_that_was_to_be_judged_goes_back_to_what_served() {
        let state = tempfile::tempdir().unwrap();
        let choices = [
            ("chosen", unsettled(Some(1), Some(1))),
            ("by-itself", unsettled(None, Some(1))),
            ("unjudged", unsettled(Some(1), None)),
            ("settled", Choice::new(digest(2), None)),
        ];
        written(state.path(), choices);
        let mut chosen = Chosen::read(Some(state.path()), |_| None).unwrap();
        let now =
            |chosen: &Chosen, name: &str| chosen.of(name).map(|(choice, _)| (choice.digest, choice.over));
        let expected = [
            ("chosen", (digest(1), Some(digest(3)))),
            ("by-itself", (digest(1), Some(digest(4)))),
            ("unjudged", (digest(2), Some(digest(4)))),
            ("settled", (digest(2), None)),
        ];
        for (name, choice) in expected {
            assert_eq!(now(&chosen, name), Some(choice), "{name}");
        }
        assert_eq!(chosen.unsettled("unjudged"), Some(digest(2)));
        let told = ["by-itself", "chosen"].map(|name| (name.to_owned(), digest(2)));
        assert_eq!(chosen.take_undone(), told);
        chosen.changes().write().unwrap();
        let mut again = Chosen::read(Some(state.path()), |_| None).unwrap();
        assert_eq!(again.take_undone(), []);
        assert_eq!(now(&again, "chosen"), now(&chosen, "chosen"));
    }

    #[test]
    fn what_was_chosen_before_an_update_is_chosen_again_when_that_is_undone() {
        let state = tempfile::tempdir().unwrap();
        let choices = [
            ("chosen", unsettled(Some(1), None)),
            ("by-itself", unsettled(None, None)),
            ("settled", Choice::new(digest(2), None)),
        ];
        written(state.path(), choices);
        let mut chosen = Chosen::read(Some(state.path()), |_| None).unwrap();
        for name in ["chosen", "by-itself", "settled"] {
            assert!(chosen.undo(name, None).is_some(), "{name}");
        }
        let (before, _) = chosen.of("chosen").unwrap();
        assert_eq!((before.digest, before.over), (digest(1), Some(digest(3))));
        assert!(chosen.of("by-itself").is_none() && chosen.of("settled").is_none());
        assert_eq!(chosen.unsettled("chosen"), None);
    }

    #[test]
    fn update_that_is_asked_for_again_or_overtaken_is_undone_to_what_was_before_all_of_them() {
        let settled = Choice::new(digest(1), Some(digest(3)));
        let first = Choice::to_settle(Some(&settled), (digest(2), Some(digest(4))), Some(digest(1)));
        assert_eq!(first.unsettled, unsettled(Some(1), Some(1)).unsettled);
        let again = Choice::to_settle(Some(&first), (digest(2), Some(digest(4))), None);
        assert_eq!(again.unsettled, first.unsettled);
        let other = Choice::to_settle(Some(&first), (digest(5), None), None);
        assert_eq!(other.unsettled, unsettled(Some(1), None).unsettled);
        let none = Choice::to_settle(None, (digest(2), None), Some(digest(1)));
        assert_eq!(none.unsettled, unsettled(None, Some(1)).unsettled);
    }

    #[test]
    fn choices_of_ten_thousand_instances_are_kept() {
        let state = tempfile::tempdir().unwrap();
        let mut kept: KeptFile<Choice> = KeptFile::read(Some(state.path())).unwrap();
        for number in 0..10_000 {
            let name = format!("{number:064}");
            let _ = kept.keep(&name, Some(unsettled(Some(1), Some(1))));
        }
        kept.changes().write().unwrap();
        let again: KeptFile<Choice> = KeptFile::read(Some(state.path())).unwrap();
        assert_eq!(again.all().count(), 10_000);
    }
}
