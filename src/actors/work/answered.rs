//! What workers were given under a key: who asks again under it gets the same jobs, as long as it has them.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::poll::Handed;
use crate::domain::time::Timestamp;

/// Keys that are remembered at the most.
const KEPT: usize = 10_000;

/// A client, and the key of a request.
pub type AskKey = (String, String);

/// The keys.
#[derive(Default)]
pub struct Answered {
    keys: Mutex<HashMap<AskKey, Vec<Handed>>>,
}

impl Answered {
    fn lock(&self) -> MutexGuard<'_, HashMap<AskKey, Vec<Handed>>> {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What was given under a key.
    pub fn get(&self, key: &AskKey) -> Vec<Handed> {
        self.lock().get(key).cloned().unwrap_or_default()
    }

    /// This is given under a key.
    pub fn put(&self, key: AskKey, handed: &[Handed], now: Timestamp) {
        let mut keys = self.lock();
        if keys.len() >= KEPT {
            keys.retain(|_, known| known.iter().any(|handed| handed.until > now));
        }
        if keys.len() < KEPT {
            keys.insert(key, handed.to_vec());
        }
    }
}
