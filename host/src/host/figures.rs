//! What is measured of an instance, who measured it, and what is not measured and why. No figure is made up: one that several instances
//! have together says so, and is not divided.

use crate::probing::Seen;
use extman_model::clock::nanos;
use extman_model::{CheckOutcome, Figure, NotMeasured, Report, Source, Unit};
use extman_runtime::instance::{Instance, InstanceSettings, InstanceUsed, ModulesUsed};
use extman_runtime::loader::Unattributed;
use extman_runtime::registry::Entry;

/// Figures, and what one would look for among them.
#[derive(Default)]
pub(super) struct Measured {
    pub figures: Vec<Figure>,
    pub missing: Vec<NotMeasured>,
}

/// All that is measured of an instance now.
pub(super) fn measured(entry: &Entry, seen: &Seen, modules: &mut ModulesUsed) -> Measured {
    let mut measured = Measured::default();
    let trip = seen.round_trip.map(nanos);
    measured.add(trip.map(|trip| Figure::new("check_round_trip", trip, Unit::Ns, Source::Host)));
    calls(entry, &mut measured);
    let report = seen.check.as_ref().and_then(|check| match &check.outcome {
        CheckOutcome::Answered { report } => report.as_ref(),
        _ => None,
    });
    let used = entry.serving.as_ref().map(|(instance, _)| {
        latency(instance, &mut measured);
        let used = instance.used(modules);
        processor(&used, &mut measured);
        used
    });
    heap(entry, report, used.as_ref(), &mut measured);
    if let Some(report) = report {
        told(report, &mut measured);
    }
    measured
}

impl Measured {
    fn add(&mut self, figure: Option<Figure>) {
        self.figures.extend(figure);
    }

    fn count(&mut self, name: &'static str, value: u64) {
        self.add(Some(Figure::new(name, value, Unit::Count, Source::Host)));
    }

    fn miss(&mut self, name: &'static str, why: &'static str) {
        self.missing.push(NotMeasured::new(name, why));
    }
}

fn calls(entry: &Entry, measured: &mut Measured) {
    let stats = entry.tally.stats();
    measured.count("calls", stats.total);
    let default = || InstanceSettings::default().call_timeout.as_millis() as u64;
    let timeout = entry.config.call_timeout_ms.unwrap_or_else(default);
    let timeout = Figure::new("call_timeout", timeout, Unit::Ms, Source::Host);
    measured.add(Some(timeout.note("unless its caller names another")));
    for (kind, count) in stats.errors {
        let name = format!("errors_{}", kind.as_str());
        measured.add(Some(Figure::new(name, count, Unit::Count, Source::Host)));
    }
}

fn latency(instance: &Instance, measured: &mut Measured) {
    let accounts = instance.call_metrics();
    // Since the minute began: then it goes into the history.
    let latency = accounts.latency();
    for (name, q) in [("call_p50", 0.5), ("call_p95", 0.95), ("call_p99", 0.99)] {
        let quantile = latency.quantile(q).map(nanos);
        match quantile {
            Some(ns) => measured.add(Some(Figure::new(name, ns, Unit::Ns, Source::Host))),
            None => measured.miss(name, "no call has come back in this minute"),
        }
    }
    measured.count("calls_in_flight", accounts.in_flight());
}

const WITHOUT: &str = "since its library was loaded";
const WITHOUT_ATTACHED: &str = "since its library was loaded; without calls on attached threads";
fn processor(used: &InstanceUsed, measured: &mut Measured) {
    let waits = Figure::new("calls_queued", used.queued as u64, Unit::Count, Source::Host);
    measured.add(Some(waits.shared_by(used.lanes_shared_by)));
    let lanes = Figure::new("cpu_lanes", used.lanes_ns, Unit::Ns, Source::Host);
    let without = if used.attached { WITHOUT_ATTACHED } else { WITHOUT };
    measured.add(Some(lanes.shared_by(used.lanes_shared_by).note(without)));
    let threads = match &used.threads {
        Ok(threads) => threads,
        Err(unattributed) => {
            let why = why_not(*unattributed);
            measured.miss("cpu_threads", why);
            measured.miss("threads", why);
            return;
        }
    };
    let time = Figure::new("cpu_threads", threads.cpu_ns, Unit::Ns, Source::Host);
    measured.add(Some(time.note(OWN_SINCE).shared_by(used.instances)));
    let alive = Figure::new("threads", threads.alive as u64, Unit::Count, Source::Host);
    measured.add(Some(alive.note(OWN).shared_by(used.instances)));
}

const OWN: &str = "made by its code, by pthread_create";
const OWN_SINCE: &str = "since it was loaded, of threads that its code made by pthread_create";

fn why_not(unattributed: Unattributed) -> &'static str {
    match unattributed {
        Unattributed::NotLoaded => "its library is not loaded",
        Unattributed::NotInterposed => {
            "the host does not see the threads that plugins make; its executable has to export pthread_create"
        }
        Unattributed::TooMany => "there are more threads, or more libraries, than the host can follow",
    }
}

const NO_CHECK: &str = "its last check has brought no report";
const NO_ALLOCATOR: &str = "nothing counts its heap: it is not in Rust, or brings an allocator of its own";

fn heap(entry: &Entry, report: Option<&Report>, used: Option<&InstanceUsed>, measured: &mut Measured) {
    let Some(bytes) = report.and_then(|report| report.heap_bytes) else {
        measured.miss("heap", if report.is_some() { NO_ALLOCATOR } else { NO_CHECK });
        return;
    };
    // A library has one heap, and another author than ours may have filled the field.
    let by = if extman_runtime::vetting::is_rust(&entry.plugin) {
        Source::Sdk
    } else {
        Source::Plugin
    };
    let instances = used.map_or(1, |used| used.instances);
    let figure =
        |name: &'static str, value, unit, by| Figure::new(name, value, unit, by).shared_by(instances);
    measured.add(Some(figure("heap", bytes, Unit::Bytes, by)));
    let peak = report.and_then(|report| report.heap_peak_bytes);
    measured.add(peak.map(|peak| figure("heap_peak", peak, Unit::Bytes, by)));
    match report.and_then(|report| report.heap_limit_bytes) {
        Some(limit @ 1..) => {
            let share = u128::from(bytes) * 1000 / u128::from(limit);
            let share = u64::try_from(share).unwrap_or(u64::MAX);
            measured.add(Some(figure("heap_limit", limit, Unit::Bytes, Source::Plugin)));
            measured.add(Some(
                figure("heap_share", share, Unit::Permille, by).note("of heap_limit"),
            ));
        }
        Some(0) | None => measured.miss("heap_limit", "the plugin names none"),
    }
}

/// The plugin's own word.
fn told(report: &Report, measured: &mut Measured) {
    for (name, value, unit) in [
        ("connection_round_trip", report.connection_rtt_ns, Unit::Ns),
        ("connection_age", report.connection_age_ms, Unit::Ms),
        ("queue_depth", report.queue_depth, Unit::Count),
        ("queue_capacity", report.queue_capacity, Unit::Count),
        ("work_in_flight", report.in_flight, Unit::Count),
    ] {
        measured.add(value.map(|value| Figure::new(name, value, unit, Source::Plugin)));
    }
}
