//! Several files of one plugin in one version. Pure.

use super::inspect::InspectedPlugin;
use extman_model::Digest;
use semver::Version;
use serde::Serialize;
use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::path::{Path, PathBuf};

/// One id and version in several files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Duplicate {
    /// The plugin's id.
    pub id: String,
    /// The plugin's version.
    pub version: Version,
    /// The file that is used: the first one in the order that was given.
    pub used: PathBuf,
    /// Digest of the file that is used.
    pub digest: Digest,
    /// The others, in that order.
    pub unused: Vec<Unused>,
}

/// A file that is passed over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Unused {
    /// Where it is.
    pub path: PathBuf,
    /// Its digest.
    pub digest: Digest,
    /// Whether it has the same bytes as the one that is used: then nothing is lost.
    pub identical: bool,
}

impl fmt::Display for Duplicate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} {} is in several files; {} is used, the first in the order of the directories, then by name",
            self.id,
            self.version,
            self.used.display()
        )?;
        for unused in &self.unused {
            let verdict = if unused.identical {
                "the same bytes, nothing is lost"
            } else {
                "OTHER bytes: give it a version of its own, or remove it"
            };
            write!(f, "; {} is passed over ({verdict})", unused.path.display())?;
        }
        Ok(())
    }
}

/// Which plugins are there several times, by id and version. Of each the first one is used.
pub fn duplicates<'a>(plugins: impl IntoIterator<Item = &'a InspectedPlugin>) -> Vec<Duplicate> {
    among(plugins.into_iter().map(|plugin| {
        let about = &plugin.manifest().plugin;
        (
            about.id.as_str(),
            &about.version,
            plugin.origin(),
            plugin.digest(),
        )
    }))
}

fn among<'a>(files: impl Iterator<Item = (&'a str, &'a Version, &'a Path, Digest)>) -> Vec<Duplicate> {
    let mut by_name: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for (id, version, path, digest) in files {
        by_name.entry((id, version)).or_default().push((path, digest));
    }
    let mut found = Vec::new();
    for ((id, version), mut files) in by_name {
        let mut seen = HashSet::new();
        files.retain(|file| seen.insert(*file));
        let [(used, digest), others @ ..] = &files[..] else {
            continue;
        };
        if others.is_empty() {
            continue;
        }
        found.push(Duplicate {
            id: id.to_owned(),
            version: version.clone(),
            used: used.to_path_buf(),
            digest: *digest,
            unused: others
                .iter()
                .map(|(path, other)| Unused {
                    path: path.to_path_buf(),
                    digest: *other,
                    identical: other == digest,
                })
                .collect(),
        });
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_one_is_used_and_the_others_are_told() {
        let (one, two) = (Version::new(1, 0, 0), Version::new(2, 0, 0));
        let digest = |n| Digest::new([n; 32]);
        let path = Path::new;
        let found = among(
            [
                ("b", &one, path("/p/9.so"), digest(1)),
                ("b", &one, path("/p/2.so"), digest(1)),
                ("b", &one, path("/p/3.so"), digest(2)),
                ("b", &two, path("/p/4.so"), digest(4)),
                ("a", &one, path("/p/5.so"), digest(1)),
                ("a", &one, path("/p/5.so"), digest(1)),
            ]
            .into_iter(),
        );
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].id.as_str(), &*found[0].used), ("b", path("/p/9.so")));
        let unused: Vec<_> = found[0].unused.iter().map(|u| (&*u.path, u.identical)).collect();
        assert_eq!(unused, [(path("/p/2.so"), true), (path("/p/3.so"), false)]);
        let text = found[0].to_string();
        assert!(text.contains("2.so is passed over (the same bytes"), "{text}");
        assert!(text.contains("3.so is passed over (OTHER bytes"), "{text}");
    }
}
