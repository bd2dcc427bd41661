//! What the command line needs from whoever can start a host in this process.

use extman_intake::{Pruned, StoredCopy};
use extman_model::control::{Control, Pending};
use extman_model::{CheckedFile, DependenciesView, PlacedFault, RefusedView, Verdict};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

/// Starts hosts. Its futures run on a tokio runtime with time and I/O; its errors are for people and say what to do.
pub trait Backend {
    /// Runs a host with its HTTP API until a signal ends it.
    fn serve(&self, args: ServeArgs) -> Pending<'_, Result<(), NotStarted>>;

    /// Starts a host without HTTP and waits until it is ready.
    fn one_shot(&self, place: HostSources) -> Pending<'_, Result<OneShot, NotStarted>>;

    /// Vets a library in a throwaway process.
    fn check(&self, args: CheckArgs) -> Pending<'_, Result<CheckedFile, NotChecked>>;

    /// Lists a host's copies of plugins.
    fn store_list(&self, config: Option<PathBuf>) -> Result<Vec<StoredCopy>, NotStarted>;

    /// Removes copies that no host uses: those that have been unused for this many days, or for as long as is configured.
    fn store_prune(
        &self,
        config: Option<PathBuf>,
        unused_days_max: Option<u64>,
    ) -> Result<Pruned, NotStarted>;

    /// Looks at the directories as a host does and says which version of each plugin it would use; runs nothing.
    fn dependencies(&self, place: HostSources) -> Result<Resolved, NotStarted>;

    /// Reads the configuration in this file, or the one that a host would use, says what is wrong with it, and starts nothing.
    ///
    /// # Errors
    /// It can't be read.
    fn check_config(&self, file: Option<PathBuf>) -> Result<ConfigChecked, NotStarted>;
}

/// A configuration that was read.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct ConfigChecked {
    /// Which file; the defaults if there is none.
    pub file: Option<PathBuf>,
    /// Where one was looked for.
    pub places: Vec<PathBuf>,
    /// What can't be used of it.
    pub faults: Vec<PlacedFault>,
}

/// Why a library was not vetted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotChecked {
    /// There is no host to try it in.
    Host(NotStarted),
    /// The configuration that is given for the plugin's instance can't be used.
    Configuration(String),
    /// The file is no plugin for this host.
    Refused(String),
    /// It could not be tried.
    Failed(String),
}

/// Why there is no host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotStarted {
    /// Fields of the configuration can't be used.
    Unfit(Vec<PlacedFault>),
    /// The configuration can't be used.
    Configuration(String),
    /// Plugins are not those that it may use.
    Refused(String),
    /// It could not be started, or failed.
    Host(String),
}

/// `extman serve`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServeArgs {
    /// Where plugins and the configuration are.
    pub place: HostSources,
    /// Address that goes before the configured one.
    pub listen: Option<SocketAddr>,
    /// How the log is written.
    pub logs: Logs,
    /// Whether plugins are vetted; `None` leaves it to the configuration.
    pub vetting: Option<bool>,
}

/// How the log is written to standard error.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Logs {
    /// For people.
    #[default]
    Human,
    /// One JSON object a line.
    Json,
}

/// Where a host finds its plugins and its configuration.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HostSources {
    /// The configuration's file; the one that is found if absent, or else the defaults.
    pub config: Option<PathBuf>,
    /// Directories of plugins in place of the configured ones; those are used if this is empty.
    pub dirs: Vec<PathBuf>,
    /// What `extman.lock` means.
    pub locking: Locking,
}

/// What `extman.lock` means for a command.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Locking {
    /// If it is there, what is locked goes before other versions.
    #[default]
    Honoured,
    /// It has to be there, and nothing else is used.
    Only,
    /// Nothing.
    Ignored,
}

impl Locking {
    /// As `--locked` says.
    pub fn only_if(locked: bool) -> Self {
        if locked { Locking::Only } else { Locking::Honoured }
    }
}

/// Which version of each plugin a host would use.
#[derive(Debug, Clone, PartialEq)]
pub struct Resolved {
    /// What came of resolving the plugins that are there.
    pub dependencies: DependenciesView,
    /// Files and directories that are refused.
    pub refused: Vec<RefusedView>,
    /// Where `extman.lock` is, or would be.
    pub lock_file: PathBuf,
}

/// `extman vet`.
#[derive(Debug, Clone, PartialEq)]
pub struct CheckArgs {
    /// The library.
    pub file: PathBuf,
    /// The instance's configuration.
    pub config: Option<serde_json::Map<String, serde_json::Value>>,
    /// The host's configuration: trust, limits, and where copies and results are kept. The defaults if absent.
    pub host_config: Option<PathBuf>,
    /// Whether an earlier refusal is forgotten, so that a host tries the library again.
    pub forget: bool,
}

/// A host that lives for one command.
pub struct OneShot {
    /// The host.
    pub control: Arc<dyn Control>,
    /// Warnings for whoever started it.
    pub warnings: Vec<String>,
    /// Drains and unloads everything, and says what became of each plugin's library.
    pub close: Pending<'static, Vec<(String, Verdict)>>,
}
