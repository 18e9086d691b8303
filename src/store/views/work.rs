//! What is counted of queues and workers.

use std::collections::BTreeSet;
use std::ops::Bound;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{TableError, Views, keys};
use crate::domain::case::worked::{How, Worked};
use crate::domain::time::{DAY, Timestamp};
use crate::store::codec;

/// Days for which it is counted what a worker did.
const DAYS: i64 = 30;

/// Workers of which a row is kept.
const WORKERS_MAX: usize = 10_000;

/// What became of the jobs of a queue, since the first.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueueCounts {
    pub done: u64,
    pub failed: u64,
    pub lost: u64,
    pub expired: u64,
    pub purged: u64,
}

/// What a worker did.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WorkerRow {
    pub name: Arc<str>,
    pub queues: BTreeSet<Arc<str>>,
    /// When its last job ended.
    pub last: Timestamp,
    /// By day since 1970: done, and failed or lost.
    days: Vec<(i64, u64, u64)>,
}

impl WorkerRow {
    /// Done and failed in the days before an instant.
    pub fn counts(&self, now: Timestamp) -> (u64, u64) {
        let since = now.0.div_euclid(DAY) - DAYS;
        let days = self.days.iter().filter(|(day, ..)| *day > since);
        days.fold((0, 0), |(done, failed), (_, d, f)| (done + d, failed + f))
    }

    fn count(&mut self, worked: &Worked) {
        let day = worked.at.0.div_euclid(DAY);
        self.queues.insert(worked.queue.clone());
        self.last = self.last.max(worked.at);
        self.days.retain(|(known, ..)| *known > day - DAYS);
        if !self.days.iter().any(|(known, ..)| *known == day) {
            self.days.push((day, 0, 0));
        }
        for (known, done, failed) in &mut self.days {
            if *known == day {
                match worked.how {
                    How::Done => *done += 1,
                    How::Failed | How::Lost => *failed += 1,
                    How::Expired | How::Purged => {}
                }
            }
        }
    }
}

impl Views {
    /// Counts what became of a job.
    ///
    /// # Errors
    /// When the table fails; so below.
    pub fn count_work(&self, worked: &Worked) -> Result<(), TableError> {
        let mut counts = self.queue_counts(&worked.queue)?;
        let count = match worked.how {
            How::Done => &mut counts.done,
            How::Failed => &mut counts.failed,
            How::Lost => &mut counts.lost,
            How::Expired => &mut counts.expired,
            How::Purged => &mut counts.purged,
        };
        *count += 1;
        self.table.put(&keys::queue_counts(&worked.queue), &codec::encode(&counts))?;
        let Some(name) = &worked.worker else { return Ok(()) };
        let key = keys::worker(name);
        let known: Option<WorkerRow> = self.decoded(self.table.get(&key)?)?;
        let mut row = match known {
            Some(row) => row,
            None if self.workers()?.len() >= WORKERS_MAX => return Ok(()),
            None => {
                let (queues, days) = (BTreeSet::new(), Vec::new());
                WorkerRow { name: name.clone(), queues, last: worked.at, days }
            }
        };
        row.count(worked);
        self.table.put(&key, &codec::encode(&row))
    }

    /// What became of the jobs of a queue.
    pub fn queue_counts(&self, queue: &str) -> Result<QueueCounts, TableError> {
        let row = self.table.get(&keys::queue_counts(queue))?;
        Ok(self.decoded(row)?.unwrap_or_default())
    }

    /// What workers did.
    pub fn workers(&self) -> Result<Vec<WorkerRow>, TableError> {
        let mut found = Vec::new();
        for row in self.table.scan(&[keys::WORKER], Bound::Unbounded) {
            found.extend(self.decoded(Some(row?.1))?);
        }
        Ok(found)
    }
}
