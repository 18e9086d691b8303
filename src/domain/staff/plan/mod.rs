//! A plan: the ordered human tasks of a case, booked together. It lives in its case's state, and what it
//! says counts: a CSR's reservations follow it.

pub mod choose;
pub mod difference;
pub mod event;
mod evolve;
pub mod owed;
pub mod place;
#[cfg(test)]
mod tests;
pub mod wanted;

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::csr::fit::Contact;
use super::csr::{Csr, Slot};
use super::notice::{Mark, Notices, Told, Who};
use crate::domain::data::Data;
use crate::domain::ids::{BookingId, CsrId, PlanId};
use crate::domain::time::Timestamp;
use crate::domain::workflow::model::TaskId;
pub use evolve::{CorruptPlan, evolve};
use wanted::{Customer, Sticky, Wanted};

/// Refusals in a row after which a task waits instead of being proposed again at once.
pub const REFUSALS_MAX: u32 = 8;

/// Times that a task may go on into the next one's before those behind it wait until it is done.
pub const OVERRUNS_MAX: u32 = 2;

/// Verdicts that are kept of a decision; the rest is counted.
pub const VERDICTS_KEPT: usize = 50;

/// A plan.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Plan {
    pub id: PlanId,
    /// The task that made it: `book`, or a `perform` of queued work.
    pub task: (TaskId, u32),
    /// The `perform` that has it carried out, or one task of it.
    pub performer: Option<Performer>,
    pub customer: Option<Customer>,
    pub contact: Option<Contact>,
    pub sticky: Sticky,
    /// It is queued work: given when it is ready, without a time.
    pub queued: bool,
    /// One task was asked for, not a list.
    pub single: bool,
    pub items: Vec<Item>,
    /// How many tasks have come into it, which the ids of later ones go on from.
    pub count: u32,
    /// Nothing of it is wanted any more: all is given back.
    pub closed: bool,
    /// Who is told of it at all, and when somebody was for the first time.
    pub notices: Notices,
    pub told: Option<Timestamp>,
}

/// The task that performs a plan.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Performer {
    pub task: (TaskId, u32),
    /// Only this one of it.
    pub only: Option<BookingId>,
    pub since: Timestamp,
}

/// One task of a plan.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Item {
    pub booking: BookingId,
    pub wanted: Arc<Wanted>,
    pub due: Option<Timestamp>,
    /// From when on the time until it is due is counted.
    pub due_from: Timestamp,
    /// Of the last proposal. A number is never used again.
    pub number: u32,
    /// The proposal that nobody has answered yet.
    pub proposed: Option<Place>,
    /// What the task has.
    pub made: Option<Place>,
    /// What it had, until that did not fit any more.
    pub had: Option<Place>,
    /// What CSRs have to be told, and have not said yet that they know.
    pub owed: Vec<Owed>,
    pub phase: Phase,
    /// Since when it is in this phase.
    pub since: Timestamp,
    /// Count of what happened to it.
    pub revision: u64,
    /// Nobody was found, and why.
    pub nobody: Option<Arc<str>>,
    /// Why it stands out.
    pub attention: Option<Attention>,
    /// Refusals since something was made of it.
    pub refusals: u32,
    /// When nobody was found last.
    pub nobody_at: Option<Timestamp>,
    /// Until when it is believed to go on beyond its time, and how often that was said.
    pub overrun: Option<Timestamp>,
    pub overruns: u32,
    /// It was said that it is late.
    pub overdue: bool,
    /// When it has to be begun with, and whether somebody was told that it was not.
    pub lease: Option<Timestamp>,
    pub silent: bool,
    /// Those who handed it back.
    pub handed_back: Vec<CsrId>,
    /// Why it was handed back last: the same once more changes nothing.
    pub back: Option<Arc<str>>,
    /// What the customer has to do first.
    pub blocked: Option<Arc<str>>,
    /// Those who did not begin with it.
    pub silent_ones: Vec<CsrId>,
    pub verdicts: Arc<Verdicts>,
    pub started_at: Option<Timestamp>,
    pub ended_at: Option<Timestamp>,
    pub outcome: Option<Data>,
    /// Why it was skipped.
    pub skipped: Option<Arc<str>>,
    /// What people were told last of where and when it is.
    pub told: Vec<Told>,
    /// Of what people were reminded.
    pub said: Vec<(Who, Mark)>,
}

/// A CSR as the case knows them.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Person {
    pub id: CsrId,
    pub name: Arc<str>,
    pub email: Arc<str>,
}

/// A CSR and a time, proposed or made.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Place {
    pub number: u32,
    pub csr: Person,
    /// None: queued.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub slot: Option<Slot>,
    /// When it was proposed.
    pub at: Timestamp,
    /// Why this person, in one sentence.
    pub why: Arc<str>,
    /// A person wants it so.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub by_person: bool,
}

/// Something that a CSR's actor has to be told until it has answered.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Owed {
    pub csr: CsrId,
    pub number: u32,
    pub what: Debt,
}

/// What a CSR has to know.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Debt {
    Release,
    Keep,
    Done,
}

/// Where a task of a plan, and so its assignment, stands.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Phase {
    Unplaced,
    Planned,
    Ready,
    Started,
    Blocked,
    Done,
    Skipped,
    Cancelled,
}

/// Why an assignment stands out.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Attention {
    Absent,
    Left,
    Late,
    Overdue,
    Unplaced,
    Zone,
}

/// How the candidates for a task were judged.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Verdicts {
    pub list: Vec<Verdict>,
    /// Candidates beside those in the list.
    #[serde(default)]
    pub more: u32,
}

/// How one candidate was judged.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Verdict {
    pub csr: CsrId,
    pub verdict: Arc<str>,
    /// Their first time that fits.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub start: Option<Timestamp>,
    /// Parts in a thousand of their time that the last 28 days would be booked.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub load: Option<u32>,
}

impl Phase {
    /// All phases.
    pub const ALL: [Self; 8] = [
        Self::Unplaced,
        Self::Planned,
        Self::Ready,
        Self::Started,
        Self::Blocked,
        Self::Done,
        Self::Skipped,
        Self::Cancelled,
    ];

    /// The word that users see.
    pub fn name(self) -> &'static str {
        match self {
            Self::Unplaced => "unplaced",
            Self::Planned => "planned",
            Self::Ready => "ready",
            Self::Started => "started",
            Self::Blocked => "blocked",
            Self::Done => "done",
            Self::Skipped => "skipped",
            Self::Cancelled => "cancelled",
        }
    }

    /// The phase of this name.
    pub fn of(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|phase| phase.name() == name)
    }

    /// Whether the task is still to be done.
    pub fn is_open(self) -> bool {
        !matches!(self, Self::Done | Self::Skipped | Self::Cancelled)
    }

    /// Whether somebody has begun with it.
    pub fn has_begun(self) -> bool {
        matches!(self, Self::Started | Self::Blocked)
    }
}

impl Attention {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Absent, Self::Left, Self::Late, Self::Overdue, Self::Unplaced, Self::Zone];

    /// The one of this name.
    pub fn of(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|attention| attention.name() == name)
    }

    /// The word that users see.
    pub fn name(self) -> &'static str {
        match self {
            Self::Absent => "absent",
            Self::Left => "left",
            Self::Late => "late",
            Self::Overdue => "overdue",
            Self::Unplaced => "unplaced",
            Self::Zone => "zone",
        }
    }
}

impl Person {
    /// A CSR as their profile has them now.
    pub fn of(csr: &Csr) -> Self {
        let profile = &csr.profile;
        let (name, email) = (profile.name.as_str().into(), profile.email.as_str().into());
        Self { id: csr.id.clone(), name, email }
    }
}

impl Item {
    /// A task that nobody has looked at yet.
    pub fn new(
        booking: BookingId,
        wanted: Arc<Wanted>,
        due: Option<Timestamp>,
        at: Timestamp,
    ) -> Self {
        Self {
            booking,
            wanted,
            due,
            due_from: at,
            number: 0,
            proposed: None,
            made: None,
            had: None,
            owed: Vec::new(),
            phase: Phase::Unplaced,
            since: at,
            revision: 1,
            nobody: None,
            attention: None,
            refusals: 0,
            nobody_at: None,
            overrun: None,
            overruns: 0,
            overdue: false,
            lease: None,
            silent: false,
            handed_back: Vec::new(),
            back: None,
            blocked: None,
            silent_ones: Vec::new(),
            verdicts: Arc::default(),
            started_at: None,
            ended_at: None,
            outcome: None,
            skipped: None,
            told: Vec::new(),
            said: Vec::new(),
        }
    }

    /// Whether a person and, of booked work, a time have to be found for it.
    pub fn wants_place(&self) -> bool {
        self.phase == Phase::Unplaced && self.proposed.is_none()
    }

    /// Its time, where it has one.
    pub fn slot(&self) -> Option<Slot> {
        self.made.as_ref().and_then(|made| made.slot)
    }

    /// When it is believed to end, where it has a time.
    pub fn ends(&self) -> Option<Timestamp> {
        let slot = self.made.as_ref().and_then(|made| made.slot);
        slot.map(|slot| slot.end).max(self.overrun)
    }

    /// Whether what comes behind it waits until it is done, since it has gone on for too long.
    pub fn holds_up(&self) -> bool {
        self.overruns >= OVERRUNS_MAX && self.phase.is_open()
    }

    /// Who has it.
    pub fn csr(&self) -> Option<&Person> {
        self.made.as_ref().map(|made| &made.csr)
    }
}

impl Plan {
    /// The task of this booking.
    pub fn item(&self, booking: BookingId) -> Option<&Item> {
        self.items.iter().find(|item| item.booking == booking)
    }

    /// The same, to change it.
    pub fn item_mut(&mut self, booking: BookingId) -> Option<&mut Item> {
        self.items.iter_mut().find(|item| item.booking == booking)
    }

    /// Whether every task that is still to be done has its place.
    pub fn is_placed(&self) -> bool {
        let open = self.items.iter().filter(|item| item.phase.is_open());
        open.into_iter().all(|item| item.phase != Phase::Unplaced && item.proposed.is_none())
    }

    /// Whether no CSR has anything of it, nor will have.
    pub fn is_settled(&self) -> bool {
        self.items.iter().all(|item| item.proposed.is_none() && item.owed.is_empty())
    }

    /// The tasks that its performer has to do with.
    pub fn performed(&self) -> impl Iterator<Item = &Item> {
        let only = self.performer.and_then(|performer| performer.only);
        self.items.iter().filter(move |item| only.is_none_or(|only| only == item.booking))
    }

    /// The task whose turn it is: the first one that is still to be done, once the plan is performed.
    pub fn current(&self) -> Option<&Item> {
        self.performer.and_then(|_| self.performed().find(|item| item.phase.is_open()))
    }

    /// The open task that has to be done before this one.
    pub fn predecessor_of(&self, booking: BookingId) -> Option<&Item> {
        let before = self.items.iter().take_while(|item| item.booking != booking);
        before.into_iter().find(|item| item.phase.is_open())
    }
}
