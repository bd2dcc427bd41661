//! A host that runs elsewhere, over HTTP.

use super::args::Target;
use super::fault::Fault;
use super::sse::Events;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use extman_model::clock;
use extman_model::control::events::EventsAsked;
use extman_model::control::{
    Command, Envelope, Failure, Invocation, Invoked, METADATA_PREFIX, SCHEMA_VERSION, StreamDone, StreamFrame,
};
use extman_model::{Reply, RolloutCommand, UpdateTo, Usage};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::io::{BufReader, Read};
use std::time::Duration;
use ureq::http::{HeaderMap, Response};
use ureq::{Agent, Body, RequestBuilder};

/// A host's API.
pub(super) struct Remote {
    url: String,
    token: Option<String>,
    agent: Agent,
}

const DEFAULT_URL: &str = "http://127.0.0.1:8642";
const CONNECT: Duration = Duration::from_secs(3);
/// For what a host answers from memory.
const READ: Duration = Duration::from_secs(10);
/// For a change, which takes as long as the plugin may take for it: a host ends it by its own limits before that.
const CHANGE: Duration = Duration::from_secs(3600);
/// How long a host may take over a call's timeout to say that it is over.
const OVER: Duration = Duration::from_secs(5);
const ANSWER_BYTES_MAX: u64 = 1 << 30;
/// The host is asked whether it takes a body that is larger than this.
const ASK_FIRST_BYTES: usize = 16 << 10;
const TOKEN_BYTES_MAX: u64 = 8192;

impl Remote {
    pub(super) fn of(target: &Target, env: impl Fn(&str) -> Option<String>) -> Result<Remote, Fault> {
        let set = |name| env(name).filter(|value| !value.is_empty());
        let url = target.url.clone().or_else(|| set("EXTMAN_URL"));
        let url = url.unwrap_or_else(|| DEFAULT_URL.to_owned());
        if !url.starts_with("http://") {
            return Err(Fault::usage(format!(
                "the host's URL is {url:?}; give one such as {DEFAULT_URL} (for https, go through a tunnel or a proxy)"
            )));
        }
        let token = match &target.token_file {
            Some(path) => Some(read_token(path)?),
            None => set("EXTMAN_TOKEN"),
        };
        let agent = Agent::config_builder()
            .http_status_as_error(false)
            // A token is not to leave for wherever an answer or an environment variable points.
            .max_redirects(0)
            .proxy(None)
            .timeout_connect(Some(CONNECT))
            .user_agent(concat!("extman/", env!("CARGO_PKG_VERSION")))
            .build()
            .new_agent();
        Ok(Remote {
            url: url.trim_end_matches('/').to_owned(),
            token,
            agent,
        })
    }

    pub(super) fn ask<T: DeserializeOwned>(&self, command: &Command) -> Result<T, Fault> {
        let (path, body) = request(command);
        let url = format!("{}/api/v1{path}", self.url);
        let time = match (command, &body) {
            (Command::Events(asked), _) => READ + Duration::from_millis(asked.wait_ms),
            (_, None) => READ,
            (_, Some(_)) => CHANGE,
        };
        let answered = match body {
            None => within(self.authorized(self.agent.get(url)), Some(time)).call(),
            Some(body) => {
                let request = self
                    .authorized(self.agent.post(url))
                    .header("content-type", "application/json");
                within(request, Some(time)).send(body)
            }
        };
        self.answer(answered.map_err(|error| self.unreachable(error))?)
    }

    pub(super) fn invoke(&self, invocation: &Invocation) -> Result<Invoked, Fault> {
        let mut response = self.post_call(invocation, "*/*")?;
        if !response.status().is_success() {
            return Err(self.failure(response));
        }
        let body = self.read(&mut response)?;
        let headers = response.headers();
        Ok(Invoked {
            served_by: text(headers, "extman-served-by").into(),
            degraded: (text(headers, "extman-degraded") == "true")
                .then(|| text(headers, "extman-degraded-reason").into()),
            attempts: text(headers, "extman-attempts").parse().unwrap_or(1),
            age: text(headers, "extman-age-ms")
                .parse()
                .ok()
                .map(Duration::from_millis),
            reply: Reply {
                content_type: text(headers, "content-type").to_owned().into(),
                body,
                usage: Usage {
                    tokens_in: text(headers, "extman-tokens-in").parse().ok(),
                    tokens_out: text(headers, "extman-tokens-out").parse().ok(),
                    tokens_cached: text(headers, "extman-tokens-cached").parse().ok(),
                    tokens_reasoning: text(headers, "extman-tokens-reasoning").parse().ok(),
                },
                metadata: metadata(headers),
                ran: Duration::from_nanos(text(headers, "extman-ran-ns").parse().unwrap_or(0)),
            },
        })
    }

    /// Hands over each frame; ends when `frame` says `false`.
    pub(super) fn invoke_stream(
        &self,
        invocation: &Invocation,
        mut frame: impl FnMut(&[u8]) -> bool,
    ) -> Result<Option<Invoked>, Fault> {
        let response = self.post_call(invocation, "text/event-stream")?;
        if !response.status().is_success() {
            return Err(self.failure(response));
        }
        let body = response.into_body().into_with_config().limit(u64::MAX).reader();
        let mut events = Events::new(BufReader::new(body));
        loop {
            let event = events.next().map_err(|error| self.cut_off(&error))?;
            let event = event.ok_or_else(|| self.cut_off(&"the stream has no end"))?;
            match event.name.as_str() {
                "frame" if !frame(&bytes(self.data(&event.data)?)?) => return Ok(None),
                "done" => return Ok(Some(self.data::<StreamDone>(&event.data)?.into())),
                "error" => return Err(self.data::<Failure>(&event.data)?.into()),
                _ => {}
            }
        }
    }

    fn authorized<B>(&self, request: RequestBuilder<B>) -> RequestBuilder<B> {
        match &self.token {
            Some(token) => request.header("authorization", format!("Bearer {token}")),
            None => request,
        }
    }

    fn post_call(&self, invocation: &Invocation, accept: &str) -> Result<Response<Body>, Fault> {
        let capability = encoded(&invocation.capability);
        let url = format!("{}/api/v1/capabilities/{capability}/invoke", self.url);
        let mut request = self
            .authorized(self.agent.post(url))
            .header("content-type", &invocation.content_type)
            .header("accept", accept);
        let extras = &invocation.extras;
        if !extras.capability_version.is_empty() {
            request = request.header("extman-capability-version", &extras.capability_version);
        }
        for (key, value) in &extras.metadata {
            request = request.header(format!("{METADATA_PREFIX}{key}"), value);
        }
        if let Some(instance) = &invocation.instance {
            request = request.query("instance", instance);
        }
        if let Some(timeout) = invocation.timeout {
            request = request.query("timeout_ms", timeout.as_millis().to_string());
        }
        // Who refuses a large body says so before it is sent; else nobody would read the answer.
        if invocation.body.len() > ASK_FIRST_BYTES {
            request = request.header("expect", "100-continue");
        }
        within(request, invocation.timeout.map(|timeout| timeout + OVER))
            .send(&invocation.body[..])
            .map_err(|error| self.unreachable(error))
    }

    fn answer<T: DeserializeOwned>(&self, mut response: Response<Body>) -> Result<T, Fault> {
        if !response.status().is_success() {
            return Err(self.failure(response));
        }
        let body = self.read(&mut response)?;
        let envelope: Envelope<T> = self.envelope(&body, response.status().as_u16())?;
        envelope
            .data
            .ok_or_else(|| self.no_extman_host("an envelope without data"))
    }

    fn failure(&self, mut response: Response<Body>) -> Fault {
        let status = response.status().as_u16();
        let envelope = self
            .read(&mut response)
            .and_then(|body| self.envelope::<serde_json::Value>(&body, status));
        match envelope.map(|envelope| envelope.error) {
            Ok(Some(failure)) => failure.into(),
            Ok(None) => self.no_extman_host(&format!("HTTP {status} without an error")),
            Err(fault) => fault,
        }
    }

    fn envelope<T: DeserializeOwned>(&self, body: &[u8], status: u16) -> Result<Envelope<T>, Fault> {
        #[derive(Deserialize)]
        struct Versioned {
            schema_version: u32,
        }
        let versioned: Versioned = serde_json::from_slice(body)
            .map_err(|_| self.no_extman_host(&format!("HTTP {status} and no envelope")))?;
        if versioned.schema_version != SCHEMA_VERSION {
            return Err(Fault::no_host(format!(
                "the host at {} speaks version {} of the API, this program version {SCHEMA_VERSION}",
                self.url, versioned.schema_version
            ))
            .next("use the program of the host's version"));
        }
        serde_json::from_slice(body)
            .map_err(|error| self.no_extman_host(&format!("an answer of another shape: {error}")))
    }

    fn data<T: DeserializeOwned>(&self, data: &str) -> Result<T, Fault> {
        serde_json::from_str(data)
            .map_err(|error| self.no_extman_host(&format!("an event of another shape: {error}")))
    }

    fn read(&self, response: &mut Response<Body>) -> Result<Vec<u8>, Fault> {
        let body = response.body_mut().with_config().limit(ANSWER_BYTES_MAX);
        body.read_to_vec().map_err(|error| self.cut_off(&error))
    }

    fn unreachable(&self, error: ureq::Error) -> Fault {
        let url = &self.url;
        match error {
            ureq::Error::BadUri(why) => Fault::usage(format!("the host's URL is {url:?}: {why}")),
            ureq::Error::Http(why) => Fault::usage(format!(
                "the request to {url:?} can't be sent: {why}; check that URL, the token and the content type"
            )),
            ureq::Error::Timeout(which) if which != ureq::Timeout::Connect => {
                Fault::no_host(format!("the host at {url} did not answer in time"))
                    .next("see whether it is overloaded or stopped; a call gets more time with --timeout")
            }
            error => Fault::no_host(format!("no host answers at {url}: {error}"))
                .next("start one with `extman serve`, name another with --url, or give --dir to do without"),
        }
    }

    fn cut_off(&self, error: &dyn std::fmt::Display) -> Fault {
        Fault::no_host(format!(
            "the answer of the host at {} was cut off: {error}",
            self.url
        ))
        .next("see the host's log")
    }

    fn no_extman_host(&self, what: &str) -> Fault {
        Fault::no_host(format!("what answers at {} is no extman host: {what}", self.url))
            .next("name the host with --url")
    }
}

fn within<B>(request: RequestBuilder<B>, time: Option<Duration>) -> RequestBuilder<B> {
    request.config().timeout_global(time).build()
}

/// The path of a command below `/api/v1`, and the body of one that changes something.
fn request(command: &Command) -> (String, Option<String>) {
    let of = |name: &str, rest: &str| format!("/plugins/{}{rest}", encoded(name));
    let of_any = |name: &Option<String>, rest: &str| match name {
        Some(name) => of(name, rest),
        None => rest.to_owned(),
    };
    let nothing = || Some("{}".to_owned());
    let path = match command {
        Command::Status
        | Command::Plugins
        | Command::Capabilities
        | Command::Dependencies
        | Command::Health => format!("/{}", command.word()),
        Command::Plugin { name } => of(name, ""),
        Command::PluginHealth { name } => of(name, "/health"),
        Command::History { name, since_ms } => of(name, &format!("/history?since={since_ms}ms")),
        Command::Uptime { name, since_ms } => of_any(name, &format!("/uptime?since={since_ms}ms")),
        Command::Analyse { name, since_ms, full } => {
            of(name, &format!("/analysis?since={since_ms}ms&full={full}"))
        }
        Command::Config { name } => of(name, "/config"),
        Command::ConfigDiff { name } => of(name, "/config/diff"),
        Command::ConfigHistory { name } => of(name, "/config/history"),
        Command::ChangeConfig { name, asked } => {
            // Plain data, keyed by text: it always becomes JSON.
            let body = serde_json::to_string(asked).unwrap_or_default();
            return (of(name, "/config"), Some(body));
        }
        Command::RollBackConfig { name, to, who } => {
            let body = serde_json::json!({ "to": to, "who": who }).to_string();
            return (of(name, "/config/rollback"), Some(body));
        }
        Command::Maintenance { name } => of_any(name, "/maintenance"),
        Command::Events(asked) => events(asked),
        Command::CheckNow { name, deep } => {
            let rest = if *deep { "/check?deep=true" } else { "/check" };
            return (of(name, rest), nothing());
        }
        Command::StartMaintenance { name, asked } => {
            let mut body = serde_json::json!({"for": format!("{}ms", asked.for_ms)});
            if let Some(reason) = &asked.reason {
                body["reason"] = reason.as_str().into();
            }
            return (of(name, "/maintenance"), Some(body.to_string()));
        }
        Command::EndMaintenance { name } => {
            return (of(name, "/maintenance"), Some(r#"{"end":true}"#.to_owned()));
        }
        Command::Rollout { name } => of(name, "/rollout"),
        Command::ChangeRollout { name, change } => {
            let rest = match change {
                RolloutCommand::Pause => "/rollout/pause",
                RolloutCommand::Resume => "/rollout/resume",
                RolloutCommand::Promote => "/rollout/promote",
                RolloutCommand::Abort => "/rollout/abort",
            };
            return (of(name, rest), nothing());
        }
        Command::Update { name, to } => {
            let body = match to {
                UpdateTo::Newest => serde_json::json!({}),
                UpdateTo::Version(version) => serde_json::json!({ "to": version }),
                UpdateTo::File(file) => serde_json::json!({ "file": file }),
            };
            return (of(name, "/update"), Some(body.to_string()));
        }
        Command::Unload { name, cascade: true } | Command::Disable { name, cascade: true } => {
            let path = format!("/{}", command.word());
            return (of(name, &path), Some(r#"{"cascade":true}"#.to_owned()));
        }
        Command::Load { name }
        | Command::Unload { name, .. }
        | Command::Restart { name }
        | Command::RollBack { name }
        | Command::Enable { name }
        | Command::Disable { name, .. } => {
            return (of(name, &format!("/{}", command.word())), nothing());
        }
    };
    (path, None)
}

fn events(asked: &EventsAsked) -> String {
    let mut path = format!("/events?wait_ms={}", asked.wait_ms);
    if let Some(after) = asked.after {
        path.push_str(&format!("&after={after}"));
    }
    if let Some(since) = asked.since_unix_ms {
        let now = clock::unix_ms(clock::wall());
        path.push_str(&format!("&since={}ms", now.saturating_sub(since)));
    }
    path
}

fn bytes(frame: StreamFrame) -> Result<Vec<u8>, Fault> {
    match (frame.text, frame.base64) {
        (Some(text), _) => Ok(text.into_bytes()),
        (None, base64) => STANDARD
            .decode(base64.unwrap_or_default())
            .map_err(|error| Fault::no_host(format!("a frame can't be read: {error}; see the host's log"))),
    }
}

fn read_token(path: &std::path::Path) -> Result<String, Fault> {
    let mut text = String::new();
    std::fs::File::open(path)
        .and_then(|file| file.take(TOKEN_BYTES_MAX).read_to_string(&mut text))
        .map_err(|error| {
            Fault::usage(format!(
                "--token-file {}: {error}; check the path and its permissions",
                path.display()
            ))
        })?;
    Ok(text.trim().to_owned())
}

/// As one segment of a path.
fn encoded(name: &str) -> String {
    let keep = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    let mut text = String::with_capacity(name.len());
    for byte in name.bytes() {
        if keep(byte) && name != "." && name != ".." {
            text.push(byte as char);
        } else {
            text.push_str(&format!("%{byte:02X}"));
        }
    }
    text
}

fn metadata(headers: &HeaderMap) -> Vec<(String, String)> {
    let pair = |(name, value): (&ureq::http::HeaderName, &ureq::http::HeaderValue)| {
        let key = name.as_str().strip_prefix(METADATA_PREFIX)?;
        Some((key.to_owned(), value.to_str().ok()?.to_owned()))
    };
    headers.iter().filter_map(pair).collect()
}

fn text<'h>(headers: &'h HeaderMap, name: &str) -> &'h str {
    headers
        .get(name)
        .and_then(|value| value.to_str().ok())
        .unwrap_or("")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_one_segment() {
        assert_eq!(encoded("text.embed"), "text.embed");
        assert_eq!(encoded("a/b?c ü"), "a%2Fb%3Fc%20%C3%BC");
        assert_eq!(encoded(".."), "%2E%2E");
    }

    #[test]
    fn the_url_comes_from_the_argument_then_the_environment_then_the_default() {
        let url = |argument: Option<&str>, variable: Option<&str>| {
            let target = Target {
                url: argument.map(str::to_owned),
                ..Target::default()
            };
            let env = |name: &str| variable.filter(|_| name == "EXTMAN_URL").map(str::to_owned);
            Remote::of(&target, env).map(|remote| remote.url)
        };
        assert_eq!(url(Some("http://a/"), Some("http://b")).unwrap(), "http://a");
        assert_eq!(url(None, Some("http://b")).unwrap(), "http://b");
        assert_eq!(url(None, Some("")).unwrap(), DEFAULT_URL);
        let refused = url(Some("https://a"), None).unwrap_err();
        assert!(refused.failure.text.contains("https"), "{refused:?}");
    }
}
