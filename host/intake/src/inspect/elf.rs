//! ELF: Linux and most Unix systems.
//!
//! What the library needs is read as the system's loader reads it: from the dynamic segment, by address. Section headers
//! only serve for the manifest and the list of exports.

use super::error::InspectError;
use super::facts::{Exports, Facts, FileFormat, Note};
use super::image::{self, inside, piece};
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
            other => return malformed(format!("its ELF type is {}", other.0)),
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
        let [segment_bytes, section_bytes] = [size_of::<H::ProgramHeader>(), size_of::<H::SectionHeader>()];
        table(
            "program headers",
            header.e_phoff(endian).into(),
            segments,
            segment_bytes,
        )?;
        table(
            "section headers",
            header.e_shoff(endian).into(),
            sections,
            section_bytes,
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
                return malformed("a segment is larger in the file than in memory");
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
        Ok(Library {
            facts: Facts {
                format: FileFormat::Elf,
                machine: machine(self.header.e_machine(self.endian), bits),
                bits,
                size_bytes: image::len(self.data)?,
                build: None,
                exports,
                executable_stack: self.has_executable_stack(),
                notes: self.notes(&dynamic, unique),
                needed: dynamic.needed,
            },
            little_endian: self.header.is_little_endian(),
            search_path: dynamic.search_path,
            manifests: self.manifests()?,
        })
    }

    fn notes(&self, dynamic: &Dynamic, unique: u64) -> Vec<Note> {
        let mut notes = Vec::new();
        let mut note = |code, text: String| notes.push(Note::new(code, text));
        if dynamic.no_delete {
            let text =
                "it is linked with -z nodelete, so it stays in memory after an unload; link without it";
            note("resident", text.to_owned());
        }
        if unique > 0 {
            note(
                "resident",
                format!(
                    "it defines {unique} unique symbols (C++ templates), so it stays in memory after an unload; compile \
                     with -fno-gnu-unique"
                ),
            );
        }
        if dynamic.search_path.iter().any(|folder| !folder.starts_with('/')) {
            let text = "its search path for libraries (RPATH) has folders relative to its own, which have no meaning for a plugin \
                        that is loaded from memory";
            note("search-path", text.to_owned());
        }
        if dynamic.static_tls {
            let thread_locals = self.segments_of(elf::PT_TLS);
            let bytes: u64 = thread_locals
                .map(|segment| segment.p_memsz(self.endian).into())
                .sum();
            note(
                "static-tls",
                format!(
                    "it takes {bytes} bytes of the static space for thread-locals, of which a process has little (glibc: 512 bytes \
                     for all libraries that are loaded later) and which fragments when plugins come and go: loading may fail with \
                     \"cannot allocate memory in static TLS block\"; compile it without -ftls-model=initial-exec, or start the host \
                     with GLIBC_TUNABLES=glibc.rtld.optional_static_tls=16384"
                ),
            );
        }
        notes
    }

    fn segments_of(&self, kind: elf::ProgramType) -> impl Iterator<Item = &'data H::ProgramHeader> {
        let segments = self.segments.iter();
        segments.filter(move |segment| segment.p_type(self.endian) == kind)
    }

    /// As the loader decides: what does not say that it needs none gets one, where the machine's rules are as old as that.
    fn has_executable_stack(&self) -> bool {
        match self.segments_of(elf::PT_GNU_STACK).next() {
            Some(stack) => stack.p_flags(self.endian).0 & elf::PF_X.0 != 0,
            None => [elf::EM_X86_64, elf::EM_386, elf::EM_ARM].contains(&self.header.e_machine(self.endian)),
        }
    }

    /// What the system's loader asks of a header before it maps anything (glibc, elf/dl-load.c: `open_verify` and
    /// `_dl_map_object_from_fd`).
    fn check_header(&self) -> Result<(), InspectError> {
        let (ident, endian) = (self.header.e_ident(), self.endian);
        if ident.version != elf::EV_CURRENT || self.header.e_version(endian) != u32::from(elf::EV_CURRENT.0) {
            return malformed("its ELF version is not 1");
        }
        let abi_version_max = match ident.os_abi {
            elf::ELFOSABI_SYSV => 0,
            elf::ELFOSABI_GNU => GNU_ABI_VERSION_MAX,
            _ => return malformed("its ELF header is for another system"),
        };
        if ident.abi_version > abi_version_max || ident.padding != [0; 7] {
            return malformed("its ELF header is of another version, or is not clean");
        }
        let size = usize::from(self.header.e_phentsize(endian));
        if size != size_of::<H::ProgramHeader>() {
            return malformed(format!("its program headers have {size} bytes"));
        }
        let (mut end, mut count) = (0, 0);
        for segment in self.segments_of(elf::PT_LOAD) {
            count += 1;
            let (address, align): (u64, u64) =
                (segment.p_vaddr(endian).into(), segment.p_align(endian).into());
            let offset: u64 = segment.p_offset(endian).into();
            if !align.is_power_of_two() || align < PAGE_BYTES_MIN {
                return malformed(format!("a segment is aligned to {align}, which is no page"));
            }
            if address.wrapping_sub(offset) & (align - 1) != 0 {
                return malformed("a segment's address does not fit its place in the file");
            }
            let size: u64 = segment.p_memsz(endian).into();
            end = match address.checked_add(size) {
                Some(next) if address >= end => next,
                _ => return malformed("its segments are not in order"),
            };
        }
        match count {
            0 => malformed("it has no segment that is loaded"),
            _ => Ok(()),
        }
    }

    fn dynamic(&self) -> Result<Dynamic, InspectError> {
        let Some(segment) = self.segments_of(elf::PT_DYNAMIC).next() else {
            return malformed("it has no dynamic segment");
        };
        let (address, size) = (segment.p_vaddr(self.endian), segment.p_filesz(self.endian));
        let Some(table) = self.at_address(address.into(), size.into())? else {
            return malformed("its dynamic segment is not in a loaded one");
        };
        let entries = slice_of::<H::Dyn>(table, "its dynamic segment is not aligned")?.iter();
        let entries = entries.map(|entry| (entry.tag(self.endian), entry.val(self.endian)));
        let entries: Vec<_> = entries.take_while(|(tag, _)| *tag != elf::DT_NULL).collect();
        let value = |wanted| {
            let found = entries.iter().find(|(tag, _)| *tag == wanted);
            found.map(|(_, value)| *value)
        };
        let (Some(address), Some(size)) = (value(elf::DT_STRTAB), value(elf::DT_STRSZ)) else {
            return malformed("it has no dynamic strings");
        };
        let Some(strings) = self.at_address(address, size)? else {
            return malformed("its dynamic strings are not in a loaded segment");
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
            let Some(text) = text_at(strings, offset) else {
                return malformed("its search path can't be read");
            };
            let text = String::from_utf8_lossy(text);
            dynamic.search_path = text.split(':').take(SEARCH_PATH_MAX).map(str::to_owned).collect();
        }
        for (tag, offset) in &entries {
            if [elf::DT_NEEDED, elf::DT_AUXILIARY, elf::DT_FILTER].contains(tag) {
                let Some(name) = text_at(strings, *offset) else {
                    return malformed("the name of a library that it needs can't be read");
                };
                push_needed(&mut dynamic.needed, name)?;
            }
        }
        Ok(dynamic)
    }

    /// What the loader would see at an address, if that comes from the file.
    fn at_address(&self, address: u64, size: u64) -> Result<Option<&'data [u8]>, InspectError> {
        for segment in self.segments_of(elf::PT_LOAD) {
            let (offset, in_file) = segment.file_range(self.endian);
            let skip = address.checked_sub(segment.p_vaddr(self.endian).into());
            let is_within = |skip: &u64| skip.checked_add(size).is_some_and(|end| end <= in_file);
            if let Some(skip) = skip.filter(is_within) {
                return piece(self.data, "segments", offset + skip, size).map(Some);
            }
        }
        Ok(None)
    }

    /// The names that are exported, and how many of them are unique in the whole process.
    fn exports(&self) -> Result<(Exports, u64), InspectError> {
        let (mut exports, mut unique) = (Exports::default(), 0);
        let is_table = |section: &&H::SectionHeader| section.sh_type(self.endian) == elf::SHT_DYNSYM;
        for section in self.sections.iter().filter(is_table) {
            let Some((offset, size)) = section.file_range(self.endian) else {
                continue;
            };
            let Some(strings) = self.section_bytes(section.sh_link(self.endian) as usize, "symbol names")?
            else {
                return malformed("its symbols have no names");
            };
            let table = piece(self.data, "symbols", offset, size)?;
            let symbols = slice_of::<H::Sym>(table, "its symbols are not aligned")?;
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
        let names = self.header.shstrndx(self.endian, self.data)? as usize;
        let Some(names) = self.section_bytes(names, "section names")? else {
            return malformed("its sections have no names");
        };
        for section in self.sections {
            let name = text_at(names, section.sh_name(self.endian).into());
            if let Some((offset, size)) = section.file_range(self.endian)
                && name == Some(SECTION_ELF.as_bytes())
                && size > 0
            {
                manifests.push(ManifestSection::read(self.data, offset, size)?);
            }
        }
        Ok(manifests)
    }

    /// What the file has of a section; `None` if there is no such section, or it has nothing of it.
    fn section_bytes(&self, at: usize, what: &'static str) -> Result<Option<&'data [u8]>, InspectError> {
        let section = self.sections.get(at);
        let range = section.and_then(|section| section.file_range(self.endian));
        range
            .map(|(offset, size)| piece(self.data, what, offset, size))
            .transpose()
    }
}

fn malformed<T>(text: impl Into<String>) -> Result<T, InspectError> {
    Err(InspectError::Malformed(text.into()))
}

/// As many of them as are whole.
fn slice_of<'data, T: pod::Pod>(bytes: &'data [u8], unaligned: &str) -> Result<&'data [T], InspectError> {
    match pod::slice_from_bytes(bytes, bytes.len() / size_of::<T>()) {
        Ok((slice, _)) => Ok(slice),
        Err(()) => malformed(unaligned),
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
