//! A CSR: what they are, and what is reserved of their time. One writer, their availability actor;
//! everything else proposes.

pub mod command;
pub mod decide;
pub mod event;
mod evolve;
pub mod fit;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::civil::Date;
use serde::{Deserialize, Serialize};

use super::holidays::HolidayCalendar;
use super::intervals::Span;
use super::profile::Profile;
use crate::domain::ids::{Bits, BookingId, CaseId, CsrId};
use crate::domain::time::{DAY, Timestamp};

pub use evolve::{CorruptCsr, begin, evolve};

/// Live reservations of one CSR at the most.
pub const RESERVATIONS_MAX: usize = 2000;

/// The same with those that are done and still shown.
pub const KEPT_MAX: usize = 4 * RESERVATIONS_MAX;

/// How long a refused or released number is remembered.
pub const CLOSED_KEPT: i64 = 7 * DAY;

/// A proposal that was committed longer ago is refused: the memory of what was released may be gone.
pub const PROPOSAL_MAX_AGE: i64 = 6 * DAY;

/// How long what is done stays; then its minutes remain.
pub const DONE_KEPT: i64 = 35 * DAY;

/// A CSR: the fold of their events.
#[derive(Clone, PartialEq, Debug)]
pub struct Csr {
    pub id: CsrId,
    /// Count of their events.
    pub revision: u64,
    pub profile: Arc<Profile>,
    /// The holidays that they go by, as they were told of them last.
    pub calendar: Option<Arc<HolidayCalendar>>,
    /// Why they leave, once somebody has said when (`profile.until`).
    pub leaves: Option<Arc<str>>,
    pub reservations: BTreeMap<BookingId, Reservation>,
    /// Numbers that were refused or released: no such proposal, and none before it, is taken any more.
    pub closed: BTreeMap<BookingId, Closed>,
    /// Taken time, sorted: from a slot's start to the end of its buffer.
    pub busy: Vec<(Span, BookingId)>,
    /// Minutes of the reservations, by civil day.
    pub minutes: BTreeMap<Date, u32>,
    /// Minutes of what has left the reservations.
    pub worked: BTreeMap<Date, u32>,
    /// When something was given to them last.
    pub given_at: Option<Timestamp>,
    /// Hash of the token that their calendar can be subscribed to with.
    pub feed: Option<Bits>,
}

/// What is reserved for a task.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Reservation {
    /// Of the case's proposals for this booking, which one it is.
    pub number: u32,
    pub case: CaseId,
    /// The customer that it is for: the subject of the case.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub customer: Option<Arc<str>>,
    pub title: Arc<str>,
    /// None: the task is queued with this CSR, without a time.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub slot: Option<Slot>,
    #[serde(skip_serializing_if = "Standing::is_live", default)]
    pub standing: Standing,
    /// Seconds that the CSR's clock was to be ahead of UTC then, by the time zone data of the day on which it
    /// was reserved.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub offset: Option<i32>,
}

/// A time for a task.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Slot {
    pub start: Timestamp,
    pub end: Timestamp,
    /// Until when nothing else begins.
    pub buffer_end: Timestamp,
}

/// How a reservation stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Standing {
    #[default]
    Live,
    /// It does not fit any more. Its time stays taken until its case has said what becomes of it.
    Displaced(Displacement),
    /// It was displaced, but the task had begun.
    Kept,
    Done,
}

/// Why reservations do not fit any more.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Displacement {
    Absent,
    Hours,
    Holiday,
    Left,
}

/// A number that is closed for ever, and why.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Closed {
    pub number: u32,
    pub at: Timestamp,
    /// None: it was released.
    pub refused: Option<Refusal>,
}

/// Why a proposal is refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Refusal {
    /// Something else has the time.
    Booked,
    /// They do not work then.
    Away,
    /// Their day is full.
    Minutes,
    /// They have as many open tasks as they may have.
    Open,
    Skill,
    Paused,
    /// They are not there yet, or not any more.
    NotThere,
    Past,
    /// It was committed too long ago.
    Stale,
    /// It was taken back before it came.
    Released,
    /// They have as many reservations as there may be.
    Bound,
}

/// Where a CSR stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stage {
    Joining,
    Active,
    Paused,
    Leaving,
    Left,
}

impl Slot {
    /// The time of the work itself.
    pub fn span(&self) -> Span {
        Span { start: self.start, end: self.end }
    }

    /// The time that nothing else may have.
    pub fn taken(&self) -> Span {
        Span { start: self.start, end: self.buffer_end.max(self.end) }
    }
}

impl Standing {
    fn is_live(&self) -> bool {
        *self == Self::Live
    }

    /// Whether the task is still to be done.
    pub fn is_open(self) -> bool {
        self != Self::Done
    }
}

impl Stage {
    /// The word that users see.
    pub fn name(self) -> &'static str {
        match self {
            Self::Joining => "joining",
            Self::Active => "active",
            Self::Paused => "paused",
            Self::Leaving => "leaving",
            Self::Left => "left",
        }
    }
}

impl Displacement {
    /// The word that users see.
    pub fn name(self) -> &'static str {
        match self {
            Self::Absent => "absent",
            Self::Hours => "hours",
            Self::Holiday => "holiday",
            Self::Left => "left",
        }
    }
}

impl Refusal {
    /// The word that users see.
    pub fn name(self) -> &'static str {
        match self {
            Self::Booked => "booked",
            Self::Away => "away",
            Self::Minutes => "day full",
            Self::Open => "enough open tasks",
            Self::Skill => "no such skill then",
            Self::Paused => "paused",
            Self::NotThere => "not there",
            Self::Past => "past",
            Self::Stale => "stale",
            Self::Released => "released",
            Self::Bound => "no more reservations",
        }
    }
}

impl Csr {
    /// Where they stand at this time.
    pub fn stage(&self, now: Timestamp) -> Stage {
        let there = self.profile.there();
        if there.end <= now {
            Stage::Left
        } else if self.profile.paused {
            Stage::Paused
        } else if now < there.start {
            Stage::Joining
        } else if self.leaves.is_some() || self.profile.until.is_some() {
            Stage::Leaving
        } else {
            Stage::Active
        }
    }

    /// Open tasks, booked and queued.
    pub fn open(&self) -> usize {
        self.reservations.values().filter(|one| one.standing.is_open()).count()
    }

    /// Minutes that are booked on a day, done ones among them.
    pub fn minutes_on(&self, date: Date) -> u32 {
        let of = |days: &BTreeMap<Date, u32>| days.get(&date).copied().unwrap_or(0);
        of(&self.minutes) + of(&self.worked)
    }

    /// The civil days of a slot, and how many minutes of it each has.
    pub fn days_of(&self, slot: Span) -> Vec<(Date, u32)> {
        let zone = &self.profile.zone;
        let share = |date| {
            let common = zone.day(date).common(slot)?;
            Some((date, (common.length() / MINUTE) as u32))
        };
        zone.days(slot).filter_map(share).collect()
    }

    /// Open reservations whose time of day is another one than when they were made: the rules of the time
    /// zone have changed since. Nothing moves by itself; a person looks at them.
    pub fn moved_by_rules(&self) -> impl Iterator<Item = (&BookingId, &Reservation)> {
        self.reservations.iter().filter(|(_, one)| self.has_moved(one))
    }

    /// Whether a reservation is one of them.
    pub fn is_moved_by_rules(&self, booking: BookingId) -> bool {
        self.reservations.get(&booking).is_some_and(|one| self.has_moved(one))
    }

    fn has_moved(&self, one: &Reservation) -> bool {
        let known = one.slot.zip(one.offset).filter(|_| one.standing.is_open());
        known.is_some_and(|(slot, offset)| self.profile.zone.offset(slot.start) != offset)
    }

    /// What cases have to be told: reservations that were displaced and not answered yet.
    pub fn owes(&self) -> impl Iterator<Item = (BookingId, &Reservation, Displacement)> {
        self.reservations.iter().filter_map(|(booking, one)| match one.standing {
            Standing::Displaced(why) => Some((*booking, one, why)),
            Standing::Live | Standing::Kept | Standing::Done => None,
        })
    }
}

/// The hash of a feed's token, which is all that is stored of it.
pub fn feed_hash(token: &str) -> Bits {
    Bits::derived(&[b"feed", token.as_bytes()])
}

/// Milliseconds of a minute.
pub const MINUTE: i64 = 60 * 1000;
