//! Tables of texts: a row a line, or a paragraph where the table would be wider than the screen.

use super::bars::state;
use super::screen::Look;
use super::text::{plain, width, wrap};

/// Between two columns; one space stands before the first.
pub(super) const GAP: usize = 2;
/// What the last column needs at least to be wrapped.
const LAST_MIN: usize = 20;

/// A table with this header. A cell may have several lines; the last column is wrapped where there is no room for it.
pub(super) fn grid<const N: usize>(header: &[&str; N], rows: &[[String; N]], look: &Look) -> String {
    let widest = |column: usize| {
        let texts = rows.iter().flat_map(|row| row[column].lines());
        let texts = texts.map(|text| width(&plain(text)));
        texts.max().unwrap_or(0).max(header[column].len())
    };
    let mut widths: [usize; N] = std::array::from_fn(widest);
    let before: usize = 1 + widths[..N - 1].iter().map(|width| width + GAP).sum::<usize>();
    let room = look.width.saturating_sub(before);
    if widths[N - 1] > room {
        if room < LAST_MIN {
            let rows: Vec<String> = rows.iter().map(|row| paragraph(header, row, look)).collect();
            return rows.join("\n");
        }
        widths[N - 1] = room;
    }
    let mut lines = vec![line(
        header.iter().map(|text| ((*text).to_owned(), (*text).to_owned())),
        &widths,
    )];
    for row in rows {
        let cells: Vec<Vec<String>> = row
            .iter()
            .zip(widths)
            .map(|(text, width)| cell(text, width))
            .collect();
        let height = cells.iter().map(Vec::len).max().unwrap_or(0);
        lines.extend((0..height).map(|at| {
            let texts = cells.iter().zip(header).map(|(cell, header)| {
                let text = cell.get(at).cloned().unwrap_or_default();
                let shown = match *header {
                    "STATE" | "HEALTH" => state(&text, look.colour),
                    _ => text.clone(),
                };
                (text, shown)
            });
            line(texts, &widths)
        }));
    }
    lines.join("\n")
}

fn cell(text: &str, columns: usize) -> Vec<String> {
    let lines = text
        .lines()
        .map(plain)
        .flat_map(|line| match width(&line) > columns {
            true => wrap(&line, columns, 0).lines().map(str::to_owned).collect(),
            false => vec![line],
        });
    lines.collect()
}

/// Texts under each other in columns of these widths, each with how it is shown: colours take no room.
pub(super) fn line(cells: impl Iterator<Item = (String, String)>, widths: &[usize]) -> String {
    let mut line = String::from(" ");
    for ((text, shown), columns) in cells.zip(widths) {
        let pad = columns.saturating_sub(width(&text)) + GAP;
        line.push_str(&format!("{shown}{}", " ".repeat(pad)));
    }
    line.trim_end().to_owned()
}

/// A row that begins with a name: what is in its cells stands below it.
fn paragraph<const N: usize>(header: &[&str; N], row: &[String; N], look: &Look) -> String {
    let said = header
        .iter()
        .zip(row)
        .skip(1)
        .filter(|(_, text)| !text.is_empty() && *text != "-");
    let said = said.map(|(header, text)| {
        let text: Vec<_> = text.lines().collect();
        format!("{} {}", header.to_lowercase(), text.join(" and "))
    });
    let said = said.collect::<Vec<_>>().join(", ");
    format!(" {}\n{}", plain(&row[0]), wrap(&said, look.width, 3))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(width: usize) -> Look {
        Look {
            width,
            colour: false,
            now_unix_ms: 0,
        }
    }

    fn row(texts: [&str; 3]) -> [String; 3] {
        texts.map(str::to_owned)
    }

    #[test]
    fn rows_stand_in_columns_and_the_last_one_is_wrapped() {
        let rows = [
            row([
                "语言",
                "running",
                "why it is so, in more words than there is room",
            ]),
            row(["lang\u{1b}[2J", "up", "a\nb"]),
        ];
        let expected = [
            " NAME      STATE    WHY",
            " 语言      running  why it is so, in more",
            "                    words than there is",
            "                    room",
            " lang\u{fffd}[2J  up       a",
            "                    b",
        ]
        .join("\n");
        assert_eq!(grid(&["NAME", "STATE", "WHY"], &rows, &look(43)), expected);
    }

    #[test]
    fn table_that_is_too_wide_becomes_paragraphs_without_what_is_not_there() {
        let name = "n".repeat(50);
        let rows = [row([&name, "-", "2"])];
        let text = grid(&["NAME", "LONGEST", "CALLS"], &rows, &look(40));
        assert_eq!(text, format!(" {name}\n   calls 2"));
    }

    #[test]
    fn states_alone_have_colours() {
        let colour = Look {
            colour: true,
            ..look(80)
        };
        let text = grid(
            &["NAME", "HEALTH", "X"],
            &[row(["up", "up, busy", "up"])],
            &colour,
        );
        let shown = text.lines().last().unwrap();
        assert_eq!(shown, " up    \u{1b}[32mup, busy\u{1b}[0m  up");
    }
}
