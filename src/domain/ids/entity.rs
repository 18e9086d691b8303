//! Entities: what has records of its own.

use serde::{Deserialize, Serialize};

use super::{Bits, CaseId, CsrId, EventId};

/// What a journal entry belongs to. Each entity has one writer and versions of its own.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Entity {
    pub kind: EntityKind,
    pub bits: Bits,
}

/// Kinds of entities; the numbers are stored and never reused.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(u8)]
pub enum EntityKind {
    Case = 1,
    Workflow = 2,
    Service = 3,
    CloudEvent = 4,
    Quarantine = 5,
    Csr = 6,
    HolidayCalendar = 7,
    Queue = 8,
    Schedule = 9,
}

/// Where an event from outside stands in the order of all of them, as the journal counts it: a case
/// takes each place once.
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct EventCursor(pub u64);

impl EventCursor {
    /// The place right before this one, to begin reading at it.
    pub fn before(self) -> Self {
        Self(self.0.saturating_sub(1))
    }
}

impl EntityKind {
    /// The kind of a stored number, or nothing for one that a later version wrote.
    pub fn of(number: u8) -> Option<Self> {
        Some(match number {
            1 => Self::Case,
            2 => Self::Workflow,
            3 => Self::Service,
            4 => Self::CloudEvent,
            5 => Self::Quarantine,
            6 => Self::Csr,
            7 => Self::HolidayCalendar,
            8 => Self::Queue,
            9 => Self::Schedule,
            _ => return None,
        })
    }
}

impl From<CaseId> for Entity {
    fn from(case: CaseId) -> Self {
        Self { kind: EntityKind::Case, bits: case.0 }
    }
}

impl From<EventId> for Entity {
    fn from(event: EventId) -> Self {
        Self { kind: EntityKind::CloudEvent, bits: event.0 }
    }
}

impl Entity {
    /// The entity of a workflow definition.
    pub fn workflow(namespace: &str, name: &str, version: &str) -> Self {
        let bits = Bits::derived(&[
            b"workflow",
            namespace.as_bytes(),
            name.as_bytes(),
            version.as_bytes(),
        ]);
        Self { kind: EntityKind::Workflow, bits }
    }

    /// The entity of a service's breaker.
    pub fn service(name: &str) -> Self {
        Self { kind: EntityKind::Service, bits: Bits::derived(&[b"service", name.as_bytes()]) }
    }

    /// The entity of a CSR.
    pub fn csr(id: &CsrId) -> Self {
        Self { kind: EntityKind::Csr, bits: Bits::derived(&[b"csr", id.0.as_bytes()]) }
    }

    /// The entity of a holiday calendar.
    pub fn holiday_calendar(name: &str) -> Self {
        let bits = Bits::derived(&[b"calendar", name.as_bytes()]);
        Self { kind: EntityKind::HolidayCalendar, bits }
    }

    /// The entity of a queue: its pauses and purges.
    pub fn queue(name: &str) -> Self {
        Self { kind: EntityKind::Queue, bits: Bits::derived(&[b"queue", name.as_bytes()]) }
    }

    /// The entity of a schedule, by its id.
    pub fn schedule(id: &str) -> Self {
        Self { kind: EntityKind::Schedule, bits: Bits::derived(&[b"schedule", id.as_bytes()]) }
    }

    /// The entity that keeps why a case was taken out of service, beside the case's own records.
    pub fn quarantine(case: CaseId) -> Self {
        Self { kind: EntityKind::Quarantine, bits: case.0 }
    }
}
