//! From how each one is to how all are: three groups, one word, one sentence. Pure.

use extman_model::{Counts, Criticality, Group, GroupHealth, Health, Overall};
use std::collections::{BTreeMap, BTreeSet};

/// One of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member<'a> {
    /// Its name.
    pub name: &'a str,
    /// Where it belongs.
    pub group: Group,
    /// How it is.
    pub health: Health,
    /// In maintenance, or stopped by an operator: listed, and counted nowhere.
    pub left_out: bool,
    /// What its failure means.
    pub criticality: Criticality,
    /// The redundant set that it is one of.
    pub redundant: Option<&'a str>,
    /// Capabilities of it that a fallback of it serves while it does not; `None` if any of its capabilities is served by nobody else.
    pub covered: Option<Vec<&'a str>>,
}

/// What all of them together are. `min_up` tells for each redundant set how many must serve; one, where it is silent.
pub fn aggregate(members: &[Member<'_>], min_up: &BTreeMap<String, usize>) -> Overall {
    let sets = redundant_sets(members, min_up);
    let mut groups: BTreeMap<Group, GroupHealth> = BTreeMap::new();
    for member in members {
        let group = groups.entry(member.group).or_insert(GroupHealth {
            health: Health::Unknown,
            counts: Counts::default(),
        });
        group.counts.add(member.health, member.left_out);
    }
    let counted = members.iter().filter(|member| !member.left_out);
    let alone = counted.filter(|member| member.redundant.is_none());
    let mut parts: Vec<Part> = alone.map(Part::of_member).collect();
    parts.extend(sets.values().map(Part::of_set));
    for (of, group) in &mut groups {
        let here = parts.iter().filter(|part| part.group == *of);
        group.health = judge(here).unwrap_or(Health::Unknown);
    }
    let plugins = judge(parts.iter().filter(|part| part.group != Group::Host));
    let host = parts
        .iter()
        .filter(|part| part.group == Group::Host)
        .map(|part| part.weight);
    let health = worst(plugins.into_iter().chain(host)).unwrap_or(Health::Up);
    let mut left_out: Vec<String> = members
        .iter()
        .filter(|member| member.left_out)
        .map(|member| member.name.to_owned())
        .collect();
    left_out.sort();
    Overall {
        health,
        sentence: sentence(health, members, &sets),
        groups,
        left_out,
    }
}

/// What stands for itself in a sum: a member, or a redundant set.
struct Part {
    group: Group,
    health: Health,
    /// What it does to the whole while others of it serve.
    weight: Health,
    /// Others do its work.
    is_covered: bool,
}

impl Part {
    fn of_member(member: &Member<'_>) -> Part {
        let is_covered = member.covered.is_some();
        Part {
            group: member.group,
            health: member.health,
            weight: match (member.criticality, member.health) {
                (_, Health::Up) => Health::Up,
                (Criticality::Required, Health::Down) if !is_covered => Health::Down,
                (_, Health::Down | Health::Degraded | Health::Unknown) => Health::Degraded,
            },
            is_covered,
        }
    }

    fn of_set(set: &Set) -> Part {
        Part {
            group: set.group,
            health: set.health,
            weight: match set.health {
                Health::Up => Health::Up,
                Health::Down if set.required => Health::Down,
                Health::Down | Health::Degraded | Health::Unknown => Health::Degraded,
            },
            is_covered: false,
        }
    }
}

/// What parts together are: the worst of what each does to the whole; but where none is known to serve, it is unknown, and down where all
/// are down.
fn judge<'a>(mut parts: impl Iterator<Item = &'a Part> + Clone) -> Option<Health> {
    let serves = |part: &Part| part.health.serves() || part.is_covered;
    let weight = worst(parts.clone().map(|part| part.weight))?;
    if weight == Health::Down || parts.clone().any(serves) {
        return Some(weight);
    }
    let all_down = parts.all(|part| part.health == Health::Down);
    Some(if all_down { Health::Down } else { Health::Unknown })
}

struct Set {
    group: Group,
    health: Health,
    required: bool,
    serving: usize,
    of: usize,
    min_up: usize,
}

fn redundant_sets<'a>(members: &[Member<'a>], min_up: &BTreeMap<String, usize>) -> BTreeMap<&'a str, Set> {
    let mut by_name: BTreeMap<&str, Vec<&Member<'a>>> = BTreeMap::new();
    for member in members.iter().filter(|member| !member.left_out) {
        if let Some(name) = member.redundant {
            by_name.entry(name).or_default().push(member);
        }
    }
    let set = |(name, members): (&'a str, Vec<&Member<'a>>)| {
        let count = |health: Health| members.iter().filter(|member| member.health == health).count();
        let serving = count(Health::Up) + count(Health::Degraded);
        let min_up = min_up.get(name).copied().unwrap_or(1);
        let of = members.len();
        let health = if count(Health::Unknown) == of {
            Health::Unknown
        } else if serving < min_up {
            Health::Down
        } else if count(Health::Up) == of {
            Health::Up
        } else {
            Health::Degraded
        };
        let set = Set {
            group: members
                .iter()
                .map(|member| member.group)
                .min()
                .unwrap_or(Group::General),
            health,
            required: members.iter().any(|m| m.criticality == Criticality::Required),
            serving,
            of,
            min_up,
        };
        (name, set)
    };
    by_name.into_iter().map(set).collect()
}

fn worst(all: impl IntoIterator<Item = Health>) -> Option<Health> {
    let order = |health: &Health| match health {
        Health::Up => 0,
        Health::Degraded => 1,
        Health::Unknown => 2,
        Health::Down => 3,
    };
    all.into_iter().max_by_key(order)
}

/// How many names a sentence has before it only counts.
const NAMES_MAX: usize = 3;

fn sentence(health: Health, members: &[Member<'_>], sets: &BTreeMap<&str, Set>) -> String {
    let counted: Vec<_> = members.iter().filter(|member| !member.left_out).collect();
    let mut parts = Vec::new();
    for (word, what) in [
        (Health::Down, "down"),
        (Health::Degraded, "degraded"),
        (Health::Unknown, "unknown"),
    ] {
        for (is_host, noun) in [(false, "plugin"), (true, "host component")] {
            let those: Vec<_> = counted
                .iter()
                .filter(|m| m.health == word && (m.group == Group::Host) == is_host)
                .collect();
            let all = counted
                .iter()
                .filter(|m| (m.group == Group::Host) == is_host)
                .count();
            if let Some(part) = counted_part(&those, all, noun, what) {
                parts.push(part);
            }
        }
    }
    parts.extend(fallbacks(&counted));
    for (name, set) in sets.iter().filter(|(_, set)| set.health != Health::Up) {
        parts.push(format!(
            "{} of {} in {name} serve, {} needed",
            set.serving, set.of, set.min_up
        ));
    }
    let word = match health {
        Health::Up => "Up",
        Health::Degraded => "Degraded",
        Health::Unknown => "Unknown",
        Health::Down => "Down",
    };
    let mut seen = BTreeSet::new();
    parts.retain(|part| seen.insert(part.clone()));
    if parts.is_empty() {
        let plugins = counted
            .iter()
            .filter(|member| member.group != Group::Host)
            .count();
        let any = members.iter().any(|member| member.group != Group::Host);
        return match plugins {
            0 if any => format!("{word}: everything is stopped or in maintenance"),
            0 => format!("{word}: there are no plugins"),
            1 => format!("{word}: the one plugin is up"),
            all => format!("{word}: all {all} plugins are up"),
        };
    }
    format!("{word}: {}", parts.join(", "))
}

/// What others serve for those that are down.
fn fallbacks(counted: &[&Member<'_>]) -> Option<String> {
    let down = counted.iter().filter(|member| member.health == Health::Down);
    let covered: BTreeSet<&str> = down
        .flat_map(|member| member.covered.iter().flatten().copied())
        .collect();
    match covered.len() {
        0 => None,
        1 => covered
            .first()
            .map(|capability| format!("{capability} served by its fallback")),
        2..=NAMES_MAX => {
            let mut names: Vec<&str> = covered.into_iter().collect();
            let last = names.pop().unwrap_or_default();
            Some(format!(
                "{} and {last} served by their fallbacks",
                names.join(", ")
            ))
        }
        many => Some(format!("{many} capabilities served by their fallbacks")),
    }
}

fn counted_part(those: &[&&Member<'_>], all: usize, noun: &str, what: &str) -> Option<String> {
    if those.is_empty() {
        return None;
    }
    let plural = if all == 1 { "" } else { "s" };
    let mut names: Vec<&str> = those.iter().map(|member| member.name).collect();
    names.sort_unstable();
    let named = if names.len() <= NAMES_MAX {
        format!(" ({})", names.join(", "))
    } else {
        String::new()
    };
    Some(format!("{} of {all} {noun}{plural} {what}{named}", those.len()))
}

#[cfg(test)]
mod tests;
