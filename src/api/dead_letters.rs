//! `/v1/dead-letters`: what cannot go on without a person.

use axum::extract::{Path, RawQuery, State};
use axum::http::HeaderMap;
use axum::response::Response;
use axum::{Extension, Json};
use serde_json::{Value as Json_, json};

use super::Api;
use super::auth::Client;
use super::body::OptionalBody;
use super::cases::{Retry, tell};
use super::problem::Problem;
use super::query::{Query, bad, cursor};
use crate::domain::ids::DeadId;
use crate::store::views::dead_letters::{DeadRow, DeadState};

const FILTERS: [&str; 6] = ["workflow", "state", "group", "case", "limit", "cursor"];

/// Lists dead letters.
pub async fn list(
    State(api): State<Api>,
    RawQuery(query): RawQuery,
) -> Result<Json<Json_>, Problem> {
    let query = Query::read(query.as_deref(), &FILTERS)?;
    let (limit, after) = (query.limit()?, query.cursor()?);
    let workflows = query.all("workflow");
    let groups = query.all("group");
    let cases = query.all("case");
    let states: Option<Vec<DeadState>> =
        query.all("state").iter().map(|name| DeadState::of(name)).collect();
    let states = states.ok_or_else(|| bad("state", "open, redriven or archived".to_owned()))?;
    let wanted = move |row: &DeadRow| {
        (workflows.is_empty() || workflows.contains(&row.workflow))
            && (groups.is_empty() || groups.contains(&row.group))
            && (cases.is_empty() || cases.contains(&row.case.to_string()))
            && (states.is_empty() || states.contains(&row.state))
    };
    let views = api.views()?;
    let read = move || views.dead_letters(after.as_deref(), limit, &wanted);
    let (rows, next) = super::blocking(read).await??;
    let items: Vec<Json_> = rows.iter().map(show).collect();
    Ok(Json(json!({"items": items, "next": cursor(next.as_deref())})))
}

/// Shows a dead letter.
pub async fn get(State(api): State<Api>, Path(id): Path<String>) -> Result<Json<Json_>, Problem> {
    Ok(Json(show(&find(&api, &id)?)))
}

/// Takes up the case of a dead letter again.
pub async fn redrive(
    State(api): State<Api>,
    Extension(client): Extension<Client>,
    Path(id): Path<String>,
    headers: HeaderMap,
    OptionalBody(body): OptionalBody<Retry>,
) -> Result<Response, Problem> {
    let row = find(&api, &id)?;
    if row.state != DeadState::Open {
        let detail = format!("the dead letter is {} already", row.state.name());
        return Err(Problem::conflict(detail, &[]));
    }
    tell(&api, &client, &row.case.to_string(), &headers, body.command()).await
}

fn find(api: &Api, id: &str) -> Result<DeadRow, Problem> {
    let id: DeadId = id.parse().map_err(|_| Problem::not_found("dead letter"))?;
    api.views()?.dead_letter(id)?.ok_or_else(|| Problem::not_found("dead letter"))
}

fn show(row: &DeadRow) -> Json_ {
    let attempts: Vec<Json_> = row
        .attempts
        .iter()
        .map(|note| {
            json!({
                "at": note.at.to_string(),
                "error": note.error,
                "durationMs": note.millis,
                "node": "local",
            })
        })
        .collect();
    json!({
        "id": row.id.to_string(),
        "kind": "case",
        "case": row.case.to_string(),
        "task": row.task,
        "workflow": row.workflow,
        "cause": row.cause,
        "group": row.group,
        "error": row.error,
        "input": row.input,
        "attempts": attempts,
        "since": row.since.to_string(),
        "state": row.state.name(),
    })
}
