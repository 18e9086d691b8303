//! The desk of one queue: who is next, who has what, and whose lease is over. It is told of what the cases
//! have committed and keeps nothing that they do not know; what it says is a hint, and the case decides.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use super::job::JobId;
use super::lease::Lease;
use super::pace::Pace;
use super::queue::{Said, Settings};
use super::row::{JobAt, JobRow};
use super::waiting::{Repeating, Waiting};
use super::worker::Workers;
use crate::domain::ids::{CaseId, LeaseDigest};
use crate::domain::line::{Entry, Line};
use crate::domain::service::bucket::Bucket;
use crate::domain::time::Timestamp;
use crate::domain::workflow::model::TaskId;

/// Losses from which on a job is leased alone, so that no neighbour is condemned with it.
const ALONE_FROM: u32 = 2;

/// Milliseconds after which it is given to any worker.
const ALONE_FOR: i64 = 60_000;

/// Milliseconds for which a job that was given away is not believed to be in the line because an index still
/// shows it.
const GIVEN_LATELY: i64 = 5000;

/// A lease as long as it lasts.
#[derive(Debug, Clone, PartialEq)]
pub struct Held {
    pub lease: Lease,
    /// The task's entry that it is, and which attempt.
    pub of: (TaskId, u32, u32),
    pub until: Timestamp,
    /// It ran out, and the case is being told so.
    pub over: bool,
    /// The index has told of it, and no case: it may be over already.
    is_shown: bool,
}

/// Why a job stands in no line.
#[derive(Debug, Clone)]
enum Taken {
    /// Its case is asked whether it may be leased to this worker.
    Asked {
        waiting: Waiting,
        worker: Arc<str>,
        /// What the index shows of it meanwhile: leased, which may be over already.
        shown: Option<Box<JobRow>>,
    },
    /// It is gone; an index may still show it.
    Gone(Timestamp),
    /// Its case refused to lease it; an index may still show that it waits.
    Refused(Timestamp),
}

/// The desk.
#[derive(Debug)]
pub struct Desk {
    settings: Settings,
    said: Said,
    bucket: Option<Bucket>,
    line: Line<Waiting>,
    repeats: Line<Repeating>,
    leases: HashMap<JobId, Held>,
    ends: BTreeSet<(Timestamp, JobId)>,
    taken: HashMap<JobId, Taken>,
    lately: BTreeMap<(Timestamp, JobId), ()>,
    asked: usize,
    /// The rows of leased jobs were read: until then nothing is leased.
    ready: bool,
    /// Since when those that are leased alone have found no worker.
    alone: HashMap<JobId, Timestamp>,
    /// Jobs that came into the line and were queued before a purge.
    purged: BTreeSet<JobId>,
    /// Jobs that came and went of late.
    came: Pace,
    went: Pace,
    /// When the rate allows the next one.
    rate_from: Option<Timestamp>,
}

impl Desk {
    /// A desk at which nothing is known yet; the index may hold jobs.
    pub fn new(settings: Settings, said: Said) -> Self {
        let (mut line, mut repeats) = (Line::default(), Line::default());
        line.expect_more();
        repeats.expect_more();
        Self {
            bucket: settings.rate.map(Bucket::new),
            settings,
            said,
            line,
            repeats,
            leases: HashMap::new(),
            ends: BTreeSet::new(),
            taken: HashMap::new(),
            lately: BTreeMap::new(),
            asked: 0,
            ready: false,
            alone: HashMap::new(),
            purged: BTreeSet::new(),
            came: Pace::default(),
            went: Pace::default(),
            rate_from: None,
        }
    }

    /// Jobs that came and went in the last minute.
    pub fn pace(&self, now: Timestamp) -> (u32, u32) {
        (self.came.of_last_minute(now), self.went.of_last_minute(now))
    }

    /// A job is new.
    pub fn came(&mut self, now: Timestamp) {
        self.came.note(now);
    }

    /// What was said of the queue.
    pub fn said(&self) -> &Said {
        &self.said
    }

    /// Something more was said.
    pub fn said_mut(&mut self) -> &mut Said {
        &mut self.said
    }

    /// Its settings.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The leases.
    pub fn leases(&self) -> &HashMap<JobId, Held> {
        &self.leases
    }

    /// A job's row, as its case has committed it.
    pub fn committed(&mut self, case: CaseId, row: &JobRow, workers: &mut Workers, now: Timestamp) {
        let id = row.id(case);
        self.forget_taken(id, workers);
        match &row.at {
            JobAt::Queued { .. } => {
                self.ended(id, workers);
                self.leave(id);
                self.join(id, row);
            }
            JobAt::Leased(lease) => {
                self.leave(id);
                self.leased(id, (lease, row), workers, now);
            }
        }
    }

    /// A job is in no line any more, and nobody has it.
    pub fn gone(&mut self, id: JobId, workers: &mut Workers, now: Timestamp) {
        self.went.note(now);
        self.forget_taken(id, workers);
        self.ended(id, workers);
        self.leave(id);
        self.alone.remove(&id);
        self.given_lately(id, Taken::Gone(now), workers, now);
    }

    fn is_known(&self, id: JobId, now: Timestamp) -> bool {
        let lately = match self.taken.get(&id) {
            Some(Taken::Asked { .. }) => true,
            Some(Taken::Gone(at) | Taken::Refused(at)) => now.since(*at) < GIVEN_LATELY,
            None => false,
        };
        lately
            || self.leases.contains_key(&id)
            || self.line.contains(id)
            || self.repeats.contains(id)
    }

    fn join(&mut self, id: JobId, row: &JobRow) {
        let JobAt::Queued { from, repeats } = row.at else { return };
        let waiting = Waiting { place: row.place, id, queued_at: row.queued_at, lost: row.lost };
        if self.said.purged.is_some_and(|before| row.queued_at < before) {
            self.purged.insert(id);
        } else if repeats {
            self.repeats.join(Repeating { from, waiting });
        } else {
            self.line.join(waiting);
        }
    }

    fn leave(&mut self, id: JobId) {
        self.line.leave(id);
        self.repeats.leave(id);
        self.purged.remove(&id);
    }

    fn leased(
        &mut self,
        id: JobId,
        (lease, row): (&Lease, &JobRow),
        workers: &mut Workers,
        now: Timestamp,
    ) {
        self.ended(id, workers);
        self.alone.remove(&id);
        let until = now.plus(lease.millis);
        workers.has(&lease.worker, id, row.lost >= ALONE_FROM);
        self.ends.insert((until, id));
        let of = (row.task, row.iteration, row.attempt);
        self.leases
            .insert(id, Held { lease: lease.clone(), of, until, over: false, is_shown: false });
    }

    fn ended(&mut self, id: JobId, workers: &mut Workers) {
        if let Some(held) = self.leases.remove(&id) {
            self.ends.remove(&(held.until, id));
            workers.let_go(&held.lease.worker, id);
        }
    }

    /// Whatever has become of it: its worker does not wait for it any more.
    fn forget_taken(&mut self, id: JobId, workers: &mut Workers) {
        match self.taken.remove(&id) {
            Some(Taken::Asked { worker, .. }) => {
                self.asked -= 1;
                workers.let_go(&worker, id);
            }
            Some(Taken::Gone(at) | Taken::Refused(at)) => drop(self.lately.remove(&(at, id))),
            None => {}
        }
    }

    fn given_lately(&mut self, id: JobId, taken: Taken, workers: &mut Workers, now: Timestamp) {
        self.forget_taken(id, workers);
        self.taken.insert(id, taken);
        self.lately.insert((now, id), ());
        while let Some(((at, oldest), ())) = self.lately.first_key_value()
            && now.since(*at) >= GIVEN_LATELY
        {
            self.taken.remove(&oldest.clone());
            self.lately.pop_first();
        }
    }

    /// Takes jobs out for a worker, in order, at most so many; each is to be asked of its case.
    pub fn take(
        &mut self,
        worker: &Arc<str>,
        most: usize,
        workers: &mut Workers,
        now: Timestamp,
    ) -> Vec<Waiting> {
        let mut taken = Vec::new();
        if !self.ready || self.said.paused.is_some() || workers.is_alone(worker) {
            return taken;
        }
        while taken.len() < most && self.has_room() {
            let free = taken.is_empty() && !workers.holds_any(worker);
            let Some(next) = self.next(free, now) else { break };
            if let Some(bucket) = &mut self.bucket
                && let Err(from) = bucket.take(now)
            {
                self.rate_from = Some(from);
                break;
            }
            self.leave(next.id);
            self.taken.insert(
                next.id,
                Taken::Asked { waiting: next, worker: worker.clone(), shown: None },
            );
            self.asked += 1;
            let alone = next.lost >= ALONE_FROM;
            workers.has(worker, next.id, alone);
            taken.push(next);
            if alone {
                break;
            }
        }
        taken
    }

    /// Whether another lease may begin.
    fn has_room(&self) -> bool {
        let under_way = self.leases.len() + self.asked;
        self.settings.concurrency.is_none_or(|most| under_way < most as usize)
    }

    /// Who comes next; `free`: for a worker that has nothing.
    fn next(&mut self, free: bool, now: Timestamp) -> Option<Waiting> {
        if self.line.wants_more() {
            // the index may hold somebody who comes before all that are to be repeated
            return None;
        }
        let due = self.repeats.iter().take_while(|repeating| repeating.from <= now);
        let mut due: Vec<Waiting> = due.map(|repeating| repeating.waiting).collect();
        due.sort_unstable();
        let (mut line, mut due) = (self.line.iter().peekable(), due.iter().peekable());
        loop {
            let next = match (line.peek(), due.peek()) {
                (Some(one), Some(other)) if one < other => line.next(),
                (_, Some(_)) => due.next(),
                (_, None) => line.next(),
            };
            let next = *next?;
            if next.lost < ALONE_FROM || free {
                return Some(next);
            }
            let since = *self.alone.entry(next.id).or_insert(now);
            if now.since(since) >= ALONE_FOR {
                return Some(next);
            }
        }
    }

    /// The case of a job that was taken out says that it does not stand in the line.
    pub fn refused(&mut self, id: JobId, worker: &Arc<str>, workers: &mut Workers, now: Timestamp) {
        if self.take_asked(id, worker, workers, now).is_some() {
            self.given_lately(id, Taken::Refused(now), workers, now);
        }
    }

    /// The case of a job that was taken out could not be asked: it comes again.
    pub fn put_back(
        &mut self,
        id: JobId,
        worker: &Arc<str>,
        workers: &mut Workers,
        now: Timestamp,
    ) {
        if let Some(waiting) = self.take_asked(id, worker, workers, now) {
            self.line.join(waiting);
            // one that was to be repeated has its row in the other index
            self.repeats.expect_more();
        }
    }

    /// What was asked of a job's case for this worker came to nothing. None: it was not asked any more, or the
    /// index shows a lease of which nobody has told.
    fn take_asked(
        &mut self,
        id: JobId,
        wanted: &Arc<str>,
        workers: &mut Workers,
        now: Timestamp,
    ) -> Option<Waiting> {
        let (waiting, shown) = match self.taken.get_mut(&id)? {
            Taken::Asked { waiting, worker, shown } if worker == wanted => (*waiting, shown.take()),
            Taken::Asked { .. } | Taken::Gone(_) | Taken::Refused(_) => return None,
        };
        self.forget_taken(id, workers);
        match shown {
            Some(row) => {
                self.leased_as_shown(id, &row, workers, now);
                None
            }
            None => Some(waiting),
        }
    }

    /// A worker extends its lease. None: it is over.
    pub fn extend(&mut self, id: JobId, digest: LeaseDigest, now: Timestamp) -> Option<Timestamp> {
        let held = self.leases.get_mut(&id)?;
        if held.lease.digest != digest || held.over {
            return None;
        }
        self.ends.remove(&(held.until, id));
        held.until = now.plus(held.lease.millis);
        self.ends.insert((held.until, id));
        Some(held.until)
    }

    /// Leases that are over; their cases are to be told.
    pub fn over(&mut self, now: Timestamp) -> Vec<(JobId, LeaseDigest)> {
        let mut over = Vec::new();
        while let Some((until, id)) = self.ends.first().copied()
            && until <= now
        {
            self.ends.pop_first();
            if let Some(held) = self.leases.get_mut(&id) {
                held.over = true;
                over.push((id, held.lease.digest));
            }
        }
        over
    }

    /// A case could not be told that a lease is over: it is told again.
    pub fn tell_again(&mut self, id: JobId, digest: LeaseDigest, at: Timestamp) {
        if let Some(held) = self.leases.get_mut(&id)
            && held.lease.digest == digest
        {
            held.until = at;
            self.ends.insert((at, id));
        }
    }

    /// A case does not know of a lease: neither do we.
    pub fn unknown(&mut self, id: JobId, digest: LeaseDigest, workers: &mut Workers) {
        if self.leases.get(&id).is_some_and(|held| held.lease.digest == digest) {
            self.ended(id, workers);
            // meanwhile it may have come into the line again, where its lease hid it
            self.expect_more();
        }
    }

    /// The queue was purged: who stands in the line and was queued before that leaves it.
    pub fn sort_purged(&mut self) {
        let Some(before) = self.said.purged else { return };
        let of_line = self.line.iter().filter(|row| row.queued_at < before).map(|row| row.id);
        let of_repeats = self.repeats.iter().filter(|row| row.waiting.queued_at < before);
        let purged: Vec<JobId> = of_line.chain(of_repeats.map(Entry::id)).collect();
        for id in purged {
            // whoever goes through the index tells their cases
            self.leave(id);
        }
    }

    /// Jobs that were queued before a purge and came into the line since.
    pub fn take_purged(&mut self) -> Vec<JobId> {
        std::mem::take(&mut self.purged).into_iter().collect()
    }

    /// The jobs that are leased, as the index has them, were all told.
    pub fn is_ready(&mut self) {
        self.ready = true;
    }

    /// Whether the rows of leased jobs were read.
    pub fn knows_leases(&self) -> bool {
        self.ready
    }

    /// When there may be something to do by itself.
    pub fn next_due(&self, now: Timestamp) -> Option<Timestamp> {
        let end = self.ends.first().map(|(until, _)| *until);
        let repeat = self.repeats.iter().map(|r| r.from).find(|from| *from > now);
        let alone = self.alone.values().map(|since| since.plus(ALONE_FOR)).min();
        let alone = alone.filter(|at| *at > now);
        let rate = self.rate_from.filter(|from| *from > now);
        [end, repeat, alone, rate].into_iter().flatten().min()
    }
}

mod index;
#[cfg(test)]
mod tests;
