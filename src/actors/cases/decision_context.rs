//! The context at which a case decides: services, secrets and long expressions, as the context has them.

use std::collections::HashMap;
use std::fmt::Display;
use std::sync::Arc;

use serde_json::Value as Json;

use crate::actors::context::Context;
use crate::actors::effects::evaluator::Job;
use crate::actors::services::handle::CallPermit;
use crate::domain::case::decision_context::{DecisionContext, PermitAnswer, Queue, Service};
use crate::domain::case::event::{Event, Wait};
use crate::domain::case::notices;
use crate::domain::case::state::{Stage, State};
use crate::domain::data::Data;
use crate::domain::ids::{CaseId, Entity, TemplateHash};
use crate::domain::service::line::QueueEntry;
use crate::domain::staff::business::Business;
use crate::domain::staff::notice::Notices;
use crate::domain::time::Timestamp;
use crate::domain::workflow::expr::{Expr, Failure, Used};
use crate::domain::workflow::model::{DefinitionId, TaskId};
use crate::store::journal::{Journal, ReadError};
use crate::store::record::BadRecord;
use crate::store::{EngineJournal, record, upcast};

/// Records read in one go where an event is read back.
const READ_AHEAD: usize = 32;

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
    state: Option<&'a State>,
    now: Timestamp,
    /// Permits taken in this round.
    taken: Vec<CallPermit>,
    /// Permits from earlier rounds.
    stock: Vec<CallPermit>,
    evaluated: Vec<Evaluated>,
    /// Events that were read back, by version.
    read: HashMap<u64, Event>,
    /// How many of them were asked for in this round: a decision asks in the same order each time.
    asked: usize,
    wanted: Option<Wanted>,
    /// Nothing of the decision will be carried out: services are not asked for anything.
    imagined: bool,
}

/// What a decision waits for.
enum Wanted {
    Evaluated(Job),
    Read(u64),
}

/// Why it does not come.
pub enum Missing {
    /// The case's own fault.
    Broken(String),
    /// It may come later.
    Unreadable(ReadError),
}

impl<'a> CaseDecisionContext<'a> {
    /// A context for a decision of this case.
    pub fn new(
        context: &'a Context,
        case: CaseId,
        definition: DefinitionId,
        state: Option<&'a State>,
        now: Timestamp,
    ) -> Self {
        Self {
            context,
            case,
            definition,
            state,
            now,
            taken: Vec::new(),
            stock: Vec::new(),
            evaluated: Vec::new(),
            read: HashMap::new(),
            asked: 0,
            wanted: None,
            imagined: false,
        }
    }

    /// The same for a decision of which nothing will be carried out: every permit is granted, and none is
    /// taken.
    pub fn imagined(self) -> Self {
        Self { imagined: true, ..self }
    }

    /// Evaluates or reads what the last round asked for; the decision is to be made again then.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn get_wanted(&mut self) -> Result<(), Missing> {
        self.stock.append(&mut self.taken);
        self.asked = 0;
        match self.wanted.take() {
            Some(Wanted::Evaluated(job)) => {
                let (expr, input, bound) =
                    (job.expr.source.clone(), job.input.clone(), job.bound.clone());
                let result = self.context.evaluator.evaluate(job).await;
                self.evaluated.push(Evaluated { expr, input, bound, result });
            }
            Some(Wanted::Read(version)) => {
                let events = events_from(&self.context.journal, self.case, version).await?;
                self.read.extend(events);
            }
            None => {}
        }
        Ok(())
    }

    /// The permits that the decision took, once it stands.
    pub fn into_permits(self) -> Vec<CallPermit> {
        self.taken
    }

    /// Since when the case has been waiting for this service.
    fn waits_since(&self, service: &str) -> Option<Timestamp> {
        let parked = notices::parked(self.state?).filter(|(known, _)| ***known == *service);
        let mut since = parked.map(|(_, since)| since);
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
    fn business(&self) -> Arc<Business> {
        self.context.staff.business()
    }

    fn notices(&self) -> Notices {
        self.context.notices()
    }

    fn sends_mail(&self) -> bool {
        self.context.dispatcher.mail_domain().is_some()
    }

    fn service_of(&self, host: &str) -> Service {
        self.context.services.of_host(host)
    }

    fn service(&self, name: &str) -> Service {
        self.context.services.seen(name)
    }

    fn queue(&mut self, name: &str) -> Option<Queue> {
        self.context.work.seen(name)
    }

    fn template(&mut self, name: &str) -> Option<TemplateHash> {
        self.context.templates.content(name)
    }

    fn permit(&mut self, service: &Service, priority: u8) -> PermitAnswer {
        if self.imagined {
            return PermitAnswer::Granted;
        }
        let name = &*service.name;
        if let Some(place) = self.stock.iter().position(|p| &*p.served().settings.name == name) {
            self.taken.push(self.stock.swap_remove(place));
            return PermitAnswer::Granted;
        }
        let served = self.context.services.served(name);
        let since = self.waits_since(name).unwrap_or(self.now);
        match served.ask(QueueEntry::new(priority, since, self.case)) {
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

    fn holds_back(
        &self,
        service: &str,
        priority: u8,
        pause: (Timestamp, Timestamp),
    ) -> Option<Wait> {
        let served = self.context.services.find(service)?;
        let ticket = QueueEntry::new(priority, self.now, self.case);
        let held = served.gate().holds_back(ticket, pause)?;
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
        self.wanted = Some(Wanted::Evaluated(Job {
            definition: self.definition.clone(),
            expr: expr.clone(),
            input: input.clone(),
            bound: bound.to_vec(),
            now: self.now,
        }));
        None
    }

    fn recorded(&mut self, version: u64) -> Option<Event> {
        let known = self.read.get(&version).cloned();
        if known.is_none() {
            self.wanted = Some(Wanted::Read(version));
        }
        known
    }
}

/// A case's events from this version on, as the journal has them: those that say what an effect has left.
/// Whoever reads back one often wants the next.
async fn events_from(
    journal: &EngineJournal,
    case: CaseId,
    version: u64,
) -> Result<Vec<(u64, Event)>, Missing> {
    let broken = |detail: &dyn Display| {
        Missing::Broken(format!("the record that holds version {version} cannot be used: {detail}"))
    };
    let unreadable = |error: ReadError| match error.damaged {
        true => broken(&error),
        false => Missing::Unreadable(error),
    };
    let first = journal.holding(Entity::from(case), version).await.map_err(unreadable)?;
    let first = first.ok_or_else(|| broken(&"it is missing"))?;
    let (header, _) = record::decode(&first).map_err(|bad| broken(&bad))?;
    let mut found = lefts_in(&first, version).map_err(|bad| broken(&bad))?;
    match found.first() {
        Some((at, _)) if *at == version => {}
        _ => return Err(broken(&"it does not say what was done")),
    }
    let behind = header.version + header.count;
    // what cannot be read of those behind is met by whoever wants it
    if let Ok(page) = journal.read(Entity::from(case), behind, READ_AHEAD).await {
        found.extend(page.records.iter().map_while(|r| lefts_in(r, version).ok()).flatten());
    }
    Ok(found)
}

/// The events of a record from a version on that say what an effect has left.
fn lefts_in(bytes: &[u8], from: u64) -> Result<Vec<(u64, Event)>, BadRecord> {
    let (header, events) = record::decode(bytes)?;
    let events = (header.version..).zip(upcast::events(&header, events)?);
    let left = events.filter(|(at, event)| {
        *at >= from && matches!(event, Event::Task(task) if task.change.left().is_some())
    });
    Ok(left.collect())
}
