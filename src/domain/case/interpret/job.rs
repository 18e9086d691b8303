//! Jobs: queued for workers outside, leased to them, and what comes of that.

use std::sync::Arc;

use serde_json::{Value as Json, json};

use super::finish::bounded;
use super::{Halt, Interpreter, Key, Trouble};
use crate::domain::case::command::{Health, Rejection};
use crate::domain::case::derive;
use crate::domain::case::event::{Came, Change, Doubt, Event};
use crate::domain::case::job::{
    self, GivenJob, Job, JobAct, JobConflict, JobOutcome, LOSSES_MAX, conflict,
};
use crate::domain::case::problem::{Problem, Standard};
use crate::domain::case::state::Stage;
use crate::domain::data::Data;
use crate::domain::document::{DocumentId, OF_A_CASE};
use crate::domain::ids::LeaseDigest;
use crate::domain::retry::job_delay;
use crate::domain::time::Timestamp;
use crate::domain::work::job::{JobId, JobKey};
use crate::domain::work::lease::{Lease, Leasing};
use crate::domain::work::queue::{PDF, QUEUES_MAX, place};
use crate::domain::work::wanted::Work;
use crate::domain::workflow::model::{Call, Kind, Process, Returns, Template};

/// What a worker outside is asked to do.
#[derive(Clone, Copy)]
pub enum Asked<'a> {
    /// By the arguments of `call: work`.
    Work(&'a Template),
    /// By the arguments of `call: pdf`.
    Pdf(&'a Template),
    Process(&'a Process),
}

/// How often a process, or a document, is tried whose worker could not begin with it.
const ATTEMPTS_OF_OURS: u32 = 5;

impl<'a> Interpreter<'a> {
    /// What a task asks of a worker outside; none: it is done here.
    pub(super) fn work(&self, key: Key) -> Option<Asked<'a>> {
        match &self.task(key.0).kind {
            Kind::Call(call) => match &**call {
                Call::Work(with) => Some(Asked::Work(with)),
                Call::Pdf(with) => Some(Asked::Pdf(with)),
                Call::Process(process) => Some(Asked::Process(process)),
                _ => None,
            },
            _ => None,
        }
    }

    /// The task stands in its queue from here on; one that stood there before keeps its place.
    pub(super) fn queue(&mut self, key: Key, asked: Asked<'_>) -> Result<(), Halt> {
        let known = self.open(key)?.call().and_then(|call| call.job.clone());
        let job = match known {
            Some(job) => job,
            None => match self.new_job(key, asked) {
                Ok(job) => Box::new(job),
                Err(Trouble::Halt(halt)) => return Err(halt),
                Err(Trouble::Problem(problem)) => return self.fault(key, problem),
            },
        };
        self.emit_joined(key, Change::Queued { entry: None, job })
    }

    fn new_job(&mut self, key: Key, asked: Asked<'_>) -> Result<Job, Trouble> {
        let Work { queue, lease, ttl, priority, attempts, .. } = self.wanted(key, asked)?;
        let Some(known) = self.ctx.queue(&queue) else {
            let detail = format!("there are {QUEUES_MAX} queues already, and `{queue}` is none");
            return Err(Problem::new(Standard::Runtime, detail).into());
        };
        let generation = self.generation(key);
        let priority = priority.unwrap_or(self.state.priority);
        let rows = job::rows(&self.state);
        let others = rows.iter().filter(|row| row.queue == queue).count();
        // time to live counts from the first time, whatever was tried since
        let entry = self.state.ledger.get(key).filter(|entry| entry.generation == generation);
        let first = entry.and_then(|entry| entry.queued_at).unwrap_or(self.now);
        Ok(Job {
            key: JobKey::of(&self.task(key.0).reference, key.1, generation),
            priority,
            place: place(self.now, priority, known.aging, others),
            queued_at: self.now,
            // beside the flow nobody waits for it in time
            expires_at: ttl.filter(|_| !self.is_detached(key)).map(|ttl| ttl.after(first)),
            queue,
            lease,
            attempts,
        })
    }

    fn wanted(&mut self, key: Key, asked: Asked<'_>) -> Result<Work, Trouble> {
        let place = self.place(key)?;
        let input = place.input.clone().unwrap_or_default();
        let with = match asked {
            Asked::Work(with) | Asked::Pdf(with) => with,
            Asked::Process(process) => &process.input,
        };
        let with = self.render(with, &input, &place)?;
        bounded(&with, "what is handed to a worker")?;
        let of_ours = |queue: &str, input| {
            let (lease, ttl, priority) = (None, None, None);
            Work { queue: queue.into(), input, lease, ttl, priority, attempts: ATTEMPTS_OF_OURS }
        };
        let wrong = |detail: String| Problem::new(Standard::Validation, detail);
        match asked {
            Asked::Process(process) => Ok(of_ours(process.kind.queue(), with)),
            Asked::Pdf(_) => {
                let text = |name: &str| with.get(name).is_some_and(Json::is_string);
                match text("template") && text("name") {
                    true => Ok(of_ours(PDF, with)),
                    false => Err(wrong("`template` and `name` have to be texts".to_owned()).into()),
                }
            }
            Asked::Work(_) => Work::read(&with).map_err(|detail| wrong(detail).into()),
        }
    }

    /// A worker, or whoever keeps the clocks of leases, has something to say.
    pub(super) fn job(&mut self, job: JobKey, act: &JobAct) -> Result<(), Halt> {
        let found = job::find(&self.state, job);
        let no = |conflict: JobConflict| Err(Rejection::Job(conflict).into());
        match act {
            JobAct::Lease(leasing) => match found {
                Some(key) if self.may_be_leased(key)? => self.lease(key, leasing),
                Some(_) | None => no(JobConflict::NotQueued),
            },
            JobAct::End { digest, outcome } => match found {
                Some(key) if self.is_under(key, *digest)? => self.job_ended(key, outcome),
                Some(_) | None => no(conflict(&self.state, job, *digest)),
            },
            JobAct::Look { digest } => match found {
                Some(key) if self.is_under(key, *digest)? => Ok(()),
                Some(_) | None => no(conflict(&self.state, job, *digest)),
            },
            JobAct::Purge { before } => match found {
                Some(key) if self.is_purged(key, *before)? => self.purge(key),
                Some(_) | None => no(JobConflict::NotQueued),
            },
        }
    }

    fn is_under(&self, key: Key, digest: LeaseDigest) -> Result<bool, Halt> {
        let lease = self.open(key)?.call().and_then(|call| call.lease());
        Ok(lease.is_some_and(|lease| lease.digest == digest))
    }

    /// Whether it stands in its queue, and nothing holds it back.
    fn may_be_leased(&mut self, key: Key) -> Result<bool, Halt> {
        let now = self.now;
        let Some(call) = self.open(key)?.call().cloned() else { return Ok(false) };
        let from = match &call.stage {
            Stage::Queued { from } => *from,
            _ => return Ok(false),
        };
        let expired = derive::expires(&call).is_some_and(|at| at <= now);
        let purged = match call.job.as_deref().and_then(|job| self.ctx.queue(&job.queue)) {
            Some(queue) => queue.purged,
            None => None,
        };
        let purged = purged.map_or(Ok(false), |before| self.is_purged(key, before))?;
        let held = self.is_held() || self.is_out_of_time(key);
        Ok(from <= now && !expired && !purged && !held)
    }

    fn lease(&mut self, key: Key, leasing: &Leasing) -> Result<(), Halt> {
        let Some(asked) = self.work(key) else { return Ok(()) };
        let input = match self.wanted(key, asked) {
            Ok(work) => work.input,
            Err(Trouble::Halt(halt)) => return Err(halt),
            Err(Trouble::Problem(problem)) => return self.fault(key, problem),
        };
        let template = match asked {
            Asked::Pdf(_) => {
                let name = input.get("template").and_then(Json::as_str).unwrap_or_default();
                let Some(content) = self.ctx.template(name) else {
                    let detail = format!("there is no template `{name}`");
                    return self.fault(key, Problem::new(Standard::Configuration, detail));
                };
                Some((Arc::from(name), content))
            }
            Asked::Work(_) | Asked::Process(_) => None,
        };
        let Some(call) = self.open(key)?.call().cloned() else { return Ok(()) };
        let Some(job) = call.job else { return Ok(()) };
        let (attempt, generation) = (call.attempt + 1, self.generation(key));
        let lost = self.state.ledger.get(key).map_or(0, |entry| entry.lost);
        let millis = leasing.millis.or(job.lease).unwrap_or(leasing.of_queue);
        self.given = Some(Box::new(GivenJob {
            id: JobId { case: self.state.id, key: job.key },
            queue: job.queue.clone(),
            key: self.idempotency_key(key)?.into(),
            workflow: self.state.definition.workflow().into(),
            version: self.state.definition.version.clone(),
            task: self.task(key.0).reference.clone(),
            input,
            priority: job.priority,
            attempt,
            lost,
            queued_at: job.queued_at,
            expires_at: job.expires_at,
            lease_millis: millis,
            template: template.clone(),
        }));
        let Leasing { worker, host, digest, .. } = leasing.clone();
        let template = template.map(|(_, content)| content);
        let lease = Some(Box::new(Lease { worker, host, millis, digest, template }));
        let (entry, service, safe) = (None, None, false);
        let change = Change::Started { entry, attempt, service, generation, safe, lease };
        self.emit_task(key, change)
    }

    fn job_ended(&mut self, key: Key, outcome: &JobOutcome) -> Result<(), Halt> {
        match outcome {
            JobOutcome::Done { output, documents } => {
                if let Err(problem) = self.refer(documents)? {
                    return self.failed(key, &problem, true);
                }
                self.job_done(key, output, documents)
            }
            JobOutcome::Failed { error, retryable, retry_after } => {
                self.job_failed(key, error, *retryable, *retry_after)
            }
            JobOutcome::Lost(why) => self.job_lost(key, why),
            JobOutcome::Released => self.job_released(key),
        }
    }

    /// A worker has done it. Of a process it says how it ended; what the definition asks for is the output.
    fn job_done(&mut self, key: Key, output: &Data, documents: &[DocumentId]) -> Result<(), Halt> {
        let process = match self.work(key) {
            Some(Asked::Process(process)) => process,
            Some(Asked::Pdf(_)) => {
                return match document_of(output, documents) {
                    Some(output) => self.complete(key, Some(output), None),
                    None => {
                        let detail = "its worker did not name the document that it made";
                        self.failed(key, &Problem::new(Standard::Runtime, detail), true)
                    }
                };
            }
            Some(Asked::Work(_)) | None => return self.complete(key, Some(output.clone()), None),
        };
        let code = output.get("code").and_then(Json::as_i64).unwrap_or(-1);
        let part = |name: &str| Data::from(output.get(name).cloned().unwrap_or_default());
        let output = match process.returns {
            Returns::All => output.clone(),
            Returns::Code => part("code"),
            _ if code != 0 => {
                let detail = format!("the process ended with the code {code}");
                let error = Problem::new(Standard::Runtime, detail);
                // it may have done something before that
                return self.failed(key, &error, true);
            }
            Returns::Stdout => part("stdout"),
            Returns::Stderr => part("stderr"),
            Returns::None => Data::null(),
        };
        self.complete(key, Some(output), None)
    }

    /// The case refers to documents from here on; or it refers to too many.
    fn refer(&mut self, documents: &[DocumentId]) -> Result<Result<(), Problem>, Halt> {
        let mut documents = documents.to_vec();
        documents.sort_unstable();
        documents.dedup();
        documents.retain(|document| !self.state.documents.contains(document));
        if self.state.documents.len() + documents.len() > OF_A_CASE {
            let detail = format!("a case refers to {OF_A_CASE} documents at the most");
            return Ok(Err(Problem::new(Standard::Runtime, detail)));
        }
        match documents.is_empty() {
            true => Ok(Ok(())),
            false => self.emit(Event::Referred { documents }).map(Ok),
        }
    }

    /// The worker gives it back: as if it had never had it.
    fn job_released(&mut self, key: Key) -> Result<(), Halt> {
        if self.is_detached(key) && !self.is_unknown(key) {
            return self.emit_task(key, Change::dropped());
        }
        let error = Problem::new(Standard::Runtime, "its worker gave it back");
        let (at, outcome) = (self.now, Some(Came::NotSent));
        self.emit_task(key, Change::Retried { error, at, deadline: None, outcome, until: None })
    }

    fn job_failed(
        &mut self,
        key: Key,
        error: &Problem,
        retryable: bool,
        retry_after: Option<i64>,
    ) -> Result<(), Halt> {
        let Some(call) = self.open(key)?.call() else { return Ok(()) };
        let (misses, most) = (call.misses, call.job.as_ref().map_or(1, |job| job.attempts));
        if retryable && !self.is_detached(key) && misses + 1 < most {
            let delay = retry_after.unwrap_or_else(|| job_delay(misses, self.random()));
            let error = error.clone().at(&self.task(key.0).reference);
            let (at, outcome) = (self.now.plus(delay), Some(Came::NotDone));
            let (deadline, until) = (None, None);
            return self.emit_task(key, Change::Retried { error, at, deadline, outcome, until });
        }
        self.failed(key, error, matches!(self.work(key), Some(Asked::Process(_))))
    }

    /// Nobody knows what became of it. What is safe is given to another, unless it kills its workers.
    fn job_lost(&mut self, key: Key, why: &str) -> Result<(), Halt> {
        let error = Problem::new(Standard::Communication, why).with_title("The lease was lost");
        let lost = self.state.ledger.get(key).map_or(0, |entry| entry.lost) + 1;
        let safe = self.repeatable(key)?;
        if self.is_detached(key) {
            if safe && !self.has_to_be_known(key, Some(Came::Unknown)) {
                return match self.task(key.0).metadata.compensate {
                    // whoever undoes it has to know that it may have been done
                    Some(_) => self.fault_with(key, error, Some(Doubt::Silent)),
                    None => self.emit_task(key, Change::dropped()),
                };
            }
            if !safe {
                return self.doubt(key, &error, Health::default());
            }
        } else if lost >= LOSSES_MAX && safe {
            let detail = format!("{lost} workers have lost the job: {why}");
            return self.leave_job_to_person(key, Problem::poison(detail), Some(Doubt::Silent));
        }
        if !safe {
            return self.doubt(key, &error, Health::default());
        }
        let (at, outcome) = (self.now, Some(Came::Unknown));
        self.emit_task(key, Change::Retried { error, at, deadline: None, outcome, until: None })
    }

    /// It has stood in its queue as long as it may.
    pub(super) fn expire(&mut self, key: Key) -> Result<(), Halt> {
        let Some(job) = self.open(key)?.call().and_then(|call| call.job.as_ref()) else {
            return Ok(());
        };
        let detail = format!("no worker of the queue {} took it in time", job.queue);
        self.fault(key, Problem::new(Standard::Timeout, detail).with_title("Expired"))
    }

    fn is_purged(&self, key: Key, before: Timestamp) -> Result<bool, Halt> {
        let queued = self.open(key)?.call().filter(|c| matches!(c.stage, Stage::Queued { .. }));
        let job = queued.and_then(|call| call.job.as_ref());
        Ok(!self.is_held() && job.is_some_and(|job| job.queued_at < before))
    }

    fn purge(&mut self, key: Key) -> Result<(), Halt> {
        let job = self.open(key)?.call().and_then(|call| call.job.clone());
        let queue = job.map(|job| job.queue).unwrap_or_default();
        self.leave_job_to_person(key, Problem::purged(&queue), None)
    }

    /// The case stops at the job, whatever would catch an error there, until a person has had a look.
    fn leave_job_to_person(
        &mut self,
        key: Key,
        problem: Problem,
        doubt: Option<Doubt>,
    ) -> Result<(), Halt> {
        if self.is_detached(key) {
            return self.leave_to_person(key, problem);
        }
        let error = problem.at(&self.task(key.0).reference);
        self.fault_with(key, error.clone(), doubt)?;
        let beside = self.task(key.0).undoing.is_some() && self.state.unwinding.is_none();
        match beside {
            // beside the flow, which goes on: only a person is told
            true => self.emit(Event::Alerted { cause: error.cause() }),
            false => self.suspend_by_error(Some(key), &error),
        }
    }
}

/// What `call: pdf` gives: the document of the name that its worker says, among those that came with it.
fn document_of(output: &Data, documents: &[DocumentId]) -> Option<Data> {
    let name = output.get("name")?;
    let files = output.get("documents")?.as_array()?;
    let file = files.iter().find(|file| file.get("name") == Some(name))?;
    let document: DocumentId = file.get("document")?.as_str()?.parse().ok()?;
    let part = |of: &Json, name: &str| of.get(name).cloned().unwrap_or_default();
    documents.contains(&document).then(|| {
        Data::from(json!({
            "document": document.to_string(), "name": name, "pages": part(output, "pages"),
            "bytes": part(file, "bytes"),
        }))
    })
}
