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

/// The host lives, and the other plugin's callers notice nothing.
const fn lives(
    vetting: &'static str,
    answer: &'static str,
    state: &'static str,
    cause: &'static str,
    unload: &'static str,
) -> Seen {
    Seen {
        vetting,
        host: "lives",
        answer,
        state,
        cause,
        unload,
        beside: "all answered",
    }
}

const fn dies(host: &'static str, vetting: &'static str, answer: &'static str) -> Seen {
    Seen {
        host,
        beside: "answered until then",
        ..lives(vetting, answer, NOTHING, "", NOTHING)
    }
}

/// Stands where there is nothing to say.
pub const NOTHING: &str = "–";

macro_rules! rows {
    ($($within:ident $fault:literal $phases:literal $end:ident $($part:literal)+;)+) => {
        /// All: a fault, when; then `lives`, what vetting says, the answer, the state, a part of its cause, what became of the
        /// library; or `dies`, of what, what vetting says, the answer.
        pub const ROWS: &[Row] = &[
            $(Row { within: In::$within, fault: $fault, phases: $phases, seen: $end($($part),+) },)+
        ];
    };
}

rows! {
    Rust "segfault" "create start check drain stop destroy" dies "SIGSEGV; the next one names it" "refused: SIGSEGV" "–";
    Rust "segfault" "invoke" dies "SIGSEGV; the next one names it" "passed" "no connection";
    Rust "abort" "create start check drain stop destroy" dies "SIGABRT; the next one names it" "refused: SIGABRT" "–";
    Rust "abort" "invoke" dies "SIGABRT; the next one names it" "passed" "no connection";
    Rust "exit" "create start check drain stop destroy" dies "exit 3" "refused: exit 3" "–";
    Rust "exit" "invoke" dies "exit 3" "passed" "no connection";
    Rust "panic" "create start" lives
        "refused: “panicked: as told”" "–" "failed" "panicked: as told" "unmapped";
    Rust "panic" "invoke" lives "passed" "panicked" "failed" "panicked: as told" "unmapped";
    Rust "panic" "check" lives
        "refused: “panicked: as told”" "panicked" "failed" "panicked: as told" "unmapped";
    Rust "panic" "drain stop" lives
        "refused: “panicked: as told”" "–" "stopped" "failed: panicked: as told" "unmapped";
    Rust "panic" "destroy" lives "passed" "–" "stopped" "destroy failed: panicked: as told" "unmapped";
    Rust "panic-in-payload" "create start" lives
        "refused: “panicked with a value that is no text”" "–" "failed" "panicked with a value that is no text" "unmapped";
    Rust "panic-in-payload" "invoke" lives
        "passed" "panicked" "failed" "panicked with a value that is no text" "unmapped";
    Rust "panic-in-payload" "check" lives
        "refused: “panicked with a value that is no text”" "panicked" "failed" "panicked with a value that is no text" "unmapped";
    Rust "panic-in-payload" "drain stop" lives
        "refused: “panicked with a value that is no text”" "–" "stopped" "failed: panicked with a value that is no text" "unmapped";
    Rust "panic-in-payload" "destroy" lives
        "passed" "–" "stopped" "destroy failed: panicked with a value that is no text" "unmapped";
    Rust "hang" "create start" lives
        "refused: timed out" "–" "failed" "did not return before its deadline" "resident: a call into it has not returned";
    Rust "hang" "drain stop" lives
        "refused: timed out" "–" "stopped" "has not returned" "resident: a call into it has not returned";
    Rust "hang" "invoke" lives
        "passed" "deadline_exceeded" "wedged" "has not returned" "resident: a call into it has not returned";
    Rust "hang" "check" lives
        "refused: timed out" "timed out" "wedged" "has not returned" "resident: a call into it has not returned";
    Rust "hang" "destroy" lives
        "refused: timed out" "–" "stopped" "destroy did not return before its deadline" "resident: a call into it has not returned";
    Rust "hang-until-cancelled" "invoke" lives "passed" "deadline_exceeded" "running" "" "unmapped";
    Rust "hang-until-cancelled" "check" lives "refused: timed out" "timed out" "running" "" "unmapped";
    Rust "slow" "create start" lives "passed" "–" "running" "" "unmapped";
    Rust "slow" "invoke" lives "passed" "right" "running" "" "unmapped";
    Rust "slow" "check" lives "passed" "up" "running" "" "unmapped";
    Rust "slow" "drain stop destroy" lives "passed" "–" "stopped" "stopped by an operator" "unmapped";
    Rust "slow 2500 ms" "create start" lives "passed" "–" "failed" "came back only after" "unmapped";
    Rust "slow 2500 ms" "invoke" lives
        "passed" "deadline_exceeded" "failed" "came back only after" "unmapped";
    Rust "slow 2500 ms" "check" lives "passed" "timed out" "failed" "came back only after" "unmapped";
    Rust "slow 2500 ms" "drain stop destroy" lives
        "passed" "–" "stopped" "came back only after" "unmapped";
    Rust "invalid-input" "create" lives
        "refused: “as told: invalid-input”" "–" "failed" "invalid_input: as told: invalid-input" "unmapped";
    Rust "invalid-input" "invoke" lives "passed" "invalid_input" "running" "" "unmapped";
    Rust "invalid-input" "check" lives
        "refused: “as told: invalid-input”" "invalid_input" "running" "" "unmapped";
    Rust "unavailable" "create" lives
        "refused: “as told: unavailable”" "–" "failed" "unavailable: as told: unavailable" "unmapped";
    Rust "unavailable" "invoke" lives "passed" "unavailable" "running" "" "unmapped";
    Rust "unavailable" "check" lives "refused: “as told: unavailable”" "unavailable" "running" "" "unmapped";
    Rust "rate-limited" "create" lives
        "refused: “as told: rate-limited”" "–" "failed" "rate_limited: as told: rate-limited" "unmapped";
    Rust "rate-limited" "invoke" lives "passed" "rate_limited" "running" "" "unmapped";
    Rust "rate-limited" "check" lives
        "refused: “as told: rate-limited”" "rate_limited" "running" "" "unmapped";
    Rust "configuration" "create" lives
        "refused: “as told: configuration”" "–" "failed" "configuration: as told: configuration" "unmapped";
    Rust "configuration" "invoke" lives "passed" "configuration" "running" "" "unmapped";
    Rust "configuration" "check" lives
        "refused: “as told: configuration”" "configuration" "running" "" "unmapped";
    Rust "internal" "create start" lives
        "refused: “as told: internal”" "–" "failed" "internal: as told: internal" "unmapped";
    Rust "internal" "invoke" lives "passed" "internal" "running" "" "unmapped";
    Rust "internal" "check" lives "refused: “as told: internal”" "internal" "running" "" "unmapped";
    Rust "internal" "drain stop" lives
        "refused: “as told: internal”" "–" "stopped" "failed: internal: as told: internal" "unmapped";
    Rust "internal" "destroy" lives
        "passed" "–" "stopped" "destroy failed: internal: as told: internal" "unmapped";
    Rust "cancelled" "create" lives
        "refused: “as told: cancelled”" "–" "failed" "cancelled: as told: cancelled" "unmapped";
    Rust "cancelled" "invoke" lives "passed" "cancelled" "running" "" "unmapped";
    Rust "cancelled" "check" lives "refused: “as told: cancelled”" "cancelled" "running" "" "unmapped";
    Rust "deadline-exceeded" "create" lives
        "refused: “as told: deadline-exceeded”" "–" "failed" "deadline_exceeded: as told: deadline-exceeded" "unmapped";
    Rust "deadline-exceeded" "invoke" lives "passed" "deadline_exceeded" "running" "" "unmapped";
    Rust "deadline-exceeded" "check" lives
        "refused: “as told: deadline-exceeded”" "deadline_exceeded" "running" "" "unmapped";
    Rust "unsupported" "create" lives
        "refused: “as told: unsupported”" "–" "failed" "unsupported: as told: unsupported" "unmapped";
    Rust "unsupported" "invoke" lives "passed" "unsupported" "running" "" "unmapped";
    Rust "unsupported" "check" lives "refused: “as told: unsupported”" "unsupported" "running" "" "unmapped";
    Rust "exhausted" "create" lives
        "refused: “as told: exhausted”" "–" "failed" "exhausted: as told: exhausted" "unmapped";
    Rust "exhausted" "invoke" lives "passed" "exhausted" "running" "" "unmapped";
    Rust "exhausted" "check" lives "refused: “as told: exhausted”" "exhausted" "running" "" "unmapped";
    Rust "up-but-failing" "invoke" lives "passed" "internal" "running" "" "unmapped";
    Rust "down-but-serving" "check" lives "passed" "down" "running" "" "unmapped";
    Rust "degraded-but-serving" "check" lives "passed" "degraded" "running" "" "unmapped";
    Rust "flap" "check" lives "passed" "up" "running" "" "unmapped";
    Rust "flood-parts" "check" lives "passed" "up" "running" "" "unmapped";
    Rust "leak" "create" lives "passed" "–" "running" "" "unmapped";
    Rust "leak" "invoke" lives "passed" "right" "running" "" "unmapped";
    Rust "leak" "check" lives "passed" "up" "running" "" "unmapped";
    Rust "leak" "destroy" lives "passed" "–" "stopped" "stopped by an operator" "unmapped";
    Rust "hold-memory" "create" lives "passed" "–" "running" "" "unmapped";
    Rust "hold-memory" "invoke" lives "passed" "right" "running" "" "unmapped";
    Rust "hold-memory" "check" lives "passed" "up" "running" "" "unmapped";
    Rust "hold-memory" "destroy" lives "passed" "–" "stopped" "stopped by an operator" "unmapped";
    Rust "heap-limit" "check" lives "passed" "up" "running" "" "unmapped";
    Rust "thread-local" "create" lives "passed" "–" "running" "" "unmapped";
    Rust "thread-local" "invoke" lives "passed" "right" "running" "" "unmapped";
    Rust "thread-local" "check" lives "passed" "up" "running" "" "unmapped";
    Rust "thread-local" "destroy" lives "passed" "–" "stopped" "stopped by an operator" "unmapped";
    Rust "thread-current" "create" lives "passed" "–" "running" "" "unmapped";
    Rust "thread-current" "invoke" lives "passed" "right" "running" "" "unmapped";
    Rust "thread-current" "check" lives "passed" "up" "running" "" "unmapped";
    Rust "thread-current" "destroy" lives "passed" "–" "stopped" "stopped by an operator" "unmapped";
    Rust "tokio-current-thread" "create" lives "passed" "–" "running" "" "unmapped";
    Rust "tokio-current-thread" "invoke" lives "passed" "right" "running" "" "unmapped";
    Rust "tokio-current-thread" "check" lives "passed" "up" "running" "" "unmapped";
    Rust "tokio-current-thread" "destroy" lives "passed" "–" "stopped" "stopped by an operator" "unmapped";
    Rust "tokio-multi-thread" "create" lives "passed" "–" "running" "" "unmapped";
    Rust "tokio-multi-thread" "invoke" lives "passed" "right" "running" "" "unmapped";
    Rust "tokio-multi-thread" "check" lives "passed" "up" "running" "" "unmapped";
    Rust "tokio-multi-thread" "destroy" lives "passed" "–" "stopped" "stopped by an operator" "unmapped";
    Rust "flood-log" "create" lives "passed" "–" "running" "" "unmapped";
    Rust "flood-log" "invoke" lives "passed" "right" "running" "" "unmapped";
    Rust "flood-log" "check" lives "passed" "up" "running" "" "unmapped";
    Rust "flood-log" "destroy" lives "passed" "–" "stopped" "stopped by an operator" "unmapped";
    Rust "thread-alive" "create" lives "passed" "–" "running" "" "resident: a thread of its own is alive";
    Rust "thread-alive" "invoke" lives "passed" "right" "running" "" "resident: a thread of its own is alive";
    Rust "thread-alive" "check" lives "passed" "up" "running" "" "resident: a thread of its own is alive";
    Rust "thread-alive" "destroy" lives
        "passed" "–" "stopped" "stopped by an operator" "resident: a thread of its own is alive";
    Rust "spin" "invoke" lives "passed" "right" "running" "" "resident: a thread of its own is alive";
    Rust "static-tokio" "create" lives "passed" "–" "running" "" "resident: a thread of its own is alive";
    Rust "static-tokio" "invoke" lives "passed" "right" "running" "" "resident: a thread of its own is alive";
    Rust "static-tokio" "check" lives "passed" "up" "running" "" "resident: a thread of its own is alive";
    Rust "static-tokio" "destroy" lives
        "passed" "–" "stopped" "stopped by an operator" "resident: a thread of its own is alive";
    Rust "rayon-global" "create" lives "passed" "–" "running" "" "resident: a thread of its own is alive";
    Rust "rayon-global" "invoke" lives "passed" "right" "running" "" "resident: a thread of its own is alive";
    Rust "rayon-global" "check" lives "passed" "up" "running" "" "resident: a thread of its own is alive";
    Rust "rayon-global" "destroy" lives
        "passed" "–" "stopped" "stopped by an operator" "resident: a thread of its own is alive";
    Rust "signal-handler" "create" lives
        "passed" "–" "running" "" "resident: a signal handler points into it";
    Rust "signal-handler" "invoke" lives
        "passed" "right" "running" "" "resident: a signal handler points into it";
    Rust "signal-handler" "check" lives
        "passed" "up" "running" "" "resident: a signal handler points into it";
    Rust "signal-handler" "destroy" lives
        "passed" "–" "stopped" "stopped by an operator" "resident: a signal handler points into it";
    Rust "flood-sink" "invoke" lives "passed" "exhausted" "running" "" "unmapped";
    Rust "usage" "invoke" lives "passed" "right" "running" "" "unmapped";
    Rust "write-after-return" "invoke" lives "passed" "right, late write refused" "running" "" "unmapped";
    Rust "push-after-destroy" "destroy" lives
        "passed" "–" "stopped" "stopped by an operator" "resident: a thread of its own is alive";
    C "affine" "invoke" lives "passed" "right" "running" "" "unmapped";
    C "bad-magic" "load" lives
        "refused: “the plugin's tables are malformed: the module's magic is 0x0123456789abcdef” in open (constructors)" "not_serving" "failed" "the plugin's tables are malformed: the module's magic is 0x0123456789abcdef" "–";
    C "checks" "–" lives "passed" "–" "running" "" "unmapped";
    C "crashes" "–" lives "passed" "right" "running" "" "unmapped";
    C "echo" "–" lives "passed" "right" "running" "" "unmapped";
    C "every-entry" "–" lives "passed" "–" "running" "" "unmapped";
    C "exit-constructor" "load" dies "exit 3" "refused: exit 3 in open (constructors)" "–";
    C "hang-constructor" "load" lives
        "refused: timed out in open (constructors)" "not_serving" "failed" "constructors did not return" "resident: a call into it has not returned";
    C "hang-finaliser" "unload" lives
        "refused: timed out in close (finalisers)" "right" "running" "" "resident: closing it does not return";
    C "ignores-lengths" "invoke" lives "passed" "internal" "running" "" "unmapped";
    C "no-manifest" "load" lives "not reached: no-manifest" "–" "–" "" "–";
    C "nodelete" "unload" lives "passed" "right" "running" "" "resident: the dynamic loader kept it";
    C "null-create" "load" lives
        "refused: “the plugin's tables are malformed: the plugin has no create” in open (constructors)" "not_serving" "failed" "the plugin's tables are malformed: the plugin has no create" "–";
    C "null-vtable" "load" lives
        "refused: “the plugin's tables are malformed: the plugin has no lifecycle table” in open (constructors)" "not_serving" "failed" "the plugin's tables are malformed: the plugin has no lifecycle table" "–";
    C "openmp" "invoke" lives "passed" "right" "running" "" "unmapped";
    C "page-that-never-comes" "–" lives "passed" "–" "running" "" "unmapped";
    C "pthread-alive" "create" lives "passed" "right" "running" "" "resident: a thread of its own is alive";
    C "pthread-exit" "invoke" lives "passed" "right" "running" "" "unmapped";
    C "pthread-key" "create" lives "passed" "right" "running" "" "unmapped";
    C "relay" "–" lives "passed" "right" "running" "" "unmapped";
    C "segfault-constructor" "load" dies "SIGSEGV; the next one names it" "refused: SIGSEGV in open (constructors)" "–";
    C "serial" "invoke" lives "passed" "right" "running" "" "unmapped";
    C "signal-handler" "create" lives
        "passed" "right" "running" "" "resident: a signal handler points into it";
    C "static-tls" "load" lives
        "refused: “the dynamic loader has no room left for the library's static thread-locals” in open (constructors)" "not_serving" "failed" "the dynamic loader has no room left for the library's static thread-locals" "–";
    C "process" "create" lives "passed" "right" "running" "" "unmapped";
    C "std-thread-alive" "invoke" lives
        "passed" "right" "running" "" "resident: a thread of its own is alive";
    C "thrd-create-alive" "create" lives
        "passed" "right" "running" "" "resident: a thread of unknown origin is alive";
    C "two-frames" "load" lives "not reached: two-manifests" "–" "–" "" "–";
    C "unique-symbol" "unload" lives "passed" "right" "running" "" "resident: the dynamic loader kept it";
    C "write-file-constructor" "load" lives "passed" "right" "running" "" "unmapped";
    C "wrong-abi-major" "load" lives
        "refused: “the plugin was built for ABI 2, this host has ABI 1” in open (constructors)" "not_serving" "failed" "the plugin was built for ABI 2, this host has ABI 1" "–";
    C "wrong-struct-size" "load" lives
        "refused: “the plugin's tables are malformed: the lifecycle table says that it is 64 bytes long” in open (constructors)" "not_serving" "failed" "the plugin's tables are malformed: the lifecycle table says that it is 64 bytes long" "–";
}
