//! The breaker itself: closed, open, half-open, or isolated by an operator.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::settings::Trip;
use crate::domain::ids::CaseId;
use crate::domain::time::Timestamp;

/// Why a breaker opened, or stays open.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Cause {
    pub at: Timestamp,
    pub status: i64,
    pub detail: Arc<str>,
}

/// The state of a breaker.
#[derive(Clone, PartialEq, Debug, Default)]
pub enum Circuit {
    #[default]
    Closed,
    Open(Outage),
    /// One call tries whether the service is back.
    HalfOpen {
        outage: Outage,
        probe: Option<Probing>,
    },
    Isolated {
        since: Timestamp,
        reason: Arc<str>,
        until: Timestamp,
    },
}

/// An outage.
#[derive(Clone, PartialEq, Debug)]
pub struct Outage {
    pub since: Timestamp,
    pub cause: Option<Cause>,
    /// Probes that failed.
    pub probes: u32,
    pub next_probe_at: Timestamp,
    /// The case whose call was the last probe.
    pub last: Option<CaseId>,
}

/// Who tries.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Probing {
    /// A case's own call.
    Case(CaseId),
    /// The configured request.
    Health,
}

/// A transition, as the journal keeps it.
#[derive(Clone, PartialEq, Debug)]
pub enum Transition {
    Opened {
        cause: Cause,
    },
    Closed,
    Isolated {
        reason: Arc<str>,
        until: Timestamp,
    },
    /// An isolation has ended, by an operator or by itself.
    Released,
    /// Under a closed breaker it has asked for a pause, or a person has ended one.
    Paused {
        until: Timestamp,
    },
}

/// How a service stood when the process ended, as the journal has it.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Standing {
    pub circuit: Circuit,
    /// Until when it has asked for a pause.
    pub paused_until: Timestamp,
}

impl Standing {
    /// What the last transition has led to, seen from now: a pause takes at most its own length.
    pub fn of(
        transition: &Transition,
        paused_until: Option<Timestamp>,
        (at, now): (Timestamp, Timestamp),
        trip: &Trip,
    ) -> Self {
        let paused_until = match transition {
            Transition::Paused { until } => Some(*until),
            _ => paused_until,
        };
        let no_longer = |until: Timestamp| until.min(now.plus(until.since(at)));
        let paused_until = paused_until.map(no_longer).unwrap_or_default();
        Self { circuit: Circuit::Closed.after(transition, at, trip), paused_until }
    }
}

impl Outage {
    /// An outage that begins now.
    pub fn begins(now: Timestamp, cause: Option<Cause>, trip: &Trip) -> Self {
        let next_probe_at = now.plus(trip.probe_after);
        Self { since: now, cause, probes: 0, next_probe_at, last: None }
    }

    /// What is said of it, where a call began it.
    pub fn detail(&self) -> Option<Arc<str>> {
        self.cause.as_ref().map(|cause| cause.detail.clone())
    }

    /// A probe failed: the next one comes later.
    #[must_use]
    pub fn again(mut self, now: Timestamp, cause: Cause, by: Probing, trip: &Trip) -> Self {
        self.probes += 1;
        let doubled = trip.probe_after.saturating_mul(1 << self.probes.min(20));
        self.next_probe_at = now.plus(doubled.min(trip.probe_after_max));
        self.cause = Some(cause);
        self.last = match by {
            Probing::Case(case) => Some(case),
            Probing::Health => None,
        };
        self
    }
}

impl Circuit {
    /// The word that users see.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open(_) => "open",
            Self::HalfOpen { .. } => "half-open",
            Self::Isolated { .. } => "isolated",
        }
    }

    /// What a stored transition leads to.
    #[must_use]
    pub fn after(self, transition: &Transition, at: Timestamp, trip: &Trip) -> Self {
        match transition {
            Transition::Opened { cause } => {
                Self::Open(Outage::begins(at, Some(cause.clone()), trip))
            }
            Transition::Closed | Transition::Paused { .. } => Self::Closed,
            Transition::Isolated { reason, until } => {
                Self::Isolated { since: at, reason: reason.clone(), until: *until }
            }
            // nobody knows how it fares by now: one call tries first
            Transition::Released => {
                Self::HalfOpen { outage: Outage::begins(at, None, trip), probe: None }
            }
        }
    }
}
