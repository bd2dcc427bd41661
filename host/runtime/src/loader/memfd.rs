//! The bytes that will run: copied once into sealed memory, and hashed on the way unless the file is as it was when it was hashed last.
//!
//! The dynamic loader maps what it is given, so it is given something that nobody can change any more. And each
//! generation gets a file of its own: for a file that it knows, the loader would hand back the old code.

use extman_intake::{OpenedCopy, hash_chunks};
use extman_model::Digest;
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};
use rustix::io::Errno;
use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::os::fd::AsRawFd;
use std::path::PathBuf;
use std::time::Duration;

/// A library's bytes in sealed memory.
#[derive(Debug)]
pub struct SealedImage {
    file: File,
    digest: Digest,
}

/// Why bytes could not be sealed.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// Reading or copying failed.
    #[error("the library's bytes could not be copied to memory: {0}{more}", more = crate::process_guard::remedy(.0))]
    Io(#[from] io::Error),
    /// They are not the ones that were verified.
    #[error(
        "the stored library has changed since it was verified: expected sha256 {expected}, found {found}; remove it \
         from the store and add the plugin again"
    )]
    Digest {
        /// What was verified.
        expected: Digest,
        /// What is there.
        found: Digest,
    },
}

impl SealedImage {
    /// Copies the host's copy of a plugin into sealed memory. One that has not changed since it was hashed is not hashed again.
    ///
    /// # Errors
    /// Reading or copying fails, or the digest is another.
    pub fn of_stored(stored: &OpenedCopy, name: &str, digest: Digest) -> Result<Self, SealError> {
        let mut source = stored.file();
        if stored.is_unchanged() {
            let mut file = unsealed(name)?;
            io::copy(&mut source, &mut file)?;
            if stored.is_unchanged() {
                seal(&file)?;
                return Self::if_expected(file, digest, digest);
            }
            source.rewind()?;
        }
        Self::copy(source, name, digest)
    }

    /// Copies `source` into sealed memory and compares its digest.
    ///
    /// # Errors
    /// Reading or copying fails, or the digest is another.
    pub fn copy(mut source: impl Read, name: &str, expected: Digest) -> Result<Self, SealError> {
        let mut file = unsealed(name)?;
        // Hashed on the way: nobody else has the memory before it is sealed, so what was written is what is there.
        let found = hash_chunks(&mut source, |error| error, |chunk| file.write_all(chunk))?;
        seal(&file)?;
        Self::if_expected(file, expected, found)
    }

    /// Takes sealed memory that another process has made, if its digest is right.
    ///
    /// # Errors
    /// It can't be read, or the digest is another.
    pub fn adopt(mut file: File, expected: Digest) -> Result<Self, SealError> {
        file.rewind()?;
        let found = hash_chunks(&mut file, |error| error, |_| Ok(()))?;
        Self::if_expected(file, expected, found)
    }

    fn if_expected(file: File, expected: Digest, found: Digest) -> Result<Self, SealError> {
        if found != expected {
            return Err(SealError::Digest { expected, found });
        }
        // The dynamic loader knows the library by this number.
        crate::process_guard::protect(file.as_raw_fd());
        Ok(SealedImage {
            file,
            digest: expected,
        })
    }

    /// SHA-256 of the bytes.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// A second descriptor of the same memory, for a child process.
    ///
    /// # Errors
    /// No more descriptors.
    pub fn share(&self) -> io::Result<File> {
        self.file.try_clone()
    }

    /// Where the dynamic loader finds it, as long as this lives.
    pub(super) fn path(&self) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}", self.file.as_raw_fd()))
    }

    /// Device and inode.
    pub(super) fn identity(&self) -> io::Result<(u64, u64)> {
        use std::os::unix::fs::MetadataExt;
        let meta = self.file.metadata()?;
        Ok((meta.dev(), meta.ino()))
    }
}

/// Memory as a file, which can be sealed and executed.
fn unsealed(name: &str) -> io::Result<File> {
    // MFD_EXEC is refused by kernels before 6.3, and needed where the default is not to execute.
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let memory = memfd_create(name, flags | MemfdFlags::EXEC).or_else(|_| memfd_create(name, flags));
    Ok(File::from(memory?))
}

/// How long the kernel may hold on to pages that have just been written, and with that refuse to seal them.
const PINNED_PATIENCE: Duration = Duration::from_secs(5);

/// Seals for good. While anything in the kernel still refers to one of the pages, be it for a moment, it answers "busy".
fn seal(file: &File) -> io::Result<()> {
    let seals = SealFlags::SEAL | SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE;
    let give_up = extman_model::clock::monotonic().after(PINNED_PATIENCE);
    loop {
        match fcntl_add_seals(file, seals) {
            Err(Errno::BUSY) if extman_model::clock::monotonic() < give_up => {
                std::thread::sleep(Duration::from_millis(1));
            }
            sealed => return sealed.map_err(io::Error::from),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::loader::{CodeOwner, on_behalf_of};
    use sha2::{Digest as _, Sha256};

    #[test]
    fn sealed_memory_is_closed_by_no_library_however_it_was_made() {
        let _alone = crate::process_guard::alone();
        // From the first window on, what the host has is its own.
        drop(crate::process_guard::window("a test", "load", CodeOwner::UNKNOWN));
        let bytes = &b"a library's"[..];
        let digest = Digest::new(Sha256::digest(bytes).into());
        let copied = SealedImage::copy(bytes, "extman-test", digest).unwrap();
        let adopted = SealedImage::adopt(copied.share().unwrap(), digest).unwrap();
        for sealed in [&copied, &adopted] {
            let descriptor = sealed.file.as_raw_fd();
            let library = CodeOwner::of_a_new_library();
            // SAFETY: if it were not refused, the test would fail by that alone.
            let closed = on_behalf_of(library, || unsafe { libc::close(descriptor) });
            assert_eq!(closed, -1);
            assert!(sealed.identity().is_ok(), "it is open");
        }
    }
}
