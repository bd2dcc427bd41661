//! A module: one loaded generation of one library.
//!
//! ```text
//!   open ──▶ loaded ──▶ unload: attached threads gone? instances gone? its lanes ended, closed on a thread of
//!                       its own ──▶ verdict
//! ```

mod closing;
mod unload;
mod used;

pub use used::Used;

use super::crash;
use super::lanes::{AttachedThreads, LaneObserver, Phase, Pool, PoolLimits, Priority, Work};
use super::loader::{CodeOwner, Library, Mapped, NotOpened, OpenError, SealError, SealedImage};
use super::pending_call::{DispatchError, PendingCall, TOO_MANY_CALLS};
use super::process_guard;
use super::sync::lock;
use super::vetting::VettedPlugin;
use closing::Closing;
use extman_intake::{OpenedCopy, VerifiedPlugin};
use extman_model::clock;
use extman_model::{Digest, ResidentReason, Verdict};
use extman_plugin_api::manifest::schema::Manifest;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use tokio::sync::Semaphore;
use used::CpuAccount;

/// One loaded generation of one library.
pub struct Module {
    generation: u64,
    digest: Digest,
    name: Arc<str>,
    manifest: Arc<Manifest>,
    /// Names of its capabilities.
    capabilities: Box<[Arc<str>]>,
    resource_dir: Option<PathBuf>,
    pool: Pool,
    /// Lanes of instances that must run on one thread.
    own: Mutex<Vec<Pool>>,
    attached: AttachedThreads,
    used: CpuAccount,
    users: AtomicUsize,
    held: Mutex<Held>,
    /// Held while it is being unloaded.
    unloading: Mutex<()>,
}

/// How far a library has come, or has gone.
enum Held {
    /// Nothing of it is mapped, or a lane is mapping it.
    Opening,
    /// It serves.
    Loaded(Arc<Library>),
    /// It is mapped, and nothing of it is called any more.
    Mapped(Box<Mapped>),
    /// It is being closed, and that does not return.
    Closing(Closing),
    /// It was closed, and this came of it.
    Closed(Verdict),
}

/// Time that loading and unloading may take.
#[derive(Debug, Clone, Copy)]
pub struct ModuleBudgets {
    /// For mapping the library and running its constructors.
    pub open: Duration,
    /// For what is just ending before an unload: threads, lanes.
    pub settle: Duration,
    /// For unmapping and running its finalisers.
    pub close: Duration,
}

impl Default for ModuleBudgets {
    fn default() -> Self {
        ModuleBudgets {
            open: Duration::from_secs(20),
            settle: Duration::from_secs(2),
            close: Duration::from_secs(10),
        }
    }
}

/// A module that could not be loaded.
#[derive(thiserror::Error)]
#[error("{error}")]
pub struct NotLoaded {
    /// Why.
    #[source]
    pub error: LoadError,
    /// What is in memory all the same, and why. To be unloaded again later.
    pub left: Option<(Arc<Module>, Verdict)>,
}

impl std::fmt::Debug for NotLoaded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let left = self.left.as_ref().map(|(_, verdict)| verdict);
        f.debug_struct("NotLoaded")
            .field("error", &self.error)
            .field("left", &left)
            .finish()
    }
}

impl<E: Into<LoadError>> From<E> for NotLoaded {
    fn from(error: E) -> Self {
        NotLoaded {
            error: error.into(),
            left: None,
        }
    }
}

/// Why a module could not be loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The stored copy can't be read.
    #[error("the stored library can't be read: {0}{more}", more = crate::process_guard::remedy(.0))]
    Store(#[from] std::io::Error),
    /// The library was refused.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// A constructor does not return.
    #[error(
        "the library's constructors did not return within {0:?}; the dynamic loader is held by them, so nothing more can \
         be loaded until the host is restarted without this plugin"
    )]
    Hangs(Duration),
    /// No lane could run it.
    #[error("no lane could load the library: {0}")]
    NoLane(String),
}

impl From<SealError> for LoadError {
    fn from(error: SealError) -> Self {
        LoadError::Open(OpenError::Seal(error))
    }
}

static GENERATIONS: AtomicU64 = AtomicU64::new(1);

/// Most libraries that are opened at a time. Each holds more descriptors meanwhile than afterwards: hundreds that start together must
/// not need twice the descriptors that they keep.
const OPENED_AT_ONCE_MAX: usize = 8;
static OPENING: Semaphore = Semaphore::const_new(OPENED_AT_ONCE_MAX);

impl Module {
    /// Loads a vetted plugin's library: maps it, runs its constructors, checks its tables. Calls nothing else of it.
    /// `asked_by` is the instance that it is loaded for.
    ///
    /// # Errors
    /// It can't be read, does not pass, or does not return in time.
    pub async fn open(
        plugin: &VettedPlugin,
        asked_by: &str,
        observer: Arc<dyn LaneObserver>,
        limits: PoolLimits,
        budgets: ModuleBudgets,
    ) -> Result<Arc<Module>, NotLoaded> {
        // Never closed, so it is given in the end.
        let _place = OPENING.acquire().await;
        let stored = plugin.verified().open().map_err(LoadError::from)?;
        let rust = crate::vetting::is_rust(plugin.verified());
        let module = Arc::new(Module::new(plugin.verified(), observer, limits));
        let work = Work {
            subject: asked_by.into(),
            generation: module.generation,
            phase: Phase::Open,
            capability: None,
            deadline: clock::monotonic().after(budgets.open),
            wedge_after: Duration::ZERO,
        };
        // The module has what was mapped even if nobody waits for it any more.
        let opening = module.clone();
        let asked_by: Arc<str> = work.subject.clone();
        let open = move |_| opening.map(&stored, rust, &asked_by);
        let call = PendingCall::step(work.deadline);
        match call.dispatch(&module.pool, work, Priority::Step, open).await {
            Ok(Ok(())) => Ok(module),
            Ok(Err(error)) => {
                let verdict = module.clone().unload(budgets).await;
                let left = (!verdict.is_unmapped()).then_some((module, verdict));
                Err(NotLoaded { error, left })
            }
            Err(DispatchError::Deadline(_)) => {
                let text = format!("its constructors have not returned for {:?}", budgets.open);
                Err(NotLoaded {
                    error: LoadError::Hangs(budgets.open),
                    left: Some((module, Verdict::resident(ResidentReason::WedgedCall, text))),
                })
            }
            Err(DispatchError::Refused(refused)) => Err(LoadError::NoLane(refused.to_string()).into()),
            Err(DispatchError::TooManyCalls) => Err(LoadError::NoLane(TOO_MANY_CALLS.to_owned()).into()),
            Err(DispatchError::Dropped | DispatchError::NotBegun) => {
                Err(LoadError::NoLane("the lane ended".to_owned()).into())
            }
        }
    }

    /// One of which nothing is mapped yet.
    fn new(plugin: &VerifiedPlugin, observer: Arc<dyn LaneObserver>, limits: PoolLimits) -> Self {
        let manifest = Arc::new(plugin.manifest().clone());
        let stack_bytes = usize::try_from(manifest.threads.stack_bytes).unwrap_or(limits.stack_bytes);
        let limits = PoolLimits {
            stack_bytes,
            ..limits
        };
        let name: Arc<str> = manifest.plugin.id.as_str().into();
        let named = manifest.capabilities.iter();
        let generation = GENERATIONS.fetch_add(1, Ordering::Relaxed);
        Module {
            generation,
            digest: plugin.digest(),
            pool: Pool::new(format!("x-{name}-{generation}"), limits, observer),
            own: Mutex::default(),
            resource_dir: plugin.origin().parent().map(Path::to_owned),
            name,
            capabilities: named.map(|capability| capability.name.as_str().into()).collect(),
            manifest,
            attached: AttachedThreads::default(),
            used: CpuAccount::default(),
            users: AtomicUsize::new(0),
            held: Mutex::new(Held::Opening),
            unloading: Mutex::default(),
        }
    }

    /// On a lane: seals the bytes and maps them.
    fn map(&self, stored: &OpenedCopy, rust: bool, asked_by: &str) -> Result<(), LoadError> {
        let memory_name = format!("extman-{}-{}", self.name, self.generation);
        let sealed = SealedImage::of_stored(stored, &memory_name, self.digest)?;
        let listed = self.listed();
        // As long as its constructors run, the one that it is loaded for is its only one.
        let only = listed.instance(asked_by);
        let opened = {
            let _window = process_guard::window(&self.name, process_guard::LOAD, CodeOwner::UNKNOWN);
            Library::open(sealed, rust, self.manifest.plugin.symbols, listed)
        };
        drop(only);
        match opened {
            Ok(library) => {
                *self.held() = Held::Loaded(Arc::new(library));
                Ok(())
            }
            Err(NotOpened { error, mapped }) => {
                if let Some(mapped) = mapped {
                    *self.held() = Held::Mapped(mapped);
                }
                Err(error.into())
            }
        }
    }

    /// In the crash journal.
    fn listed(&self) -> crash::LibraryEntry {
        let plugin = &self.manifest.plugin;
        let version = plugin.version.to_string();
        let identity = crash::Identity {
            id: &plugin.id,
            version: &version,
            digest: self.digest,
        };
        let capabilities = self.manifest.capabilities.iter();
        crash::library(identity, capabilities.map(|capability| capability.name.as_str()))
    }

    /// Which load of this process it is.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// The folder in which the library's file was found.
    pub(crate) fn resource_dir(&self) -> Option<&Path> {
        self.resource_dir.as_deref()
    }

    /// SHA-256 of the library.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// What the plugin says of itself.
    pub fn manifest(&self) -> &Arc<Manifest> {
        &self.manifest
    }

    /// A capability's name, to be kept, if the manifest has it.
    pub(crate) fn capability(&self, name: &str) -> Option<Arc<str>> {
        self.capabilities.iter().find(|known| ***known == *name).cloned()
    }

    /// Lanes lost in calls that have not come back.
    pub fn lost_lanes(&self) -> usize {
        self.pool.lost()
    }

    /// One more instance uses it.
    pub(super) fn join(&self) {
        if self.users.fetch_add(1, Ordering::AcqRel) > 0 {
            self.used.share();
        }
    }

    /// One instance less uses it. `true` if that was the last.
    pub(super) fn leave(&self) -> bool {
        self.users.fetch_sub(1, Ordering::AcqRel) == 1
    }

    pub(super) fn pool(&self) -> &Pool {
        &self.pool
    }

    /// A pool of one lane for an instance that must run on one thread. It ends with the module at the latest.
    pub(super) fn own_lane(&self, instance: &str) -> Pool {
        let pool = self.pool.on_one_thread(format!("x-{instance}-own"));
        let mut own = lock(&self.own);
        own.retain(|pool| {
            let ended = pool.has_ended();
            if ended {
                self.used.keep(pool.cpu_ns());
            }
            !ended
        });
        own.push(pool.clone());
        pool
    }

    pub(super) fn attached(&self) -> &AttachedThreads {
        &self.attached
    }

    pub(super) fn library(&self) -> Option<Arc<Library>> {
        match &*self.held() {
            Held::Loaded(library) => Some(library.clone()),
            Held::Opening | Held::Mapped(_) | Held::Closing(_) | Held::Closed(_) => None,
        }
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        lock(&self.held)
    }
}
