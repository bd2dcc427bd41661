//! Limits: bytes, time, requests, connections, and the end.

use crate::fake::{Fake, Server};
use crate::wire::{PATIENCE, Wire, ask, request};
use extman_http::HttpConfig;
use std::io::{Read, Write};
use std::time::Duration;

const INVOKE: &str = "POST /api/v1/capabilities/text.echo/invoke";
const WAIT: &str = "POST /api/v1/capabilities/wait.for/invoke";

fn with(change: impl FnOnce(&mut HttpConfig)) -> Server {
    let mut config = HttpConfig::default();
    change(&mut config);
    Server::with(Fake::default(), config)
}

fn wait(what: &tokio::sync::Notify) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    runtime
        .block_on(async { tokio::time::timeout(PATIENCE, what.notified()).await })
        .expect("it came to that in time");
}

#[test]
fn a_body_that_is_too_large_is_refused_whether_or_not_it_says_so() {
    let server = with(|config| config.body_bytes_max = 1000);
    assert_eq!(ask(server.address, INVOKE, &[], &[b'x'; 1000]).status, 200);
    let heard = ask(server.address, INVOKE, &[], &[b'x'; 1001]);
    assert_eq!((heard.status, heard.failure()), (413, "too_large".to_owned()));
    let mut wire = Wire::to(server.address);
    let head = "HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked";
    wire.send(format!("{INVOKE} {head}\r\n\r\n3e9\r\n{}\r\n", "x".repeat(1001)).as_bytes());
    assert_eq!(wire.hear().status, 413);
    let mut wire = Wire::to(server.address);
    let head = "HTTP/1.1\r\nhost: localhost\r\ncontent-length: 99999999999";
    wire.send(format!("{INVOKE} {head}\r\n\r\n").as_bytes());
    assert_eq!(wire.hear().status, 413, "at once, on its word");
    assert_eq!(server.fake.invoked.lock().unwrap().len(), 1);
}

#[test]
fn a_body_that_does_not_come_is_given_up() {
    let server = with(|config| config.body_timeout_ms = 50);
    let mut wire = Wire::to(server.address);
    wire.send(format!("{INVOKE} HTTP/1.1\r\nhost: localhost\r\ncontent-length: 5\r\n\r\nab").as_bytes());
    let heard = wire.hear();
    assert_eq!((heard.status, heard.failure()), (408, "too_slow".to_owned()));
}

#[test]
fn a_connection_that_says_nothing_is_closed() {
    let server = with(|config| config.header_timeout_ms = 50);
    let mut silent = Wire::to(server.address);
    assert!(silent.closes());
    let mut idle = Wire::to(server.address);
    idle.send(b"GET /livez HTTP/1.1\r\nhost: localhost\r\n\r\n");
    assert_eq!(idle.hear().status, 200);
    assert!(idle.closes(), "idle after its first request");
}

#[test]
fn a_head_that_is_too_large_is_refused() {
    let server = Server::start();
    let mut wire = Wire::to(server.address);
    let head = format!(
        "GET /livez HTTP/1.1\r\nhost: localhost\r\nx: {}\r\n\r\n",
        "x".repeat(200_000)
    );
    // The host may hang up while this is still being sent.
    let _ = wire.0.get_mut().write_all(head.as_bytes());
    let mut answer = Vec::new();
    let _ = wire.0.read_to_end(&mut answer);
    assert!(
        answer.is_empty() || answer.starts_with(b"HTTP/1.1 431"),
        "{answer:?}"
    );
}

#[test]
fn requests_beyond_the_limit_are_refused_with_503() {
    let server = with(|config| config.requests_max = 1);
    let mut first = Wire::to(server.address);
    first.send(&request(WAIT, &[], b""));
    wait(&server.fake.began);
    let heard = ask(server.address, "GET /api/v1/plugins", &[], b"");
    assert_eq!((heard.status, heard.failure()), (503, "busy".to_owned()));
    assert_eq!(heard.header("retry-after"), Some("1"));
    assert_eq!(
        ask(server.address, "GET /livez", &[], b"").status,
        200,
        "alive all the same"
    );
    server.fake.release.notify_one();
    assert_eq!(first.hear().text(), "released");
    assert_eq!(ask(server.address, "GET /api/v1/plugins", &[], b"").status, 200);
}

#[test]
fn a_stream_holds_its_room_until_its_end() {
    let server = with(|config| config.requests_max = 1);
    let mut stream = Wire::to(server.address);
    let line = "POST /api/v1/capabilities/stream.endless/invoke";
    stream.send(&request(line, &["accept: text/event-stream"], b"x"));
    assert_eq!(stream.head().status, 200);
    assert_eq!(ask(server.address, "GET /api/v1/plugins", &[], b"").status, 503);
    drop(stream);
    wait(&server.fake.abandoned);
    let deadline = std::time::Instant::now() + PATIENCE;
    while ask(server.address, "GET /api/v1/plugins", &[], b"").status != 200 {
        assert!(std::time::Instant::now() < deadline, "the room is given back");
    }
}

#[test]
fn a_connection_beyond_the_limit_waits_for_another_to_end() {
    let server = with(|config| config.connections_max = 1);
    let mut first = Wire::to(server.address);
    first.send(b"GET /livez HTTP/1.1\r\nhost: localhost\r\n\r\n");
    assert_eq!(first.hear().status, 200);
    let mut second = Wire::to(server.address);
    second.send(&request("GET /livez", &[], b""));
    let patience = Duration::from_millis(100);
    second.0.get_ref().set_read_timeout(Some(patience)).unwrap();
    assert!(second.0.read(&mut [0; 1]).is_err(), "not yet");
    drop(first);
    second.0.get_ref().set_read_timeout(Some(PATIENCE)).unwrap();
    assert_eq!(second.hear().status, 200);
}

#[test]
fn what_is_not_http_harms_nobody() {
    let server = Server::start();
    for text in [
        &b"\x16\x03\x01\x02\x00\x01\x00"[..],
        b"GET\r\n\r\n",
        b"\0\0\0\0\r\n\r\n",
    ] {
        let mut wire = Wire::to(server.address);
        wire.send(text);
        assert_eq!(wire.head().status, 400, "{text:?}");
    }
    assert_eq!(ask(server.address, "GET /livez", &[], b"").status, 200);
}

#[test]
fn at_the_end_open_requests_are_finished_within_their_time() {
    let mut server = Server::start();
    let mut open = Wire::to(server.address);
    open.send(&request(WAIT, &[], b""));
    wait(&server.fake.began);
    server.stop();
    server.fake.release.notify_one();
    assert_eq!(open.hear().text(), "released");
    server.join().unwrap();
    assert!(std::net::TcpStream::connect(server.address).is_err());

    let mut server = with(|config| config.shutdown_ms = 10);
    let mut open = Wire::to(server.address);
    open.send(&request(WAIT, &[], b""));
    wait(&server.fake.began);
    server.join().unwrap();
    assert!(open.closes(), "it had its time");
}

#[test]
fn an_open_door_is_not_served() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let error = runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind("0.0.0.0:0").await.unwrap();
        let control = std::sync::Arc::new(Fake::default());
        let never = std::future::pending();
        tokio::time::timeout(
            PATIENCE,
            extman_http::serve(listener, control, HttpConfig::default(), never),
        )
        .await
        .expect("it is refused at once")
    });
    let text = error.unwrap_err().to_string();
    assert!(text.contains("0.0.0.0") && text.contains("token_file"), "{text}");
}

#[test]
fn health_and_readyz_answer_while_calls_fill_the_request_limit() {
    let server = with(|config| config.requests_max = 1);
    let mut call = Wire::to(server.address);
    call.send(&request(WAIT, &[], b""));
    wait(&server.fake.began);
    for (path, status) in [
        ("/health", 200),
        ("/health/ai", 200),
        ("/readyz", 200),
        ("/livez", 200),
    ] {
        let heard = ask(server.address, &format!("GET {path}"), &[], b"");
        assert_eq!(heard.status, status, "{path}: {}", heard.text());
    }
    server.fake.release.notify_one();
    assert_eq!(call.hear().text(), "released");
}

const HOUR_MS: u64 = 3_600_000;

#[test]
fn idle_connections_make_room_for_a_probe() {
    let server = with(|config| {
        config.connections_max = 8;
        config.header_timeout_ms = HOUR_MS;
    });
    let idle: Vec<Wire> = (0..20).map(|_| Wire::to(server.address)).collect();
    assert_eq!(ask(server.address, "GET /livez", &[], b"").status, 200);
    drop(idle);
}

#[test]
fn a_connection_without_a_first_byte_is_closed_long_before_the_head_is_due() {
    let server = with(|config| config.header_timeout_ms = HOUR_MS);
    assert!(Wire::to(server.address).closes());
}

#[test]
fn connections_of_a_peer_beyond_its_limit_are_refused_with_503() {
    let server = with(|config| config.connections_per_peer_max = 2);
    let mut own: Vec<Wire> = (0..2).map(|_| Wire::to(server.address)).collect();
    for wire in &mut own {
        wire.send(b"GET /livez HTTP/1.1\r\nhost: localhost\r\n\r\n");
        assert_eq!(wire.hear().status, 200);
    }
    let heard = Wire::to(server.address).hear();
    assert_eq!((heard.status, heard.failure()), (503, "busy".to_owned()));
    drop(own);
    let deadline = std::time::Instant::now() + PATIENCE;
    loop {
        let mut wire = Wire::to(server.address);
        wire.send(&request("GET /livez", &[], b""));
        if wire.head().status == 200 {
            return;
        }
        assert!(std::time::Instant::now() < deadline, "its share is given back");
    }
}
