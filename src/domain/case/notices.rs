//! The notices of a case: the one that is under way, what became of those before, and when the next one is
//! owed. One leaves at a time, beside the flow.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::derive;
use super::event::{Wait, WaitKind};
use super::problem::Problem;
use super::state::State;
use crate::domain::ids::{BookingId, PlanId};
use crate::domain::staff::notice::told::{tell, untell};
use crate::domain::staff::notice::{Notice, Told, Who};
use crate::domain::staff::plan::Plan;
use crate::domain::time::{DAY, Timestamp};
use crate::domain::workflow::model::TaskId;

/// Under which task and iteration the attempts of notices go: no task has it.
pub const KEY: (TaskId, u32) = (TaskId(0), 0);

/// Milliseconds after which a failure before does not count any more.
const FORGOTTEN: i64 = 2 * DAY;

/// Failures that are remembered, to be shown.
const UNREACHED_KEPT: usize = 50;

/// Something that happened to the notices of a case. One is under way at a time.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum NoticeEvent {
    /// One is about to be sent.
    Begun { attempt: u32, notice: Box<Notice> },
    /// The mail server has taken it.
    Sent,
    /// It did not get through; its reader is told, of the state that is then, once this is over.
    Delayed {
        until: Timestamp,
        came: Came,
        #[serde(skip_serializing_if = "Option::is_none", default)]
        error: Option<Problem>,
    },
    /// Nobody is told anything before the mail server has room, or an instant has come.
    Parked { wait: Wait },
    /// Nothing is owed any more, or not yet: the place in the line is free.
    Unparked,
    /// It cannot be sent, and is not tried again.
    Failed { error: Problem },
}

/// What a mail came to that did not get through.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Came {
    /// Nothing left us.
    NotSent,
    /// There was no mail server.
    NotDone,
    /// The mail server takes nothing for this reader now.
    PutOff,
    /// It refuses it.
    Refused,
    /// It may have arrived.
    Unknown,
}

impl NoticeEvent {
    /// The word that users see.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Begun { .. } => "notice.begun",
            Self::Sent => "notice.sent",
            Self::Delayed { .. } => "notice.delayed",
            Self::Parked { .. } => "notice.parked",
            Self::Unparked => "notice.unparked",
            Self::Failed { .. } => "notice.failed",
        }
    }
}

/// The notices of a case: how many were tried, the one that is under way, and who could not be reached.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Desk {
    /// Attempts begun. A number never repeats.
    pub attempts: u32,
    pub stage: Stage,
    /// Readers who are left alone for a while: one of them holds back nobody else.
    pub delays: Vec<Delay>,
    /// Readers who could not be reached, until they are.
    pub unreached: Vec<Unreached>,
}

/// A reader whose last mail did not get through.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Delay {
    pub plan: PlanId,
    pub who: Who,
    /// Where it was sent to: nothing is known against another address.
    pub email: Arc<str>,
    pub until: Timestamp,
    pub error: Option<Problem>,
    /// How often in a row, by what it came to.
    pub misses: u32,
    pub put_off: u32,
    pub refusals: u32,
    pub doubts: u32,
}

/// A reader whose last mail was given up.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Unreached {
    pub plan: PlanId,
    pub who: Who,
    pub email: Arc<str>,
    pub error: Problem,
    pub at: Timestamp,
}

/// Where the desk stands.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub enum Stage {
    #[default]
    Idle,
    Sending {
        notice: Box<Notice>,
        /// What its reader was told before.
        before: Vec<(BookingId, Told)>,
    },
    /// Behind the mail server's breaker, or until an instant.
    Parked { wait: Wait, since: Timestamp },
}

/// What does not fit the state.
pub struct CorruptDesk(pub &'static str);

/// Folds an event of notices.
///
/// # Errors
/// When it does not fit.
pub fn evolve(
    desk: &mut Desk,
    plans: &mut [Plan],
    event: &NoticeEvent,
    at: Timestamp,
) -> Result<(), CorruptDesk> {
    match (event, std::mem::take(&mut desk.stage)) {
        (NoticeEvent::Begun { .. } | NoticeEvent::Parked { .. }, Stage::Sending { .. })
        | (NoticeEvent::Unparked, Stage::Sending { .. }) => {
            return Err(CorruptDesk("a notice is under way"));
        }
        (NoticeEvent::Begun { attempt, notice }, _) => {
            desk.attempts = *attempt;
            let before = tell(plans, notice, at);
            desk.stage = Stage::Sending { notice: notice.clone(), before };
        }
        (NoticeEvent::Parked { wait }, before) => {
            let since = match before {
                // it has its place in the line since then
                Stage::Parked { since, .. } => since,
                Stage::Idle | Stage::Sending { .. } => at,
            };
            desk.stage = Stage::Parked { wait: wait.clone(), since };
        }
        (NoticeEvent::Unparked, _) => {}
        (NoticeEvent::Sent, Stage::Sending { notice, .. }) => desk.reached(&notice),
        (NoticeEvent::Delayed { until, came, error }, Stage::Sending { notice, before }) => {
            untell(plans, &notice, before, *came == Came::Unknown);
            let delay = desk.delay(&notice, *came, at);
            (delay.until, delay.error) = (*until, error.clone());
        }
        (NoticeEvent::Failed { error }, Stage::Sending { notice, .. }) => {
            desk.reached(&notice);
            let (plan, who, error) = (notice.plan, notice.reader.who(), error.clone());
            desk.unreached.push(Unreached {
                plan,
                who,
                email: notice.reader.email().into(),
                error,
                at,
            });
            if desk.unreached.len() > UNREACHED_KEPT {
                desk.unreached.remove(0);
            }
        }
        (NoticeEvent::Sent | NoticeEvent::Delayed { .. } | NoticeEvent::Failed { .. }, _) => {
            return Err(CorruptDesk("a notice has ended that was not begun"));
        }
    }
    Ok(())
}

impl Desk {
    /// Nothing is known against its reader any more.
    fn reached(&mut self, notice: &Notice) {
        let who = notice.reader.who();
        self.delays.retain(|delay| (delay.plan, &delay.who) != (notice.plan, &who));
        self.unreached.retain(|one| (one.plan, &one.who) != (notice.plan, &who));
    }

    fn delay(&mut self, notice: &Notice, came: Came, at: Timestamp) -> &mut Delay {
        let (plan, who) = (notice.plan, notice.reader.who());
        let email: Arc<str> = notice.reader.email().into();
        let known = self.delays.iter().position(|known| (known.plan, &known.who) == (plan, &who));
        let known = known.map(|place| self.delays.remove(place));
        // what failed long ago, or at another address, says nothing any more
        let known = known.filter(|known| known.email == email && at.since(known.until) < FORGOTTEN);
        let mut delay = known.unwrap_or_else(|| {
            let (misses, put_off, refusals, doubts) = (0, 0, 0, 0);
            let (until, error) = (at, None);
            Delay { plan, who, email, until, error, misses, put_off, refusals, doubts }
        });
        match came {
            Came::NotSent => {}
            Came::NotDone => delay.misses += 1,
            Came::PutOff => delay.put_off += 1,
            Came::Refused => delay.refusals += 1,
            Came::Unknown => delay.doubts += 1,
        }
        self.delays.push(delay);
        self.delays.last_mut().expect("it was just put there")
    }

    /// What is known against a reader of a plan, at the address that they have now.
    pub fn delay_of(&self, plan: &Plan, who: &Who) -> Option<&Delay> {
        let email = plan.customer.as_ref().map(|customer| customer.email.as_str());
        let same = |delay: &&Delay| *who != Who::Customer || email == Some(&*delay.email);
        let of_reader = |delay: &&Delay| delay.plan == plan.id && delay.who == *who;
        self.delays.iter().filter(of_reader).find(same)
    }

    /// Whether one is under way.
    pub fn is_sending(&self) -> bool {
        matches!(self.stage, Stage::Sending { .. })
    }
}

/// Whether nobody is told anything now: a person holds the case, or has to act.
pub fn is_held(state: &State) -> bool {
    state.ended_at.is_none() && derive::holds(state) && state.unwinding.is_none()
}

/// When somebody is owed a notice, whether or not it can be begun.
fn owed_at(state: &State) -> Option<Timestamp> {
    let due = |plan: &Plan| {
        plan.notice_due(&|who| state.desk.delay_of(plan, who).map(|delay| delay.until))
    };
    state.plans.iter().filter_map(due).min()
}

/// The service that the case stands in line before for its notices, and since when.
pub fn parked(state: &State) -> Option<(&Arc<str>, Timestamp)> {
    match &state.desk.stage {
        Stage::Parked { wait, since } if wait.kind != WaitKind::Timer && !is_held(state) => {
            // whoever is owed nothing any more takes nobody's place
            owed_at(state)?;
            Some((wait.on.as_ref()?, *since))
        }
        Stage::Idle | Stage::Sending { .. } | Stage::Parked { .. } => None,
    }
}

/// When the next notice can be begun; an instant of the past means now.
pub fn next_due(state: &State) -> Option<Timestamp> {
    if is_held(state) {
        return None;
    }
    match &state.desk.stage {
        Stage::Idle => owed_at(state),
        Stage::Sending { .. } => None,
        // a breaker says when it is over, by itself
        Stage::Parked { wait, .. } if wait.kind == WaitKind::Service => None,
        Stage::Parked { wait, .. } => Some(wait.until?.max(owed_at(state)?)),
    }
}

/// The notice that is owed first at this time.
pub fn owed(state: &State, now: Timestamp) -> Option<Notice> {
    state.plans.iter().find_map(|plan| {
        plan.notice_at(now, &|who| state.desk.delay_of(plan, who).map(|delay| delay.until))
    })
}
