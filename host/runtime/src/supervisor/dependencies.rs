//! Which plugins lack what they require, and for whom they wait. Pure: it is told how available each instance is, and says for which instances
//! that changes anything. Only the plugins that depend on a change are judged anew.
//!
//! A plugin is *well* if it lacks nothing and an instance of it serves. A requirement is fulfilled if one of the plugins that fit it, its
//! *alternatives*, is well; a plugin *lacks* something if a requirement that is not optional is unfulfilled. The *root* of a lack is the plugin at
//! the end of the chain, which itself lacks nothing and does not serve: where rank requires base and base requires store, both name store.

use extman_model::{DependenciesView, ResolvedPlugin};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::sync::Arc;

/// Whether those that require an instance's plugin can count on it. The best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Availability {
    /// It serves.
    Serves,
    /// It will serve soon: nothing has gone wrong.
    Coming,
    /// It does not serve, and needs a restart, a repair or a person before it does.
    Down,
}

/// What a plugin lacks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Lack {
    /// The instance that it waits for in the end; the id of its plugin where that has no instance.
    pub root: Arc<str>,
    /// Whether the root is down, and not just coming.
    pub is_down: bool,
}

impl fmt::Display for Lack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.is_down {
            true => write!(f, "suppressed by {}", self.root),
            false => write!(f, "waits for {}", self.root),
        }
    }
}

/// All plugins, with their instances.
#[derive(Debug, Default)]
pub(super) struct Dependencies {
    plugins: BTreeMap<Arc<str>, Plugin>,
    /// Plugins of which something has changed since the last judgement.
    dirty: BTreeSet<Arc<str>>,
}

#[derive(Debug, Default)]
struct Plugin {
    /// The alternatives of each requirement.
    requires: Vec<Vec<Arc<str>>>,
    dependents: BTreeSet<Arc<str>>,
    instances: BTreeMap<Arc<str>, Availability>,
    by_availability: BTreeMap<Availability, BTreeSet<Arc<str>>>,
    lack: Option<Lack>,
    /// The lack that was reported last, for all instances but the new ones.
    reported: Option<Lack>,
    new: BTreeSet<Arc<str>>,
}

impl Dependencies {
    /// From here on these plugins are used, with these requirements.
    pub(super) fn require(&mut self, resolved: &DependenciesView) {
        for plugin in self.plugins.values_mut() {
            plugin.requires.clear();
            plugin.dependents.clear();
        }
        for plugin in &resolved.plugins {
            let requires = alternatives(plugin);
            let id: Arc<str> = plugin.id.as_str().into();
            for other in requires.iter().flatten() {
                let other = self.plugins.entry(other.clone()).or_default();
                other.dependents.insert(id.clone());
            }
            self.plugins.entry(id).or_default().requires = requires;
        }
        let used: BTreeSet<&str> = resolved.plugins.iter().map(|plugin| plugin.id.as_str()).collect();
        self.plugins.retain(|id, plugin| {
            used.contains(&**id) || !plugin.instances.is_empty() || !plugin.dependents.is_empty()
        });
        self.dirty = self.plugins.keys().cloned().collect();
    }

    /// How available an instance is now. One that was down stays so until it serves: that it is restarted changes nothing for those that wait.
    pub(super) fn note(&mut self, id: &str, name: &Arc<str>, availability: Availability) {
        let plugin = match self.plugins.get_mut(id) {
            Some(plugin) => plugin,
            None => self.plugins.entry(id.into()).or_default(),
        };
        if plugin.note(name, availability) {
            self.dirty.insert(id.into());
        }
    }

    /// An instance is gone.
    pub(super) fn forget(&mut self, id: &str, name: &str) {
        if let Some(plugin) = self.plugins.get_mut(id)
            && plugin.forget(name)
        {
            self.dirty.insert(id.into());
        }
    }

    /// The instances whose lack is another one than was reported of them last, with what they lack now.
    pub(super) fn take_changes(&mut self) -> Vec<(Arc<str>, Option<Lack>)> {
        if self.dirty.is_empty() {
            return Vec::new();
        }
        let affected = self.take_affected();
        self.judge(affected.clone());
        let mut changes = Vec::new();
        for id in &affected {
            if let Some(plugin) = self.plugins.get_mut(id) {
                let to_report = plugin.take_to_report().into_iter();
                changes.extend(to_report.map(|name| (name, plugin.lack.clone())));
            }
        }
        changes
    }

    /// All alternatives of a plugin's requirements, each once.
    pub(super) fn required_plugins(&self, id: &str) -> Vec<Arc<str>> {
        let requires = self
            .plugins
            .get(id)
            .map(|plugin| plugin.requires.iter().flatten());
        let all: BTreeSet<&Arc<str>> = requires.into_iter().flatten().collect();
        all.into_iter().cloned().collect()
    }

    /// The plugins that have changed, with all that depend on them, directly or through others.
    fn take_affected(&mut self) -> BTreeSet<Arc<str>> {
        let mut affected = std::mem::take(&mut self.dirty);
        let mut queue: VecDeque<Arc<str>> = affected.iter().cloned().collect();
        while let Some(id) = queue.pop_front() {
            for by in self.dependents(&id) {
                if affected.insert(by.clone()) {
                    queue.push_back(by.clone());
                }
            }
        }
        affected
    }

    /// Decides anew what these plugins lack: first those that lack nothing, then those that only wait; the rest lacks something that is down. In this
    /// order plugins that require each other in a circle, and have other alternatives, never hold each other up.
    fn judge(&mut self, mut undecided: BTreeSet<Arc<str>>) {
        self.decide(&mut undecided, Self::lacks_nothing);
        self.decide(&mut undecided, Self::waits);
        self.decide(&mut undecided, Self::is_suppressed);
        for id in &undecided {
            let of_circle = self
                .plugins
                .get(id)
                .and_then(|plugin| plugin.requires.first()?.first());
            let root = of_circle.unwrap_or(id).clone();
            self.set_lack(id, Some(Lack { root, is_down: true }));
        }
    }

    /// Decides by this rule until it decides nothing more: each plugin that is decided may let the rule decide those that depend on it.
    fn decide(&mut self, undecided: &mut BTreeSet<Arc<str>>, rule: Rule) {
        let mut queue: VecDeque<Arc<str>> = undecided.iter().cloned().collect();
        while let Some(id) = queue.pop_front() {
            if !undecided.contains(&id) {
                continue;
            }
            if let Some(lack) = rule(self, &id, undecided) {
                undecided.remove(&id);
                self.set_lack(&id, lack);
                queue.extend(self.dependents(&id).filter(|by| undecided.contains(*by)).cloned());
            }
        }
    }

    fn lacks_nothing(&self, id: &Arc<str>, undecided: &BTreeSet<Arc<str>>) -> Option<Option<Lack>> {
        let mut requires = self.plugins.get(id)?.requires.iter();
        let all = requires.all(|alternatives| self.is_fulfilled(alternatives, undecided));
        all.then_some(None)
    }

    fn waits(&self, id: &Arc<str>, undecided: &BTreeSet<Arc<str>>) -> Option<Option<Lack>> {
        let mut root = None;
        for alternatives in &self.plugins.get(id)?.requires {
            if !self.is_fulfilled(alternatives, undecided) {
                let mut alternatives = alternatives.iter();
                let coming = alternatives.find_map(|other| self.coming_root(other, undecided))?;
                root.get_or_insert(coming);
            }
        }
        let lack = root.map(|root| Lack { root, is_down: false });
        Some(lack)
    }

    fn is_suppressed(&self, id: &Arc<str>, undecided: &BTreeSet<Arc<str>>) -> Option<Option<Lack>> {
        let requires = self.plugins.get(id)?.requires.iter();
        let mut unfulfilled = requires.filter(|alternatives| {
            let mut others = alternatives.iter();
            let is_coming = others.any(|other| self.coming_root(other, undecided).is_some());
            !is_coming && !self.is_fulfilled(alternatives, undecided)
        });
        let root = unfulfilled.find_map(|alternatives| {
            let mut known = alternatives.iter().filter(|other| !undecided.contains(*other));
            known.next().map(|other| self.root(other))
        })?;
        Some(Some(Lack { root, is_down: true }))
    }

    fn is_fulfilled(&self, alternatives: &[Arc<str>], undecided: &BTreeSet<Arc<str>>) -> bool {
        let is_well = |id: &Arc<str>| {
            let plugin = self.plugins.get(id).filter(|_| !undecided.contains(id));
            plugin
                .is_some_and(|plugin| plugin.lack.is_none() && plugin.availability() == Availability::Serves)
        };
        alternatives.iter().any(is_well)
    }

    /// If a plugin will serve soon: the root that is waited for, which may be its own instance.
    fn coming_root(&self, id: &Arc<str>, undecided: &BTreeSet<Arc<str>>) -> Option<Arc<str>> {
        let plugin = self.plugins.get(id).filter(|_| !undecided.contains(id))?;
        match (&plugin.lack, plugin.availability()) {
            (_, Availability::Down) => None,
            (Some(lack), _) => (!lack.is_down).then(|| lack.root.clone()),
            (None, Availability::Coming) => Some(plugin.best_instance().unwrap_or(id).clone()),
            (None, Availability::Serves) => None,
        }
    }

    /// The root that is named where a plugin is not well.
    fn root(&self, id: &Arc<str>) -> Arc<str> {
        let plugin = self.plugins.get(id);
        let lack = plugin
            .and_then(|plugin| plugin.lack.as_ref())
            .filter(|lack| lack.is_down);
        match lack {
            Some(lack) => lack.root.clone(),
            None => plugin.and_then(Plugin::best_instance).unwrap_or(id).clone(),
        }
    }

    fn set_lack(&mut self, id: &Arc<str>, lack: Option<Lack>) {
        if let Some(plugin) = self.plugins.get_mut(id) {
            plugin.lack = lack;
        }
    }

    fn dependents(&self, id: &str) -> impl Iterator<Item = &Arc<str>> {
        self.plugins
            .get(id)
            .into_iter()
            .flat_map(|plugin| &plugin.dependents)
    }
}

/// What a plugin lacks, which may be nothing; the outer `None` while the rule can't tell, since others are undecided.
type Rule = fn(&Dependencies, &Arc<str>, &BTreeSet<Arc<str>>) -> Option<Option<Lack>>;

impl Plugin {
    /// How available the best of its instances is.
    fn availability(&self) -> Availability {
        let best = self.by_availability.first_key_value();
        best.map_or(Availability::Down, |(availability, _)| *availability)
    }

    /// The first of its most available instances.
    fn best_instance(&self) -> Option<&Arc<str>> {
        self.by_availability.values().next()?.first()
    }

    /// Whether that changes anything for others, or for an instance that is new.
    fn note(&mut self, name: &Arc<str>, availability: Availability) -> bool {
        let before = self.instances.get(name).copied();
        let is_retry = (before, availability) == (Some(Availability::Down), Availability::Coming);
        if before == Some(availability) || is_retry {
            return false;
        }
        let best = (self.availability(), self.best_instance().cloned());
        match before {
            Some(before) => self.unindex(before, name),
            None => {
                self.new.insert(name.clone());
            }
        }
        self.instances.insert(name.clone(), availability);
        self.by_availability
            .entry(availability)
            .or_default()
            .insert(name.clone());
        before.is_none() || best != (self.availability(), self.best_instance().cloned())
    }

    fn forget(&mut self, name: &str) -> bool {
        let Some(before) = self.instances.remove(name) else {
            return false;
        };
        self.new.remove(name);
        let best = (self.availability(), self.best_instance().cloned());
        self.unindex(before, name);
        best != (self.availability(), self.best_instance().cloned())
    }

    fn unindex(&mut self, availability: Availability, name: &str) {
        if let Some(names) = self.by_availability.get_mut(&availability) {
            names.remove(name);
            if names.is_empty() {
                self.by_availability.remove(&availability);
            }
        }
    }

    /// The instances of which another lack was reported last.
    fn take_to_report(&mut self) -> Vec<Arc<str>> {
        let new = std::mem::take(&mut self.new);
        if self.reported != self.lack {
            self.reported.clone_from(&self.lack);
            return self.instances.keys().cloned().collect();
        }
        // Of a new instance, nothing lacking goes without saying.
        let lacks = self.lack.is_some();
        new.into_iter().filter(|_| lacks).collect()
    }
}

/// The alternatives of each requirement that is not optional.
fn alternatives(plugin: &ResolvedPlugin) -> Vec<Vec<Arc<str>>> {
    let needed = plugin.requires.iter().filter(|requirement| !requirement.optional);
    let by = needed.map(|requirement| requirement.fulfilled_by.iter());
    by.map(|ids| ids.map(|id| Arc::from(id.as_str())).collect())
        .collect()
}

#[cfg(test)]
mod tests;
