//! `/v1/csrs`: people, their hours and absences, and their calendars.

use std::sync::Arc;

use axum::extract::{Path, RawQuery, State};
use axum::http::header::ETAG;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use serde::Deserialize;
use serde_json::{Value as Json_, json};

use super::Api;
use super::auth::Client;
use super::body::{JsonBody, OptionalBody, Raw, expect_json, parse};
use super::cases::{etag, if_match};
use super::problem::Problem;
use super::query::{Query, bad};
use crate::actors::handles::{CsrError, CsrReply, Terms};
use crate::domain::ids::{Bits, CsrId};
use crate::domain::staff::civil::Moment;
use crate::domain::staff::csr::command::{Answer, Command, Rejection};
use crate::domain::staff::csr::{Csr, MINUTE, Standing};
use crate::domain::staff::intervals::Span;
use crate::domain::staff::plan::difference::{Difference, Move, Where};
use crate::domain::staff::profile::{Profile, TimeOff};
use crate::domain::time::{DAY, Timestamp};

/// Days of a calendar that are shown at once.
const DAYS_MAX: i64 = 92;

/// Days of it where nothing else is asked for.
const DAYS: i64 = 14;

/// Lists CSRs.
pub async fn list(
    State(api): State<Api>,
    RawQuery(query): RawQuery,
) -> Result<Json<Json_>, Problem> {
    let query = Query::read(query.as_deref(), &["skill", "state", "limit", "cursor"])?;
    let (limit, after) = (query.limit()?, query.cursor()?);
    let (skills, states) = (query.all("skill"), query.all("state"));
    let now = api.handle.clock().wall();
    let after = after.map(|after| String::from_utf8_lossy(&after).into_owned());
    let mut fit = api.handle.csrs();
    fit.retain(|csr| {
        let known = |skill: &Arc<str>| skills.iter().any(|wanted| **wanted == **skill);
        let stage = csr.stage(now).name();
        (skills.is_empty() || csr.profile.skills.iter().any(known))
            && (states.is_empty() || states.iter().any(|state| state == stage))
            && after.as_deref().is_none_or(|after| csr.id.as_str() > after)
    });
    let next = fit.get(limit - 1).filter(|_| fit.len() > limit);
    let next = super::query::cursor(next.map(|csr| csr.id.as_str().as_bytes()));
    let items: Vec<Json_> = fit.iter().take(limit).map(|csr| show(csr, now)).collect();
    Ok(Json(json!({"items": items, "next": next})))
}

/// Shows a CSR.
pub async fn get(State(api): State<Api>, Path(id): Path<String>) -> Result<Response, Problem> {
    let csr = find(&api, &id)?;
    let shown = show(&csr, api.handle.clock().wall());
    Ok(([(ETAG, etag(csr.revision))], Json(shown)).into_response())
}

/// Says what is known of a CSR.
pub async fn put(
    State(api): State<Api>,
    Extension(client): Extension<Client>,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    Raw(body): Raw,
) -> Result<Response, Problem> {
    expect_json(&headers)?;
    let dry_run = is_dry(query.as_deref())?;
    let id: CsrId = id.parse().map_err(|e| Problem::at("/id", format!("{e}")))?;
    let mut body: Json_ = parse(&body)?;
    let Some(fields) = body.as_object_mut() else {
        return Err(Problem::at("", "an object is expected"));
    };
    if fields.remove("id").is_some_and(|said| said.as_str() != Some(id.as_str())) {
        return Err(Problem::at("/id", "it is not the one of the address"));
    }
    // what a GET says beside what can be said
    for told in ["state", "load", "revision"] {
        fields.remove(told);
    }
    let mut profile: Profile = parse(&serde_json::to_vec(&body).unwrap_or_default())?;
    profile.name_spans();
    if let Some(name) = &profile.holidays
        && api.handle.calendar(name).is_none()
    {
        return Err(Problem::at("/holidays", format!("there is no holiday calendar `{name}`")));
    }
    let is_new = api.handle.csr(&id).is_none();
    let terms = Terms { by: client.by(""), if_match: if_match(&headers)?, dry_run };
    let told = api.handle.put_csr(&id, profile, terms).await?;
    answer(&api, told, is_new, dry_run).await
}

/// They leave now.
pub async fn delete(
    State(api): State<Api>,
    Extension(client): Extension<Client>,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let dry_run = is_dry(query.as_deref())?;
    let csr = find(&api, &id)?;
    let (on, reason) = (Moment::Instant(api.handle.clock().wall()), "removed".into());
    let terms = Terms { by: client.by(""), if_match: if_match(&headers)?, dry_run };
    let told = api.handle.ask_csr(&csr.id, Command::Leave { on, reason }, terms).await?;
    answer(&api, told, false, dry_run).await
}

/// `POST /v1/csrs/{id}/time-off`
#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Away {
    #[serde(default)]
    from: Option<Moment>,
    #[serde(default)]
    to: Option<Moment>,
    #[serde(default)]
    reason: String,
    #[serde(default)]
    dry_run: bool,
}

/// They are away; where nothing else is said, from now to the end of today.
pub async fn away(
    State(api): State<Api>,
    Extension(client): Extension<Client>,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    OptionalBody(body): OptionalBody<Away>,
) -> Result<Response, Problem> {
    let csr = find(&api, &id)?;
    let now = api.handle.clock().wall();
    let from = body.from.unwrap_or(Moment::Instant(now));
    let zone = &csr.profile.zone;
    let today = || Moment::Day(zone.local(from.begins(zone).max(now)).date());
    let to = body.to.unwrap_or_else(today);
    // whoever is called in sick once more is not sick twice
    let same = csr.profile.time_off.iter().find(|known| {
        let here = known.from.begins(zone) <= now && known.to.ends(zone) == to.ends(zone);
        body.from.is_none() && here && known.reason == body.reason
    });
    let from = same.map_or(from, |known| known.from);
    // the same absence said twice is one
    let parts = [String::from(from), String::from(to), body.reason.clone()];
    let parts: Vec<&[u8]> = parts.iter().map(|part| part.as_bytes()).collect();
    let absence = format!("{:?}", Bits::derived(&parts))[..12].to_owned();
    let off = TimeOff { id: absence.clone(), from, to, reason: body.reason.clone() };
    let dry_run = body.dry_run || is_dry(query.as_deref())?;
    let terms = Terms { by: client.by(&body.reason), if_match: if_match(&headers)?, dry_run };
    let told = api.handle.ask_csr(&csr.id, Command::Away { off }, terms).await?;
    let is_new = told.csr.as_ref().is_some_and(|told| told.revision > csr.revision);
    answer(&api, told, is_new, dry_run).await
}

/// An absence is taken back.
pub async fn back(
    State(api): State<Api>,
    Extension(client): Extension<Client>,
    Path((id, absence)): Path<(String, String)>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let dry_run = is_dry(query.as_deref())?;
    let csr = find(&api, &id)?;
    let terms = Terms { by: client.by(""), if_match: if_match(&headers)?, dry_run };
    let told = api.handle.ask_csr(&csr.id, Command::Back { id: absence }, terms).await?;
    answer(&api, told, false, dry_run).await
}

/// `POST /v1/csrs/{id}/leave`
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Leave {
    on: Moment,
    #[serde(default)]
    reason: String,
    #[serde(default)]
    dry_run: bool,
}

/// They leave on a day.
pub async fn leave(
    State(api): State<Api>,
    Extension(client): Extension<Client>,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    JsonBody(body): JsonBody<Leave>,
) -> Result<Response, Problem> {
    let csr = find(&api, &id)?;
    let (on, reason, dry_run) = (body.on, body.reason.as_str().into(), body.dry_run);
    let dry_run = dry_run || is_dry(query.as_deref())?;
    let terms = Terms { by: client.by(&body.reason), if_match: if_match(&headers)?, dry_run };
    let told = api.handle.ask_csr(&csr.id, Command::Leave { on, reason }, terms).await?;
    answer(&api, told, false, dry_run).await
}

/// Free and booked time, day by day.
pub async fn calendar(
    State(api): State<Api>,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Json<Json_>, Problem> {
    let query = Query::read(query.as_deref(), &["from", "to"])?;
    let csr = find(&api, &id)?;
    let zone = &csr.profile.zone;
    let moment = |name: &str| {
        let text = query.get(name);
        text.map(|text| text.parse::<Moment>().map_err(|e| bad(name, e.to_string()))).transpose()
    };
    let today = Moment::Day(zone.local(api.handle.clock().wall()).date());
    let start = moment("from")?.unwrap_or(today).begins(zone);
    let end = match moment("to")? {
        Some(to) => to.ends(zone),
        None => start.plus(DAYS * DAY),
    };
    if end.since(start) > DAYS_MAX * DAY || end <= start {
        return Err(bad("to", format!("later than `from`, and at most {DAYS_MAX} days later")));
    }
    Ok(Json(show_calendar(&csr, Span { start, end })))
}

fn show_calendar(csr: &Csr, within: Span) -> Json_ {
    let (zone, profile) = (&csr.profile.zone, &csr.profile);
    let text = |at: Timestamp| at.to_string();
    let spans = |set: &crate::domain::staff::intervals::Intervals| -> Vec<Json_> {
        let show = |span: &Span| json!({"start": text(span.start), "end": text(span.end)});
        set.spans().iter().map(show).collect()
    };
    let busy = csr.busy.iter().filter_map(|(span, _)| span.common(within)).collect();
    let day = |date: jiff::civil::Date| {
        let day = zone.day(date);
        let working = profile.working(csr.calendar.as_deref(), day);
        let holiday = csr.calendar.iter().flat_map(|calendar| &calendar.days);
        let holiday = holiday.into_iter().find(|holiday| holiday.date == date);
        let off = profile
            .time_off
            .iter()
            .filter_map(|off| Span::new(off.from.begins(zone), off.to.ends(zone))?.common(day));
        json!({
            "date": date.to_string(),
            "minutes": csr.minutes_on(date),
            "holiday": holiday.map(|holiday| &holiday.name),
            "hours": spans(&working),
            "off": spans(&off.collect()),
            "free": spans(&working.without(&busy)),
        })
    };
    let mut bookings: Vec<_> = csr
        .reservations
        .iter()
        .filter_map(|(booking, one)| Some((booking, one, one.slot?)))
        .filter(|(.., slot)| slot.span().common(within).is_some())
        .collect();
    bookings.sort_by_key(|(.., slot)| slot.start);
    let bookings = bookings.into_iter().map(|(booking, one, slot)| {
        let state = match one.standing {
            Standing::Live => "reserved",
            Standing::Displaced(_) => "displaced",
            Standing::Kept => "kept",
            Standing::Done => "done",
        };
        json!({
            "booking": booking.to_string(), "case": one.case.to_string(), "title": one.title,
            "start": text(slot.start), "end": text(slot.end),
            "bufferEnd": text(slot.buffer_end), "state": state,
        })
    });
    json!({
        "csr": csr.id, "timeZone": zone.to_string(), "from": text(within.start),
        "to": text(within.end), "days": zone.days(within).map(day).collect::<Vec<_>>(),
        "bookings": bookings.collect::<Vec<_>>(),
    })
}

/// Whether only what would come of it is wanted.
pub fn is_dry(query: Option<&str>) -> Result<bool, Problem> {
    Query::read(query, &["dryRun"])?.flag("dryRun")
}

/// A CSR.
///
/// # Errors
/// 404 where there is none.
pub fn find(api: &Api, id: &str) -> Result<Arc<Csr>, Problem> {
    let id: Option<CsrId> = id.parse().ok();
    id.and_then(|id| api.handle.csr(&id)).ok_or_else(|| Problem::not_found("CSR"))
}

async fn answer(
    api: &Api,
    told: CsrReply,
    is_new: bool,
    dry_run: bool,
) -> Result<Response, Problem> {
    let csr = told.csr.ok_or_else(|| Problem::not_found("CSR"))?;
    let displaced = match &told.answer {
        Answer::Changed(displaced) => displaced.as_slice(),
        _ => &[],
    };
    if dry_run {
        let changed = vec![(csr.clone(), displaced.to_vec())];
        let difference = api.handle.try_displacing(changed).await?;
        return Ok(Json(show_difference(&difference)).into_response());
    }
    let status = if is_new { StatusCode::CREATED } else { StatusCode::OK };
    let shown = show(&csr, api.handle.clock().wall());
    Ok((status, [(ETAG, etag(csr.revision))], Json(shown)).into_response())
}

/// What would become of tasks because of a change.
pub fn show_difference(difference: &Difference) -> Json_ {
    let place = |place: &Option<Where>| {
        place
            .as_ref()
            .map(|(csr, start)| json!({"csr": csr, "start": start.map(|start| start.to_string())}))
    };
    let show = |all: &[Move]| -> Vec<Json_> {
        let one = |one: &Move| {
            json!({"assignment": one.booking.assignment().to_string(), "from": place(&one.from),
                "to": place(&one.to), "why": one.why})
        };
        all.iter().map(one).collect()
    };
    json!({"moves": show(&difference.moves), "attention": show(&difference.attention)})
}

/// A CSR as users see them.
pub fn show(csr: &Csr, now: Timestamp) -> Json_ {
    let mut shown = json!({"id": csr.id});
    if let (Some(fields), Ok(Json_::Object(profile))) =
        (shown.as_object_mut(), serde_json::to_value(&*csr.profile))
    {
        fields.extend(profile);
    }
    let zone = &csr.profile.zone;
    let (first, last) = (zone.local(now.plus(-27 * DAY)).date(), zone.local(now).date());
    let within = Span { start: zone.day(first).start, end: zone.day(last).end };
    let minutes: u32 = zone.days(within).map(|date| csr.minutes_on(date)).sum();
    let nominal = csr.profile.working(csr.calendar.as_deref(), within).length() / MINUTE;
    if let Some(fields) = shown.as_object_mut() {
        fields.insert("state".to_owned(), json!(csr.stage(now).name()));
        let load = json!({"minutes28": minutes, "nominal28": nominal, "open": csr.open()});
        fields.insert("load".to_owned(), load);
        fields.insert("revision".to_owned(), json!(csr.revision));
    }
    shown
}

impl From<CsrError> for Problem {
    fn from(error: CsrError) -> Self {
        match error {
            CsrError::Rejected(Rejection::NotFound) => Self::not_found("CSR"),
            CsrError::Rejected(Rejection::NoSuchAbsence) => Self::not_found("absence"),
            CsrError::Rejected(Rejection::Invalid(violations)) => Self::invalid(violations),
            CsrError::Rejected(rejection @ Rejection::HasLeft) => {
                Self::conflict(rejection.to_string(), &[])
            }
            CsrError::Stale(revision) => {
                let detail = format!("the CSR is at revision {revision}");
                Self::new(StatusCode::PRECONDITION_FAILED, detail)
            }
            CsrError::Quarantined(reason) => {
                Self::conflict(format!("the CSR is out of service: {reason}"), &[])
                    .of_kind("quarantined")
            }
            CsrError::Busy => Self::too_many("too many ask for the CSR at the same time"),
            CsrError::Unknown(detail) => Self::outcome_unknown(detail),
            CsrError::Unavailable(detail) => Self::unavailable(detail),
        }
    }
}
