//! What goes along with an append to the one who keeps the views, so that nothing need be folded
//! twice while both are up to date.

use std::sync::Arc;

use super::notes::Absorb;
use crate::domain::case::summary::{Answered, Summary};
use crate::domain::case::worked::Worked;
use crate::domain::workflow::expr::json::size_of;

/// Bytes of a summary, near enough.
const ROW: usize = 512;

/// A note about one append of a case.
#[derive(Debug, Clone)]
pub struct CommitNote {
    pub summary: Box<Summary>,
    /// Whether it [rests](crate::domain::case::derive::rests) there.
    pub rests: bool,
    /// Calls that were settled, by service.
    pub answered: Vec<(Arc<str>, Answered)>,
    /// What became of jobs.
    pub worked: Vec<Worked>,
    /// The state, encoded, where the case comes to rest or its history has grown.
    pub snapshot: Option<Vec<u8>>,
}

impl Absorb for CommitNote {
    fn absorb(&mut self, older: Self) {
        self.answered.extend(older.answered);
        self.worked.extend(older.worked);
        if self.snapshot.is_none() {
            // it is still a snapshot, if not of the latest version
            self.snapshot = older.snapshot;
        }
    }

    fn bytes(&self) -> usize {
        let dead = self.summary.dead.as_ref().map_or(0, |dead| size_of(&dead.input));
        ROW + dead + self.snapshot.as_ref().map_or(0, Vec::len)
    }
}
