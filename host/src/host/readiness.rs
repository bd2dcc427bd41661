//! Whether the host is ready, for whoever asks it every second: only what is required is looked at, and only what keeps the host from being
//! ready is put into words.

use super::Host;
use super::health::is_covered;
use crate::probing::Standing;
use extman_model::control::report::{REASONS_MAX, Readiness};
use extman_model::{Criticality, Health, Lifecycle};
use extman_runtime::registry::{Entry, Snapshot};
use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::Ordering;

const NOT_LOOKED: &str = "the first look at the plugin directories is not done, or the host ends";

impl Host {
    /// Whether the host is ready: the first look is done, and each plugin that is required serves, or others do its work. One that is not
    /// required may still be starting.
    pub fn readiness(&self) -> Readiness {
        if !self.has_looked() {
            return Readiness::not_for(NOT_LOOKED);
        }
        let (snapshot, missing) = (self.snapshot(), self.inner.registry.missing());
        let mut not_ready = NotReady::default();
        let mut sets = HashMap::new();
        for entry in snapshot.all() {
            if entry.config.criticality == Criticality::Required {
                let standing = self.engine().standing(&entry.name);
                if self.keeps_from_ready(&snapshot, &entry, standing, &mut sets) {
                    not_ready.add(&entry.name, || reason(&entry, standing));
                }
            }
        }
        for view in missing.iter() {
            // One whose file has just gone may still serve.
            if self.is_missed(&view.name) && snapshot.get(&view.name).is_none() {
                let name = &view.name;
                not_ready.add(name, || {
                    format!("{name} is required, and its plugin is not there")
                });
            }
        }
        not_ready.told()
    }

    /// The directories have been looked at, and the host does not end.
    pub(super) fn has_looked(&self) -> bool {
        self.inner.registry.is_known() && !self.inner.ending.load(Ordering::Acquire)
    }

    /// Whether a required instance does not serve, and nobody does its work. `sets`: how many serve of each set that was counted.
    fn keeps_from_ready(
        &self,
        snapshot: &Snapshot,
        entry: &Entry,
        standing: Option<Standing>,
        sets: &mut HashMap<String, usize>,
    ) -> bool {
        if standing.is_some_and(|standing| standing.judged.health.serves() || standing.left_out)
            || is_covered(snapshot, entry)
        {
            return false;
        }
        let Some(set) = &entry.config.redundant else {
            return true;
        };
        let serving = *sets
            .entry(set.clone())
            .or_insert_with(|| self.serving_of_set(snapshot, set));
        serving < self.needed_of_set(set)
    }
}

/// Why a required plugin does not serve. Anybody may ask, so what a plugin says is left out: of a start only the host speaks.
fn reason(entry: &Entry, standing: Option<Standing>) -> String {
    let health = standing.map_or(Health::Unknown, |standing| standing.judged.health);
    let (name, lifecycle) = (&entry.name, entry.lifecycle.as_str());
    let text = format!("{name} is required, and is {lifecycle} and {}", health.as_str());
    match &entry.cause {
        Some(cause) if entry.lifecycle == Lifecycle::Starting => format!("{text}: {cause}"),
        _ => text,
    }
}

/// What keeps the host from being ready, as it is found: instances by name, then those that are missing by name.
#[derive(Default)]
struct NotReady {
    /// At most [`REASONS_MAX`], by name.
    first: BTreeMap<String, String>,
    found: usize,
}

impl NotReady {
    /// Put into words only if it is among those that are told.
    fn add(&mut self, name: &str, reason: impl FnOnce() -> String) {
        self.found += 1;
        if self.first.len() >= REASONS_MAX {
            match self.first.last_entry() {
                Some(last) if **last.key() > *name => drop(last.remove()),
                _ => return,
            }
        }
        self.first.insert(name.to_owned(), reason());
    }

    fn told(self) -> Readiness {
        Readiness {
            more: self.found - self.first.len(),
            reasons: self.first.into_values().collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        #[test]
        fn the_first_reasons_by_name_are_told_and_all_others_counted(
            names in prop::collection::btree_set("[a-d]{1,3}", 0..60),
            order in any::<prop::sample::Index>(),
        ) {
            let mut found: Vec<&String> = names.iter().collect();
            found.rotate_left(order.index(names.len().max(1)));
            let mut not_ready = NotReady::default();
            found.iter().for_each(|name| not_ready.add(name, || (*name).clone()));
            let told = not_ready.told();
            let expected: BTreeSet<&String> = names.iter().take(REASONS_MAX).collect();
            prop_assert_eq!(told.reasons.iter().collect::<BTreeSet<_>>(), expected);
            prop_assert!(told.reasons.is_sorted());
            prop_assert_eq!(told.reasons.len() + told.more, names.len());
            prop_assert_eq!(told.is_ready(), names.is_empty());
        }
    }
}
