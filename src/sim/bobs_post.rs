//! Bob's Post: takes shipments, ships them after a while, and tells by a CloudEvent.

use std::collections::HashMap;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::Party;

/// Its books.
pub struct BobsPost {
    books: Mutex<Books>,
    ship_after: Duration,
    /// Where it tells of shipping.
    tell: Option<String>,
    /// The file that the books are kept in; none: they are lost with the process.
    kept_in: Option<PathBuf>,
    client: reqwest::Client,
}

#[derive(Default, Serialize, Deserialize)]
struct Books {
    shipments: Vec<Shipment>,
    /// Shipments by idempotency key.
    by_key: HashMap<String, usize>,
}

#[derive(Clone, Serialize, Deserialize)]
struct Shipment {
    reference: String,
    customer: Value,
    items: Value,
    shipped: bool,
    cancelled: bool,
}

impl Shipment {
    fn show(&self, id: usize) -> Value {
        let status = if self.shipped { "shipped" } else { "scheduled" };
        let tracking = self.shipped.then(|| format!("BP{id:08}"));
        json!({
            "id": id_text(id), "reference": self.reference, "customer": self.customer,
            "items": self.items, "status": status, "tracking": tracking,
        })
    }
}

fn id_text(id: usize) -> String {
    format!("ship-{id}")
}

impl BobsPost {
    /// A Bob's Post that ships after a while; `tell` is where it sends its CloudEvents, if it does.
    pub fn new(ship_after: Duration, tell: Option<String>) -> Arc<Self> {
        Arc::new(Self::over(Books::default(), ship_after, tell, None))
    }

    /// The same, whose books outlast the process: they are kept in a file.
    pub fn kept(ship_after: Duration, tell: Option<String>, file: PathBuf) -> Arc<Self> {
        let books = std::fs::read(&file).ok();
        let books = books.and_then(|bytes| serde_json::from_slice(&bytes).ok());
        Arc::new(Self::over(books.unwrap_or_default(), ship_after, tell, Some(file)))
    }

    fn over(
        books: Books,
        ship_after: Duration,
        tell: Option<String>,
        kept_in: Option<PathBuf>,
    ) -> Self {
        let client = reqwest::Client::builder().no_proxy().build().unwrap_or_default();
        Self { books: Mutex::new(books), ship_after, tell, kept_in, client }
    }

    /// Opens its door.
    ///
    /// # Errors
    /// When the port is taken.
    pub async fn open(self: &Arc<Self>, port: u16) -> io::Result<Party> {
        let state = Door { post: self.clone(), switch: Arc::default() };
        let switch = state.switch.clone();
        let router = Router::new()
            .route("/shipments", post(create).get(list))
            .route("/shipments/{id}", get(show).delete(cancel))
            .with_state(state);
        let party = Party::http("bobs-post", port, router).await?;
        let _ = switch.set(party.switch().clone());
        let left = self.books().shipments.len();
        for id in 0..left {
            // what was not shipped before is shipped now
            if self.books().shipments.get(id).is_some_and(|s| !s.shipped) {
                tokio::spawn(self.clone().ship(id));
            }
        }
        Ok(party)
    }

    /// How many shipments each reference has, those that were taken back left out.
    pub fn shipments(&self) -> HashMap<String, usize> {
        let mut counts = HashMap::new();
        for shipment in self.books().shipments.iter().filter(|s| !s.cancelled) {
            *counts.entry(shipment.reference.clone()).or_insert(0) += 1;
        }
        counts
    }

    /// Ships everything that is scheduled, without telling anybody.
    pub fn ship_all(&self) {
        for shipment in &mut self.books().shipments {
            shipment.shipped = true;
        }
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes the books down, where they are kept.
    fn keep(&self, books: &Books) {
        let Some(file) = &self.kept_in else { return };
        let new = file.with_extension("new");
        let written = serde_json::to_vec(books)
            .map_err(io::Error::from)
            .and_then(|bytes| std::fs::write(&new, bytes))
            .and_then(|()| std::fs::rename(&new, file));
        if let Err(error) = written {
            tracing::warn!(%error, "Bob's Post cannot keep its books");
        }
    }

    async fn ship(self: Arc<Self>, id: usize) {
        tokio::time::sleep(self.ship_after).await;
        let body = {
            let mut books = self.books();
            let Some(shipment) = books.shipments.get_mut(id).filter(|s| !s.cancelled) else {
                return;
            };
            shipment.shipped = true;
            let shown = shipment.show(id);
            self.keep(&books);
            shown
        };
        let Some(address) = &self.tell else { return };
        let event = json!({
            "specversion": "1.0", "id": format!("shipped-{}", id_text(id)),
            "source": "https://bobs-post.example", "type": "com.bobspost.shipment.shipped.v1",
            "subject": id_text(id), "datacontenttype": "application/json", "data": body,
        });
        let request = self.client.post(address).body(event.to_string());
        // nobody hears of it where it does not arrive: that is what the order's polling is for
        let _ = request.header("content-type", "application/cloudevents+json").send().await;
    }
}

#[derive(Clone)]
struct Door {
    post: Arc<BobsPost>,
    switch: Arc<std::sync::OnceLock<Arc<super::faults::Switch>>>,
}

async fn create(State(door): State<Door>, headers: HeaderMap, Json(body): Json<Value>) -> Response {
    let ignores_keys = door.switch.get().is_some_and(|switch| switch.now().ignores_keys);
    let key = headers.get("idempotency-key").and_then(|value| value.to_str().ok());
    let key = key.filter(|_| !ignores_keys).map(str::to_owned);
    let (id, shown, new) = {
        let mut books = door.post.books();
        match key.as_ref().and_then(|key| books.by_key.get(key).copied()) {
            Some(id) => (id, books.shipments[id].show(id), false),
            None => {
                let id = books.shipments.len();
                let text = |name: &str| body.get(name).cloned().unwrap_or_default();
                let shipment = Shipment {
                    reference: text("reference").as_str().unwrap_or_default().to_owned(),
                    customer: text("customer"),
                    items: text("items"),
                    shipped: false,
                    cancelled: false,
                };
                let shown = shipment.show(id);
                books.shipments.push(shipment);
                if let Some(key) = key {
                    books.by_key.insert(key, id);
                }
                door.post.keep(&books);
                (id, shown, true)
            }
        }
    };
    if new {
        tokio::spawn(door.post.clone().ship(id));
    }
    (StatusCode::CREATED, Json(shown)).into_response()
}

async fn list(
    State(door): State<Door>,
    Query(query): Query<HashMap<String, String>>,
) -> Json<Value> {
    let wanted = query.get("reference");
    let books = door.post.books();
    let found = books.shipments.iter().enumerate();
    let found = found.filter(|(_, s)| !s.cancelled && wanted.is_none_or(|w| *w == s.reference));
    let items: Vec<Value> = found.map(|(id, shipment)| shipment.show(id)).collect();
    Json(json!({"items": items}))
}

fn number(id: &str) -> Option<usize> {
    id.strip_prefix("ship-")?.parse().ok()
}

async fn show(State(door): State<Door>, Path(id): Path<String>) -> Response {
    let books = door.post.books();
    let found = number(&id).and_then(|id| Some((id, books.shipments.get(id)?)));
    match found.filter(|(_, shipment)| !shipment.cancelled) {
        Some((id, shipment)) => Json(shipment.show(id)).into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

async fn cancel(State(door): State<Door>, Path(id): Path<String>) -> StatusCode {
    let mut books = door.post.books();
    match number(&id).and_then(|id| books.shipments.get_mut(id)) {
        Some(shipment) if shipment.shipped => StatusCode::CONFLICT,
        Some(shipment) if !shipment.cancelled => {
            shipment.cancelled = true;
            door.post.keep(&books);
            StatusCode::NO_CONTENT
        }
        _ => StatusCode::NOT_FOUND,
    }
}
