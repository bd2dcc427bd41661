use super::*;
use axum::http::Request;

const TOKEN: &str = "0123456789abcdef";
const LOAD: (&str, &str) = ("POST", "/api/v1/plugins/a/load");
const INVOKE: (&str, &str) = ("POST", "/api/v1/capabilities/a.b/invoke");
const LIST: (&str, &str) = ("GET", "/api/v1/plugins");
const LOCAL: (&str, &str) = ("host", "localhost:8642");
const JSON: (&str, &str) = ("content-type", "application/json; charset=utf-8");
const BEARER: (&str, &str) = ("authorization", "bEaReR 0123456789abcdef");
const NEAR: &str = "127.0.0.1:5";
const FAR: &str = "192.168.0.9:5";

fn status(token: bool, peer: &str, (method, uri): (&str, &str), headers: &[(&str, &str)]) -> u16 {
    let mut request = Request::builder().method(method).uri(uri);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let (head, ()) = request.body(()).unwrap().into_parts();
    let token = token.then(|| Secret::new(TOKEN));
    match admit(token.as_ref(), Some(Peer(peer.parse().unwrap())), &head) {
        Ok(()) => 200,
        Err((status, failure)) => {
            assert!(
                !failure.text.contains(TOKEN) && failure.text.len() > 20,
                "{failure:?}"
            );
            status.as_u16()
        }
    }
}

#[test]
fn livez_and_readyz_are_open() {
    for path in ["/livez", "/readyz"] {
        assert_eq!(status(true, FAR, ("GET", path), &[]), 200);
        assert_eq!(
            status(false, FAR, ("HEAD", path), &[("host", "evil.example")]),
            200
        );
        assert_eq!(
            status(false, FAR, ("POST", path), &[LOCAL, JSON]),
            403,
            "no probe"
        );
    }
}

#[test]
fn without_a_token_only_this_machine_by_a_name_of_its_own() {
    for host in [
        "localhost",
        "LOCALHOST:1",
        "127.0.0.1:8642",
        "127.0.0.2:8642",
        "127.255.0.9",
        "[::1]:8642",
        "[::1]",
    ] {
        assert_eq!(status(false, NEAR, LIST, &[("host", host)]), 200, "{host}");
        assert_eq!(
            status(false, "[::1]:5", LOAD, &[("host", host), JSON]),
            200,
            "{host}"
        );
    }
    for host in [
        "evil.example",
        "localhost.evil.example",
        "127.0.0.1.nip.io",
        "a@localhost",
        "10.0.0.1",
        "",
    ] {
        for what in [LIST, LOAD, INVOKE] {
            assert_eq!(status(false, NEAR, what, &[("host", host), JSON]), 403, "{host}");
        }
    }
    for what in [LIST, LOAD, INVOKE] {
        assert_eq!(status(false, FAR, what, &[LOCAL, JSON]), 403);
        assert_eq!(status(false, NEAR, what, &[JSON]), 403, "no host");
        assert_eq!(status(false, NEAR, what, &[LOCAL, LOCAL, JSON]), 403, "two hosts");
        let proxied = [LOCAL, JSON, ("x-forwarded-for", "1.2.3.4")];
        assert_eq!(status(false, NEAR, what, &proxied), 403);
    }
    let absolute = ("GET", "http://evil.example/api/v1/plugins");
    assert_eq!(status(false, NEAR, absolute, &[LOCAL]), 403);
}

#[test]
fn with_a_token_changes_need_it_and_local_reads_do_not() {
    for what in [LOAD, INVOKE] {
        assert_eq!(status(true, NEAR, what, &[LOCAL, JSON]), 401);
        assert_eq!(status(true, FAR, what, &[("host", "gpu-7"), JSON, BEARER]), 200);
    }
    assert_eq!(status(true, NEAR, LIST, &[LOCAL]), 200);
    assert_eq!(status(true, NEAR, LIST, &[("host", "evil.example")]), 401);
    assert_eq!(status(true, FAR, LIST, &[LOCAL]), 401);
    assert_eq!(status(true, FAR, LIST, &[("host", "gpu-7"), BEARER]), 200);
    for wrong in [
        "Bearer 0123456789abcdeg",
        "Bearer ",
        "Basic 0123456789abcdef",
        "é",
    ] {
        assert_eq!(
            status(true, FAR, LOAD, &[JSON, ("authorization", wrong)]),
            401,
            "{wrong}"
        );
    }
}

#[test]
fn changes_are_json() {
    for kind in [
        "text/plain",
        "application/jsonp",
        "application/x-www-form-urlencoded",
    ] {
        assert_eq!(
            status(false, NEAR, LOAD, &[LOCAL, ("content-type", kind)]),
            415,
            "{kind}"
        );
    }
    assert_eq!(status(false, NEAR, LOAD, &[LOCAL]), 415);
    assert_eq!(status(true, NEAR, LOAD, &[LOCAL, BEARER]), 415);
}

#[test]
fn pages_of_other_sites_do_not_drive_the_host() {
    for what in [LOAD, INVOKE] {
        for origin in [
            "http://evil.example",
            "null",
            "http://localhost:3000",
            "https://localhost:8642",
            "http://localhost:8642.evil.example",
        ] {
            assert_eq!(
                status(false, NEAR, what, &[LOCAL, JSON, ("origin", origin)]),
                403,
                "{origin}"
            );
        }
        let own = ("origin", "http://localhost:8642");
        assert_eq!(status(false, NEAR, what, &[LOCAL, JSON, own]), 200);
        assert_eq!(status(false, NEAR, what, &[LOCAL, JSON, own, own]), 403);
        for site in ["cross-site", "same-site"] {
            assert_eq!(
                status(false, NEAR, what, &[LOCAL, JSON, ("sec-fetch-site", site)]),
                403
            );
        }
        assert_eq!(
            status(false, NEAR, what, &[LOCAL, JSON, ("sec-fetch-site", "none")]),
            200
        );
    }
}

#[test]
fn a_form_does_not_call() {
    let own = ("origin", "http://localhost:8642");
    for kind in [
        "text/plain",
        "application/x-www-form-urlencoded",
        "Multipart/Form-Data; boundary=x",
    ] {
        let kind = ("content-type", kind);
        assert_eq!(status(false, NEAR, INVOKE, &[LOCAL, kind, own]), 415);
        assert_eq!(
            status(false, NEAR, INVOKE, &[LOCAL, kind]),
            200,
            "not from a page"
        );
        assert_eq!(status(true, NEAR, INVOKE, &[LOCAL, kind, own, BEARER]), 200);
    }
    assert_eq!(status(false, NEAR, INVOKE, &[LOCAL, own]), 415, "no type at all");
}

#[test]
fn a_request_through_a_proxy_is_remote_whichever_way_the_proxy_says_so() {
    for header in [
        ("via", "1.1 gate"),
        ("x-real-ip", "1.2.3.4"),
        ("forwarded", "for=1.2.3.4"),
        ("x-forwarded-for", "1.2.3.4"),
        ("x-forwarded-host", "models.example"),
        ("x-forwarded-proto", "https"),
    ] {
        for what in [LIST, LOAD, INVOKE] {
            assert_eq!(
                status(false, NEAR, what, &[LOCAL, JSON, header]),
                403,
                "{header:?}"
            );
            assert_eq!(
                status(true, NEAR, what, &[LOCAL, JSON, header]),
                401,
                "{header:?}"
            );
            assert_eq!(
                status(true, NEAR, what, &[LOCAL, JSON, header, BEARER]),
                200,
                "{header:?}"
            );
        }
    }
}
