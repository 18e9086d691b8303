//! `/v1/schedules`: what begins cases by itself, and what operators say of it.

use std::sync::Arc;

use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use serde::Deserialize;
use serde_json::{Value as Json_, json};

use super::Api;
use super::auth::Client;
use super::body::{JsonBody, OptionalBody, Reason, check_optional_reason, check_reason};
use super::cases::idempotency_key;
use super::problem::Problem;
use super::query::page_by_name;
use crate::actors::handles::{ScheduleError, ScheduleHandle, ScheduleSeen, random};
use crate::domain::schedule::event::Outcome;
use crate::domain::schedule::state::Decided;
use crate::domain::time::{Duration, Timestamp};
use crate::store::views::{TableError, Views};

/// Due instants that are shown.
const NEXT: usize = 5;

/// Lists the schedules, by id.
pub async fn list(
    State(api): State<Api>,
    RawQuery(query): RawQuery,
) -> Result<Json<Json_>, Problem> {
    let all = api.handle.schedules().into_iter();
    let seen = all.filter_map(|one| Some((one.id.clone(), (one.seen()?, one))));
    let (page, next) = page_by_name(query.as_deref(), seen)?;
    let mut items = Vec::with_capacity(page.len());
    for (seen, schedule) in page {
        items.push(show(&api, &schedule, seen).await?);
    }
    Ok(Json(json!({"items": items, "next": next})))
}

/// Shows a schedule.
pub async fn get(State(api): State<Api>, Path(id): Path<String>) -> Result<Json<Json_>, Problem> {
    shown(&api, &*find(&api, &id)?).await
}

fn find(api: &Api, id: &str) -> Result<Arc<ScheduleHandle>, Problem> {
    let known = api.handle.schedule(id).filter(|schedule| schedule.seen().is_some());
    known.ok_or_else(|| Problem::not_found("schedule"))
}

async fn shown(api: &Api, schedule: &ScheduleHandle) -> Result<Json<Json_>, Problem> {
    let seen = schedule.seen().ok_or_else(|| Problem::not_found("schedule"))?;
    show(api, schedule, seen).await.map(Json)
}

async fn show(api: &Api, schedule: &ScheduleHandle, seen: ScheduleSeen) -> Result<Json_, Problem> {
    let now = api.handle.schedules_now();
    let (id, workflow) = (schedule.id.clone(), format!("{}/{}", schedule.namespace, schedule.name));
    // an expression may be slow to go through
    let views = api.handle.views().clone();
    super::blocking(move || shown_of(&id, workflow, &seen, now, &views)).await?.map_err(Into::into)
}

fn shown_of(
    id: &str,
    workflow: String,
    seen: &ScheduleSeen,
    now: Timestamp,
    views: &Views,
) -> Result<Json_, TableError> {
    let state = &seen.state;
    let rules = seen.ruling.as_ref().and_then(|ruling| ruling.schedule.as_ref());
    let rules = rules.filter(|_| state.version.is_some());
    let (kind, spec) = state.timing.split_once(' ').unwrap_or((&state.timing, ""));
    let is_ahead = state.through > now;
    let mut next = Vec::new();
    // what starts a little later than it is due is still to come
    let mut after = state.through.max(now.plus(-rules.map_or(0, |rules| rules.jitter)));
    while next.len() < NEXT
        && let Some(due) = rules.and_then(|rules| rules.next(state, after))
    {
        next.push(due.to_string());
        after = due;
    }
    let (reason, by) = state.paused.clone().unzip();
    let last: Result<Vec<Json_>, TableError> =
        state.last.iter().map(|decided| decided_of(decided, views)).collect();
    Ok(json!({
        "id": id,
        "workflow": workflow,
        "version": state.version.as_ref().or(state.ended.as_ref()),
        "kind": kind,
        "spec": spec,
        "timeZone": rules.map(|rules| rules.zone.to_string()),
        "missed": rules.map(|rules| rules.missed.name()),
        "overlap": rules.map(|rules| rules.overlap.name()),
        "jitter": rules.filter(|r| r.jitter > 0).map(|r| Duration::millis(r.jitter).to_string()),
        "state": if seen.unreadable.is_some() { "damaged" } else { state.word() },
        "reason": seen.unreadable.as_deref().or(reason.as_deref()),
        "pausedBy": by,
        "next": next,
        "last": last?,
        "ahead": is_ahead.then(|| state.through.to_string()),
        // of those that events begin there may be any number
        "openCases": (kind != "on").then_some(state.open.len()),
        "waiting": state.waiting.map(|due| due.to_string()),
        "revision": state.revision,
    }))
}

/// What was decided; how a case that events began ended is its own row's to say.
fn decided_of(decided: &Decided, views: &Views) -> Result<Json_, TableError> {
    let outcome = match (&decided.outcome, decided.case) {
        (Some(outcome), _) => Some(outcome.name()),
        (None, Some(case)) => {
            let row = views.case(case)?;
            row.filter(|row| row.phase.ended()).map(|row| row.phase.name())
        }
        (None, None) => None,
    };
    let detail = match &decided.outcome {
        Some(Outcome::Refused(why)) => Some(why),
        _ => None,
    };
    let (why, count) = decided.skipped.unzip();
    Ok(json!({
        "due": decided.due.to_string(),
        "at": decided.at.map(|at| at.to_string()),
        "case": decided.case.map(|case| case.to_string()),
        "outcome": outcome,
        "skipped": why.map(|why| why.name()),
        "count": count,
        "detail": detail,
    }))
}

/// Nothing runs from now on.
pub async fn pause(
    State(api): State<Api>,
    Extension(client): Extension<Client>,
    Path(id): Path<String>,
    JsonBody(body): JsonBody<Reason>,
) -> Result<Json<Json_>, Problem> {
    let schedule = find(&api, &id)?;
    check_reason(&body.reason)?;
    let by = client.by(&body.reason);
    api.handle.pause_schedule(&schedule, body.reason, by).await.map_err(problem)?;
    shown(&api, &schedule).await
}

/// How a schedule goes on.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub struct Resume {
    #[serde(default)]
    reason: String,
    /// What is due after this instant is decided, even where it was before.
    #[serde(default)]
    from: Option<String>,
}

/// It goes on.
pub async fn resume(
    State(api): State<Api>,
    Extension(client): Extension<Client>,
    Path(id): Path<String>,
    OptionalBody(body): OptionalBody<Resume>,
) -> Result<Json<Json_>, Problem> {
    let schedule = find(&api, &id)?;
    check_optional_reason(&body.reason)?;
    let from = body.from.map(|from| from.parse::<Timestamp>());
    let from = from.transpose().map_err(|error| Problem::at("/from", error.to_string()))?;
    let by = client.by(&body.reason);
    api.handle.resume_schedule(&schedule, from, by).await.map_err(problem)?;
    shown(&api, &schedule).await
}

/// A run now.
pub async fn trigger(
    State(api): State<Api>,
    Extension(client): Extension<Client>,
    Path(id): Path<String>,
    headers: HeaderMap,
    OptionalBody(body): OptionalBody<Reason>,
) -> Result<Response, Problem> {
    let schedule = find(&api, &id)?;
    check_optional_reason(&body.reason)?;
    let key = idempotency_key(&headers)?;
    let key = key.unwrap_or_else(|| u128::from_le_bytes(random()).to_string());
    let by = client.by(&body.reason);
    let triggered = api.handle.trigger_schedule(&schedule, (&client.0, &key), by).await;
    let (case, triggered) = triggered.map_err(problem)?;
    let told = Json(json!({"case": case.to_string()}));
    Ok(match triggered.new {
        true => (StatusCode::CREATED, told).into_response(),
        false => (StatusCode::OK, [("idempotency-replayed", "true")], told).into_response(),
    })
}

fn problem(error: ScheduleError) -> Problem {
    match error {
        ScheduleError::Conflict(detail) => Problem::conflict(detail, &[]),
        ScheduleError::Refused(detail) => Problem::at("", detail),
        ScheduleError::Unavailable(detail) => Problem::unavailable(detail),
    }
}
