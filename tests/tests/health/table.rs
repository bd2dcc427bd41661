//! What is expected of each fault.

use std::fmt;

/// A fault, and what the host comes to hold its plugin to be.
pub struct Row {
    /// Its name, and figures in TOML after that: `slow 1000 ms`.
    pub fault: &'static str,
    /// When it happens.
    pub when: &'static str,
    /// Whether the plugin is called all the while.
    pub called: bool,
    /// The word at last.
    pub health: &'static str,
    /// What decides, in the host's words.
    pub cause: &'static str,
    /// A word that it is never held to be meanwhile.
    pub never: &'static str,
    /// By when it has to be known, in what the policy counts.
    pub bound: &'static str,
}

const fn row(
    (fault, when): (&'static str, &'static str),
    called: bool,
    (health, cause): (&'static str, &'static str),
    never: &'static str,
    bound: &'static str,
) -> Row {
    Row {
        fault,
        when,
        called,
        health,
        cause,
        never,
        bound,
    }
}

const QUIET: bool = false;
const CALLED: bool = true;
const ONE: &str = "1 check";
const FALL: &str = "3 failed checks";
const RUN: &str = "5 failed calls in a row";
const TURNS: &str = "30 % of its last 20 states are turns";
/// Up and down by turns, and told to be flapping.
pub const FLAPPING: &str = "flapping";
const EVENT: &str = "the event";

/// All of them.
pub const ROWS: &[Row] = &[
    row(
        ("none", "never"),
        CALLED,
        ("up", "answers its checks"),
        "down",
        ONE,
    ),
    // Checks that fail.
    row(
        ("unavailable", "check"),
        QUIET,
        ("down", "its checks fail: unavailable"),
        "up",
        FALL,
    ),
    row(
        ("internal", "check"),
        QUIET,
        ("down", "its checks fail: internal"),
        "up",
        FALL,
    ),
    row(
        ("exhausted", "check"),
        QUIET,
        ("down", "its checks fail: exhausted"),
        "up",
        FALL,
    ),
    row(
        ("configuration", "check"),
        QUIET,
        ("down", "its checks fail: configuration"),
        "up",
        FALL,
    ),
    row(
        ("rate-limited", "check"),
        QUIET,
        ("degraded", "its checks fail: rate_limited"),
        "down",
        ONE,
    ),
    row(
        ("unsupported", "check"),
        QUIET,
        ("up", "answers its checks"),
        "down",
        ONE,
    ),
    row(
        ("down-but-serving", "check"),
        QUIET,
        ("down", "says that it is down"),
        "up",
        FALL,
    ),
    row(
        ("down-but-serving", "check"),
        CALLED,
        ("degraded", "its checks fail while its calls succeed"),
        "–",
        FALL,
    ),
    row(
        ("unavailable", "check"),
        CALLED,
        ("degraded", "its checks fail while its calls succeed"),
        "–",
        FALL,
    ),
    row(
        ("degraded-but-serving", "check"),
        QUIET,
        ("degraded", "says that it is degraded"),
        "down",
        ONE,
    ),
    row(
        ("flap 3 count", "check"),
        QUIET,
        (FLAPPING, "says that it is down, and answers its checks, by turns"),
        "degraded",
        TURNS,
    ),
    row(
        ("slow 1500 ms", "check"),
        QUIET,
        ("down", "does not answer its checks in time"),
        "up",
        FALL,
    ),
    row(
        ("slow 50 ms", "check"),
        QUIET,
        ("up", "answers its checks"),
        "down",
        ONE,
    ),
    row(("hang", "check"), QUIET, ("down", "wedged"), "up", EVENT),
    row(("panic", "check"), QUIET, ("down", "failed"), "up", EVENT),
    row(
        ("flood-parts 100000 count", "check"),
        QUIET,
        ("up", "answers its checks"),
        "down",
        ONE,
    ),
    row(
        ("heap-limit 1 limit_bytes", "check"),
        QUIET,
        ("degraded", "its heap is near its limit"),
        "down",
        ONE,
    ),
    row(
        ("heap-limit 1000000000 limit_bytes", "check"),
        QUIET,
        ("up", "answers its checks"),
        "down",
        ONE,
    ),
    // Calls that fail.
    row(
        ("up-but-failing", "invoke"),
        CALLED,
        ("down", "its checks succeed while its calls fail"),
        "–",
        RUN,
    ),
    row(
        ("internal", "invoke"),
        CALLED,
        ("down", "its checks succeed while its calls fail"),
        "–",
        RUN,
    ),
    row(
        ("invalid-input", "invoke"),
        CALLED,
        ("up", "answers its checks"),
        "down",
        ONE,
    ),
    row(
        ("cancelled", "invoke"),
        CALLED,
        ("up", "answers its checks"),
        "down",
        ONE,
    ),
    row(
        ("slow 100 ms", "invoke"),
        CALLED,
        ("up", "answers its checks"),
        "down",
        ONE,
    ),
    row(("hang", "invoke"), CALLED, ("down", "wedged"), "–", EVENT),
    row(("panic", "invoke"), CALLED, ("down", "failed"), "–", EVENT),
    row(
        ("flood-log 100000 count", "invoke"),
        CALLED,
        ("up", "answers its checks"),
        "down",
        ONE,
    ),
    // Life.
    row(("unavailable", "start"), QUIET, ("down", "failed"), "up", EVENT),
    row(("panic", "create"), QUIET, ("down", "failed"), "up", EVENT),
];

impl Row {
    /// The fault's name alone, and its figures.
    pub fn parts(&self) -> (&str, Option<(&str, &str)>) {
        let mut words = self.fault.split(' ');
        let name = words.next().unwrap_or_default();
        (name, words.next().zip(words.next()))
    }

    /// What the table says.
    pub fn expected(&self) -> String {
        format!("{}: {}, never {}", self.health, self.cause, self.never)
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let called = if self.called { ", called" } else { "" };
        write!(f, "{} in {}{called}", self.fault, self.when)
    }
}

/// The table as Markdown.
pub fn render() -> String {
    let mut text = String::from(
        "| fault | when | called meanwhile | held to be | why | never | known after |\n|---|---|---|---|---|---|---|\n",
    );
    for row in ROWS {
        let called = if row.called { "yes" } else { "no" };
        text.push_str(&format!(
            "| `{}` | {} | {called} | {} | {} | {} | {} |\n",
            row.fault, row.when, row.health, row.cause, row.never, row.bound
        ));
    }
    text
}
