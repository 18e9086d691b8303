//! The phases of a case and the transitions between them: one table.

use serde::{Deserialize, Serialize};

/// The DSL's status phases.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// Accepted, not started.
    Pending,
    /// Something is in flight or about to be.
    Running,
    /// Nothing moves until something comes: an instant, an event, a service, a child.
    Waiting,
    /// A person has to act.
    Suspended,
    Cancelled,
    Faulted,
    Completed,
}

impl Phase {
    /// All phases, in the order of a case's life.
    pub const ALL: [Self; 7] = [
        Self::Pending,
        Self::Running,
        Self::Waiting,
        Self::Suspended,
        Self::Cancelled,
        Self::Faulted,
        Self::Completed,
    ];

    /// The word that users see.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Running => "running",
            Self::Waiting => "waiting",
            Self::Suspended => "suspended",
            Self::Cancelled => "cancelled",
            Self::Faulted => "faulted",
            Self::Completed => "completed",
        }
    }

    /// The phase of this name.
    pub fn of(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|phase| phase.name() == name)
    }

    /// Whether the case has ended; only a faulted one may go on, by a person's `retry`.
    pub fn ended(self) -> bool {
        match self {
            Self::Pending | Self::Running | Self::Waiting | Self::Suspended => false,
            Self::Cancelled | Self::Faulted | Self::Completed => true,
        }
    }

    /// The table: whether a case may go from this phase to that one. Staying is always legal.
    pub fn may_become(self, next: Self) -> bool {
        use Phase::{Cancelled, Completed, Faulted, Pending, Running, Suspended, Waiting};
        match (self, next) {
            (Pending, Running | Cancelled) => true,
            (Running, Waiting | Suspended | Cancelled | Faulted | Completed) => true,
            (Waiting, Running | Suspended | Cancelled | Faulted) => true,
            // resumed or retried, at times straight into the wait that was left
            (Suspended, Running | Waiting | Cancelled) => true,
            // a person's retry, if nothing was compensated
            (Faulted, Running) => true,
            (from, to) => from == to,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_is_the_end() {
        for last in [Phase::Cancelled, Phase::Completed] {
            for next in Phase::ALL {
                assert_eq!(last.may_become(next), last == next, "{last:?} -> {next:?}");
            }
        }
    }

    #[test]
    fn any_open_case_may_be_cancelled() {
        for phase in Phase::ALL {
            let may = phase.may_become(Phase::Cancelled);
            assert_eq!(may, !phase.ended() || phase == Phase::Cancelled, "{phase:?}");
        }
    }

    #[test]
    fn names_round_trip() {
        for phase in Phase::ALL {
            assert_eq!(Phase::of(phase.name()), Some(phase));
        }
    }
}
