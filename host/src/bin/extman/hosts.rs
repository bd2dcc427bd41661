//! Hosts in this process, for the command line.

use extman::Host;
use extman::app::{self, LogFormat};
use extman::cli::{Backend, CheckArgs, Logs, OneShot, Place, ServeArgs};
use extman::config::Config;
use extman::control::Pending;
use extman::intake::{Store, VerifiedPlugin, find, inspect, verify};
use extman::model::VettingReport;
use extman::runtime::vetting::{Ledger, Vetting};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub struct Hosts;

impl Backend for Hosts {
    fn serve(&self, args: ServeArgs) -> Pending<'_, Result<(), String>> {
        Box::pin(async move {
            app::log_to_stderr(match args.logs {
                Logs::Human => LogFormat::Human,
                Logs::Json => LogFormat::Json,
            });
            let mut config = config(&args.place)?;
            if let Some(listen) = args.listen {
                config.http.listen = listen;
            }
            if let Some(vetting) = args.vetting {
                config.vetting.enabled = vetting;
            }
            // For scripts, which learn the port from it; nobody else may be listening.
            let announce = |address| {
                let _ = writeln!(std::io::stdout(), "http://{address}");
            };
            let served = app::serve(config, announce).await;
            served.map(drop).map_err(|error| error.to_string())
        })
    }

    fn one_shot(&self, place: Place) -> Pending<'_, Result<OneShot, String>> {
        Box::pin(async move {
            let mut config = config(&place)?;
            if place.config.is_none() {
                config.intake.store.dir = own_store(&config);
            }
            let host = Host::builder().config(config).build().await;
            let host = host.map_err(|error| error.to_string())?;
            host.wait_ready().await;
            Ok(OneShot {
                control: Arc::new(host.clone()),
                close: Box::pin(async move { host.shutdown().await }),
            })
        })
    }

    fn check(&self, args: CheckArgs) -> Pending<'_, Result<VettingReport, String>> {
        Box::pin(async move {
            let mut config = read(args.host_config.as_deref())?;
            if args.host_config.is_none() && !args.release {
                config.intake.store.dir = own_store(&config);
            }
            let plugin = verified(&args.file, &config)?;
            let ledger = Ledger::new(config.intake.store.dir.join("vetting"));
            let vetting = Vetting::new(config.vetting.clone(), ledger);
            if args.release {
                vetting.release(plugin.digest());
            }
            let configuration = serde_json::Value::from(args.config.unwrap_or_default()).to_string();
            let tried = vetting.try_out(&plugin, &configuration).await;
            tried.map_err(|error| format!("{}: {error}", args.file.display()))
        })
    }
}

fn config(place: &Place) -> Result<Config, String> {
    let mut config = read(place.config.as_deref())?;
    if !place.dirs.is_empty() {
        config.intake.discovery.dirs.clone_from(&place.dirs);
    }
    Ok(config)
}

fn read(path: Option<&Path>) -> Result<Config, String> {
    path.map_or_else(|| Ok(Config::default()), Config::read)
        .map_err(|error| error.to_string())
}

/// Where a host that is nobody's keeps its copies: not in whatever directory the command is typed in.
fn own_store(config: &Config) -> PathBuf {
    let set = |name| {
        std::env::var_os(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    let cache = set("XDG_CACHE_HOME").or_else(|| Some(set("HOME")?.join(".cache")));
    cache.map_or_else(
        || config.intake.store.dir.clone(),
        |cache| cache.join("extman").join("plugin-store"),
    )
}

/// Takes a file through everything that comes before its code may run.
fn verified(file: &Path, config: &Config) -> Result<VerifiedPlugin, String> {
    let text = |error: &dyn std::fmt::Display| error.to_string();
    let found = find(file, &config.intake.discovery).map_err(|error| text(&error))?;
    let store = Store::open(config.intake.store.dir.clone()).map_err(|error| text(&error))?;
    let stored = store.take(&found).map_err(|error| text(&error))?;
    let inspected = inspect(stored).map_err(|error| text(&error))?;
    verify(inspected, &config.intake.trust).map_err(|error| text(&error))
}
