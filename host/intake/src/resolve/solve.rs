//! Plugins that have to do with each other as packages of pubgrub, which selects a version of each.

use super::universe::{ABSENT, Selection, Universe, Versions};
use super::{Candidate, Wish};
use extman_plugin_api::manifest::schema::{Conflict, Requirement, Target};
use pubgrub::{
    Dependencies, DependencyProvider, DerivationTree, PackageResolutionStatistics, PubGrubError, Ranges,
};
use semver::VersionReq;
use std::cell::RefCell;
use std::cmp::Reverse;
use std::collections::HashMap;
use std::convert::Infallible;
use std::fmt;

/// What a version is selected of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Package {
    /// Whoever wants all that is there.
    Root,
    /// A plugin, by its number.
    Plugin(usize),
    /// One of several that fulfil a requirement, or nobody. Its versions are the options, from 1 on.
    AnyOf(usize),
}

impl fmt::Display for Package {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

/// Why nothing could be selected.
pub(super) struct Failed<'a> {
    pub(super) tree: DerivationTree<Package, Versions, String>,
    pub(super) any_of: Vec<AnyOf<'a>>,
}

/// A requirement that no plugin, or one of several, may fulfil.
#[derive(Clone)]
pub(super) struct AnyOf<'a> {
    pub(super) options: Vec<(usize, Versions)>,
    pub(super) requirement: &'a Requirement,
}

/// What one version of a plugin wants of others.
#[derive(Clone, Copy)]
pub(super) enum Want<'a> {
    Requires(&'a Requirement),
    Conflicts(&'a Conflict),
}

/// Whoever requires the same, but for a plugin that offers it itself.
type Key<'a> = (&'a Target, &'a VersionReq, Option<usize>);

pub(super) struct Provider<'u, 'a> {
    universe: &'u Universe<'a>,
    ids: &'u [usize],
    any_of: RefCell<Vec<AnyOf<'a>>>,
    known: RefCell<HashMap<Key<'a>, usize>>,
}

/// Selects a version of each of these plugins that are not left out.
pub(super) fn solve<'a>(universe: &Universe<'a>, ids: &[usize]) -> Result<Selection, Box<Failed<'a>>> {
    let provider = Provider {
        universe,
        ids,
        any_of: RefCell::default(),
        known: RefCell::default(),
    };
    match pubgrub::resolve(&provider, Package::Root, ABSENT) {
        Ok(selected) => Ok(selected
            .into_iter()
            .filter_map(|(package, number)| match package {
                Package::Plugin(id) if number != ABSENT => Some((id, number)),
                _ => None,
            })
            .collect()),
        Err(PubGrubError::NoSolution(tree)) => Err(Box::new(Failed {
            tree,
            any_of: provider.any_of.into_inner(),
        })),
        Err(
            PubGrubError::ErrorRetrievingDependencies { source, .. }
            | PubGrubError::ErrorChoosingVersion { source, .. }
            | PubGrubError::ErrorInShouldCancel(source),
        ) => match source {},
    }
}

impl<'a> Provider<'_, 'a> {
    /// What one version of a plugin wants, as packages.
    fn wants(&self, id: usize, candidate: &Candidate<'a>) -> Vec<(Package, Versions)> {
        wants(self.universe, id, candidate)
            .into_iter()
            .map(|(want, on)| match (want, on) {
                (_, On::Plugin(id, versions)) => (Package::Plugin(id), versions),
                (Want::Requires(requirement), On::Options(options)) => (
                    Package::AnyOf(self.number_of(id, requirement, options)),
                    Ranges::full(),
                ),
                (Want::Conflicts(_), On::Options(_)) => unreachable!("a conflict is with plugins"),
            })
            .collect()
    }

    fn number_of(&self, id: usize, requirement: &'a Requirement, options: Vec<(usize, Versions)>) -> usize {
        let offers_itself = match &requirement.target {
            Target::Plugin(_) => None,
            Target::Capability(name) => self.universe.offers(id, name).then_some(id),
        };
        let key = (&requirement.target, &requirement.version, offers_itself);
        let mut any_of = self.any_of.borrow_mut();
        *self.known.borrow_mut().entry(key).or_insert_with(|| {
            any_of.push(AnyOf { options, requirement });
            any_of.len() - 1
        })
    }
}

/// On whom a want falls.
pub(super) enum On {
    Plugin(usize, Versions),
    Options(Vec<(usize, Versions)>),
}

/// What one version of a plugin wants, but for what is optional.
pub(super) fn wants<'a>(
    universe: &Universe<'a>,
    id: usize,
    candidate: &Candidate<'a>,
) -> Vec<(Want<'a>, On)> {
    let manifest = candidate.manifest;
    let mut wants = Vec::new();
    for requirement in manifest.requires.iter().filter(|required| !required.optional) {
        let mut options = universe.options(id, &requirement.target, &requirement.version);
        // What requires itself is a cycle of one, which is found afterwards.
        if options.iter().any(|(other, _)| *other == id) {
            continue;
        }
        let on = match options.len() {
            1 => {
                let (other, versions) = options.swap_remove(0);
                On::Plugin(other, versions)
            }
            _ => On::Options(options),
        };
        wants.push((Want::Requires(requirement), on));
    }
    for conflict in &manifest.conflicts {
        for (other, versions) in universe
            .conflicting(id, conflict)
            .into_iter()
            .filter(|(other, _)| *other != id)
        {
            wants.push((
                Want::Conflicts(conflict),
                On::Plugin(other, versions.complement()),
            ));
        }
    }
    wants
}

/// What the configuration wants of a plugin's versions.
pub(super) fn wished<'a>(universe: &Universe<'a>, wish: &Wish<'a>, id: usize) -> Option<Versions> {
    let version = wish.version?;
    Some(universe.versions(id, |candidate| {
        version.matches(&candidate.manifest.plugin.version)
    }))
}

impl DependencyProvider for Provider<'_, '_> {
    type P = Package;
    type V = u32;
    type VS = Versions;
    type M = String;
    type Err = Infallible;
    /// Plugins before who may fulfil what they require, so that no lower version is selected for the sake of a choice; what caused conflicts
    /// before what did not; whoever requires before what is required.
    type Priority = (bool, bool, u32, Reverse<u32>, Reverse<usize>);

    fn prioritize(
        &self,
        package: &Package,
        range: &Versions,
        statistics: &PackageResolutionStatistics,
    ) -> Self::Priority {
        let conflicts = statistics.conflict_count();
        match *package {
            Package::Root => (true, true, u32::MAX, Reverse(0), Reverse(0)),
            Package::Plugin(id) => {
                let none = self.universe.preferred(id, range).is_none();
                let required = Reverse(self.universe.times_required(id));
                (none, true, conflicts, required, Reverse(id))
            }
            Package::AnyOf(number) => {
                let none = self.any_of.borrow()[number].options.is_empty();
                (none, false, conflicts, Reverse(0), Reverse(number))
            }
        }
    }

    fn choose_version(&self, package: &Package, range: &Versions) -> Result<Option<u32>, Infallible> {
        Ok(match *package {
            Package::Root => Some(ABSENT),
            Package::Plugin(id) => self.universe.preferred(id, range),
            Package::AnyOf(number) => {
                let options = self.any_of.borrow()[number].options.len() as u32;
                (1..=options).find(|option| range.contains(option))
            }
        })
    }

    fn get_dependencies(
        &self,
        package: &Package,
        version: &u32,
    ) -> Result<Dependencies<Package, Versions, String>, Infallible> {
        let dependencies = match *package {
            Package::Root => {
                let mut all = Vec::new();
                for &id in self.ids.iter().filter(|id| !self.universe.is_left_out(**id)) {
                    all.push((Package::Plugin(id), Ranges::higher_than(ABSENT + 1)));
                    let wishes = self.universe.wishes(id);
                    let wished = wishes.filter_map(|wish| wished(self.universe, wish, id));
                    all.extend(wished.map(|versions| (Package::Plugin(id), versions)));
                }
                all
            }
            Package::Plugin(_) if *version == ABSENT => Vec::new(),
            Package::Plugin(id) => self.wants(id, self.universe.candidate(id, *version)),
            Package::AnyOf(number) => {
                let (id, versions) = self.any_of.borrow()[number].options[*version as usize - 1].clone();
                vec![(Package::Plugin(id), versions)]
            }
        };
        Ok(Dependencies::Available(dependencies.into_iter().collect()))
    }
}
