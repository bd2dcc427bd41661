//! From how each one is to how all are: three groups, one word, one sentence. Pure.

use extman_model::{Counts, Criticality, Group, GroupHealth, Health, Overall};
use std::collections::BTreeMap;

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
    /// Capabilities of it that somebody else serves while it does not; `None` if any of them is served by nobody.
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
    for (of, group) in &mut groups {
        let mut here: Vec<Health> = members
            .iter()
            .filter(|member| member.group == *of && !member.left_out && member.redundant.is_none())
            .map(weight)
            .collect();
        here.extend(sets.values().filter(|set| set.group == *of).map(|set| set.health));
        group.health = worst(here).unwrap_or(Health::Unknown);
    }
    let health = worst(
        groups
            .values()
            .filter(|g| g.counts.counted() > 0)
            .map(|g| g.health),
    );
    let health = health.unwrap_or(Health::Up);
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

/// What one member that stands for itself does to the whole.
fn weight(member: &Member<'_>) -> Health {
    match (member.criticality, member.health) {
        (Criticality::Required, Health::Down) if member.covered.is_none() => Health::Down,
        (Criticality::Required, Health::Unknown) | (_, Health::Down | Health::Degraded) => Health::Degraded,
        (Criticality::Optional, Health::Unknown) | (_, Health::Up) => Health::Up,
    }
}

struct Set {
    group: Group,
    health: Health,
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
        let serves = |member: &&&Member<'_>| matches!(member.health, Health::Up | Health::Degraded);
        let serving = members.iter().filter(serves).count();
        let min_up = min_up.get(name).copied().unwrap_or(1);
        let required = members.iter().any(|m| m.criticality == Criticality::Required);
        let health = if serving < min_up {
            if required { Health::Down } else { Health::Degraded }
        } else if members.iter().all(|member| member.health == Health::Up) {
            Health::Up
        } else {
            Health::Degraded
        };
        let group = members
            .iter()
            .map(|member| member.group)
            .min()
            .unwrap_or(Group::General);
        let of = members.len();
        (
            name,
            Set {
                group,
                health,
                serving,
                of,
                min_up,
            },
        )
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
    if counted.is_empty() {
        return if members.is_empty() {
            "Up: there are no plugins".to_owned()
        } else {
            "Up: everything is stopped or in maintenance".to_owned()
        };
    }
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
    let down = counted.iter().filter(|member| member.health == Health::Down);
    let covered: std::collections::BTreeSet<&str> = down
        .flat_map(|member| member.covered.iter().flatten().copied())
        .collect();
    match covered.len() {
        0 => {}
        1 => parts.extend(
            covered
                .iter()
                .map(|capability| format!("{capability} served by its fallback")),
        ),
        2..=NAMES_MAX => {
            let mut names: Vec<&str> = covered.into_iter().collect();
            let last = names.pop().unwrap_or_default();
            parts.push(format!(
                "{} and {last} served by their fallbacks",
                names.join(", ")
            ));
        }
        many => parts.push(format!("{many} capabilities served by their fallbacks")),
    }
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
    let mut seen = std::collections::BTreeSet::new();
    parts.retain(|part| seen.insert(part.clone()));
    if parts.is_empty() {
        let plugins = counted
            .iter()
            .filter(|member| member.group != Group::Host)
            .count();
        return match plugins {
            0 => format!("{word}: there are no plugins"),
            1 => format!("{word}: the one plugin is up"),
            all => format!("{word}: all {all} plugins are up"),
        };
    }
    format!("{word}: {}", parts.join(", "))
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
