//! How a worker fares, for whoever watches it: alive, ready, numbers.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use tokio::net::TcpListener;

use super::Shared;
use crate::telemetry;

/// Seconds without a word of the server after which a worker is not ready.
const SILENT: u64 = 60;

/// Serves `/healthz`, `/readyz` and `/metrics` until the process ends.
///
/// # Errors
/// When nobody can listen there.
pub async fn serve(address: SocketAddr, shared: Arc<Shared>) -> std::io::Result<()> {
    let listener = TcpListener::bind(address).await?;
    let render = Arc::new(telemetry::count());
    let metrics = async move |State(shared): State<Arc<Shared>>| {
        let silent = shared.begun.elapsed().as_secs() - shared.contact.load(Ordering::Relaxed);
        metrics::gauge!("caseworker_worker_last_contact_seconds").set(silent as f64);
        render()
    };
    let router = Router::new()
        .route("/healthz", get(async || "ok"))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .with_state(shared);
    tokio::spawn(async move { axum::serve(listener, router).await });
    Ok(())
}

async fn ready(State(shared): State<Arc<Shared>>) -> (StatusCode, &'static str) {
    let silent = shared.begun.elapsed().as_secs() - shared.contact.load(Ordering::Relaxed);
    match shared.reached.load(Ordering::Relaxed) {
        _ if shared.is_draining() => (StatusCode::SERVICE_UNAVAILABLE, "ending"),
        true if silent <= SILENT => (StatusCode::OK, "ready"),
        _ => (StatusCode::SERVICE_UNAVAILABLE, "no word of the server"),
    }
}
