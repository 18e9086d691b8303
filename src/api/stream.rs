//! `/v1/stream`: what changes, live, filtered as the lists are.

use std::convert::Infallible;
use std::sync::Arc;

use axum::extract::{RawQuery, State};
use axum::http::HeaderMap;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream::{self, Stream};
use serde_json::json;
use tokio::sync::OwnedSemaphorePermit;

use super::Api;
use super::history::{PING, last_event_id};
use super::problem::Problem;
use super::query::{CASE_FILTERS, Query};
use super::show;
use crate::actors::handles::{Changed, FeedChange, FeedCursor, Handle, RecordCursor, Since};
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
        let unfiltered = self.filter == CaseFilter::default();
        let (kind, data) = match &change.what {
            Changed::Case(case) => {
                if !self.filter.accepts(case) {
                    return None;
                }
                let data = json!({
                    "id": case.id.to_string(),
                    "workflow": case.definition.workflow(),
                    "phase": case.phase.name(),
                    "status": case.status,
                    "wait": case.wait.as_ref().map(show::wait),
                    "revision": case.version,
                    "at": case.updated_at.to_string(),
                });
                ("case", data)
            }
            Changed::Assignment(one) => {
                let csr = one.csr.as_deref();
                let of_csr = self.filter.csr.iter().any(|wanted| csr == Some(wanted));
                let of_workflow = self.filter.workflow.iter().any(|w| *one.workflow == **w);
                if !unfiltered && !of_csr && !of_workflow {
                    return None;
                }
                let data = json!({
                    "id": one.id.to_string(), "case": one.case.to_string(),
                    "workflow": one.workflow, "phase": one.phase.name(), "status": null,
                    "csr": one.csr, "wait": null, "revision": one.revision,
                    "at": one.since.to_string(),
                });
                ("assignment", data)
            }
            Changed::Service { name, state, at } => {
                let wanted = unfiltered || self.filter.service.iter().any(|s| **s == **name);
                if !wanted {
                    return None;
                }
                let data = json!({
                    "id": name, "workflow": null, "phase": null, "status": state,
                    "wait": null, "revision": null, "at": at.to_string(),
                });
                ("service", data)
            }
            Changed::Queue(queue) => {
                if !unfiltered {
                    return None;
                }
                let status = if queue.is_paused { "paused" } else { "open" };
                let data = json!({
                    "id": queue.name, "workflow": null, "phase": null, "status": status,
                    "wait": null, "revision": null, "depth": queue.depth, "leased": queue.leased,
                    "at": queue.at.to_string(),
                });
                ("queue", data)
            }
            Changed::Schedule(schedule) => {
                let of_workflow = self.filter.workflow.iter().any(|w| *schedule.workflow == **w);
                if !unfiltered && !of_workflow {
                    return None;
                }
                let data = json!({
                    "id": schedule.id, "workflow": schedule.workflow, "phase": null,
                    "status": schedule.state, "wait": null, "revision": schedule.revision,
                    "at": schedule.at.to_string(),
                });
                ("schedule", data)
            }
            Changed::DeadLetter { id, case, workflow, state, at } => {
                let wanted = unfiltered || self.filter.workflow.iter().any(|w| w == workflow);
                if !wanted {
                    return None;
                }
                let data = json!({
                    "id": id.to_string(), "case": case.to_string(), "workflow": workflow,
                    "phase": null, "status": state, "wait": null, "revision": null,
                    "at": at.to_string(),
                });
                ("dead-letter", data)
            }
        };
        let event = Event::default().id(change.at.0.to_string()).event(kind);
        Some(event.data(data.to_string()))
    }
}
