//! Wakes that found no place among the live cases. Whoever serves others leaves a want here and goes
//! on; wants are served in order, as places come free.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::domain::case::command::Command;
use crate::domain::ids::CaseId;

/// Wants kept at the most; beyond it whoever wakes reads its rows again later.
const KEPT: usize = 10_000;

/// What is wanted of a case: each is here once, however often it comes.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Want {
    Timer,
    Recover,
    Admit(Arc<str>),
}

/// The wants.
#[derive(Default)]
pub struct Wants {
    inner: Mutex<Inner>,
    more: Notify,
}

#[derive(Default)]
struct Inner {
    order: VecDeque<(CaseId, Want)>,
    commands: HashMap<(CaseId, Want), Command>,
}

impl Want {
    fn of(command: &Command) -> Option<Self> {
        match command {
            Command::Timer => Some(Self::Timer),
            Command::Recover => Some(Self::Recover),
            Command::Admit { service } => Some(Self::Admit(service.clone())),
            _ => None,
        }
    }
}

impl Wants {
    /// Leaves a want. False: there are too many, or this is nothing to be wanted later.
    pub fn leave(&self, case: CaseId, command: Command) -> bool {
        let Some(want) = Want::of(&command) else { return false };
        let mut inner = self.lock();
        let key = (case, want);
        if !inner.commands.contains_key(&key) {
            if inner.order.len() >= KEPT {
                return false;
            }
            inner.order.push_back(key.clone());
        }
        inner.commands.insert(key, command);
        drop(inner);
        self.more.notify_one();
        true
    }

    /// Whether another one finds room.
    pub fn has_room(&self) -> bool {
        self.lock().order.len() < KEPT
    }

    /// The oldest, as soon as there is one.
    pub async fn next(&self) -> (CaseId, Command) {
        loop {
            if let Some(next) = self.take() {
                return next;
            }
            self.more.notified().await;
        }
    }

    fn take(&self) -> Option<(CaseId, Command)> {
        let mut inner = self.lock();
        let key = inner.order.pop_front()?;
        let command = inner.commands.remove(&key)?;
        Some((key.0, command))
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ids::Bits;

    fn case(n: u16) -> CaseId {
        let mut bits = [0; 16];
        bits[..2].copy_from_slice(&n.to_be_bytes());
        CaseId(Bits(bits))
    }

    #[tokio::test]
    async fn wants_are_served_in_order_and_once() {
        let wants = Wants::default();
        for _ in 0..3 {
            assert!(wants.leave(case(2), Command::Recover));
            assert!(wants.leave(case(1), Command::Recover));
        }
        assert!(!wants.leave(case(1), Command::Continue), "whoever says so waits itself");
        assert_eq!(wants.next().await.0, case(2));
        assert_eq!(wants.next().await.0, case(1));
        assert!(futures_util::poll!(Box::pin(wants.next())).is_pending());
    }

    #[test]
    fn they_are_bounded() {
        let wants = Wants::default();
        for n in 0..KEPT as u16 {
            assert!(wants.leave(case(n), Command::Recover));
        }
        assert!(!wants.has_room() && !wants.leave(case(u16::MAX), Command::Recover));
        assert!(wants.leave(case(1), Command::Recover), "it is known already");
    }
}
