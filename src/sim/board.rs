//! The board on which the parties' faults are switched: `GET /` shows them, `PUT /bobs-post` with
//! `{"down": true}` changes them.

use std::io;
use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, put};
use axum::{Json, Router};
use serde_json::{Value, json};

use super::{FaultsChange, Party};

/// Opens the board over these parties.
///
/// # Errors
/// When the port is taken.
pub async fn open(port: u16, parties: Arc<Vec<Party>>) -> io::Result<Party> {
    let router =
        Router::new().route("/", get(show)).route("/{party}", put(change)).with_state(parties);
    Party::http("board", port, router).await
}

fn shown(party: &Party) -> Value {
    json!({
        "name": party.name(),
        "address": party.address().to_string(),
        "faults": party.faults(),
    })
}

async fn show(State(parties): State<Arc<Vec<Party>>>) -> Json<Value> {
    Json(parties.iter().map(shown).collect())
}

async fn change(
    State(parties): State<Arc<Vec<Party>>>,
    Path(name): Path<String>,
    Json(faults): Json<FaultsChange>,
) -> Response {
    match parties.iter().find(|party| party.name() == name) {
        Some(party) => {
            party.touch(&faults);
            Json(shown(party)).into_response()
        }
        None => StatusCode::NOT_FOUND.into_response(),
    }
}
