//! Connections: how many, how long, and their end.

use super::access::Peer;
use super::config::HttpConfig;
use super::routes::{self, Edge};
use axum::Router;
use axum::extract::Request;
use extman_model::control::Control;
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
    let token = config.secret().map_err(unusable)?;
    let config = Arc::new(config);
    let router = routes::router(Edge {
        control,
        token,
        room: Arc::new(Semaphore::new(config.requests_max)),
        config: config.clone(),
    });
    let connections = Arc::new(Semaphore::new(config.connections_max));
    let graceful = GracefulShutdown::new();
    let mut open = tokio::task::JoinSet::new();
    let mut shutdown = pin!(shutdown);
    loop {
        while open.try_join_next().is_some() {}
        let accepted = tokio::select! {
            () = &mut shutdown => break,
            accepted = accept(&listener, &connections) => accepted,
        };
        let (stream, peer, permit) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "a connection could not be taken");
                // Out of descriptors, most likely: trying again at once would spin.
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        limit_writes(&stream);
        let connection = connection(stream, peer, router.clone(), config.clone(), graceful.watcher());
        open.spawn(async move {
            connection.await;
            drop(permit);
        });
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

fn unusable(error: super::HttpConfigError) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, error)
}

type Accepted = (TcpStream, SocketAddr, tokio::sync::OwnedSemaphorePermit);

async fn accept(listener: &TcpListener, connections: &Arc<Semaphore>) -> io::Result<Accepted> {
    let permit = connections
        .clone()
        .acquire_owned()
        .await
        .map_err(io::Error::other)?;
    let (stream, peer) = listener.accept().await?;
    Ok((stream, peer, permit))
}

async fn connection(
    stream: TcpStream,
    peer: SocketAddr,
    router: Router,
    config: Arc<HttpConfig>,
    watcher: Watcher,
) {
    let routes = TowerToHyperService::new(router);
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(Peer(peer));
        routes.call(request)
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(config.header_timeout())
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), service);
    if let Err(error) = watcher.watch(served).await {
        tracing::debug!(%peer, %error, "a connection ended early");
    }
}

/// Ends a connection whose peer reads nothing.
fn limit_writes(stream: &TcpStream) {
    let _ = stream.set_nodelay(true);
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::net::sockopt::set_tcp_user_timeout(stream, UNREAD_MS_MAX) {
        tracing::debug!(%error, "no limit on unread data");
    }
}
