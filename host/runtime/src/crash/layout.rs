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

use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering::Relaxed};

/// "extmanCJ", and the version of all that follows.
const MAGIC: u64 = u64::from_le_bytes(*b"extmanCJ");
const VERSION: u64 = 1;

pub(super) const SLOTS_MAX: usize = 1024;
pub(super) const LIBRARIES_MAX: usize = 1024;
pub(super) const INSTANCES_MAX: usize = 16_384;
pub(super) const CAPABILITIES_MAX: usize = 4096;

/// Bytes of a file.
pub(super) const FILE_BYTES: usize = size_of::<Journal>();

/// The file as it is mapped. All zeros is an empty one.
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
    words: [AtomicU64; WORDS],
    id: Text,
    version: Text,
    instance: Text,
    capability: Text,
    code: Text,
    thread: Text,
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
    pub digest: [AtomicU64; 4],
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

/// A text of at most 127 bytes, cut at a character; zeros after it.
#[repr(C)]
pub(super) struct Text([AtomicU8; TEXT_BYTES]);

const TEXT_BYTES: usize = 128;

impl Text {
    pub fn set(&self, text: &str) {
        let text = &text[..text.floor_char_boundary(TEXT_BYTES - 1)];
        let bytes = text.bytes().chain(std::iter::repeat(0));
        self.0
            .iter()
            .zip(bytes)
            .for_each(|(to, from)| to.store(from, Relaxed));
    }

    pub fn copy(&self, from: &Text) {
        let bytes = self.0.iter().zip(&from.0);
        bytes.for_each(|(to, from)| to.store(from.load(Relaxed), Relaxed));
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

/// In a note: the thread was one that a plugin made.
pub(super) const OWN_THREAD: u64 = 15;

const WORDS: usize = 32;
// Which of the page's words is what.
const IS_JOURNAL: usize = 0;
const OF_VERSION: usize = 1;
const PID: usize = 2;
const STATE: usize = 3;
const CHECKSUM: usize = 4;
const SIGNAL: usize = 5;
const TID: usize = 6;
const AT: usize = 7;
const IS_FAULT: usize = 8;
const ADDRESS: usize = 9;
const STACK: usize = 10;
const CODE_KIND: usize = 11;
const CODE_OFFSET: usize = 12;
const PHASE: usize = 13;
const SLOT: usize = 14;
const WORD: usize = 15;
const ENTRIES: usize = 16;
const DIGEST: usize = 17;
const ENDED: usize = 21;

/// Written at other times than the note, or of it.
const NOT_SUMMED: [usize; 3] = [STATE, CHECKSUM, ENDED];

/// There is no note.
pub(super) const NONE: u64 = 0;
/// A signal handler is writing one.
pub(super) const WRITING: u64 = 1;
/// There is one.
pub(super) const WHOLE: u64 = 2;

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

/// What a signal handler knows by numbers. The texts it copies from the tables.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sign {
    pub signal: u64,
    pub tid: u64,
    pub at_unix_ms: u64,
    /// The signal was a fault, and is about this address.
    pub address: Option<u64>,
    pub stack: u64,
    pub code: Code,
    /// Whose code it was, with `phase` [`OWN_THREAD`] for a thread of a plugin's; 0 for nobody's.
    pub culprit: Word,
    /// The thread's slot, from 1 on, with its word and count; 0 if it has none.
    pub slot: u64,
    pub slot_word: u64,
    pub slot_entries: u64,
}

impl Page {
    pub fn begin(&self, pid: u32) {
        self.put(PID, u64::from(pid));
        self.put(OF_VERSION, VERSION);
        self.put(IS_JOURNAL, MAGIC);
    }

    /// Whether the process has ended its work in good order.
    pub fn set_ended(&self, ended: bool) {
        self.put(ENDED, u64::from(ended));
    }

    pub fn pid(&self) -> u64 {
        self.get(PID)
    }

    pub fn state(&self) -> &AtomicU64 {
        &self.words[STATE]
    }

    /// The slot that the note tells of, from 1 on, with its word and count then.
    pub fn slot_noted(&self) -> (u64, u64, u64) {
        (self.get(SLOT), self.get(WORD), self.get(ENTRIES))
    }

    /// Notes it. The caller has the right to: the state is [`WRITING`], and is made [`WHOLE`] afterwards.
    pub fn note(&self, sign: &Sign, journal: &Journal, thread: &[u8; 16]) {
        self.put(SIGNAL, sign.signal);
        self.put(TID, sign.tid);
        self.put(AT, sign.at_unix_ms);
        self.put(IS_FAULT, u64::from(sign.address.is_some()));
        self.put(ADDRESS, sign.address.unwrap_or(0));
        self.put(STACK, sign.stack);
        self.put(PHASE, sign.culprit.phase);
        self.put(SLOT, sign.slot);
        self.put(WORD, sign.slot_word);
        self.put(ENTRIES, sign.slot_entries);
        self.note_code(sign.code, journal);
        let row = |number: u64, max: usize| (number as usize).checked_sub(1).filter(|at| *at < max);
        let library = row(sign.culprit.library, LIBRARIES_MAX).map(|at| &journal.libraries[at]);
        copy_or_clear(&self.id, library.map(|row| &row.id));
        copy_or_clear(&self.version, library.map(|row| &row.version));
        for part in 0..4 {
            self.put(
                DIGEST + part,
                library.map_or(0, |row| row.digest[part].load(Relaxed)),
            );
        }
        let instance = row(sign.culprit.instance, INSTANCES_MAX);
        copy_or_clear(&self.instance, instance.map(|at| &journal.instances[at].name));
        let capability = row(sign.culprit.capability, CAPABILITIES_MAX);
        copy_or_clear(
            &self.capability,
            capability.map(|at| &journal.capabilities[at].name),
        );
        let name = thread.iter().chain(std::iter::repeat(&0));
        let bytes = self.thread.0.iter().zip(name);
        bytes.for_each(|(to, from)| to.store(*from, Relaxed));
        self.put(CHECKSUM, self.checksum());
    }

    fn note_code(&self, code: Code, journal: &Journal) {
        let (kind, offset, row) = match code {
            Code::Elsewhere => (0, 0, None),
            Code::Host(offset) => (1, offset, None),
            Code::Library(row, offset) => (2, offset, Some(row)),
        };
        self.put(CODE_KIND, kind);
        self.put(CODE_OFFSET, offset);
        copy_or_clear(&self.code, row.map(|row| &journal.libraries[row].id));
    }

    fn get(&self, word: usize) -> u64 {
        self.words[word].load(Relaxed)
    }

    fn put(&self, word: usize, value: u64) {
        self.words[word].store(value, Relaxed);
    }

    /// Of the note (FNV-1a, 64 bits).
    fn checksum(&self) -> u64 {
        let words = self.words.iter().enumerate();
        let words = words.filter(|(at, _)| !NOT_SUMMED.contains(at));
        let mut sum = Sum::new();
        words.for_each(|(_, word)| {
            word.load(Relaxed)
                .to_ne_bytes()
                .iter()
                .for_each(|byte| sum.add(*byte))
        });
        for text in self.texts() {
            text.0.iter().for_each(|byte| sum.add(byte.load(Relaxed)));
        }
        sum.0
    }

    fn texts(&self) -> [&Text; TEXTS] {
        let Page {
            id,
            version,
            instance,
            capability,
            code,
            thread,
            ..
        } = self;
        [id, version, instance, capability, code, thread]
    }
}

const TEXTS: usize = 6;

fn copy_or_clear(to: &Text, from: Option<&Text>) {
    match from {
        Some(from) => to.copy(from),
        None => to.set(""),
    }
}

struct Sum(u64);

impl Sum {
    const fn new() -> Self {
        Sum(0xcbf2_9ce4_8422_2325)
    }

    fn add(&mut self, byte: u8) {
        self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
}

/// A note as it is read from a file that was left behind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Left {
    pub pid: u64,
    pub signal: u64,
    pub tid: u64,
    pub at_unix_ms: u64,
    pub address: Option<u64>,
    pub stack: u64,
    /// 1 for the executable, 2 for the library `code`; and how far from its beginning.
    pub code_kind: u64,
    pub code_offset: u64,
    pub phase: u64,
    pub digest: [u8; 32],
    pub id: String,
    pub version: String,
    pub instance: String,
    pub capability: String,
    pub code: String,
    pub thread: String,
}

/// What a file that was left behind says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Said {
    /// It is no journal of this version, or not a whole one.
    Nothing,
    /// Its process ended in good order.
    Ended,
    /// It ended otherwise, and without a fatal signal that was noted.
    NoSignal,
    /// Its process was ended by this.
    Signal(Box<Left>),
}

/// Reads a whole file. Whatever the bytes are, no name comes from them that was not noted as a whole.
pub(super) fn read(file: &[u8]) -> Said {
    let word = |at: usize| {
        let bytes = file.get(at * 8..at * 8 + 8)?;
        Some(u64::from_ne_bytes(bytes.try_into().ok()?))
    };
    let get = |at| word(at).unwrap_or(0);
    if file.len() != FILE_BYTES || get(IS_JOURNAL) != MAGIC || get(OF_VERSION) != VERSION {
        return Said::Nothing;
    }
    let without = if get(ENDED) == 1 {
        Said::Ended
    } else {
        Said::NoSignal
    };
    if get(STATE) != WHOLE {
        return without;
    }
    let texts = &file[WORDS * 8..WORDS * 8 + TEXTS * TEXT_BYTES];
    let mut sum = Sum::new();
    let words = (0..WORDS).filter(|at| !NOT_SUMMED.contains(at));
    words.for_each(|at| file[at * 8..at * 8 + 8].iter().for_each(|byte| sum.add(*byte)));
    texts.iter().for_each(|byte| sum.add(*byte));
    if sum.0 != get(CHECKSUM) || has_moved_on(file, get(SLOT), get(WORD), get(ENTRIES)) {
        return without;
    }
    let text = |at: usize| {
        let bytes = &texts[at * TEXT_BYTES..(at + 1) * TEXT_BYTES];
        let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(TEXT_BYTES);
        String::from_utf8_lossy(&bytes[..end]).into_owned()
    };
    let mut digest = [0; 32];
    digest.copy_from_slice(&file[DIGEST * 8..DIGEST * 8 + 32]);
    Said::Signal(Box::new(Left {
        pid: get(PID),
        signal: get(SIGNAL),
        tid: get(TID),
        at_unix_ms: get(AT),
        address: (get(IS_FAULT) == 1).then(|| get(ADDRESS)),
        stack: get(STACK),
        code_kind: get(CODE_KIND),
        code_offset: get(CODE_OFFSET),
        phase: get(PHASE),
        digest,
        id: text(0),
        version: text(1),
        instance: text(2),
        capability: text(3),
        code: text(4),
        thread: text(5),
    }))
}

/// Whether the thread came out of what it was in when the signal was noted: then the process survived that, and ended otherwise.
fn has_moved_on(file: &[u8], slot: u64, word: u64, entries: u64) -> bool {
    let Some(at) = (slot as usize).checked_sub(1).filter(|at| *at < SLOTS_MAX) else {
        return false;
    };
    let slot = std::mem::offset_of!(Journal, slots) + at * size_of::<Slot>();
    let get = |field: usize| {
        let bytes = file.get(slot + field..slot + field + 8);
        bytes
            .and_then(|bytes| bytes.try_into().ok())
            .map(u64::from_ne_bytes)
    };
    let now = (
        get(std::mem::offset_of!(Slot, word)),
        get(std::mem::offset_of!(Slot, entries)),
    );
    now != (Some(word), Some(entries))
}

/// The digest as a row keeps it.
pub(super) fn digest_words(digest: &[u8; 32]) -> [u64; 4] {
    std::array::from_fn(|part| {
        let mut bytes = [0; 8];
        bytes.copy_from_slice(&digest[part * 8..part * 8 + 8]);
        u64::from_ne_bytes(bytes)
    })
}
