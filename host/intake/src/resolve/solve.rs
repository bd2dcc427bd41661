//! Plugins that have to do with each other as packages of pubgrub, which selects a version of each.

use super::universe::{ABSENT, Options, Selection, Universe, Versions, Want};
use super::{Candidate, Wish};
use extman_plugin_api::manifest::schema::Target;
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
pub(super) struct AnyOf<'a> {
    pub(super) options: Options,
    pub(super) want: Want<'a>,
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
        let package = |(want, mut options): (Want<'a>, Options)| match options.len() {
            1 => {
                let (id, versions) = options.swap_remove(0);
                (Package::Plugin(id), versions)
            }
            _ => (Package::AnyOf(self.number_of(id, want, options)), Ranges::full()),
        };
        let wants = wants(self.universe, id, candidate);
        wants.into_iter().map(package).collect()
    }

    fn number_of(&self, id: usize, want: Want<'a>, options: Options) -> usize {
        let offers_itself = match want.target {
            Target::Plugin(_) => None,
            Target::Capability(name) => self.universe.offers(id, name).then_some(id),
        };
        let key = (want.target, want.version, offers_itself);
        let mut any_of = self.any_of.borrow_mut();
        *self.known.borrow_mut().entry(key).or_insert_with(|| {
            any_of.push(AnyOf { options, want });
            any_of.len() - 1
        })
    }
}

/// What one version of a plugin wants, but for what is optional, and who would do: one that is the only one has to be in one of these
/// versions, of several one.
pub(super) fn wants<'a>(
    universe: &Universe<'a>,
    id: usize,
    candidate: &Candidate<'a>,
) -> Vec<(Want<'a>, Options)> {
    let manifest = candidate.manifest;
    let required = manifest.requires.iter().filter(|required| !required.optional);
    let required = required.map(|requirement| {
        let want = Want::from(requirement);
        (want, universe.options(id, want))
    });
    // What requires itself is a cycle of one, which is found afterwards.
    let is_own = |options: &Options| options.iter().any(|(other, _)| *other == id);
    let mut wants: Vec<_> = required.filter(|(_, options)| !is_own(options)).collect();
    for want in manifest.conflicts.iter().map(Want::from) {
        let others = universe.options(id, want).into_iter();
        let others = others.filter(|(other, _)| *other != id);
        wants.extend(others.map(|(other, versions)| (want, vec![(other, versions.complement())])));
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
