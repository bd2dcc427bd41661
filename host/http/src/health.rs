//! How plugins are and were: `/readyz`, `/health` as application/health+json, and the routes below `/api/v1`.
//!
//! All of it comes from memory; only `POST …/check` has a plugin checked.

use super::answer;
use super::routes::{AppState, Named, READ, Route, change, named, run};
use axum::extract::{Query, Request, State};
use axum::http::{HeaderValue, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use extman_model::control::report::{Group, HealthSummary, HistoryState, PluginWord};
use extman_model::control::{Command, Failure, SINCE_MS_DEFAULT, since_ms};
use extman_model::moment::utc;
use extman_model::{Crash, Health};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::collections::BTreeMap;

/// Ready, or a line for each of the first reasons why not.
pub(super) async fn readyz(State(app): State<AppState>) -> Response {
    let readiness = app.control.readiness();
    if readiness.is_ready() {
        return "ready\n".into_response();
    }
    let mut body = format!("not ready\n{}\n", readiness.reasons.join("\n"));
    if readiness.more > 0 {
        body.push_str(&format!("and {} more\n", readiness.more));
    }
    (StatusCode::SERVICE_UNAVAILABLE, body).into_response()
}

pub(super) async fn all(State(app): State<AppState>) -> Response {
    document(&app.control.health_summary(), None)
}

pub(super) async fn group(State(app): State<AppState>, name: Named) -> Response {
    let group = named(name).and_then(|name| match &*name {
        "ai" => Ok(Group::Ai),
        "general" => Ok(Group::General),
        "host" => Ok(Group::Host),
        _ => {
            let text = format!("there is no group {name:?}; there are ai, general and host");
            Err(Failure::new("not_found", text))
        }
    });
    match group {
        Ok(group) => document(&app.control.health_summary(), Some(group)),
        Err(failure) => answer::failed("health", failure),
    }
}

/// A route of what looks back at one plugin.
pub(super) fn looks_back(path: &'static str, command: fn(String, Asked) -> Command) -> Route {
    let word = command(String::new(), Asked::default()).word();
    let ask = move |State(app): State<AppState>, name: Named, uri: Uri| async move {
        match named(name).and_then(|name| Ok((name, Asked::of(&uri)?))) {
            Ok((name, asked)) => run(&app, command(name, asked)).await,
            Err(failure) => answer::failed(word, failure),
        }
    };
    (path, word, READ, get(ask))
}

pub(super) async fn uptimes(State(app): State<AppState>, uri: Uri) -> Response {
    match Asked::of(&uri) {
        Ok(Asked { since_ms, .. }) => run(&app, Command::Uptime { name: None, since_ms }).await,
        Err(failure) => answer::failed("uptime", failure),
    }
}

pub(super) async fn check(State(app): State<AppState>, name: Named, request: Request) -> Response {
    let deep = match CheckOptions::of(request.uri()) {
        Ok(options) => options.deep,
        Err(failure) => return answer::failed("check_now", failure),
    };
    change(app, "check_now", name, request, |name| Command::CheckNow {
        name,
        deep,
    })
    .await
}

/// What the query says.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Asked {
    pub(super) since_ms: u64,
    pub(super) full: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Options {
    since: Option<String>,
    /// `deep`, as it was called, is the word for requests that cost something.
    #[serde(default, alias = "deep")]
    full: bool,
}

/// What the query of a check says.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CheckOptions {
    #[serde(default)]
    deep: bool,
}

impl CheckOptions {
    fn of(uri: &Uri) -> Result<CheckOptions, Failure> {
        let options = Query::<CheckOptions>::try_from_uri(uri);
        options.map(|Query(options)| options).map_err(|error| {
            let text = format!("the query can't be read: {error}; a check takes deep=true");
            Failure::new("invalid_input", text)
        })
    }
}

impl Asked {
    fn of(uri: &Uri) -> Result<Asked, Failure> {
        let refuse = |text: String| Failure::new("invalid_input", text);
        let Query(options) = Query::<Options>::try_from_uri(uri).map_err(|error| {
            refuse(format!(
                "the query can't be read: {error}; it takes since=24h, and for an analysis full=true"
            ))
        })?;
        let since_ms = options.since.as_deref().map(since_ms).transpose();
        Ok(Asked {
            since_ms: since_ms
                .map_err(|why| refuse(format!("since: {why}")))?
                .unwrap_or(SINCE_MS_DEFAULT),
            full: options.full,
        })
    }
}

/// The status and the word that a health has over HTTP.
fn mapped(health: Health) -> (StatusCode, &'static str) {
    match health {
        Health::Up => (StatusCode::OK, "pass"),
        Health::Degraded | Health::Unknown => (StatusCode::OK, "warn"),
        Health::Down => (StatusCode::SERVICE_UNAVAILABLE, "fail"),
    }
}

/// draft-inadarei-api-health-check.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Document<'a> {
    status: &'static str,
    version: &'static str,
    release_id: &'static str,
    description: &'a str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    notes: Vec<String>,
    checks: BTreeMap<String, [Check<'a>; 1]>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Check<'a> {
    component_id: &'a str,
    component_type: &'static str,
    observed_value: &'a str,
    /// Absent for what counts in no sum.
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    output: Option<Cow<'a, str>>,
}

/// Why it is not up, and whether an operator works on it.
fn output(plugin: &PluginWord) -> Option<Cow<'_, str>> {
    let reason = plugin.reason.as_deref();
    let Some(maintenance) = &plugin.in_maintenance else {
        return reason.map(Cow::Borrowed);
    };
    let mut text = match maintenance.until_unix_ms {
        Some(until) => format!("in maintenance until {}", utc(until)),
        None => "in maintenance by its configuration".to_owned(),
    };
    for more in maintenance.reason.as_deref().into_iter().chain(reason) {
        text.push_str(": ");
        text.push_str(more);
    }
    Some(text.into())
}

fn document(health: &HealthSummary, only: Option<Group>) -> Response {
    let (word, description) = match only {
        None => (health.overall.health, &*health.overall.sentence),
        Some(group) => match health.overall.groups.get(&group) {
            Some(group) if group.counts.counted() > 0 => (group.health, group.health.as_str()),
            _ => (Health::Up, "nothing here counts"),
        },
    };
    let (status, word) = mapped(word);
    let body = serde_json::to_vec(&Document {
        status: word,
        version: "1",
        release_id: env!("CARGO_PKG_VERSION"),
        description,
        notes: health.crashes.iter().map(Crash::headline).collect(),
        checks: checks(health, |group| only.is_none_or(|only| only == group)),
    });
    answer::not_stored(
        status,
        HeaderValue::from_static("application/health+json"),
        body.unwrap_or_default(),
    )
}

/// Each plugin, and each part of the host, of those groups.
fn checks(health: &HealthSummary, of: impl Fn(Group) -> bool) -> BTreeMap<String, [Check<'_>; 1]> {
    let plugins = health.plugins.iter().filter(|plugin| of(plugin.group));
    let plugins = plugins.map(|plugin| {
        let check = Check {
            component_id: &plugin.name,
            component_type: "component",
            observed_value: plugin.health.as_str(),
            status: (!plugin.left_out).then(|| mapped(plugin.health).1),
            output: output(plugin),
        };
        (format!("{}:health", plugin.name), [check])
    });
    let parts = health.components.iter().filter(|part| part.name != "history");
    let parts = parts.map(|part| {
        let check = Check {
            component_id: &part.name,
            component_type: "system",
            observed_value: part.health.as_str(),
            status: (!part.left_out).then(|| mapped(part.health).1),
            output: (part.health != Health::Up).then_some(part.reason.as_str().into()),
        };
        (format!("host.{}:state", part.name), [check])
    });
    let (observed_value, status, output) = match &health.history {
        HistoryState::Working => ("working", Some("pass"), None),
        HistoryState::Degraded { why, .. } => ("degraded", Some("warn"), Some(why.as_str().into())),
        HistoryState::Off { why } => ("off", None, Some(why.as_str().into())),
    };
    let history = Check {
        component_id: "history",
        component_type: "datastore",
        observed_value,
        status,
        output,
    };
    let host = parts.chain([("host.history:state".to_owned(), [history])]);
    plugins.chain(host.filter(|_| of(Group::Host))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_health_has_its_status_and_word() {
        let all = [Health::Up, Health::Degraded, Health::Unknown, Health::Down].map(mapped);
        let all = all.map(|(status, word)| (status.as_u16(), word));
        assert_eq!(all, [(200, "pass"), (200, "warn"), (200, "warn"), (503, "fail")]);
    }

    #[test]
    fn the_query_is_read_or_refused() {
        let of = |query: &str| Asked::of(&format!("/x{query}").parse().unwrap());
        let asked = |since_ms, full| Ok(Asked { since_ms, full });
        assert_eq!(of(""), asked(SINCE_MS_DEFAULT, false));
        assert_eq!(of("?since=7d&full=true"), asked(604_800_000, true));
        assert_eq!(
            of("?deep=true"),
            asked(SINCE_MS_DEFAULT, true),
            "as it was called"
        );
        for query in ["?since=soon", "?sinse=1h", "?since=999d", "?full=maybe"] {
            assert_eq!(of(query).unwrap_err().kind, "invalid_input", "{query}");
        }
    }
}
