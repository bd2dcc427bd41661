//! Why plugins can't be used, from pubgrub's derivation, in words: no version ranges that the solver made, only what somebody wrote.

use super::solve::{Failed, Package, wants, wished};
use super::universe::{Bar, Selection, Universe, Versions, Want};
use super::words::{self, Message};
use extman_model::{LeftOut, LeftOutCode};
use extman_plugin_api::manifest::schema::Target;
use pubgrub::{DerivationTree, External};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

/// What the derivation rests on.
#[derive(Default)]
struct Causes<'a> {
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
    let mut causes = causes(universe, failed);
    let id = culprit(universe, &causes);
    if is_hopeless(universe, &causes, id) {
        // What the others want is not why.
        causes
            .asking
            .retain(|(of, _), asking| *of == id && unfulfillable(universe, id, asking));
        causes.instances.clear();
    }
    let of = causes.asking_ids();
    let conflicts = causes.asking.values().any(|asking| asking.want.is_conflict);
    let is_conflict = conflicts || of.len() > 1 || !causes.instances.is_empty();
    let message = Message {
        headline: headline(universe, id, &of, is_conflict, causes.asking.len()),
        body: body(universe, &causes),
        advice: advice(universe, id, &causes),
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
fn causes<'a>(universe: &Universe<'a>, failed: &Failed<'a>) -> Causes<'a> {
    let mut causes = Causes::default();
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
                causes.add(universe, failed, (of, versions), (on, wanted));
            }
            DerivationTree::External(_) => {}
        }
    }
    causes.instances.sort();
    causes.instances.dedup();
    causes
}

impl<'a> Causes<'a> {
    fn asking_ids(&self) -> BTreeSet<usize> {
        self.asking.keys().map(|(id, _)| *id).collect()
    }

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
        for (want, options) in wants(universe, id, universe.candidate(id, number)) {
            let is_this_one = match (&options[..], on) {
                ([(other, versions)], Package::Plugin(id)) => other == id && versions == wanted,
                ([_], _) => false,
                (_, Package::AnyOf(any)) => failed.any_of[*any].want == want,
                _ => false,
            };
            if !is_this_one {
                continue;
            }
            let asking = self.asking.entry((id, text(want))).or_insert_with(|| Asking {
                want,
                on: BTreeSet::new(),
                numbers: BTreeSet::new(),
            });
            asking.on.extend(options.iter().map(|(id, _)| *id));
            asking.numbers.insert(number);
        }
    }
}

fn text(want: Want<'_>) -> String {
    let wants = match want.is_conflict {
        true => "conflicts with",
        false => "requires",
    };
    format!("{wants} {}", words::versioned(want))
}

/// Who is left out: whoever can't be used in any case; then whoever is of the lowest rank; then whoever wants something itself; then
/// whoever is nearest to what is lacking; then the last one by its id.
fn culprit(universe: &Universe<'_>, causes: &Causes<'_>) -> usize {
    let asking = causes.asking_ids();
    let conflicts = causes.asking.values().filter(|asking| asking.want.is_conflict);
    let conflicting = conflicts.flat_map(|asking| &asking.on).copied();
    let mut involved: BTreeSet<usize> = conflicting.filter(|id| causes.present.contains(id)).collect();
    involved.extend(&asking);
    if involved.is_empty() {
        involved.clone_from(&causes.present);
    }
    let order = |id: &usize| {
        let mut own = causes.asking.iter().filter(|((of, _), _)| of == id);
        let waits_for_others =
            own.any(|(_, asking)| asking.on.iter().any(|on| on != id && involved.contains(on)));
        (
            !is_hopeless(universe, causes, *id),
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
fn is_hopeless(universe: &Universe<'_>, causes: &Causes<'_>, id: usize) -> bool {
    let own = || {
        causes
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
    let mut options = universe.options(id, asking.want).into_iter();
    !asking.want.is_conflict
        && options.all(|(other, versions)| universe.preferred(other, &versions).is_none())
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

fn body(universe: &Universe<'_>, causes: &Causes<'_>) -> Vec<String> {
    let mut body = Vec::new();
    for ((id, text), asking) in &causes.asking {
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
    for (id, instance, version) in &causes.instances {
        body.push(format!(
            "the [[instance]] {instance:?} wants {} {version}",
            universe.name(*id)
        ));
    }
    let mut evidence = Vec::new();
    for ((id, _), asking) in &causes.asking {
        evidence.extend(words::there(universe, *id, asking.want));
    }
    evidence.extend(
        causes
            .instances
            .iter()
            .map(|(id, ..)| words::there_is(universe, *id)),
    );
    let mut seen = HashSet::new();
    evidence.retain(|line| seen.insert(line.clone()));
    body.extend(evidence);
    body
}

/// What to do.
fn advice(universe: &Universe<'_>, id: usize, causes: &Causes<'_>) -> String {
    let file = |id: usize| {
        let highest = universe.numbers(id).next_back();
        highest.map_or_else(String::new, |number| words::file(universe.candidate(id, number)))
    };
    if !causes.instances.is_empty() {
        return "Change the version of an [[instance]], or add a version that all allow.".to_owned();
    }
    let conflict = causes.asking.iter().find(|(_, asking)| asking.want.is_conflict);
    if let Some(((of, _), asking)) = conflict {
        let others = universe.options(*of, asking.want).into_iter();
        let used = others.filter_map(|(id, versions)| Some((id, universe.preferred(id, &versions)?)));
        let others: Vec<_> = used
            .map(|(id, number)| words::file(universe.candidate(id, number)))
            .collect();
        return format!(
            "Remove {} or {}: only one of the two can be used.",
            file(*of),
            words::listed(&others)
        );
    }
    let of = causes.asking_ids();
    let files: Vec<String> = of.iter().map(|id| file(*id)).collect();
    match (of.len(), causes.asking.values().next()) {
        (1, Some(asking)) if causes.asking.len() == 1 => {
            one_requirement(universe, id, asking.want, &file(id))
        }
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

fn one_requirement(universe: &Universe<'_>, id: usize, want: Want<'_>, file: &str) -> String {
    let options = universe.options(id, want);
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
    if let Some(pre_release) = only_pre_release(universe, want.target) {
        return format!(
            "To use the pre-release, name it in the [[requires]]: version = \">={pre_release}\"."
        );
    }
    let what = match want.target {
        Target::Plugin(_) => words::versioned(want),
        Target::Capability(name) => match want.version.comparators.is_empty() {
            true => format!("a plugin that offers {name}"),
            false => format!("a plugin that offers {name} {}", want.version),
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
        let wanted = words::versioned(requirement.into());
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
