//! HTTP by hand, so that a test sends exactly what it means to send.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// How long a test waits for anything.
pub const PATIENCE: Duration = Duration::from_secs(30);

pub struct Wire(pub BufReader<TcpStream>);

#[derive(Debug)]
pub struct Heard {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Heard {
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(n, _)| n == name);
        found.map(|(_, value)| value.as_str())
    }

    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub fn json(&self) -> serde_json::Value {
        assert_eq!(self.header("content-type"), Some("application/json"), "{self:?}");
        serde_json::from_slice(&self.body).unwrap()
    }

    /// The failure's kind, after a look at the envelope around it.
    pub fn failure(&self) -> String {
        let envelope = self.json();
        assert_eq!(envelope["schema_version"], 1);
        assert_eq!(envelope["ok"], false, "{envelope}");
        assert!(
            envelope.get("data").is_none() && envelope["command"].is_string(),
            "{envelope}"
        );
        assert!(
            envelope["error"]["text"].as_str().unwrap().len() > 5,
            "{envelope}"
        );
        envelope["error"]["kind"].as_str().unwrap().to_owned()
    }
}

impl Wire {
    pub fn to(address: SocketAddr) -> Wire {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        Wire(BufReader::new(stream))
    }

    pub fn send(&mut self, text: &[u8]) {
        self.0.get_mut().write_all(text).unwrap();
    }

    pub fn line(&mut self) -> String {
        let mut line = String::new();
        self.0.read_line(&mut line).unwrap();
        line.trim_end_matches(['\r', '\n']).to_owned()
    }

    /// Status and headers; the body is still to come.
    pub fn head(&mut self) -> Heard {
        let line = self.line();
        let status = line.split(' ').nth(1).unwrap_or_else(|| panic!("{line:?}"));
        let status = status.parse().unwrap();
        let mut headers = Vec::new();
        loop {
            let line = self.line();
            let Some((name, value)) = line.split_once(':') else {
                break;
            };
            headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        Heard {
            status,
            headers,
            body: Vec::new(),
        }
    }

    pub fn hear(&mut self) -> Heard {
        let mut heard = self.head();
        let length = heard.header("content-length").unwrap().parse().unwrap();
        heard.body = vec![0; length];
        self.0.read_exact(&mut heard.body).unwrap();
        heard
    }

    /// Whether the other end closes.
    pub fn closes(&mut self) -> bool {
        matches!(self.0.read(&mut [0; 64]), Ok(0))
    }
}

/// One request with a loopback Host, these headers and this body.
pub fn ask(address: SocketAddr, line: &str, headers: &[&str], body: &[u8]) -> Heard {
    let mut wire = Wire::to(address);
    wire.send(&request(line, headers, body));
    wire.hear()
}

pub fn request(line: &str, headers: &[&str], body: &[u8]) -> Vec<u8> {
    let mut text = format!(
        "{line} HTTP/1.1\r\nconnection: close\r\ncontent-length: {}\r\n",
        body.len()
    );
    if !headers.iter().any(|header| header.starts_with("host:")) {
        text.push_str("host: localhost\r\n");
    }
    for header in headers {
        text.push_str(header);
        text.push_str("\r\n");
    }
    text.push_str("\r\n");
    [text.as_bytes(), body].concat()
}
