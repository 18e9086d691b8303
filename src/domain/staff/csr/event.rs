//! What happened to a CSR. Stored as it stands here, in the words of this file.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Displacement, Refusal, Reservation};
use crate::domain::ids::{Bits, BookingId, CaseId, CsrId};
use crate::domain::staff::holidays::HolidayCalendar;
use crate::domain::staff::profile::{Profile, TimeOff};
use crate::domain::time::Timestamp;

/// An event of a CSR.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Event {
    /// They are there from now on, or from a date.
    Added {
        id: CsrId,
        profile: Arc<Profile>,
    },
    /// Somebody changed what is known of them.
    Changed {
        profile: Arc<Profile>,
        displaced: Displaced,
    },
    /// The holidays that they go by, from now on.
    Holidays {
        calendar: Option<Arc<HolidayCalendar>>,
        displaced: Displaced,
    },
    /// They are away.
    Away {
        off: TimeOff,
        displaced: Displaced,
    },
    /// An absence was taken back. What was moved for it stays where it is.
    Back {
        id: String,
    },
    /// Their calendar can be subscribed to with the token of this hash alone; none: not at all.
    Feed {
        #[serde(skip_serializing_if = "Option::is_none", default)]
        token: Option<Bits>,
    },
    /// They leave at an instant, which may be now.
    Left {
        at: Timestamp,
        reason: Arc<str>,
        displaced: Displaced,
    },
    Reserved {
        booking: BookingId,
        reservation: Reservation,
        /// By a person's word, outside of hours or beyond capacity.
        #[serde(skip_serializing_if = "std::ops::Not::not", default)]
        by_person: bool,
    },
    Refused {
        booking: BookingId,
        number: u32,
        case: CaseId,
        why: Refusal,
    },
    /// The case does not need it any more, or never will.
    Released {
        booking: BookingId,
        number: u32,
    },
    /// It was displaced, and stays all the same: the task has begun.
    Kept {
        booking: BookingId,
        number: u32,
    },
    /// The task is done; the rest of its time is free.
    Done {
        booking: BookingId,
        number: u32,
    },
}

/// The reservations that do not fit any more, each with its reason.
pub type Displaced = Vec<(BookingId, Displacement)>;

impl Event {
    /// The word that users see.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Added { .. } => "csr.added",
            Self::Changed { .. } | Self::Holidays { .. } => "csr.changed",
            Self::Away { .. } => "csr.away",
            Self::Back { .. } => "csr.back",
            Self::Feed { .. } => "csr.feed",
            Self::Left { .. } => "csr.left",
            Self::Reserved { .. } => "booking.reserved",
            Self::Refused { .. } => "booking.refused",
            Self::Released { .. } => "booking.released",
            Self::Kept { .. } => "booking.kept",
            Self::Done { .. } => "booking.done",
        }
    }
}
