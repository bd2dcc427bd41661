//! A text's tokens, as the model was trained to see them: lower case, without accents, split at white space, punctuation and
//! Chinese characters, each word cut into pieces.
//!
//! It reads no more of a text than its first tokens need, and keeps no more than one word.

use crate::wordpiece::{Vocabulary, WORD_CHARS_MAX};
use unicode_normalization::UnicodeNormalization;
use unicode_properties::{GeneralCategory, GeneralCategoryGroup, UnicodeGeneralCategory};

/// Tokens of a text that count, with the two around it.
pub const TOKENS_MAX: usize = 256;

/// A text's tokens, between the start and the end mark; at most [`TOKENS_MAX`].
pub fn tokens(vocabulary: &Vocabulary, text: &str) -> Vec<u32> {
    let mut found = vec![vocabulary.start];
    let mut rest = text;
    while !rest.is_empty() && found.len() < TOKENS_MAX {
        let mark = rest.match_indices('[').find_map(|(at, _)| {
            let (mark, id) = vocabulary
                .marks
                .iter()
                .find(|(mark, _)| rest[at..].starts_with(mark))?;
            Some((at, *mark, *id))
        });
        let before = mark.map_or(rest, |(at, ..)| &rest[..at]);
        plain(vocabulary, before, &mut found);
        match mark {
            Some((at, mark, id)) => {
                found.push(id);
                rest = &rest[at + mark.len()..];
            }
            None => break,
        }
    }
    found.truncate(TOKENS_MAX - 1);
    found.push(vocabulary.end);
    found
}

/// Text without marks in it.
fn plain(vocabulary: &Vocabulary, text: &str, found: &mut Vec<u32>) {
    let mut word = Word::default();
    let spaced = text.chars().filter(|c| !is_dropped(*c)).flat_map(|c| {
        let around = is_chinese(c).then_some(' ');
        let c = if is_space(c) { ' ' } else { c };
        around.into_iter().chain([c]).chain(around)
    });
    let simple = spaced
        .nfd()
        .filter(|c| c.general_category() != GeneralCategory::NonspacingMark);
    for c in simple.flat_map(char::to_lowercase) {
        if c.is_whitespace() {
            word.finish(vocabulary, found);
        } else if is_punctuation(c) {
            word.finish(vocabulary, found);
            word.push(c);
            word.finish(vocabulary, found);
        } else {
            word.push(c);
        }
        if found.len() >= TOKENS_MAX {
            return;
        }
    }
    word.finish(vocabulary, found);
}

/// The word being read; of one that is too long only the length is kept.
#[derive(Default)]
struct Word {
    text: String,
    chars: usize,
}

impl Word {
    fn push(&mut self, c: char) {
        self.chars += 1;
        if self.chars <= WORD_CHARS_MAX {
            self.text.push(c);
        }
    }

    fn finish(&mut self, vocabulary: &Vocabulary, found: &mut Vec<u32>) {
        match self.chars {
            0 => return,
            1..=WORD_CHARS_MAX => vocabulary.cut(&self.text, found),
            _ => found.push(vocabulary.unknown),
        }
        self.text.clear();
        self.chars = 0;
    }
}

fn is_space(c: char) -> bool {
    c.is_whitespace()
}

fn is_dropped(c: char) -> bool {
    use GeneralCategory::{Control, Format, PrivateUse};
    match c {
        '\t' | '\n' | '\r' => false,
        '\0' | '\u{fffd}' => true,
        _ => matches!(c.general_category(), Control | Format | PrivateUse),
    }
}

fn is_punctuation(c: char) -> bool {
    c.is_ascii_punctuation() || c.general_category_group() == GeneralCategoryGroup::Punctuation
}

/// The blocks that the model's authors took for Chinese.
fn is_chinese(c: char) -> bool {
    matches!(
        u32::from(c),
        0x4E00..=0x9FFF
            | 0x3400..=0x4DBF
            | 0x20000..=0x2A6DF
            | 0x2A700..=0x2B73F
            | 0x2B740..=0x2B81F
            | 0x2B920..=0x2CEAF
            | 0xF900..=0xFAFF
            | 0x2F800..=0x2FA1F
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wordpiece::tests::vocabulary;

    const PAD: u32 = 0;
    const UNK: u32 = 1;
    const CLS: u32 = 2;
    const SEP: u32 = 3;

    fn of(pieces: &[&str], text: &str) -> Vec<u32> {
        tokens(&vocabulary(pieces), text)
    }

    #[test]
    fn words_are_lower_case_without_accents_and_split_at_punctuation() {
        assert_eq!(
            of(&["cafe", "!", "'", "s"], "  Café's!\n"),
            [CLS, 5, 7, 8, 6, SEP]
        );
        assert_eq!(of(&["中", "a"], "中a"), [CLS, 5, 6, SEP]);
    }

    #[test]
    fn what_can_not_be_seen_is_dropped() {
        assert_eq!(of(&["ab"], "a\u{200b}\0\u{fffd}b"), [CLS, 5, SEP]);
        assert_eq!(of(&[], " \t\u{200b}"), [CLS, SEP]);
    }

    #[test]
    fn marks_in_a_text_count_as_themselves() {
        assert_eq!(of(&["a", "b"], "a[PAD]b [SEP]"), [CLS, 5, PAD, 6, SEP, SEP]);
    }

    #[test]
    fn long_words_are_unknown_and_long_texts_are_cut() {
        assert_eq!(of(&["a", "##a"], &"a".repeat(100)).len(), 102);
        assert_eq!(of(&["a", "##a"], &"a".repeat(101)), [CLS, UNK, SEP]);
        let long = of(&["a"], &"a ".repeat(100_000));
        assert_eq!((long.len(), long.last()), (TOKENS_MAX, Some(&SEP)));
        assert_eq!(of(&[], &"[PAD]".repeat(1000)).len(), TOKENS_MAX);
    }
}
