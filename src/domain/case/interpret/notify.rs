//! Notices: begun when they are owed, beside whatever the flow does.

use std::sync::Arc;

use super::settle::AGAIN;
use super::{Halt, Interpreter};
use crate::domain::case::command::Outcome;
use crate::domain::case::decision_context::PermitAnswer;
use crate::domain::case::effect::{Ask, Effect};
use crate::domain::case::event::{Event, Wait, WaitKind};
use crate::domain::case::notices::{self, NoticeEvent, Stage};
use crate::domain::case::problem::{Problem, Standard};
use crate::domain::retry::outage_delay;
use crate::domain::time::Timestamp;

/// The service that mails go to.
const SERVICE: &str = "mail";

/// Attempts in a row of which nobody knows what became of them, after which a notice is given up. Each
/// sends the same Message-ID.
const DOUBTS_MAX: u32 = 20;

/// Milliseconds before such a one is sent again: at first, and at the most.
const DOUBT_FIRST: i64 = 30_000;
const DOUBT_MAX: i64 = 4 * 60 * 60 * 1000;

impl Interpreter<'_> {
    fn notice_event(&mut self, event: NoticeEvent) -> Result<(), Halt> {
        self.emit(Event::Notice(event))
    }

    /// Begins the notice that is owed, or says what it waits for.
    pub(super) fn notify(&mut self) -> Result<(), Halt> {
        let Some(notice) = notices::owed(&self.state, self.now) else { return Ok(()) };
        let service = self.ctx.service(SERVICE);
        if let PermitAnswer::Wait(wait) = self.ctx.permit(&service) {
            return self.notices_wait(Wait { on: Some(service.name), ..wait });
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
    fn notices_wait(&mut self, wait: Wait) -> Result<(), Halt> {
        if let Stage::Waiting { wait: known, .. } = &self.state.desk.stage
            && (known.kind, &known.on, known.until) == (wait.kind, &wait.on, wait.until)
            && wait.until.is_none_or(|until| until > self.now)
        {
            return Ok(());
        }
        self.notice_event(NoticeEvent::PutOff { wait, doubt: false, error: None })
    }

    /// Notices that stand in line, behind this service or any, ask for their permit again.
    pub(super) fn admit_notices(&mut self, service: Option<&Arc<str>>) -> Result<(), Halt> {
        let parked = notices::parked(&self.state).map(|(parked, _)| parked);
        match parked.is_some_and(|parked| service.is_none_or(|service| service == parked)) {
            true => self.notify(),
            false => Ok(()),
        }
    }

    /// What became of a notice.
    pub(super) fn notice_came(&mut self, attempt: u32, outcome: &Outcome) -> Result<(), Halt> {
        let desk = self.state.desk.clone();
        if !desk.is_sending() || desk.attempts != attempt {
            return Ok(());
        }
        let (error, doubt) = match outcome {
            Outcome::Done(_) => return self.notice_event(NoticeEvent::Sent),
            Outcome::Failed { error, .. } | Outcome::Unusable { error } => {
                let error = error.clone();
                return self.notice_event(NoticeEvent::Failed { error });
            }
            Outcome::Unknown { error, .. } if desk.doubts >= DOUBTS_MAX => {
                let error = error.clone();
                return self.notice_event(NoticeEvent::Failed { error });
            }
            Outcome::NotSent => {
                let until = self.now.plus(AGAIN);
                let wait = pause(until);
                return self.notice_event(NoticeEvent::PutOff { wait, doubt: false, error: None });
            }
            Outcome::NotDone { error, .. } => (error.clone(), false),
            Outcome::Unknown { error, .. } => (error.clone(), true),
            Outcome::Fetched(_) => return Ok(()),
        };
        // whoever gets it twice should not get it every minute
        let delay = match doubt {
            true => (DOUBT_FIRST << desk.doubts.min(20)).min(DOUBT_MAX),
            false => outage_delay(desk.misses, self.random()),
        };
        let until = self.now.plus(delay);
        let wait = match self.ctx.holds_back(SERVICE, (until, Timestamp::MAX)) {
            Some(wait) => Wait { on: Some(SERVICE.into()), until: None, ..wait },
            None => pause(until),
        };
        self.notice_event(NoticeEvent::PutOff { wait, doubt, error: Some(error) })
    }

    /// The process that had a notice under way is gone: it may have arrived, and is sent once more under
    /// the same Message-ID.
    pub(super) fn recover_notice(&mut self) -> Result<(), Halt> {
        let ((task, iteration), attempt) = (notices::KEY, self.state.desk.attempts);
        if !self.state.desk.is_sending() || self.ctx.has_under_way(task, iteration, attempt) {
            return Ok(());
        }
        let detail = "the process ended while the mail was under way";
        let error = Some(Problem::new(Standard::Communication, detail));
        let wait = pause(self.now);
        self.notice_event(NoticeEvent::PutOff { wait, doubt: true, error })
    }
}

fn pause(until: Timestamp) -> Wait {
    Wait { kind: WaitKind::Timer, on: None, until: Some(until), detail: None }
}
