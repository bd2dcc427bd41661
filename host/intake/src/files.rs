//! Looking at files, opening them and putting them in place with care.

use serde::Serialize;
use std::fs::{File, Metadata, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::time::SystemTime;

/// What tells one state of one file from another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
pub struct FileIdentity {
    /// Device of the file.
    pub device: u64,
    /// Inode of the file.
    pub inode: u64,
    /// Size in bytes.
    pub size_bytes: u64,
    /// Last change of the content, to the nanosecond where the file system keeps it. Anybody may set it to any time.
    pub modified: SystemTime,
    /// Seconds and nanoseconds of the last change of anything, which only the system sets.
    pub changed: (i64, i64),
}

impl FileIdentity {
    /// By what the system says of the file.
    pub fn of(metadata: &Metadata) -> Self {
        FileIdentity {
            device: metadata.dev(),
            inode: metadata.ino(),
            size_bytes: metadata.len(),
            modified: metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

/// Why a path does not lead to a file that can be read as a library.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// A directory.
    #[error(
        "is a directory, not a library; name a file in it, or give it another name if it lies in a plugin directory"
    )]
    Directory,
    /// A named pipe.
    #[error(
        "is a named pipe, not a library; it was not opened, because that could block for ever; remove it"
    )]
    Pipe,
    /// A socket.
    #[error("is a socket, not a library; remove it or move it elsewhere")]
    Socket,
    /// A character or block device.
    #[error("is a device, not a library; remove it")]
    Device,
    /// Something else that is not a regular file.
    #[error("is not a regular file; remove it")]
    Other,
    /// A symbolic link to nothing.
    #[error("is a symbolic link to something that is not there; mend the link or remove it")]
    DanglingLink,
    /// Symbolic links that lead to each other.
    #[error("is a symbolic link that leads back to itself; remove it")]
    LinkLoop,
    /// There was a file, and now there is none.
    #[error("is not there, or went away a moment ago; check the path")]
    Gone,
    /// Larger than the limit.
    #[error(
        "has {size} bytes, more than the limit of {max}; raise intake.discovery.file_bytes_max if that is right"
    )]
    TooLarge {
        /// Its size in bytes.
        size: u64,
        /// The limit in bytes.
        max: u64,
    },
    /// The system refuses to read it.
    #[error("can't be read: {0}; let the host's user read it")]
    Unreadable(String),
}

impl Unfit {
    /// A short name that does not change between versions.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Directory => "directory",
            Self::Pipe => "pipe",
            Self::Socket => "socket",
            Self::Device => "device",
            Self::Other => "not-regular",
            Self::DanglingLink => "dangling-link",
            Self::LinkLoop => "link-loop",
            Self::Gone => "gone",
            Self::TooLarge { .. } => "too-large",
            Self::Unreadable(_) => "unreadable",
        }
    }

    pub(super) fn from_io(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::NotFound => Self::Gone,
            _ if error.raw_os_error() == Some(libc::ELOOP) => Self::LinkLoop,
            _ => Self::Unreadable(error.to_string()),
        }
    }

    /// Why a file with this metadata is not a library, if that shows already.
    pub(super) fn by_metadata(metadata: &Metadata, bytes_max: u64) -> Option<Self> {
        let kind = metadata.file_type();
        if kind.is_dir() {
            Some(Self::Directory)
        } else if kind.is_fifo() {
            Some(Self::Pipe)
        } else if kind.is_socket() {
            Some(Self::Socket)
        } else if kind.is_block_device() || kind.is_char_device() {
            Some(Self::Device)
        } else if !kind.is_file() {
            Some(Self::Other)
        } else if metadata.len() > bytes_max {
            Some(Self::TooLarge {
                size: metadata.len(),
                max: bytes_max,
            })
        } else {
            None
        }
    }
}

/// Opens a regular file for reading. Looks before it opens and again after, never follows a link in the last place, and
/// never waits for a pipe's other end.
pub(super) fn open_regular(path: &Path, bytes_max: u64) -> Result<(File, Metadata), Unfit> {
    let before = std::fs::symlink_metadata(path).map_err(|e| Unfit::from_io(&e))?;
    if let Some(unfit) = Unfit::by_metadata(&before, bytes_max) {
        return Err(unfit);
    }
    let file = File::options()
        .read(true)
        .custom_flags(libc::O_NONBLOCK | libc::O_NOFOLLOW | libc::O_NOCTTY)
        .open(path)
        .map_err(|e| Unfit::from_io(&e))?;
    let metadata = file.metadata().map_err(|e| Unfit::from_io(&e))?;
    match Unfit::by_metadata(&metadata, bytes_max) {
        Some(unfit) => Err(unfit),
        None => Ok((file, metadata)),
    }
}

/// Puts this in a file's place, under a name of its own until it is whole: whoever reads sees what was there before or all of this, which is
/// on the disk when this returns.
///
/// # Errors
/// It can't be written; then what was there is still there.
pub fn write_whole(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let directory = parent(path);
    let mut part = tempfile::Builder::new()
        .prefix(".partial-")
        .permissions(Permissions::from_mode(mode))
        .tempfile_in(directory)?;
    part.write_all(bytes)?;
    part.as_file().sync_all()?;
    part.persist(path)?;
    // The name is on the disk once its directory is.
    File::open(directory)?.sync_all()
}

/// The directory that a path names a file in.
pub(super) fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// Whether every user may write.
pub(super) const WORLD_WRITE: u32 = 0o002;
/// Whether the group or every user may write.
pub(super) const SHARED_WRITE: u32 = 0o022;
/// Whether only owners may remove what is in a directory.
pub(super) const STICKY: u32 = 0o1000;

/// Permission bits.
pub(super) fn mode(metadata: &Metadata) -> u32 {
    metadata.mode() & 0o7777
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_is_not_followed_in_the_last_place() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("real"), b"x").unwrap();
        std::os::unix::fs::symlink("real", dir.path().join("link")).unwrap();
        assert!(open_regular(&dir.path().join("real"), 1).is_ok());
        assert!(open_regular(&dir.path().join("link"), 1).is_err());
        assert_eq!(
            open_regular(&dir.path().join("real"), 0).unwrap_err(),
            Unfit::TooLarge { size: 1, max: 0 }
        );
        assert_eq!(
            open_regular(&dir.path().join("none"), 1).unwrap_err(),
            Unfit::Gone
        );
        assert_eq!(
            open_regular(Path::new("/dev/null"), 1).unwrap_err(),
            Unfit::Device
        );
    }
}
