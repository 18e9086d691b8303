//! What may be asked of a case, and the business "no" that it may answer with.

use std::sync::Arc;

use super::event::Submission;
use super::job::{JobAct, JobConflict};
use super::phase::Phase;
use super::problem::Problem;
use crate::domain::data::Data;
use crate::domain::ids::{AssignmentId, BookingId, CaseId, CsrId, EventCursor, PlanId};
use crate::domain::staff::csr::Displacement;
use crate::domain::staff::csr::command::Answer;
use crate::domain::staff::plan::place::Choice;
use crate::domain::staff::plan::wanted::{Customer, Wanted};
use crate::domain::staff::plan::{Debt, Person};
use crate::domain::time::Timestamp;
use crate::domain::work::job::JobKey;
use crate::domain::workflow::model::TaskId;

/// A command to one case. Those of our own (all but the persons') are idempotent by the state:
/// one that comes too late or twice changes nothing.
#[derive(Clone, Debug)]
pub enum Command {
    /// Becomes a case, pending; it starts when there is room.
    Accept(Box<Submission>),
    /// Starts: a new case, or a pending one (`None`).
    Start(Option<Box<Submission>>),
    /// Goes on where it stands: after a crash, after a decision that was cut off.
    Continue,
    /// What an attempt in flight came to.
    Result {
        task: TaskId,
        iteration: u32,
        attempt: u32,
        outcome: Outcome,
    },
    /// A service has room: calls that are parked behind it may ask again.
    Admit {
        service: Arc<str>,
    },
    /// An instant that the case waits for may have come.
    Timer,
    /// An event that may be one that the case listens to.
    Deliver(Arc<Vec<Incoming>>),
    /// A child that the case waits for has ended.
    ChildEnded {
        child: CaseId,
        outcome: ChildOutcome,
    },
    /// A task that has left the flow lets go of a child that others may have joined.
    ChildLeft {
        task: TaskId,
        iteration: u32,
    },
    /// Somebody has looked for people and times.
    Propose {
        plan: PlanId,
        choices: Vec<Choice>,
    },
    /// A CSR has answered what they were asked.
    Answered {
        csr: CsrId,
        booking: BookingId,
        number: u32,
        /// None: whether they take it.
        what: Option<Debt>,
        answer: Answer,
    },
    /// A reservation does not fit any more.
    Displaced {
        booking: BookingId,
        number: u32,
        why: Displacement,
    },
    /// Somebody may have time now for what nobody was found for.
    LookAgain,
    /// An admin changes what is still to be done.
    ChangePlan(Box<PlanChange>),
    /// What a person does with a task of theirs.
    Assignment {
        assignment: AssignmentId,
        verb: Verb,
        /// The revision that the assignment has to be at.
        if_match: Option<u64>,
    },
    /// A worker, or whoever keeps the clocks of leases, has something to say of a job.
    Job {
        key: JobKey,
        act: Box<JobAct>,
    },
    /// The process that ran the attempts in flight is gone.
    Recover,
    Suspend {
        reason: String,
    },
    Resume {
        reason: String,
    },
    Cancel {
        reason: String,
    },
    Retry {
        reason: String,
        task: Option<String>,
        outcome: Option<Verdict>,
        output: Option<Data>,
    },
}

impl Command {
    /// The verb that users know it by.
    pub fn verb(&self) -> &'static str {
        match self {
            Self::Accept(_) | Self::Start(_) => "submit",
            Self::Continue | Self::Recover => "continue",
            Self::Result { .. } => "result",
            Self::Admit { .. } => "admit",
            Self::Timer => "timer",
            Self::Deliver(_) => "deliver",
            Self::ChildEnded { .. } => "childEnded",
            Self::ChildLeft { .. } => "childLeft",
            Self::Propose { .. } => "propose",
            Self::Answered { .. } => "answered",
            Self::Displaced { .. } => "displaced",
            Self::LookAgain => "lookAgain",
            Self::ChangePlan(_) => "plan",
            Self::Assignment { verb, .. } => verb.name(),
            Self::Job { .. } => "job",
            Self::Suspend { .. } => "suspend",
            Self::Resume { .. } => "resume",
            Self::Cancel { .. } => "cancel",
            Self::Retry { .. } => "retry",
        }
    }
}

/// What an admin wants of a plan from now on.
#[derive(Clone, PartialEq, Debug)]
pub struct PlanChange {
    /// None: the latest one that is open.
    pub plan: Option<PlanId>,
    pub tasks: Vec<PlannedTask>,
    pub customer: Option<Customer>,
    pub reason: Arc<str>,
}

/// A task of a plan, as an admin names it.
#[derive(Clone, PartialEq, Debug)]
pub enum PlannedTask {
    Kept(BookingId),
    New(Arc<Wanted>),
}

/// What a person does with an assignment.
#[derive(Clone, PartialEq, Debug)]
pub enum Verb {
    Start,
    Complete {
        outcome: Data,
    },
    HandBack {
        reason: Arc<str>,
    },
    /// To somebody in particular, or to whoever is found.
    Reassign {
        to: Option<Person>,
        reason: Arc<str>,
    },
    /// The customer has to do something first.
    Block {
        reason: Arc<str>,
    },
    Unblock,
    Move {
        start: Timestamp,
        to: Option<Person>,
        reason: Arc<str>,
    },
    Skip {
        reason: Arc<str>,
    },
}

impl Verb {
    /// The word that users know it by.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Complete { .. } => "complete",
            Self::HandBack { .. } => "hand-back",
            Self::Reassign { .. } => "reassign",
            Self::Block { .. } => "block",
            Self::Unblock => "unblock",
            Self::Move { .. } => "move",
            Self::Skip { .. } => "skip",
        }
    }
}

/// What a person says of an attempt whose outcome nobody knows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// It was done; it is not repeated.
    Done,
    /// It was not done, or may be done again.
    Repeat,
}

/// What became of an attempt.
#[derive(Clone, PartialEq, Debug)]
pub enum Outcome {
    /// The raw output.
    Done(Data),
    /// An answer, and it is an error. `server`: of the 5xx kind, so the call may have been
    /// acted on.
    Failed { error: Problem, server: bool },
    /// Nothing was acted on: no connection, 429, 503.
    NotDone { error: Problem, retry_after: Option<i64>, health: Health },
    /// Nothing left us, by our own doing: it is asked for again and counts for nothing.
    NotSent,
    /// It was done, but what was answered cannot be used, and nothing is left of it.
    Unusable { error: Problem },
    /// It may have been acted on: timeout, reset, 502, 504, our own crash.
    Unknown { error: Problem, health: Health },
    /// Not the call itself: what it needs first was fetched, or not.
    Fetched(Fetched),
}

/// What became of fetching what a call needs first: a document, a token. Fetching changes nothing.
#[derive(Clone, PartialEq, Debug)]
pub enum Fetched {
    /// It is there now.
    Here,
    /// Nothing left us, by our own doing.
    NotSent,
    /// It did not come.
    Missed { error: Problem, retry_after: Option<i64>, health: Health },
    /// What came is of no use.
    Useless { error: Problem },
}

/// How the service fares, as far as whether the fault lies with this one case.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Health {
    /// At least nine in ten of the other cases' calls were answered of late.
    pub others_answered: bool,
}

/// A CloudEvent that may concern the case.
#[derive(Clone, PartialEq, Debug)]
pub struct Incoming {
    /// All attributes, `data` among them.
    pub event: Data,
    /// Where it stands in the journal.
    pub position: EventCursor,
    /// For whom it was found. Any other listener may take it as well.
    pub wanted_by: Listener,
}

/// A filter of a task that listens.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Listener {
    pub task: TaskId,
    pub filter: u16,
    /// The values that its correlations expect, [in short](super::summary::correlated); none: nothing
    /// in particular.
    pub expected: Option<[u8; 8]>,
}

/// How a child ended.
#[derive(Clone, PartialEq, Debug)]
pub enum ChildOutcome {
    Completed(Data),
    Faulted(Problem),
    Cancelled,
    /// It could not be started.
    Refused(Problem),
}

/// Why an assignment does not allow a verb.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AssignmentConflict {
    /// A task that comes before it is not done.
    PredecessorOpen,
    /// It has ended in another way.
    AlreadyDone,
    CaseSuspended,
    /// Its phase does not allow it.
    Phase,
}

/// The business "no": the state does not allow the command.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Rejection {
    /// An event that the case may want, but not now: it does not listen for any of its type.
    #[error("the case does not listen for it now")]
    NotListening,
    #[error("{detail}")]
    Conflict {
        detail: String,
        /// What is allowed instead.
        allowed: Vec<&'static str>,
    },
    /// An assignment does not allow the verb now.
    #[error("{detail}")]
    Assignment {
        why: AssignmentConflict,
        detail: String,
        /// What is allowed instead.
        allowed: Vec<&'static str>,
    },
    /// A job does not allow it.
    #[error("{}", .0.detail())]
    Job(JobConflict),
    #[error("there is no such assignment")]
    NoSuchAssignment,
    #[error("the assignment is at revision {0}")]
    StaleAssignment(u64),
    #[error("the case is {} already", .0.name())]
    Exists(Phase),
    #[error("there is no task `{0}` in the workflow")]
    NoSuchTask(String),
    #[error("the input does not fit the workflow's schema")]
    Invalid(Vec<crate::domain::workflow::schema::Violation>),
    #[error("{0}")]
    TooLarge(String),
}

/// Circumstances of a decision.
#[derive(Clone, Copy, Debug)]
pub struct Facts {
    /// The time; never taken for earlier than the case's last event.
    pub now: Timestamp,
    /// Randomness for jitter.
    pub seed: u64,
    /// Since when this process has the case: attempts from before are of somebody who is gone.
    pub taken_over: Timestamp,
}
