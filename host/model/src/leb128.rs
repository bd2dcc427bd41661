//! Whole numbers in as few bytes as they need, for what the history keeps: LEB128, seven bits a byte, the lowest first.

/// Adds a number to bytes.
pub fn put(bytes: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
}

/// Takes a number from the beginning of bytes; `None` if they are cut or it is too long.
pub fn take(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0_u64;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn number_is_read_back_and_one_that_is_cut_or_too_long_is_refused() {
        for value in [0, 1, 127, 128, 300, u64::from(u32::MAX), u64::MAX] {
            let mut bytes = Vec::new();
            put(&mut bytes, value);
            let mut rest = &bytes[..];
            assert_eq!((take(&mut rest), rest), (Some(value), &[][..]));
            bytes.pop();
            assert_eq!(take(&mut &bytes[..]), None);
        }
        assert_eq!(take(&mut &[0x80; 11][..]), None);
    }
}
