//! `/v1/stream`: what changes, live, filtered as the lists are.

use std::convert::Infallible;
use std::sync::Arc;

use axum::extract::{RawQuery, State};
use axum::http::HeaderMap;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream::{self, Stream};
use tokio::sync::OwnedSemaphorePermit;

use super::Api;
use super::history::{PING, last_event_id};
use super::problem::Problem;
use super::query::{CASE_FILTERS, Query};
use super::told::told;
use crate::actors::handles::{FeedChange, FeedCursor, Handle, RecordCursor, Since};
use crate::store::views::lists::CaseFilter;

/// The feed while it is followed.
struct Following {
    handle: Handle,
    filter: CaseFilter,
    place: FeedCursor,
    /// What was asked for is not kept any more.
    reset: bool,
    ready: std::vec::IntoIter<Arc<FeedChange>>,
    _place: OwnedSemaphorePermit,
}

/// Follows what changes.
pub async fn follow(
    State(api): State<Api>,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let filter = Query::read(query.as_deref(), &CASE_FILTERS)?.cases()?;
    let feed = api.handle.feed();
    let asked = last_event_id(&headers);
    let found = asked.map(|position| feed.after(RecordCursor(position)));
    let reset = matches!(found, Some(None));
    let place = found.flatten().unwrap_or_else(|| feed.now());
    let following = Following {
        handle: api.handle.clone(),
        filter,
        place,
        reset,
        ready: Vec::new().into_iter(),
        _place: api.limits.stream()?,
    };
    let alive = KeepAlive::new().interval(PING);
    Ok(Sse::new(following.stream()).keep_alive(alive).into_response())
}

impl Following {
    fn stream(self) -> impl Stream<Item = Result<Event, Infallible>> {
        stream::unfold(self, |mut following| async move {
            let event = following.next().await;
            Some((Ok(event), following))
        })
    }

    async fn next(&mut self) -> Event {
        loop {
            if std::mem::take(&mut self.reset) {
                return Event::default().event("reset").data("{}");
            }
            while let Some(change) = self.ready.next() {
                if let Some(event) = self.event(&change) {
                    return event;
                }
            }
            self.handle.feed().beyond(self.place).await;
            match self.handle.feed().since(self.place) {
                Since::Changes(changes, place) => {
                    self.place = place;
                    self.ready = changes.into_iter();
                }
                Since::Reset(place) => {
                    self.place = place;
                    self.reset = true;
                }
            }
        }
    }

    fn event(&self, change: &FeedChange) -> Option<Event> {
        let (kind, data) = told(&self.filter, change)?;
        let event = Event::default().id(change.at.0.to_string()).event(kind);
        Some(event.data(data.to_string()))
    }
}
