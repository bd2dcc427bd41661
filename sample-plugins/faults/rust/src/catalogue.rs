//! Every hazard by name: when it can happen and what it does. README.md shows the same table; a test compares them.

use serde::Deserialize;

/// When a hazard happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    Create,
    Start,
    Configure,
    Invoke,
    Check,
    Deep,
    Drain,
    Stop,
    Destroy,
}

/// One row of the table.
pub struct Entry {
    pub hazard: Hazard,
    pub name: &'static str,
    pub phases: &'static [Phase],
    // Read by the test that compares it with the README.
    #[cfg_attr(not(test), expect(dead_code))]
    pub does: &'static str,
}

impl Hazard {
    /// Its name in configurations and inputs.
    pub fn name(self) -> &'static str {
        self.entry().map_or("", |entry| entry.name)
    }

    /// Whether it can happen then.
    pub fn fits(self, phase: Phase) -> bool {
        self.entry().is_some_and(|entry| entry.phases.contains(&phase))
    }

    fn entry(self) -> Option<&'static Entry> {
        HAZARDS.iter().find(|entry| entry.hazard == self)
    }
}

macro_rules! hazards {
    ($($hazard:ident $name:literal $phases:ident $does:literal;)+) => {
        /// What can go wrong.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
        pub enum Hazard {
            $(#[doc = $does] #[serde(rename = $name)] $hazard,)+
        }

        /// All of them.
        pub const HAZARDS: &[Entry] = &[
            $(Entry { hazard: Hazard::$hazard, name: $name, phases: $phases, does: $does },)+
        ];
    };
}

const ANY: &[Phase] = &[
    Phase::Create,
    Phase::Start,
    Phase::Configure,
    Phase::Invoke,
    Phase::Check,
    Phase::Deep,
    Phase::Drain,
    Phase::Stop,
    Phase::Destroy,
];
const INVOKE: &[Phase] = &[Phase::Invoke];
const CHECK: &[Phase] = &[Phase::Check, Phase::Deep];
const DESTROY: &[Phase] = &[Phase::Destroy];

hazards! {
    Panic "panic" ANY "panics";
    PanicInPayload "panic-in-payload" ANY "panics with a value whose drop panics too";
    HangUntilCancelled "hang-until-cancelled" ANY "waits until cancelled, then says so";
    Hang "hang" ANY "waits for `release`, whether cancelled or not";
    Slow "slow" ANY "takes `ms`, whether cancelled or not, then goes on well";
    InvalidInput "invalid-input" ANY "fails with this kind of error";
    Unavailable "unavailable" ANY "fails with this kind of error; with `retry_after_ms` if given";
    RateLimited "rate-limited" ANY "fails with this kind of error; with `retry_after_ms` if given";
    Misconfigured "configuration" ANY "fails with this kind of error";
    Internal "internal" ANY "fails with this kind of error";
    Cancelled "cancelled" ANY "fails with this kind of error, though nobody cancelled";
    DeadlineExceeded "deadline-exceeded" ANY "fails with this kind of error, at once";
    Unsupported "unsupported" ANY "fails with this kind of error";
    Exhausted "exhausted" ANY "fails with this kind of error";
    UpButFailing "up-but-failing" INVOKE "fails every call while checks say up";
    DownButServing "down-but-serving" CHECK "says down while calls work";
    DegradedButServing "degraded-but-serving" CHECK "says degraded while calls work";
    Flap "flap" CHECK "says up in `count` checks (3 without it), down in the next as many, and so on; calls work";
    FloodParts "flood-parts" CHECK "adds `count` named parts to the check; ends at the first refusal";
    Segfault "segfault" ANY "writes to the first page";
    Abort "abort" ANY "ends the process with SIGABRT";
    Exit "exit" ANY "ends the process with code 3";
    Leak "leak" ANY "allocates `bytes`, fills them and forgets them";
    HoldMemory "hold-memory" ANY "allocates `bytes`, fills them and keeps them until the instance is destroyed; past `limit_bytes` in all it fails as exhausted";
    HeapLimit "heap-limit" CHECK "tells `limit_bytes` as the most heap that it means to use";
    ThreadAlive "thread-alive" ANY "leaves a thread behind that waits for `release`";
    Spin "spin" ANY "leaves a thread behind that computes until `release` (or for `ms`)";
    ThreadLocal "thread-local" ANY "makes a thread-local with a drop on the host's thread";
    ThreadCurrent "thread-current" ANY "asks for `std::thread::current()` on the host's thread";
    TokioCurrentThread "tokio-current-thread" ANY "makes, uses and drops a current-thread runtime of tokio";
    TokioMultiThread "tokio-multi-thread" ANY "makes, uses and drops a runtime of tokio with two workers";
    StaticTokio "static-tokio" ANY "keeps a runtime of tokio in a static for ever";
    RayonGlobal "rayon-global" ANY "uses rayon's global pool, which lives for ever";
    SignalHandler "signal-handler" ANY "installs a handler for SIGUSR2 and leaves it";
    FloodLog "flood-log" ANY "writes `count` log records";
    FloodSink "flood-sink" INVOKE "writes `bytes` `writes` times to the output; ends at the first refusal";
    Usage "usage" INVOKE "tells `tokens_in` and `tokens_out`";
    WriteAfterReturn "write-after-return" INVOKE "leaves a thread that writes to the call's sink after the call has returned; `fault.last` tells how that went";
    PushAfterDestroy "push-after-destroy" DESTROY "leaves a thread that pushes health after `release` (or `ms`); `fault.last` tells how that went";
}
