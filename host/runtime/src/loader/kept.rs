//! Why the dynamic loader has kept a library that was closed, as far as its bytes tell.

use extman_model::ResidentReason;
use object::elf::{self, FileHeader64};
use object::read::elf::{FileHeader, SectionHeader, Sym};
use object::{Endianness, ReadCache};
use std::fs::File;

/// The reason, and what exactly.
pub(super) fn reason(library: File) -> (ResidentReason, &'static str) {
    let seen = look(&ReadCache::new(library)).unwrap_or_default();
    if seen.no_delete {
        (ResidentReason::KeptByLoader, "it is linked with -z nodelete")
    } else if seen.unique {
        let text = "it has unique symbols (C++ templates); compile it with -fno-gnu-unique";
        (ResidentReason::KeptByLoader, text)
    } else if seen.weak {
        let text = "another library, such as the C++ one, may be bound to weak symbols that it exports; link it with a version script \
                    that exports extman_plugin_entry and extman_manifest alone";
        (ResidentReason::BoundByOthers, text)
    } else {
        let text = "a pending thread-local destructor, or another library that is bound to it";
        (ResidentReason::KeptByLoader, text)
    }
}

#[derive(Default)]
struct Seen {
    no_delete: bool,
    unique: bool,
    weak: bool,
}

fn look(data: &ReadCache<File>) -> Option<Seen> {
    let header = FileHeader64::<Endianness>::parse(data).ok()?;
    let endian = header.endian().ok()?;
    let sections = header.sections(endian, data).ok()?;
    let mut seen = Seen::default();
    for section in sections.iter() {
        if let Ok(Some((entries, _))) = section.dynamic(endian, data) {
            let no_delete = |entry: &object::elf::Dyn64<Endianness>| {
                use object::read::elf::Dyn;
                entry.tag(endian) == elf::DT_FLAGS_1 && entry.val(endian) & elf::DF_1_NODELETE.0 != 0
            };
            seen.no_delete |= entries.iter().any(no_delete);
        }
    }
    let symbols = sections.symbols(endian, data, elf::SHT_DYNSYM).ok()?;
    for symbol in symbols.iter().filter(|symbol| !symbol.is_undefined(endian)) {
        let exported = [elf::STV_DEFAULT, elf::STV_PROTECTED].contains(&symbol.st_visibility());
        seen.unique |= symbol.st_bind() == elf::STB_GNU_UNIQUE;
        seen.weak |= exported && symbol.st_bind() == elf::STB_WEAK;
    }
    Some(seen)
}
