//! `/v1/cases`: submit, list, read, and what persons ask of a case.

use std::time::Duration;

use axum::extract::{Path, RawQuery, State};
use axum::http::header::{ETAG, IF_MATCH, IF_NONE_MATCH, LOCATION};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, post};
use axum::{Extension, Json};
use serde::Deserialize;
use serde_json::{Value as Json_, json};

use super::Api;
use super::auth::Client;
use super::body::{JsonBody, OptionalBody, Reason, check_optional_reason};
use super::limits::Turn;
use super::problem::Problem;
use super::query::{CASE_FILTERS, Query, cursor};
use super::show;
use crate::actors::handles::{Case, CaseError, CaseReply, CommandMeta, Submitted};
use crate::domain::case::command::{Command, Verdict};
use crate::domain::case::job;
use crate::domain::data::Data;
use crate::domain::ids::CaseId;

/// Seconds that a submission may wait for its case to end.
const WAIT_MAX: u64 = 60;

/// `POST /v1/cases`
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Submission {
    workflow: String,
    #[serde(default)]
    version: Option<String>,
    #[serde(default)]
    input: Option<Data>,
    #[serde(default)]
    subject: Option<String>,
    #[serde(default)]
    priority: Option<u8>,
    #[serde(default)]
    tags: Vec<String>,
}

/// Submits a case.
pub async fn submit(
    State(api): State<Api>,
    Extension(client): Extension<Client>,
    Extension(turn): Extension<Turn>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    JsonBody(body): JsonBody<Submission>,
) -> Result<Response, Problem> {
    let query = Query::read(query.as_deref(), &["dryRun"])?;
    if query.flag("dryRun")? {
        let tried = api.handle.dry_run(submitted(body, None, &client)?).await?;
        // it would be taken, and then stand still
        if let Some(error) = tried.error {
            let detail = error.detail.or(error.title).unwrap_or_default();
            let at = tried.stops_at.or(error.instance).unwrap_or_default();
            return Err(Problem::at("/input", format!("{at}: {detail}")));
        }
        return Ok(Json(show::dry_run(&tried)).into_response());
    }
    let key = idempotency_key(&headers)?;
    let wait = prefer_wait(&headers);
    let submitted = submitted(body, key, &client)?;
    let told = api.handle.submit(submitted, client.by("")).await?;
    let status = if told.replayed { StatusCode::OK } else { StatusCode::CREATED };
    let mut response = match wait {
        None => (status, Json(acknowledgement(&api, &told))).into_response(),
        Some(wait) => {
            let (mut case, revision) = until_ended(&api, &turn, told.id, wait).await?;
            case["receipt"] = json!(api.handle.receipt());
            let mut response = (status, Json(case)).into_response();
            response.headers_mut().insert(ETAG, etag(revision));
            if let Ok(applied) = HeaderValue::from_str(&format!("wait={}", wait.as_secs())) {
                response.headers_mut().insert("preference-applied", applied);
            }
            response
        }
    };
    let head = response.headers_mut();
    if told.replayed {
        head.insert("idempotency-replayed", HeaderValue::from_static("true"));
    }
    head.entry(ETAG).or_insert_with(|| etag(told.version));
    if let Ok(location) = HeaderValue::from_str(&format!("/v1/cases/{}", told.id)) {
        head.insert(LOCATION, location);
    }
    Ok(response)
}

fn submitted(body: Submission, key: Option<String>, client: &Client) -> Result<Submitted, Problem> {
    let wrong = || Problem::at("/workflow", "a namespace and a name are needed, `orders/order`");
    let (namespace, name) = body.workflow.split_once('/').ok_or_else(wrong)?;
    if namespace.is_empty() || name.is_empty() || name.contains('/') {
        return Err(wrong());
    }
    if body.priority.is_some_and(|priority| priority > 9) {
        return Err(Problem::at("/priority", "a number from 0 to 9, 9 first"));
    }
    let subject = body.subject.as_deref();
    if subject.is_some_and(|s| s.is_empty() || s.chars().count() > 200) {
        return Err(Problem::at("/subject", "1 to 200 characters"));
    }
    if body.tags.len() > 20 {
        return Err(Problem::at("/tags", "at most 20"));
    }
    if let Some(place) = body.tags.iter().position(|t| t.is_empty() || t.chars().count() > 100) {
        return Err(Problem::at(format!("/tags/{place}"), "1 to 100 characters"));
    }
    Ok(Submitted {
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        version: body.version,
        input: body.input.unwrap_or_else(|| Data::from(json!({}))),
        subject: body.subject,
        tags: body.tags,
        priority: body.priority,
        key,
        client: client.0.clone(),
    })
}

fn acknowledgement(api: &Api, told: &CaseReply) -> Json_ {
    let itself = format!("/v1/cases/{}", told.id);
    json!({
        "id": told.id.to_string(),
        "phase": told.phase.name(),
        "status": told.status,
        "receipt": api.handle.receipt(),
        "revision": told.version,
        "links": {"self": itself, "events": format!("{itself}/events")},
    })
}

/// The case once it has ended, or as it is when the time is up.
async fn until_ended(
    api: &Api,
    turn: &Turn,
    id: CaseId,
    wait: Duration,
) -> Result<(Json_, u64), Problem> {
    let shown = |case: &Case| (show::case(&api.handle, case, &[]), case.state.version);
    let mut watch = api.handle.watch(id);
    let case = api.handle.case(id).await?;
    if case.state.phase.ended() {
        return Ok(shown(&case));
    }
    // who waits has a place of another kind, so that others are served; without one nobody waits
    if let Ok(_place) = api.limits.stream() {
        turn.give_up();
        let _ = tokio::time::timeout(wait, watch.ended()).await;
    }
    Ok(shown(&api.handle.case(id).await?))
}

/// The `Idempotency-Key` of a request.
pub fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let Some(value) = headers.get("idempotency-key") else { return Ok(None) };
    // the structured form of the header's draft and the bare one are the same key
    let plain = |key: &'_ str| -> String {
        let inner = key.strip_prefix('"').and_then(|key| key.strip_suffix('"'));
        inner.unwrap_or(key).to_owned()
    };
    let key = value.to_str().ok().map(plain).filter(|key| !key.is_empty() && key.len() <= 255);
    let wrong = || {
        let detail = "an Idempotency-Key has 1 to 255 visible ASCII characters";
        Problem::new(StatusCode::BAD_REQUEST, detail)
    };
    key.map(Some).ok_or_else(wrong)
}

/// Seconds of `Prefer: wait=10`.
fn prefer_wait(headers: &HeaderMap) -> Option<Duration> {
    let values = headers.get_all("prefer").iter().filter_map(|value| value.to_str().ok());
    let mut preferences = values.flat_map(|value| value.split([',', ';']));
    let wait = preferences.find_map(|one| one.trim().strip_prefix("wait="))?;
    let seconds: u64 = wait.trim().parse().ok()?;
    Some(Duration::from_secs(seconds.min(WAIT_MAX)))
}

/// A version as an ETag.
pub fn etag(version: u64) -> HeaderValue {
    HeaderValue::from_str(&format!("\"{version}\"")).unwrap_or(HeaderValue::from_static("\"0\""))
}

/// The revision that `If-Match` names.
///
/// # Errors
/// 412 where it names none.
pub fn if_match(headers: &HeaderMap) -> Result<Option<u64>, Problem> {
    let Some(value) = headers.get(IF_MATCH) else { return Ok(None) };
    let text = value.to_str().unwrap_or_default().trim();
    if text == "*" {
        return Ok(None);
    }
    let version = text.trim_start_matches("W/").trim_matches('"').parse();
    let wrong = |_| Problem::new(StatusCode::PRECONDITION_FAILED, "If-Match names no version");
    version.map(Some).map_err(wrong)
}

/// Whether the caller has this revision already.
fn is_known(headers: &HeaderMap, version: u64) -> bool {
    let values = headers.get_all(IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    let mut tags = values.flat_map(|value| value.split(','));
    let ours = format!("\"{version}\"");
    tags.any(|tag| tag.trim() == "*" || tag.trim().trim_start_matches("W/") == ours)
}

/// An id in a path; a malformed one is answered 404.
pub fn case_id(text: &str) -> Result<CaseId, Problem> {
    text.parse().map_err(|_| Problem::not_found("case"))
}

/// Lists cases.
pub async fn list(
    State(api): State<Api>,
    RawQuery(query): RawQuery,
) -> Result<Json<Json_>, Problem> {
    let query = Query::read(query.as_deref(), &CASE_FILTERS)?;
    let (filter, limit, after) = (query.cases()?, query.limit()?, query.cursor()?);
    let views = api.views()?;
    let read = move || views.cases(&filter, after.as_deref(), limit);
    let page = super::blocking(read).await??;
    let items: Vec<Json_> = page.items.iter().map(|case| show::item(&api.handle, case)).collect();
    Ok(Json(json!({"items": items, "next": cursor(page.next.as_deref())})))
}

/// Shows a case.
pub async fn get(
    State(api): State<Api>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let id = case_id(&id)?;
    let (shown, version) = match api.handle.case(id).await {
        Ok(case) => {
            let has_jobs = !job::rows(&case.state).is_empty();
            let logs = if has_jobs { api.logs(id).await? } else { Vec::new() };
            (show::case(&api.handle, &case, &logs), case.state.version)
        }
        Err(error @ CaseError::Quarantined(_)) => {
            // what the views know of it is better than nothing
            let Some(row) = api.handle.views().case(id)? else { return Err(error.into()) };
            let mut shown = show::item(&api.handle, &row);
            for field in ["input", "output", "error"] {
                shown[field] = Json_::Null;
            }
            shown["tasks"] = json!([]);
            (shown, row.version)
        }
        Err(error) => return Err(error.into()),
    };
    if is_known(&headers, version) {
        return Ok((StatusCode::NOT_MODIFIED, [(ETAG, etag(version))]).into_response());
    }
    Ok(([(ETAG, etag(version))], Json(shown)).into_response())
}

/// `POST /v1/cases/{id}/retry`
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub struct Retry {
    #[serde(default)]
    pub reason: String,
    #[serde(default)]
    pub task: Option<String>,
    #[serde(default)]
    pub outcome: Option<Outcome>,
    #[serde(default)]
    pub output: Option<Data>,
}

/// What a person says of an attempt whose outcome nobody knows.
#[derive(Deserialize, Clone, Copy)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    Done,
    Repeat,
}

impl Retry {
    /// The command that it stands for.
    pub fn command(self) -> Command {
        let outcome = self.outcome.map(|outcome| match outcome {
            Outcome::Done => Verdict::Done,
            Outcome::Repeat => Verdict::Repeat,
        });
        Command::Retry { reason: self.reason, task: self.task, outcome, output: self.output }
    }
}

/// A route on which a person asks something of a case, with a reason.
pub fn ask(command: fn(String) -> Command) -> MethodRouter<Api> {
    post(
        async move |State(api): State<Api>,
                    Extension(client): Extension<Client>,
                    Path(id): Path<String>,
                    headers: HeaderMap,
                    OptionalBody(body): OptionalBody<Reason>| {
            tell(&api, &client, &id, &headers, command(body.reason)).await
        },
    )
}

/// Takes up again what waits for a person.
pub async fn retry(
    State(api): State<Api>,
    Extension(client): Extension<Client>,
    Path(id): Path<String>,
    headers: HeaderMap,
    OptionalBody(body): OptionalBody<Retry>,
) -> Result<Response, Problem> {
    tell(&api, &client, &id, &headers, body.command()).await
}

/// Tells a case what a person asks of it.
pub async fn tell(
    api: &Api,
    client: &Client,
    id: &str,
    headers: &HeaderMap,
    command: Command,
) -> Result<Response, Problem> {
    let id = case_id(id)?;
    let reason = match &command {
        Command::Suspend { reason }
        | Command::Resume { reason }
        | Command::Cancel { reason }
        | Command::Retry { reason, .. } => reason.clone(),
        _ => String::new(),
    };
    check_optional_reason(&reason)?;
    let key = idempotency_key(headers)?;
    let command_id =
        key.map(|key| api.handle.command_id(&client.0, &format!("{}/{key}", command.verb())));
    let meta =
        CommandMeta { command: command_id, by: client.by(&reason), if_match: if_match(headers)? };
    let told = api.handle.command(id, command, meta).await?;
    Ok(([(ETAG, etag(told.version))], Json(acknowledgement(api, &told))).into_response())
}
