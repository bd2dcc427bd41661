//! The JSON Schemas of a manifest: whether one can be used, and whether a configuration fits it. No I/O.
//!
//! A schema is as hostile as the bytes that it came in. What it comes to is bounded before it is compiled, its patterns match in
//! linear time, and nothing that it refers to is ever fetched.

mod bounds;

use extman_model::FieldFault;
use extman_plugin_api::manifest::schema::Manifest;
use jsonschema::{PatternOptions, ValidationError, Validator};
use serde_json::{Map, Value};

/// Most complaints that are told of one configuration, or input, in a line.
const COMPLAINTS_MAX: usize = 8;
/// Most of them that are told one by one.
const FAULTS_MAX: usize = 100;
/// Longest text of one complaint, in characters.
const COMPLAINT_CHARS_MAX: usize = 240;
/// Largest compiled pattern, in bytes.
const PATTERN_BYTES_MAX: usize = 256 * 1024;

/// Why a JSON Schema can't be used: where, and what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct SchemaError(String);

/// What a plugin's schema says against a configuration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the configuration does not fit the plugin's schema: {}", in_one_line(.faults, *.left_out))]
pub struct ConfigMisfit {
    /// Each with its field, such as `config.size`. Values are left out: one may be a secret.
    pub faults: Vec<FieldFault>,
    /// Complaints that are not listed.
    pub left_out: usize,
}

fn in_one_line(faults: &[FieldFault], left_out: usize) -> String {
    let told = faults.len().min(COMPLAINTS_MAX);
    let texts: Vec<&str> = faults[..told].iter().map(|fault| &*fault.text).collect();
    format!("{}{}", texts.join("; "), more(faults.len() - told + left_out))
}

fn more(left_out: usize) -> String {
    match left_out {
        0 => String::new(),
        number => format!("; and {number} more"),
    }
}

/// Whether a schema can be used.
///
/// # Errors
/// It is no JSON Schema, or goes beyond a limit.
pub fn check_schema(schema: &Value) -> Result<(), SchemaError> {
    compile(schema).map(drop)
}

/// Holds a whole configuration, defaults included, against `[config] schema`. Without a schema everything fits.
///
/// # Errors
/// What does not fit; or the schema itself can't be used.
pub fn check_config(manifest: &Manifest, config: &Map<String, Value>) -> Result<(), ConfigMisfit> {
    let Some(schema) = &manifest.config.schema else {
        return Ok(());
    };
    let validator = compile(schema).map_err(|error| ConfigMisfit {
        faults: vec![FieldFault {
            field: "config".to_owned(),
            text: format!("[config] schema can't be used: {error}"),
        }],
        left_out: 0,
    })?;
    match faults(&validator, &Value::Object(config.clone()), "config") {
        (faults, _) if faults.is_empty() => Ok(()),
        (faults, left_out) => Err(ConfigMisfit { faults, left_out }),
    }
}

/// The schema that a capability declares for its input, compiled once and held against many inputs.
#[derive(Debug)]
pub struct InputSchema(Validator);

impl InputSchema {
    /// Compiles it.
    ///
    /// # Errors
    /// It is no JSON Schema, or goes beyond a limit.
    pub fn new(schema: &Value) -> Result<Self, SchemaError> {
        compile(schema).map(InputSchema)
    }

    /// What does not fit, in a line; nothing if all does.
    pub fn misfit(&self, input: &Value) -> Option<String> {
        let (faults, left_out) = faults(&self.0, input, "input");
        (!faults.is_empty()).then(|| in_one_line(&faults, left_out))
    }
}

/// The first of what is wrong with a value that is called so, and how much more there is.
fn faults(validator: &Validator, value: &Value, called: &str) -> (Vec<FieldFault>, usize) {
    let mut errors = validator.iter_errors(value);
    let faults = errors.by_ref().take(FAULTS_MAX);
    let faults = faults.map(|error| fault(called, &error)).collect();
    (faults, errors.count())
}

fn compile(schema: &Value) -> Result<Validator, SchemaError> {
    bounds::check(schema)?;
    let patterns = PatternOptions::regex()
        .size_limit(PATTERN_BYTES_MAX)
        .dfa_size_limit(PATTERN_BYTES_MAX);
    let compiled = jsonschema::options()
        .offline()
        .with_pattern_options(patterns)
        .build(schema);
    compiled.map_err(|error| {
        let at = match error.instance_path().as_str() {
            "" => String::new(),
            at => format!("at {}: ", short(at)),
        };
        SchemaError(format!("{at}{}", short(&error.to_string())))
    })
}

/// `config.a.b: value is less than the minimum of 1`.
fn fault(called: &str, error: &ValidationError<'_>) -> FieldFault {
    let mut field = called.to_owned();
    for part in error.instance_path().as_str().split('/').skip(1) {
        match part.parse::<usize>() {
            Ok(number) => field.push_str(&format!("[{number}]")),
            Err(_) => {
                field.push('.');
                field.push_str(&part.replace("~1", "/").replace("~0", "~"));
            }
        }
    }
    let field = short(&field);
    let text = format!("{field}: {}", short(&error.masked().to_string()));
    FieldFault { field, text }
}

fn short(text: &str) -> String {
    match text.char_indices().nth(COMPLAINT_CHARS_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests;
