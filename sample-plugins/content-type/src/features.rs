//! What the network sees of a file: the beginning and the end, each stripped of white space and filled up to its size.

/// How the network was trained to see files: a part of its configuration.
#[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize)]
pub struct Window {
    /// Tokens from the beginning.
    pub beg_size: usize,
    /// Tokens from the middle: none in this generation of networks.
    pub mid_size: usize,
    /// Tokens from the end.
    pub end_size: usize,
    /// Bytes that are looked at on each side.
    pub block_size: usize,
    /// Fewer bytes than this are not shown to the network.
    pub min_file_size_for_dl: usize,
    /// Stands for "no byte".
    pub padding_token: u16,
    /// Whether there are tokens from fixed places: not in this generation of networks.
    pub use_inputs_at_offsets: bool,
}

/// The tokens of a file; `None` if it has too few bytes that are not white space.
pub fn tokens(window: &Window, file: &[u8]) -> Option<Vec<u16>> {
    let Window {
        beg_size,
        end_size,
        block_size,
        min_file_size_for_dl,
        padding_token,
        ..
    } = *window;
    let block = block_size.min(file.len());
    let beginning = file[..block]
        .iter()
        .copied()
        .skip_while(|b| is_space(*b))
        .take(beg_size);
    let ending = file[file.len() - block..]
        .iter()
        .rev()
        .copied()
        .skip_while(|b| is_space(*b))
        .take(end_size);

    let mut tokens = vec![padding_token; beg_size + end_size];
    let mut seen = 0;
    for (token, byte) in tokens.iter_mut().zip(beginning) {
        *token = byte.into();
        seen += 1;
    }
    for (token, byte) in tokens.iter_mut().rev().zip(ending) {
        *token = byte.into();
    }
    (seen >= min_file_size_for_dl).then_some(tokens)
}

/// White space as Python's `bytes.strip` has it, which the network was trained with.
fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c)
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: Window = Window {
        beg_size: 4,
        mid_size: 0,
        end_size: 4,
        block_size: 6,
        min_file_size_for_dl: 2,
        padding_token: 256,
        use_inputs_at_offsets: false,
    };

    #[test]
    fn short_files_are_filled_towards_the_middle() {
        let expected = [
            u16::from(b'a'),
            u16::from(b'b'),
            256,
            256,
            256,
            256,
            u16::from(b'a'),
            u16::from(b'b'),
        ];
        assert_eq!(tokens(&WINDOW, b" \x0bab\r\n").unwrap()[..2], expected[..2]);
        assert_eq!(tokens(&WINDOW, b"ab").unwrap(), expected);
    }

    #[test]
    fn long_files_show_both_ends_and_only_blocks_are_stripped() {
        let seen = tokens(&WINDOW, b"123456789").unwrap();
        assert_eq!(seen, b"12346789".map(u16::from));
        // The block of six has one byte that is not white space; what lies behind it is not looked at.
        assert_eq!(tokens(&WINDOW, b"     x123456"), None);
        assert_eq!(tokens(&WINDOW, b"      abcdef"), None);
    }
}
