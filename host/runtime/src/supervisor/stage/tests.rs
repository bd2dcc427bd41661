//! Every interleaving of up to [`LENGTH`] inputs, against a model that counts what is loaded and remembers what was promised.

use super::super::restart::Restart;
use super::*;
use extman_plugin_api::manifest::schema::Update;
use std::collections::HashMap;
use std::time::Duration;

const LENGTH: usize = 6;

/// A budget that is spent within [`LENGTH`] inputs.
const SUPERVISION: SupervisionConfig = SupervisionConfig {
    restart: Restart::OnFailure,
    max_restarts: 2,
    within_ms: 600_000,
    first_wait_ms: 1_000,
    wait_max_ms: 60_000,
    good_run_ms: 10_000,
    down_ms: 60_000,
};

/// Nothing takes time here: what time changes is told by [`Act::Due`] alone.
const NOW: Monotonic = Monotonic::from_nanos(1);

/// A file and a configuration, by number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Made {
    file: u8,
    config: u8,
    update: Update,
}

/// This file, in the first configuration.
const fn made(file: u8, update: Update) -> Made {
    Made {
        file,
        config: 1,
        update,
    }
}

impl Build for Made {
    fn is(&self, other: &Self) -> bool {
        self == other
    }

    fn has_bytes_of(&self, other: &Self) -> bool {
        self.file == other.file
    }

    fn may_take(&self, other: &Self) -> bool {
        self.has_bytes_of(other)
    }

    fn excludes(&self, other: &Self) -> bool {
        [self, other].iter().any(|made| made.update == Update::StopFirst)
    }

    fn version(&self) -> String {
        self.file.to_string()
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Generation {
    number: u64,
    build: Made,
}

impl Loaded for Generation {
    type Build = Made;
    /// The number of who left it.
    type State = u64;

    fn build(&self) -> &Made {
        &self.build
    }

    fn generation(&self) -> u64 {
        self.number
    }

    fn moved_to(&mut self, build: &Made) {
        self.build = *build;
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Act {
    Load,
    Unload,
    Restart,
    Enable,
    Disable,
    NewBytes,
    OldBytes,
    NewConfig,
    OldConfig,
    Change,
    FileGone,
    Shutdown,
    Panic,
    LaneLost,
    LateReturn,
    IsDown,
    IsDownNoLonger,
    Due,
    PutOff,
    Excused,
    Lacks,
    LacksNothing,
    StartEnds,
    StartFails,
    StartIsSlow,
    StopEnds,
    Takes,
    TakesNone,
    Refuses,
    IsBrokenOff,
    PanicsAtIt,
    Update,
    Promote,
    Abort,
    Pause,
    Resume,
    Warms,
    WarmsNot,
    IsGood,
    IsWorse,
    PanicBeside,
    LaneLostBeside,
    /// What is started was not, as it could not be handed the state of what served before.
    TakesNoState,
    /// What is being stopped can't hand its state out, and is kept.
    IsKept,
}

/// What may happen to one that hands its state over.
const HANDING_OVER: [Act; 19] = [
    Act::TakesNoState,
    Act::IsKept,
    Act::Load,
    Act::Unload,
    Act::Restart,
    Act::NewBytes,
    Act::OldBytes,
    Act::NewConfig,
    Act::TakesNone,
    Act::FileGone,
    Act::Shutdown,
    Act::Panic,
    Act::LaneLost,
    Act::LateReturn,
    Act::Due,
    Act::Lacks,
    Act::StartEnds,
    Act::StartFails,
    Act::StopEnds,
];

/// What happens to one whose updates are judged.
const JUDGED: [Act; 30] = [
    Act::TakesNoState,
    Act::IsKept,
    Act::Update,
    Act::Promote,
    Act::Abort,
    Act::Pause,
    Act::Resume,
    Act::Warms,
    Act::WarmsNot,
    Act::IsGood,
    Act::IsWorse,
    Act::PanicBeside,
    Act::LaneLostBeside,
    Act::Due,
    Act::Load,
    Act::Unload,
    Act::Restart,
    Act::NewBytes,
    Act::OldBytes,
    Act::NewConfig,
    Act::Takes,
    Act::FileGone,
    Act::Shutdown,
    Act::Panic,
    Act::LaneLost,
    Act::LateReturn,
    Act::IsDown,
    Act::StartEnds,
    Act::StartFails,
    Act::StopEnds,
];

/// What may happen to one whose configuration stays as it is.
const ACTS: [Act; 23] = [
    Act::Load,
    Act::Unload,
    Act::Restart,
    Act::Enable,
    Act::Disable,
    Act::NewBytes,
    Act::OldBytes,
    Act::FileGone,
    Act::Shutdown,
    Act::Panic,
    Act::LaneLost,
    Act::LateReturn,
    Act::IsDown,
    Act::IsDownNoLonger,
    Act::Due,
    Act::PutOff,
    Act::Excused,
    Act::Lacks,
    Act::LacksNothing,
    Act::StartEnds,
    Act::StartFails,
    Act::StartIsSlow,
    Act::StopEnds,
];

/// What happens to one whose configuration changes, and whatever it may meet with.
const CONFIGURING: [Act; 19] = [
    Act::NewConfig,
    Act::OldConfig,
    Act::Change,
    Act::Takes,
    Act::TakesNone,
    Act::Refuses,
    Act::IsBrokenOff,
    Act::PanicsAtIt,
    Act::Unload,
    Act::Load,
    Act::Restart,
    Act::NewBytes,
    Act::FileGone,
    Act::Panic,
    Act::LaneLost,
    Act::LateReturn,
    Act::StartEnds,
    Act::StartFails,
    Act::StopEnds,
];

/// A command that has not been answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Command {
    act: Act,
    number: u32,
    /// Generations that had been started when it was given.
    started: u64,
    /// It had nothing to wait for: the instance was to be forgotten, or enabled already.
    at_once: bool,
    /// The file and the configuration that it tries, if it is a change or an update.
    tried: Option<(u8, u8)>,
}

/// An instance, and what the world around it knows.
#[derive(Clone)]
struct World {
    actor: Option<Actor<Generation, Command>>,
    update: Update,
    file: u8,
    config: u8,
    /// Generations that were asked to take a configuration.
    configuring: Vec<u64>,
    starting: Option<Made>,
    /// Whose state the start under way was handed.
    inherits: Inherits<u64>,
    stopping: Vec<Generation>,
    /// Those of them that leave their state.
    leaving: Vec<u64>,
    /// Who left the state that nobody has taken yet.
    left: Option<u64>,
    /// Generations that were started and have not been stopped.
    loaded: Vec<u64>,
    started: u64,
    hung: Vec<u64>,
    /// Moments that were waited for and have not come.
    wakes: Vec<Monotonic>,
    /// Starts by itself since an operator, other bytes or an excuse last gave the budget anew.
    restarted: u32,
    disabled: bool,
    commands: Vec<Command>,
    given: u32,
    gone: Option<Gone>,
    last: Option<(Act, Result<(), String>)>,
    history: Vec<Act>,
}

impl World {
    fn new(desired: DesiredState, update: Update) -> Self {
        let mut world = World {
            actor: Some(Actor::new(
                made(1, update),
                desired,
                Restarts::new(SUPERVISION, "it"),
                NOW,
            )),
            update,
            file: 1,
            config: 1,
            configuring: Vec::new(),
            starting: None,
            inherits: Inherits::Nothing,
            stopping: Vec::new(),
            leaving: Vec::new(),
            left: None,
            loaded: Vec::new(),
            started: 0,
            hung: Vec::new(),
            wakes: Vec::new(),
            restarted: 0,
            disabled: desired == DesiredState::Disabled,
            commands: Vec::new(),
            given: 0,
            gone: None,
            last: None,
            history: Vec::new(),
        };
        world.feed(Input::Bytes(made(1, update)));
        world
    }

    /// What the actor says is loaded.
    fn held(&self) -> Option<Generation> {
        match &self.actor.as_ref()?.stage {
            Stage::Serving { live, .. } | Stage::Wedged { live, .. } => Some(live.running),
            _ => None,
        }
    }

    /// The generation beside that.
    fn beside(&self) -> Option<Generation> {
        let (new, old) = self.actor.as_ref()?.compared()?;
        let held = self.held()?;
        Some(if *new == held { *old } else { *new })
    }

    /// One whose updates are judged.
    fn judged(self) -> Self {
        let mut world = self;
        let policy = RolloutPolicy {
            canary_percent: vec![5],
            ..RolloutPolicy::default()
        };
        let actor = world.actor.as_mut().expect("it is new");
        actor.judge_by(Some(Arc::new(policy)));
        world
    }

    fn happens_in_an_update(&mut self, act: Act) -> Option<Input<Generation, Command>> {
        let (new, _) = self.actor.as_ref()?.compared()?;
        let generation = new.number;
        let text = || "told".to_owned();
        Some(match act {
            Act::Warms => Input::WarmedUp {
                generation,
                outcome: Ok(()),
            },
            Act::WarmsNot => Input::WarmedUp {
                generation,
                outcome: Err(text()),
            },
            Act::IsGood => Input::Judged {
                generation,
                step: self.step()?,
                judged: rollout::Judged::Good,
            },
            Act::IsWorse => Input::Judged {
                generation,
                step: self.step()?,
                judged: rollout::Judged::Worse(text()),
            },
            Act::PanicBeside => Input::Panicked {
                generation: self.beside()?.number,
                text: text(),
            },
            _ => {
                let generation = self.beside()?.number;
                self.hung.push(generation);
                let text = text();
                Input::LaneLost { generation, text }
            }
        })
    }

    /// The step of the update in which it is judged.
    fn step(&self) -> Option<u32> {
        let live = self.actor.as_ref()?.stage.live()?;
        Some(live.succession.as_ref()?.step())
    }

    fn update_of_held(&self) -> Option<super::Update<Made>> {
        match &self.actor.as_ref()?.stage {
            Stage::Serving { live, .. } | Stage::Wedged { live, .. } => live.update.clone(),
            _ => None,
        }
    }

    /// The generation that a call would be in.
    fn callable(&self) -> Option<u64> {
        let starting = self.starting.map(|_| self.started + 1);
        let held = self.held().map(|held| held.number);
        held.or_else(|| self.stopping.first().map(|stopping| stopping.number))
            .or(starting)
    }

    /// `false` if the act is impossible now.
    fn act(&mut self, act: Act) -> bool {
        let input = match act {
            Act::Load | Act::Unload | Act::Restart | Act::Enable | Act::Disable | Act::Change => {
                Some(self.command(act))
            }
            Act::Update | Act::Promote | Act::Abort | Act::Pause | Act::Resume => Some(self.command(act)),
            Act::Warms
            | Act::WarmsNot
            | Act::IsGood
            | Act::IsWorse
            | Act::PanicBeside
            | Act::LaneLostBeside => self.happens_in_an_update(act),
            Act::NewBytes | Act::OldBytes | Act::NewConfig | Act::OldConfig => Some(self.bytes(act)),
            Act::FileGone => Some(self.go(Gone::File)),
            Act::Shutdown => Some(self.go(Gone::Host)),
            Act::Panic | Act::LaneLost | Act::LateReturn | Act::IsDown | Act::IsDownNoLonger => {
                self.happens_in_a_call(act)
            }
            Act::Due => self.first_wake().map(Input::Due),
            Act::PutOff if self.serves() => self.first_wake().map(Input::PutOff),
            Act::PutOff => None,
            Act::Excused => Some(Input::Excused),
            Act::Lacks => Some(Input::Lacks(Some("waits for base".to_owned()))),
            Act::LacksNothing => Some(Input::Lacks(None)),
            Act::StartEnds
            | Act::StartFails
            | Act::StartIsSlow
            | Act::StopEnds
            | Act::TakesNoState
            | Act::IsKept => self.comes_of_it(act),
            Act::Takes | Act::TakesNone | Act::Refuses | Act::IsBrokenOff | Act::PanicsAtIt => {
                self.answers_to_configure(act)
            }
        };
        let Some(input) = input else { return false };
        self.history.push(act);
        let was_starting = self.starting;
        self.feed(input);
        match act {
            Act::Due => self.restarted += u32::from(was_starting.is_none() && self.starting.is_some()),
            Act::Load | Act::Restart | Act::Enable | Act::NewBytes | Act::OldBytes | Act::Excused => {
                self.restarted = 0;
            }
            Act::NewConfig | Act::OldConfig | Act::Change => self.restarted = 0,
            _ => {}
        }
        let most = SUPERVISION.max_restarts;
        assert!(self.restarted <= most, "more than its budget: {:?}", self.history);
        true
    }

    fn first_wake(&mut self) -> Option<Monotonic> {
        let first = self.wakes.iter().copied().min();
        self.wakes.retain(|wake| Some(*wake) != first);
        first
    }

    fn command(&mut self, act: Act) -> Input<Generation, Command> {
        let is_enabled = act == Act::Enable && !self.disabled;
        let command = Command {
            act,
            number: self.given,
            started: self.started,
            at_once: self.gone.is_some() || is_enabled,
            tried: match act {
                Act::Change => Some((self.file, self.config + 1)),
                Act::Update => Some((self.file, self.config)),
                _ => None,
            },
        };
        self.given += 1;
        self.commands.push(command);
        match act {
            Act::Load => Input::Load(command),
            Act::Unload => Input::Unload(command),
            Act::Enable => {
                self.disabled = false;
                Input::Enable(command, DesiredState::Running)
            }
            Act::Disable => {
                self.disabled = true;
                Input::Disable(command)
            }
            // Whoever tries one makes it the one that is wanted once it was taken.
            Act::Change => {
                let config = self.config + 1;
                Input::Change(
                    command,
                    Made {
                        config,
                        ..self.made()
                    },
                )
            }
            Act::Update => Input::Update {
                waiter: command,
                build: self.made(),
                direct: false,
            },
            Act::Promote => Input::Rollout(command, rollout::Command::Promote),
            Act::Abort => Input::Rollout(command, rollout::Command::Abort),
            Act::Pause => Input::Rollout(command, rollout::Command::Pause),
            Act::Resume => Input::Rollout(command, rollout::Command::Resume),
            _ => Input::Restart(command),
        }
    }

    fn bytes(&mut self, act: Act) -> Input<Generation, Command> {
        match act {
            Act::NewBytes => self.file += 1,
            Act::NewConfig => self.config += 1,
            Act::OldConfig => self.config = 1,
            _ => self.file = 1,
        }
        if self.gone == Some(Gone::File) {
            self.gone = None;
        }
        Input::Bytes(self.made())
    }

    /// What it is to be made from.
    fn made(&self) -> Made {
        Made {
            file: self.file,
            config: self.config,
            update: self.update,
        }
    }

    fn answers_to_configure(&mut self, act: Act) -> Option<Input<Generation, Command>> {
        let generation = (!self.configuring.is_empty()).then(|| self.configuring.remove(0))?;
        let text = || "refused".to_owned();
        let outcome = match act {
            Act::Takes => Ok(()),
            Act::TakesNone => Err(NotConfigured::Unsupported),
            Act::Refuses => Err(NotConfigured::Refused(text())),
            Act::IsBrokenOff => Err(NotConfigured::Unknown(text())),
            _ => Err(NotConfigured::Panicked(text())),
        };
        Some(Input::Configured { generation, outcome })
    }

    fn go(&mut self, gone: Gone) -> Input<Generation, Command> {
        if self.gone != Some(Gone::Host) {
            self.gone = Some(gone);
        }
        Input::Gone(gone)
    }

    fn happens_in_a_call(&mut self, act: Act) -> Option<Input<Generation, Command>> {
        Some(match act {
            Act::Panic => Input::Panicked {
                generation: self.held()?.number,
                text: "panicked".to_owned(),
            },
            Act::LaneLost => {
                let generation = self.callable()?;
                self.hung.push(generation);
                let text = "hangs".to_owned();
                Input::LaneLost { generation, text }
            }
            Act::IsDown | Act::IsDownNoLonger => Input::Down {
                generation: self.held()?.number,
                why: (act == Act::IsDown).then(|| "down".to_owned()),
            },
            _ => Input::LateReturn {
                generation: self.hung.pop()?,
                text: "late".to_owned(),
            },
        })
    }

    fn comes_of_it(&mut self, act: Act) -> Option<Input<Generation, Command>> {
        Some(match act {
            Act::StartEnds => {
                let build = self.starting.take()?;
                self.started += 1;
                self.loaded.push(self.started);
                self.left = None;
                Input::Started(Generation {
                    number: self.started,
                    build,
                })
            }
            Act::TakesNoState if self.inherits == Inherits::Nothing => return None,
            Act::StartFails | Act::TakesNoState => {
                self.starting.take()?;
                self.started += 1;
                let is_for_state = act == Act::TakesNoState;
                Input::NotStarted {
                    cause: "failed".to_owned(),
                    hopeless: (!is_for_state && self.started.is_multiple_of(3)).then_some(Hopeless::Bytes),
                    unloaded: Some(self.started),
                    state: is_for_state.then_some(StateNotTaken::Refused),
                }
            }
            Act::StartIsSlow => self.starting.map(|_| Input::Slow("slow".to_owned()))?,
            Act::IsKept => {
                let leaving = (!self.leaving.is_empty()).then(|| self.leaving.remove(0))?;
                let at = self.stopping.iter().position(|one| one.number == leaving);
                let running = self.stopping.remove(at.expect("it is being stopped"));
                let cause = "no state".to_owned();
                Input::Kept { running, cause }
            }
            _ => {
                let stopped = (!self.stopping.is_empty()).then(|| self.stopping.remove(0))?;
                let is_leaving = self.leaving.contains(&stopped.number);
                self.leaving.retain(|one| *one != stopped.number);
                self.left = is_leaving.then_some(stopped.number).or(self.left);
                self.loaded.retain(|loaded| *loaded != stopped.number);
                Input::Stopped {
                    generation: stopped.number,
                    complaints: Vec::new(),
                    unloaded: true,
                    left: is_leaving.then_some(stopped.number),
                }
            }
        })
    }

    fn feed(&mut self, input: Input<Generation, Command>) {
        let actor = self.actor.as_mut().expect("it was forgotten");
        let (updates, replaces) = (actor.serving().is_some(), actor.replaces.is_some());
        let effects = actor.next(input, NOW);
        let (is_serving, is_wedged) = match &actor.stage {
            Stage::Serving { .. } => (true, false),
            stage => (false, matches!(stage, Stage::Wedged { .. })),
        };
        let waits = actor.lack.is_some() && !updates && !replaces && actor.serving().is_none();
        let mut answers = Vec::new();
        let mut forgotten = false;
        for effect in effects {
            match effect {
                Effect::Start {
                    build,
                    by_operator,
                    inherits,
                } => {
                    // Of what serves, of what was stopped for it, or of nobody: whatever state there is goes to what is started.
                    let of_whom = match (is_serving, self.left) {
                        (true, _) => Inherits::OfServing,
                        (false, Some(left)) if !is_wedged => Inherits::Left(left),
                        _ => Inherits::Nothing,
                    };
                    assert_eq!(inherits, of_whom, "{:?}", self.history);
                    self.inherits = inherits;
                    let by_itself = !by_operator && waits && matches!(actor.stage, Stage::Starting { .. });
                    assert!(!by_itself, "what it requires is not there: {:?}", self.history);
                    let before = self.starting.replace(build);
                    assert_eq!(before, None, "two starts at once: {:?}", self.history);
                }
                Effect::Stop {
                    running,
                    condition,
                    hands_over,
                } => {
                    assert!(!hands_over || condition == Condition::Well, "{:?}", self.history);
                    self.leaving.extend(hands_over.then_some(running.number));
                    self.stopping.push(running);
                }
                Effect::StateLost(_) => {
                    let was_handed = self.inherits != Inherits::Nothing;
                    assert!(was_handed, "there was none: {:?}", self.history);
                    self.left = None;
                }
                Effect::Wake(due) => self.wakes.push(due),
                Effect::Answer(command, outcome) => answers.push((command, outcome)),
                Effect::Replaced { from, to, .. } => assert_ne!(from, to, "{:?}", self.history),
                Effect::Configure { .. } => {
                    let generation = actor.serving().expect("it serves").number;
                    let twice = self.configuring.contains(&generation);
                    assert!(!twice, "two configurations at once: {:?}", self.history);
                    self.configuring.push(generation);
                }
                Effect::NotTaken { .. } | Effect::Gap(_) | Effect::TakenBack { .. } => {}
                Effect::WarmUp | Effect::Judge { .. } => {
                    assert!(actor.rollout().is_some(), "{:?}", self.history);
                }
                Effect::Forget => forgotten = true,
            }
        }
        // What is stopped for good keeps nothing.
        if self.left.is_some() && self.actor.as_ref().is_some_and(|actor| actor.left.is_none()) {
            let actor = self.actor.as_ref().expect("it is there");
            let is_to_run = actor.gone.is_none() && actor.desired() == DesiredState::Running;
            assert!(
                !is_to_run && self.starting.is_none(),
                "its state is lost untold: {:?}",
                self.history
            );
            self.left = None;
        }
        self.is_accounted_for();
        let mut undone = false;
        for (command, outcome) in answers {
            undone |= command.act == Act::Change && outcome.is_err();
            self.is_true(command, outcome);
        }
        // Whoever has tried it in vain wants what was before.
        if undone && !forgotten && self.gone.is_none() {
            return self.feed(Input::Bytes(self.made()));
        }
        if forgotten {
            assert!(self.gone.is_some() && self.is_empty(), "{:?}", self.history);
            assert!(self.commands.is_empty(), "left waiting: {:?}", self.history);
            self.actor = None;
        }
    }

    /// What is loaded is either held by the actor or being stopped, and never both.
    fn is_accounted_for(&self) {
        let mut known: Vec<u64> = self.stopping.iter().map(|stopping| stopping.number).collect();
        known.extend(self.held().map(|held| held.number));
        known.extend(self.beside().map(|beside| beside.number));
        known.sort_unstable();
        assert_eq!(known, self.loaded, "{:?}", self.history);
        let actor = self.actor.as_ref().expect("it was forgotten");
        let stopping: Vec<u64> = self.stopping.iter().map(|stopping| stopping.number).collect();
        assert_eq!(actor.retiring, stopping, "{:?}", self.history);
        let starts = match &actor.stage {
            Stage::Starting { .. } => true,
            Stage::Serving { live, .. } | Stage::Wedged { live, .. } => {
                live.update.as_ref().is_some_and(|update| update.by == By::Start)
            }
            _ => false,
        };
        if let Some(update) = self.update_of_held()
            && update.by == By::Configure
        {
            let held = self.held().expect("it is held").number;
            assert!(
                self.configuring.contains(&held),
                "waits for nothing: {:?}",
                self.history
            );
        }
        assert_eq!(
            starts,
            self.starting.is_some(),
            "{:?}: {:?}",
            self.history,
            actor.stage
        );
        if self.update == Update::StopFirst {
            let at_once = self.loaded.len() + usize::from(starts);
            assert!(at_once <= 1, "two at once: {:?}", self.history);
        }
        let idle = !starts && stopping.is_empty();
        assert!(
            !idle || !matches!(actor.stage, Stage::Stopping { .. }),
            "stops nothing: {:?}",
            self.history
        );
        if let Stage::Waiting { .. } = &actor.stage {
            let is_wanted = actor.gone.is_none() && actor.desired() == DesiredState::Running;
            assert!(
                is_wanted && actor.lack.is_some(),
                "waits for nothing: {:?}",
                self.history
            );
        }
        self.waits_for_its_moments(actor);
        self.is_shown_as_it_is(actor, idle);
    }

    /// Whatever waits for a moment is told when it comes.
    fn waits_for_its_moments(&self, actor: &Actor<Generation, Command>) {
        let of_step = actor.rollout().and_then(|rollout| rollout.due());
        assert!(
            of_step.is_none_or(|due| self.wakes.contains(&due)),
            "never woken: {:?}",
            self.history
        );
        let due = match &actor.stage {
            Stage::Failed {
                next: Next::Restart { due, .. },
                ..
            }
            | Stage::Serving {
                down: Some(Down { due: Some(due), .. }),
                ..
            } => *due,
            _ => return,
        };
        assert!(self.wakes.contains(&due), "never woken: {:?}", self.history);
    }

    /// What an operator has stopped counts in no sum, and what has failed says how it comes back.
    fn is_shown_as_it_is(&self, actor: &Actor<Generation, Command>, idle: bool) {
        let lifecycle = actor.lifecycle();
        let is_disabled = actor.desired() == DesiredState::Disabled;
        assert_eq!(is_disabled, self.disabled, "{:?}", self.history);
        if idle && self.held().is_none() && actor.desired() != DesiredState::Running {
            let stopped = matches!(lifecycle, Lifecycle::Stopped | Lifecycle::Verified);
            assert!(stopped, "{lifecycle:?}: {:?}", self.history);
        }
        let has_failed = matches!(
            lifecycle,
            Lifecycle::Failed | Lifecycle::Backoff | Lifecycle::Quarantined
        );
        assert_eq!(has_failed, actor.next_step().is_some(), "{:?}", self.history);
    }

    fn is_empty(&self) -> bool {
        self.loaded.is_empty() && self.starting.is_none()
    }

    fn is_true(&mut self, command: Command, outcome: Result<(), String>) {
        let at = self.commands.iter().position(|known| *known == command);
        let at = at.unwrap_or_else(|| panic!("answered twice: {:?}", self.history));
        self.commands.remove(at);
        let serving = self
            .actor
            .as_ref()
            .and_then(|actor| actor.serving())
            .map(|serving| serving.number);
        let build = self
            .actor
            .as_ref()
            .and_then(|actor| actor.serving())
            .map(|serving| serving.build);
        let serves_tried =
            command.tried.is_some() && build.map(|made| (made.file, made.config)) == command.tried;
        let holds = match (&outcome, command.act) {
            // What has overtaken it may not serve yet.
            (Err(_), Act::Change | Act::Update) => !serves_tried || self.update_of_held().is_some(),
            (Err(_), _) => true,
            (Ok(()), Act::Enable | Act::Disable) if command.at_once => true,
            (Ok(()), Act::Promote | Act::Abort | Act::Pause | Act::Resume) => true,
            // It has started, or will be when the instance is.
            (Ok(()), Act::Update) => {
                let made = |build: Made| (build.file, build.config);
                let beside = self.beside().map(|beside| made(beside.build));
                let is_wanted = self.actor.as_ref().map(|actor| made(actor.build)) == command.tried;
                is_wanted && (serving.is_none() || serves_tried || beside == command.tried)
            }
            (Ok(()), Act::Load | Act::Enable) => serving.is_some(),
            (Ok(()), Act::Change) => {
                self.config = command.tried.map_or(self.config, |(_, config)| config);
                let build = self
                    .actor
                    .as_ref()
                    .map(|actor| (actor.build.file, actor.build.config));
                build == command.tried && (serving.is_none() || serves_tried)
            }
            (Ok(()), Act::Restart) => serving.is_some_and(|serving| serving > command.started),
            (Ok(()), _) => self.is_empty(),
        };
        assert!(holds, "{command:?} was answered {outcome:?}: {:?}", self.history);
        self.last = Some((command.act, outcome));
    }

    /// Has everything end that is under way. Starts end in this way.
    fn quiesce(&mut self, starts: Act) {
        let configures = match starts {
            Act::StartEnds => Act::Takes,
            _ => Act::Refuses,
        };
        for _ in 0..20 {
            let goes_on =
                |world: &mut World| world.act(Act::StopEnds) || world.act(configures) || world.act(starts);
            if self.actor.is_none() || !goes_on(self) {
                break;
            }
        }
        assert!(
            self.actor.is_none() || self.commands.is_empty(),
            "left waiting: {:?}",
            self.history
        );
    }

    fn serves(&self) -> bool {
        self.actor.as_ref().is_some_and(|actor| actor.serving().is_some())
    }

    /// From here a command leads to serving, and another to nothing being loaded.
    fn has_a_way_out(&self) {
        let mut failing = self.clone();
        failing.quiesce(Act::StartFails);
        for mut world in [self.clone(), failing] {
            world.quiesce(Act::StartEnds);
            if world.gone.is_some() {
                assert!(world.actor.is_none() && world.is_empty(), "{:?}", world.history);
                continue;
            }
            for act in [Act::Load, Act::Restart, Act::Unload, Act::Disable] {
                let mut world = world.clone();
                world.act(act);
                world.quiesce(Act::StartEnds);
                if matches!(&world.last, Some((_, Err(text))) if text == DISABLED) {
                    world.act(Act::Enable);
                    world.quiesce(Act::StartEnds);
                }
                let wedged = matches!(&world.last, Some((Act::Load, Err(text))) if text == WEDGED);
                if act == Act::Load && wedged {
                    world.act(Act::Restart);
                    world.quiesce(Act::StartEnds);
                }
                assert!(
                    matches!(world.last, Some((_, Ok(())))),
                    "{act:?} came to {:?}: {:?}",
                    world.last,
                    world.history
                );
                let stops = matches!(act, Act::Unload | Act::Disable);
                assert_eq!(world.serves(), !stops, "{:?}", world.history);
                assert_eq!(world.is_empty(), stops, "{:?}", world.history);
            }
        }
    }

    /// Two worlds with the same picture go on in the same way: numbers count from the newest generation.
    fn picture(&self) -> String {
        let mut world = self.clone();
        let (newest, file, config) = (world.started, world.file, world.config);
        let age = |number: &mut u64| *number = newest.wrapping_sub(*number);
        let from = |number: &mut u8, newest: u8| {
            *number = match *number {
                1 => 200,
                number => newest.wrapping_sub(number),
            }
        };
        let bytes = |build: &mut Made| {
            from(&mut build.file, file);
            from(&mut build.config, config);
        };
        let generation = |generation: &mut Generation| {
            age(&mut generation.number);
            bytes(&mut generation.build);
        };
        let Some(actor) = &mut world.actor else {
            return String::new();
        };
        bytes(&mut actor.build);
        if let Some(rejected) = &mut actor.rejected {
            bytes(&mut rejected.build);
            rejected.text.clear();
        }
        let asked = std::mem::take(&mut actor.asked).into_iter();
        let mut asked: Vec<_> = asked.map(|asked| (asked.build, asked.starts)).collect();
        asked.iter_mut().for_each(|(build, _)| bytes(build));
        actor.replaces.iter_mut().for_each(bytes);
        actor.resumed.iter_mut().for_each(bytes);
        actor.retiring.iter_mut().for_each(age);
        age(&mut actor.unloaded);
        match &mut actor.stage {
            Stage::Starting { build, .. } => bytes(build),
            Stage::Serving { live, .. } | Stage::Wedged { live, .. } => {
                generation(&mut live.running);
                live.update.iter_mut().for_each(|update| bytes(&mut update.build));
                if let Some(succession) = &mut live.succession {
                    succession.renumber(bytes, generation, age);
                }
            }
            _ => {}
        }
        let waiting: Vec<_> = actor
            .waiting
            .iter()
            .map(|command| (command.act, newest - command.started))
            .collect();
        actor.waiting.clear();
        actor.left.iter_mut().for_each(age);
        world.left.iter_mut().for_each(age);
        world.leaving.iter_mut().for_each(age);
        if let Inherits::Left(left) = &mut world.inherits {
            age(left);
        }
        world.starting.iter_mut().for_each(bytes);
        world.stopping.iter_mut().for_each(generation);
        world.hung.iter_mut().for_each(age);
        world.configuring.iter_mut().for_each(age);
        format!(
            "{:?} {waiting:?} {asked:?} {:?} {:?} {:?} {:?} {:?} {:?} {:?} {:?} {:?} {} {} {}",
            world.actor,
            world.left,
            world.leaving,
            world.starting.as_ref().map(|_| &world.inherits),
            world.starting,
            world.stopping,
            world.configuring,
            world.hung,
            world.wakes,
            world.gone,
            world.restarted,
            file == 1,
            config == 1
        )
    }
}

/// Each picture is explored once as far as is left, and looked at once.
fn explore(world: World, acts: &[Act], left: usize, seen: &mut HashMap<String, usize>) {
    if world.actor.is_none() {
        return;
    }
    let explored = seen.entry(world.picture()).or_insert(usize::MAX);
    let is_new = *explored == usize::MAX;
    if !is_new && *explored >= left {
        return;
    }
    *explored = left;
    if is_new {
        world.has_a_way_out();
    }
    if left == 0 {
        return;
    }
    for act in acts {
        let mut next = world.clone();
        if next.act(*act) {
            explore(next, acts, left - 1, seen);
        }
    }
}

#[test]
fn every_interleaving_has_a_way_out_forgets_nothing_and_answers_truly() {
    every_interleaving_of(&ACTS, LENGTH);
}

#[test]
fn every_interleaving_with_configurations_has_a_way_out_forgets_nothing_and_answers_truly() {
    every_interleaving_of(&CONFIGURING, LENGTH);
}

#[test]
fn every_interleaving_with_states_handed_over_loses_none_untold() {
    every_interleaving_of(&HANDING_OVER, LENGTH);
}

#[test]
fn every_interleaving_with_judged_updates_has_a_way_out_forgets_nothing_and_answers_truly() {
    let begun = [Act::StartEnds, Act::NewBytes];
    let canary = [&begun[..], &[Act::StartEnds, Act::Warms]].concat();
    let probation = [&canary[..], &[Act::Promote]].concat();
    let settled = [&probation[..], &[Act::Promote]].concat();
    let mut seen = HashMap::new();
    for before in [&begun[..1], &begun, &canary, &probation, &settled] {
        let mut world = World::new(DesiredState::Running, Update::StartFirst).judged();
        for act in before {
            assert!(world.act(*act), "{act:?} is impossible after {:?}", world.history);
        }
        explore(world, &JUDGED, 4, &mut seen);
    }
    assert!(seen.len() > 5_000, "{} is too few to be all of them", seen.len());
}

fn every_interleaving_of(acts: &[Act], length: usize) {
    let mut seen = HashMap::new();
    for update in [Update::StartFirst, Update::StopFirst] {
        for desired in [
            DesiredState::Running,
            DesiredState::Stopped,
            DesiredState::Disabled,
        ] {
            explore(World::new(desired, update), acts, length, &mut seen);
        }
    }
    assert!(seen.len() > 10_000, "{} is too few to be all of them", seen.len());
}

/// The world after these acts, whose versions are started beside one another.
fn after(acts: &[Act]) -> World {
    world_after(Update::StartFirst, acts)
}

fn world_after(update: Update, acts: &[Act]) -> World {
    let mut world = World::new(DesiredState::Running, update);
    for act in acts {
        assert!(world.act(*act), "{act:?} is impossible after {:?}", world.history);
    }
    world
}

#[test]
fn update_that_fails_after_the_old_one_panicked_ends_failed_with_both_causes() {
    let world = after(&[
        Act::StartEnds,
        Act::NewBytes,
        Act::Panic,
        Act::StartFails,
        Act::StopEnds,
    ]);
    let actor = world.actor.unwrap();
    assert_eq!(actor.lifecycle(), Lifecycle::Backoff);
    let cause = actor.cause().unwrap();
    assert!(cause.contains("failed") && cause.contains("panicked"), "{cause}");
}

#[test]
fn update_that_fails_after_a_wedged_call_returned_ends_failed() {
    let world = after(&[
        Act::StartEnds,
        Act::LaneLost,
        Act::NewBytes,
        Act::LateReturn,
        Act::StopEnds,
        Act::StartFails,
    ]);
    assert_eq!(world.actor.unwrap().lifecycle(), Lifecycle::Backoff);
}

#[test]
fn restart_during_update_ends_running_a_generation_that_is_newer() {
    let mut world = after(&[Act::StartEnds, Act::NewBytes, Act::Restart]);
    world.act(Act::StartEnds);
    assert_eq!(world.last, Some((Act::Restart, Ok(()))));
    assert!(world.serves());
}

#[test]
fn restart_during_update_that_fails_restarts_what_served() {
    let mut world = after(&[Act::StartEnds, Act::NewBytes, Act::Restart, Act::StartFails]);
    assert_eq!(world.last, None);
    world.quiesce(Act::StartEnds);
    assert_eq!(world.last, Some((Act::Restart, Ok(()))));
    assert_eq!(world.held().unwrap().build.file, 1);
}

#[test]
fn bytes_that_were_not_taken_are_tried_again_by_an_operator_alone() {
    let mut world = after(&[Act::StartEnds, Act::NewBytes, Act::StartFails]);
    let new = made(2, Update::StartFirst);
    world.feed(Input::Bytes(new));
    assert_eq!(world.starting, None);
    world.act(Act::Load);
    assert_eq!(world.starting, Some(new));
    world.act(Act::StartEnds);
    assert_eq!(world.held().unwrap().build, new);
}

#[test]
fn one_stopped_by_an_operator_stays_so_when_other_bytes_come() {
    let world = after(&[Act::StartEnds, Act::Unload, Act::StopEnds, Act::NewBytes]);
    assert_eq!(world.actor.unwrap().lifecycle(), Lifecycle::Stopped);
}

#[test]
fn unload_is_overtaken_by_a_load_and_says_so() {
    let mut world = after(&[Act::StartEnds, Act::Unload, Act::Load]);
    let (act, outcome) = world.last.clone().unwrap();
    assert_eq!(act, Act::Unload);
    assert!(outcome.unwrap_err().contains("overtaken"));
    world.quiesce(Act::StartEnds);
    assert!(world.serves());
}

#[test]
fn version_that_stops_first_is_started_when_the_one_before_it_is_stopped() {
    let mut world = world_after(Update::StopFirst, &[Act::StartEnds, Act::NewBytes]);
    assert_eq!((world.starting, world.stopping.len()), (None, 1));
    let actor = world.actor.as_ref().unwrap();
    assert_eq!(actor.lifecycle(), Lifecycle::Draining);
    assert!(
        actor.cause().unwrap().contains("version 2"),
        "{:?}",
        actor.cause()
    );
    world.act(Act::StopEnds);
    assert_eq!(world.starting, Some(made(2, Update::StopFirst)));
    world.act(Act::StartEnds);
    assert_eq!(world.held().unwrap().build.file, 2);
}

#[test]
fn unload_while_a_version_that_stops_first_waits_leaves_it_unstarted() {
    let mut world = world_after(Update::StopFirst, &[Act::StartEnds, Act::NewBytes, Act::Unload]);
    world.act(Act::StopEnds);
    assert_eq!(world.last, Some((Act::Unload, Ok(()))));
    assert!(world.is_empty());
}

#[test]
fn generation_is_stopped_by_what_is_known_of_it() {
    let condition = |act| {
        let world = after(&[Act::StartEnds, act]);
        let mut actor = world.actor.unwrap();
        let input = match act {
            Act::LaneLost => Input::LateReturn {
                generation: 1,
                text: String::new(),
            },
            Act::Load => Input::Panicked {
                generation: 1,
                text: String::new(),
            },
            _ => Input::Gone(Gone::File),
        };
        let stop = actor
            .next(input, NOW)
            .into_iter()
            .find_map(|effect| match effect {
                Effect::Stop { condition, .. } => Some(condition),
                _ => None,
            });
        stop.unwrap()
    };
    assert_eq!(condition(Act::LaneLost), Condition::Failed);
    assert_eq!(condition(Act::Load), Condition::Panicked);
    assert_eq!(condition(Act::OldBytes), Condition::Well);
}

fn lifecycle(world: &World) -> Lifecycle {
    world.actor.as_ref().unwrap().lifecycle()
}

#[test]
fn instance_that_panicked_is_started_again_when_its_moment_comes() {
    let mut world = after(&[Act::StartEnds, Act::Panic, Act::StopEnds]);
    assert_eq!((lifecycle(&world), world.starting), (Lifecycle::Backoff, None));
    world.act(Act::Due);
    assert!(world.starting.is_some());
    world.act(Act::StartEnds);
    assert!(world.serves());
}

#[test]
fn one_that_is_down_goes_on_serving_while_that_is_put_off_and_has_failed_afterwards() {
    let mut world = after(&[Act::StartEnds, Act::IsDown, Act::PutOff]);
    assert!(world.serves());
    assert!(world.act(Act::Due), "it waits as long again");
    assert!(!world.serves());
}

#[test]
fn spent_budget_quarantines_with_the_last_cause_and_other_bytes_or_a_person_give_it_anew() {
    let fails = [
        Act::StartFails,
        Act::Due,
        Act::StartFails,
        Act::Due,
        Act::Excused,
        Act::StartFails,
    ];
    assert_eq!(
        lifecycle(&after(&fails)),
        Lifecycle::Quarantined,
        "its bytes are refused"
    );
    let panics = [Act::StartEnds, Act::Panic, Act::StopEnds, Act::Due];
    let acts = [&panics[..], &panics, &panics[..3]].concat();
    let mut world = after(&acts);
    assert_eq!(lifecycle(&world), Lifecycle::Quarantined);
    assert_eq!(world.actor.as_ref().unwrap().cause(), Some("panicked"));
    for way in [Act::Load, Act::Restart, Act::NewBytes] {
        let mut world = world.clone();
        world.act(way);
        world.act(Act::StartEnds);
        assert!(world.serves(), "{way:?}");
        assert!(world.act(Act::Panic) && world.act(Act::StopEnds));
        assert_eq!(
            lifecycle(&world),
            Lifecycle::Backoff,
            "{way:?} gives the budget anew"
        );
    }
    assert!(!world.act(Act::Due), "nothing is waited for");
}

#[test]
fn restart_and_update_spend_nothing_of_the_budget() {
    let mut world = after(&[Act::StartEnds]);
    for act in [Act::Restart, Act::NewBytes, Act::Restart, Act::OldBytes] {
        world.act(act);
        world.quiesce(Act::StartEnds);
    }
    let next = |world: &mut World| {
        assert!(world.act(Act::Panic) && world.act(Act::StopEnds));
        world.actor.as_ref().unwrap().next_step()
    };
    assert!(matches!(next(&mut world), Some(Next::Restart { number: 1, .. })));
}

#[test]
fn instance_that_stays_down_has_failed_and_one_that_recovers_has_not() {
    let mut world = after(&[Act::StartEnds, Act::IsDown, Act::Due]);
    let actor = world.actor.as_ref().unwrap();
    assert_eq!(actor.lifecycle(), Lifecycle::Draining);
    assert_eq!(actor.cause(), Some("it was down for 60 s: down"));
    world.act(Act::StopEnds);
    assert_eq!(lifecycle(&world), Lifecycle::Backoff);
    let world = after(&[Act::StartEnds, Act::IsDown, Act::IsDownNoLonger, Act::Due]);
    assert!(world.serves());
}

#[test]
fn policy_never_leaves_it_failed() {
    let config = SupervisionConfig {
        restart: Restart::Never,
        ..SUPERVISION
    };
    let mut world = after(&[]);
    world.actor.as_mut().unwrap().restarts = Restarts::new(config, "it");
    let mut down = world.clone();
    world.act(Act::StartFails);
    assert_eq!((lifecycle(&world), world.wakes.len()), (Lifecycle::Failed, 0));
    assert!(down.act(Act::StartEnds) && down.act(Act::IsDown));
    assert!(down.serves() && down.wakes.is_empty(), "it is left as it is");
}

#[test]
fn disabled_instance_is_started_by_nothing_but_its_being_enabled() {
    let mut world = after(&[Act::StartEnds, Act::Disable, Act::StopEnds]);
    let disabled = world.clone();
    for act in [Act::Load, Act::Restart] {
        world.act(act);
        assert_eq!(world.last, Some((act, Err(DISABLED.to_owned()))));
    }
    for act in [Act::NewBytes, Act::Unload] {
        world.act(act);
    }
    let actor = world.actor.as_ref().unwrap();
    assert_eq!(
        (actor.lifecycle(), actor.cause()),
        (Lifecycle::Stopped, Some(BY_DISABLE))
    );
    assert_eq!((actor.desired(), world.starting), (DesiredState::Disabled, None));
    world = disabled;
    world.act(Act::Enable);
    world.act(Act::StartEnds);
    assert_eq!(world.last, Some((Act::Enable, Ok(()))));
}

#[test]
fn disabled_instance_that_had_failed_is_stopped_and_is_not_started_when_its_moment_comes() {
    let mut world = after(&[Act::StartFails, Act::Disable]);
    let actor = world.actor.as_ref().unwrap();
    assert_eq!(actor.lifecycle(), Lifecycle::Stopped);
    let cause = actor.cause().unwrap();
    assert_eq!(cause, "disabled by an operator; before that it failed: failed");
    assert!(world.act(Act::Due) && world.starting.is_none());
}

#[test]
fn good_run_before_a_lane_was_lost_counts_though_the_call_returns_much_later() {
    let mut actor = after(&[Act::StartFails, Act::Due, Act::StartEnds]).actor.unwrap();
    let at = |seconds| NOW.after(Duration::from_secs(seconds));
    let text = || "hangs".to_owned();
    actor.next(
        Input::LaneLost {
            generation: 2,
            text: text(),
        },
        at(5),
    );
    actor.next(
        Input::LateReturn {
            generation: 2,
            text: text(),
        },
        at(500),
    );
    let stopped = Input::Stopped {
        generation: 2,
        complaints: Vec::new(),
        unloaded: true,
        left: None,
    };
    actor.next(stopped, at(501));
    assert!(
        matches!(actor.next_step(), Some(Next::Restart { number: 2, .. })),
        "it ran well for 5 s alone: {:?}",
        actor.next_step()
    );
}

#[test]
fn start_waits_for_what_is_required_and_begins_when_that_is_there() {
    let mut actor: Actor<Generation, Command> = Actor::new(
        made(1, Update::StartFirst),
        DesiredState::Running,
        Restarts::new(SUPERVISION, "it"),
        NOW,
    );
    actor.next(Input::Lacks(Some("waits for base".to_owned())), NOW);
    let effects = actor.next(Input::Bytes(made(1, Update::StartFirst)), NOW);
    assert!(effects.is_empty(), "{effects:?}");
    assert_eq!(
        (actor.lifecycle(), actor.cause(), actor.is_awaited()),
        (Lifecycle::Waiting, Some("waits for base"), false)
    );
    actor.next(Input::Lacks(Some("suppressed by base".to_owned())), NOW);
    assert_eq!(actor.cause(), Some("suppressed by base"));
    let effects = actor.next(Input::Lacks(None), NOW);
    assert!(matches!(
        effects[..],
        [Effect::Start {
            by_operator: false,
            ..
        }]
    ));
}

#[test]
fn failure_while_something_is_lacking_spends_no_restart_and_is_tried_when_that_is_there() {
    let mut world = after(&[Act::StartEnds, Act::Lacks, Act::Panic, Act::StopEnds]);
    let actor = world.actor.as_ref().unwrap();
    assert_eq!(
        (actor.lifecycle(), actor.cause(), world.wakes.len()),
        (
            Lifecycle::Waiting,
            Some("waits for base; before that it failed: panicked"),
            0
        )
    );
    world.act(Act::LacksNothing);
    world.act(Act::StartFails);
    let next = world.actor.as_ref().unwrap().next_step();
    assert!(matches!(next, Some(Next::Restart { number: 1, .. })), "{next:?}");
}

#[test]
fn one_that_serves_goes_on_while_something_is_lacking_however_long_it_is_down() {
    let mut world = after(&[Act::StartEnds, Act::Lacks, Act::IsDown]);
    assert!(world.act(Act::Due) && world.serves());
    world.act(Act::LacksNothing);
    assert!(world.act(Act::Due) && !world.serves(), "then it counts again");
}

#[test]
fn person_starts_what_waits_and_stops_it_with_its_failure_told() {
    let mut world = after(&[Act::Lacks, Act::StartFails]);
    assert_eq!(lifecycle(&world), Lifecycle::Waiting);
    let mut stopped = world.clone();
    world.act(Act::Load);
    world.act(Act::StartEnds);
    assert_eq!(world.last, Some((Act::Load, Ok(()))));
    stopped.act(Act::Unload);
    assert_eq!(stopped.last, Some((Act::Unload, Ok(()))));
    assert_eq!(
        stopped.actor.as_ref().unwrap().cause(),
        Some("stopped by an operator; before that it failed: failed")
    );
}

/// The configuration that serves.
fn config(world: &World) -> Option<u8> {
    world.held().map(|held| held.build.config)
}

#[test]
fn configuration_is_taken_by_the_generation_that_serves() {
    let world = after(&[Act::StartEnds, Act::NewConfig, Act::Takes]);
    assert_eq!(
        (config(&world), world.started, world.serves()),
        (Some(2), 1, true)
    );
    assert!(world.starting.is_none() && world.stopping.is_empty());
    assert_eq!(world.actor.unwrap().configuration_not_taken(), None);
}

#[test]
fn configuration_that_is_refused_leaves_the_one_before_and_is_told_until_that_is_wanted_again() {
    let mut world = after(&[Act::StartEnds, Act::NewConfig, Act::Refuses]);
    assert_eq!(
        (config(&world), world.started, world.serves()),
        (Some(1), 1, true)
    );
    let told = |world: &World| {
        let actor = world.actor.as_ref().unwrap();
        actor.configuration_not_taken().map(str::to_owned)
    };
    assert!(told(&world).is_some_and(|text| text.ends_with("refused")));
    world.act(Act::OldConfig);
    assert_eq!((told(&world), world.configuring.len()), (None, 0));
}

#[test]
fn plugin_that_takes_none_is_made_anew_beside_and_goes_on_if_that_fails() {
    let acts = [Act::StartEnds, Act::NewConfig, Act::TakesNone];
    let mut world = after(&acts);
    assert!(world.serves() && world.starting.is_some());
    let mut failed = world.clone();
    world.act(Act::StartEnds);
    assert_eq!((config(&world), world.stopping.len()), (Some(2), 1));
    failed.act(Act::StartFails);
    assert_eq!((config(&failed), failed.serves()), (Some(1), true));
    assert!(failed.actor.unwrap().configuration_not_taken().is_some());
}

#[test]
fn what_excludes_itself_is_stopped_first_and_started_again_as_it_was_where_that_fails() {
    let acts = [Act::StartEnds, Act::NewConfig, Act::TakesNone];
    let mut world = world_after(Update::StopFirst, &acts);
    assert!(!world.serves() && world.starting.is_none());
    world.act(Act::StopEnds);
    world.act(Act::StartFails);
    assert_eq!(world.starting.map(|made| made.config), Some(1), "back at once");
    world.act(Act::StartEnds);
    assert_eq!((config(&world), world.serves()), (Some(1), true));
    assert!(world.actor.unwrap().configuration_not_taken().is_some());
}

#[test]
fn what_may_have_taken_half_of_a_configuration_is_made_anew_as_it_was() {
    let mut world = after(&[Act::StartEnds, Act::NewConfig, Act::IsBrokenOff]);
    assert!(world.serves());
    assert_eq!(world.starting.map(|made| made.config), Some(1));
    world.act(Act::StartEnds);
    assert_eq!((config(&world), world.held().unwrap().number), (Some(1), 2));
    assert!(world.actor.unwrap().configuration_not_taken().is_some());
}

#[test]
fn what_panics_at_its_configuration_is_started_at_once_as_it_was() {
    for acts in [
        &[Act::StartEnds, Act::NewConfig, Act::PanicsAtIt, Act::StopEnds][..],
        &[
            Act::StartEnds,
            Act::NewConfig,
            Act::Panic,
            Act::StopEnds,
            Act::Due,
        ],
    ] {
        let mut world = after(acts);
        assert_eq!(world.starting.map(|made| made.config), Some(1), "{acts:?}");
        world.act(Act::StartEnds);
        assert!(world.actor.unwrap().configuration_not_taken().is_some());
    }
}

#[test]
fn who_waits_for_a_change_is_answered_when_it_was_taken_or_not() {
    let last = |acts: &[Act]| after(acts).last.filter(|(act, _)| *act == Act::Change);
    let begun = [Act::StartEnds, Act::Change];
    assert_eq!(last(&begun), None);
    let with = |act: Act| [&begun[..], &[act]].concat();
    assert_eq!(last(&with(Act::Takes)), Some((Act::Change, Ok(()))));
    assert!(matches!(last(&with(Act::Refuses)), Some((_, Err(text))) if text.ends_with("refused")));
    assert!(matches!(last(&with(Act::NewBytes)), Some((_, Err(text))) if text == OVERTAKEN));
    let stopped = [Act::StartEnds, Act::Unload, Act::StopEnds, Act::Change];
    assert_eq!(
        last(&stopped),
        Some((Act::Change, Ok(()))),
        "from its next start on"
    );
    let undone = after(&with(Act::Refuses));
    assert_eq!(
        undone.actor.unwrap().configuration_not_taken(),
        None,
        "it is not wanted"
    );
}

/// One whose new version has started beside the old one, and what happened then.
fn updating(acts: &[Act]) -> World {
    let mut world = World::new(DesiredState::Running, Update::StartFirst).judged();
    for act in [Act::StartEnds, Act::NewBytes, Act::StartEnds].iter().chain(acts) {
        assert!(world.act(*act), "{act:?} is impossible after {:?}", world.history);
    }
    world
}

fn file(world: &World) -> (Option<u8>, Option<u8>) {
    let of = |generation: Generation| generation.build.file;
    (world.held().map(of), world.beside().map(of))
}

#[test]
fn judged_version_serves_when_it_is_good_and_its_time_is_over() {
    let world = updating(&[Act::Warms, Act::IsGood]);
    assert_eq!(file(&world), (Some(1), Some(2)));
    let mut world = updating(&[Act::Warms, Act::IsGood, Act::Due]);
    assert_eq!(file(&world), (Some(2), Some(1)), "the old one stays warm");
    assert!(world.act(Act::IsGood) && world.act(Act::Due) && world.act(Act::StopEnds));
    assert_eq!((file(&world), world.loaded.len()), ((Some(2), None), 1));
}

#[test]
fn judged_version_that_is_worse_or_down_is_taken_back_from_wherever_it_is() {
    let canary = [Act::Warms];
    let probation = [Act::Warms, Act::Promote];
    for before in [&[][..], &canary, &probation] {
        let is_running = before.len() == 2;
        let panics = if is_running { Act::Panic } else { Act::PanicBeside };
        for bad in [Act::IsWorse, panics, Act::Abort] {
            let mut world = updating(&[before, &[bad]].concat());
            assert_eq!(
                (file(&world), world.stopping.len()),
                ((Some(1), None), 1),
                "{before:?} {bad:?}"
            );
            assert!(world.act(Act::StopEnds) && world.serves());
            assert_eq!(world.starting, None, "it is not tried again");
        }
    }
}

#[test]
fn judged_version_serves_at_once_when_the_old_one_is_down() {
    for before in [&[][..], &[Act::Warms]] {
        let world = updating(&[before, &[Act::Panic]].concat());
        assert_eq!(
            (file(&world), world.serves()),
            ((Some(2), None), true),
            "{before:?}"
        );
    }
}

/// An operator goes back to the first file, at once.
fn goes_back(world: &mut World) {
    world.file = 1;
    let Input::Update { waiter, build, .. } = world.command(Act::Update) else {
        unreachable!("it is one")
    };
    let direct = true;
    world.feed(Input::Update {
        waiter,
        build,
        direct,
    });
}

#[test]
fn going_back_while_the_old_version_is_drained_is_not_judged() {
    let mut world = updating(&[Act::Warms, Act::Promote, Act::Promote]);
    assert_eq!((file(&world), world.stopping.len()), ((Some(2), None), 1));
    goes_back(&mut world);
    assert!(world.act(Act::StopEnds) && world.act(Act::StartEnds));
    assert_eq!(
        (file(&world), world.last.take()),
        ((Some(1), None), Some((Act::Update, Ok(()))))
    );
}

#[test]
fn other_bytes_after_going_back_was_asked_for_are_judged() {
    let mut world = updating(&[Act::Warms, Act::Promote, Act::Promote]);
    goes_back(&mut world);
    world.file = 2;
    for act in [Act::NewBytes, Act::StopEnds, Act::StartEnds] {
        assert!(world.act(act), "{act:?}");
    }
    assert_eq!(file(&world), (Some(2), Some(3)));
}

#[test]
fn restart_while_a_judged_version_is_loading_that_fails_is_answered_when_what_served_is_started_again() {
    let mut world = World::new(DesiredState::Running, Update::StartFirst).judged();
    for act in [Act::StartEnds, Act::NewBytes, Act::Restart, Act::StartFails] {
        assert!(world.act(act), "{act:?}");
    }
    assert_eq!(world.last, None, "it is being stopped");
    assert!(world.act(Act::StopEnds) && world.act(Act::StartEnds));
    assert_eq!(world.last, Some((Act::Restart, Ok(()))));
    assert_eq!(file(&world), (Some(1), None));
}

#[test]
fn who_waits_for_an_update_is_answered_for_that_version_alone() {
    for judged in [false, true] {
        let mut world = World::new(DesiredState::Running, Update::StartFirst);
        if judged {
            world = world.judged();
        }
        for act in [Act::StartEnds, Act::NewBytes, Act::Update] {
            assert!(world.act(act), "{act:?}");
        }
        world.file = 3;
        world.act(Act::Update);
        assert_eq!(
            world.last.take(),
            Some((Act::Update, Err(OVERTAKEN.to_owned()))),
            "who waits for 2"
        );
        assert!(world.act(Act::StartEnds));
        while world.starting.is_none() {
            assert!(world.act(Act::StopEnds));
        }
        assert_eq!(world.last, None, "3 has not started");
        assert!(world.act(Act::StartEnds));
        assert_eq!(world.last, Some((Act::Update, Ok(()))), "judged: {judged}");
    }
}

#[test]
fn what_the_judge_said_of_an_earlier_step_does_not_count_for_a_later_one_unless_it_is_worse() {
    let late = |judged| {
        let mut world = updating(&[Act::Warms]);
        let (step, generation) = (world.step().unwrap(), world.beside().unwrap().number);
        assert!(world.act(Act::IsGood) && world.act(Act::Due));
        assert_eq!(file(&world), (Some(2), Some(1)), "in probation");
        world.feed(Input::Judged {
            generation,
            step,
            judged,
        });
        assert!(world.act(Act::Due));
        world
    };
    let held = late(rollout::Judged::Good);
    assert_eq!((file(&held), held.stopping.len()), ((Some(2), Some(1)), 0));
    let back = late(rollout::Judged::Worse("slow".to_owned()));
    assert_eq!(file(&back), (Some(1), None));
}
