//! What is known of instances at one moment, for whoever looks. Looking makes no check, and what is old is shown as old.

use super::Engine;
use super::hot::{Hot, Progress};
use super::instance::MonitoredInstance;
use super::results::{due, last};
use extman_health::Moment;
use extman_health::monitor::Monitor;
use extman_model::clock;
use extman_model::record::CheckCounts;
use extman_model::{CheckView, ConnectionView, Health, Judgement, Lifecycle, Part};
use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

/// One instance as it is known at one moment.
#[derive(Debug, Clone)]
pub struct Seen {
    /// Its name.
    pub name: Arc<str>,
    /// Where it is in its life.
    pub lifecycle: Lifecycle,
    /// What it is held to be.
    pub judged: Judgement,
    /// For how long it has had this word.
    pub lasted: Duration,
    /// It counts for nothing in any sum.
    pub left_out: bool,
    /// Weighted share of changes among the last states, in thousandths.
    pub flapping_permille: u16,
    /// For how long it has been flapping, if it does.
    pub flapping_for: Option<Duration>,
    /// Failed checks in a row.
    pub failed_checks: u8,
    /// Its checks since the engine knows it.
    pub counts: CheckCounts,
    /// Smoothed time that its checks take.
    pub round_trip: Option<Duration>,
    /// Until it is asked next; absent while it is being asked, or is not asked at all.
    pub next_check: Option<Duration>,
    /// Its last hard states, the newest last.
    pub recent: Vec<Health>,
    /// How long its code ran in the last checks that came back, in nanoseconds, the newest last.
    pub latencies_ns: Vec<u64>,
    /// What its last check came to.
    pub check: Option<CheckView>,
    /// Named parts, as its last report with parts told them.
    pub parts: Vec<Part>,
    /// The connection that it keeps, as its last report told.
    pub connection: Option<ConnectionView>,
    /// What its last deep check said.
    pub deep_words: Option<String>,
}

/// What one instance is held to be at one moment, and nothing that is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// What it is held to be.
    pub judged: Judgement,
    /// It counts for nothing in any sum.
    pub left_out: bool,
}

impl Engine {
    /// What one instance is held to be.
    pub fn standing(&self, name: &str) -> Option<Standing> {
        let scheduler = self.scheduler();
        let number = scheduler.find(name)?;
        let (instance, hot) = scheduler.instance(number)?;
        Some(standing(
            instance,
            hot,
            scheduler.progress(number),
            clock::monotonic(),
        ))
    }

    /// What all instances are held to be.
    pub fn standings(&self) -> HashMap<Arc<str>, Standing> {
        let (scheduler, now) = (self.scheduler(), clock::monotonic());
        let all = scheduler.all();
        all.map(|(instance, hot, progress)| {
            let standing = standing(instance, hot, progress, now);
            (instance.name.clone(), standing)
        })
        .collect()
    }

    /// One instance.
    pub fn view(&self, name: &str) -> Option<Seen> {
        let scheduler = self.scheduler();
        let number = scheduler.find(name)?;
        let (instance, hot) = scheduler.instance(number)?;
        let progress = scheduler.progress(number);
        Some(seen(instance, hot, progress, clock::monotonic()))
    }

    /// All instances, in no order.
    pub fn views(&self) -> Vec<Seen> {
        let (scheduler, now) = (self.scheduler(), clock::monotonic());
        let all = scheduler.all();
        all.map(|(instance, hot, progress)| seen(instance, hot, progress, now))
            .collect()
    }
}

/// Its checks since it is known.
pub(super) fn counts(instance: &MonitoredInstance, hot: &Hot) -> CheckCounts {
    CheckCounts {
        checks: instance.counts.checks + u64::from(hot.quiet.answers()),
        ..instance.counts
    }
}

fn standing(instance: &MonitoredInstance, hot: &Hot, progress: Progress, now: Moment) -> Standing {
    let is_asked = matches!(progress, Progress::Asked | Progress::Begun);
    Standing {
        // Most answer quietly: of them nothing is copied.
        judged: match hot.quiet.upholds(now, &hot.policy) {
            true => instance.monitor.judged(),
            false => caught_up(instance, hot).judged_at(now, is_asked, &hot.policy),
        },
        left_out: instance.monitor.is_excluded(),
    }
}

/// Its monitor, with what quiet answers have changed.
fn caught_up<'a>(instance: &'a MonitoredInstance, hot: &Hot) -> Cow<'a, Monitor> {
    let mut monitor = Cow::Borrowed(&instance.monitor);
    if hot.quiet.answers() > 0 {
        monitor.to_mut().take_quiet(&mut hot.quiet.clone(), &hot.policy);
    }
    monitor
}

fn seen(instance: &MonitoredInstance, hot: &Hot, progress: Progress, now: Moment) -> Seen {
    let Standing { judged, left_out } = standing(instance, hot, progress, now);
    let monitor = caught_up(instance, hot);
    let due = due(instance, hot).filter(|_| progress == Progress::Idle);
    let reported = instance.reported();
    Seen {
        name: instance.name.clone(),
        lifecycle: monitor.lifecycle(),
        judged,
        lasted: now.since(monitor.since()),
        left_out,
        flapping_permille: monitor.flap().permille(),
        flapping_for: instance.flapping_since().map(|since| now.since(since)),
        failed_checks: monitor.failed_checks(),
        counts: counts(instance, hot),
        round_trip: monitor.timeout().smoothed(),
        next_check: due.map(|due| due.since(now)),
        recent: monitor.flap().states(),
        latencies_ns: hot.recent.newest_last(),
        check: last(instance, hot),
        parts: reported
            .map(|reported| reported.parts.clone())
            .unwrap_or_default(),
        connection: reported.and_then(|reported| reported.connection),
        deep_words: instance.deep_words().map(str::to_owned),
    }
}
