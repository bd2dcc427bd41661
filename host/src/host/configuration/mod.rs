//! What a host is configured with while it runs: `extman.toml`, read again when it or a secret changes, with what commands have set above it.
//!
//! ```text
//!   extman.toml ──▶ read, checked as a whole ──▶ what is not the host's own ──▶ each instance's section
//!      changed            │ unfit: told, what it said before goes on              │  + what was set (STATE/config.json)
//!                         ▼                                                       ▼
//!                  the host's own fields: in force at once,         the supervisor: asked to take it, made anew beside, or
//!                  or told as waiting for the next start            stopped first; what is not taken leaves the one before
//! ```
//!
//! The file is the operator's: the host never writes to it. Where it and a command say something else, the command holds.

mod commands;
mod fields;
mod kept;
mod live;
mod watch;

use super::{BuildError, Host, Inner};
use crate::config::{Config, ConfigError, ConfigSource, ConfigText};
use arc_swap::ArcSwap;
use extman_model::{ConfigChangeBy, ConfigStatus, FieldFault, Lifecycle, LogLevel, PlacedFault, What, clock};
use extman_runtime::registry::{Entry, Snapshot};
use extman_runtime::supervisor::{Configured, InstanceConfig, Request, SecretFingerprints};
use fields::{Section, overlaid, section};
use kept::{Kept, KeptChange};
use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
pub(super) use watch::watch;

/// What a host is configured with, and where that comes from.
pub(super) struct Configuration {
    source: Option<ConfigSource>,
    /// Where it is kept what commands have set.
    kept_in: Option<PathBuf>,
    kept: Mutex<Kept>,
    current: ArcSwap<Current>,
    /// What can't be used of the file as it is now.
    found: Mutex<Found>,
    /// Held by whatever changes the configuration, from what it begins with to when that is known to all.
    changing: tokio::sync::Mutex<()>,
    log_level: tokio::sync::watch::Sender<LogLevel>,
}

/// What is configured now.
pub(super) struct Current {
    /// With what was set above the sections of instances.
    pub config: Config,
    /// As the file says it.
    file: Config,
    /// Of plugins for which no instance is configured, where something was set.
    defaults: Vec<InstanceConfig>,
    places: HashMap<String, usize>,
}

/// What was found wrong with the file.
#[derive(Default)]
struct Found {
    /// Of the whole: it is not in force.
    file: Vec<PlacedFault>,
    /// Of single instances.
    instances: BTreeMap<String, Vec<PlacedFault>>,
    /// When the first of that was found.
    since_unix_ms: Option<u64>,
    needs_restart: Vec<String>,
}

impl Found {
    /// Something of the file is found wrong, or nothing any more: what stays wrong in another way has been so all along.
    fn note_when(&mut self) {
        self.since_unix_ms = match self.file.is_empty() && self.instances.is_empty() {
            true => None,
            false => self.since_unix_ms.or_else(|| Some(clock::unix_ms(clock::wall()))),
        };
    }
}

impl Current {
    /// What the file says, with what was set above it. What was set and does not fit is left out, and told with the instance's name. Blocking:
    /// it reads secrets.
    fn new(in_force: Config, file: Config, kept: &Kept) -> (Self, Vec<(String, FieldFault)>) {
        let mut faults = Vec::new();
        let mut over = |below: &InstanceConfig| {
            let name = below.instance_name();
            let mut config = below.clone();
            if let Some(overrides) = kept.overrides.get(name) {
                let unfit = match overlaid(&section(below), overrides) {
                    Ok(with) => {
                        let unfit = in_force.faults_of(&with);
                        if unfit.is_empty() {
                            config = with;
                        }
                        unfit
                    }
                    Err(unfit) => unfit,
                };
                faults.extend(unfit.into_iter().map(|fault| (name.to_owned(), fault)));
            }
            config.secrets = SecretFingerprints::of(&config.config);
            config
        };
        let instances: Vec<InstanceConfig> = file.instances.iter().map(&mut over).collect();
        let is_taken = |id: &str| {
            let of = |config: &InstanceConfig| config.plugin == id || config.instance_name() == id;
            file.instances.iter().any(of)
        };
        let defaults = kept.overrides.keys().filter(|id| !is_taken(id));
        let defaults = defaults
            .map(|id| over(&InstanceConfig::default_for(id)))
            .collect();
        let names = instances.iter().map(|one| one.instance_name().to_owned());
        // Of two of one name the first counts.
        let places = names.zip(0..).collect::<Vec<_>>().into_iter().rev().collect();
        let current = Current {
            config: Config {
                instances,
                ..in_force
            },
            file,
            defaults,
            places,
        };
        (current, faults)
    }

    /// What is configured for an instance.
    pub fn instance(&self, name: &str) -> Option<&InstanceConfig> {
        match self.places.get(name) {
            Some(at) => self.config.instances.get(*at),
            None => self.defaults.iter().find(|config| config.plugin == name),
        }
    }

    /// What the file says of one.
    fn of_file(&self, name: &str) -> Option<&InstanceConfig> {
        self.file.instances.get(*self.places.get(name)?)
    }

    fn all(&self) -> impl Iterator<Item = &InstanceConfig> {
        self.config.instances.iter().chain(&self.defaults)
    }

    /// For the supervisor.
    pub fn configured(&self) -> Configured {
        let defaults = self.defaults.iter().cloned();
        Configured::new(self.config.instances.iter().cloned()).with_defaults(defaults)
    }
}

impl Configuration {
    /// What a host starts with.
    ///
    /// # Errors
    /// What commands have set is kept and can't be read.
    pub(super) fn start(config: Config, source: Option<ConfigSource>) -> Result<Self, BuildError> {
        let kept_in = config.state.dir.as_deref().map(kept::file);
        let kept = match &kept_in {
            Some(file) => kept::read(file).map_err(|why| BuildError::Set {
                file: file.clone(),
                why,
            })?,
            None => Kept::default(),
        };
        let level = config.log.level;
        let (current, faults) = Current::new(config.clone(), config, &kept);
        let configuration = Configuration {
            source,
            kept_in,
            kept: Mutex::new(kept),
            current: ArcSwap::from_pointee(current),
            found: Mutex::default(),
            changing: tokio::sync::Mutex::default(),
            log_level: tokio::sync::watch::Sender::new(level),
        };
        for (_, fault) in &faults {
            tracing::warn!(
                "what was set by `extman config set` does not fit, and is left out: {}",
                fault.text
            );
        }
        let by_instance = configuration.placed_by_instance(faults, &[]);
        {
            let mut found = configuration.found();
            found.instances = by_instance;
            found.note_when();
        }
        Ok(configuration)
    }

    pub(super) fn current(&self) -> Arc<Current> {
        self.current.load_full()
    }

    pub(super) fn log_level(&self) -> tokio::sync::watch::Receiver<LogLevel> {
        self.log_level.subscribe()
    }

    fn found(&self) -> MutexGuard<'_, Found> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Faults with their places: of what was set, in the file where that is kept; of the rest, in `extman.toml`.
    fn placed_by_instance(
        &self,
        set: Vec<(String, FieldFault)>,
        unfit: &[(usize, String, Vec<FieldFault>)],
    ) -> BTreeMap<String, Vec<PlacedFault>> {
        let mut all: BTreeMap<String, Vec<PlacedFault>> = BTreeMap::new();
        for (name, fault) in set {
            let file = self.kept_in.clone().unwrap_or_default();
            let text = format!("set for {name:?}: {}", fault.text);
            let placed = PlacedFault::of_file(file, FieldFault { text, ..fault });
            all.entry(name).or_default().push(placed);
        }
        let current = self.current();
        let Some(text) = &current.file.text else {
            return all;
        };
        for (number, name, faults) in unfit {
            let within = |fault: &FieldFault| FieldFault {
                field: format!("instance[{number}].{}", fault.field),
                text: format!("[[instance]] {name:?}: {}", fault.text),
            };
            let placed = text.place(faults.iter().map(within).collect());
            all.entry(name.clone()).or_default().extend(placed);
        }
        all
    }
}

impl Inner {
    /// What is configured now.
    pub(super) fn current(&self) -> Arc<Current> {
        self.configuration.current()
    }
}

impl Host {
    /// The host's configuration, and whether it is in force.
    pub(super) fn config_status(&self, snapshot: &Snapshot) -> ConfigStatus {
        let current = self.inner.current();
        let found = self.inner.configuration.found();
        let entries: Vec<Arc<Entry>> = snapshot
            .all()
            .filter(|entry| entry.config_fault.is_some())
            .collect();
        let not_taken: Vec<String> = entries.iter().map(|entry| entry.name.to_string()).collect();
        let is_so = |name: &String| {
            let has_failed = |entry: Arc<Entry>| entry.lifecycle == Lifecycle::Failed;
            not_taken.contains(name) || snapshot.get(name).is_none_or(has_failed)
        };
        let of_instances = found.instances.iter().filter(|(name, _)| is_so(name));
        let of_instances = of_instances.flat_map(|(_, faults)| faults);
        let faults: Vec<PlacedFault> = found.file.iter().chain(of_instances).cloned().collect();
        ConfigStatus {
            file: current.file.text.as_ref().map(|text| text.path().to_owned()),
            in_sync: faults.is_empty() && not_taken.is_empty() && found.needs_restart.is_empty(),
            since_unix_ms: found.since_unix_ms.filter(|_| !faults.is_empty()),
            faults,
            not_taken,
            needs_restart: found.needs_restart.clone(),
        }
    }

    /// Takes in what the file says now.
    pub(super) async fn reread_config(&self, text: Result<ConfigText, String>) {
        let Some(source) = self.inner.configuration.source.clone() else {
            return;
        };
        let _alone = self.inner.configuration.changing.lock().await;
        let path = self
            .inner
            .current()
            .file
            .text
            .as_ref()
            .map(|text| text.path().to_owned());
        let (host, unread) = (self.clone(), path.clone().unwrap_or_default());
        // It reads files, and secrets from wherever they lie.
        let read = tokio::task::spawn_blocking(move || {
            let text = text.map_err(|why| ConfigError::Read {
                path: unread,
                error: std::io::Error::other(why),
            })?;
            let mut file = source.read(&text)?;
            file.make_paths_absolute();
            host.prepared(file)
        });
        let Ok(read) = read.await else { return };
        match read {
            Ok(prepared) => self.take_in(prepared).await,
            Err(error) => self.refuse_config(error, path.as_deref()),
        }
    }

    fn refuse_config(&self, error: ConfigError, path: Option<&Path>) {
        let faults = match error {
            ConfigError::Unfit(faults) => faults,
            ConfigError::Fields(unfit) => {
                let of_file = |fault| PlacedFault::of_file(path.unwrap_or(Path::new("")), fault);
                unfit.0.into_iter().map(of_file).collect()
            }
            ConfigError::Read { path, error } => {
                let text = format!("it can't be read: {error}");
                let field = String::new();
                vec![PlacedFault::of_file(path, FieldFault { field, text })]
            }
        };
        let mut found = self.inner.configuration.found();
        if found.file != faults {
            found.file.clone_from(&faults);
            found.note_when();
            drop(found);
            self.inner.events.publish(What::ConfigRefused { faults });
        }
    }

    /// What a file comes to, with what was set above it, and what of that does not fit. Blocking.
    fn prepared(&self, file: Config) -> Result<Prepared, ConfigError> {
        let configuration = &self.inner.configuration;
        let before = configuration.current();
        let mut in_force = before.config.clone();
        let changed = live::take(&mut in_force, &file);
        let needs_restart = live::needs_restart(&in_force, &file);
        let kept = configuration.kept().clone();
        let text = file.text.clone();
        let (current, set) = Current::new(in_force, file, &kept);
        let faults = current.config.faults();
        if !faults.is_empty() {
            return Err(match text {
                Some(text) => ConfigError::Unfit(text.place(faults)),
                None => ConfigError::Fields(extman_model::UnfitFields(faults)),
            });
        }
        let mut prepared = Prepared {
            changed,
            needs_restart,
            instances: Vec::new(),
            set,
            unfit: Vec::new(),
            current,
        };
        prepared.compare(&before, &self.snapshot());
        Ok(prepared)
    }

    async fn take_in(&self, prepared: Prepared) {
        let Prepared {
            current,
            changed,
            needs_restart,
            instances,
            set,
            unfit,
        } = prepared;
        let configuration = &self.inner.configuration;
        let names: Vec<String> = instances.iter().map(|(name, ..)| name.clone()).collect();
        let current = Arc::new(current);
        configuration.current.store(current.clone());
        let faults = {
            let by_instance = configuration.placed_by_instance(set, &unfit);
            let faults: Vec<PlacedFault> = by_instance.values().flatten().cloned().collect();
            let mut found = configuration.found();
            found.file.clear();
            found.instances = by_instance;
            found.note_when();
            found.needs_restart.clone_from(&needs_restart);
            faults
        };
        self.inner.events.publish(What::ConfigRead {
            instances: names,
            changed: changed.clone(),
            needs_restart,
            faults,
        });
        self.apply_live(&current.config, &changed);
        self.publish_configured();
        self.note_file_changes(instances, &current).await;
    }

    /// Hands what is configured to the supervisor.
    fn publish_configured(&self) {
        let current = self.inner.current();
        let configured = Box::new(current.configured());
        self.inner.requests.make(Request::Configured(
            configured,
            Box::new(current.config.policies()),
        ));
    }

    /// Writes down what the file changed. Where that can't be, the file says it all the same.
    async fn note_file_changes(&self, instances: Vec<(String, Section, Section)>, current: &Current) {
        let Some(kept_in) = self.inner.configuration.kept_in.clone() else {
            return;
        };
        let path = current
            .file
            .text
            .as_ref()
            .map(|text| text.path().display().to_string());
        let (who, at_unix_ms) = (path.unwrap_or_default(), clock::unix_ms(clock::wall()));
        let changes = instances.into_iter().filter(|(_, before, after)| before != after);
        let changes: Vec<KeptChange> = changes
            .map(|(name, before, after)| KeptChange {
                number: 0,
                at_unix_ms,
                name,
                who: who.clone(),
                by: ConfigChangeBy::File,
                not_taken: None,
                before,
                after,
            })
            .collect();
        if changes.is_empty() {
            return;
        }
        let note = move || {
            kept::change(&kept_in, |kept| {
                changes.into_iter().for_each(|change| kept.note(change));
            })
        };
        match tokio::task::spawn_blocking(note).await {
            Ok(Ok(kept)) => *self.inner.configuration.kept() = kept,
            Ok(Err(why)) => tracing::warn!("the history of the configuration lacks a change: {why}"),
            Err(_) => {}
        }
    }
}

/// A configuration that was read and can be taken in.
struct Prepared {
    current: Current,
    /// Fields of the host's own that are in force at once.
    changed: Vec<String>,
    needs_restart: Vec<String>,
    /// Instances that are configured otherwise, with their sections before and after.
    instances: Vec<(String, Section, Section)>,
    /// What was set and does not fit, by instance.
    set: Vec<(String, FieldFault)>,
    /// What does not fit an instance's plugin: its number in the file, its name, and what.
    unfit: Vec<(usize, String, Vec<FieldFault>)>,
}

impl Prepared {
    /// Finds which instances are configured otherwise, and what their plugins have against that.
    fn compare(&mut self, before: &Current, snapshot: &Snapshot) {
        let after = &self.current;
        for (number, config) in after.all().enumerate() {
            let name = config.instance_name();
            let was = before.instance(name);
            let entry = snapshot.get(name);
            let is_told =
                |entry: &Arc<Entry>| entry.config_fault.is_some() || entry.lifecycle == Lifecycle::Failed;
            let has_changed = was != Some(config);
            if has_changed {
                let was = was.map(section).unwrap_or_default();
                self.instances.push((name.to_owned(), was, section(config)));
            }
            if let Some(entry) = entry.filter(|entry| has_changed || is_told(entry))
                && let Err(misfit) = config.resolve(entry.plugin.manifest())
            {
                self.unfit.push((number, name.to_owned(), misfit.faults));
            }
        }
        let gone = before
            .all()
            .filter(|config| after.instance(config.instance_name()).is_none());
        let gone = gone.map(|config| (config.instance_name().to_owned(), section(config), Section::new()));
        self.instances.extend(gone.collect::<Vec<_>>());
    }
}
