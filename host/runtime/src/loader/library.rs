//! One generation of one library: opened from sealed memory, checked, and closed only when that is safe.

use super::census::{self, Opened};
use super::code_owner::{self, CodeOwner};
use super::image::{self, Image};
use super::interpose::{self, Interposition};
use super::kept;
use super::keys::{self, LeftKey};
use super::memfd::{SealError, SealedImage};
use super::root::{self, Tables};
use super::{loaded, mapped};
use crate::crash::LibraryEntry;
use crate::lanes::Phase;
use crate::sync::{lock, wait_while};
use extman_model::{ResidentReason, Verdict};
use extman_plugin_api::manifest::schema::Symbols;
use libloading::os::unix::{Library as Handle, RTLD_GLOBAL, RTLD_LOCAL, RTLD_NOW};
use std::mem::ManuallyDrop;
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

/// Why a library could not be opened. Nothing of the plugin but its constructors has run then.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The bytes could not be sealed.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// There is no room left for its thread-locals.
    #[error(
        "the dynamic loader has no room left for the library's static thread-locals; build it with \
         -ftls-model=global-dynamic, or start the host with GLIBC_TUNABLES=glibc.rtld.optional_static_tls=65536"
    )]
    StaticTls,
    /// The dynamic loader refused it.
    #[error("the dynamic loader refuses the library: {0}{more}", more = crate::process_guard::remedy(.0))]
    Loader(String),
    /// Another library's constructor or finaliser has not returned.
    #[error(
        "another library has been loading or unloading for more than 10 s, and the dynamic loader does one at a time; \
         find the plugin that hangs in a constructor, and restart the host"
    )]
    Busy,
    /// The dynamic loader mapped something else.
    #[error("the dynamic loader mapped another file than the verified one; nothing of it was called")]
    OtherFile,
    /// Made by the Rust SDK, but without abi_stable's root.
    #[error(
        "the library's manifest says that it was made with the Rust SDK, but it has no abi_stable root; build it with \
         export_plugin! of extman-plugin-api 1.x"
    )]
    NoRoot,
    /// abi_stable's header is not one that this host reads.
    #[error(
        "the library's abi_stable header is not one that this host reads; rebuild it with extman-plugin-api 1.x"
    )]
    RootHeader,
    /// Built for another major of the ABI.
    #[error(
        "the plugin was built for ABI {plugin}, this host has ABI {host}; rebuild it with a matching extman-plugin-api"
    )]
    AbiMajor {
        /// Major that the plugin has.
        plugin: u64,
        /// Major that the host has.
        host: u64,
    },
    /// A struct differs.
    #[error(
        "the plugin's structs (ABI {plugin}) differ from this host's (ABI {host}) in more than appended fields; rebuild \
         it with an unmodified extman-plugin-api"
    )]
    Layout {
        /// ABI version that the plugin has.
        plugin: String,
        /// ABI version that the host has.
        host: String,
        /// abi_stable's full text.
        differences: String,
    },
    /// No entry function.
    #[error("the library exports no extman_plugin_entry; use export_plugin! (Rust) or EXTMAN_EXPORT (C)")]
    NoEntry,
    /// A table is malformed.
    #[error("the plugin's tables are malformed: {0}")]
    BadTable(String),
}

/// A library that could not be opened.
#[derive(Debug, thiserror::Error)]
#[error("{error}")]
pub struct NotOpened {
    /// Why.
    #[source]
    pub error: OpenError,
    /// What of it is mapped all the same and has to be closed.
    pub mapped: Option<Box<Mapped>>,
}

impl From<OpenError> for NotOpened {
    fn from(error: OpenError) -> Self {
        NotOpened { error, mapped: None }
    }
}

/// A loaded library whose tables have been checked. Dropped, it stays mapped: see [`Library::into_mapped`].
pub struct Library {
    tables: Arc<Tables>,
    mapped: Mapped,
}

/// A library as it is mapped, whatever its tables are. It is closed by [`Mapped::close`] alone: dropped, it stays mapped.
pub struct Mapped {
    image: Image,
    owner: CodeOwner,
    opened: Opened,
    listed: LibraryEntry,
    // Both only let go by `close` and `Closed::verdict`: while the library is mapped, its descriptor's number must not
    // become another file's, or glibc would take that for this one.
    handle: ManuallyDrop<Handle>,
    sealed: ManuallyDrop<SealedImage>,
}

impl std::fmt::Debug for Mapped {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Mapped({:#x})", self.image.base)
    }
}

/// Why a library was not closed. It can be tried again.
#[derive(Debug)]
pub struct NotClosed {
    /// What holds it.
    pub verdict: Verdict,
    /// The library, as it was.
    pub mapped: Box<Mapped>,
}

/// Whether a dlopen or dlclose of this process is under way. There is one at a time: glibc does the same, and keys are compared with
/// ranges meanwhile.
static LOADING: Mutex<bool> = Mutex::new(false);
/// One has ended. Who waits sleeps until then: many that poll keep those from a core who could end it.
static LOADED: Condvar = Condvar::new();
const LOADER_PATIENCE: Duration = Duration::from_secs(10);

impl Library {
    /// Opens and checks a library, which the crash journal has as `listed`. Runs its constructors on this thread. `rust`: the Rust SDK has
    /// made its manifest frame. With global `symbols`, libraries that are opened later may bind to them.
    ///
    /// # Errors
    /// Whatever does not pass; what is mapped then is given back, to be closed when this thread has ended.
    pub fn open(
        sealed: SealedImage,
        rust: bool,
        symbols: Symbols,
        listed: LibraryEntry,
    ) -> Result<Self, NotOpened> {
        let _one_at_a_time = loader().ok_or(OpenError::Busy)?;
        let path = sealed.path();
        if image::is_listed(&path) {
            return Err(OpenError::OtherFile.into());
        }
        let (opened, owner) = (Opened::now(), CodeOwner::of_a_new_library());
        listed.set_owner(owner.number());
        let place = listed.at(Phase::Open);
        let scope = match symbols {
            Symbols::Global => RTLD_GLOBAL,
            Symbols::Local => RTLD_LOCAL,
        };
        // SAFETY: constructors run. That is what loading a plugin means; the file was verified, and vetted in a child.
        let open = || unsafe { Handle::open(Some(&path), RTLD_NOW | scope) };
        let handle = code_owner::in_entry(owner, place, open).map_err(|error| refusal(&error))?;
        let Some(image) = image_of(&handle) else {
            // Nobody can say what is mapped where, so its name must stay taken.
            std::mem::forget((handle, sealed));
            return Err(OpenError::OtherFile.into());
        };
        loaded::add(owner, image.clone());
        listed.set_addresses(image.extent());
        // Listed under its name, or its absence from the list would prove nothing when it is closed.
        let checked = match is_mapped(&sealed, &image) {
            Ok(true) if image::is_listed(&path) => {
                // SAFETY: open, and kept open by the struct that the tables go into.
                let tables = || unsafe { root::tables(&handle, sealed.digest(), rust) };
                code_owner::in_entry(owner, place, tables)
            }
            Ok(_) => Err(OpenError::OtherFile),
            // Nobody could tell which file it is.
            Err(error) => Err(SealError::Io(error).into()),
        };
        let mapped = Mapped {
            image,
            owner,
            opened,
            listed,
            handle: ManuallyDrop::new(handle),
            sealed: ManuallyDrop::new(sealed),
        };
        match checked {
            Ok(tables) => Ok(Library {
                tables: Arc::new(tables),
                mapped,
            }),
            Err(error) => Err(NotOpened {
                error,
                mapped: Some(Box::new(mapped)),
            }),
        }
    }

    /// Gives up the tables: nothing of it is called any more.
    pub fn into_mapped(self) -> Mapped {
        self.mapped
    }

    /// Tells it from all others, also from those that lie where it lay.
    pub(super) fn owner(&self) -> CodeOwner {
        self.mapped.owner
    }

    /// As the crash journal has it.
    pub(super) fn listed(&self) -> &LibraryEntry {
        &self.mapped.listed
    }

    pub(super) fn tables(&self) -> &Arc<Tables> {
        &self.tables
    }
}

impl Mapped {
    /// Closes the library if nothing of it is alive, and says what came of it. Runs its finalisers on this thread.
    ///
    /// The caller has seen to it that no call is inside and that every lane that ran its code has ended. After this the
    /// calling thread must end too, and then [`Closed::verdict`] tells whether the library is gone.
    ///
    /// # Errors
    /// Something of it is alive: it is given back untouched.
    pub fn close(mut self, patience: Duration) -> Result<Closed, NotClosed> {
        let not = |mapped, verdict| {
            let mapped = Box::new(mapped);
            Err(NotClosed { verdict, mapped })
        };
        if let Interposition::Missing(symbol) = interpose::interposition() {
            let culprit =
                format!("{symbol} is not the host's; see the build-script line in the embedding guide");
            return not(self, Verdict::resident(ResidentReason::NotInterposed, culprit));
        }
        let Some(_one_at_a_time) = loader() else {
            let culprit = "another library is being opened or closed";
            return not(self, Verdict::resident(ResidentReason::CloseHangs, culprit));
        };
        if let Some((reason, culprit)) = census::living(&self.image, self.owner, self.opened, patience) {
            return not(self, Verdict::Resident { reason, culprit });
        }
        let keys = keys::with_destructor_in(|address| self.image.contains(address));
        // SAFETY: taken once; `self` is consumed.
        let handle = unsafe { ManuallyDrop::take(&mut self.handle) };
        // For as long as its finalisers run, and no longer: what is closed as a library's code must not be the host's.
        code_owner::in_entry(self.owner, self.listed.at(Phase::Close), || {
            let _ = handle.close();
        });
        let mut closed = Closed {
            keys,
            mapped: self,
            is_gone: false,
        };
        // Where it is gone at once nobody has to look again from another thread.
        if !image::is_listed(&closed.mapped.sealed.path()) {
            closed.forget();
        }
        Ok(closed)
    }
}

/// A library after dlclose: perhaps gone, perhaps not.
pub struct Closed {
    keys: Vec<LeftKey>,
    mapped: Mapped,
    is_gone: bool,
}

impl Closed {
    /// Whether it was gone as soon as it was closed: then its verdict is [`Verdict::Unmapped`], and dropping this frees its sealed memory.
    pub fn is_gone(&self) -> bool {
        self.is_gone
    }

    /// Looks whether the library is gone. To be called on another thread than the one that closed it, after that one has ended: its
    /// thread-locals may be the last thing that holds the library.
    ///
    /// # Errors
    /// Another library is being opened or closed: to be looked at again.
    pub fn verdict(self) -> Result<Verdict, Box<Closed>> {
        self.verdict_within(LOADER_PATIENCE)
    }

    fn verdict_within(mut self, patience: Duration) -> Result<Verdict, Box<Closed>> {
        if self.is_gone {
            return Ok(Verdict::Unmapped);
        }
        let Some(_one_at_a_time) = loader_within(patience) else {
            return Err(Box::new(self));
        };
        let path = self.mapped.sealed.path();
        // Opening and closing what is still there makes glibc collect what it had put off, so the last look counts.
        for _ in 0..2 {
            if image::is_listed(&path) {
                code_owner::in_entry(self.mapped.owner, self.mapped.listed.at(Phase::Close), || {
                    // SAFETY: with NOLOAD nothing is loaded and no constructor runs.
                    if let Ok(again) = unsafe { Handle::open(Some(&path), RTLD_NOW | libc::RTLD_NOLOAD) } {
                        let _ = again.close();
                    }
                });
            }
        }
        if image::is_listed(&path) {
            let kept = self.mapped.sealed.share().map(kept::reason);
            let (reason, culprit) = kept.unwrap_or((ResidentReason::KeptByLoader, "why is not known"));
            return Ok(Verdict::resident(reason, culprit));
        }
        self.forget();
        Ok(Verdict::Unmapped)
    }

    /// It is unmapped: nothing that pointed into it may be left.
    fn forget(&mut self) {
        for key in self.keys.drain(..) {
            // SAFETY: its destructor is unmapped, and of the threads that ran the library's code at most this one is left, which runs none
            // of it any more.
            unsafe { keys::delete(key) };
        }
        // By what it is and not by where it lay: since it was closed, another one may have come to lie there.
        loaded::forget(self.mapped.owner);
        self.mapped.listed.set_unmapped();
        self.is_gone = true;
    }
}

impl Drop for Closed {
    fn drop(&mut self) {
        if self.is_gone {
            // SAFETY: dropped here alone; nothing is mapped from it any more.
            unsafe { ManuallyDrop::drop(&mut self.mapped.sealed) };
        }
    }
}

/// The right to load and unload.
struct Loader(());

/// The right to load and unload, within a bound: a constructor that hangs keeps it for good.
fn loader() -> Option<Loader> {
    loader_within(LOADER_PATIENCE)
}

fn loader_within(patience: Duration) -> Option<Loader> {
    let mut loading = wait_while(&LOADED, lock(&LOADING), patience, |loading| *loading);
    if *loading {
        return None;
    }
    *loading = true;
    // Made only now: one that is dropped gives the right back.
    Some(Loader(()))
}

impl Drop for Loader {
    fn drop(&mut self) {
        *lock(&LOADING) = false;
        LOADED.notify_one();
    }
}

fn is_mapped(sealed: &SealedImage, image: &Image) -> std::io::Result<bool> {
    Ok(mapped::file_at(image.start())? == Some(sealed.identity()?))
}

fn image_of(handle: &Handle) -> Option<Image> {
    // SAFETY: the raw handle is only looked at; `handle` keeps the library open.
    let raw = unsafe { std::ptr::read(handle) }.into_raw();
    let mut map: *mut LinkMap = std::ptr::null_mut();
    // SAFETY: dlinfo(3) with RTLD_DI_LINKMAP writes one pointer to the loader's entry for this handle.
    let asked = unsafe { libc::dlinfo(raw, libc::RTLD_DI_LINKMAP, (&raw mut map).cast()) };
    if asked != 0 || map.is_null() {
        return None;
    }
    // SAFETY: the loader's entry, valid while the library is open; the base is its first field (link.h).
    image::at_base(unsafe { (*map).base })
}

#[repr(C)]
struct LinkMap {
    base: usize,
}

fn refusal(error: &libloading::Error) -> OpenError {
    let cause = std::error::Error::source(error);
    let cause = cause.map_or_else(|| error.to_string(), ToString::to_string);
    // glibc's own words (dl-reloc.c).
    match cause.contains("static TLS block") {
        true => OpenError::StaticTls,
        false => OpenError::Loader(cause),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use extman_model::Digest;
    use sha2::Digest as _;

    #[test]
    fn who_waits_in_vain_for_the_loader_takes_nothing_from_who_has_it() {
        let holder = loader().expect("nobody else loads for that long");
        let waiter = std::thread::spawn(|| loader_within(Duration::from_millis(1)).is_none());
        assert!(waiter.join().unwrap());
        drop(holder);
        assert!(loader().is_some());
    }

    #[test]
    fn closed_library_that_could_not_be_looked_at_is_looked_at_again() {
        let digest = Digest::new(sha2::Sha256::digest(b"").into());
        let closed = Closed {
            keys: Vec::new(),
            mapped: Mapped {
                image: Image::at(1 << 24, 16),
                owner: CodeOwner::of_a_new_library(),
                opened: Opened::now(),
                listed: LibraryEntry::default(),
                handle: ManuallyDrop::new(Handle::this()),
                sealed: ManuallyDrop::new(SealedImage::copy(&b""[..], "gone", digest).unwrap()),
            },
            is_gone: false,
        };
        let holder = loader().expect("nobody else loads for that long");
        let waiter = std::thread::spawn(|| closed.verdict_within(Duration::from_millis(1)));
        let Err(closed) = waiter.join().unwrap() else {
            panic!("it was looked at beside another one")
        };
        drop(holder);
        assert!(matches!(closed.verdict(), Ok(Verdict::Unmapped)));
    }
}
