//! `/api/v1/plugins/{name}/update`: which version an instance is to have.

use super::answer;
use super::routes::{AppState, Named, named_with_body, run_to_its_end};
use axum::extract::{Request, State};
use axum::response::Response;
use extman_model::UpdateTo;
use extman_model::control::{Command, Failure};
use semver::Version;
use serde::Deserialize;
use std::path::PathBuf;

pub(super) async fn update(State(app): State<AppState>, name: Named, request: Request) -> Response {
    const WORD: &str = "update";
    let (name, bytes) = match named_with_body(&app, WORD, name, request).await {
        Ok(asked) => asked,
        Err(refused) => return *refused,
    };
    match update_to(&bytes) {
        Ok(to) => run_to_its_end(app, Command::Update { name, to }).await,
        Err(text) => answer::failed(WORD, Failure::new("invalid_input", text)),
    }
}

/// `{"to": "1.2.0"}` or `{"file": "/p/a.so"}`; neither is the newest.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Body {
    to: Option<Version>,
    file: Option<PathBuf>,
}

fn update_to(bytes: &[u8]) -> Result<UpdateTo, String> {
    const SHAPE: &str = r#"send {"to": "1.2.0"} for a version that lies in the directories, {"file": "/path/on/the/host.so"} for a library file of that machine, or nothing for the newest"#;
    let body = match bytes.trim_ascii().is_empty() {
        true => Body::default(),
        // By way of an object: a struct may be an array as well.
        false => serde_json::from_slice::<serde_json::Map<_, _>>(bytes)
            .and_then(|object| Body::deserialize(serde_json::Value::Object(object)))
            .map_err(|error| format!("{error}; {SHAPE}"))?,
    };
    match body {
        Body { to: None, file: None } => Ok(UpdateTo::Newest),
        Body {
            to: Some(version),
            file: None,
        } => Ok(UpdateTo::Version(version)),
        Body {
            to: None,
            file: Some(file),
        } if file.is_absolute() => Ok(UpdateTo::File(file)),
        Body {
            to: None,
            file: Some(file),
        } => Err(format!(
            "file: {} is no absolute path, and the host can't know where it begins; {SHAPE}",
            file.display()
        )),
        Body { .. } => Err(format!("the body names a version and a file; {SHAPE}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn body_of_an_update_names_a_version_or_a_file_or_neither() {
        let of = |body: &str| update_to(body.as_bytes());
        for body in ["", " {} "] {
            assert_eq!(of(body), Ok(UpdateTo::Newest), "{body:?}");
        }
        assert_eq!(
            of(r#"{"to": "1.2.0"}"#),
            Ok(UpdateTo::Version(Version::new(1, 2, 0)))
        );
        assert_eq!(of(r#"{"file": "/p/a.so"}"#), Ok(UpdateTo::File("/p/a.so".into())));
        for (body, part) in [
            (r#"{"to": "soon"}"#, "unexpected character"),
            (r#"{"file": "a.so"}"#, "no absolute path"),
            (r#"{"to": "1.2.0", "file": "/a.so"}"#, "a version and a file"),
            (r#"{"version": "1.2.0"}"#, "unknown field `version`"),
            ("[]", "expected"),
        ] {
            let text = of(body).unwrap_err();
            assert!(text.contains(part), "{body}: {text}");
        }
    }
}
