//! `/v1/calendars`: holidays.

use axum::extract::{Path, RawQuery, State};
use axum::http::HeaderMap;
use axum::{Extension, Json};
use serde_json::{Value as Json_, json};

use super::Api;
use super::auth::Client;
use super::body::{Raw, expect_json, media_type, parse_object};
use super::csrs::show_difference;
use super::problem::Problem;
use super::query::Query;
use crate::domain::staff::holidays::{HolidayCalendar, ics};

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
    headers: HeaderMap,
    Raw(body): Raw,
) -> Result<Json<Json_>, Problem> {
    let calendar = match media_type(&headers).as_str() {
        "text/calendar" => of_file(&api, &name, &body)?,
        _ => {
            expect_json(&headers)?;
            parse_object::<HolidayCalendar>(&body)?
        }
    };
    if calendar.name != name {
        return Err(Problem::at("/name", "it is not the one of the address"));
    }
    calendar.check().map_err(|(pointer, detail)| Problem::at(pointer, detail))?;
    if Query::read(query.as_deref(), &["dryRun"])?.flag("dryRun")? {
        return Ok(Json(show_difference(&api.handle.try_calendar(calendar).await?)));
    }
    let shown = json!(calendar);
    api.handle.put_calendar(calendar, client.by("")).await.map_err(Problem::unavailable)?;
    Ok(Json(shown))
}

/// A calendar as its file says it. Where the file names no time zone, it stays what it was.
fn of_file(api: &Api, name: &str, body: &[u8]) -> Result<HolidayCalendar, Problem> {
    let text = std::str::from_utf8(body);
    let text = text.map_err(|_| Problem::at("", "a calendar file is UTF-8"))?;
    let known = api.handle.calendar(name).map(|known| known.zone.clone());
    let zone = known.unwrap_or_else(|| api.handle.business_zone());
    let today = zone.local(api.handle.clock().wall()).date();
    let file = ics::read(text, today).map_err(|bad| Problem::at("", bad.to_string()))?;
    Ok(HolidayCalendar { name: name.to_owned(), zone: file.zone.unwrap_or(zone), days: file.days })
}
