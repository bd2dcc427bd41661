//! Small files that the host must find again after it was killed or the machine lost its power: written whole or not at all.

use extman_model::clock;
use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The most that is read or written: room for what is kept of ten thousand instances.
pub(crate) const BYTES_MAX: usize = 8 << 20;
/// How long another process is waited for.
const LOCK_MAX: Duration = Duration::from_secs(10);

/// What stands in a file; `None` if it is not there.
///
/// # Errors
/// It can't be read; of the kind `InvalidData` if it is too long or no text.
pub fn read(path: &Path) -> io::Result<Option<String>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
            ) =>
        {
            return Ok(None);
        }
        Err(error) => return Err(error),
    };
    let mut text = String::new();
    file.take(BYTES_MAX as u64 + 1).read_to_string(&mut text)?;
    match text.len() > BYTES_MAX {
        true => Err(too_long()),
        false => Ok(Some(text)),
    }
}

/// Puts this in a file's place. When it returns, that is on the disk; whoever reads meanwhile sees what was there before or all of this.
///
/// # Errors
/// It can't be written, or is too long; then what was there is still there.
pub fn write(path: &Path, text: &str) -> io::Result<()> {
    if text.len() > BYTES_MAX {
        return Err(too_long());
    }
    let directory = made(path)?;
    let new = beside(path, "new");
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&new)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    std::fs::rename(&new, path)?;
    File::open(directory)?.sync_all()
}

/// Keeps others from changing a file, in this process and in others, until it is dropped.
///
/// # Errors
/// It can't be locked, or another has held it for 10 s.
pub fn lock(path: &Path) -> io::Result<File> {
    made(path)?;
    let mut options = OpenOptions::new();
    let file = options.write(true).create(true).truncate(false).mode(0o600);
    let file = file.open(beside(path, "lock"))?;
    let give_up = clock::monotonic().after(LOCK_MAX);
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) if clock::monotonic() < give_up => {
                std::thread::sleep(Duration::from_millis(5));
            }
            Err(TryLockError::WouldBlock) => {
                let text = format!("another process has held its lock for {} s", LOCK_MAX.as_secs());
                return Err(io::Error::new(io::ErrorKind::TimedOut, text));
            }
            Err(TryLockError::Error(error)) => return Err(error),
        }
    }
}

/// The directory of a file, made for the host's own user alone where it is not there, and on the disk with its own name.
fn made(path: &Path) -> io::Result<&Path> {
    let directory = path.parent().unwrap_or(Path::new("."));
    if directory.is_dir() {
        return Ok(directory);
    }
    let missing = directory.ancestors().take_while(|above| !above.is_dir()).count();
    DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    for above in directory.ancestors().skip(1).take(missing) {
        File::open(above)?.sync_all()?;
    }
    Ok(directory)
}

fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(ending);
    name.into()
}

fn too_long() -> io::Error {
    let text = format!("it has more than {BYTES_MAX} bytes");
    io::Error::new(io::ErrorKind::InvalidData, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_takes_the_place_of_what_was_there() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a/b/file.json");
        assert_eq!(read(&path).unwrap(), None);
        write(&path, "one, which is longer").unwrap();
        write(&path, "two").unwrap();
        assert_eq!(read(&path).unwrap().as_deref(), Some("two"));
        let names: Vec<_> = std::fs::read_dir(path.parent().unwrap()).unwrap().collect();
        assert_eq!(names.len(), 1, "{names:?}");
    }

    #[test]
    fn file_that_is_too_long_is_neither_read_nor_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file.json");
        let long = "x".repeat(BYTES_MAX + 1);
        assert!(write(&path, &long).is_err());
        std::fs::write(&path, &long).unwrap();
        assert!(read(&path).is_err());
    }

    #[test]
    fn lock_is_free_again_when_it_is_dropped() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file.json");
        drop(lock(&path).unwrap());
        lock(&path).unwrap();
    }
}
