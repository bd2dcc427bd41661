//! What is expected of each fault.

/// Where a fault's source is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum In {
    /// `sample-plugins/faults/rust`: one library, told what to do by its configuration.
    Rust,
    /// `sample-plugins/faults/c`: one library each.
    C,
}

/// A fault, when it happens, and what is seen then.
pub struct Row {
    /// Where its source is.
    pub within: In,
    /// Its name, and figures in TOML after that.
    pub fault: &'static str,
    /// Each of these, separated by a space. For a fault in C it is said for people.
    pub phases: &'static str,
    /// What is seen.
    pub seen: Seen,
}

/// What is seen of a fault.
#[derive(Debug, Clone, Copy)]
pub struct Seen {
    /// Passed, or why not. If it is refused, the host lives on, and what follows is seen without vetting.
    pub vetting: &'static str,
    /// Lives, or how it dies.
    pub host: &'static str,
    /// What the call or the check said.
    pub answer: &'static str,
    /// The instance's state; after the unload, if the fault happens there.
    pub state: &'static str,
    /// A part of its cause.
    pub cause: &'static str,
    /// What became of the library.
    pub unload: &'static str,
    /// What the other plugin's callers saw.
    pub beside: &'static str,
}

impl Row {
    /// The name alone.
    pub fn hazard(&self) -> &'static str {
        self.fault.split(' ').next().unwrap_or_default()
    }

    /// The figures that its name stands with: `slow 2500 ms`.
    pub fn figures(&self) -> String {
        let mut words = self.fault.split(' ').skip(1);
        match (words.next(), words.next()) {
            (Some(number), Some(figure)) => format!("{figure} = {number}"),
            _ => String::new(),
        }
    }
}

const fn row(within: In, fault: &'static str, phases: &'static str, seen: Seen) -> Row {
    Row {
        within,
        fault,
        phases,
        seen,
    }
}

/// It passes, works, and goes.
const FINE: Seen = Seen {
    vetting: "passed",
    host: "lives",
    answer: "–",
    state: "running",
    cause: "",
    unload: "unmapped",
    beside: "all answered",
};

const CALLED: Seen = Seen {
    answer: "right",
    ..FINE
};

const fn kills(host: &'static str, vetting: &'static str) -> Seen {
    Seen {
        vetting,
        host,
        answer: "–",
        state: "–",
        cause: "",
        unload: "–",
        beside: "answered until then",
    }
}

use In::{C, Rust};

/// All.
pub const ROWS: &[Row] = &[
    row(
        Rust,
        "segfault",
        "create start check stop destroy",
        kills("SIGSEGV", "refused: SIGSEGV"),
    ),
    row(
        Rust,
        "segfault",
        "invoke",
        Seen {
            answer: "no connection",
            ..kills("SIGSEGV", "passed")
        },
    ),
    row(Rust, "segfault", "drain", kills("SIGSEGV", "passed")),
    row(
        Rust,
        "slow 2500 ms",
        "invoke",
        Seen {
            answer: "deadline_exceeded",
            state: "failed",
            ..FINE
        },
    ),
    row(
        Rust,
        "panic",
        "create start invoke check drain stop destroy",
        FINE,
    ),
    row(Rust, "hang", "create start invoke check drain stop destroy", FINE),
    row(C, "echo", "any", CALLED),
    row(C, "hang-constructor", "load", FINE),
];
