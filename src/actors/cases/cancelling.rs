//! Children that are being cancelled: each once, however often its parent owes it.

use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::domain::ids::CaseId;

/// The children.
#[derive(Default)]
pub struct Cancelling(Mutex<HashSet<CaseId>>);

impl Cancelling {
    /// Begins to cancel a child. False: somebody does already.
    pub fn begin(&self, child: CaseId) -> bool {
        self.lock().insert(child)
    }

    /// It is cancelled, or left to the next start.
    pub fn end(&self, child: CaseId) {
        self.lock().remove(&child);
    }

    fn lock(&self) -> MutexGuard<'_, HashSet<CaseId>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
