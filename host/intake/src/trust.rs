//! Which inspected plugins are trusted: who could have written them, and which digests an operator allows.

use super::config::TrustConfig;
use super::files;
use super::inspect::{InspectError, InspectedPlugin};
use super::store::OpenedCopy;
use extman_model::Digest;
use std::io;
use std::ops::Deref;
use std::path::{Path, PathBuf};

/// A plugin that may be run, as far as can be told without running it. Cheap to clone.
///
/// Only [`verify`] makes one:
///
/// ```compile_fail,E0423
/// fn forge(plugin: extman::intake::InspectedPlugin) -> extman::intake::VerifiedPlugin {
///     extman::intake::VerifiedPlugin(plugin)
/// }
/// ```
#[derive(Debug, Clone)]
pub struct VerifiedPlugin(InspectedPlugin);

/// The plugin as it was before trust was asked for.
impl Deref for VerifiedPlugin {
    type Target = InspectedPlugin;

    fn deref(&self) -> &InspectedPlugin {
        &self.0
    }
}

impl VerifiedPlugin {
    /// Opens the host's copy for reading.
    ///
    /// # Errors
    /// The copy was removed, or the system refuses to open it.
    pub fn open(&self) -> io::Result<OpenedCopy> {
        self.0.stored().open()
    }
}

/// Why a plugin is not trusted.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// Every user may write to the file.
    #[error("every user of this machine may change {} (mode {mode:04o}); run: chmod o-w {0}", path.display())]
    WritableFile {
        /// The file.
        path: PathBuf,
        /// Its permission bits when it was taken.
        mode: u32,
    },
    /// Every user may add files to the directory, or replace what leads to it.
    #[error("every user of this machine may add to {} (mode {mode:04o}{}); run: chmod o-w {0}, or move the plugin to a \
             directory of its own", path.display(), sticky_says(*mode))]
    WritableDirectory {
        /// The directory.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The digest is not in the allow-list.
    #[error(
        "its digest {found} is not among the {allowed} in intake.trust.allow_digests; add it there if you trust it"
    )]
    NotAllowed {
        /// The plugin's digest.
        found: Digest,
        /// How many digests are allowed.
        allowed: usize,
    },
    /// Loading it would make all stacks executable.
    #[error("{0}")]
    ExecutableStack(InspectError),
    /// A directory that leads to the plugin can't be looked at.
    #[error("the permissions of {} can't be read: {source}; scan again if it was removed", path.display())]
    Unknown {
        /// The directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl TrustError {
    /// A short name that does not change between versions.
    pub fn code(&self) -> &'static str {
        match self {
            Self::WritableFile { .. } => "world-writable-file",
            Self::WritableDirectory { .. } => "world-writable-directory",
            Self::NotAllowed { .. } => "digest-not-allowed",
            Self::ExecutableStack(error) => error.code(),
            Self::Unknown { .. } => "permissions-unknown",
        }
    }
}

fn sticky_says(mode: u32) -> &'static str {
    match mode & files::STICKY {
        0 => "",
        _ => "; its sticky bit only stops others from removing files",
    }
}

/// Decides whether an inspected plugin is trusted.
///
/// # Errors
/// Its digest is not allowed, or every user of the machine could have put it there.
pub fn verify(plugin: InspectedPlugin, config: &TrustConfig) -> Result<VerifiedPlugin, TrustError> {
    check(&plugin, config)?;
    Ok(VerifiedPlugin(plugin))
}

fn check(plugin: &InspectedPlugin, config: &TrustConfig) -> Result<(), TrustError> {
    if let Some(allowed) = &config.allow_digests
        && !allowed.contains(&plugin.digest())
    {
        return Err(TrustError::NotAllowed {
            found: plugin.digest(),
            allowed: allowed.len(),
        });
    }
    if plugin.facts().executable_stack && !config.allow_executable_stack {
        return Err(TrustError::ExecutableStack(InspectError::ExecutableStack));
    }
    if config.allow_world_writable {
        return Ok(());
    }
    let found = plugin.stored().found();
    let mode = plugin.stored().origin_mode();
    if mode & files::WORLD_WRITE != 0 {
        return Err(TrustError::WritableFile {
            path: found.resolved().to_owned(),
            mode,
        });
    }
    check_directories(found.path())?;
    check_directories(found.resolved())
}

/// Whether there is no directory through which any user could put another file at `path`.
fn check_directories(path: &Path) -> Result<(), TrustError> {
    let unknown = |path: &Path| {
        let path = path.to_owned();
        move |source| TrustError::Unknown { path, source }
    };
    let parent = files::parent(path);
    let directory = parent.canonicalize().map_err(unknown(parent))?;
    for (depth, ancestor) in directory.ancestors().enumerate() {
        let metadata = std::fs::metadata(ancestor).map_err(unknown(ancestor))?;
        let mode = files::mode(&metadata);
        // Further up the sticky bit is enough: nobody else can rename the directory below.
        if mode & files::WORLD_WRITE != 0 && (depth == 0 || mode & files::STICKY == 0) {
            let path = ancestor.to_owned();
            return Err(TrustError::WritableDirectory { path, mode });
        }
    }
    Ok(())
}
