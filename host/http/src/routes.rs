//! The routes, and the commands behind them.

use super::config::HttpConfig;
use super::secret::Secret;
use super::{admission, answer, body, configuration, events, health, invoke, maintenance, updates};
use axum::Router;
use axum::body::Bytes;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::handler::Handler;
use axum::http::{StatusCode, Uri};
use axum::response::Response;
use axum::routing::{MethodRouter, get, post};
use extman_model::RolloutCommand;
use extman_model::control::{Answer, Command, Control, ControlError, Failure};
use std::sync::{Arc, LazyLock};
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

/// A path, the word of what it stands for in answers that are given before it is served, the methods that it takes, and who serves it.
pub(super) type Route = (&'static str, &'static str, &'static str, MethodRouter<AppState>);

pub(super) const READ: &str = "GET, HEAD";
const CHANGE: &str = "POST";
const BOTH: &str = "GET, HEAD, POST";

fn routes() -> Vec<Route> {
    let maintained = get(maintenance::one).post(maintenance::change);
    vec![
        ("/livez", NO_WORD, READ, get(async || "ok\n")),
        ("/readyz", NO_WORD, READ, get(health::readyz)),
        ("/health", "health", READ, get(health::all)),
        ("/health/{group}", "health", READ, get(health::group)),
        asks("/api/v1/status", || Command::Status),
        asks("/api/v1/health", || Command::Health),
        asks("/api/v1/capabilities", || Command::Capabilities),
        asks("/api/v1/dependencies", || Command::Dependencies),
        asks("/api/v1/maintenance", || Command::Maintenance { name: None }),
        ("/api/v1/uptime", "uptime", READ, get(health::uptimes)),
        ("/api/v1/events", "events", READ, get(events::events)),
        ("/api/v1/plugins", "plugins", READ, get(plugins)),
        asks_of("/api/v1/plugins/{name}", |name| Command::Plugin { name }),
        asks_of("/api/v1/plugins/{name}/health", |name| Command::PluginHealth {
            name,
        }),
        health::looks_back("/api/v1/plugins/{name}/history", |name, asked| Command::History {
            name,
            since_ms: asked.since_ms,
        }),
        health::looks_back("/api/v1/plugins/{name}/uptime", |name, asked| Command::Uptime {
            name: Some(name),
            since_ms: asked.since_ms,
        }),
        health::looks_back("/api/v1/plugins/{name}/analysis", |name, asked| {
            Command::Analyse {
                name,
                since_ms: asked.since_ms,
                full: asked.full,
            }
        }),
        (
            "/api/v1/plugins/{name}/check",
            "check_now",
            CHANGE,
            post(health::check),
        ),
        (
            "/api/v1/plugins/{name}/maintenance",
            "maintenance",
            BOTH,
            maintained,
        ),
        configured("/api/v1/plugins/{name}/config"),
        asks_of("/api/v1/plugins/{name}/config/diff", |name| Command::ConfigDiff {
            name,
        }),
        asks_of("/api/v1/plugins/{name}/config/history", |name| {
            Command::ConfigHistory { name }
        }),
        (
            "/api/v1/plugins/{name}/config/rollback",
            "config_rollback",
            CHANGE,
            post(configuration::roll_back),
        ),
        changes("/api/v1/plugins/{name}/load", |name| Command::Load { name }),
        changes_with_dependents("/api/v1/plugins/{name}/unload", "unload", |name, cascade| {
            Command::Unload { name, cascade }
        }),
        changes("/api/v1/plugins/{name}/restart", |name| Command::Restart { name }),
        changes("/api/v1/plugins/{name}/enable", |name| Command::Enable { name }),
        changes_with_dependents("/api/v1/plugins/{name}/disable", "disable", |name, cascade| {
            Command::Disable { name, cascade }
        }),
        (
            "/api/v1/plugins/{name}/update",
            "update",
            CHANGE,
            post(updates::update),
        ),
        changes("/api/v1/plugins/{name}/rollback", |name| Command::RollBack {
            name,
        }),
        asks_of("/api/v1/plugins/{name}/rollout", |name| Command::Rollout { name }),
        changes_rollout("/api/v1/plugins/{name}/rollout/pause", RolloutCommand::Pause),
        changes_rollout("/api/v1/plugins/{name}/rollout/resume", RolloutCommand::Resume),
        changes_rollout("/api/v1/plugins/{name}/rollout/promote", RolloutCommand::Promote),
        changes_rollout("/api/v1/plugins/{name}/rollout/abort", RolloutCommand::Abort),
        (
            "/api/v1/capabilities/{name}/invoke",
            "invoke",
            CHANGE,
            post(invoke::invoke),
        ),
    ]
}

/// Of a path that stands for no command.
const NO_WORD: &str = "request";

pub(super) fn router(app: AppState) -> Router {
    let gate = |word| {
        let gate = Gate {
            app: app.clone(),
            word,
        };
        axum::middleware::from_fn_with_state(gate, admission::admit_request)
    };
    let router = routes()
        .into_iter()
        .fold(Router::new(), |router, (path, word, allowed, route)| {
            // A method that the route does not take is refused before anything else is looked at.
            let refuses = route.route_layer(gate(word));
            router.route(
                path,
                refuses.fallback(async move || answer::other_method(allowed)),
            )
        });
    router.fallback(no_route.layer(gate(NO_WORD))).with_state(app)
}

fn asks(path: &'static str, command: fn() -> Command) -> Route {
    let ask = move |State(app): State<AppState>| async move { run(&app, command()).await };
    (path, command().word(), READ, get(ask))
}

fn asks_of(path: &'static str, command: fn(String) -> Command) -> Route {
    let word = command(String::new()).word();
    let ask = move |State(app): State<AppState>, name: Named| async move {
        match named(name) {
            Ok(name) => run(&app, command(name)).await,
            Err(failure) => answer::failed(word, failure),
        }
    };
    (path, word, READ, get(ask))
}

/// Shows what is configured, and changes it.
fn configured(path: &'static str) -> Route {
    let (path, word, _, shows) = asks_of(path, |name| Command::Config { name });
    (path, word, BOTH, shows.post(configuration::change))
}

fn changes_rollout(path: &'static str, change: RolloutCommand) -> Route {
    changes(path, move |name| Command::ChangeRollout { name, change })
}

fn changes(path: &'static str, command: impl Fn(String) -> Command + Copy + Send + Sync + 'static) -> Route {
    let word = command(String::new()).word();
    let order = move |State(app): State<AppState>, name: Named, request: Request| async move {
        change(app, word, name, request, command).await
    };
    (path, word, CHANGE, post(order))
}

/// As [`changes`], of a change that may be made of those that require the plugin, too: `{"cascade": true}`.
fn changes_with_dependents(
    path: &'static str,
    word: &'static str,
    command: impl Fn(String, bool) -> Command + Copy + Send + Sync + 'static,
) -> Route {
    let order = move |State(app): State<AppState>, name: Named, request: Request| async move {
        let (name, bytes) = match named_with_body(&app, word, name, request).await {
            Ok(asked) => asked,
            Err(refused) => return *refused,
        };
        match is_cascade(&bytes) {
            Some(cascade) => run_to_its_end(app, command(name, cascade)).await,
            None => {
                let text = format!(
                    "{word} takes no field but cascade; send {{}}, {{\"cascade\": true}} or nothing as the body"
                );
                answer::failed(word, Failure::new("invalid_input", text))
            }
        }
    };
    (path, word, CHANGE, post(order))
}

/// What stands before a route.
#[derive(Clone)]
pub(super) struct Gate {
    pub(super) app: AppState,
    pub(super) word: &'static str,
}

pub(super) type Named = Result<Path<String>, PathRejection>;

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

/// The name in the path and the body of a change; else the answer of the command `word`.
pub(super) async fn named_with_body(
    app: &AppState,
    word: &'static str,
    name: Named,
    request: Request,
) -> Result<(String, Bytes), Box<Response>> {
    named_with_body_up_to(app, word, name, request, CHANGE_BYTES_MAX).await
}

/// As [`named_with_body`], of a body of so many bytes at most.
pub(super) async fn named_with_body_up_to(
    app: &AppState,
    word: &'static str,
    name: Named,
    request: Request,
    bytes_max: usize,
) -> Result<(String, Bytes), Box<Response>> {
    let name = named(name).map_err(|failure| answer::failed(word, failure))?;
    let bytes = body::read(request.into_body(), bytes_max, app.config.body_timeout()).await;
    let bytes = bytes.map_err(|(status, failure)| answer::refused(word, status, failure))?;
    Ok((name, bytes))
}

/// Whether the body of a change says that others go too; `None` if it says anything else.
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

async fn no_route(uri: Uri) -> Response {
    static THERE: LazyLock<String> = LazyLock::new(|| {
        let paths = routes().into_iter().map(|(path, ..)| path);
        paths
            .filter(|path| !path.contains('{'))
            .collect::<Vec<_>>()
            .join(", ")
    });
    let text = format!(
        "there is no route {}; there are {}, and what lies below /health, /api/v1/plugins and /api/v1/capabilities",
        uri.path(),
        *THERE
    );
    answer::refused(NO_WORD, StatusCode::NOT_FOUND, Failure::new("not_found", text))
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
}
