//! A case's state: the fold of its events. It holds the position in the definition, the data in
//! flight, the context, the input, and what may have to be undone; never the outputs of finished
//! tasks. What must run next follows from it alone.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::clock::Clock;
use super::event::{Parent, Received, Wait, WaitKind};
use super::job::Job;
use super::ledger::Ledger;
use super::notices::Desk;
use super::phase::Phase;
use super::problem::Problem;
use crate::domain::data::Data;
use crate::domain::document::DocumentId;
use crate::domain::ids::{CaseId, CommandId, EventCursor, Fingerprint, PlanId};
use crate::domain::staff::plan::Plan;
use crate::domain::time::Timestamp;
use crate::domain::work::lease::Lease;
use crate::domain::workflow::model::{DefinitionId, TaskId};

/// Commands from outside that a case remembers, so that a repeated one does nothing.
pub const COMMANDS_KEPT: usize = 256;

/// Positions of events taken that a case remembers one by one. An event that nobody took yet is
/// lost to the case only once it has taken so many later ones.
pub const TAKEN_KEPT: usize = 10_000;

/// A case.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct State {
    pub id: CaseId,
    pub definition: DefinitionId,
    /// Version of the last event.
    pub version: u64,
    pub phase: Phase,
    /// The business status.
    pub status: Option<Arc<str>>,
    pub subject: Option<Arc<str>>,
    pub tags: Arc<[Arc<str>]>,
    pub priority: u8,
    pub fingerprint: Option<Fingerprint>,
    pub parent: Option<Parent>,
    pub created_at: Timestamp,
    pub started_at: Option<Timestamp>,
    pub updated_at: Timestamp,
    pub ended_at: Option<Timestamp>,
    /// The workflow's raw input.
    pub input: Data,
    pub context: Data,
    pub flow: Flow,
    /// The workflow's timeout.
    pub clock: Option<Clock>,
    /// How often each task was entered along the path.
    pub entries: BTreeMap<TaskId, u32>,
    /// What the case has asked of the outside, and what is known of it.
    pub ledger: Ledger,
    /// What people are to do for the case.
    #[serde(with = "as_json")]
    pub plans: Vec<Plan>,
    /// How many there ever were.
    pub plans_begun: u32,
    /// What people are told, beside the flow.
    #[serde(with = "as_json")]
    pub desk: Desk,
    /// The case is about to end, once nobody has reserved anything for it any more.
    pub closing: bool,
    /// The compensation that runs now.
    pub undoing: Option<Box<Activation>>,
    /// Calls that have left the flow and are still under way, or asked for.
    pub detached: Vec<Activation>,
    /// What the case did since something from outside last moved it.
    pub stretch: Stretch,
    /// A person's suspension, with its reason.
    pub hold: Option<Arc<str>>,
    /// The case cannot go on without a person.
    pub stuck: bool,
    pub unwinding: Option<Unwinding>,
    /// Something was compensated, so the case cannot go back to running.
    pub compensated: bool,
    /// The dead letter that stands for this case, if one is open.
    pub alert: Option<Alert>,
    pub output: Option<Data>,
    pub error: Option<Problem>,
    /// Events taken, so that none is taken twice.
    pub taken: Taken,
    /// Documents that it refers to, in the order in which they came.
    pub documents: Vec<DocumentId>,
    pub commands: Vec<CommandId>,
}

/// The main strand: the workflow's own list.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Flow {
    pub seq: Seq,
    /// `then: end` was reached with this data; what is still open is about to be dropped.
    pub ending: Option<Data>,
    /// An error of the workflow itself (its output, its timeout) that waits for a person.
    pub failed: Option<Problem>,
}

/// A place in a list of tasks.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Seq {
    /// The task that runs, or the next to enter; the list's length when it is through.
    pub at: u32,
    /// What the last task left: the raw input of the next one.
    pub data: Data,
    pub child: Option<Box<Activation>>,
    /// The task at this place was broken off; entered again, it is the same entry.
    pub cut: Option<Cut>,
}

/// How often a task that was broken off, and those below it, had been entered before it began.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Cut {
    pub task: TaskId,
    pub before: Vec<(TaskId, u32)>,
}

impl Seq {
    /// The beginning of a list.
    pub fn begin(data: Data) -> Self {
        Self { at: 0, data, child: None, cut: None }
    }
}

/// A task that was entered and has not ended.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Activation {
    pub task: TaskId,
    pub iteration: u32,
    /// The raw input.
    pub raw: Data,
    /// The transformed input.
    pub input: Data,
    /// The context when it was entered, where its call looks at it: a repeat must ask the same.
    pub context: Option<Data>,
    pub started_at: Timestamp,
    /// Version of the event that entered it.
    pub version: u64,
    /// How often the tasks below it had been entered before it began.
    pub before: Vec<(TaskId, u32)>,
    /// How often they had been entered in the rounds before this one.
    pub reached: Vec<(TaskId, u32)>,
    /// The task's timeout.
    pub clock: Option<Clock>,
    pub failed: Option<Failed>,
    pub body: Body,
}

/// An error that left a task.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Failed {
    pub error: Problem,
    /// Nobody caught it: it waits for a person.
    pub uncaught: bool,
}

/// What the task is at.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub enum Body {
    /// Entered, with nothing to remember until it ends: set, switch, raise.
    Instant,
    /// do, and the task of a function.
    List(Seq),
    For {
        items: Data,
        /// The turn, counted from 0; none before the first.
        turn: Option<u32>,
        seq: Seq,
    },
    Fork(Vec<Branch>),
    Try(Box<Try>),
    Wait {
        until: Option<Timestamp>,
    },
    Listen {
        /// What each filter took.
        taken: Vec<Option<Received>>,
        /// What the correlations of each filter expect (see the event).
        expected: Data,
    },
    Call(Box<Call>),
    /// People's time is looked for, or people do something.
    Staff {
        /// None: what is asked for is not known yet.
        plan: Option<PlanId>,
    },
}

/// What lies in a snapshot as JSON, which it is made for; nothing where there is nothing to say.
mod as_json {
    use serde::de::{DeserializeOwned, Error as _};
    use serde::ser::Error as _;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub fn serialize<T, S>(value: &T, to: S) -> Result<S::Ok, S::Error>
    where
        T: Serialize + Default + PartialEq,
        S: Serializer,
    {
        match *value == T::default() {
            true => Vec::<u8>::new().serialize(to),
            false => serde_json::to_vec(value).map_err(S::Error::custom)?.serialize(to),
        }
    }

    pub fn deserialize<'de, T, D>(from: D) -> Result<T, D::Error>
    where
        T: DeserializeOwned + Default,
        D: Deserializer<'de>,
    {
        let bytes = Vec::<u8>::deserialize(from)?;
        match bytes.is_empty() {
            true => Ok(T::default()),
            false => serde_json::from_slice(&bytes).map_err(D::Error::custom),
        }
    }
}

/// A branch of a fork.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub enum Branch {
    Ready,
    Running(Box<Activation>),
    Done(Data),
    /// It lost, or the fork failed.
    Dropped,
}

/// A try task.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Try {
    pub stage: TryStage,
    /// How often the body began again.
    pub retries: u32,
    pub first_error_at: Option<Timestamp>,
    /// The time since the first error that counts for the retry policy.
    pub lasting: Option<Clock>,
    /// Milliseconds that the next attempt may take.
    pub limit: Option<i64>,
    /// The time of the attempt that runs.
    pub clock: Option<Clock>,
}

/// Where a try task is.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub enum TryStage {
    Body(Seq),
    /// The body begins again at this time.
    Pause {
        until: Timestamp,
    },
    Catch {
        seq: Seq,
        error: Data,
    },
}

/// A task with an effect: call, emit, run. What is known of the effect itself stands in the ledger.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Call {
    pub stage: Stage,
    /// The service that it went to last, or waits for.
    pub service: Option<Arc<str>>,
    /// Attempts started. A number never repeats.
    pub attempt: u32,
    /// What runs is the question of `metadata.reconcile`, not the call itself.
    pub asking: bool,
    /// Failures in a row that look like an outage.
    pub misses: u32,
    /// Since when the outage is waited through.
    pub missing_since: Option<Timestamp>,
    /// Until when it is, as far as the last failure said.
    pub missing_until: Option<Timestamp>,
    /// Since when the call has not got on: the first failure, or when it was parked.
    pub waiting_since: Option<Timestamp>,
    /// The last failures, newest last, for whoever has to look into it.
    pub notes: Vec<FailedAttempt>,
    /// What is fixed of it where a worker outside does it, once it was queued.
    pub job: Option<Box<Job>>,
}

/// A failed attempt, as a dead letter shows it.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct FailedAttempt {
    pub at: Timestamp,
    pub error: Problem,
    pub millis: i64,
}

/// Failed attempts that a call remembers.
pub const NOTES_KEPT: usize = 5;

/// Where an effect stands.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub enum Stage {
    /// It wants to start.
    Ready,
    /// What the call needs first (a document, a token) is being fetched from this service.
    Preparing {
        service: Arc<str>,
    },
    InFlight {
        service: Option<Arc<str>>,
        at: Timestamp,
    },
    /// It has no permit of the service.
    Parked {
        wait: Wait,
        since: Timestamp,
    },
    /// It is repeated at this time.
    Pausing {
        until: Timestamp,
    },
    /// A child case runs.
    Child {
        case: CaseId,
        since: Timestamp,
    },
    /// A person has to say whether it was done.
    Person {
        since: Timestamp,
    },
    /// It stands in a queue, and may be leased from then on.
    Queued {
        from: Timestamp,
    },
    /// A worker outside has it. The lease's end is told by whoever keeps its clock.
    Leased {
        lease: Box<Lease>,
        at: Timestamp,
    },
}

/// The case undoes what it did.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Unwinding {
    pub reason: String,
    /// It ends faulted with this; none: cancelled.
    pub error: Option<Problem>,
}

/// An open dead letter.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Alert {
    pub cause: Arc<str>,
    /// Version of the event that raised it, which its id derives from.
    pub version: u64,
    pub at: Timestamp,
}

/// Places of the events that the case took.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Taken {
    /// At and below this place everything counts as taken.
    pub floor: EventCursor,
    /// Above it, sorted.
    pub positions: Vec<EventCursor>,
}

impl Taken {
    /// Whether the event at this position was taken.
    pub fn contains(&self, position: EventCursor) -> bool {
        position <= self.floor || self.positions.binary_search(&position).is_ok()
    }

    /// Remembers a position; the oldest fall below the floor once there are too many.
    pub fn insert(&mut self, position: EventCursor) {
        if let Err(place) = self.positions.binary_search(&position) {
            self.positions.insert(place, position);
        }
        if self.positions.len() > TAKEN_KEPT {
            self.floor = self.positions.remove(0);
        }
    }
}

/// What a case did since something from outside last moved it: an answer of a service, an event, a
/// child's end, a person, a wait of a second. The brake looks at it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Stretch {
    /// Backward jumps and retries.
    pub jumps: u32,
    pub events: u32,
    /// Bytes of data in these events, near enough; counted once they are many.
    pub bytes: u64,
}

impl Call {
    /// A call that has not started; `attempts` of its effect were started before.
    pub fn new(asking: bool, attempts: u32) -> Self {
        Self {
            stage: Stage::Ready,
            service: None,
            attempt: attempts,
            asking,
            misses: 0,
            missing_since: None,
            missing_until: None,
            waiting_since: None,
            notes: Vec::new(),
            job: None,
        }
    }

    /// Whether nothing of ours is under way: it has no permit, or pauses through an outage. The
    /// clocks around it stand still meanwhile.
    pub fn stands(&self) -> bool {
        match &self.stage {
            Stage::Parked { wait, .. } => {
                matches!(wait.kind, WaitKind::Service | WaitKind::Operator | WaitKind::Rate)
            }
            Stage::Pausing { .. } | Stage::Queued { .. } => true,
            Stage::Ready
            | Stage::Preparing { .. }
            | Stage::InFlight { .. }
            | Stage::Child { .. }
            | Stage::Person { .. }
            | Stage::Leased { .. } => false,
        }
    }
}
