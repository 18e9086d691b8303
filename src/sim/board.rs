//! The board on which the parties' faults are switched: `GET /` shows them, `PUT /bobs-post` with
//! `{"down": true}` changes them; and where mails are read: `GET /mails?to=ada@example.com`.

use std::io;
use std::sync::Arc;

use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, put};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};

use super::mailbox::{Mail, Mailbox};
use super::{FaultsChange, Party};

/// Mails that are shown at the most.
const SHOWN: usize = 50;

/// Opens the board over these parties and their mailbox.
///
/// # Errors
/// When the port is taken.
pub async fn open(port: u16, parties: Arc<Vec<Party>>, mailbox: Arc<Mailbox>) -> io::Result<Party> {
    let mails = Router::new().route("/mails", get(read)).with_state(mailbox);
    let switches = Router::new().route("/", get(show)).route("/{party}", put(change));
    let router = switches.with_state(parties).merge(mails);
    Party::http("board", port, router).await
}

/// Whose mails.
#[derive(Deserialize)]
struct Addressed {
    to: Option<String>,
}

/// The last mails, as texts, the latest at the end.
async fn read(
    State(mailbox): State<Arc<Mailbox>>,
    Query(Addressed { to }): Query<Addressed>,
) -> String {
    let mut mails = mailbox.mails();
    mails.retain(|mail| to.as_ref().is_none_or(|to| mail.to.contains(to)));
    let shown = &mails[mails.len().saturating_sub(SHOWN)..];
    let one = |mail: &Mail| {
        let Mail { to, subject, text, calendar, .. } = mail;
        format!(
            "To: {}\nSubject: {subject}\n\n{text}\n{calendar}{}\n",
            to.join(", "),
            "=".repeat(72)
        )
    };
    shown.iter().map(one).collect()
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
