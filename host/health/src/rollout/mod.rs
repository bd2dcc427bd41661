//! An update's way: the steps by which a new version takes the place of the old one, and the way back. A pure state machine: whoever drives
//! it carries out the effects, in their order, and feeds back what came of them.
//!
//! ```text
//!              Offer             Started             Warm                  good, and its time is over
//!   Settled ──────────▶ Loading ─────────▶ WarmingUp ─────▶ Canary 5 ─▶ 25 % ─────────────▶ Probation: all calls, the old one is warm
//!      ▲                   │                  │   │            │   │                          │              │ good, and its time is over
//!      │                   │ too late, down,  │   │ down,      │   │ old one down:            │ worse, down, │ (or old one down)
//!      │                   │ worse, Abort,    │   │ worse,     │   │ all calls to the new one │ Abort        ▼
//!      │                   ▼ a newer one      ▼   │ …          ▼   └────────────────────┐     │    Retiring the old one
//!      │                Retiring the new one ◀────┴────────────┴────────────────────────┼─────┤       drain, unload
//!      │                   drain, unload                                                │     │         │  │ worse, down or Abort
//!      └───────────────────┴───────────────────────◀────────────────────────────────────┴─────┼─────────┘  │ while it drains
//!                                                                                             └◀───────────┘
//!   from everywhere: End ─▶ Ended, where the instance's owner stops all generations.
//! ```
//!
//! * **The way back is one change of the share**, the first effect of whatever asks for it, to a generation that is still loaded. It is not a rollout.
//! * **Worse and down act in each phase and while paused.** Silence acts in none: a step without evidence holds, with both generations loaded,
//!   until there is evidence or an operator promotes or aborts.
//! * **At most two generations are live**: whatever is offered meanwhile waits until one of them is gone.
//! * **A build that was taken back is barred** until an operator asks for it by name. One that a newer one overtook is not.
//! * Everything else that waits has a deadline: a start, a warm-up, a drain, an unload.
//!
//! Which generation a report is of follows from its [`Attempt`]: what comes late of another one has no effect.

mod share;
mod steps;

pub use share::Share;

use crate::Moment;
use crate::judge::Aim;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// `[rollout]`: the steps of an update.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RolloutPolicy {
    /// The share of the calls that the new version gets, step by step, in percent, before it gets all. Default: 5, 25.
    pub canary_percent: Vec<u8>,
    /// Milliseconds that such a step lasts, at least. Default: 300000.
    pub step_ms: u64,
    /// Milliseconds for which the old version stays warm while the new one serves all calls, at least. Default: 600000.
    pub probation_ms: u64,
    /// Milliseconds within which the new version has to have started. Default: 60000.
    pub start_ms: u64,
    /// Milliseconds within which it then has to be ready. Default: 60000.
    pub warm_up_ms: u64,
    /// Milliseconds within which calls of the version that goes have to end. Default: 30000.
    pub drain_ms: u64,
    /// Milliseconds within which it then has to be unloaded; after that it is nobody's concern here that it stays. Default: 10000.
    pub unload_ms: u64,
}

impl Default for RolloutPolicy {
    fn default() -> Self {
        RolloutPolicy {
            canary_percent: vec![5, 25],
            step_ms: 300_000,
            probation_ms: 600_000,
            start_ms: 60_000,
            warm_up_ms: 60_000,
            drain_ms: 30_000,
            unload_ms: 10_000,
        }
    }
}

impl RolloutPolicy {
    /// Each value with its name and its bounds.
    pub fn bounds(&self) -> impl Iterator<Item = (&'static str, u64, u64, u64)> {
        const DAY_MS: u64 = 86_400_000;
        let spans = [
            ("step_ms", self.step_ms, 0, DAY_MS),
            ("probation_ms", self.probation_ms, 0, DAY_MS),
            ("start_ms", self.start_ms, 10, DAY_MS),
            ("warm_up_ms", self.warm_up_ms, 10, DAY_MS),
            ("drain_ms", self.drain_ms, 10, DAY_MS),
            ("unload_ms", self.unload_ms, 10, DAY_MS),
        ];
        let percents = self.canary_percent.iter();
        spans
            .into_iter()
            .chain(percents.map(|percent| ("canary_percent", u64::from(*percent), 1, 99)))
    }
}

/// Which load of which version a report is of. Counted up for as long as the instance lives.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub struct Attempt(pub u64);

/// One of the two generations of an update.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// The one that served before.
    Old,
    /// The one that is to take its place.
    New,
}

/// Where an update is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Phase<B> {
    /// There is none.
    Settled,
    /// The new version is loaded and started beside the old one, at the latest until `due`.
    Loading {
        /// The new version.
        candidate: B,
        /// When it is too late.
        due: Moment,
    },
    /// It gets ready, at the latest until `due`. `ready`: it is, and waits for being resumed.
    WarmingUp {
        /// The new version.
        candidate: B,
        /// When it is too late.
        due: Moment,
        /// It is ready.
        ready: bool,
    },
    /// It gets a share of the calls.
    Canary {
        /// The new version.
        candidate: B,
        /// Which of the policy's steps.
        step: usize,
        /// How it stands.
        stand: Stand,
    },
    /// It serves all calls, and the old one is warm.
    Probation {
        /// The old version.
        previous: B,
        /// How it stands.
        stand: Stand,
    },
    /// One of the two is drained and then unloaded, at the latest until `due` each.
    Retiring {
        /// Which one.
        who: Role,
        /// What it was made from.
        build: B,
        /// Its calls have ended or were given up, and it is being unloaded.
        unloading: bool,
        /// When the next thing is done anyway.
        due: Moment,
    },
    /// The instance ends, or the host. Nothing has an effect any more.
    Ended,
}

/// How a step stands that goes on until its time is over *and* the judge says good.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Stand {
    /// When its time is over.
    pub due: Moment,
    /// It is over.
    pub is_over: bool,
    /// What the judge said last was good.
    pub is_good: bool,
}

/// What happens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input<B> {
    /// This is the version that should serve. By an operator also if it is barred. The one that serves, offered during an update, ends that.
    Offer {
        /// The version.
        build: B,
        /// Somebody asked for it by name.
        by_operator: bool,
    },
    /// The new version has started.
    Started(Attempt),
    /// It is ready.
    Warm(Attempt),
    /// A generation serves no more, or could not be started: why.
    Down(Attempt, Role, String),
    /// The judge has looked.
    Judged(Attempt, Judged),
    /// The calls of a generation that retires have ended.
    Drained(Attempt, Role),
    /// It is unloaded, or stays in memory with its reason.
    Unloaded(Attempt, Role),
    /// The moment of an [`Effect::Wake`] has come.
    Due(Moment),
    /// An operator's command.
    Command(Command),
    /// The instance is stopped, or the host ends.
    End,
}

/// What the judge said, as far as the way depends on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Judged {
    /// What the step aims at may come.
    Good,
    /// The new version is worse: why.
    Worse(String),
    /// Not enough evidence.
    NotEnough,
}

/// What an operator may want of an update that is under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Command {
    /// No further step until it is resumed. The judge goes on.
    Pause,
    /// On with it.
    Resume,
    /// All calls to the new version at once; in probation, let go of the old one. Also without evidence.
    Promote,
    /// Back to the old version.
    Abort,
}

/// What has to be done, in this order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect<B> {
    /// The new version gets this share of the calls, the old one all others. One atomic change; no call waits for it.
    Route(Share),
    /// Load and start this beside what serves; answer with `Started` or `Down`.
    Load(Attempt, B),
    /// Have the new version get ready: readiness, deep check, mirrored calls; answer with `Warm` or `Down`.
    WarmUp(Attempt),
    /// The judge begins a step with this aim.
    Judge(Aim),
    /// No new calls to this generation; answer with `Drained`.
    Drain(Attempt, Role),
    /// Unload it, whether its calls have ended or not; answer with `Unloaded`.
    Unload(Attempt, Role),
    /// Say when this moment has come.
    Wake(Moment),
    /// Write down that this version is not tried again by itself, or that it may be.
    Bar(B, bool),
    /// Tell what has become of the update.
    Tell(News<B>),
    /// Answer the operator's command.
    Answer(Result<(), Refusal>),
}

/// What has become of an update.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum News<B> {
    /// The new version serves all calls, the old one is warm.
    Switched(B),
    /// The new version has taken the old one's place for good. `unjudged`: the old one was down.
    Promoted {
        /// The new version.
        build: B,
        /// There was nothing to compare it with any more.
        unjudged: bool,
    },
    /// It was taken back: why.
    TakenBack(B, Back),
}

/// Why a new version was taken back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Back {
    /// The judge: in what it is worse.
    Worse(String),
    /// It serves no more, or did not start.
    Down(String),
    /// It did not start within its time.
    StartTooSlow,
    /// It was not ready within its time.
    WarmUpTooSlow,
    /// An operator.
    Aborted,
    /// Another version is wanted. It is not barred.
    Overtaken,
}

/// Why a command is not carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// There is no update under way that could be.
    Nothing,
    /// The new version has not started or is not ready.
    NotReady,
    /// It is paused already.
    Paused,
    /// It is not paused.
    NotPaused,
}

/// Builds that are barred, at most; of more the latest.
const BARRED_MAX: usize = 64;

/// The updates of one instance. `B` says which version it is, by its digest.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Rollout<B> {
    /// The version that serves, or most calls in a canary.
    serving: B,
    phase: Phase<B>,
    attempt: Attempt,
    paused: bool,
    /// The old version is down.
    old_down: bool,
    /// What is to be tried when this is over.
    next: Option<B>,
    /// What is not tried by itself.
    barred: Vec<B>,
}

type Effects<B> = Vec<Effect<B>>;

impl<B: Clone + Eq> Rollout<B> {
    /// Of an instance that this version serves.
    pub fn new(serving: B, barred: Vec<B>) -> Self {
        Rollout {
            serving,
            phase: Phase::Settled,
            attempt: Attempt::default(),
            paused: false,
            old_down: false,
            next: None,
            barred,
        }
    }

    /// The version that serves; in a canary, most calls.
    pub fn serving(&self) -> &B {
        &self.serving
    }

    /// Where the update is.
    pub fn phase(&self) -> &Phase<B> {
        &self.phase
    }

    /// Whether an operator has it paused.
    pub fn is_paused(&self) -> bool {
        self.paused
    }

    /// What follows. Total: an input that does not belong to the phase has no effect, or is answered with a refusal.
    #[must_use]
    pub fn next(mut self, input: Input<B>, now: Moment, policy: &RolloutPolicy) -> (Self, Effects<B>) {
        let mut out = Vec::new();
        let step = &mut steps::Step {
            now,
            policy,
            out: &mut out,
        };
        let is_of = |rollout: &Self, attempt| rollout.attempt == attempt;
        match input {
            _ if self.phase == Phase::Ended => {
                if let Input::Command(_) = input {
                    step.out.push(Effect::Answer(Err(Refusal::Nothing)));
                }
            }
            Input::End => self.phase = Phase::Ended,
            Input::Offer { build, by_operator } => self.offer(build, by_operator, step),
            Input::Command(command) => {
                let answer = self.command(command, step);
                step.out.push(Effect::Answer(answer));
            }
            Input::Due(due) => self.due(due, step),
            Input::Started(attempt) if is_of(&self, attempt) => self.started(step),
            Input::Warm(attempt) if is_of(&self, attempt) => self.warm(step),
            Input::Judged(attempt, judged) if is_of(&self, attempt) => self.judged(judged, step),
            Input::Down(attempt, Role::New, why) if is_of(&self, attempt) => {
                self.take_back(Back::Down(why), step);
            }
            Input::Down(attempt, Role::Old, _) if is_of(&self, attempt) => self.old_is_down(step),
            Input::Drained(attempt, role) if is_of(&self, attempt) => self.drained(role, step),
            Input::Unloaded(attempt, role) if is_of(&self, attempt) => self.unloaded(role, step),
            Input::Started(_)
            | Input::Warm(_)
            | Input::Judged(..)
            | Input::Down(..)
            | Input::Drained(..)
            | Input::Unloaded(..) => {}
        }
        (self, out)
    }
}

impl<B> Phase<B> {
    /// Whether a new version is under way and not yet settled on or taken back.
    pub fn is_under_way(&self) -> bool {
        matches!(
            self,
            Phase::Loading { .. } | Phase::WarmingUp { .. } | Phase::Canary { .. } | Phase::Probation { .. }
        )
    }
}

impl RolloutPolicy {
    fn after(now: Moment, ms: u64) -> Moment {
        now.after(Duration::from_millis(ms))
    }
}

#[cfg(test)]
mod tests;
