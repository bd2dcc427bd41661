//! What is wrong with a configuration: all of it at once, each fault with the field that it is about.

use crate::text::lossy_path;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// What is wrong with one field.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FieldFault {
    /// Its dotted path, such as `probe.interval_ms` or `instance[1].call_timeout_ms`; empty for the whole file.
    pub field: String,
    /// What is wrong with it and what to do, with the field's name.
    pub text: String,
}

/// Fields that can't be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", in_one_line(.0))]
pub struct UnfitFields(pub Vec<FieldFault>);

fn in_one_line(faults: &[FieldFault]) -> String {
    let texts: Vec<&str> = faults.iter().map(|fault| fault.text.as_str()).collect();
    texts.join("; ")
}

impl UnfitFields {
    /// An error if there is any fault.
    ///
    /// # Errors
    /// There is one.
    pub fn check(faults: Vec<FieldFault>) -> Result<(), UnfitFields> {
        match faults.is_empty() {
            true => Ok(()),
            false => Err(UnfitFields(faults)),
        }
    }
}

impl FieldFault {
    /// Of a field, in a text that goes on after its name.
    pub fn new(field: impl Into<String>, goes_on: impl std::fmt::Display) -> Self {
        let field = field.into();
        let text = format!("{field} {goes_on}");
        FieldFault { field, text }
    }

    /// Those of these numbers that are below the least or above the most that they may be.
    pub fn out_of_range<'a>(
        fields: impl IntoIterator<Item = (&'a str, u64, u64, u64)>,
    ) -> impl Iterator<Item = FieldFault> {
        let outside = fields
            .into_iter()
            .filter(|(_, value, min, max)| !(min..=max).contains(&value));
        outside.map(|(field, value, min, max)| {
            let goes_on = format!("is {value}, outside {min} to {max}; set it within that range");
            FieldFault::new(field, goes_on)
        })
    }

    /// The same of a field within a section; `said` goes before the text where people call the section otherwise than by its path.
    pub fn within(self, section: &str, said: Option<&str>) -> Self {
        let text = match said {
            Some(said) => format!("{said}: {}", self.text),
            None => format!("{section}.{}", self.text),
        };
        let field = format!("{section}.{}", self.field);
        FieldFault { field, text }
    }
}

/// A field of a file that can't be used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlacedFault {
    /// Which file.
    #[serde(serialize_with = "lossy_path")]
    pub file: PathBuf,
    /// Line, from 1; nothing where no line of the file is about it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub line: Option<usize>,
    /// Column, from 1.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub column: Option<usize>,
    /// What is wrong, and with which field.
    #[serde(flatten)]
    pub fault: FieldFault,
}

impl std::fmt::Display for PlacedFault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.file.display())?;
        if let (Some(line), Some(column)) = (self.line, self.column) {
            write!(f, ":{line}:{column}")?;
        }
        write!(f, ": {}", self.fault.text)
    }
}
