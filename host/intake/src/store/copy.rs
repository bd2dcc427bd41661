//! Copies on their way into the store: written under a name of their own, hashed, then renamed.

use super::StoreError;
use crate::files;
use extman_model::Digest;
use sha2::{Digest as _, Sha256};
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

const CHUNK_BYTES: usize = 64 * 1024;
/// Most copies that one process makes before a taken name is an error.
const NAMES_MAX: u64 = 1 << 40;

/// A copy that has no digest yet. Removed when dropped, unless it was published.
pub(super) struct Incoming {
    path: PathBuf,
    file: File,
    published: bool,
}

impl Incoming {
    pub fn create(dir: &Path) -> Result<Self, StoreError> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        // A name may be taken by a process of the same id in another container, so taken names are passed over.
        let (path, file) = loop {
            let number = NEXT.fetch_add(1, Ordering::Relaxed);
            let path = dir.join(format!(".incoming-{}-{number}", std::process::id()));
            match files::create_private(&path) {
                Ok(file) => break (path, file),
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists && number < NAMES_MAX => {}
                Err(e) => return Err(StoreError::writing(&path, 0, e)),
            }
        };
        Ok(Incoming {
            path,
            file,
            published: false,
        })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn writer(&self) -> Result<File, StoreError> {
        self.file.try_clone().map_err(|e| StoreError::at(&self.path, e))
    }

    /// Makes the copy read-only and safe on the disk, then gives it its name.
    pub fn publish(mut self, path: &Path) -> Result<(), StoreError> {
        files::set_read_only(&self.file)
            .and_then(|()| self.file.sync_all())
            .map_err(|e| StoreError::writing(&self.path, 0, e))?;
        std::fs::rename(&self.path, path).map_err(|e| StoreError::at(path, e))?;
        self.published = true;
        Ok(())
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        if !self.published {
            // If that fails the next start sweeps it.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// Copies at most `size` bytes and one, and says how many there were and what they hash to.
pub(super) fn copy_and_hash(
    source: &mut impl Read,
    sink: &mut impl Write,
    size: u64,
    from: &Path,
    to: &Path,
) -> Result<(Digest, u64), StoreError> {
    let mut source = source.take(size.saturating_add(1));
    let mut copied = 0;
    let digest = hash_chunks(
        &mut source,
        |e| StoreError::at(from, e),
        |chunk| {
            copied += chunk.len() as u64;
            sink.write_all(chunk)
                .map_err(|e| StoreError::writing(to, size, e))
        },
    )?;
    sink.flush().map_err(|e| StoreError::writing(to, size, e))?;
    Ok((digest, copied))
}

/// SHA-256 of all that is left to read.
pub(crate) fn hash(source: &mut impl Read) -> io::Result<Digest> {
    hash_chunks(source, |e| e, |_| Ok(()))
}

fn hash_chunks<E>(
    source: &mut impl Read,
    read_error: impl Fn(io::Error) -> E,
    mut each: impl FnMut(&[u8]) -> Result<(), E>,
) -> Result<Digest, E> {
    let mut hasher = Sha256::new();
    let mut chunk = vec![0; CHUNK_BYTES];
    loop {
        let read = match source.read(&mut chunk) {
            Ok(0) => break,
            Ok(read) => read,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            Err(e) => return Err(read_error(e)),
        };
        hasher.update(&chunk[..read]);
        each(&chunk[..read])?;
    }
    Ok(Digest::new(hasher.finalize().into()))
}

/// Removes copies that were never published. Only while nobody takes a plugin in.
pub(super) fn sweep(dir: &Path) -> Result<(), StoreError> {
    for entry in std::fs::read_dir(dir).map_err(|e| StoreError::at(dir, e))? {
        let entry = entry.map_err(|e| StoreError::at(dir, e))?;
        if entry.file_name().to_str().is_some_and(is_incoming) {
            let path = entry.path();
            std::fs::remove_file(&path).map_err(|e| StoreError::at(&path, e))?;
            tracing::info!(path = %path.display(), "removed a copy that was never finished");
        }
    }
    Ok(())
}

fn is_incoming(name: &str) -> bool {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    name.strip_prefix(".incoming-")
        .and_then(|rest| rest.split_once('-'))
        .is_some_and(|(pid, number)| digits(pid) && digits(number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_its_own_names_only() {
        assert!(is_incoming(".incoming-12-3"));
        for other in [
            ".incoming-",
            ".incoming-1",
            ".incoming-a-1",
            "incoming-1-1",
            ".incoming-1-1.so",
        ] {
            assert!(!is_incoming(other), "{other}");
        }
    }

    #[test]
    fn hashes_as_the_standard_says() {
        // FIPS 180-2, appendix B.1.
        let digest = hash(&mut &b"abc"[..]).unwrap();
        assert_eq!(
            digest.to_string(),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
    }

    #[test]
    fn never_copies_more_than_it_was_told_and_one() {
        let mut sink = Vec::new();
        let endless = &mut io::repeat(7);
        let (_, copied) = copy_and_hash(endless, &mut sink, 1000, Path::new("a"), Path::new("b")).unwrap();
        assert_eq!((copied, sink.len()), (1001, 1001));
    }
}
