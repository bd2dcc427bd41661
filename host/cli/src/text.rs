//! Text for people: wrapped, on its lines, and free of what would drive their terminal.

use extman_model::text::{one_line, one_line_keeping};
use std::collections::BTreeMap;
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// One line without control characters: texts come from plugins, files and hosts.
pub(super) fn plain(text: &str) -> String {
    one_line(text).into_owned()
}

/// Without control characters but line ends: for what may have several lines and stands alone.
pub(super) fn plain_lines(text: &str) -> String {
    one_line_keeping(text, |c| c == '\n').into_owned()
}

/// How many columns of a terminal a line takes: wide characters, as those of Chinese, take two.
pub(super) fn width(line: &str) -> usize {
    line.width()
}

/// The beginning of a line that takes no more columns than that, with an ellipsis where something is cut off.
pub(super) fn cut(line: &str, columns: usize) -> String {
    if width(line) <= columns {
        return line.to_owned();
    }
    let mut cut = String::new();
    for c in line.chars() {
        if width(&cut) + c.width().unwrap_or(0) + 1 > columns {
            break;
        }
        cut.push(c);
    }
    format!("{}…", cut.trim_end())
}

/// Lines of at most `width` columns, each after `indent` spaces. A word that is longer than that keeps its line, and a unit
/// stays with its number.
pub(super) fn wrap(text: &str, width: usize, indent: usize) -> String {
    wrap_lines(&plain(text), width, indent)
}

/// As [`wrap`], for a text whose own line ends stay.
pub(super) fn wrap_lines(text: &str, width: usize, indent: usize) -> String {
    let margin = " ".repeat(indent);
    let room = width.saturating_sub(indent).max(20);
    let mut lines = Vec::new();
    for paragraph in plain_lines(text).lines() {
        let mut line = String::new();
        for word in words(paragraph) {
            if !line.is_empty() && line.width() + 1 + word.width() > room {
                lines.push(format!("{margin}{line}"));
                line.clear();
            }
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(&word);
        }
        lines.push(format!("{margin}{line}").trim_end().to_owned());
    }
    lines.join("\n")
}

/// Wrapped; the lines after the first stand two further in.
pub(super) fn wrap_hanging(text: &str, width: usize) -> String {
    let depth = text.len() - text.trim_start().len();
    let wrapped = wrap(text, width, depth + 2);
    match wrapped.strip_prefix(&" ".repeat(depth + 2)) {
        Some(rest) => format!("{}{rest}", " ".repeat(depth)),
        None => wrapped,
    }
}

const UNITS: [&str; 12] = [
    "%", "ns", "µs", "ms", "s", "min", "h", "d", "B", "KiB", "MiB", "GiB",
];

/// Words, where a number and its unit are one.
fn words(paragraph: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    for word in paragraph.split_whitespace() {
        let is_unit = UNITS.contains(&word.trim_end_matches([',', ';', ':', '.', ')']));
        match words.last_mut() {
            Some(number) if is_unit && number.ends_with(|c: char| c.is_ascii_digit()) => {
                number.push(' ');
                number.push_str(word);
            }
            _ => words.push(word.to_owned()),
        }
    }
    words
}

/// `1 file`, `2 files`.
pub(super) fn count(number: usize, noun: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {noun}{plural}")
}

/// Fields of a manifest that mean nothing to this host, by their dotted paths.
pub(super) fn unknown_fields<V>(fields: &BTreeMap<String, V>) -> Option<String> {
    let names: Vec<&str> = fields.keys().map(String::as_str).collect();
    let fields = match names.len() {
        0 => return None,
        1 => "a field",
        _ => "fields",
    };
    Some(format!(
        "this host does not know {fields} of its manifest: {}",
        names.join(", ")
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_drives_a_terminal_is_taken_out() {
        let text = "a\u{1b}[31mred\u{7}\r\nb\u{9b}";
        assert_eq!(plain(text), "a\u{fffd}[31mred\u{fffd}\u{fffd}\\nb\u{fffd}");
        assert_eq!(plain_lines(text), "a\u{fffd}[31mred\u{fffd}\u{fffd}\nb\u{fffd}");
        assert_eq!(plain("exe\u{202e}fdp"), "exe\u{fffd}fdp");
    }

    #[test]
    fn wide_characters_take_two_columns() {
        assert_eq!((width("语言"), width("lang")), (4, 4));
        assert_eq!(cut("语言检测", 5), "语言…");
        assert_eq!((&*cut("语言", 4), &*cut("language", 5)), ("语言", "lang…"));
        let wrapped = wrap("模型文件 不存在于 磁盘上 请检查 路径设置", 20, 0);
        assert!(wrapped.lines().all(|line| width(line) <= 20), "{wrapped}");
        assert_eq!(wrapped.lines().count(), 3, "{wrapped}");
    }

    #[test]
    fn lines_stay_within_the_width() {
        let text = "the library is cut off: its sections end at byte 9000, the file has 4096; copy or build it again";
        let wrapped = wrap(text, 40, 4);
        assert!(
            wrapped
                .lines()
                .all(|line| line.chars().count() <= 40 && line.starts_with("    "))
        );
        let words: Vec<&str> = wrapped.split_whitespace().collect();
        assert_eq!(words.join(" "), text);
        assert_eq!(wrap_lines("a\n\nb", 40, 2), "  a\n\n  b");
        assert_eq!(wrap("a\n\nb", 40, 2), "  a\\n\\nb");
        assert_eq!(
            wrap("longest 1.6 s, between 3.0 s", 20, 0),
            "longest 1.6 s,\nbetween 3.0 s"
        );
        assert_eq!(
            wrap("it took just about 12 s, as told", 22, 0),
            "it took just about\n12 s, as told"
        );
    }
}
