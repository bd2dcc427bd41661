//! The words for what is there and what is wanted, and how they stand on lines.

use super::super::lock::Locked;
use super::Candidate;
use super::universe::{Bar, Universe, Want};
use extman_model::LeftOutCode;
use extman_model::text::one_line;
use extman_plugin_api::manifest::schema::Target;
use semver::Version;

/// Most lines of a reason, and most columns of each.
const LINES_MAX: usize = 12;
const COLUMNS_MAX: usize = 80;
/// Most files that are named in a row.
const NAMED_MAX: usize = 4;

/// A reason: who can't be used, what each wants, and what to do.
pub(super) struct Message {
    pub(super) headline: String,
    pub(super) body: Vec<String>,
    pub(super) advice: String,
}

impl Message {
    /// At most [`LINES_MAX`] lines: the headline and the advice are cut where they are too long, what has no room in the middle is
    /// counted.
    pub(super) fn lines(&self) -> String {
        let [mut lines, advice] = [&self.headline, &self.advice].map(|text| cut(wrap(text, 0)));
        let room = LINES_MAX - lines.len() - advice.len();
        let body: Vec<_> = self.body.iter().map(|line| wrap(line, 2)).collect();
        let all: usize = body.iter().map(Vec::len).sum();
        let mut taken = 0;
        for (at, wrapped) in body.iter().enumerate() {
            let needed = wrapped.len() + usize::from(all > room);
            if taken + needed > room {
                lines.push(format!("  and {} more", body.len() - at));
                break;
            }
            taken += wrapped.len();
            lines.extend_from_slice(wrapped);
        }
        lines.extend(advice);
        lines.join("\n")
    }
}

/// Most lines of a headline, and of an advice.
const ENDS_LINES_MAX: usize = 4;

/// The first lines, and that there were more.
fn cut(mut lines: Vec<String>) -> Vec<String> {
    if lines.len() > ENDS_LINES_MAX {
        lines.truncate(ENDS_LINES_MAX);
        let last = &mut lines[ENDS_LINES_MAX - 1];
        *last = last.chars().take(COLUMNS_MAX - 2).chain(" …".chars()).collect();
    }
    lines
}

/// Where a line goes on that began further left.
const CONTINUED: usize = 4;

/// Lines of at most [`COLUMNS_MAX`] columns; those after the first stand at [`CONTINUED`]. A longer word is cut.
fn wrap(text: &str, indent: usize) -> Vec<String> {
    let mut lines = Vec::new();
    let mut line = " ".repeat(indent);
    let mut is_begun = false;
    for word in text.split(' ').filter(|word| !word.is_empty()) {
        let room = COLUMNS_MAX - CONTINUED;
        let word = match word.chars().count() > room {
            true => word.chars().take(room - 1).chain(['…']).collect(),
            false => word.to_owned(),
        };
        if is_begun && line.chars().count() + 1 + word.chars().count() > COLUMNS_MAX {
            lines.push(std::mem::replace(&mut line, " ".repeat(CONTINUED)));
            is_begun = false;
        }
        if is_begun {
            line.push(' ');
        }
        line.push_str(&word);
        is_begun = true;
    }
    lines.push(line);
    lines
}

/// `embedder 1.2.0 (libembedder.so)`.
pub(super) fn named(candidate: &Candidate<'_>) -> String {
    let about = &candidate.manifest.plugin;
    format!("{} {} ({})", about.id, about.version, file(candidate))
}

/// The file's name alone: where it lies is told elsewhere, and a path would take all of the line.
pub(super) fn file(candidate: &Candidate<'_>) -> String {
    let path = candidate.origin;
    let name = path.file_name().unwrap_or(path.as_os_str());
    one_line(&name.to_string_lossy()).into_owned()
}

/// `embedder ^1.2`, `the capability text.embed`.
pub(super) fn versioned(want: Want<'_>) -> String {
    match want.version.comparators.is_empty() {
        true => want.target.to_string(),
        false => format!("{} {}", want.target, want.version),
    }
}

/// What is there of what a plugin requires, or conflicts with: sentences without a full stop.
pub(super) fn there(universe: &Universe<'_>, of: usize, want: Want<'_>) -> Vec<String> {
    match want.target {
        Target::Plugin(name) => match universe.find(name) {
            None => vec![format!("there is no plugin {name}")],
            Some(id) => vec![there_is(universe, id)],
        },
        Target::Capability(name) => {
            let others = universe.offering(name).iter().filter(|id| **id != of);
            let offers = others.filter_map(|id| offered(universe, *id, name, want));
            let offers: Vec<_> = offers.collect();
            if offers.is_empty() {
                return vec![format!("no other plugin that is there offers {name}")];
            }
            offers
        }
    }
}

pub(super) fn there_is(universe: &Universe<'_>, id: usize) -> String {
    let versions = universe.numbers(id).rev().map(|number| {
        let candidate = universe.candidate(id, number);
        let version = &candidate.manifest.plugin.version;
        format!("{version} ({}{})", file(candidate), why_not(universe, id, number))
    });
    let (name, versions) = (universe.name(id), listed(&versions.collect::<Vec<_>>()));
    format!("there is {name} {versions}{}", left_out(universe, id))
}

fn left_out(universe: &Universe<'_>, id: usize) -> &'static str {
    match universe.is_left_out(id) {
        true => ", which is left out itself",
        false => "",
    }
}

fn offered(universe: &Universe<'_>, id: usize, capability: &str, want: Want<'_>) -> Option<String> {
    let offered = |number: u32| {
        let mut capabilities = universe.candidate(id, number).manifest.capabilities.iter();
        capabilities.find(|offered| offered.name == capability)
    };
    // The version that fits, if there is one: then something else keeps it from being used.
    let fits = |number: &u32| offered(*number).is_some_and(|offered| want.version.matches(&offered.version));
    let mut numbers = universe.numbers(id).rev();
    let number = numbers
        .find(fits)
        .or_else(|| universe.numbers(id).rfind(|n| offered(*n).is_some()))?;
    let candidate = named(universe.candidate(id, number));
    let left_out = left_out(universe, id);
    let why_not = why_not(universe, id, number);
    let version = &offered(number)?.version;
    Some(format!(
        "{candidate} offers {capability} {version}{why_not}{left_out}"
    ))
}

/// Why this version is not used, after a semicolon.
fn why_not(universe: &Universe<'_>, id: usize, number: u32) -> String {
    let version = &universe.candidate(id, number).manifest.plugin.version;
    match universe.barred(id, number) {
        None if version.pre.is_empty() => String::new(),
        None | Some(Bar::PreRelease) => "; a pre-release".to_owned(),
        Some(Bar::NotLocked) => "; not what is locked".to_owned(),
        Some(Bar::LowerThanRunning) => lower(universe.running(id), "runs"),
        Some(Bar::LowerThanLocked) => lower(universe.locked(id).map(|locked| &locked.version), "is locked"),
    }
}

fn lower(than: Option<&Version>, which: &str) -> String {
    than.map_or_else(String::new, |than| format!("; lower than {than}, which {which}"))
}

/// `a, b and c`, `a, b, c, d and 3 more`.
pub(super) fn listed(texts: &[String]) -> String {
    match texts {
        [] => String::new(),
        [one] => one.clone(),
        [most @ .., last] if texts.len() <= NAMED_MAX => format!("{} and {last}", most.join(", ")),
        _ => format!(
            "{} and {} more",
            texts[..NAMED_MAX].join(", "),
            texts.len() - NAMED_MAX
        ),
    }
}

/// `a -> b -> c`, `a -> b -> c -> d -> and 3 more`.
pub(super) fn joined(texts: &[String], between: &str) -> String {
    match texts.len().checked_sub(NAMED_MAX) {
        None | Some(0) => texts.join(between),
        Some(more) => format!("{}{between}and {more} more", texts[..NAMED_MAX].join(between)),
    }
}

/// Why no version of a plugin may be used.
pub(super) fn unusable(universe: &Universe<'_>, id: usize, code: LeftOutCode) -> String {
    let name = universe.name(id);
    let found = || {
        universe
            .numbers(id)
            .rev()
            .map(|number| named(universe.candidate(id, number)))
    };
    let message = match (code, universe.locked(id)) {
        (LeftOutCode::NotLocked, None) => Message {
            headline: format!("{name} can't be used: extman.lock does not have it."),
            body: found().map(|found| format!("{found} is there")).collect(),
            advice: "Run `extman lock` to take it up, or remove it.".to_owned(),
        },
        (LeftOutCode::NotLocked, Some(locked)) => Message {
            headline: format!("{name} can't be used: no file of it is the one in extman.lock."),
            body: std::iter::once(format!(
                "extman.lock has {} sha256:{}",
                locked.version, locked.digest
            ))
            .chain(universe.numbers(id).rev().map(|number| {
                let candidate = universe.candidate(id, number);
                let version = &candidate.manifest.plugin.version;
                format!("{} has {version} sha256:{}", file(candidate), candidate.digest)
            }))
            .collect(),
            advice: "Put the locked file back, or run `extman lock` to lock what is there.".to_owned(),
        },
        (LeftOutCode::PreRelease, _) => Message {
            headline: format!(
                "{name} can't be used: what is there is a pre-release that nobody asks for, or lower."
            ),
            body: vec![there_is(universe, id)],
            advice: on_purpose(universe, id, "take a pre-release", |number| {
                universe.barred(id, number) == Some(Bar::PreRelease)
            }),
        },
        _ => Message {
            headline: format!("{name} can't be used: only lower versions of it are there."),
            body: vec![there_is(universe, id)],
            advice: on_purpose(universe, id, "go back", |_| true),
        },
    };
    message.lines()
}

/// What to do where only a version would do that nobody takes unasked: the highest that is such.
pub(super) fn on_purpose(
    universe: &Universe<'_>,
    id: usize,
    what: &str,
    is_such: impl Fn(u32) -> bool,
) -> String {
    let highest = universe.numbers(id).rev().find(|number| is_such(*number));
    highest.map_or_else(String::new, |number| {
        let about = &universe.candidate(id, number).manifest.plugin;
        format!(
            "To {what} on purpose, give the [[instance]] of {} version = \"={}\".",
            about.id, about.version
        )
    })
}

/// Of what is locked no file is there.
pub(super) fn locked_and_gone(id: &str, locked: &Locked) -> String {
    Message {
        headline: format!("{id} is locked, and is not there."),
        body: vec![format!(
            "extman.lock has {id} {} sha256:{}",
            locked.version, locked.digest
        )],
        advice: "Put that file back, or run `extman lock` without it.".to_owned(),
    }
    .lines()
}

/// How what is there differs from what is locked, where that is allowed.
pub(super) fn unlike_locked(universe: &Universe<'_>, name: &str, locked: &Locked) -> Option<String> {
    let version = &locked.version;
    let is_locked = |candidate: &&Candidate<'_>| candidate.manifest.plugin.version == *version;
    let there = universe.find(name).and_then(|id| {
        let mut candidates = universe.numbers(id).map(|number| universe.candidate(id, number));
        candidates.find(is_locked)
    });
    match there {
        None => Some(format!(
            "extman.lock has {name} {version}, which is not there; run `extman lock`"
        )),
        Some(candidate) if candidate.digest != locked.digest => Some(format!(
            "{} has other bytes than extman.lock says: sha256:{} there, {} in the lock; run `extman lock` if that is \
             meant, and `--locked` to refuse it",
            named(candidate),
            candidate.digest.short(),
            locked.digest.short()
        )),
        Some(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_no_room_is_counted_and_the_last_line_stays() {
        let message = Message {
            headline: "x can't be used.".to_owned(),
            body: (0..20)
                .map(|n| format!("plugin-{n} wants this and that"))
                .collect(),
            advice: "Do this.".to_owned(),
        };
        let lines = message.lines();
        assert_eq!(lines.lines().count(), 12, "{lines}");
        assert!(
            lines.ends_with("  plugin-8 wants this and that\n  and 11 more\nDo this."),
            "{lines}"
        );
        let exact = Message {
            body: message.body[..10].to_vec(),
            ..message
        };
        assert!(exact.lines().ends_with("plugin-9 wants this and that\nDo this."));
    }

    #[test]
    fn reason_stays_within_its_lines_however_long_its_headline_and_its_advice_are() {
        let long = |of: &str| vec![of; 300].join(" ");
        for (headline, advice) in [
            (long("head"), "Do this.".to_owned()),
            (long("head"), long("advice")),
        ] {
            let body = vec!["a wants this and that".to_owned(), "b does not".to_owned()];
            let message = Message {
                headline,
                body,
                advice,
            };
            let lines = message.lines();
            assert!(lines.lines().count() <= 12, "{lines}");
            assert!(lines.lines().all(|line| line.chars().count() <= 80), "{lines}");
            assert!(lines.contains("a wants this"), "{lines}");
        }
    }

    #[test]
    fn lines_are_wrapped_and_a_word_that_is_too_long_is_cut() {
        let lines = wrap(&format!("one {} two", "x".repeat(200)), 2);
        assert!(lines.iter().all(|line| line.chars().count() <= 80), "{lines:?}");
        assert_eq!(
            (lines.len(), lines[0].as_str(), lines[2].as_str()),
            (3, "  one", "    two")
        );
        assert!(lines[1].ends_with('…'));
    }
}
