//! The journal of this process: which library, instance and capability each thread is in, in a mapped file that outlives the process.
//!
//! ```text
//!   library(…) ──▶ LibraryEntry ──instance(…)──▶ InstanceEntry ──in_call(…)──▶ Place ──enter──▶ Entry: until it is dropped
//! ```
//!
//! Entering costs a look at a thread-local and three plain stores, leaving costs one. Before the journal is open every place is nowhere, and entering
//! one costs a comparison. What finds no room in the tables is entered all the same, and is told by what is known of it.

use super::layout::{
    CAPABILITIES_MAX, FILE_BYTES, INSTANCES_MAX, Journal, LIBRARIES_MAX, LibraryRow, Slot, Word, row,
};
use super::{Error, stack};
use crate::free_numbers::FreeNumbers;
use crate::lanes::Phase;
use crate::sync::lock;
use extman_model::Digest;
use rustix::fs::{FallocateFlags, FlockOperation};
use std::cell::Cell;
use std::fs::{DirBuilder, File, Metadata};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering::*, compiler_fence};
use std::sync::{Arc, Mutex};

/// The end of a journal's name.
pub(super) const EXTENSION: &str = "journal";

static JOURNAL: AtomicPtr<Journal> = AtomicPtr::new(ptr::null_mut());
/// The file of this process. Its lock says that the process lives.
static OPEN: Mutex<Option<File>> = Mutex::new(None);

/// The journal, once it is open: from then on for good.
pub(super) fn journal() -> Option<&'static Journal> {
    // SAFETY: null, or a mapping of this size that is never unmapped; every field is an atomic, and any bytes are a value of it.
    unsafe { JOURNAL.load(Acquire).as_ref() }
}

/// Whether this is the file of this process, by whatever name.
pub(super) fn is_own(other: &Metadata) -> bool {
    let own = lock(&OPEN).as_ref().and_then(|file| file.metadata().ok());
    own.is_some_and(|own| (own.dev(), own.ino()) == (other.dev(), other.ino()))
}

/// Opens the journal of this process in a directory, if it is not open yet.
pub(super) fn open(dir: &Path) -> Result<(), Error> {
    let mut open = lock(&OPEN);
    if let Some(journal) = journal() {
        journal.page.set_ended(false);
        return Ok(());
    }
    let failed = Error::files("the crash journal can't be made", dir);
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
        .map_err(&failed)?;
    let pid = std::process::id();
    let name = format!(
        "{pid}-{}",
        extman_model::clock::unix_ms(extman_model::clock::wall())
    );
    // Under its name only once it is locked: whoever finds a journal without a lock takes its process for ended.
    let (unfinished, path) = (
        dir.join(format!("{name}.unfinished")),
        dir.join(format!("{name}.{EXTENSION}")),
    );
    let made = make(&unfinished).and_then(|(file, mapped)| {
        // SAFETY: as in `journal`; nobody else has it yet.
        unsafe { (*mapped).page.begin(pid) };
        std::fs::rename(&unfinished, &path).map(|()| (file, mapped))
    });
    let (file, mapped) = made
        .inspect_err(|_| drop(std::fs::remove_file(&unfinished)))
        .map_err(failed)?;
    JOURNAL.store(mapped, Release);
    *open = Some(file);
    Ok(())
}

fn make(path: &Path) -> io::Result<(File, *mut Journal)> {
    let file = File::options()
        .read(true)
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    rustix::fs::fcntl_lock(&file, FlockOperation::NonBlockingLockExclusive)?;
    // All of it now: where no room is left for a page later, storing to it would end the process.
    rustix::fs::fallocate(&file, FallocateFlags::empty(), 0, FILE_BYTES as u64)?;
    let access = libc::PROT_READ | libc::PROT_WRITE;
    // SAFETY: asks for fresh addresses; a failure is handled. The file has this size, and nobody else has its name.
    let mapped = unsafe {
        libc::mmap(
            ptr::null_mut(),
            FILE_BYTES,
            access,
            libc::MAP_SHARED,
            file.as_raw_fd(),
            0,
        )
    };
    if mapped == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    Ok((file, mapped.cast()))
}

/// Which rows of the tables are free. A row's number in the journal is 1 more: 0 is none there, or one that found no room.
struct Free {
    libraries: FreeNumbers,
    instances: FreeNumbers,
    capabilities: FreeNumbers,
}

static FREE: Mutex<Free> = Mutex::new(Free {
    libraries: FreeNumbers::new(),
    instances: FreeNumbers::new(),
    capabilities: FreeNumbers::new(),
});

/// The number in the journal of a row that is taken.
fn take_row(free: &mut FreeNumbers, max: usize) -> u64 {
    free.take(max).map_or(0, |row| u64::from(row) + 1)
}

fn give_back_row(free: &mut FreeNumbers, number: u64) {
    if let Some(row) = number.checked_sub(1) {
        free.give_back(row as u32);
    }
}

/// What is known of a library before it is loaded.
#[derive(Debug, Clone, Copy)]
pub struct Identity<'a> {
    /// The plugin's id.
    pub id: &'a str,
    /// Its version.
    pub version: &'a str,
    /// SHA-256 of the library.
    pub digest: Digest,
}

/// A library in the journal. What is not mapped any more is forgotten with the last who has this.
#[derive(Clone, Default)]
pub struct LibraryEntry(Option<Arc<ListedLibrary>>);

struct ListedLibrary {
    number: u64,
    capabilities: Vec<(Box<str>, u64)>,
}

/// Lists a library that is about to be loaded, with the names of its capabilities. Nowhere before the journal is open.
pub fn library<'a>(identity: Identity<'_>, capabilities: impl Iterator<Item = &'a str>) -> LibraryEntry {
    let Some(journal) = journal() else {
        return LibraryEntry::default();
    };
    let mut free = lock(&FREE);
    let number = take_row(&mut free.libraries, LIBRARIES_MAX);
    if let Some(listed) = row(&journal.libraries, number) {
        listed.owner.store(0, Relaxed);
        listed.id.set_text(identity.id);
        listed.version.set_text(identity.version);
        listed.digest.set(identity.digest.bytes());
    }
    let capabilities = capabilities.filter_map(|name| {
        let number = take_row(&mut free.capabilities, CAPABILITIES_MAX);
        row(&journal.capabilities, number)?.name.set_text(name);
        Some((name.into(), number))
    });
    let capabilities = capabilities.collect();
    LibraryEntry(Some(Arc::new(ListedLibrary { number, capabilities })))
}

impl LibraryEntry {
    /// One of its instances. Forgotten when it is dropped.
    pub(crate) fn instance(&self, name: &str) -> InstanceEntry {
        let (Some(library), Some(journal)) = (&self.0, journal()) else {
            return InstanceEntry::default();
        };
        let number = take_row(&mut lock(&FREE).instances, INSTANCES_MAX);
        if let Some(listed) = row(&journal.instances, number) {
            listed.name.set_text(name);
            listed.library.store(library.number, Relaxed);
        }
        InstanceEntry {
            library: self.clone(),
            number,
        }
    }

    /// In one of its entries, for none of its instances.
    pub(crate) fn at(&self, phase: Phase) -> Place {
        self.place(0, phase_number(phase), 0)
    }

    fn place(&self, instance: u64, phase: u64, capability: u64) -> Place {
        let Some(library) = &self.0 else {
            return Place(0);
        };
        let word = Word {
            phase,
            library: library.number,
            capability,
            instance,
        };
        Place(word.pack())
    }

    /// Its code has this owner: so are threads known that it makes.
    pub(crate) fn set_owner(&self, owner: u64) {
        if let Some(row) = self.row() {
            row.owner.store(owner, Relaxed);
        }
    }

    /// It is mapped there.
    pub(crate) fn set_addresses(&self, addresses: std::ops::Range<usize>) {
        if let Some(row) = self.row() {
            // Nothing lies there in between.
            row.end.store(0, Release);
            row.start.store(addresses.start as u64, Release);
            row.end.store(addresses.end as u64, Release);
        }
    }

    /// It is not mapped any more.
    pub(crate) fn set_unmapped(&self) {
        self.set_addresses(0..0);
    }

    fn row(&self) -> Option<&'static LibraryRow> {
        row(&journal()?.libraries, self.0.as_ref()?.number)
    }
}

impl Drop for ListedLibrary {
    fn drop(&mut self) {
        let mut free = lock(&FREE);
        for (_, number) in &self.capabilities {
            give_back_row(&mut free.capabilities, *number);
        }
        // What stays in memory may run for ever: it stays listed too.
        if let Some(journal) = journal()
            && let Some(listed) = row(&journal.libraries, self.number)
            && listed.start.load(Relaxed) == 0
        {
            listed.owner.store(0, Relaxed);
            give_back_row(&mut free.libraries, self.number);
        }
    }
}

/// An instance in the journal.
#[derive(Default)]
pub(crate) struct InstanceEntry {
    library: LibraryEntry,
    number: u64,
}

impl InstanceEntry {
    /// In one of its entries.
    #[inline]
    pub fn at(&self, phase: Phase) -> Place {
        self.library.place(self.number, phase_number(phase), 0)
    }

    /// In `thread_detach`, on a thread that leaves its library.
    pub fn detaching(&self) -> Place {
        self.library.place(0, DETACH, 0)
    }

    /// In a call of a capability.
    #[inline]
    pub fn in_call(&self, capability: &str) -> Place {
        let listed = self.library.0.iter().flat_map(|library| &library.capabilities);
        let row = listed
            .filter(|(name, _)| **name == *capability)
            .map(|(_, row)| *row)
            .next();
        self.library
            .place(self.number, phase_number(Phase::Invoke), row.unwrap_or(0))
    }
}

impl Drop for InstanceEntry {
    fn drop(&mut self) {
        if let Some(journal) = journal()
            && let Some(listed) = row(&journal.instances, self.number)
        {
            listed.library.store(0, Relaxed);
            give_back_row(&mut lock(&FREE).instances, self.number);
        }
    }
}

/// Where plugin code is about to run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Place(u64);

thread_local! {
    /// The slot of this thread, once it has one.
    static SLOT: Cell<*const Slot> = const { Cell::new(ptr::null()) };
    static GIVES_BACK: GivesBack = const { GivesBack(Cell::new(None)) };
}

/// What is noted of this thread until it is dropped.
pub(crate) struct Entry {
    slot: *const Slot,
    before: u64,
}

/// Notes that plugin code is about to run here.
#[inline]
pub(crate) fn enter(place: Place) -> Entry {
    if place.0 == 0 {
        return Entry {
            slot: ptr::null(),
            before: 0,
        };
    }
    let mut slot = SLOT.get();
    if slot.is_null() {
        slot = claim();
    }
    // SAFETY: null, or a slot of the journal, which is never unmapped.
    if let Some(of_thread) = unsafe { slot.as_ref() } {
        let entries = of_thread.entries.load(Relaxed) + 1;
        of_thread.entries.store(entries, Relaxed);
    }
    Entry::note(slot, place.0)
}

/// Notes that the host's own code is about to run in the midst of a plugin's: until the result is dropped nobody's is noted here.
#[inline]
pub(crate) fn leave() -> Entry {
    Entry::note(SLOT.get(), 0)
}

impl Entry {
    #[inline]
    fn note(slot: *const Slot, word: u64) -> Self {
        // SAFETY: as in `enter`.
        let before = unsafe { slot.as_ref() }.map_or(0, |of_thread| {
            let before = of_thread.word.load(Relaxed);
            of_thread.word.store(word, Relaxed);
            before
        });
        // It is read by a signal handler on this thread.
        compiler_fence(SeqCst);
        Entry { slot, before }
    }
}

impl Drop for Entry {
    #[inline]
    fn drop(&mut self) {
        compiler_fence(SeqCst);
        // SAFETY: as in `enter`.
        if let Some(slot) = unsafe { self.slot.as_ref() } {
            slot.word.store(self.before, Relaxed);
        }
    }
}

/// Gets this thread a slot, and a stack for its signals; null if all are taken.
#[cold]
fn claim() -> *const Slot {
    let Some(journal) = journal() else {
        return ptr::null();
    };
    let tid = rustix::thread::gettid().as_raw_nonzero().get() as u32;
    let free = |slot: &&Slot| slot.tid.compare_exchange(0, tid, AcqRel, Relaxed).is_ok();
    let Some(slot) = journal.slots.iter().find(free) else {
        return ptr::null();
    };
    slot.word.store(0, Relaxed);
    // Where the thread is about to end, nothing can give the slot back: it has none.
    let given_back = GIVES_BACK.try_with(|gives_back| gives_back.0.set(Some(stack::AlternateStack::begin())));
    if given_back.is_err() {
        slot.tid.store(0, Release);
        return ptr::null();
    }
    SLOT.set(slot);
    slot
}

/// At the thread's end.
struct GivesBack(Cell<Option<stack::AlternateStack>>);

impl Drop for GivesBack {
    fn drop(&mut self) {
        drop(self.0.take());
        let slot = SLOT.replace(ptr::null());
        // SAFETY: as in `enter`.
        if let Some(slot) = unsafe { slot.as_ref() } {
            slot.word.store(0, Relaxed);
            slot.tid.store(0, Release);
        }
    }
}

/// The slot of this thread, for its signal handler: its number from 1 on, its word and its count.
pub(super) fn slot_here(journal: &Journal) -> Option<(u64, u64, u64)> {
    let slot = SLOT.get();
    // SAFETY: as in `enter`.
    let of_thread = unsafe { slot.as_ref() }?;
    let at = (slot.addr() - journal.slots.as_ptr().addr()) / size_of::<Slot>();
    Some((
        at as u64 + 1,
        of_thread.word.load(Relaxed),
        of_thread.entries.load(Relaxed),
    ))
}

const PHASES: [Phase; 12] = [
    Phase::Open,
    Phase::Create,
    Phase::Start,
    Phase::Invoke,
    Phase::Check,
    Phase::Configure,
    Phase::Drain,
    Phase::Stop,
    Phase::Snapshot,
    Phase::Restore,
    Phase::Destroy,
    Phase::Close,
];

#[inline]
const fn phase_number(phase: Phase) -> u64 {
    phase as u64 + 1
}

/// After the lane's own.
const DETACH: u64 = phase_number(Phase::Close) + 1;

/// The entry of this number.
pub(super) fn phase_of(number: u64) -> Option<String> {
    let known = PHASES.into_iter().find(|phase| phase_number(*phase) == number);
    let detaching = || (number == DETACH).then(|| "thread_detach".to_owned());
    known.map(|phase| phase.to_string()).or_else(detaching)
}
