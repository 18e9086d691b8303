//! Errors as problem details (RFC 9457).

use axum::Json;
use axum::extract::Request;
use axum::http::header::{CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderValue, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value as Json_, json};

use super::problem_kinds;
use crate::actors::handles::{CaseError, CommandError, SubmitError};
use crate::domain::case::command::{AssignmentConflict, Rejection};
use crate::domain::case::job::JobConflict;
use crate::domain::workflow::schema::Violation;
use crate::store::views::TableError;

/// An answer that is no success.
#[derive(Debug, Clone, PartialEq)]
pub struct Problem {
    status: StatusCode,
    /// Which of the kinds of this status it is, where there are several.
    name: Option<&'static str>,
    detail: String,
    errors: Vec<Json_>,
    /// Fields of their own, such as `allowed`.
    more: Vec<(&'static str, Json_)>,
    /// Seconds after which it may be tried again.
    retry_after: Option<u32>,
}

impl Problem {
    /// A problem of this status.
    pub fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        let (errors, more) = (Vec::new(), Vec::new());
        Self { status, name: None, detail: detail.into(), errors, more, retry_after: None }
    }

    /// Something is not there.
    pub fn not_found(what: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, format!("there is no such {what}"))
    }

    /// What was sent is not valid: pointers and what would be right.
    pub fn invalid(violations: impl IntoIterator<Item = Violation>) -> Self {
        let mut problem = Self::new(StatusCode::UNPROCESSABLE_ENTITY, "the request is not valid");
        for Violation { pointer, detail } in violations {
            problem.errors.push(json!({"pointer": pointer, "detail": detail}));
        }
        problem
    }

    /// One place of what was sent is not valid.
    pub fn at(pointer: impl Into<String>, detail: impl Into<String>) -> Self {
        Self::invalid([Violation { pointer: pointer.into(), detail: detail.into() }])
    }

    /// The same, of this kind.
    #[must_use]
    pub fn of_kind(mut self, name: &'static str) -> Self {
        self.name = Some(name);
        self
    }

    /// The same with these errors.
    #[must_use]
    pub fn with_errors(mut self, errors: Vec<Json_>) -> Self {
        self.errors = errors;
        self
    }

    /// The same with a field of its own.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: Json_) -> Self {
        self.more.push((name, value));
        self
    }

    /// The same, said to be over after so many seconds.
    #[must_use]
    pub fn retry_after(mut self, seconds: u32) -> Self {
        self.retry_after = Some(seconds);
        self
    }

    /// Nothing was stored; later it may be.
    pub fn unavailable(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, detail).retry_after(5)
    }

    /// It may have been done, or still be.
    pub fn outcome_unknown(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::GATEWAY_TIMEOUT, detail).retry_after(1)
    }

    /// There is too much of it.
    pub fn too_many(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::TOO_MANY_REQUESTS, detail).retry_after(1)
    }

    /// The state does not allow it; what it allows.
    pub fn conflict(detail: impl Into<String>, allowed: &[&str]) -> Self {
        Self::new(StatusCode::CONFLICT, detail).with("allowed", json!(allowed))
    }
}

/// What a problem says, for whoever knows where it was met.
#[derive(Clone)]
struct Said(Map<String, Json_>);

fn answer(status: StatusCode, body: Map<String, Json_>) -> Response {
    let mut response = (status, Json(Json_::Object(body))).into_response();
    let media = HeaderValue::from_static("application/problem+json");
    response.headers_mut().insert(CONTENT_TYPE, media);
    response
}

/// Says in a problem which path it was met at.
pub async fn say_where(request: Request, next: Next) -> Response {
    let path = request.uri().path().to_owned();
    let mut response = next.run(request).await;
    if let Some(Said(mut body)) = response.extensions_mut().remove::<Said>() {
        body.insert("instance".to_owned(), json!(path));
        let (_, said) = answer(response.status(), body).into_parts();
        response.headers_mut().remove(CONTENT_LENGTH);
        *response.body_mut() = said;
    }
    response
}

impl Problem {
    /// The status, and what is said of it.
    pub fn shown(&self) -> (u16, Json_) {
        (self.status.as_u16(), Json_::Object(self.body()))
    }

    fn body(&self) -> Map<String, Json_> {
        let mut body = Map::new();
        let kind = problem_kinds::kind(self.status, self.name);
        body.insert("type".to_owned(), json!(format!("/problems/{}", kind.name)));
        body.insert("title".to_owned(), json!(kind.title));
        body.insert("status".to_owned(), json!(self.status.as_u16()));
        body.insert("detail".to_owned(), json!(self.detail));
        body.insert("instance".to_owned(), Json_::Null);
        body.insert("errors".to_owned(), Json_::Array(self.errors.clone()));
        let more = self.more.iter().map(|(name, value)| ((*name).to_owned(), value.clone()));
        body.extend(more);
        body
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = self.body();
        let mut response = answer(self.status, body.clone());
        response.extensions_mut().insert(Said(body));
        if self.status == StatusCode::PAYLOAD_TOO_LARGE {
            // what was not read of the body is still on the connection
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        if let Some(seconds) = self.retry_after {
            response.headers_mut().insert(RETRY_AFTER, seconds.into());
        }
        response
    }
}

impl From<TableError> for Problem {
    fn from(error: TableError) -> Self {
        tracing::error!(%error, "a view cannot be read");
        Self::unavailable("the views cannot be read")
    }
}

impl From<CaseError> for Problem {
    fn from(error: CaseError) -> Self {
        match error {
            CaseError::NotFound => Self::not_found("case"),
            CaseError::Quarantined(reason) => {
                let detail = format!("the case is out of service: {reason}");
                Self::conflict(detail, &["retry"]).of_kind("quarantined")
            }
            CaseError::Unavailable(detail) => Self::unavailable(detail),
        }
    }
}

impl From<SubmitError> for Problem {
    fn from(error: SubmitError) -> Self {
        match error {
            SubmitError::NoWorkflow => Self::not_found("workflow"),
            SubmitError::Invalid(violations) => {
                Self::invalid(violations.into_iter().map(|violation| Violation {
                    pointer: format!("/input{}", violation.pointer),
                    ..violation
                }))
            }
            SubmitError::TooLarge(detail) => Self::new(StatusCode::PAYLOAD_TOO_LARGE, detail),
            SubmitError::Other => {
                let status = StatusCode::UNPROCESSABLE_ENTITY;
                Self::new(status, "this Idempotency-Key was used with another body")
                    .of_kind("key-reused")
            }
            SubmitError::Busy(detail) => Self::too_many(detail),
            SubmitError::Unknown(detail) => Self::outcome_unknown(detail),
            SubmitError::Unavailable(detail) => Self::unavailable(detail),
        }
    }
}

impl From<CommandError> for Problem {
    fn from(error: CommandError) -> Self {
        match error {
            CommandError::Rejected(Rejection::Conflict { detail, allowed }) => {
                Self::conflict(detail, &allowed)
            }
            CommandError::Rejected(Rejection::Assignment { why, detail, allowed }) => {
                let kind = match why {
                    AssignmentConflict::PredecessorOpen => "predecessor-open",
                    AssignmentConflict::AlreadyDone => "already-done",
                    AssignmentConflict::CaseSuspended => "case-suspended",
                    AssignmentConflict::Phase => "conflict",
                };
                Self::conflict(detail, &allowed).of_kind(kind)
            }
            CommandError::Rejected(Rejection::Job(conflict)) => {
                let kind = match conflict {
                    JobConflict::LeaseLost | JobConflict::NotQueued => "lease-lost",
                    JobConflict::AlreadyDone => "already-done",
                    JobConflict::Over => "job-over",
                };
                Self::conflict(conflict.detail(), &[]).of_kind(kind)
            }
            CommandError::Rejected(Rejection::NoSuchAssignment) => Self::not_found("assignment"),
            CommandError::Rejected(Rejection::StaleAssignment(revision)) => {
                let detail = format!("the assignment is at revision {revision}");
                Self::new(StatusCode::PRECONDITION_FAILED, detail)
            }
            CommandError::Rejected(Rejection::NoSuchTask(task)) => {
                Self::at("/task", format!("there is no task `{task}` in the workflow"))
            }
            CommandError::Rejected(Rejection::Invalid(violations)) => Self::invalid(violations),
            CommandError::Rejected(Rejection::TooLarge(detail)) => {
                Self::new(StatusCode::PAYLOAD_TOO_LARGE, detail)
            }
            CommandError::Rejected(
                rejection @ (Rejection::Exists(_) | Rejection::NotListening),
            ) => Self::conflict(rejection.to_string(), &[]),
            CommandError::Stale(version) => {
                let detail = format!("the case is at revision {version}");
                Self::new(StatusCode::PRECONDITION_FAILED, detail)
            }
            CommandError::NotFound => Self::not_found("case"),
            error @ CommandError::Other(_) => Self::conflict(error.to_string(), &[]),
            CommandError::Quarantined(reason) => {
                Self::conflict(format!("the case is out of service: {reason}"), &["retry"])
                    .of_kind("quarantined")
            }
            CommandError::Broken(reason) => {
                Self::conflict(format!("the case cannot be loaded: {reason}"), &[])
            }
            CommandError::Busy(detail) => Self::too_many(detail),
            CommandError::Unknown(detail) => Self::outcome_unknown(detail),
            CommandError::Unavailable(detail) => Self::unavailable(detail),
        }
    }
}
