//! Why plugins can't be used, from pubgrub's derivation, in words: no version ranges that the solver made, only what somebody wrote.

use super::solve::{Failed, On, Package, Want, wants, wished};
use super::universe::{Bar, Selection, Universe, Versions};
use super::words::{self, Message};
use extman_model::{LeftOut, LeftOutCode};
use extman_plugin_api::manifest::schema::{Requirement, Target};
use pubgrub::{DerivationTree, External};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

/// What the derivation rests on.
#[derive(Default)]
struct Facts<'a> {
    /// Plugins that are wanted because they are there.
    present: BTreeSet<usize>,
    /// Instances whose version takes part, and their plugins.
    instances: Vec<(usize, &'a str, String)>,
    /// What plugins want, in which versions of theirs, in the order of their ids.
    asking: BTreeMap<(usize, String), Asking<'a>>,
}

struct Asking<'a> {
    want: Want<'a>,
    /// Plugins on which it falls.
    on: BTreeSet<usize>,
    numbers: BTreeSet<u32>,
}

/// Which plugin is left out, so that the others can be used, and why.
pub(super) fn explain(universe: &Universe<'_>, failed: &Failed<'_>) -> (usize, LeftOut) {
    let mut facts = facts(universe, failed);
    let id = culprit(universe, &facts);
    if is_hopeless(universe, &facts, id) {
        // What the others want is not why.
        facts
            .asking
            .retain(|(of, _), asking| *of == id && unfulfillable(universe, id, asking));
        facts.instances.clear();
    }
    let of: BTreeSet<usize> = facts.asking.keys().map(|(id, _)| *id).collect();
    let conflicts = facts
        .asking
        .values()
        .any(|asking| matches!(asking.want, Want::Conflicts(_)));
    let is_conflict = conflicts || of.len() > 1 || !facts.instances.is_empty();
    let message = Message {
        headline: headline(universe, id, &of, is_conflict, facts.asking.len()),
        body: body(universe, &facts),
        advice: advice(universe, id, &facts),
    };
    let code = match is_conflict {
        true => LeftOutCode::Conflict,
        false => LeftOutCode::Unfulfilled,
    };
    let left_out = LeftOut {
        id: universe.name(id).to_owned(),
        code,
        reason: message.lines(),
    };
    (id, left_out)
}

/// Gathers what stands at the leaves of the derivation.
fn facts<'a>(universe: &Universe<'a>, failed: &Failed<'a>) -> Facts<'a> {
    let mut facts = Facts::default();
    let mut seen = HashSet::new();
    let mut rest = vec![&failed.tree];
    while let Some(tree) = rest.pop() {
        match tree {
            DerivationTree::Derived(derived) => {
                for cause in [&derived.cause1, &derived.cause2] {
                    // What is shared is met many times.
                    if seen.insert(Arc::as_ptr(cause)) {
                        rest.push(cause);
                    }
                }
            }
            DerivationTree::External(External::FromDependencyOf(of, versions, on, wanted)) => {
                facts.add(universe, failed, (of, versions), (on, wanted));
            }
            DerivationTree::External(_) => {}
        }
    }
    facts.instances.sort();
    facts.instances.dedup();
    facts
}

impl<'a> Facts<'a> {
    fn add(
        &mut self,
        universe: &Universe<'a>,
        failed: &Failed<'a>,
        (of, versions): (&Package, &Versions),
        (on, wanted): (&Package, &Versions),
    ) {
        match (*of, *on) {
            (Package::Root, Package::Plugin(id)) => {
                self.present.insert(id);
                for wish in universe.wishes(id) {
                    if wished(universe, wish, id).as_ref() == Some(wanted) {
                        let version = wish.version.map(ToString::to_string).unwrap_or_default();
                        self.instances.push((id, wish.instance, version));
                    }
                }
            }
            (Package::Plugin(id), _) => {
                let usable = |n: &u32| versions.contains(n) && universe.barred(id, *n).is_none();
                for number in universe.numbers(id).filter(usable) {
                    self.add_wants(universe, failed, (id, number), (on, wanted));
                }
            }
            // Which options a requirement has is told with what is there.
            (Package::Root | Package::AnyOf(_), _) => {}
        }
    }

    fn add_wants(
        &mut self,
        universe: &Universe<'a>,
        failed: &Failed<'a>,
        (id, number): (usize, u32),
        (on, wanted): (&Package, &Versions),
    ) {
        for (want, falls_on) in wants(universe, id, universe.candidate(id, number)) {
            let falls_on: Option<BTreeSet<usize>> = match (&falls_on, on, want) {
                (On::Plugin(other, versions), Package::Plugin(id), _)
                    if other == id && versions == wanted =>
                {
                    Some([*other].into())
                }
                (On::Options(options), Package::AnyOf(any), Want::Requires(requirement))
                    if same(failed.any_of[*any].requirement, requirement) =>
                {
                    Some(options.iter().map(|(id, _)| *id).collect())
                }
                _ => None,
            };
            let Some(falls_on) = falls_on else { continue };
            let asking = self.asking.entry((id, text(want))).or_insert_with(|| Asking {
                want,
                on: BTreeSet::new(),
                numbers: BTreeSet::new(),
            });
            asking.on.extend(falls_on);
            asking.numbers.insert(number);
        }
    }
}

fn same(a: &Requirement, b: &Requirement) -> bool {
    a.target == b.target && a.version == b.version
}

fn text(want: Want<'_>) -> String {
    match want {
        Want::Requires(required) => format!(
            "requires {}",
            words::versioned(&required.target, &required.version)
        ),
        Want::Conflicts(conflict) => format!(
            "conflicts with {}",
            words::versioned(&conflict.target, &conflict.version)
        ),
    }
}

/// Who is left out: whoever can't be used in any case; then whoever is of the lowest rank; then whoever wants something itself; then
/// whoever is nearest to what is lacking; then the last one by its id.
fn culprit(universe: &Universe<'_>, facts: &Facts<'_>) -> usize {
    let asking: BTreeSet<usize> = facts.asking.keys().map(|(id, _)| *id).collect();
    let conflicts = facts
        .asking
        .values()
        .filter(|asking| matches!(asking.want, Want::Conflicts(_)));
    let conflicting = conflicts.flat_map(|asking| &asking.on).copied();
    let mut involved: BTreeSet<usize> = conflicting.filter(|id| facts.present.contains(id)).collect();
    involved.extend(&asking);
    if involved.is_empty() {
        involved.clone_from(&facts.present);
    }
    let order = |id: &usize| {
        let mut own = facts.asking.iter().filter(|((of, _), _)| of == id);
        let waits_for_others =
            own.any(|(_, asking)| asking.on.iter().any(|on| on != id && involved.contains(on)));
        (
            !is_hopeless(universe, facts, *id),
            universe.rank(*id),
            !asking.contains(id),
            waits_for_others,
            Reverse(*id),
        )
    };
    let least = involved.iter().copied().min_by_key(order);
    // A derivation has at least one plugin that is there.
    least.unwrap_or_default()
}

/// Whether each version of a plugin wants what nobody could give, whatever the others want.
fn is_hopeless(universe: &Universe<'_>, facts: &Facts<'_>, id: usize) -> bool {
    let own = || {
        facts
            .asking
            .iter()
            .filter(|((of, _), _)| *of == id)
            .map(|(_, asking)| asking)
    };
    let mut usable = universe
        .numbers(id)
        .filter(|number| universe.barred(id, *number).is_none());
    own().next().is_some()
        && usable.all(|number| {
            own().any(|asking| asking.numbers.contains(&number) && unfulfillable(universe, id, asking))
        })
}

/// Whether there is nothing that could give what is wanted.
fn unfulfillable(universe: &Universe<'_>, id: usize, asking: &Asking<'_>) -> bool {
    let Want::Requires(requirement) = asking.want else {
        return false;
    };
    let options = universe.options(id, &requirement.target, &requirement.version);
    !options
        .iter()
        .any(|(other, versions)| universe.preferred(*other, versions).is_some())
}

fn headline(
    universe: &Universe<'_>,
    id: usize,
    of: &BTreeSet<usize>,
    is_conflict: bool,
    wants: usize,
) -> String {
    let name = universe.name(id);
    let names: Vec<String> = of.iter().map(|id| universe.name(*id).to_owned()).collect();
    match (is_conflict, names.len()) {
        (false, _) if wants > 1 => format!("{name} can't be used: no version is all that it requires."),
        (true, 2..) => format!(
            "{} want what can't be together, so {name} is left out.",
            words::listed(&names)
        ),
        (true, _) => format!("{name} can't be used together with what else is there, and is left out."),
        (false, _) => format!("{name} can't be used: what it requires is not there."),
    }
}

fn body(universe: &Universe<'_>, facts: &Facts<'_>) -> Vec<String> {
    let mut body = Vec::new();
    for ((id, text), asking) in &facts.asking {
        let by: Vec<String> = asking
            .numbers
            .iter()
            .rev()
            .map(|number| words::named(universe.candidate(*id, *number)))
            .collect();
        let many = by.len() > 1;
        let text = match many {
            true => text
                .replacen("requires", "require", 1)
                .replacen("conflicts", "conflict", 1),
            false => text.clone(),
        };
        body.push(format!("{} {text}", words::listed(&by)));
    }
    for (id, instance, version) in &facts.instances {
        body.push(format!(
            "the [[instance]] {instance:?} wants {} {version}",
            universe.name(*id)
        ));
    }
    let mut evidence = Vec::new();
    for ((id, _), asking) in &facts.asking {
        let (target, version) = match asking.want {
            Want::Requires(required) => (&required.target, &required.version),
            Want::Conflicts(conflict) => (&conflict.target, &conflict.version),
        };
        evidence.extend(words::there(universe, *id, target, version));
    }
    for (id, _, _) in &facts.instances {
        let target = Target::Plugin(universe.name(*id).to_owned());
        evidence.extend(words::there(universe, *id, &target, &Default::default()));
    }
    let mut seen = HashSet::new();
    evidence.retain(|line| seen.insert(line.clone()));
    body.extend(evidence);
    body
}

/// What to do.
fn advice(universe: &Universe<'_>, id: usize, facts: &Facts<'_>) -> String {
    let file = |id: usize| {
        let highest = universe.numbers(id).next_back();
        highest.map_or_else(String::new, |number| words::file(universe.candidate(id, number)))
    };
    if !facts.instances.is_empty() {
        return "Change the version of an [[instance]], or add a version that all allow.".to_owned();
    }
    let conflict = facts
        .asking
        .iter()
        .find(|(_, asking)| matches!(asking.want, Want::Conflicts(_)));
    if let Some(((of, _), asking)) = conflict {
        let others = conflicting_files(universe, *of, asking.want);
        return format!(
            "Remove {} or {}: only one of the two can be used.",
            file(*of),
            words::listed(&others)
        );
    }
    let of: BTreeSet<usize> = facts.asking.keys().map(|(id, _)| *id).collect();
    let files: Vec<String> = of.iter().map(|id| file(*id)).collect();
    match (of.len(), facts.asking.values().next()) {
        (1, Some(asking)) if facts.asking.len() == 1 => one_requirement(universe, id, asking.want, &file(id)),
        (1, _) => {
            let name = universe.name(id);
            format!("Correct the [[requires]] of {name}, or remove {}.", file(id))
        }
        _ => format!(
            "Remove {}, or add versions that agree.",
            words::joined(&files, " or ")
        ),
    }
}

/// The files of what a plugin conflicts with.
fn conflicting_files(universe: &Universe<'_>, of: usize, want: Want<'_>) -> Vec<String> {
    let Want::Conflicts(conflict) = want else {
        return Vec::new();
    };
    let others = universe.conflicting(of, conflict).into_iter();
    let used = others.filter_map(|(id, versions)| Some((id, universe.preferred(id, &versions)?)));
    used.map(|(id, number)| words::file(universe.candidate(id, number)))
        .collect()
}

fn one_requirement(universe: &Universe<'_>, id: usize, want: Want<'_>, file: &str) -> String {
    let Want::Requires(requirement) = want else {
        return format!("Remove {file}.");
    };
    let wanted = words::versioned(&requirement.target, &requirement.version);
    let options = universe.options(id, &requirement.target, &requirement.version);
    let bars = || {
        let numbers = options.iter().flat_map(|(other, versions)| {
            let fitting = universe
                .numbers(*other)
                .filter(|number| versions.contains(number));
            fitting.map(|number| (*other, number))
        });
        numbers.map(|(other, number)| (other, number, universe.barred(other, number)))
    };
    if let Some((other, ..)) = bars().find(|(other, ..)| universe.is_left_out(*other)) {
        let other = universe.name(other);
        return format!("See to {other} first: `extman deps {other}` says why it is left out.");
    }
    let is_lower = |bar: Option<Bar>| matches!(bar, Some(Bar::LowerThanRunning | Bar::LowerThanLocked));
    if let Some((other, number, _)) = bars().find(|(_, _, bar)| is_lower(*bar)) {
        return words::on_purpose(universe, other, "go back", |n| n == number);
    }
    if bars().any(|(_, _, bar)| bar == Some(Bar::NotLocked)) {
        return "Run `extman lock` to lock what is there.".to_owned();
    }
    if let Some(pre_release) = only_pre_release(universe, &requirement.target) {
        return format!(
            "To use the pre-release, name it in the [[requires]]: version = \">={pre_release}\"."
        );
    }
    let what = match &requirement.target {
        Target::Plugin(_) => wanted,
        Target::Capability(name) => match requirement.version.comparators.is_empty() {
            true => format!("a plugin that offers {name}"),
            false => format!("a plugin that offers {name} {}", requirement.version),
        },
    };
    format!("Add {what}, or remove {file}.")
}

/// The highest pre-release of a plugin, if there is no release of it.
fn only_pre_release(universe: &Universe<'_>, target: &Target) -> Option<String> {
    let Target::Plugin(name) = target else { return None };
    let id = universe.find(name)?;
    let versions = universe
        .numbers(id)
        .map(|n| &universe.candidate(id, n).manifest.plugin.version);
    let versions: Vec<_> = versions.collect();
    let only = versions.iter().all(|version| !version.pre.is_empty());
    Some(versions.last()?.to_string()).filter(|_| only)
}

/// Why plugins that wait for each other can't start.
pub(super) fn cycle(universe: &Universe<'_>, selection: &Selection, cycle: &[usize]) -> String {
    let names: Vec<String> = cycle.iter().map(|id| universe.name(*id).to_owned()).collect();
    let mut body = Vec::new();
    for (at, id) in cycle.iter().enumerate() {
        let next = cycle[(at + 1) % cycle.len()];
        let candidate = universe.candidate(*id, selection[id]);
        let mut requires = candidate.manifest.requires.iter().filter(|r| !r.optional);
        let requirement = requires.find(|r| universe.fulfilling(selection, *id, r).contains(&next));
        let Some(requirement) = requirement else { continue };
        let wanted = words::versioned(&requirement.target, &requirement.version);
        let offered = match requirement.target {
            Target::Plugin(_) => String::new(),
            Target::Capability(_) => format!(", which {} offers", universe.name(next)),
        };
        body.push(format!("{} requires {wanted}{offered}", words::named(candidate)));
    }
    let files: Vec<String> = cycle
        .iter()
        .map(|id| words::file(universe.candidate(*id, selection[id])))
        .collect();
    let (headline, advice) = match &names[..] {
        [one] => (
            format!("{one} requires itself, so it can't start."),
            format!("Remove that [[requires]] from {one}, or remove {}.", files[0]),
        ),
        [first, ..] => (
            format!(
                "A cycle: {} -> {first}. None of them can start first.",
                words::joined(&names, " -> ")
            ),
            "Make one of these requirements optional, or remove one of the files.".to_owned(),
        ),
        [] => (String::new(), String::new()),
    };
    Message {
        headline,
        body,
        advice,
    }
    .lines()
}
