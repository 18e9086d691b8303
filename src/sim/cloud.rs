//! The cloud: provides an account for everybody but those whose name begins with `Refused`.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, post};
use axum::{Json, Router};
use serde_json::{Value, json};

use super::Party;

/// Its books.
#[derive(Default)]
pub struct Cloud {
    books: Mutex<Books>,
}

#[derive(Default)]
struct Books {
    /// References of accounts; none: deleted.
    accounts: Vec<Option<String>>,
    by_key: HashMap<String, usize>,
}

impl Cloud {
    /// Opens its door.
    ///
    /// # Errors
    /// When the port is taken.
    pub async fn open(self: &Arc<Self>, port: u16) -> io::Result<Party> {
        let router = Router::new()
            .route("/accounts", post(create).get(list))
            .route("/accounts/{id}", delete(remove))
            .with_state(self.clone());
        Party::http("cloud", port, router).await
    }

    /// How many accounts each reference has.
    pub fn accounts(&self) -> HashMap<String, usize> {
        let mut counts = HashMap::new();
        for reference in self.books().accounts.iter().flatten() {
            *counts.entry(reference.clone()).or_insert(0) += 1;
        }
        counts
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn shown(id: usize, reference: &str) -> Value {
    json!({"id": format!("account-{id}"), "reference": reference})
}

fn text(body: &Value, name: &str) -> String {
    body.get(name).and_then(Value::as_str).unwrap_or_default().to_owned()
}

async fn create(
    State(cloud): State<Arc<Cloud>>,
    headers: HeaderMap,
    Json(body): Json<Value>,
) -> Response {
    if text(&body, "name").starts_with("Refused") {
        return StatusCode::UNPROCESSABLE_ENTITY.into_response();
    }
    let key = headers.get("idempotency-key").and_then(|value| value.to_str().ok());
    let reference = text(&body, "reference");
    let mut books = cloud.books();
    let known = key.and_then(|key| books.by_key.get(key).copied());
    let id = known.unwrap_or_else(|| {
        let id = books.accounts.len();
        books.accounts.push(Some(reference.clone()));
        books.by_key.extend(key.map(|key| (key.to_owned(), id)));
        id
    });
    (StatusCode::CREATED, Json(shown(id, &reference))).into_response()
}

async fn list(
    State(cloud): State<Arc<Cloud>>,
    Query(query): Query<HashMap<String, String>>,
) -> Json<Value> {
    let books = cloud.books();
    let wanted = query.get("reference");
    let found = books.accounts.iter().enumerate().filter_map(|(id, r)| Some((id, r.as_ref()?)));
    let found = found.filter(|(_, reference)| wanted.is_none_or(|w| w == *reference));
    let items: Vec<Value> = found.map(|(id, reference)| shown(id, reference)).collect();
    Json(json!({"items": items}))
}

async fn remove(State(cloud): State<Arc<Cloud>>, Path(id): Path<String>) -> StatusCode {
    let number = id.strip_prefix("account-").and_then(|n| n.parse::<usize>().ok());
    let mut books = cloud.books();
    match number.and_then(|number| books.accounts.get_mut(number)) {
        Some(account @ Some(_)) => {
            *account = None;
            StatusCode::NO_CONTENT
        }
        _ => StatusCode::NOT_FOUND,
    }
}
