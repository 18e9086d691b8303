//! The gate of a service: every call asks here first, and reports here how it went.
//!
//! A permit under a closed breaker is a few comparisons. Whoever gets none joins the line, and is
//! admitted by name later: a place is kept for it, so that nobody overtakes.

use std::collections::HashMap;
use std::sync::Arc;

use super::bucket::Bucket;
use super::circuit::{Cause, Circuit, Outage, Probing, Transition};
use super::line::{IndexRead, QueueEntry, WaitQueue};
use super::pause::Pause;
use super::permit::{Act, Denied, Reply};
use super::ramp::Ramp;
use super::settings::Settings;
use super::window::Window;
use crate::domain::call::http::RETRY_AFTER_MAX;
use crate::domain::ids::CaseId;
use crate::domain::time::Timestamp;

/// Milliseconds that a place is kept for an admitted case.
const KEPT_FOR: i64 = 30_000;

/// Milliseconds within which a case is not admitted again because the index still shows it.
pub(super) const ADMITTED_LATELY: i64 = 5000;

/// Milliseconds to pause for after a 429 without `Retry-After`.
const PAUSE: i64 = 1000;

/// Why nothing goes out after a 429.
const PAUSED: &str = "it asked for a pause";

/// A gate.
#[derive(Debug)]
pub struct Gate {
    settings: Settings,
    circuit: Circuit,
    window: Window,
    ramp: Option<Ramp>,
    bucket: Option<Bucket>,
    pause: Pause,
    in_flight: u32,
    line: WaitQueue,
    /// Places kept for admitted cases, each counted as a call in flight.
    kept: HashMap<CaseId, Timestamp>,
    admitted: HashMap<CaseId, Timestamp>,
    /// The last call that met an outage, until one is answered.
    last_failure: Option<Cause>,
}

impl Gate {
    /// A gate with its breaker in this state.
    pub fn new(settings: Settings, circuit: Circuit) -> Self {
        let bucket = settings.rate.map(Bucket::new);
        Self {
            settings,
            circuit,
            window: Window::default(),
            ramp: None,
            bucket,
            pause: Pause::default(),
            in_flight: 0,
            line: WaitQueue::default(),
            kept: HashMap::new(),
            admitted: HashMap::new(),
            last_failure: None,
        }
    }

    /// It had asked for a pause before the process began.
    pub fn pauses_still(&mut self, until: Timestamp) {
        self.pause = Pause::noted(until);
    }

    /// Asks for a permit. Who is refused has joined the line.
    pub fn ask(&mut self, ticket: QueueEntry, now: Timestamp) -> Result<(), Denied> {
        if self.kept.remove(&ticket.case).is_some() {
            let probe = Some(Probing::Case(ticket.case));
            match &self.circuit {
                Circuit::Closed => return Ok(()),
                Circuit::HalfOpen { probe: at, .. } if *at == probe => return Ok(()),
                Circuit::HalfOpen { .. } | Circuit::Open(_) | Circuit::Isolated { .. } => {}
            }
            // it was kept before the service was held, or failed
            self.give_back(ticket.case);
        }
        let answer = self.answer(ticket.case, now);
        match answer {
            Ok(()) => {
                self.line.leave(ticket.case);
                self.in_flight += 1;
            }
            Err(_) => self.waits_again(ticket),
        }
        answer
    }

    /// A case waits, also one that was admitted a moment ago and has another call to make.
    fn waits_again(&mut self, ticket: QueueEntry) {
        self.admitted.remove(&ticket.case);
        self.line.join(ticket);
    }

    fn answer(&mut self, case: CaseId, now: Timestamp) -> Result<(), Denied> {
        match &mut self.circuit {
            Circuit::Closed => {}
            Circuit::Open(outage) => return Err(Denied::Outage(outage.detail())),
            Circuit::HalfOpen { outage, probe } => {
                let others = !self.line.is_empty();
                let again = outage.last == Some(case) && others;
                let full = self.in_flight >= self.settings.max_concurrent;
                let full = full || self.pause.until(now).is_some();
                if probe.is_some() || again || full || self.settings.probe.is_some() {
                    return Err(Denied::Outage(outage.detail()));
                }
                *probe = Some(Probing::Case(case));
                return Ok(());
            }
            Circuit::Isolated { reason, .. } => return Err(Denied::Operator(reason.clone())),
        }
        if !self.line.is_empty() {
            return Err(Denied::Full("others came first"));
        }
        self.room(now)
    }

    /// Whether another call may go out under a closed breaker.
    fn room(&mut self, now: Timestamp) -> Result<(), Denied> {
        if self.in_flight >= self.limit() {
            return Err(Denied::Full("too many calls are under way"));
        }
        if self.pause.until(now).is_some() {
            return Err(Denied::Full(PAUSED));
        }
        match &mut self.bucket {
            Some(bucket) => bucket.take(now).map_err(|_| Denied::Full("its rate is used up")),
            None => Ok(()),
        }
    }

    fn limit(&self) -> u32 {
        let max = self.settings.max_concurrent;
        self.ramp.as_ref().map_or(max, |ramp| ramp.limit().min(max))
    }

    /// Why calls are held back altogether, if they are; then the case has joined the line.
    /// A pause counts where it ends between these instants.
    pub fn holds_back(
        &mut self,
        ticket: QueueEntry,
        (from, to): (Timestamp, Timestamp),
    ) -> Option<Denied> {
        let held = match &self.circuit {
            Circuit::Closed => {
                let until = self.pause.until(from.plus(-1));
                until.filter(|until| *until < to).map(|_| Denied::Full(PAUSED))
            }
            Circuit::Open(outage) | Circuit::HalfOpen { outage, .. } => {
                Some(Denied::Outage(outage.detail()))
            }
            Circuit::Isolated { reason, .. } => Some(Denied::Operator(reason.clone())),
        };
        if held.is_some() {
            self.waits_again(ticket);
        }
        held
    }

    /// A call with a permit has ended.
    pub fn settle(&mut self, case: CaseId, reply: &Reply, now: Timestamp) -> Option<Transition> {
        self.in_flight = self.in_flight.saturating_sub(1);
        match reply {
            Reply::Answered => {
                self.last_failure = None;
                self.window.note(now, case, true, &self.settings.breaker);
                if let Some(bucket) = &mut self.bucket {
                    bucket.recover();
                }
            }
            Reply::Outage { status, detail } => {
                let (status, detail) = (*status, detail.clone());
                self.last_failure = Some(Cause { at: now, status, detail });
                self.window.note(now, case, false, &self.settings.breaker);
            }
            Reply::Throttled(after) => self.throttled(*after, now),
            Reply::NotSent => {}
        }
        self.judge(Probing::Case(case), reply, now)
    }

    /// The configured probe has ended.
    pub fn health(&mut self, reply: &Reply, now: Timestamp) -> Option<Transition> {
        self.judge(Probing::Health, reply, now)
    }

    fn throttled(&mut self, after: Option<i64>, now: Timestamp) {
        let pause = after.unwrap_or(PAUSE).clamp(0, RETRY_AFTER_MAX);
        self.pause.asked(now.plus(pause));
        match (&mut self.bucket, &mut self.ramp) {
            (Some(bucket), _) => bucket.cut(),
            (None, Some(ramp)) => ramp.failed(),
            (None, None) => {
                let ramp = Ramp::from_half(self.in_flight, self.settings.max_concurrent);
                self.ramp = Some(ramp);
            }
        }
    }

    fn judge(&mut self, by: Probing, reply: &Reply, now: Timestamp) -> Option<Transition> {
        match (&mut self.circuit, reply) {
            (Circuit::HalfOpen { outage, probe }, _) if *probe == Some(by) => {
                *probe = None;
                match reply {
                    Reply::NotSent => None,
                    Reply::Outage { status, detail } => {
                        let cause = Cause { at: now, status: *status, detail: detail.clone() };
                        let outage = outage.clone().again(now, cause, by, &self.settings.breaker);
                        self.circuit = Circuit::Open(outage);
                        None
                    }
                    Reply::Answered | Reply::Throttled(_) => {
                        self.circuit = Circuit::Closed;
                        self.window.clear(now);
                        self.ramp = Some(Ramp::from_one(self.settings.max_concurrent));
                        Some(Transition::Closed)
                    }
                }
            }
            (Circuit::Closed, Reply::Answered) => {
                if self.ramp.as_mut().is_some_and(Ramp::answered) {
                    self.ramp = None;
                }
                None
            }
            (Circuit::Closed, Reply::Outage { status, detail }) => {
                if let Some(ramp) = &mut self.ramp {
                    ramp.failed();
                }
                let trip = &self.settings.breaker;
                if !self.settings.known || !self.window.tripped(now, trip) {
                    return None;
                }
                let cause = Cause { at: now, status: *status, detail: detail.clone() };
                self.circuit = Circuit::Open(Outage::begins(now, Some(cause.clone()), trip));
                self.ramp = None;
                Some(Transition::Opened { cause })
            }
            _ => None,
        }
    }

    /// A permit that was not used, or a place that was not taken.
    pub fn give_back(&mut self, case: CaseId) {
        self.in_flight = self.in_flight.saturating_sub(1);
        if let Circuit::HalfOpen { probe, .. } = &mut self.circuit
            && *probe == Some(Probing::Case(case))
        {
            *probe = None;
        }
    }

    /// A case was told that its place is free, and did not take it.
    pub fn decline(&mut self, case: CaseId) {
        if self.kept.remove(&case).is_some() {
            self.give_back(case);
        }
    }

    /// A case could not be asked whether it takes its place. Its turn comes again once the index shows it
    /// long enough after that.
    pub fn put_off(&mut self, case: CaseId) {
        self.decline(case);
        self.line.expect_more();
    }

    /// A case could not be told that its place is free. Its turn comes again.
    pub fn put_back(&mut self, case: CaseId) {
        self.admitted.remove(&case);
        self.put_off(case);
    }

    /// What is to be done now: the line moves on, probes go out, isolations end.
    pub fn due(&mut self, now: Timestamp) -> Vec<Act> {
        let mut acts = Vec::new();
        let overdue = |at: &Timestamp| now.since(*at) > KEPT_FOR;
        let late: Vec<CaseId> =
            self.kept.iter().filter(|(_, at)| overdue(at)).map(|(case, _)| *case).collect();
        // whoever was told and never came may not have been reached
        late.into_iter().for_each(|case| self.put_back(case));
        self.admitted.retain(|_, at| now.since(*at) < ADMITTED_LATELY);
        if let Circuit::Isolated { until, .. } = &self.circuit
            && *until <= now
        {
            acts.extend(self.release(now).map(Act::Note));
        }
        if let Circuit::Open(outage) = &self.circuit
            && outage.next_probe_at <= now
        {
            self.circuit = Circuit::HalfOpen { outage: outage.clone(), probe: None };
        }
        if self.has_to_note(now) {
            acts.push(Act::Note(self.pause.note()));
        }
        match &mut self.circuit {
            // nor is it asked before the time that it has said
            Circuit::HalfOpen { probe: None, .. } if self.pause.until(now).is_some() => {}
            Circuit::HalfOpen { outage, probe: probe @ None } => {
                if self.settings.probe.is_some() {
                    *probe = Some(Probing::Health);
                    acts.push(Act::AskHealth);
                } else if self.in_flight < self.settings.max_concurrent
                    && let Some(case) = self.line.take(outage.last)
                {
                    *probe = Some(Probing::Case(case));
                    acts.push(self.admit(case, now));
                }
            }
            Circuit::Closed => {
                while !self.line.is_empty() && !self.line.wants_more() && self.room(now).is_ok() {
                    let Some(case) = self.line.take(None) else { break };
                    acts.push(self.admit(case, now));
                }
            }
            Circuit::Open(_) | Circuit::HalfOpen { .. } | Circuit::Isolated { .. } => {}
        }
        acts
    }

    /// Whether the journal has to hear of a pause, so that a restart heeds it.
    pub fn has_to_note(&self, now: Timestamp) -> bool {
        let known = matches!(self.circuit, Circuit::Closed) && self.settings.known;
        known && self.pause.has_to_be_noted(now)
    }

    fn admit(&mut self, case: CaseId, now: Timestamp) -> Act {
        // one place is enough for a case that has not come for it yet
        if self.kept.insert(case, now).is_none() {
            self.in_flight += 1;
        }
        self.admitted.insert(case, now);
        Act::Admit(case)
    }

    /// When [`Gate::due`] has to be asked again at the latest; none: when something happens.
    pub fn next_due(&self, now: Timestamp) -> Option<Timestamp> {
        let circuit = match &self.circuit {
            Circuit::Open(outage) => Some(outage.next_probe_at),
            Circuit::Isolated { until, .. } => Some(*until),
            Circuit::Closed | Circuit::HalfOpen { .. } => None,
        };
        let kept = self.kept.values().min().map(|at| at.plus(KEPT_FOR + 1));
        // a line that could move now waits for tokens or for the end of a pause: look again soon
        let line = match &self.circuit {
            Circuit::Closed if self.in_flight < self.limit() => {
                Some(self.pause.until(now).unwrap_or(now).max(now.plus(10)))
            }
            Circuit::Closed | Circuit::HalfOpen { probe: None, .. } => {
                Some(self.pause.until(now).unwrap_or(now).max(now.plus(1000)))
            }
            Circuit::HalfOpen { .. } | Circuit::Open(_) | Circuit::Isolated { .. } => None,
        };
        let line = line.filter(|_| !self.line.is_empty());
        [circuit, kept, line].into_iter().flatten().min()
    }

    /// The index shows that a case waits. One that is not known here was left to the index before it
    /// was in there, and the index has to be read again.
    pub fn shown(&mut self, case: CaseId) {
        if !self.kept.contains_key(&case) && !self.line.contains(case) {
            self.line.expect_more();
        }
    }

    /// Whether the index has to be read to know who comes next.
    pub fn wants_line(&self) -> bool {
        let could_admit = match &self.circuit {
            Circuit::Closed => self.in_flight < self.limit(),
            Circuit::HalfOpen { probe, .. } => probe.is_none(),
            Circuit::Open(_) | Circuit::Isolated { .. } => false,
        };
        could_admit && self.line.wants_more()
    }

    /// There may be others who wait, known only to the index.
    pub fn expect_line(&mut self) {
        self.line.expect_more();
    }

    /// The index is about to be read.
    pub fn reads_line(&self) -> IndexRead {
        self.line.reads()
    }

    /// Who waits, as the index has it, in order. Whoever was left to it while it was read may be missing.
    pub fn line_up(&mut self, read: IndexRead, tickets: Vec<QueueEntry>, complete: bool) {
        // whoever has a place is on the way to it, however long that takes
        let tickets = tickets.into_iter().filter(|t| !self.kept.contains_key(&t.case));
        // the index may still show who was let in; whoever has come back since then counts
        let admitted = &self.admitted;
        let waits = |t: &QueueEntry| admitted.get(&t.case).is_none_or(|at| t.since > *at);
        let (fresh, stale): (Vec<_>, Vec<_>) = tickets.partition(waits);
        // a stale one may be a new one by the time that it is read again
        self.line.refill(read, fresh, complete && stale.is_empty());
    }

    /// An operator holds the service until then.
    pub fn isolate(&mut self, reason: Arc<str>, until: Timestamp, now: Timestamp) -> Transition {
        self.ramp = None;
        self.circuit = Circuit::Isolated { since: now, reason: reason.clone(), until };
        Transition::Isolated { reason, until }
    }

    /// Ends an isolation; none: there is none.
    pub fn release(&mut self, now: Timestamp) -> Option<Transition> {
        if !matches!(self.circuit, Circuit::Isolated { .. }) {
            return None;
        }
        let circuit = std::mem::take(&mut self.circuit);
        self.circuit = circuit.after(&Transition::Released, now, &self.settings.breaker);
        Some(Transition::Released)
    }

    /// An open breaker tries again at once, and a pause that the service asked for ends, which is to be noted.
    /// False: there is neither.
    pub fn probe_now(&mut self, now: Timestamp) -> (bool, Option<Transition>) {
        if let Circuit::Isolated { .. } = self.circuit {
            return (false, None);
        }
        let paused = self.pause.end(now);
        if let Circuit::Open(outage) = &mut self.circuit {
            outage.next_probe_at = now;
        }
        let closed = matches!(self.circuit, Circuit::Closed);
        let ended = (paused && closed).then_some(Transition::Paused { until: now });
        (paused || !closed, ended)
    }

    /// Until when the service asked for a pause, if that is to come.
    pub fn paused_until(&self, now: Timestamp) -> Option<Timestamp> {
        self.pause.until(now)
    }

    /// Whether other cases' calls are answered, so that this one's failures are its own.
    pub fn others_answered(&self, case: CaseId) -> bool {
        self.window.others_answered(case)
    }

    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    pub fn circuit(&self) -> &Circuit {
        &self.circuit
    }

    /// The last call that met an outage, if none was answered since.
    pub fn last_failure(&self) -> Option<&Cause> {
        self.last_failure.as_ref()
    }

    pub fn in_flight(&self) -> u32 {
        self.in_flight
    }

    /// The ramp's limit while there is a ramp.
    pub fn ramp_limit(&self) -> Option<u32> {
        self.ramp.as_ref().map(|ramp| ramp.limit().min(self.settings.max_concurrent))
    }

    /// Somebody waits.
    pub fn has_line(&self) -> bool {
        !self.line.is_empty()
    }

    /// Nothing is under way, and nobody waits.
    pub fn is_idle(&self) -> bool {
        let held = matches!(self.circuit, Circuit::Isolated { .. });
        self.in_flight == 0 && self.line.is_empty() && !held
    }
}
