//! `/v1/jobs/…`: workers say what became of their jobs, and how far they are.

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::{Extension, Json};
use serde::Deserialize;
use serde_json::{Value as Json_, json};

use super::Api;
use super::auth::{Client, OfQueues};
use super::body::JsonBody;
use super::problem::Problem;
use crate::actors::handles::{CommandError, Line, NamingError, Progress, Saying, Stream};
use crate::domain::case::job::JobOutcome;
use crate::domain::case::problem::{self, Standard};
use crate::domain::data::{Data, canonical};
use crate::domain::document::{NotADocument, OF_A_RESULT};
use crate::domain::time::Timestamp;
use crate::domain::work::job::JobId;
use crate::domain::workflow::expr::json::{DEPTH_MAX, SIZE_MAX, shallow_enough, size_of};

/// Results in one request.
const RESULTS_MAX: usize = 100;

/// Seconds after which a failed job may be tried again at the latest.
const RETRY_AFTER_MAX: i64 = 86_400;

/// Lines of a log in one request, and characters of a message.
const LOG_MAX: usize = 100;
const MESSAGE_MAX: usize = 1000;

/// Characters of a text of an error.
const TEXT_MAX: usize = 4000;

/// `POST /v1/jobs/{id}/complete`
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Complete {
    lease: String,
    #[serde(default)]
    output: Data,
    /// What it made, each stored before.
    #[serde(default)]
    documents: Vec<String>,
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
    /// How far it is, from 0 to 1.
    #[serde(default)]
    progress: Option<f64>,
    #[serde(default)]
    message: Option<String>,
    #[serde(default)]
    log: Vec<Said>,
}

/// A line of a log: a text, or who wrote it when.
#[derive(Deserialize)]
#[serde(untagged)]
enum Said {
    Text(String),
    Line {
        line: String,
        #[serde(default)]
        stream: Option<Stream>,
        #[serde(default)]
        at: Option<String>,
    },
}

impl Extend {
    fn saying(self, now: Timestamp) -> Result<(String, Saying), Problem> {
        if self.log.len() > LOG_MAX {
            return Err(Problem::at("/log", format!("{LOG_MAX} lines at the most")));
        }
        let share = self.progress;
        if share.is_some_and(|share| !(0.0..=1.0).contains(&share)) {
            return Err(Problem::at("/progress", "a number from 0 to 1"));
        }
        let message = self.message.map(|text| text.chars().take(MESSAGE_MAX).collect::<String>());
        let progress = match (share, message) {
            (None, None) => None,
            (share, message) => Some(Progress { at: now, share: share.unwrap_or(0.0), message }),
        };
        let mut lines = Vec::with_capacity(self.log.len());
        for (place, said) in self.log.into_iter().enumerate() {
            lines.push(match said {
                Said::Text(line) => Line { at: now, stream: Stream::Err, line },
                Said::Line { line, stream, at } => {
                    let wrong =
                        |_| Problem::at(format!("/log/{place}/at"), "a time as in RFC 3339");
                    let at = at.map(|at| at.parse().map_err(wrong)).transpose()?;
                    Line { at: at.unwrap_or(now), stream: stream.unwrap_or(Stream::Err), line }
                }
            });
        }
        Ok((self.lease, Saying { lines, progress }))
    }
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
        if self.documents.len() > OF_A_RESULT {
            let detail = format!("{OF_A_RESULT} at the most");
            return Err(Problem::at(format!("{pointer}/documents"), detail));
        }
        let mut said = [b"done".to_vec(), canonical(&self.output).into_bytes()].concat();
        let mut documents = Vec::with_capacity(self.documents.len());
        for (place, id) in self.documents.iter().enumerate() {
            let wrong = |error: NotADocument| {
                Problem::at(format!("{pointer}/documents/{place}"), error.to_string())
            };
            documents.push(id.parse().map_err(wrong)?);
            said.extend(id.as_bytes());
        }
        let outcome = JobOutcome::Done { output: self.output, documents };
        Ok(Ended { lease: self.lease, outcome, said })
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

    async fn end(
        &self,
        client: &Client,
        id: JobId,
        (ended, pointer): (Ended, &str),
    ) -> Result<Json_, Problem> {
        let Ended { lease, outcome, said } = ended;
        if let JobOutcome::Done { documents, .. } = &outcome
            && !documents.is_empty()
        {
            let named = self.handle.name_documents(documents.clone()).await;
            named.map_err(|error| match error {
                NamingError::Missing(place) => {
                    Problem::at(format!("{pointer}/documents/{place}"), error.to_string())
                }
                NamingError::Unavailable(detail) => Problem::unavailable(detail),
            })?;
        }
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
    api.end(&client, id, (body.ended("")?, "")).await.map(Json)
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
    api.end(&client, id, (body.ended("")?, "")).await.map(Json)
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
    let ended = Ended { lease: body.lease, outcome, said };
    api.end(&client, id, (ended, "")).await.map(Json)
}

/// A worker needs longer.
pub async fn extend(
    State(api): State<Api>,
    Extension(queues): Extension<OfQueues>,
    Path(id): Path<String>,
    JsonBody(body): JsonBody<Extend>,
) -> Result<Json<Json_>, Problem> {
    let id = api.job(&queues, &id).await?;
    let (lease, saying) = body.saying(api.handle.clock().now())?;
    let until = api.handle.extend_job(id, &lease, saying).await.map_err(refused)?;
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
    #[serde(default)]
    documents: Vec<String>,
}

impl OneResult {
    fn ended(self, pointer: &str) -> Result<Ended, Problem> {
        let Self {
            lease, output, error, retryable, retry_after_seconds, crashed, documents, ..
        } = self;
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
            None => {
                let output = output.unwrap_or_default();
                Complete { lease, output, documents }.ended(pointer)
            }
        }
    }
}

/// Many results at once, each on its own.
pub async fn results(
    State(api): State<Api>,
    Extension(client): Extension<Client>,
    Extension(queues): Extension<OfQueues>,
    JsonBody(body): JsonBody<Results>,
) -> Result<Json<Json_>, Problem> {
    if body.items.is_empty() || body.items.len() > RESULTS_MAX {
        return Err(Problem::at("/items", format!("1 to {RESULTS_MAX} results")));
    }
    let all = body.items.into_iter().enumerate().map(|(place, item)| {
        let (api, client, queues) = (&api, &client, &queues);
        async move {
            let name = item.id.clone();
            let ended = async {
                let id = api.job(queues, &item.id).await?;
                let pointer = format!("/items/{place}");
                api.end(client, id, (item.ended(&pointer)?, &pointer)).await
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
