//! What follows from a scan of the directories.

use super::super::spec::{displaced, missing, resolved, wanted};
use super::configuration::blueprint;
use super::{Record, Supervisor, Told};
use crate::supervisor::blueprint::Blueprint;
use crate::supervisor::stage::{Gone, Input, Loaded};
use extman_intake::{Arrived, VerifiedPlugin};
use extman_model::{DependenciesView, Digest, LeftOut, RefusedView, What};
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
    /// Files and directories that are refused.
    refused: Vec<RefusedView>,
    /// Where it was looked.
    places: Vec<PathBuf>,
}

impl Directories {
    /// Whether a scan has found all files whole.
    pub(super) fn are_known(&self) -> bool {
        self.known
    }

    /// Whether there has been a scan.
    pub(super) fn were_looked_at(&self) -> bool {
        self.scans > 0
    }

    /// The plugin at this path.
    pub(super) fn file(&self, path: &PathBuf) -> Option<&VerifiedPlugin> {
        self.plugins.get(path)
    }

    /// The plugin of these bytes.
    pub(super) fn of_digest(&self, digest: Digest) -> Option<&VerifiedPlugin> {
        self.all().find(|plugin| plugin.digest() == digest)
    }

    /// All plugins that are there.
    pub(super) fn all(&self) -> impl Iterator<Item = &VerifiedPlugin> {
        self.plugins.values()
    }

    /// The other builds of a plugin, the highest version first.
    pub(super) fn others_of(&self, plugin: &VerifiedPlugin) -> Vec<VerifiedPlugin> {
        let about = |plugin: &VerifiedPlugin| plugin.manifest().plugin.clone();
        let is_other = |other: &&VerifiedPlugin| {
            about(other).id == about(plugin).id && other.digest() != plugin.digest()
        };
        let mut others: Vec<_> = self.all().filter(is_other).cloned().collect();
        others.sort_by(|a, b| about(b).version.cmp_precedence(&about(a).version));
        others
    }

    /// Whether a scan has found the same bytes at the same paths.
    fn hold(&self, plugins: &BTreeMap<PathBuf, VerifiedPlugin>) -> bool {
        self.plugins.len() == plugins.len()
            && self
                .plugins
                .iter()
                .zip(plugins)
                .all(|((path, before), (other, now))| path == other && before.digest() == now.digest())
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
        let seen = &mut self.directories;
        (seen.refused, seen.places) = (refused, directories);
        // An idle host reconciles and publishes nothing.
        if first || seen.known != was_known || !seen.hold(&plugins) {
            seen.plugins = plugins;
            return self.resolve_and_reconcile(Gone::File);
        }
        self.publish_refused();
    }

    /// Decides anew which instances there should be. Those that should no longer be are gone for this reason.
    pub(super) fn resolve_and_reconcile(&mut self, gone: Gone) {
        self.resolve();
        // A file that is still being written is no plugin yet.
        if self.directories.known {
            let (plugins, resolved) = (self.directories.plugins.values(), &self.directories.resolved);
            let missing = missing(&self.configured, plugins, resolved, &self.directories.places);
            let newly = self.registry.publish_missing(missing);
            self.batch.events.extend(newly.into_iter().map(What::Missing));
        }
        self.reconcile(gone);
        self.find_displaced();
        if self.directories.known {
            self.find_left_out();
            self.tell_undone();
        }
        self.publish_refused();
    }

    fn publish_refused(&self) {
        let Directories {
            refused,
            displaced,
            left_out,
            ..
        } = &self.directories;
        let all = refused.iter().chain(displaced).chain(left_out);
        self.registry.publish_refused(all.cloned().collect());
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
        for (id, version) in serving.map(|running| about(&running.build().plugin)) {
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

    /// The version that was resolved for an instance.
    pub(super) fn resolved_for(&self, name: &str) -> Option<VerifiedPlugin> {
        let (plugins, resolved) = (self.directories.plugins.values(), &self.directories.resolved);
        let mut wanted = wanted(&self.configured, plugins, resolved);
        wanted.remove(name).map(|(_, plugin)| plugin)
    }

    /// Why a build that was named can't take the place of what an instance is made from: the resolution would leave it out, or one of those that are
    /// to run. The one that was resolved for the instance fits.
    pub(super) fn does_not_fit(&self, name: &str, plugin: &VerifiedPlugin) -> Option<String> {
        let resolved_for = self.resolved_for(name);
        let is_resolved = resolved_for.is_some_and(|resolved| resolved.digest() == plugin.digest());
        let present = &self.instances.get(name)?.actor.target().plugin;
        if is_resolved || present.digest() == plugin.digest() {
            return None;
        }
        let about = &plugin.manifest().plugin;
        let left_out = |build: &VerifiedPlugin| {
            let used = self.instances.values().filter(|record| record.is_to_run());
            let used = used.map(|record| &record.actor.target().plugin);
            let others = used.filter(|other| other.manifest().plugin.id != about.id);
            resolved(&self.configured, others.chain([build]), &BTreeMap::new(), None).left_out
        };
        let before = left_out(present);
        let is_new = |one: &&LeftOut| one.id == about.id || before.iter().all(|known| known.id != one.id);
        let left_out = left_out(plugin);
        let why = left_out.iter().find(is_new)?.in_one_line();
        Some(format!(
            "version {} of {} does not go with what is used here: {why}; `extman unload` or `extman disable` takes out of the way what does not go with it",
            about.version, about.id
        ))
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

    /// Tells each actor what it is to be made from, where that is something else than before.
    pub(super) fn reconcile(&mut self, why_gone: Gone) {
        let (plugins, resolved) = (self.directories.plugins.values(), &self.directories.resolved);
        let mut wanted = wanted(&self.configured, plugins, resolved);
        let mut gone = Vec::new();
        for (name, record) in &self.instances {
            let id = &record.actor.build().plugin.manifest().plugin.id;
            match wanted.get(&**name) {
                Some((_, plugin)) if plugin.manifest().plugin.id == *id => {}
                // Of another plugin: it is made anew when this one is gone.
                Some(_) => gone.push((name.clone(), Gone::Configuration)),
                None => gone.push((name.clone(), why_gone)),
            }
        }
        for (name, why) in gone {
            wanted.remove(&*name);
            if let Some(record) = self.instances.get_mut(&name) {
                record.told = None;
            }
            self.feed(&name, Input::Gone(why));
        }
        let mut blueprints = Vec::with_capacity(wanted.len());
        for (name, (config, plugin)) in wanted {
            let name: Arc<str> = name.as_str().into();
            let awaits_files = self.awaits_files(&name, config.update);
            let (plugin, barred) = self.select(&name, config.update, plugin);
            let blueprint = blueprint(&self.trials, &name, Blueprint { plugin, config });
            if !self.instances.contains_key(&name) {
                let totals = self.gone_totals.remove(&name).unwrap_or_default();
                let policy = (self.supervision, self.disabled.contains(&name));
                let record = Record::new(name.clone(), blueprint.clone(), policy, totals);
                self.to_run += usize::from(record.is_to_run());
                // Forgotten and back within one batch: it is another one, and not gone.
                self.batch.forgotten.remove(&name);
                self.instances.insert(name.clone(), record);
                self.note_availability(&name);
            }
            blueprints.push((name, blueprint, barred, awaits_files));
        }
        // Whoever lacks something knows it before it is started.
        self.follow_dependencies();
        for (name, blueprint, barred, awaits_files) in blueprints {
            // It is told of the build before the wait is over, and after the wait has begun.
            if awaits_files {
                self.note_files_awaited(&name, true);
            }
            let told = Some(Told::of(&blueprint));
            if let Some(record) = self.instances.get_mut(&name).filter(|record| record.told != told) {
                record.told = told;
                record.barred = self.barred.of(&name).to_vec();
                self.feed(
                    &name,
                    match barred {
                        None => Input::Bytes(blueprint),
                        Some(text) => Input::Barred(blueprint, text),
                    },
                );
            }
            if !awaits_files {
                self.note_files_awaited(&name, false);
            }
        }
    }
}
