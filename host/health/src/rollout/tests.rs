//! The way of an update in words, and then all of it: every state that can be reached, with every input.

use super::*;
use std::collections::{HashMap, HashSet, VecDeque};

const START: u64 = 10;
const WARM_UP: u64 = 20;
const STEP: u64 = 30;
const PROBATION: u64 = 40;
const DRAIN: u64 = 50;
const UNLOAD: u64 = 60;

fn policy() -> RolloutPolicy {
    RolloutPolicy {
        canary_percent: vec![5, 25],
        step_ms: STEP,
        probation_ms: PROBATION,
        start_ms: START,
        warm_up_ms: WARM_UP,
        drain_ms: DRAIN,
        unload_ms: UNLOAD,
    }
}

fn at(ms: u64) -> Moment {
    Moment::from_nanos(1).after(Duration::from_millis(ms))
}

/// A rollout that is fed at the moment 0, and what the last input had for effects.
struct Fed {
    rollout: Rollout<u8>,
    effects: Vec<Effect<u8>>,
}

impl Fed {
    fn new() -> Self {
        Fed {
            rollout: Rollout::new(0, Vec::new()),
            effects: Vec::new(),
        }
    }

    fn feed(mut self, inputs: impl IntoIterator<Item = Input<u8>>) -> Self {
        for input in inputs {
            (self.rollout, self.effects) = self.rollout.next(input, at(0), &policy());
        }
        self
    }

    fn told(&self) -> Vec<News<u8>> {
        let news = self.effects.iter().filter_map(|effect| match effect {
            Effect::Tell(news) => Some(news.clone()),
            _ => None,
        });
        news.collect()
    }

    fn answer(&self) -> Option<Result<(), Refusal>> {
        self.effects.iter().find_map(|effect| match effect {
            Effect::Answer(answer) => Some(*answer),
            _ => None,
        })
    }
}

const FIRST: Attempt = Attempt(1);

fn offer(build: u8) -> Input<u8> {
    Input::Offer {
        build,
        by_operator: false,
    }
}

fn asked_for(build: u8) -> Input<u8> {
    Input::Offer {
        build,
        by_operator: true,
    }
}

fn good() -> Input<u8> {
    Input::Judged(FIRST, Judged::Good)
}

fn worse() -> Input<u8> {
    Input::Judged(FIRST, Judged::Worse("slow".to_owned()))
}

fn due(ms: u64) -> Input<u8> {
    Input::Due(at(ms))
}

fn command(command: Command) -> Input<u8> {
    Input::Command(command)
}

fn to_canary() -> [Input<u8>; 3] {
    [offer(1), Input::Started(FIRST), Input::Warm(FIRST)]
}

fn to_probation() -> Vec<Input<u8>> {
    let steps = [good(), due(STEP), good(), due(STEP)];
    to_canary().into_iter().chain(steps).collect()
}

fn gone(role: Role) -> [Input<u8>; 2] {
    [Input::Drained(FIRST, role), Input::Unloaded(FIRST, role)]
}

#[test]
fn good_version_goes_all_the_way() {
    let fed = Fed::new().feed([offer(1)]);
    assert_eq!(fed.effects, [Effect::Load(FIRST, 1), Effect::Wake(at(START))]);
    let fed = fed.feed([Input::Started(FIRST)]);
    assert_eq!(fed.effects, [Effect::WarmUp(FIRST), Effect::Wake(at(WARM_UP))]);
    let fed = fed.feed([Input::Warm(FIRST)]);
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
            Effect::Tell(News::Switched(1)),
            Effect::Judge(Aim::Settle),
            Effect::Wake(at(PROBATION)),
        ]
    );
    let fed = fed.feed([due(PROBATION), good()]);
    let promoted = News::Promoted {
        build: 1,
        unjudged: false,
    };
    assert_eq!(
        fed.effects,
        [
            Effect::Tell(promoted),
            Effect::Drain(FIRST, Role::Old),
            Effect::Wake(at(DRAIN)),
        ]
    );
    let fed = fed.feed(gone(Role::Old));
    assert_eq!(
        (fed.rollout.serving(), fed.rollout.phase()),
        (&1, &Phase::Settled)
    );
}

#[test]
fn worse_one_is_taken_back_from_probation_and_while_paused_and_stays_out_until_asked_for() {
    let fed = Fed::new()
        .feed(to_probation())
        .feed([command(Command::Pause), worse()]);
    assert_eq!(
        fed.effects,
        [
            Effect::Route(Share::NONE),
            Effect::Bar(1, true),
            Effect::Tell(News::TakenBack(1, Back::Worse("slow".to_owned()))),
            Effect::Drain(FIRST, Role::New),
            Effect::Wake(at(DRAIN)),
        ]
    );
    assert_eq!(fed.rollout.serving(), &0);
    let fed = fed.feed(gone(Role::New)).feed([offer(1)]);
    assert_eq!(
        (&fed.effects[..], fed.rollout.phase()),
        (&[][..], &Phase::Settled)
    );
    let fed = fed.feed([asked_for(1)]);
    assert_eq!(
        fed.effects,
        [
            Effect::Bar(1, false),
            Effect::Load(Attempt(2), 1),
            Effect::Wake(at(START)),
        ]
    );
}

#[test]
fn silence_holds_for_ever_and_an_operator_ends_it() {
    let silence = || std::iter::repeat_n([due(STEP), Input::Judged(FIRST, Judged::NotEnough)], 100).flatten();
    let held = || Fed::new().feed(to_canary()).feed(silence());
    assert!(matches!(held().rollout.phase(), Phase::Canary { step: 0, .. }));
    let promoted = held().feed([command(Command::Promote)]);
    assert_eq!(promoted.told(), [News::Switched(1)]);
    assert_eq!(promoted.answer(), Some(Ok(())));
    let aborted = held().feed([command(Command::Abort)]);
    assert_eq!(aborted.told(), [News::TakenBack(1, Back::Aborted)]);
    assert_eq!(aborted.effects[0], Effect::Route(Share::NONE));
}

#[test]
fn good_that_is_taken_back_by_the_judge_itself_counts_no_longer() {
    let not_enough = Input::Judged(FIRST, Judged::NotEnough);
    let fed = Fed::new().feed(to_canary()).feed([good(), not_enough, due(STEP)]);
    assert!(matches!(fed.rollout.phase(), Phase::Canary { step: 0, .. }));
}

#[test]
fn pause_holds_what_is_ready_past_its_time_and_resuming_goes_on() {
    let paused = Fed::new().feed([
        offer(1),
        Input::Started(FIRST),
        command(Command::Pause),
        Input::Warm(FIRST),
        due(WARM_UP),
    ]);
    assert!(matches!(
        paused.rollout.phase(),
        Phase::WarmingUp { ready: true, .. }
    ));
    let again = paused.feed([command(Command::Pause)]);
    assert_eq!(again.answer(), Some(Err(Refusal::Paused)));
    let fed = again.feed([command(Command::Resume)]);
    assert!(matches!(fed.rollout.phase(), Phase::Canary { step: 0, .. }));
    assert!(!fed.rollout.is_paused());
    let fed = fed.feed([command(Command::Pause), good(), due(STEP)]);
    assert!(matches!(fed.rollout.phase(), Phase::Canary { step: 0, .. }));
    let fed = fed.feed([command(Command::Resume)]);
    assert!(matches!(fed.rollout.phase(), Phase::Canary { step: 1, .. }));
}

#[test]
fn start_and_warm_up_have_deadlines() {
    let late = Fed::new().feed([offer(1), due(START)]);
    assert_eq!(late.told(), [News::TakenBack(1, Back::StartTooSlow)]);
    let late = Fed::new().feed([offer(1), Input::Started(FIRST), due(WARM_UP)]);
    assert_eq!(late.told(), [News::TakenBack(1, Back::WarmUpTooSlow)]);
}

#[test]
fn newer_version_takes_the_place_of_one_under_way_and_waits_for_its_end() {
    let fed = Fed::new().feed(to_canary()).feed([offer(2)]);
    assert_eq!(fed.told(), [News::TakenBack(1, Back::Overtaken)]);
    let loads = |fed: &Fed| {
        fed.effects
            .iter()
            .any(|effect| matches!(effect, Effect::Load(..)))
    };
    assert!(!loads(&fed));
    let fed = fed.feed(gone(Role::New));
    assert!(
        fed.effects.contains(&Effect::Load(Attempt(2), 2)),
        "{:?}",
        fed.effects
    );
    // The one that was overtaken is not barred.
    let back = [Role::New].map(|role| Input::Down(Attempt(2), role, "it panicked".to_owned()));
    let fed = fed.feed(back).feed([
        Input::Drained(Attempt(2), Role::New),
        Input::Unloaded(Attempt(2), Role::New),
        offer(1),
    ]);
    assert!(loads(&fed));
    // In probation all calls are the new one's already: it comes to its end first.
    let fed = Fed::new().feed(to_probation()).feed([offer(2)]);
    assert_eq!(fed.effects, []);
    let fed = fed.feed([due(PROBATION), good()]).feed(gone(Role::Old));
    assert!(
        fed.effects.contains(&Effect::Load(Attempt(2), 2)),
        "{:?}",
        fed.effects
    );
}

#[test]
fn offer_of_what_serves_ends_the_update_and_bars_nobody() {
    let fed = Fed::new()
        .feed(to_canary())
        .feed([offer(0)])
        .feed(gone(Role::New));
    assert_eq!(
        (fed.rollout.serving(), fed.rollout.phase()),
        (&0, &Phase::Settled)
    );
    let fed = Fed::new().feed(to_probation()).feed([offer(0)]);
    assert_eq!(fed.told(), [News::TakenBack(1, Back::Overtaken)]);
    let fed = fed.feed(gone(Role::New)).feed([offer(1)]);
    assert!(matches!(fed.rollout.phase(), Phase::Loading { candidate: 1, .. }));
}

#[test]
fn where_the_old_version_is_down_the_new_one_has_all_calls_as_soon_as_it_is_ready() {
    let down = || Input::Down(FIRST, Role::Old, "it panicked".to_owned());
    let unjudged = [News::Promoted {
        build: 1,
        unjudged: true,
    }];
    let canary = Fed::new().feed(to_canary()).feed([down()]);
    assert_eq!(canary.effects[0], Effect::Route(Share::ALL));
    assert_eq!(canary.told(), unjudged);
    let early = Fed::new().feed([offer(1), down(), command(Command::Pause)]);
    let early = early.feed([Input::Started(FIRST), Input::Warm(FIRST)]);
    assert_eq!(early.told(), unjudged);
    // There is nothing to go back to.
    assert_eq!(early.feed([worse()]).effects, []);
    let probation = Fed::new().feed(to_probation()).feed([down()]);
    assert_eq!(probation.told(), unjudged);
}

#[test]
fn what_was_let_go_is_gone_back_to_while_it_drains_and_not_afterwards() {
    let draining = || Fed::new().feed(to_probation()).feed([due(PROBATION), good()]);
    let back = draining().feed([worse()]);
    assert_eq!(back.effects[0], Effect::Route(Share::NONE));
    assert_eq!(back.rollout.serving(), &0);
    let fed = back.feed([Input::Drained(FIRST, Role::Old)]);
    assert_eq!(fed.effects, [], "that one serves again");
    assert!(matches!(
        fed.rollout.phase(),
        Phase::Retiring { who: Role::New, .. }
    ));
    let unloading = draining().feed([Input::Drained(FIRST, Role::Old), worse()]);
    assert_eq!(
        (&unloading.effects[..], unloading.rollout.serving()),
        (&[][..], &1)
    );
    assert_eq!(
        unloading.feed([command(Command::Abort)]).answer(),
        Some(Err(Refusal::Nothing))
    );
}

#[test]
fn policy_without_steps_switches_at_once_and_values_have_bounds() {
    let policy = RolloutPolicy {
        canary_percent: Vec::new(),
        ..policy()
    };
    let mut rollout = Rollout::new(0_u8, Vec::new());
    for input in to_canary() {
        rollout = rollout.next(input, at(0), &policy).0;
    }
    assert!(matches!(rollout.phase(), Phase::Probation { .. }));
    for (name, value, least, most) in RolloutPolicy::default().bounds() {
        assert!((least..=most).contains(&value), "{name}");
    }
}

#[test]
fn so_many_are_barred_at_most() {
    let many = (1..=200).fold(Rollout::new(0_u32, Vec::new()), |rollout, build| {
        let attempt = Attempt(build.into());
        let inputs = [
            Input::Offer {
                build,
                by_operator: false,
            },
            Input::Down(attempt, Role::New, String::new()),
            Input::Drained(attempt, Role::New),
            Input::Unloaded(attempt, Role::New),
        ];
        inputs
            .into_iter()
            .fold(rollout, |rollout, input| rollout.next(input, at(0), &policy()).0)
    });
    assert_eq!(many.barred.len(), BARRED_MAX);
    assert_eq!(many.barred.last(), Some(&200));
}

// All of it.

/// A rollout, and what its effects have made of the world.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct World {
    rollout: Rollout<u8>,
    /// The new generation is loaded, and ready.
    new: bool,
    new_ready: bool,
    share: Share,
}

const CURRENT: Attempt = Attempt(1);
const STALE: Attempt = Attempt(0);

impl World {
    fn start() -> Self {
        World {
            rollout: Rollout {
                attempt: CURRENT,
                ..Rollout::new(0, Vec::new())
            },
            new: false,
            new_ready: false,
            share: Share::NONE,
        }
    }

    /// Every input that there is.
    fn inputs() -> Vec<Input<u8>> {
        let mut inputs = vec![Input::End];
        for build in 0..3 {
            inputs.extend([offer(build), asked_for(build)]);
        }
        for attempt in [CURRENT, STALE] {
            inputs.extend([Input::Started(attempt), Input::Warm(attempt)]);
            let judged = [Judged::Good, Judged::NotEnough, Judged::Worse(String::new())];
            inputs.extend(judged.map(|judged| Input::Judged(attempt, judged)));
            for role in [Role::Old, Role::New] {
                inputs.extend([
                    Input::Down(attempt, role, String::new()),
                    Input::Drained(attempt, role),
                    Input::Unloaded(attempt, role),
                ]);
            }
        }
        inputs.extend([START, WARM_UP, STEP, PROBATION, DRAIN, UNLOAD].map(due));
        use Command::{Abort, Pause, Promote, Resume};
        inputs.extend([Pause, Resume, Promote, Abort].map(Input::Command));
        inputs
    }

    /// Carries out an input, and holds each effect against what may be.
    fn next(&self, input: &Input<u8>) -> (World, Vec<Effect<u8>>) {
        let mut world = self.clone();
        let (rollout, effects) = self.rollout.clone().next(input.clone(), at(0), &policy());
        let says = || format!("{self:?}\n{input:?}\n{effects:?}");
        if matches!(
            (self.rollout.phase(), rollout.phase()),
            (Phase::Retiring { .. }, Phase::Settled | Phase::Loading { .. })
        ) {
            (world.new, world.new_ready, world.share) = (false, false, Share::NONE);
        }
        if matches!(
            rollout.phase(),
            Phase::WarmingUp { ready: true, .. } | Phase::Canary { .. }
        ) || matches!(input, Input::Warm(_)) && rollout.phase() != self.rollout.phase()
        {
            world.new_ready = true;
        }
        for effect in &effects {
            match effect {
                Effect::Load(attempt, build) => {
                    assert!(!world.new, "a third generation: {}", says());
                    assert_eq!(*attempt, rollout.attempt);
                    assert!(!rollout.barred.contains(build), "it is barred: {}", says());
                    assert_ne!(build, rollout.serving(), "{}", says());
                    world.new = true;
                }
                Effect::Route(share) => {
                    let may = world.new && world.new_ready;
                    assert!(*share == Share::NONE || may, "calls to nobody: {}", says());
                    world.share = *share;
                }
                Effect::Unload(_, Role::New) => {
                    assert_eq!(world.share, Share::NONE, "it is called: {}", says());
                }
                Effect::Unload(_, Role::Old) => {
                    assert_eq!(world.share, Share::ALL, "it is called: {}", says());
                }
                _ => {}
            }
        }
        let answers = effects
            .iter()
            .filter(|effect| matches!(effect, Effect::Answer(_)))
            .count();
        assert_eq!(
            answers,
            usize::from(matches!(input, Input::Command(_))),
            "{}",
            says()
        );
        world.rollout = Rollout {
            attempt: CURRENT,
            ..rollout
        };
        (world, effects)
    }

    /// What brings it on by time alone.
    fn due(&self) -> Option<Input<u8>> {
        match self.rollout.phase() {
            Phase::Loading { due, .. } | Phase::Retiring { due, .. } => Some(*due),
            Phase::WarmingUp {
                due, ready: false, ..
            } => Some(*due),
            Phase::Canary { stand, .. } | Phase::Probation { stand, .. } => Some(stand.due),
            Phase::WarmingUp { .. } | Phase::Settled | Phase::Ended => None,
        }
        .map(Input::Due)
    }
}

/// All that can be reached from an instance that just serves.
fn explored() -> HashSet<World> {
    let inputs = World::inputs();
    let mut seen = HashSet::from([World::start()]);
    let mut open: VecDeque<World> = seen.iter().cloned().collect();
    while let Some(world) = open.pop_front() {
        for input in &inputs {
            let (next, _) = world.next(input);
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
        time_alone_ends_what_can_end_by_time(world);
        silence_neither_promotes_nor_takes_back(world);
        operators_and_evidence_end_what_holds(world);
        barred_build_is_tried_only_when_asked_for(world);
        stale_reports_have_no_effect(world);
    }
    assert_eq!(phases.len(), 7, "{phases:?}");
    assert!(all.len() > 1_000, "{phases:?}");
}

fn name(phase: &Phase<u8>) -> &'static str {
    match phase {
        Phase::Settled => "settled",
        Phase::Loading { .. } => "loading",
        Phase::WarmingUp { .. } => "warming up",
        Phase::Canary { .. } => "canary",
        Phase::Probation { .. } => "probation",
        Phase::Retiring { .. } => "retiring",
        Phase::Ended => "ended",
    }
}

/// The version that can be taken back, and the one that then serves.
fn can_be_taken_back(world: &World) -> Option<(u8, u8)> {
    let rollout = &world.rollout;
    match &rollout.phase {
        Phase::Loading { candidate, .. }
        | Phase::WarmingUp { candidate, .. }
        | Phase::Canary { candidate, .. } => Some((*candidate, rollout.serving)),
        Phase::Probation { previous, .. } => Some((rollout.serving, *previous)),
        Phase::Retiring {
            who: Role::Old,
            build,
            unloading: false,
            ..
        } if !rollout.old_down => Some((rollout.serving, *build)),
        _ => None,
    }
}

fn bad_news_takes_back(world: &World) {
    let bad = [
        Input::Judged(CURRENT, Judged::Worse(String::new())),
        Input::Down(CURRENT, Role::New, String::new()),
        command(Command::Abort),
    ];
    for input in bad {
        let (next, effects) = world.next(&input);
        let Some((candidate, old)) = can_be_taken_back(world) else {
            assert_eq!(next.rollout.phase, world.rollout.phase, "{world:?}");
            continue;
        };
        assert_eq!(effects[0], Effect::Route(Share::NONE), "{world:?} {input:?}");
        assert!(next.rollout.barred.contains(&candidate), "{world:?}");
        assert_eq!(next.rollout.serving, old, "{world:?}");
        assert!(
            matches!(next.rollout.phase, Phase::Retiring { who: Role::New, .. }),
            "{next:?}"
        );
    }
}

/// Loading, warming up and retiring end by their deadlines, whatever is reported; then the instance is settled or tries the next version.
fn time_alone_ends_what_can_end_by_time(world: &World) {
    let waits_for_others = |phase: &Phase<u8>| {
        matches!(
            phase,
            Phase::WarmingUp { ready: true, .. } | Phase::Canary { .. } | Phase::Probation { .. }
        )
    };
    let mut world = world.clone();
    let begun = world.clone();
    // Three versions can be waited for, each loading, draining and unloading.
    for _ in 0..9 {
        match world.rollout.phase() {
            Phase::Settled | Phase::Ended => return,
            phase if waits_for_others(phase) => return,
            _ => {}
        }
        let due = world
            .due()
            .unwrap_or_else(|| panic!("no exit by time: {world:?}"));
        let (next, _) = world.next(&due);
        assert_ne!(next, world, "its time changes nothing");
        world = next;
    }
    panic!("it does not end: {begun:?}");
}

fn silence_neither_promotes_nor_takes_back(world: &World) {
    if !matches!(
        world.rollout.phase,
        Phase::Canary { .. } | Phase::Probation { .. }
    ) {
        return;
    }
    let (mut held, _) = world.next(&Input::Judged(CURRENT, Judged::NotEnough));
    for _ in 0..3 {
        held = held.next(&held.due().unwrap()).0;
        held = held.next(&Input::Judged(CURRENT, Judged::NotEnough)).0;
    }
    assert_eq!(name(&held.rollout.phase), name(&world.rollout.phase));
    assert_eq!(held.share, world.share);
}

fn operators_and_evidence_end_what_holds(world: &World) {
    match &world.rollout.phase {
        Phase::Canary { .. } | Phase::Probation { .. } | Phase::WarmingUp { ready: true, .. } => {}
        _ => return,
    }
    let (promoted, _) = world.next(&command(Command::Promote));
    assert_ne!(name(&promoted.rollout.phase), name(&world.rollout.phase));
    // Resumed, good and over, again and again: it comes to an end as promoted.
    let mut world = world.next(&command(Command::Resume)).0;
    let candidate = can_be_taken_back(&world).unwrap().0;
    for _ in 0..4 {
        if let Some(due) = world.due() {
            world = world.next(&due).0;
            world = world.next(&Input::Judged(CURRENT, Judged::Good)).0;
        }
    }
    assert_eq!(world.rollout.serving, candidate, "{world:?}");
}

fn barred_build_is_tried_only_when_asked_for(world: &World) {
    for build in world.rollout.barred.clone() {
        let (next, effects) = world.next(&offer(build));
        assert_eq!((&next, &effects[..]), (world, &[][..]));
        let (next, _) = world.next(&asked_for(build));
        let ended = world.rollout.phase == Phase::Ended;
        assert_eq!(next.rollout.barred.contains(&build), ended, "{world:?}");
    }
}

fn stale_reports_have_no_effect(world: &World) {
    for input in World::inputs() {
        let attempt = match &input {
            Input::Started(attempt)
            | Input::Warm(attempt)
            | Input::Judged(attempt, _)
            | Input::Down(attempt, ..)
            | Input::Drained(attempt, _)
            | Input::Unloaded(attempt, _) => *attempt,
            _ => continue,
        };
        if attempt == STALE {
            let (next, effects) = world.next(&input);
            assert_eq!((&next, &effects[..]), (world, &[][..]), "{input:?}");
        }
    }
}
