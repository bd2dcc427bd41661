//! A host that runs elsewhere, over HTTP.

use super::args::Target;
use super::fault::Fault;
use super::sse::Events;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use extman_model::clock;
use extman_model::control::{
    Answer, Command, Envelope, Failure, Invocation, Invoked, METADATA_PREFIX, SCHEMA_VERSION,
};
use extman_model::{Reply, Usage};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use std::io::{BufReader, Read};
use std::time::Duration;
use ureq::http::{HeaderMap, Response};
use ureq::{Agent, Body};

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

    pub(super) fn run(&self, command: &Command) -> Result<Answer, Fault> {
        let plugin = |name: &str| format!("/api/v1/plugins/{}", encoded(name));
        Ok(match command {
            Command::Status => Answer::Status(self.get("/api/v1/status")?),
            Command::Plugins => Answer::Plugins(self.get("/api/v1/plugins")?),
            Command::Capabilities => Answer::Capabilities(self.get("/api/v1/capabilities")?),
            Command::Dependencies => Answer::Dependencies(self.get("/api/v1/dependencies")?),
            Command::Plugin { name } => Answer::Plugin(self.get(&plugin(name))?),
            Command::Health => Answer::Health(self.get("/api/v1/health")?),
            Command::PluginHealth { name } => {
                Answer::PluginHealth(self.get(&format!("{}/health", plugin(name)))?)
            }
            Command::History { name, since_ms } => {
                Answer::History(self.get(&format!("{}/history?since={since_ms}ms", plugin(name)))?)
            }
            Command::Uptime { name, since_ms } => {
                let at = name.as_deref().map_or_else(|| "/api/v1".to_owned(), plugin);
                Answer::Uptime(self.get(&format!("{at}/uptime?since={since_ms}ms"))?)
            }
            Command::Analyse { name, since_ms, full } => {
                let path = format!("{}/analysis?since={since_ms}ms&full={full}", plugin(name));
                Answer::Analysis(self.get(&path)?)
            }
            Command::Events(asked) => {
                let number = |name, value: Option<u64>| value.map(|value| format!("{name}={value}"));
                let now = clock::unix_ms(clock::wall());
                let since = asked
                    .since_unix_ms
                    .map(|since| format!("since={}ms", now.saturating_sub(since)));
                let query: Vec<String> = number("after", asked.after)
                    .into_iter()
                    .chain(since)
                    .chain(number("wait_ms", Some(asked.wait_ms)))
                    .collect();
                let path = format!("/api/v1/events?{}", query.join("&"));
                Answer::Events(self.get_within(&path, READ + Duration::from_millis(asked.wait_ms))?)
            }
            Command::CheckNow { name, deep } => {
                let query = if *deep { "?deep=true" } else { "" };
                Answer::PluginHealth(self.change(&format!("{}/check{query}", plugin(name)))?)
            }
            Command::Maintenance { name } => {
                let at = name.as_deref().map_or_else(|| "/api/v1".to_owned(), plugin);
                Answer::Maintenance(self.get(&format!("{at}/maintenance"))?)
            }
            Command::StartMaintenance { name, asked } => {
                let mut body = serde_json::json!({"for": format!("{}ms", asked.for_ms)});
                if let Some(reason) = &asked.reason {
                    body["reason"] = reason.as_str().into();
                }
                Answer::Maintenance(self.post(&format!("{}/maintenance", plugin(name)), &body.to_string())?)
            }
            Command::EndMaintenance { name } => {
                let path = format!("{}/maintenance", plugin(name));
                Answer::Maintenance(self.post(&path, r#"{"end":true}"#)?)
            }
            Command::Load { name }
            | Command::Unload { name }
            | Command::Restart { name }
            | Command::Enable { name }
            | Command::Disable { name } => {
                Answer::Plugin(self.change(&format!("{}/{}", plugin(name), command.word()))?)
            }
        })
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
                "frame" if !frame(&self.data::<Frame>(&event.data)?.bytes()?) => return Ok(None),
                "done" => return Ok(Some(self.data::<Done>(&event.data)?.invoked())),
                "error" => return Err(self.data::<Failure>(&event.data)?.into()),
                _ => {}
            }
        }
    }

    fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Fault> {
        self.get_within(path, READ)
    }

    fn get_within<T: DeserializeOwned>(&self, path: &str, time: Duration) -> Result<T, Fault> {
        let mut request = self.agent.get(format!("{}{path}", self.url));
        if let Some(token) = &self.token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let response = request.config().timeout_global(Some(time)).build().call();
        self.answer(response.map_err(|error| self.unreachable(error))?)
    }

    fn change<T: DeserializeOwned>(&self, path: &str) -> Result<T, Fault> {
        self.post(path, "{}")
    }

    fn post<T: DeserializeOwned>(&self, path: &str, body: &str) -> Result<T, Fault> {
        let mut request = self
            .agent
            .post(format!("{}{path}", self.url))
            .header("content-type", "application/json");
        if let Some(token) = &self.token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let request = request.config().timeout_global(Some(CHANGE)).build();
        self.answer(request.send(body).map_err(|error| self.unreachable(error))?)
    }

    fn post_call(&self, invocation: &Invocation, accept: &str) -> Result<Response<Body>, Fault> {
        let capability = encoded(&invocation.capability);
        let mut request = self
            .agent
            .post(format!("{}/api/v1/capabilities/{capability}/invoke", self.url))
            .header("content-type", &invocation.content_type)
            .header("accept", accept);
        if let Some(token) = &self.token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
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
        request
            .config()
            .timeout_global(invocation.timeout.map(|timeout| timeout + OVER))
            .build()
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

#[derive(Deserialize)]
struct Frame {
    text: Option<String>,
    base64: Option<String>,
}

impl Frame {
    fn bytes(self) -> Result<Vec<u8>, Fault> {
        match (self.text, self.base64) {
            (Some(text), _) => Ok(text.into_bytes()),
            (None, base64) => STANDARD.decode(base64.unwrap_or_default()).map_err(|error| {
                Fault::no_host(format!("a frame can't be read: {error}; see the host's log"))
            }),
        }
    }
}

#[derive(Deserialize)]
struct Done {
    content_type: String,
    served_by: String,
    ran_ns: u64,
    #[serde(flatten)]
    usage: Usage,
    #[serde(default)]
    metadata: BTreeMap<String, String>,
}

impl Done {
    fn invoked(self) -> Invoked {
        Invoked {
            served_by: self.served_by.into(),
            reply: Reply {
                content_type: self.content_type.into(),
                body: Vec::new(),
                usage: self.usage,
                metadata: self.metadata.into_iter().collect(),
                ran: Duration::from_nanos(self.ran_ns),
            },
        }
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
