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

/// What is so uncertain without vetting that a table can't hold it.
pub const NOT_TRIED: &str = "not tried";

use In::{C, Rust};

/// All.
pub const ROWS: &[Row] = &[
    row(Rust, "segfault", "create", kills("SIGSEGV", "refused: SIGSEGV")),
    row(Rust, "segfault", "start", kills("SIGSEGV", "refused: SIGSEGV")),
    row(
        Rust,
        "segfault",
        "invoke",
        Seen {
            answer: "no connection",
            ..kills("SIGSEGV", "passed")
        },
    ),
    row(Rust, "segfault", "check", kills("SIGSEGV", "refused: SIGSEGV")),
    row(Rust, "segfault", "drain", kills("SIGSEGV", "refused: SIGSEGV")),
    row(Rust, "segfault", "stop", kills("SIGSEGV", "refused: SIGSEGV")),
    row(Rust, "segfault", "destroy", kills("SIGSEGV", "refused: SIGSEGV")),
    row(Rust, "abort", "create", kills("SIGABRT", "refused: SIGABRT")),
    row(Rust, "abort", "start", kills("SIGABRT", "refused: SIGABRT")),
    row(
        Rust,
        "abort",
        "invoke",
        Seen {
            answer: "no connection",
            ..kills("SIGABRT", "passed")
        },
    ),
    row(Rust, "abort", "check", kills("SIGABRT", "refused: SIGABRT")),
    row(Rust, "abort", "drain", kills("SIGABRT", "refused: SIGABRT")),
    row(Rust, "abort", "stop", kills("SIGABRT", "refused: SIGABRT")),
    row(Rust, "abort", "destroy", kills("SIGABRT", "refused: SIGABRT")),
    row(Rust, "exit", "create", kills("exit 3", "refused: exit 3")),
    row(Rust, "exit", "start", kills("exit 3", "refused: exit 3")),
    row(
        Rust,
        "exit",
        "invoke",
        Seen {
            answer: "no connection",
            ..kills("exit 3", "passed")
        },
    ),
    row(Rust, "exit", "check", kills("exit 3", "refused: exit 3")),
    row(Rust, "exit", "drain", kills("exit 3", "refused: exit 3")),
    row(Rust, "exit", "stop", kills("exit 3", "refused: exit 3")),
    row(Rust, "exit", "destroy", kills("exit 3", "refused: exit 3")),
    row(Rust, "panic", "create", FINE),
    row(Rust, "panic", "start", FINE),
    row(
        Rust,
        "panic",
        "invoke",
        Seen {
            answer: "panicked",
            ..FINE
        },
    ),
    row(
        Rust,
        "panic",
        "check",
        Seen {
            answer: "panicked",
            ..FINE
        },
    ),
    row(
        Rust,
        "panic",
        "drain",
        Seen {
            state: "stopped",
            cause: "stopped by an operator",
            ..FINE
        },
    ),
    row(
        Rust,
        "panic",
        "stop",
        Seen {
            state: "stopped",
            cause: "stopped by an operator",
            ..FINE
        },
    ),
    row(
        Rust,
        "panic",
        "destroy",
        Seen {
            state: "stopped",
            cause: "stopped by an operator",
            ..FINE
        },
    ),
    row(Rust, "panic-in-payload", "create", FINE),
    row(Rust, "panic-in-payload", "start", FINE),
    row(
        Rust,
        "panic-in-payload",
        "invoke",
        Seen {
            answer: "panicked",
            ..FINE
        },
    ),
    row(
        Rust,
        "panic-in-payload",
        "check",
        Seen {
            answer: "panicked",
            ..FINE
        },
    ),
    row(
        Rust,
        "panic-in-payload",
        "drain",
        Seen {
            state: "stopped",
            cause: "stopped by an operator",
            ..FINE
        },
    ),
    row(
        Rust,
        "panic-in-payload",
        "stop",
        Seen {
            state: "stopped",
            cause: "stopped by an operator",
            ..FINE
        },
    ),
    row(
        Rust,
        "panic-in-payload",
        "destroy",
        Seen {
            state: "stopped",
            cause: "stopped by an operator",
            ..FINE
        },
    ),
    row(Rust, "hang", "create", FINE),
    row(Rust, "hang", "start", FINE),
    row(
        Rust,
        "hang",
        "invoke",
        Seen {
            answer: "deadline_exceeded",
            ..FINE
        },
    ),
    row(
        Rust,
        "hang",
        "check",
        Seen {
            answer: "timed out",
            ..FINE
        },
    ),
    row(
        Rust,
        "hang",
        "drain",
        Seen {
            state: "stopped",
            cause: "stopped by an operator",
            ..FINE
        },
    ),
    row(
        Rust,
        "hang",
        "stop",
        Seen {
            state: "stopped",
            cause: "stopped by an operator",
            ..FINE
        },
    ),
    row(
        Rust,
        "hang",
        "destroy",
        Seen {
            state: "stopped",
            cause: "stopped by an operator",
            ..FINE
        },
    ),
    row(
        Rust,
        "hang-until-cancelled",
        "invoke",
        Seen {
            answer: "deadline_exceeded",
            ..FINE
        },
    ),
    row(
        Rust,
        "hang-until-cancelled",
        "check",
        Seen {
            answer: "timed out",
            ..FINE
        },
    ),
    row(Rust, "slow", "create", FINE),
    row(Rust, "slow", "start", FINE),
    row(
        Rust,
        "slow",
        "invoke",
        Seen {
            answer: "right",
            ..FINE
        },
    ),
    row(Rust, "slow", "check", Seen { answer: "up", ..FINE }),
    row(
        Rust,
        "slow",
        "drain",
        Seen {
            state: "stopped",
            cause: "stopped by an operator",
            ..FINE
        },
    ),
    row(
        Rust,
        "slow",
        "stop",
        Seen {
            state: "stopped",
            cause: "stopped by an operator",
            ..FINE
        },
    ),
    row(
        Rust,
        "slow",
        "destroy",
        Seen {
            state: "stopped",
            cause: "stopped by an operator",
            ..FINE
        },
    ),
    row(Rust, "slow 2500 ms", "create", FINE),
    row(Rust, "slow 2500 ms", "start", FINE),
    row(
        Rust,
        "slow 2500 ms",
        "invoke",
        Seen {
            answer: "deadline_exceeded",
            ..FINE
        },
    ),
    row(
        Rust,
        "slow 2500 ms",
        "check",
        Seen {
            answer: "timed out",
            ..FINE
        },
    ),
    row(
        Rust,
        "slow 2500 ms",
        "drain",
        Seen {
            state: "stopped",
            cause: "stopped by an operator",
            ..FINE
        },
    ),
    row(
        Rust,
        "slow 2500 ms",
        "stop",
        Seen {
            state: "stopped",
            cause: "stopped by an operator",
            ..FINE
        },
    ),
    row(
        Rust,
        "slow 2500 ms",
        "destroy",
        Seen {
            state: "stopped",
            cause: "stopped by an operator",
            ..FINE
        },
    ),
    row(Rust, "invalid-input", "create", FINE),
    row(
        Rust,
        "invalid-input",
        "invoke",
        Seen {
            answer: "invalid_input",
            ..FINE
        },
    ),
    row(
        Rust,
        "invalid-input",
        "check",
        Seen {
            answer: "invalid_input",
            ..FINE
        },
    ),
    row(Rust, "unavailable", "create", FINE),
    row(
        Rust,
        "unavailable",
        "invoke",
        Seen {
            answer: "unavailable",
            ..FINE
        },
    ),
    row(
        Rust,
        "unavailable",
        "check",
        Seen {
            answer: "unavailable",
            ..FINE
        },
    ),
    row(Rust, "rate-limited", "create", FINE),
    row(
        Rust,
        "rate-limited",
        "invoke",
        Seen {
            answer: "rate_limited",
            ..FINE
        },
    ),
    row(
        Rust,
        "rate-limited",
        "check",
        Seen {
            answer: "rate_limited",
            ..FINE
        },
    ),
    row(Rust, "configuration", "create", FINE),
    row(
        Rust,
        "configuration",
        "invoke",
        Seen {
            answer: "configuration",
            ..FINE
        },
    ),
    row(
        Rust,
        "configuration",
        "check",
        Seen {
            answer: "configuration",
            ..FINE
        },
    ),
    row(Rust, "cancelled", "create", FINE),
    row(
        Rust,
        "cancelled",
        "invoke",
        Seen {
            answer: "cancelled",
            ..FINE
        },
    ),
    row(
        Rust,
        "cancelled",
        "check",
        Seen {
            answer: "cancelled",
            ..FINE
        },
    ),
    row(Rust, "deadline-exceeded", "create", FINE),
    row(
        Rust,
        "deadline-exceeded",
        "invoke",
        Seen {
            answer: "deadline_exceeded",
            ..FINE
        },
    ),
    row(
        Rust,
        "deadline-exceeded",
        "check",
        Seen {
            answer: "deadline_exceeded",
            ..FINE
        },
    ),
    row(Rust, "unsupported", "create", FINE),
    row(
        Rust,
        "unsupported",
        "invoke",
        Seen {
            answer: "unsupported",
            ..FINE
        },
    ),
    row(
        Rust,
        "unsupported",
        "check",
        Seen {
            answer: "unsupported",
            ..FINE
        },
    ),
    row(Rust, "exhausted", "create", FINE),
    row(
        Rust,
        "exhausted",
        "invoke",
        Seen {
            answer: "exhausted",
            ..FINE
        },
    ),
    row(
        Rust,
        "exhausted",
        "check",
        Seen {
            answer: "exhausted",
            ..FINE
        },
    ),
    row(Rust, "internal", "create", FINE),
    row(Rust, "internal", "start", FINE),
    row(
        Rust,
        "internal",
        "invoke",
        Seen {
            answer: "internal",
            ..FINE
        },
    ),
    row(
        Rust,
        "internal",
        "check",
        Seen {
            answer: "internal",
            ..FINE
        },
    ),
    row(
        Rust,
        "internal",
        "drain",
        Seen {
            state: "stopped",
            cause: "stopped by an operator",
            ..FINE
        },
    ),
    row(
        Rust,
        "internal",
        "stop",
        Seen {
            state: "stopped",
            cause: "stopped by an operator",
            ..FINE
        },
    ),
    row(
        Rust,
        "internal",
        "destroy",
        Seen {
            state: "stopped",
            cause: "stopped by an operator",
            ..FINE
        },
    ),
    row(
        Rust,
        "up-but-failing",
        "invoke",
        Seen {
            answer: "internal",
            ..FINE
        },
    ),
    row(
        Rust,
        "down-but-serving",
        "check",
        Seen {
            answer: "down",
            ..FINE
        },
    ),
    row(
        Rust,
        "degraded-but-serving",
        "check",
        Seen {
            answer: "degraded",
            ..FINE
        },
    ),
    row(Rust, "flood-parts", "check", Seen { answer: "up", ..FINE }),
    row(Rust, "leak", "create", FINE),
    row(
        Rust,
        "leak",
        "invoke",
        Seen {
            answer: "right",
            ..FINE
        },
    ),
    row(Rust, "leak", "check", Seen { answer: "up", ..FINE }),
    row(
        Rust,
        "leak",
        "destroy",
        Seen {
            state: "stopped",
            cause: "stopped by an operator",
            ..FINE
        },
    ),
    row(Rust, "hold-memory", "create", FINE),
    row(
        Rust,
        "hold-memory",
        "invoke",
        Seen {
            answer: "right",
            ..FINE
        },
    ),
    row(Rust, "hold-memory", "check", Seen { answer: "up", ..FINE }),
    row(
        Rust,
        "hold-memory",
        "destroy",
        Seen {
            state: "stopped",
            cause: "stopped by an operator",
            ..FINE
        },
    ),
    row(Rust, "thread-alive", "create", FINE),
    row(
        Rust,
        "thread-alive",
        "invoke",
        Seen {
            answer: "right",
            ..FINE
        },
    ),
    row(Rust, "thread-alive", "check", Seen { answer: "up", ..FINE }),
    row(
        Rust,
        "thread-alive",
        "destroy",
        Seen {
            state: "stopped",
            cause: "stopped by an operator",
            ..FINE
        },
    ),
    row(Rust, "thread-local", "create", FINE),
    row(
        Rust,
        "thread-local",
        "invoke",
        Seen {
            answer: "right",
            ..FINE
        },
    ),
    row(Rust, "thread-local", "check", Seen { answer: "up", ..FINE }),
    row(
        Rust,
        "thread-local",
        "destroy",
        Seen {
            state: "stopped",
            cause: "stopped by an operator",
            ..FINE
        },
    ),
    row(Rust, "thread-current", "create", FINE),
    row(
        Rust,
        "thread-current",
        "invoke",
        Seen {
            answer: "right",
            ..FINE
        },
    ),
    row(Rust, "thread-current", "check", Seen { answer: "up", ..FINE }),
    row(
        Rust,
        "thread-current",
        "destroy",
        Seen {
            state: "stopped",
            cause: "stopped by an operator",
            ..FINE
        },
    ),
    row(Rust, "tokio-current-thread", "create", FINE),
    row(
        Rust,
        "tokio-current-thread",
        "invoke",
        Seen {
            answer: "right",
            ..FINE
        },
    ),
    row(
        Rust,
        "tokio-current-thread",
        "check",
        Seen { answer: "up", ..FINE },
    ),
    row(
        Rust,
        "tokio-current-thread",
        "destroy",
        Seen {
            state: "stopped",
            cause: "stopped by an operator",
            ..FINE
        },
    ),
    row(Rust, "tokio-multi-thread", "create", FINE),
    row(
        Rust,
        "tokio-multi-thread",
        "invoke",
        Seen {
            answer: "right",
            ..FINE
        },
    ),
    row(Rust, "tokio-multi-thread", "check", Seen { answer: "up", ..FINE }),
    row(
        Rust,
        "tokio-multi-thread",
        "destroy",
        Seen {
            state: "stopped",
            cause: "stopped by an operator",
            ..FINE
        },
    ),
    row(Rust, "static-tokio", "create", FINE),
    row(
        Rust,
        "static-tokio",
        "invoke",
        Seen {
            answer: "right",
            ..FINE
        },
    ),
    row(Rust, "static-tokio", "check", Seen { answer: "up", ..FINE }),
    row(
        Rust,
        "static-tokio",
        "destroy",
        Seen {
            state: "stopped",
            cause: "stopped by an operator",
            ..FINE
        },
    ),
    row(Rust, "rayon-global", "create", FINE),
    row(
        Rust,
        "rayon-global",
        "invoke",
        Seen {
            answer: "right",
            ..FINE
        },
    ),
    row(Rust, "rayon-global", "check", Seen { answer: "up", ..FINE }),
    row(
        Rust,
        "rayon-global",
        "destroy",
        Seen {
            state: "stopped",
            cause: "stopped by an operator",
            ..FINE
        },
    ),
    row(Rust, "signal-handler", "create", FINE),
    row(
        Rust,
        "signal-handler",
        "invoke",
        Seen {
            answer: "right",
            ..FINE
        },
    ),
    row(Rust, "signal-handler", "check", Seen { answer: "up", ..FINE }),
    row(
        Rust,
        "signal-handler",
        "destroy",
        Seen {
            state: "stopped",
            cause: "stopped by an operator",
            ..FINE
        },
    ),
    row(Rust, "flood-log", "create", FINE),
    row(
        Rust,
        "flood-log",
        "invoke",
        Seen {
            answer: "right",
            ..FINE
        },
    ),
    row(Rust, "flood-log", "check", Seen { answer: "up", ..FINE }),
    row(
        Rust,
        "flood-log",
        "destroy",
        Seen {
            state: "stopped",
            cause: "stopped by an operator",
            ..FINE
        },
    ),
    row(
        Rust,
        "flood-sink",
        "invoke",
        Seen {
            answer: "exhausted",
            ..FINE
        },
    ),
    row(
        Rust,
        "usage",
        "invoke",
        Seen {
            answer: "right",
            ..FINE
        },
    ),
    row(
        Rust,
        "write-after-return",
        "invoke",
        Seen {
            answer: "right, late write refused",
            ..FINE
        },
    ),
    row(
        Rust,
        "push-after-destroy",
        "destroy",
        Seen {
            state: "stopped",
            cause: "stopped by an operator",
            ..FINE
        },
    ),
    row(C, "affine", "any", CALLED),
    row(C, "bad-magic", "any", CALLED),
    row(C, "echo", "any", CALLED),
    row(C, "exit-constructor", "any", kills("exit 3", "refused")),
    row(
        C,
        "hang-constructor",
        "any",
        Seen {
            vetting: "refused: timed out in open (constructors)",
            host: NOT_TRIED,
            state: "–",
            unload: "–",
            beside: "–",
            ..FINE
        },
    ),
    row(C, "hang-finaliser", "any", CALLED),
    row(C, "ignores-lengths", "any", CALLED),
    row(C, "no-manifest", "any", CALLED),
    row(C, "nodelete", "any", CALLED),
    row(C, "null-create", "any", CALLED),
    row(C, "null-vtable", "any", CALLED),
    row(C, "pthread-alive", "any", CALLED),
    row(C, "pthread-key", "any", CALLED),
    row(C, "segfault-constructor", "any", kills("SIGSEGV", "refused")),
    row(C, "serial", "any", CALLED),
    row(C, "signal-handler", "any", CALLED),
    row(C, "thrd-create-alive", "any", CALLED),
    row(C, "two-frames", "any", CALLED),
    row(C, "unique-symbol", "any", CALLED),
    row(C, "write-file-constructor", "any", CALLED),
    row(C, "wrong-abi-major", "any", CALLED),
    row(C, "wrong-struct-size", "any", CALLED),
];
