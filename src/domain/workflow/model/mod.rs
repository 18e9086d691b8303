//! A definition, compiled: what the interpreter of cases works from. Built by `read`, never
//! changed afterwards, shared by all cases of the definition.

mod call;
mod event;
mod fault_tolerance;
mod schedule;
mod template;

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use super::expr::Expr;
use super::schema::Schema;
use crate::domain::time::Duration;

pub use call::{
    Auth, Call, ClientAuthentication, Endpoint, Grant, HttpCall, OAuth2, OpenApiCall, OtherToken,
    OutputFormat, Process, ProcessKind, Returns, Run, TokenEncoding, Uri, UriPart,
};
pub use event::{Correlation, Emit, EventFilter, Listen, Matcher, ReadAs, Strategy};
pub use fault_tolerance::{Backoff, Catch, ErrorFilter, RaisedError, Reconcile, RetryPolicy};
pub use schedule::{Missed, Overlap, Schedule, Timing};
pub use template::{Span, Template};

/// A definition's identity.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct DefinitionId {
    pub namespace: Arc<str>,
    pub name: Arc<str>,
    pub version: Arc<str>,
}

impl DefinitionId {
    /// `namespace/name`, as users name a workflow.
    pub fn workflow(&self) -> String {
        format!("{}/{}", self.namespace, self.name)
    }
}

impl fmt::Display for DefinitionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.namespace, self.name, self.version)
    }
}

/// The priority of a case where nothing says another.
pub const PRIORITY: u8 = 5;

/// The priority of a definition's cases, 0 to 9.
#[derive(Debug)]
pub enum Priority {
    Fixed(u8),
    /// Over the submission's input.
    Of(Expr),
}

impl Default for Priority {
    fn default() -> Self {
        Self::Fixed(PRIORITY)
    }
}

/// A compiled definition.
#[derive(Debug)]
pub struct Definition {
    pub id: DefinitionId,
    /// The definition as JSON, which is also `$workflow.definition`.
    pub source: Arc<Json>,
    pub title: Option<String>,
    /// Business status before the first task.
    pub status: Option<Template>,
    pub on_error: OnError,
    pub priority: Priority,
    /// People are told of what is planned for them.
    pub notices: bool,
    pub input: Input,
    pub output: Output,
    pub timeout: Option<Span>,
    /// When cases begin by themselves.
    pub schedule: Option<Schedule>,
    /// Names of the secrets it may use.
    pub secrets: Vec<Arc<str>>,
    /// The workflow's own `do`.
    pub root: List,
    /// All tasks, numbered in the order of the text (see [`TaskId`]).
    pub tasks: Vec<Task>,
    /// Queues that it names literally: they are there with it.
    pub queues: Vec<Arc<str>>,
    /// Hosts that its endpoints name literally, for the warning about unknown services.
    pub hosts: Vec<String>,
}

impl Definition {
    /// The task of this number.
    pub fn task(&self, id: TaskId) -> &Task {
        &self.tasks[id.0 as usize]
    }

    /// The task of this reference, if there is one.
    pub fn find(&self, reference: &str) -> Option<&Task> {
        self.tasks.iter().find(|task| &*task.reference == reference)
    }
}

/// A task's number within its definition: its place in a walk over the text, a task before its
/// subtasks, `metadata.compensate` after them, a function's task where it is called. Journal
/// records name tasks by this number, so the order of the walk never changes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TaskId(pub u32);

/// What an uncaught error does to a case.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum OnError {
    /// The DSL's way: the case ends faulted.
    #[default]
    Fault,
    /// The case stops at the failing task, with an alert, until a person has a look.
    Suspend,
}

/// What goes in: checked, then transformed.
#[derive(Clone, Debug, Default)]
pub struct Input {
    pub schema: Option<Schema>,
    pub from: Option<Template>,
}

/// What comes out: transformed, then checked.
#[derive(Clone, Debug, Default)]
pub struct Output {
    pub transform: Option<Template>,
    pub schema: Option<Schema>,
}

/// A list of tasks, in order.
pub type List = Vec<TaskId>;

/// One task.
#[derive(Debug)]
pub struct Task {
    pub id: TaskId,
    pub name: Arc<str>,
    /// JSON pointer that names the task to people, in events and in idempotency keys.
    pub reference: Arc<str>,
    /// JSON pointer of its text; differs from the reference inside of functions.
    pub pointer: Arc<str>,
    /// The tasks around it, outermost first, and itself.
    pub path: Arc<[TaskId]>,
    /// The compensation that it is part of, if any: `metadata.compensate` or a task below it.
    pub undoing: Option<TaskId>,
    pub condition: Option<Expr>,
    pub input: Input,
    pub output: Output,
    /// What the context becomes when the task completes.
    pub export: Option<Output>,
    pub timeout: Option<Span>,
    pub then: Then,
    pub metadata: TaskMetadata,
    pub kind: Kind,
}

impl Task {
    /// Whether its timeout counts whatever it waits for: people's time is no outage.
    pub fn counts_always(&self) -> bool {
        self.metadata.wall_deadline || matches!(self.kind, Kind::Book(_) | Kind::Perform(_))
    }

    /// Whether it is the compensation of the task around it, not a subtask of it.
    pub fn is_undo(&self) -> bool {
        self.undoing == Some(self.id)
    }

    /// The task around this one, if it is not of the outermost list.
    pub fn parent(&self) -> Option<TaskId> {
        self.path.len().checked_sub(2).map(|place| self.path[place])
    }
}

/// Our extensions of a task, in its `metadata`.
#[derive(Debug, Default)]
pub struct TaskMetadata {
    /// Business status of the case once the task has completed, over its output.
    pub status: Option<Template>,
    /// Business status of the case once the task has started, over its input.
    pub status_on_start: Option<Template>,
    /// The task that undoes this one.
    pub compensate: Option<TaskId>,
    /// How an attempt with no known result is asked for.
    pub reconcile: Option<Box<Reconcile>>,
    /// The receiver does a repeated call once, so it is safe to repeat.
    pub idempotent: bool,
    /// How long an outage is waited for; overrides the service's.
    pub patience: Option<Duration>,
    /// The task's timeout counts while its call is parked, too.
    pub wall_deadline: bool,
    /// Of `run: workflow`: the key of the one case that it begins or joins.
    pub key: Option<Template>,
}

/// Where the flow goes after a task.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Then {
    /// To the next task of the list.
    #[default]
    Continue,
    /// Out of the list: the nearest do, try, for or branch ends with the current data.
    Exit,
    /// The workflow ends with the current data.
    End,
    /// To the task at this place of the same list.
    To(u32),
}

/// What a task does.
#[derive(Debug)]
pub enum Kind {
    Do(List),
    For {
        each: Arc<str>,
        at: Arc<str>,
        over: Expr,
        condition: Option<Expr>,
        body: List,
    },
    Fork {
        branches: List,
        compete: bool,
    },
    Try {
        body: List,
        catch: Box<Catch>,
    },
    Set(Template),
    Switch(Vec<Case>),
    Raise(Box<RaisedError>),
    Wait(Span),
    Listen(Box<Listen>),
    Emit(Box<Emit>),
    Call(Box<Call>),
    Run(Box<Run>),
    /// Time of people is reserved.
    Book(Template),
    /// People do what was booked, or what is queued.
    Perform(Template),
    /// A call of one of the definition's own functions, whose task runs inside of this one.
    Function {
        arguments: Option<Template>,
        body: TaskId,
    },
}

/// One case of a switch.
#[derive(Debug)]
pub struct Case {
    pub name: Arc<str>,
    /// None: the default, taken when no other matches.
    pub when: Option<Expr>,
    pub then: Then,
}
