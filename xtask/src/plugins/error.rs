//! Why a plugin could not be built.

use extman_plugin_api::manifest::ManifestError;
use std::path::{Path, PathBuf};

/// Why a plugin could not be built.
#[derive(Debug, thiserror::Error)]
pub enum PluginsError {
    /// A file or program could not be used.
    #[error("can't {doing} {}: {source}; check that it exists and its permissions", path.display())]
    Io {
        /// What was tried.
        doing: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// The manifest is not one.
    #[error("{}: {source}", path.display())]
    Manifest {
        /// The `plugin.toml`.
        path: PathBuf,
        /// Why not.
        source: ManifestError,
    },
    /// There is nothing to compile.
    #[error("{} has no .c files, neither in src nor beside plugin.toml; add one", dir.display())]
    NoSources {
        /// The plugin's folder.
        dir: PathBuf,
    },
    /// The compiler could not be started.
    #[error("can't run the C compiler `{compiler}`: {source}; install one, or name yours in the variable CC")]
    NoCompiler {
        /// Its name.
        compiler: String,
        /// Why not.
        source: std::io::Error,
    },
    /// The compiler refused the sources.
    #[error("`{compiler}` refused {}; correct what it names:\n{said}", dir.display())]
    Compiler {
        /// Its name.
        compiler: String,
        /// The plugin's folder.
        dir: PathBuf,
        /// Its words.
        said: String,
    },
    /// Cargo failed; it has said why.
    #[error("cargo could not build {package}; correct what it names above")]
    Cargo {
        /// The package.
        package: String,
    },
    /// The package is no plugin.
    #[error("{package} gives no dynamic library; set crate-type = [\"cdylib\"] in its [lib]")]
    NoLibrary {
        /// The package.
        package: String,
    },
}

/// For `map_err`.
pub(super) fn io(doing: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> PluginsError + use<> {
    let path = path.to_path_buf();
    move |source| PluginsError::Io { doing, path, source }
}
