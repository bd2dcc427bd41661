//! The life of one instance: what it should come to, where it is, and what follows from what happens to it.
//! Pure: it reads no clock, spawns nothing and locks nothing. The supervisor carries out its effects and feeds back what came of them.
//!
//! ```text
//!            Load, bytes               started                bytes: an update starts beside it;
//!   Absent ───────────────▶ Starting ───────────▶ Serving ◀─┐ started, it replaces the old one,
//!     ▲                      │  ▲  ▲               │ │ │ └──┘ which is stopped beside it;
//!     │                      │  │  │               │ │ │      a configuration: handed over to what serves
//!     │         start failed │  │  │ it failed or  │ │ │
//!     │                      ▼  │  │ stop, while   │ │ │ lane lost
//!     │ all stopped   Failed ───┘  └── an update ──┤ │ ▼
//!     │                 ▲  its time,   starts      │ │ Wedged
//!     │     all stopped,│  Load,                   │ │  │
//!     │     it failed   │  new bytes               │ │  │
//!     └────────────── Stopping ◀───────────────────┴─┴──┘
//!                       │         Unload, Restart, Disable, file gone;
//!                       │         Serving: panicked, down for too long; Wedged: returned late
//!                       └─ all stopped, wanted again ──▶ Starting
//! ```
//!
//! A start that nobody has asked for waits, in `Waiting`, while what the instance requires is not there ([`Input::Lacks`]). Neither a restart nor
//! a long time of being down is held against it meanwhile. What serves goes on serving.
//!
//! What follows a failure by itself stands in `Failed`: a start at its time, or nothing until the bytes or the configuration are others. The
//! timer is an effect, [`Effect::Wake`]; one that was overtaken comes to nothing. A person's start is possible in every stage but `Wedged`.
//!
//! What an instance is made from is its bytes and its configuration. Where the configuration alone is another one, what serves is asked to take
//! it ([`Effect::Configure`]); a plugin that takes none is started anew beside, as for other bytes. Whatever is not taken, the old one goes on: what
//! serves goes on serving; what had to be stopped first for its configuration is started again as it was; and what may have taken half of it
//! gives way to a new one, made as it was.
//!
//! Where other bytes are to take the place of what serves, and updates are judged, the new one comes beside it and gets its calls step by step: that
//! is in [`succession`], and the stage is `Serving` all the while.
//!
//! A generation that serves no more is *retiring*: it is being stopped, beside whatever the instance does next. `Stopping` is the stage
//! in which the instance does nothing but wait for that. A library that stays in memory after its stop is no stage: an instance may
//! leave several behind, serve again, and be gone before they are. The supervisor keeps those.
//!
//! Once the file is gone, or the host ends, every stage leads to [`Effect::Forget`], and that comes when nothing is loaded any more.

mod succession;

use super::configure::NotConfigured;
use super::dependencies::Availability;
use super::restart::{AfterFailure, Restart, Restarts, SupervisionConfig};
use super::start::Hopeless;
use super::stop::Complaint;
use extman_health::judge::Aim;
use extman_health::rollout::{self, Role, RolloutPolicy};
use extman_model::clock::Monotonic;
use extman_model::{DesiredState, Lifecycle};
use std::sync::Arc;
use std::time::Duration;
use succession::Succession;

/// What can be started: verified bytes, and their configuration.
pub(super) trait Build: Clone {
    /// Whether two come to the same when they are started: the same bytes in the same configuration.
    fn is(&self, other: &Self) -> bool;
    /// Whether two are the same bytes.
    fn has_bytes_of(&self, other: &Self) -> bool;
    /// Whether nothing but the plugin's own configuration is another one, so that what was made from this may take it as it runs.
    fn may_take(&self, other: &Self) -> bool;
    /// Whether the two can't be loaded beside one another, so that one is stopped first.
    fn excludes(&self, other: &Self) -> bool;
    /// The version, for people.
    fn version(&self) -> String;
}

/// A started generation: whoever holds it is answerable for its being stopped.
pub(super) trait Loaded {
    /// What it was made from.
    type Build: Build;
    /// What it leaves for the next one.
    type State: Clone;
    /// What it was made from.
    fn build(&self) -> &Self::Build;
    /// Which load of a library it runs in.
    fn generation(&self) -> u64;
    /// It is as if it had been made from this: the same bytes lie at another path now, what the host does with it is configured otherwise,
    /// or it has taken a configuration.
    fn moved_to(&mut self, build: &Self::Build);
}

/// What is known of a generation that is to be stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Condition {
    /// Nothing is wrong with it.
    Well,
    /// It serves no more, and why is known.
    Failed,
    /// It has panicked: nothing of it is called any more but `destroy`.
    Panicked,
}

/// Why an instance is to be forgotten.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Gone {
    File,
    Configuration,
    Host,
}

impl Gone {
    fn cause(self) -> &'static str {
        match self {
            Gone::File => "its file is gone",
            Gone::Configuration => "it is configured no longer",
            Gone::Host => "the host is ending",
        }
    }

    fn refusal(self) -> String {
        match self {
            Gone::File => "its file is gone, and it is being unloaded".to_owned(),
            Gone::Configuration => "it is configured no longer, and is being unloaded".to_owned(),
            Gone::Host => "the host is ending".to_owned(),
        }
    }
}

/// Where an instance is.
#[derive(Debug, Clone)]
pub(super) enum Stage<R: Loaded> {
    /// Nothing of it is loaded, and nothing went wrong. `stopped` says why, if it has been stopped.
    Absent { stopped: Option<String> },
    /// It could not be started, or has been stopped for what it did. `next`: what brings it back by itself.
    Failed { cause: String, next: Next },
    /// It starts as soon as what it requires is there. `failed`: it has failed meanwhile.
    Waiting { cause: String, failed: Option<String> },
    /// A start is under way. `before` says how the generation before it failed meanwhile, `slow` what takes long.
    Starting {
        build: R::Build,
        before: Option<String>,
        slow: Option<String>,
        calls: Hung,
    },
    /// It serves. `down`: since when it is down by its checks or calls.
    Serving { live: Live<R>, down: Option<Down> },
    /// Calls into it do not return, so it serves no more. `inside`: how many.
    Wedged {
        live: Live<R>,
        cause: String,
        inside: usize,
    },
    /// What was loaded is being stopped. `failed`: for what it did.
    Stopping {
        cause: String,
        failed: bool,
        then: Then,
        calls: Hung,
        /// A call into it has panicked meanwhile.
        panicked: Option<String>,
    },
}

/// What brings an instance that failed back by itself. Other bytes and a person always do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// A start, at this moment.
    Restart { due: Monotonic, number: u32 },
    /// Nothing: it has failed as often as it may.
    BudgetSpent,
    /// Nothing: another start comes to the same end.
    Hopeless(Hopeless),
    /// Nothing: that is the policy, or nobody wants it to run.
    Stays,
}

/// It is down by its checks or calls. If it still is when the moment comes, that is a failure; where nothing restarts it, none comes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Down {
    due: Option<Monotonic>,
    text: String,
}

/// What is loaded, and what is to take its place.
#[derive(Debug, Clone)]
pub(super) struct Live<R: Loaded> {
    running: R,
    update: Option<Update<R::Build>>,
    /// The update that is judged, if it is one. While its new version is being started, that is `update` as well.
    succession: Option<Box<Succession<R>>>,
}

/// What is to take the place of what is loaded.
#[derive(Debug, Clone)]
pub(super) struct Update<B> {
    build: B,
    by: By,
    /// A restart was asked for meanwhile: if the update fails, what serves is restarted.
    restart: bool,
    /// It takes long.
    slow: bool,
}

/// How something takes the place of what is loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum By {
    /// It is being started beside.
    Start,
    /// What is loaded is asked to take its configuration.
    Configure,
}

/// What could not be put in the place of what serves. It is not tried again by itself.
#[derive(Debug, Clone)]
pub(super) struct Rejected<B> {
    build: B,
    text: String,
}

/// A build that somebody has asked for, by [`Input::Change`] or [`Input::Update`].
#[derive(Debug, Clone)]
struct Asked<W, B> {
    waiter: W,
    build: B,
    /// It is to start: that the next start starts it is not enough.
    starts: bool,
}

/// Why a new generation has not been handed a state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StateNotTaken {
    /// It does not take this state, or the state can't be had.
    Refused,
    /// Another try may take it.
    NotNow,
}

/// Whose state a start hands over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Inherits<S> {
    /// Nobody's.
    Nothing,
    /// That of what serves meanwhile.
    OfServing,
    /// What was stopped first has left this.
    Left(S),
}

/// What follows when everything is stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Then {
    Rest,
    Start { by_operator: bool },
}

/// Calls of a start or a stop that were given up: how many have not returned, and what is said of the last one.
#[derive(Debug, Clone, Default)]
pub(super) struct Hung {
    inside: usize,
    lost: Option<String>,
    returned: Option<String>,
}

/// What can happen to an instance.
#[derive(Debug, Clone)]
pub(super) enum Input<R: Loaded, W> {
    /// An operator wants it to run.
    Load(W),
    /// An operator wants it stopped.
    Unload(W),
    /// An operator wants it stopped and started.
    Restart(W),
    /// An operator wants it to run again, over restarts of the host, or to be stopped where it is not started by itself.
    Enable(W, DesiredState),
    /// An operator wants it stopped, over restarts of the host.
    Disable(W),
    /// This is what it is to be made from.
    Bytes(R::Build),
    /// The same, and it is not started by itself: why.
    Barred(R::Build, String),
    /// The same as `Bytes`, and somebody waits for what comes of it. What was not taken once is tried again.
    Change(W, R::Build),
    /// An operator wants this of the update that is under way.
    Rollout(W, rollout::Command),
    /// An operator wants this version. `direct`: at once, and unjudged.
    Update {
        waiter: W,
        build: R::Build,
        direct: bool,
    },
    /// The new version is ready, or why it is not.
    WarmedUp { generation: u64, outcome: Outcome },
    /// The judge has looked at the update to this generation.
    Judged {
        generation: u64,
        /// In which of its steps, by the number that [`Effect::Judge`] gave it.
        step: u32,
        judged: rollout::Judged,
    },
    /// A generation was asked to take a configuration.
    Configured {
        generation: u64,
        outcome: Result<(), NotConfigured>,
    },
    /// Its file is gone, or the host ends.
    Gone(Gone),
    /// A call into a generation has panicked.
    Panicked { generation: u64, text: String },
    /// A call into a generation was given up.
    LaneLost { generation: u64, text: String },
    /// A call that was given up has come back.
    LateReturn { generation: u64, text: String },
    /// A generation is down by its checks or calls, or no longer.
    Down { generation: u64, why: Option<String> },
    /// The moment has come, and the host is at fault: what serves goes on, and waits as long again.
    PutOff(Monotonic),
    /// The moment of an [`Effect::Wake`] has come.
    Due(Monotonic),
    /// The host was at fault for the failures so far.
    Excused,
    /// Something that it requires is not there, which is said so; or nothing is lacking any more.
    Lacks(Option<String>),
    /// The start under way takes long.
    Slow(String),
    /// The start under way has ended well.
    Started(R),
    /// The start under way has failed. `unloaded`: the generation whose library was unloaded, or stays, after it.
    NotStarted {
        cause: String,
        hopeless: Option<Hopeless>,
        unloaded: Option<u64>,
        /// Why it was not handed the state of what served before, if that is the cause.
        state: Option<StateNotTaken>,
    },
    /// A generation has been stopped. `unloaded`: it was the last use of its library, which was unloaded, or stays.
    Stopped {
        generation: u64,
        complaints: Vec<Complaint>,
        unloaded: bool,
        /// The state that it has left, if it was to hand that over.
        left: Option<R::State>,
    },
    /// A generation that was to be stopped serves on: its state could not be taken.
    Kept { running: R, cause: String },
}

/// What the supervisor has to do.
#[derive(Debug)]
pub(super) enum Effect<R: Loaded, W> {
    /// Start this, and say what came of it.
    Start {
        build: R::Build,
        by_operator: bool,
        inherits: Inherits<R::State>,
    },
    /// Have what serves take the configuration of this, and say what came of it.
    Configure { build: R::Build },
    /// Stop this generation, and say what came of it. `hands_over`: once its state is taken, and not at all if that can't be.
    Stop {
        running: R,
        condition: Condition,
        hands_over: bool,
    },
    /// Report that the state that was left for it is lost, and why.
    StateLost(String),
    /// Have the new version get ready, and say what came of it.
    WarmUp,
    /// From here on, which is the step of this number, the new version is judged with this aim.
    Judge { step: u32, aim: Aim },
    /// Report that the new version was taken back, or did not start, and is not tried again by itself; the old one is kept.
    TakenBack {
        build: R::Build,
        kept: R::Build,
        why: String,
    },
    /// Say when this moment has come.
    Wake(Monotonic),
    /// Answer an operator.
    Answer(W, Outcome),
    /// Report that another generation serves now; or, where `live`, that the one that served has taken another configuration.
    Replaced {
        from: R::Build,
        to: R::Build,
        live: bool,
    },
    /// Report that this was not taken in the place of what serves, or served.
    NotTaken { build: R::Build, text: String },
    /// Report that nothing served for this long, as one configuration had to be stopped before another was started.
    Gap(Duration),
    /// Forget the instance: nothing of it is loaded.
    Forget,
}

/// One instance.
#[derive(Debug, Clone)]
pub(super) struct Actor<R: Loaded, W> {
    desired: DesiredState,
    gone: Option<Gone>,
    stage: Stage<R>,
    /// What a start starts.
    build: R::Build,
    rejected: Option<Rejected<R::Build>>,
    /// What was stopped first, until what is to serve in its place does.
    replaces: Option<R::Build>,
    /// Since when nothing serves, where one configuration is stopped for another.
    gap: Option<Monotonic>,
    /// The state that was left by what was stopped first, until what takes its place serves.
    left: Option<R::State>,
    /// What the next start starts instead of `build`: what served when it was restarted during an update.
    resumed: Option<R::Build>,
    /// By which steps updates are judged, if they are.
    judged_by: Option<Arc<RolloutPolicy>>,
    /// The update that is wanted is not judged.
    direct: bool,
    /// Who waits for what comes of a build that was asked for.
    asked: Vec<Asked<W, R::Build>>,
    /// Generations that are being stopped.
    retiring: Vec<u64>,
    /// The newest generation whose library is behind it.
    unloaded: u64,
    /// Operators that wait for what is desired.
    waiting: Vec<W>,
    /// What it requires and is not there.
    lack: Option<String>,
    restarts: Restarts,
    now: Monotonic,
}

/// Effects, in the order in which they are carried out.
type Effects<R, W> = Vec<Effect<R, W>>;

impl<R: Loaded, W> Actor<R, W> {
    /// One of which nothing is loaded. It begins with the first [`Input::Bytes`].
    pub(super) fn new(build: R::Build, desired: DesiredState, restarts: Restarts, now: Monotonic) -> Self {
        let stopped = (desired == DesiredState::Disabled).then(|| BY_DISABLE.to_owned());
        Actor {
            desired,
            gone: None,
            stage: Stage::Absent { stopped },
            build,
            rejected: None,
            replaces: None,
            gap: None,
            left: None,
            resumed: None,
            judged_by: None,
            direct: false,
            asked: Vec::new(),
            retiring: Vec::new(),
            unloaded: 0,
            waiting: Vec::new(),
            lack: None,
            restarts,
            now,
        }
    }

    /// What follows. Total: an input that does not belong to the stage has no effect, or is answered with a refusal.
    pub(super) fn next(&mut self, input: Input<R, W>, now: Monotonic) -> Effects<R, W> {
        self.now = now;
        let mut effects = Vec::new();
        let out = &mut effects;
        match input {
            Input::Load(waiter) => self.command(waiter, DesiredState::Running, Self::load, out),
            Input::Unload(waiter) => self.command(waiter, DesiredState::Stopped, Self::unload, out),
            Input::Restart(waiter) => self.command(waiter, DesiredState::Running, Self::restart, out),
            Input::Disable(waiter) => self.command(waiter, DesiredState::Disabled, Self::unload, out),
            Input::Enable(waiter, desired) => self.enable(waiter, desired, out),
            Input::Bytes(build) => self.bytes(build, out),
            Input::Barred(build, why) => self.barred(build, why),
            Input::Change(waiter, build) => self.change(waiter, build, out),
            Input::Rollout(waiter, command) => self.steered(waiter, command, out),
            Input::Update {
                waiter,
                build,
                direct,
            } => self.want_version(waiter, build, direct, out),
            Input::WarmedUp { generation, outcome } => self.warmed_up(generation, outcome, out),
            Input::Judged {
                generation,
                step,
                judged,
            } => self.judged(generation, step, judged, out),
            Input::Configured { generation, outcome } => self.configured(generation, outcome, out),
            Input::Gone(gone) => self.go(gone, out),
            Input::Panicked { .. }
            | Input::LaneLost { .. }
            | Input::LateReturn { .. }
            | Input::Down { .. } => {
                self.happened(input, out);
            }
            Input::Due(due) => self.due(due, out),
            Input::PutOff(due) => self.put_off(due, out),
            Input::Excused => self.restarts.excuse(),
            Input::Lacks(lack) => self.lacks(lack, out),
            Input::Slow(text) => self.slow(text),
            Input::Started(running) => self.started(running, out),
            Input::NotStarted {
                cause,
                hopeless,
                unloaded,
                state,
            } => {
                self.unloaded = self.unloaded.max(unloaded.unwrap_or(0));
                self.not_started(cause, hopeless, state, out);
            }
            Input::Stopped {
                generation,
                complaints,
                unloaded,
                left,
            } => {
                self.unloaded = self.unloaded.max(if unloaded { generation } else { 0 });
                self.left = left.or(self.left.take());
                self.stopped(generation, &complaints, out);
            }
            Input::Kept { running, cause } => self.kept(running, cause, out),
        }
        self.settle(out);
        self.answer_asked(out);
        // "At once, and unjudged" was said of this update, and does not outlive it.
        self.direct &= self.is_coming();
        effects
    }

    // Commands.

    /// Has an operator's command carried out, unless nothing can be done for the instance any more, or it is disabled.
    fn command(
        &mut self,
        waiter: W,
        desired: DesiredState,
        carry_out: fn(&mut Self, &mut Effects<R, W>) -> Option<Outcome>,
        out: &mut Effects<R, W>,
    ) {
        if let Some(gone) = self.gone {
            let outcome = match desired {
                // It is being unloaded. Should its file come back before that is done, it is not started.
                DesiredState::Disabled => {
                    self.desire(desired, out);
                    Ok(())
                }
                DesiredState::Running | DesiredState::Stopped => Err(gone.refusal()),
            };
            return out.push(Effect::Answer(waiter, outcome));
        }
        match (self.desired, desired) {
            (DesiredState::Disabled, DesiredState::Running) => {
                return out.push(Effect::Answer(waiter, Err(DISABLED.to_owned())));
            }
            // It is disabled until somebody enables it.
            (DesiredState::Disabled, _) => {}
            _ => self.desire(desired, out),
        }
        match carry_out(self, out) {
            Some(outcome) => out.push(Effect::Answer(waiter, outcome)),
            None => self.waiting.push(waiter),
        }
    }

    /// Ends that it is disabled. One that was not is left as it is.
    fn enable(&mut self, waiter: W, desired: DesiredState, out: &mut Effects<R, W>) {
        if self.desired != DesiredState::Disabled {
            return out.push(Effect::Answer(waiter, Ok(())));
        }
        self.desire(desired, out);
        if self.gone.is_some() {
            return out.push(Effect::Answer(waiter, Ok(())));
        }
        if desired == DesiredState::Running {
            return self.command(waiter, desired, Self::load, out);
        }
        if let Stage::Absent { stopped } = &mut self.stage {
            *stopped = None;
        }
        self.command(waiter, desired, Self::unload, out);
    }

    /// From here on this is wanted of it. Whoever waits for the opposite has been overtaken.
    fn desire(&mut self, desired: DesiredState, out: &mut Effects<R, W>) {
        let before = std::mem::replace(&mut self.desired, desired);
        if (before == DesiredState::Running) != (desired == DesiredState::Running) {
            self.answer(Err(OVERTAKEN.to_owned()), out);
            self.answer_who_asked(|asked| asked.starts, OVERTAKEN, out);
        }
    }

    /// `None` where the answer depends on what comes of it.
    fn load(&mut self, out: &mut Effects<R, W>) -> Option<Outcome> {
        let wedged = matches!(self.stage, Stage::Wedged { .. });
        match &mut self.stage {
            Stage::Absent { .. } | Stage::Failed { .. } | Stage::Waiting { .. } => self.start(true, out),
            Stage::Starting { .. } => {}
            Stage::Stopping { then, .. } => *then = Then::Start { by_operator: true },
            Stage::Serving { live, .. } | Stage::Wedged { live, .. } if live.update.is_none() => {
                // What was not taken by itself is tried again when somebody asks for it.
                let Some(rejected) = self.rejected.take() else {
                    return Some(if wedged { Err(WEDGED.to_owned()) } else { Ok(()) });
                };
                self.build = rejected.build;
                self.update(true, out);
            }
            Stage::Serving { .. } | Stage::Wedged { .. } => {}
        }
        None
    }

    fn unload(&mut self, out: &mut Effects<R, W>) -> Option<Outcome> {
        if let (DesiredState::Disabled, Stage::Absent { stopped }) = (self.desired, &mut self.stage) {
            *stopped = Some(BY_DISABLE.to_owned());
        }
        self.stop(self.by_operator(), Then::Rest, out);
        None
    }

    /// Why it is stopped when an operator wants that.
    fn by_operator(&self) -> &'static str {
        match self.desired {
            DesiredState::Disabled => BY_DISABLE,
            DesiredState::Running | DesiredState::Stopped => BY_OPERATOR,
        }
    }

    fn restart(&mut self, out: &mut Effects<R, W>) -> Option<Outcome> {
        if let Some(update) = self.stage.live_mut().and_then(|live| live.update.as_mut()) {
            update.restart = true;
            return None;
        }
        match self.stage {
            Stage::Absent { .. } | Stage::Failed { .. } | Stage::Waiting { .. } => self.start(true, out),
            // What is being started was asked for before, and is as new.
            Stage::Starting { .. } => {}
            _ => self.restart_running(out),
        }
        None
    }

    /// What serves is stopped and started again, also where something else is to take its place: that begins anew then.
    fn restart_running(&mut self, out: &mut Effects<R, W>) {
        if let Some(live) = self.stage.live() {
            self.resumed = live.succession.is_some().then(|| live.running.build().clone());
        }
        self.stop(BY_OPERATOR, Then::Start { by_operator: true }, out);
    }

    // What the directories say.

    fn bytes(&mut self, build: R::Build, out: &mut Effects<R, W>) {
        // A file that went and came back is as good as a new one.
        let mut new = match self.gone {
            Some(Gone::Host) => return,
            Some(Gone::File | Gone::Configuration) => true,
            None => false,
        };
        self.gone = None;
        match &mut self.rejected {
            Some(rejected) if rejected.build.is(&build) => rejected.build = build,
            rejected => {
                // What was wanted last was another one, whether it was taken or not.
                new |= rejected.take().is_some() || !self.build.is(&build);
                // Other bytes are another update, which nobody asked to have unjudged.
                self.direct &= self.build.has_bytes_of(&build);
                self.build = build;
            }
        }
        if new {
            self.restarts.forget();
        }
        match (&mut self.stage, self.desired) {
            (Stage::Absent { .. }, DesiredState::Running) => self.start(false, out),
            (Stage::Failed { .. }, DesiredState::Running) if new => self.start(false, out),
            (Stage::Stopping { then, failed, .. }, DesiredState::Running)
                if *then == Then::Rest && (new || !*failed || !self.waiting.is_empty()) =>
            {
                *then = Then::Start { by_operator: false };
            }
            (Stage::Serving { .. } | Stage::Wedged { .. }, _) => self.keep_up(out),
            // A start that is under way is compared with these bytes when it has ended.
            _ => {}
        }
    }

    /// All that there is for it was taken back before. What runs goes on; a person, or other bytes, start it.
    fn barred(&mut self, build: R::Build, why: String) {
        if self.gone == Some(Gone::Host) {
            return;
        }
        self.gone = None;
        if let Stage::Absent { .. } | Stage::Failed { .. } | Stage::Waiting { .. } = self.stage {
            self.build = build;
            let next = Next::Hopeless(Hopeless::Bytes);
            self.stage = Stage::Failed { cause: why, next };
        }
    }

    /// As [`bytes`](Self::bytes), for somebody who waits for what comes of it.
    fn change(&mut self, waiter: W, build: R::Build, out: &mut Effects<R, W>) {
        self.rejected = None;
        self.asked.push(Asked {
            waiter,
            build: build.clone(),
            starts: false,
        });
        if self.gone.is_none() {
            self.bytes(build, out);
        }
    }

    /// Who waits for what comes of a build is answered when that is known.
    fn answer_asked(&mut self, out: &mut Effects<R, W>) {
        for asked in std::mem::take(&mut self.asked) {
            match self.outcome_of(&asked) {
                Some(outcome) => out.push(Effect::Answer(asked.waiter, outcome)),
                None => self.asked.push(asked),
            }
        }
    }

    fn outcome_of(&self, asked: &Asked<W, R::Build>) -> Option<Outcome> {
        if let Some(gone) = self.gone {
            return Some(Err(gone.refusal()));
        }
        let is_under_way = match &self.stage {
            Stage::Starting { .. } => true,
            Stage::Serving { .. } | Stage::Wedged { .. } => self.is_coming(),
            // The cause of one that failed is the answer, once it has stopped.
            Stage::Stopping { then, failed, .. } => *then != Then::Rest || asked.starts && *failed,
            Stage::Absent { .. } | Stage::Failed { .. } | Stage::Waiting { .. } => false,
        };
        if let Some(rejected) = self.rejected.as_ref().filter(|one| one.build.is(&asked.build)) {
            // What serves is as it was only when whatever has to be made anew for that serves.
            return (!is_under_way).then(|| Err(rejected.text.clone()));
        }
        if !self.build.is(&asked.build) {
            return Some(Err(OVERTAKEN.to_owned()));
        }
        if is_under_way {
            return None;
        }
        Some(match &self.stage {
            Stage::Failed { cause, .. } | Stage::Waiting { cause, .. } if asked.starts => Err(cause.clone()),
            // It serves so, or will when it is started.
            _ => Ok(()),
        })
    }

    /// Answers those who wait for a build and of whom this is so.
    fn answer_who_asked(
        &mut self,
        is_so: impl Fn(&Asked<W, R::Build>) -> bool,
        text: &str,
        out: &mut Effects<R, W>,
    ) {
        let asked = std::mem::take(&mut self.asked).into_iter();
        let (answered, asked): (Vec<_>, Vec<_>) = asked.partition(is_so);
        self.asked = asked;
        out.extend(
            answered
                .into_iter()
                .map(|asked| Effect::Answer(asked.waiter, Err(text.to_owned()))),
        );
    }

    fn go(&mut self, gone: Gone, out: &mut Effects<R, W>) {
        if self.gone != Some(Gone::Host) {
            self.gone = Some(gone);
            self.stop(gone.cause(), Then::Rest, out);
        }
    }

    // What calls into it do.

    /// In a generation. What is not the one that the stage speaks of has no effect.
    fn happened(&mut self, input: Input<R, W>, out: &mut Effects<R, W>) {
        match input {
            Input::Panicked { generation, text }
                if matches!(self.stage, Stage::Serving { .. }) && self.is_mine(generation) =>
            {
                let is_one_of_two = self.is_down(generation, &text, Condition::Panicked, out);
                if !is_one_of_two {
                    self.fail(text, Condition::Panicked, out);
                }
            }
            Input::Panicked { generation, text } if self.is_mine(generation) => {
                if let Stage::Stopping { panicked, .. } = &mut self.stage {
                    *panicked = Some(text);
                }
            }
            Input::LaneLost { generation, text } if self.is_mine(generation) => {
                let is_one_of_two = self.is_down(generation, &text, Condition::Failed, out);
                if !is_one_of_two {
                    self.lane_lost(text);
                }
            }
            Input::LateReturn { generation, text } if self.is_mine(generation) => self.late_return(text, out),
            Input::Down { generation, why } if self.is_mine(generation) => match why {
                // The old one is there to go back to.
                Some(text) if self.lack.is_none() && self.role_of(generation) == Some(Role::New) => {
                    self.is_down(generation, &text, Condition::Failed, out);
                }
                why => self.down(why, out),
            },
            _ => {}
        }
    }

    /// It is down by its checks or calls, or no longer. Verdicts may be wrong, and callers are served by others meanwhile: it has time.
    fn down(&mut self, why: Option<String>, out: &mut Effects<R, W>) {
        let Stage::Serving { down, .. } = &mut self.stage else {
            return;
        };
        match (why, &mut *down) {
            (Some(text), Some(down)) => down.text = text,
            (Some(text), None) => {
                self.restarts.good_run_ends(self.now);
                let due = self.restarts.down_for().map(|time| self.now.after(time));
                *down = Some(Down { due, text });
                out.extend(due.map(Effect::Wake));
            }
            (None, _) => {
                *down = None;
                self.restarts.good_run_begins(self.now);
            }
        }
    }

    /// A moment that was waited for has come. If what it was waited for is over, it comes to nothing.
    fn due(&mut self, moment: Monotonic, out: &mut Effects<R, W>) {
        if self.gone.is_some() || self.desired != DesiredState::Running {
            return;
        }
        self.steer(rollout::Input::Due(moment), Condition::Well, out);
        match &self.stage {
            Stage::Failed {
                next: Next::Restart { due, .. },
                ..
            } if *due == moment => self.start(false, out),
            Stage::Serving {
                down: Some(Down { due, text }),
                ..
            } if *due == Some(moment) && self.lack.is_none() => {
                let seconds = self.supervision().down_ms as f64 / 1000.0;
                let text = format!("it was down for {seconds} s: {text}");
                self.fail(text, Condition::Failed, out);
            }
            Stage::Serving { .. } => self.put_off_down(moment, out),
            _ => {}
        }
    }

    fn put_off(&mut self, moment: Monotonic, out: &mut Effects<R, W>) {
        // Whatever the host is at fault for, the time of an update's step is over when it is.
        self.steer(rollout::Input::Due(moment), Condition::Well, out);
        self.put_off_down(moment, out);
    }

    fn put_off_down(&mut self, moment: Monotonic, out: &mut Effects<R, W>) {
        let next = self.restarts.down_for().map(|time| self.now.after(time));
        if let Stage::Serving {
            down: Some(Down { due, .. }),
            ..
        } = &mut self.stage
            && *due == Some(moment)
        {
            *due = next;
            out.extend(next.map(Effect::Wake));
        }
    }

    fn lane_lost(&mut self, text: String) {
        if matches!(self.stage, Stage::Serving { .. }) {
            self.restarts.good_run_ends(self.now);
        }
        match &mut self.stage {
            Stage::Wedged { inside, .. } => *inside += 1,
            Stage::Starting { calls, .. } | Stage::Stopping { calls, .. } => {
                calls.inside += 1;
                calls.lost = Some(text);
            }
            Stage::Serving { .. } => {
                if let Ok(live) = self.stage.take_live() {
                    self.stage = Stage::Wedged {
                        live,
                        cause: text,
                        inside: 1,
                    };
                }
            }
            Stage::Absent { .. } | Stage::Failed { .. } | Stage::Waiting { .. } => {}
        }
    }

    fn late_return(&mut self, text: String, out: &mut Effects<R, W>) {
        match &mut self.stage {
            Stage::Wedged { inside, .. } if *inside > 1 => *inside -= 1,
            Stage::Wedged { .. } => self.fail(text, Condition::Failed, out),
            Stage::Starting { calls, .. } | Stage::Stopping { calls, .. } => {
                calls.inside = calls.inside.saturating_sub(1);
                calls.returned = Some(text);
            }
            Stage::Absent { .. } | Stage::Failed { .. } | Stage::Waiting { .. } => self.note(&text),
            Stage::Serving { .. } => {}
        }
    }

    /// Whether a generation is the one that the stage speaks of.
    fn is_mine(&self, generation: u64) -> bool {
        match &self.stage {
            Stage::Serving { live, .. } | Stage::Wedged { live, .. } => {
                live.running.generation() == generation || self.role_of(generation).is_some()
            }
            // Its number is not known before it has started.
            Stage::Starting { .. } => generation > self.unloaded && !self.retiring.contains(&generation),
            Stage::Stopping { .. } => self.retiring.contains(&generation),
            Stage::Absent { .. } | Stage::Failed { .. } | Stage::Waiting { .. } => {
                generation == self.unloaded
            }
        }
    }

    // What came of the effects.

    fn slow(&mut self, text: String) {
        match &mut self.stage {
            Stage::Starting { slow, .. } => *slow = Some(text),
            // What serves meanwhile has a cause of its own.
            stage => {
                if let Some(update) = stage.live_mut().and_then(|live| live.update.as_mut()) {
                    update.slow = true;
                }
            }
        }
    }

    fn started(&mut self, running: R, out: &mut Effects<R, W>) {
        // Where what served is wedged, the new version is better than nothing.
        let is_serving = matches!(self.stage, Stage::Serving { .. });
        let succession = self.stage.live().and_then(|live| live.succession.as_ref());
        if succession.is_some_and(|succession| is_serving || succession.is_retiring()) {
            return self.candidate_started(running, out);
        }
        let condition = match self.stage {
            Stage::Wedged { .. } => Condition::Failed,
            _ => Condition::Well,
        };
        match self.stage.take_live() {
            Ok(Live { running: old, .. }) => {
                self.replaced(old.build().clone(), running.build(), false, out);
                self.retire(old, condition, out);
            }
            Err(Stage::Starting { .. }) => {
                if let Some(from) = self.replaces.take() {
                    self.replaced(from, running.build(), false, out);
                }
                self.left = None;
                let gap = self.gap.take().map(|since| Effect::Gap(self.now.since(since)));
                out.extend(gap);
            }
            // No start is under way in the other stages. What is loaded is not lost all the same.
            Err(stage) => {
                self.stage = stage;
                return self.retire(running, Condition::Well, out);
            }
        }
        self.stage = Stage::Serving {
            live: Live {
                running,
                update: None,
                succession: None,
            },
            down: None,
        };
        self.restarts.good_run_begins(self.now);
        if let Some(gone) = self.gone {
            self.stop(gone.cause(), Then::Rest, out);
        } else if self.desired != DesiredState::Running {
            self.stop(self.by_operator(), Then::Rest, out);
        } else {
            self.keep_up(out);
            // Newer bytes may have it stopped at once: then they are what is waited for.
            if matches!(self.stage, Stage::Serving { .. }) {
                self.answer(Ok(()), out);
            }
        }
    }

    /// Reports that one serves in the place of another; nothing where both come to the same.
    fn replaced(&self, from: R::Build, to: &R::Build, live: bool, out: &mut Effects<R, W>) {
        if !from.is(to) {
            let to = to.clone();
            out.push(Effect::Replaced { from, to, live });
        }
    }

    /// What is loaded was asked to take a configuration. An answer of another generation is too late.
    fn configured(&mut self, generation: u64, outcome: Result<(), NotConfigured>, out: &mut Effects<R, W>) {
        let Some(live) = self.stage.live_mut() else { return };
        let is_asked = |update: &mut Update<R::Build>| update.by == By::Configure;
        if live.running.generation() != generation {
            return;
        }
        let Some(tried) = live.update.take_if(is_asked) else {
            return;
        };
        let not_taken = |cause: String| not_taken(&tried.build, live.running.build(), &cause);
        match outcome {
            Ok(()) => {
                let from = live.running.build().clone();
                live.running.moved_to(&tried.build);
                self.replaced(from, &tried.build, true, out);
                if tried.restart {
                    return self.stop(BY_OPERATOR, Then::Start { by_operator: true }, out);
                }
                self.keep_up(out);
                self.answer_if_kept_up(out);
            }
            Err(NotConfigured::Unsupported) if tried.restart => {
                self.stop(BY_OPERATOR, Then::Start { by_operator: true }, out);
            }
            // Other bytes may have come meanwhile.
            Err(NotConfigured::Unsupported) if !self.build.is(&tried.build) => {
                self.keep_up(out);
                self.answer_if_kept_up(out);
            }
            Err(NotConfigured::Unsupported) => self.replace(false, out),
            Err(NotConfigured::Refused(cause)) => {
                let text = not_taken(cause);
                self.not_updated(&tried, text, out);
            }
            Err(NotConfigured::Unknown(cause)) => {
                let text = not_taken(cause);
                // A restart that was asked for meanwhile makes it anew as well.
                if tried.restart {
                    return self.not_updated(&tried, text, out);
                }
                self.reject(&tried.build, text, out);
                self.replace(false, out);
            }
            Err(NotConfigured::Panicked(cause)) => {
                let text = not_taken(cause);
                self.reject(&tried.build, text.clone(), out);
                let then = Then::Start { by_operator: false };
                self.retire_live(&text, Condition::Panicked, then, out);
            }
        }
    }

    /// Where nothing is under way any more, whoever waits is answered.
    fn answer_if_kept_up(&mut self, out: &mut Effects<R, W>) {
        match &self.stage {
            Stage::Serving { live, .. } if live.update.is_none() => self.answer(Ok(()), out),
            // A call into it was given up meanwhile.
            Stage::Wedged { live, .. } if live.update.is_none() => self.answer(Err(WEDGED.to_owned()), out),
            _ => {}
        }
    }

    /// `state`: why it was not handed the state of what served before, if that is the cause.
    fn not_started(
        &mut self,
        mut cause: String,
        hopeless: Option<Hopeless>,
        state: Option<StateNotTaken>,
        out: &mut Effects<R, W>,
    ) {
        match &mut self.stage {
            Stage::Starting {
                build, before, calls, ..
            } => {
                let newer = !self.build.is(build);
                calls.returned.iter().for_each(|late| append(&mut cause, late));
                if let Some(before) = before {
                    append(&mut cause, &format!("what served before it had failed: {before}"));
                }
                let next = hopeless.map_or(Next::Stays, Next::Hopeless);
                self.stage = Stage::Failed {
                    cause: cause.clone(),
                    next,
                };
                if self.gone.is_some() || self.desired != DesiredState::Running {
                    return;
                }
                if newer {
                    return self.start(false, out);
                }
                // A configuration leaves nothing behind, and neither does what has not come so far that it was started: what was stopped for it is
                // started again as it was.
                let leaves_nothing = |old: &R::Build| state.is_some() || old.has_bytes_of(&self.build);
                let old = self.replaces.clone();
                if let Some(old) = old.filter(|old| leaves_nothing(old) && !old.is(&self.build)) {
                    let tried = self.build.clone();
                    let text = not_taken(&tried, &old, &cause);
                    self.build = old;
                    self.rejected = Some(Rejected {
                        build: tried.clone(),
                        text: text.clone(),
                    });
                    out.push(Effect::NotTaken { build: tried, text });
                    return self.start(false, out);
                }
                // There is nothing that takes it: what is to serve does so without, as it does after a failure.
                if state == Some(StateNotTaken::Refused) {
                    self.left = None;
                    out.push(Effect::StateLost(cause));
                    return self.start(false, out);
                }
                if hopeless.is_none() {
                    self.restart_later(out);
                }
                self.answer(Err(cause), out);
            }
            Stage::Serving { live, .. } | Stage::Wedged { live, .. } => {
                if state.is_some() {
                    append(&mut cause, WITHOUT_STATE);
                }
                if let Some(tried) = live.update.take_if(|update| update.by == By::Start) {
                    // Another configuration may fit, so the version is not put aside for good.
                    let is_misfit = hopeless == Some(Hopeless::Configuration);
                    if is_misfit && live.succession.as_ref().is_some_and(|one| one.is_loading()) {
                        live.succession = None;
                    }
                    if live.succession.is_some() {
                        return self.candidate_not_started(cause, tried.restart, out);
                    }
                    let text = not_taken(&tried.build, live.running.build(), &cause);
                    self.not_updated(&tried, text, out);
                }
            }
            Stage::Absent { .. } | Stage::Failed { .. } | Stage::Waiting { .. } | Stage::Stopping { .. } => {}
        }
    }

    /// What is loaded goes on, unless a restart was asked for, or newer bytes are there to be tried.
    fn not_updated(&mut self, tried: &Update<R::Build>, text: String, out: &mut Effects<R, W>) {
        self.reject(&tried.build, text.clone(), out);
        if tried.restart {
            return self.stop(BY_OPERATOR, Then::Start { by_operator: true }, out);
        }
        self.keep_up(out);
        if self.stage.live_mut().is_some_and(|live| live.update.is_none()) {
            self.answer(Err(text), out);
        }
    }

    /// What was tried is put aside, and what is loaded is what is wanted, unless that is something else by now.
    fn reject(&mut self, tried: &R::Build, text: String, out: &mut Effects<R, W>) {
        let Some(live) = self.stage.live_mut() else { return };
        let kept = live.running.build().clone();
        if self.build.is(tried) && !kept.is(tried) {
            self.build = kept;
            self.rejected = Some(Rejected {
                build: tried.clone(),
                text: text.clone(),
            });
        }
        let build = tried.clone();
        out.push(Effect::NotTaken { build, text });
    }

    fn stopped(&mut self, generation: u64, complaints: &[Complaint], out: &mut Effects<R, W>) {
        self.retiring.retain(|retiring| *retiring != generation);
        self.other_stopped(generation, out);
        let Stage::Stopping {
            cause,
            failed,
            then,
            calls,
            ..
        } = &mut self.stage
        else {
            return;
        };
        for complaint in complaints.iter().filter(|complaint| !calls.tells_of(complaint)) {
            append(cause, &complaint.to_string());
        }
        if !self.retiring.is_empty() {
            return;
        }
        for said in calls.lost.iter().chain(&calls.returned) {
            append(cause, said);
        }
        let (cause, failed, then) = (std::mem::take(cause), *failed, *then);
        self.stage = match failed {
            true => Stage::Failed {
                cause,
                next: Next::Stays,
            },
            false => Stage::Absent { stopped: Some(cause) },
        };
        match (then, self.gone) {
            (Then::Start { by_operator }, None) => self.start(by_operator, out),
            (Then::Rest, None) if failed && self.desired == DesiredState::Running => self.restart_later(out),
            _ => {}
        }
    }

    /// What was to be stopped first serves on, unless it is to be stopped whatever follows.
    fn kept(&mut self, running: R, mut cause: String, out: &mut Effects<R, W>) {
        self.retiring.retain(|retiring| *retiring != running.generation());
        let has_panicked = matches!(
            &self.stage,
            Stage::Stopping {
                panicked: Some(_),
                ..
            }
        );
        let Stage::Stopping {
            then: Then::Start { .. },
            calls,
            panicked,
            ..
        } = &mut self.stage
        else {
            let condition = if has_panicked {
                Condition::Panicked
            } else {
                Condition::Well
            };
            return self.retire(running, condition, out);
        };
        let panicked = panicked.take();
        let Hung { inside, lost, .. } = std::mem::take(calls);
        self.resumed = None;
        let gap = self.gap.take().map(|since| Effect::Gap(self.now.since(since)));
        out.extend(gap);
        let tried = match self.replaces.take() {
            Some(_) => self.build.clone(),
            None => running.build().clone(),
        };
        append(&mut cause, WITHOUT_STATE);
        let text = not_taken(&tried, running.build(), &cause);
        let live = Live {
            running,
            update: None,
            succession: None,
        };
        self.restarts.good_run_begins(self.now);
        self.stage = match lost.filter(|_| inside > 0) {
            Some(cause) => Stage::Wedged { live, cause, inside },
            None => Stage::Serving { live, down: None },
        };
        // Whatever comes next is not the start that is waited for.
        self.answer(Err(text.clone()), out);
        self.not_updated(&Update::new(tried, By::Start), text, out);
        if let Some(text) = panicked {
            self.fail(text, Condition::Panicked, out);
        }
    }

    /// Decides what follows the failure that it is in.
    fn restart_later(&mut self, out: &mut Effects<R, W>) {
        let Stage::Failed { cause, next } = &mut self.stage else {
            return;
        };
        if self.lack.is_some() && self.restarts.config().restart == Restart::OnFailure {
            let failed = std::mem::take(cause);
            return self.wait(Some(failed), out);
        }
        *next = match self.restarts.decide(self.now) {
            AfterFailure::Restart { due, number } => {
                out.push(Effect::Wake(due));
                Next::Restart { due, number }
            }
            AfterFailure::BudgetSpent => Next::BudgetSpent,
            AfterFailure::Stays => Next::Stays,
        };
    }

    // Steps that several of them take.

    /// Has the bytes that there are for it take the place of what is loaded, if they are others and nothing else is under way.
    fn keep_up(&mut self, out: &mut Effects<R, W>) {
        let Some(live) = self.stage.live_mut() else { return };
        if live.succession.is_some() {
            self.keep_up_succession(out);
        } else if live.running.build().is(&self.build) {
            live.running.moved_to(&self.build);
        } else if live.update.is_none() {
            self.update(false, out);
        }
    }

    /// Has what is loaded give way to what is wanted, or take its configuration.
    fn update(&mut self, by_operator: bool, out: &mut Effects<R, W>) {
        if let Stage::Serving { live, .. } = &mut self.stage
            && live.running.build().may_take(&self.build)
        {
            let build = self.build.clone();
            live.update = Some(Update::new(build.clone(), By::Configure));
            return out.push(Effect::Configure { build });
        }
        self.replace(by_operator, out);
    }

    /// Has what is wanted started beside what is loaded, or in its place where one of the two can't be loaded beside the other.
    fn replace(&mut self, by_operator: bool, out: &mut Effects<R, W>) {
        let Some(live) = self.stage.live_mut() else { return };
        let (old, new) = (live.running.build(), &self.build);
        if old.excludes(new) {
            let is_configured = old.has_bytes_of(new);
            let cause = match is_configured {
                true => "stopped for another configuration, as it can't be loaded beside itself".to_owned(),
                false => format!(
                    "stopped for version {}, which can't be loaded beside it",
                    new.version()
                ),
            };
            self.replaces = Some(old.clone());
            self.gap = is_configured.then_some(self.now);
            return self.stop(&cause, Then::Start { by_operator }, out);
        }
        let build = new.clone();
        let inherits = match self.stage {
            Stage::Serving { .. } => Inherits::OfServing,
            _ => Inherits::Nothing,
        };
        out.push(Effect::Start {
            build: build.clone(),
            by_operator,
            inherits,
        });
        let succession = self.succession_to(&build);
        if let Some(live) = self.stage.live_mut() {
            live.succession = succession;
            live.update = Some(Update::new(build, By::Start));
        }
    }

    /// What it requires is there, or is there no longer.
    fn lacks(&mut self, lack: Option<String>, out: &mut Effects<R, W>) {
        self.lack = lack;
        if let Stage::Waiting { failed, .. } = &mut self.stage {
            let failed = failed.take();
            match self.lack.is_some() {
                true => self.wait(failed, out),
                false => self.start(false, out),
            }
        }
    }

    /// Has it start when what it requires is there.
    fn wait(&mut self, failed: Option<String>, out: &mut Effects<R, W>) {
        let mut cause = self.lack.clone().unwrap_or_default();
        if let Some(failed) = &failed {
            append(&mut cause, &format!("before that it failed: {failed}"));
        }
        self.answer(Err(cause.clone()), out);
        self.stage = Stage::Waiting { cause, failed };
    }

    /// Starts it, unless nobody has asked for that and something that it requires is not there. What was stopped for another version is not
    /// kept from its callers for that.
    fn start(&mut self, by_operator: bool, out: &mut Effects<R, W>) {
        if self.lack.is_some() && !by_operator && self.replaces.is_none() {
            let failed = match &mut self.stage {
                Stage::Failed { cause, .. } => Some(std::mem::take(cause)),
                _ => None,
            };
            return self.wait(failed, out);
        }
        self.restarts.good_run_ends(self.now);
        if by_operator {
            self.restarts.forget();
        }
        let build = self.resumed.take().unwrap_or_else(|| self.build.clone());
        out.push(Effect::Start {
            build: build.clone(),
            by_operator,
            inherits: self.left.clone().map_or(Inherits::Nothing, Inherits::Left),
        });
        self.stage = Stage::Starting {
            build,
            before: None,
            slow: None,
            calls: Hung::default(),
        };
    }

    /// Has whatever is loaded stopped. A start that is under way can't be recalled: it is stopped when it has ended.
    fn stop(&mut self, cause: &str, after: Then, out: &mut Effects<R, W>) {
        match &mut self.stage {
            Stage::Stopping { then, .. } => *then = after,
            // Nothing is waited for any more.
            Stage::Failed { next, .. } => *next = Next::Stays,
            Stage::Waiting { failed, .. } => {
                let (stopped, next) = (Some(cause.to_owned()), Next::Stays);
                self.stage = match failed.take() {
                    Some(cause) => Stage::Failed { cause, next },
                    None => Stage::Absent { stopped },
                };
            }
            _ => {}
        }
        self.retire_live(cause, Condition::Well, after, out);
    }

    /// What is loaded has failed, and is stopped for it.
    fn fail(&mut self, text: String, condition: Condition, out: &mut Effects<R, W>) {
        let running = self.stage.live().map(|live| live.running.generation());
        if running.is_some_and(|running| self.is_down(running, &text, condition, out)) {
            return;
        }
        self.restarts.good_run_ends(self.now);
        let mut then = Then::Rest;
        // Whether it failed by the configuration that it was taking is not known: it is started again as it was.
        if let Some(live) = self.stage.live_mut()
            && let Some(tried) = live.update.take_if(|update| update.by == By::Configure)
        {
            let not_taken = not_taken(&tried.build, live.running.build(), &text);
            self.reject(&tried.build, not_taken, out);
            if tried.restart {
                then = Then::Start { by_operator: true };
            }
        }
        // Whoever waits for what was under way waits for a start otherwise, of which nobody knows when it comes.
        if then == Then::Rest && self.stage.live().is_some_and(|live| live.update.is_none()) {
            self.answer(Err(text.clone()), out);
        }
        self.retire_live(&text, condition, then, out);
    }

    /// What is loaded serves no more: an update that is under way goes on as the instance's start.
    fn retire_live(&mut self, cause: &str, condition: Condition, then: Then, out: &mut Effects<R, W>) {
        let (failed, calls) = (condition != Condition::Well, Hung::default());
        let is_serving = matches!(self.stage, Stage::Serving { .. });
        match self.stage.take_live() {
            Ok(Live {
                running,
                update,
                succession,
            }) => {
                // What failed has no state that anybody would start from.
                let hands_over = is_serving && !failed && update.is_none() && then != Then::Rest;
                self.retiring.push(running.generation());
                out.push(Effect::Stop {
                    running,
                    condition,
                    hands_over,
                });
                if let Some(other) = succession.and_then(|succession| succession.take_other()) {
                    self.retire(other, Condition::Well, out);
                }
                self.stage = match update.filter(|update| update.by == By::Start) {
                    Some(Update { build, .. }) => Stage::Starting {
                        build,
                        before: failed.then(|| cause.to_owned()),
                        slow: None,
                        calls,
                    },
                    None => Stage::Stopping {
                        cause: cause.to_owned(),
                        failed,
                        then,
                        calls,
                        panicked: None,
                    },
                };
            }
            Err(stage) => self.stage = stage,
        }
    }

    fn retire(&mut self, running: R, condition: Condition, out: &mut Effects<R, W>) {
        self.retiring.push(running.generation());
        out.push(Effect::Stop {
            running,
            condition,
            hands_over: false,
        });
    }

    fn answer(&mut self, outcome: Outcome, out: &mut Effects<R, W>) {
        let waiting = self.waiting.drain(..);
        out.extend(waiting.map(|waiter| Effect::Answer(waiter, outcome.clone())));
    }

    /// Where nothing is loaded any more, whoever waits for that is answered, and what is gone is forgotten.
    fn settle(&mut self, out: &mut Effects<R, W>) {
        let at_rest = matches!(self.stage, Stage::Absent { .. } | Stage::Failed { .. });
        if !at_rest || !self.retiring.is_empty() {
            return;
        }
        self.replaces = None;
        self.resumed = None;
        self.gap = None;
        // What failed is started again with it.
        if self.desired != DesiredState::Running || self.gone.is_some() {
            self.left = None;
        }
        // What an operator has stopped is stopped, whatever it came to before that.
        if let (Stage::Failed { cause, .. }, true) = (&self.stage, self.desired != DesiredState::Running) {
            let stopped = format!("{}; before that it failed: {cause}", self.by_operator());
            self.stage = Stage::Absent {
                stopped: Some(stopped),
            };
        }
        if let Some(gone) = self.gone {
            self.answer(Err(gone.cause().to_owned()), out);
            out.push(Effect::Forget);
        } else if self.desired != DesiredState::Running {
            self.answer(Ok(()), out);
        }
    }
}

/// How an instance is shown.
impl<R: Loaded, W> Actor<R, W> {
    pub(super) fn lifecycle(&self) -> Lifecycle {
        match &self.stage {
            Stage::Absent { stopped: None } => Lifecycle::Verified,
            Stage::Absent { stopped: Some(_) } => Lifecycle::Stopped,
            Stage::Failed { next, .. } => match next {
                Next::Restart { .. } => Lifecycle::Backoff,
                Next::BudgetSpent | Next::Hopeless(Hopeless::Bytes) => Lifecycle::Quarantined,
                Next::Hopeless(Hopeless::Configuration) | Next::Stays => Lifecycle::Failed,
            },
            Stage::Waiting { .. } => Lifecycle::Waiting,
            Stage::Starting { calls, .. } | Stage::Stopping { calls, .. } if calls.inside > 0 => {
                Lifecycle::Wedged
            }
            Stage::Starting { .. } => Lifecycle::Starting,
            Stage::Stopping { .. } => Lifecycle::Draining,
            Stage::Serving { .. } => Lifecycle::Running,
            Stage::Wedged { .. } => Lifecycle::Wedged,
        }
    }

    /// Why it is there.
    pub(super) fn cause(&self) -> Option<&str> {
        match &self.stage {
            Stage::Absent { stopped } => stopped.as_deref(),
            Stage::Failed { cause, .. } | Stage::Waiting { cause, .. } | Stage::Wedged { cause, .. } => {
                Some(cause)
            }
            Stage::Stopping { cause, calls, .. } => calls.hangs().or(Some(cause)),
            Stage::Starting {
                calls, slow, before, ..
            } => calls.hangs().or(slow.as_deref()).or(before.as_deref()),
            Stage::Serving { .. } => self.rejected.as_ref().map(|rejected| &*rejected.text),
        }
    }

    /// Why the configuration that it is to have is not the one that it has, if that is so.
    pub(super) fn configuration_not_taken(&self) -> Option<&str> {
        let rejected = self.rejected.as_ref()?;
        rejected.build.has_bytes_of(&self.build).then_some(&rejected.text)
    }

    /// What is configured for its restarts is this from here on.
    pub(super) fn supervise(&mut self, config: SupervisionConfig) {
        self.restarts.configure(config);
    }

    /// What an operator wants it to be.
    pub(super) fn desired(&self) -> DesiredState {
        self.desired
    }

    /// What brings it back by itself, if it has failed.
    pub(super) fn next_step(&self) -> Option<Next> {
        match &self.stage {
            Stage::Failed { next, .. } => Some(*next),
            _ => None,
        }
    }

    /// What is configured for its restarts.
    pub(super) fn supervision(&self) -> &SupervisionConfig {
        self.restarts.config()
    }

    /// Whether something is wrong with it that may lie in the host as well; `None` where that is not known yet.
    pub(super) fn is_in_trouble(&self) -> Option<bool> {
        match &self.stage {
            Stage::Starting { .. } => None,
            Stage::Absent { .. } | Stage::Waiting { .. } => Some(false),
            Stage::Failed { next, .. } => Some(!matches!(next, Next::Hopeless(_))),
            Stage::Serving { down, .. } => Some(down.is_some()),
            Stage::Wedged { .. } => Some(true),
            Stage::Stopping { failed, .. } => Some(*failed),
        }
    }

    /// What serves.
    pub(super) fn serving(&self) -> Option<&R> {
        match &self.stage {
            Stage::Serving { live, .. } => Some(&live.running),
            _ => None,
        }
    }

    /// What is loaded, whether it serves or not.
    pub(super) fn loaded(&self) -> Option<&R> {
        match &self.stage {
            Stage::Serving { live, .. } | Stage::Wedged { live, .. } => Some(&live.running),
            _ => None,
        }
    }

    /// What is loaded, or else what would be.
    pub(super) fn build(&self) -> &R::Build {
        match &self.stage {
            Stage::Serving { live, .. } | Stage::Wedged { live, .. } => live.running.build(),
            Stage::Starting { build, .. } => build,
            Stage::Absent { .. } | Stage::Failed { .. } | Stage::Waiting { .. } | Stage::Stopping { .. } => {
                &self.build
            }
        }
    }

    /// What it is to be made from: what serves, or what is to take its place.
    pub(super) fn target(&self) -> &R::Build {
        &self.build
    }

    /// Whether readiness waits for what is under way. For a start that takes long nobody waits.
    pub(super) fn is_awaited(&self) -> bool {
        match &self.stage {
            Stage::Starting { slow, .. } => slow.is_none(),
            Stage::Stopping { .. } => true,
            Stage::Serving { live, .. } | Stage::Wedged { live, .. } => {
                live.update.as_ref().is_some_and(|update| !update.slow)
            }
            // Whoever it waits for is waited for.
            Stage::Absent { .. } | Stage::Failed { .. } | Stage::Waiting { .. } => false,
        }
    }

    /// Whether those that require it can count on it. `is_down`: what serves is down by its checks or calls.
    pub(super) fn availability(&self, is_down: bool) -> Availability {
        match &self.stage {
            Stage::Serving { .. } if !is_down => Availability::Serves,
            Stage::Starting { .. } | Stage::Waiting { .. } => Availability::Coming,
            Stage::Absent { .. } if self.desired == DesiredState::Running && self.gone.is_none() => {
                Availability::Coming
            }
            Stage::Stopping {
                then: Then::Start { .. },
                failed: false,
                ..
            } => Availability::Coming,
            _ => Availability::Down,
        }
    }

    /// Says one thing more of what is at rest.
    pub(super) fn note(&mut self, text: &str) {
        if let Stage::Failed { cause, .. }
        | Stage::Waiting { cause, .. }
        | Stage::Absent { stopped: Some(cause) } = &mut self.stage
        {
            append(cause, text);
        }
    }
}

impl<B> Update<B> {
    fn new(build: B, by: By) -> Self {
        Update {
            build,
            by,
            restart: false,
            slow: false,
        }
    }
}

impl<R: Loaded> Stage<R> {
    fn live(&self) -> Option<&Live<R>> {
        match self {
            Stage::Serving { live, .. } | Stage::Wedged { live, .. } => Some(live),
            _ => None,
        }
    }

    fn live_mut(&mut self) -> Option<&mut Live<R>> {
        match self {
            Stage::Serving { live, .. } | Stage::Wedged { live, .. } => Some(live),
            _ => None,
        }
    }

    /// Takes out what is loaded; the stage itself if that is nothing. The caller puts another stage there.
    fn take_live(&mut self) -> Result<Live<R>, Stage<R>> {
        match std::mem::replace(self, Stage::Absent { stopped: None }) {
            Stage::Serving { live, .. } | Stage::Wedged { live, .. } => Ok(live),
            stage => Err(stage),
        }
    }
}

impl Hung {
    /// Why it hangs, if it does.
    fn hangs(&self) -> Option<&str> {
        self.lost.as_deref().filter(|_| self.inside > 0)
    }

    /// Whether a complaint only repeats that a step has not returned.
    fn tells_of(&self, complaint: &Complaint) -> bool {
        let known = format!("{} has not returned", complaint.step);
        self.lost.as_ref().is_some_and(|lost| lost.contains(&known))
    }
}

type Outcome = Result<(), String>;

const BY_OPERATOR: &str = "stopped by an operator";
const BY_DISABLE: &str = "disabled by an operator";
const DISABLED: &str = "it is disabled; `extman enable` ends that and starts it";
const OVERTAKEN: &str = "a later command has overtaken this one";
const WEDGED: &str =
    "a call into it does not return; `extman restart` gives that call up and loads the library anew";

const WITHOUT_STATE: &str =
    "to go on without that state, stop it first: `extman unload`, the update or change, `extman load`";

fn not_taken<B: Build>(tried: &B, kept: &B, cause: &str) -> String {
    if tried.is(kept) {
        return format!("it could not be made anew, and goes on as it is: {cause}");
    }
    if tried.has_bytes_of(kept) {
        return format!("the new configuration was not taken, the one before goes on: {cause}");
    }
    format!(
        "{} was not taken, {} goes on: {cause}",
        tried.version(),
        kept.version()
    )
}

fn append(cause: &mut String, text: &str) {
    cause.push_str("; ");
    cause.push_str(text);
}

#[cfg(test)]
mod tests;
