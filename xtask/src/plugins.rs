//! `cargo xtask plugins`: the default plugins, built into one folder from which a host can load them.
//!
//! A library appears there whole or not at all: it is written under another name and then renamed.

mod c;
mod error;

pub use c::{build_c, build_c_with, library_name};
pub use error::PluginsError;

use crate::{root, target};
use error::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// `cargo xtask plugins`.
#[derive(clap::Args)]
pub struct Arguments {
    /// Builds the Rust plugins with optimisation; those in C always are.
    #[arg(long)]
    pub release: bool,
    /// Where the libraries go. Default: `plugins` in the target folder.
    #[arg(long)]
    pub out: Option<PathBuf>,
}

/// Packages of the workspace; one that is not there is passed over.
const CARGO_PLUGINS: [&str; 2] = ["lang-detect", "host-stats"];
/// Folders with a `plugin.toml` and C sources.
const C_PLUGINS: [&str; 1] = ["hash-embedder"];

/// Builds the default plugins; the text lists the libraries.
///
/// # Errors
/// One of them can't be built or put in place.
pub fn run(arguments: &Arguments) -> Result<String, PluginsError> {
    let samples = root().join("sample-plugins");
    let out = arguments.out.clone().unwrap_or_else(|| target().join("plugins"));
    std::fs::create_dir_all(&out).map_err(io("create", &out))?;
    let mut built = Vec::new();
    for name in CARGO_PLUGINS {
        if samples.join(name).join("Cargo.toml").exists() {
            built.push(build_package(name, arguments.release, &out)?);
        }
    }
    for name in C_PLUGINS {
        built.push(build_c(&samples.join(name), &out)?);
    }
    Ok(built
        .iter()
        .map(|path| path.display().to_string())
        .collect::<Vec<_>>()
        .join("\n"))
}

/// Builds a package of the workspace and puts its library into a folder; its path there.
///
/// # Errors
/// It can't be built or put in place.
pub fn build_package(package: &str, release: bool, out_dir: &Path) -> Result<PathBuf, PluginsError> {
    std::fs::create_dir_all(out_dir).map_err(io("create", out_dir))?;
    put(&build_cargo(package, release)?, out_dir)
}

/// Builds a package of the workspace; the path of its `cdylib`.
fn build_cargo(package: &str, release: bool) -> Result<PathBuf, PluginsError> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args([
            "build",
            "--quiet",
            "--message-format=json-render-diagnostics",
            "-p",
            package,
        ])
        .args(release.then_some("--release"))
        .current_dir(root())
        .stderr(Stdio::inherit())
        .output()
        .map_err(io("run cargo in", &root()))?;
    if !output.status.success() {
        return Err(PluginsError::Cargo {
            package: package.to_owned(),
        });
    }
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .filter(|message| message["reason"] == "compiler-artifact")
        .filter(|message| message["target"]["kind"][0] == "cdylib")
        .filter(|message| message["target"]["name"].as_str() == Some(&package.replace('-', "_")))
        .find_map(|message| Some(PathBuf::from(message["filenames"][0].as_str()?)))
        .ok_or_else(|| PluginsError::NoLibrary {
            package: package.to_owned(),
        })
}

/// Copies a library into a folder, whole or not at all.
fn put(library: &Path, folder: &Path) -> Result<PathBuf, PluginsError> {
    let to = folder.join(library.file_name().unwrap_or_default());
    let copy = tempfile::Builder::new()
        .prefix(".copy-")
        .tempdir_in(folder)
        .map_err(io("write to", folder))?;
    let whole = copy.path().join("library");
    std::fs::copy(library, &whole).map_err(io("copy", library))?;
    std::fs::rename(&whole, &to).map_err(io("replace", &to))?;
    Ok(to)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_library_is_replaced_and_nothing_else_is_left() {
        let folder = tempfile::tempdir().unwrap();
        let (from, to) = (folder.path().join("lib.so"), folder.path().join("to"));
        std::fs::create_dir(&to).unwrap();
        for content in ["one", "two"] {
            std::fs::write(&from, content).unwrap();
            let at = put(&from, &to).unwrap();
            assert_eq!(std::fs::read_to_string(at).unwrap(), content);
        }
        assert_eq!(std::fs::read_dir(&to).unwrap().count(), 1);
    }
}
