//! ELF: Linux and most Unix systems.
//!
//! What the library needs is read as the system's loader reads it: from the dynamic segment, by address. Section headers
//! only serve for the manifest and the list of exports.

use super::error::InspectError;
use super::facts::{Exports, FileFormat, Note};
use super::image::{inside, piece};
use super::read::{Library, ManifestSection, NAME_BYTES_MAX, push_needed};
use extman_plugin_api::manifest::frame::SECTION_ELF;
use object::elf::{self, FileHeader32, FileHeader64};
use object::read::ReadRef;
use object::read::elf::{Dyn, FileHeader, ProgramHeader, SectionHeader, Sym};
use object::{Endianness, pod};

pub(super) fn read<'data, R: ReadRef<'data>>(data: R, is_64: bool) -> Result<Library, InspectError> {
    if is_64 {
        Elf::<FileHeader64<Endianness>, R>::open(data)?.library(64)
    } else {
        Elf::<FileHeader32<Endianness>, R>::open(data)?.library(32)
    }
}

struct Elf<'data, H: FileHeader, R> {
    data: R,
    header: &'data H,
    endian: H::Endian,
    segments: &'data [H::ProgramHeader],
    sections: &'data [H::SectionHeader],
}

impl<'data, H: FileHeader, R: ReadRef<'data>> Elf<'data, H, R> {
    /// Reads the headers and checks that all they speak of lies inside the file: the system's loader maps without asking,
    /// and what is not there is a SIGBUS later.
    fn open(data: R) -> Result<Self, InspectError> {
        inside(data, "headers", 0, size_of::<H>() as u64)?;
        let header = H::parse(data)?;
        let endian = header.endian()?;
        match header.e_type(endian) {
            elf::ET_DYN => {}
            elf::ET_EXEC => return Err(InspectError::Executable),
            elf::ET_REL => return Err(InspectError::Relocatable),
            other => return Err(InspectError::Malformed(format!("its ELF type is {}", other.0))),
        }
        if header.e_shoff(endian).into() != 0 {
            // The counts of large files are in the first section header.
            inside(
                data,
                "section headers",
                header.e_shoff(endian).into(),
                size_of::<H::SectionHeader>() as u64,
            )?;
        }
        let table = |what, offset: u64, count: u32, size: usize| {
            inside(data, what, offset, u64::from(count) * size as u64)
        };
        let (segments, sections) = (header.phnum(endian, data)?, header.shnum(endian, data)?);
        table(
            "program headers",
            header.e_phoff(endian).into(),
            segments,
            size_of::<H::ProgramHeader>(),
        )?;
        table(
            "section headers",
            header.e_shoff(endian).into(),
            sections,
            size_of::<H::SectionHeader>(),
        )?;
        let library = Elf {
            data,
            header,
            endian,
            segments: header.program_headers(endian, data)?,
            sections: header.section_headers(endian, data)?,
        };
        for segment in library.segments {
            let (offset, size) = segment.file_range(endian);
            inside(data, "segments", offset, size)?;
            if segment.p_type(endian) == elf::PT_LOAD && size > segment.p_memsz(endian).into() {
                return Err(InspectError::Malformed(
                    "a segment is larger in the file than in memory".to_owned(),
                ));
            }
        }
        for section in library.sections {
            if let Some((offset, size)) = section.file_range(endian) {
                inside(data, "sections", offset, size)?;
            }
        }
        Ok(library)
    }

    fn library(&self, bits: u8) -> Result<Library, InspectError> {
        self.check_header()?;
        let dynamic = self.dynamic()?;
        if dynamic.is_program {
            return Err(InspectError::Executable);
        }
        let (exports, unique) = self.exports()?;
        let mut notes = Vec::new();
        if dynamic.no_delete {
            notes.push(Note::new(
                "resident",
                "it is linked with -z nodelete, so it stays in memory after an unload; link without it",
            ));
        }
        if unique > 0 {
            notes.push(Note::new(
                "resident",
                format!(
                    "it defines {unique} unique symbols (C++ templates), so it stays in memory after an unload; compile \
                     with -fno-gnu-unique"
                ),
            ));
        }
        if dynamic.search_path.iter().any(|folder| !folder.starts_with('/')) {
            notes.push(Note::new(
                "search-path",
                "its search path for libraries (RPATH) has folders relative to its own, which have no meaning for a plugin that is \
                 loaded from memory",
            ));
        }
        if dynamic.static_tls {
            let bytes = self.thread_local_bytes();
            notes.push(Note::new(
                "static-tls",
                format!(
                    "it takes {bytes} bytes of the static space for thread-locals, of which a process has little (glibc: 512 bytes \
                     for all libraries that are loaded later) and which fragments when plugins come and go: loading may fail with \
                     \"cannot allocate memory in static TLS block\"; compile it without -ftls-model=initial-exec, or start the host \
                     with GLIBC_TUNABLES=glibc.rtld.optional_static_tls=16384"
                ),
            ));
        }
        Ok(Library {
            format: FileFormat::Elf,
            machine: machine(self.header.e_machine(self.endian), bits),
            bits,
            little_endian: self.header.is_little_endian(),
            needed: dynamic.needed,
            search_path: dynamic.search_path,
            executable_stack: self.has_executable_stack(),
            exports,
            manifests: self.manifests()?,
            notes,
        })
    }

    /// As the loader decides: what does not say that it needs none gets one, where the machine's rules are as old as that.
    fn has_executable_stack(&self) -> bool {
        let stack = self
            .segments
            .iter()
            .find(|segment| segment.p_type(self.endian) == elf::PT_GNU_STACK);
        match stack {
            Some(stack) => stack.p_flags(self.endian).0 & elf::PF_X.0 != 0,
            None => [elf::EM_X86_64, elf::EM_386, elf::EM_ARM].contains(&self.header.e_machine(self.endian)),
        }
    }

    fn thread_local_bytes(&self) -> u64 {
        let segments = self
            .segments
            .iter()
            .filter(|segment| segment.p_type(self.endian) == elf::PT_TLS);
        segments.map(|segment| segment.p_memsz(self.endian).into()).sum()
    }

    /// What the system's loader asks of a header before it maps anything (glibc, elf/dl-load.c: `open_verify` and
    /// `_dl_map_object_from_fd`).
    fn check_header(&self) -> Result<(), InspectError> {
        let malformed = |text: String| Err(InspectError::Malformed(text));
        let (ident, endian) = (self.header.e_ident(), self.endian);
        if ident.version != elf::EV_CURRENT || self.header.e_version(endian) != u32::from(elf::EV_CURRENT.0) {
            return malformed("its ELF version is not 1".to_owned());
        }
        let abi_version_max = match ident.os_abi {
            elf::ELFOSABI_SYSV => 0,
            elf::ELFOSABI_GNU => GNU_ABI_VERSION_MAX,
            _ => return malformed("its ELF header is for another system".to_owned()),
        };
        if ident.abi_version > abi_version_max || ident.padding != [0; 7] {
            return malformed("its ELF header is of another version, or is not clean".to_owned());
        }
        let size = usize::from(self.header.e_phentsize(endian));
        if size != size_of::<H::ProgramHeader>() {
            return malformed(format!("its program headers have {size} bytes"));
        }
        let mut end = 0;
        let loaded = self
            .segments
            .iter()
            .filter(|segment| segment.p_type(endian) == elf::PT_LOAD);
        let mut count = 0;
        for segment in loaded {
            count += 1;
            let (address, align): (u64, u64) =
                (segment.p_vaddr(endian).into(), segment.p_align(endian).into());
            let offset: u64 = segment.p_offset(endian).into();
            if !align.is_power_of_two() || align < PAGE_BYTES_MIN {
                return malformed(format!("a segment is aligned to {align}, which is no page"));
            }
            if address.wrapping_sub(offset) & (align - 1) != 0 {
                return malformed("a segment's address does not fit its place in the file".to_owned());
            }
            let size: u64 = segment.p_memsz(endian).into();
            let next = address.checked_add(size).filter(|_| address >= end);
            end = next.ok_or_else(|| InspectError::Malformed("its segments are not in order".to_owned()))?;
        }
        match count {
            0 => malformed("it has no segment that is loaded".to_owned()),
            _ => Ok(()),
        }
    }

    fn dynamic(&self) -> Result<Dynamic, InspectError> {
        let malformed = |text: &str| InspectError::Malformed(text.to_owned());
        let segment = self
            .segments
            .iter()
            .find(|segment| segment.p_type(self.endian) == elf::PT_DYNAMIC)
            .ok_or_else(|| malformed("it has no dynamic segment"))?;
        let table = self
            .at_address(
                segment.p_vaddr(self.endian).into(),
                segment.p_filesz(self.endian).into(),
            )?
            .ok_or_else(|| malformed("its dynamic segment is not in a loaded one"))?;
        let count = table.len() / size_of::<H::Dyn>();
        let (entries, _) = pod::slice_from_bytes::<H::Dyn>(table, count)
            .map_err(|()| malformed("its dynamic segment is not aligned"))?;
        let entries = entries
            .iter()
            .map(|entry| (entry.tag(self.endian), entry.val(self.endian)));
        let entries: Vec<_> = entries.take_while(|(tag, _)| *tag != elf::DT_NULL).collect();
        let value = |wanted| {
            entries
                .iter()
                .find(|(tag, _)| *tag == wanted)
                .map(|(_, value)| *value)
        };
        let strings = match (value(elf::DT_STRTAB), value(elf::DT_STRSZ)) {
            (Some(address), Some(size)) => self
                .at_address(address, size)?
                .ok_or_else(|| malformed("its dynamic strings are not in a loaded segment"))?,
            _ => return Err(malformed("it has no dynamic strings")),
        };
        let flags = value(elf::DT_FLAGS_1).unwrap_or(0);
        let has = |flag: u64| flags & flag != 0;
        let mut dynamic = Dynamic {
            needed: Vec::new(),
            no_delete: has(elf::DF_1_NODELETE.0),
            is_program: has(elf::DF_1_PIE.0),
            static_tls: value(elf::DT_FLAGS).is_some_and(|flags| flags & elf::DF_STATIC_TLS.0 != 0),
            search_path: Vec::new(),
        };
        if let Some(offset) = value(elf::DT_RUNPATH).or(value(elf::DT_RPATH)) {
            let text = text_at(strings, offset).ok_or_else(|| malformed("its search path can't be read"))?;
            let text = String::from_utf8_lossy(text);
            dynamic.search_path = text.split(':').take(SEARCH_PATH_MAX).map(str::to_owned).collect();
        }
        for (tag, offset) in &entries {
            if [elf::DT_NEEDED, elf::DT_AUXILIARY, elf::DT_FILTER].contains(tag) {
                let name = text_at(strings, *offset)
                    .ok_or_else(|| malformed("the name of a library that it needs can't be read"))?;
                push_needed(&mut dynamic.needed, name)?;
            }
        }
        Ok(dynamic)
    }

    /// What the loader would see at an address, if that comes from the file.
    fn at_address(&self, address: u64, size: u64) -> Result<Option<&'data [u8]>, InspectError> {
        for segment in self.segments {
            let start: u64 = segment.p_vaddr(self.endian).into();
            let (offset, in_file) = segment.file_range(self.endian);
            let within = address.checked_sub(start).filter(|skip| {
                segment.p_type(self.endian) == elf::PT_LOAD
                    && skip.checked_add(size).is_some_and(|end| end <= in_file)
            });
            if let Some(skip) = within {
                return piece(self.data, "segments", offset + skip, size).map(Some);
            }
        }
        Ok(None)
    }

    /// The names that are exported, and how many of them are unique in the whole process.
    fn exports(&self) -> Result<(Exports, u64), InspectError> {
        let mut exports = Exports::default();
        let mut unique = 0;
        for section in self
            .sections
            .iter()
            .filter(|s| s.sh_type(self.endian) == elf::SHT_DYNSYM)
        {
            let Some((offset, size)) = section.file_range(self.endian) else {
                continue;
            };
            let strings = self
                .sections
                .get(section.sh_link(self.endian) as usize)
                .and_then(|strings| strings.file_range(self.endian))
                .ok_or_else(|| InspectError::Malformed("its symbols have no names".to_owned()))?;
            let strings = piece(self.data, "symbol names", strings.0, strings.1)?;
            let table = piece(self.data, "symbols", offset, size)?;
            let (symbols, _) = pod::slice_from_bytes::<H::Sym>(table, table.len() / size_of::<H::Sym>())
                .map_err(|()| InspectError::Malformed("its symbols are not aligned".to_owned()))?;
            for symbol in symbols.iter().filter(|symbol| !symbol.is_undefined(self.endian)) {
                let bind = symbol.st_bind();
                unique += u64::from(bind == elf::STB_GNU_UNIQUE);
                if bind != elf::STB_LOCAL
                    && let Some(name) = text_at(strings, symbol.st_name(self.endian).into())
                {
                    exports.add(name);
                }
            }
        }
        Ok((exports, unique))
    }

    fn manifests(&self) -> Result<Vec<ManifestSection>, InspectError> {
        let mut manifests = Vec::new();
        if self.sections.is_empty() {
            return Ok(manifests);
        }
        let names = self
            .sections
            .get(self.header.shstrndx(self.endian, self.data)? as usize)
            .and_then(|names| names.file_range(self.endian))
            .ok_or_else(|| InspectError::Malformed("its sections have no names".to_owned()))?;
        let names = piece(self.data, "section names", names.0, names.1)?;
        for section in self.sections {
            let is_manifest =
                text_at(names, section.sh_name(self.endian).into()) == Some(SECTION_ELF.as_bytes());
            if let Some((offset, size)) = section.file_range(self.endian)
                && is_manifest
                && size > 0
            {
                manifests.push(ManifestSection::read(self.data, offset, size)?);
            }
        }
        Ok(manifests)
    }
}

/// The highest ABI version that glibc has given out so far (libc-abis).
const GNU_ABI_VERSION_MAX: u8 = 3;
/// The smallest page of any system.
const PAGE_BYTES_MIN: u64 = 4096;

struct Dynamic {
    needed: Vec<String>,
    no_delete: bool,
    is_program: bool,
    static_tls: bool,
    search_path: Vec<String>,
}

/// Most folders of a search path that are looked at.
const SEARCH_PATH_MAX: usize = 64;

/// The zero-terminated text at an offset, unless it is longer than any honest name.
fn text_at(strings: &[u8], offset: u64) -> Option<&[u8]> {
    let rest = strings.get(usize::try_from(offset).ok()?..)?;
    let end = rest.iter().take(NAME_BYTES_MAX).position(|byte| *byte == 0)?;
    Some(&rest[..end])
}

fn machine(machine: elf::Machine, bits: u8) -> String {
    let name = match (machine, bits) {
        (elf::EM_X86_64, _) => "x86_64",
        (elf::EM_386, _) => "x86",
        (elf::EM_AARCH64, _) => "aarch64",
        (elf::EM_ARM, _) => "arm",
        (elf::EM_RISCV, 64) => "riscv64",
        (elf::EM_RISCV, _) => "riscv32",
        (elf::EM_PPC64, _) => "powerpc64",
        (elf::EM_PPC, _) => "powerpc",
        (elf::EM_S390, _) => "s390x",
        (elf::EM_LOONGARCH, _) => "loongarch64",
        (other, _) => return format!("an unknown machine (ELF machine {})", other.0),
    };
    name.to_owned()
}
