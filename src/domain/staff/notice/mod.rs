//! Notices: what customers, CSRs and the lead are told of a plan. They are owed by its case, beside its flow,
//! which never waits for them. What is owed follows from what everybody was told last, so that a mail server
//! that was away for days costs each reader one mail, of the latest state.

pub mod dates;
pub mod ics;
pub mod letter;
pub mod owed;
mod samples;
pub mod told;

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::civil::Zone;
use super::csr::MINUTE;
use super::plan::wanted::Customer;
use super::plan::{Person, Place};
use crate::domain::ids::{Bits, BookingId, CaseId, CsrId, PlanId};
use crate::domain::time::Timestamp;

/// Milliseconds after the last change of a plan before anybody is told of it.
pub const SETTLED_AFTER: i64 = 5 * MINUTE;

/// Milliseconds that nobody is found for a task before the lead is told.
pub const UNPLACED_FOR: i64 = 60 * MINUTE;

/// Who is told of a plan at all. Fixed when it begins.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Notices {
    /// Nobody: the definition does not want it.
    #[default]
    Off,
    /// Customer and CSRs; there is no lead.
    People,
    /// The lead, too.
    All,
}

impl Notices {
    /// Whether nobody is told anything.
    pub fn is_off(&self) -> bool {
        *self == Self::Off
    }
}

/// Somebody who is told something.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Who {
    Customer,
    Csr(CsrId),
    Lead,
}

/// The same, with what is known of them.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Reader {
    Customer(Customer),
    Csr(Person),
    /// Whoever the staff file names when the mail is written.
    Lead,
}

/// What a notice is about.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Kind {
    /// Appointments that are new to the reader.
    Planned,
    /// Appointments that have moved, come, or gone.
    Changed,
    /// Appointments that are off.
    Cancelled,
    /// Work without a time that somebody was given.
    Assigned,
    /// A task of the reader's that is not done.
    Reminder,
    /// Something that does not go on, to the lead.
    Escalation,
}

/// Why somebody is reminded, or the lead told; later ones stand for those before.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Mark {
    /// Half of the time until it is due has passed.
    Half,
    /// Four fifths of it have.
    Most,
    /// It is due.
    Due,
    /// Nobody has begun with it.
    Silent,
    /// Nobody was found for it.
    Unplaced,
}

/// An appointment, or work without a time, as a reader knows it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Seen {
    pub csr: CsrId,
    pub name: Arc<str>,
    /// Start and end; none: it has no time.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub time: Option<(Timestamp, Timestamp)>,
}

/// What somebody was told last of a task.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Told {
    pub who: Who,
    /// Where the mail went.
    pub email: Arc<str>,
    /// The time zone in which a customer read it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub zone: Option<Zone>,
    /// None: that there is nothing.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub seen: Option<Seen>,
    /// A later mail may have reached them, or not.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub doubt: bool,
    /// What that one said.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub perhaps: Option<Seen>,
    /// They were told that there will be another time.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub promised: bool,
}

/// One task in a notice.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Line {
    pub booking: BookingId,
    pub title: Arc<str>,
    /// What the reader knew.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub was: Option<Seen>,
    /// What is so now.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub now: Option<Seen>,
    /// Rises with each change of the booking, for calendars.
    pub sequence: u32,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub mark: Option<Mark>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub due: Option<Timestamp>,
    /// Why nobody was found.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub why: Option<Arc<str>>,
    /// It is off for good; else another time is looked for.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub ended: bool,
}

/// A mail that is owed to somebody.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Notice {
    pub kind: Kind,
    pub plan: PlanId,
    pub reader: Reader,
    /// Whom the tasks are for.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub customer: Option<Arc<str>>,
    pub lines: Vec<Line>,
}

impl Kind {
    /// All kinds.
    pub const ALL: [Self; 6] = [
        Self::Planned,
        Self::Changed,
        Self::Cancelled,
        Self::Assigned,
        Self::Reminder,
        Self::Escalation,
    ];

    /// The word that users see, and the name of its templates.
    pub fn name(self) -> &'static str {
        match self {
            Self::Planned => "planned",
            Self::Changed => "changed",
            Self::Cancelled => "cancelled",
            Self::Assigned => "assigned",
            Self::Reminder => "reminder",
            Self::Escalation => "escalation",
        }
    }
}

impl Mark {
    /// The word that templates go by.
    pub fn name(self) -> &'static str {
        match self {
            Self::Half => "half",
            Self::Most => "most",
            Self::Due => "due",
            Self::Silent => "silent",
            Self::Unplaced => "unplaced",
        }
    }
}

impl Who {
    /// The word that users see.
    pub fn name(&self) -> &str {
        match self {
            Self::Customer => "customer",
            Self::Csr(csr) => csr.as_str(),
            Self::Lead => "lead",
        }
    }
}

impl Reader {
    /// Who it is.
    pub fn who(&self) -> Who {
        match self {
            Self::Customer(_) => Who::Customer,
            Self::Csr(person) => Who::Csr(person.id.clone()),
            Self::Lead => Who::Lead,
        }
    }

    /// Their address, as far as the case knows it.
    pub fn email(&self) -> &str {
        match self {
            Self::Customer(customer) => &customer.email,
            Self::Csr(person) => &person.email,
            Self::Lead => "",
        }
    }
}

impl Seen {
    /// What a place looks like to a reader.
    pub fn of(place: &Place) -> Self {
        Self {
            csr: place.csr.id.clone(),
            name: one_line(&place.csr.name).into(),
            time: place.slot.map(|slot| (slot.start, slot.end)),
        }
    }
}

impl Notice {
    /// The key that the Message-ID derives from: the same notice of the same state has the same, and one that
    /// says something else another one.
    pub fn key(&self, case: CaseId) -> String {
        let said = serde_json::to_vec(self).unwrap_or_default();
        let bits = Bits::derived(&[&said]);
        let (kind, who) = (self.kind.name(), self.reader.who());
        format!("{case}/notice/{}/{kind}/{}/{bits:?}", self.plan, who.name())
    }
}

/// Characters of a name or a title in a notice.
const NAME_MAX: usize = 100;

/// A name on one line that is no longer than a name.
pub fn one_line(text: &str) -> String {
    let visible = |c: char| if c.is_control() { ' ' } else { c };
    let text: String = text.chars().map(visible).take(NAME_MAX * 10).collect();
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match text.char_indices().nth(NAME_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}
