//! `/v1/cases/{id}/tasks`: the story of each task, and what its workers wrote.

use std::convert::Infallible;
use std::time::Duration;

use axum::Json;
use axum::extract::{Path, RawQuery, State};
use axum::http::HeaderMap;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use serde_json::{Value as Json_, json};

use super::Api;
use super::cases::case_id;
use super::history::{PING, last_event_id, wants_stream};
use super::problem::Problem;
use super::query::{Query, cursor};
use crate::actors::handles::{Attempt, Batch, Progress};
use crate::domain::case::history::OpenTask;
use crate::domain::case::story::Story;
use crate::domain::ids::CaseId;
use crate::domain::time::Timestamp;
use crate::domain::workflow::model::TaskId;

/// Lines of a log that are shown of a task.
const LAST: usize = 5;

/// How often it is looked whether a log has grown that is followed.
const LOOK: Duration = Duration::from_millis(500);

fn time(at: Option<Timestamp>) -> Option<String> {
    at.map(|at| at.to_string())
}

/// How long something took, in milliseconds.
fn duration(from: Option<Timestamp>, to: Option<Timestamp>) -> Option<i64> {
    Some(to?.since(from?))
}

fn progress(progress: &Progress) -> Json_ {
    json!({
        "share": progress.share, "message": progress.message, "at": progress.at.to_string(),
    })
}

/// What was said last of an attempt: how far it is, and the last lines.
fn last_said(logs: &[Batch], of: Attempt) -> (Option<Json_>, Vec<&str>) {
    let batches = || logs.iter().filter(|batch| batch.of == of);
    let far = batches().filter_map(|batch| batch.progress.as_ref()).next_back().map(progress);
    let lines: Vec<&str> = batches().flat_map(|b| b.lines.iter().map(|l| &*l.line)).collect();
    (far, lines[lines.len().saturating_sub(LAST)..].to_vec())
}

/// A task that is open.
pub fn open(task: &OpenTask, wait: Option<Json_>, logs: &[Batch]) -> Json_ {
    let of = Attempt { task: task.key.0, iteration: task.key.1, attempt: task.attempt };
    let (progress, log) = last_said(logs, of);
    let job = task.job.as_ref();
    let lease = job.and_then(|job| job.lease.as_ref());
    json!({
        "reference": task.reference,
        "iteration": task.key.1,
        "phase": task.phase,
        "attempt": task.attempt,
        "nextAttemptAt": time(task.next_attempt_at),
        "wait": wait,
        "queue": job.map(|job| &job.queue),
        "worker": lease.map(|lease| &lease.worker),
        "host": lease.and_then(|lease| lease.host.as_ref()),
        "queuedAt": time(job.map(|job| job.queued_at)),
        "startedAt": time(task.started_at),
        "endedAt": null,
        "durationMs": null,
        "lost": job.map_or(0, |job| job.lost),
        "error": task.error,
        "progress": progress,
        "log": log,
    })
}

fn story(story: &Story, logs: &[Batch]) -> Json_ {
    let of = Attempt { task: story.task, iteration: story.iteration, attempt: story.attempt };
    let (progress, log) = last_said(logs, of);
    json!({
        "reference": story.reference,
        "iteration": story.iteration,
        "phase": story.phase,
        "attempt": story.attempt,
        "queue": story.queue,
        "worker": story.worker,
        "host": story.host,
        "queuedAt": time(story.queued_at),
        "startedAt": time(story.started_at),
        "endedAt": time(story.ended_at),
        "durationMs": duration(story.started_at, story.ended_at),
        "lost": story.lost,
        "error": story.error,
        "progress": progress,
        "log": log,
    })
}

impl Api {
    /// What workers have written of a case.
    pub async fn logs(&self, case: CaseId) -> Result<Vec<Batch>, Problem> {
        self.handle.logs(case).await.map_err(Problem::unavailable)
    }
}

/// The stories of a case's tasks, in the order in which they began.
pub async fn list(
    State(api): State<Api>,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Json<Json_>, Problem> {
    let id = case_id(&id)?;
    let query = Query::read(query.as_deref(), &["limit", "cursor"])?;
    let limit = query.limit()?;
    let after = query.cursor()?.and_then(|c| Some(u64::from_be_bytes(c.try_into().ok()?)));
    let after = usize::try_from(after.unwrap_or(0)).unwrap_or(usize::MAX);
    let stories = api.handle.stories(id).await?;
    let logs = match stories.iter().any(|story| story.queue.is_some()) {
        true => api.logs(id).await?,
        false => Vec::new(),
    };
    let page: Vec<Json_> =
        stories.iter().skip(after).take(limit).map(|one| story(one, &logs)).collect();
    let next = (after.saturating_add(limit) < stories.len()).then(|| (after + limit) as u64);
    let next = cursor(next.map(u64::to_be_bytes).as_ref().map(|next| &next[..]));
    Ok(Json(json!({"items": page, "next": next})))
}

/// Which lines are wanted.
#[derive(Clone, Copy)]
struct Wanted {
    task: TaskId,
    iteration: Option<u32>,
    attempt: Option<u32>,
}

/// Lines of a log, as they are shown; what was left out between is said.
fn lines(logs: &[Batch], wanted: Wanted) -> Vec<Json_> {
    let fits = |batch: &&Batch| {
        batch.of.task == wanted.task
            && wanted.iteration.is_none_or(|iteration| iteration == batch.of.iteration)
            && wanted.attempt.is_none_or(|attempt| attempt == batch.of.attempt)
    };
    let mut shown = Vec::new();
    for batch in logs.iter().filter(fits) {
        let (iteration, attempt) = (batch.of.iteration, batch.of.attempt);
        if batch.left_out > 0 {
            let at = batch.lines.first().map(|line| line.at.to_string());
            let line = format!("… {} bytes were left out", batch.left_out);
            shown.push(json!({"at": at, "iteration": iteration, "attempt": attempt,
                "stream": "worker", "line": line}));
        }
        shown.extend(batch.lines.iter().map(|line| {
            json!({"at": line.at.to_string(), "iteration": iteration, "attempt": attempt,
                "stream": line.stream, "line": line.line})
        }));
    }
    shown
}

/// All lines that are kept of a task; live where a stream is asked for.
pub async fn log(
    State(api): State<Api>,
    Path((id, reference)): Path<(String, String)>,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let id = case_id(&id)?;
    let query = Query::read(query.as_deref(), &["iteration", "attempt", "limit", "cursor"])?;
    let number = |name: &str| match query.get(name).map(str::parse::<u32>) {
        None => Ok(None),
        Some(Ok(number)) => Ok(Some(number)),
        Some(Err(_)) => Err(Problem::at(format!("?{name}"), "a whole number")),
    };
    let (iteration, attempt) = (number("iteration")?, number("attempt")?);
    let case = api.handle.case(id).await?;
    let task = case.definition.find(&reference).ok_or_else(|| Problem::not_found("task"))?.id;
    let wanted = Wanted { task, iteration, attempt };
    if wants_stream(&headers) {
        let from = last_event_id(&headers).unwrap_or(0);
        return follow(api, id, wanted, usize::try_from(from).unwrap_or(0));
    }
    let limit = query.limit()?;
    let after = query.cursor()?.and_then(|c| Some(u64::from_be_bytes(c.try_into().ok()?)));
    let after = usize::try_from(after.unwrap_or(0)).unwrap_or(usize::MAX);
    let all = lines(&api.logs(id).await?, wanted);
    let next = (after.saturating_add(limit) < all.len()).then(|| (after + limit) as u64);
    let next = cursor(next.map(u64::to_be_bytes).as_ref().map(|next| &next[..]));
    let items: Vec<Json_> = all.into_iter().skip(after).take(limit).collect();
    Ok(Json(json!({"items": items, "next": next})).into_response())
}

/// Sends lines as they come, until the task is through.
fn follow(api: Api, id: CaseId, wanted: Wanted, from: usize) -> Result<Response, Problem> {
    let place = api.limits.stream()?;
    let first = (from, Vec::new().into_iter(), false);
    let events = stream::unfold((api, place, first), move |(api, place, state)| async move {
        let (mut sent, mut ready, mut over): (usize, std::vec::IntoIter<Json_>, bool) = state;
        loop {
            if let Some(line) = ready.next() {
                sent += 1;
                let event = Event::default().id(sent.to_string()).event("line");
                let event = event.data(line.to_string());
                return Some((Ok::<_, Infallible>(event), (api, place, (sent, ready, over))));
            }
            if over {
                return None;
            }
            let case = api.handle.case(id).await.ok()?;
            let open = case.state.find_any(&case.definition, wanted.task).is_some();
            let all = lines(&api.logs(id).await.ok()?, wanted);
            over = !open;
            ready = all.into_iter().skip(sent).collect::<Vec<_>>().into_iter();
            if ready.len() == 0 && !over {
                tokio::time::sleep(LOOK).await;
            }
        }
    });
    let alive = KeepAlive::new().interval(PING);
    Ok(Sse::new(events).keep_alive(alive).into_response())
}
