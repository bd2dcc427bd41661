//! The plugins that are there, by number, and which of their versions may be used.

use super::words;
use super::{Candidate, Request, Wish};
use extman_model::{LeftOut, LeftOutCode};
use extman_plugin_api::manifest::schema::{Conflict, Requirement, Target};
use pubgrub::Ranges;
use semver::{Version, VersionReq};
use std::collections::{BTreeMap, HashMap};

/// Of each id that is used, the number of its version.
pub(super) type Selection = BTreeMap<usize, u32>;

/// Versions of one id by their numbers: 1 is the lowest that is there, and so on; 0 stands for the plugin not being used.
pub(super) type Versions = Ranges<u32>;

/// The number that stands for a plugin not being used.
pub(super) const ABSENT: u32 = 0;

pub(super) struct Universe<'a> {
    /// By id.
    plugins: Vec<Plugin<'a>>,
    index: HashMap<&'a str, usize>,
    /// Who offers a capability in some version.
    offering: HashMap<&'a str, Vec<usize>>,
    wishes: HashMap<&'a str, Vec<&'a Wish<'a>>>,
    request: &'a Request<'a>,
}

struct Plugin<'a> {
    name: &'a str,
    /// By version, the lowest first.
    candidates: Vec<Candidate<'a>>,
    /// Why a version may not be used.
    bars: Vec<Option<Bar>>,
    /// Numbers of versions in the order in which they are tried.
    preference: Vec<u32>,
    /// How many versions of others require it by its id.
    required: u32,
    left_out: bool,
}

/// What a version of a plugin wants of others: that they are there, or that they are not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Want<'a> {
    pub(super) is_conflict: bool,
    pub(super) target: &'a Target,
    pub(super) version: &'a VersionReq,
}

impl<'a> From<&'a Requirement> for Want<'a> {
    fn from(requirement: &'a Requirement) -> Self {
        Want {
            is_conflict: false,
            target: &requirement.target,
            version: &requirement.version,
        }
    }
}

impl<'a> From<&'a Conflict> for Want<'a> {
    fn from(conflict: &'a Conflict) -> Self {
        Want {
            is_conflict: true,
            target: &conflict.target,
            version: &conflict.version,
        }
    }
}

/// Plugins in some of their versions.
pub(super) type Options = Vec<(usize, Versions)>;

/// Why a version may not be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Bar {
    PreRelease,
    LowerThanRunning,
    LowerThanLocked,
    NotLocked,
}

impl<'a> Universe<'a> {
    pub(super) fn new(request: &'a Request<'a>) -> Self {
        let mut by_id: BTreeMap<&str, Vec<Candidate<'a>>> = BTreeMap::new();
        for candidate in &request.candidates {
            let id = candidate.manifest.plugin.id.as_str();
            by_id.entry(id).or_default().push(*candidate);
        }
        let mut universe = Universe {
            plugins: Vec::with_capacity(by_id.len()),
            index: HashMap::with_capacity(by_id.len()),
            offering: HashMap::new(),
            wishes: HashMap::new(),
            request,
        };
        for wish in &request.wishes {
            universe.wishes.entry(wish.plugin).or_default().push(wish);
        }
        for (name, candidates) in by_id {
            let id = universe.plugins.len();
            let candidates = one_of_each_version(candidates, |candidate| universe.is_locked(candidate));
            for candidate in &candidates {
                for capability in &candidate.manifest.capabilities {
                    let offering = universe.offering.entry(capability.name.as_str()).or_default();
                    if offering.last() != Some(&id) {
                        offering.push(id);
                    }
                }
            }
            universe.index.insert(name, id);
            universe.plugins.push(Plugin {
                name,
                bars: vec![None; candidates.len()],
                candidates,
                preference: Vec::new(),
                required: 0,
                left_out: false,
            });
        }
        universe.set_bars();
        universe
    }

    fn set_bars(&mut self) {
        let asked = self.requirements_by_id();
        for id in 0..self.plugins.len() {
            let required = asked.get(&id).map_or(&[][..], Vec::as_slice);
            let numbers = 1..=self.plugins[id].candidates.len() as u32;
            let bars = numbers.clone().map(|number| self.bar(id, number, required));
            let bars: Vec<_> = bars.collect();
            let mut preference: Vec<u32> = numbers.collect();
            preference.sort_by_key(|number| {
                let candidate = self.candidate(id, *number);
                let version = &candidate.manifest.plugin.version;
                let locked = self.locked(id).is_some_and(|locked| locked.version == *version);
                std::cmp::Reverse((locked, version.pre.is_empty(), *number))
            });
            let plugin = &mut self.plugins[id];
            plugin.required = required.len() as u32;
            (plugin.bars, plugin.preference) = (bars, preference);
        }
    }

    /// What others require of each id, by its id.
    fn requirements_by_id(&self) -> HashMap<usize, Vec<&'a VersionReq>> {
        let mut asked: HashMap<usize, Vec<&VersionReq>> = HashMap::new();
        let all = self.plugins.iter().flat_map(|plugin| &plugin.candidates);
        for requirement in all.flat_map(|candidate| &candidate.manifest.requires) {
            if let Target::Plugin(name) = &requirement.target
                && let Some(id) = self.index.get(name.as_str())
            {
                asked.entry(*id).or_default().push(&requirement.version);
            }
        }
        asked
    }

    fn bar(&self, id: usize, number: u32, required: &[&VersionReq]) -> Option<Bar> {
        let candidate = self.candidate(id, number);
        let version = &candidate.manifest.plugin.version;
        if self.request.only_locked && !self.is_locked(candidate) {
            return Some(Bar::NotLocked);
        }
        let is_wished = self.is_wished(id, version);
        let locked = self.locked(id).map(|locked| &locked.version);
        let running = self.running(id);
        if !is_wished && running.is_some_and(|running| version < running) {
            return Some(Bar::LowerThanRunning);
        }
        if !is_wished && locked.is_some_and(|locked| version < locked) {
            return Some(Bar::LowerThanLocked);
        }
        let is_asked = is_wished
            || locked == Some(version)
            || running == Some(version)
            || required.iter().any(|required| required.matches(version));
        (self.has_release(id) && !version.pre.is_empty() && !is_asked).then_some(Bar::PreRelease)
    }

    fn has_release(&self, id: usize) -> bool {
        let mut candidates = self.plugins[id].candidates.iter();
        candidates.any(|candidate| candidate.manifest.plugin.version.pre.is_empty())
    }

    /// Bars a pre-release that was selected though nobody who is used names it. Whether it did so.
    pub(super) fn bar_unasked_pre_release(&mut self, selection: &Selection) -> bool {
        let unasked = selection.iter().find(|&(&id, &number)| {
            let version = &self.candidate(id, number).manifest.plugin.version;
            !version.pre.is_empty() && self.has_release(id) && !self.is_asked(selection, id, version)
        });
        let Some((&id, &number)) = unasked else {
            return false;
        };
        self.plugins[id].bars[number as usize - 1] = Some(Bar::PreRelease);
        true
    }

    fn is_asked(&self, selection: &Selection, id: usize, version: &Version) -> bool {
        let name = self.name(id);
        let by_plugin = selection.iter().any(|(&other, &number)| {
            let mut requires = self.candidate(other, number).manifest.requires.iter();
            requires.any(|requirement| {
                matches!(&requirement.target, Target::Plugin(id) if id == name)
                    && requirement.version.matches(version)
            })
        });
        by_plugin
            || self.running(id) == Some(version)
            || self.locked(id).is_some_and(|locked| locked.version == *version)
            || self.is_wished(id, version)
    }

    /// Whether an instance's own version allows this one.
    fn is_wished(&self, id: usize, version: &Version) -> bool {
        let mut wishes = self.wishes(id).filter_map(|wish| wish.version);
        wishes.any(|wished| wished.matches(version))
    }

    pub(super) fn name(&self, id: usize) -> &'a str {
        self.plugins[id].name
    }

    pub(super) fn find(&self, name: &str) -> Option<usize> {
        self.index.get(name).copied()
    }

    pub(super) fn candidate(&self, id: usize, number: u32) -> &Candidate<'a> {
        &self.plugins[id].candidates[number as usize - 1]
    }

    /// The numbers of the versions that are there, the lowest first.
    pub(super) fn numbers(&self, id: usize) -> impl DoubleEndedIterator<Item = u32> + use<> {
        1..=self.plugins[id].candidates.len() as u32
    }

    pub(super) fn barred(&self, id: usize, number: u32) -> Option<Bar> {
        self.plugins[id].bars[number as usize - 1]
    }

    pub(super) fn running(&self, id: usize) -> Option<&'a Version> {
        self.request.running.get(self.name(id)).copied()
    }

    pub(super) fn locked(&self, id: usize) -> Option<&'a super::super::lock::Locked> {
        self.request.lock?.plugins.get(self.name(id))
    }

    fn is_locked(&self, candidate: &Candidate<'_>) -> bool {
        let locked = self.request.lock.map(|lock| &lock.plugins);
        let about = &candidate.manifest.plugin;
        let locked = locked.and_then(|plugins| plugins.get(&about.id));
        locked.is_some_and(|locked| locked.version == about.version && locked.digest == candidate.digest)
    }

    pub(super) fn wishes(&self, id: usize) -> impl Iterator<Item = &'a Wish<'a>> {
        self.wishes.get(self.name(id)).into_iter().flatten().copied()
    }

    pub(super) fn is_left_out(&self, id: usize) -> bool {
        self.plugins[id].left_out
    }

    pub(super) fn leave_out(&mut self, id: usize) {
        self.plugins[id].left_out = true;
    }

    /// How much it takes to leave it out: what is configured and what runs stays before what merely lies there.
    pub(super) fn rank(&self, id: usize) -> u8 {
        let (configured, runs) = (self.wishes(id).next().is_some(), self.running(id).is_some());
        u8::from(configured) * 2 + u8::from(runs)
    }

    /// How many versions of other plugins require it by its id.
    pub(super) fn times_required(&self, id: usize) -> u32 {
        self.plugins[id].required
    }

    /// The version that is tried first among these.
    pub(super) fn preferred(&self, id: usize, among: &Versions) -> Option<u32> {
        let plugin = &self.plugins[id];
        let usable = |number: &&u32| !plugin.left_out && self.barred(id, **number).is_none();
        let mut in_order = plugin.preference.iter().filter(usable);
        let wanted = in_order.find(|number| among.contains(*number)).copied();
        wanted.or_else(|| among.contains(&ABSENT).then_some(ABSENT))
    }

    /// Who offers a capability in some version, by id.
    pub(super) fn offering(&self, capability: &str) -> &[usize] {
        self.offering.get(capability).map_or(&[], Vec::as_slice)
    }

    /// Whether some version of a plugin offers a capability.
    pub(super) fn offers(&self, id: usize, capability: &str) -> bool {
        self.offering(capability).binary_search(&id).is_ok()
    }

    /// The versions whose candidates are such.
    pub(super) fn versions(&self, id: usize, is_such: impl Fn(&Candidate<'a>) -> bool) -> Versions {
        self.numbers(id)
            .filter(|number| is_such(self.candidate(id, *number)))
            .map(|number| {
                (
                    std::ops::Bound::Included(number),
                    std::ops::Bound::Excluded(number + 1),
                )
            })
            .collect()
    }

    /// Who may fulfil what this plugin requires, or whom it conflicts with, and in which versions. A capability of its own does neither. A
    /// conflict with a release is one with its pre-releases.
    pub(super) fn options(&self, of: usize, want: Want<'_>) -> Options {
        let wanted = want.version;
        let fits = |version: &Version| {
            let release = Version::new(version.major, version.minor, version.patch);
            let is_conflict = || wanted.comparators.is_empty() || wanted.matches(&release);
            wanted.matches(version) || want.is_conflict && is_conflict()
        };
        let is_such = |candidate: &Candidate<'a>| match want.target {
            Target::Plugin(_) => fits(&candidate.manifest.plugin.version),
            Target::Capability(name) => {
                let mut offered = candidate.manifest.capabilities.iter();
                offered.any(|offered| offered.name == *name && fits(&offered.version))
            }
        };
        let is_self = |id: usize| matches!(want.target, Target::Capability(_)) && id == of;
        let others = self.targets(want.target).iter().filter(|id| !is_self(**id));
        others
            .map(|id| (*id, self.versions(*id, is_such)))
            .filter(|(_, versions)| !versions.is_empty())
            .collect()
    }

    /// Who is meant, in some version.
    fn targets(&self, target: &Target) -> &[usize] {
        match target {
            Target::Plugin(name) => self.index.get(name.as_str()).map_or(&[], std::slice::from_ref),
            Target::Capability(name) => self.offering(name),
        }
    }

    /// The plugins that are used and fulfil what this one requires.
    pub(super) fn fulfilling(
        &self,
        selection: &Selection,
        of: usize,
        requirement: &Requirement,
    ) -> Vec<usize> {
        self.options(of, requirement.into())
            .into_iter()
            .filter(|(id, versions)| selection.get(id).is_some_and(|number| versions.contains(number)))
            .map(|(id, _)| id)
            .collect()
    }

    /// Ids that have to do with each other, in any of their versions.
    pub(super) fn components(&self) -> Vec<Vec<usize>> {
        let mut parents: Vec<usize> = (0..self.plugins.len()).collect();
        for (id, plugin) in self.plugins.iter().enumerate() {
            for manifest in plugin.candidates.iter().map(|candidate| candidate.manifest) {
                let required = manifest.requires.iter().filter(|required| !required.optional);
                let targets = required.map(|required| &required.target);
                for target in targets.chain(manifest.conflicts.iter().map(|conflict| &conflict.target)) {
                    for other in self.targets(target) {
                        let (a, b) = (root(&mut parents, id), root(&mut parents, *other));
                        parents[a.max(b)] = a.min(b);
                    }
                }
            }
        }
        let mut components: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for id in 0..self.plugins.len() {
            components.entry(root(&mut parents, id)).or_default().push(id);
        }
        components.into_values().collect()
    }

    /// Plugins of which no version may be used, whatever the others require; they are left out from here on. With them, what is locked
    /// and not there.
    pub(super) fn unusable(&mut self) -> Vec<LeftOut> {
        let mut unusable = Vec::new();
        for id in 0..self.plugins.len() {
            if self.plugins[id].bars.iter().all(Option::is_some) {
                let has = |bar| self.plugins[id].bars.contains(&Some(bar));
                let code = match (
                    has(Bar::PreRelease),
                    has(Bar::LowerThanRunning) || has(Bar::LowerThanLocked),
                ) {
                    (true, _) => LeftOutCode::PreRelease,
                    (false, true) => LeftOutCode::Lower,
                    (false, false) => LeftOutCode::NotLocked,
                };
                unusable.push(LeftOut {
                    id: self.name(id).to_owned(),
                    code,
                    reason: words::unusable(self, id, code),
                });
                self.leave_out(id);
            }
        }
        if self.request.only_locked {
            let locked = self.request.lock.iter().flat_map(|lock| &lock.plugins);
            for (id, locked) in locked.filter(|(id, _)| self.find(id).is_none()) {
                unusable.push(LeftOut {
                    id: id.clone(),
                    code: LeftOutCode::NotLocked,
                    reason: words::locked_and_gone(id, locked),
                });
            }
        }
        unusable
    }

    /// What differs from the lock, where that is allowed.
    pub(super) fn notes(&self) -> Vec<String> {
        let locked = self.request.lock.filter(|_| !self.request.only_locked);
        let locked = locked.iter().flat_map(|lock| &lock.plugins);
        locked
            .filter_map(|(name, locked)| words::unlike_locked(self, name, locked))
            .collect()
    }

    pub(super) fn other_versions(&self, id: usize, used: u32) -> Vec<Version> {
        let others = self.numbers(id).rev().filter(|number| *number != used);
        others
            .map(|number| self.candidate(id, number).manifest.plugin.version.clone())
            .collect()
    }
}

/// By version, the lowest first; of several files with one version the one that is such, else the first.
fn one_of_each_version<'a>(
    candidates: Vec<Candidate<'a>>,
    is_preferred: impl Fn(&Candidate<'a>) -> bool,
) -> Vec<Candidate<'a>> {
    let mut by_version: BTreeMap<&Version, Candidate<'a>> = BTreeMap::new();
    for candidate in candidates {
        let kept = by_version
            .entry(&candidate.manifest.plugin.version)
            .or_insert(candidate);
        if is_preferred(&candidate) && !is_preferred(kept) {
            *kept = candidate;
        }
    }
    by_version.into_values().collect()
}

/// The root of an id's set, whose path becomes shorter.
fn root(parents: &mut [usize], mut id: usize) -> usize {
    while parents[id] != id {
        parents[id] = parents[parents[id]];
        id = parents[id];
    }
    id
}
