//! PE: Windows.

use super::error::InspectError;
use super::facts::FileFormat;
use super::image::inside;
use super::read::{Library, from_object};
use extman_plugin_api::manifest::frame::SECTION_ELF;
use object::pe::{ImageNtHeaders32, ImageNtHeaders64};
use object::read::ReadRef;
use object::read::pe::{ImageNtHeaders, PeFile};

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
    from_object(
        data,
        &file,
        FileFormat::Pe,
        |_, section| section == SECTION_ELF.as_bytes(),
        |name| name,
    )
}
