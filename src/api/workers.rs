//! `/v1/workers`: who asks for jobs, what they have, and what they did.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::{RawQuery, State};
use serde_json::{Value as Json_, json};

use super::Api;
use super::problem::Problem;
use super::query::page_by_name;
use crate::domain::work::worker::Worker;
use crate::store::views::work::WorkerRow;

/// Lists the workers, by name: those that were heard of, and those that ended a job before the start.
pub async fn list(
    State(api): State<Api>,
    RawQuery(query): RawQuery,
) -> Result<Json<Json_>, Problem> {
    let views = api.views()?;
    let rows = super::blocking(move || views.workers()).await??;
    let now = api.handle.clock().now();
    let rows: BTreeMap<Arc<str>, WorkerRow> =
        rows.into_iter().map(|row| (row.name.clone(), row)).collect();
    let mut workers: BTreeMap<Arc<str>, Worker> =
        api.handle.workers(|workers| workers.list(now)).into_iter().collect();
    for (name, row) in &rows {
        let worker = workers.entry(name.clone()).or_default();
        worker.last_seen = worker.last_seen.max(Some(row.last));
        if worker.queues.is_empty() {
            worker.queues.clone_from(&row.queues);
        }
    }
    let listed = workers.into_iter().filter(|(_, worker)| worker.is_listed(now));
    let listed = listed.map(|(name, worker)| (name.clone(), (name, worker)));
    let (page, next) = page_by_name(query.as_deref(), listed)?;
    let items: Vec<Json_> = page
        .into_iter()
        .map(|(name, worker)| {
            let (done, failed) = rows.get(&name).map_or((0, 0), |row| row.counts(now));
            json!({
                "name": name,
                "queues": worker.queues,
                "version": worker.version,
                "host": worker.host,
                "since": worker.since.map(|at| at.to_string()),
                "lastSeen": worker.last_seen.map(|at| at.to_string()),
                "state": worker.state(now),
                "inHand": worker.in_hand.len(),
                "done": done,
                "failed": failed,
            })
        })
        .collect();
    Ok(Json(json!({"items": items, "next": next})))
}
