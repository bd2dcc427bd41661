//! Which libraries a plugin may need without bringing them.

use super::facts::FileFormat;
use super::loader_cache::LoaderSearch;

/// Those of `needed` that neither belong to every system of this format, nor are `allowed`, nor are found by the loader of this host.
/// `search_path` is the library's own.
pub(super) fn companions(
    format: FileFormat,
    needed: &[String],
    allowed: &[String],
    search_path: &[String],
) -> Vec<String> {
    let unknown = needed
        .iter()
        .filter(|name| !is_everywhere(format, name) && !allowed.contains(name));
    let unknown: Vec<&String> = unknown.collect();
    if unknown.is_empty() || format != FileFormat::Elf || !cfg!(target_os = "linux") {
        return unknown.into_iter().cloned().collect();
    }
    let search = LoaderSearch::of_this_host();
    let missing = unknown
        .into_iter()
        .filter(|name| name.contains('/') || !search.finds(name, search_path));
    missing.cloned().collect()
}

/// Whether `library`, as a plugin of this format names it, is there wherever a host of this format runs.
fn is_everywhere(format: FileFormat, library: &str) -> bool {
    match format {
        FileFormat::Elf => is_of_c_library(library),
        FileFormat::Pe => is_windows_library(&library.to_ascii_lowercase()),
        FileFormat::MachO => library.starts_with("/usr/lib/") || library.starts_with("/System/Library/"),
    }
}

/// Whether `library` is a C library itself, and if so whether it is musl's.
pub(super) fn musl_or_other_libc(library: &str) -> Option<bool> {
    match library {
        "libc.so.6" => Some(false),
        _ if library.starts_with("libc.musl-") || library.starts_with("ld-musl-") => Some(true),
        _ => None,
    }
}

/// Parts of the C library, and what each host program itself needs.
fn is_of_c_library(library: &str) -> bool {
    const STEMS: [&str; 12] = [
        "libc",
        "libm",
        "libmvec",
        "libgcc_s",
        "libpthread",
        "libdl",
        "librt",
        "libutil",
        "libresolv",
        "libanl",
        "linux-vdso",
        "ld64",
    ];
    let Some((stem, version)) = library.split_once(".so") else {
        return false;
    };
    let plain_version = version.bytes().all(|b| b == b'.' || b.is_ascii_digit());
    let loader = ["ld-linux", "ld-musl-", "libc.musl-"]
        .iter()
        .any(|prefix| stem.starts_with(prefix));
    plain_version && !library.contains('/') && (loader || STEMS.contains(&stem))
}

fn is_windows_library(library: &str) -> bool {
    const NAMES: [&str; 26] = [
        "kernel32",
        "kernelbase",
        "ntdll",
        "msvcrt",
        "ucrtbase",
        "vcruntime140",
        "vcruntime140_1",
        "msvcp140",
        "user32",
        "gdi32",
        "advapi32",
        "shell32",
        "ole32",
        "oleaut32",
        "ws2_32",
        "bcrypt",
        "bcryptprimitives",
        "crypt32",
        "secur32",
        "userenv",
        "dbghelp",
        "psapi",
        "iphlpapi",
        "synchronization",
        "winmm",
        "ncrypt",
    ];
    let stem = library.strip_suffix(".dll").unwrap_or(library);
    NAMES.contains(&stem) || stem.starts_with("api-ms-win-") || stem.starts_with("ext-ms-win-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_everywhere_is_known_and_nothing_else() {
        for (format, library, expected) in [
            (FileFormat::Elf, "libc.so.6", true),
            (FileFormat::Elf, "libstdc++.so.6", false),
            (FileFormat::Elf, "ld-linux-x86-64.so.2", true),
            (FileFormat::Elf, "libc.musl-x86_64.so.1", true),
            (FileFormat::Elf, "libcurl.so.4", false),
            (FileFormat::Elf, "libc-evil.so.6", false),
            (FileFormat::Elf, "/tmp/libc.so.6", false),
            (FileFormat::Elf, "ld-linux/../x.so.2", false),
            (FileFormat::Elf, "libc.so.6/x", false),
            (FileFormat::Elf, "", false),
            (FileFormat::Pe, "KERNEL32.dll", true),
            (FileFormat::Pe, "api-ms-win-core-synch-l1-2-0.dll", true),
            (FileFormat::Pe, "onnxruntime.dll", false),
            (FileFormat::MachO, "/usr/lib/libSystem.B.dylib", true),
            (FileFormat::MachO, "@rpath/libfoo.dylib", false),
        ] {
            assert_eq!(is_everywhere(format, library), expected, "{library}");
        }
        let needed = ["libc.so.6", "libnever-heard-of.so.1", "/lib/libc.so.6"].map(str::to_owned);
        assert_eq!(companions(FileFormat::Elf, &needed, &[], &[]), needed[1..]);
        assert_eq!(
            companions(FileFormat::Elf, &needed, &needed[1..2], &[]),
            needed[2..]
        );
        assert_eq!(musl_or_other_libc("libc.musl-x86_64.so.1"), Some(true));
        assert_eq!(musl_or_other_libc("libc.so.6"), Some(false));
        assert_eq!(musl_or_other_libc("libm.so.6"), None);
    }
}
