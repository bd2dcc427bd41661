//! The journal's file: what lies where, and how a note in it is read after its process has ended.
//!
//! ```text
//!      0  Page        whose file it is; the note of a fatal signal, whole in itself and with a checksum
//!   4096  Slot × 1024 what the threads are in: one word each, and how often it was written
//!         tables      libraries, instances and capabilities by number: what the words mean
//! ```
//!
//! All of it is atomics, read and written without order: a signal handler reads what its own thread wrote, and the tables are written
//! before anything refers to them. Nothing here allocates but the reading of a file that was left behind.

use std::array;
use std::mem::{MaybeUninit, transmute};
use std::ptr;
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering::Relaxed};

/// "extmanCJ", and the version of all that follows.
const MAGIC: u64 = u64::from_le_bytes(*b"extmanCJ");
const VERSION: u64 = 3;

pub(super) const SLOTS_MAX: usize = 1024;
pub(super) const LIBRARIES_MAX: usize = 1024;
pub(super) const INSTANCES_MAX: usize = 16_384;
pub(super) const CAPABILITIES_MAX: usize = 4096;

/// Bytes of a file.
pub(super) const FILE_BYTES: usize = size_of::<Journal>();

/// The file as it is mapped. All zeros is an empty one, and any bytes are one.
#[repr(C)]
pub(super) struct Journal {
    pub page: Page,
    pub slots: [Slot; SLOTS_MAX],
    pub libraries: [LibraryRow; LIBRARIES_MAX],
    pub instances: [InstanceRow; INSTANCES_MAX],
    pub capabilities: [CapabilityRow; CAPABILITIES_MAX],
}

/// The first page.
#[repr(C, align(4096))]
pub(super) struct Page {
    magic: AtomicU64,
    version: AtomicU64,
    pub pid: AtomicU64,
    /// [`NONE`], [`WRITING`] or [`WHOLE`].
    pub state: AtomicU64,
    /// Of the note.
    checksum: AtomicU64,
    /// A [`Note`].
    note: [AtomicU64; NOTE_WORDS],
    /// Whether the process has ended its work in good order.
    ended: AtomicU64,
}

/// What one thread is in.
#[repr(C, align(64))]
pub(super) struct Slot {
    /// Kernel id of the thread that has it; 0 if it is free.
    pub tid: AtomicU32,
    /// What the thread is in, as a [`Word`]; 0 in no plugin.
    pub word: AtomicU64,
    /// How often the thread has entered a plugin.
    pub entries: AtomicU64,
}

/// A library that is being mapped or is mapped.
#[repr(C)]
pub(super) struct LibraryRow {
    /// The number of its code's owner; 0 before it has one.
    pub owner: AtomicU64,
    pub start: AtomicU64,
    pub end: AtomicU64,
    pub digest: Bytes<32>,
    pub id: Text,
    pub version: Text,
}

#[repr(C)]
pub(super) struct InstanceRow {
    /// Number of its library; 0 if the row is free.
    pub library: AtomicU64,
    pub name: Text,
}

#[repr(C)]
pub(super) struct CapabilityRow {
    pub name: Text,
}

#[repr(C)]
pub(super) struct Bytes<const N: usize>([AtomicU8; N]);

/// A text of at most 127 bytes, cut at a character; zeros after it.
pub(super) type Text = Bytes<TEXT_BYTES>;

const TEXT_BYTES: usize = 128;

impl<const N: usize> Bytes<N> {
    pub fn set(&self, bytes: &[u8; N]) {
        let both = self.0.iter().zip(bytes);
        both.for_each(|(to, from)| to.store(*from, Relaxed));
    }

    pub fn get(&self) -> [u8; N] {
        array::from_fn(|at| self.0[at].load(Relaxed))
    }
}

impl Text {
    pub fn set_text(&self, text: &str) {
        let text = &text.as_bytes()[..text.floor_char_boundary(TEXT_BYTES - 1)];
        self.set(&array::from_fn(|at| text.get(at).copied().unwrap_or(0)));
    }
}

/// What a thread is in, in one word: which entry, of which library, called for which capability of which instance. Numbers of rows begin
/// at 1; 0 is none, or one that found no room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Word {
    pub phase: u64,
    pub library: u64,
    pub capability: u64,
    pub instance: u64,
}

impl Word {
    pub const fn pack(self) -> u64 {
        self.phase << 60 | self.library << 48 | self.capability << 32 | self.instance
    }

    pub const fn unpack(word: u64) -> Word {
        Word {
            phase: word >> 60,
            library: word >> 48 & 0xfff,
            capability: word >> 32 & 0xffff,
            instance: word & 0xffff_ffff,
        }
    }
}

/// The row of this number; `None` for 0.
pub(super) fn row<T>(rows: &[T], number: u64) -> Option<&T> {
    rows.get((number as usize).checked_sub(1)?)
}

/// In a note: the thread was one that a plugin made.
pub(super) const OWN_THREAD: u64 = 15;

/// There is no note.
pub(super) const NONE: u64 = 0;
/// A signal handler is writing one.
pub(super) const WRITING: u64 = 1;
/// There is one.
pub(super) const WHOLE: u64 = 2;

/// What a signal handler leaves behind: whole in itself, since the tables go on changing until the process has ended.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Note {
    pub pid: u64,
    pub signal: u64,
    pub tid: u64,
    pub at_unix_ms: u64,
    /// 1 if the signal was a fault, which is about this address.
    pub is_fault: u64,
    pub address: u64,
    /// The stack's end.
    pub stack: u64,
    /// [`IN_HOST`] or [`IN_LIBRARY`], and how far from the beginning of that the instruction lies; 0 elsewhere.
    pub code_kind: u64,
    pub code_offset: u64,
    /// In which entry the thread was, or [`OWN_THREAD`]; 0 if it was nobody's code.
    pub phase: u64,
    /// The thread's slot, from 1 on, with its word and count; 0 if it has none.
    pub slot: u64,
    pub slot_word: u64,
    pub slot_entries: u64,
    /// Whose code it was. Texts end at the first zero.
    pub digest: [u8; 32],
    pub id: [u8; TEXT_BYTES],
    pub version: [u8; TEXT_BYTES],
    pub instance: [u8; TEXT_BYTES],
    pub capability: [u8; TEXT_BYTES],
    /// The id of the library in which the instruction lies.
    pub code: [u8; TEXT_BYTES],
    pub thread: [u8; 16],
}

const NOTE_WORDS: usize = size_of::<Note>() / size_of::<u64>();
// It has no padding.
const _: () = assert!(size_of::<Note>() == 13 * 8 + 32 + 5 * TEXT_BYTES + 16);

pub(super) const IN_HOST: u64 = 1;
pub(super) const IN_LIBRARY: u64 = 2;

/// Where an instruction lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Code {
    /// In no plugin and not in the executable, or it is not known.
    Elsewhere,
    /// In the executable, so far from its beginning.
    Host(u64),
    /// In the library of this row, so far from its beginning.
    Library(usize, u64),
}

impl Note {
    /// One in which nothing stands.
    pub const fn empty() -> Self {
        // SAFETY: numbers and bytes may be zero.
        unsafe { MaybeUninit::zeroed().assume_init() }
    }

    pub fn set_code(&mut self, code: Code, journal: &Journal) {
        match code {
            Code::Elsewhere => {}
            Code::Host(offset) => (self.code_kind, self.code_offset) = (IN_HOST, offset),
            Code::Library(row, offset) => {
                (self.code_kind, self.code_offset) = (IN_LIBRARY, offset);
                self.code = journal.libraries[row].id.get();
            }
        }
    }

    /// Whose code it was, by the rows that the word names.
    pub fn set_culprit(&mut self, culprit: Word, journal: &Journal) {
        self.phase = culprit.phase;
        if let Some(library) = row(&journal.libraries, culprit.library) {
            self.digest = library.digest.get();
            self.id = library.id.get();
            self.version = library.version.get();
        }
        if let Some(instance) = row(&journal.instances, culprit.instance) {
            self.instance = instance.name.get();
        }
        if let Some(capability) = row(&journal.capabilities, culprit.capability) {
            self.capability = capability.name.get();
        }
    }
}

impl Page {
    pub fn begin(&self, pid: u32) {
        self.pid.store(u64::from(pid), Relaxed);
        self.version.store(VERSION, Relaxed);
        self.magic.store(MAGIC, Relaxed);
    }

    /// Whether the process has ended its work in good order.
    pub fn set_ended(&self, ended: bool) {
        self.ended.store(u64::from(ended), Relaxed);
    }

    /// Writes the note. The caller has the right to: the state is [`WRITING`], and is made [`WHOLE`] afterwards.
    /// Copies nothing: a handler may have little more than a page of stack.
    pub fn write(&self, note: &Note) {
        // SAFETY: of one size and alignment, and without padding.
        let words = unsafe { &*ptr::from_ref(note).cast::<[u64; NOTE_WORDS]>() };
        let both = self.note.iter().zip(words);
        both.for_each(|(to, from)| to.store(*from, Relaxed));
        self.checksum.store(checksum(words), Relaxed);
    }

    fn words(&self) -> [u64; NOTE_WORDS] {
        array::from_fn(|at| self.note[at].load(Relaxed))
    }

    fn note(&self) -> Note {
        // SAFETY: of one size, and any bits are numbers and bytes.
        unsafe { transmute::<[u64; NOTE_WORDS], Note>(self.words()) }
    }
}

/// FNV-1a, 64 bits.
fn checksum(words: &[u64; NOTE_WORDS]) -> u64 {
    let bytes = words.iter().flat_map(|word| word.to_ne_bytes());
    bytes.fold(0xcbf2_9ce4_8422_2325, |sum: u64, byte| {
        (sum ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

impl Journal {
    /// Whether the thread came out of what it was in when the signal was noted: then the process survived that.
    pub fn has_moved_on(&self) -> bool {
        let noted = self.page.note();
        row(&self.slots, noted.slot).is_some_and(|slot| {
            (slot.word.load(Relaxed), slot.entries.load(Relaxed)) != (noted.slot_word, noted.slot_entries)
        })
    }

    /// From a whole file.
    fn of(file: &[u8]) -> Option<Box<Journal>> {
        if file.len() != FILE_BYTES {
            return None;
        }
        let mut journal = Box::<Journal>::new_uninit();
        // SAFETY: it has this size, and any bytes are one.
        unsafe {
            file.as_ptr()
                .copy_to_nonoverlapping(journal.as_mut_ptr().cast(), FILE_BYTES);
            Some(journal.assume_init())
        }
    }
}

/// What a file that was left behind says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Contents {
    /// It is no journal of this version, or not a whole one; or its process ended in good order.
    Nothing,
    /// Its process ended otherwise, and without a fatal signal that was noted.
    NoSignal,
    /// Its process was ended by this.
    Signal(Box<Note>),
}

/// Reads a whole file. Whatever the bytes are, no name comes from them that was not noted as a whole.
pub(super) fn read(file: &[u8]) -> Contents {
    let Some(journal) = Journal::of(file) else {
        return Contents::Nothing;
    };
    let page = &journal.page;
    if (page.magic.load(Relaxed), page.version.load(Relaxed)) != (MAGIC, VERSION) {
        return Contents::Nothing;
    }
    let is_whole =
        page.state.load(Relaxed) == WHOLE && page.checksum.load(Relaxed) == checksum(&page.words());
    match (is_whole && !journal.has_moved_on(), page.ended.load(Relaxed)) {
        (true, _) => Contents::Signal(Box::new(page.note())),
        (false, 1) => Contents::Nothing,
        (false, _) => Contents::NoSignal,
    }
}
