//! Calendars that CSRs subscribe to: `/v1/csrs/{id}/calendar.ics?token=`. The address is the key, so only
//! whoever was given it can read it, and it can be taken back.

use axum::extract::{Path, RawQuery, State};
use axum::http::HeaderMap;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, HOST};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use serde_json::{Value as Json_, json};

use super::Api;
use super::auth::Client;
use super::csrs::find;
use super::problem::Problem;
use super::query::Query;
use crate::actors::handles::{Terms, random};
use crate::domain::ids::Bits;
use crate::domain::staff::csr::command::Command;
use crate::domain::staff::csr::{Csr, feed_hash};
use crate::domain::staff::notice::ics::{self, Entry};

/// Gives the calendar an address, in the place of the one that it had.
pub async fn open(
    State(api): State<Api>,
    Extension(client): Extension<Client>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Json<Json_>, Problem> {
    let csr = find(&api, &id)?;
    let token = format!("{:?}", Bits(random()));
    let command = Command::Feed { token: Some(feed_hash(&token)) };
    let terms = Terms { by: client.by(""), if_match: None, dry_run: false };
    api.handle.ask_csr(&csr.id, command, terms).await?;
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let host = header(HOST.as_str()).unwrap_or("localhost");
    let scheme = header("x-forwarded-proto").filter(|scheme| *scheme == "https").unwrap_or("http");
    let url = format!("{scheme}://{host}/v1/csrs/{}/calendar.ics?token={token}", csr.id);
    Ok(Json(json!({"url": url})))
}

/// Takes the address back.
pub async fn revoke(
    State(api): State<Api>,
    Extension(client): Extension<Client>,
    Path(id): Path<String>,
) -> Result<Json<Json_>, Problem> {
    let csr = find(&api, &id)?;
    let terms = Terms { by: client.by(""), if_match: None, dry_run: false };
    api.handle.ask_csr(&csr.id, Command::Feed { token: None }, terms).await?;
    Ok(Json(json!({"url": null})))
}

/// The appointments, for whoever knows the token.
pub async fn read(
    State(api): State<Api>,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let query = Query::read(query.as_deref(), &["token"])?;
    let wanted = query.get("token").map(feed_hash);
    // a wrong token tells nobody who is there
    let csr = find(&api, &id).ok().filter(|csr| csr.feed.is_some() && csr.feed == wanted);
    let csr = csr.ok_or_else(|| Problem::not_found("calendar"))?;
    let file =
        ics::file(&entries(&csr, &api.handle.mail_domain()), None, api.handle.clock().wall());
    let headers =
        [(CONTENT_TYPE, "text/calendar; charset=utf-8"), (CACHE_CONTROL, "private, no-store")];
    Ok((headers, file).into_response())
}

/// Title and case of each appointment: no customer.
fn entries(csr: &Csr, domain: &str) -> Vec<Entry> {
    let timed = csr.reservations.iter().filter_map(|(id, one)| Some((id, one, one.slot?)));
    let mut all: Vec<Entry> = timed
        .map(|(booking, one, slot)| Entry {
            uid: format!("{booking}@{domain}"),
            sequence: 2 * one.number,
            start: slot.start,
            end: slot.end,
            summary: one.title.to_string(),
            description: one.case.to_string(),
            off: false,
        })
        .collect();
    all.sort_by_key(|entry| entry.start);
    all
}
