//! Whether it lives, whether it can accept, and its numbers.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use serde_json::json;

use super::Api;

/// It lives.
pub async fn healthz() -> Response {
    Json(json!({"status": "ok"})).into_response()
}

/// It can accept, or why not.
pub async fn readyz(State(api): State<Api>) -> Response {
    match api.handle.not_ready() {
        None => Json(json!({"status": "ready", "reasons": []})).into_response(),
        Some(reason) => {
            let body = json!({"status": "not ready", "reasons": [reason]});
            (StatusCode::SERVICE_UNAVAILABLE, Json(body)).into_response()
        }
    }
}

/// The numbers, as Prometheus reads them.
pub async fn metrics(State(api): State<Api>) -> Response {
    ([(CONTENT_TYPE, "text/plain; version=0.0.4")], (api.metrics)()).into_response()
}
