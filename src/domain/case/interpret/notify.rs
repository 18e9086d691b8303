//! Notices: begun when they are owed, beside whatever the flow does.

use std::sync::Arc;

use super::settle::AGAIN;
use super::{Halt, Interpreter};
use crate::domain::case::command::Outcome;
use crate::domain::case::decision_context::PermitAnswer;
use crate::domain::case::effect::{Ask, Effect, MAIL};
use crate::domain::case::event::{Event, Wait, WaitKind};
use crate::domain::case::notices::{self, Came, Delay, NoticeEvent, Stage};
use crate::domain::case::problem::{Problem, Standard};
use crate::domain::retry::outage_delay;
use crate::domain::time::Timestamp;

const HOUR: i64 = 60 * 60 * 1000;

/// Milliseconds before a mail that may have arrived, or that the mail server takes nothing of for its reader,
/// is sent again. A mail server that takes nothing of anybody opens the breaker meanwhile; one reader cannot.
const AGAIN_FIRST: i64 = 30_000;

/// The same at the most, and how often it is sent before it is given up: some two days. Whoever may get it
/// twice should not get it every hour.
const PUT_OFF: (i64, u32) = (HOUR, 48);
const IN_DOUBT: (i64, u32) = (4 * HOUR, 20);

/// Milliseconds before a mail that was refused is tried once more: whoever set the mail server up wrongly may
/// mend it.
const REFUSED: [i64; 3] = [HOUR, 6 * HOUR, 24 * HOUR];

/// Milliseconds before it is looked whether there is a mail server by now: at first, and at the most.
const NO_SERVER: (i64, i64) = (HOUR, 24 * HOUR);

impl Interpreter<'_> {
    fn notice_event(&mut self, event: NoticeEvent) -> Result<(), Halt> {
        self.emit(Event::Notice(event))
    }

    /// Begins the notice that is owed, or says what it waits for.
    pub(super) fn notify(&mut self) -> Result<(), Halt> {
        let Some(notice) = notices::owed(&self.state, self.now) else {
            return match self.state.desk.stage {
                Stage::Parked { .. } => self.notice_event(NoticeEvent::Unparked),
                Stage::Idle | Stage::Sending { .. } => Ok(()),
            };
        };
        if !self.ctx.sends_mail() {
            let detail = Some("no mail server is configured".into());
            let lasts = match &self.state.desk.stage {
                Stage::Parked { since, .. } => self.now.since(*since),
                Stage::Idle | Stage::Sending { .. } => 0,
            };
            let until = Some(self.now.plus(lasts.clamp(NO_SERVER.0, NO_SERVER.1)));
            let wait = Wait { kind: WaitKind::Timer, on: None, until, detail };
            return self.notice_event(NoticeEvent::Parked { wait });
        }
        let service = self.ctx.service(MAIL);
        if let PermitAnswer::Wait(wait) = self.ctx.permit(&service, self.state.priority) {
            return self.park_notices(Wait { on: Some(service.name), ..wait });
        }
        let attempt = self.state.desk.attempts + 1;
        let (task, iteration) = notices::KEY;
        let key = notice.key(self.state.id);
        let service = Some(service.name);
        let ask = Ask::Notice(Box::new(notice.clone()));
        self.notice_event(NoticeEvent::Begun { attempt, notice: Box::new(notice) })?;
        let case = self.state.id;
        self.effects.push(Effect { case, task, iteration, attempt, key, service, ask });
        Ok(())
    }

    /// Notices stand in line. A wait that is known already says nothing new.
    fn park_notices(&mut self, wait: Wait) -> Result<(), Halt> {
        if let Stage::Parked { wait: known, .. } = &self.state.desk.stage
            && (known.kind, &known.on, known.until) == (wait.kind, &wait.on, wait.until)
            && wait.until.is_none_or(|until| until > self.now)
        {
            return Ok(());
        }
        self.notice_event(NoticeEvent::Parked { wait })
    }

    /// Notices that stand in line, behind this service or any, ask for their permit again.
    pub(super) fn admit_notices(&mut self, service: Option<&Arc<str>>) -> Result<(), Halt> {
        let Stage::Parked { wait, .. } = &self.state.desk.stage else { return Ok(()) };
        let asks = service.is_none_or(|service| wait.on.as_ref() == Some(service));
        let held = notices::is_held(&self.state) && notices::owed(&self.state, self.now).is_some();
        match asks && wait.kind != WaitKind::Timer && !held {
            true => self.notify(),
            false => Ok(()),
        }
    }

    /// What became of a notice.
    pub(super) fn notice_came(&mut self, attempt: u32, outcome: &Outcome) -> Result<(), Halt> {
        let desk = &self.state.desk;
        let Stage::Sending { notice, .. } = &desk.stage else { return Ok(()) };
        if desk.attempts != attempt {
            return Ok(());
        }
        let plan = self.state.plans.iter().find(|plan| plan.id == notice.plan);
        let known = plan.and_then(|plan| desk.delay_of(plan, &notice.reader.who()));
        let count = |of: fn(&Delay) -> u32| known.map_or(0, of);
        let (came, error, times) = match outcome {
            Outcome::Done(_) => return self.notice_event(NoticeEvent::Sent),
            Outcome::NotSent => (Came::NotSent, None, 0),
            // what cannot be written at all is no better the next time
            Outcome::Failed { error, .. } | Outcome::Unusable { error } if error.is_of_ours() => {
                let error = error.clone();
                return self.notice_event(NoticeEvent::Failed { error });
            }
            Outcome::Failed { error, .. } | Outcome::Unusable { error } => {
                (Came::Refused, Some(error.clone()), count(|delay| delay.refusals))
            }
            Outcome::NotDone { error, .. } if is_of_the_reader(error) => {
                (Came::PutOff, Some(error.clone()), count(|delay| delay.put_off))
            }
            Outcome::NotDone { error, .. } => {
                (Came::NotDone, Some(error.clone()), count(|delay| delay.misses))
            }
            Outcome::Unknown { error, .. } => {
                (Came::Unknown, Some(error.clone()), count(|delay| delay.doubts))
            }
            Outcome::Fetched(_) => return Ok(()),
        };
        let delay = match came {
            Came::NotSent => Some(AGAIN),
            // as long as it takes: the breaker opens, and it stands in line
            Came::NotDone => Some(outage_delay(times, self.random())),
            Came::Refused => REFUSED.get(times as usize).copied(),
            Came::PutOff => again(PUT_OFF, times),
            Came::Unknown => again(IN_DOUBT, times),
        };
        match (delay, error) {
            (Some(delay), error) => {
                let until = self.now.plus(delay);
                self.notice_event(NoticeEvent::Delayed { until, came, error })
            }
            (None, Some(error)) => self.notice_event(NoticeEvent::Failed { error }),
            (None, None) => Ok(()),
        }
    }

    /// The process that had a notice under way is gone: it may have arrived, and is sent once more under
    /// the same Message-ID.
    pub(super) fn recover_notice(&mut self) -> Result<(), Halt> {
        let ((task, iteration), attempt) = (notices::KEY, self.state.desk.attempts);
        if !self.state.desk.is_sending() || self.ctx.has_under_way(task, iteration, attempt) {
            return Ok(());
        }
        let detail = "the process ended while the mail was under way";
        let error = Problem::new(Standard::Communication, detail);
        let Stage::Sending { notice, .. } = &self.state.desk.stage else { return Ok(()) };
        let plan = self.state.plans.iter().find(|plan| plan.id == notice.plan);
        let known = plan.and_then(|plan| self.state.desk.delay_of(plan, &notice.reader.who()));
        let doubts = known.map_or(0, |delay| delay.doubts);
        // a process that ends at each mail does not send it at each start
        let delay = if doubts == 0 { Some(0) } else { again(IN_DOUBT, doubts) };
        let Some(delay) = delay else { return self.notice_event(NoticeEvent::Failed { error }) };
        let (until, came): (Timestamp, _) = (self.now.plus(delay), Came::Unknown);
        self.notice_event(NoticeEvent::Delayed { until, came, error: Some(error) })
    }
}

/// Milliseconds until the next try, if there is one.
fn again((most, tries): (i64, u32), times: u32) -> Option<i64> {
    (times < tries).then(|| (AGAIN_FIRST << times.min(20)).min(most))
}

/// Whether the mail server is there, and takes nothing for this reader alone: it says so by a code of its own.
fn is_of_the_reader(error: &Problem) -> bool {
    (430..500).contains(&error.status)
}
