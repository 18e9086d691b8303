//! `/v1/queues`: how queues stand, and what operators say of them.

use axum::extract::{Path, RawQuery, State};
use axum::http::StatusCode;
use axum::{Extension, Json};
use serde_json::{Value as Json_, json};

use super::Api;
use super::auth::Client;
use super::body::{JsonBody, OptionalBody, Reason, check_optional_reason, check_reason};
use super::problem::Problem;
use super::query::page_by_name;
use crate::actors::handles::QueueHandle;
use crate::domain::service::settings::Rate;

/// Lists the queues, by name.
pub async fn list(
    State(api): State<Api>,
    RawQuery(query): RawQuery,
) -> Result<Json<Json_>, Problem> {
    api.views()?;
    let all = api.handle.queues().into_iter().map(|queue| (queue.name.clone(), queue));
    let (page, next) = page_by_name(query.as_deref(), all)?;
    let mut items = Vec::with_capacity(page.len());
    for queue in page {
        items.push(show(&api, &queue).await?);
    }
    Ok(Json(json!({"items": items, "next": next})))
}

/// Shows a queue.
pub async fn get(State(api): State<Api>, Path(name): Path<String>) -> Result<Json<Json_>, Problem> {
    api.views()?;
    let queue = find(&api, &name)?;
    show(&api, &queue).await.map(Json)
}

fn find(api: &Api, name: &str) -> Result<std::sync::Arc<QueueHandle>, Problem> {
    api.handle.queue(name).ok_or_else(|| Problem::not_found("queue"))
}

async fn show(api: &Api, queue: &QueueHandle) -> Result<Json_, Problem> {
    let (views, name) = (api.handle.views().clone(), queue.name.clone());
    let counted = super::blocking(move || {
        let (counts, ended) = (views.count_jobs(&name), views.queue_counts(&name)?);
        views.oldest_job(&name).map(|oldest| (counts, ended, oldest))
    });
    let (counts, ended, oldest) = counted.await??;
    let now = api.handle.clock().now();
    let (settings, said, (came, went)) =
        queue.desk(|desk| (*desk.settings(), desk.said().clone(), desk.pace(now)));
    let depth = counts.queued + counts.repeating;
    let workers = api.handle.workers(|workers| workers.active(&queue.name, now));
    let out = f64::from(went) / 60.0;
    let drain = (went > 0).then(|| (depth as f64 / out).ceil() as u64);
    let (reason, by) = said.paused.clone().unzip();
    Ok(json!({
        "name": queue.name,
        "depth": depth,
        "oldestSince": oldest.map(|(at, _)| at.to_string()),
        "in": f64::from(came) / 60.0,
        "out": out,
        "leased": counts.leased,
        "paused": said.paused.is_some(),
        "workers": workers,
        "drainSeconds": drain,
        "out1m": went,
        "oldestPriority": oldest.map(|(_, priority)| priority),
        "waitingBeforeRepeat": counts.repeating,
        "expired": ended.expired,
        "concurrency": settings.concurrency,
        "rate": settings.rate.map(rate),
        "aging": format!("{}s", settings.aging / 1000),
        "pausedBy": by,
        "reason": reason,
        "purging": queue.purging(),
    }))
}

/// A rate as the configuration writes it.
fn rate(rate: Rate) -> String {
    let per = match rate.per {
        1000 => "s",
        60_000 => "m",
        _ => "h",
    };
    format!("{}/{per}", rate.calls)
}

/// Nothing is leased from a queue from now on.
pub async fn pause(
    State(api): State<Api>,
    Extension(client): Extension<Client>,
    Path(name): Path<String>,
    JsonBody(body): JsonBody<Reason>,
) -> Result<Json<Json_>, Problem> {
    let queue = find(&api, &name)?;
    check_reason(&body.reason)?;
    let by = client.by(&body.reason);
    let paused = api.handle.pause_queue(&queue, body.reason, by).await;
    paused.map_err(Problem::unavailable)?;
    show(&api, &queue).await.map(Json)
}

/// A queue goes on.
pub async fn resume(
    State(api): State<Api>,
    Extension(client): Extension<Client>,
    Path(name): Path<String>,
    OptionalBody(body): OptionalBody<Reason>,
) -> Result<Json<Json_>, Problem> {
    check_optional_reason(&body.reason)?;
    let queue = find(&api, &name)?;
    let resumed = api.handle.resume_queue(&queue, client.by(&body.reason)).await;
    resumed.map_err(Problem::unavailable)?;
    show(&api, &queue).await.map(Json)
}

/// What is queued now is never leased: its cases are suspended, and a person has a look.
pub async fn purge(
    State(api): State<Api>,
    Extension(client): Extension<Client>,
    Path(name): Path<String>,
    JsonBody(body): JsonBody<Reason>,
) -> Result<(StatusCode, Json<Json_>), Problem> {
    api.views()?;
    let queue = find(&api, &name)?;
    check_reason(&body.reason)?;
    let by = client.by(&body.reason);
    let purged = api.handle.purge_queue(&queue, body.reason, by).await;
    let purging = purged.map_err(Problem::unavailable)?;
    Ok((StatusCode::ACCEPTED, Json(json!({"purging": purging}))))
}
