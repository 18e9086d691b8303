//! Telling many cases something at the same time: each once at a time, none waiting for a slow one.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

use crate::domain::ids::CaseId;

/// The cases that are being told something.
#[derive(Clone)]
pub struct SideBySide {
    room: Arc<Semaphore>,
    busy: Arc<Busy>,
}

#[derive(Default)]
struct Busy {
    cases: Mutex<HashSet<CaseId>>,
    failed: Notify,
}

/// A case while it is told something.
struct Turn {
    case: CaseId,
    busy: Arc<Busy>,
    _room: OwnedSemaphorePermit,
}

impl SideBySide {
    /// So many at the same time, at the most.
    pub fn new(most: usize) -> Self {
        Self { room: Arc::new(Semaphore::new(most)), busy: Arc::default() }
    }

    /// So many others beside them; a case is told by one of them at a time.
    pub fn beside(&self, most: usize) -> Self {
        Self { room: Arc::new(Semaphore::new(most)), busy: self.busy.clone() }
    }

    /// So many more from now on.
    pub fn widen(&self, by: usize) {
        self.room.add_permits(by);
    }

    /// Begins to tell a case something, once there is room; the telling says whether it is dealt with.
    /// False: it is being told something already.
    pub async fn begin(
        &self,
        case: CaseId,
        telling: impl Future<Output = bool> + Send + 'static,
    ) -> bool {
        if self.busy.lock().contains(&case) {
            return false;
        }
        // nobody closes it
        let Ok(room) = self.room.clone().acquire_owned().await else { return false };
        if !self.busy.lock().insert(case) {
            return false;
        }
        let turn = Turn { case, busy: self.busy.clone(), _room: room };
        tokio::spawn(async move {
            let dealt_with = telling.await;
            let busy = turn.busy.clone();
            drop(turn);
            if !dealt_with {
                busy.failed.notify_one();
            }
        });
        true
    }

    /// Waits until a telling has ended that has to be begun again.
    pub async fn failed(&self) {
        self.busy.failed.notified().await;
    }
}

impl Busy {
    fn lock(&self) -> MutexGuard<'_, HashSet<CaseId>> {
        self.cases.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.busy.lock().remove(&self.case);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ids::Bits;

    #[tokio::test]
    async fn a_slow_one_holds_nobody_up_and_is_told_once() {
        let all = SideBySide::new(2);
        let case = |n| CaseId(Bits([n; 16]));
        let (end, ends) = tokio::sync::oneshot::channel::<()>();
        let slow = async move {
            let _ = ends.await;
            false
        };
        assert!(all.begin(case(1), slow).await);
        assert!(!all.begin(case(1), async { true }).await);
        for n in 2..100 {
            assert!(all.begin(case(n), async { true }).await);
        }
        end.send(()).unwrap();
        while !all.begin(case(1), async { true }).await {
            tokio::task::yield_now().await;
        }
        // the slow one was not dealt with
        all.failed().await;
        let beside = all.beside(1);
        assert!(all.begin(case(101), std::future::pending()).await);
        assert!(!beside.begin(case(101), async { true }).await, "it is being told");
        assert!(beside.begin(case(102), async { true }).await);
    }
}
