//! The notices of a case: the one that is under way, what became of those before, and when the next one is
//! owed. One leaves at a time, beside the flow.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::derive;
use super::event::{Wait, WaitKind};
use super::problem::Problem;
use super::state::State;
use crate::domain::ids::BookingId;
use crate::domain::staff::notice::told::{tell, untell};
use crate::domain::staff::notice::{Notice, Told};
use crate::domain::staff::plan::Plan;
use crate::domain::time::Timestamp;
use crate::domain::workflow::model::TaskId;

/// Under which task and iteration the attempts of notices go: no task has it.
pub const KEY: (TaskId, u32) = (TaskId(0), 0);

/// Something that happened to the notices of a case. One is under way at a time.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum NoticeEvent {
    /// One is about to be sent.
    Begun { attempt: u32, notice: Box<Notice> },
    /// The mail server has taken it.
    Sent,
    /// It is made anew, of the state that is then, once this is over. `doubt`: it may have arrived.
    PutOff {
        wait: Wait,
        #[serde(skip_serializing_if = "std::ops::Not::not", default)]
        doubt: bool,
        #[serde(skip_serializing_if = "Option::is_none", default)]
        error: Option<Problem>,
    },
    /// It cannot be sent, and is not tried again.
    Failed { error: Problem },
}

impl NoticeEvent {
    /// The word that users see.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Begun { .. } => "notice.begun",
            Self::Sent => "notice.sent",
            Self::PutOff { .. } => "notice.waiting",
            Self::Failed { .. } => "notice.failed",
        }
    }
}

/// The notices of a case: how many were tried, and the one that is under way or waits.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Desk {
    /// Attempts begun. A number never repeats.
    pub attempts: u32,
    /// Attempts in a row that came to nothing, and of how many of them nobody knows whether they did.
    pub misses: u32,
    pub doubts: u32,
    pub stage: Stage,
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
    Waiting { wait: Wait, since: Timestamp },
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
    let before = std::mem::take(&mut desk.stage);
    match (event, before) {
        (NoticeEvent::Begun { .. }, Stage::Sending { .. }) => {
            return Err(CorruptDesk("a notice is begun while another one is under way"));
        }
        (NoticeEvent::Begun { attempt, notice }, _) => {
            desk.attempts = *attempt;
            let before = tell(plans, notice, at);
            desk.stage = Stage::Sending { notice: notice.clone(), before };
        }
        (NoticeEvent::PutOff { wait, doubt, .. }, before) => {
            let since = match before {
                // it has its place in the line since then
                Stage::Waiting { since, .. } => since,
                Stage::Idle => at,
                Stage::Sending { notice, before } => {
                    untell(plans, &notice, before, *doubt);
                    desk.misses += 1;
                    desk.doubts += u32::from(*doubt);
                    at
                }
            };
            desk.stage = Stage::Waiting { wait: wait.clone(), since };
        }
        (NoticeEvent::Sent | NoticeEvent::Failed { .. }, Stage::Sending { .. }) => {
            (desk.misses, desk.doubts) = (0, 0);
        }
        (NoticeEvent::Sent | NoticeEvent::Failed { .. }, _) => {
            return Err(CorruptDesk("a notice has ended that was not begun"));
        }
    }
    Ok(())
}

impl Desk {
    /// The service that a notice stands in line before, and since when.
    pub fn parked(&self) -> Option<(&Arc<str>, Timestamp)> {
        match &self.stage {
            Stage::Waiting { wait, since } if wait.kind != WaitKind::Timer => {
                Some((wait.on.as_ref()?, *since))
            }
            Stage::Idle | Stage::Sending { .. } | Stage::Waiting { .. } => None,
        }
    }

    /// Whether one is under way.
    pub fn is_sending(&self) -> bool {
        matches!(self.stage, Stage::Sending { .. })
    }
}

/// Whether nobody is told anything now: a person holds the case, or has to act.
fn is_held(state: &State) -> bool {
    state.ended_at.is_none() && derive::holds(state) && state.unwinding.is_none()
}

/// The service that the case stands in line before for its notices, and since when.
pub fn parked(state: &State) -> Option<(&Arc<str>, Timestamp)> {
    state.desk.parked().filter(|_| !is_held(state))
}

/// When the next notice can be begun; an instant of the past means now.
pub fn next_due(state: &State) -> Option<Timestamp> {
    if is_held(state) {
        return None;
    }
    let owed = || state.plans.iter().filter_map(Plan::notice_due).min();
    match &state.desk.stage {
        Stage::Idle => owed(),
        Stage::Sending { .. } => None,
        // a breaker says when it is over, by itself
        Stage::Waiting { wait, .. } if wait.kind == WaitKind::Service => None,
        Stage::Waiting { wait, .. } => Some(owed()?.max(wait.until?)),
    }
}

/// The notice that is owed first at this time.
pub fn owed(state: &State, now: Timestamp) -> Option<Notice> {
    state.plans.iter().find_map(|plan| plan.notice_at(now))
}
