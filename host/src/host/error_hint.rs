//! What a capability takes, in a line, for callers whose input was wrong: from the schema in the manifest.

use extman_model::{CallError, ErrorKind};
use extman_plugin_api::manifest::schema::Manifest;
use serde_json::Value;

/// Most fields that are named.
const FIELDS_MAX: usize = 8;
/// Longest word that is taken over from a schema, in characters.
const WORD_CHARS_MAX: usize = 40;

/// A plugin's refusal of an input, with what its manifest says that it takes.
pub(super) fn add(mut error: CallError, manifest: &Manifest, capability: &str) -> CallError {
    let declared = manifest.capabilities.iter().find(|c| c.name == capability);
    if error.kind == ErrorKind::InvalidInput
        && let Some(schema) = declared.and_then(|c| c.input.as_ref())
        && let Some(taken) = taken(schema)
    {
        error.text = format!("{}; {capability} takes {taken}", error.text);
    }
    error
}

/// `{"text": string, "limit"?: integer}`.
fn taken(schema: &Value) -> Option<String> {
    let Some(fields) = schema.get("properties").and_then(Value::as_object) else {
        return kind(schema).map(|kind| format!("JSON: {kind}"));
    };
    let required = schema.get("required").and_then(Value::as_array);
    let is_required = |name: &str| required.is_some_and(|all| all.iter().any(|r| r == name));
    let mut shown: Vec<String> = fields
        .iter()
        .take(FIELDS_MAX)
        .map(|(name, schema)| {
            let optional = if is_required(name) { "" } else { "?" };
            let kind = kind(schema).unwrap_or_else(|| "any".to_owned());
            format!("\"{}\"{optional}: {kind}", word(name))
        })
        .collect();
    if fields.len() > FIELDS_MAX {
        shown.push("…".to_owned());
    }
    Some(format!("{{{}}}", shown.join(", ")))
}

/// `string`, `array of string`, `"a" or "b"`.
fn kind(schema: &Value) -> Option<String> {
    if let Some(values) = schema.get("enum").and_then(Value::as_array) {
        let shown: Vec<_> = values
            .iter()
            .take(FIELDS_MAX)
            .map(|v| word(&v.to_string()))
            .collect();
        return Some(shown.join(" or "));
    }
    match schema.get("type")? {
        Value::String(name) if name == "array" => {
            let of = schema.get("items").and_then(|items| items.get("type")?.as_str());
            Some(of.map_or_else(|| "array".to_owned(), |of| format!("array of {}", word(of))))
        }
        Value::String(name) => Some(word(name)),
        Value::Array(names) => {
            let names: Vec<_> = names
                .iter()
                .filter_map(Value::as_str)
                .take(FIELDS_MAX)
                .map(word)
                .collect();
            Some(names.join(" or "))
        }
        _ => None,
    }
}

fn word(text: &str) -> String {
    text.chars().take(WORD_CHARS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn schemas_become_a_line() {
        let schema = json!({
            "type": "object", "required": ["text"],
            "properties": {"text": {"type": "string"}, "texts": {"type": "array", "items": {"type": "string"}},
                "mode": {"enum": ["a", 1]}, "z": {}, "y": {"type": ["string", "null"]}},
        });
        assert_eq!(
            taken(&schema).unwrap(),
            "{\"mode\"?: \"a\" or 1, \"text\": string, \"texts\"?: array of string, \"y\"?: string or null, \"z\"?: any}"
        );
        assert_eq!(taken(&json!({"type": "string"})).unwrap(), "JSON: string");
        assert_eq!(taken(&json!(true)), None);
        let many: serde_json::Map<_, _> = (0..100)
            .map(|n| (format!("{n}{}", "x".repeat(999)), json!({})))
            .collect();
        let line = taken(&json!({ "properties": many })).unwrap();
        assert!(line.ends_with("…}") && line.len() < 500, "{line}");
    }

    #[test]
    fn only_an_error_of_a_wrong_input_names_what_is_taken() {
        let text = "[plugin]\nid = \"x\"\nversion = \"1.0.0\"\nkind = \"general\"\n[[capability]]\nname = \"a.b\"\n\
                    input = { type = \"string\" }\n";
        let manifest: Manifest = text.parse().unwrap();
        let add = |kind| add(CallError::new(kind, "no"), &manifest, "a.b").text;
        assert_eq!(add(ErrorKind::InvalidInput), "no; a.b takes JSON: string");
        assert_eq!(add(ErrorKind::Internal), "no");
    }
}
