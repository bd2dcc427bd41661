//! `extman.toml` as a file: reads it, and says of every field that can't be used where it stands. What can't be read is left out and the
//! rest read again, so that one fault hides no other.

use super::{Config, ConfigError};
use extman_model::{FieldFault, PlacedFault};
use serde::de::DeserializeOwned;
use std::fmt;
use std::io::{self, Read};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use toml::de::{DeTable, DeValue, Error, ValueDeserializer};

/// Faults of one file that are told; more of them are of one kind, most likely.
const FAULTS_MAX: usize = 100;
/// The longest file that is read, in bytes.
const TEXT_BYTES_MAX: u64 = 4 << 20;

/// Where a configuration was read, and what stood there.
#[derive(Clone, PartialEq, Eq)]
pub struct ConfigText {
    path: PathBuf,
    text: Arc<str>,
}

impl ConfigText {
    /// What stands in a file now.
    ///
    /// # Errors
    /// It can't be read.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let read = || {
            let mut text = String::new();
            let file = std::fs::File::open(path)?;
            file.take(TEXT_BYTES_MAX + 1).read_to_string(&mut text)?;
            match text.len() as u64 > TEXT_BYTES_MAX {
                true => Err(io::Error::other(format!(
                    "it has more than {TEXT_BYTES_MAX} bytes"
                ))),
                false => Ok(text),
            }
        };
        match read() {
            Ok(text) => Ok(ConfigText {
                path: path.to_owned(),
                text: text.into(),
            }),
            Err(error) => Err(ConfigError::Read {
                path: path.to_owned(),
                error,
            }),
        }
    }

    /// Which file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn make_path_absolute(&mut self) {
        if let Ok(absolute) = std::path::absolute(&self.path) {
            self.path = absolute;
        }
    }

    pub(crate) fn is(&self, other: &Self) -> bool {
        self.text == other.text
    }

    /// What stands at the top of the file under this name, for who does not read it as a part of a [`Config`].
    pub(crate) fn section(&self, name: &str) -> Option<toml::Value> {
        self.text.parse::<toml::Table>().ok()?.remove(name)
    }

    /// Where these fields stand.
    pub(crate) fn place(&self, faults: Vec<FieldFault>) -> Vec<PlacedFault> {
        let (table, _) = DeTable::parse_recoverable(&self.text);
        let source = Source {
            path: &self.path,
            text: &self.text,
            table: table.get_ref(),
        };
        let place = |fault| source.value(fault, source.table);
        faults.into_iter().map(place).collect()
    }

    /// A configuration and a section beside it, as `beside` judges that one.
    pub(super) fn parse<S: DeserializeOwned + Default>(
        &self,
        section: &str,
        beside: impl Fn(&S) -> Vec<FieldFault>,
    ) -> Result<(Config, S), ConfigError> {
        let (table, broken) = DeTable::parse_recoverable(&self.text);
        let source = Source {
            path: &self.path,
            text: &self.text,
            table: table.get_ref(),
        };
        if !broken.is_empty() {
            let faults = broken.iter().map(|error| source.shape(error).0);
            return Err(ConfigError::Unfit(faults.take(FAULTS_MAX).collect()));
        }
        let (mut left, mut faults) = (source.table.clone(), Vec::new());
        let read = source.read_what_can_be(&mut left, section, &mut faults);
        if let Some((config, other)) = &read {
            let values = config.faults().into_iter().chain(beside(other));
            faults.extend(values.map(|fault| source.value(fault, &left)));
        }
        faults.sort_by_key(|fault| fault.line);
        match read {
            Some((mut config, other)) if faults.is_empty() => {
                config.text = Some(self.clone());
                Ok((config, other))
            }
            _ => Err(ConfigError::Unfit(faults)),
        }
    }
}

/// Its path alone: a token may stand in it.
impl fmt::Debug for ConfigText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConfigText")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

/// A file's text, and where its fields stand in it.
struct Source<'t> {
    path: &'t Path,
    text: &'t str,
    table: &'t DeTable<'t>,
}

impl<'t> Source<'t> {
    /// All that can be read: what can't is taken out of the table and told. Nothing if nobody knows where the fault is.
    fn read_what_can_be<S: DeserializeOwned + Default>(
        &self,
        left: &mut DeTable<'t>,
        section: &str,
        faults: &mut Vec<PlacedFault>,
    ) -> Option<(Config, S)> {
        loop {
            let error = match parse(left, section) {
                Ok(read) => return Some(read),
                Err(error) => error,
            };
            let (fault, at) = self.shape(&error);
            faults.push(fault);
            let is_left_out = at.is_some_and(|at| leave_out(left, at));
            if !is_left_out || faults.len() >= FAULTS_MAX {
                return None;
            }
        }
    }

    /// What TOML or the shape of the configuration has against a place of the text; and that place.
    fn shape(&self, error: &Error) -> (PlacedFault, Option<usize>) {
        let at = error.span().map(|span| span.start);
        let field = at.and_then(|at| field_at(self.table, at)).unwrap_or_default();
        let text = match field.as_str() {
            "" => error.message().to_owned(),
            field => format!("{field}: {}", error.message()),
        };
        (self.placed(FieldFault { field, text }, at), at)
    }

    /// A field whose value can't be used, of what was left of the table. One that the file does not have is told where its section
    /// begins; sections are numbered as in the file.
    fn value(&self, mut fault: FieldFault, left: &DeTable<'_>) -> PlacedFault {
        let at = span_of(left, &fault.field).map(|span| span.start);
        if let Some(in_file) = at.and_then(|at| field_at(self.table, at)) {
            let rest = fault.field.split('.').skip(in_file.split('.').count());
            fault.field = in_file.split('.').chain(rest).collect::<Vec<_>>().join(".");
        }
        self.placed(fault, at)
    }

    fn placed(&self, fault: FieldFault, at: Option<usize>) -> PlacedFault {
        let before = at.map(|at| &self.text[..self.text.floor_char_boundary(at)]);
        PlacedFault {
            file: self.path.to_owned(),
            line: before.map(|before| before.matches('\n').count() + 1),
            column: before.map(|before| before.chars().rev().take_while(|c| *c != '\n').count() + 1),
            fault,
        }
    }
}

/// The host's configuration, and one section that is not the host's.
fn parse<S: DeserializeOwned + Default>(table: &DeTable<'_>, section: &str) -> Result<(Config, S), Error> {
    let mut table = table.clone();
    let beside = table
        .remove(section)
        .map(|value| S::deserialize(ValueDeserializer::from(value)));
    let whole = toml::Spanned::new(0..0, table);
    let config = serde::Deserialize::deserialize(toml::de::Deserializer::from(whole))?;
    Ok((config, beside.transpose()?.unwrap_or_default()))
}

fn holds(span: &Range<usize>, at: usize) -> bool {
    span.start <= at && at < span.end.max(span.start + 1)
}

/// The innermost field at this place of the text.
fn field_at(table: &DeTable<'_>, at: usize) -> Option<String> {
    table.iter().find_map(|(key, value)| {
        let name = key.get_ref().to_string();
        let inner = match value.get_ref() {
            DeValue::Table(inner) => field_at(inner, at).map(|field| format!("{name}.{field}")),
            DeValue::Array(values) => values.iter().enumerate().find_map(|(number, one)| {
                let inner = one.get_ref().as_table().and_then(|inner| field_at(inner, at));
                let own = holds(&one.span(), at).then(|| format!("{name}[{number}]"));
                inner.map(|field| format!("{name}[{number}].{field}")).or(own)
            }),
            _ => None,
        };
        inner.or_else(|| (holds(&key.span(), at) || holds(&value.span(), at)).then_some(name))
    })
}

/// Takes the innermost field at this place out. Whether there was one.
fn leave_out(table: &mut DeTable<'_>, at: usize) -> bool {
    let mut found = None;
    for (key, value) in table.iter_mut() {
        let is_here = holds(&key.span(), at) || holds(&value.span(), at);
        let is_inside = match value.get_mut() {
            DeValue::Table(inner) => leave_out(inner, at),
            DeValue::Array(values) => {
                let inside = values.iter_mut().any(|one| match one.get_mut() {
                    DeValue::Table(inner) => leave_out(inner, at),
                    _ => false,
                });
                let before = values.len();
                if !inside {
                    let others = values.iter().filter(|one| !holds(&one.span(), at));
                    *values = others.cloned().collect();
                }
                inside || values.len() < before
            }
            _ => false,
        };
        if is_inside {
            return true;
        }
        if is_here {
            found = Some(key.clone());
        }
    }
    found.is_some_and(|key| table.remove(&key).is_some())
}

/// Where a field stands; of one that is not there, where what is nearest above it does.
fn span_of(table: &DeTable<'_>, field: &str) -> Option<Range<usize>> {
    table.iter().find_map(|(key, value)| {
        let rest = field.strip_prefix(key.get_ref().as_ref())?;
        let own = || Some(key.span());
        match value.get_ref() {
            DeValue::Table(inner) => match rest.strip_prefix('.') {
                Some(rest) => span_of(inner, rest).or_else(own),
                None => rest.is_empty().then(|| key.span()),
            },
            DeValue::Array(values) => match rest.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
                Some((number, rest)) => {
                    let one = values.get(number.parse::<usize>().ok()?)?;
                    let inner = one.get_ref().as_table();
                    let inner = inner.and_then(|inner| span_of(inner, rest.strip_prefix('.')?));
                    inner.or_else(|| Some(one.span()))
                }
                None => rest.is_empty().then(|| key.span()),
            },
            _ => rest.is_empty().then(|| key.span()),
        }
    })
}
