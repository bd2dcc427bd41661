//! Texts of plugins and names of files on their way into a log, a table or JSON: whatever is in them, each stays on its line.

use serde::{Serialize, Serializer};
use std::borrow::Cow;
use std::path::{Path, PathBuf};

/// On one line and without what drives a terminal: a line end becomes `\n` in two characters, a tab a space, any other control
/// character and whatever reorders the text around it U+FFFD.
pub fn one_line(text: &str) -> Cow<'_, str> {
    one_line_keeping(text, |_| false)
}

/// As [`one_line`], with the characters left that `kept` is true for.
pub fn one_line_keeping(text: &str, kept: impl Fn(char) -> bool) -> Cow<'_, str> {
    let changes = |c: char| replacement(c).is_some() && !kept(c);
    if !text.contains(changes) {
        return Cow::Borrowed(text);
    }
    let mut line = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        match replacement(c) {
            Some(instead) if !kept(c) => line.push_str(instead),
            _ => line.push(c),
        }
    }
    Cow::Owned(line)
}

fn replacement(c: char) -> Option<&'static str> {
    match c {
        '\n' | '\u{2028}' | '\u{2029}' => Some("\\n"),
        '\t' => Some(" "),
        // Characters that reorder what stands around them would let a name show as another.
        '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => Some("\u{fffd}"),
        c if c.is_control() => Some("\u{fffd}"),
        _ => None,
    }
}

/// For a field with a path: JSON has no bytes, so what is not Unicode becomes U+FFFD instead of an error for the whole answer.
pub fn lossy_path<S: Serializer>(path: &Path, serializer: S) -> Result<S::Ok, S::Error> {
    path.to_string_lossy().serialize(serializer)
}

/// As [`lossy_path`], for several.
pub fn lossy_paths<S: Serializer>(paths: &[PathBuf], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(paths.iter().map(|path| path.to_string_lossy()))
}

/// As [`lossy_path`], for one that may be absent.
pub fn lossy_path_given<S: Serializer>(path: &Option<PathBuf>, serializer: S) -> Result<S::Ok, S::Error> {
    path.as_ref()
        .map(|path| path.to_string_lossy())
        .serialize(serializer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_stays_on_its_line_and_drives_no_terminal() {
        assert_eq!(one_line("plain gr\u{fc}n"), "plain gr\u{fc}n");
        assert_eq!(one_line("a\r\nb\u{2028}c\td"), "a\u{fffd}\\nb\\nc d");
        assert_eq!(
            one_line("\u{1b}[31mred\u{7}\u{9b}\u{85}"),
            "\u{fffd}[31mred\u{fffd}\u{fffd}\u{fffd}"
        );
        assert_eq!(one_line("exe\u{202e}fdp"), "exe\u{fffd}fdp");
        assert_eq!(one_line_keeping("a\nb\u{7}", |c| c == '\n'), "a\nb\u{fffd}");
    }

    #[cfg(unix)]
    #[test]
    fn path_that_is_not_unicode_is_written_all_the_same() {
        use std::os::unix::ffi::OsStrExt;
        #[derive(Serialize)]
        struct Told {
            #[serde(serialize_with = "lossy_path")]
            path: PathBuf,
            #[serde(serialize_with = "lossy_paths")]
            paths: Vec<PathBuf>,
        }
        let path = PathBuf::from(std::ffi::OsStr::from_bytes(b"/x/\xff.so"));
        let paths = vec![path.clone()];
        let json = serde_json::to_string(&Told { path, paths }).unwrap();
        assert_eq!(
            json,
            "{\"path\":\"/x/\u{fffd}.so\",\"paths\":[\"/x/\u{fffd}.so\"]}"
        );
    }
}
