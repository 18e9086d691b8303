//! What happened to a case. Events are the only thing that changes its state, and they hold the
//! results of every expression, so that a replay evaluates none.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::job::Job;
use super::notices::NoticeEvent;
use super::problem::Problem;
use crate::domain::data::Data;
use crate::domain::document::DocumentId;
use crate::domain::ids::{CaseId, EventCursor, Fingerprint};
use crate::domain::staff::plan::event::PlanEvent;
use crate::domain::time::Timestamp;
use crate::domain::work::lease::Lease;
use crate::domain::workflow::model::{DefinitionId, TaskId, Then};

/// An event of a case.
#[derive(Clone, PartialEq, Debug)]
pub enum Event {
    /// Stored, but not started: too many cases were live.
    Accepted(Box<Submission>),
    /// The workflow began.
    Started(Box<Start>),
    Suspended {
        reason: String,
        /// The error that suspended it; none: a person did.
        error: Option<Problem>,
        /// The task that the error stands at; none: it is the workflow's own.
        task: Option<(TaskId, u32)>,
    },
    Resumed {
        reason: String,
        /// By `retry`: errors are taken up again, not just a person's hold lifted.
        retried: bool,
    },
    Cancelled {
        reason: String,
    },
    Faulted {
        error: Problem,
    },
    /// `None`: the output is the data that the last task left.
    Completed {
        output: Option<Data>,
    },
    Task(TaskEvent),
    /// The business status changed.
    Status {
        status: Arc<str>,
    },
    /// The case refers to these documents from here on.
    Referred {
        documents: Vec<DocumentId>,
    },
    /// A person was told: there is a dead letter of this cause.
    Alerted {
        cause: String,
    },
    /// From here on the case undoes what it did.
    UnwindingStarted {
        reason: String,
        /// The error that it ends faulted with; none: it ends cancelled.
        error: Option<Problem>,
    },
    UnwindingEnded,
    /// Something of a plan: what people are to do, and are doing.
    Plan(PlanEvent),
    /// Something of what people are told.
    Notice(NoticeEvent),
    /// The case is about to end: what it has of people's time is given back first.
    Closing,
    /// What effects have left, as far as events up to this version brought it, is kept by the history alone
    /// from here on. Without a version: of the oldest as much as is too much.
    Trimmed {
        through: Option<u64>,
    },
}

/// What is submitted: it becomes a case.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Submission {
    pub definition: DefinitionId,
    pub input: Data,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject: Option<Arc<str>>,
    #[serde(skip_serializing_if = "no_tags", default = "empty")]
    pub tags: Arc<[Arc<str>]>,
    /// 0 to 9, 9 first; none: as the definition says, which is known once it is decided.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub priority: Option<u8>,
    /// Hash of the canonical body; none for a submission without a key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<Fingerprint>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parent: Option<Parent>,
}

fn no_tags(tags: &Arc<[Arc<str>]>) -> bool {
    tags.is_empty()
}

fn empty() -> Arc<[Arc<str>]> {
    Arc::new([])
}

/// The task of another case that started this one and may wait for it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Parent {
    pub case: CaseId,
    pub task: TaskId,
    pub iteration: u32,
    /// The parent takes the output, so it has to be told.
    pub awaits: bool,
    /// How many cases are around it, up to one that nobody started.
    #[serde(skip_serializing_if = "is_zero", default)]
    pub depth: u8,
}

fn is_zero(depth: &u8) -> bool {
    *depth == 0
}

/// How a workflow began.
#[derive(Clone, PartialEq, Debug)]
pub struct Start {
    /// What was submitted; none where [`Event::Accepted`] said it before.
    pub submission: Option<Submission>,
    /// The transformed input, where a transformation made another of it.
    pub data: Option<Data>,
    /// When the workflow times out.
    pub deadline: Option<Timestamp>,
}

/// Something that happened to one task.
#[derive(Clone, PartialEq, Debug)]
pub struct TaskEvent {
    pub task: TaskId,
    /// Which entry of the task, counted from 1 along the whole path.
    pub iteration: u32,
    pub change: Change,
}

/// What happened to the task.
#[derive(Clone, PartialEq, Debug)]
pub enum Change {
    /// The task began, or (calls) an attempt of it.
    Started {
        entry: Option<Box<Entry>>,
        attempt: u32,
        service: Option<Arc<str>>,
        /// Which generation of the effect, where it is not the first.
        generation: u32,
        /// The call is safe to repeat by a method that only its description tells.
        safe: bool,
        /// A worker outside has it.
        lease: Option<Box<Lease>>,
    },
    /// The task stands in a queue from here on, for a worker outside.
    Queued { entry: Option<Box<Entry>>, job: Box<Job> },
    /// What the call needs first (a document, a token) is being fetched from this service.
    Preparing { entry: Option<Box<Entry>>, service: Arc<str> },
    /// The task stands still until something comes.
    Waiting {
        entry: Option<Box<Entry>>,
        wait: Wait,
        /// What is known of the attempt that came before, if one did.
        outcome: Option<Came>,
    },
    /// The task listens from here on.
    Listening {
        /// The event type that is shown: the first that its filters name.
        on: Option<Arc<str>>,
        /// For each filter a list with one entry for each of its correlations: `[value]` that is
        /// expected, or `[]` where the events only have to agree.
        expected: Data,
    },
    /// An attempt may or may not have been acted on; nobody knows yet.
    Unknown { error: Problem },
    /// It is known now.
    Reconciled { found: bool },
    /// The attempt failed and is repeated; of a try task: its body begins again.
    Retried {
        error: Problem,
        at: Timestamp,
        /// When the repeat has to be done (a retry policy's limit of one attempt).
        deadline: Option<Timestamp>,
        /// What is known of a call's attempt; none for a try task, a person's retry, and in
        /// histories that did not say it.
        outcome: Option<Came>,
        /// Until when an outage is waited through.
        until: Option<Timestamp>,
    },
    /// An error leaves the task.
    Faulted {
        error: Problem,
        /// An attempt may have been acted on all the same.
        doubt: Option<Doubt>,
        /// The call was done, but its answer cannot be made the task's output.
        answer: Option<Answer>,
        /// The attempt goes on without the task, and is recorded.
        keep: bool,
    },
    /// A loop has passed over this turn: nothing in it was to be done.
    Turned { turn: u32 },
    /// `output`: none where it is what went in (or what the last subtask left).
    Completed {
        output: Option<Data>,
        context: Option<Data>,
        then: Option<Then>,
        skipped: bool,
        /// The effect was done before; its output was recalled.
        recalled: bool,
    },
    /// The task ended without a result, by somebody else's doing.
    Cancelled {
        /// Its attempt has to be settled all the same, and what it did is to be undone: of a
        /// branch that lost, all that the branch did.
        unsettled: bool,
        /// Its attempt goes on without the task, and is recorded.
        keep: bool,
    },
    /// An event that a listening task took.
    Received { filter: u16, event: Box<Received> },
    /// What the task has left is in the state again, from an earlier event: it is undone next.
    ReadBack { output: Data },
}

/// Why it is not known whether a failed attempt was acted on.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Doubt {
    /// The service answered with an error of its own.
    Answered,
    /// No answer came that says anything.
    Silent,
}

/// What is known of an attempt that is repeated.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Came {
    /// Nothing was acted on.
    NotDone,
    /// It may have been acted on.
    Unknown,
    /// Nothing left us; it counts for no limit.
    NotSent,
}

/// What is left of an answer that did not become an output.
#[derive(Clone, PartialEq, Debug)]
pub enum Answer {
    /// The raw answer.
    Kept(Data),
    /// It was too large, or could not be read.
    Gone,
}

/// What is fixed when a task is entered.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Entry {
    /// The transformed input, where it differs from the raw one.
    pub input: Option<Data>,
    /// What the task works on: the list of a `for`, the arguments of a function.
    pub work: Option<Data>,
    /// The turn of the surrounding `for` that begins with this task, counted from 0.
    pub turn: Option<u32>,
    pub deadline: Option<Timestamp>,
    /// When the first attempt of a try has to be done.
    pub attempt_deadline: Option<Timestamp>,
}

/// Why a task stands still. Since when is the time of its event.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Wait {
    pub kind: WaitKind,
    /// What is waited for: a service, an event type, a case.
    pub on: Option<Arc<str>>,
    /// Until when at the longest.
    pub until: Option<Timestamp>,
    pub detail: Option<Arc<str>>,
}

/// Kinds of waits, in the order in which the one shown of a case is chosen.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WaitKind {
    Quarantine,
    Person,
    Operator,
    Service,
    Staff,
    Rate,
    Job,
    Case,
    Event,
    Timer,
}

impl Change {
    /// The task began.
    pub fn entered(entry: Option<Box<Entry>>) -> Self {
        Self::Started { entry, attempt: 0, service: None, generation: 0, safe: false, lease: None }
    }

    /// What an effect has left, where this says it outright.
    pub fn left(&self) -> Option<&Data> {
        match self {
            Self::Completed { output, .. } => output.as_ref(),
            Self::Faulted { answer: Some(Answer::Kept(answer)), .. } => Some(answer),
            _ => None,
        }
    }

    /// An error leaves the task, and nothing of it is in doubt.
    pub fn faulted(error: Problem) -> Self {
        Self::Faulted { error, doubt: None, answer: None, keep: false }
    }

    /// The task ended with what went in, or what its last subtask left.
    pub fn passed() -> Self {
        Self::Completed { output: None, context: None, then: None, skipped: false, recalled: false }
    }

    /// The task is dropped with all that it was at.
    pub fn dropped() -> Self {
        Self::Cancelled { unsettled: false, keep: false }
    }
}

impl WaitKind {
    /// All kinds, in order of precedence.
    pub const ALL: [Self; 10] = [
        Self::Quarantine,
        Self::Person,
        Self::Operator,
        Self::Service,
        Self::Staff,
        Self::Rate,
        Self::Job,
        Self::Case,
        Self::Event,
        Self::Timer,
    ];

    /// The word that users see.
    pub fn name(self) -> &'static str {
        match self {
            Self::Quarantine => "quarantine",
            Self::Person => "person",
            Self::Operator => "operator",
            Self::Service => "service",
            Self::Staff => "staff",
            Self::Rate => "rate",
            Self::Job => "job",
            Self::Case => "case",
            Self::Event => "event",
            Self::Timer => "timer",
        }
    }

    /// The kind of this name.
    pub fn of(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

/// A CloudEvent as a case took it.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Received {
    pub source: Arc<str>,
    pub id: Arc<str>,
    pub kind: Arc<str>,
    /// Where the event stands in the journal; a case takes each position once.
    pub position: EventCursor,
    /// What the listening task reads of it.
    pub value: Data,
    /// What each correlation of the filter found, by name; the other events must have the same.
    pub correlated: Vec<(Arc<str>, Data)>,
}
