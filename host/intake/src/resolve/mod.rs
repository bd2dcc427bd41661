//! Which version of each plugin a host uses, and which come before which, so that what each requires is there. Pure.
//!
//! ```text
//! Request → Universe (what may be used) → components → solve (pubgrub) ─┬─▶ order (levels, cycles) ─▶ DependenciesView
//!                                            ▲                          │
//!                                            └── one plugin less ◀── explain (why not)
//! ```
//!
//! The rules:
//!
//! - Of each id one version is used, the highest that fits; the locked one before it. All ids that are there are wanted.
//! - What can't be fulfilled leaves one plugin out, with its reason, and the rest is solved again: a plugin that lacks something keeps no
//!   other from starting. Plugins that have nothing to do with each other are solved apart.
//! - A capability is fulfilled by any other plugin that offers it in a version that fits.
//! - A pre-release is used where a requirement names it, or where there is nothing else.
//! - A version lower than the one that runs or is locked is used only if an instance's own `version` asks for it.
//! - An optional requirement changes no choice of a version. Where it can, it has its plugin start later.

mod explain;
mod order;
mod solve;
#[cfg(test)]
mod tests;
mod universe;
mod words;

use super::lock::Lock;
use extman_model::{DependenciesView, Digest, LeftOut, LeftOutCode, ResolvedPlugin, ResolvedRequirement};
use extman_plugin_api::manifest::schema::{Manifest, Requirement, Target};
use semver::{Version, VersionReq};
use std::collections::BTreeMap;
use std::path::Path;
use universe::{Selection, Universe};

/// A plugin's file that is there.
#[derive(Debug, Clone, Copy)]
pub struct Candidate<'a> {
    /// What it says of itself.
    pub manifest: &'a Manifest,
    /// SHA-256 of its bytes.
    pub digest: Digest,
    /// The file.
    pub origin: &'a Path,
}

/// An instance that is configured.
#[derive(Debug, Clone)]
pub struct Wish<'a> {
    /// The instance's name.
    pub instance: &'a str,
    /// The plugin's id.
    pub plugin: &'a str,
    /// Versions that it allows.
    pub version: Option<&'a VersionReq>,
}

/// What is to be resolved.
#[derive(Debug, Clone, Default)]
pub struct Request<'a> {
    /// The files. Of several with one id and version the first is used, unless another one is the locked one.
    pub candidates: Vec<Candidate<'a>>,
    /// The configured instances.
    pub wishes: Vec<Wish<'a>>,
    /// The versions that run.
    pub running: BTreeMap<&'a str, &'a Version>,
    /// What was written down.
    pub lock: Option<&'a Lock>,
    /// Whether nothing but what is locked may be used.
    pub only_locked: bool,
}

/// Resolves what is there.
pub fn resolve(request: &Request<'_>) -> DependenciesView {
    let mut universe = Universe::new(request);
    let mut left_out = universe.unusable();
    let mut selection = Selection::new();
    for component in universe.components() {
        selection.extend(solve_component(&mut universe, &component, &mut left_out));
    }
    left_out.sort_by(|a, b| a.id.cmp(&b.id));
    let mut notes = universe.notes();
    notes.extend(unfulfilled_options(&universe, &selection));
    DependenciesView {
        plugins: plugins(&universe, &selection),
        start_order: order::levels(&universe, &selection),
        left_out,
        notes,
    }
}

/// Solves plugins that have to do with each other. Each round that fails has one of them, or those of one cycle, left out.
fn solve_component(universe: &mut Universe<'_>, ids: &[usize], left_out: &mut Vec<LeftOut>) -> Selection {
    loop {
        let selection = match solve::solve(universe, ids) {
            Ok(selection) => selection,
            Err(failed) => {
                let (id, leaves) = explain::explain(universe, &failed);
                universe.leave_out(id);
                left_out.push(leaves);
                continue;
            }
        };
        if universe.bar_unasked_pre_release(&selection) {
            continue;
        }
        let Some(cycle) = order::cycle(universe, &selection) else {
            return selection;
        };
        let reason = explain::cycle(universe, &selection, &cycle);
        for id in cycle {
            universe.leave_out(id);
            left_out.push(LeftOut {
                id: universe.name(id).to_owned(),
                code: LeftOutCode::Cycle,
                reason: reason.clone(),
            });
        }
    }
}

fn plugins(universe: &Universe<'_>, selection: &Selection) -> Vec<ResolvedPlugin> {
    let mut required_by: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    let mut plugins = Vec::with_capacity(selection.len());
    for (&id, &number) in selection {
        let candidate = universe.candidate(id, number);
        let mut requires = Vec::new();
        for requirement in &candidate.manifest.requires {
            let fulfilled_by = universe.fulfilling(selection, id, requirement);
            for other in &fulfilled_by {
                required_by.entry(*other).or_default().push(id);
            }
            let names = fulfilled_by.iter().map(|other| universe.name(*other).to_owned());
            requires.push(resolved(requirement, names.collect()));
        }
        plugins.push(ResolvedPlugin {
            id: universe.name(id).to_owned(),
            version: candidate.manifest.plugin.version.clone(),
            digest: candidate.digest,
            origin: candidate.origin.to_owned(),
            other_versions: universe.other_versions(id, number),
            requires,
            required_by: Vec::new(),
        });
    }
    for (plugin, id) in plugins.iter_mut().zip(selection.keys()) {
        let mut by = required_by.remove(id).unwrap_or_default();
        by.sort_unstable();
        by.dedup();
        plugin.required_by = by.into_iter().map(|id| universe.name(id).to_owned()).collect();
    }
    plugins
}

fn resolved(requirement: &Requirement, fulfilled_by: Vec<String>) -> ResolvedRequirement {
    let (plugin, capability) = match &requirement.target {
        Target::Plugin(id) => (Some(id.clone()), None),
        Target::Capability(name) => (None, Some(name.clone())),
    };
    ResolvedRequirement {
        plugin,
        capability,
        version: requirement.version.clone(),
        optional: requirement.optional,
        fulfilled_by,
    }
}

/// What plugins do without.
fn unfulfilled_options(universe: &Universe<'_>, selection: &Selection) -> Vec<String> {
    let mut notes = Vec::new();
    for (&id, &number) in selection {
        let candidate = universe.candidate(id, number);
        let options = candidate.manifest.requires.iter().filter(|r| r.optional);
        for option in options.filter(|option| universe.fulfilling(selection, id, option).is_empty()) {
            notes.push(format!(
                "{} does without {}: {}",
                words::named(candidate),
                words::versioned(option.into()),
                words::there(universe, id, option.into()).join("; ")
            ));
        }
    }
    notes
}
