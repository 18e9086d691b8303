//! What workers were given under a key: who asks again under it gets the same jobs, as long as it has them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use super::poll::Handed;
use crate::domain::time::Timestamp;
use crate::domain::workflow::expr::json::size_of;

/// Keys that are remembered at the most, and bytes of what was given under them.
const KEPT: usize = 10_000;
const BYTES_MAX: usize = 64 * 1024 * 1024;

/// A client, and the key of a request.
pub type AskKey = (String, String);

/// Whose turn it is under a key.
type Gate = tokio::sync::Mutex<()>;

/// The keys.
#[derive(Default)]
pub struct Answered {
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    given: HashMap<AskKey, Vec<Handed>>,
    bytes: usize,
    /// Requests under way.
    gates: HashMap<AskKey, Weak<Gate>>,
}

fn size(handed: &[Handed]) -> usize {
    handed.iter().map(|handed| size_of(&handed.job.input) + 500).sum()
}

impl Answered {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One request under a key goes on at a time: whoever comes meanwhile waits for what the first gets.
    pub fn gate(&self, key: &AskKey) -> Arc<Gate> {
        let mut inner = self.lock();
        if let Some(known) = inner.gates.get(key).and_then(Weak::upgrade) {
            return known;
        }
        if inner.gates.len() >= KEPT {
            inner.gates.retain(|_, gate| gate.strong_count() > 0);
        }
        let gate = Arc::new(Gate::default());
        inner.gates.insert(key.clone(), Arc::downgrade(&gate));
        gate
    }

    /// What was given under a key.
    pub fn get(&self, key: &AskKey) -> Vec<Handed> {
        self.lock().given.get(key).cloned().unwrap_or_default()
    }

    /// This is given under a key. False: there are too many, and it is not remembered.
    pub fn put(&self, key: AskKey, handed: &[Handed], now: Timestamp) -> bool {
        let mut inner = self.lock();
        let more = size(handed);
        let full = |inner: &Inner| inner.given.len() >= KEPT || inner.bytes + more > BYTES_MAX;
        if full(&inner) {
            inner.given.retain(|_, known| known.iter().any(|handed| handed.until > now));
            inner.bytes = inner.given.values().map(|known| size(known)).sum();
        }
        if full(&inner) {
            return false;
        }
        let before = inner.given.insert(key, handed.to_vec());
        inner.bytes = (inner.bytes + more).saturating_sub(before.map_or(0, |known| size(&known)));
        true
    }
}
