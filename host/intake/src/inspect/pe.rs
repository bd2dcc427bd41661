//! PE: Windows.

use super::error::InspectError;
use super::facts::{Exports, FileFormat};
use super::image::{BUDGET_BYTES, inside};
use super::read::{Library, check_kind, from_object};
use extman_plugin_api::manifest::frame::SECTION_ELF;
use object::pe::{ImageNtHeaders32, ImageNtHeaders64};
use object::read::pe::{ImageNtHeaders, PeFile};
use object::read::{NameOrOrdinal, Object, ReadRef};

pub(super) fn read<'data, R: ReadRef<'data>>(data: R) -> Result<Library, InspectError> {
    inside(data, "headers", 0, 64)?;
    match object::read::pe::optional_header_magic(data)? {
        object::pe::IMAGE_NT_OPTIONAL_HDR32_MAGIC => read_class::<ImageNtHeaders32, R>(data),
        _ => read_class::<ImageNtHeaders64, R>(data),
    }
}

fn read_class<'data, H: ImageNtHeaders, R: ReadRef<'data>>(data: R) -> Result<Library, InspectError> {
    let file = PeFile::<H, R>::parse(data)?;
    for section in file.section_table().iter() {
        let (offset, size) = section.pe_file_range();
        inside(data, "sections", offset.into(), size.into())?;
    }
    check_kind(file.kind())?;
    from_object(data, &file, FileFormat::Pe, exports(&file)?, |_, section| {
        section == SECTION_ELF.as_bytes()
    })
}

/// Each name costs a search for its end, so it is their total length that is limited: a hostile file may let all its names
/// start in one long text.
fn exports<'data>(file: &impl Object<'data>) -> Result<Exports, InspectError> {
    let mut exports = Exports::default();
    let mut left = BUDGET_BYTES;
    for export in file.exports()? {
        if let NameOrOrdinal::Name(name) = export?.name() {
            left = left
                .checked_sub(1 + name.len() as u64)
                .ok_or(InspectError::TooComplex {
                    max_bytes: BUDGET_BYTES,
                })?;
            exports.add(name);
        }
    }
    Ok(exports)
}
