//! What may be asked of a CSR's actor.

use std::sync::Arc;

use super::{Displacement, Refusal, Slot};
use crate::domain::ids::{Bits, BookingId, CaseId};
use crate::domain::staff::civil::Moment;
use crate::domain::staff::holidays::HolidayCalendar;
use crate::domain::staff::profile::{Profile, TimeOff};
use crate::domain::time::Timestamp;
use crate::domain::workflow::schema::Violation;

/// A command to one CSR.
#[derive(Clone, PartialEq, Debug)]
pub enum Command {
    /// An admin says what is known of them; the first time, they are added.
    Put {
        profile: Arc<Profile>,
        calendar: Option<Arc<HolidayCalendar>>,
    },
    /// Their holiday calendar has changed.
    Holidays {
        calendar: Option<Arc<HolidayCalendar>>,
    },
    Away {
        off: TimeOff,
    },
    Back {
        id: String,
    },
    Leave {
        on: Moment,
        reason: Arc<str>,
    },
    /// Their calendar can be subscribed to with the token of this hash; none: not any more.
    Feed {
        token: Option<Bits>,
    },
    /// The instant at which they leave may have come.
    Depart,
    Reserve(Proposal),
    /// Gives back a number and all before it, reserved or not.
    Release {
        booking: BookingId,
        number: u32,
    },
    /// A displaced reservation stays.
    Keep {
        booking: BookingId,
        number: u32,
    },
    Done {
        booking: BookingId,
        number: u32,
    },
}

/// A case asks for time.
#[derive(Clone, PartialEq, Debug)]
pub struct Proposal {
    pub booking: BookingId,
    /// Rises with each proposal for the booking.
    pub number: u32,
    pub case: CaseId,
    pub customer: Option<Arc<str>>,
    pub title: Arc<str>,
    pub skill: Arc<str>,
    /// None: the task is queued.
    pub slot: Option<Slot>,
    /// When the case committed it.
    pub proposed_at: Timestamp,
    /// A person wants it so, outside of hours or beyond capacity; never over something else.
    pub by_person: bool,
}

/// What became of a command.
#[derive(Clone, PartialEq, Debug)]
pub enum Answer {
    /// What is known of them is as it was asked for; these were displaced by it.
    Changed(Vec<(BookingId, Displacement)>),
    Reserved,
    Refused(Refusal),
    /// Nothing of that number is reserved, nor will be.
    Released,
    /// It stands as it was asked for.
    Noted,
}

/// Why a command of a person is not carried out.
#[derive(Clone, PartialEq, Debug, thiserror::Error)]
pub enum Rejection {
    #[error("there is no such CSR")]
    NotFound,
    #[error("they have left")]
    HasLeft,
    #[error("there is no such absence")]
    NoSuchAbsence,
    #[error("what is said of the CSR is not right")]
    Invalid(Vec<Violation>),
}
