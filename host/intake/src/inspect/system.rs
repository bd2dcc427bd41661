//! Which libraries a plugin may need without bringing them.

use super::loader_cache::LoaderSearch;

/// Those of `needed` that neither belong to the C library, nor are `allowed`, nor are found by the loader of this host. `search_path` is
/// the library's own.
pub(super) fn companions(needed: &[String], allowed: &[String], search_path: &[String]) -> Vec<String> {
    let unknown = needed
        .iter()
        .filter(|name| !is_of_c_library(name) && !allowed.contains(name));
    let mut unknown: Vec<String> = unknown.cloned().collect();
    if !unknown.is_empty() {
        let search = LoaderSearch::of_this_host();
        unknown.retain(|name| name.contains('/') || !search.finds(name, search_path));
    }
    unknown
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_the_c_library_are_known_and_nothing_else() {
        for (library, expected) in [
            ("libc.so.6", true),
            ("libstdc++.so.6", false),
            ("ld-linux-x86-64.so.2", true),
            ("libc.musl-x86_64.so.1", true),
            ("libcurl.so.4", false),
            ("libc-evil.so.6", false),
            ("/tmp/libc.so.6", false),
            ("ld-linux/../x.so.2", false),
            ("libc.so.6/x", false),
            ("", false),
        ] {
            assert_eq!(is_of_c_library(library), expected, "{library}");
        }
        let needed = ["libc.so.6", "libnever-heard-of.so.1", "/lib/libc.so.6"].map(str::to_owned);
        assert_eq!(companions(&needed, &[], &[]), needed[1..]);
        assert_eq!(companions(&needed, &needed[1..2], &[]), needed[2..]);
        assert_eq!(musl_or_other_libc("libc.musl-x86_64.so.1"), Some(true));
        assert_eq!(musl_or_other_libc("libc.so.6"), Some(false));
        assert_eq!(musl_or_other_libc("libm.so.6"), None);
    }
}
