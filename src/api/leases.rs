//! `/v1/queues/{queue}/jobs/lease`: workers ask for jobs.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{self, Poll};
use std::time::Duration;

use axum::Extension;
use axum::body::{Body, Bytes};
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use http_body::{Frame, SizeHint};
use serde::Deserialize;
use serde_json::{Value as Json_, json};

use super::Api;
use super::auth::{Client, OfQueues};
use super::body::JsonBody;
use super::cases::idempotency_key;
use super::limits::Turn;
use super::problem::Problem;
use crate::actors::handles::{Asking, Handed, Handover};
use crate::domain::work::lease::SECONDS;
use crate::domain::work::worker::NAME_MAX;

/// Jobs in one answer.
const LEASED_MAX: usize = 100;

/// Seconds that a worker may wait.
const WAIT_MAX: u64 = 60;

/// `POST /v1/queues/{queue}/jobs/lease`
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Ask {
    worker: String,
    #[serde(default = "one")]
    max: usize,
    #[serde(default)]
    wait_seconds: u64,
    #[serde(default)]
    lease_seconds: Option<i64>,
    #[serde(default)]
    version: Option<String>,
    #[serde(default)]
    host: Option<String>,
}

fn one() -> usize {
    1
}

/// Jobs for a worker; it waits where there is none.
pub async fn lease(
    State(api): State<Api>,
    Extension(queues): Extension<OfQueues>,
    Extension(client): Extension<Client>,
    Extension(turn): Extension<Turn>,
    Path(queue): Path<String>,
    headers: HeaderMap,
    JsonBody(ask): JsonBody<Ask>,
) -> Result<Response, Problem> {
    let queue = api.handle.queue(&queue).filter(|queue| queues.has(&queue.name));
    let queue = queue.ok_or_else(|| Problem::not_found("queue"))?;
    let asking = ask.check()?;
    let key = idempotency_key(&headers)?.map(|key| (client.0.clone(), key));
    // who only waits takes no place from those who are served
    if !asking.wait.is_zero() {
        turn.give_up();
    }
    let Some(handover) = api.handle.lease(&queue, asking, key).await else {
        return Err(Problem::too_many("too many workers wait already"));
    };
    let items: Vec<Json_> = handover.jobs().iter().map(show).collect();
    let text = json!({"items": items}).to_string();
    let given = Given { text: Some(text.into()), handover };
    let media = [(CONTENT_TYPE, "application/json")];
    Ok((media, Body::new(given)).into_response())
}

/// An answer with jobs: one that nobody takes gives them back.
struct Given {
    /// None: it was taken.
    text: Option<Bytes>,
    handover: Handover,
}

impl http_body::Body for Given {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut task::Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.handover.is_over();
        Poll::Ready(self.text.take().map(|text| Ok(Frame::data(text))))
    }

    fn is_end_stream(&self) -> bool {
        self.text.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.text.as_ref().map_or(0, |text| text.len() as u64))
    }
}

impl Ask {
    fn check(self) -> Result<Asking, Problem> {
        let named = |name: &str| {
            let plain = !name.chars().any(char::is_control);
            !name.is_empty() && name.chars().count() <= NAME_MAX && plain
        };
        if !named(&self.worker) {
            return Err(Problem::at("/worker", format!("a name of 1 to {NAME_MAX} characters")));
        }
        for (pointer, text) in [("/version", &self.version), ("/host", &self.host)] {
            if text.as_deref().is_some_and(|text| !named(text)) {
                return Err(Problem::at(pointer, format!("1 to {NAME_MAX} characters")));
            }
        }
        if !(1..=LEASED_MAX).contains(&self.max) {
            return Err(Problem::at("/max", format!("a number from 1 to {LEASED_MAX}")));
        }
        if self.wait_seconds > WAIT_MAX {
            return Err(Problem::at("/waitSeconds", format!("{WAIT_MAX} at the most")));
        }
        if self.lease_seconds.is_some_and(|seconds| !SECONDS.contains(&seconds)) {
            let (least, most) = (SECONDS.start(), SECONDS.end());
            return Err(Problem::at("/leaseSeconds", format!("a number from {least} to {most}")));
        }
        let text = |text: Option<String>| text.map(|text| Arc::from(text.as_str()));
        Ok(Asking {
            worker: self.worker.as_str().into(),
            version: text(self.version),
            host: text(self.host),
            most: self.max,
            millis: self.lease_seconds.map(|seconds| seconds * 1000),
            wait: Duration::from_secs(self.wait_seconds),
        })
    }
}

/// A job as its worker gets it. Its JSON Schema is at `/schemas/job.json`.
fn show(handed: &Handed) -> Json_ {
    let Handed { job, token, until } = handed;
    json!({
        "id": job.id.to_string(),
        "lease": token,
        "queue": job.queue,
        "key": job.key,
        "case": job.id.case.to_string(),
        "workflow": job.workflow,
        "version": job.version,
        "task": job.task,
        "input": job.input,
        "priority": job.priority,
        "attempt": job.attempt,
        "lost": job.lost,
        "queuedAt": job.queued_at.to_string(),
        "expiresAt": job.expires_at.map(|at| at.to_string()),
        "leasedUntil": until.to_string(),
        "leaseSeconds": job.lease_millis / 1000,
        "template": job.template.as_ref().map(|(name, content)| {
            json!({"name": name, "hash": content.to_string()})
        }),
    })
}
