//! `extman manifest`.

use super::fault::Fault;
use super::screen::{Outcome, Rendered};
use super::text::unknown_fields;
use extman_plugin_api::manifest::{self, schema::Manifest};
use std::io::Read;
use std::path::{Path, PathBuf};

#[derive(Debug, clap::Args)]
pub(crate) struct ManifestArgs {
    /// The plugin.toml; `-` is standard input
    #[arg(required_unless_present = "header")]
    file: Option<PathBuf>,
    /// Print the header that plugins in C include, extman_plugin.h, and nothing else
    #[arg(long, conflicts_with = "file")]
    header: bool,
}

pub(super) fn run(args: &ManifestArgs) -> Result<Outcome, Fault> {
    let Some(file) = &args.file else {
        let data = serde_json::json!({ "c_header": manifest::C_HEADER });
        return Ok(Outcome::Rendered(Rendered::new(
            &data,
            manifest::C_HEADER.to_owned(),
        )?));
    };
    let path = file.display();
    let toml = read(file).map_err(|error| Fault::usage(format!("{path}: {error}; name a plugin.toml")))?;
    let source = manifest::c_source(&toml).map_err(|error| {
        Fault::failed("refused", format!("{path}: {error}")).next("mend it and print the source again")
    })?;
    let mut data = serde_json::json!({ "c_source": source });
    let mut warnings = Vec::new();
    let unknown = toml
        .parse::<Manifest>()
        .map(|manifest| manifest.unknown)
        .unwrap_or_default();
    if let Some(note) = unknown_fields(&unknown) {
        data["unknown_manifest_fields"] = serde_json::json!(unknown);
        warnings.push(format!("{path}: {note}; is that a misspelling?"));
    }
    let mut rendered = Rendered::new(&data, source)?;
    rendered.warnings = warnings;
    Ok(Outcome::Rendered(rendered))
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
