//! What follows from a look at the directories.

use super::super::record::{Goal, Record};
use super::super::spec::{displaced, missing, wanted};
use super::Supervisor;
use crate::arrivals::Arrived;
use crate::lifecycle::Event;
use extman_intake::VerifiedPlugin;
use extman_model::clock;
use extman_model::{RefusedView, What};

/// A file that never stops growing must not keep the host from being ready.
const LOOKS_UNTIL_READY: usize = 10;

impl Supervisor {
    pub(super) fn arrived(&mut self, arrived: Arrived) {
        self.looks += 1;
        self.looked |= !arrived.pending || self.looks >= LOOKS_UNTIL_READY;
        if self.closing.is_some() {
            return;
        }
        for path in &arrived.appeared {
            self.told.push(What::Appeared { path: path.clone() });
        }
        for path in &arrived.vanished {
            self.told.push(What::Vanished { path: path.clone() });
        }
        for refused in &arrived.newly_refused {
            self.told.push(What::Refused(refused.clone()));
        }
        for plugin in arrived.new.iter().filter_map(|path| arrived.plugins.get(path)) {
            let manifest = &plugin.manifest().plugin;
            self.told.push(What::Found {
                id: manifest.id.clone(),
                version: manifest.version.clone(),
                path: plugin.origin().to_owned(),
                digest: plugin.digest(),
            });
        }
        self.plugins = arrived.plugins;
        // A file that is still being written is no plugin yet.
        if self.looked {
            let missing = missing(&self.configured, self.plugins.values(), &arrived.directories);
            let newly = self.registry.publish_missing(missing);
            self.told.extend(newly.into_iter().map(What::Missing));
        }
        self.reconcile();
        self.tell_displaced();
        let mut refused = arrived.refused;
        refused.extend(self.displaced.iter().cloned());
        self.registry.publish_refused(refused);
    }

    /// Nobody has asked for it, but a plugin must not stay away without a word.
    fn tell_displaced(&mut self) {
        let displaced = displaced(&self.configured, self.plugins.values()).into_iter();
        let view = |(plugin, by): (&VerifiedPlugin, &str)| {
            let id = &plugin.manifest().plugin.id;
            let reason = format!(
                "the configuration gives the name {id:?} to an [[instance]] of the plugin {by:?}, so the plugin {id:?} has no \
                 instance; give that [[instance]] another name, or add one with plugin = {id:?} and a name of its own"
            );
            RefusedView {
                path: plugin.origin().to_owned(),
                code: "name-taken".to_owned(),
                reason,
            }
        };
        let before = std::mem::replace(&mut self.displaced, displaced.map(view).collect());
        let new = self.displaced.iter().filter(|view| !before.contains(view));
        self.told.extend(new.cloned().map(What::Refused));
    }

    /// Compares what there should be with what there is.
    pub(super) fn reconcile(&mut self) {
        let wanted = wanted(&self.configured, self.plugins.values());
        self.set_goals(|name| {
            if wanted.contains_key(name) {
                Goal::Running
            } else {
                Goal::Gone
            }
        });
        for (name, (config, plugin)) in wanted {
            let now = clock::unix_ms(clock::wall());
            match self.records.get_mut(&name) {
                None => {
                    let tally = self.tallies.remove(&name).unwrap_or_default();
                    let record = Record::new(config, plugin, tally, now);
                    self.records.insert(name.clone(), record);
                }
                Some(record) if record.plugin.digest() == plugin.digest() => {
                    // The same bytes, though perhaps at another path.
                    if let Some(serves) = &mut record.serves
                        && serves.digest() == plugin.digest()
                    {
                        *serves = plugin.clone();
                    }
                    record.plugin = plugin;
                }
                Some(record) => {
                    let rejected = self.rejected.get(&name) == Some(&plugin.digest());
                    if !rejected {
                        record.plugin = plugin;
                        if record.running.is_none() && record.move_on(Event::NewBytes, None, now).is_ok() {
                            record.goal = if record.held { Goal::Stopped } else { Goal::Running };
                        }
                    }
                }
            }
            self.drive(&name);
        }
    }

    /// For instances that nobody holds: what they should come to.
    pub(super) fn set_goals(&mut self, goal: impl Fn(&str) -> Goal) {
        let names: Vec<String> = self.records.keys().cloned().collect();
        for name in names {
            if let Some(record) = self.records.get_mut(&name) {
                match goal(&name) {
                    Goal::Gone => record.goal = Goal::Gone,
                    // It was to be forgotten, and its file is back.
                    goal if record.goal == Goal::Gone => record.goal = goal,
                    _ => {}
                }
            }
            self.drive(&name);
        }
    }
}
