use super::*;
use crate::config::DiscoveryConfig;
use crate::discovery::find;
use std::fs;
use std::io::ErrorKind;
use std::time::SystemTime;

struct Place {
    dir: tempfile::TempDir,
    store: Store,
}

fn place() -> Place {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path().join("store")).unwrap();
    Place { dir, store }
}

impl Place {
    fn file(&self, bytes: &[u8]) -> FoundFile {
        let path = self.dir.path().join("plugin.so");
        fs::write(&path, bytes).unwrap();
        find(&path, &DiscoveryConfig::default()).unwrap()
    }

    fn visible(&self) -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(&self.store.dir)
            .unwrap()
            .map(|e| e.unwrap().file_name().into_string().unwrap())
            .filter(|name| !name.ends_with(".lock"))
            .collect();
        names.sort();
        names
    }
}

#[test]
fn a_file_is_copied_under_its_digest() {
    let place = place();
    let stored = place.store.take(&place.file(b"abc")).unwrap();
    assert_eq!(stored.size(), 3);
    assert_eq!(stored.origin(), place.dir.path().join("plugin.so"));
    assert_eq!(fs::read(stored.path()).unwrap(), b"abc");
    assert_eq!(
        place.visible(),
        [format!("{}.{}", stored.digest(), std::env::consts::DLL_EXTENSION)]
    );
    assert_eq!(hash(&mut &b"abc"[..]).unwrap(), stored.digest());
    fs::write(stored.origin(), b"later").unwrap();
    assert_eq!(fs::read(stored.path()).unwrap(), b"abc");
}

#[cfg(unix)]
#[test]
fn copies_are_read_only_and_the_store_is_private() {
    use std::os::unix::fs::PermissionsExt;
    let place = place();
    let stored = place.store.take(&place.file(b"abc")).unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    assert_eq!((mode(stored.path()), mode(&place.store.dir)), (0o444, 0o700));

    fs::set_permissions(&place.store.dir, fs::Permissions::from_mode(0o775)).unwrap();
    let error = Store::open(&place.store.dir).unwrap_err();
    assert_eq!(error.code(), "store-exposed");
    assert!(error.to_string().contains("mode 0775"), "{error}");
}

#[test]
fn a_tampered_copy_is_replaced() {
    let place = place();
    let found = place.file(b"abc");
    let path = place.store.take(&found).unwrap().path().to_owned();
    fs::remove_file(&path).unwrap();
    fs::write(&path, b"evil").unwrap();
    let again = place.store.take(&found).unwrap();
    assert_eq!(again.path(), path);
    assert_eq!(fs::read(&path).unwrap(), b"abc");
    assert_eq!(place.visible().len(), 1);
}

#[cfg(unix)]
#[test]
fn a_link_in_the_place_of_a_copy_is_replaced() {
    let place = place();
    let found = place.file(b"abc");
    let path = place.store.take(&found).unwrap().path().to_owned();
    fs::remove_file(&path).unwrap();
    std::os::unix::fs::symlink(found.path(), &path).unwrap();
    place.store.take(&found).unwrap();
    assert!(fs::symlink_metadata(&path).unwrap().is_file());
}

#[test]
fn the_same_bytes_are_kept_once() {
    let place = place();
    let found = place.file(b"abc");
    let first = place.store.take(&found).unwrap();
    let inode = || FileIdentity::of(&fs::metadata(first.path()).unwrap()).inode;
    let before = inode();
    let second = place.store.take(&found).unwrap();
    assert_eq!(first.digest(), second.digest());
    assert_eq!(
        (second.path(), inode()),
        (first.path(), before),
        "its copy is not written anew"
    );
    assert_eq!(place.visible().len(), 1);
}

#[test]
fn another_file_than_was_found_is_refused() {
    let place = place();
    let found = place.file(b"abc");
    place.file(b"abcd");
    assert_eq!(place.store.take(&found).unwrap_err().code(), "changed");
    fs::remove_file(found.path()).unwrap();
    assert_eq!(place.store.take(&found).unwrap_err().code(), "gone");
    assert!(place.visible().is_empty());
}

/// Runs something once the first bytes were copied.
struct Meanwhile<F: FnMut()>(File, F);

impl<F: FnMut()> Write for Meanwhile<F> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        (self.1)();
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

#[test]
fn a_file_that_changes_while_it_is_copied_is_refused() {
    let place = place();
    let found = place.file(b"abc");
    let grow = || fs::write(found.path(), b"abcdef").unwrap();
    let error = place
        .store
        .take_through(&found, |file| Meanwhile(file, grow))
        .unwrap_err();
    assert_eq!(error.code(), "changed");

    let found = place.file(b"abc");
    let replace = || {
        let other = place.dir.path().join("other");
        fs::write(&other, b"xyz").unwrap();
        fs::rename(other, found.path()).unwrap();
    };
    let error = place
        .store
        .take_through(&found, |file| Meanwhile(file, replace))
        .unwrap_err();
    assert_eq!(error.code(), "changed");
    assert!(place.visible().is_empty());
}

/// Cuts a file short while it is copied, and leaves no trace of it afterwards.
struct CutAndMend<'a>(&'a Path, SystemTime);

impl Write for CutAndMend<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        fs::write(self.0, b"short")?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        fs::write(self.0, vec![7; 300_000])?;
        File::options().write(true).open(self.0)?.set_modified(self.1)
    }
}

#[test]
fn a_copy_that_is_too_short_is_refused_whatever_the_file_says() {
    let place = place();
    let found = place.file(&vec![7; 300_000]);
    let error = place
        .store
        .take_through(&found, |_| CutAndMend(found.path(), found.identity().modified))
        .unwrap_err();
    assert_eq!(error.code(), "changed");
}

struct FullDisk;

impl Write for FullDisk {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(io::ErrorKind::StorageFull.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_full_disk_is_named_and_leaves_nothing() {
    let place = place();
    let found = place.file(b"abc");
    let error = place.store.take_through(&found, |_| FullDisk).unwrap_err();
    assert_eq!(error.code(), "disk-full");
    assert!(error.to_string().contains("no room for 3 bytes"), "{error}");
    assert!(place.visible().is_empty());
}

#[test]
fn what_is_kept_already_needs_no_room() {
    let place = place();
    let first = place.store.take(&place.file(b"abc")).unwrap();
    let again = place
        .store
        .take_through(&place.file(b"abc"), |_| FullDisk)
        .unwrap();
    assert_eq!((again.digest(), again.path()), (first.digest(), first.path()));
    assert_eq!(fs::read(again.path()).unwrap(), b"abc");
    // A copy that was changed from outside is not what was asked for.
    fs::remove_file(first.path()).unwrap();
    fs::write(first.path(), b"abd").unwrap();
    let error = place
        .store
        .take_through(&place.file(b"abc"), |_| FullDisk)
        .unwrap_err();
    assert_eq!(error.code(), "disk-full");
}

#[test]
fn a_store_that_can_not_be_written_is_told_with_what_to_do() {
    for kind in [ErrorKind::ReadOnlyFilesystem, ErrorKind::PermissionDenied] {
        let error = StoreError::keeping(Path::new("/ro/store"), kind.into());
        assert_eq!(error.code(), "store-unwritable");
        let text = error.to_string();
        assert!(
            text.contains("/ro/store") && text.contains("intake.store.dir"),
            "{text}"
        );
    }
    let full = StoreError::keeping(Path::new("/full/.lock"), ErrorKind::StorageFull.into());
    assert_eq!(full.code(), "disk-full");
}

#[test]
fn want_of_descriptors_is_told_with_what_to_do_whoever_says_it() {
    let plain = || io::Error::from_raw_os_error(libc::EMFILE);
    let with_path = io::Error::new(plain().kind(), format!("at /store/.incoming-x: {}", plain()));
    for error in [plain(), with_path] {
        let text = StoreError::at(Path::new("/store"), error).to_string();
        assert!(text.contains("ulimit -Hn"), "{text}");
    }
}

#[test]
fn leftovers_are_swept_unless_somebody_copies() {
    let place = place();
    let leftover = place.store.dir.join(".incoming-999999-0");
    let foreign = place.store.dir.join("notes.txt");
    fs::write(&leftover, b"half").unwrap();
    fs::write(&foreign, b"mine").unwrap();
    let taking = StoreLock::shared(&place.store.dir).unwrap();
    Store::open(&place.store.dir).unwrap();
    assert!(leftover.exists());
    drop(taking);
    Store::open(&place.store.dir).unwrap();
    assert!(!leftover.exists());
    assert!(foreign.exists());
}

/// Whatever is not in use.
const ALL: PruneLimits = PruneLimits {
    unused_for: Duration::ZERO,
    unused_bytes_max: 0,
};

#[test]
fn prune_leaves_what_is_in_use() {
    let place = place();
    let unused = place.store.take(&place.file(b"unused")).unwrap().digest();
    let held = place.store.take(&place.file(b"held")).unwrap();
    let other_user = Store::open(&place.store.dir).unwrap();
    let now = SystemTime::now();
    let pruned = other_user.prune(ALL, now).unwrap();
    assert_eq!(
        (&pruned.removed[..], pruned.left, pruned.freed_bytes),
        (&[unused][..], 1, 6)
    );
    assert_eq!(fs::read(held.path()).unwrap(), b"held");
    let listed = other_user.list().unwrap();
    assert_eq!(listed.len(), 1);
    assert!(listed[0].in_use && listed[0].digest == held.digest() && listed[0].bytes == 4);
    drop(held.clone());
    assert_eq!(place.store.prune(ALL, now).unwrap().left, 1, "a clone holds it");
    let digest = held.digest();
    drop(held);
    assert!(!place.store.list().unwrap()[0].in_use);
    assert_eq!(place.store.prune(ALL, now).unwrap().removed, [digest]);
}

#[test]
fn prune_removes_what_is_unused_for_long_and_the_longest_unused_beyond_the_bytes() {
    let place = place();
    let day = Duration::from_secs(86_400);
    let limits = PruneLimits {
        unused_for: day * 30,
        unused_bytes_max: 100,
    };
    let taken = |bytes: &[u8], days: u32| {
        let stored = place.store.take(&place.file(bytes)).unwrap();
        let used = SystemTime::now() - day * days;
        fs::File::open(stored.path()).unwrap().set_modified(used).unwrap();
        stored.digest()
    };
    let (old, older) = (taken(&[1; 60], 10), taken(&[2; 60], 20));
    let (ancient, _new) = (taken(&[3; 10], 31), taken(&[4; 10], 0));
    let now = SystemTime::now();
    assert_eq!(place.store.prune(limits, now).unwrap().removed, [ancient, older]);
    assert_eq!(place.store.prune(limits, now).unwrap().left, 2);
    // Taking it again is a use.
    place.store.take(&place.file(&[1; 60])).unwrap();
    let later = now + day * 25;
    assert!(!place.store.prune(limits, later).unwrap().removed.contains(&old));
}

#[test]
fn many_at_once_agree() {
    let place = place();
    let found = place.file(&vec![7; 300_000]);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let store = Store::open(&place.store.dir).unwrap();
                for _ in 0..5 {
                    let stored = store.take(&found).unwrap();
                    store.prune(ALL, SystemTime::now()).unwrap();
                    assert_eq!(fs::read(stored.path()).unwrap().len(), 300_000);
                }
            });
        }
    });
    Store::open(&place.store.dir).unwrap();
    assert!(place.visible().iter().all(|name| !name.starts_with(".incoming")));
}

#[test]
fn the_store_tells_of_the_last_time_that_it_was_written_to() {
    let place = place();
    let outcome = place.store.outcome();
    assert_eq!(outcome.failure(), None, "it could be opened");
    let _ = place.store.take_through(&place.file(b"abc"), |_| FullDisk);
    assert!(outcome.failure().unwrap().contains("there is no room"));
    place.store.take(&place.file(b"abc")).unwrap();
    assert_eq!(outcome.failure(), None);
    // It goes on with what it has, and could not be written to all the same.
    let had = place.store.take_through(&place.file(b"abc"), |_| FullDisk);
    assert!(had.is_ok() && outcome.failure().is_some());
    let changed = place.file(b"abc");
    place.store.take(&place.file(b"defg")).unwrap();
    assert!(place.store.take(&changed).is_err());
    assert_eq!(
        outcome.failure(),
        None,
        "what is wrong with a file is not the store's"
    );
    fs::remove_dir_all(&place.store.dir).unwrap();
    assert!(place.store.take(&place.file(b"ghi")).is_err());
    assert!(outcome.failure().is_some());
}

#[test]
fn copy_is_unchanged_until_somebody_writes_to_it_whatever_time_he_sets() {
    let place = place();
    let stored = place.store.take(&place.file(b"abc")).unwrap();
    let opened = stored.open().unwrap();
    assert!(opened.is_unchanged());
    let copy = stored.path();
    let modified = fs::metadata(copy).unwrap().modified().unwrap();
    fs::set_permissions(copy, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    fs::write(copy, b"xyz").unwrap();
    let file = fs::File::options().write(true).open(copy).unwrap();
    file.set_modified(modified).unwrap();
    assert!(!opened.is_unchanged());
    assert!(!stored.open().unwrap().is_unchanged());
}
