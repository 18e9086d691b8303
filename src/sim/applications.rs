//! The store of job applications: keeps what is put under a name, and the last of it. A position that begins
//! with `Closed` is refused.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::put;
use axum::{Json, Router};
use serde_json::Value;

use super::Party;

/// Its books.
#[derive(Default)]
pub struct Applications {
    kept: Mutex<HashMap<String, Value>>,
}

impl Applications {
    /// Opens its door.
    ///
    /// # Errors
    /// When the port is taken.
    pub async fn open(self: &Arc<Self>, port: u16) -> io::Result<Party> {
        let router = Router::new().route("/applications/{id}", put(keep)).with_state(self.clone());
        Party::http("applications", port, router).await
    }

    /// What is kept, by name.
    pub fn kept(&self) -> HashMap<String, Value> {
        self.books().clone()
    }

    fn books(&self) -> MutexGuard<'_, HashMap<String, Value>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn keep(
    State(applications): State<Arc<Applications>>,
    Path(id): Path<String>,
    Json(body): Json<Value>,
) -> Response {
    let position = body.get("position").and_then(Value::as_str).unwrap_or_default();
    if position.starts_with("Closed") {
        return StatusCode::UNPROCESSABLE_ENTITY.into_response();
    }
    applications.books().insert(id, body.clone());
    Json(body).into_response()
}
