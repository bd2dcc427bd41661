//! A part of the host itself: how it is, and why.

use super::{Figure, Health};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;

/// A part of the host itself, as it was when somebody looked last.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Component {
    /// Which; a stable word.
    pub name: Cow<'static, str>,
    /// How it is.
    pub health: Health,
    /// Why, for people.
    pub reason: String,
    /// It counts in no sum: it is switched off, or can't be looked at here.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub left_out: bool,
    /// Since when it has had this word, in milliseconds since the Unix epoch.
    pub since_unix_ms: u64,
    /// What was measured.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub figures: Vec<Figure>,
}
