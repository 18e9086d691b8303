//! The CRM: knows every customer, except those whose id begins with `nobody`.

use std::io;

use axum::extract::Path;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde_json::json;

use super::Party;

/// Opens its door.
///
/// # Errors
/// When the port is taken.
pub async fn open(port: u16) -> io::Result<Party> {
    Party::http("crm", port, Router::new().route("/customers/{id}", get(customer))).await
}

async fn customer(Path(id): Path<String>) -> Response {
    if id.starts_with("nobody") {
        return StatusCode::NOT_FOUND.into_response();
    }
    let (name, email) = (format!("Customer {id}"), format!("{id}@example.com"));
    Json(json!({"id": id, "name": name, "email": email, "timeZone": "Europe/Berlin"}))
        .into_response()
}
