//! Submissions become cases, once each.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::json;

use crate::actors::cases::execute::{Uncommitted, commit};
use crate::actors::cases::load::LoadError;
use crate::actors::cases::make::make;
use crate::actors::cases::message::{CaseReply, CommandError, CommandMeta};
use crate::actors::context::Context;
use crate::actors::disk::free_bytes;
use crate::domain::case::command::{ChildOutcome, Command, Outcome, Rejection};
use crate::domain::case::effect::{Child, Effect};
use crate::domain::case::event::Submission;
use crate::domain::case::interpret::Halt;
use crate::domain::case::problem::{Problem, Standard};
use crate::domain::data::{Data, canonical};
use crate::domain::ids::{Bits, CaseId, Entity, Fingerprint};
use crate::domain::workflow::model::{Definition, DefinitionId};
use crate::domain::workflow::schema::Violation;
use crate::store::journal::{Journal, LEFT_OPEN, Refused};
use crate::store::record::By;

/// How far the views may lag behind before nothing more is let in.
const LAG_MAX: Duration = Duration::from_secs(5);

/// After which a child that could not be cancelled is cancelled again, at first and at the most.
const CANCEL_AGAIN: Duration = Duration::from_secs(1);
const CANCEL_AGAIN_MOST: Duration = Duration::from_secs(60);

/// What is said then.
pub const LAGGING: &str = "the views lag behind";

/// What is submitted.
#[derive(Debug, Clone)]
pub struct Submitted {
    pub namespace: String,
    pub name: String,
    /// None: the latest.
    pub version: Option<String>,
    pub input: Data,
    pub subject: Option<String>,
    pub tags: Vec<String>,
    /// None: the definition's own.
    pub priority: Option<u8>,
    /// Makes it safe to repeat.
    pub key: Option<String>,
    /// Whose keys these are.
    pub client: String,
}

/// A run of a schedule, which is a case.
pub struct RunOfSchedule {
    /// Derived from the schedule and what it is due for.
    pub case: CaseId,
    pub definition: DefinitionId,
    pub input: Data,
}

/// What became of a run that is owed.
pub enum Begun {
    There {
        /// It had ended before.
        ended: bool,
    },
    /// It never will be: the workflow does not take its input.
    Refused(String),
    /// It is owed still.
    NotNow(String),
}

/// Why nothing was stored.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum SubmitError {
    #[error("there is no such workflow")]
    NoWorkflow,
    #[error("the input does not fit the workflow's schema")]
    Invalid(Vec<Violation>),
    #[error("{0}")]
    TooLarge(String),
    /// The key was used with another body.
    #[error("this key was used with another body")]
    Other,
    /// Later there may be room.
    #[error("{0}")]
    Busy(&'static str),
    /// It may have been stored, or still be.
    #[error("{0}")]
    Unknown(&'static str),
    /// Nothing can be stored now.
    #[error("{0}")]
    Unavailable(String),
}

impl Context {
    /// Takes a submission in. Answers once it is durable.
    ///
    /// # Errors
    /// When nothing was stored, and why.
    pub async fn submit(
        self: &Arc<Self>,
        submitted: Submitted,
        by: By,
    ) -> Result<CaseReply, SubmitError> {
        self.let_in()?;
        let Submitted { namespace, name, version, .. } = &submitted;
        let id = self.definitions.resolve(namespace, name, version.as_deref());
        let id = id.ok_or(SubmitError::NoWorkflow)?;
        let definition = self.definition(&id).await?;
        let case = match &submitted.key {
            Some(key) => CaseId::of_submission(namespace, name, &submitted.client, key),
            None => CaseId(Bits::timed(self.clock.now().0, random())),
        };
        let submission = submitted.into_submission(&definition);
        let meta = CommandMeta { command: None, by, if_match: None };
        self.begin(case, Box::new(submission), definition, meta).await
    }

    /// Begins a run of a schedule, however often that has to be tried.
    pub async fn begin_run(self: &Arc<Self>, run: RunOfSchedule, schedule: &str) -> Begun {
        let RunOfSchedule { case, definition: id, input } = run;
        if self.cases.quarantined(case).is_some() {
            return Begun::There { ended: false };
        }
        let begun = async {
            self.let_in()?;
            let definition = self.definition(&id).await?;
            let submission = Submission {
                definition: id,
                input,
                subject: None,
                tags: Arc::default(),
                priority: None,
                // the case's id says it all
                fingerprint: Some(Fingerprint(case.0)),
                parent: None,
            };
            let from = format!("schedule {schedule}");
            let by = By { who: "engine".to_owned(), from, why: String::new() };
            let meta = CommandMeta { command: None, by, if_match: None };
            self.begin(case, Box::new(submission), definition, meta).await
        };
        match begun.await {
            Ok(told) => Begun::There { ended: told.phase.ended() },
            // by another version it is the same run
            Err(SubmitError::Other) => Begun::There { ended: true },
            Err(SubmitError::Invalid(violations)) => Begun::Refused(first_of(violations)),
            Err(SubmitError::TooLarge(detail)) => Begun::Refused(detail),
            Err(error) => Begun::NotNow(error.to_string()),
        }
    }

    /// Why nothing may come in now.
    fn let_in(&self) -> Result<(), SubmitError> {
        let (folder, min_free) = &self.disk;
        if self.intake.looks_at_disk()
            && let Ok(free) = free_bytes(folder)
        {
            self.intake.set_disk_full(free < *min_free);
        }
        if let Some(refusal) = self.intake.refusal() {
            return Err(SubmitError::Unavailable(refusal.to_owned()));
        }
        if self.intake.pending() >= self.intake.pending_max {
            return Err(SubmitError::Busy("too many cases wait to be started"));
        }
        if self.views_lag() {
            return Err(SubmitError::Busy(LAGGING));
        }
        Ok(())
    }

    /// Whether the views are so far behind that nothing more is let in.
    pub fn views_lag(&self) -> bool {
        // while they are made anew they are behind for another reason, and what comes is stored all the same
        if self.views.progress().is_some() {
            return false;
        }
        let lag = self.journal.notes().waiting_since().map(|since| since.elapsed());
        lag.is_some_and(|lag| lag > LAG_MAX)
    }

    /// A definition that is registered.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn definition(&self, id: &DefinitionId) -> Result<Arc<Definition>, SubmitError> {
        let unreadable = || SubmitError::Unavailable(format!("{id} cannot be read"));
        self.definitions.get(id).await.ok().flatten().ok_or_else(unreadable)
    }

    /// Starts a case where there is a place for it, else has it wait for one. The first decision is
    /// made and committed right here; an actor takes over from it.
    async fn begin(
        self: &Arc<Self>,
        case: CaseId,
        submission: Box<Submission>,
        definition: Arc<Definition>,
        meta: CommandMeta,
    ) -> Result<CaseReply, SubmitError> {
        let Some(beginning) = self.cases.reserve(case) else {
            // somebody begins it, or it is there: the case itself tells whether it is the same
            let command = Command::Start(Some(submission));
            return Ok(self.tell(case, command, meta).await?);
        };
        let place = self.cases.try_place();
        let command = match place {
            Some(_) => Command::Start(Some(submission)),
            None => Command::Accept(submission),
        };
        let made = match make(self, &definition, case, None, &command).await {
            Ok(made) => made,
            Err(halt) => {
                drop(beginning);
                return self.refused(case, submission_in(command), meta, halt).await;
            }
        };
        match commit(self, definition, None, made, &meta, 0).await {
            Ok(committed) => {
                let told = committed.told();
                match place {
                    Some(place) => beginning.live(place, committed),
                    None => {
                        self.intake.add_pending();
                    }
                }
                Ok(told)
            }
            // the id is taken: the case itself tells whether it is by the same submission
            Err(Uncommitted::Conflict) => {
                drop(beginning);
                let command = Command::Start(Some(submission_in(command)));
                Ok(self.tell(case, command, meta).await?)
            }
            Err(Uncommitted::Refused(Refused::TooLarge)) => {
                Err(SubmitError::TooLarge("its first decision is too large".to_owned()))
            }
            Err(Uncommitted::Refused(Refused::Closed)) => {
                Err(SubmitError::Unavailable("the process is ending".to_owned()))
            }
            Err(Uncommitted::LeftOpen) => Err(SubmitError::Unknown(LEFT_OPEN)),
        }
    }

    /// A submission that its definition does not take. Where the case is there already, by an earlier
    /// version of it perhaps, the case itself tells whether it is the same.
    async fn refused(
        self: &Arc<Self>,
        case: CaseId,
        submission: Box<Submission>,
        meta: CommandMeta,
        halt: Halt,
    ) -> Result<CaseReply, SubmitError> {
        let derived = submission.fingerprint.is_some() || submission.parent.is_some();
        if derived {
            let last = self.journal.last(Entity::from(case)).await;
            if last.map_err(|e| SubmitError::Unavailable(e.to_string()))?.is_some() {
                return Ok(self.tell(case, Command::Start(Some(submission)), meta).await?);
            }
        }
        Err(match halt {
            Halt::Rejected(rejection) => CommandError::Rejected(rejection).into(),
            halt => SubmitError::Unavailable(format!("{halt:?}")),
        })
    }

    /// Starts a child. None: the parent is told otherwise that it cannot be.
    pub async fn start_child(self: &Arc<Self>, child: Child) -> Outcome {
        let Child { id, joins, namespace, name, version, submission } = child;
        let refused = |standard, detail: String| Outcome::Failed {
            error: Problem::new(standard, detail),
            server: false,
        };
        let Some(definition) = self.definitions.resolve(&namespace, &name, version.as_deref())
        else {
            let detail = format!("there is no workflow {namespace}/{name}");
            return refused(Standard::Configuration, detail);
        };
        let begun = match self.definition(&definition).await {
            Ok(compiled) => {
                let submission = Box::new(submission.of(definition));
                self.begin(id, submission, compiled, CommandMeta::engine()).await
            }
            Err(error) => Err(error),
        };
        let joined = |begun: bool, same: bool| {
            let told = json!({"case": id.to_string(), "begun": begun, "sameInput": same});
            Outcome::Done(if joins { Data::from(told) } else { Data::null() })
        };
        match begun {
            Ok(reply) => joined(!reply.replayed, true),
            Err(SubmitError::Other) => joined(false, false),
            Err(SubmitError::Invalid(violations)) => {
                refused(Standard::Validation, first_of(violations))
            }
            Err(SubmitError::TooLarge(detail)) => refused(Standard::Validation, detail),
            Err(error) => {
                let error = Problem::new(Standard::Runtime, error.to_string());
                Outcome::NotDone { error, retry_after: None, health: Default::default() }
            }
        }
    }

    /// Ends a child that is not wanted any more, however often that has to be tried. There may be very
    /// many of these at a time, so each is small while it waits for its turn.
    pub async fn cancel_child(self: Arc<Self>, parent: CaseId, child: CaseId) {
        let Some(begun) = self.cancelling.begin(child) else { return };
        let mut wait = CANCEL_AGAIN;
        let outcome = loop {
            let turn = self.dispatcher.turn_of_our_own().await;
            let tried = Box::pin(self.try_to_cancel(parent, child)).await;
            drop(turn);
            match tried {
                Some(outcome) => break outcome,
                None if self.stopping.load(Ordering::Acquire) => break None,
                None => {}
            }
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(CANCEL_AGAIN_MOST);
        };
        drop(begun);
        if let Some(outcome) = outcome {
            let ended = Command::ChildEnded { child, outcome };
            let telling = self.tell_at(parent, ended, CommandMeta::engine(), None);
            let _ = Box::pin(telling).await;
        }
    }

    /// A task lets go of a child that others may have joined, however often that has to be tried.
    pub async fn leave_child(self: Arc<Self>, effect: &Effect) {
        let mut wait = CANCEL_AGAIN;
        while !self.stopping.load(Ordering::Acquire) {
            let left = Command::ChildLeft { task: effect.task, iteration: effect.iteration };
            match self.tell_at(effect.case, left, CommandMeta::engine(), None).await {
                Ok(_) | Err(CommandError::NotFound | CommandError::Rejected(_)) => return,
                // it is owed, and told again by the case itself after a start
                Err(_) => tokio::time::sleep(wait).await,
            }
            wait = (wait * 2).min(CANCEL_AGAIN_MOST);
        }
    }

    /// None: it could not be told, and is owed still. Else how it has ended, if it had before.
    async fn try_to_cancel(
        self: &Arc<Self>,
        parent: CaseId,
        child: CaseId,
    ) -> Option<Option<ChildOutcome>> {
        let reason = format!("its parent {parent} does not want it any more");
        let cancel = Command::Cancel { reason };
        // a "no" means that it has ended; one that never began has ended as well
        match self.tell_at(child, cancel, CommandMeta::engine(), None).await {
            Ok(_) => Some(None),
            Err(CommandError::NotFound) => Some(Some(ChildOutcome::Cancelled)),
            Err(CommandError::Rejected(_)) => match self.child_outcome(child).await {
                Ok(outcome) => Some(outcome),
                Err(error) => {
                    tracing::warn!(case.id = %child, %error, "a child's end");
                    None
                }
            },
            // out of service, or it cannot be read now
            Err(_) => None,
        }
    }

    /// How a child ended, if it has.
    ///
    /// # Errors
    /// When it cannot be read now.
    pub async fn child_outcome(
        self: &Arc<Self>,
        child: CaseId,
    ) -> Result<Option<ChildOutcome>, LoadError> {
        use crate::domain::case::phase::Phase;
        let state = match self.load(child).await {
            Ok(loaded) => loaded.state,
            Err(LoadError::NotFound) => return Ok(None),
            // out of service: its end is told once it comes back
            Err(error) if error.is_of_the_case() => return Ok(None),
            Err(error) => return Err(error),
        };
        Ok(match state.phase {
            Phase::Completed => Some(ChildOutcome::Completed(state.output.unwrap_or_default())),
            Phase::Cancelled => Some(ChildOutcome::Cancelled),
            Phase::Faulted => state.error.map(ChildOutcome::Faulted),
            Phase::Pending | Phase::Running | Phase::Waiting | Phase::Suspended => None,
        })
    }
}

/// The first thing that is wrong with an input.
fn first_of(violations: Vec<Violation>) -> String {
    let violation = violations.into_iter().next();
    violation.map_or_else(
        || "the input does not fit".to_owned(),
        |v| format!("{}: {}", v.pointer, v.detail),
    )
}

/// The submission of a command that begins a case.
fn submission_in(command: Command) -> Box<Submission> {
    match command {
        Command::Accept(submission) | Command::Start(Some(submission)) => submission,
        _ => unreachable!("only these begin a case"),
    }
}

impl Submitted {
    pub fn into_submission(self, definition: &Definition) -> Submission {
        let fingerprint = self.key.as_ref().map(|_| self.fingerprint());
        Submission {
            definition: definition.id.clone(),
            input: self.input,
            subject: self.subject.map(Into::into),
            tags: self.tags.into_iter().map(Into::into).collect(),
            priority: self.priority,
            fingerprint,
            parent: None,
        }
    }

    /// A hash of what was said, whatever the order of the keys.
    fn fingerprint(&self) -> Fingerprint {
        let text = |value: &Option<String>| value.clone().unwrap_or_default();
        let input = canonical(&self.input);
        let priority = self.priority.map(|p| p.to_string());
        let mut parts = vec![
            input,
            self.namespace.clone(),
            self.name.clone(),
            text(&self.version),
            text(&self.subject),
            text(&priority),
        ];
        parts.extend(self.tags.iter().cloned());
        let parts: Vec<&[u8]> = parts.iter().map(String::as_bytes).collect();
        Fingerprint(Bits::derived(&parts))
    }
}

impl From<CommandError> for SubmitError {
    fn from(error: CommandError) -> Self {
        match error {
            CommandError::Rejected(Rejection::Invalid(violations)) => Self::Invalid(violations),
            CommandError::Rejected(Rejection::TooLarge(detail)) => Self::TooLarge(detail),
            CommandError::Other(_) => Self::Other,
            CommandError::Busy(detail) => Self::Busy(detail),
            CommandError::Unknown(detail) => Self::Unknown(detail),
            error => Self::Unavailable(error.to_string()),
        }
    }
}

/// Randomness for ids.
pub fn random() -> [u8; 16] {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).expect("the system has randomness");
    bytes
}
