//! How plugins are, as the host tells it: what the engine knows, with what is counted beside it.

use super::Host;
use super::figures::{Measured, measured};
use super::recent::RecentLatency;
use crate::probing::{Announced, Audience, Engine, Seen, Subject};
use extman_health::aggregate::{Member, aggregate};
use extman_health::policy::Policy;
use extman_history::History;
use extman_model::clock;
use extman_model::record::{Record, ReleaseRow};
use extman_model::{
    CheckOutcome, Criticality, DeepView, Digest, Health, HealthView, Judgement, Lifecycle, PluginView,
    ProbeSettings, What,
};
use extman_model::{Group, Overall};
use extman_plugin_api::manifest::schema::Kind;
use extman_runtime::registry::{Entry, Snapshot};
use extman_runtime::supervisor::{Events, Request, Requests};
use std::sync::Arc;
use std::time::Duration;

/// Passes on what the engine has to tell.
pub(super) struct Ears {
    pub events: Events,
    pub requests: Requests,
    pub history: Arc<History>,
    pub recent: Arc<RecentLatency>,
}

impl Audience for Ears {
    fn announced(&self, announced: Announced) {
        let Announced { name, from, to, text } = announced;
        let same = |j: &Judgement| (j.health, j.flags.flapping, j.flags.stale);
        if same(&from) == same(&to) {
            return;
        }
        self.events.tell(What::Health {
            name: name.to_string(),
            from: from.health,
            to: to.health,
            cause: to.cause,
            flapping: to.flags.flapping,
            text,
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
        self.events.tell(What::Stalled { for_ms });
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

/// All instances, as the engine is told of them.
pub(super) fn subjects(snapshot: &Snapshot, all: ProbeSettings) -> Vec<Subject> {
    let mut policies: Vec<Arc<Policy>> = Vec::new();
    let subject = |entry: &Arc<Entry>| {
        let policy = Policy::resolve(entry.config.probe, &entry.plugin.manifest().probe, all);
        let policy = match policies.iter().find(|known| ***known == policy) {
            Some(known) => known.clone(),
            None => {
                policies.push(Arc::new(policy));
                policies[policies.len() - 1].clone()
            }
        };
        Subject {
            name: entry.name.as_str().into(),
            policy,
            lifecycle: entry.lifecycle,
            target: entry
                .serving
                .as_ref()
                .map(|(instance, generation)| (instance.clone() as _, *generation)),
            maintenance: entry.config.maintenance,
        }
    };
    snapshot.all().map(subject).collect()
}

/// Writes down when another version serves.
#[derive(Default)]
pub(super) struct Releases(std::collections::HashMap<String, Digest>);

impl Releases {
    pub(super) fn note(&mut self, snapshot: &Snapshot, history: &History) {
        for entry in snapshot.all().filter(|entry| entry.serving.is_some()) {
            let digest = entry.plugin.digest();
            if self.0.insert(entry.name.clone(), digest) != Some(digest) {
                history.record(Record::Release(ReleaseRow {
                    instance: entry.name.as_str().into(),
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
        let known = Known::of(self);
        let Known { snapshot, seen } = &known;
        let covering: Vec<_> = snapshot.all().map(|entry| known.covered(entry)).collect();
        let mut members: Vec<Member<'_>> = snapshot
            .all()
            .zip(&covering)
            .map(|(entry, covered)| Member {
                name: &entry.name,
                group: match entry.plugin.manifest().plugin.kind {
                    Kind::Ai => Group::Ai,
                    Kind::General => Group::General,
                },
                health: known.health_of(&entry.name),
                left_out: seen.get(entry.name.as_str()).is_some_and(|seen| seen.left_out),
                criticality: entry.config.criticality,
                redundant: entry.config.redundant.as_deref(),
                covered: covered
                    .as_ref()
                    .map(|names| names.iter().map(String::as_str).collect()),
            })
            .collect();
        let parts = self.components();
        members.extend(parts.iter().map(|part| Member {
            name: &part.name,
            group: Group::Host,
            health: part.health,
            left_out: part.left_out,
            criticality: Criticality::Optional,
            redundant: None,
            covered: None,
        }));
        aggregate(&members, &self.inner.config.health.redundant)
    }

    pub(super) fn engine(&self) -> &Engine {
        &self.inner.engine
    }

    /// An instance with how it is.
    pub(super) fn view(&self, entry: &Entry) -> PluginView {
        let mut view = entry.view();
        if let Some(seen) = self.engine().view(&entry.name) {
            view.check.clone_from(&seen.check);
            view.health = Some(self.health_view(entry, &seen));
        }
        view
    }
}

impl Host {
    /// How an instance is, as shown.
    pub(super) fn health_view(&self, entry: &Entry, seen: &Seen) -> HealthView {
        let mut view = health_view(entry, seen, self.inner.deep.view(&entry.name));
        if let Some((instance, _)) = &entry.serving {
            let (since, now) = (instance.accounts().latency(), clock::unix_ms(clock::wall()));
            view.figures
                .extend(self.inner.recent.p95(&entry.name, &since, now));
        }
        view
    }
}

/// One picture of who there is and how they are.
pub(super) struct Known {
    pub snapshot: Arc<Snapshot>,
    pub seen: std::collections::HashMap<Arc<str>, Seen>,
}

impl Known {
    pub(super) fn of(host: &Host) -> Known {
        let seen = host.engine().views().into_iter();
        Known {
            snapshot: host.snapshot(),
            seen: seen.map(|seen| (seen.name.clone(), seen)).collect(),
        }
    }

    pub(super) fn health_of(&self, name: &str) -> Health {
        self.seen
            .get(name)
            .map_or(Health::Unknown, |seen| seen.judged.health)
    }

    pub(super) fn serves(&self, entry: &Entry) -> bool {
        entry.serving.is_some() && matches!(self.health_of(&entry.name), Health::Up | Health::Degraded)
    }

    /// Its capabilities, if somebody else serves each of them.
    pub(super) fn covered(&self, entry: &Entry) -> Option<Vec<String>> {
        let capabilities = &entry.plugin.manifest().capabilities;
        let others = |name: &str| {
            let mut offering = self.snapshot.offering(name).iter();
            offering.any(|other| other.name != entry.name && self.serves(other))
        };
        let all = capabilities.iter().all(|capability| others(&capability.name));
        all.then(|| capabilities.iter().map(|c| c.name.clone()).collect())
    }
}

fn health_view(entry: &Entry, seen: &Seen, deep: Option<DeepView>) -> HealthView {
    let now = clock::unix_ms(clock::wall());
    let words = words(entry, seen);
    let Measured { figures, missing } = measured(entry, seen);
    HealthView {
        judged: seen.judged,
        reason: words.map_or_else(
            || seen.judged.cause.to_string(),
            |words| format!("{}: {words}", seen.judged.cause),
        ),
        since_unix_ms: now.saturating_sub(seen.lasted.as_millis() as u64),
        left_out: seen.left_out,
        failed_checks: seen.failed_checks,
        flapping_permille: seen.flapping_permille,
        next_check_ms: seen.next_check.map(|next| next.as_millis() as u64),
        figures,
        not_measured: missing,
        deep: deep.map(Box::new),
    }
}

/// Why, in the plugin's own words or in those of whoever moved it.
fn words(entry: &Entry, seen: &Seen) -> Option<String> {
    use extman_model::Cause;
    match seen.judged.cause {
        cause if cause.is_deep() => seen.deep_words.clone(),
        Cause::Lifecycle(Lifecycle::Running) => None,
        Cause::Lifecycle(_) => entry.cause.clone(),
        Cause::HeapNearLimit => heap_of_limit(seen),
        _ => match &seen.check.as_ref()?.outcome {
            CheckOutcome::Answered { report } => report.as_ref()?.text.clone(),
            CheckOutcome::Failed { text, .. } => Some(text.clone()),
            CheckOutcome::Busy | CheckOutcome::TimedOut => None,
        },
    }
}

fn heap_of_limit(seen: &Seen) -> Option<String> {
    let CheckOutcome::Answered { report } = &seen.check.as_ref()?.outcome else {
        return None;
    };
    let report = report.as_ref()?;
    let (bytes, limit) = (report.heap_bytes?, report.heap_limit_bytes?);
    Some(format!("{bytes} bytes of {limit}"))
}
