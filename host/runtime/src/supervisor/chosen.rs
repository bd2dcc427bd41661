//! Builds that instances are to be made from whatever else lies in the directories, since an operator has chosen them or nobody has asked for another
//! one.

use super::kept::{Change, KeptFile, OfInstance};
use extman_intake::VerifiedPlugin;
use extman_model::{Digest, clock};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;

/// Which build is chosen for each instance, and the file that says so.
#[derive(Default)]
pub struct Chosen {
    kept: KeptFile<Choice>,
    /// Those of them that were there when they were chosen, or when the host started.
    plugins: BTreeMap<String, VerifiedPlugin>,
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
}

impl OfInstance for Choice {
    const FILE: &'static str = "chosen.json";
    const WHAT: &'static str = "which builds are chosen";
    const WITHOUT: &'static str = "instances are made from the newest that lies in the directories";

    fn changed_unix_ms(&self) -> u64 {
        self.since_unix_ms
    }
}

impl Chosen {
    /// What an earlier host kept in this state directory, with the builds that `find` finds. Without a directory, what is chosen is so until the
    /// host ends.
    ///
    /// # Errors
    /// The file is there and can't be read: it is named, with what to do.
    pub fn read(
        state: Option<&Path>,
        find: impl Fn(Digest) -> Option<VerifiedPlugin>,
    ) -> Result<Self, String> {
        let kept: KeptFile<Choice> = KeptFile::read(state)?;
        let found = |(name, choice): (&str, &Choice)| Some((name.to_owned(), find(choice.digest)?));
        let plugins = kept.all().filter_map(found).collect();
        Ok(Chosen { kept, plugins })
    }

    /// What is chosen for an instance, and its build if that was found.
    pub(super) fn of(&self, name: &str) -> Option<(&Choice, Option<&VerifiedPlugin>)> {
        Some((self.kept.of(name)?, self.plugins.get(name)))
    }

    /// Chooses a build for an instance. The change has to be written.
    pub(super) fn choose(
        &mut self,
        name: &str,
        plugin: &VerifiedPlugin,
        over: Option<Digest>,
    ) -> Change<Choice> {
        self.plugins.insert(name.to_owned(), plugin.clone());
        let choice = Choice {
            digest: plugin.digest(),
            over,
            since_unix_ms: clock::unix_ms(clock::wall()),
        };
        self.kept.keep(name, Some(choice))
    }

    /// Nothing is chosen for an instance any more. The change, if it is one, has to be written.
    pub(super) fn forget(&mut self, name: &str) -> Option<Change<Choice>> {
        self.plugins.remove(name);
        self.kept.of(name)?;
        Some(self.kept.keep(name, None))
    }
}
