//! Workers of the simulation: they lease jobs, do them and say so, die over them, come late and twice.

use std::collections::BTreeSet;

use super::Run;
use super::books::{is_process, output};
use crate::domain::case::command::{Command, Rejection};
use crate::domain::case::job::{self, GivenJob, JobAct, JobConflict, JobOutcome};
use crate::domain::case::problem::{Problem, Standard};
use crate::domain::document::DocumentId;
use crate::domain::ids::{Bits, LeaseDigest};
use crate::domain::work::lease::Leasing;
use crate::domain::work::row::JobAt;
use crate::domain::workflow::model::TaskId;

/// How a worker behaves that has a job.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Worker {
    Does,
    /// It does the job and says so twice, the second time something else.
    SaysTwice,
    /// It does the job, and its lease runs out before it says so.
    DoesAndIsLost,
    Dies,
    FailsForNow,
    Fails,
    GivesBack,
}

/// A job in a worker's hands.
pub(super) struct InHand {
    job: GivenJob,
    place: (TaskId, u32),
    digest: LeaseDigest,
}

impl Run {
    /// A worker takes the first job that there is.
    fn lease(&mut self) {
        let now = self.world.now;
        let rows = job::rows(self.world.state());
        let free = |at: &JobAt| matches!(at, JobAt::Queued { from, .. } if *from <= now);
        let Some(row) = rows.iter().filter(|row| free(&row.at)).min_by_key(|row| row.place) else {
            return;
        };
        self.leases += 1;
        let mut bits = [0; 16];
        bits[..4].copy_from_slice(&self.leases.to_be_bytes());
        let digest = LeaseDigest(Bits(bits));
        let place = job::find(self.world.state(), row.key).expect("a job of the case");
        let worker = "w".into();
        let leasing = Leasing { worker, host: None, millis: None, of_queue: 60_000, digest };
        let (key, act) = (row.key, Box::new(JobAct::Lease(leasing)));
        let given = self.world.given.len();
        let _ = self.world.try_tell(Command::Job { key, act });
        if let Some(job) = self.world.given.get(given).cloned() {
            let two =
                self.in_hand.iter().find(|known| known.job.id == job.id && self.is_live(known));
            assert!(two.is_none(), "two live leases of {}\n{}", job.key, self.world.told());
            self.in_hand.push(InHand { job, place, digest });
        }
    }

    fn is_live(&self, in_hand: &InHand) -> bool {
        let rows = job::rows(self.world.state());
        rows.iter().any(|row| {
            row.key == in_hand.job.id.key
                && matches!(&row.at, JobAt::Leased(lease) if lease.digest == in_hand.digest)
        })
    }

    /// A worker goes on with the oldest job that any has, or takes one.
    pub(super) fn work(&mut self, how: Worker) {
        if self.in_hand.is_empty() {
            self.lease();
        }
        if self.in_hand.is_empty() {
            return;
        }
        let in_hand = self.in_hand.remove(0);
        let live = self.is_live(&in_hand);
        let does = matches!(how, Worker::Does | Worker::SaysTwice | Worker::DoesAndIsLost);
        // whoever's lease is over has dropped the job, or is too late to be stopped
        let act = does.then(|| self.books.do_job(&self.world, &in_hand.job.key, in_hand.place));
        // what it made is the act's own
        let made = |act: usize| DocumentId::of(&act.to_le_bytes());
        let done =
            |act| JobOutcome::Done { output: output(act).into(), documents: vec![made(act)] };
        let failed = |retryable| JobOutcome::Failed {
            error: Problem::new(Standard::Runtime, "no").with_status(418),
            retryable,
            retry_after: None,
        };
        if is_process(&self.world, in_hand.place.0) && how == Worker::Fails {
            // it may have done something before that, as a service that answers with an error
            self.books.erred.insert(in_hand.job.key.to_string());
        }
        let outcome = match (how, act) {
            (Worker::Does | Worker::SaysTwice, Some(act)) => done(act),
            (Worker::FailsForNow, _) => failed(true),
            (Worker::Fails, _) => failed(false),
            (Worker::GivesBack, _) => JobOutcome::Released,
            (_, _) => JobOutcome::Lost("it ran out".into()),
        };
        let said = self.end(&in_hand, outcome);
        assert!(said.is_ok() == live, "{said:?} of {}\n{}", in_hand.job.key, self.world.told());
        if let (Worker::Does | Worker::SaysTwice, Some(act), Ok(())) = (how, act, said) {
            self.books.documents.insert(made(act));
        }
        let referred: BTreeSet<DocumentId> = self.world.state().documents.iter().copied().collect();
        assert_eq!(referred, self.books.documents, "named documents\n{}", self.world.told());
        match how {
            Worker::SaysTwice => {
                let again = self.end(&in_hand, failed(false));
                assert!(again.is_err(), "a lease has two results\n{}", self.world.told());
            }
            Worker::DoesAndIsLost => {
                let late = self.end(&in_hand, done(act.unwrap_or_default()));
                assert!(late.is_err(), "a result comes after its lease\n{}", self.world.told());
            }
            _ => {}
        }
    }

    fn end(&mut self, in_hand: &InHand, outcome: JobOutcome) -> Result<(), JobConflict> {
        let (key, digest) = (in_hand.job.id.key, in_hand.digest);
        let act = Box::new(JobAct::End { digest, outcome });
        match self.world.try_tell(Command::Job { key, act }) {
            Ok(()) => Ok(()),
            Err(Rejection::Job(conflict)) => Err(conflict),
            Err(other) => panic!("{other}"),
        }
    }

    /// What a worker takes that asks for one more job.
    pub(super) fn take_job(&mut self) {
        self.lease();
    }
}
