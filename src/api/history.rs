//! `/v1/cases/{id}/events`: a case's history, as pages or live.

use std::convert::Infallible;
use std::time::Duration;

use axum::Json;
use axum::extract::{Path, RawQuery, State};
use axum::http::header::ACCEPT;
use axum::http::{HeaderMap, StatusCode};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream::{self, Stream};
use serde_json::{Value as Json_, json};
use tokio::sync::OwnedSemaphorePermit;

use super::Api;
use super::cases::case_id;
use super::problem::Problem;
use super::query::{Query, cursor};
use super::show;
use crate::actors::handles::{Entry, History, Watch};
use crate::domain::ids::CaseId;

/// Time between signs of life on a stream.
pub const PING: Duration = Duration::from_secs(15);

/// A case's history: a page of it, or all of it and what comes.
pub async fn events(
    State(api): State<Api>,
    Path(id): Path<String>,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let id = case_id(&id)?;
    if wants_stream(&headers) {
        return follow(&api, id, last_event_id(&headers)).await;
    }
    let query = Query::read(query.as_deref(), &["limit", "cursor"])?;
    let limit = query.limit()?;
    let from = query.cursor()?.and_then(|c| Some(u64::from_be_bytes(c.try_into().ok()?)));
    let mut history = api.handle.history(id, from.unwrap_or(1)).await?;
    let mut entries: Vec<Entry> = Vec::new();
    while entries.len() <= limit {
        let next = history.next().await?;
        if next.is_empty() {
            break;
        }
        entries.extend(next);
    }
    let next = entries.get(limit).map(|entry| entry.version.to_be_bytes());
    entries.truncate(limit);
    let items: Vec<Json_> = entries.iter().map(show::entry).collect();
    let next = cursor(next.as_ref().map(|next| &next[..]));
    Ok(Json(json!({"items": items, "next": next})).into_response())
}

/// Whether a request wants a stream of events.
pub fn wants_stream(headers: &HeaderMap) -> bool {
    let accept = headers.get(ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    accept.contains("text/event-stream")
}

/// Where a stream was left.
pub fn last_event_id(headers: &HeaderMap) -> Option<u64> {
    headers.get("last-event-id")?.to_str().ok()?.trim().parse().ok()
}

/// A history while it is followed.
struct Following {
    history: History,
    watch: Watch,
    ready: std::vec::IntoIter<Entry>,
    _place: OwnedSemaphorePermit,
}

async fn follow(api: &Api, id: CaseId, last: Option<u64>) -> Result<Response, Problem> {
    let place = api.limits.stream()?;
    // watched before it is read, so that nothing falls in between
    let watch = api.handle.watch(id);
    let mut history = api.handle.history(id, last.unwrap_or(0) + 1).await?;
    let ready = history.next().await?.into_iter();
    if last.is_some() && ready.len() == 0 && history.ended() {
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    let following = Following { history, watch, ready, _place: place };
    let alive = KeepAlive::new().interval(PING);
    Ok(Sse::new(following.stream()).keep_alive(alive).into_response())
}

impl Following {
    fn stream(self) -> impl Stream<Item = Result<Event, Infallible>> {
        stream::unfold(self, |mut following| async move {
            let event = following.next().await?;
            Some((Ok(event), following))
        })
    }

    /// The next event; none: the case has ended, or cannot be read further.
    async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(entry) = self.ready.next() {
                let data = show::entry(&entry).to_string();
                let id = entry.version.to_string();
                return Some(Event::default().id(id).event(entry.told.kind).data(data));
            }
            self.ready = self.history.next().await.ok()?.into_iter();
            if self.ready.len() > 0 {
                continue;
            }
            if self.history.ended() {
                return None;
            }
            self.watch.beyond(self.history.version()).await;
        }
    }
}
