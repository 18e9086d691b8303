//! What happened to a plan, its bookings and its assignments. Stored as it stands here, within the
//! records of its case.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::wanted::{Customer, Restated, Sticky, Wanted};
use super::{Debt, Place, Verdicts};
use crate::domain::data::Data;
use crate::domain::ids::{BookingId, CsrId, PlanId};
use crate::domain::staff::csr::fit::Contact;
use crate::domain::staff::csr::{Displacement, Refusal};
use crate::domain::staff::notice::Notices;
use crate::domain::time::Timestamp;
use crate::domain::workflow::model::TaskId;

/// An event of a plan.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum PlanEvent {
    /// It comes into being.
    Begun(Box<Begun>),
    /// It is carried out from now on.
    Performed {
        plan: PlanId,
        task: (TaskId, u32),
        #[serde(skip_serializing_if = "Option::is_none", default)]
        only: Option<BookingId>,
        #[serde(default)]
        restated: Restated,
    },
    /// An admin has changed what is still to be done.
    Changed(Box<Changed>),
    /// Nothing of it is wanted any more.
    Closed {
        plan: PlanId,
    },
    /// A CSR is asked for a time.
    Proposed {
        booking: BookingId,
        place: Place,
        verdicts: Arc<Verdicts>,
    },
    Made {
        booking: BookingId,
        number: u32,
        /// When queued work is due, from when it is given.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        due: Option<Timestamp>,
    },
    Refused {
        booking: BookingId,
        number: u32,
        why: Refusal,
    },
    /// Nobody can be asked.
    Unplaced {
        booking: BookingId,
        why: Arc<str>,
        verdicts: Arc<Verdicts>,
    },
    /// It gives its time back, since those before it move: it is planned behind them.
    GaveWay {
        booking: BookingId,
    },
    Displaced {
        booking: BookingId,
        number: u32,
        why: Displacement,
    },
    /// A CSR knows what they were owed.
    Settled {
        booking: BookingId,
        csr: CsrId,
        number: u32,
        what: Debt,
    },
    Ready {
        booking: BookingId,
        /// When it is begun with at the latest, before somebody is told.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        lease: Option<Timestamp>,
    },
    Started {
        booking: BookingId,
    },
    Blocked {
        booking: BookingId,
        reason: Arc<str>,
    },
    Unblocked {
        booking: BookingId,
        /// When it is due now: the time that the customer took does not count.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        due: Option<Timestamp>,
    },
    Completed {
        booking: BookingId,
        outcome: Data,
    },
    HandedBack {
        booking: BookingId,
        reason: Arc<str>,
    },
    /// To somebody in particular, by a proposal that goes along; else to whoever is found.
    Reassigned {
        booking: BookingId,
        /// Who is to have it; none: whoever is found.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        to: Option<CsrId>,
        reason: Arc<str>,
    },
    Skipped {
        booking: BookingId,
        reason: Arc<str>,
    },
    /// It goes on when the next task was to begin, which therefore moves.
    Overrun {
        booking: BookingId,
        until: Timestamp,
    },
    /// It was to be done by now.
    Overdue {
        booking: BookingId,
    },
    /// Nobody has begun with it; when it is taken back.
    Silent {
        booking: BookingId,
        lease: Timestamp,
    },
    /// Nobody has begun with it, so somebody else may have it.
    TakenBack {
        booking: BookingId,
    },
}

/// A plan at its beginning.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Begun {
    pub plan: PlanId,
    pub task: (TaskId, u32),
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub queued: bool,
    /// One task, not a list of one.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub single: bool,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub customer: Option<Customer>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub contact: Option<Contact>,
    #[serde(default)]
    pub sticky: Sticky,
    /// Who is told of it.
    #[serde(skip_serializing_if = "Notices::is_off", default)]
    pub notices: Notices,
    pub tasks: Vec<BegunTask>,
}

/// What is to be done of a plan from now on.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Changed {
    pub plan: PlanId,
    /// All open tasks that nobody has begun with, in their new order; those that are not named are skipped.
    pub tasks: Vec<ChangedTask>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub customer: Option<Customer>,
    pub reason: Arc<str>,
}

/// A task of a changed plan.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ChangedTask {
    /// One that is there.
    Kept(BookingId),
    New(BegunTask),
}

/// A task at the beginning of its plan.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct BegunTask {
    pub booking: BookingId,
    pub wanted: Arc<Wanted>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub due: Option<Timestamp>,
}

impl PlanEvent {
    /// The word that users see.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Begun(_) | Self::Changed(_) => "plan.changed",
            Self::Performed { .. } => "plan.performed",
            Self::Closed { .. } => "plan.closed",
            Self::Proposed { .. } => "booking.proposed",
            Self::Made { .. } => "booking.made",
            Self::Refused { .. } => "booking.refused",
            Self::Unplaced { .. } => "booking.unplaced",
            Self::GaveWay { .. } => "booking.gaveWay",
            Self::Displaced { .. } => "booking.displaced",
            Self::Settled { what: Debt::Release, .. } => "booking.released",
            Self::Settled { what: Debt::Keep, .. } => "booking.kept",
            Self::Settled { what: Debt::Done, .. } => "booking.done",
            Self::Ready { .. } => "assignment.ready",
            Self::Started { .. } => "assignment.started",
            Self::Blocked { .. } => "assignment.blocked",
            Self::Unblocked { .. } => "assignment.unblocked",
            Self::Completed { .. } => "assignment.completed",
            Self::HandedBack { .. } => "assignment.handedBack",
            Self::Reassigned { .. } => "assignment.reassigned",
            Self::Skipped { .. } => "assignment.skipped",
            Self::Overrun { .. } => "assignment.overrun",
            Self::Overdue { .. } => "assignment.overdue",
            Self::Silent { .. } => "assignment.silent",
            Self::TakenBack { .. } => "assignment.takenBack",
        }
    }

    /// Whether a person did it, rather than we ourselves.
    pub fn is_by_person(&self) -> bool {
        match self {
            Self::Started { .. }
            | Self::Blocked { .. }
            | Self::Unblocked { .. }
            | Self::Completed { .. }
            | Self::HandedBack { .. }
            | Self::Reassigned { .. }
            | Self::Changed(_)
            | Self::Skipped { .. } => true,
            Self::Begun(_)
            | Self::Performed { .. }
            | Self::Closed { .. }
            | Self::Proposed { .. }
            | Self::Made { .. }
            | Self::GaveWay { .. }
            | Self::Refused { .. }
            | Self::Unplaced { .. }
            | Self::Displaced { .. }
            | Self::Settled { .. }
            | Self::Ready { .. }
            | Self::Overrun { .. }
            | Self::Overdue { .. }
            | Self::Silent { .. }
            | Self::TakenBack { .. } => false,
        }
    }

    /// The booking that it is about, of all but a whole plan's.
    pub fn booking(&self) -> Option<BookingId> {
        Some(match self {
            Self::Begun(_) | Self::Performed { .. } | Self::Changed(_) | Self::Closed { .. } => {
                return None;
            }
            Self::Proposed { booking, .. }
            | Self::Made { booking, .. }
            | Self::GaveWay { booking }
            | Self::Refused { booking, .. }
            | Self::Unplaced { booking, .. }
            | Self::Displaced { booking, .. }
            | Self::Settled { booking, .. }
            | Self::Ready { booking, .. }
            | Self::Started { booking }
            | Self::Blocked { booking, .. }
            | Self::Unblocked { booking, .. }
            | Self::Completed { booking, .. }
            | Self::HandedBack { booking, .. }
            | Self::Reassigned { booking, .. }
            | Self::Skipped { booking, .. }
            | Self::Overrun { booking, .. }
            | Self::Overdue { booking }
            | Self::Silent { booking, .. }
            | Self::TakenBack { booking } => *booking,
        })
    }
}
