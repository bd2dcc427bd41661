//! Hosts in this process, for the command line.

use crate::app::{self, AppError};
use extman::config::{Config, ConfigError, ConfigSource};
use extman::dependencies::{self, LookError};
use extman::intake::{LOCK_FILE, Lock, LockError, LockUse, Pruned, StoredCopy};
use extman::{CheckError, check, process_guard, store};
use extman_cli::{
    Backend, CheckArgs, ConfigChecked, HostSources, Locking, NotChecked, NotStarted, OneShot, Resolved,
    ServeArgs, configuration_places, found_configuration,
};
use extman_http::HttpConfig;
use extman_model::control::Pending;
use extman_model::{CheckedFile, FieldFault};
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub struct Hosts {
    /// For scripts, which learn the address of a host from it.
    announcing: File,
}

impl Hosts {
    pub fn announcing_to(announcing: File) -> Self {
        Hosts { announcing }
    }
}

impl Backend for Hosts {
    fn serve(&self, args: ServeArgs) -> Pending<'_, Result<(), NotStarted>> {
        Box::pin(async move {
            let log = app::log_to_stderr(args.logs);
            if let Some(path) = used(args.place.config.as_deref()) {
                tracing::info!(path = %path.display(), "configuration");
            }
            // The address that is given goes before the configured one, which may be no good then.
            let unfit = |http: &HttpConfig| http.faults(args.listen.unwrap_or(http.listen));
            let (mut config, mut http) = config(&args.place, unfit)?;
            only_locked(&config)?;
            if let Some(listen) = args.listen {
                http.listen = listen;
            }
            if let Some(vetting) = args.vetting {
                config.vetting.enabled = vetting;
            }
            if let Err(error) = process_guard::raise_descriptor_limit() {
                tracing::warn!(%error, "the limit of open descriptors can't be raised");
            }
            // Nobody may be listening.
            let announce = |address| {
                if let Err(error) = writeln!(&self.announcing, "http://{address}") {
                    tracing::warn!(%error, "the address could not be written to standard output");
                }
            };
            let source = rereading(&args, &config);
            let served = app::serve(config, source, http, log, announce).await;
            let mut served = served.map_err(|error| not_started(&error))?;
            let failed = served.failed.take();
            served.watch_until_exit();
            failed.map_or(Ok(()), |error| Err(not_started(&AppError::Http(error))))
        })
    }

    fn one_shot(&self, place: HostSources) -> Pending<'_, Result<OneShot, NotStarted>> {
        Box::pin(async move {
            let (config, _) = config(&place, without_api)?;
            only_locked(&config)?;
            let host = app::start(config).await.map_err(|error| not_started(&error))?;
            Ok(OneShot {
                warnings: host.status().warnings,
                control: Arc::new(host.clone()),
                close: Box::pin(async move { host.shutdown().await }),
            })
        })
    }

    fn dependencies(&self, place: HostSources) -> Result<Resolved, NotStarted> {
        let (config, _) = config(&place, without_api)?;
        let looked = dependencies::look(config).map_err(|error| match error {
            LookError::Config(_) => NotStarted::Configuration(error.to_string()),
            LookError::Store(_) => NotStarted::Host(error.to_string()),
        })?;
        Ok(Resolved {
            dependencies: looked.dependencies,
            refused: looked.refused,
            lock_file: lock_file(place.config.as_deref()),
        })
    }

    fn check_config(&self, file: Option<PathBuf>) -> Result<ConfigChecked, NotStarted> {
        let file = used(file.as_deref());
        let http = |http: &HttpConfig| http.faults(http.listen);
        let read = file
            .as_deref()
            .map(|file| Config::read_beside(file, "http", http));
        let faults = match read.transpose() {
            Ok(_) => Vec::new(),
            Err(ConfigError::Unfit(faults)) => faults,
            Err(error) => return Err(unreadable(error)),
        };
        let places = configuration_places(|name| std::env::var(name).ok());
        Ok(ConfigChecked { file, places, faults })
    }

    fn check(&self, args: CheckArgs) -> Pending<'_, Result<CheckedFile, NotChecked>> {
        Box::pin(async move {
            let (config, _) = read(args.host_config.as_deref(), without_api).map_err(NotChecked::Host)?;
            let checked = check(config, &args.file, args.config, args.forget).await;
            checked.map_err(|error| match error {
                CheckError::Config(misfit) => {
                    NotChecked::Configuration(format!("--config: {misfit}; mend it and check again"))
                }
                CheckError::Refused(text) => NotChecked::Refused(text),
                CheckError::Store(_) | CheckError::Vetting(_) => NotChecked::Failed(error.to_string()),
            })
        })
    }

    fn store_list(&self, config: Option<PathBuf>) -> Result<Vec<StoredCopy>, NotStarted> {
        let listed = store::list(&read(config.as_deref(), without_api)?.0);
        listed.map_err(|error| NotStarted::Host(error.to_string()))
    }

    fn store_prune(
        &self,
        config: Option<PathBuf>,
        unused_days_max: Option<u64>,
    ) -> Result<Pruned, NotStarted> {
        let (mut config, _) = read(config.as_deref(), without_api)?;
        if let Some(days) = unused_days_max {
            config.intake.store.unused_days_max = days;
        }
        let pruned = store::prune(&config, config.intake.store.limits());
        pruned.map_err(|error| NotStarted::Host(error.to_string()))
    }
}

/// How the configuration is read again while the host runs: what was given with the command goes before it, as at the start.
fn rereading(args: &ServeArgs, started: &Config) -> ConfigSource {
    let (dirs, vetting, lock) = (args.place.dirs.clone(), args.vetting, started.lock.clone());
    ConfigSource::new(move |text| {
        let (mut config, _) = Config::parse_beside(text, "http", |_: &HttpConfig| Vec::new())?;
        if !dirs.is_empty() {
            config.intake.discovery.dirs.clone_from(&dirs);
        }
        if let Some(vetting) = vetting {
            config.vetting.enabled = vetting;
        }
        config.lock.clone_from(&lock);
        Ok(config)
    })
}

/// The configuration that is used: the one that is named, else the one that is found.
fn used(path: Option<&Path>) -> Option<PathBuf> {
    path.map(Path::to_owned).or_else(found_configuration)
}

fn not_started(error: &AppError) -> NotStarted {
    let text = error.to_string();
    if error.is_configuration() {
        NotStarted::Configuration(text)
    } else {
        NotStarted::Host(text)
    }
}

fn config(
    place: &HostSources,
    unfit: impl Fn(&HttpConfig) -> Vec<FieldFault>,
) -> Result<(Config, HttpConfig), NotStarted> {
    let (mut config, http) = read(place.config.as_deref(), unfit)?;
    if !place.dirs.is_empty() {
        config.intake.discovery.dirs.clone_from(&place.dirs);
    }
    config.lock = lock(place)?;
    Ok((config, http))
}

/// `extman.lock` beside the configuration that is used, or here.
fn lock_file(config: Option<&Path>) -> PathBuf {
    let used = used(config);
    let beside = used.as_deref().and_then(Path::parent);
    beside.map_or_else(|| PathBuf::from(LOCK_FILE), |dir| dir.join(LOCK_FILE))
}

fn lock(place: &HostSources) -> Result<Option<LockUse>, NotStarted> {
    let only = match place.locking {
        Locking::Ignored => return Ok(None),
        Locking::Honoured => false,
        Locking::Only => true,
    };
    match Lock::read(&lock_file(place.config.as_deref())) {
        Ok(lock) => Ok(Some(LockUse { lock, only })),
        Err(LockError::Missing(_)) if !only => Ok(None),
        Err(error) => Err(NotStarted::Configuration(error.to_string())),
    }
}

/// Where nothing but what is locked may be used, all of that is there, and nothing else.
fn only_locked(config: &Config) -> Result<(), NotStarted> {
    if !config.lock.as_ref().is_some_and(|lock| lock.only) {
        return Ok(());
    }
    let looked = dependencies::look(config.clone()).map_err(|error| NotStarted::Host(error.to_string()))?;
    let left_out = looked.dependencies.left_out.iter();
    let reasons: Vec<_> = left_out.map(|left_out| left_out.in_one_line()).collect();
    match reasons.is_empty() {
        true => Ok(()),
        false => Err(NotStarted::Refused(format!(
            "with --locked, what is there has to be what is locked. {}",
            reasons.join(" ")
        ))),
    }
}

fn unreadable(error: ConfigError) -> NotStarted {
    match error {
        ConfigError::Unfit(faults) => NotStarted::Unfit(faults),
        error => NotStarted::Configuration(error.to_string()),
    }
}

/// The host's configuration, and that of its HTTP API.
fn read(
    path: Option<&Path>,
    unfit: impl Fn(&HttpConfig) -> Vec<FieldFault>,
) -> Result<(Config, HttpConfig), NotStarted> {
    let Some(path) = used(path) else {
        return Ok(Default::default());
    };
    Config::read_beside(&path, "http", unfit).map_err(unreadable)
}

/// What is wrong with the HTTP API's section is nothing to those who start none.
fn without_api(_: &HttpConfig) -> Vec<FieldFault> {
    Vec::new()
}
