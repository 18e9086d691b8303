//! Children that are being cancelled: each once, however often its parent owes it.

use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::domain::ids::CaseId;

/// The children.
#[derive(Default)]
pub struct Cancelling(Mutex<HashSet<CaseId>>);

/// A child that is being cancelled, until it is dropped: it is cancelled then, or left to the next start.
pub struct Begun<'a> {
    all: &'a Cancelling,
    child: CaseId,
}

impl Cancelling {
    /// Begins to cancel a child. None: somebody does already.
    pub fn begin(&self, child: CaseId) -> Option<Begun<'_>> {
        let new = self.lock().insert(child);
        // made only where it is new: what is dropped ends it
        new.then(|| Begun { all: self, child })
    }

    fn lock(&self) -> MutexGuard<'_, HashSet<CaseId>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Begun<'_> {
    fn drop(&mut self) {
        self.all.lock().remove(&self.child);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ids::Bits;

    #[test]
    fn a_child_is_cancelled_once_at_a_time() {
        let all = Cancelling::default();
        let child = CaseId(Bits([1; 16]));
        let begun = all.begin(child);
        assert!(begun.is_some() && all.begin(child).is_none() && all.begin(child).is_none());
        drop(begun);
        assert!(all.begin(child).is_some());
    }
}
