//! From bytes to what a library of any format says, before anybody judges it.

use super::error::InspectError;
use super::facts::{Exports, Facts, FileFormat};
use super::image::{self, inside, piece};
use super::sniff::{Container, HEAD_BYTES, sniff};
use super::{elf, macho, pe};
use extman_plugin_api::manifest::frame::TOML_BYTES_MAX;
use object::Architecture;
use object::read::{Object, ObjectKind, ObjectSection, ReadRef};

/// Most libraries that one may need.
pub(super) const NEEDED_MAX: usize = 1024;
/// Longest name of a needed library or an exported symbol that is read, in bytes.
pub(super) const NAME_BYTES_MAX: usize = 1024;
/// Bytes of a manifest section that are read: what a frame may have, and room to see that there are two.
const MANIFEST_BYTES_MAX: u64 = 2 * TOML_BYTES_MAX as u64 + 4096;

/// What a library says.
pub(super) struct Library {
    /// But for what its manifest says.
    pub facts: Facts,
    pub little_endian: bool,
    /// Folders in which the loader looks first for what it needs.
    pub search_path: Vec<String>,
    pub manifests: Vec<ManifestSection>,
}

/// A section of the manifest's name.
pub(super) struct ManifestSection {
    pub declared_bytes: u64,
    /// Its first bytes; all of them unless it is far too large.
    pub bytes: Vec<u8>,
}

impl ManifestSection {
    pub fn read<'data>(data: impl ReadRef<'data>, offset: u64, size: u64) -> Result<Self, InspectError> {
        inside(data, "manifest", offset, size)?;
        Ok(ManifestSection {
            declared_bytes: size,
            bytes: piece(data, "manifest", offset, size.min(MANIFEST_BYTES_MAX))?.to_vec(),
        })
    }
}

pub(super) fn read<'data, R: ReadRef<'data>>(data: R) -> Result<Library, InspectError> {
    let head = piece(data, "head", 0, image::len(data)?.min(HEAD_BYTES))?;
    match sniff(head)? {
        Container::Elf { is_64 } => elf::read(data, is_64),
        Container::Pe => pe::read(data),
        Container::MachO { is_64 } => macho::read(data, is_64),
        Container::MachOFat { is_64 } => macho::read_fat(data, is_64),
    }
}

/// What PE and Mach-O have in common.
pub(super) fn from_object<'data, R: ReadRef<'data>, O: Object<'data>>(
    data: R,
    file: &O,
    format: FileFormat,
    exports: Exports,
    is_manifest: impl Fn(Option<&[u8]>, &[u8]) -> bool,
) -> Result<Library, InspectError> {
    let mut manifests = Vec::new();
    for section in file.sections() {
        let Some((offset, size)) = section.file_range() else {
            continue;
        };
        inside(data, "sections", offset, size)?;
        let segment = section.segment_name_bytes()?;
        if size > 0 && is_manifest(segment, section.name_bytes()?) {
            manifests.push(ManifestSection::read(data, offset, size)?);
        }
    }
    let mut needed = Vec::new();
    for library in file.import_libraries()? {
        push_needed(&mut needed, library?.name())?;
    }
    Ok(Library {
        facts: Facts {
            format,
            machine: machine(file.architecture()).to_owned(),
            bits: if file.is_64() { 64 } else { 32 },
            size_bytes: image::len(data)?,
            build: None,
            needed,
            exports,
            executable_stack: false,
            notes: Vec::new(),
        },
        little_endian: file.is_little_endian(),
        search_path: Vec::new(),
        manifests,
    })
}

/// Refuses what is no library.
pub(super) fn check_kind(kind: ObjectKind) -> Result<(), InspectError> {
    match kind {
        ObjectKind::Dynamic => Ok(()),
        ObjectKind::Executable => Err(InspectError::Executable),
        ObjectKind::Relocatable => Err(InspectError::Relocatable),
        _ => Err(InspectError::Malformed(
            "it is neither a library nor a program".to_owned(),
        )),
    }
}

pub(super) fn push_needed(needed: &mut Vec<String>, name: &[u8]) -> Result<(), InspectError> {
    let name = String::from_utf8_lossy(&name[..name.len().min(NAME_BYTES_MAX)]).into_owned();
    if needed.len() == NEEDED_MAX {
        return Err(InspectError::Malformed(format!(
            "it needs more than {NEEDED_MAX} libraries"
        )));
    }
    if !needed.contains(&name) {
        needed.push(name);
    }
    Ok(())
}

fn machine(architecture: Architecture) -> &'static str {
    match architecture {
        Architecture::X86_64 => "x86_64",
        Architecture::I386 => "x86",
        Architecture::Aarch64 => "aarch64",
        Architecture::Arm => "arm",
        Architecture::PowerPc64 => "powerpc64",
        Architecture::PowerPc => "powerpc",
        Architecture::Riscv64 => "riscv64",
        _ => "unknown",
    }
}
