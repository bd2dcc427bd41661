//! The host's HTTP API, as the demo uses it.

use super::DemoError;
use serde_json::Value;
use std::time::{Duration, Instant};

/// How long plugins may take until they are up.
const READY: Duration = Duration::from_secs(180);

/// A client of one host.
pub(super) struct Client {
    agent: ureq::Agent,
    url: String,
}

/// An answer of a plugin.
pub(super) struct Answer {
    /// The instance that served.
    pub served_by: String,
    /// The output.
    pub body: Value,
}

impl Client {
    pub(super) fn new(url: &str) -> Self {
        let config = ureq::Agent::config_builder().http_status_as_error(false);
        let config = config.timeout_global(Some(Duration::from_secs(120)));
        Client {
            agent: config.build().into(),
            url: url.to_owned(),
        }
    }

    /// Waits until every plugin has been started or refused.
    pub(super) fn wait_ready(&self) -> Result<(), DemoError> {
        let since = Instant::now();
        loop {
            let answered = self.agent.get(format!("{}/readyz", self.url)).call();
            // Ready is a host while plugins that it does not need are still being started.
            if answered.is_ok_and(|response| response.status() == 200)
                && self.get("/api/v1/status")?["instances"]["starting"].is_null()
            {
                return Ok(());
            }
            if since.elapsed() > READY {
                return Err(DemoError::Call(format!(
                    "the host was not ready within {READY:?}"
                )));
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// The `data` of a GET.
    pub(super) fn get(&self, path: &str) -> Result<Value, DemoError> {
        let mut response = self
            .agent
            .get(format!("{}{path}", self.url))
            .call()
            .map_err(|e| failed(path, &e))?;
        data(
            path,
            response.body_mut().read_json().map_err(|e| failed(path, &e))?,
        )
    }

    /// The `data` of a POST that changes an instance.
    pub(super) fn change(&self, path: &str) -> Result<Value, DemoError> {
        let sent = self
            .agent
            .post(format!("{}{path}", self.url))
            .content_type("application/json")
            .send("{}");
        let mut response = sent.map_err(|e| failed(path, &e))?;
        data(
            path,
            response.body_mut().read_json().map_err(|e| failed(path, &e))?,
        )
    }

    /// Calls a capability.
    pub(super) fn call(
        &self,
        capability: &str,
        instance: Option<&str>,
        content_type: &str,
        body: &[u8],
    ) -> Result<Answer, DemoError> {
        let mut path = format!("/api/v1/capabilities/{capability}/invoke");
        if let Some(instance) = instance {
            path = format!("{path}?instance={instance}");
        }
        let sent = self
            .agent
            .post(format!("{}{path}", self.url))
            .content_type(content_type)
            .send(body);
        let mut response = sent.map_err(|e| failed(&path, &e))?;
        let served_by = response
            .headers()
            .get("extman-served-by")
            .and_then(|v| v.to_str().ok());
        let served_by = served_by.unwrap_or_default().to_owned();
        let body: Value = response.body_mut().read_json().map_err(|e| failed(&path, &e))?;
        if response.status() != 200 {
            return Err(DemoError::Call(format!("{capability} brought no answer: {body}")));
        }
        Ok(Answer { served_by, body })
    }
}

fn data(path: &str, mut envelope: Value) -> Result<Value, DemoError> {
    if envelope["ok"] != true {
        return Err(DemoError::Call(format!("{path}: {}", envelope["error"])));
    }
    Ok(envelope["data"].take())
}

fn failed(path: &str, error: &ureq::Error) -> DemoError {
    DemoError::Call(format!("{path}: {error}"))
}
