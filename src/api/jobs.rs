//! `/v1/queues/{queue}/jobs/lease`, `/v1/jobs/…`: workers ask for jobs and say what became of them.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use serde::Deserialize;
use serde_json::{Value as Json_, json};

use super::Api;
use super::auth::{Client, OfQueues};
use super::body::JsonBody;
use super::limits::Turn;
use super::problem::Problem;
use crate::actors::handles::{Asking, CommandError, Handed};
use crate::domain::case::job::JobOutcome;
use crate::domain::case::problem::{self, Standard};
use crate::domain::data::{Data, canonical};
use crate::domain::work::job::JobId;
use crate::domain::work::lease::SECONDS;
use crate::domain::work::worker::NAME_MAX;
use crate::domain::workflow::expr::json::{DEPTH_MAX, SIZE_MAX, shallow_enough, size_of};

/// Jobs in one answer, and bytes of their inputs, near enough.
const LEASED_MAX: usize = 100;

/// Seconds that a worker may wait.
const WAIT_MAX: u64 = 60;

/// Seconds after which a failed job may be tried again at the latest.
const RETRY_AFTER_MAX: i64 = 86_400;

/// Characters of a text of an error.
const TEXT_MAX: usize = 4000;

/// `POST /v1/queues/{queue}/jobs/lease`
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Ask {
    worker: String,
    #[serde(default = "one")]
    max: usize,
    #[serde(default)]
    wait_seconds: u64,
    #[serde(default)]
    lease_seconds: Option<i64>,
    #[serde(default)]
    version: Option<String>,
    #[serde(default)]
    host: Option<String>,
}

fn one() -> usize {
    1
}

/// Jobs for a worker; it waits where there is none.
pub async fn lease(
    State(api): State<Api>,
    Extension(queues): Extension<OfQueues>,
    Extension(turn): Extension<Turn>,
    Path(queue): Path<String>,
    JsonBody(ask): JsonBody<Ask>,
) -> Result<Response, Problem> {
    let queue = api.handle.queue(&queue).filter(|queue| queues.has(&queue.name));
    let queue = queue.ok_or_else(|| Problem::not_found("queue"))?;
    let asking = ask.check()?;
    // who only waits takes no place from those who are served
    if !asking.wait.is_zero() {
        turn.give_up();
    }
    let Some(handed) = api.handle.lease(&queue, asking).await else {
        return Err(Problem::too_many("too many workers wait already"));
    };
    let items: Vec<Json_> = handed.iter().map(show).collect();
    Ok(Json(json!({"items": items})).into_response())
}

impl Ask {
    fn check(self) -> Result<Asking, Problem> {
        let named = |name: &str| !name.is_empty() && name.chars().count() <= NAME_MAX;
        if !named(&self.worker) {
            return Err(Problem::at("/worker", format!("a name of 1 to {NAME_MAX} characters")));
        }
        for (pointer, text) in [("/version", &self.version), ("/host", &self.host)] {
            if text.as_deref().is_some_and(|text| !named(text)) {
                return Err(Problem::at(pointer, format!("1 to {NAME_MAX} characters")));
            }
        }
        if !(1..=LEASED_MAX).contains(&self.max) {
            return Err(Problem::at("/max", format!("a number from 1 to {LEASED_MAX}")));
        }
        if self.wait_seconds > WAIT_MAX {
            return Err(Problem::at("/waitSeconds", format!("{WAIT_MAX} at the most")));
        }
        if self.lease_seconds.is_some_and(|seconds| !SECONDS.contains(&seconds)) {
            let (least, most) = (SECONDS.start(), SECONDS.end());
            return Err(Problem::at("/leaseSeconds", format!("a number from {least} to {most}")));
        }
        let text = |text: Option<String>| text.map(|text| Arc::from(text.as_str()));
        Ok(Asking {
            worker: self.worker.as_str().into(),
            version: text(self.version),
            host: text(self.host),
            most: self.max,
            millis: self.lease_seconds.map(|seconds| seconds * 1000),
            wait: Duration::from_secs(self.wait_seconds),
        })
    }
}

/// A job as its worker gets it. Its JSON Schema is at `/schemas/job.json`.
fn show(handed: &Handed) -> Json_ {
    let Handed { job, token, until } = handed;
    json!({
        "id": job.id.to_string(),
        "lease": token,
        "queue": job.queue,
        "key": job.key,
        "case": job.id.case.to_string(),
        "workflow": job.workflow,
        "version": job.version,
        "task": job.task,
        "input": job.input,
        "priority": job.priority,
        "attempt": job.attempt,
        "lost": job.lost,
        "queuedAt": job.queued_at.to_string(),
        "expiresAt": job.expires_at.map(|at| at.to_string()),
        "leasedUntil": until.to_string(),
        "leaseSeconds": job.lease_millis / 1000,
        "template": null,
    })
}

/// `POST /v1/jobs/{id}/complete`
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Complete {
    lease: String,
    #[serde(default)]
    output: Data,
}

/// `POST /v1/jobs/{id}/fail`
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Fail {
    lease: String,
    #[serde(default)]
    error: Error,
    retryable: bool,
    #[serde(default)]
    retry_after_seconds: Option<i64>,
    /// The process that did the job was killed: whoever has it next may be killed as well.
    #[serde(default)]
    crashed: bool,
}

/// What a worker says went wrong.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub struct Error {
    #[serde(rename = "type", default)]
    kind: Option<String>,
    #[serde(default)]
    status: Option<i64>,
    #[serde(default)]
    title: Option<String>,
    #[serde(default)]
    detail: Option<String>,
}

/// `POST /v1/jobs/{id}/release`
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Release {
    lease: String,
}

/// `POST /v1/jobs/{id}/extend`
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Extend {
    lease: String,
}

/// What became of a lease, and what says the same again.
struct Ended {
    lease: String,
    outcome: JobOutcome,
    said: Vec<u8>,
}

impl Complete {
    fn ended(self, pointer: &str) -> Result<Ended, Problem> {
        if size_of(&self.output) > SIZE_MAX {
            let detail = format!("an output has {} KiB at the most", SIZE_MAX / 1024);
            return Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, detail));
        }
        if !shallow_enough(&self.output) {
            let detail = format!("it nests deeper than {DEPTH_MAX} levels");
            return Err(Problem::at(format!("{pointer}/output"), detail));
        }
        let said = [b"done".to_vec(), canonical(&self.output).into_bytes()].concat();
        Ok(Ended { lease: self.lease, outcome: JobOutcome::Done(self.output), said })
    }
}

impl Fail {
    fn ended(self, pointer: &str) -> Result<Ended, Problem> {
        let Self { lease, error, retryable, retry_after_seconds, crashed } = self;
        if retry_after_seconds.is_some_and(|s| !(0..=RETRY_AFTER_MAX).contains(&s)) {
            let pointer = format!("{pointer}/retryAfterSeconds");
            return Err(Problem::at(pointer, format!("a number from 0 to {RETRY_AFTER_MAX}")));
        }
        let retry_after = retry_after_seconds.map(|seconds| seconds * 1000);
        let error = error.problem(&format!("{pointer}/error"))?;
        let said = json!(["fail", error, retryable, retry_after, crashed]);
        let outcome = match crashed {
            true => {
                let why = error.detail.or(error.title).unwrap_or_else(|| "its process died".into());
                JobOutcome::Lost(why)
            }
            false => JobOutcome::Failed { error, retryable, retry_after },
        };
        Ok(Ended { lease, outcome, said: canonical(&said).into_bytes() })
    }
}

impl Error {
    fn problem(self, pointer: &str) -> Result<problem::Problem, Problem> {
        let texts = [("type", &self.kind), ("title", &self.title), ("detail", &self.detail)];
        for (name, text) in texts {
            if text.as_deref().is_some_and(|text| text.chars().count() > TEXT_MAX) {
                let detail = format!("at most {TEXT_MAX} characters");
                return Err(Problem::at(format!("{pointer}/{name}"), detail));
            }
        }
        if self.status.is_some_and(|status| !(100..=599).contains(&status)) {
            return Err(Problem::at(format!("{pointer}/status"), "a number from 100 to 599"));
        }
        let mut problem = problem::Problem::new(Standard::Runtime, String::new());
        problem.detail = self.detail.map(Into::into);
        if let Some(kind) = self.kind.filter(|kind| !kind.is_empty()) {
            problem.kind = kind.into();
            problem.title = None;
        }
        if let Some(title) = self.title {
            problem.title = Some(title.into());
        }
        problem.status = self.status.unwrap_or(problem.status);
        Ok(problem)
    }
}

impl Api {
    /// The id of a job that the client may see.
    async fn job(&self, queues: &OfQueues, id: &str) -> Result<JobId, Problem> {
        let id: JobId = id.parse().map_err(|_| Problem::not_found("job"))?;
        if queues.0.is_none() {
            return Ok(id);
        }
        match self.handle.queue_of(id).await {
            Some(queue) if !queues.has(&queue) => Err(Problem::not_found("job")),
            Some(_) | None => Ok(id),
        }
    }

    async fn end(&self, client: &Client, id: JobId, ended: Ended) -> Result<Json_, Problem> {
        let Ended { lease, outcome, said } = ended;
        let told = self.handle.end_job(id, &lease, (outcome, &said), client.by("")).await;
        let told = told.map_err(refused)?;
        Ok(json!({"id": id.to_string(), "state": told.state}))
    }
}

/// A worker can do nothing about a case that is out of service, and comes again.
fn refused(error: CommandError) -> Problem {
    match error {
        CommandError::Quarantined(_) | CommandError::Broken(_) => {
            Problem::unavailable("the case of the job is out of service")
        }
        CommandError::NotFound => Problem::not_found("job"),
        error => error.into(),
    }
}

/// A job was done.
pub async fn complete(
    State(api): State<Api>,
    Extension(client): Extension<Client>,
    Extension(queues): Extension<OfQueues>,
    Path(id): Path<String>,
    JsonBody(body): JsonBody<Complete>,
) -> Result<Json<Json_>, Problem> {
    let id = api.job(&queues, &id).await?;
    api.end(&client, id, body.ended("")?).await.map(Json)
}

/// A job was not done.
pub async fn fail(
    State(api): State<Api>,
    Extension(client): Extension<Client>,
    Extension(queues): Extension<OfQueues>,
    Path(id): Path<String>,
    JsonBody(body): JsonBody<Fail>,
) -> Result<Json<Json_>, Problem> {
    let id = api.job(&queues, &id).await?;
    api.end(&client, id, body.ended("")?).await.map(Json)
}

/// A worker gives a job back.
pub async fn release(
    State(api): State<Api>,
    Extension(client): Extension<Client>,
    Extension(queues): Extension<OfQueues>,
    Path(id): Path<String>,
    JsonBody(body): JsonBody<Release>,
) -> Result<Json<Json_>, Problem> {
    let id = api.job(&queues, &id).await?;
    let (outcome, said) = (JobOutcome::Released, b"release".to_vec());
    api.end(&client, id, Ended { lease: body.lease, outcome, said }).await.map(Json)
}

/// A worker needs longer.
pub async fn extend(
    State(api): State<Api>,
    Extension(queues): Extension<OfQueues>,
    Path(id): Path<String>,
    JsonBody(body): JsonBody<Extend>,
) -> Result<Json<Json_>, Problem> {
    let id = api.job(&queues, &id).await?;
    let until = api.handle.extend_job(id, &body.lease).await.map_err(refused)?;
    Ok(Json(json!({"leasedUntil": until.to_string()})))
}

/// `POST /v1/jobs/results`
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Results {
    items: Vec<OneResult>,
}

/// One of them: with `error` it was not done.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct OneResult {
    id: String,
    lease: String,
    #[serde(default)]
    output: Option<Data>,
    #[serde(default)]
    error: Option<Error>,
    #[serde(default)]
    retryable: Option<bool>,
    #[serde(default)]
    retry_after_seconds: Option<i64>,
    #[serde(default)]
    crashed: bool,
}

impl OneResult {
    fn ended(self, pointer: &str) -> Result<Ended, Problem> {
        let Self { lease, output, error, retryable, retry_after_seconds, crashed, .. } = self;
        match error {
            Some(_) if output.is_some() => Err(Problem::at(pointer, "either output or error")),
            Some(error) => {
                let missing = || {
                    let detail = "true or false: whether it may be tried again";
                    Problem::at(format!("{pointer}/retryable"), detail)
                };
                let retryable = retryable.ok_or_else(missing)?;
                Fail { lease, error, retryable, retry_after_seconds, crashed }.ended(pointer)
            }
            None => Complete { lease, output: output.unwrap_or_default() }.ended(pointer),
        }
    }
}

/// Many results at once, each on its own.
pub async fn results(
    State(api): State<Api>,
    Extension(client): Extension<Client>,
    Extension(queues): Extension<OfQueues>,
    _: HeaderMap,
    JsonBody(body): JsonBody<Results>,
) -> Result<Json<Json_>, Problem> {
    if body.items.is_empty() || body.items.len() > LEASED_MAX {
        return Err(Problem::at("/items", format!("1 to {LEASED_MAX} results")));
    }
    let all = body.items.into_iter().enumerate().map(|(place, item)| {
        let (api, client, queues) = (&api, &client, &queues);
        async move {
            let name = item.id.clone();
            let ended = async {
                let id = api.job(queues, &item.id).await?;
                api.end(client, id, item.ended(&format!("/items/{place}"))?).await
            };
            match ended.await {
                Ok(ended) => {
                    json!({"id": name, "status": 200, "state": ended["state"], "problem": null})
                }
                Err(problem) => {
                    let (status, shown) = problem.shown();
                    json!({"id": name, "status": status, "state": null, "problem": shown})
                }
            }
        }
    });
    let items: Vec<Json_> = futures_util::future::join_all(all).await;
    Ok(Json(json!({"items": items})))
}
