//! Cases that there is news for since a moment ago: they need not wait until all that is noted from before
//! was gone through. Rows have the same; what finds no room here is found there.

use std::collections::{HashSet, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::domain::ids::CaseId;

/// Cases at the most.
pub const ROOM: usize = 10_000;

/// The cases, each once, in the order in which news came.
#[derive(Default)]
pub struct FreshNews {
    waiting: Mutex<Waiting>,
    came: Notify,
}

#[derive(Default)]
struct Waiting {
    order: VecDeque<CaseId>,
    known: HashSet<CaseId>,
}

impl FreshNews {
    /// There is news for these, as their rows show.
    pub fn came(&self, cases: Vec<CaseId>) {
        if cases.is_empty() {
            return;
        }
        let mut waiting = self.lock();
        for case in cases {
            if waiting.order.len() < ROOM && waiting.known.insert(case) {
                waiting.order.push_back(case);
            }
        }
        drop(waiting);
        self.came.notify_one();
    }

    /// The next case, once there is one.
    pub async fn next(&self) -> CaseId {
        loop {
            {
                let mut waiting = self.lock();
                if let Some(case) = waiting.order.pop_front() {
                    waiting.known.remove(&case);
                    return case;
                }
            }
            self.came.notified().await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ids::Bits;

    #[tokio::test]
    async fn each_comes_once_in_order_and_there_is_a_bound() {
        let news = FreshNews::default();
        let case = |n: usize| {
            let mut bits = [0; 16];
            bits[..8].copy_from_slice(&n.to_be_bytes());
            CaseId(Bits(bits))
        };
        news.came(vec![case(1), case(2), case(1)]);
        assert_eq!((news.next().await, news.next().await), (case(1), case(2)));
        let mut next = Box::pin(news.next());
        assert!(futures_util::poll!(&mut next).is_pending());
        news.came((0..=ROOM).map(case).collect());
        assert_eq!(next.await, case(0));
        for n in 1..ROOM {
            assert_eq!(news.next().await, case(n));
        }
        assert!(futures_util::poll!(Box::pin(news.next())).is_pending());
    }
}
