//! A system whose wall clock and disk can be made to fail while a host runs on it: `faulty.c` under the host, and its switches.

use extman_tests::build;
use extman_tests::served::Served;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// Bytes of the switches; the prefix of the paths without room comes last, and ends with a zero.
const LEN: u64 = PREFIX + 1024;
const OFFSET_S: u64 = 0;
const FULL: u64 = 8;
const CLOCK_READS: u64 = 16;
const WRITES: u64 = 24;
const REFUSED: u64 = 32;
const PREFIX: u64 = 40;

/// The switches of one host's system.
pub struct Faulty {
    switches: File,
    _folder: tempfile::TempDir,
}

impl Faulty {
    /// Starts a host on a system of its own, without a fault as yet.
    pub fn start(settings: &str) -> (Served, Faulty) {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("switches");
        let switches = File::options()
            .read(true)
            .write(true)
            .create_new(true)
            .open(&path);
        let switches = switches.expect("a file for the switches");
        switches.set_len(LEN).expect("room for the switches");
        let served = Served::start(settings, &[("LD_PRELOAD", &library()), ("EXTMAN_FAULTY", &path)]);
        let faulty = Faulty {
            switches,
            _folder: folder,
        };
        (served, faulty)
    }

    /// The wall clock is off by so many seconds from now on.
    pub fn set_clock(&self, offset_s: i64) {
        self.put(OFFSET_S, &offset_s.to_ne_bytes());
    }

    /// There is room for files whose path begins so, or there is none.
    pub fn fill(&self, prefix: &Path, is_full: bool) {
        let text = prefix.to_str().expect("a path in Unicode").as_bytes();
        assert!(text.len() < 1024, "{prefix:?} is too long");
        self.put(PREFIX, &[text, &[0]].concat());
        self.put(FULL, &u64::from(is_full).to_ne_bytes());
    }

    /// How often the wall clock was read through here.
    pub fn clock_reads(&self) -> u64 {
        self.get(CLOCK_READS)
    }

    /// How often a file below the prefix was written to, whether there was room or not.
    pub fn writes(&self) -> u64 {
        self.get(WRITES)
    }

    /// How often there was no room.
    pub fn refused(&self) -> u64 {
        self.get(REFUSED)
    }

    fn put(&self, at: u64, bytes: &[u8]) {
        self.switches
            .write_all_at(bytes, at)
            .expect("the switches are there");
    }

    fn get(&self, at: u64) -> u64 {
        let mut bytes = [0; 8];
        self.switches
            .read_exact_at(&mut bytes, at)
            .expect("the switches are there");
        u64::from_ne_bytes(bytes)
    }
}

fn library() -> PathBuf {
    build::preloaded("faulty", include_str!("faulty.c"))
}
