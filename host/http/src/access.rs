//! Who may ask what. Pure: it sees a request's head and its peer, and says yes or why not.
//!
//! | | no token configured | a token configured |
//! |---|---|---|
//! | `/livez`, `/readyz` | open | open |
//! | reads | local | local, or with the token |
//! | calls and changes | local, and from no other site's page | with the token |
//!
//! *Local* is a peer on loopback that names a loopback host, without a proxy in between. The name is checked since a
//! page may point its own name at 127.0.0.1; an address in it is no name that anybody can point elsewhere.

use super::secret::Secret;
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE, FORWARDED, HOST, HeaderName, ORIGIN, VIA};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, Method, StatusCode, Uri, request::Parts};
use extman_model::control::Failure;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// Where a request came from.
#[derive(Debug, Clone, Copy)]
pub(super) struct Peer(pub(super) SocketAddr);

/// What a request is about to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Act {
    /// Ask for a word that tells nothing.
    Ping,
    /// Read.
    Read,
    /// Call a capability.
    Invoke,
    /// Change an instance.
    Change,
}

impl Act {
    pub(super) fn of(method: &Method, uri: &Uri) -> Act {
        let reads = method == Method::GET || method == Method::HEAD;
        match uri.path() {
            "/livez" | "/readyz" if reads => Act::Ping,
            _ if reads => Act::Read,
            path if path.starts_with("/api/v1/capabilities/") => Act::Invoke,
            _ => Act::Change,
        }
    }
}

/// Lets a request pass, or says with which status and why it may not.
pub(super) fn admit(
    token: Option<&Secret>,
    peer: Option<Peer>,
    head: &Parts,
) -> Result<(), (StatusCode, Failure)> {
    let act = Act::of(&head.method, &head.uri);
    if act == Act::Ping {
        return Ok(());
    }
    if let Some(token) = token {
        match bearer(&head.headers) {
            Some(presented) if token.is(presented) => return media_type(act, head),
            Some(_) => return Err(unauthorized("the bearer token is not this host's")),
            None if act != Act::Read => {
                return Err(unauthorized(
                    "this host wants a bearer token for calls and changes",
                ));
            }
            None => {}
        }
    }
    local(peer, head).map_err(|why| match token {
        Some(_) => unauthorized("reads from other machines or by other names need the bearer token"),
        None => forbidden(why),
    })?;
    if act != Act::Read {
        own_page(act, head)?;
        media_type(act, head)?;
    }
    Ok(())
}

fn local(peer: Option<Peer>, head: &Parts) -> Result<(), &'static str> {
    let loopback = |ip: IpAddr| ip.to_canonical().is_loopback();
    if !peer.is_some_and(|peer| loopback(peer.0.ip())) {
        return Err("without a token this host answers on its own machine only; set http.token_file");
    }
    if head.headers.keys().any(is_set_by_proxies) {
        return Err("the request came through a proxy, and this host has no token; set http.token_file");
    }
    if !host(head).is_some_and(|host| names_loopback(&host)) || !head.uri.host().is_none_or(is_loopback_name)
    {
        return Err(
            "the Host header names another machine; ask by localhost, an address of 127.0.0.0/8 or [::1], or set \
             http.token_file",
        );
    }
    Ok(())
}

/// Headers by which a proxy says that it passed a request on. A client that sends one of them by itself only makes itself remote.
fn is_set_by_proxies(name: &HeaderName) -> bool {
    const OTHERS: [&str; 4] = ["x-real-ip", "x-client-ip", "true-client-ip", "cf-connecting-ip"];
    *name == FORWARDED
        || *name == VIA
        || name.as_str().starts_with("x-forwarded-")
        || OTHERS.contains(&name.as_str())
}

/// The only Host header there is.
fn host(head: &Parts) -> Option<Authority> {
    let mut values = head.headers.get_all(HOST).iter();
    let only = values.next().filter(|_| values.next().is_none())?;
    Authority::try_from(only.as_bytes()).ok()
}

fn names_loopback(authority: &Authority) -> bool {
    !authority.as_str().contains('@') && is_loopback_name(authority.host())
}

fn is_loopback_name(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost")
        || host == "[::1]"
        || host
            .parse::<Ipv4Addr>()
            .is_ok_and(|address| address.is_loopback())
}

/// A page of another site may send requests to this host, though it can't read the answers: those are refused.
fn own_page(act: Act, head: &Parts) -> Result<(), (StatusCode, Failure)> {
    let refuse = || {
        forbidden("the request comes from a page of another site; pages may drive a host only with its token")
    };
    let site = head.headers.get("sec-fetch-site");
    if site.is_some_and(|site| site != "same-origin" && site != "none") {
        return Err(refuse());
    }
    let mut origins = head.headers.get_all(ORIGIN).iter();
    let Some(origin) = origins.next() else {
        return Ok(());
    };
    let own = host(head).is_some_and(|host| {
        origin
            .to_str()
            .is_ok_and(|origin| origin.eq_ignore_ascii_case(&format!("http://{host}")))
    });
    if !own || origins.next().is_some() {
        return Err(refuse());
    }
    if act == Act::Invoke && sendable_by_a_form(&head.headers) {
        return Err(unsupported(
            "a page calls with another content type than a form's, such as application/json",
        ));
    }
    Ok(())
}

fn sendable_by_a_form(headers: &HeaderMap) -> bool {
    const FORMS: [&str; 4] = [
        "",
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data",
    ];
    FORMS.contains(&essence(headers).as_str())
}

fn media_type(act: Act, head: &Parts) -> Result<(), (StatusCode, Failure)> {
    if act == Act::Change && essence(&head.headers) != "application/json" {
        return Err(unsupported("send content-type: application/json"));
    }
    Ok(())
}

/// The media type without its parameters.
fn essence(headers: &HeaderMap) -> String {
    let value = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let essence = value.and_then(|value| value.split(';').next()).unwrap_or("");
    essence.trim().to_ascii_lowercase()
}

fn bearer(headers: &HeaderMap) -> Option<&[u8]> {
    let value = headers.get(AUTHORIZATION)?.as_bytes();
    let (scheme, token) = value.split_at_checked(7)?;
    scheme.eq_ignore_ascii_case(b"bearer ").then_some(token)
}

fn unauthorized(text: &str) -> (StatusCode, Failure) {
    let text = format!("{text}; send `Authorization: Bearer …` with the token of the host's configuration");
    (StatusCode::UNAUTHORIZED, Failure::new("unauthorized", text))
}

fn forbidden(text: &str) -> (StatusCode, Failure) {
    (StatusCode::FORBIDDEN, Failure::new("forbidden", text))
}

fn unsupported(text: &str) -> (StatusCode, Failure) {
    (
        StatusCode::UNSUPPORTED_MEDIA_TYPE,
        Failure::new("unsupported_media_type", text),
    )
}

#[cfg(test)]
#[path = "access_tests.rs"]
mod tests;
