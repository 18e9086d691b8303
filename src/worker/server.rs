//! The server as a worker sees it: jobs are asked for, extended, and ended.

use std::time::Duration;

use reqwest::header::CONTENT_TYPE;
use reqwest::{Client, Method};
use serde_json::{Value as Json, json};
use tokio::sync::watch;

use super::job::{Job, Outcome};
use super::said::Told;
use super::{AGAIN, AGAIN_MOST, Phase, Settings};

/// How long an answer may take, beyond what was asked to wait.
const ANSWER: Duration = Duration::from_secs(10);

/// Tries to say what became of a job once the worker ends and its time is up.
const LAST_TRIES: u32 = 5;

/// How long a connection is kept that nobody uses: less than the server keeps it.
const IDLE: Duration = Duration::from_secs(15);

/// How long a document may take, and how often it is tried.
const STORE: Duration = Duration::from_secs(60);
const STORE_TRIES: usize = 20;

/// What every try that met no server begins with.
const UNREACHED: &str = "the server cannot be reached";

/// A server.
#[derive(Clone)]
pub struct Server {
    client: Client,
    base: String,
    key: Option<String>,
}

/// What came of asking for a job.
pub enum Asked {
    Job(Box<Job>),
    Nothing,
}

/// Why there is none.
pub enum Refusal {
    NotAllowed(String),
    /// It may go later.
    Later(String),
}

/// What came of extending a lease.
#[derive(Debug, PartialEq, Eq)]
pub enum Extended {
    Yes,
    /// The lease is over.
    Over,
    /// Nobody knows.
    Unknown,
}

/// What came of storing a document.
pub enum Stored {
    /// Under this id.
    As(String),
    /// The server does not take it.
    Never(String),
    NotNow(String),
}

impl Server {
    /// A server at an address.
    ///
    /// # Errors
    /// When the address is none.
    pub fn new(base: &str, key: Option<String>) -> Result<Self, String> {
        let base = base.trim_end_matches('/').to_owned();
        url::Url::parse(&base).map_err(|_| format!("--server: `{base}` is no address"))?;
        let client = Client::builder()
            .no_proxy()
            .pool_idle_timeout(IDLE)
            .build()
            .map_err(|error| error.to_string())?;
        Ok(Self { client, base, key })
    }

    /// Its address.
    pub fn address(&self) -> String {
        self.base.clone()
    }

    /// Whether something that did not go was said by the server itself.
    pub fn has_answered(&self, why: &str) -> bool {
        !why.starts_with(UNREACHED)
    }

    async fn post(&self, path: &str, body: &Json, within: Duration) -> Result<(u16, Json), String> {
        let request = self.client.request(Method::POST, format!("{}{path}", self.base));
        let request = match &self.key {
            Some(key) => request.bearer_auth(key),
            None => request,
        };
        let answer = request.timeout(within).json(body).send().await;
        let unreached = |error: &reqwest::Error| format!("{UNREACHED}: {error}");
        let answer = answer.map_err(|error| unreached(&error))?;
        let status = answer.status().as_u16();
        let text = answer.text().await.map_err(|error| unreached(&error))?;
        Ok((status, serde_json::from_str(&text).unwrap_or_default()))
    }

    /// Asks for a job of a queue, and waits so many seconds for one.
    pub async fn lease(
        &self,
        settings: &Settings,
        queue: &str,
        wait: u64,
    ) -> Result<Asked, Refusal> {
        let body = json!({
            "worker": settings.name, "host": settings.host, "max": 1, "waitSeconds": wait,
            "leaseSeconds": settings.lease, "version": env!("CARGO_PKG_VERSION"),
        });
        let path = format!("/v1/queues/{queue}/jobs/lease");
        let within = ANSWER + Duration::from_secs(wait);
        let (status, answer) = self.post(&path, &body, within).await.map_err(Refusal::Later)?;
        let detail = || answer["detail"].as_str().unwrap_or("no reason was given").to_owned();
        match status {
            200 => match answer["items"].get(0).cloned().and_then(Job::read) {
                Some(job) => Ok(Asked::Job(Box::new(job))),
                None => Ok(Asked::Nothing),
            },
            401 | 403 => Err(Refusal::NotAllowed(detail())),
            404 => {
                Err(Refusal::Later(format!("there is no queue `{queue}` yet, or it is not ours")))
            }
            status => Err(Refusal::Later(format!("it answered {status}: {}", detail()))),
        }
    }

    /// Extends a lease, and says what was said of the job meanwhile.
    pub async fn extend(&self, job: &Job, told: &Told) -> Extended {
        let mut body = json!({"lease": job.lease, "log": told.lines});
        if let Some((share, message)) = &told.progress {
            body["progress"] = json!(share);
            body["message"] = json!(message);
        }
        let path = format!("/v1/jobs/{}/extend", job.id);
        let mut answered = self.post(&path, &body, ANSWER).await;
        if let Ok((400 | 413 | 422, answer)) = &answered {
            let detail = answer["detail"].as_str().unwrap_or_default();
            tracing::warn!(job = job.id, detail, "what a job has written is left out");
            answered = self.post(&path, &json!({"lease": job.lease}), ANSWER).await;
        }
        match answered {
            Ok((200, _)) => Extended::Yes,
            Ok((404 | 409, _)) => Extended::Over,
            Ok((status, answer)) => {
                let detail = answer["detail"].as_str().unwrap_or_default();
                tracing::warn!(job = job.id, status, detail, "a lease was not extended");
                Extended::Unknown
            }
            Err(why) => {
                tracing::warn!(job = job.id, why, "a lease was not extended");
                Extended::Unknown
            }
        }
    }

    /// Stores a document; tried again while the server is away.
    pub async fn store(&self, kind: &str, bytes: Vec<u8>) -> Stored {
        let bytes = bytes::Bytes::from(bytes);
        let (mut pause, mut why) = (AGAIN, String::new());
        for _ in 0..STORE_TRIES {
            let request = self.client.request(Method::POST, format!("{}/v1/documents", self.base));
            let request = match &self.key {
                Some(key) => request.bearer_auth(key),
                None => request,
            };
            let request = request.header(CONTENT_TYPE, kind).body(bytes.clone());
            match request.timeout(STORE).send().await {
                Ok(answer) => {
                    let status = answer.status().as_u16();
                    let answer: Json = answer.json().await.unwrap_or_default();
                    let detail = answer["detail"].as_str().unwrap_or("no reason was given");
                    match (status, answer["document"].as_str()) {
                        (201, Some(id)) => return Stored::As(id.to_owned()),
                        (408 | 429 | 500..=599, _) => why = format!("{status}: {detail}"),
                        (status, _) => return Stored::Never(format!("{status}: {detail}")),
                    }
                }
                Err(error) => why = format!("{UNREACHED}: {error}"),
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(AGAIN_MOST);
        }
        Stored::NotNow(why)
    }

    /// Says what became of a job, again and again until it is taken or refused.
    pub async fn end(&self, job: &Job, outcome: &Outcome, phase: &watch::Sender<Phase>) {
        let (verb, body) = match outcome {
            Outcome::Done { output, documents } => {
                ("complete", json!({"lease": job.lease, "output": output, "documents": documents}))
            }
            Outcome::Failed { error, retryable, retry_after, crashed } => (
                "fail",
                json!({"lease": job.lease, "error": error, "retryable": retryable,
                    "retryAfterSeconds": retry_after, "crashed": crashed}),
            ),
            Outcome::Released => ("release", json!({"lease": job.lease})),
            Outcome::Dropped => return,
        };
        let path = format!("/v1/jobs/{}/{verb}", job.id);
        let (mut path, mut body, mut said_so) = (path, body, false);
        let (mut pause, mut tries) = (AGAIN, 0);
        loop {
            match self.post(&path, &body, ANSWER).await {
                Ok((200, _)) => return,
                Ok((status @ (408 | 429 | 500..=599), answer)) => {
                    let detail = answer["detail"].as_str().unwrap_or_default();
                    tracing::warn!(job = job.id, status, detail, "a result is offered again");
                }
                Ok((status @ (400 | 413 | 422), answer)) if !said_so => {
                    let detail = answer["detail"].as_str().unwrap_or_default();
                    tracing::warn!(job = job.id, status, detail, "a result cannot be taken");
                    (path, body) =
                        (format!("/v1/jobs/{}/fail", job.id), refused(job, outcome, detail));
                    said_so = true;
                    continue;
                }
                Ok((status, answer)) => {
                    let detail = answer["detail"].as_str().unwrap_or_default();
                    tracing::warn!(job = job.id, status, detail, "a result was not taken");
                    return;
                }
                Err(why) => tracing::warn!(job = job.id, why, "a result is offered again"),
            }
            tries += 1;
            if *phase.borrow() == Phase::Killing && tries >= LAST_TRIES {
                tracing::error!(job = job.id, "its result could not be said; its lease runs out");
                return;
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(AGAIN_MOST);
        }
    }
}

/// What is said of a job whose result the server cannot take: as much of it as can be.
fn refused(job: &Job, outcome: &Outcome, detail: &str) -> Json {
    let (retryable, crashed) = match outcome {
        Outcome::Failed { retryable, crashed, .. } => (*retryable, *crashed),
        Outcome::Done { .. } | Outcome::Released | Outcome::Dropped => (false, false),
    };
    let detail: String = detail.chars().take(1000).collect();
    let error = json!({"title": "The result cannot be taken", "detail": detail});
    json!({"lease": job.lease, "error": error, "retryable": retryable, "crashed": crashed})
}
