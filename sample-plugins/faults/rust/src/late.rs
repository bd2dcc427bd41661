//! What became of things that were done too late, kept for `fault.last`.

use crate::catalogue::Hazard;
use extman_plugin_api::prelude::*;
use serde::Serialize;
use std::sync::{Mutex, PoisonError};

/// How the host answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Late {
    pub hazard: &'static str,
    pub accepted: bool,
    /// The error's kind, when refused.
    pub refusal: Option<String>,
}

static LAST: Mutex<Option<Late>> = Mutex::new(None);

/// The last one in this library.
pub fn last() -> Option<Late> {
    LAST.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

/// Keeps an answer.
pub fn record(hazard: Hazard, answer: &Result<()>) {
    *LAST.lock().unwrap_or_else(PoisonError::into_inner) = Some(Late {
        hazard: hazard.name(),
        accepted: answer.is_ok(),
        refusal: answer
            .as_ref()
            .err()
            .map(|error| format!("{:?}: {}", error.kind(), error.text())),
    });
}
