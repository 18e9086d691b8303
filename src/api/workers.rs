//! `/v1/workers`: who asks for jobs, and what they have.

use axum::Json;
use axum::extract::State;
use serde_json::{Value as Json_, json};

use super::Api;

/// Lists the workers, by name.
pub async fn list(State(api): State<Api>) -> Json<Json_> {
    let now = api.handle.clock().now();
    let workers = api.handle.workers(|workers| workers.list(now));
    let items: Vec<Json_> = workers
        .iter()
        .map(|(name, worker)| {
            json!({
                "name": name,
                "queues": worker.queues,
                "version": worker.version,
                "host": worker.host,
                "since": worker.since.map(|at| at.to_string()),
                "lastSeen": worker.last_seen.map(|at| at.to_string()),
                "state": worker.state(now),
                "inHand": worker.in_hand.len(),
            })
        })
        .collect();
    Json(json!({"items": items, "next": null}))
}
