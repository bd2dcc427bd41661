//! What a library's bytes say, as plain data for people and tools.

use extman_plugin_api::manifest::frame::{self, FrameFacts};
use serde::Serialize;
use std::fmt;

/// What a library's bytes say.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Facts {
    /// Kind of file.
    pub format: FileFormat,
    /// Machine that it is for, as Rust names it (`x86_64`, `aarch64`), or `unknown`.
    pub machine: String,
    /// 32 or 64.
    pub bits: u8,
    /// Size of the file in bytes.
    pub size_bytes: u64,
    /// How it was built, if there is a manifest frame that can be read.
    pub build: Option<Build>,
    /// Libraries that it needs, as it names them.
    pub needed: Vec<String>,
    /// What it exports.
    pub exports: Exports,
    /// Whether loading it makes the stacks of the whole process executable.
    pub executable_stack: bool,
    /// What an operator should know though it is no reason to refuse.
    pub notes: Vec<Note>,
}

/// Kind of file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum FileFormat {
    /// Linux and most Unix systems.
    Elf,
    /// Windows.
    Pe,
    /// macOS.
    MachO,
}

impl fmt::Display for FileFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Elf => "an ELF library (Linux)",
            Self::Pe => "a PE library (Windows)",
            Self::MachO => "a Mach-O library (macOS)",
        })
    }
}

/// Names that a library exports.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Exports {
    /// The first ones in the library's order, at most [`Exports::NAMES_MAX`], and each name of this ABI.
    pub names: Vec<String>,
    /// How many there are in all.
    pub total: u64,
}

impl Exports {
    /// Most names that are listed.
    pub const NAMES_MAX: usize = 256;
    /// Longest name that is listed, in bytes.
    const NAME_BYTES_MAX: usize = 1024;

    pub(super) fn add(&mut self, name: &[u8]) {
        self.total += 1;
        // A hostile library may export one name a million times.
        let ours = name.starts_with(b"extman_") && self.names.len() < 2 * Self::NAMES_MAX;
        if (ours || self.names.len() < Self::NAMES_MAX) && name.len() <= Self::NAME_BYTES_MAX {
            self.names.push(String::from_utf8_lossy(name).into_owned());
        }
    }

    /// Whether a name of this ABI is exported.
    pub fn has(&self, name: &str) -> bool {
        self.names.iter().any(|n| n == name)
    }
}

/// Something that an operator should know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Note {
    /// A short name that does not change between versions.
    pub code: &'static str,
    /// What it is and what follows from it.
    pub text: String,
}

impl Note {
    pub(super) fn new(code: &'static str, text: impl Into<String>) -> Self {
        Note {
            code,
            text: text.into(),
        }
    }
}

/// How a plugin was built, from the header of its manifest frame.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Build {
    /// ABI major.
    pub abi_major: u32,
    /// ABI minor.
    pub abi_minor: u32,
    /// What a panic does.
    pub panics: Panics,
    /// What made the frame.
    pub sdk: Sdk,
    /// Whether the SDK's counting allocator is in place.
    pub counting_allocator: bool,
    /// Target triple; empty if not given.
    pub target: String,
    /// Compiler; empty if not given.
    pub compiler: String,
    /// Whether its ABI's structs are those of this host, by their fingerprint; not known if the frame has none.
    pub same_structs: Option<bool>,
}

/// What a panic does in a plugin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Panics {
    /// Not known.
    Unknown,
    /// It becomes an error.
    Unwind,
    /// It ends the process.
    Abort,
    /// There are none: C.
    None,
}

/// What made a manifest frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Sdk {
    /// Not known.
    Unknown,
    /// The Rust SDK.
    Rust,
    /// The C header or `extman manifest`.
    C,
}

impl From<&FrameFacts> for Build {
    fn from(facts: &FrameFacts) -> Self {
        Build {
            abi_major: facts.abi_major,
            abi_minor: facts.abi_minor,
            panics: match facts.panic {
                frame::PANIC_UNWIND => Panics::Unwind,
                frame::PANIC_ABORT => Panics::Abort,
                frame::PANIC_NONE => Panics::None,
                _ => Panics::Unknown,
            },
            sdk: match facts.sdk {
                frame::SDK_RUST => Sdk::Rust,
                frame::SDK_C => Sdk::C,
                _ => Sdk::Unknown,
            },
            counting_allocator: facts.flags & frame::FLAG_COUNTING_ALLOCATOR != 0,
            target: facts.target.clone(),
            compiler: facts.compiler.clone(),
            same_structs: facts.abi_fingerprint.map(|given| given == frame::ABI_FINGERPRINT),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_bounded_and_ours_are_kept() {
        let mut exports = Exports::default();
        for n in 0..10_000 {
            exports.add(format!("f{n}").as_bytes());
        }
        exports.add(&[b'a'; 5000]);
        exports.add(b"extman_plugin_entry");
        assert_eq!(exports.total, 10_002);
        assert_eq!(exports.names.len(), Exports::NAMES_MAX + 1);
        assert!(exports.has("extman_plugin_entry"));
        for _ in 0..10_000 {
            exports.add(b"extman_plugin_entry");
        }
        assert!(exports.names.len() <= 2 * Exports::NAMES_MAX);
    }
}
