//! Workers: what each has in hand, and when it was heard of last. Presence is kept in memory alone; what lasts
//! is folded from events.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use super::job::JobId;
use crate::domain::time::{DAY, Timestamp};

/// Milliseconds without a call after which a worker is silent, and after which it is gone.
const SILENT: i64 = 30_000;
const GONE: i64 = 300_000;

/// Workers that are listed at the most.
const WORKERS_MAX: usize = 10_000;

/// Milliseconds for which one that is gone is listed.
const LISTED: i64 = DAY;

/// Letters of a worker's name at the most.
pub const NAME_MAX: usize = 100;

/// Workers by name.
#[derive(Debug, Default)]
pub struct Workers {
    all: BTreeMap<Arc<str>, Worker>,
}

/// One worker: two processes of one name are one.
#[derive(Debug, Clone, Default)]
pub struct Worker {
    pub queues: BTreeSet<Arc<str>>,
    pub version: Option<Arc<str>>,
    pub host: Option<Arc<str>>,
    pub since: Option<Timestamp>,
    pub last_seen: Option<Timestamp>,
    pub in_hand: HashSet<JobId>,
    /// The job that it has alone, so that it gets no other.
    alone: Option<JobId>,
}

/// What a call says of the worker that makes it.
#[derive(Debug, Clone, Default)]
pub struct Heard {
    pub queue: Option<Arc<str>>,
    pub version: Option<Arc<str>>,
    pub host: Option<Arc<str>>,
}

impl Workers {
    /// A worker has called.
    pub fn heard(&mut self, name: &Arc<str>, said: Heard, now: Timestamp) {
        if !self.all.contains_key(name) && self.all.len() >= WORKERS_MAX {
            self.make_room(now);
        }
        let worker = self.all.entry(name.clone()).or_default();
        worker.since.get_or_insert(now);
        worker.last_seen = Some(now);
        worker.queues.extend(said.queue);
        worker.version = said.version.or(worker.version.take());
        worker.host = said.host.or(worker.host.take());
    }

    /// Forgets those that were not heard of for longest and have nothing.
    fn make_room(&mut self, now: Timestamp) {
        let spare = self.all.iter().filter(|(_, worker)| worker.in_hand.is_empty());
        let oldest = spare.min_by_key(|(_, worker)| worker.last_seen).map(|(name, _)| name.clone());
        self.all.retain(|_, worker| worker.is_listed(now));
        if self.all.len() >= WORKERS_MAX
            && let Some(oldest) = oldest
        {
            self.all.remove(&oldest);
        }
    }

    /// A worker has a job, or is about to.
    pub fn has(&mut self, name: &Arc<str>, job: JobId, alone: bool) {
        let worker = self.all.entry(name.clone()).or_default();
        worker.in_hand.insert(job);
        if alone {
            worker.alone = Some(job);
        }
    }

    /// A worker has a job no more.
    pub fn let_go(&mut self, name: &Arc<str>, job: JobId) {
        if let Some(worker) = self.all.get_mut(name) {
            worker.in_hand.remove(&job);
            if worker.alone == Some(job) {
                worker.alone = None;
            }
        }
    }

    /// Whether a worker has anything in hand.
    pub fn holds_any(&self, name: &str) -> bool {
        self.all.get(name).is_some_and(|worker| !worker.in_hand.is_empty())
    }

    /// Whether a worker has a job that is to have it for itself.
    pub fn is_alone(&self, name: &str) -> bool {
        self.all.get(name).is_some_and(|worker| worker.alone.is_some())
    }

    /// Those to be listed, by name.
    pub fn list(&self, now: Timestamp) -> Vec<(Arc<str>, Worker)> {
        let listed = self.all.iter().filter(|(_, worker)| worker.is_listed(now));
        listed.map(|(name, worker)| (name.clone(), worker.clone())).collect()
    }

    /// How many of a queue were heard of a moment ago.
    pub fn active(&self, queue: &str, now: Timestamp) -> usize {
        let of_queue = self.all.values().filter(|worker| worker.queues.contains(queue));
        of_queue.filter(|worker| worker.state(now) == "active").count()
    }
}

impl Worker {
    /// active, silent or gone.
    pub fn state(&self, now: Timestamp) -> &'static str {
        match self.last_seen.map(|at| now.since(at)) {
            Some(silent) if silent < SILENT => "active",
            Some(silent) if silent < GONE => "silent",
            Some(_) => "gone",
            None => "silent",
        }
    }

    /// Whether lists show it.
    pub fn is_listed(&self, now: Timestamp) -> bool {
        let seen = self.last_seen.is_none_or(|at| now.since(at) < GONE + LISTED);
        seen || !self.in_hand.is_empty()
    }
}
