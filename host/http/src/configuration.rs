//! `/api/v1/plugins/{name}/config` and what lies below it: what an instance is configured with.

use super::answer;
use super::routes::{AppState, Named, named_with_body_up_to, run_to_its_end};
use axum::extract::{Request, State};
use axum::response::Response;
use extman_model::ConfigChangeAsked;
use extman_model::control::{Command, Failure};
use serde::Deserialize;

/// Values of a configuration may be longer than what other changes say.
const BYTES_MAX: usize = 256 << 10;

pub(super) async fn change(State(app): State<AppState>, name: Named, request: Request) -> Response {
    ordered(app, "config", name, request, |name, bytes| {
        const SHAPE: &str =
            r#"send {"set": {"config.size": 3}, "unset": ["priority"], "who": "you"}, of which each may be absent"#;
        let asked: ConfigChangeAsked =
            serde_json::from_slice(bytes).map_err(|error| format!("{error}; {SHAPE}"))?;
        Ok(Command::ChangeConfig { name, asked })
    })
    .await
}

/// `{"to": 7, "who": "you"}`, of which each may be absent.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RollBack {
    to: Option<u64>,
    who: Option<String>,
}

pub(super) async fn roll_back(State(app): State<AppState>, name: Named, request: Request) -> Response {
    ordered(app, "config_rollback", name, request, |name, bytes| {
        const SHAPE: &str = r#"send {"to": 7, "who": "you"}, of which each may be absent, or nothing"#;
        let RollBack { to, who } = match bytes.trim_ascii().is_empty() {
            true => RollBack::default(),
            false => serde_json::from_slice(bytes).map_err(|error| format!("{error}; {SHAPE}"))?,
        };
        Ok(Command::RollBackConfig { name, to, who })
    })
    .await
}

/// Carries out the command that is read from a body.
async fn ordered(
    app: AppState,
    word: &'static str,
    name: Named,
    request: Request,
    command: impl FnOnce(String, &[u8]) -> Result<Command, String>,
) -> Response {
    let (name, bytes) = match named_with_body_up_to(&app, word, name, request, BYTES_MAX).await {
        Ok(asked) => asked,
        Err(refused) => return *refused,
    };
    match command(name, &bytes) {
        Ok(command) => run_to_its_end(app, command).await,
        Err(text) => answer::failed(word, Failure::new("invalid_input", text)),
    }
}
