//! The vocabulary, and how a word is cut into its pieces.

use std::collections::HashMap;

/// Words of more characters are unknown as a whole.
pub const WORD_CHARS_MAX: usize = 100;
/// How many pieces the model knows.
pub const PIECES: usize = 30_522;
const FURTHER: &str = "##";

/// The pieces that words are made of, and the five marks that are not text.
pub struct Vocabulary {
    first: HashMap<String, u32>,
    further: HashMap<String, u32>,
    /// Fills a batch's shorter texts.
    pub padding: u32,
    /// A word that has no pieces.
    pub unknown: u32,
    /// Before each text.
    pub start: u32,
    /// After each text.
    pub end: u32,
    /// The marks as they are written, which count as themselves inside a text too.
    pub marks: [(&'static str, u32); 5],
}

/// Why a file is not the vocabulary.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VocabularyError {
    /// Another number of lines.
    #[error("it has {0} lines, not {PIECES}, so it is the vocabulary of another model")]
    Size(usize),
    /// A mark is missing.
    #[error("it has no line {0:?}, so it is the vocabulary of another model")]
    NoMark(&'static str),
}

impl Vocabulary {
    /// From a file with one piece on each line.
    ///
    /// # Errors
    /// It is not this model's.
    pub fn read(text: &str) -> Result<Self, VocabularyError> {
        let count = text.lines().count();
        if count != PIECES {
            return Err(VocabularyError::Size(count));
        }
        let (mut first, mut further) = (HashMap::new(), HashMap::new());
        for (id, piece) in (0..).zip(text.lines()) {
            match piece.strip_prefix(FURTHER) {
                Some(rest) if !rest.is_empty() => further.insert(rest.to_owned(), id),
                _ => first.insert(piece.to_owned(), id),
            };
        }
        let mark = |name| first.get(name).copied().ok_or(VocabularyError::NoMark(name));
        let marks = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"];
        let [padding, unknown, start, end, mask] = [
            mark(marks[0])?,
            mark(marks[1])?,
            mark(marks[2])?,
            mark(marks[3])?,
            mark(marks[4])?,
        ];
        let ids = [padding, unknown, start, end, mask];
        let marks = std::array::from_fn(|at| (marks[at], ids[at]));
        Ok(Vocabulary {
            first,
            further,
            padding,
            unknown,
            start,
            end,
            marks,
        })
    }

    /// Appends a word's pieces: always the longest that fits; the unknown mark if something is left that no piece begins.
    pub fn cut(&self, word: &str, pieces: &mut Vec<u32>) {
        let before = pieces.len();
        let mut rest = word;
        while !rest.is_empty() {
            let known = if rest.len() == word.len() {
                &self.first
            } else {
                &self.further
            };
            let ends = rest.char_indices().rev().map(|(at, c)| at + c.len_utf8());
            match ends
                .into_iter()
                .find_map(|end| Some((known.get(&rest[..end])?, end)))
            {
                Some((id, end)) => {
                    pieces.push(*id);
                    rest = &rest[end..];
                }
                None => {
                    pieces.truncate(before);
                    pieces.push(self.unknown);
                    return;
                }
            }
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A vocabulary of the right size with these pieces from number 5 on.
    pub(crate) fn vocabulary(pieces: &[&str]) -> Vocabulary {
        let marks = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"].map(str::to_owned);
        let given = pieces.iter().map(|p| (*p).to_owned());
        let lines: Vec<String> = marks
            .into_iter()
            .chain(given)
            .chain((0..).map(|n| format!("[unused{n}]")))
            .take(PIECES)
            .collect();
        Vocabulary::read(&lines.join("\n")).unwrap()
    }

    fn cut(vocabulary: &Vocabulary, word: &str) -> Vec<u32> {
        let mut pieces = vec![9];
        vocabulary.cut(word, &mut pieces);
        pieces.split_off(1)
    }

    #[test]
    fn the_longest_piece_is_taken_first() {
        let vocabulary = vocabulary(&["un", "una", "##ff", "##able", "##a", "ü"]);
        assert_eq!(cut(&vocabulary, "unaffable"), [6, 7, 8]);
        assert_eq!(cut(&vocabulary, "ü"), [10]);
    }

    #[test]
    fn a_word_with_a_rest_is_unknown_as_a_whole() {
        let vocabulary = vocabulary(&["un", "##ff", "able"]);
        assert_eq!(cut(&vocabulary, "unffx"), [vocabulary.unknown]);
        assert_eq!(
            cut(&vocabulary, "unable"),
            [vocabulary.unknown],
            "a first piece is not a further one"
        );
        assert_eq!(
            cut(&vocabulary, "ff"),
            [vocabulary.unknown],
            "nor the other way round"
        );
    }

    #[test]
    fn other_files_are_refused() {
        assert_eq!(Vocabulary::read("a\nb").err(), Some(VocabularyError::Size(2)));
        let lines = "x\n".repeat(PIECES);
        assert_eq!(
            Vocabulary::read(&lines).err(),
            Some(VocabularyError::NoMark("[PAD]"))
        );
    }
}
