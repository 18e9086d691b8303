//! What became of an attempt, and what follows: the task is done, failed, tried again, asked for,
//! or shown to a person.

use super::{Halt, Interpreter, Key, Trouble};
use crate::domain::case::command::{Fetched, Health, Outcome};
use crate::domain::case::derive;
use crate::domain::case::event::{Answer, Came, Change, Doubt, Event, Wait, WaitKind};
use crate::domain::case::ledger::{Fate, Knowledge};
use crate::domain::case::problem::{Problem, Standard};
use crate::domain::case::state::{Call, Stage};
use crate::domain::data::Data;
use crate::domain::retry::outage_delay;
use crate::domain::workflow::expr::truthy;
use crate::domain::workflow::model::Kind;

/// Milliseconds within which an effect's first byte leaves after its commit, or not at all.
pub const SEND_WITHIN: i64 = 2000;

/// Milliseconds that clocks and queues may take beyond what is known.
const MARGIN: i64 = 1000;

/// Milliseconds after which what did not leave is asked for again; up to twice as many, by chance.
pub(super) const AGAIN: i64 = 100;

/// Failures in a row from which on a case may be said to fail by itself.
const OWN_FAILURES: u32 = 10;

/// Times that a question is asked again when the service answers with an error of its own; about
/// two minutes in all.
const QUESTIONS: u32 = 10;

/// Milliseconds over which these failures are spread at least.
const OWN_FAILURES_OVER: i64 = 60_000;

impl Interpreter<'_> {
    pub(super) fn settle(&mut self, key: Key, attempt: u32, outcome: &Outcome) -> Result<(), Halt> {
        let Some(activation) = self.state.find(self.definition, key.0, key.1) else {
            return Ok(());
        };
        let Some(call) = activation.call().filter(|_| activation.failed.is_none()) else {
            return Ok(());
        };
        match (&call.stage, outcome) {
            (Stage::Preparing { .. }, Outcome::Fetched(fetched)) if call.attempt + 1 == attempt => {
                return self.prepared(key, fetched);
            }
            // one that comes late has the number of the call that went out since
            (_, Outcome::Fetched(_)) => return Ok(()),
            (Stage::InFlight { .. }, _) if call.attempt == attempt => {}
            _ => return Ok(()),
        }
        let (asking, misses) = (call.asking, call.misses);
        match outcome {
            Outcome::Done(answer) if asking => self.reconcile(key, answer),
            Outcome::Done(output) => self.done(key, output),
            Outcome::NotSent => self.not_sent(key),
            Outcome::Unusable { error } if asking => self.leave_to_person(key, error.clone()),
            // it is undone, whatever that was answered
            Outcome::Unusable { .. } if self.task(key.0).is_undo() => {
                self.complete(key, Some(Data::null()), None)
            }
            Outcome::Unusable { error } => self.fault_done(key, error.clone(), Answer::Gone),
            // a question does no harm: one that meets a server's error is asked again
            Outcome::Failed { error, server: true } if asking && misses < QUESTIONS => {
                self.missed(key, error, Came::NotDone, None, Health::default())
            }
            Outcome::Failed { error, .. } if asking => self.leave_to_person(key, error.clone()),
            Outcome::Failed { error, server } => self.failed(key, error, *server),
            Outcome::NotDone { error, retry_after, health } => {
                if self.is_detached(key) && !asking && !self.is_unknown(key) {
                    // nobody waits for it, and it was not done
                    return self.fault(key, error.clone());
                }
                self.missed(key, error, Came::NotDone, *retry_after, *health)
            }
            Outcome::Unknown { error, health } => self.doubt(key, error, *health),
            Outcome::Fetched(_) => Ok(()),
        }
    }

    /// What a call needs first was fetched, or not.
    fn prepared(&mut self, key: Key, fetched: &Fetched) -> Result<(), Halt> {
        match fetched {
            // a case that is held lets nothing out; the call asks again when it goes on
            Fetched::Here if self.is_held() => self.not_sent(key),
            Fetched::Here => self.attempt(key),
            Fetched::NotSent => self.not_sent(key),
            Fetched::Missed { error, retry_after, health } => {
                self.missed(key, error, Came::NotDone, *retry_after, *health)
            }
            Fetched::Useless { error } => self.not_prepared(key, error.clone()),
        }
    }

    /// Whether a person, or a fault, holds everything of the case.
    pub(super) fn is_held(&self) -> bool {
        derive::holds(&self.state) && self.state.unwinding.is_none()
    }

    fn not_prepared(&mut self, key: Key, error: Problem) -> Result<(), Halt> {
        match self.open(key)?.call().is_some_and(|call| call.asking) {
            true => self.leave_to_person(key, error),
            false => self.fault(key, error),
        }
    }

    /// The call was answered with an error.
    pub(super) fn failed(&mut self, key: Key, error: &Problem, server: bool) -> Result<(), Halt> {
        let gone = matches!(error.status, 404 | 410);
        let unknown = self.is_unknown(key);
        if gone && unknown && self.is_delete(key) {
            // an earlier attempt has taken it away
            return self.complete(key, Some(Data::null()), None);
        }
        let detached = self.is_detached(key);
        let misses = self.open(key)?.call().map_or(0, |call| call.misses);
        if detached && unknown && !server {
            // the repeat was refused, which says nothing of the attempt before
            return self.leave_to_person(key, error.clone());
        }
        let undoes = self.task(key.0).metadata.compensate.is_some();
        let safe = self.repeatable(key)?;
        let unsure = server && (undoes || !safe);
        if unsure && detached && self.reconciles(key) {
            return self.doubt(key, error, Health::default());
        }
        let due = self.is_due(key);
        if unsure && detached && safe && (unknown || due) && misses < QUESTIONS {
            // whether it was done has to be known: it is repeated until it is
            return self.missed(key, error, Came::Unknown, None, Health::default());
        }
        if detached && (unknown || (unsure && due)) {
            // an error of the server says no more than silence did
            return self.leave_to_person(key, error.clone());
        }
        self.fault_with(key, error.clone(), unsure.then_some(Doubt::Answered))
    }

    /// Whether a safe call is repeated until it is known what became of it, so that it can be undone.
    /// `came`: what its last attempt came to, while nobody has noted it yet.
    pub(super) fn has_to_be_known(&self, key: Key, came: Option<Came>) -> bool {
        let undoes = self.task(key.0).metadata.compensate.is_some();
        let asking = self.state.detached(key).and_then(|a| a.call()).is_some_and(|c| c.asking);
        let unknown = came == Some(Came::Unknown) || self.is_unknown(key);
        undoes && !asking && self.is_detached(key) && unknown && self.is_due(key)
    }

    /// Whether what the call turns out to have done is undone at once.
    fn is_due(&self, key: Key) -> bool {
        let due = self.state.ledger.get(key).is_some_and(|entry| entry.fate == Fate::Due);
        due || self.state.unwinding.is_some()
    }

    /// Nothing left us, by our own doing: the task asks again soon, as if it had not asked yet.
    fn not_sent(&mut self, key: Key) -> Result<(), Halt> {
        let asking = self.open(key)?.call().is_some_and(|call| call.asking);
        if self.is_detached(key) && !asking && !self.is_unknown(key) {
            return self.emit_task(key, Change::dropped());
        }
        let error = Problem::new(Standard::Runtime, "the attempt did not leave");
        let at = self.now.plus(AGAIN + (self.random() % AGAIN.unsigned_abs()) as i64);
        let (deadline, outcome, until) = (None, Some(Came::NotSent), None);
        self.emit_task(key, Change::Retried { error, at, deadline, outcome, until })
    }

    /// Whether nobody knows if the effect was done.
    pub(super) fn is_unknown(&self, key: Key) -> bool {
        let entry = self.state.ledger.get(key);
        entry.is_some_and(|entry| matches!(entry.knowledge, Knowledge::Unknown(_)))
    }

    /// The raw output is there.
    fn done(&mut self, key: Key, output: &Data) -> Result<(), Halt> {
        if let Kind::Run(run) = &self.task(key.0).kind {
            let joined = self.is_joined(key);
            if !run.awaits {
                // of one under a key it is told which one that is, and whether it was there
                return self.complete(key, joined.then(|| output.clone()), None);
            }
            let named = output.get("case").and_then(|case| case.as_str()?.parse().ok());
            let child = named.filter(|_| joined).unwrap_or_else(|| self.child_id(key));
            let on = Some(child.to_string().into());
            let wait = Wait { kind: WaitKind::Case, on, until: None, detail: None };
            self.emit_task(key, Change::Waiting { entry: None, wait, outcome: None })?;
            if self.is_detached(key) {
                // it was not wanted any more before it began
                self.cancel_child(key, child);
            }
            return Ok(());
        }
        self.complete(key, Some(output.clone()), None)
    }

    /// An attempt may have been acted on. Safe calls are repeated; others are asked for where the
    /// definition says how, else a person decides. Where there is no patience, it is an error as
    /// the DSL has it.
    pub(super) fn doubt(&mut self, key: Key, error: &Problem, health: Health) -> Result<(), Halt> {
        let asking = self.open(key)?.call().is_some_and(|call| call.asking);
        if asking || self.repeatable(key)? {
            return self.missed(key, error, Came::Unknown, None, health);
        }
        if self.reconciles(key) {
            return self.emit_task(key, Change::Unknown { error: error.clone() });
        }
        if self.is_patient(key)? || self.is_detached(key) {
            return self.leave_to_person(key, error.clone());
        }
        self.fault_with(key, error.clone(), Some(Doubt::Silent))
    }

    /// Nothing was acted on: the call waits and is repeated, as long as there is patience.
    fn missed(
        &mut self,
        key: Key,
        error: &Problem,
        came: Came,
        retry_after: Option<i64>,
        health: Health,
    ) -> Result<(), Halt> {
        let (deadline, outcome) = (None, Some(came));
        let Some(call) = self.open(key)?.call().cloned() else { return Ok(()) };
        let Some(name) = call.service.clone() else {
            // our own doing (an event to store, a child to start): it succeeds in the end
            let at = self.now.plus(outage_delay(call.misses, self.random()));
            let (error, until) = (error.clone(), None);
            return self.emit_task(key, Change::Retried { error, at, deadline, outcome, until });
        };
        let service = self.ctx.service(&name);
        let since = call.missing_since.unwrap_or(self.now);
        let until = since.plus(self.patience(key, &service, outcome));
        let by_itself = fails_by_itself(&call, self.now.since(since), health);
        let to_be_known = self.has_to_be_known(key, outcome);
        if until <= self.now || (by_itself && !to_be_known) {
            if call.asking || (self.is_detached(key) && self.is_unknown(key)) {
                return self.leave_to_person(key, error.clone());
            }
            let doubt = (came == Came::Unknown).then_some(Doubt::Silent);
            return self.fault_with(key, error.clone(), doubt);
        }
        let backoff = outage_delay(call.misses, self.random());
        // a pause is waited for in the line where it is longer than that, and ends before patience does
        let pause = (self.now.plus(backoff), until);
        if let Some(wait) = self.ctx.holds_back(&name, self.state.priority, pause) {
            return self.park(key, &service, wait, outcome);
        }
        let delay = backoff.max(retry_after.unwrap_or(0));
        let at = self.now.plus(delay).min(until);
        let until = (!to_be_known).then_some(until);
        let error = error.clone();
        self.emit_task(key, Change::Retried { error, at, deadline, outcome, until })
    }

    /// The receiver was asked whether an attempt was done.
    fn reconcile(&mut self, key: Key, answer: &Data) -> Result<(), Halt> {
        let task = self.task(key.0);
        let Some(reconcile) = &task.metadata.reconcile else { return Ok(()) };
        let place = self.place(key)?;
        let judged = match self.evaluate(&reconcile.found, answer, &place) {
            Ok(found) if truthy(&found) => self.render(&reconcile.output, answer, &place).map(Some),
            Ok(_) => Ok(None),
            Err(trouble) => Err(trouble),
        };
        match judged {
            Ok(Some(output)) => {
                self.emit_task(key, Change::Reconciled { found: true })?;
                self.complete(key, Some(output), None)
            }
            Ok(None) => self.not_found(key),
            Err(Trouble::Halt(halt)) => Err(halt),
            Err(Trouble::Problem(problem)) => self.leave_to_person(key, problem),
        }
    }

    /// "Not found" is believed only once an attempt under way would have arrived.
    fn not_found(&mut self, key: Key) -> Result<(), Halt> {
        let Some(entry) = self.state.ledger.get(key).cloned() else {
            return self.emit_task(key, Change::Reconciled { found: false });
        };
        if entry.is_done() {
            let detail = "the call was answered, but its receiver does not know it";
            return self.leave_to_person(key, Problem::new(Standard::Communication, detail));
        }
        // an attempt of somebody who is gone may have left us until we took over
        let attempted = entry.attempted_at.max(self.taken_over);
        let timeout = entry.service.clone().map_or(0, |name| self.ctx.service(&name).timeout);
        let certain = match entry.knowledge {
            Knowledge::Unknown(Doubt::Answered) => self.now,
            Knowledge::Unknown(Doubt::Silent) | Knowledge::NotDone | Knowledge::Done(_) => {
                attempted.plus(SEND_WITHIN + timeout + MARGIN)
            }
        };
        if certain > self.now {
            let detail = "the attempt may still arrive; it is asked for again then";
            let wait = Wait {
                kind: WaitKind::Timer,
                on: self.open(key)?.call().and_then(|call| call.service.clone()),
                until: Some(certain),
                detail: Some(detail.into()),
            };
            let change = Change::Waiting { entry: None, wait, outcome: None };
            return self.emit_task(key, change);
        }
        if self.is_detached(key) {
            return self.emit_task(key, Change::dropped());
        }
        self.emit_task(key, Change::Reconciled { found: false })
    }

    /// Nobody but a person can say whether it was done.
    pub(super) fn leave_to_person(&mut self, key: Key, error: Problem) -> Result<(), Halt> {
        let error = error.at(&self.task(key.0).reference);
        if self.open(key)?.call().is_some_and(|call| !call.asking) && self.reconciles(key) {
            // asking would go first; here it cannot be asked any more
            self.emit_task(key, Change::Unknown { error: error.clone() })?;
        }
        self.emit_task(key, Change::Unknown { error })
    }

    pub(super) fn suspend_unknown(&mut self, key: Key) -> Result<(), Halt> {
        let notes = self.open(key)?.call().map(|call| call.notes.clone()).unwrap_or_default();
        let missing = || Problem::new(Standard::Communication, "no answer came");
        let error = notes.last().map_or_else(missing, |note| note.error.clone());
        let reason = "whether a call was done is not known".to_owned();
        self.emit(Event::Suspended { reason, error: Some(error), task: Some(key) })
    }

    /// Attempts that nobody has under way any more are lost: whether they were done is not known.
    pub(super) fn recover(&mut self) -> Result<(), Halt> {
        self.recover_notice()?;
        let mut lost = Vec::new();
        self.state.walk(&mut |activation| {
            let key = (activation.task, activation.iteration);
            if let Some(call) = activation.call()
                && activation.failed.is_none()
            {
                lost.push((key, call.clone()));
            }
        });
        for (key, call) in lost {
            match call.stage {
                Stage::InFlight { .. } if !self.ctx.has_under_way(key.0, key.1, call.attempt) => {
                    self.lost(key, &call)?;
                }
                Stage::Preparing { .. }
                    if !self.ctx.has_under_way(key.0, key.1, call.attempt + 1) =>
                {
                    match self.is_held() {
                        true => self.not_sent(key)?,
                        false => self.attempt(key)?,
                    }
                }
                Stage::Child { case, .. } if self.is_detached(key) => {
                    self.cancel_child(key, case);
                }
                Stage::InFlight { .. }
                | Stage::Preparing { .. }
                | Stage::Ready
                | Stage::Parked { .. }
                | Stage::Pausing { .. }
                | Stage::Child { .. }
                | Stage::Person { .. }
                // who keeps the clocks of leases has it
                | Stage::Queued { .. }
                | Stage::Leased { .. } => {}
            }
        }
        Ok(())
    }

    fn lost(&mut self, key: Key, call: &Call) -> Result<(), Halt> {
        let detail = "the process ended while the attempt was under way";
        let error = Problem::new(Standard::Communication, detail);
        if call.asking || self.repeatable(key)? {
            let at = self.now;
            let (deadline, outcome, until) = (None, Some(Came::Unknown), None);
            return self.emit_task(key, Change::Retried { error, at, deadline, outcome, until });
        }
        self.doubt(key, &error, Health::default())
    }

    fn reconciles(&self, key: Key) -> bool {
        self.task(key.0).metadata.reconcile.is_some()
    }
}

/// One poisoned case must not hold a service down for all: it fails again and again, while nearly
/// all others are answered.
fn fails_by_itself(call: &Call, over: i64, health: Health) -> bool {
    call.misses + 1 >= OWN_FAILURES && over >= OWN_FAILURES_OVER && health.others_answered
}
