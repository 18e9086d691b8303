//! A service that answers what it was sent, for benches.

use std::io;

use axum::Router;
use axum::body::Bytes;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::post;

use super::Party;

/// Opens its door.
///
/// # Errors
/// When the port is taken.
pub async fn open(port: u16) -> io::Result<Party> {
    Party::http("echo", port, Router::new().route("/echo", post(echo))).await
}

async fn echo(body: Bytes) -> Response {
    ([(CONTENT_TYPE, "application/json")], body).into_response()
}
