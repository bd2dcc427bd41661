//! The configuration of the HTTP API.

use super::secret::Secret;
use extman_model::control::listen_address;
use extman_model::{FieldFault, UnfitFields};
use serde::{Deserialize, Serialize};
use std::io::Read;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

/// `[http]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HttpConfig {
    /// Address and port; `localhost` is 127.0.0.1. Anything but loopback needs a token. Default: `127.0.0.1:8642`.
    #[serde(deserialize_with = "listen")]
    pub listen: SocketAddr,
    /// Bearer token, 16 visible ASCII characters or more. Default: none.
    pub token: Option<Secret>,
    /// File that holds the token, white space around it ignored. Not together with `token`. Default: none.
    pub token_file: Option<PathBuf>,
    /// Largest body of a call, in bytes. Default: 16 MiB.
    pub body_bytes_max: usize,
    /// Milliseconds within which a whole request head comes; also the longest that a connection stays idle. Default: 10000.
    pub header_timeout_ms: u64,
    /// Milliseconds within which a whole body comes. Default: 30000.
    pub body_timeout_ms: u64,
    /// Most connections at a time. Beyond it, those that have not asked for anything yet give way. Default: 1024.
    pub connections_max: usize,
    /// Most connections of one address at a time; further ones are refused with 503. Default: 512.
    pub connections_per_peer_max: usize,
    /// Most requests at a time; further ones are refused with 503. `/livez`, `/readyz` and `/health` have slots of their own.
    /// Default: 256.
    pub requests_max: usize,
    /// Milliseconds that open requests get when the host shuts down. Default: 5000.
    pub shutdown_ms: u64,
}

impl Default for HttpConfig {
    fn default() -> Self {
        HttpConfig {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 8642)),
            token: None,
            token_file: None,
            body_bytes_max: 16 << 20,
            header_timeout_ms: 10_000,
            body_timeout_ms: 30_000,
            connections_max: 1024,
            connections_per_peer_max: 512,
            requests_max: 256,
            shutdown_ms: 5_000,
        }
    }
}

impl HttpConfig {
    /// Checks the numbers, and that the token can be used and is there if `listen` is within reach of other machines.
    /// Reads the token's file.
    ///
    /// # Errors
    /// What is wrong.
    pub fn check(&self, listen: SocketAddr) -> Result<(), UnfitFields> {
        UnfitFields::check(self.faults(listen))
    }

    /// All that [`check`](Self::check) finds.
    pub fn faults(&self, listen: SocketAddr) -> Vec<FieldFault> {
        let hour = 3_600_000;
        let per_peer_max = self.connections_per_peer_max as u64;
        let ranges = [
            ("body_bytes_max", self.body_bytes_max as u64, 1, 1 << 32),
            ("header_timeout_ms", self.header_timeout_ms, 10, hour),
            ("body_timeout_ms", self.body_timeout_ms, 10, hour),
            ("connections_max", self.connections_max as u64, 1, 100_000),
            ("connections_per_peer_max", per_peer_max, 1, 100_000),
            ("requests_max", self.requests_max as u64, 1, 100_000),
            ("shutdown_ms", self.shutdown_ms, 0, hour),
        ];
        let mut faults: Vec<FieldFault> = FieldFault::out_of_range(ranges).collect();
        match self.secret() {
            Err(fault) => faults.push(fault),
            Ok(None) if !listen.ip().to_canonical().is_loopback() => {
                let goes_on = format!(
                    "is {listen}, which other machines may reach, and there is no token; set http.token_file, or listen on 127.0.0.1"
                );
                faults.push(FieldFault::new("listen", goes_on));
            }
            Ok(_) => {}
        }
        faults
            .into_iter()
            .map(|fault| fault.within("http", None))
            .collect()
    }

    /// The token, from wherever it comes.
    pub(super) fn secret(&self) -> Result<Option<Secret>, FieldFault> {
        let (secret, field) = match (&self.token, &self.token_file) {
            (None, None) => return Ok(None),
            (Some(_), Some(_)) => {
                let goes_on = "and http.token_file are both given; remove one";
                return Err(FieldFault::new("token", goes_on));
            }
            (Some(secret), None) => (secret.clone(), "token"),
            (None, Some(path)) => match read_token(path) {
                Ok(secret) => (secret, "token_file"),
                Err(error) => {
                    let goes_on = format!("{}: {error}; check the path and its permissions", path.display());
                    return Err(FieldFault::new("token_file", goes_on));
                }
            },
        };
        if !secret.is_fit() {
            let goes_on = format!(
                "holds no usable token; give {} to {} visible ASCII characters without spaces, such as from `openssl rand -hex 32`",
                Secret::BYTES_MIN,
                Secret::BYTES_MAX
            );
            return Err(FieldFault::new(field, goes_on));
        }
        Ok(Some(secret))
    }

    pub(super) fn header_timeout(&self) -> Duration {
        Duration::from_millis(self.header_timeout_ms)
    }

    pub(super) fn body_timeout(&self) -> Duration {
        Duration::from_millis(self.body_timeout_ms)
    }
}

fn listen<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<SocketAddr, D::Error> {
    let text = String::deserialize(deserializer)?;
    listen_address(&text).map_err(serde::de::Error::custom)
}

fn read_token(path: &std::path::Path) -> std::io::Result<Secret> {
    let mut text = String::new();
    std::fs::File::open(path)?
        .take(2 * Secret::BYTES_MAX as u64)
        .read_to_string(&mut text)?;
    Ok(Secret::new(text.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(json: &str, listen: &str) -> Result<(), String> {
        let config: HttpConfig = serde_json::from_str(json).map_err(|e| e.to_string())?;
        config.check(listen.parse().unwrap()).map_err(|e| e.to_string())
    }

    const TOKEN: &str = r#"{"token": "0123456789abcdef"}"#;

    #[test]
    fn another_address_than_loopback_needs_a_token() {
        for listen in ["127.0.0.1:1", "127.9.9.9:1", "[::1]:1", "[::ffff:127.0.0.1]:1"] {
            check("{}", listen).unwrap();
        }
        for listen in ["0.0.0.0:1", "[::]:1", "192.168.0.2:1"] {
            let error = check("{}", listen).unwrap_err();
            assert!(error.contains(listen) && error.contains("token_file"), "{error}");
            check(TOKEN, listen).unwrap();
        }
    }

    #[test]
    fn what_cannot_work_is_refused_by_name() {
        for (json, expected) in [
            (r#"{"tokn": "x"}"#, "unknown field `tokn`"),
            (r#"{"token": "short"}"#, "http.token holds no usable token"),
            (
                r#"{"token": "0123456789abcdef", "token_file": "x"}"#,
                "both given",
            ),
            (r#"{"token_file": "/does/not/exist"}"#, "/does/not/exist"),
            (r#"{"requests_max": 0}"#, "http.requests_max is 0"),
            (r#"{"listen": "models.example:1"}"#, "no address to listen on"),
            (r#"{"header_timeout_ms": 1}"#, "http.header_timeout_ms is 1"),
        ] {
            let error = check(json, "127.0.0.1:1").unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn all_that_is_wrong_is_told_at_once() {
        let json = r#"{"requests_max": 0, "shutdown_ms": 3600001, "token": "short"}"#;
        let config: HttpConfig = serde_json::from_str(json).unwrap();
        let faults = config.faults(config.listen).into_iter().map(|fault| fault.field);
        let expected = ["http.requests_max", "http.shutdown_ms", "http.token"];
        assert_eq!(faults.collect::<Vec<_>>(), expected);
    }

    #[test]
    fn localhost_is_an_address_to_listen_on() {
        let config: HttpConfig = serde_json::from_str(r#"{"listen": "LocalHost:8642"}"#).unwrap();
        assert_eq!(config, HttpConfig::default());
    }

    #[test]
    fn a_token_comes_from_a_file_without_its_newline() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        std::fs::write(&path, "0123456789abcdef\n").unwrap();
        let config = HttpConfig {
            token_file: Some(path),
            ..HttpConfig::default()
        };
        assert!(config.secret().unwrap().unwrap().is(b"0123456789abcdef"));
    }
}
