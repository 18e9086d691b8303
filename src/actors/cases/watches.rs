//! Who waits to hear of a case's next version: requests that wait for its end, histories that are
//! followed live. Bounded by the requests that are let in.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use crate::domain::ids::CaseId;

/// How far a case has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Reached {
    pub version: u64,
    pub ended: bool,
}

struct Watched {
    sender: watch::Sender<Reached>,
    watchers: usize,
}

/// All watches.
#[derive(Clone, Default)]
pub struct Watches {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    /// So that a commit that nobody watches costs no lock.
    count: AtomicUsize,
    cases: Mutex<HashMap<CaseId, Watched>>,
}

/// A watch over one case, until it is dropped.
pub struct Watch {
    case: CaseId,
    receiver: watch::Receiver<Reached>,
    shared: Arc<Shared>,
}

impl Watches {
    /// Begins to watch a case. What it commits from now on is seen.
    pub fn watch(&self, case: CaseId) -> Watch {
        let mut cases = self.shared.lock();
        let watched = cases.entry(case).or_insert_with(|| {
            self.shared.count.fetch_add(1, Ordering::SeqCst);
            Watched { sender: watch::Sender::new(Reached::default()), watchers: 0 }
        });
        watched.watchers += 1;
        let receiver = watched.sender.subscribe();
        Watch { case, receiver, shared: self.shared.clone() }
    }

    /// A case has come so far.
    pub fn reached(&self, case: CaseId, reached: Reached) {
        if self.shared.count.load(Ordering::SeqCst) == 0 {
            return;
        }
        if let Some(watched) = self.shared.lock().get(&case) {
            watched.sender.send_replace(reached);
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, HashMap<CaseId, Watched>> {
        self.cases.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Watch {
    /// Waits until the case has ended.
    pub async fn ended(&mut self) {
        // an error means that the process is ending
        let _ = self.receiver.wait_for(|reached| reached.ended).await;
    }

    /// Waits until the case is beyond a version.
    pub async fn beyond(&mut self, version: u64) -> Reached {
        let found = self.receiver.wait_for(|reached| reached.version > version).await;
        found.map(|reached| *reached).unwrap_or_default()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let mut cases = self.shared.lock();
        if let Some(watched) = cases.get_mut(&self.case) {
            watched.watchers -= 1;
            if watched.watchers == 0 {
                cases.remove(&self.case);
                self.shared.count.fetch_sub(1, Ordering::SeqCst);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_watch_sees_what_comes_after_it() {
        let watches = Watches::default();
        let case = CaseId::default();
        watches.reached(case, Reached { version: 1, ended: false });
        let mut watch = watches.watch(case);
        let mut other = watches.watch(case);
        watches.reached(case, Reached { version: 2, ended: false });
        assert_eq!(watch.beyond(1).await.version, 2);
        watches.reached(case, Reached { version: 3, ended: true });
        watch.ended().await;
        drop(watch);
        other.ended().await;
        drop(other);
        assert_eq!(watches.shared.count.load(Ordering::SeqCst), 0);
    }
}
