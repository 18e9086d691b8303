//! The HTTP API: one file a resource. Names the domain, the actors' handles and the views.

mod assignments;
mod auth;
mod body;
mod calendars;
mod cases;
mod connections;
mod csrs;
mod dead_letters;
mod documents;
mod events;
mod feeds;
mod health;
mod history;
mod jobs;
mod leases;
mod limits;
mod openapi;
mod origin;
mod problem;
mod problem_kinds;
mod problems;
mod query;
mod queues;
mod schedules;
mod serve;
mod services;
mod show;
mod stream;
mod tasks;
mod told;
mod workers;
mod workflows;
mod ws;

use std::collections::HashSet;
use std::sync::Arc;

use axum::Router;
use axum::extract::{MatchedPath, Request};
use axum::http::StatusCode;
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};

use sha2::{Digest, Sha256};

use crate::actors::handles::Handle;
use crate::domain::case::command::Command;
use crate::store::views::Views;
use limits::Limits;
use problem::Problem;
pub use serve::serve;

/// What all resources share.
#[derive(Clone)]
pub struct Api(Arc<Shared>);

/// What the API is built of.
pub struct Shared {
    handle: Handle,
    keys: Vec<Key>,
    limits: Limits,
    max_body: usize,
    max_document: usize,
    /// Documents that come in at the same time.
    uploads: tokio::sync::Semaphore,
    /// Documents that are read at the same time.
    downloads: Arc<tokio::sync::Semaphore>,
    /// Whether what renders documents is there; none: nobody asked for it.
    renders: Option<Result<(), String>>,
    /// Names under which this server may be asked.
    hosts: HashSet<String>,
    metrics: Box<dyn Fn() -> String + Send + Sync>,
}

/// Documents that come in at the same time: each is in memory as a whole.
const UPLOADS: usize = 8;

/// Documents that are read at the same time.
const DOWNLOADS: usize = 16;

/// A client's key.
pub struct Key {
    pub name: String,
    pub sha256: [u8; 32],
    /// It may do jobs of these queues, and nothing else; none: everything.
    pub queues: Option<Arc<[String]>>,
}

impl Key {
    /// A key that is made here.
    pub fn of(name: &str, key: &str, queues: Vec<String>) -> Self {
        let sha256 = Sha256::digest(key.as_bytes()).into();
        Self { name: name.to_owned(), sha256, queues: Some(queues.into()) }
    }
}

/// Settings of the API.
pub struct Settings {
    pub keys: Vec<Key>,
    pub max_body: usize,
    /// Bytes of a document.
    pub max_document: usize,
    /// Whether what renders documents is there; none: nobody asked for it.
    pub renders: Option<Result<(), String>>,
    pub max_requests: usize,
    /// Requests of one client in a second; 0: any number.
    pub rate: usize,
    /// Names under which this server may be asked, without ports.
    pub hosts: Vec<String>,
}

impl std::ops::Deref for Api {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.0
    }
}

impl Api {
    /// An API over a handle; `metrics` renders the numbers.
    pub fn new(
        handle: Handle,
        settings: Settings,
        metrics: Box<dyn Fn() -> String + Send + Sync>,
    ) -> Self {
        let Settings { keys, max_body, max_document, renders, max_requests, rate, hosts } =
            settings;
        let limits = Limits::new(max_requests, rate);
        let hosts = hosts.iter().map(|host| origin::name_of(host)).collect();
        let uploads = tokio::sync::Semaphore::new(UPLOADS);
        let downloads = Arc::new(tokio::sync::Semaphore::new(DOWNLOADS));
        Self(Arc::new(Shared {
            handle,
            keys,
            limits,
            max_body,
            max_document,
            uploads,
            downloads,
            renders,
            hosts,
            metrics,
        }))
    }

    /// All routes. `api/openapi.json` describes them; a test holds the two together.
    pub fn router(self) -> Router {
        Router::new()
            .route("/v1/workflows", get(workflows::list).post(workflows::register))
            .route("/v1/workflows/{namespace}/{name}", get(workflows::latest))
            .route("/v1/workflows/{namespace}/{name}/{version}", get(workflows::one))
            .route("/v1/cases", get(cases::list).post(cases::submit))
            .route("/v1/cases/{id}", get(cases::get))
            .route("/v1/cases/{id}/events", get(history::events))
            .route("/v1/cases/{id}/tasks", get(tasks::list))
            .route("/v1/cases/{id}/tasks/{reference}/log", get(tasks::log))
            .route("/v1/cases/{id}/suspend", cases::ask(|reason| Command::Suspend { reason }))
            .route("/v1/cases/{id}/resume", cases::ask(|reason| Command::Resume { reason }))
            .route("/v1/cases/{id}/cancel", cases::ask(|reason| Command::Cancel { reason }))
            .route("/v1/cases/{id}/retry", post(cases::retry))
            .route("/v1/cases/{id}/plan", get(assignments::plan).put(assignments::change_plan))
            .route("/v1/csrs", get(csrs::list))
            .route("/v1/csrs/{id}", get(csrs::get).put(csrs::put).delete(csrs::delete))
            .route("/v1/csrs/{id}/calendar", get(csrs::calendar))
            .route("/v1/csrs/{id}/time-off", post(csrs::away))
            .route("/v1/csrs/{id}/time-off/{absence}", delete(csrs::back))
            .route("/v1/csrs/{id}/leave", post(csrs::leave))
            .route("/v1/csrs/{id}/feed", post(feeds::open).delete(feeds::revoke))
            .route("/v1/csrs/{id}/calendar.ics", get(feeds::read))
            .route("/v1/calendars", get(calendars::list))
            .route("/v1/calendars/{name}", get(calendars::get).put(calendars::put))
            .route("/v1/task-types", get(assignments::task_types))
            .route("/v1/assignments", get(assignments::list))
            .route("/v1/assignments/{id}", get(assignments::get))
            .route("/v1/assignments/{id}/start", post(assignments::start))
            .route("/v1/assignments/{id}/complete", post(assignments::complete))
            .route("/v1/assignments/{id}/hand-back", post(assignments::hand_back))
            .route("/v1/assignments/{id}/reassign", post(assignments::reassign))
            .route("/v1/assignments/{id}/block", post(assignments::block))
            .route("/v1/assignments/{id}/unblock", post(assignments::unblock))
            .route("/v1/assignments/{id}/move", post(assignments::move_to))
            .route("/v1/assignments/{id}/skip", post(assignments::skip))
            .route("/v1/queues", get(queues::list))
            .route("/v1/queues/{queue}", get(queues::get))
            .route("/v1/queues/{queue}/pause", post(queues::pause))
            .route("/v1/queues/{queue}/resume", post(queues::resume))
            .route("/v1/queues/{queue}/purge", post(queues::purge))
            .route("/v1/queues/{queue}/jobs/lease", post(leases::lease))
            .route("/v1/schedules", get(schedules::list))
            .route("/v1/schedules/{id}", get(schedules::get))
            .route("/v1/schedules/{id}/pause", post(schedules::pause))
            .route("/v1/schedules/{id}/resume", post(schedules::resume))
            .route("/v1/schedules/{id}/trigger", post(schedules::trigger))
            .route("/v1/jobs/results", post(jobs::results))
            .route("/v1/jobs/{id}/complete", post(jobs::complete))
            .route("/v1/jobs/{id}/fail", post(jobs::fail))
            .route("/v1/jobs/{id}/release", post(jobs::release))
            .route("/v1/jobs/{id}/extend", post(jobs::extend))
            .route("/v1/workers", get(workers::list))
            .route("/v1/documents", get(documents::list).post(documents::put))
            .route("/v1/documents/{id}", get(documents::get))
            .route("/v1/events", post(events::take))
            .route("/v1/services", get(services::list))
            .route("/v1/services/{name}", get(services::get))
            .route("/v1/services/{name}/isolate", post(services::isolate))
            .route("/v1/services/{name}/release", post(services::release))
            .route("/v1/services/{name}/probe", post(services::probe))
            .route("/v1/dead-letters", get(dead_letters::list))
            .route("/v1/dead-letters/{id}", get(dead_letters::get))
            .route("/v1/dead-letters/{id}/redrive", post(dead_letters::redrive))
            .route("/v1/stream", get(stream::follow))
            .route("/v1/ws", get(ws::open))
            .route("/healthz", get(health::healthz))
            .route("/readyz", get(health::readyz))
            .route("/metrics", get(health::metrics))
            .route("/openapi.json", get(openapi::document))
            .route("/schemas/job.json", get(openapi::job))
            .route("/problems", get(problems::list))
            .route("/problems/{name}", get(problems::page))
            .fallback(no_such_path)
            .method_not_allowed_fallback(no_such_method)
            .layer(from_fn_with_state(self.clone(), auth::authenticate))
            .layer(from_fn_with_state(self.clone(), limits::shed))
            .layer(from_fn_with_state(self.clone(), origin::guard))
            .layer(from_fn(problem::say_where))
            .route_layer(from_fn(count))
            .with_state(self)
    }
}

async fn no_such_path() -> Problem {
    Problem::not_found("path")
}

async fn no_such_method() -> Problem {
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, "the path does not know this method")
}

/// Counts requests by path and status, and how long they took.
async fn count(request: Request, next: Next) -> Response {
    let begun = std::time::Instant::now();
    let path = request.extensions().get::<MatchedPath>().map(|path| path.as_str().to_owned());
    let method = request.method().to_string();
    let response = next.run(request).await.into_response();
    if let Some(path) = path {
        let status = response.status().as_u16().to_string();
        let seconds = begun.elapsed().as_secs_f64();
        let route = [("path", path.clone()), ("method", method.clone())];
        metrics::histogram!("caseworker_http_request_seconds", &route).record(seconds);
        let labels = [("path", path), ("method", method), ("status", status)];
        metrics::counter!("caseworker_http_requests_total", &labels).increment(1);
    }
    response
}

impl Api {
    /// The views, where they hold all that there is.
    fn views(&self) -> Result<Views, Problem> {
        match self.handle.filling() {
            None => Ok(self.handle.views().clone()),
            Some((done, all)) => {
                let detail = format!("the lists are being filled: {done} of {all} records");
                Err(Problem::unavailable(detail).of_kind("views-rebuilding"))
            }
        }
    }
}

/// Reads views on a thread that may block.
async fn blocking<T: Send + 'static>(
    read: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Problem> {
    let read = tokio::task::spawn_blocking(read).await;
    read.map_err(|_| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "the read broke off"))
}
