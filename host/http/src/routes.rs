//! The routes, and the commands behind them.

use super::config::HttpConfig;
use super::secret::Secret;
use super::{admission, answer, body, events, health, invoke, maintenance};
use axum::Router;
use axum::body::Bytes;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::handler::Handler;
use axum::http::{StatusCode, Uri};
use axum::response::Response;
use axum::routing::{MethodRouter, get, post};
use extman_model::control::{Answer, Command, Control, ControlError, Failure};
use std::sync::Arc;
use tokio::sync::Semaphore;

/// What every route has at hand.
#[derive(Clone)]
pub(super) struct AppState {
    pub(super) control: Arc<dyn Control>,
    pub(super) config: Arc<HttpConfig>,
    pub(super) token: Option<Secret>,
    /// For calls, reads and changes.
    pub(super) slots: Arc<Semaphore>,
    /// For those who ask whether the host is alive and well.
    pub(super) probe_slots: Arc<Semaphore>,
}

pub(super) fn router(app: AppState) -> Router {
    let admission = axum::middleware::from_fn_with_state(app.clone(), admission::admit_request);
    // A method that the route does not take is refused before anything else is looked at.
    let reading = |route: MethodRouter<AppState>| {
        let gated = route.route_layer(admission.clone());
        gated.fallback(async || answer::other_method("GET, HEAD"))
    };
    let changing = |route: MethodRouter<AppState>| {
        let gated = route.route_layer(admission.clone());
        gated.fallback(async || answer::other_method("POST"))
    };
    let maintained = |route: MethodRouter<AppState>| {
        let gated = route.route_layer(admission.clone());
        gated.fallback(async || answer::other_method("GET, HEAD, POST"))
    };
    Router::new()
        .route("/livez", reading(get(async || "ok\n")))
        .route("/readyz", reading(get(health::readyz)))
        .route("/health", reading(get(health::all)))
        .route("/health/{group}", reading(get(health::group)))
        .route("/api/v1/health", reading(get(health::report)))
        .route("/api/v1/uptime", reading(get(health::uptimes)))
        .route("/api/v1/status", reading(get(status)))
        .route("/api/v1/events", reading(get(events::events)))
        .route("/api/v1/plugins", reading(get(plugins)))
        .route("/api/v1/plugins/{name}", reading(get(plugin)))
        .route("/api/v1/capabilities", reading(get(capabilities)))
        .route("/api/v1/dependencies", reading(get(dependencies)))
        .route("/api/v1/plugins/{name}/health", reading(get(health::plugin)))
        .route("/api/v1/plugins/{name}/history", reading(get(health::history)))
        .route("/api/v1/plugins/{name}/uptime", reading(get(health::uptime)))
        .route("/api/v1/plugins/{name}/analysis", reading(get(health::analysis)))
        .route("/api/v1/plugins/{name}/check", changing(post(health::check)))
        .route("/api/v1/maintenance", reading(get(maintenance::all)))
        .route(
            "/api/v1/plugins/{name}/maintenance",
            maintained(get(maintenance::one).post(maintenance::change)),
        )
        .route("/api/v1/plugins/{name}/load", changing(post(load)))
        .route("/api/v1/plugins/{name}/unload", changing(post(unload)))
        .route("/api/v1/plugins/{name}/restart", changing(post(restart)))
        .route("/api/v1/plugins/{name}/enable", changing(post(enable)))
        .route("/api/v1/plugins/{name}/disable", changing(post(disable)))
        .route(
            "/api/v1/capabilities/{name}/invoke",
            changing(post(invoke::invoke)),
        )
        .fallback(no_route.layer(admission))
        .with_state(app)
}

/// The command that a path stands for, for answers that are given before the route is known.
pub(super) fn word_of(path: &str) -> &'static str {
    if path == "/health" || path.starts_with("/health/") {
        return "health";
    }
    let mut parts = path.strip_prefix("/api/v1/").unwrap_or("").split('/');
    match (parts.next(), parts.next(), parts.next(), parts.next()) {
        (Some("status"), None, ..) => "status",
        (Some("plugins"), None, ..) => "plugins",
        (Some("plugins"), Some(_), None, _) => "plugin",
        (Some("health"), None, ..) => "health",
        (Some("events"), None, ..) => "events",
        (Some("maintenance"), None, ..) | (Some("plugins"), Some(_), Some("maintenance"), None) => {
            "maintenance"
        }
        (Some("uptime"), None, ..) => "uptime",
        (Some("plugins"), Some(_), Some("health"), None) => "plugin_health",
        (Some("plugins"), Some(_), Some("history"), None) => "history",
        (Some("plugins"), Some(_), Some("uptime"), None) => "uptime",
        (Some("plugins"), Some(_), Some("analysis"), None) => "analysis",
        (Some("plugins"), Some(_), Some("check"), None) => "check_now",
        (Some("plugins"), Some(_), Some("load"), None) => "load",
        (Some("plugins"), Some(_), Some("unload"), None) => "unload",
        (Some("plugins"), Some(_), Some("restart"), None) => "restart",
        (Some("plugins"), Some(_), Some("enable"), None) => "enable",
        (Some("plugins"), Some(_), Some("disable"), None) => "disable",
        (Some("capabilities"), None, ..) => "capabilities",
        (Some("dependencies"), None, ..) => "dependencies",
        (Some("capabilities"), Some(_), Some("invoke"), None) => "invoke",
        _ => "request",
    }
}

pub(super) type Named = Result<Path<String>, PathRejection>;

async fn status(State(app): State<AppState>) -> Response {
    run(&app, Command::Status).await
}

async fn plugins(State(app): State<AppState>) -> Response {
    let word = Command::Plugins.word();
    let there = app.control.run(Command::Plugins).await;
    match (there, app.control.run(Command::Status).await) {
        // Configured instances whose plugin is missing are no plugins; they are listed as warnings.
        (Ok(there), Ok(Answer::Status(status))) if !status.missing.is_empty() => {
            let missing = status.missing.iter().map(ToString::to_string);
            answer::done_but(word, there, missing.collect())
        }
        (there, _) => respond(word, there),
    }
}

async fn plugin(State(app): State<AppState>, name: Named) -> Response {
    match named(name) {
        Ok(name) => run(&app, Command::Plugin { name }).await,
        Err(failure) => answer::failed("plugin", failure),
    }
}

async fn capabilities(State(app): State<AppState>) -> Response {
    run(&app, Command::Capabilities).await
}

async fn dependencies(State(app): State<AppState>) -> Response {
    run(&app, Command::Dependencies).await
}

async fn load(State(app): State<AppState>, name: Named, request: Request) -> Response {
    change(app, "load", name, request, |name| Command::Load { name }).await
}

async fn unload(State(app): State<AppState>, name: Named, request: Request) -> Response {
    const WORD: &str = "unload";
    let (name, bytes) = match named_with_body(&app, WORD, name, request).await {
        Ok(asked) => asked,
        Err(refused) => return *refused,
    };
    match is_cascade(&bytes) {
        Some(cascade) => run_to_its_end(app, Command::Unload { name, cascade }).await,
        None => {
            let text =
                "unload takes no field but cascade; send {}, {\"cascade\": true} or nothing as the body";
            answer::failed(WORD, Failure::new("invalid_input", text))
        }
    }
}

/// The name in the path and the body of a change; else the answer of the command `word`.
pub(super) async fn named_with_body(
    app: &AppState,
    word: &'static str,
    name: Named,
    request: Request,
) -> Result<(String, Bytes), Box<Response>> {
    let name = named(name).map_err(|failure| answer::failed(word, failure))?;
    let bytes = body::read(request.into_body(), CHANGE_BYTES_MAX, app.config.body_timeout()).await;
    let bytes = bytes.map_err(|(status, failure)| answer::refused(word, status, failure))?;
    Ok((name, bytes))
}

/// Whether the body of an unload says that others go too; `None` if it says anything else.
fn is_cascade(bytes: &[u8]) -> Option<bool> {
    if is_empty_object(bytes) {
        return Some(false);
    }
    let fields: serde_json::Map<String, serde_json::Value> = serde_json::from_slice(bytes).ok()?;
    match fields.get("cascade") {
        Some(cascade) if fields.len() == 1 => cascade.as_bool(),
        _ => None,
    }
}

async fn restart(State(app): State<AppState>, name: Named, request: Request) -> Response {
    change(app, "restart", name, request, |name| Command::Restart { name }).await
}

async fn enable(State(app): State<AppState>, name: Named, request: Request) -> Response {
    change(app, "enable", name, request, |name| Command::Enable { name }).await
}

async fn disable(State(app): State<AppState>, name: Named, request: Request) -> Response {
    change(app, "disable", name, request, |name| Command::Disable { name }).await
}

async fn no_route(uri: Uri) -> Response {
    let text = format!(
        "there is no route {}; there are /livez, /readyz, /health, /api/v1/status, /api/v1/health, /api/v1/uptime, \
         /api/v1/events, /api/v1/maintenance, /api/v1/dependencies, /api/v1/plugins and /api/v1/capabilities, and what lies below the last two",
        uri.path()
    );
    answer::refused("request", StatusCode::NOT_FOUND, Failure::new("not_found", text))
}

pub(super) async fn run(app: &AppState, command: Command) -> Response {
    let word = command.word();
    respond(word, app.control.run(command).await)
}

/// A change goes on to its end, whether or not the one who asked for it waits.
pub(super) async fn change(
    app: AppState,
    word: &'static str,
    name: Named,
    request: Request,
    command: impl FnOnce(String) -> Command,
) -> Response {
    let (name, bytes) = match named_with_body(&app, word, name, request).await {
        Ok(asked) => asked,
        Err(refused) => return *refused,
    };
    if !is_empty_object(&bytes) {
        let text = format!("{word} takes no fields; send {{}} or nothing as the body");
        return answer::failed(word, Failure::new("invalid_input", text));
    }
    run_to_its_end(app, command(name)).await
}

/// Whether or not the one who asked for it waits.
pub(super) async fn run_to_its_end(app: AppState, command: Command) -> Response {
    let word = command.word();
    let done = tokio::spawn(async move { app.control.run(command).await });
    match done.await {
        Ok(answer) => respond(word, answer),
        Err(_) => {
            let text = "the host failed in a way that it did not foresee; see its log";
            answer::failed(word, Failure::new("internal", text))
        }
    }
}

const CHANGE_BYTES_MAX: usize = 4096;

fn is_empty_object(bytes: &[u8]) -> bool {
    bytes.trim_ascii().is_empty()
        || serde_json::from_slice::<serde_json::Map<_, _>>(bytes).is_ok_and(|fields| fields.is_empty())
}

pub(super) fn named(name: Named) -> Result<String, Failure> {
    let refuse = |text: String| Failure::new("invalid_input", text);
    let Path(name) = name.map_err(|e| {
        refuse(format!(
            "the name in the path can't be read: {e}; encode it as UTF-8"
        ))
    })?;
    if name.len() > NAME_BYTES_MAX {
        return Err(refuse(format!(
            "the name has more than {NAME_BYTES_MAX} bytes; no plugin has one"
        )));
    }
    Ok(name)
}

const NAME_BYTES_MAX: usize = 256;

fn respond(word: &str, answer: Result<Answer, ControlError>) -> Response {
    match answer {
        Ok(answer) => answer::done(word, answer),
        Err(error) => answer::failed(word, error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn body_of_an_unload_may_say_that_others_go_too() {
        for (body, expected) in [
            ("", Some(false)),
            ("{}", Some(false)),
            (r#"{"cascade": true}"#, Some(true)),
            (r#"{"cascade": false}"#, Some(false)),
            (r#"{"cascade": 1}"#, None),
            (r#"{"cascade": true, "force": true}"#, None),
            ("[]", None),
        ] {
            assert_eq!(is_cascade(body.as_bytes()), expected, "{body}");
        }
    }

    #[test]
    fn paths_have_words() {
        for (path, word) in [
            ("/api/v1/status", "status"),
            ("/api/v1/dependencies", "dependencies"),
            ("/api/v1/plugins", "plugins"),
            ("/api/v1/plugins/a", "plugin"),
            ("/api/v1/plugins/a/restart", "restart"),
            ("/api/v1/plugins/a/enable", "enable"),
            ("/api/v1/plugins/a/disable", "disable"),
            ("/api/v1/plugins/a/restart/b", "request"),
            ("/api/v1/capabilities/a.b/invoke", "invoke"),
            ("/api/v1/plugins/a/check", "check_now"),
            ("/api/v1/plugins/a/history", "history"),
            ("/health/ai", "health"),
            ("/api/v1/statusx", "request"),
            ("/", "request"),
        ] {
            assert_eq!(word_of(path), word, "{path}");
        }
    }
}
