//! Jobs by queue: the line, those that are repeated, those that workers have.

use std::collections::BTreeSet;
use std::ops::Bound;
use std::sync::Arc;

use super::{TableError, Views, keys};
use crate::domain::ids::{Bits, CaseId};
use crate::domain::time::Timestamp;
use crate::domain::work::job::{JobId, JobKey};
use crate::domain::work::row::{JobAt, JobRow};
use crate::domain::work::waiting::{Repeating, Waiting};

/// How many jobs a queue has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct JobCounts {
    /// In the line.
    pub queued: u64,
    /// Given to nobody before a while has passed.
    pub repeating: u64,
    pub leased: u64,
}

/// Where a job's own part of a key begins, behind letter and queue.
const OWN: usize = 9;

fn waiting(key: &[u8], at: usize) -> Option<Waiting> {
    let place = Timestamp(keys::number_at(key, at)? as i64);
    let case = CaseId(Bits(key.get(at + 8..at + 24)?.try_into().ok()?));
    let id = JobId { case, key: JobKey(keys::number_at(key, at + 24)?) };
    let queued_at = Timestamp(keys::number_at(key, at + 32)? as i64);
    Some(Waiting { place, id, queued_at, lost: u32::from(*key.get(at + 40)?) })
}

fn repeating(key: &[u8]) -> Option<Repeating> {
    let from = Timestamp(keys::number_at(key, OWN)? as i64);
    Some(Repeating { from, waiting: waiting(key, OWN + 8)? })
}

impl Views {
    /// The line of a queue, behind one of its jobs, at most so many.
    ///
    /// # Errors
    /// When the table cannot be read; so below.
    pub fn jobs(
        &self,
        queue: &str,
        behind: Option<&Waiting>,
        most: usize,
    ) -> Result<Vec<Waiting>, TableError> {
        let prefix = keys::jobs(queue);
        let behind = behind.map(|one| {
            let id = [&one.id.case.0.0[..], &one.id.key.0.to_be_bytes()].concat();
            [&prefix[..], &keys::time(one.place), &id, &[u8::MAX; 9]].concat()
        });
        let start = behind.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
        let found = self.table.scan(&prefix, start).take(most);
        found.filter_map(|row| row.map(|(key, _)| waiting(&key, OWN)).transpose()).collect()
    }

    /// Jobs of a queue that are repeated, the earliest first, at most so many.
    pub fn jobs_again(&self, queue: &str, most: usize) -> Result<Vec<Repeating>, TableError> {
        let found = self.table.scan(&keys::jobs_again(queue), Bound::Unbounded).take(most);
        found.filter_map(|row| row.map(|(key, _)| repeating(&key)).transpose()).collect()
    }

    /// Jobs of a queue that workers have.
    pub fn jobs_leased(&self, queue: &str) -> Result<Vec<(CaseId, JobRow)>, TableError> {
        let mut found = Vec::new();
        for row in self.table.scan(&keys::jobs_leased(queue), Bound::Unbounded) {
            let (key, _) = row?;
            let Some(own) = key.get(OWN..OWN + 16).and_then(|own| own.try_into().ok()) else {
                continue;
            };
            let (case, job) = (CaseId(Bits(own)), keys::number_at(&key, OWN + 16).map(JobKey));
            let jobs = self.case(case)?.map(|row| row.jobs).unwrap_or_default();
            let leased = |row: &JobRow| Some(row.key) == job && matches!(row.at, JobAt::Leased(_));
            found.extend(jobs.into_iter().find(leased).map(|row| (case, row)));
        }
        Ok(found)
    }

    /// Since when the oldest job of a queue waits, and its priority.
    pub fn oldest_job(&self, queue: &str) -> Result<Option<(Timestamp, u8)>, TableError> {
        let first = self.table.scan(&keys::jobs_by_age(queue), Bound::Unbounded).next();
        Ok(first.transpose()?.and_then(|(key, _)| {
            Some((Timestamp(keys::number_at(&key, OWN)? as i64), *key.get(OWN + 8)?))
        }))
    }

    /// How many jobs a queue has.
    pub fn count_jobs(&self, queue: &str) -> JobCounts {
        JobCounts {
            queued: self.counts.get(&keys::jobs(queue)),
            repeating: self.counts.get(&keys::jobs_again(queue)),
            leased: self.counts.get(&keys::jobs_leased(queue)),
        }
    }

    /// The queues that have jobs.
    pub fn queues_with_jobs(&self) -> Result<BTreeSet<Arc<str>>, TableError> {
        let mut queues = BTreeSet::new();
        for kind in [keys::JOB, keys::JOB_AGAIN, keys::JOB_LEASED] {
            for (prefix, _) in self.counts.under(&[kind]) {
                // the key holds a hash of the name: the case of the first job knows it
                let Some(first) = self.table.scan(&prefix, Bound::Unbounded).next() else {
                    continue;
                };
                let (key, _) = first?;
                let at = match kind {
                    keys::JOB => OWN + 8,
                    keys::JOB_AGAIN => OWN + 16,
                    _ => OWN,
                };
                let case = key.get(at..at + 16).and_then(|own| own.try_into().ok());
                let case = case.map(|own| CaseId(Bits(own)));
                let row = case.map(|case| self.case(case)).transpose()?.flatten();
                let jobs = row.map(|row| row.jobs).unwrap_or_default();
                let hash = &prefix[1..];
                let named = jobs.into_iter().find(|job| keys::jobs(&job.queue)[1..] == *hash);
                queues.extend(named.map(|job| job.queue));
            }
        }
        Ok(queues)
    }
}
