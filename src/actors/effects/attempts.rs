//! The attempts of this process: each from before its append until its result is in a committed
//! decision, or came too late. Only attempts that are not here were lost with a process that is gone.
//! A case whose actor began again finds here what its calls came to meanwhile.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::domain::case::command::Outcome;
use crate::domain::ids::CaseId;
use crate::domain::workflow::model::TaskId;

const SHARDS: usize = 16;

/// Case, task, iteration and attempt.
pub type AttemptKey = (CaseId, TaskId, u32, u32);

/// The attempts of one case, each with its result once it is there.
type OfCase = Vec<((TaskId, u32, u32), Option<Outcome>)>;

/// All attempts under way. Bounded by the permits of the services and the pools of the dispatcher.
#[derive(Default)]
pub struct Attempts {
    shards: [Mutex<HashMap<CaseId, OfCase>>; SHARDS],
}

impl Attempts {
    /// An attempt is about to be committed. False: it is known already, and not the caller's to end.
    pub fn begin(&self, (case, task, iteration, attempt): AttemptKey) -> bool {
        let key = (task, iteration, attempt);
        let mut shard = self.shard(case);
        let attempts = shard.entry(case).or_default();
        let new = !attempts.iter().any(|(known, _)| *known == key);
        if new {
            attempts.push((key, None));
        }
        new
    }

    /// Its result is there, and about to be told.
    pub fn came(&self, (case, task, iteration, attempt): AttemptKey, outcome: &Outcome) {
        let key = (task, iteration, attempt);
        if let Some(attempts) = self.shard(case).get_mut(&case)
            && let Some((_, known)) = attempts.iter_mut().find(|(known, _)| *known == key)
        {
            *known = Some(outcome.clone());
        }
    }

    /// Its result is committed or came too late, or it was never begun.
    pub fn end(&self, (case, task, iteration, attempt): AttemptKey) {
        let key = (task, iteration, attempt);
        let mut shard = self.shard(case);
        if let Some(attempts) = shard.get_mut(&case) {
            attempts.retain(|(known, _)| *known != key);
            if attempts.is_empty() {
                shard.remove(&case);
            }
        }
    }

    /// A case is at rest: nobody waits for what its calls come to any more.
    pub fn forget(&self, case: CaseId) {
        self.shard(case).remove(&case);
    }

    /// Whether any attempt of the case is under way here, or its result not dealt with.
    pub fn of_case(&self, case: CaseId) -> bool {
        self.shard(case).contains_key(&case)
    }

    /// Whether the attempt is under way here.
    pub fn has(&self, (case, task, iteration, attempt): AttemptKey) -> bool {
        let key = (task, iteration, attempt);
        self.shard(case).get(&case).is_some_and(|all| all.iter().any(|(known, _)| *known == key))
    }

    /// The results of a case that were told to an actor which may be gone.
    pub fn results(&self, case: CaseId) -> Vec<((TaskId, u32, u32), Outcome)> {
        let shard = self.shard(case);
        let attempts = shard.get(&case).into_iter().flatten();
        attempts.filter_map(|(key, outcome)| Some((*key, outcome.clone()?))).collect()
    }

    fn shard(&self, case: CaseId) -> MutexGuard<'_, HashMap<CaseId, OfCase>> {
        // the last byte is random in every kind of id
        let shard = &self.shards[usize::from(case.0.0[15]) % SHARDS];
        shard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::data::Data;

    #[test]
    fn an_attempt_is_here_until_its_result_is_dealt_with() {
        let attempts = Attempts::default();
        let case = CaseId::default();
        let key = (case, TaskId(1), 1, 1);
        assert!(!attempts.has(key));
        attempts.begin(key);
        assert!(attempts.has(key) && attempts.results(case).is_empty());
        attempts.came(key, &Outcome::Done(Data::null()));
        assert_eq!(attempts.results(case).len(), 1);
        assert!(attempts.has(key));
        attempts.end(key);
        assert!(!attempts.has(key) && attempts.results(case).is_empty());
        attempts.begin(key);
        attempts.forget(case);
        attempts.came(key, &Outcome::Done(Data::null()));
        assert!(attempts.results(case).is_empty(), "nothing is kept that came too late");
    }
}
