//! An address to listen on, as people write it.

use std::net::{Ipv4Addr, SocketAddr};

/// `ADDRESS:PORT`; the name `localhost` is 127.0.0.1. No other name is looked up: what it stands for may change.
///
/// # Errors
/// Why it is none, and how one looks.
pub fn listen_address(text: &str) -> Result<SocketAddr, String> {
    if let Some((name, port)) = text.rsplit_once(':')
        && name.eq_ignore_ascii_case("localhost")
        && let Ok(port) = port.parse()
    {
        return Ok(SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
    }
    text.parse().map_err(|_| {
        format!(
            "{text:?} is no address to listen on; give one such as 127.0.0.1:8642, localhost:8642 or [::1]:0"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_localhost_are_taken_and_other_names_refused() {
        for (text, address) in [
            ("127.0.0.2:80", "127.0.0.2:80"),
            ("LOCALHOST:0", "127.0.0.1:0"),
            ("[::1]:8642", "[::1]:8642"),
        ] {
            assert_eq!(listen_address(text).unwrap().to_string(), address);
        }
        for text in ["localhost", "localhost:x", "example.org:80", "127.0.0.1", ""] {
            assert!(
                listen_address(text).unwrap_err().contains("localhost:8642"),
                "{text}"
            );
        }
    }
}
