//! The verifier: verifies everybody but those at `blocked.example`.

use std::io;

use axum::routing::post;
use axum::{Json, Router};
use serde_json::{Value, json};

use super::Party;

/// Opens its door.
///
/// # Errors
/// When the port is taken.
pub async fn open(port: u16) -> io::Result<Party> {
    Party::http("verifier", port, Router::new().route("/verifications", post(verify))).await
}

async fn verify(Json(body): Json<Value>) -> Json<Value> {
    let email = body.get("email").and_then(Value::as_str).unwrap_or_default();
    if email.ends_with("@blocked.example") {
        return Json(json!({"verified": false, "reason": "The address is on the list"}));
    }
    Json(json!({"verified": true, "reason": null}))
}
