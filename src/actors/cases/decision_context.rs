//! The context at which a case decides: services, secrets and long expressions, as the context has them.

use std::sync::Arc;

use serde_json::Value as Json;

use crate::actors::context::Context;
use crate::actors::effects::evaluator::Job;
use crate::actors::services::handle::CallPermit;
use crate::domain::case::decision_context::{DecisionContext, PermitAnswer, Service};
use crate::domain::case::event::Wait;
use crate::domain::case::state::{Stage, State};
use crate::domain::data::Data;
use crate::domain::ids::CaseId;
use crate::domain::service::line::QueueEntry;
use crate::domain::time::Timestamp;
use crate::domain::workflow::expr::{Expr, Failure, Used};
use crate::domain::workflow::model::{DefinitionId, TaskId};

/// A long evaluation that was made.
struct Evaluated {
    expr: Arc<str>,
    input: Data,
    bound: Vec<(Used, Arc<Json>)>,
    result: Result<Json, Failure>,
}

/// The context of one decision, which may be made several times over until all that takes long is
/// known. Permits that were taken once are handed out again.
pub struct CaseDecisionContext<'a> {
    context: &'a Context,
    case: CaseId,
    definition: DefinitionId,
    priority: u8,
    state: Option<&'a State>,
    now: Timestamp,
    /// Permits taken in this round.
    taken: Vec<CallPermit>,
    /// Permits from earlier rounds.
    stock: Vec<CallPermit>,
    evaluated: Vec<Evaluated>,
    /// How many of them were asked for in this round: a decision asks in the same order each time.
    asked: usize,
    wanted: Option<Job>,
}

impl<'a> CaseDecisionContext<'a> {
    /// A context for a decision of this case.
    pub fn new(
        context: &'a Context,
        case: CaseId,
        definition: DefinitionId,
        priority: u8,
        state: Option<&'a State>,
        now: Timestamp,
    ) -> Self {
        Self {
            context,
            case,
            definition,
            priority,
            state,
            now,
            taken: Vec::new(),
            stock: Vec::new(),
            evaluated: Vec::new(),
            asked: 0,
            wanted: None,
        }
    }

    /// Evaluates what the last round asked for; the decision is to be made again then.
    pub async fn evaluate_wanted(&mut self) {
        self.stock.append(&mut self.taken);
        self.asked = 0;
        let Some(job) = self.wanted.take() else { return };
        let (expr, input, bound) = (job.expr.source.clone(), job.input.clone(), job.bound.clone());
        let result = self.context.evaluator.evaluate(job).await;
        self.evaluated.push(Evaluated { expr, input, bound, result });
    }

    /// The permits that the decision took, once it stands.
    pub fn into_permits(self) -> Vec<CallPermit> {
        self.taken
    }

    /// Since when the case has been waiting for this service.
    fn waits_since(&self, service: &str) -> Option<Timestamp> {
        let mut since = None;
        self.state?.walk(&mut |activation| {
            if let Some(call) = activation.call()
                && call.service.as_deref() == Some(service)
                && let Stage::Parked { since: parked, .. } = &call.stage
            {
                since = since.into_iter().chain([*parked]).min();
            }
        });
        since
    }
}

impl DecisionContext for CaseDecisionContext<'_> {
    fn service_of(&self, host: &str) -> Service {
        self.context.services.of_host(host)
    }

    fn service(&self, name: &str) -> Service {
        self.context.services.seen(name)
    }

    fn permit(&mut self, service: &Service) -> PermitAnswer {
        let name = &*service.name;
        if let Some(place) = self.stock.iter().position(|p| &*p.served().settings.name == name) {
            self.taken.push(self.stock.swap_remove(place));
            return PermitAnswer::Granted;
        }
        let served = self.context.services.served(name);
        let since = self.waits_since(name).unwrap_or(self.now);
        match served.ask(QueueEntry::new(self.priority, since, self.case)) {
            Ok(permit) => {
                self.taken.push(permit);
                PermitAnswer::Granted
            }
            Err(held) => PermitAnswer::Wait(served.wait(held)),
        }
    }

    fn has_under_way(&self, task: TaskId, iteration: u32, attempt: u32) -> bool {
        self.context.attempts.has((self.case, task, iteration, attempt))
    }

    fn holds_back(&self, service: &str) -> Option<Wait> {
        let served = self.context.services.find(service)?;
        let ticket = QueueEntry::new(self.priority, self.now, self.case);
        let held = served.gate().holds_back(ticket)?;
        Some(served.wait(held))
    }

    fn secret(&mut self, name: &str) -> Option<Arc<Json>> {
        self.context.resources.secret(name)
    }

    fn document(&mut self, url: &str) -> Option<Arc<Json>> {
        self.context.resources.document(url)
    }

    fn token(&mut self, key: &[u8; 16]) -> Option<Arc<str>> {
        self.context.resources.token(key)
    }

    fn evaluate_apart(
        &mut self,
        expr: &Expr,
        input: &Data,
        bound: &[(Used, Arc<Json>)],
    ) -> Option<Result<Json, Failure>> {
        let is_it = |known: &&Evaluated| {
            known.expr == expr.source
                && (known.input.is(input) || known.input == *input)
                && known.bound == bound
        };
        let next = self.evaluated.get(self.asked).filter(is_it);
        let known = next.or_else(|| self.evaluated.iter().find(is_it));
        if let Some(known) = known {
            self.asked += 1;
            return Some(known.result.clone());
        }
        self.wanted = Some(Job {
            definition: self.definition.clone(),
            expr: expr.clone(),
            input: input.clone(),
            bound: bound.to_vec(),
            now: self.now,
        });
        None
    }
}
