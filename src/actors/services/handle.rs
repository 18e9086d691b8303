//! The handle of one service: permits are taken here without a message; its breaker's actor hears only
//! that there is something to do.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ractor::ActorRef;

use super::message::BreakerMsg;
use crate::clock::Clock;
use crate::domain::case::event::{Wait, WaitKind};
use crate::domain::ids::CaseId;
use crate::domain::service::circuit::{Circuit, Standing, Transition};
use crate::domain::service::gate::Gate;
use crate::domain::service::line::QueueEntry;
use crate::domain::service::permit::{Denied, Reply};
use crate::domain::service::settings::Settings;
use crate::domain::time::Timestamp;

/// One service.
pub struct ServiceHandle {
    pub settings: Settings,
    clock: Clock,
    closed: Arc<AtomicBool>,
    gate: Mutex<Gate>,
    /// Transitions that are not in the journal yet.
    moved: Mutex<Vec<(Transition, Timestamp)>>,
    breaker: Mutex<Option<ActorRef<BreakerMsg>>>,
    poked: AtomicBool,
}

/// A permit to make one call; given back when it is dropped without having been used.
pub struct CallPermit {
    served: Arc<ServiceHandle>,
    case: CaseId,
    settled: bool,
}

impl ServiceHandle {
    /// A service behind a gate that is in this state; `waits`: cases wait from before.
    pub fn new(
        settings: Settings,
        standing: Standing,
        clock: Clock,
        closed: Arc<AtomicBool>,
        waits: bool,
    ) -> Self {
        let mut gate = Gate::new(settings.clone(), standing.circuit);
        gate.pauses_still(standing.paused_until);
        if waits {
            gate.expect_line();
        }
        Self {
            settings,
            clock,
            closed,
            gate: Mutex::new(gate),
            moved: Mutex::default(),
            breaker: Mutex::default(),
            poked: AtomicBool::new(false),
        }
    }

    /// The gate itself.
    pub fn gate(&self) -> MutexGuard<'_, Gate> {
        self.gate.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks for a permit.
    pub fn ask(self: &Arc<Self>, ticket: QueueEntry) -> Result<CallPermit, Denied> {
        if self.closed.load(Ordering::Relaxed) {
            return Err(Denied::Full("the process is ending"));
        }
        let asked = self.gate().ask(ticket, self.clock.now());
        match asked {
            Ok(()) => Ok(CallPermit { served: self.clone(), case: ticket.case, settled: false }),
            Err(held) => {
                self.poke();
                Err(held)
            }
        }
    }

    /// The views are complete, and show that cases wait.
    pub fn expect_line(&self) {
        self.gate().expect_line();
        self.poke();
    }

    /// The views show that a case waits.
    pub fn shown(&self, case: CaseId) {
        self.gate().shown(case);
        self.poke();
    }

    /// A case was told that its place is free, and has used it or not.
    pub fn decline(&self, case: CaseId) {
        self.gate().decline(case);
        self.poke();
    }

    /// A case could not be asked whether it takes its place: its turn comes again after a while.
    pub fn put_off(&self, case: CaseId) {
        self.gate().put_off(case);
        self.poke();
    }

    /// Who looks after this service from now on.
    pub fn attach(&self, breaker: ActorRef<BreakerMsg>) {
        *self.breaker.lock().unwrap_or_else(PoisonError::into_inner) = Some(breaker);
        self.poked.store(false, Ordering::Release);
    }

    /// The actor that looks after it.
    pub fn breaker(&self) -> Option<ActorRef<BreakerMsg>> {
        self.breaker.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Tells the breaker's actor that there may be something to do; once until it has looked.
    pub fn poke(&self) {
        if !self.poked.swap(true, Ordering::AcqRel)
            && let Some(breaker) = self.breaker()
        {
            // an error means that it is about to begin again, and looks then
            let _ = breaker.cast(BreakerMsg::Look);
        }
    }

    /// The breaker's actor looks now.
    pub fn looked(&self) {
        self.poked.store(false, Ordering::Release);
    }

    /// Transitions that are to be noted in the journal.
    pub fn take_moved(&self) -> Vec<(Transition, Timestamp)> {
        std::mem::take(&mut self.moved.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// A transition has happened, and is to be noted.
    pub fn moved(&self, transition: Transition, at: Timestamp) {
        self.moved.lock().unwrap_or_else(PoisonError::into_inner).push((transition, at));
    }

    /// Until when an operator holds it, or it has asked for a pause.
    pub fn held_until(&self) -> Option<Timestamp> {
        let gate = self.gate();
        match gate.circuit() {
            Circuit::Isolated { until, .. } => Some(*until),
            Circuit::Closed | Circuit::HalfOpen { .. } => gate.paused_until(self.clock.now()),
            Circuit::Open(_) => None,
        }
    }

    /// Why a call waits, as the case keeps it. When it may go on is not among it: it is let go when
    /// its turn comes.
    pub fn wait(&self, held: Denied) -> Wait {
        let on = Some(self.settings.name.clone());
        let (kind, detail) = match held {
            Denied::Outage(detail) => (WaitKind::Service, detail),
            Denied::Operator(reason) => (WaitKind::Operator, Some(reason)),
            Denied::Full(detail) => (WaitKind::Rate, Some(detail.into())),
        };
        Wait { kind, on, until: None, detail }
    }
}

impl CallPermit {
    /// The service.
    pub fn served(&self) -> &Arc<ServiceHandle> {
        &self.served
    }

    /// Whether the other cases' calls are answered.
    pub fn others_answered(&self) -> bool {
        self.served.gate().others_answered(self.case)
    }

    /// The call has ended.
    pub fn settle(mut self, reply: &Reply) {
        self.settled = true;
        let now = self.served.clock.now();
        let (transition, waits) = {
            let mut gate = self.served.gate();
            let transition = gate.settle(self.case, reply, now);
            (transition, gate.has_line() || gate.has_to_note(now))
        };
        if let Some(transition) = transition {
            self.served.moved(transition, now);
            self.served.poke();
        } else if waits {
            self.served.poke();
        }
    }
}

impl Drop for CallPermit {
    fn drop(&mut self) {
        if !self.settled {
            self.served.gate().give_back(self.case);
            self.served.poke();
        }
    }
}
