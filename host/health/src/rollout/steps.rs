//! What each input does in each phase.

use super::{
    Back, Command, Effect, Effects, Judged, Phase, Refusal, Role, Rollout, RolloutPolicy, Share, Stand,
};
use crate::Moment;
use crate::judge::Aim;
use std::time::Duration;

/// What a step has at hand: the time, the policy, and where its effects go.
pub(super) struct Step<'a> {
    pub now: Moment,
    pub policy: &'a RolloutPolicy,
    pub out: &'a mut Effects,
}

impl Step<'_> {
    /// A step that lasts so many milliseconds at least, and to be woken then.
    fn stand_for(&mut self, ms: u64) -> Stand {
        let due = self.now.after(Duration::from_millis(ms));
        self.out.push(Effect::Wake(due));
        Stand {
            due,
            is_over: false,
            is_good: false,
        }
    }
}

impl Rollout {
    pub(super) fn carry_out(&mut self, command: Command, step: &mut Step<'_>) -> Result<(), Refusal> {
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
            Command::Abort => self.take_back(Back::Aborted, step),
        }
        Ok(())
    }

    fn promote(&mut self, step: &mut Step<'_>) -> Result<(), Refusal> {
        match self.phase {
            Phase::Loading | Phase::WarmingUp { ready: false } => return Err(Refusal::NotReady),
            Phase::WarmingUp { ready: true } | Phase::Canary { .. } => self.switch(step),
            Phase::Probation { .. } => self.settle(step),
            Phase::Retiring(_) | Phase::Over => return Err(Refusal::Nothing),
        }
        Ok(())
    }

    // The way there.

    pub(super) fn started(&mut self, step: &mut Step<'_>) {
        if self.phase == Phase::Loading {
            step.out.push(Effect::WarmUp);
            self.phase = Phase::WarmingUp { ready: false };
        }
    }

    pub(super) fn warm(&mut self, step: &mut Step<'_>) {
        if let Phase::WarmingUp { ready } = &mut self.phase {
            *ready = true;
            self.advance(step);
        }
    }

    pub(super) fn judged(&mut self, judged: Judged, step: &mut Step<'_>) {
        let good = match judged {
            Judged::Worse(why) => return self.take_back(Back::Worse(why), step),
            Judged::Good => true,
            Judged::NotEnough => false,
        };
        if let Phase::Canary { stand, .. } | Phase::Probation { stand } = &mut self.phase {
            stand.is_good = good;
            self.advance(step);
        }
    }

    pub(super) fn due(&mut self, due: Moment, step: &mut Step<'_>) {
        if let Phase::Canary { stand, .. } | Phase::Probation { stand } = &mut self.phase
            && stand.due == due
        {
            stand.is_over = true;
            self.advance(step);
        }
    }

    /// The next step, if this one is through.
    fn advance(&mut self, step: &mut Step<'_>) {
        if self.paused {
            return;
        }
        match self.phase {
            Phase::WarmingUp { ready: true } => self.canary(0, step),
            Phase::Canary { step: at, stand } if stand.is_over && stand.is_good => self.canary(at + 1, step),
            Phase::Probation { stand } if stand.is_over && stand.is_good => self.settle(step),
            _ => {}
        }
    }

    /// The canary's step of this number; after the last one, all calls.
    fn canary(&mut self, at: usize, step: &mut Step<'_>) {
        let steps = &step.policy.canary_percent;
        let Some(percent) = steps.get(at) else {
            return self.switch(step);
        };
        let aim = if at + 1 == steps.len() {
            Aim::Switch
        } else {
            Aim::Widen
        };
        step.out.push(Effect::Route(Share::percent(*percent)));
        step.out.push(Effect::Judge(aim));
        let stand = step.stand_for(step.policy.step_ms);
        self.phase = Phase::Canary { step: at, stand };
    }

    /// All calls to the new version.
    fn switch(&mut self, step: &mut Step<'_>) {
        self.paused = false;
        step.out.push(Effect::Route(Share::ALL));
        step.out.push(Effect::Judge(Aim::Settle));
        let stand = step.stand_for(step.policy.probation_ms);
        self.phase = Phase::Probation { stand };
    }

    /// The old version goes.
    fn settle(&mut self, step: &mut Step<'_>) {
        self.retire(Role::Old, step);
    }

    // The way back.

    /// All calls to the old version, first of all; then the new one goes.
    pub(super) fn take_back(&mut self, why: Back, step: &mut Step<'_>) {
        if self.phase.is_under_way() {
            step.out.push(Effect::Route(Share::NONE));
            step.out.push(Effect::TakenBack(why));
            self.retire(Role::New, step);
        }
    }

    /// The old version serves no more: the new one has all calls, and there is nothing to compare it with, nor to go back to. One that has not
    /// started is no longer an update of it.
    pub(super) fn old_is_down(&mut self, step: &mut Step<'_>) {
        match self.phase {
            Phase::WarmingUp { .. } | Phase::Canary { .. } => {
                step.out.push(Effect::Route(Share::ALL));
                self.settle(step);
            }
            Phase::Probation { .. } => self.settle(step),
            Phase::Loading | Phase::Retiring(_) | Phase::Over => {}
        }
    }

    // The end of a generation.

    fn retire(&mut self, who: Role, step: &mut Step<'_>) {
        self.paused = false;
        step.out.push(Effect::Retire(who));
        self.phase = Phase::Retiring(who);
    }

    pub(super) fn retired(&mut self) {
        if let Phase::Retiring(_) = self.phase {
            self.phase = Phase::Over;
        }
    }
}
