//! Attempts: prepared, let through by the service, started; or parked until it has room.

use std::sync::Arc;

use super::prepare::Prepared;
use super::{Halt, Interpreter, Key, Trouble};
use crate::domain::case::decision_context::{PermitAnswer, Service};
use crate::domain::case::effect::{Ask, Effect};
use crate::domain::case::event::{Came, Change, Event, Wait, WaitKind};
use crate::domain::case::problem::{Problem, Standard};
use crate::domain::case::state::Stage;
use crate::domain::time::DAY;

/// Milliseconds of patience that nothing outlasts: a hundred years.
const FOR_EVER: i64 = 100 * 365 * DAY;

impl Interpreter<'_> {
    /// Starts an attempt of a call, or says what it waits for.
    pub(super) fn attempt(&mut self, key: Key) -> Result<(), Halt> {
        let Some(call) = self.open(key)?.call() else { return Ok(()) };
        let (asking, attempt) = (call.asking, call.attempt + 1);
        if !asking && self.recall(key)? {
            return Ok(());
        }
        if let Some(asked) = self.work(key).filter(|_| !asking) {
            return self.queue(key, asked);
        }
        let generation = self.generation(key);
        let prepared = match self.prepare(key, asking) {
            Ok(prepared) => prepared,
            Err(Trouble::Halt(halt)) => return Err(halt),
            Err(Trouble::Problem(problem)) if asking => return self.leave_to_person(key, problem),
            Err(Trouble::Problem(problem)) => return self.fault(key, problem),
        };
        match prepared {
            Prepared::Ask { service, ask } => {
                if let Some(service) = &service
                    && let PermitAnswer::Wait(wait) = self.ctx.permit(service, self.state.priority)
                {
                    return self.park(key, service, wait, None);
                }
                let service = service.map(|s| s.name);
                let safe = !asking && self.is_safe_openapi(key, &ask);
                let change = Change::Started {
                    entry: None,
                    attempt,
                    service: service.clone(),
                    generation,
                    safe,
                    lease: None,
                };
                self.emit_joined(key, change)?;
                self.ask(key, attempt, service, ask)
            }
            Prepared::Fetch { service, preparation } => {
                if let PermitAnswer::Wait(wait) = self.ctx.permit(&service, self.state.priority) {
                    return self.park(key, &service, wait, None);
                }
                let name = service.name;
                let change = Change::Preparing { entry: None, service: name.clone() };
                self.emit_joined(key, change)?;
                self.ask(key, attempt, Some(name), Ask::Prepare(preparation))
            }
        }
    }

    pub(super) fn ask(
        &mut self,
        key: Key,
        attempt: u32,
        service: Option<Arc<str>>,
        ask: Ask,
    ) -> Result<(), Halt> {
        let (task, iteration) = key;
        self.effects.push(Effect {
            case: self.state.id,
            task,
            iteration,
            attempt,
            key: self.idempotency_key(key)?,
            service,
            ask,
        });
        Ok(())
    }

    /// Emits a call's event. Where the call was entered by the event just before, the two become
    /// one: the entry and its first attempt (or wait) are one thing that happened.
    pub(super) fn emit_joined(&mut self, key: Key, change: Change) -> Result<(), Halt> {
        let entered = match self.events.last() {
            Some(Event::Task(last)) if (last.task, last.iteration) == key => match &last.change {
                Change::Started { entry, attempt: 0, .. } => Some(entry.clone()),
                _ => None,
            },
            _ => None,
        };
        // a call that was taken up again where it stood is not entered by its next attempt
        let fresh = self.open(key)?.call().is_some_and(|c| c.attempt == 0 && !c.asking)
            && self.state.ledger.get(key).is_none();
        let Some(entered) = entered.filter(|_| fresh) else { return self.emit_task(key, change) };
        let joined = match change {
            Change::Started { attempt, service, generation, safe, lease, .. } => {
                Change::Started { entry: entered, attempt, service, generation, safe, lease }
            }
            Change::Queued { job, .. } => Change::Queued { entry: entered, job },
            Change::Waiting { wait, outcome, .. } => {
                Change::Waiting { entry: entered, wait, outcome }
            }
            Change::Preparing { service, .. } => Change::Preparing { entry: entered, service },
            other => other,
        };
        // the entry is folded already; only what the second event adds is missing
        self.events.pop();
        self.state.version -= 1;
        self.state.stretch = self.stretch;
        self.emit_task(key, joined)
    }

    /// Parks a call behind its service. A wait that is known already says nothing new.
    pub(super) fn park(
        &mut self,
        key: Key,
        service: &Service,
        wait: Wait,
        outcome: Option<Came>,
    ) -> Result<(), Halt> {
        let patience = self.patience(key, service, outcome);
        let Some(call) = self.open(key)?.call() else { return Ok(()) };
        let mut wait = wait;
        wait.on = Some(service.name.clone());
        if wait.kind == WaitKind::Service {
            let until = call.missing_since.unwrap_or(self.now).plus(patience);
            wait.until = (!self.has_to_be_known(key, outcome)).then_some(until);
        }
        if let Stage::Parked { wait: known, .. } = &call.stage
            && (known.kind, &known.on, known.until) == (wait.kind, &wait.on, wait.until)
            && wait.until.is_none_or(|until| until > self.now)
        {
            return Ok(());
        }
        self.emit_joined(key, Change::Waiting { entry: None, wait, outcome })
    }

    /// Milliseconds that this call waits through an outage of the service. Where what it did is to be
    /// undone, it is repeated until it is known.
    pub(super) fn patience(&self, key: Key, service: &Service, came: Option<Came>) -> i64 {
        if self.has_to_be_known(key, came) {
            return FOR_EVER;
        }
        match self.task(key.0).metadata.patience {
            Some(patience) => patience.nominal_millis(),
            None => service.patience,
        }
    }

    /// A call has waited for its service as long as it may: the error is the workflow's.
    pub(super) fn give_up(&mut self, key: Key) -> Result<(), Halt> {
        let Some(call) = self.open(key)?.call() else { return Ok(()) };
        let asking = call.asking;
        let last = call.notes.last().map(|note| note.error.clone());
        let name = call.service.clone().unwrap_or_default();
        let problem = last.unwrap_or_else(|| {
            let detail = format!("the service {name} was not available");
            Problem::new(Standard::Communication, detail).with_status(503)
        });
        if asking { self.leave_to_person(key, problem) } else { self.fault(key, problem) }
    }

    /// The service has room: calls parked behind it ask again.
    pub(super) fn admit(&mut self, service: &Arc<str>) -> Result<(), Halt> {
        self.ask_for_permits(Some(service))?;
        self.admit_notices(Some(service))
    }

    /// Calls that are parked, behind this service or any, ask for their permits again: they have
    /// lost their places in the line, or never had one.
    pub(super) fn ask_for_permits(&mut self, service: Option<&Arc<str>>) -> Result<(), Halt> {
        if self.is_held() {
            return Ok(());
        }
        let mut parked = Vec::new();
        self.state.walk(&mut |activation| {
            let waits = activation.call().is_some_and(|call| {
                matches!(&call.stage, Stage::Parked { wait, .. } if wait.kind != WaitKind::Timer)
                    && (service.is_none() || call.service.as_ref() == service)
            });
            if waits && activation.failed.is_none() {
                parked.push((activation.task, activation.iteration));
            }
        });
        for key in parked {
            // what is out of time is timed out, rather than sent into it
            if !self.is_out_of_time(key) {
                self.attempt(key)?;
            }
        }
        Ok(())
    }
}
