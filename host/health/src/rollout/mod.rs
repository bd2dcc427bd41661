//! An update's way: the steps by which a new version takes the place of the old one, and the way back. A pure state machine of one update:
//! whoever drives it has the new version started beside the old one, carries out the effects, in their order, and feeds back what came of them.
//!
//! ```text
//!             Started             Warm                  good, and its time is over
//!   Loading ─────────▶ WarmingUp ─────▶ Canary 5 ─▶ 25 % ─────────────▶ Probation: all calls, the old one is warm
//!      │                   │  │            │   │                          │           │ good, and its time is over,
//!      │ down,             │  │ old one    │   │ old one down:            │ worse,    │ or old one down
//!      │ Abort             │  │ down       │   │ all calls to the new one │ down,     ▼
//!      │                   │  └────────────┼───┴──────────────────────────┼─────▶ Retiring the old one
//!      │ down, worse,      │               │                              │ Abort     │
//!      │ Abort             ▼               ▼                              ▼           │
//!      └──────────────▶ Retiring the new one ◀────────────────────────────┘           │
//!                          └──────────────────────────▶ Over ◀────────────────────────┘
//! ```
//!
//! * **The way back is one change of the share**, the first effect of whatever asks for it, to a generation that is still loaded. It is not a rollout.
//! * **Worse and down act in each phase and while paused.** Silence acts in none: a step without evidence holds, with both generations loaded,
//!   until there is evidence or an operator promotes or aborts.
//! * **At most two generations are live**: the next update begins when this one is over.
//! * **A warm-up ends with the last mirrored call** that is waited for, where calls are mirrored: that is its driver's, and no phase of its own.
//! * **What was taken back is not tried again by itself**, unless another version has overtaken it: whoever drives this writes that down.
//!
//! Everything else that waits has a limit with whoever carries it out: a start, a warm-up, a stop. When the instance is stopped or the host
//! ends, its owner stops both generations, and this has no say in it.

mod share;
mod steps;

pub use share::Share;

use crate::Moment;
use crate::judge::{Aim, JudgePolicy, Verdict};
use serde::{Deserialize, Serialize};

/// `[rollout]`: the steps of an update.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RolloutPolicy {
    /// Whether updates are judged. Without it, a version that has started takes the place of the one before it at once. Default: true.
    pub enabled: bool,
    /// The share of the calls that the new version gets, step by step, in percent, before it gets all. Default: 5, 25.
    pub canary_percent: Vec<u8>,
    /// Milliseconds that such a step lasts, at least. Default: 300000.
    pub step_ms: u64,
    /// Milliseconds for which the old version stays warm while the new one serves all calls, at least. Default: 600000.
    pub probation_ms: u64,
    /// Milliseconds within which the new version, once it has started, has to be ready. Default: 60000.
    pub warm_up_ms: u64,
    /// The share of the calls, in percent, that are mirrored before the new version gets any: once the old version has answered, the call is made a
    /// second time, on the new one, and what that answers is compared and thrown away. Only calls of capabilities that both versions declare
    /// `idempotent`. 0: none. Default: 0.
    pub mirror_percent: u8,
    /// Mirrored calls after which the new version gets its first calls. Default: 100.
    pub mirror_calls: u64,
    /// Milliseconds after which it gets them though fewer were mirrored. Default: 60000.
    pub mirror_ms: u64,
    /// When a version is worse, and what has to be shown before it is good.
    pub judge: JudgePolicy,
}

impl Default for RolloutPolicy {
    fn default() -> Self {
        RolloutPolicy {
            enabled: true,
            canary_percent: vec![5, 25],
            step_ms: 300_000,
            probation_ms: 600_000,
            warm_up_ms: 60_000,
            mirror_percent: 0,
            mirror_calls: 100,
            mirror_ms: 60_000,
            judge: JudgePolicy::default(),
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
            ("warm_up_ms", self.warm_up_ms, 10, DAY_MS),
            ("mirror_percent", u64::from(self.mirror_percent), 0, 100),
            ("mirror_calls", self.mirror_calls, 1, 1_000_000),
            ("mirror_ms", self.mirror_ms, 10, DAY_MS),
        ];
        let percents = self.canary_percent.iter();
        spans
            .into_iter()
            .chain(percents.map(|percent| ("canary_percent", u64::from(*percent), 1, 99)))
    }
}

/// One of the two generations of an update.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Role {
    /// The one that served before.
    Old,
    /// The one that is to take its place.
    New,
}

/// Where an update is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Phase {
    /// The new version is started beside the old one.
    Loading,
    /// It gets ready. `ready`: it is, and waits for being resumed.
    WarmingUp {
        /// It is ready.
        ready: bool,
    },
    /// It gets a share of the calls.
    Canary {
        /// Which of the policy's steps.
        step: usize,
        /// How it stands.
        stand: Stand,
    },
    /// It serves all calls, and the old one is warm.
    Probation {
        /// How it stands.
        stand: Stand,
    },
    /// One of the two is stopped and unloaded; the other one serves all calls.
    Retiring(Role),
    /// One of the two is left. Nothing has an effect any more.
    Over,
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
pub enum Input {
    /// The new version has started.
    Started,
    /// It is ready.
    Warm,
    /// A generation serves no more, or could not be started or get ready in its time: why.
    Down(Role, String),
    /// The judge has looked.
    Judged(Judged),
    /// Another version is wanted, or the old one.
    Overtaken,
    /// What was to retire is stopped and unloaded, or stays in memory with its reason; or it was never started.
    Retired,
    /// The moment of an [`Effect::Wake`] has come.
    Due(Moment),
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

impl From<&Verdict> for Judged {
    fn from(verdict: &Verdict) -> Self {
        match verdict {
            Verdict::Good => Judged::Good,
            Verdict::Worse(finding) => Judged::Worse(finding.to_string()),
            Verdict::NotEnough(_) => Judged::NotEnough,
        }
    }
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
pub enum Effect {
    /// The new version gets this share of the calls, the old one all others. One atomic change; no call waits for it.
    Route(Share),
    /// Have the new version get ready within the policy's time; answer with `Warm` or `Down`.
    WarmUp,
    /// The judge begins a step with this aim.
    Judge(Aim),
    /// Stop this generation and unload it; answer with `Retired`.
    Retire(Role),
    /// Say when this moment has come.
    Wake(Moment),
    /// The new version was taken back: why.
    TakenBack(Back),
}

/// Why a new version was taken back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Back {
    /// The judge: in what it is worse.
    Worse(String),
    /// It serves no more, did not start, or did not get ready.
    Down(String),
    /// An operator.
    Aborted,
    /// Another version is wanted. This one may be tried again by itself.
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

/// One update, of an instance that another version serves.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Rollout {
    phase: Phase,
    paused: bool,
}

type Effects = Vec<Effect>;

impl Rollout {
    /// Its new version is being started.
    pub fn begin() -> Self {
        Rollout {
            phase: Phase::Loading,
            paused: false,
        }
    }

    /// Where it is.
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// Whether an operator has it paused.
    pub fn is_paused(&self) -> bool {
        self.paused
    }

    /// What follows. Total: an input that does not belong to the phase has no effect.
    #[must_use]
    pub fn next(&mut self, input: Input, now: Moment, policy: &RolloutPolicy) -> Effects {
        let mut out = Vec::new();
        let step = &mut steps::Step {
            now,
            policy,
            out: &mut out,
        };
        match input {
            Input::Started => self.started(step),
            Input::Warm => self.warm(step),
            Input::Judged(judged) => self.judged(judged, step),
            Input::Down(Role::New, why) => self.take_back(Back::Down(why), step),
            Input::Down(Role::Old, _) => self.old_is_down(step),
            Input::Overtaken => self.take_back(Back::Overtaken, step),
            Input::Retired => self.retired(),
            Input::Due(due) => self.due(due, step),
        }
        out
    }

    /// What follows from an operator's command.
    ///
    /// # Errors
    /// It can't be carried out where the update is, and nothing follows.
    pub fn command(
        &mut self,
        command: Command,
        now: Moment,
        policy: &RolloutPolicy,
    ) -> Result<Effects, Refusal> {
        let mut out = Vec::new();
        let step = &mut steps::Step {
            now,
            policy,
            out: &mut out,
        };
        self.carry_out(command, step)?;
        Ok(out)
    }
}

impl Phase {
    /// Whether a new version is under way and not yet settled on or taken back.
    pub fn is_under_way(self) -> bool {
        matches!(
            self,
            Phase::Loading | Phase::WarmingUp { .. } | Phase::Canary { .. } | Phase::Probation { .. }
        )
    }
}

#[cfg(test)]
mod tests;
