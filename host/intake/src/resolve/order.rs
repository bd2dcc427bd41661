//! In which order plugins start, and who would wait for each other.

use super::universe::{Selection, Universe};
use std::collections::{BTreeMap, BTreeSet};

/// Whom a plugin waits for: of each group one is enough.
struct Waits {
    groups: Vec<Vec<usize>>,
    /// The same for what is optional.
    optional: Vec<Vec<usize>>,
}

fn waits(universe: &Universe<'_>, selection: &Selection) -> BTreeMap<usize, Waits> {
    let of = |(&id, &number): (&usize, &u32)| {
        let (mut groups, mut optional) = (Vec::new(), Vec::new());
        for requirement in &universe.candidate(id, number).manifest.requires {
            let fulfilling = universe.fulfilling(selection, id, requirement);
            match requirement.optional {
                false => groups.push(fulfilling),
                true if fulfilling.is_empty() => {}
                true => optional.push(fulfilling),
            }
        }
        (id, Waits { groups, optional })
    };
    selection.iter().map(of).collect()
}

fn fulfilled(groups: &[Vec<usize>], started: &BTreeSet<usize>) -> bool {
    groups
        .iter()
        .all(|group| group.iter().any(|id| started.contains(id)))
}

/// Ids in levels: each plugin is in the first level before which everything that it waits for has its place.
pub(super) fn levels(universe: &Universe<'_>, selection: &Selection) -> Vec<Vec<String>> {
    let mut waiting = waits(universe, selection);
    let (mut started, mut levels) = (BTreeSet::new(), Vec::new());
    while !waiting.is_empty() {
        let level = next_level(&waiting, &started);
        // A cycle was found, and broken, before.
        debug_assert!(!level.is_empty());
        if level.is_empty() {
            break;
        }
        levels.push(level.iter().map(|id| universe.name(*id).to_owned()).collect());
        waiting.retain(|id, _| !level.contains(id));
        started.extend(level);
    }
    levels
}

/// Those that can start now. Where plugins wait in a circle for what is optional, they do without.
fn next_level(waiting: &BTreeMap<usize, Waits>, started: &BTreeSet<usize>) -> BTreeSet<usize> {
    let ready = |heed_optional: bool| -> BTreeSet<usize> {
        let ready = waiting.iter().filter(|(_, waits)| {
            fulfilled(&waits.groups, started) && (!heed_optional || fulfilled(&waits.optional, started))
        });
        ready.map(|(id, _)| *id).collect()
    };
    let with_optional = ready(true);
    match with_optional.is_empty() {
        true => ready(false),
        false => with_optional,
    }
}

/// Plugins that wait for each other in a circle, each for the next one, the last one for the first.
pub(super) fn cycle(universe: &Universe<'_>, selection: &Selection) -> Option<Vec<usize>> {
    let mut waiting = waits(universe, selection);
    let mut started = BTreeSet::new();
    loop {
        let level: BTreeSet<usize> = waiting
            .iter()
            .filter(|(_, waits)| fulfilled(&waits.groups, &started))
            .map(|(id, _)| *id)
            .collect();
        if level.is_empty() {
            break;
        }
        waiting.retain(|id, _| !level.contains(id));
        started.extend(level);
    }
    // Whoever still waits has a group of which nobody starts, so the way through first ones comes back to where it was.
    let mut way: Vec<usize> = vec![*waiting.keys().next()?];
    loop {
        let waits = &waiting[way.last()?];
        let stuck = waits
            .groups
            .iter()
            .find(|group| !group.iter().any(|id| started.contains(id)))?;
        let next = *stuck.first()?;
        if let Some(begins) = way.iter().position(|id| *id == next) {
            let mut cycle = way.split_off(begins);
            let first = cycle.iter().enumerate().min_by_key(|(_, id)| **id)?.0;
            cycle.rotate_left(first);
            return Some(cycle);
        }
        way.push(next);
    }
}
