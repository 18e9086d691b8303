//! The brake: a case that only moves itself is stopped, and shown to a person.

use super::fail::Leaving;
use super::{Halt, Interpreter};
use crate::domain::case::event::Event;
use crate::domain::case::problem::Problem;
use crate::domain::case::state::{State, Stretch};

/// Backward jumps and retries in one stretch.
const JUMPS_MAX: u32 = 10_000;

/// Events in one stretch.
const EVENTS_MAX: u32 = 1_000_000;

/// Bytes in one stretch.
const BYTES_MAX: u64 = 256 * 1024 * 1024;

/// Events of a stretch from which on a case is slowed down, so that others are served.
pub const EVENTS_BRAKED: u32 = 10_000;

/// Whether a case has to be slowed down.
pub fn is_braked(state: &State) -> bool {
    state.stretch.events >= EVENTS_BRAKED
}

fn runaway(stretch: Stretch) -> Problem {
    Problem::runaway(format!(
        "{} jumps and retries, {} events and {} bytes without anything from outside",
        stretch.jumps, stretch.events, stretch.bytes
    ))
}

impl Interpreter<'_> {
    /// Stops a case that runs away.
    pub(super) fn brake(&mut self) -> Result<(), Halt> {
        let stretch = self.state.stretch;
        let runs_away = stretch.jumps >= JUMPS_MAX
            || stretch.events >= EVENTS_MAX
            || stretch.bytes >= BYTES_MAX;
        if !runs_away {
            return Ok(());
        }
        if self.state.phase.ended() || self.state.stuck {
            return self.stop_undoing(stretch);
        }
        let error = runaway(stretch);
        let reason = "the case runs away".to_owned();
        self.emit(Event::Suspended { reason, error: Some(error), task: None })?;
        if self.state.alert.is_none() { self.alert() } else { Ok(()) }
    }

    /// A case that has ended or stands still runs away in what it undoes beside: that fails as a whole
    /// and waits for a person.
    fn stop_undoing(&mut self, stretch: Stretch) -> Result<(), Halt> {
        let Some(undoing) = self.state.undoing.as_deref().filter(|root| root.failed.is_none())
        else {
            return Ok(());
        };
        let root = (undoing.task, undoing.iteration);
        self.cancel_below(root, Leaving::Otherwise)?;
        self.fault(root, runaway(stretch))
    }
}
