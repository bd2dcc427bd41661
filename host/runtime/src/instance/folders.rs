//! Folders that are an instance's own: one for what stays, one for what can be made anew.

use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// The folders of one instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstanceFolders {
    /// For what stays.
    pub data: PathBuf,
    /// For what can be made anew.
    pub cache: PathBuf,
}

/// Longest name of a folder, in bytes; file systems take 255.
const NAME_BYTES_MAX: usize = 200;

impl InstanceFolders {
    /// Where the folders of an instance are, under the host's state directory. They may not be there yet.
    pub fn under(state: &Path, instance: &str) -> Self {
        let name = folder_name(instance);
        InstanceFolders {
            data: state.join("data").join(&name),
            cache: state.join("cache").join(&name),
        }
    }

    /// Makes them, for the host's own user alone, where they are not there yet.
    ///
    /// # Errors
    /// The system refuses one of them; the text names it.
    pub(crate) fn make(&self) -> io::Result<()> {
        for folder in [&self.data, &self.cache] {
            let made = DirBuilder::new().recursive(true).mode(0o700).create(folder);
            made.map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", folder.display())))?;
        }
        Ok(())
    }
}

/// A folder's name for any instance's name, another one for each: what is not usual in file names is written as `%` and its code,
/// and a name that is too long ends in its digest.
fn folder_name(instance: &str) -> String {
    use sha2::{Digest, Sha256};
    let mut name = String::new();
    for (at, byte) in instance.bytes().enumerate() {
        let is_usual =
            byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_') || (byte == b'.' && at > 0);
        match is_usual {
            true => name.push(char::from(byte)),
            false => name.push_str(&format!("%{byte:02x}")),
        }
    }
    if name.len() > NAME_BYTES_MAX {
        let digest = Sha256::digest(instance.as_bytes());
        name.truncate(NAME_BYTES_MAX - 33);
        name.push('~');
        name.extend(digest[..16].iter().map(|byte| format!("{byte:02x}")));
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn folder_of_any_name_lies_under_the_state_directory_and_is_its_alone() {
        let state = tempfile::tempdir().unwrap();
        let (long, longer) = ("ä/".repeat(200), "ä/".repeat(201));
        let names = [
            "usual-name_1.0",
            "..",
            ".",
            ".hidden",
            "a/b",
            "a%2fb",
            "a b",
            "A",
            "a",
            "\n",
            "../../etc",
            &long,
            &longer,
        ];
        let mut seen = std::collections::BTreeSet::new();
        for name in names {
            let folders = InstanceFolders::under(state.path(), name);
            folders.make().unwrap();
            folders.make().unwrap();
            for folder in [&folders.data, &folders.cache] {
                let meta = std::fs::symlink_metadata(folder).unwrap();
                assert_eq!(meta.permissions().mode() & 0o777, 0o700, "{name:?}");
            }
            assert_eq!(
                folders.data.parent(),
                Some(&*state.path().join("data")),
                "{name:?}"
            );
            assert!(seen.insert(folders.data.canonicalize().unwrap()), "{name:?}");
        }
    }

    #[test]
    fn state_directory_that_can_not_be_made_is_named() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let error = InstanceFolders::under(file.path(), "a").make().unwrap_err();
        let text = error.to_string();
        assert!(text.contains(file.path().to_str().unwrap()), "{text}");
    }
}
