//! `extman.lock`: which version of each plugin, in which bytes, is to be used.

use super::files::write_whole;
use extman_model::{DependenciesView, Digest};
use semver::Version;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};

/// The file's name.
pub const LOCK_FILE: &str = "extman.lock";
/// The form that is written and read.
const FORM: u32 = 1;
/// Most bytes that are read of one.
const BYTES_MAX: u64 = 4 << 20;
const HEAD: &str = "# Written by `extman lock`. `extman serve --locked` takes these plugins and no others.\n";

/// What was written down.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Lock {
    /// By id.
    pub plugins: BTreeMap<String, Locked>,
}

/// How a host uses a lock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LockUse {
    /// What is locked.
    pub lock: Lock,
    /// Whether nothing else may be used. Otherwise what is locked goes before other versions, and no lower one is used.
    pub only: bool,
}

/// One plugin that was written down.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Locked {
    /// Its version.
    pub version: Version,
    /// SHA-256 of its library.
    pub digest: Digest,
}

/// Why there is no lock.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// It is not there.
    #[error("{} is not there; write it with `extman lock`", .0.display())]
    Missing(PathBuf),
    /// It can't be read or written.
    #[error("{}: {error}; look at the file and its directory", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        error: std::io::Error,
    },
    /// It is no lock of this form.
    #[error("{}: {problem}; write it again with `extman lock`", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
}

/// The file, as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    form: u32,
    #[serde(default)]
    plugin: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    id: String,
    version: Version,
    digest: Digest,
}

impl Lock {
    /// What a resolution has taken.
    pub fn of(resolved: &DependenciesView) -> Lock {
        let locked = |plugin: &extman_model::ResolvedPlugin| Locked {
            version: plugin.version.clone(),
            digest: plugin.digest,
        };
        let plugins = resolved.plugins.iter();
        Lock {
            plugins: plugins
                .map(|plugin| (plugin.id.clone(), locked(plugin)))
                .collect(),
        }
    }

    /// Reads a file.
    ///
    /// # Errors
    /// It is not there, can't be read, or is no lock.
    pub fn read(path: &Path) -> Result<Lock, LockError> {
        let io = |error: std::io::Error| match error.kind() {
            std::io::ErrorKind::NotFound => LockError::Missing(path.to_owned()),
            _ => LockError::Io {
                path: path.to_owned(),
                error,
            },
        };
        let mut text = String::new();
        let file = std::fs::File::open(path).map_err(io)?;
        file.take(BYTES_MAX + 1).read_to_string(&mut text).map_err(io)?;
        Lock::parse(&text).map_err(|problem| LockError::Malformed {
            path: path.to_owned(),
            problem,
        })
    }

    fn parse(text: &str) -> Result<Lock, String> {
        if text.len() as u64 > BYTES_MAX {
            return Err(format!("it has more than {BYTES_MAX} bytes"));
        }
        let file: File = toml::from_str(text).map_err(|e| e.to_string().trim_end().to_owned())?;
        if file.form != FORM {
            return Err(format!(
                "its form is {}, and this program reads form {FORM}",
                file.form
            ));
        }
        let mut lock = Lock::default();
        for Entry { id, version, digest } in file.plugin {
            if lock
                .plugins
                .insert(id.clone(), Locked { version, digest })
                .is_some()
            {
                return Err(format!("it has {id:?} twice"));
            }
        }
        Ok(lock)
    }

    /// Its text: the plugins by id, so that two locks of the same plugins are the same bytes.
    pub fn text(&self) -> String {
        let mut text = format!("{HEAD}form = {FORM}\n");
        for (id, Locked { version, digest }) in &self.plugins {
            text.push_str(&format!(
                "\n[[plugin]]\nid = \"{id}\"\nversion = \"{version}\"\ndigest = \"sha256:{digest}\"\n"
            ));
        }
        text
    }

    /// Writes the file: whoever reads it finds the old one or the new one, whole.
    ///
    /// # Errors
    /// It can't be written; then what was there is still there.
    pub fn write(&self, path: &Path) -> Result<(), LockError> {
        write_whole(path, self.text().as_bytes(), 0o644).map_err(|error| LockError::Io {
            path: path.to_owned(),
            error,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lock() -> Lock {
        let locked = |n: u8, version: &str| Locked {
            version: version.parse().unwrap(),
            digest: Digest::new([n; 32]),
        };
        Lock {
            plugins: [
                ("b".to_owned(), locked(1, "1.0.0")),
                ("a".to_owned(), locked(2, "2.0.0-rc.1")),
            ]
            .into(),
        }
    }

    #[test]
    fn what_is_written_is_read_again_and_sorted() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(LOCK_FILE);
        lock().write(&path).unwrap();
        assert_eq!(Lock::read(&path).unwrap(), lock());
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(
            text.find("\"a\"").unwrap() < text.find("\"b\"").unwrap(),
            "{text}"
        );
        assert_eq!(
            std::fs::read_dir(dir.path()).unwrap().count(),
            1,
            "nothing else is left"
        );
    }

    #[test]
    fn a_lock_that_cannot_be_written_leaves_the_old_one() {
        let dir = tempfile::tempdir().unwrap();
        // A directory can't be replaced by a file.
        let path = dir.path().join(LOCK_FILE);
        std::fs::create_dir(&path).unwrap();
        let error = lock().write(&path).unwrap_err().to_string();
        assert!(error.contains(LOCK_FILE), "{error}");
        assert_eq!(
            std::fs::read_dir(dir.path()).unwrap().count(),
            1,
            "nothing else is left"
        );
    }

    #[test]
    fn what_is_no_lock_is_refused_with_its_reason() {
        for (text, expected) in [
            ("form = 2\n", "form is 2"),
            ("form = 1\n[[plugin]]\nid = \"a\"\n", "version"),
            ("form = 1\nx = 1\n", "unknown field"),
            ("form", "TOML parse error"),
            (&lock().text().replace("id = \"b\"", "id = \"a\""), "\"a\" twice"),
            (
                &lock().text().replace("sha256:01", "sha256:0"),
                "is not a SHA-256 digest",
            ),
        ] {
            let problem = Lock::parse(text).unwrap_err();
            assert!(problem.contains(expected), "{problem}");
        }
        let missing = Lock::read(Path::new("/nowhere/extman.lock")).unwrap_err();
        assert!(missing.to_string().contains("extman lock"), "{missing}");
    }
}
