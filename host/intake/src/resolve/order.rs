//! In which order plugins start, and who would wait for each other.

use super::universe::{Selection, Universe};
use std::collections::{BTreeMap, BTreeSet};

/// Whom a plugin waits for: of each group one is enough.
struct Waits {
    groups: Vec<Vec<usize>>,
    /// The same for what is optional.
    optional: Vec<Vec<usize>>,
}

type Waiting = BTreeMap<usize, Waits>;

fn waits(universe: &Universe<'_>, selection: &Selection) -> Waiting {
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

/// Those that can start now.
fn ready(waiting: &Waiting, started: &BTreeSet<usize>, heed_optional: bool) -> BTreeSet<usize> {
    let is_there = |group: &Vec<usize>| group.iter().any(|id| started.contains(id));
    let ready = waiting.iter().filter(|(_, waits)| {
        waits.groups.iter().all(is_there) && (!heed_optional || waits.optional.iter().all(is_there))
    });
    ready.map(|(id, _)| *id).collect()
}

/// Has them start, level by level, until none can; who waits then waits for ever.
fn start(
    waiting: &mut Waiting,
    next: impl Fn(&Waiting, &BTreeSet<usize>) -> BTreeSet<usize>,
) -> Vec<BTreeSet<usize>> {
    let (mut started, mut levels) = (BTreeSet::new(), Vec::new());
    loop {
        let level = next(waiting, &started);
        if level.is_empty() {
            return levels;
        }
        waiting.retain(|id, _| !level.contains(id));
        started.extend(&level);
        levels.push(level);
    }
}

/// Ids in levels: each plugin is in the first level before which everything that it waits for has its place. Where plugins wait in a circle
/// for what is optional, they do without.
pub(super) fn levels(universe: &Universe<'_>, selection: &Selection) -> Vec<Vec<String>> {
    let mut waiting = waits(universe, selection);
    let levels = start(&mut waiting, |waiting, started| {
        let with_optional = ready(waiting, started, true);
        match with_optional.is_empty() {
            true => ready(waiting, started, false),
            false => with_optional,
        }
    });
    // A cycle was found, and broken, before.
    debug_assert!(waiting.is_empty());
    let names = |level: &BTreeSet<usize>| level.iter().map(|id| universe.name(*id).to_owned()).collect();
    levels.iter().map(names).collect()
}

/// Plugins that wait for each other in a circle, each for the next one, the last one for the first.
pub(super) fn cycle(universe: &Universe<'_>, selection: &Selection) -> Option<Vec<usize>> {
    let mut waiting = waits(universe, selection);
    let levels = start(&mut waiting, |waiting, started| ready(waiting, started, false));
    let started: BTreeSet<usize> = levels.into_iter().flatten().collect();
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
