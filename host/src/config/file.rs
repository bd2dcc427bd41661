//! `extman.toml` as a file: reads it, and says of every field that can't be used where it stands. What can't be read is left out and the
//! rest read again, so that one fault hides no other.

use super::{Config, ConfigError};
use extman_model::{FieldFault, PlacedFault};
use serde::de::DeserializeOwned;
use std::ops::Range;
use std::path::Path;
use toml::de::{DeTable, DeValue, Error, ValueDeserializer};

/// Faults of one file that are told; more of them are of one kind, most likely.
const FAULTS_MAX: usize = 100;

/// A configuration and a section beside it, as `beside` judges that one.
pub(super) fn read<S: DeserializeOwned + Default>(
    path: &Path,
    section: &str,
    beside: impl Fn(&S) -> Vec<FieldFault>,
) -> Result<(Config, S), ConfigError> {
    let text = std::fs::read_to_string(path).map_err(|error| ConfigError::Read {
        path: path.to_owned(),
        error,
    })?;
    let (table, broken) = DeTable::parse_recoverable(&text);
    let source = Source {
        path,
        text: &text,
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
        Some(read) if faults.is_empty() => Ok(read),
        _ => Err(ConfigError::Unfit(faults)),
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
