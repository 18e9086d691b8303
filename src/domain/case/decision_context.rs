//! What a decision may look up while it is made. Decisions stay plain functions: whoever calls
//! them brings a context, and the same answers give the same decision.

use std::sync::Arc;

use serde_json::Value as Json;

use super::event::{Event, Wait};
use crate::domain::data::Data;
use crate::domain::ids::TemplateHash;
use crate::domain::staff::business::Business;
use crate::domain::staff::notice::Notices;
use crate::domain::time::Timestamp;
use crate::domain::workflow::expr::{Expr, Failure, Used};
use crate::domain::workflow::model::TaskId;

/// The context on which a decision finds its facts.
pub trait DecisionContext {
    /// When people work in general: due dates go by it.
    fn business(&self) -> Arc<Business>;

    /// Who is to be told of a plan that begins.
    fn notices(&self) -> Notices;

    /// Whether there is a mail server.
    fn sends_mail(&self) -> bool;

    /// The service that a host belongs to; its name is also the key of its permits.
    fn service_of(&self, host: &str) -> Service;

    /// The service of this name, however it is configured.
    fn service(&self, name: &str) -> Service;

    /// What is known of a queue. None: there are too many to have another one.
    fn queue(&mut self, name: &str) -> Option<Queue>;

    /// The content of a template of documents. None: there is none of this name.
    fn template(&mut self, name: &str) -> Option<TemplateHash>;

    /// Asks for a permit to call: taken when granted, and given back when the call is over.
    fn permit(&mut self, service: &Service, priority: u8) -> PermitAnswer;

    /// Whether this process has the attempt under way, or its result on the way to the case.
    fn has_under_way(&self, task: TaskId, iteration: u32, attempt: u32) -> bool;

    /// Whether the service's breaker holds calls back, so that nothing is repeated meanwhile.
    /// A pause that it has asked for holds back where it ends between these instants.
    fn holds_back(
        &self,
        service: &str,
        priority: u8,
        pause: (Timestamp, Timestamp),
    ) -> Option<Wait>;

    /// A secret's content.
    fn secret(&mut self, name: &str) -> Option<Arc<Json>>;

    /// An OpenAPI document, if it was fetched already.
    fn document(&mut self, url: &str) -> Option<Arc<Json>>;

    /// A token, if one was fetched already and is still good.
    fn token(&mut self, key: &[u8; 16]) -> Option<Arc<str>>;

    /// The case's event of this version, as the history has it. `None`: it is being read; the decision is
    /// made again once it is there.
    fn recorded(&mut self, version: u64) -> Option<Event>;

    /// Evaluates what may run for long. `None`: it is being evaluated; the decision is made again
    /// once the result is there.
    fn evaluate_apart(
        &mut self,
        expr: &Expr,
        input: &Data,
        bound: &[(Used, Arc<Json>)],
    ) -> Option<Result<Json, Failure>>;
}

/// What a decision has to know of a service.
#[derive(Clone, PartialEq, Debug)]
pub struct Service {
    pub name: Arc<str>,
    /// Named in the configuration; others have limits, but no breaker and no patience.
    pub known: bool,
    /// Milliseconds a call may take.
    pub timeout: i64,
    /// Milliseconds an outage is waited for; 0: it is the workflow's.
    pub patience: i64,
    /// The service does a repeated call with the same key once.
    pub honours_key: bool,
    /// The host may not be called at all.
    pub refused: bool,
}

/// What a decision has to know of a queue.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Queue {
    /// Milliseconds that each priority below 9 is worth.
    pub aging: i64,
    /// Jobs that were queued before this are not leased any more.
    pub purged: Option<Timestamp>,
}

/// The answer to a request for a permit.
#[derive(Clone, PartialEq, Debug)]
pub enum PermitAnswer {
    Granted,
    /// Not now, and why.
    Wait(Wait),
}
