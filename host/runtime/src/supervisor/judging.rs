//! Looking at both generations of an update: the new one gets ready, and then it is compared with the old one as long as the update lasts.
//!
//! What the history takes is left where it is: counts and latencies are looked at and subtracted. Each side is asked how it is by its own check,
//! beside the checks that decide how the instance is held to be, and at the same interval.

use super::mirroring::Mirroring;
use super::requests::{Request, Requests};
use crate::instance::{CallCounts, Instance};
use crate::sync::lock;
use extman_health::judge::{Aim, Failures, Judge, Measure, Side, Verdict};
use extman_health::rollout::{Judged, RolloutPolicy};
use extman_model::clock::{self, Monotonic};
use extman_model::latency::LatencyHistogram;
use extman_model::{CheckKind, CheckOutcome, ErrorKind, Health, JudgeSays};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;

/// How often both are looked at: a second, or a twentieth of a step that is shorter.
fn interval(policy: &RolloutPolicy) -> Duration {
    Duration::from_millis((policy.step_ms / 20).clamp(50, 1000))
}

/// How both are asked how they are.
#[derive(Debug, Clone, Copy)]
pub(super) struct Checks {
    pub every: Duration,
    pub timeout: Duration,
}

/// Waits until an instance says that it can serve. One that has no check can.
///
/// # Errors
/// It could not within this time: what it said last.
pub(super) async fn warm_up(instance: Arc<Instance>, checks: Checks, within: Duration) -> Result<(), String> {
    if !instance.has_check() {
        return Ok(());
    }
    let over = clock::monotonic().after(within);
    let mut pause = Duration::from_millis(20);
    let mut said = "it could not be asked".to_owned();
    loop {
        let (outcome, _) = instance.check(CheckKind::Readiness, checks.timeout).await;
        match failure(&outcome) {
            Some(None) => return Ok(()),
            Some(Some(text)) => said = text,
            None => {}
        }
        if clock::monotonic() >= over {
            let within = within.as_millis();
            return Err(format!("it was not ready within {within} ms: {said}"));
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(Duration::from_secs(1));
    }
}

/// Whether a check has failed, and how; `None` if it says nothing of the plugin.
fn failure(outcome: &CheckOutcome) -> Option<Option<String>> {
    match outcome {
        CheckOutcome::Busy | CheckOutcome::NotBegun => None,
        CheckOutcome::TimedOut => Some(Some("its check does not answer in time".to_owned())),
        CheckOutcome::Failed { text, .. } => Some(Some(format!("its check failed: {text}"))),
        CheckOutcome::Answered { report } => {
            let is_down = |report: &&extman_model::Report| report.health == Some(Health::Down);
            let down = report.as_ref().filter(is_down);
            Some(down.map(|report| match &report.text {
                Some(text) => format!("its check says that it is down: {text}"),
                None => "its check says that it is down".to_owned(),
            }))
        }
    }
}

/// The judge of one update, at work until this is dropped.
pub(super) struct Judging(mpsc::UnboundedSender<Step>);

/// A step of the update, by its number, and its aim.
type Step = (u32, Aim);

impl Judging {
    /// Compares `new` with `old` from here on, and reports what comes of it under the new one's generation. Calls that are mirrored before the first
    /// step end the warm-up.
    pub(super) fn begin(
        (name, generation): (Arc<str>, u64),
        (new, old): (&Arc<Instance>, &Arc<Instance>),
        policy: &RolloutPolicy,
        checks: Checks,
        mirroring: Option<Mirroring>,
        requests: Requests,
    ) -> Self {
        // As many as an update has steps.
        let (steps, received) = mpsc::unbounded_channel();
        let task = Task {
            name,
            generation,
            every: interval(policy),
            new: Watched::begin(new.clone(), checks),
            old: Watched::begin(old.clone(), checks),
            looked: clock::monotonic(),
            judge: Judge::new(policy.judge),
            step: 0,
            mirroring,
            requests,
        };
        tokio::spawn(task.run(received));
        Judging(steps)
    }

    /// This step begins.
    pub(super) fn begin_step(&self, step: Step) {
        let _ = self.0.send(step);
    }
}

struct Task {
    name: Arc<str>,
    generation: u64,
    every: Duration,
    new: Watched,
    old: Watched,
    looked: Monotonic,
    judge: Judge,
    step: u32,
    /// Calls are mirrored: no step has begun.
    mirroring: Option<Mirroring>,
    requests: Requests,
}

/// Goes on with what is mirrored.
async fn advance(mirroring: &mut Option<Mirroring>) {
    match mirroring {
        Some(mirroring) => mirroring.advance().await,
        None => std::future::pending().await,
    }
}

impl Task {
    async fn run(mut self, mut steps: mpsc::UnboundedReceiver<Step>) {
        let mut looks = tokio::time::interval(self.every);
        looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                step = steps.recv() => {
                    let Some((step, aim)) = step else { return };
                    // What came before belongs to the step before.
                    self.observe();
                    self.mirroring = None;
                    self.judge.begin_step(aim);
                    self.step = step;
                }
                _ = looks.tick() => {
                    // First: the judge has seen all that there is when the warm-up ends.
                    let is_warm = self.mirroring.as_mut().is_some_and(Mirroring::is_over);
                    self.observe();
                    if !self.report() {
                        return;
                    }
                    if is_warm {
                        self.mirroring = None;
                        let warm = Request::WarmedUp(self.name.clone(), self.generation, Ok(()));
                        self.requests.make(warm);
                    }
                }
                () = advance(&mut self.mirroring) => {}
            }
        }
    }

    fn observe(&mut self) {
        let now = clock::monotonic();
        let lasted = now.since(self.looked);
        self.looked = now;
        let (new, old) = (self.new.since_last(), self.old.since_last());
        let mirrored = self.mirroring.as_mut().map(Mirroring::take_sides);
        // Where the host itself stood still, nothing is held against anybody.
        if lasted < self.every * 3 + Duration::from_secs(1) {
            match mirrored {
                Some((of_new, of_old)) => {
                    let mirrored = (&of_new, &of_old);
                    self.judge.observe_mirrored(lasted, (&new, &old), mirrored);
                }
                None => self.judge.observe(lasted, &new, &old),
            }
        }
    }

    /// `false` if nobody hears it any more.
    fn report(&self) -> bool {
        let verdict = self.judge.verdict();
        let (says, because) = match &verdict {
            Verdict::Good => (JudgeSays::Good, Vec::new()),
            Verdict::Worse(finding) => (JudgeSays::Worse, vec![finding.to_string()]),
            Verdict::NotEnough(lacks) => {
                let because = lacks.iter().map(ToString::to_string);
                (JudgeSays::NotEnough, because.collect())
            }
        };
        self.requests.make(Request::Judged {
            name: self.name.clone(),
            generation: self.generation,
            step: self.step,
            judged: match (Judged::from(&verdict), &self.mirroring) {
                (Judged::Worse(why), Some(_)) if is_of_calls(&verdict) => {
                    Judged::Worse(format!("of mirrored calls, whose answers nobody got: {why}"))
                }
                (judged, _) => judged,
            },
            says,
            because,
            mirrored: self.mirroring.as_ref().map(|mirroring| mirroring.seen().clone()),
        })
    }
}

fn is_of_calls(verdict: &Verdict) -> bool {
    let Verdict::Worse(finding) = verdict else {
        return false;
    };
    matches!(
        finding.measure,
        Measure::Errors | Measure::Latency | Measure::Panics
    )
}

/// One generation, and what was seen of it at the last look.
struct Watched {
    instance: Arc<Instance>,
    counts: CallCounts,
    panics: u64,
    latencies: LatencyHistogram,
    checked: Arc<Mutex<Checked>>,
    checking: Option<AbortHandle>,
}

/// Results of checks since the last look, and the heap that the last one of them told.
#[derive(Default)]
struct Checked {
    of: Failures,
    heap_bytes: Option<u64>,
}

impl Checked {
    fn take(&mut self) -> (Failures, Option<u64>) {
        (std::mem::take(&mut self.of), self.heap_bytes.take())
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        if let Some(checking) = &self.checking {
            checking.abort();
        }
    }
}

impl Watched {
    fn begin(instance: Arc<Instance>, checks: Checks) -> Self {
        let checked = Arc::<Mutex<Checked>>::default();
        let checking = instance.has_check().then(|| {
            let checking = tokio::spawn(check(instance.clone(), checks, checked.clone()));
            checking.abort_handle()
        });
        let metrics = instance.call_metrics();
        Watched {
            counts: metrics.counts(),
            panics: panics(&instance),
            latencies: metrics.latency(),
            instance,
            checked,
            checking,
        }
    }

    /// What it did since the last look.
    fn since_last(&mut self) -> Side {
        let metrics = self.instance.call_metrics();
        let (counts, panics, latencies) = (metrics.counts(), panics(&self.instance), metrics.latency());
        let ended = counts.ended.saturating_sub(self.counts.ended);
        let excused = counts.excused.saturating_sub(self.counts.excused);
        let (checks, heap_bytes) = lock(&self.checked).take();
        let side = Side {
            calls: Failures {
                failed: counts.blamed.saturating_sub(self.counts.blamed),
                of: ended.saturating_sub(excused),
            },
            latencies: latencies.since(&self.latencies),
            panics: panics.saturating_sub(self.panics),
            checks: self.checking.is_some().then_some(checks),
            heap_bytes,
        };
        (self.counts, self.panics, self.latencies) = (counts, panics, latencies);
        side
    }
}

fn panics(instance: &Instance) -> u64 {
    let mut errors = instance.call_metrics().errors();
    let panics = errors.find(|(kind, _)| *kind == ErrorKind::Panicked);
    panics.map_or(0, |(_, count)| count)
}

/// Asks an instance how it is, again and again.
async fn check(instance: Arc<Instance>, checks: Checks, checked: Arc<Mutex<Checked>>) {
    loop {
        let (outcome, _) = instance.check(CheckKind::Readiness, checks.timeout).await;
        if let Some(failure) = failure(&outcome) {
            let mut checked = lock(&checked);
            checked.of.of += 1;
            checked.of.failed += u64::from(failure.is_some());
            if let CheckOutcome::Answered { report: Some(report) } = outcome {
                checked.heap_bytes = report.heap_bytes.or(checked.heap_bytes);
            }
        }
        tokio::time::sleep(checks.every).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heap_that_was_measured_once_is_looked_at_once() {
        let mut checked = Checked {
            heap_bytes: Some(1),
            ..Checked::default()
        };
        assert_eq!(checked.take().1, Some(1));
        assert_eq!(checked.take().1, None);
    }
}
