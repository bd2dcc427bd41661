//! `extman manifest`.

use super::fault::Fault;
use super::screen::{Outcome, Told};
use extman_plugin_api::manifest;
use std::io::Read;
use std::path::{Path, PathBuf};

#[derive(Debug, clap::Args)]
pub(crate) struct ManifestArgs {
    /// The plugin.toml; `-` is standard input
    file: PathBuf,
}

pub(super) fn run(args: &ManifestArgs) -> Result<Outcome, Fault> {
    let path = args.file.display();
    let toml =
        read(&args.file).map_err(|error| Fault::usage(format!("{path}: {error}; name a plugin.toml")))?;
    let source = manifest::c_source(&toml).map_err(|error| {
        Fault::failed("refused", format!("{path}: {error}")).next("mend it and print the source again")
    })?;
    let told = Told::new(&serde_json::json!({ "c_source": source }), source.clone())?;
    Ok(Outcome::Told(told))
}

/// More than a frame may carry, so that what is too long is refused by its own rule.
const BYTES_MAX: u64 = 1 << 20;

fn read(path: &Path) -> std::io::Result<String> {
    let mut text = String::new();
    if path == Path::new("-") {
        std::io::stdin().take(BYTES_MAX).read_to_string(&mut text)?;
    } else {
        std::fs::File::open(path)?
            .take(BYTES_MAX)
            .read_to_string(&mut text)?;
    }
    Ok(text)
}
