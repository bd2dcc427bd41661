//! What each input does in each phase.

use super::{
    Attempt, BARRED_MAX, Back, Command, Effect, Effects, Judged, News, Phase, Refusal, Role, Rollout,
    RolloutPolicy, Share, Stand,
};
use crate::Moment;
use crate::judge::Aim;

/// What a step has at hand: the time, the policy, and where its effects go.
pub(super) struct Step<'a, B> {
    pub now: Moment,
    pub policy: &'a RolloutPolicy,
    pub out: &'a mut Effects<B>,
}

impl<B> Step<'_, B> {
    /// The moment after so many milliseconds, and to be woken then.
    fn wake_after(&mut self, ms: u64) -> Moment {
        let due = RolloutPolicy::after(self.now, ms);
        self.out.push(Effect::Wake(due));
        due
    }
}

impl<B: Clone + Eq> Rollout<B> {
    // What is wanted.

    pub(super) fn offer(&mut self, build: B, by_operator: bool, step: &mut Step<'_, B>) {
        if let Some(at) = self.barred.iter().position(|barred| *barred == build) {
            if !by_operator {
                return;
            }
            self.barred.remove(at);
            step.out.push(Effect::Bar(build.clone(), false));
        }
        match &self.phase {
            Phase::Ended => {}
            Phase::Settled => self.begin(build, step),
            Phase::Retiring { .. } => self.next = Some(build),
            Phase::Probation { previous, .. } if *previous == build => {
                self.next = None;
                self.take_back(Back::Overtaken, step);
            }
            // The new version serves all calls: it is settled on or taken back first.
            Phase::Probation { .. } => self.next = Some(build),
            Phase::Loading { candidate, .. }
            | Phase::WarmingUp { candidate, .. }
            | Phase::Canary { candidate, .. } => {
                if *candidate != build {
                    self.next = Some(build);
                    self.take_back(Back::Overtaken, step);
                }
            }
        }
    }

    /// Begins with a version, unless it serves already.
    fn begin(&mut self, candidate: B, step: &mut Step<'_, B>) {
        self.phase = Phase::Settled;
        if candidate == self.serving {
            return;
        }
        self.attempt = Attempt(self.attempt.0 + 1);
        (self.paused, self.old_down) = (false, false);
        step.out.push(Effect::Load(self.attempt, candidate.clone()));
        let due = step.wake_after(step.policy.start_ms);
        self.phase = Phase::Loading { candidate, due };
    }

    pub(super) fn command(&mut self, command: Command, step: &mut Step<'_, B>) -> Result<(), Refusal> {
        if command == Command::Abort && self.can_go_back() {
            self.take_back(Back::Aborted, step);
            return Ok(());
        }
        if !self.phase.is_under_way() {
            return Err(Refusal::Nothing);
        }
        match command {
            Command::Pause if self.paused => return Err(Refusal::Paused),
            Command::Resume if !self.paused => return Err(Refusal::NotPaused),
            Command::Pause => self.paused = true,
            Command::Resume => {
                self.paused = false;
                self.advance(step);
            }
            Command::Promote => return self.promote(step),
            Command::Abort => {}
        }
        Ok(())
    }

    fn promote(&mut self, step: &mut Step<'_, B>) -> Result<(), Refusal> {
        match self.phase.clone() {
            Phase::WarmingUp { ready: false, .. } | Phase::Loading { .. } => Err(Refusal::NotReady),
            Phase::WarmingUp { candidate, .. } | Phase::Canary { candidate, .. } => {
                self.switch(candidate, step);
                Ok(())
            }
            Phase::Probation { previous, .. } => {
                self.settle(previous, step);
                Ok(())
            }
            Phase::Settled | Phase::Retiring { .. } | Phase::Ended => Err(Refusal::Nothing),
        }
    }

    // The way there.

    pub(super) fn started(&mut self, step: &mut Step<'_, B>) {
        if let Phase::Loading { candidate, .. } = self.phase.clone() {
            step.out.push(Effect::WarmUp(self.attempt));
            let due = step.wake_after(step.policy.warm_up_ms);
            self.phase = Phase::WarmingUp {
                candidate,
                due,
                ready: false,
            };
        }
    }

    pub(super) fn warm(&mut self, step: &mut Step<'_, B>) {
        if let Phase::WarmingUp { ready, .. } = &mut self.phase {
            *ready = true;
            self.advance(step);
        }
    }

    pub(super) fn judged(&mut self, judged: Judged, step: &mut Step<'_, B>) {
        let good = match judged {
            Judged::Worse(why) => return self.take_back(Back::Worse(why), step),
            Judged::Good => true,
            Judged::NotEnough => false,
        };
        if let Phase::Canary { stand, .. } | Phase::Probation { stand, .. } = &mut self.phase {
            stand.is_good = good;
            self.advance(step);
        }
    }

    pub(super) fn due(&mut self, due: Moment, step: &mut Step<'_, B>) {
        match &mut self.phase {
            Phase::Loading { due: at, .. } if *at == due => self.take_back(Back::StartTooSlow, step),
            Phase::WarmingUp { due: at, ready, .. } if *at == due && !*ready => {
                self.take_back(Back::WarmUpTooSlow, step);
            }
            Phase::Canary { stand, .. } | Phase::Probation { stand, .. } if stand.due == due => {
                stand.is_over = true;
                self.advance(step);
            }
            Phase::Retiring {
                who,
                unloading,
                due: at,
                ..
            } if *at == due => {
                let who = *who;
                if *unloading {
                    self.unloaded(who, step);
                } else {
                    self.drained(who, step);
                }
            }
            _ => {}
        }
    }

    /// The next step, if this one is through.
    fn advance(&mut self, step: &mut Step<'_, B>) {
        if self.paused && !self.old_down {
            return;
        }
        match self.phase.clone() {
            Phase::WarmingUp {
                candidate,
                ready: true,
                ..
            } => self.canary(candidate, 0, step),
            Phase::Canary {
                candidate,
                step: at,
                stand,
            } if stand.is_over && stand.is_good => self.canary(candidate, at + 1, step),
            Phase::Probation { previous, stand } if stand.is_over && stand.is_good => {
                self.settle(previous, step);
            }
            _ => {}
        }
    }

    /// The canary's step of this number; after the last one, and where the old version is down, all calls.
    fn canary(&mut self, candidate: B, at: usize, step: &mut Step<'_, B>) {
        let steps = &step.policy.canary_percent;
        let (Some(percent), false) = (steps.get(at), self.old_down) else {
            return self.switch(candidate, step);
        };
        let aim = if at + 1 == steps.len() {
            Aim::Switch
        } else {
            Aim::Widen
        };
        step.out.push(Effect::Route(Share::percent(*percent)));
        step.out.push(Effect::Judge(aim));
        let due = step.wake_after(step.policy.step_ms);
        let stand = Stand::until(due);
        self.phase = Phase::Canary {
            candidate,
            step: at,
            stand,
        };
    }

    /// All calls to the new version.
    fn switch(&mut self, candidate: B, step: &mut Step<'_, B>) {
        step.out.push(Effect::Route(Share::ALL));
        let previous = std::mem::replace(&mut self.serving, candidate);
        self.paused = false;
        if self.old_down {
            // There is nothing to go back to.
            return self.settle(previous, step);
        }
        step.out.push(Effect::Tell(News::Switched(self.serving.clone())));
        step.out.push(Effect::Judge(Aim::Settle));
        let due = step.wake_after(step.policy.probation_ms);
        let stand = Stand::until(due);
        self.phase = Phase::Probation { previous, stand };
    }

    /// The old version goes.
    fn settle(&mut self, previous: B, step: &mut Step<'_, B>) {
        let (build, unjudged) = (self.serving.clone(), self.old_down);
        self.paused = false;
        step.out.push(Effect::Tell(News::Promoted { build, unjudged }));
        self.retire(Role::Old, previous, step);
    }

    // The way back.

    /// Whether there is a new version that can be taken back, and an old one that is loaded.
    fn can_go_back(&self) -> bool {
        let old_drains = matches!(
            self.phase,
            Phase::Retiring {
                who: Role::Old,
                unloading: false,
                ..
            }
        );
        self.phase.is_under_way() || old_drains && !self.old_down
    }

    /// All calls to the old version, first of all; then the new one goes.
    pub(super) fn take_back(&mut self, why: Back, step: &mut Step<'_, B>) {
        if !self.can_go_back() {
            return;
        }
        step.out.push(Effect::Route(Share::NONE));
        let candidate = match self.phase.clone() {
            Phase::Loading { candidate, .. }
            | Phase::WarmingUp { candidate, .. }
            | Phase::Canary { candidate, .. } => candidate,
            Phase::Probation { previous, .. } | Phase::Retiring { build: previous, .. } => {
                std::mem::replace(&mut self.serving, previous)
            }
            Phase::Settled | Phase::Ended => return,
        };
        if why != Back::Overtaken {
            self.bar(candidate.clone(), step);
        }
        self.paused = false;
        step.out
            .push(Effect::Tell(News::TakenBack(candidate.clone(), why)));
        self.retire(Role::New, candidate, step);
    }

    fn bar(&mut self, build: B, step: &mut Step<'_, B>) {
        if self.next.as_ref() == Some(&build) {
            self.next = None;
        }
        self.barred.retain(|barred| *barred != build);
        if self.barred.len() >= BARRED_MAX {
            self.barred.remove(0);
        }
        self.barred.push(build.clone());
        step.out.push(Effect::Bar(build, true));
    }

    /// The old version serves no more: the new one has all calls, as soon as it can serve them.
    pub(super) fn old_is_down(&mut self, step: &mut Step<'_, B>) {
        match self.phase.clone() {
            Phase::Loading { .. } => self.old_down = true,
            Phase::WarmingUp { .. } => {
                self.old_down = true;
                self.advance(step);
            }
            Phase::Canary { candidate, .. } => {
                self.old_down = true;
                self.switch(candidate, step);
            }
            Phase::Probation { previous, .. } => {
                self.old_down = true;
                self.settle(previous, step);
            }
            // It can't be gone back to any more.
            Phase::Retiring { who: Role::Old, .. } => self.old_down = true,
            Phase::Retiring { .. } | Phase::Settled | Phase::Ended => {}
        }
    }

    // The end of a generation.

    fn retire(&mut self, who: Role, build: B, step: &mut Step<'_, B>) {
        step.out.push(Effect::Drain(self.attempt, who));
        let due = step.wake_after(step.policy.drain_ms);
        self.phase = Phase::Retiring {
            who,
            build,
            unloading: false,
            due,
        };
    }

    pub(super) fn drained(&mut self, role: Role, step: &mut Step<'_, B>) {
        if let Phase::Retiring {
            who, unloading, due, ..
        } = &mut self.phase
            && *who == role
            && !*unloading
        {
            *unloading = true;
            step.out.push(Effect::Unload(self.attempt, role));
            *due = step.wake_after(step.policy.unload_ms);
        }
    }

    pub(super) fn unloaded(&mut self, role: Role, step: &mut Step<'_, B>) {
        let is_it = matches!(self.phase, Phase::Retiring { who, .. } if who == role);
        if !is_it {
            return;
        }
        match self.next.take() {
            Some(next) => self.begin(next, step),
            None => self.phase = Phase::Settled,
        }
    }
}

impl Stand {
    fn until(due: Moment) -> Self {
        Stand {
            due,
            is_over: false,
            is_good: false,
        }
    }
}
