//! Every interleaving of up to [`LENGTH`] inputs, against a model that counts what is loaded and remembers what was promised.

use super::*;
use extman_plugin_api::manifest::schema::Update;
use std::collections::HashSet;

const LENGTH: usize = 6;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Bytes(u8, Update);

impl Build for Bytes {
    fn is(&self, other: &Self) -> bool {
        self == other
    }

    fn version(&self) -> String {
        self.0.to_string()
    }

    fn stops_first(&self) -> bool {
        self.1 == Update::StopFirst
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Generation {
    number: u64,
    build: Bytes,
}

impl Loaded for Generation {
    type Build = Bytes;

    fn build(&self) -> &Bytes {
        &self.build
    }

    fn generation(&self) -> u64 {
        self.number
    }

    fn moved_to(&mut self, build: &Bytes) {
        self.build = *build;
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Act {
    Load,
    Unload,
    Restart,
    NewBytes,
    OldBytes,
    FileGone,
    Shutdown,
    Panic,
    LaneLost,
    LateReturn,
    StartEnds,
    StartFails,
    StartIsSlow,
    StopEnds,
}

const ACTS: [Act; 14] = [
    Act::Load,
    Act::Unload,
    Act::Restart,
    Act::NewBytes,
    Act::OldBytes,
    Act::FileGone,
    Act::Shutdown,
    Act::Panic,
    Act::LaneLost,
    Act::LateReturn,
    Act::StartEnds,
    Act::StartFails,
    Act::StartIsSlow,
    Act::StopEnds,
];

/// A command that has not been answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Command {
    act: Act,
    number: u32,
    /// Generations that had been started when it was given.
    started: u64,
}

/// An instance, and what the world around it knows.
#[derive(Clone)]
struct World {
    actor: Option<Actor<Generation, Command>>,
    update: Update,
    file: u8,
    starting: Option<Bytes>,
    stopping: Vec<Generation>,
    /// Generations that were started and have not been stopped.
    loaded: Vec<u64>,
    started: u64,
    hung: Vec<u64>,
    commands: Vec<Command>,
    given: u32,
    gone: Option<Gone>,
    last: Option<(Act, Result<(), String>)>,
    history: Vec<Act>,
}

impl World {
    fn new(desired: DesiredState, update: Update) -> Self {
        let mut world = World {
            actor: Some(Actor::new(Bytes(1, update), desired)),
            update,
            file: 1,
            starting: None,
            stopping: Vec::new(),
            loaded: Vec::new(),
            started: 0,
            hung: Vec::new(),
            commands: Vec::new(),
            given: 0,
            gone: None,
            last: None,
            history: Vec::new(),
        };
        world.feed(Input::Bytes(Bytes(1, update)));
        world
    }

    /// What the actor says is loaded.
    fn held(&self) -> Option<Generation> {
        match &self.actor.as_ref()?.stage {
            Stage::Serving { live, .. } | Stage::Wedged { live, .. } => Some(live.running),
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
            Act::Load | Act::Unload | Act::Restart => Some(self.command(act)),
            Act::NewBytes | Act::OldBytes => Some(self.bytes(act)),
            Act::FileGone => Some(self.go(Gone::File)),
            Act::Shutdown => Some(self.go(Gone::Host)),
            Act::Panic | Act::LaneLost | Act::LateReturn => self.happens_in_a_call(act),
            Act::StartEnds | Act::StartFails | Act::StartIsSlow | Act::StopEnds => self.comes_of_it(act),
        };
        let Some(input) = input else { return false };
        self.history.push(act);
        self.feed(input);
        true
    }

    fn command(&mut self, act: Act) -> Input<Generation, Command> {
        let command = Command {
            act,
            number: self.given,
            started: self.started,
        };
        self.given += 1;
        self.commands.push(command);
        match act {
            Act::Load => Input::Load(command),
            Act::Unload => Input::Unload(command),
            _ => Input::Restart(command),
        }
    }

    fn bytes(&mut self, act: Act) -> Input<Generation, Command> {
        self.file = match act {
            Act::NewBytes => self.file + 1,
            _ => 1,
        };
        if self.gone == Some(Gone::File) {
            self.gone = None;
        }
        Input::Bytes(Bytes(self.file, self.update))
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
                Input::Started(Generation {
                    number: self.started,
                    build,
                })
            }
            Act::StartFails => {
                self.starting.take()?;
                self.started += 1;
                Input::NotStarted {
                    cause: "failed".to_owned(),
                    refused: self.started.is_multiple_of(3),
                    unloaded: Some(self.started),
                }
            }
            Act::StartIsSlow => self.starting.map(|_| Input::Slow("slow".to_owned()))?,
            _ => {
                let stopped = (!self.stopping.is_empty()).then(|| self.stopping.remove(0))?;
                self.loaded.retain(|loaded| *loaded != stopped.number);
                Input::Stopped {
                    generation: stopped.number,
                    complaints: Vec::new(),
                    unloaded: true,
                }
            }
        })
    }

    fn feed(&mut self, input: Input<Generation, Command>) {
        let actor = self.actor.as_mut().expect("it was forgotten");
        let effects = actor.next(input);
        let mut answers = Vec::new();
        let mut forgotten = false;
        for effect in effects {
            match effect {
                Effect::Start { build, .. } => {
                    let before = self.starting.replace(build);
                    assert_eq!(before, None, "two starts at once: {:?}", self.history);
                }
                Effect::Stop { running, .. } => self.stopping.push(running),
                Effect::Answer(command, outcome) => answers.push((command, outcome)),
                Effect::Replaced { from, to } => assert_ne!(from, to, "{:?}", self.history),
                Effect::Forget => forgotten = true,
            }
        }
        self.is_accounted_for();
        for (command, outcome) in answers {
            self.is_true(command, outcome);
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
        known.sort_unstable();
        assert_eq!(known, self.loaded, "{:?}", self.history);
        let actor = self.actor.as_ref().expect("it was forgotten");
        let stopping: Vec<u64> = self.stopping.iter().map(|stopping| stopping.number).collect();
        assert_eq!(actor.retiring, stopping, "{:?}", self.history);
        let starts = match &actor.stage {
            Stage::Starting { .. } => true,
            Stage::Serving { live, .. } | Stage::Wedged { live, .. } => live.update.is_some(),
            _ => false,
        };
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
        let holds = match (&outcome, command.act) {
            (Err(_), _) => true,
            (Ok(()), Act::Load) => serving.is_some(),
            (Ok(()), Act::Restart) => serving.is_some_and(|serving| serving > command.started),
            (Ok(()), _) => self.is_empty(),
        };
        assert!(holds, "{command:?} was answered {outcome:?}: {:?}", self.history);
        self.last = Some((command.act, outcome));
    }

    /// Has everything end that is under way. Starts end in this way.
    fn quiesce(&mut self, starts: Act) {
        for _ in 0..20 {
            if self.actor.is_none() || !(self.act(Act::StopEnds) || self.act(starts)) {
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
            for act in [Act::Load, Act::Restart, Act::Unload] {
                let mut world = world.clone();
                world.act(act);
                world.quiesce(Act::StartEnds);
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
                assert_eq!(world.serves(), act != Act::Unload, "{:?}", world.history);
                assert_eq!(world.is_empty(), act == Act::Unload, "{:?}", world.history);
            }
        }
    }

    /// Two worlds with the same picture go on in the same way: numbers count from the newest generation.
    fn picture(&self) -> String {
        let mut world = self.clone();
        let (newest, file) = (world.started, world.file);
        let age = |number: &mut u64| *number = newest.wrapping_sub(*number);
        let bytes = |build: &mut Bytes| {
            build.0 = if build.0 == 1 {
                200
            } else {
                file.wrapping_sub(build.0)
            }
        };
        let generation = |generation: &mut Generation| {
            age(&mut generation.number);
            bytes(&mut generation.build);
        };
        let Some(actor) = &mut world.actor else {
            return String::new();
        };
        bytes(&mut actor.build);
        actor.rejected.iter_mut().for_each(bytes);
        actor.replaces.iter_mut().for_each(bytes);
        actor.retiring.iter_mut().for_each(age);
        age(&mut actor.unloaded);
        match &mut actor.stage {
            Stage::Starting { build, .. } => bytes(build),
            Stage::Serving { live, .. } | Stage::Wedged { live, .. } => {
                generation(&mut live.running);
                live.update.iter_mut().for_each(|update| bytes(&mut update.build));
            }
            _ => {}
        }
        let waiting: Vec<_> = actor
            .waiting
            .iter()
            .map(|command| (command.act, newest - command.started))
            .collect();
        actor.waiting.clear();
        world.starting.iter_mut().for_each(bytes);
        world.stopping.iter_mut().for_each(generation);
        world.hung.iter_mut().for_each(age);
        format!(
            "{:?} {waiting:?} {:?} {:?} {:?} {:?} {}",
            world.actor,
            world.starting,
            world.stopping,
            world.hung,
            world.gone,
            file == 1
        )
    }
}

fn explore(world: World, left: usize, seen: &mut HashSet<(usize, String)>, count: &mut usize) {
    if world.actor.is_none() || !seen.insert((left, world.picture())) {
        return;
    }
    *count += 1;
    world.has_a_way_out();
    if left == 0 {
        return;
    }
    for act in ACTS {
        let mut next = world.clone();
        if next.act(act) {
            explore(next, left - 1, seen, count);
        }
    }
}

#[test]
fn every_interleaving_has_a_way_out_forgets_nothing_and_answers_truly() {
    let (mut seen, mut count) = (HashSet::new(), 0);
    for update in [Update::StartFirst, Update::StopFirst] {
        for desired in [DesiredState::Running, DesiredState::Stopped] {
            explore(World::new(desired, update), LENGTH, &mut seen, &mut count);
        }
    }
    assert!(count > 10_000, "{count} is too few to be all of them");
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
    assert_eq!(actor.lifecycle(), Lifecycle::Failed);
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
    assert_eq!(world.actor.unwrap().lifecycle(), Lifecycle::Failed);
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
    assert_eq!(world.held().unwrap().build.0, 1);
}

#[test]
fn bytes_that_were_not_taken_are_tried_again_by_an_operator_alone() {
    let mut world = after(&[Act::StartEnds, Act::NewBytes, Act::StartFails]);
    let new = Bytes(2, Update::StartFirst);
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
    assert_eq!(world.starting, Some(Bytes(2, Update::StopFirst)));
    world.act(Act::StartEnds);
    assert_eq!(world.held().unwrap().build.0, 2);
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
        let stop = actor.next(input).into_iter().find_map(|effect| match effect {
            Effect::Stop { condition, .. } => Some(condition),
            _ => None,
        });
        stop.unwrap()
    };
    assert_eq!(condition(Act::LaneLost), Condition::Failed);
    assert_eq!(condition(Act::Load), Condition::Panicked);
    assert_eq!(condition(Act::OldBytes), Condition::Well);
}
