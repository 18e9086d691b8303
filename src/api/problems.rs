//! The kinds of problems, each with a page of its own: what it means and what to do.

use axum::Json;
use axum::extract::Path;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use serde_json::{Value as Json_, json};

use super::problem::Problem;
use super::problem_kinds::{KINDS, Kind};

/// All kinds.
pub async fn list() -> Json<Json_> {
    let kinds = KINDS.iter().map(|kind| {
        json!({"type": format!("/problems/{}", kind.name), "status": kind.status, "title": kind.title})
    });
    Json(json!({"items": kinds.collect::<Vec<_>>(), "next": null}))
}

/// The page of a kind.
pub async fn page(Path(name): Path<String>) -> Result<Response, Problem> {
    let found = KINDS.iter().find(|kind| kind.name == name);
    let Some(Kind { title, status, page, .. }) = found else {
        return Err(Problem::not_found("kind of problem"));
    };
    let text = format!("{title} ({status})\n\n{page}\n");
    Ok(([(CONTENT_TYPE, "text/plain; charset=utf-8")], text).into_response())
}
