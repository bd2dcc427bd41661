//! Connections: how many, how long, and their end.

use super::access::Peer;
use super::admission::PROBES_MAX;
use super::config::HttpConfig;
use super::connections::{Admitted, Connections};
use super::first_byte::FirstByteStream;
use super::routes::{self, AppState};
use axum::Router;
use axum::extract::Request;
use extman_model::UnfitFields;
use extman_model::control::{Control, Envelope, Failure};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use hyper_util::service::TowerToHyperService;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

/// Serves the API until `shutdown` ends. Then no connection is taken any more, open requests get
/// [`shutdown_ms`](HttpConfig::shutdown_ms), and what is still open after that is dropped.
///
/// # Errors
/// The configuration can't be used with the address that is listened on: see [`HttpConfig::check`].
pub async fn serve(
    listener: TcpListener,
    control: Arc<dyn Control>,
    config: HttpConfig,
    shutdown: impl Future<Output = ()> + Send,
) -> io::Result<()> {
    config.check(listener.local_addr()?).map_err(unusable)?;
    let token = config
        .secret()
        .map_err(|fault| unusable(UnfitFields(vec![fault])))?;
    let config = Arc::new(config);
    let router = routes::router(AppState {
        control,
        token,
        slots: Arc::new(Semaphore::new(config.requests_max)),
        probe_slots: Arc::new(Semaphore::new(PROBES_MAX)),
        config: config.clone(),
    });
    let connections = Connections::new(&config);
    let graceful = GracefulShutdown::new();
    let mut open = tokio::task::JoinSet::new();
    let mut shutdown = pin!(shutdown);
    loop {
        while open.try_join_next().is_some() {}
        let accepted = tokio::select! {
            () = &mut shutdown => break,
            accepted = accept(&listener, &connections) => accepted,
        };
        match accepted {
            Ok((stream, peer, Some(admitted))) => {
                let (router, config) = (router.clone(), config.clone());
                let served = connection(stream, peer, admitted, router, config, graceful.watcher());
                open.spawn(served);
            }
            Ok((stream, peer, None)) => refuse(&stream, peer, &config),
            Err(error) => {
                tracing::warn!(%error, "a connection could not be taken");
                // Out of descriptors, most likely: trying again at once would spin.
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listener);
    let grace = Duration::from_millis(config.shutdown_ms);
    if tokio::time::timeout(grace, graceful.shutdown()).await.is_err() {
        tracing::warn!(
            open = open.len(),
            "dropped requests that were still open at shutdown"
        );
    }
    open.shutdown().await;
    Ok(())
}

const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// Most of a request's head, in bytes.
const HEAD_BYTES_MAX: usize = 64 << 10;
/// How long a peer may leave sent data unread, in milliseconds.
const UNREAD_MS_MAX: u32 = 60_000;

fn unusable(unfit: UnfitFields) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, unfit)
}

type Accepted = (TcpStream, SocketAddr, Option<Admitted>);

async fn accept(listener: &TcpListener, connections: &Arc<Connections>) -> io::Result<Accepted> {
    let (stream, peer) = listener.accept().await?;
    limit_writes(&stream);
    let admitted = connections.admit(peer.ip()).await;
    Ok((stream, peer, admitted))
}

/// Tells a peer that it has its share. What it has sent is not read, so it may see no more than the end of the connection.
fn refuse(stream: &TcpStream, peer: SocketAddr, config: &HttpConfig) {
    let max = config.connections_per_peer_max;
    tracing::debug!(%peer, max, "refused a connection: its peer has its share");
    let text = format!(
        "{max} connections of this peer are open; close some, or raise http.connections_per_peer_max"
    );
    let failure = Failure {
        retryable: Some(true),
        ..Failure::new("busy", text)
    };
    let body = serde_json::to_string(&Envelope::<()>::failed("request", failure)).unwrap_or_default();
    let answer = format!(
        "HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\ncontent-length: {}\r\nretry-after: 1\r\n\
         connection: close\r\n\r\n{body}",
        body.len()
    );
    let _ = stream.try_write(answer.as_bytes());
}

async fn connection(
    stream: TcpStream,
    peer: SocketAddr,
    admitted: Admitted,
    router: Router,
    config: Arc<HttpConfig>,
    watcher: Watcher,
) {
    let own = admitted.connection.clone();
    let routes = TowerToHyperService::new(router);
    let service = service_fn(move |mut request: Request<Incoming>| {
        own.asks();
        request.extensions_mut().insert(Peer(peer));
        routes.call(request)
    });
    let has_begun = Arc::new(AtomicBool::new(false));
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(config.header_timeout())
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(
            TokioIo::new(FirstByteStream::new(stream, has_begun.clone())),
            service,
        );
    let silent = async {
        tokio::time::sleep(FIRST_BYTE_WITHIN.min(config.header_timeout())).await;
        if has_begun.load(Ordering::Relaxed) {
            std::future::pending::<()>().await;
        }
    };
    tokio::select! {
        served = watcher.watch(served) => if let Err(error) = served {
            tracing::debug!(%peer, %error, "a connection ended early");
        },
        () = silent => tracing::debug!(%peer, "closed a connection that sent nothing"),
        () = admitted.connection.gives_way() => tracing::debug!(%peer, "closed a connection that had not asked for anything"),
    }
}

/// A peer's first byte comes within this time: who sends one has something to ask.
const FIRST_BYTE_WITHIN: Duration = Duration::from_secs(2);

/// Ends a connection whose peer reads nothing.
fn limit_writes(stream: &TcpStream) {
    let _ = stream.set_nodelay(true);
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::net::sockopt::set_tcp_user_timeout(stream, UNREAD_MS_MAX) {
        tracing::debug!(%error, "no limit on unread data");
    }
}
