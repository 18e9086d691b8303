//! What a case asks of the outside, once the events that ask for it are durable.

use std::sync::Arc;

use serde_json::Value as Json;

use super::event::Submission;
use crate::domain::data::Data;
use crate::domain::ids::{CaseId, Fingerprint};
use crate::domain::staff::notice::Notice;
use crate::domain::workflow::model::{OutputFormat, TaskId};

/// The service that mails go to.
pub const MAIL: &str = "mail";

/// One attempt of a task, or the fetching of what it needs first.
#[derive(Clone, Debug)]
pub struct Effect {
    pub case: CaseId,
    pub task: TaskId,
    pub iteration: u32,
    pub attempt: u32,
    /// The same for every attempt: `<case>/<reference>/<iteration>[/<generation>]`.
    pub key: String,
    /// Behind whose breaker it goes.
    pub service: Option<Arc<str>>,
    pub ask: Ask,
}

/// What is asked.
#[derive(Clone, Debug)]
pub enum Ask {
    Http(Box<HttpRequest>),
    /// A mail, by the arguments of its call. Its texts are made where it is sent: that may take long.
    Email(Data),
    /// A mail of the engine's own; it is written where it is sent, for the reader as they are then.
    Notice(Box<Notice>),
    Echo(Data),
    /// A CloudEvent to store and hand to those who listen.
    Emit(Data),
    /// A child case to start.
    Run(Box<Child>),
    /// A child case that is not wanted any more.
    CancelChild(CaseId),
    /// A child that others may have joined goes on without this task.
    LeaveChild,
    /// Something to fetch and keep in memory, so that the call can be made.
    Prepare(Box<Preparation>),
}

/// A child case.
#[derive(Clone, Debug)]
pub struct Child {
    pub id: CaseId,
    pub namespace: Arc<str>,
    pub name: Arc<str>,
    /// None: the latest.
    pub version: Option<Arc<str>>,
    /// It is the one case of its workflow under a key: whoever names the key joins it.
    pub joins: bool,
    /// The definition is not known until the version is chosen, so this has none yet.
    pub submission: ChildSubmission,
}

/// What a child is submitted with.
#[derive(Clone, Debug)]
pub struct ChildSubmission {
    pub input: Data,
    pub priority: u8,
    pub parent: super::event::Parent,
    /// Of one under a key: what it was submitted with.
    pub fingerprint: Option<Fingerprint>,
}

impl ChildSubmission {
    /// The submission, once it is known which definition it is for.
    pub fn of(self, definition: crate::domain::workflow::model::DefinitionId) -> Submission {
        Submission {
            definition,
            input: self.input,
            subject: None,
            tags: Arc::new([]),
            priority: Some(self.priority),
            fingerprint: self.fingerprint,
            parent: Some(self.parent),
        }
    }
}

/// An HTTP request as it goes out; it may hold secrets and is never stored.
#[derive(Clone, PartialEq, Debug)]
pub struct HttpRequest {
    pub method: Arc<str>,
    /// As the definition has it; a service's `url` takes the place of scheme and host.
    pub url: String,
    pub headers: Vec<(String, String)>,
    pub body: Option<HttpBody>,
    pub follow_redirects: bool,
    pub output: OutputFormat,
    /// The request as an output of format `response` shows it: nothing secret.
    pub shown: Json,
}

/// A request's body.
#[derive(Clone, PartialEq, Debug)]
pub enum HttpBody {
    Json(Data),
    Form(Vec<(String, String)>),
    Text(String),
}

/// What is fetched ahead of a call.
#[derive(Clone, Debug)]
pub enum Preparation {
    /// An OpenAPI document, kept under its address.
    Document(HttpRequest),
    /// A token, kept under a key that tells apart whom it is for.
    Token { key: [u8; 16], request: HttpRequest, issuers: Vec<String> },
}
