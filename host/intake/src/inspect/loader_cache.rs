//! Which libraries the system's dynamic loader finds by name: those in its cache (`/etc/ld.so.cache`), in its default folders and in
//! `LD_LIBRARY_PATH`. Nothing is opened with the loader; the cache is read within bounds.

use std::collections::HashMap;
use std::io::Read;
use std::path::{Path, PathBuf};

/// The loader's cache.
const CACHE: &str = "/etc/ld.so.cache";
/// Longest cache that is read, in bytes.
const CACHE_BYTES_MAX: u64 = 64 << 20;
/// Longest name or path in it, in bytes.
const NAME_BYTES_MAX: usize = 4096;

/// Where the loader of this host looks for libraries.
pub(super) struct LoaderSearch {
    cached: HashMap<String, PathBuf>,
    folders: Vec<PathBuf>,
}

impl LoaderSearch {
    /// Of this host at this moment.
    pub fn of_this_host() -> Self {
        let mut bytes = Vec::new();
        let read =
            std::fs::File::open(CACHE).and_then(|file| file.take(CACHE_BYTES_MAX).read_to_end(&mut bytes));
        let cached = read
            .ok()
            .and_then(|_| parse(&bytes, host_flags()))
            .unwrap_or_default();
        let given = std::env::var_os("LD_LIBRARY_PATH").unwrap_or_default();
        let given = std::env::split_paths(&given).filter(|folder| folder.is_absolute());
        LoaderSearch {
            cached,
            folders: given.chain(default_folders()).collect(),
        }
    }

    /// Whether the loader would find this name, with the plugin's own search path before its own.
    pub fn finds(&self, name: &str, search_path: &[String]) -> bool {
        let own = search_path.iter().map(Path::new);
        let mut folders = own.chain(self.folders.iter().map(PathBuf::as_path));
        // The cache may be older than what has been removed since.
        self.cached.get(name).is_some_and(|path| path.exists())
            || folders.any(|folder| folder.join(name).is_file())
    }
}

fn default_folders() -> impl Iterator<Item = PathBuf> {
    let arch = std::env::consts::ARCH;
    let multiarch = format!("{arch}-linux-gnu");
    ["/lib", "/usr/lib", "/lib64", "/usr/lib64", "/usr/local/lib"]
        .into_iter()
        .flat_map(move |folder| [PathBuf::from(folder), Path::new(folder).join(&multiarch)])
}

/// What the cache says of a library for this host's machine (glibc, sysdeps/generic/ldconfig.h); `None` where it is not known.
fn host_flags() -> Option<u32> {
    match std::env::consts::ARCH {
        "x86" => Some(0x0003),
        "x86_64" => Some(0x0303),
        "s390x" => Some(0x0403),
        "powerpc64" => Some(0x0503),
        "arm" => Some(0x0903),
        "aarch64" => Some(0x0a03),
        "riscv64" => Some(0x1003),
        "loongarch64" => Some(0x1203),
        _ => None,
    }
}

const OLD_MAGIC: &[u8] = b"ld.so-1.7.0\0";
const OLD_ENTRY: usize = 12;
const MAGIC: &[u8] = b"glibc-ld.so.cache1.1";
const HEADER: usize = 48;
const ENTRY: usize = 24;

/// Paths by name (glibc, sysdeps/generic/dl-cache.h). `None` if it is no such cache; entries that lead outside of it are passed over.
fn parse(bytes: &[u8], wanted: Option<u32>) -> Option<HashMap<String, PathBuf>> {
    let cache = match bytes.strip_prefix(OLD_MAGIC) {
        None => bytes,
        // An older cache may stand before; the newer one begins at the next multiple of eight.
        Some(old) => {
            let skipped = (word(old, 0)? as usize).checked_mul(OLD_ENTRY)?;
            let end = skipped
                .checked_add(OLD_MAGIC.len() + 4)?
                .checked_next_multiple_of(8)?;
            bytes.get(end..)?
        }
    };
    if !cache.starts_with(MAGIC) {
        return None;
    }
    let count = word(cache, MAGIC.len())? as usize;
    let entries = cache.get(HEADER..HEADER.checked_add(count.checked_mul(ENTRY)?)?)?;
    let mut paths = HashMap::new();
    for entry in entries.chunks_exact(ENTRY) {
        let fits = wanted.is_none_or(|wanted| word(entry, 0) == Some(wanted));
        let at = |offset| text(cache, word(entry, offset)? as usize);
        if let (true, Some(name), Some(path)) = (fits, at(4), at(8)) {
            // The first one is the one that the loader takes.
            paths
                .entry(name.to_owned())
                .or_insert_with(|| PathBuf::from(path));
        }
    }
    Some(paths)
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    let bytes = bytes.get(at..at.checked_add(4)?)?;
    Some(u32::from_ne_bytes(bytes.try_into().ok()?))
}

fn text(bytes: &[u8], at: usize) -> Option<&str> {
    let rest = bytes.get(at..)?;
    let end = rest.iter().take(NAME_BYTES_MAX).position(|byte| *byte == 0)?;
    std::str::from_utf8(&rest[..end]).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn cache(entries: &[(u32, &str, &str)]) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        bytes.extend((entries.len() as u32).to_ne_bytes());
        bytes.resize(HEADER, 0);
        let mut strings = Vec::new();
        let first = HEADER + entries.len() * ENTRY;
        for (flags, name, path) in entries {
            bytes.extend(flags.to_ne_bytes());
            for text in [name, path] {
                bytes.extend(((first + strings.len()) as u32).to_ne_bytes());
                strings.extend_from_slice(text.as_bytes());
                strings.push(0);
            }
            bytes.extend([0; ENTRY - 12]);
        }
        bytes.extend(strings);
        bytes
    }

    #[test]
    fn names_of_this_machine_are_found_and_the_first_counts() {
        let bytes = cache(&[
            (0x0003, "libz.so.1", "/lib32/libz.so.1"),
            (0x0303, "libz.so.1", "/lib/libz.so.1"),
            (0x0303, "libz.so.1", "/other/libz.so.1"),
        ]);
        let paths = parse(&bytes, Some(0x0303)).unwrap();
        assert_eq!(paths["libz.so.1"], Path::new("/lib/libz.so.1"));
        assert_eq!(paths.len(), 1);
        assert_eq!(
            parse(&bytes, None).unwrap()["libz.so.1"],
            Path::new("/lib32/libz.so.1")
        );
        let mut behind_an_old_one = OLD_MAGIC.to_vec();
        behind_an_old_one.extend(1u32.to_ne_bytes());
        behind_an_old_one.extend([7; OLD_ENTRY]);
        behind_an_old_one.resize(behind_an_old_one.len().next_multiple_of(8), 0);
        behind_an_old_one.extend(&bytes);
        assert_eq!(parse(&behind_an_old_one, Some(0x0303)).unwrap(), paths);
    }

    #[test]
    fn what_is_no_cache_is_none_and_what_leads_outside_is_passed_over() {
        assert!(parse(b"", None).is_none());
        assert!(parse(b"glibc-ld.so.cache1.0", None).is_none());
        let mut bytes = cache(&[(0, "a", "/a")]);
        bytes[HEADER + 4..HEADER + 8].copy_from_slice(&u32::MAX.to_ne_bytes());
        assert!(parse(&bytes, None).unwrap().is_empty());
        bytes[MAGIC.len()..MAGIC.len() + 4].copy_from_slice(&u32::MAX.to_ne_bytes());
        assert!(parse(&bytes, None).is_none());
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_within_bounds(start in 0..3usize, rest in proptest::collection::vec(any::<u8>(), 0..400)) {
            let mut bytes = [&b""[..], MAGIC, OLD_MAGIC][start].to_vec();
            bytes.extend(rest);
            let _ = parse(&bytes, Some(0x0303));
        }
    }

    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    #[test]
    fn this_hosts_own_c_library_is_found() {
        assert!(LoaderSearch::of_this_host().finds("libc.so.6", &[]));
        assert!(!LoaderSearch::of_this_host().finds("libnever-heard-of.so.6", &[]));
    }
}
