//! The verdict: what all evidence together says of an instance.

use super::{Doubt, Monitor, Running, State};
use crate::Moment;
use crate::policy::Policy;
use extman_model::{Cause, Health, HealthFlags, Judgement, Lifecycle};

impl Monitor {
    /// Judges anew. `is_result`: a check has had a result.
    pub(super) fn judge(&mut self, now: Moment, policy: &Policy, is_result: bool) {
        let decided = self.decide(policy);
        if is_result && decided.0 != Health::Unknown {
            self.flap.push(decided.0);
        }
        let to = self.judgement(self.under(decided));
        if to.health.serves() || self.is_excluded() {
            self.down_since = None;
        }
        if self.judged.health != to.health {
            self.since = match to.health {
                Health::Down => *self.down_since.get_or_insert(now),
                _ => now,
            };
        }
        self.judged = to;
    }

    pub(super) fn judgement(&self, (health, cause): (Health, Cause)) -> Judgement {
        let flags = match &self.state {
            State::NotRunning(_) => HealthFlags::default(),
            State::Running(running) => HealthFlags {
                stale: matches!(running.doubt, Doubt::Stale | Doubt::NotAsked),
                busy: running.is_busy,
                soft: matches!(running.doubt, Doubt::None | Doubt::Stale) && running.checks.results.is_soft(),
                ..HealthFlags::default()
            },
        };
        Judgement {
            health,
            cause,
            flags: HealthFlags {
                flapping: self.flap.is_flapping(),
                maintenance: self.maintenance,
                suppressed: self.suppressed,
                ..flags
            },
        }
    }

    /// What is decided, and what it requires is down.
    fn under(&self, (health, cause): (Health, Cause)) -> (Health, Cause) {
        match (&self.state, health) {
            (State::NotRunning(Lifecycle::Waiting), _) if self.suppressed => {
                (Health::Down, Cause::DependencyDown)
            }
            (State::Running(_), Health::Up) if self.suppressed => (Health::Degraded, Cause::DependencyDown),
            _ => (health, cause),
        }
    }

    pub(super) fn decide(&self, policy: &Policy) -> (Health, Cause) {
        match &self.state {
            State::NotRunning(lifecycle) => of_life(*lifecycle),
            State::Running(running) => running.deep.upon(running.decide(policy)),
        }
    }
}

/// What the life of an instance that does not run decides.
pub(super) fn of_life(lifecycle: Lifecycle) -> (Health, Cause) {
    use Lifecycle as L;
    let health = match lifecycle {
        L::Wedged | L::Failed | L::Quarantined | L::Backoff => Health::Down,
        L::Waiting | L::Starting | L::Draining | L::Stopped | L::Discovered | L::Verified | L::Running => {
            Health::Unknown
        }
    };
    (health, Cause::Lifecycle(lifecycle))
}

impl Running {
    pub(super) fn decide(&self, policy: &Policy) -> (Health, Cause) {
        let checks = &self.checks;
        let calls = self.calls.as_ref().map_or(Health::Unknown, |calls| calls.level());
        let fails = checks.results.bad_run() > 0;
        match self.doubt {
            Doubt::Stale if fails => return (Health::Unknown, checks.bad_cause),
            Doubt::Stale => return (Health::Unknown, Cause::Stale),
            Doubt::NotAsked | Doubt::Starved => return (Health::Unknown, Cause::HostStarved),
            Doubt::None | Doubt::SaysUnknown => {}
        }
        match (checks.results.level(), calls) {
            (Health::Down, _) if self.calls_succeed(policy) => {
                (Health::Degraded, Cause::ChecksFailCallsSucceed)
            }
            (Health::Down, _) => (Health::Down, checks.bad_cause),
            (Health::Up, Health::Down) => (Health::Down, Cause::ChecksSucceedCallsFail),
            (_, Health::Down) => (Health::Down, Cause::CallsFail),
            _ if self.doubt == Doubt::SaysUnknown => (Health::Unknown, Cause::SaysUnknown),
            (Health::Degraded, _) => (Health::Degraded, checks.fair_cause),
            (Health::Up, Health::Degraded) => (Health::Degraded, Cause::ChecksSucceedCallsFail),
            (Health::Unknown, Health::Degraded) => (Health::Degraded, Cause::CallsFail),
            (Health::Up, _) | (Health::Unknown, Health::Up) if self.heap.is_near() => {
                (Health::Degraded, Cause::HeapNearLimit)
            }
            (Health::Unknown, Health::Up) => (Health::Up, Cause::CallsSucceed),
            (Health::Unknown, Health::Unknown) if fails => (Health::Unknown, checks.bad_cause),
            (Health::Unknown, Health::Unknown) => (Health::Unknown, Cause::NotChecked),
            (Health::Up, _) => (Health::Up, Cause::Answers),
        }
    }

    /// Whether calls had succeeded within a window when the last check failed, and do not fail otherwise. Those from before the plugin fell
    /// silent speak for it no longer than an interval: by then one more would have. Time alone changes nothing.
    fn calls_succeed(&self, policy: &Policy) -> bool {
        let succeeded_at = self
            .calls
            .as_ref()
            .and_then(|calls| calls.speaks_for_it_at(policy));
        succeeded_at.is_some_and(|at| {
            let before = self.checks.bad_at.since(at);
            let is_recent = self.checks.bad_since_success < policy.fall || before <= policy.interval;
            is_recent && before <= policy.calls.window
        })
    }

    /// Whether a good check leaves the verdict as it is: the instance is up because it answers, and nothing says otherwise.
    pub(super) fn is_quiet(&self, judged: Judgement) -> bool {
        let flags = judged.flags;
        (judged.health, judged.cause) == (Health::Up, Cause::Answers)
            && !(flags.stale || flags.flapping || flags.busy || flags.maintenance || flags.soft)
            && self.doubt == Doubt::None
            && self.checks.results.level() == Health::Up
            && self.checks.pushed.is_none()
            && self.heap.is_quiet()
    }
}
