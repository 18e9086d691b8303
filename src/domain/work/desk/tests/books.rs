//! Every job's truth is kept by somebody else as well, while the index lags, the server restarts and cases
//! do not answer.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use proptest::prelude::*;
use proptest::sample::Index;

use super::*;
use crate::domain::ids::LeaseDigest;
use crate::domain::service::settings::Rate;
use crate::domain::work::job::JobId;
use crate::domain::work::lease::Lease;
use crate::domain::work::queue::place;
use crate::domain::work::waiting::{Repeating, Waiting};

/// Rows that are read of the index in one go.
const PAGE: usize = 4;

/// Lost leases that make a job a dead letter.
const LOST_MAX: u32 = 3;

const LEASE: i64 = 5000;

/// What happens around a desk.
#[derive(Debug, Clone)]
enum Happening {
    Queued { priority: u8, case: u8 },
    Polled { worker: u8, most: usize },
    Answered(Index, Answer),
    Ended(Index, End),
    Extended(Index),
    Cancelled(Index),
    Passes(i64),
    IndexCatchesUp(usize),
    IndexIsMadeAnew,
    Restarts,
    Pauses(bool),
    Purged,
}

/// What a case says to a lease that it is asked for.
#[derive(Debug, Clone, Copy)]
enum Answer {
    Yes,
    /// It could not be asked.
    No,
    /// It said yes, nobody heard it, and the job is given back.
    Lost,
    /// It said yes, crashed before it told the desk, and nobody has the job: the index alone knows of the lease.
    Untold,
}

/// How a lease ends.
#[derive(Debug, Clone, Copy)]
enum End {
    Done,
    Failed,
    Released,
}

fn happening() -> impl Strategy<Value = Happening> {
    let answers =
        vec![Answer::Yes, Answer::Yes, Answer::Yes, Answer::No, Answer::Lost, Answer::Untold];
    let answer = prop::sample::select(answers);
    let end = prop::sample::select(vec![End::Done, End::Failed, End::Released]);
    prop_oneof![
        10 => (0..10u8, 0..4u8).prop_map(|(priority, case)| Happening::Queued { priority, case }),
        8 => (0..4u8, 1..6usize).prop_map(|(worker, most)| Happening::Polled { worker, most }),
        10 => (any::<Index>(), answer).prop_map(|(n, answer)| Happening::Answered(n, answer)),
        5 => (any::<Index>(), end).prop_map(|(n, end)| Happening::Ended(n, end)),
        2 => any::<Index>().prop_map(Happening::Extended),
        1 => any::<Index>().prop_map(Happening::Cancelled),
        5 => (1..4000i64).prop_map(Happening::Passes),
        6 => (0..8usize).prop_map(Happening::IndexCatchesUp),
        1 => Just(Happening::IndexIsMadeAnew),
        1 => Just(Happening::Restarts),
        1 => any::<bool>().prop_map(Happening::Pauses),
        1 => Just(Happening::Purged),
    ]
}

/// The desk, and who counts for itself.
struct World {
    desk: Desk,
    workers: Workers,
    now: Timestamp,
    /// What the cases have committed.
    truth: BTreeMap<JobId, JobRow>,
    /// What the views show, and what they are to be told yet.
    index: BTreeMap<JobId, JobRow>,
    late: VecDeque<(JobId, Option<JobRow>)>,
    /// Whether they are told at once.
    prompt: bool,
    /// Jobs whose cases are being asked, and for whom.
    asked: Vec<(JobId, Arc<str>)>,
    /// What was taken since the start, and when.
    begun: Vec<Timestamp>,
    tokens: u64,
    /// Leases of which no case has told.
    untold: BTreeSet<JobId>,
    /// There was one.
    crashed: bool,
}

impl World {
    fn new(settings: Settings, prompt: bool) -> Self {
        let mut world = Self {
            desk: Desk::new(settings, Said::default()),
            workers: Workers::default(),
            now: NOW,
            truth: BTreeMap::new(),
            index: BTreeMap::new(),
            late: VecDeque::new(),
            prompt,
            asked: Vec::new(),
            begun: Vec::new(),
            tokens: 0,
            untold: BTreeSet::new(),
            crashed: false,
        };
        world.desk.is_ready();
        world
    }

    /// A case commits what becomes of a job.
    fn commit(&mut self, id: JobId, row: Option<JobRow>) {
        self.untold.remove(&id);
        match &row {
            Some(row) => {
                self.truth.insert(id, row.clone());
                self.desk.committed(id.case, row, &mut self.workers, self.now);
            }
            None => {
                self.truth.remove(&id);
                self.desk.gone(id, &mut self.workers, self.now);
            }
        }
        self.late.push_back((id, row));
        if self.prompt {
            self.catch_up(usize::MAX);
        }
    }

    /// The views take over some of what was committed.
    fn catch_up(&mut self, most: usize) {
        for _ in 0..most {
            let Some((id, row)) = self.late.pop_front() else { return };
            match row {
                Some(row) => {
                    self.desk.shown(id.case, &row, &mut self.workers, self.now);
                    self.index.insert(id, row);
                }
                None => drop(self.index.remove(&id)),
            }
        }
    }

    /// The desk reads the index where it does not know who comes next.
    fn read(&mut self) {
        let (of_line, of_repeats) = self.desk.reads();
        let waiting = |(id, row): (&JobId, &JobRow)| Waiting {
            place: row.place,
            id: *id,
            queued_at: row.queued_at,
            lost: row.lost,
        };
        let (mut line, mut repeats) = (Vec::new(), Vec::new());
        for entry in &self.index {
            match entry.1.at {
                JobAt::Queued { repeats: false, .. } => line.push(waiting(entry)),
                JobAt::Queued { from, .. } => {
                    repeats.push(Repeating { from, waiting: waiting(entry) })
                }
                JobAt::Leased(_) => {}
            }
        }
        line.sort_unstable();
        repeats.sort_unstable();
        if self.desk.wants_line() {
            let complete = line.len() < PAGE;
            // as the actor does, it skips those of whom memory knows better
            let unknown = line.into_iter().filter(|row| !self.desk.is_known(row.id, self.now));
            let page: Vec<Waiting> = unknown.take(PAGE).collect();
            self.desk.line_up(of_line, page, complete, self.now);
        }
        if self.desk.wants_repeats() {
            self.desk.repeat(of_repeats, repeats, true, self.now);
        }
    }

    fn poll(&mut self, worker: &Arc<str>, most: usize) -> Result<usize, TestCaseError> {
        self.read();
        let taken = self.desk.take(worker, most, &mut self.workers, self.now);
        for waiting in &taken {
            let held = self.truth.get(&waiting.id).map(|row| &row.at);
            let is_leased = matches!(held, Some(JobAt::Leased(_)));
            let may_know = !self.untold.contains(&waiting.id);
            prop_assert!(!(is_leased && may_know), "two leases of one job");
            let purged = self.desk.said().purged.is_some_and(|before| waiting.queued_at < before);
            prop_assert!(!purged, "it was purged");
            if self.prompt && waiting.lost < super::super::ALONE_FROM {
                let before = self.truth.iter().find(|(id, row)| {
                    let waits = matches!(row.at, JobAt::Queued { repeats: false, .. });
                    let is_taken = self.asked.iter().any(|(asked, _)| asked == *id)
                        || taken.iter().any(|other| other.id == **id);
                    let purged = self.desk.said().purged.is_some_and(|at| row.queued_at < at);
                    let alone = row.lost >= super::super::ALONE_FROM;
                    waits && !is_taken && !purged && !alone && row.place < waiting.place
                });
                prop_assert!(before.is_none(), "{before:?} stands before {waiting:?}");
            }
        }
        for waiting in &taken {
            self.asked.push((waiting.id, worker.clone()));
            self.begun.push(self.now);
        }
        self.check_bounds()?;
        Ok(taken.len())
    }

    fn check_bounds(&self) -> Result<(), TestCaseError> {
        let leased = self.leased().iter().filter(|id| !self.untold.contains(id)).count();
        // a case that crashed may be asked by two for a moment, and both count
        if let Some(most) = self.desk.settings.concurrency.filter(|_| !self.crashed) {
            let asked = self.asked.iter().map(|(id, _)| *id).filter(|id| self.is_queued(*id));
            // a case may be asked twice, and says yes once
            let asked = asked.collect::<BTreeSet<JobId>>().len();
            prop_assert!(leased + asked <= most as usize, "{leased} leased, {asked} asked for");
        }
        if let Some(rate) = self.desk.settings.rate {
            let since = self.now.plus(-rate.per);
            let lately = self.begun.iter().filter(|at| **at > since).count();
            // one at once at the beginning
            prop_assert!(lately <= rate.calls as usize + 1, "{lately} begun");
        }
        Ok(())
    }

    fn is_queued(&self, id: JobId) -> bool {
        self.truth.get(&id).is_some_and(|row| matches!(row.at, JobAt::Queued { .. }))
    }

    /// A case answers whether a worker may have its job.
    fn answer(&mut self, n: usize, answer: Answer) {
        let (id, worker) = self.asked.remove(n);
        let may = self.is_queued(id);
        match answer {
            Answer::No => self.desk.put_back(id, &worker, &mut self.workers, self.now),
            Answer::Yes | Answer::Lost | Answer::Untold if may => {
                self.tokens += 1;
                let mut row = self.truth[&id].clone();
                row.attempt += 1;
                row.at = JobAt::Leased(Lease {
                    worker: worker.clone(),
                    host: None,
                    millis: LEASE,
                    digest: LeaseDigest::of(&self.tokens.to_string()),
                    template: None,
                });
                if matches!(answer, Answer::Untold) {
                    self.truth.insert(id, row.clone());
                    self.late.push_back((id, Some(row)));
                    self.untold.insert(id);
                    self.crashed = true;
                    self.desk.put_back(id, &worker, &mut self.workers, self.now);
                    return;
                }
                self.commit(id, Some(row));
                if matches!(answer, Answer::Lost) {
                    self.desk.put_back(id, &worker, &mut self.workers, self.now);
                    self.end(id, End::Released);
                }
            }
            Answer::Yes | Answer::Lost | Answer::Untold => {
                self.desk.refused(id, &worker, &mut self.workers, self.now);
            }
        }
    }

    fn end(&mut self, id: JobId, end: End) {
        let mut row = self.truth[&id].clone();
        let again = match end {
            End::Done => None,
            End::Failed => Some((self.now.plus(3000), true)),
            End::Released => Some((self.now, false)),
        };
        let row = again.map(|(from, repeats)| {
            row.at = JobAt::Queued { from, repeats };
            row
        });
        self.commit(id, row);
    }

    /// Leases that are over are told to their cases.
    fn look(&mut self) {
        for (id, digest) in self.desk.over(self.now) {
            match self.truth.get(&id).map(|row| (row, &row.at)) {
                Some((row, JobAt::Leased(lease))) if lease.digest == digest => {
                    let mut row = row.clone();
                    row.lost += 1;
                    row.at = JobAt::Queued { from: self.now, repeats: false };
                    let goes_on = row.lost < LOST_MAX;
                    self.commit(id, goes_on.then_some(row));
                }
                _ => self.desk.unknown(id, digest, &mut self.workers),
            }
        }
        for id in self.desk.take_purged() {
            if self.is_queued(id) {
                self.commit(id, None);
            }
        }
    }

    fn leased(&self) -> Vec<JobId> {
        let leased = self.truth.iter().filter(|(_, row)| matches!(row.at, JobAt::Leased(_)));
        leased.map(|(id, _)| *id).collect()
    }

    /// The process begins again; the views come up to date before anybody is served.
    fn restart(&mut self) {
        let said = self.desk.said().clone();
        self.catch_up(usize::MAX);
        self.untold.clear();
        (self.desk, self.workers) = (Desk::new(self.desk.settings, said), Workers::default());
        self.asked.clear();
        self.begun.clear();
        let leased: Vec<_> = self.leased();
        for id in leased {
            self.desk.shown(id.case, &self.index[&id], &mut self.workers, self.now);
        }
        self.desk.is_ready();
    }

    /// Who goes through the index after a purge tells the cases.
    fn sweep(&mut self) {
        let Some(before) = self.desk.said().purged else { return };
        let purged = self
            .truth
            .iter()
            .filter(|(_, row)| row.queued_at < before && matches!(row.at, JobAt::Queued { .. }));
        let purged: Vec<JobId> = purged.map(|(id, _)| *id).collect();
        for id in purged {
            self.commit(id, None);
        }
    }

    fn happens(&mut self, happening: Happening, jobs: &mut u32) -> Result<(), TestCaseError> {
        match happening {
            Happening::Queued { priority, case } => {
                *jobs += 1;
                let case = CaseId(Bits([case; 16]));
                let of_case = self.truth.keys().filter(|id| id.case == case).count();
                let at = place(self.now, priority, self.desk.settings.aging, of_case);
                let key = JobKey::of("/do/0/a", *jobs, 0);
                let mut row = JobRow { key, priority, place: at, queued_at: self.now, ..row(0) };
                row.at = JobAt::Queued { from: self.now, repeats: false };
                self.commit(JobId { case, key }, Some(row));
            }
            Happening::Polled { worker, most } => {
                self.poll(&format!("worker-{worker}").into(), most)?;
            }
            Happening::Answered(n, answer) if !self.asked.is_empty() => {
                self.answer(n.index(self.asked.len()), answer);
            }
            Happening::Ended(n, end) if !self.leased().is_empty() => {
                let leased = self.leased();
                self.end(leased[n.index(leased.len())], end);
            }
            Happening::Extended(n) if !self.leased().is_empty() => {
                let leased = self.leased();
                let id = leased[n.index(leased.len())];
                if let JobAt::Leased(lease) = &self.truth[&id].at {
                    self.desk.extend(id, lease.digest, self.now);
                }
            }
            Happening::Cancelled(n) if !self.truth.is_empty() => {
                let ids: Vec<JobId> = self.truth.keys().copied().collect();
                self.commit(ids[n.index(ids.len())], None);
            }
            Happening::Answered(..)
            | Happening::Ended(..)
            | Happening::Extended(_)
            | Happening::Cancelled(_) => {}
            Happening::Passes(millis) => self.now = self.now.plus(millis),
            Happening::IndexCatchesUp(most) => self.catch_up(most),
            Happening::IndexIsMadeAnew => {
                self.index.clear();
                self.late = self.truth.iter().map(|(id, row)| (*id, Some(row.clone()))).collect();
                self.catch_up(usize::MAX);
                self.desk.expect_more();
            }
            Happening::Restarts => self.restart(),
            Happening::Pauses(pauses) => {
                self.desk.said_mut().paused = pauses.then(|| ("why".into(), "who".into()));
            }
            Happening::Purged => {
                self.desk.said_mut().purged = Some(self.now);
                self.desk.sort_purged();
                self.sweep();
            }
        }
        self.look();
        self.check_bounds()
    }
}

proptest! {
    #[test]
    fn no_job_is_leased_twice_or_out_of_turn_and_none_is_forgotten(
        happenings in prop::collection::vec(happening(), 1..120),
        concurrency in prop::option::of(1..4u32),
        rate in prop::option::of(prop::sample::select(vec![(5, 10_000), (1, 2000)])),
        prompt in any::<bool>(),
    ) {
        let rate = rate.map(|(calls, per)| Rate { calls, per });
        let settings = Settings { concurrency, rate, aging: 1000, lease: LEASE };
        let (mut world, mut jobs) = (World::new(settings, prompt), 0);
        for happening in happenings {
            world.happens(happening, &mut jobs)?;
        }
        // one good worker comes to an end with all that is left
        world.desk.said_mut().paused = None;
        world.catch_up(usize::MAX);
        let worker: Arc<str> = "good".into();
        for _ in 0..20 * (jobs + 1) {
            while !world.asked.is_empty() {
                world.answer(0, Answer::Yes);
            }
            for id in world.leased() {
                if !world.untold.contains(&id) {
                    world.end(id, End::Done);
                }
            }
            world.catch_up(usize::MAX);
            if world.truth.is_empty() {
                break;
            }
            if world.poll(&worker, 3)? == 0 {
                let due = world.desk.next_due(world.now);
                let due = due.unwrap_or(world.now.plus(super::super::GIVEN_LATELY));
                world.now = due.max(world.now.plus(1));
                world.look();
            }
        }
        prop_assert!(world.truth.is_empty(), "nobody was given {:?}", world.truth);
    }
}
