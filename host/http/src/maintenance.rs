//! `/api/v1/maintenance` and `/api/v1/plugins/{name}/maintenance`: which instances an operator works on.

use super::answer;
use super::routes::{AppState, Named, named, named_with_body, run, run_to_its_end};
use axum::extract::{Request, State};
use axum::response::Response;
use extman_model::MaintenanceAsked;
use extman_model::control::{Command, Failure, since_ms};
use serde::Deserialize;

const WORD: &str = "maintenance";

pub(super) async fn one(State(app): State<AppState>, name: Named) -> Response {
    match named(name) {
        Ok(name) => run(&app, Command::Maintenance { name: Some(name) }).await,
        Err(failure) => answer::failed(WORD, failure),
    }
}

pub(super) async fn change(State(app): State<AppState>, name: Named, request: Request) -> Response {
    let (name, bytes) = match named_with_body(&app, WORD, name, request).await {
        Ok(asked) => asked,
        Err(refused) => return *refused,
    };
    match command(name, &bytes) {
        Ok(command) => run_to_its_end(app, command).await,
        Err(text) => answer::failed(WORD, Failure::new("invalid_input", text)),
    }
}

/// `{"for": "1h", "reason": "…"}` begins it, `{"end": true}` ends it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    r#for: Option<String>,
    reason: Option<String>,
    #[serde(default)]
    end: bool,
}

fn command(name: String, bytes: &[u8]) -> Result<Command, String> {
    const SHAPE: &str =
        r#"send {"for": "1h", "reason": "why"} to begin maintenance, or {"end": true} to end it"#;
    let body: Body = serde_json::from_slice(bytes).map_err(|error| format!("{error}; {SHAPE}"))?;
    match body {
        Body {
            r#for: Some(text),
            reason,
            end: false,
        } => {
            let for_ms = since_ms(&text).map_err(|why| format!("for: {why}"))?;
            let asked = MaintenanceAsked { for_ms, reason };
            Ok(Command::StartMaintenance { name, asked })
        }
        Body {
            r#for: None,
            reason: None,
            end: true,
        } => Ok(Command::EndMaintenance { name }),
        _ => Err(format!("the body says neither or both; {SHAPE}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_begins_or_ends_maintenance_or_is_refused() {
        let of = |body: &str| command("a".to_owned(), body.as_bytes());
        let asked = MaintenanceAsked {
            for_ms: 3_600_000,
            reason: Some("new model".to_owned()),
        };
        let begins = of(r#"{"for": "1h", "reason": "new model"}"#);
        assert_eq!(
            begins,
            Ok(Command::StartMaintenance {
                name: "a".to_owned(),
                asked
            })
        );
        assert_eq!(
            of(r#"{"end": true}"#),
            Ok(Command::EndMaintenance { name: "a".to_owned() })
        );
        for (body, part) in [
            ("", "EOF"),
            ("{}", "neither or both"),
            (r#"{"for": "1h", "end": true}"#, "neither or both"),
            (r#"{"end": true, "reason": "x"}"#, "neither or both"),
            (r#"{"for": "soon"}"#, "is no duration"),
            (r#"{"until": "1h"}"#, "unknown field `until`"),
        ] {
            let text = of(body).unwrap_err();
            assert!(text.contains(part), "{body}: {text}");
        }
    }
}
