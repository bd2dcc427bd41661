//! Maintenance at run time: which instances an operator works on, until when. It is kept in the history's key-value table, so that it
//! outlives the host.
//!
//! `maintenance = true` in an `[[instance]]` and a command of the operator are two sources of one thing: [`Maintenances::of`] says what
//! holds. What the configuration says has no end, so it goes before what an operator says.

use super::Host;
use super::health::Subjects;
use crate::deep::DeepChecks;
use crate::probing::Engine;
use extman_history::History;
use extman_model::clock::{self, Monotonic};
use extman_model::control::ControlError;
use extman_model::history::HistoryState;
use extman_model::record::{KeyValueRow, Record};
use extman_model::{Maintenance, MaintenanceAsked, MaintenanceRow, MaintenanceSource, ProbeSettings, What};
use extman_runtime::registry::{Change, Entry, Registry};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;
use tokio::sync::Notify;

/// Names of its values in the history's key-value table begin so.
const PREFIX: &str = "maintenance/";
/// A disk that takes longer is not waited for: the command fails, and nothing has changed.
const DISK_MAX: Duration = Duration::from_secs(10);
/// How often it is looked whether one is over: the wall clock may be set at any time.
const LOOK: Duration = Duration::from_millis(500);

/// Which instances an operator has put into maintenance.
#[derive(Default)]
pub(super) struct Maintenances {
    active: Mutex<BTreeMap<Arc<str>, Active>>,
    /// Woken when one begins.
    begun: Notify,
    /// Held by a command until it is answered: what stands on the disk is what the last one said.
    commands: tokio::sync::Mutex<()>,
}

/// Maintenance that an operator asked for. It ends when either clock says so: the wall clock at the moment that was shown, the monotonic
/// clock once the time that was asked for has passed, so that a wall clock that is set back prolongs nothing.
#[derive(Clone)]
struct Active {
    kept: Kept,
    ends: Monotonic,
}

/// As it stands in the key-value table.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Kept {
    since_unix_ms: u64,
    until_unix_ms: u64,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    reason: Option<String>,
}

impl Active {
    /// Of what was kept: at most the time that was asked for, whatever the wall clock says now.
    fn new(kept: Kept, now_unix_ms: u64, now: Monotonic) -> Self {
        let asked_ms = kept.until_unix_ms.saturating_sub(kept.since_unix_ms);
        let left_ms = kept.until_unix_ms.saturating_sub(now_unix_ms).min(asked_ms);
        Active {
            kept,
            ends: now.after(Duration::from_millis(left_ms)),
        }
    }

    fn is_over(&self, now_unix_ms: u64, now: Monotonic) -> bool {
        now_unix_ms >= self.kept.until_unix_ms || now >= self.ends
    }

    /// As shown: where the wall clock was set back, it ends sooner than was said.
    fn view(&self, now_unix_ms: u64, now: Monotonic) -> Maintenance {
        let left_ms = self.ends.since(now).as_millis() as u64;
        Maintenance {
            by: MaintenanceSource::Operator,
            since_unix_ms: Some(self.kept.since_unix_ms),
            until_unix_ms: Some(self.kept.until_unix_ms.min(now_unix_ms.saturating_add(left_ms))),
            reason: self.kept.reason.clone(),
        }
    }
}

impl Maintenances {
    /// An instance's maintenance, if it is in any.
    pub(super) fn of(&self, entry: &Entry) -> Option<Maintenance> {
        match entry.config.maintenance {
            true => Some(Maintenance::CONFIGURED),
            false => self.of_operator(&entry.name),
        }
    }

    pub(super) fn of_operator(&self, name: &str) -> Option<Maintenance> {
        let (now_unix_ms, now) = now();
        let active = self.lock();
        let found = active.get(name).filter(|one| !one.is_over(now_unix_ms, now))?;
        Some(found.view(now_unix_ms, now))
    }

    /// Takes those that are over out.
    fn take_over(&self) -> Vec<Arc<str>> {
        let (now_unix_ms, now) = now();
        let mut active = self.lock();
        let over = active.iter().filter(|(_, one)| one.is_over(now_unix_ms, now));
        let over: Vec<Arc<str>> = over.map(|(name, _)| name.clone()).collect();
        over.iter().for_each(|name| drop(active.remove(name)));
        over
    }

    /// Takes in what an earlier host kept; what was said since stays. Those that are new.
    fn take_in(&self, rows: Vec<KeyValueRow>) -> Vec<(Arc<str>, Kept)> {
        let (now_unix_ms, now) = now();
        let mut active = self.lock();
        let mut new = Vec::new();
        for row in rows {
            let name: Arc<str> = row.key.strip_prefix(PREFIX).unwrap_or(&row.key).into();
            let value = row.value.unwrap_or_default();
            let Ok(kept) = serde_json::from_str::<Kept>(&value) else {
                tracing::warn!(
                    plugin = &*name,
                    value,
                    "what was kept of a maintenance can't be read; it has ended"
                );
                continue;
            };
            if !active.contains_key(&name) {
                active.insert(name.clone(), Active::new(kept.clone(), now_unix_ms, now));
                new.push((name, kept));
            }
        }
        new
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Arc<str>, Active>> {
        self.active.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn now() -> (u64, Monotonic) {
    (clock::unix_ms(clock::wall()), clock::monotonic())
}

/// Hands instances on to the engine and to deep checks, with their maintenance; who serves heeds it as well.
pub(super) struct Publisher {
    subjects: Mutex<Subjects>,
    registry: Weak<Registry>,
    engine: Engine,
    deep: DeepChecks,
    maintenances: Arc<Maintenances>,
}

impl Publisher {
    pub(super) fn new(
        subjects: Subjects,
        registry: &Arc<Registry>,
        engine: Engine,
        deep: DeepChecks,
        maintenances: Arc<Maintenances>,
    ) -> Self {
        Publisher {
            subjects: Mutex::new(subjects),
            registry: Arc::downgrade(registry),
            engine,
            deep,
            maintenances,
        }
    }

    /// From here on this is configured for all instances.
    pub(super) fn set_probe(&self, settings: ProbeSettings) {
        let mut subjects = self.subjects.lock().unwrap_or_else(PoisonError::into_inner);
        subjects.set_probe(settings);
        if let Some(registry) = self.registry.upgrade() {
            let entries: Vec<Arc<Entry>> = registry.snapshot().all().collect();
            let change = Change {
                entries: &entries,
                removed: &BTreeSet::new(),
            };
            self.hand_on(&mut subjects, &change);
        }
    }

    /// What the registry has published.
    pub(super) fn publish(&self, change: &Change<'_>, history: &History) {
        let mut subjects = self.subjects.lock().unwrap_or_else(PoisonError::into_inner);
        subjects.note_releases(change, history);
        self.hand_on(&mut subjects, change);
    }

    /// The maintenance of these has changed. The registry is read under the lock, so that what it publishes meanwhile is handed on later.
    fn republish(&self, names: &[Arc<str>]) {
        let mut subjects = self.subjects.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(registry) = self.registry.upgrade() else {
            return;
        };
        let snapshot = registry.snapshot();
        let entries: Vec<Arc<Entry>> = names.iter().filter_map(|name| snapshot.get(name)).collect();
        let change = Change {
            entries: &entries,
            removed: &BTreeSet::new(),
        };
        self.hand_on(&mut subjects, &change);
    }

    /// Under the lock to the end: of two changes of one instance the later one arrives later.
    fn hand_on(&self, subjects: &mut Subjects, change: &Change<'_>) {
        let changed = subjects.of(change, |entry| self.maintenances.of(entry).is_some());
        if let Some(registry) = self.registry.upgrade() {
            for subject in &changed {
                registry.set_maintenance(&subject.name, subject.maintenance);
            }
        }
        self.deep.change(&changed, change.removed);
        self.engine.change(changed, change.removed);
    }
}

impl Host {
    /// Which instances are in maintenance, by name; or whether one is.
    ///
    /// # Errors
    /// There is none of this name.
    pub fn maintenance(&self, name: Option<&str>) -> Result<Vec<MaintenanceRow>, ControlError> {
        if let Some(name) = name {
            self.known(name)?;
        }
        let of_name = |row: &MaintenanceRow| name.is_none_or(|name| name == row.name);
        Ok(self.maintenance_rows().into_iter().filter(of_name).collect())
    }

    /// Puts an instance into maintenance for a while. It is written to the disk before this returns, and outlives the host.
    ///
    /// # Errors
    /// There is none of this name, a value is out of its range, the configuration has it in maintenance, or it can't be written down.
    pub async fn start_maintenance(
        &self,
        name: &str,
        asked: MaintenanceAsked,
    ) -> Result<Vec<MaintenanceRow>, ControlError> {
        asked.validate().map_err(ControlError::Invalid)?;
        let _alone = self.inner.maintenances.commands.lock().await;
        self.known(name)?;
        self.refuse_configured(name)?;
        let (now_unix_ms, _) = now();
        let kept = Kept {
            since_unix_ms: now_unix_ms,
            until_unix_ms: now_unix_ms.saturating_add(asked.for_ms),
            reason: asked.reason,
        };
        self.keep(name, Some(&kept)).await?;
        let name: Arc<str> = name.into();
        let active = Active::new(kept, now_unix_ms, clock::monotonic());
        self.inner.maintenances.lock().insert(name.clone(), active);
        self.inner.maintenances.begun.notify_one();
        self.inner.maintenance_changed(std::slice::from_ref(&name));
        self.maintenance(Some(&name))
    }

    /// Ends an instance's maintenance before its time.
    ///
    /// # Errors
    /// There is none of this name, it is in no maintenance, the configuration has it there, or that it ended can't be written down.
    pub async fn end_maintenance(&self, name: &str) -> Result<Vec<MaintenanceRow>, ControlError> {
        let _alone = self.inner.maintenances.commands.lock().await;
        if self.inner.maintenances.of_operator(name).is_none() {
            self.known(name)?;
            self.refuse_configured(name)?;
            return Err(ControlError::Conflict(format!("{name} is in no maintenance")));
        }
        self.keep(name, None).await?;
        let name: Arc<str> = name.into();
        if self.inner.maintenances.lock().remove(&name).is_some() {
            self.inner.maintenance_changed(&[name]);
        }
        Ok(Vec::new())
    }

    pub(super) fn maintenance_rows(&self) -> Vec<MaintenanceRow> {
        let mut rows: BTreeMap<String, Maintenance> = BTreeMap::new();
        let (now_unix_ms, now) = now();
        for (name, one) in &*self.inner.maintenances.lock() {
            if !one.is_over(now_unix_ms, now) {
                rows.insert(name.to_string(), one.view(now_unix_ms, now));
            }
        }
        let current = self.inner.current();
        let instances = current.config.instances.iter();
        let configured = instances.filter(|config| config.maintenance);
        rows.extend(configured.map(|config| (config.instance_name().to_owned(), Maintenance::CONFIGURED)));
        let row = |(name, maintenance)| MaintenanceRow { name, maintenance };
        rows.into_iter().map(row).collect()
    }

    /// There is an instance of this name, or one is configured, or is in maintenance while its file is replaced.
    fn known(&self, name: &str) -> Result<(), ControlError> {
        if self.absence(name).is_some() || self.inner.maintenances.of_operator(name).is_some() {
            return Ok(());
        }
        self.entry(name).map(|_| ())
    }

    fn refuse_configured(&self, name: &str) -> Result<(), ControlError> {
        match self.configured(name) {
            Some(config) if config.maintenance => Err(ControlError::Conflict(format!(
                "{name} is in maintenance by `maintenance = true` in its [[instance]], without an end; take that out of the configuration"
            ))),
            _ => Ok(()),
        }
    }

    /// Waits until it is on the disk. What is not there in time is taken back, should it still be written.
    async fn keep(&self, name: &str, kept: Option<&Kept>) -> Result<(), ControlError> {
        let before = self
            .inner
            .maintenances
            .lock()
            .get(name)
            .map(|one| one.kept.clone());
        let (history, row, before) = (
            self.inner.history.clone(),
            row(name, kept),
            row(name, before.as_ref()),
        );
        let done = tokio::task::spawn_blocking(move || match history.state() {
            HistoryState::Working if !history.record(Record::KeyValue(row)) => {
                Some("its queue is full".to_owned())
            }
            HistoryState::Working if history.flush(DISK_MAX) => None,
            HistoryState::Off { why } | HistoryState::Degraded { why, .. } => Some(why),
            HistoryState::Working => {
                history.record(Record::KeyValue(before));
                Some(format!("it was not written within {} s", DISK_MAX.as_secs()))
            }
        });
        match done.await {
            Ok(None) => Ok(()),
            Ok(Some(why)) => Err(ControlError::Unavailable(format!(
                "maintenance is kept in the history, so that it outlives the host, and the history can't be written: {why}; mend that, or \
                 set maintenance = true in the instance's [[instance]]"
            ))),
            Err(_) => Err(ControlError::ShuttingDown),
        }
    }
}

fn row(name: &str, kept: Option<&Kept>) -> KeyValueRow {
    KeyValueRow {
        key: format!("{PREFIX}{name}").into(),
        at_unix_ms: clock::unix_ms(clock::wall()),
        value: kept.and_then(|kept| serde_json::to_string(kept).ok()),
    }
}

impl super::Inner {
    fn maintenance_changed(&self, names: &[Arc<str>]) {
        self.publisher.republish(names);
        for name in names {
            self.events.publish(What::Maintenance {
                name: name.to_string(),
                maintenance: self.maintenances.of_operator(name),
            });
        }
    }

    async fn end_maintenances_that_are_over(&self) {
        // A command that renews one writes its row first: that must not be taken for the row of the one that is over.
        let _alone = self.maintenances.commands.lock().await;
        let over = self.maintenances.take_over();
        for name in &over {
            self.history.record(Record::KeyValue(row(name, None)));
        }
        if !over.is_empty() {
            self.maintenance_changed(&over);
        }
    }
}

/// Takes in what an earlier host kept; `None` if that can't be read yet.
pub(super) fn take_in(maintenances: &Maintenances, history: &History) -> Option<Vec<Arc<str>>> {
    let rows = history
        .reader()
        .and_then(|reader| reader.key_values(PREFIX))
        .ok()?;
    let new = maintenances.take_in(rows);
    for (name, kept) in &new {
        // As this host's own: should the file be lost, the next one begins with it.
        history.record(Record::KeyValue(row(name, Some(kept))));
    }
    Some(new.into_iter().map(|(name, _)| name).collect())
}

/// Ends each maintenance when it is over; and takes in what an earlier host kept, where the history could not be read at the start.
pub(super) async fn watch(host: Weak<super::Inner>, mut is_taken_in: bool) {
    loop {
        let Some(inner) = host.upgrade() else { return };
        if !is_taken_in && let Some(new) = take_in(&inner.maintenances, &inner.history) {
            is_taken_in = true;
            inner.maintenance_changed(&new);
        }
        inner.end_maintenances_that_are_over().await;
        let maintenances = inner.maintenances.clone();
        let idle = (is_taken_in || !inner.history.is_on()) && maintenances.lock().is_empty();
        drop(inner);
        match idle {
            true => {
                let _ = tokio::time::timeout(LOOK * 20, maintenances.begun.notified()).await;
            }
            false => tokio::time::sleep(LOOK).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use extman_runtime::supervisor::InstanceConfig;
    use std::future::Future;
    use std::task::Poll;

    const HOUR: u64 = 3_600_000;

    fn kept(since_unix_ms: u64) -> Kept {
        Kept {
            since_unix_ms,
            until_unix_ms: since_unix_ms + HOUR,
            reason: None,
        }
    }

    fn later(ms: u64) -> Monotonic {
        Monotonic::from_nanos(1).after(Duration::from_millis(ms))
    }

    #[test]
    fn maintenance_ends_when_either_clock_says_so() {
        let active = Active::new(kept(HOUR), HOUR, later(0));
        assert!(!active.is_over(2 * HOUR - 1, later(HOUR - 1)));
        assert!(active.is_over(2 * HOUR, later(1)), "the wall clock was set ahead");
        assert!(active.is_over(0, later(HOUR)), "the wall clock was set back");
        assert_eq!(
            active.view(0, later(HOUR / 2)).until_unix_ms,
            Some(HOUR / 2),
            "what is left is shown by the clock as it is"
        );
    }

    #[test]
    fn restart_with_a_clock_set_back_prolongs_maintenance_by_no_more_than_was_asked() {
        let active = Active::new(kept(48 * HOUR), HOUR, later(0));
        assert!(!active.is_over(HOUR, later(HOUR - 1)));
        assert!(active.is_over(2 * HOUR, later(HOUR)));
        let past = Active::new(kept(HOUR), 48 * HOUR, later(0));
        assert!(past.is_over(48 * HOUR, later(0)));
    }

    #[test]
    fn maintenance_that_was_kept_is_taken_in_unless_more_was_said_since() {
        let maintenances = Maintenances::default();
        let (now_unix_ms, _) = now();
        let kept = kept(now_unix_ms);
        let rows = |names: &[&str]| names.iter().map(|name| row(name, Some(&kept))).collect();
        assert_eq!(maintenances.take_in(rows(&["a"])).len(), 1);
        let mut broken: Vec<KeyValueRow> = rows(&["a", "b", "c"]);
        broken[1].value = Some("{".to_owned());
        let new = maintenances.take_in(broken);
        assert_eq!(new, [("c".into(), kept)]);
        assert!(maintenances.of_operator("a").is_some() && maintenances.of_operator("b").is_none());
    }

    #[tokio::test]
    async fn renewal_at_the_end_of_a_maintenance_is_what_stays_on_the_disk() {
        let dir = tempfile::tempdir().unwrap();
        let instance: InstanceConfig = toml::from_str("plugin = 'a'").unwrap();
        let host = Host::builder()
            .dir(dir.path())
            .store_dir(dir.path().join("store"))
            .history_file(dir.path().join("history.db"))
            .instance(instance)
            .build()
            .await
            .unwrap();
        host.wait_ready().await;
        let hour = MaintenanceAsked {
            for_ms: HOUR,
            reason: None,
        };
        host.start_maintenance("a", hour).await.unwrap();
        let inner = &host.inner;
        let (renewed, (now_unix_ms, now)) = (kept(self::now().0), self::now());
        {
            // As a command that renews it holds them, when its time is over.
            let _alone = inner.maintenances.commands.lock().await;
            inner.maintenances.lock().get_mut("a").unwrap().ends = now;
            host.keep("a", Some(&renewed)).await.unwrap();
            let mut ending = std::pin::pin!(inner.end_maintenances_that_are_over());
            let ended = std::future::poll_fn(|cx| Poll::Ready(ending.as_mut().poll(cx))).await;
            assert!(ended.is_pending(), "it waits for the command");
            let active = Active::new(renewed.clone(), now_unix_ms, now);
            inner.maintenances.lock().insert("a".into(), active);
        }
        inner.end_maintenances_that_are_over().await;
        assert!(inner.maintenances.of_operator("a").is_some());
        assert!(inner.history.flush(DISK_MAX));
        let rows = inner.history.reader().unwrap().key_values(PREFIX).unwrap();
        assert_eq!(rows.len(), 1);
        let on_disk: Kept = serde_json::from_str(rows[0].value.as_ref().unwrap()).unwrap();
        assert_eq!(on_disk, renewed);
        host.shutdown().await;
    }
}
