//! The description of this API, and of the jobs that workers get.

use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};

const DOCUMENT: &str = include_str!("openapi.json");

const JOB: &str = include_str!("job.schema.json");

/// The OpenAPI document.
pub async fn document() -> Response {
    ([(CONTENT_TYPE, "application/json")], DOCUMENT).into_response()
}

/// The JSON Schema of a job.
pub async fn job() -> Response {
    ([(CONTENT_TYPE, "application/schema+json")], JOB).into_response()
}
