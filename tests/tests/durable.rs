//! What is said to be on the disk is there: this program has the C library's `fsync`, so it sees each one that the host's code makes, and
//! what stood in the file at that moment.
#![allow(
    unsafe_code,
    reason = "a function of the C library's is defined here, as an executable may"
)]

use extman_intake::{DiscoveryConfig, Store, find, write_whole};
use extman_runtime::durable;
use std::cell::RefCell;
use std::ffi::{c_int, c_long};
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

#[cfg(target_arch = "x86_64")]
const SYS_FSYNC: c_long = 74;
#[cfg(not(target_arch = "x86_64"))]
const SYS_FSYNC: c_long = 82;

/// Which inode was synced, and what stood in the watched file then.
type Synced = (u64, Option<String>);

thread_local! {
    static WATCHED: RefCell<PathBuf> = RefCell::default();
    static SYNCED: RefCell<Vec<Synced>> = RefCell::default();
}

unsafe extern "C" {
    fn syscall(number: c_long, ...) -> c_long;
}

// SAFETY: it has the signature of the C library's, and does what that does.
#[unsafe(no_mangle)]
extern "C" fn fsync(file: c_int) -> c_int {
    if let Ok(metadata) = fs::metadata(format!("/proc/self/fd/{file}")) {
        let text = WATCHED.with_borrow(|path| fs::read_to_string(path).ok());
        SYNCED.with_borrow_mut(|synced| synced.push((metadata.ino(), text)));
    }
    // SAFETY: takes a number.
    unsafe { syscall(SYS_FSYNC, file) as c_int }
}

fn inode(path: &Path) -> u64 {
    fs::metadata(path).unwrap().ino()
}

fn inodes(synced: Vec<Synced>) -> Vec<u64> {
    synced.into_iter().map(|(inode, _)| inode).collect()
}

/// What was synced, in order, while this path was written to.
fn synced(path: &Path, write: impl Fn(&Path) -> io::Result<()>) -> Vec<Synced> {
    WATCHED.set(path.to_owned());
    SYNCED.take();
    write(path).unwrap();
    SYNCED.take()
}

fn is_on_the_disk_when_it_returns(write: impl Fn(&Path, &str) -> io::Result<()>) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    let text = |text: &str| Some(text.to_owned());
    for (before, now) in [(None, "one"), (text("one"), "two")] {
        let synced = synced(&path, |path| write(path, now));
        // The bytes before they have the name, and the name before it returns.
        assert_eq!(
            synced,
            [(inode(&path), before), (inode(folder.path()), text(now))]
        );
    }
}

#[test]
fn durable_file_is_on_the_disk_before_it_has_its_name_and_its_name_before_the_writing_returns() {
    is_on_the_disk_when_it_returns(durable::write);
}

#[test]
fn file_that_is_written_whole_is_on_the_disk_before_it_has_its_name_and_its_name_before_that_returns() {
    is_on_the_disk_when_it_returns(|path, text| write_whole(path, text.as_bytes(), 0o600));
}

#[test]
fn folders_that_are_made_for_a_durable_file_are_on_the_disk_with_their_names() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a/b/file");
    let synced = synced(&path, |path| durable::write(path, "text"));
    let [a, b] = ["a", "a/b"].map(|name| inode(&folder.path().join(name)));
    assert_eq!(inodes(synced), [a, inode(folder.path()), inode(&path), b]);
}

#[test]
fn stored_copy_is_on_the_disk_with_its_name() {
    let folder = tempfile::tempdir().unwrap();
    let (library, dir) = (folder.path().join("a.so"), folder.path().join("store"));
    fs::write(&library, "bytes").unwrap();
    let found = find(&library, &DiscoveryConfig::default()).unwrap();
    let store = Store::open(&dir).unwrap();
    SYNCED.take();
    let stored = store.take(&found).unwrap();
    assert_eq!(inodes(SYNCED.take()), [inode(stored.path()), inode(&dir)]);
}
