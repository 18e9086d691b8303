//! Serves connections: HTTP/1.1 and HTTP/2, with bounds on headers and on how long they may take.

use std::convert::Infallible;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::{TcpListener, TcpStream};
use tower_service::Service;

use super::connections::{Answering, Connections, Open, Watched};

/// Bytes of a request's head.
const HEAD_MAX: usize = 32 * 1024;

/// How long a request's head may take to come, the wait for its first byte included.
const HEAD_TIME: Duration = Duration::from_secs(20);

/// How long requests under way may take to end when the server does.
const DRAIN: Duration = Duration::from_millis(300);

/// Serves until `stop` is there, so many connections at the same time.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    most: usize,
    stop: impl Future<Output = ()>,
) {
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME)
        .max_buf_size(HEAD_MAX)
        .http2()
        .timer(TokioTimer::new())
        .max_header_list_size(HEAD_MAX as u32);
    let graceful = GracefulShutdown::new();
    let connections = Connections::new(most);
    let mut stop = std::pin::pin!(stop);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = &mut stop => break,
        };
        match accepted {
            Ok((stream, _)) => match connections.open() {
                Some(open) => connect(&builder, &graceful, stream, open, router.clone()),
                None => {
                    metrics::counter!("caseworker_http_connections_refused_total").increment(1);
                }
            },
            Err(error) => {
                // out of file descriptors, most likely: those that are open have to go first
                tracing::warn!(%error, "a connection was not accepted");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
    drop(listener);
    let _ = tokio::time::timeout(DRAIN, graceful.shutdown()).await;
}

fn connect(
    builder: &Builder<TokioExecutor>,
    graceful: &GracefulShutdown,
    stream: TcpStream,
    open: Open,
    router: Router,
) {
    let _ = stream.set_nodelay(true);
    let open = Arc::new(open);
    let counted = open.clone();
    let service = service_fn(move |request: Request<Incoming>| {
        let under_way = counted.request();
        let answer = router.clone().call(request.map(Body::new));
        async move {
            let answer = answer.await?;
            Ok::<_, Infallible>(answer.map(|body| Answering::body(body, under_way)))
        }
    });
    let stream = Watched::new(stream, open.clone());
    let connection =
        builder.serve_connection_with_upgrades(TokioIo::new(stream), service).into_owned();
    let connection = graceful.watch(connection);
    tokio::spawn(async move {
        tokio::select! {
            // an error is the client's: it went away, or spoke something else
            _ = connection => {}
            () = open.has_to_close() => {}
        }
    });
}
