//! What follows from a scan of the directories.

use super::super::spec::{displaced, missing, resolved, wanted};
use super::{Record, Supervisor};
use crate::supervisor::stage::{Build, Gone, Input, Loaded};
use extman_intake::{Arrived, VerifiedPlugin};
use extman_model::{DependenciesView, LeftOut, RefusedView, What};
use semver::Version;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

/// A file that never stops growing must not keep the host from being ready.
const SCANS_UNTIL_KNOWN: usize = 10;

/// What the last scan has found.
#[derive(Default)]
pub(super) struct Directories {
    plugins: BTreeMap<PathBuf, VerifiedPlugin>,
    scans: usize,
    known: bool,
    /// Plugins without an instance, as another plugin's has their name.
    displaced: Vec<RefusedView>,
    /// Which version of each plugin is used.
    resolved: Arc<DependenciesView>,
    /// Files of plugins that are left out.
    left_out: Vec<RefusedView>,
}

impl Directories {
    /// Whether a scan has found all files whole.
    pub(super) fn are_known(&self) -> bool {
        self.known
    }

    /// Whether a scan has found the same bytes at the same paths.
    fn hold(&self, plugins: &BTreeMap<PathBuf, VerifiedPlugin>) -> bool {
        self.plugins.len() == plugins.len()
            && self
                .plugins
                .iter()
                .zip(plugins)
                .all(|((path, before), (other, now))| path == other && before.is(now))
    }
}

impl Supervisor {
    pub(super) fn arrived(&mut self, arrived: Arrived) {
        let seen = &mut self.directories;
        let (was_known, first) = (seen.known, seen.scans == 0);
        seen.scans += 1;
        seen.known |= !arrived.pending || seen.scans >= SCANS_UNTIL_KNOWN;
        if self.shutdown.is_some() {
            return;
        }
        self.tell_found(&arrived);
        let Arrived {
            plugins,
            refused,
            directories,
            ..
        } = arrived;
        // An idle host reconciles and publishes nothing.
        if first || self.directories.known != was_known || !self.directories.hold(&plugins) {
            self.directories.plugins = plugins;
            self.resolve();
            // A file that is still being written is no plugin yet.
            if self.directories.known {
                let (plugins, resolved) = (self.directories.plugins.values(), &self.directories.resolved);
                let missing = missing(&self.configured, plugins, resolved, &directories);
                let newly = self.registry.publish_missing(missing);
                self.batch.events.extend(newly.into_iter().map(What::Missing));
            }
            self.reconcile();
            self.find_displaced();
            if self.directories.known {
                self.find_left_out();
            }
        }
        let Directories {
            displaced, left_out, ..
        } = &self.directories;
        let beside = displaced.iter().chain(left_out).cloned();
        self.registry
            .publish_refused(refused.into_iter().chain(beside).collect());
    }

    /// Decides which version of each plugin is used. What runs and is there gives way to nothing lower; whoever takes its file away wants
    /// it gone.
    fn resolve(&mut self) {
        let plugins = &self.directories.plugins;
        let about = |plugin: &VerifiedPlugin| {
            let about = &plugin.manifest().plugin;
            (about.id.clone(), about.version.clone())
        };
        let there: BTreeSet<(String, Version)> = plugins.values().map(about).collect();
        let serving = self
            .instances
            .values()
            .filter_map(|record| record.actor.serving());
        let mut running: BTreeMap<String, Version> = BTreeMap::new();
        for (id, version) in serving.map(|running| about(running.build())) {
            let known = running.get(&id).is_some_and(|known| *known >= version);
            if !known && there.contains(&(id.clone(), version.clone())) {
                running.insert(id, version);
            }
        }
        let resolved = resolved(&self.configured, plugins.values(), &running, self.lock.as_ref());
        self.dependencies.require(&resolved);
        self.directories.resolved = Arc::new(resolved);
        self.registry
            .publish_dependencies(self.directories.resolved.clone());
    }

    /// The files of plugins that are left out are refused, with the reason.
    fn find_left_out(&mut self) {
        let Directories {
            plugins, resolved, ..
        } = &self.directories;
        let files = |left_out: &LeftOut| {
            let reason = left_out.in_one_line();
            let of_id = plugins
                .iter()
                .filter(|(_, plugin)| plugin.manifest().plugin.id == left_out.id);
            let view = |(path, _): (&PathBuf, _)| RefusedView {
                path: path.clone(),
                code: left_out.code.as_str().to_owned(),
                reason: reason.clone(),
            };
            of_id.map(view).collect::<Vec<_>>()
        };
        let now: Vec<_> = resolved.left_out.iter().flat_map(files).collect();
        let before = std::mem::replace(&mut self.directories.left_out, now);
        let new = self
            .directories
            .left_out
            .iter()
            .filter(|view| !before.contains(view));
        self.batch.events.extend(new.cloned().map(What::Refused));
    }

    fn tell_found(&mut self, arrived: &Arrived) {
        let events = &mut self.batch.events;
        let path = |path: &PathBuf| path.clone();
        events.extend(
            arrived
                .appeared
                .iter()
                .map(path)
                .map(|path| What::Appeared { path }),
        );
        events.extend(
            arrived
                .vanished
                .iter()
                .map(path)
                .map(|path| What::Vanished { path }),
        );
        events.extend(arrived.newly_refused.iter().cloned().map(What::Refused));
        let new = arrived.new.iter().filter_map(|path| arrived.plugins.get(path));
        events.extend(new.map(|plugin| {
            let manifest = &plugin.manifest().plugin;
            What::Found {
                id: manifest.id.clone(),
                version: manifest.version.clone(),
                path: plugin.origin().to_owned(),
                digest: plugin.digest(),
            }
        }));
    }

    /// Nobody has asked for it, but a plugin must not stay away without a word.
    fn find_displaced(&mut self) {
        let displaced = displaced(&self.configured, self.directories.plugins.values()).into_iter();
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
        let now = displaced.map(view).collect();
        let before = std::mem::replace(&mut self.directories.displaced, now);
        let new = self
            .directories
            .displaced
            .iter()
            .filter(|view| !before.contains(view));
        self.batch.events.extend(new.cloned().map(What::Refused));
    }

    /// Tells each actor which bytes there are for it, where they are others than before.
    fn reconcile(&mut self) {
        let (plugins, resolved) = (self.directories.plugins.values(), &self.directories.resolved);
        let wanted = wanted(&self.configured, plugins, resolved);
        let gone = self
            .instances
            .keys()
            .filter(|name| !wanted.contains_key(&***name));
        let gone: Vec<_> = gone.cloned().collect();
        for name in gone {
            if let Some(record) = self.instances.get_mut(&name) {
                record.bytes = None;
            }
            self.feed(&name, Input::Gone(Gone::File));
        }
        let mut bytes = Vec::with_capacity(wanted.len());
        for (name, (config, plugin)) in wanted {
            let name: Arc<str> = name.as_str().into();
            if !self.instances.contains_key(&name) {
                let tally = self.tallies.remove(&name).unwrap_or_default();
                let policy = (self.supervision, self.disabled.contains(&name));
                let record = Record::new(name.clone(), config, plugin.clone(), policy, tally);
                self.wanted += usize::from(record.is_wanted());
                // Forgotten and back within one batch: it is another one, and not gone.
                self.batch.forgotten.remove(&name);
                self.instances.insert(name.clone(), record);
                self.note_standing(&name);
            }
            bytes.push((name, plugin));
        }
        // Whoever lacks something knows it before it is started.
        self.follow_dependencies();
        for (name, plugin) in bytes {
            let bytes = Some((plugin.digest(), plugin.origin().to_owned()));
            let before = self.instances.get_mut(&name).map(|record| &mut record.bytes);
            if before.is_some_and(|before| std::mem::replace(before, bytes.clone()) != bytes) {
                self.feed(&name, Input::Bytes(plugin));
            }
        }
    }
}
