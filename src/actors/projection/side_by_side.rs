//! Telling many cases something at the same time: each once at a time, none waiting for a slow one.

use std::collections::HashMap;
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
    /// Each, and whether there was more to tell since it began.
    cases: Mutex<HashMap<CaseId, bool>>,
    failed: Notify,
}

/// A case while it is told something.
struct Turn {
    case: CaseId,
    busy: Arc<Busy>,
    over: bool,
}

/// A place among those who are told something, kept until the telling has ended. Whoever only waits leaves
/// it to others.
#[derive(Clone)]
pub struct Room {
    all: Arc<Semaphore>,
    place: Arc<Mutex<Option<OwnedSemaphorePermit>>>,
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
    /// False: it is being told something already, and once more after that.
    pub async fn begin<Telling: Future<Output = bool> + Send>(
        &self,
        case: CaseId,
        telling: impl Fn(Room) -> Telling + Send + 'static,
    ) -> bool {
        if self.busy.is_told(case) {
            return false;
        }
        let room = Room { all: self.room.clone(), place: Arc::default() };
        room.enter().await;
        if !self.busy.begins(case) {
            return false;
        }
        let mut turn = Turn { case, busy: self.busy.clone(), over: false };
        tokio::spawn(async move {
            let mut dealt_with = telling(room.clone()).await;
            while turn.has_more() {
                room.enter().await;
                dealt_with = telling(room.clone()).await;
            }
            if !dealt_with {
                turn.busy.failed.notify_one();
            }
        });
        true
    }

    /// Waits until a telling has ended that has to be begun again.
    pub async fn failed(&self) {
        self.busy.failed.notified().await;
    }
}

impl Room {
    /// Leaves it to somebody else.
    pub fn leave(&self) {
        drop(self.place().take());
    }

    /// Takes a place, where it has none.
    pub async fn enter(&self) {
        if self.place().is_none() {
            // nobody closes it
            let place = self.all.clone().acquire_owned().await.ok();
            *self.place() = place;
        }
    }

    fn place(&self) -> MutexGuard<'_, Option<OwnedSemaphorePermit>> {
        self.place.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Busy {
    fn lock(&self) -> MutexGuard<'_, HashMap<CaseId, bool>> {
        self.cases.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a case is being told something; it is told once more then.
    fn is_told(&self, case: CaseId) -> bool {
        self.lock().get_mut(&case).map(|more| *more = true).is_some()
    }

    /// False: it is being told something already, and once more after that.
    fn begins(&self, case: CaseId) -> bool {
        let mut cases = self.lock();
        match cases.get_mut(&case) {
            Some(more) => {
                *more = true;
                false
            }
            None => cases.insert(case, false).is_none(),
        }
    }
}

impl Turn {
    /// Whether there was more to tell meanwhile; else it is over.
    fn has_more(&mut self) -> bool {
        let mut cases = self.busy.lock();
        let more = cases.get_mut(&self.case).is_some_and(std::mem::take);
        if !more {
            cases.remove(&self.case);
            self.over = true;
        }
        more
    }
}

impl Drop for Turn {
    /// One that was broken off may have left something untold.
    fn drop(&mut self) {
        if !self.over {
            self.busy.lock().remove(&self.case);
            self.busy.failed.notify_one();
        }
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
        let ends = Arc::new(Mutex::new(Some(ends)));
        let told = Arc::new(Mutex::new(0));
        let slow = {
            let (ends, told) = (ends.clone(), told.clone());
            move |_room| {
                *told.lock().unwrap() += 1;
                let ends = ends.lock().unwrap().take();
                async move {
                    if let Some(ends) = ends {
                        let _ = ends.await;
                    }
                    false
                }
            }
        };
        assert!(all.begin(case(1), slow).await);
        let quick = |_room| async { true };
        assert!(!all.begin(case(1), quick).await);
        for n in 2..100 {
            assert!(all.begin(case(n), quick).await);
        }
        end.send(()).unwrap();
        // the slow one was not dealt with, and told once more
        all.failed().await;
        assert_eq!(*told.lock().unwrap(), 2);
        let beside = all.beside(1);
        assert!(all.begin(case(101), |_| std::future::pending()).await);
        assert!(!beside.begin(case(101), quick).await, "it is being told");
        assert!(beside.begin(case(102), quick).await);
    }

    #[tokio::test]
    async fn who_only_waits_leaves_its_place_to_others() {
        let all = SideBySide::new(1);
        let case = |n| CaseId(Bits([n; 16]));
        let waits = |room: Room| async move {
            room.leave();
            std::future::pending().await
        };
        for n in 0..100 {
            assert!(all.begin(case(n), waits).await);
        }
    }

    #[tokio::test]
    async fn who_is_told_keeps_its_place_until_that_has_ended() {
        let all = SideBySide::new(2);
        let case = |n| CaseId(Bits([n; 16]));
        let (end, ended) = tokio::sync::watch::channel(false);
        let slow = move |_| {
            let mut ended = ended.clone();
            async move { ended.wait_for(|ended| *ended).await.is_ok() }
        };
        assert!(all.begin(case(1), slow.clone()).await && all.begin(case(2), slow.clone()).await);
        let mut third = Box::pin(all.begin(case(3), slow.clone()));
        tokio::task::yield_now().await;
        assert!(futures_util::poll!(&mut third).is_pending());
        end.send_replace(true);
        assert!(third.await);
    }
}
