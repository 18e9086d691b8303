//! Rows of cases and the keys under which they are found.

use std::borrow::Cow;
use std::ops::Bound;
use std::sync::Arc;

use super::{TableError, Views, keys};
use crate::domain::case::phase::Phase;
use crate::domain::case::summary::{DeadLetter, Summary};
use crate::domain::data::Data;
use crate::domain::document::DocumentId;
use crate::domain::ids::CaseId;
use crate::domain::service::line::QueueEntry;
use crate::domain::time::Timestamp;
use crate::store::codec;

/// What became of a case's row.
pub struct Put {
    /// The row as it was.
    pub before: Option<Summary>,
    /// Listeners that were not there before.
    pub listeners: Vec<keys::ListenerKey>,
}

/// Whether a running case goes on running and shows nothing new but its version: such rows are not
/// written, since a case in motion would be written with every step. What is running is read from
/// its actor or the journal anyway.
fn only_moves_on(before: &Summary, now: &Summary) -> bool {
    let Summary { version, updated_at, .. } = before;
    let moving = before.phase == Phase::Running && now.phase == Phase::Running;
    moving && Summary { version: *version, updated_at: *updated_at, ..now.clone() } == *before
}

/// A summary without what only the rows of its dead letter and its assignments say.
fn lean(summary: &Summary) -> Cow<'_, Summary> {
    if summary.dead.is_none() && summary.assignments.is_empty() {
        return Cow::Borrowed(summary);
    }
    let lean = |dead: &DeadLetter| DeadLetter {
        input: Data::null(),
        attempts: Vec::new(),
        ..dead.clone()
    };
    let (dead, assignments) = (summary.dead.as_ref().map(lean), Vec::new());
    Cow::Owned(Summary { dead, assignments, ..summary.clone() })
}

impl Views {
    /// The row of a case.
    ///
    /// # Errors
    /// When sled fails; so for all below.
    pub fn case(&self, case: CaseId) -> Result<Option<Summary>, TableError> {
        self.decoded(self.table.get(&keys::of_case(keys::CASE, case))?)
    }

    /// Writes a case's row, and the keys under which it is found. What is large of a dead letter stands
    /// in its own row alone.
    pub fn put_case(&self, summary: &Summary) -> Result<Put, TableError> {
        let summary = &lean(summary);
        let row_key = keys::of_case(keys::CASE, summary.id);
        let before: Option<Summary> = self.decoded(self.table.get(&row_key)?)?;
        if before.as_ref().is_some_and(|before| only_moves_on(before, summary)) {
            return Ok(Put { before, listeners: Vec::new() });
        }
        let summary = &**summary;
        let new = keys::of_summary(summary);
        let old = before.as_ref().map(keys::of_summary).unwrap_or_default();
        let mut listeners = Vec::new();
        for key in new.iter().filter(|key| old.binary_search(key).is_err()) {
            self.table.put(key, &[])?;
            if let Some(prefix) = keys::counted(key) {
                self.counts.add(prefix, true);
            }
            if key[0] == keys::LISTENER {
                listeners.extend(keys::listener_of(key));
            }
        }
        for key in old.iter().filter(|key| new.binary_search(key).is_err()) {
            self.table.remove(key)?;
            if let Some(prefix) = keys::counted(key) {
                self.counts.add(prefix, false);
            }
        }
        self.table.put(&row_key, &codec::encode(summary))?;
        Ok(Put { before, listeners })
    }

    /// Cases that wait for a child's end.
    pub fn parents_of(&self, child: CaseId) -> Result<Vec<CaseId>, TableError> {
        self.cases_under(&keys::key(keys::PARENT, &[&child.0.0]), usize::MAX)
    }

    /// Cases that refer to a document, at most so many.
    pub fn cases_of_document(
        &self,
        document: DocumentId,
        most: usize,
    ) -> Result<Vec<CaseId>, TableError> {
        self.cases_under(&keys::key(keys::DOCUMENT, &[&document.0]), most)
    }

    /// Cases that owe something, from one on.
    pub fn owing(&self, after: Option<CaseId>, most: usize) -> Result<Vec<CaseId>, TableError> {
        let after = after.map(|case| keys::of_case(keys::OWES, case));
        let start = after.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
        let found = self.table.scan(&[keys::OWES], start).take(most);
        found.filter_map(|e| e.map(|(key, _)| keys::case_at_end(&key)).transpose()).collect()
    }

    /// Cases that were accepted and not started, in the order in which they start.
    pub fn pending(&self, most: usize) -> Result<Vec<CaseId>, TableError> {
        self.cases_under(&[keys::PENDING], most)
    }

    /// How many cases wait to be started.
    pub fn count_pending(&self) -> u64 {
        self.counts.get(&[keys::PENDING])
    }

    /// The services before which cases wait.
    pub fn lines(&self) -> Result<Vec<Arc<str>>, TableError> {
        let mut services: Vec<Arc<str>> = Vec::new();
        for (prefix, _) in self.counts.under(&[keys::LINE]) {
            // the key holds a hash of the name: the first case in the line knows it
            let Some(first) = self.table.scan(&prefix, Bound::Unbounded).next() else { continue };
            let Some(case) = keys::case_at_end(&first?.0) else { continue };
            let parked = self.case(case)?.map(|row| row.parked).unwrap_or_default();
            let of_the_line = parked.into_iter().find(|p| keys::line(&p.service) == prefix);
            services.extend(of_the_line.map(|parked| parked.service));
        }
        Ok(services)
    }

    /// Cases that are due by an instant, the earliest first, and when.
    pub fn due(
        &self,
        until: Timestamp,
        most: usize,
    ) -> Result<Vec<(Timestamp, CaseId)>, TableError> {
        let mut found = Vec::new();
        for entry in self.table.scan(&[keys::TIMER], Bound::Unbounded).take(most) {
            let (key, _) = entry?;
            let due = keys::number_at(&key, 1).map_or(Timestamp(0), |n| Timestamp(n as i64));
            if due > until {
                break;
            }
            found.extend(keys::case_at_end(&key).map(|case| (due, case)));
        }
        Ok(found)
    }

    /// Who waits for a service, in order.
    pub fn line(&self, service: &str, most: usize) -> Result<Vec<QueueEntry>, TableError> {
        let prefix = keys::line(service);
        let rank_at = prefix.len();
        let ticket = |key: &[u8]| {
            let since = Timestamp(keys::number_at(key, rank_at + 1)? as i64);
            Some(QueueEntry { rank: *key.get(rank_at)?, since, case: keys::case_at_end(key)? })
        };
        let found = self.table.scan(&prefix, Bound::Unbounded).take(most);
        found.filter_map(|e| e.map(|(key, _)| ticket(&key)).transpose()).collect()
    }

    /// How many wait for a service, and since when the oldest does.
    pub fn count_line(&self, service: &str) -> Result<(u64, Option<Timestamp>), TableError> {
        let prefix = keys::line(service);
        let count = self.counts.get(&prefix);
        let mut oldest = None;
        if count > 0 {
            // the oldest of each rank stands first there
            for rank in 0..=9u8 {
                let of_rank = [&prefix[..], &[rank]].concat();
                let first = self.table.scan(&of_rank, Bound::Unbounded).next().transpose()?;
                let since = first.and_then(|(key, _)| keys::number_at(&key, of_rank.len()));
                oldest = oldest.into_iter().chain(since.map(|n| Timestamp(n as i64))).min();
            }
        }
        Ok((count, oldest))
    }

    /// How many cases repeat calls to a service that fails, and since when the oldest does.
    pub fn count_repeating(&self, service: &str) -> Result<(u64, Option<Timestamp>), TableError> {
        let prefix = keys::repeats(service);
        let count = self.counts.get(&prefix);
        let first = match count {
            0 => None,
            _ => self.table.scan(&prefix, Bound::Unbounded).next().transpose()?,
        };
        let since = first.and_then(|(key, _)| keys::number_at(&key, prefix.len()));
        Ok((count, since.map(|n| Timestamp(n as i64))))
    }

    fn cases_under(&self, prefix: &[u8], most: usize) -> Result<Vec<CaseId>, TableError> {
        let found = self.table.scan(prefix, Bound::Unbounded).take(most);
        found.filter_map(|e| e.map(|(key, _)| keys::case_at_end(&key)).transpose()).collect()
    }
}
