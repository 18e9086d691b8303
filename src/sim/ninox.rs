//! Ninox, the database of a small business: orders, items, invoices. It numbers invoices, and records one as often
//! as it is told to.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, patch, post};
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::Party;

/// Rows in one page of a list.
const PAGE: usize = 100;

/// Its books.
#[derive(Default)]
pub struct Ninox {
    books: Mutex<Books>,
    /// The file that the books are kept in; none: they are lost with the process.
    kept_in: Option<PathBuf>,
}

/// What it has recorded.
#[derive(Clone, Default, Serialize, Deserialize)]
pub struct Books {
    pub orders: BTreeMap<String, Value>,
    pub items: BTreeMap<String, Value>,
    pub invoices: Vec<Value>,
}

impl Ninox {
    /// One whose books outlast the process: they are kept in a file.
    pub fn kept(file: PathBuf) -> Self {
        let books = std::fs::read(&file).ok();
        let books = books.and_then(|bytes| serde_json::from_slice(&bytes).ok());
        Self { books: Mutex::new(books.unwrap_or_default()), kept_in: Some(file) }
    }

    /// Opens its door.
    ///
    /// # Errors
    /// When the port is taken.
    pub async fn open(self: &Arc<Self>, port: u16) -> io::Result<Party> {
        let router = Router::new()
            .route("/orders", get(orders))
            .route("/orders/{id}", get(order).patch(change_order))
            .route("/items", get(items))
            .route("/invoices", post(record).get(invoices))
            .route("/invoices/{id}", patch(change_invoice))
            .with_state(self.clone());
        Party::http("ninox", port, router).await
    }

    /// A copy of its books.
    pub fn books(&self) -> Books {
        self.lock().clone()
    }

    /// Somebody writes an item or an order into it, by its `id`.
    pub fn put_item(&self, item: Value) {
        self.change(|books| drop(books.items.insert(id_of(&item), item)));
    }

    /// See [`Ninox::put_item`].
    pub fn put_order(&self, order: Value) {
        self.change(|books| drop(books.orders.insert(id_of(&order), order)));
    }

    /// Orders of two customers that were delivered, where there is none yet.
    pub fn deliver_samples(&self) {
        if !self.lock().orders.is_empty() {
            return;
        }
        for (id, name, price, tax) in [
            ("coffee", "Coffee, 500 g", 899, 70),
            ("cup", "Cup", 1250, 190),
            ("pot", "Pot", 4900, 190),
        ] {
            self.put_item(json!({
                "id": id, "name": name, "unitPrice": price, "taxPermille": tax, "currency": "EUR",
            }));
        }
        let ada = json!({
            "id": "ada", "name": "Ada Lovelace", "email": "ada@example.com", "language": "en",
            "address": "12 St James's Square\nLondon", "invoicing": "each",
        });
        let bruno = json!({
            "id": "bruno", "name": "Bruno Größe", "email": "bruno@example.com", "language": "de",
            "address": "Hauptstraße 1\n10115 Berlin", "invoicing": "weekly",
        });
        for (number, customer, items) in [
            (
                1001,
                &ada,
                json!([{"item": "coffee", "quantity": 2}, {"item": "cup", "quantity": 1}]),
            ),
            (1002, &bruno, json!([{"item": "pot", "quantity": 1}])),
            (1003, &bruno, json!([{"item": "coffee", "quantity": 6}])),
        ] {
            self.put_order(json!({
                "id": format!("order-{number}"), "state": "delivered", "invoiced": false,
                "deliveredAt": "2026-11-20T10:00:00Z", "customer": customer, "items": items,
            }));
        }
    }

    fn lock(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change<T>(&self, change: impl FnOnce(&mut Books) -> T) -> T {
        let mut books = self.lock();
        let changed = change(&mut books);
        if let Some(file) = &self.kept_in {
            let bytes = serde_json::to_vec(&*books).unwrap_or_default();
            if let Err(error) = std::fs::write(file, bytes) {
                tracing::warn!(%error, "Ninox's books are not kept");
            }
        }
        changed
    }
}

fn id_of(row: &Value) -> String {
    row["id"].as_str().unwrap_or_default().to_owned()
}

/// Which orders.
#[derive(Deserialize)]
struct WhichOrders {
    state: Option<String>,
    invoiced: Option<bool>,
    cursor: Option<String>,
}

async fn orders(State(ninox): State<Arc<Ninox>>, Query(which): Query<WhichOrders>) -> Json<Value> {
    let books = ninox.lock();
    let after = which.cursor.unwrap_or_default();
    let fits = |order: &&Value| {
        which.state.as_deref().is_none_or(|state| order["state"] == state)
            && which.invoiced.is_none_or(|invoiced| order["invoiced"] == invoiced)
    };
    let behind = books.orders.range(after.clone()..).filter(|(id, _)| **id != after);
    let mut found: Vec<Value> =
        behind.map(|(_, order)| order).filter(fits).take(PAGE + 1).cloned().collect();
    let more = found.len() > PAGE;
    found.truncate(PAGE);
    let next = more.then(|| found.last().map(id_of)).flatten();
    Json(json!({"items": found, "next": next}))
}

async fn order(State(ninox): State<Arc<Ninox>>, Path(id): Path<String>) -> Response {
    match ninox.lock().orders.get(&id) {
        Some(order) => Json(order.clone()).into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

async fn change_order(
    State(ninox): State<Arc<Ninox>>,
    Path(id): Path<String>,
    Json(change): Json<Value>,
) -> Response {
    ninox.change(|books| match books.orders.get_mut(&id) {
        Some(order) => {
            merge(order, &change);
            Json(order.clone()).into_response()
        }
        None => StatusCode::NOT_FOUND.into_response(),
    })
}

fn merge(row: &mut Value, change: &Value) {
    for (name, value) in change.as_object().into_iter().flatten() {
        row[name] = value.clone();
    }
}

/// Which items: ids with commas between them. One that is not there is left out.
#[derive(Deserialize)]
struct WhichItems {
    ids: String,
}

async fn items(State(ninox): State<Arc<Ninox>>, Query(which): Query<WhichItems>) -> Json<Value> {
    let books = ninox.lock();
    let found = which.ids.split(',').filter_map(|id| books.items.get(id));
    Json(json!({"items": found.collect::<Vec<_>>()}))
}

async fn record(State(ninox): State<Arc<Ninox>>, Json(mut invoice): Json<Value>) -> Response {
    let told = ninox.change(|books| {
        let number = books.invoices.len() + 1;
        let year = invoice["date"].as_str().and_then(|date| date.get(..4)).unwrap_or("0000");
        let (id, number) = (format!("inv-{number}"), format!("RE-{year}-{number:05}"));
        (invoice["id"], invoice["number"]) = (json!(id), json!(number));
        (invoice["mailed"], invoice["batch"]) = (json!(false), Value::Null);
        books.invoices.push(invoice.clone());
        json!({"id": id, "number": number})
    });
    (StatusCode::CREATED, Json(told)).into_response()
}

/// Which invoices. `until`: delivered before this time.
#[derive(Deserialize)]
struct WhichInvoices {
    reference: Option<String>,
    batch: Option<String>,
    customer: Option<String>,
    mailed: Option<bool>,
    until: Option<String>,
    cursor: Option<usize>,
}

async fn invoices(
    State(ninox): State<Arc<Ninox>>,
    Query(which): Query<WhichInvoices>,
) -> Json<Value> {
    let books = ninox.lock();
    let is = |wanted: &Option<String>, value: &Value| {
        wanted.as_deref().is_none_or(|wanted| value == wanted)
    };
    let fits = |invoice: &Value| {
        is(&which.reference, &invoice["reference"])
            && is(&which.batch, &invoice["batch"])
            && is(&which.customer, &invoice["customer"]["id"])
            && which.mailed.is_none_or(|mailed| invoice["mailed"] == mailed)
            && which
                .until
                .as_deref()
                .is_none_or(|until| invoice["deliveredAt"].as_str().is_some_and(|at| at < until))
    };
    let from = which.cursor.unwrap_or(0);
    let all = books.invoices.iter().enumerate().skip(from).filter(|(_, invoice)| fits(invoice));
    let found: Vec<(usize, Value)> =
        all.map(|(place, invoice)| (place, invoice.clone())).take(PAGE).collect();
    let next = found.last().filter(|_| found.len() == PAGE).map(|(place, _)| place + 1);
    let items: Vec<Value> = found.into_iter().map(|(_, invoice)| invoice).collect();
    Json(json!({"items": items, "next": next}))
}

async fn change_invoice(
    State(ninox): State<Arc<Ninox>>,
    Path(id): Path<String>,
    Json(change): Json<Value>,
) -> Response {
    ninox.change(|books| {
        let Some(invoice) = books.invoices.iter_mut().find(|known| known["id"] == *id) else {
            return StatusCode::NOT_FOUND.into_response();
        };
        let claims = !change["batch"].is_null();
        if claims && !invoice["batch"].is_null() && invoice["batch"] != change["batch"] {
            return StatusCode::CONFLICT.into_response();
        }
        merge(invoice, &change);
        Json(invoice.clone()).into_response()
    })
}
