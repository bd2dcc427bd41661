//! Which libraries came with a library: those that it names, those that these name, and so on. As the dynamic loader has them, not as files.

use super::image::{self, Image};
use libc::dl_phdr_info;
use std::ffi::CStr;

/// A library that another one was loaded with.
#[derive(Debug, Clone)]
pub(super) struct Need {
    name: String,
    image: Image,
}

/// The libraries that came with the one that lies there.
pub(super) fn of(image: &Image) -> Vec<Need> {
    below(&objects(), |object| object.image.base == image.base)
}

/// The libraries that came with the executable.
pub(super) fn of_executable() -> Vec<Need> {
    let mut first = true;
    below(&objects(), |_| std::mem::take(&mut first))
}

impl Need {
    #[cfg(test)]
    pub(super) fn new(name: String, image: Image) -> Need {
        Need { name, image }
    }

    /// Whether this is the same library: both are loaded.
    pub(super) fn is(&self, other: &Need) -> bool {
        self.image.base == other.image.base
    }

    pub(super) fn contains(&self, address: usize) -> bool {
        self.image.contains(address)
    }

    /// Whether each thread that begins in it runs what it was made for and nothing else: then two may use it and have each their own. A
    /// library that hands out work may give one's to a thread that another one had it make.
    pub(super) fn makes_threads_for_its_caller(&self) -> bool {
        self.name.starts_with("libstdc++.so")
    }
}

/// A loaded object.
struct Object {
    image: Image,
    /// What it is called, by itself and by its path.
    names: [String; 2],
    needs: Vec<String>,
}

const OBJECTS_MAX: usize = 8192;
const NEEDS_MAX: usize = 256;
const NAME_BYTES_MAX: usize = 256;

fn below(objects: &[Object], mut is_top: impl FnMut(&Object) -> bool) -> Vec<Need> {
    let top = objects.iter().position(&mut is_top);
    let mut found: Vec<usize> = top.into_iter().collect();
    let mut at = 0;
    while let Some(object) = found.get(at).map(|number| &objects[*number]) {
        for need in &object.needs {
            let called = |object: &Object| object.names.contains(need);
            if let Some(number) = objects.iter().position(called)
                && !found.contains(&number)
            {
                found.push(number);
            }
        }
        at += 1;
    }
    let needs = found.iter().skip(1).map(|number| &objects[*number]);
    needs
        .map(|object| Need {
            name: object.names[0].clone(),
            image: object.image.clone(),
        })
        .collect()
}

fn objects() -> Vec<Object> {
    let mut objects = Vec::new();
    image::each(&mut |info| {
        objects.push(object(info));
        objects.len() < OBJECTS_MAX
    });
    objects
}

fn object(info: &dl_phdr_info) -> Object {
    let image = Image::of(info);
    // SAFETY: the entry's name is NUL-terminated and valid during the visit.
    let path = (!info.dlpi_name.is_null()).then(|| unsafe { CStr::from_ptr(info.dlpi_name) });
    let path = path.map(CStr::to_string_lossy).unwrap_or_default();
    let file = path.rsplit('/').next().unwrap_or_default().to_owned();
    let dynamic = Dynamic::of(info, &image);
    let strings = |tag| {
        let dynamic = dynamic.as_ref();
        dynamic.map(|dynamic| dynamic.strings(tag)).unwrap_or_default()
    };
    Object {
        names: [strings(DT_SONAME).pop().unwrap_or_else(|| file.clone()), file],
        needs: strings(DT_NEEDED),
        image,
    }
}

const DT_NULL: usize = 0;
const DT_NEEDED: usize = 1;
const DT_STRTAB: usize = 5;
const DT_STRSZ: usize = 10;
const DT_SONAME: usize = 14;

/// An entry of the dynamic section (elf(5)).
#[repr(C)]
#[derive(Clone, Copy)]
struct Entry {
    tag: usize,
    value: usize,
}

/// The dynamic section of an object that is being visited, and its strings.
struct Dynamic<'a> {
    entries: &'a [Entry],
    text: &'a [u8],
}

impl<'a> Dynamic<'a> {
    fn of(info: &'a dl_phdr_info, image: &Image) -> Option<Self> {
        let is_dynamic = |segment: &&image::Segment| segment.p_type == libc::PT_DYNAMIC;
        let segment = image::segments(info).iter().find(is_dynamic)?;
        let (start, size) = (image.base + segment.p_vaddr as usize, segment.p_memsz as usize);
        if !image.contains_all(start, size) || !start.is_multiple_of(align_of::<Entry>()) {
            return None;
        }
        let count = size / size_of::<Entry>();
        // SAFETY: mapped as the loader says, aligned, and not unmapped during the visit.
        let entries = unsafe { std::slice::from_raw_parts(start as *const Entry, count) };
        let count = entries.iter().position(|entry| entry.tag == DT_NULL);
        let entries = &entries[..count.unwrap_or(entries.len())];
        let value = |tag| Some(entries.iter().find(|entry| entry.tag == tag)?.value);
        let (text, size) = (value(DT_STRTAB)?, value(DT_STRSZ)?);
        // Where the loader has not put the address there, it is the file's.
        let text = if image.contains_all(text, size) {
            text
        } else {
            image.base.checked_add(text)?
        };
        if !image.contains_all(text, size) {
            return None;
        }
        // SAFETY: as above.
        let text = unsafe { std::slice::from_raw_parts(text as *const u8, size) };
        Some(Dynamic { entries, text })
    }

    fn strings(&self, tag: usize) -> Vec<String> {
        let tagged = self.entries.iter().filter(|entry| entry.tag == tag);
        let text = |entry: &Entry| {
            let text = self.text.get(entry.value..)?;
            let text = &text[..text.len().min(NAME_BYTES_MAX)];
            let text = CStr::from_bytes_until_nul(text).ok()?;
            Some(text.to_string_lossy().into_owned())
        };
        tagged.filter_map(text).take(NEEDS_MAX).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_executable_came_with_the_c_library_and_that_with_the_loader() {
        let needs = of_executable();
        let named = |start: &str| needs.iter().find(|need| need.name.starts_with(start));
        let c = named("libc.so").expect("the C library");
        assert!(c.contains(libc::getenv as *const () as usize));
        assert!(!c.contains(of_executable as *const () as usize));
        assert!(of(&c.image).iter().any(|need| need.name.starts_with("ld-linux")));
        assert!(!of(&c.image).iter().any(|need| need.is(c)));
    }
}
