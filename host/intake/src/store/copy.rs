//! Copies on their way into the store: written under a name of their own, hashed, then renamed.

use super::StoreError;
use extman_model::Digest;
use sha2::{Digest as _, Sha256};
use std::fs::Permissions;
use std::io::{self, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use tempfile::NamedTempFile;

const CHUNK_BYTES: usize = 128 * 1024;
/// What the names of copies begin with that have no digest yet.
const INCOMING: &str = ".incoming-";

/// A new copy, for the host's own user alone. Removed when dropped, unless it was published; if that fails the next start sweeps it.
pub(super) fn incoming(dir: &Path) -> Result<NamedTempFile, StoreError> {
    NamedTempFile::with_prefix_in(INCOMING, dir).map_err(|e| StoreError::writing(dir, 0, e))
}

/// Makes the copy read-only and safe on the disk, then gives it its name.
pub(super) fn publish(incoming: NamedTempFile, path: &Path) -> Result<(), StoreError> {
    let file = incoming.as_file();
    file.set_permissions(Permissions::from_mode(0o444))
        .and_then(|()| file.sync_all())
        .map_err(|e| StoreError::writing(incoming.path(), 0, e))?;
    let named = incoming.persist(path);
    named.map_err(|e| StoreError::at(path, e.error)).map(drop)
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

/// The same; `each` gets it piece by piece.
///
/// # Errors
/// What `read_error` makes of a failure to read, or what `each` says.
pub fn hash_chunks<E>(
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
        if entry
            .file_name()
            .to_str()
            .is_some_and(|name| name.starts_with(INCOMING))
        {
            let path = entry.path();
            std::fs::remove_file(&path).map_err(|e| StoreError::at(&path, e))?;
            tracing::info!(path = %path.display(), "removed a copy that was never finished");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

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
