//! Inputs from outside are held against what the plugin's manifest declares, before the plugin sees them.

use super::{Host, error_hint};
use extman_intake::InputSchema;
use extman_model::{CallError, Digest, ErrorKind};
use extman_plugin_api::manifest::schema::Manifest;
use extman_runtime::instance::Call;
use extman_runtime::registry::Entry;
use serde_json::Value;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Compiled schemas that are kept; when there are more, all are compiled anew as they are needed.
const KEPT_MAX: usize = 512;
/// Larger inputs are not read on a thread of the async runtime.
const INLINE_BYTES_MAX: usize = 64 << 10;

/// Schemas of inputs by library and capability; nothing for those that declare none.
#[derive(Default)]
pub(super) struct InputSchemas(Mutex<HashMap<Declared, Option<Arc<InputSchema>>>>);

/// A capability of a library.
type Declared = (Digest, String);

impl InputSchemas {
    fn of(&self, digest: Digest, manifest: &Manifest, capability: &str) -> Option<Arc<InputSchema>> {
        let declared = manifest.capabilities.iter().find(|c| c.name == capability)?;
        let schema = declared.input.as_ref()?;
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= KEPT_MAX {
            kept.clear();
        }
        let key = (digest, capability.to_owned());
        // One that can't be used was refused with its plugin.
        let compile = || InputSchema::new(schema).ok().map(Arc::new);
        kept.entry(key).or_insert_with(compile).clone()
    }
}

impl Host {
    /// Refuses an input that does not fit the schema of the capability of whoever serves it.
    ///
    /// # Errors
    /// It does not fit.
    pub(super) async fn check_input(&self, entry: &Entry, mut call: Call) -> Result<Call, CallError> {
        let manifest = entry.plugin.manifest();
        let inputs = &self.inner.inputs;
        let schema = inputs.of(entry.plugin.digest(), manifest, &call.capability);
        let Some(schema) = schema.filter(|_| is_meant_as_json(&call.content_type)) else {
            return Ok(call);
        };
        let body = std::mem::take(&mut call.body);
        let is_small = body.len() <= INLINE_BYTES_MAX;
        let held = move || (misfit(&schema, &body), body);
        let (misfit, body) = if is_small {
            held()
        } else {
            let held = tokio::task::spawn_blocking(held).await;
            held.map_err(|error| CallError::new(ErrorKind::Internal, error.to_string()))?
        };
        call.body = body;
        match misfit {
            None => Ok(call),
            Some(misfit) => {
                let text = format!("the input does not fit what {} takes: {misfit}", entry.name);
                let error = CallError::new(ErrorKind::InvalidInput, text);
                Err(error_hint::add(error, manifest, &call.capability))
            }
        }
    }
}

fn misfit(schema: &InputSchema, body: &[u8]) -> Option<String> {
    match serde_json::from_slice::<Value>(body) {
        Ok(input) => schema.misfit(&input),
        Err(_) if body.is_empty() => Some("it is empty".to_owned()),
        Err(error) => Some(format!("it is no JSON: {error}")),
    }
}

/// A schema says what JSON has to be. What is sent as something else, such as an image, a text or bytes, is the plugin's to judge; the type
/// that curl sends by itself says nothing.
fn is_meant_as_json(content_type: &str) -> bool {
    let essence = content_type
        .split(';')
        .next()
        .unwrap_or("")
        .trim()
        .to_ascii_lowercase();
    essence.ends_with("+json")
        || matches!(
            &*essence,
            "" | "application/json" | "application/x-www-form-urlencoded"
        )
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_misfit_names_the_field_and_what_is_wrong_with_it() {
        let schema = json!({"type": "object", "required": ["text"],
            "properties": {"text": {"type": "string", "minLength": 1}}});
        let schema = InputSchema::new(&schema).unwrap();
        let of = |body: &str| misfit(&schema, body.as_bytes());
        assert_eq!(of(r#"{"text": "a"}"#), None);
        assert!(of(r#"{"text": 7}"#).unwrap().starts_with("input.text: "));
        assert!(of("{}").unwrap().contains("\"text\""));
        assert!(of("{").unwrap().starts_with("it is no JSON: "));
        assert_eq!(of("").unwrap(), "it is empty");
    }

    #[test]
    fn only_other_media_than_json_are_left_to_the_plugin() {
        for json in [
            "application/json",
            "Application/LD+JSON; charset=utf-8",
            "",
            "application/x-www-form-urlencoded",
        ] {
            assert!(is_meant_as_json(json), "{json}");
        }
        for other in [
            "image/png",
            "text/plain",
            "application/octet-stream",
            "multipart/form-data; boundary=x",
            "application/x-tensor",
        ] {
            assert!(!is_meant_as_json(other), "{other}");
        }
    }
}
