//! What can be said of a `plugin.toml` while the plugin is compiled, without a TOML parser in it.
//!
//! A line scanner, not a parser: it sees `[table]` headers and `key = "plain string"` lines. What it can't see is checked
//! by `extman inspect` and by the host, which do parse.

/// The id in `[plugin]`.
pub const fn id(toml: &str) -> &str {
    match value(toml, "[plugin]", "id", 0) {
        Some(id) if is_id(id) => id,
        Some(_) => panic!(
            "plugin.toml: [plugin] id must be 1 to 64 lowercase letters, digits and '-', starting with a letter, \
             such as id = \"lang-detect\""
        ),
        None => panic!("plugin.toml: [plugin] has no id; add a line such as id = \"lang-detect\""),
    }
}

/// Stops the build unless `[plugin] version` is semver and equals the package's version.
pub const fn check_version(toml: &str, package_version: &str) {
    match value(toml, "[plugin]", "version", 0) {
        Some(version) if !is_semver(version) => {
            panic!("plugin.toml: [plugin] version is not a semantic version such as \"1.0.0\"")
        }
        Some(version) if !equal(version, package_version) => panic!(
            "plugin.toml: [plugin] version differs from the package's version in Cargo.toml; make them the same"
        ),
        Some(_) => {}
        None => {
            panic!("plugin.toml: [plugin] has no version; add the package's, such as version = \"1.0.0\"")
        }
    }
}

/// Stops the build unless the capabilities in the manifest and those in `export_plugin!` are the same.
pub const fn check_capabilities(toml: &str, exported: &[&str]) {
    let mut i = 0;
    while i < exported.len() {
        if !declares(toml, exported[i]) {
            panic!(
                "a capability in export_plugin! has a NAME that plugin.toml does not declare; add a [[capability]] with \
                 that name"
            );
        }
        let mut j = 0;
        while j < i {
            if equal(exported[i], exported[j]) {
                panic!("two capabilities in export_plugin! have the same NAME");
            }
            j += 1;
        }
        i += 1;
    }
    let mut declared = 0;
    while value(toml, "[[capability]]", "name", declared).is_some() {
        declared += 1;
    }
    if declared > exported.len() {
        panic!(
            "plugin.toml declares a capability that export_plugin! does not list; list its type in `capabilities: [...]`"
        );
    }
}

const fn declares(toml: &str, name: &str) -> bool {
    let mut nth = 0;
    while let Some(found) = value(toml, "[[capability]]", "name", nth) {
        if equal(found, name) {
            return true;
        }
        nth += 1;
    }
    false
}

/// The `nth` plain string under `key` in tables with this header.
const fn value<'a>(toml: &'a str, header: &str, key: &str, nth: usize) -> Option<&'a str> {
    let mut rest = toml.as_bytes();
    let mut inside = false;
    let mut seen = 0;
    while !rest.is_empty() {
        let (line, tail) = split_at(rest, position(rest, b'\n'));
        rest = tail;
        let line = line.trim_ascii();
        if let [b'[', ..] = line {
            inside = starts_with(line, header.as_bytes());
        } else if inside && starts_with(line, key.as_bytes()) {
            let (_, after) = line.split_at(key.len());
            if let Some(text) = plain_string(after) {
                if seen == nth {
                    return Some(text);
                }
                seen += 1;
            }
        }
    }
    None
}

/// The text of ` = "text"`.
const fn plain_string(after_key: &[u8]) -> Option<&str> {
    let after_key = after_key.trim_ascii_start();
    let [b'=', rest @ ..] = after_key else { return None };
    let [quote @ (b'"' | b'\''), rest @ ..] = rest.trim_ascii_start() else {
        return None;
    };
    let (text, _) = split_at(rest, position(rest, *quote));
    match core::str::from_utf8(text) {
        Ok(text) => Some(text),
        Err(_) => None,
    }
}

const fn position(bytes: &[u8], wanted: u8) -> usize {
    let mut i = 0;
    while i < bytes.len() && bytes[i] != wanted {
        i += 1;
    }
    i
}

const fn split_at(bytes: &[u8], at: usize) -> (&[u8], &[u8]) {
    let (head, tail) = bytes.split_at(at);
    match tail {
        [_, tail @ ..] => (head, tail),
        [] => (head, tail),
    }
}

const fn starts_with(bytes: &[u8], prefix: &[u8]) -> bool {
    if bytes.len() < prefix.len() {
        return false;
    }
    let mut i = 0;
    while i < prefix.len() {
        if bytes[i] != prefix[i] {
            return false;
        }
        i += 1;
    }
    true
}

/// Whether two texts are the same.
pub const fn equal(a: &str, b: &str) -> bool {
    a.len() == b.len() && starts_with(a.as_bytes(), b.as_bytes())
}

/// Whether a text may be a plugin's id.
pub const fn is_id(id: &str) -> bool {
    let bytes = id.as_bytes();
    if bytes.is_empty() || bytes.len() > 64 || !bytes[0].is_ascii_lowercase() {
        return false;
    }
    let mut i = 0;
    while i < bytes.len() {
        if !(bytes[i].is_ascii_lowercase() || bytes[i].is_ascii_digit() || bytes[i] == b'-') {
            return false;
        }
        i += 1;
    }
    true
}

/// Whether a text is `MAJOR.MINOR.PATCH` with an optional pre-release and build part (semver.org, version 2.0.0).
pub const fn is_semver(version: &str) -> bool {
    let bytes = version.as_bytes();
    let mut numbers = 0;
    let mut digits = 0;
    let mut i = 0;
    while i < bytes.len() {
        match bytes[i] {
            b'0'..=b'9' => digits += 1,
            b'.' if digits > 0 && numbers < 2 => {
                numbers += 1;
                digits = 0;
            }
            b'-' | b'+' if digits > 0 && numbers == 2 => return i + 1 < bytes.len(),
            _ => return false,
        }
        i += 1;
    }
    numbers == 2 && digits > 0
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOML: &str = "# x\n[plugin]\nid = \"a-b\" # c\nversion='1.2.3'\n\n[[capability]]\nname = \"x.y\"\n\n[[capability]]\n\
                        streaming = true\nname = \"x.z\"\n[capability.input]\nname = \"no\"\n";

    #[test]
    fn finds_values_in_their_tables() {
        assert_eq!(id(TOML), "a-b");
        check_version(TOML, "1.2.3");
        check_capabilities(TOML, &["x.z", "x.y"]);
        assert_eq!(value(TOML, "[[capability]]", "name", 2), None);
    }

    #[test]
    fn knows_semver_and_ids() {
        for good in ["1.2.3", "0.0.0", "1.2.3-rc.1", "1.2.3+b"] {
            assert!(is_semver(good), "{good}");
        }
        for bad in ["", "1", "1.2", "1.2.", "1.2.3.4", "v1.2.3", "1.2.3-", "a.b.c"] {
            assert!(!is_semver(bad), "{bad}");
        }
        for bad in ["", "A", "1a", "a_b", "a b", "-a"] {
            assert!(!is_id(bad), "{bad}");
        }
    }

    #[test]
    #[should_panic(expected = "differs from the package's version")]
    fn refuses_another_version() {
        check_version(TOML, "1.2.4");
    }

    #[test]
    #[should_panic(expected = "does not list")]
    fn refuses_an_unlisted_capability() {
        check_capabilities(TOML, &["x.y"]);
    }
}
