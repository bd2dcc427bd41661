//! A bearer token that is never shown and is compared in constant time.

use serde::{Deserialize, Serialize, Serializer};
use std::fmt;
use subtle::ConstantTimeEq;

/// A bearer token. `Debug` and JSON show dots in its place.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// Shortest token that is taken, in bytes.
    pub const BYTES_MIN: usize = 16;
    /// Longest token that is taken, in bytes.
    pub const BYTES_MAX: usize = 4096;

    /// From its text.
    pub fn new(text: impl Into<String>) -> Self {
        Secret(text.into())
    }

    /// Whether it can stand in a header and is not too easy to guess.
    pub(super) fn is_fit(&self) -> bool {
        (Self::BYTES_MIN..=Self::BYTES_MAX).contains(&self.0.len())
            && self.0.bytes().all(|byte| byte.is_ascii_graphic())
    }

    /// Whether this is the same token. Takes as long for a near miss as for a far one.
    pub(super) fn is(&self, presented: &[u8]) -> bool {
        self.0.as_bytes().ct_eq(presented).into()
    }
}

const HIDDEN: &str = "•••";

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(HIDDEN)
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(HIDDEN)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_never_shown() {
        let secret = Secret::new("correct-horse-battery");
        assert!(!format!("{secret:?}").contains("horse"));
        assert!(!serde_json::to_string(&secret).unwrap().contains("horse"));
        assert!(secret.is(b"correct-horse-battery"));
        assert!(!secret.is(b"correct-horse-batterz") && !secret.is(b"") && !secret.is(b"correct"));
    }

    #[test]
    fn short_and_unprintable_tokens_are_unfit() {
        assert!(Secret::new("0123456789abcdef").is_fit());
        for text in ["", "0123456789abcde", "0123456789 abcdef", "0123456789abcdefü"] {
            assert!(!Secret::new(text).is_fit(), "{text}");
        }
    }
}
