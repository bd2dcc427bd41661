//! Checks of a `plugin.toml` while the plugin is compiled, in constants: no TOML parser comes into the plugin.
//!
//! A line scanner, not a parser: it sees `[table]` headers and `key = "plain string"` lines, with or without quotes around the key.
//! What it can't see is checked by `extman inspect` and by the host, which do parse.

/// The id in `[plugin]`.
pub const fn id(toml: &str) -> &str {
    match nth_value(toml, "[plugin]", "id", 0) {
        Some(id) if is_id(id) => id,
        Some(id) => fail_build(&[
            "plugin.toml: [plugin] id \"",
            id,
            "\" must be 1 to 64 lowercase letters, digits and '-', starting with a letter, such as id = \"lang-detect\"",
        ]),
        None => fail_build(&["plugin.toml: [plugin] has no id; add a line such as id = \"lang-detect\""]),
    }
}

/// Fails the build unless `[plugin] version` is semver and equals the package's version.
pub const fn check_version(toml: &str, package_version: &str) {
    match nth_value(toml, "[plugin]", "version", 0) {
        Some(version) if !is_semver(version) => fail_build(&[
            "plugin.toml: [plugin] version \"",
            version,
            "\" is not a semantic version; write the package's, version = \"",
            package_version,
            "\"",
        ]),
        Some(version) if !equal(version, package_version) => fail_build(&[
            "plugin.toml: [plugin] version is \"",
            version,
            "\" but Cargo.toml has \"",
            package_version,
            "\"; make them the same",
        ]),
        Some(_) => {}
        None => fail_build(&[
            "plugin.toml: [plugin] has no version; add the package's, version = \"",
            package_version,
            "\"",
        ]),
    }
}

/// Fails the build if a plugin of kind `"ai"` names no task.
pub const fn check_task(toml: &str) {
    let is_ai = match nth_value(toml, "[plugin]", "kind", 0) {
        Some(kind) => equal(kind, "ai"),
        None => false,
    };
    if is_ai && nth_value(toml, "[plugin]", "task", 0).is_none() {
        fail_build(&[
            "plugin.toml: [plugin] kind is \"ai\" but there is no task; add what sort of work it does, such as \
             task = \"classification\", or make it kind = \"general\"",
        ]);
    }
}

/// Fails the build unless the capabilities in the manifest and those in `export_plugin!` are the same.
pub const fn check_capabilities(toml: &str, exported: &[&str]) {
    let mut i = 0;
    while i < exported.len() {
        if !declares(toml, exported[i]) {
            fail_build(&[
                "export_plugin! lists the capability \"",
                exported[i],
                "\" but plugin.toml does not declare it; add a [[capability]] with name = \"",
                exported[i],
                "\"",
            ]);
        }
        if index_of(exported, exported[i]) < i {
            fail_build(&[
                "export_plugin! lists two capabilities with the NAME \"",
                exported[i],
                "\"; each name may be there once",
            ]);
        }
        i += 1;
    }
    let mut nth = 0;
    while let Some(declared) = nth_value(toml, "[[capability]]", "name", nth) {
        if index_of(exported, declared) == exported.len() {
            fail_build(&[
                "plugin.toml declares the capability \"",
                declared,
                "\" but export_plugin! does not list it; list its type in `capabilities: [...]`, or remove it from plugin.toml",
            ]);
        }
        nth += 1;
    }
}

/// Fails the build unless the capabilities that the manifest marks `async = true` are the asynchronous ones of `export_plugin!`.
pub const fn check_async(toml: &str, exported: &[&str]) {
    let mut i = 0;
    while i < exported.len() {
        if !is_async(toml, exported[i]) {
            fail_build(&[
                "export_plugin! lists the capability \"",
                exported[i],
                "\" under `asynchronous` but plugin.toml does not mark it; add async = true to its [[capability]]",
            ]);
        }
        i += 1;
    }
    let mut nth = 0;
    while let Some(declared) = nth_value(toml, "[[capability]]", "name", nth) {
        if is_async(toml, declared) && index_of(exported, declared) == exported.len() {
            fail_build(&[
                "plugin.toml marks the capability \"",
                declared,
                "\" with async = true but export_plugin! does not list it under `asynchronous`",
            ]);
        }
        nth += 1;
    }
}

/// Whether the capability of this name has `async = true`.
const fn is_async(toml: &str, name: &str) -> bool {
    let mut rest = toml.as_bytes();
    let (mut inside, mut named, mut marked) = (false, false, false);
    while !rest.is_empty() {
        let (line, tail) = split_at(rest, position(rest, b'\n'));
        rest = tail;
        let line = line.trim_ascii();
        if let [b'[', ..] = line {
            inside = starts_with(line, b"[[capability]]");
            (named, marked) = (false, false);
        } else if inside && let Some(text) = value_of(line, "name") {
            named = equal(text, name);
        } else if inside && is_key(line, "async") {
            let (_, after) = split_at(line, position(line, b'='));
            marked = starts_with(after.trim_ascii_start(), b"true");
        }
        if named && marked {
            return true;
        }
    }
    false
}

/// Fails the build unless each `[[requires]]` and `[[conflicts]]` names one plugin or one capability, and no table names the plugin
/// itself.
pub const fn check_relations(toml: &str) {
    let own = id(toml);
    check_table(toml, "[[requires]]", own);
    check_table(toml, "[[conflicts]]", own);
}

const fn check_table(toml: &str, header: &str, own: &str) {
    let mut rest = toml.as_bytes();
    let (mut inside, mut named) = (false, 0);
    while !rest.is_empty() {
        let (line, tail) = split_at(rest, position(rest, b'\n'));
        rest = tail;
        let line = line.trim_ascii();
        if let [b'[', ..] = line {
            check_names(header, inside, named);
            inside = starts_with(line, header.as_bytes());
            named = 0;
        } else if inside && (is_key(line, "plugin") || is_key(line, "capability")) {
            named += 1;
            if let Some(text) = value_of(line, "plugin") {
                check_plugin(header, text, own);
            }
        } else if inside
            && let Some(text) = value_of(line, "version")
            && !is_requirement(text)
        {
            fail_build(&[
                "plugin.toml: ",
                header,
                " version \"",
                text,
                "\" is no requirement of versions; write one such as \"^1.2\" or \">=1.2, <3\"",
            ]);
        }
    }
    check_names(header, inside, named);
}

const fn check_names(header: &str, inside: bool, named: usize) {
    if inside && named != 1 {
        fail_build(&[
            "plugin.toml: each ",
            header,
            " names either a plugin or a capability; give it one line, plugin = \"ID\" or capability = \"NAME\"",
        ]);
    }
}

const fn check_plugin(header: &str, named: &str, own: &str) {
    if !is_id(named) {
        fail_build(&[
            "plugin.toml: ",
            header,
            " plugin \"",
            named,
            "\" is no plugin's id: 1 to 64 lowercase letters, digits and '-', starting with a letter",
        ]);
    }
    if equal(named, own) {
        fail_build(&[
            "plugin.toml: ",
            header,
            " names the plugin itself, \"",
            own,
            "\"; remove it, or name another plugin",
        ]);
    }
}

/// Whether a line is ` key = …`, with or without quotes around the key.
const fn is_key(line: &[u8], key: &str) -> bool {
    let (quote, line) = match line {
        [quote @ (b'"' | b'\''), line @ ..] => (Some(*quote), line),
        _ => (None, line),
    };
    if !starts_with(line, key.as_bytes()) {
        return false;
    }
    let (_, mut after) = line.split_at(key.len());
    if let Some(quote) = quote {
        match after {
            [end, rest @ ..] if *end == quote => after = rest,
            _ => return false,
        }
    }
    matches!(after.trim_ascii_start(), [b'=', ..])
}

/// The text of a line ` key = "text"`.
const fn value_of<'a>(line: &'a [u8], key: &str) -> Option<&'a str> {
    if !is_key(line, key) {
        return None;
    }
    let (_, after) = split_at(line, position(line, b'='));
    let [quote @ (b'"' | b'\''), rest @ ..] = after.trim_ascii_start() else {
        return None;
    };
    let (text, _) = split_at(rest, position(rest, *quote));
    match core::str::from_utf8(text) {
        Ok(text) => Some(text),
        Err(_) => None,
    }
}

/// Whether a text can be a requirement of versions: comparators of up to three numbers, joined by commas. What it says of pre-releases
/// is left to the parser.
pub const fn is_requirement(text: &str) -> bool {
    let mut rest = text.as_bytes();
    if equal(text, "*") {
        return true;
    }
    loop {
        let comma = position(rest, b',');
        let (comparator, tail) = rest.split_at(comma);
        if !is_comparator(comparator.trim_ascii()) {
            return false;
        }
        match tail {
            [_, tail @ ..] => rest = tail,
            [] => return true,
        }
    }
}

const fn is_comparator(text: &[u8]) -> bool {
    let mut rest = match text {
        [b'>' | b'<', b'=', rest @ ..] | [b'=' | b'>' | b'<' | b'~' | b'^', rest @ ..] => {
            rest.trim_ascii_start()
        }
        rest => rest,
    };
    let mut numbers = 0;
    loop {
        rest = match rest {
            [b'*' | b'x' | b'X', rest @ ..] if numbers > 0 => rest,
            [b'0'..=b'9', tail @ ..] => {
                let mut tail = tail;
                while let [b'0'..=b'9', more @ ..] = tail {
                    tail = more;
                }
                tail
            }
            _ => return false,
        };
        numbers += 1;
        rest = match rest {
            [] => return true,
            [b'-' | b'+', _, ..] => return numbers == 3,
            [b'.', rest @ ..] if numbers < 3 => rest,
            _ => return false,
        };
    }
}

/// The index of `wanted` in `names`; their number if it is not there.
const fn index_of(names: &[&str], wanted: &str) -> usize {
    let mut i = 0;
    while i < names.len() && !equal(names[i], wanted) {
        i += 1;
    }
    i
}

/// Fails the build with these texts in a row. A panic in a constant can format one text and nothing else.
const fn fail_build(parts: &[&str]) -> ! {
    let mut text = [0; 512];
    let mut len = 0;
    let mut i = 0;
    while i < parts.len() {
        let part = parts[i].as_bytes();
        let mut j = 0;
        while j < part.len() && len < text.len() {
            text[len] = part[j];
            len += 1;
            j += 1;
        }
        i += 1;
    }
    let (text, _) = text.split_at(len);
    match core::str::from_utf8(text) {
        Ok(text) => panic!("{}", text),
        // A long text was cut inside a character.
        Err(_) => panic!("plugin.toml and export_plugin! do not agree on id, version or capabilities"),
    }
}

/// Whether the manifest has a capability of this name.
const fn declares(toml: &str, name: &str) -> bool {
    let mut nth = 0;
    while let Some(found) = nth_value(toml, "[[capability]]", "name", nth) {
        if equal(found, name) {
            return true;
        }
        nth += 1;
    }
    false
}

/// The `nth` value under `key` in tables with this header, from 0; those that are plain strings count.
const fn nth_value<'a>(toml: &'a str, header: &str, key: &str, nth: usize) -> Option<&'a str> {
    let mut rest = toml.as_bytes();
    let mut inside = false;
    let mut seen = 0;
    while !rest.is_empty() {
        let (line, tail) = split_at(rest, position(rest, b'\n'));
        rest = tail;
        let line = line.trim_ascii();
        if let [b'[', ..] = line {
            inside = starts_with(line, header.as_bytes());
        } else if inside && let Some(text) = value_of(line, key) {
            if seen == nth {
                return Some(text);
            }
            seen += 1;
        }
    }
    None
}

/// Where the first such byte is; the length if there is none.
const fn position(bytes: &[u8], wanted: u8) -> usize {
    let mut i = 0;
    while i < bytes.len() && bytes[i] != wanted {
        i += 1;
    }
    i
}

/// What comes before this position, and what comes after the byte that is there.
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
        assert_eq!(nth_value(TOML, "[[capability]]", "name", 2), None);
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
    #[should_panic(expected = "is \"1.2.3\" but Cargo.toml has \"1.2.4\"")]
    fn refuses_another_version() {
        check_version(TOML, "1.2.4");
    }

    #[test]
    fn only_ai_plugins_need_a_task() {
        check_task(TOML);
        check_task("[plugin]\nkind = \"general\"\n");
        check_task("[plugin]\nkind = \"ai\"\ntask = 'x'\n");
        check_task("[plugin]\n\"task\" = \"x\"\nkind = \"ai\"\n");
        check_task("[plugin]\n'task' = \"x\"\n\"kind\" = \"ai\"\n");
    }

    #[test]
    #[should_panic(expected = "kind is \"ai\" but there is no task")]
    fn refuses_an_ai_plugin_without_a_task() {
        check_task("[plugin]\nkind = \"ai\"\n[[capability]]\ntask = \"x\"\n");
    }

    #[test]
    fn asynchronous_capabilities_are_the_marked_ones() {
        let marked = TOML.replace("name = \"x.y\"", "async = true\nname = \"x.y\"");
        check_async(TOML, &[]);
        check_async(&marked, &["x.y"]);
        check_async(&TOML.replace("\"x.y\"", "\"x.y\"\nasync=true # c"), &["x.y"]);
        assert!(!is_async(&marked, "x.z"));
        assert!(!is_async(
            &TOML.replace("\"x.y\"", "\"x.y\"\nasync = false"),
            "x.y"
        ));
    }

    #[test]
    #[should_panic(expected = "\"x.z\" under `asynchronous` but plugin.toml does not mark it")]
    fn an_unmarked_asynchronous_capability_is_refused() {
        check_async(TOML, &["x.z"]);
    }

    #[test]
    #[should_panic(expected = "\"x.y\" with async = true but export_plugin! does not list it")]
    fn a_marked_capability_that_is_not_asynchronous_is_refused() {
        check_async(&TOML.replace("\"x.y\"", "\"x.y\"\nasync = true"), &[]);
    }

    #[test]
    fn relations_that_name_one_other_plugin_are_taken() {
        check_relations(TOML);
        check_relations(
            "[plugin]\nid = \"a\"\n[[requires]] # c\nplugin = 'b'\nversion = \"^1.2\"\n[[requires]]\n\"capability\"=\"x.y\"\n\
             [[conflicts]]\nversion = \">=1, <2.0.0-rc.1\"\nplugin = \"c\"\n[config]\nplugin = \"a\"\n",
        );
    }

    #[test]
    #[should_panic(expected = "each [[requires]] names either a plugin or a capability")]
    fn a_requirement_of_two_is_refused() {
        check_relations("[plugin]\nid = \"a\"\n[[requires]]\nplugin = \"b\"\ncapability = \"x.y\"\n");
    }

    #[test]
    #[should_panic(expected = "each [[conflicts]] names either a plugin or a capability")]
    fn a_conflict_with_nobody_is_refused() {
        check_relations("[plugin]\nid = \"a\"\n[[conflicts]]\nversion = \"1\"\n[config]\n");
    }

    #[test]
    #[should_panic(expected = "[[requires]] names the plugin itself, \"a\"")]
    fn a_plugin_that_requires_itself_is_refused() {
        check_relations("[plugin]\nid = \"a\"\n[[requires]]\nplugin = \"a\"\n");
    }

    #[test]
    #[should_panic(expected = "version \"one\" is no requirement of versions")]
    fn a_version_that_is_none_is_refused() {
        check_relations("[plugin]\nid = \"a\"\n[[requires]]\nplugin = \"b\"\nversion = \"one\"\n");
    }

    #[test]
    fn knows_requirements_of_versions() {
        for good in [
            "*",
            "1",
            "^1.2",
            "~1.2.3",
            ">=1, <2",
            "=1.2.3-rc.1",
            "> 1.2",
            "1.*",
            "1.2.x",
            "1.2.3+b",
        ] {
            assert!(is_requirement(good), "{good}");
        }
        for bad in [
            "", "one", "1.2.3.4", "^", "1.", "1,", "x", "1.2-rc", ">>1", "1 2", "v1",
        ] {
            assert!(!is_requirement(bad), "{bad}");
        }
        #[cfg(feature = "manifest")]
        for text in [
            "*",
            "1",
            "^1.2",
            ">=1, <2",
            "=1.2.3-rc.1",
            "1.*",
            "",
            "one",
            "1.2.3.4",
            "^",
            "1.",
            "1,",
            ">>1",
            "v1",
        ] {
            let parsed = text.parse::<semver::VersionReq>().is_ok();
            assert_eq!(is_requirement(text), parsed, "{text}");
        }
    }

    #[test]
    #[should_panic(expected = "\"x.z\" but export_plugin! does not list it")]
    fn refuses_an_unlisted_capability() {
        check_capabilities(TOML, &["x.y"]);
    }
}
