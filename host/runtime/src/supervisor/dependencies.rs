//! Which plugins lack what they require, and whom they wait for. Pure: it is told where each instance is, and says for whom that changes
//! anything. What it looks at again is what depends on the change, and nothing else.
//!
//! A plugin is *well* if it lacks nothing and an instance of it serves. It *lacks* something if of what one of its requirements takes nobody is
//! well; optional requirements are not looked at. The *root* is whoever lacks nothing, and does not serve: where rank requires base and base
//! requires store, it is store that both name.

use extman_model::{DependenciesView, ResolvedPlugin};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::sync::Arc;

/// Where an instance is, for those who require its plugin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Standing {
    /// It serves.
    Serves,
    /// It is on its way: nothing has gone wrong.
    Coming,
    /// It serves nobody until something is done or has been waited for.
    Down,
}

/// What somebody lacks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Lack {
    /// The instance whose serving it waits for in the end; the plugin's id where it has no instance.
    pub root: Arc<str>,
    /// Whether that is down, and not just coming.
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
    /// Plugins of which something has changed.
    dirty: BTreeSet<Arc<str>>,
}

#[derive(Debug, Default)]
struct Plugin {
    /// Of each requirement the plugins that fulfil it: one is enough.
    requires: Vec<Vec<Arc<str>>>,
    required_by: BTreeSet<Arc<str>>,
    instances: BTreeMap<Arc<str>, Standing>,
    by_standing: BTreeMap<Standing, BTreeSet<Arc<str>>>,
    lack: Option<Lack>,
    /// What its instances were told last, but for those that are new.
    told: Option<Lack>,
    new: BTreeSet<Arc<str>>,
}

impl Dependencies {
    /// From here on these plugins are used, and require this.
    pub(super) fn require(&mut self, resolved: &DependenciesView) {
        for plugin in self.plugins.values_mut() {
            plugin.requires.clear();
            plugin.required_by.clear();
        }
        for plugin in &resolved.plugins {
            let requires = groups(plugin);
            let id: Arc<str> = plugin.id.as_str().into();
            for other in requires.iter().flatten() {
                let other = self.plugins.entry(other.clone()).or_default();
                other.required_by.insert(id.clone());
            }
            self.plugins.entry(id).or_default().requires = requires;
        }
        let used: BTreeSet<&str> = resolved.plugins.iter().map(|plugin| plugin.id.as_str()).collect();
        self.plugins.retain(|id, plugin| {
            used.contains(&**id) || !plugin.instances.is_empty() || !plugin.required_by.is_empty()
        });
        self.dirty = self.plugins.keys().cloned().collect();
    }

    /// An instance of a plugin is here now. One that was down is so until it serves: a try is no news for those who wait for it.
    pub(super) fn note(&mut self, id: &str, name: &Arc<str>, standing: Standing) {
        let plugin = match self.plugins.get_mut(id) {
            Some(plugin) => plugin,
            None => self.plugins.entry(id.into()).or_default(),
        };
        if plugin.note(name, standing) {
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

    /// What instances lack otherwise than was said of them before.
    pub(super) fn take_changes(&mut self) -> Vec<(Arc<str>, Option<Lack>)> {
        if self.dirty.is_empty() {
            return Vec::new();
        }
        let affected = self.reach();
        self.judge(affected.clone());
        let mut changes = Vec::new();
        for id in &affected {
            if let Some(plugin) = self.plugins.get_mut(id) {
                let told = plugin.take_news().into_iter();
                changes.extend(told.map(|name| (name, plugin.lack.clone())));
            }
        }
        changes
    }

    /// The plugins that a plugin may use of those that fulfil what it requires.
    pub(super) fn required_by_its_manifest(&self, id: &str) -> Vec<Arc<str>> {
        let requires = self
            .plugins
            .get(id)
            .map(|plugin| plugin.requires.iter().flatten());
        let all: BTreeSet<&Arc<str>> = requires.into_iter().flatten().collect();
        all.into_iter().cloned().collect()
    }

    /// What has changed, and whoever requires that, by others too.
    fn reach(&mut self) -> BTreeSet<Arc<str>> {
        let mut reached = std::mem::take(&mut self.dirty);
        let mut queue: VecDeque<Arc<str>> = reached.iter().cloned().collect();
        while let Some(id) = queue.pop_front() {
            for by in self.required_by(&id) {
                if reached.insert(by.clone()) {
                    queue.push_back(by.clone());
                }
            }
        }
        reached
    }

    /// Decides anew what these lack: first who lacks nothing, then who only waits. Whoever is left lacks what is down. In this order a circle
    /// of plugins, each of which could do with somebody else, never holds itself up.
    fn judge(&mut self, mut left: BTreeSet<Arc<str>>) {
        self.settle(&mut left, Self::lacks_nothing);
        self.settle(&mut left, Self::waits);
        self.settle(&mut left, Self::is_suppressed);
        for id in &left {
            let of_circle = self
                .plugins
                .get(id)
                .and_then(|plugin| plugin.requires.first()?.first());
            let root = of_circle.unwrap_or(id).clone();
            self.set(id, Some(Lack { root, is_down: true }));
        }
    }

    /// Takes out those of whom that can be said, until it can be said of nobody.
    fn settle(&mut self, left: &mut BTreeSet<Arc<str>>, judge: Judge) {
        let mut queue: VecDeque<Arc<str>> = left.iter().cloned().collect();
        while let Some(id) = queue.pop_front() {
            if !left.contains(&id) {
                continue;
            }
            if let Some(lack) = judge(self, &id, left) {
                left.remove(&id);
                self.set(&id, lack);
                queue.extend(self.required_by(&id).filter(|by| left.contains(*by)).cloned());
            }
        }
    }

    fn lacks_nothing(&self, id: &Arc<str>, left: &BTreeSet<Arc<str>>) -> Option<Option<Lack>> {
        let mut groups = self.plugins.get(id)?.requires.iter();
        let all = groups.all(|group| self.is_fulfilled(group, left));
        all.then_some(None)
    }

    fn waits(&self, id: &Arc<str>, left: &BTreeSet<Arc<str>>) -> Option<Option<Lack>> {
        let mut root = None;
        for group in &self.plugins.get(id)?.requires {
            if !self.is_fulfilled(group, left) {
                let coming = group.iter().find_map(|other| self.coming(other, left))?;
                root.get_or_insert(coming);
            }
        }
        let lack = root.map(|root| Lack { root, is_down: false });
        Some(lack)
    }

    fn is_suppressed(&self, id: &Arc<str>, left: &BTreeSet<Arc<str>>) -> Option<Option<Lack>> {
        let groups = self.plugins.get(id)?.requires.iter();
        let mut lacking = groups.filter(|group| {
            let comes = group.iter().any(|other| self.coming(other, left).is_some());
            !comes && !self.is_fulfilled(group, left)
        });
        let root = lacking.find_map(|group| {
            let mut known = group.iter().filter(|other| !left.contains(*other));
            known.next().map(|other| self.root(other))
        })?;
        Some(Some(Lack { root, is_down: true }))
    }

    fn is_fulfilled(&self, group: &[Arc<str>], left: &BTreeSet<Arc<str>>) -> bool {
        let is_well = |id: &Arc<str>| {
            let plugin = self.plugins.get(id).filter(|_| !left.contains(id));
            plugin.is_some_and(|plugin| plugin.lack.is_none() && plugin.standing() == Standing::Serves)
        };
        group.iter().any(is_well)
    }

    /// Whose serving is waited for, if a plugin is on its way.
    fn coming(&self, id: &Arc<str>, left: &BTreeSet<Arc<str>>) -> Option<Arc<str>> {
        let plugin = self.plugins.get(id).filter(|_| !left.contains(id))?;
        match (&plugin.lack, plugin.standing()) {
            (_, Standing::Down) => None,
            (Some(lack), _) => (!lack.is_down).then(|| lack.root.clone()),
            (None, Standing::Coming) => Some(plugin.leader().unwrap_or(id).clone()),
            (None, Standing::Serves) => None,
        }
    }

    fn root(&self, id: &Arc<str>) -> Arc<str> {
        let plugin = self.plugins.get(id);
        let lack = plugin
            .and_then(|plugin| plugin.lack.as_ref())
            .filter(|lack| lack.is_down);
        match lack {
            Some(lack) => lack.root.clone(),
            None => plugin.and_then(Plugin::leader).unwrap_or(id).clone(),
        }
    }

    fn set(&mut self, id: &Arc<str>, lack: Option<Lack>) {
        if let Some(plugin) = self.plugins.get_mut(id) {
            plugin.lack = lack;
        }
    }

    fn required_by(&self, id: &str) -> impl Iterator<Item = &Arc<str>> {
        self.plugins
            .get(id)
            .into_iter()
            .flat_map(|plugin| &plugin.required_by)
    }
}

/// What somebody lacks, if that can be said while these are not judged yet.
type Judge = fn(&Dependencies, &Arc<str>, &BTreeSet<Arc<str>>) -> Option<Option<Lack>>;

impl Plugin {
    /// That of the best of its instances.
    fn standing(&self) -> Standing {
        let best = self.by_standing.first_key_value();
        best.map_or(Standing::Down, |(standing, _)| *standing)
    }

    /// The best of its instances.
    fn leader(&self) -> Option<&Arc<str>> {
        self.by_standing.values().next()?.first()
    }

    /// Whether an instance's being here is news for anybody.
    fn note(&mut self, name: &Arc<str>, standing: Standing) -> bool {
        let before = self.instances.get(name).copied();
        let goes_on = (before, standing) == (Some(Standing::Down), Standing::Coming);
        if before == Some(standing) || goes_on {
            return false;
        }
        let best = (self.standing(), self.leader().cloned());
        match before {
            Some(before) => self.no_longer(before, name),
            None => {
                self.new.insert(name.clone());
            }
        }
        self.instances.insert(name.clone(), standing);
        self.by_standing.entry(standing).or_default().insert(name.clone());
        before.is_none() || best != (self.standing(), self.leader().cloned())
    }

    fn forget(&mut self, name: &str) -> bool {
        let Some(before) = self.instances.remove(name) else {
            return false;
        };
        self.new.remove(name);
        let best = (self.standing(), self.leader().cloned());
        self.no_longer(before, name);
        best != (self.standing(), self.leader().cloned())
    }

    fn no_longer(&mut self, standing: Standing, name: &str) {
        if let Some(names) = self.by_standing.get_mut(&standing) {
            names.remove(name);
            if names.is_empty() {
                self.by_standing.remove(&standing);
            }
        }
    }

    /// The instances for which it is news what they lack.
    fn take_news(&mut self) -> Vec<Arc<str>> {
        let new = std::mem::take(&mut self.new);
        if self.told != self.lack {
            self.told.clone_from(&self.lack);
            return self.instances.keys().cloned().collect();
        }
        // Nothing is lacking until somebody says so.
        let lacks = self.lack.is_some();
        new.into_iter().filter(|_| lacks).collect()
    }
}

fn groups(plugin: &ResolvedPlugin) -> Vec<Vec<Arc<str>>> {
    let needed = plugin.requires.iter().filter(|requirement| !requirement.optional);
    let group = |by: &Vec<String>| by.iter().map(|id| Arc::from(id.as_str())).collect();
    needed
        .map(|requirement| group(&requirement.fulfilled_by))
        .collect()
}

#[cfg(test)]
mod tests;
