//! The card processor: charges every token but those that begin with `declined`, refunds each
//! charge once.

use std::collections::{HashMap, HashSet};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use serde_json::{Value, json};

use super::Party;

/// Its books.
#[derive(Default)]
pub struct Cards {
    books: Mutex<Books>,
}

#[derive(Default)]
struct Books {
    /// References, in the order in which they were charged.
    charges: Vec<String>,
    by_key: HashMap<String, usize>,
    refunded: HashSet<String>,
}

impl Cards {
    /// Opens its door.
    ///
    /// # Errors
    /// When the port is taken.
    pub async fn open(self: &Arc<Self>, port: u16) -> io::Result<Party> {
        let router = Router::new()
            .route("/charges", post(charge).get(list))
            .route("/refunds", post(refund))
            .with_state(self.clone());
        Party::http("cards", port, router).await
    }

    /// How many charges each reference has.
    pub fn charges(&self) -> HashMap<String, usize> {
        let mut counts = HashMap::new();
        for reference in &self.books().charges {
            *counts.entry(reference.clone()).or_insert(0) += 1;
        }
        counts
    }

    /// How many charges were refunded.
    pub fn refunds(&self) -> usize {
        self.books().refunded.len()
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn shown(id: usize, reference: &str) -> Value {
    json!({"id": format!("charge-{id}"), "reference": reference})
}

fn text(body: &Value, name: &str) -> String {
    body.get(name).and_then(Value::as_str).unwrap_or_default().to_owned()
}

async fn charge(
    State(cards): State<Arc<Cards>>,
    headers: HeaderMap,
    Json(body): Json<Value>,
) -> Response {
    if text(&body, "token").starts_with("declined") {
        return (StatusCode::PAYMENT_REQUIRED, Json(json!({"reason": "declined"}))).into_response();
    }
    let key = headers.get("idempotency-key").and_then(|value| value.to_str().ok());
    let reference = text(&body, "reference");
    let mut books = cards.books();
    let known = key.and_then(|key| books.by_key.get(key).copied());
    let id = known.unwrap_or_else(|| {
        let id = books.charges.len();
        books.charges.push(reference.clone());
        books.by_key.extend(key.map(|key| (key.to_owned(), id)));
        id
    });
    (StatusCode::CREATED, Json(shown(id, &reference))).into_response()
}

async fn list(
    State(cards): State<Arc<Cards>>,
    Query(query): Query<HashMap<String, String>>,
) -> Json<Value> {
    let books = cards.books();
    let wanted = query.get("reference");
    let found = books.charges.iter().enumerate();
    let found = found.filter(|(_, reference)| wanted.is_none_or(|w| w == *reference));
    let items: Vec<Value> = found.map(|(id, reference)| shown(id, reference)).collect();
    Json(json!({"items": items}))
}

async fn refund(State(cards): State<Arc<Cards>>, Json(body): Json<Value>) -> Response {
    let charge = text(&body, "charge");
    cards.books().refunded.insert(charge.clone());
    (StatusCode::CREATED, Json(json!({"id": format!("refund-of-{charge}")}))).into_response()
}
