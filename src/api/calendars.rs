//! `/v1/calendars`: holidays.

use axum::extract::{Path, RawQuery, State};
use axum::{Extension, Json};
use serde_json::{Value as Json_, json};

use super::Api;
use super::auth::Client;
use super::body::JsonBody;
use super::csrs::moves;
use super::problem::Problem;
use super::query::Query;
use crate::domain::staff::holidays::HolidayCalendar;
use crate::domain::staff::profile::is_word;

/// Days of one calendar at the most.
const DAYS_MAX: usize = 2000;

/// Lists holiday calendars.
pub async fn list(State(api): State<Api>) -> Json<Json_> {
    let items: Vec<Json_> = api.handle.calendars().iter().map(|one| json!(**one)).collect();
    Json(json!({"items": items, "next": null}))
}

/// Shows one.
pub async fn get(State(api): State<Api>, Path(name): Path<String>) -> Result<Json<Json_>, Problem> {
    let calendar = api.handle.calendar(&name);
    let calendar = calendar.ok_or_else(|| Problem::not_found("holiday calendar"))?;
    Ok(Json(json!(*calendar)))
}

/// Says which days are holidays.
pub async fn put(
    State(api): State<Api>,
    Extension(client): Extension<Client>,
    Path(name): Path<String>,
    RawQuery(query): RawQuery,
    JsonBody(calendar): JsonBody<HolidayCalendar>,
) -> Result<Json<Json_>, Problem> {
    if calendar.name != name || !is_word(&name) {
        let detail = "the name of the address: 1 to 40 characters of a-z, 0-9, - and _";
        return Err(Problem::at("/name", detail));
    }
    let long = |name: &str| name.chars().count() > 200 || name.chars().any(char::is_control);
    if let Some(place) = calendar.days.iter().position(|day| long(&day.name)) {
        return Err(Problem::at(
            format!("/days/{place}/name"),
            "at most 200 characters on one line",
        ));
    }
    if calendar.days.len() > DAYS_MAX {
        return Err(Problem::at("/days", format!("at most {DAYS_MAX}")));
    }
    if Query::read(query.as_deref(), &["dryRun"])?.flag("dryRun")? {
        let mut moved = Vec::new();
        for (csr, displaced) in api.handle.try_calendar(calendar).await? {
            moved.extend(moves(&csr, &displaced));
        }
        return Ok(Json(json!({"moves": moved, "attention": []})));
    }
    let shown = json!(calendar);
    api.handle.put_calendar(calendar, client.by("")).await.map_err(Problem::unavailable)?;
    Ok(Json(shown))
}
