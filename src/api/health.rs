//! Whether it lives, whether it can accept, and its numbers.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use serde_json::json;

use super::Api;
use crate::domain::staff::civil::rules_version;

/// It lives.
pub async fn healthz() -> Response {
    let (version, zones) = (env!("CARGO_PKG_VERSION"), rules_version());
    Json(json!({"status": "ok", "version": version, "timeZones": zones})).into_response()
}

/// How far the wall clock may be from the engine's before it is worth a word, in milliseconds.
const CLOCK_OFF: i64 = 1000;

/// It can accept, or why not; and how far the views are while they are filled.
pub async fn readyz(State(api): State<Api>) -> Response {
    let (starting, filling) = (api.handle.is_starting(), api.handle.filling());
    let refused = api.handle.not_ready();
    let ready = !starting && filling.is_none() && refused.is_none();
    let mut reasons = Vec::new();
    if starting {
        reasons.push(json!({"name": "starting", "detail": "the process is starting"}));
    } else if let Some((done, all)) = filling {
        let detail = format!(
            "the views are being filled: {done} of {all} records; submissions, commands and single \
             cases are served"
        );
        reasons.push(json!({"name": "views", "detail": detail}));
    }
    if api.handle.is_careful() {
        let detail = "after two unclean ends within a minute cases wake one at a time";
        reasons.push(json!({"name": "careful", "detail": detail}));
    }
    if let Some(detail) = refused {
        reasons.push(json!({"name": "refusing", "detail": detail}));
    }
    if let Some(Err(detail)) = &api.renders {
        reasons.push(json!({"name": "pdf", "detail": detail}));
    }
    let ahead = api.handle.wall_ahead();
    if ahead.abs() > CLOCK_OFF {
        let detail = format!(
            "the wall clock is {ahead} ms ahead of the engine's, which goes by what has passed since \
             the start, and never back behind what the journal has seen"
        );
        reasons.push(json!({"name": "clock", "detail": detail}));
    }
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let word = if ready { "ready" } else { "not ready" };
    (status, Json(json!({"status": word, "reasons": reasons}))).into_response()
}

/// The numbers, as Prometheus reads them.
pub async fn metrics(State(api): State<Api>) -> Response {
    ([(CONTENT_TYPE, "text/plain; version=0.0.4")], (api.metrics)()).into_response()
}
