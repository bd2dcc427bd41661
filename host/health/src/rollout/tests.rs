//! The way of an update in words, and then all of it: every state that can be reached, with every input.

use super::*;
use std::collections::{HashMap, HashSet, VecDeque};
use std::time::Duration;

const STEP: u64 = 30;
const PROBATION: u64 = 40;

fn policy() -> RolloutPolicy {
    RolloutPolicy {
        canary_percent: vec![5, 25],
        step_ms: STEP,
        probation_ms: PROBATION,
        warm_up_ms: 20,
        ..RolloutPolicy::default()
    }
}

fn at(ms: u64) -> Moment {
    Moment::from_nanos(1).after(Duration::from_millis(ms))
}

/// What happens, or is asked for.
#[derive(Debug, Clone, PartialEq)]
enum Act {
    Input(Input),
    Command(Command),
}

impl From<Input> for Act {
    fn from(input: Input) -> Self {
        Act::Input(input)
    }
}

impl From<Command> for Act {
    fn from(command: Command) -> Self {
        Act::Command(command)
    }
}

/// A rollout that is fed at the moment 0, and what the last act had for effects.
struct Fed {
    rollout: Rollout,
    effects: Vec<Effect>,
    refused: Option<Refusal>,
}

impl Fed {
    fn new() -> Self {
        Fed {
            rollout: Rollout::begin(),
            effects: Vec::new(),
            refused: None,
        }
    }

    fn feed(mut self, acts: impl IntoIterator<Item = impl Into<Act>>) -> Self {
        for act in acts {
            (self.effects, self.refused) = act_on(&mut self.rollout, act.into());
        }
        self
    }

    fn taken_back(&self) -> Option<&Back> {
        self.effects.iter().find_map(|effect| match effect {
            Effect::TakenBack(back) => Some(back),
            _ => None,
        })
    }
}

fn act_on(rollout: &mut Rollout, act: Act) -> (Vec<Effect>, Option<Refusal>) {
    match act {
        Act::Input(input) => (rollout.next(input, at(0), &policy()), None),
        Act::Command(command) => match rollout.command(command, at(0), &policy()) {
            Ok(effects) => (effects, None),
            Err(refusal) => (Vec::new(), Some(refusal)),
        },
    }
}

fn good() -> Input {
    Input::Judged(Judged::Good)
}

fn worse() -> Input {
    Input::Judged(Judged::Worse("slow".to_owned()))
}

fn not_enough() -> Input {
    Input::Judged(Judged::NotEnough)
}

fn down(role: Role) -> Input {
    Input::Down(role, "it panicked".to_owned())
}

fn due(ms: u64) -> Input {
    Input::Due(at(ms))
}

fn to_canary() -> [Input; 2] {
    [Input::Started, Input::Warm]
}

fn to_probation() -> Vec<Input> {
    let steps = [good(), due(STEP), good(), due(STEP)];
    to_canary().into_iter().chain(steps).collect()
}

#[test]
fn good_version_goes_all_the_way() {
    let fed = Fed::new().feed([Input::Started]);
    assert_eq!(fed.effects, [Effect::WarmUp]);
    let fed = fed.feed([Input::Warm]);
    let step = |percent, aim| {
        [
            Effect::Route(Share::percent(percent)),
            Effect::Judge(aim),
            Effect::Wake(at(STEP)),
        ]
    };
    assert_eq!(fed.effects, step(5, Aim::Widen));
    let fed = fed.feed([good()]);
    assert_eq!(fed.effects, [], "its time is not over");
    let fed = fed.feed([due(STEP)]);
    assert_eq!(fed.effects, step(25, Aim::Switch));
    let fed = fed.feed([due(STEP)]);
    assert_eq!(fed.effects, [], "nobody has said good of this step");
    let fed = fed.feed([good()]);
    assert_eq!(
        fed.effects,
        [
            Effect::Route(Share::ALL),
            Effect::Judge(Aim::Settle),
            Effect::Wake(at(PROBATION)),
        ]
    );
    let fed = fed.feed([due(PROBATION), good()]);
    assert_eq!(fed.effects, [Effect::Retire(Role::Old)]);
    let fed = fed.feed([Input::Retired]);
    assert_eq!(fed.rollout.phase(), Phase::Over);
}

#[test]
fn worse_one_is_taken_back_from_probation_and_while_paused() {
    let fed = Fed::new()
        .feed(to_probation())
        .feed([Command::Pause])
        .feed([worse()]);
    assert_eq!(
        fed.effects,
        [
            Effect::Route(Share::NONE),
            Effect::TakenBack(Back::Worse("slow".to_owned())),
            Effect::Retire(Role::New),
        ]
    );
    assert_eq!(fed.feed([Input::Retired]).rollout.phase(), Phase::Over);
}

#[test]
fn silence_holds_for_ever_and_an_operator_ends_it() {
    let silence = || std::iter::repeat_n([due(STEP), not_enough()], 100).flatten();
    let held = || Fed::new().feed(to_canary()).feed(silence());
    assert!(matches!(held().rollout.phase(), Phase::Canary { step: 0, .. }));
    let promoted = held().feed([Command::Promote]);
    assert_eq!(promoted.effects[0], Effect::Route(Share::ALL));
    let aborted = held().feed([Command::Abort]);
    assert_eq!(aborted.taken_back(), Some(&Back::Aborted));
    assert_eq!(aborted.effects[0], Effect::Route(Share::NONE));
}

#[test]
fn good_that_is_taken_back_by_the_judge_itself_counts_no_longer() {
    let fed = Fed::new()
        .feed(to_canary())
        .feed([good(), not_enough(), due(STEP)]);
    assert!(matches!(fed.rollout.phase(), Phase::Canary { step: 0, .. }));
}

#[test]
fn pause_holds_what_is_ready_and_resuming_goes_on() {
    let paused = Fed::new()
        .feed([Input::Started])
        .feed([Command::Pause])
        .feed([Input::Warm]);
    assert_eq!(paused.rollout.phase(), Phase::WarmingUp { ready: true });
    let again = paused.feed([Command::Pause]);
    assert_eq!(again.refused, Some(Refusal::Paused));
    let fed = again.feed([Command::Resume]);
    assert!(matches!(fed.rollout.phase(), Phase::Canary { step: 0, .. }));
    assert!(!fed.rollout.is_paused());
    let fed = fed.feed([Command::Pause]).feed([good(), due(STEP)]);
    assert!(matches!(fed.rollout.phase(), Phase::Canary { step: 0, .. }));
    let fed = fed.feed([Command::Resume]);
    assert!(matches!(fed.rollout.phase(), Phase::Canary { step: 1, .. }));
}

#[test]
fn new_version_can_not_be_promoted_before_it_is_ready() {
    for acts in [&[][..], &[Input::Started]] {
        let fed = Fed::new().feed(acts.iter().cloned()).feed([Command::Promote]);
        assert_eq!(fed.refused, Some(Refusal::NotReady));
    }
}

#[test]
fn one_that_is_overtaken_is_taken_back_from_wherever_it_is() {
    for acts in [Vec::new(), to_canary().to_vec(), to_probation()] {
        let fed = Fed::new().feed(acts).feed([Input::Overtaken]);
        assert_eq!(fed.taken_back(), Some(&Back::Overtaken));
    }
}

#[test]
fn where_the_old_version_is_down_the_new_one_has_all_calls_at_once() {
    for acts in [vec![Input::Started], to_canary().to_vec()] {
        let fed = Fed::new().feed(acts).feed([down(Role::Old)]);
        assert_eq!(
            fed.effects,
            [Effect::Route(Share::ALL), Effect::Retire(Role::Old)]
        );
        // There is nothing to go back to.
        assert_eq!(fed.feed([worse()]).effects, []);
    }
    let probation = Fed::new().feed(to_probation()).feed([down(Role::Old)]);
    assert_eq!(probation.effects, [Effect::Retire(Role::Old)]);
}

#[test]
fn policy_without_steps_switches_at_once_and_values_have_bounds() {
    let policy = RolloutPolicy {
        canary_percent: Vec::new(),
        ..policy()
    };
    let mut rollout = Rollout::begin();
    for input in to_canary() {
        let _ = rollout.next(input, at(0), &policy);
    }
    assert!(matches!(rollout.phase(), Phase::Probation { .. }));
    for (name, value, least, most) in RolloutPolicy::default().bounds() {
        assert!((least..=most).contains(&value), "{name}");
    }
}

// All of it.

/// A rollout, and what its effects have made of the world.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct World {
    rollout: Rollout,
    /// The new generation has started; the old one is not gone.
    has_new: bool,
    has_old: bool,
    share: Share,
}

impl World {
    fn start() -> Self {
        World {
            rollout: Rollout::begin(),
            has_new: false,
            has_old: true,
            share: Share::NONE,
        }
    }

    /// All that there is.
    fn acts() -> Vec<Act> {
        use Command::{Abort, Pause, Promote, Resume};
        let inputs = [
            Input::Started,
            Input::Warm,
            good(),
            not_enough(),
            worse(),
            down(Role::Old),
            down(Role::New),
            Input::Overtaken,
            Input::Retired,
            due(STEP),
            due(PROBATION),
        ];
        let commands = [Pause, Resume, Promote, Abort].map(Act::from);
        inputs.map(Act::from).into_iter().chain(commands).collect()
    }

    /// Carries it out, and holds each effect against what may be.
    fn next(&self, act: &Act) -> (World, Vec<Effect>) {
        let mut world = self.clone();
        let (effects, _) = act_on(&mut world.rollout, act.clone());
        let says = || format!("{self:?}\n{act:?}\n{effects:?}");
        world.has_new |= *act == Act::Input(Input::Started) && self.rollout.phase() == Phase::Loading;
        for effect in &effects {
            match effect {
                Effect::Route(share) => {
                    let serves = if *share == Share::NONE {
                        world.has_old
                    } else {
                        world.has_new
                    };
                    assert!(serves, "calls to nobody: {}", says());
                    world.share = *share;
                }
                Effect::Retire(Role::New) => {
                    assert_eq!(world.share, Share::NONE, "it is called: {}", says());
                    world.has_new = false;
                }
                Effect::Retire(Role::Old) => {
                    assert_eq!(world.share, Share::ALL, "it is called: {}", says());
                    world.has_old = false;
                }
                _ => {}
            }
        }
        (world, effects)
    }

    /// What brings it on by time alone.
    fn due(&self) -> Option<Act> {
        match self.rollout.phase() {
            Phase::Canary { stand, .. } | Phase::Probation { stand } => Some(Input::Due(stand.due).into()),
            _ => None,
        }
    }
}

/// All that can be reached.
fn explored() -> HashSet<World> {
    let acts = World::acts();
    let mut seen = HashSet::from([World::start()]);
    let mut open: VecDeque<World> = seen.iter().cloned().collect();
    while let Some(world) = open.pop_front() {
        for act in &acts {
            let (next, _) = world.next(act);
            if seen.insert(next.clone()) {
                open.push_back(next);
            }
        }
    }
    seen
}

#[test]
fn every_state_with_every_input() {
    let all = explored();
    let mut phases: HashMap<&'static str, usize> = HashMap::new();
    for world in &all {
        *phases.entry(name(world.rollout.phase())).or_default() += 1;
        bad_news_takes_back(world);
        silence_neither_promotes_nor_takes_back(world);
        operators_and_evidence_end_what_holds(world);
        answers_end_what_waits_for_them(world);
        assert!(world.has_old || world.has_new, "nobody is left: {world:?}");
    }
    assert_eq!(phases.len(), 6, "{phases:?}");
    assert!(all.len() > 25, "{phases:?}");
}

fn name(phase: Phase) -> &'static str {
    match phase {
        Phase::Loading => "loading",
        Phase::WarmingUp { .. } => "warming up",
        Phase::Canary { .. } => "canary",
        Phase::Probation { .. } => "probation",
        Phase::Retiring(_) => "retiring",
        Phase::Over => "over",
    }
}

fn bad_news_takes_back(world: &World) {
    let bad = [
        Act::from(worse()),
        Act::from(down(Role::New)),
        Act::from(Command::Abort),
        Act::from(Input::Overtaken),
    ];
    for act in bad {
        let (next, effects) = world.next(&act);
        if !world.rollout.phase().is_under_way() {
            assert_eq!((&next, &effects[..]), (world, &[][..]), "{act:?}");
            continue;
        }
        assert_eq!(effects[0], Effect::Route(Share::NONE), "{world:?} {act:?}");
        assert_eq!(next.rollout.phase(), Phase::Retiring(Role::New));
    }
}

fn silence_neither_promotes_nor_takes_back(world: &World) {
    let Some(due) = world.due() else { return };
    let (mut held, _) = world.next(&not_enough().into());
    for _ in 0..3 {
        held = held.next(&due).0;
        held = held.next(&not_enough().into()).0;
    }
    assert_eq!(name(held.rollout.phase()), name(world.rollout.phase()));
    assert_eq!(held.share, world.share);
}

fn operators_and_evidence_end_what_holds(world: &World) {
    match world.rollout.phase() {
        Phase::Canary { .. } | Phase::Probation { .. } | Phase::WarmingUp { ready: true } => {}
        _ => return,
    }
    let (promoted, _) = world.next(&Command::Promote.into());
    assert_ne!(name(promoted.rollout.phase()), name(world.rollout.phase()));
    // Resumed, good and over, again and again: it comes to an end as promoted.
    let mut world = world.next(&Command::Resume.into()).0;
    for _ in 0..4 {
        if let Some(due) = world.due() {
            world = world.next(&due).0;
            world = world.next(&good().into()).0;
        }
    }
    assert_eq!(world.rollout.phase(), Phase::Retiring(Role::Old), "{world:?}");
}

/// Whoever carries out what is waited for answers within its limits, and both answers bring it on.
fn answers_end_what_waits_for_them(world: &World) {
    let answers = match world.rollout.phase() {
        Phase::Loading => [Input::Started, down(Role::New)],
        Phase::WarmingUp { ready: false } => [Input::Warm, down(Role::New)],
        Phase::Retiring(_) => [Input::Retired, Input::Retired],
        _ => return,
    };
    for answer in answers {
        let (next, _) = world.next(&answer.into());
        assert_ne!(next.rollout.phase(), world.rollout.phase(), "{world:?}");
    }
}
