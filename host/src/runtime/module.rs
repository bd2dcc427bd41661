//! A module: one loaded generation of one library.
//!
//! ```text
//!   open ──▶ loaded ──▶ unload: attached threads gone? instances gone? call lanes ended, probe lanes replaced,
//!                       closed on a thread of its own ──▶ verdict
//! ```

use super::lanes::{AttachedThreads, LaneObserver, Phase, Pool, PoolLimits, Work};
use super::loader::{Library, OpenError, SealError, SealedImage};
use super::ticket::{How, NoReturn, on_lane};
use super::vetting::VettedPlugin;
use crate::clock;
use crate::model::{Digest, ResidentReason, Verdict};
use extman_plugin_api::manifest::schema::Manifest;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// One loaded generation of one library.
pub struct Module {
    generation: u64,
    digest: Digest,
    name: Arc<str>,
    manifest: Arc<Manifest>,
    pool: Pool,
    shared: SharedLanes,
    attached: AttachedThreads,
    users: AtomicUsize,
    library: Mutex<Option<Arc<Library>>>,
}

/// The lanes that all modules share: for checks, and apart from them for checks of suspects.
#[derive(Clone)]
pub struct SharedLanes {
    /// For checks.
    pub probes: Pool,
    /// For checks of instances that were slow or failed last time.
    pub suspects: Pool,
    /// Hears of lost lanes.
    pub observer: Arc<dyn LaneObserver>,
}

impl SharedLanes {
    /// Shared lanes whose losses `observer` hears of.
    pub fn new(observer: Arc<dyn LaneObserver>) -> Self {
        let limits = PoolLimits {
            lanes_max: 2,
            queue_max: 4096,
            lost_max: 64,
        };
        SharedLanes {
            probes: Pool::new("extman-probe", limits, observer.clone()),
            suspects: Pool::new("extman-suspect", limits, observer.clone()),
            observer,
        }
    }
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

/// Why a module could not be loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The stored copy can't be read.
    #[error("the stored library can't be read: {0}")]
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

impl Module {
    /// Loads a vetted plugin's library: maps it, runs its constructors, checks its tables. Calls nothing else of it.
    ///
    /// # Errors
    /// It can't be read, does not pass, or does not return in time.
    pub async fn open(
        plugin: &VettedPlugin,
        shared: SharedLanes,
        limits: PoolLimits,
        budgets: ModuleBudgets,
    ) -> Result<Arc<Module>, LoadError> {
        let manifest = Arc::new(plugin.verified().manifest().clone());
        let name: Arc<str> = manifest.plugin.id.as_str().into();
        let generation = GENERATIONS.fetch_add(1, Ordering::Relaxed);
        let pool = Pool::new(format!("x-{name}-{generation}"), limits, shared.observer.clone());
        let file = plugin.verified().open()?;
        let digest = plugin.verified().digest();
        let rust = super::vetting::is_rust(plugin.verified());
        let work = Work {
            subject: name.clone(),
            generation,
            phase: Phase::Open,
            deadline: clock::monotonic().after(budgets.open),
            wedge_after: Duration::ZERO,
        };
        let memory_name = format!("extman-{name}-{generation}");
        let open = move |_slot: &_, _ticket: &_| -> Result<Library, LoadError> {
            let sealed = SealedImage::copy(file, &memory_name, digest)?;
            Ok(Library::open(sealed, rust)?)
        };
        let library = match on_lane(&pool, work, How::Urgent, open).await {
            Ok(opened) => match opened {
                Ok(library) => library,
                Err(error) => {
                    end_lanes(pool, budgets.settle).await;
                    return Err(error);
                }
            },
            Err(NoReturn::Deadline) => return Err(LoadError::Hangs(budgets.open)),
            Err(NoReturn::Refused(refused)) => return Err(LoadError::NoLane(refused.to_string())),
            Err(NoReturn::Dropped | NoReturn::NotBegun) => {
                return Err(LoadError::NoLane("the lane ended".to_owned()));
            }
        };
        Ok(Arc::new(Module {
            generation,
            digest,
            name,
            manifest,
            pool,
            shared,
            attached: AttachedThreads::default(),
            users: AtomicUsize::new(0),
            library: Mutex::new(Some(Arc::new(library))),
        }))
    }

    /// Unloads the module and says what came of it. No instance may be left. What a call, an instance or an attached thread held
    /// can be unloaded again once that is gone.
    pub async fn unload(self: Arc<Self>, budgets: ModuleBudgets) -> Verdict {
        // Waits for threads, so not on one of the async runtime's own.
        let unloading = tokio::task::spawn_blocking(move || self.unload_blocking(budgets));
        unloading
            .await
            .unwrap_or_else(|error| Verdict::resident(ResidentReason::CloseHangs, error.to_string()))
    }

    fn unload_blocking(&self, budgets: ModuleBudgets) -> Verdict {
        let Some(library) = self.lock().take() else {
            return Verdict::resident(ResidentReason::InstanceAlive, "it was unloaded before");
        };
        // While any of these holds it, its lanes go on: what is left is to be destroyed on them, and the unload tried again.
        if let Some(culprit) = self.pool.wedged() {
            return self.keep(library, ResidentReason::WedgedCall, culprit);
        }
        if let Some(thread) = self.attached.living() {
            return self.keep(library, ResidentReason::AttachedThread, thread);
        }
        if !is_alone(&library, budgets.settle) {
            return self.keep(
                library,
                ResidentReason::InstanceAlive,
                "an instance still holds it; destroy it, then unload again",
            );
        }
        if let Err(lane) = self.pool.shutdown(budgets.settle) {
            return self.keep(library, ResidentReason::LaneNotEnded, lane);
        }
        for pool in [&self.shared.probes, &self.shared.suspects] {
            if let Err(lane) = pool.rotate(self.generation, budgets.settle) {
                return self.keep(library, ResidentReason::LaneNotEnded, lane);
            }
        }
        let library = match Arc::try_unwrap(library) {
            Ok(library) => library,
            Err(library) => {
                return self.keep(
                    library,
                    ResidentReason::InstanceAlive,
                    "an instance still holds it",
                );
            }
        };
        close(library, &self.name, budgets)
    }

    fn keep(&self, library: Arc<Library>, reason: ResidentReason, culprit: impl Into<String>) -> Verdict {
        // Dropping it would not unmap it; keeping it lets a later look find it again.
        *self.lock() = Some(library);
        Verdict::resident(reason, culprit)
    }

    /// Which load of this process it is.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// SHA-256 of the library.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// What the plugin says of itself.
    pub fn manifest(&self) -> &Arc<Manifest> {
        &self.manifest
    }

    /// Lanes lost in calls that have not come back.
    pub fn lost_lanes(&self) -> usize {
        self.pool.lost()
    }

    /// One more instance uses it.
    pub(super) fn join(&self) {
        self.users.fetch_add(1, Ordering::AcqRel);
    }

    /// One instance less uses it. `true` if that was the last.
    pub(super) fn leave(&self) -> bool {
        self.users.fetch_sub(1, Ordering::AcqRel) == 1
    }

    pub(super) fn pool(&self) -> &Pool {
        &self.pool
    }

    pub(super) fn shared(&self) -> &SharedLanes {
        &self.shared
    }

    pub(super) fn attached(&self) -> &AttachedThreads {
        &self.attached
    }

    pub(super) fn library(&self) -> Option<Arc<Library>> {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Option<Arc<Library>>> {
        self.library.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn end_lanes(pool: Pool, patience: Duration) {
    let ended = tokio::task::spawn_blocking(move || pool.shutdown(patience)).await;
    if let Ok(Err(lane)) = ended {
        tracing::warn!(%lane, "a lane that loaded a refused library does not end");
    }
}

/// Whether nobody else holds the library, once what is just ending has let go of it.
fn is_alone(library: &Arc<Library>, patience: Duration) -> bool {
    let give_up = clock::monotonic().after(patience);
    while Arc::strong_count(library) > 1 {
        if clock::monotonic() >= give_up {
            return false;
        }
        std::thread::sleep(Duration::from_micros(200));
    }
    true
}

/// Closes on a thread that ends right after it, and looks from another one: the closing thread's own thread-locals may be the last
/// thing that holds the library.
fn close(library: Library, name: &str, budgets: ModuleBudgets) -> Verdict {
    let settle = budgets.settle;
    // What is just ending has its own time, before the finalisers have theirs.
    let patience = settle.saturating_add(budgets.close);
    let closed = match run_and_join(&format!("x-close-{name}"), patience, move || {
        library.close(settle)
    }) {
        None => {
            return Verdict::resident(
                ResidentReason::CloseHangs,
                "a finaliser or a thread-local destructor",
            );
        }
        Some(Err(verdict)) => return verdict,
        Some(Ok(closed)) => closed,
    };
    run_and_join(&format!("x-look-{name}"), budgets.close, move || closed.verdict())
        .unwrap_or_else(|| Verdict::resident(ResidentReason::CloseHangs, "a deferred finaliser"))
}

/// Runs on a new thread and waits until that thread is gone, thread-local destructors included. `None` if it is not in time.
fn run_and_join<T: Send + 'static>(
    name: &str,
    patience: Duration,
    run: impl FnOnce() -> T + Send + 'static,
) -> Option<T> {
    let limits = PoolLimits {
        lanes_max: 1,
        queue_max: 1,
        lost_max: 1,
    };
    let pool = Pool::new(name, limits, Arc::new(Unobserved));
    let (reply, replied) = std::sync::mpsc::sync_channel(1);
    let work = Work {
        subject: name.into(),
        generation: 0,
        phase: Phase::Close,
        deadline: clock::monotonic().after(patience),
        wedge_after: Duration::ZERO,
    };
    let answer = move |value| {
        let _ = reply.send(value);
    };
    pool.submit_urgent(work, move |_| run(), answer).ok()?;
    let value = replied.recv_timeout(patience).ok()?;
    pool.shutdown(patience).ok()?;
    Some(value)
}

struct Unobserved;

impl LaneObserver for Unobserved {
    fn lost(&self, _: &Work, _: Duration) {}
    fn returned_late(&self, _: &Work, _: Duration) {}
}
