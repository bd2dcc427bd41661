//! How plugins are, as the host tells it: what the engine knows, with what is counted beside it.

use super::Host;
use super::figures::{Measured, measured};
use super::recent::RecentCalls;
use crate::probing::{
    Engine, EventSink, FlappingChange, HealthChange, ReportChange, Seen, Standing, Subject, suppressed_by,
};
use extman_health::aggregate::{Member, aggregate};
use extman_health::policy::Policy;
use extman_history::History;
use extman_model::clock;
use extman_model::control::report::PluginHealth;
use extman_model::record::{Record, ReleaseRow};
use extman_model::{
    CallStats, Cause, CheckOutcome, Component, Criticality, Digest, ErrorKind, Health, HealthView, Lifecycle,
    Part, PluginView, ProbeSettings, What,
};
use extman_model::{Group, Overall};
use extman_runtime::instance::{Instance, ModulesUsed};
use extman_runtime::registry::{Change, Entry, Registry, Snapshot};
use extman_runtime::supervisor::{Events, Request, Requests};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

/// Publishes what the engine reports: to events, to the registry and to the history.
pub(super) struct HostSink {
    pub events: Events,
    pub requests: Requests,
    pub history: Arc<History>,
    pub recent: Arc<RecentCalls>,
    pub registry: Arc<Registry>,
}

impl EventSink for HostSink {
    fn changed(&self, change: HealthChange) {
        let (from, to) = (change.from, change.to);
        // Before anybody hears of it: who is told that another one stands in is served by that one.
        let by_calls = to.cause.is_by_calls() && to.health == Health::Down;
        self.registry.learn_health(&change.name, to.health, by_calls);
        self.note_down(&change);
        let name = change.name.to_string();
        let (begins, permille, changes, lasted) = match change.flapping {
            Some(FlappingChange::GoesOn) => return,
            Some(FlappingChange::Begins { permille }) => (true, permille, 0, Duration::ZERO),
            Some(FlappingChange::Ends { changes, lasted }) => (false, 0, changes, lasted),
            None if (from.health, from.flags.stale) == (to.health, to.flags.stale) => return,
            None => {
                return self.events.publish(What::Health {
                    name,
                    from: from.health,
                    to: to.health,
                    cause: to.cause,
                    flapping: to.flags.flapping,
                    text: change.text,
                });
            }
        };
        self.events.publish(What::Flapping {
            name,
            begins,
            to: to.health,
            cause: to.cause,
            permille,
            changes,
            for_ms: lasted.as_millis() as u64,
        });
    }

    fn reported(&self, name: &str, change: ReportChange) {
        let name = name.to_owned();
        self.events.publish(match change {
            ReportChange::Part {
                name: part,
                from,
                to,
                text,
            } => What::PartChanged {
                name,
                part,
                from,
                to,
                text,
            },
            ReportChange::Connection { from, to } => What::ConnectionChanged { name, from, to },
        });
    }

    fn panicked(&self, name: &str, generation: u64, text: String) {
        self.requests.make(Request::Panicked {
            name: name.to_owned(),
            generation,
            text,
        });
    }

    fn stalled(&self, stall: Duration) {
        let for_ms = stall.as_millis() as u64;
        tracing::warn!(
            for_ms,
            "the host itself did not run; nothing is held against its plugins"
        );
        self.events.publish(What::Stalled { for_ms });
    }

    fn record(&self, records: &mut Vec<Record>) {
        self.recent.note(records);
        for record in records.drain(..) {
            self.history.record(record);
        }
    }

    fn keeps_results(&self) -> bool {
        self.history.is_on()
    }
}

impl HostSink {
    /// The supervisor hears when an instance is down, whether a restart may help it, and when it no longer is.
    fn note_down(&self, change: &HealthChange) {
        if change.from.health != Health::Down && change.to.health != Health::Down {
            return;
        }
        let entry = self.registry.snapshot().get(&change.name);
        let Some((instance, generation)) = entry.as_ref().and_then(|entry| entry.serving.as_ref()) else {
            return;
        };
        let cause = change.to.cause;
        let is_failure = change.to.health == Health::Down && may_be_helped(cause, || calls_may(instance));
        let why = is_failure.then(|| match &change.text {
            Some(text) => format!("{cause}: {text}"),
            None => cause.to_string(),
        });
        self.requests.make(Request::Down {
            name: change.name.clone(),
            generation: *generation,
            is_down: change.to.health == Health::Down,
            why,
        });
    }
}

/// Whether a restart may help one that is down by this. What a plugin says of itself, and what it lacks, is out of its own hands.
fn may_be_helped(cause: Cause, calls_may: impl FnOnce() -> bool) -> bool {
    match cause {
        Cause::CheckTimesOut | Cause::DeepTimesOut => true,
        Cause::CheckFails(kind) | Cause::DeepFails(kind) => kind_may(kind),
        cause if cause.is_by_calls() => calls_may(),
        _ => false,
    }
}

fn kind_may(kind: ErrorKind) -> bool {
    let lacks_something = matches!(
        kind,
        ErrorKind::Unavailable | ErrorKind::RateLimited | ErrorKind::Configuration
    );
    !lacks_something && !kind.is_callers()
}

/// Whether most of an instance's failed calls are such that a restart may help.
fn calls_may(instance: &Instance) -> bool {
    let (mut may, mut may_not) = (0, 0);
    for (kind, count) in instance
        .call_metrics()
        .errors()
        .filter(|(kind, _)| !kind.is_callers())
    {
        *if kind_may(kind) { &mut may } else { &mut may_not } += count;
    }
    may > may_not
}

/// Instances, as the engine is told of them, and what of that is to be remembered.
pub(super) struct Subjects {
    /// What is configured for all.
    settings: ProbeSettings,
    /// Each policy once, however many instances have it.
    policies: HashSet<Arc<Policy>>,
    /// Policies from which on those are looked for that nobody has any more.
    policies_max: usize,
    /// Which bytes served last.
    releases: HashMap<Arc<str>, Digest>,
}

impl Subjects {
    pub(super) fn new(settings: ProbeSettings) -> Self {
        Subjects {
            settings,
            policies: HashSet::new(),
            policies_max: 64,
            releases: HashMap::new(),
        }
    }

    /// From here on this is configured for all.
    pub(super) fn set_probe(&mut self, settings: ProbeSettings) {
        self.settings = settings;
    }

    /// Those that have changed.
    pub(super) fn of(
        &mut self,
        change: &Change<'_>,
        is_in_maintenance: impl Fn(&Entry) -> bool,
    ) -> Vec<Subject> {
        let subject = |entry: &Arc<Entry>| self.subject(entry, is_in_maintenance(entry));
        change.entries.iter().map(subject).collect()
    }

    fn subject(&mut self, entry: &Entry, maintenance: bool) -> Subject {
        let policy = Policy::resolve(entry.config.probe, &entry.plugin.manifest().probe, self.settings);
        Subject {
            name: entry.name.clone(),
            policy: self.once(policy),
            lifecycle: entry.lifecycle,
            target: entry
                .serving
                .as_ref()
                .map(|(instance, generation)| (instance.clone() as _, *generation)),
            maintenance,
            suppressed_by: entry.suppressed_by.clone(),
        }
    }

    fn once(&mut self, policy: Policy) -> Arc<Policy> {
        if let Some(known) = self.policies.get(&policy) {
            return known.clone();
        }
        if self.policies.len() >= self.policies_max {
            self.policies.retain(|policy| Arc::strong_count(policy) > 1);
            self.policies_max = self.policies.len() * 2 + 64;
        }
        let policy = Arc::new(policy);
        self.policies.insert(policy.clone());
        policy
    }

    /// Writes down when another version serves.
    pub(super) fn note_releases(&mut self, change: &Change<'_>, history: &History) {
        for entry in change.entries.iter().filter(|entry| entry.serving.is_some()) {
            let digest = entry.plugin.digest();
            if self.releases.insert(entry.name.clone(), digest) != Some(digest) {
                history.record(Record::Release(ReleaseRow {
                    instance: entry.name.clone(),
                    at_unix_ms: clock::unix_ms(clock::wall()),
                    version: entry.plugin.manifest().plugin.version.clone(),
                    digest,
                }));
            }
        }
    }
}

impl Host {
    /// How everything is: one word, one sentence, and the groups behind it. Asks nobody.
    pub fn health(&self) -> Overall {
        self.overall(&Known::of(self), &self.missing(), &self.components())
    }

    /// How all of these together are.
    pub(super) fn overall(&self, known: &Known, missing: &[PluginHealth], parts: &[Component]) -> Overall {
        let current = self.inner.current();
        let covering: Vec<_> = known
            .entries
            .iter()
            .map(|entry| covered(&known.snapshot, entry))
            .collect();
        let mut members: Vec<Member<'_>> = known
            .entries
            .iter()
            .zip(&covering)
            .map(|(entry, covered)| Member {
                name: &entry.name,
                group: Group::of(entry.plugin.manifest().plugin.kind),
                health: known.health_of(&entry.name),
                left_out: known.is_left_out(&entry.name),
                criticality: entry.config.criticality,
                redundant: entry.config.redundant.as_deref(),
                covered: covered
                    .as_ref()
                    .map(|names| names.iter().map(String::as_str).collect()),
            })
            .collect();
        members.extend(missing.iter().map(|plugin| {
            Member {
                name: &plugin.name,
                group: Group::General,
                health: plugin.health.judged.health,
                left_out: plugin.health.left_out,
                criticality: if plugin.required {
                    Criticality::Required
                } else {
                    Criticality::Optional
                },
                redundant: current
                    .instance(&plugin.name)
                    .and_then(|config| config.redundant.as_deref()),
                covered: None,
            }
        }));
        members.extend(parts.iter().map(|part| Member {
            name: &part.name,
            group: Group::Host,
            health: part.health,
            left_out: part.left_out,
            criticality: Criticality::Optional,
            redundant: None,
            covered: None,
        }));
        aggregate(&members, &current.config.health.redundant)
    }

    pub(super) fn engine(&self) -> &Engine {
        &self.inner.engine
    }

    /// An instance with how it is, one of many or alone.
    pub(super) fn view(&self, entry: &Entry, modules: &mut ModulesUsed) -> PluginView {
        let mut view = entry.view();
        view.process_changes = self.inner.process.of(&entry.name);
        if let Some(seen) = self.engine().view(&entry.name) {
            view.check.clone_from(&seen.check);
            view.health = Some(self.health_view(entry, &seen, modules));
        }
        view
    }
}

impl Host {
    /// How an instance is, as shown.
    pub(super) fn health_view(&self, entry: &Entry, seen: &Seen, modules: &mut ModulesUsed) -> HealthView {
        let mut view = health_view(entry, seen, modules);
        view.deep = self.inner.deep.view(&entry.name).map(Box::new);
        view.in_maintenance = self.inner.maintenances.of(entry).map(Box::new);
        if let Some((instance, _)) = &entry.serving {
            let (since, now) = (instance.call_metrics().latency(), clock::unix_ms(clock::wall()));
            view.figures
                .extend(self.inner.recent.figures(&entry.name, &since, now));
        }
        view
    }
}

/// One picture of who there is and how they are.
pub(super) struct Known {
    pub entries: Vec<Arc<Entry>>,
    pub standings: HashMap<Arc<str>, Standing>,
    pub snapshot: Arc<Snapshot>,
}

impl Known {
    pub(super) fn of(host: &Host) -> Known {
        let (standings, snapshot) = (host.engine().standings(), host.snapshot());
        Known {
            entries: snapshot.all().collect(),
            standings,
            snapshot,
        }
    }

    /// How many of each redundant set serve and count.
    pub(super) fn serving_of_sets(&self) -> HashMap<String, usize> {
        let mut serving = HashMap::new();
        for entry in &self.entries {
            if let Some(set) = &entry.config.redundant
                && counts_as_serving(entry, self.standings.get(&entry.name))
            {
                *serving.entry(set.clone()).or_default() += 1;
            }
        }
        serving
    }

    pub(super) fn health_of(&self, name: &str) -> Health {
        self.standings
            .get(name)
            .map_or(Health::Unknown, |standing| standing.judged.health)
    }

    pub(super) fn is_left_out(&self, name: &str) -> bool {
        self.standings.get(name).is_some_and(|standing| standing.left_out)
    }
}

/// Whether one of a redundant set is one of those of which enough must serve.
pub(super) fn counts_as_serving(entry: &Entry, standing: Option<&Standing>) -> bool {
    entry.serving.is_some()
        && standing.is_some_and(|standing| standing.judged.health.serves() && !standing.left_out)
}

/// Whether calls of each of its capabilities go to somebody else who is known to serve.
pub(super) fn is_covered(snapshot: &Snapshot, entry: &Entry) -> bool {
    let by_another = |capability: &str| {
        let choice = snapshot.route(capability)?.choice();
        let choice = choice.as_ref()?;
        Some(choice.health.serves() && choice.serving.as_ref()?.entry.name != entry.name)
    };
    let capabilities = &entry.plugin.manifest().capabilities;
    capabilities
        .iter()
        .all(|capability| by_another(&capability.name) == Some(true))
}

/// If somebody else serves all of its capabilities, those of which it would be asked before that one.
fn covered(snapshot: &Snapshot, entry: &Entry) -> Option<Vec<String>> {
    let names = entry.plugin.manifest().capabilities.iter();
    let names = names.map(|capability| &capability.name);
    let has_stand_in = |name: &&String| {
        let route = snapshot.route(name);
        route.is_some_and(|route| route.has_stand_in_for(entry))
    };
    is_covered(snapshot, entry).then(|| names.filter(has_stand_in).cloned().collect())
}

fn health_view(entry: &Entry, seen: &Seen, modules: &mut ModulesUsed) -> HealthView {
    let now = clock::unix_ms(clock::wall());
    let Measured { figures, missing } = measured(entry, seen, modules);
    HealthView {
        judged: seen.judged,
        reason: reason(entry, seen),
        since_unix_ms: now.saturating_sub(seen.lasted.as_millis() as u64),
        left_out: seen.left_out,
        in_maintenance: None,
        way_back: entry.way_back.clone().map(Box::new),
        failed_checks: seen.failed_checks,
        checks: seen.counts,
        parts: seen.parts.clone(),
        connection: seen.connection,
        flapping_permille: seen.flapping_permille,
        flapping_since_unix_ms: seen
            .flapping_for
            .map(|lasted| now.saturating_sub(lasted.as_millis() as u64)),
        next_check_ms: seen.next_check.map(|next| next.as_millis() as u64),
        figures,
        not_measured: missing,
        deep: None,
    }
}

/// What decided, and why.
pub(super) fn reason(entry: &Entry, seen: &Seen) -> String {
    match words(entry, seen) {
        Some(words) => format!("{}: {words}", seen.judged.cause),
        None => seen.judged.cause.to_string(),
    }
}

/// Why, in the plugin's own words or in those of whoever moved it.
fn words(entry: &Entry, seen: &Seen) -> Option<String> {
    match seen.judged.cause {
        cause if cause.is_deep() => seen.deep_words.clone(),
        Cause::Lifecycle(Lifecycle::Running) => None,
        Cause::Lifecycle(_) => entry.cause.clone(),
        Cause::DependencyDown => entry.suppressed_by.as_deref().map(suppressed_by),
        Cause::HeapNearLimit => heap_of_limit(seen),
        cause if cause.is_by_calls() => last_failure(&entry.tally.stats()),
        _ => match &seen.check.as_ref()?.outcome {
            CheckOutcome::Answered { report } => {
                report.as_ref()?.text.clone().or_else(|| worst_part(&seen.parts))
            }
            // A plugin without a check of its own answers so; what it pushed, or that all is well, is not explained by that.
            CheckOutcome::Failed { .. } if !is_failure(seen.judged.cause) => None,
            CheckOutcome::Failed { text, .. } => Some(text.clone()),
            CheckOutcome::Busy | CheckOutcome::NotBegun | CheckOutcome::TimedOut => None,
        },
    }
}

/// Whether what decided is something that fails, and not what the plugin says.
fn is_failure(cause: Cause) -> bool {
    !matches!(
        cause,
        Cause::Answers | Cause::CallsSucceed | Cause::SaysDown | Cause::SaysDegraded | Cause::SaysUnknown
    )
}

fn last_failure(calls: &CallStats) -> Option<String> {
    let kind = calls.last_failure?;
    Some(format!("the last as {}", kind.as_str().replace('_', " ")))
}

/// What it says of the worst of its named parts, if one is not well.
fn worst_part(parts: &[Part]) -> Option<String> {
    let sick = parts.iter().filter(|part| part.health != Health::Up);
    let worst = sick.max_by_key(|part| part.health)?;
    let message = match worst.message.is_empty() {
        true => worst.health.as_str(),
        false => &worst.message,
    };
    Some(format!("{}: {message}", worst.name))
}

fn heap_of_limit(seen: &Seen) -> Option<String> {
    let CheckOutcome::Answered { report } = &seen.check.as_ref()?.outcome else {
        return None;
    };
    let report = report.as_ref()?;
    let (bytes, limit) = (report.heap_bytes?, report.heap_limit_bytes?);
    let mib = |bytes: u64| format!("{:.1}", bytes as f64 / f64::from(1 << 20));
    Some(format!("{} of {} MiB", mib(bytes), mib(limit)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn restart_helps_what_fails_and_not_what_lacks_something_or_says_so_itself() {
        let helped = |cause| may_be_helped(cause, || true);
        for cause in [
            Cause::CheckTimesOut,
            Cause::CheckFails(ErrorKind::Internal),
            Cause::DeepFails(ErrorKind::Panicked),
            Cause::CallsFail,
        ] {
            assert!(helped(cause), "{cause}");
        }
        for cause in [
            Cause::SaysDown,
            Cause::DeepSaysDown,
            Cause::CheckFails(ErrorKind::Unavailable),
            Cause::DeepFails(ErrorKind::RateLimited),
            Cause::Lifecycle(Lifecycle::Wedged),
            Cause::HostStarved,
        ] {
            assert!(!helped(cause), "{cause}");
        }
        assert!(!may_be_helped(Cause::CallsFail, || false));
    }
}
