//! An update that is judged: what the instance's actor does beside what serves, as the rollout's own state machine
//! ([`extman_health::rollout`]) says. That knows the phases; here are the two generations that it is about.
//!
//! `Live::running` serves, or most calls in a canary. The other generation is the new one until all calls are the new one's, and the old one from
//! then on: that change is a swap of the two, and so is the way back.

use super::{
    Actor, Asked, Build, By, Condition, Effect, Effects, Live, Loaded, OVERTAKEN, Outcome, Stage, Then,
    not_taken,
};
use extman_health::judge::Aim;
use extman_health::rollout::{self, Back, Command, Phase, Refusal, Role, Rollout, RolloutPolicy, Share};
use extman_model::DesiredState;
use extman_model::clock::Monotonic;
use std::sync::Arc;

/// One generation that is to take the place of another.
#[derive(Debug, Clone)]
pub(in super::super) struct Succession<R: Loaded> {
    machine: Rollout,
    /// As it was when the update began.
    policy: Arc<RolloutPolicy>,
    /// What served before.
    from: R::Build,
    /// What is to take its place.
    to: R::Build,
    /// The generation that is not `Live::running`, while it is loaded and not being stopped.
    other: Option<R>,
    /// The calls of the new one.
    share: Share,
    /// Steps that have begun in which it is judged.
    steps: u32,
    /// All calls are the new one's: it is `Live::running`.
    swapped: bool,
    /// The generation that is being stopped as the last step.
    retiring: Option<u64>,
}

/// Where an update is, as it is shown.
pub(in super::super) struct Shown<'a, R: Loaded> {
    pub from: &'a R::Build,
    pub to: &'a R::Build,
    pub phase: Phase,
    pub paused: bool,
    pub share: Share,
}

impl<R: Loaded> Succession<R> {
    fn begin(policy: Arc<RolloutPolicy>, from: R::Build, to: R::Build) -> Self {
        Succession {
            machine: Rollout::begin(),
            policy,
            from,
            to,
            other: None,
            share: Share::NONE,
            steps: 0,
            swapped: false,
            retiring: None,
        }
    }

    /// Which one is `Live::running`.
    fn running(&self) -> Role {
        match self.swapped {
            true => Role::New,
            false => Role::Old,
        }
    }

    /// The role of this generation, if it is loaded: `running` is that of `Live::running`.
    fn role_of(&self, generation: u64, running: u64) -> Option<Role> {
        let other = self.other.as_ref().map(Loaded::generation);
        match self.running() {
            role if generation == running => Some(role),
            Role::Old if other == Some(generation) => Some(Role::New),
            Role::New if other == Some(generation) => Some(Role::Old),
            _ => None,
        }
    }

    /// It is to be stopped.
    pub(super) fn take_other(self) -> Option<R> {
        self.other
    }

    /// The number of its step, for whoever speaks in the judge's place.
    #[cfg(test)]
    pub(super) fn step(&self) -> u32 {
        self.steps
    }

    /// For pictures of it in which versions and generations are numbered otherwise.
    #[cfg(test)]
    pub(super) fn renumber(
        &mut self,
        build: impl Fn(&mut R::Build),
        loaded: impl Fn(&mut R),
        number: impl Fn(&mut u64),
    ) {
        [&mut self.from, &mut self.to].into_iter().for_each(build);
        self.other.iter_mut().for_each(loaded);
        self.retiring.iter_mut().for_each(number);
    }

    pub(super) fn is_retiring(&self) -> bool {
        matches!(self.machine.phase(), Phase::Retiring(_))
    }

    pub(super) fn is_loading(&self) -> bool {
        self.machine.phase() == Phase::Loading
    }
}

impl<R: Loaded, W> Actor<R, W> {
    /// From here on updates are judged by these steps; by none, they are not.
    pub(in super::super) fn judge_by(&mut self, policy: Option<Arc<RolloutPolicy>>) {
        self.judged_by = policy;
    }

    /// The update to this, if it is to be judged: other bytes, in the place of what serves.
    pub(super) fn succession_to(&mut self, to: &R::Build) -> Option<Box<Succession<R>>> {
        let is_direct = std::mem::take(&mut self.direct);
        let Stage::Serving { live, .. } = &self.stage else {
            return None;
        };
        let from = live.running.build();
        let is_judged = !is_direct && !from.has_bytes_of(to);
        let policy = self.judged_by.clone().filter(|_| is_judged)?;
        Some(Box::new(Succession::begin(policy, from.clone(), to.clone())))
    }

    /// An operator wants this of the update that is under way.
    pub(super) fn steered(&mut self, waiter: W, command: Command, out: &mut Effects<R, W>) {
        let now = self.now;
        let followed = match self.stage.succession_mut() {
            None => Err(Refusal::Nothing),
            Some(succession) => {
                let policy = succession.policy.clone();
                succession.machine.command(command, now, &policy)
            }
        };
        let outcome = match followed {
            Ok(effects) => {
                self.follow(effects, Condition::Well, out);
                self.keep_up_after(out);
                Ok(())
            }
            Err(refusal) => Err(refused(refusal)),
        };
        out.push(Effect::Answer(waiter, outcome));
    }

    /// Why this version can't be had now, if that is so.
    pub(in super::super) fn refuses(&self, build: &R::Build) -> Option<String> {
        if let Some(gone) = self.gone {
            return Some(gone.refusal());
        }
        let is_held = |one: &Succession<R>| one.swapped && !one.is_retiring() && !one.to.is(build);
        let is_held = self.stage.succession().is_some_and(is_held);
        is_held.then(|| IN_PROBATION.to_owned())
    }

    /// An operator wants this version; `direct`: at once, and unjudged. Refused, that changes nothing.
    pub(super) fn want_version(&mut self, waiter: W, build: R::Build, direct: bool, out: &mut Effects<R, W>) {
        if let Some(why) = self.refuses(&build) {
            return out.push(Effect::Answer(waiter, Err(why)));
        }
        let is_to_run = self.desired == DesiredState::Running;
        self.rejected = None;
        self.build = build.clone();
        self.direct = direct;
        match &self.stage {
            Stage::Serving { live, .. } | Stage::Wedged { live, .. } => {
                let is_other = !live.running.build().is(&self.build);
                match is_other && live.update.is_none() && live.succession.is_none() {
                    true => self.update(true, out),
                    false => self.keep_up(out),
                }
            }
            Stage::Absent { .. } | Stage::Failed { .. } | Stage::Waiting { .. } if is_to_run => {
                self.start(true, out);
            }
            Stage::Stopping { .. } if is_to_run => self.start_after_stop(),
            _ => {}
        }
        self.asked.push(Asked {
            waiter,
            build,
            starts: is_to_run,
        });
    }

    fn start_after_stop(&mut self) {
        if let Stage::Stopping { then, .. } = &mut self.stage {
            *then = Then::Start { by_operator: true };
        }
    }

    /// Whether something is under way that will be answered for.
    pub(super) fn is_coming(&self) -> bool {
        match &self.stage {
            Stage::Serving { live, .. } | Stage::Wedged { live, .. } => {
                let is_overtaken = live.succession.as_ref().is_some_and(|one| one.is_retiring());
                live.update.is_some() || is_overtaken && !live.running.build().is(&self.build)
            }
            Stage::Starting { .. } | Stage::Stopping { .. } => true,
            Stage::Absent { .. } | Stage::Failed { .. } | Stage::Waiting { .. } => false,
        }
    }

    /// What came of having the new version get ready.
    pub(super) fn warmed_up(&mut self, generation: u64, outcome: Outcome, out: &mut Effects<R, W>) {
        if self.role_of(generation) == Some(Role::New) {
            let input = match outcome {
                Ok(()) => rollout::Input::Warm,
                Err(text) => rollout::Input::Down(Role::New, text),
            };
            self.steer(input, Condition::Well, out);
        }
    }

    /// The judge has looked at the update to this generation, in this of its steps. What it said of an earlier one is good for nothing but to take
    /// the new version back.
    pub(super) fn judged(
        &mut self,
        generation: u64,
        step: u32,
        judged: rollout::Judged,
        out: &mut Effects<R, W>,
    ) {
        let is_of_step = self.stage.succession().is_some_and(|one| one.steps == step);
        let is_worse = matches!(judged, rollout::Judged::Worse(_));
        if self.role_of(generation) == Some(Role::New) && (is_of_step || is_worse) {
            self.steer(rollout::Input::Judged(judged), Condition::Well, out);
        }
    }

    /// Which of the two versions of the update this generation is of, while both are loaded.
    pub(super) fn role_of(&self, generation: u64) -> Option<Role> {
        let live = self.stage.live()?;
        let succession = live.succession.as_ref()?;
        succession.other.as_ref()?;
        succession.role_of(generation, live.running.generation())
    }

    /// One of two generations serves no more: the other one serves all calls, whatever of the update was left. `false` if there are not two.
    pub(super) fn is_down(
        &mut self,
        generation: u64,
        text: &str,
        condition: Condition,
        out: &mut Effects<R, W>,
    ) -> bool {
        let Some(role) = self.role_of(generation) else {
            return false;
        };
        self.steer(rollout::Input::Down(role, text.to_owned()), condition, out);
        true
    }

    /// Feeds the rollout and does what follows. `condition`: of the generation that it may have stopped for that.
    pub(super) fn steer(&mut self, input: rollout::Input, condition: Condition, out: &mut Effects<R, W>) {
        if self.stage.succession().is_some() {
            self.advance(input, condition, out);
            self.keep_up_after(out);
        }
    }

    /// As [`steer`](Self::steer), but for what has been wanted meanwhile.
    fn advance(&mut self, input: rollout::Input, condition: Condition, out: &mut Effects<R, W>) {
        let now = self.now;
        if let Some(succession) = self.stage.succession_mut() {
            let policy = succession.policy.clone();
            let effects = succession.machine.next(input, now, &policy);
            self.follow(effects, condition, out);
        }
    }

    /// Once the update is over, what has been wanted meanwhile is followed.
    fn keep_up_after(&mut self, out: &mut Effects<R, W>) {
        if self.stage.succession().is_none() {
            self.keep_up(out);
            self.answer_overtaken(out);
        }
    }

    fn follow(&mut self, effects: Vec<rollout::Effect>, condition: Condition, out: &mut Effects<R, W>) {
        for effect in effects {
            match effect {
                rollout::Effect::Route(share) => self.route(share, out),
                rollout::Effect::WarmUp => out.push(Effect::WarmUp),
                rollout::Effect::Judge(aim) => self.begin_step(aim, out),
                rollout::Effect::Wake(due) => out.push(Effect::Wake(due)),
                rollout::Effect::TakenBack(back) => self.taken_back(back, out),
                rollout::Effect::Retire(_) => self.retire_other(condition, out),
            }
        }
        let is_over = |one: &mut Succession<R>| one.machine.phase() == Phase::Over;
        if self.stage.succession_mut().is_some_and(is_over)
            && let Some(live) = self.stage.live_mut()
        {
            live.succession = None;
        }
    }

    fn begin_step(&mut self, aim: Aim, out: &mut Effects<R, W>) {
        if let Some(succession) = self.stage.succession_mut() {
            succession.steps += 1;
            let step = succession.steps;
            out.push(Effect::Judge { step, aim });
        }
    }

    /// Where nothing is under way any more, whoever waits has been overtaken.
    fn answer_overtaken(&mut self, out: &mut Effects<R, W>) {
        if self.stage.live().is_some() && !self.is_coming() {
            self.answer(Err(OVERTAKEN.to_owned()), out);
        }
    }

    fn route(&mut self, share: Share, out: &mut Effects<R, W>) {
        let Stage::Serving { live, down } = &mut self.stage else {
            return;
        };
        let Some(succession) = &mut live.succession else {
            return;
        };
        succession.share = share;
        let to_new = share == Share::ALL;
        if to_new == succession.swapped {
            return;
        }
        if let Some(other) = &mut succession.other {
            std::mem::swap(&mut live.running, other);
            succession.swapped = to_new;
            *down = None;
            if to_new {
                let (from, to) = (succession.from.clone(), succession.to.clone());
                let live = false;
                out.push(Effect::Replaced { from, to, live });
            }
            self.restarts.good_run_begins(self.now);
        }
    }

    /// The old version serves all calls. Unless another one is wanted, the new one is not, until somebody asks for it.
    fn taken_back(&mut self, back: Back, out: &mut Effects<R, W>) {
        let Some(live) = self.stage.live() else { return };
        let Some(succession) = &live.succession else {
            return;
        };
        let (kept, build) = (live.running.build().clone(), succession.to.clone());
        let why = match back {
            Back::Worse(text) => format!("it is worse: {text}"),
            Back::Down(text) => text,
            Back::Aborted => "an operator has taken it back".to_owned(),
            // It may be tried again by itself.
            Back::Overtaken => return,
        };
        let restarts = live.update.as_ref().is_some_and(|update| update.restart);
        if self.build.is(&build) {
            let text = not_taken(&build, &kept, &why);
            // Who waits for a restart has it when the start that is under way has ended.
            if !restarts {
                self.answer(Err(text.clone()), out);
            }
            self.answer_who_asked(|asked| asked.build.is(&build), &text, out);
            self.build = kept.clone();
        }
        out.push(Effect::TakenBack { build, kept, why });
    }

    /// Has the generation stopped that does not serve. One that is still being started is stopped when that has ended.
    fn retire_other(&mut self, condition: Condition, out: &mut Effects<R, W>) {
        let Some(live) = self.stage.live_mut() else { return };
        let is_starting = live.update.as_ref().is_some_and(|update| update.by == By::Start);
        let Some(succession) = &mut live.succession else {
            return;
        };
        match succession.other.take() {
            Some(other) => {
                succession.retiring = Some(other.generation());
                self.retire(other, condition, out);
            }
            None if is_starting => {}
            None => self.advance(rollout::Input::Retired, Condition::Well, out),
        }
    }

    /// The new version of an update that is judged has started.
    pub(super) fn candidate_started(&mut self, running: R, out: &mut Effects<R, W>) {
        let Some(Live {
            update,
            succession: Some(succession),
            ..
        }) = self.stage.live_mut()
        else {
            return self.retire(running, Condition::Well, out);
        };
        let restart = update.take().is_some_and(|update| update.restart);
        if !succession.is_loading() {
            // It was taken back meanwhile.
            succession.retiring = Some(running.generation());
            self.retire(running, Condition::Well, out);
            match restart {
                true => self.restart_running(out),
                false => self.answer_overtaken(out),
            }
            return;
        }
        succession.other = Some(running);
        if restart {
            return self.restart_running(out);
        }
        self.steer(rollout::Input::Started, Condition::Well, out);
        self.keep_up(out);
        if !self.is_coming() {
            self.answer(Ok(()), out);
        }
    }

    /// It could not be started. `tried` is the update, which is under way no longer.
    pub(super) fn candidate_not_started(&mut self, cause: String, restart: bool, out: &mut Effects<R, W>) {
        let is_loading = self.stage.succession().is_some_and(Succession::is_loading);
        let input = match is_loading {
            true => rollout::Input::Down(Role::New, cause.clone()),
            false => rollout::Input::Retired,
        };
        let text = self.stage.live().zip(self.stage.succession());
        let text = text.map(|(live, one)| not_taken(&one.to, live.running.build(), &cause));
        if restart {
            // It is stopped at once, so it is asked for nothing else; whoever waits has the restart.
            let waiting = std::mem::take(&mut self.waiting);
            self.advance(input, Condition::Well, out);
            self.waiting = waiting;
            return self.restart_running(out);
        }
        self.steer(input, Condition::Well, out);
        if !self.is_coming() {
            self.answer(Err(text.unwrap_or(cause)), out);
        }
    }

    /// A generation has been stopped. If it was the last step of an update, that is over.
    pub(super) fn other_stopped(&mut self, generation: u64, out: &mut Effects<R, W>) {
        let of = self.stage.succession().and_then(|one| one.retiring);
        if of == Some(generation) {
            self.steer(rollout::Input::Retired, Condition::Well, out);
        }
    }

    /// What is wanted may be another version than the one that is under way, or that one with another path.
    pub(super) fn keep_up_succession(&mut self, out: &mut Effects<R, W>) {
        let wanted = self.build.clone();
        let Some(Live {
            running,
            succession: Some(succession),
            ..
        }) = self.stage.live_mut()
        else {
            return;
        };
        if !succession.machine.phase().is_under_way() {
            return;
        }
        if succession.to.is(&wanted) {
            let new = match succession.swapped {
                true => Some(running),
                false => succession.other.as_mut(),
            };
            new.into_iter().for_each(|new| new.moved_to(&wanted));
            succession.to = wanted;
            return;
        }
        // Once all calls are the new one's, it is settled on or taken back before a third one comes.
        let is_third = !wanted.has_bytes_of(&succession.to) && !wanted.has_bytes_of(&succession.from);
        if !(succession.swapped && is_third) {
            self.steer(rollout::Input::Overtaken, Condition::Well, out);
        }
    }

    /// Where the update is that is under way.
    pub(in super::super) fn rollout(&self) -> Option<Shown<'_, R>> {
        let succession = self.stage.succession()?;
        Some(Shown {
            from: &succession.from,
            to: &succession.to,
            phase: succession.machine.phase(),
            paused: succession.machine.is_paused(),
            share: succession.share,
        })
    }

    /// Both generations, the new one first, while both are loaded.
    pub(in super::super) fn compared(&self) -> Option<(&R, &R)> {
        let live = self.stage.live()?;
        let succession = live.succession.as_ref()?;
        let other = succession.other.as_ref()?;
        Some(match succession.running() {
            Role::New => (&live.running, other),
            Role::Old => (other, &live.running),
        })
    }

    /// By which steps the update that is under way goes.
    pub(in super::super) fn rollout_policy(&self) -> Option<&Arc<RolloutPolicy>> {
        self.stage.succession().map(|succession| &succession.policy)
    }
}

impl<R: Loaded> Shown<'_, R> {
    /// When the time of its step is over, if that is still to come.
    pub(in super::super) fn due(&self) -> Option<Monotonic> {
        match self.phase {
            Phase::Canary { stand, .. } | Phase::Probation { stand } if !stand.is_over => Some(stand.due),
            _ => None,
        }
    }
}

impl<R: Loaded> Stage<R> {
    fn succession(&self) -> Option<&Succession<R>> {
        self.live()?.succession.as_deref()
    }

    fn succession_mut(&mut self) -> Option<&mut Succession<R>> {
        self.live_mut()?.succession.as_deref_mut()
    }
}

const IN_PROBATION: &str = "an update is under way whose new version has all calls; `extman rollout NAME promote` or `abort` ends that first";

fn refused(refusal: Refusal) -> String {
    match refusal {
        Refusal::Nothing => "there is no update under way",
        Refusal::NotReady => {
            "the new version is not ready yet; try again when its phase is `canary`, or abort the update"
        }
        Refusal::Paused => "the update is paused already",
        Refusal::NotPaused => "the update is not paused",
    }
    .to_owned()
}
