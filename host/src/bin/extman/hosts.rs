//! Hosts in this process, for the command line.

use extman::app::{self, LogFormat};
use extman::cli::{Backend, CheckArgs, Logs, OneShot, Place, ServeArgs};
use extman::config::Config;
use extman::control::Pending;
use extman::model::VettingReport;
use std::io::Write;
use std::path::Path;
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
            let host = app::start(config(&place)?)
                .await
                .map_err(|error| error.to_string())?;
            Ok(OneShot {
                control: Arc::new(host.clone()),
                close: Box::pin(async move { host.shutdown().await }),
            })
        })
    }

    fn check(&self, args: CheckArgs) -> Pending<'_, Result<VettingReport, String>> {
        Box::pin(async move {
            let config = read(args.host_config.as_deref())?;
            let checked = app::check(config, &args.file, args.config, args.release).await;
            checked.map_err(|error| error.to_string())
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
