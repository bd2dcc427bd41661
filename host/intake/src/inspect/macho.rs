//! Mach-O: macOS. Of a universal file the part for this host's machine is read, or else the first.

use super::error::InspectError;
use super::facts::{Exports, FileFormat, Note};
use super::image::{self, BUDGET_BYTES, Part, inside};
use super::read::{Library, check_kind, from_object};
use extman_plugin_api::manifest::frame::SECTION_MACHO;
use object::macho::{MachHeader32, MachHeader64};
use object::read::macho::{FatArch, MachHeader, MachOFatFile32, MachOFatFile64, MachOFile};
use object::read::{Object, ObjectSegment, ObjectSymbol, ReadRef};
use object::{Architecture, Endianness};

pub(super) fn read<'data, R: ReadRef<'data>>(data: R, is_64: bool) -> Result<Library, InspectError> {
    if is_64 {
        read_class::<MachHeader64<Endianness>, R>(data)
    } else {
        read_class::<MachHeader32<Endianness>, R>(data)
    }
}

pub(super) fn read_fat<'data, R: ReadRef<'data>>(data: R, is_64: bool) -> Result<Library, InspectError> {
    if is_64 {
        read_part(data, MachOFatFile64::parse(data)?.arches())
    } else {
        read_part(data, MachOFatFile32::parse(data)?.arches())
    }
}

fn read_part<'data, R: ReadRef<'data>, A: FatArch>(data: R, parts: &[A]) -> Result<Library, InspectError> {
    let wanted = match std::env::consts::ARCH {
        "aarch64" => Architecture::Aarch64,
        _ => Architecture::X86_64,
    };
    for part in parts {
        let (offset, size) = part.file_range();
        inside(data, "parts", offset, size)?;
    }
    let part = parts
        .iter()
        .find(|part| part.architecture() == wanted)
        .or(parts.first())
        .ok_or_else(|| InspectError::Malformed("the universal file has no parts".to_owned()))?;
    let (offset, size) = part.file_range();
    let inner = Part { data, offset, size };
    let mut library = match object::FileKind::parse(inner)? {
        object::FileKind::MachO32 => read(inner, false)?,
        object::FileKind::MachO64 => read(inner, true)?,
        _ => {
            return Err(InspectError::Malformed(
                "a part of the universal file is not Mach-O".to_owned(),
            ));
        }
    };
    let (facts, number) = (&mut library.facts, parts.len());
    let text = format!(
        "it holds {number} parts, of which the one for {} was read",
        facts.machine
    );
    facts.notes.push(Note::new("universal", text));
    facts.size_bytes = image::len(data)?;
    Ok(library)
}

fn read_class<'data, H: MachHeader, R: ReadRef<'data>>(data: R) -> Result<Library, InspectError> {
    inside(data, "headers", 0, size_of::<H>() as u64)?;
    let file = MachOFile::<H, R>::parse(data)?;
    for segment in file.segments() {
        let (offset, size) = segment.file_range();
        inside(data, "segments", offset, size)?;
    }
    let header = file.macho_header();
    if header.filetype(file.endian()) != object::macho::MH_BUNDLE {
        check_kind(file.kind())?;
    }
    from_object(
        data,
        &file,
        FileFormat::MachO,
        exports(&file),
        |segment, section| {
            SECTION_MACHO.split_once(',').is_some_and(|(wanted, name)| {
                segment == Some(wanted.as_bytes()) && section == name.as_bytes()
            })
        },
    )
}

/// From the symbol table and not from the exports trie: a hostile trie of a few hundred bytes has endless paths.
fn exports<'data>(file: &impl Object<'data>) -> Exports {
    let mut exports = Exports::default();
    let mut left = BUDGET_BYTES;
    for symbol in file
        .symbols()
        .filter(|symbol| symbol.is_global() && symbol.is_definition())
    {
        let Ok(name) = symbol.name_bytes() else { continue };
        let Some(rest) = left.checked_sub(1 + name.len() as u64) else {
            break;
        };
        left = rest;
        exports.add(name.strip_prefix(b"_").unwrap_or(name));
    }
    exports
}
