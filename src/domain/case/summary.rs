//! What others need to know of a case: lists, timers, services, listeners. Derived from its state
//! after each commit, so that nobody has to fold the events again.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use super::assignments::Assigned;
use super::derive::{self, TaskWait};
use super::effect::MAIL;
use super::event::{Came, Change, Event, Parent, Received, WaitKind};
use super::job;
use super::notices::{self, NoticeEvent};
use super::phase::Phase;
use super::problem::Problem;
use super::staff;
use super::state::{Activation, Body, FailedAttempt, Stage, State};
use crate::domain::data::{Data, canonical};
use crate::domain::document::DocumentId;
use crate::domain::ids::{Bits, CaseId, DeadId};
use crate::domain::staff::plan::Item;
use crate::domain::time::Timestamp;
use crate::domain::work::row::JobRow;
use crate::domain::workflow::model::{Definition, DefinitionId, EventFilter, Kind, TaskId};

/// A case as others see it.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Summary {
    pub id: CaseId,
    pub definition: DefinitionId,
    pub subject: Option<Arc<str>>,
    pub tags: Arc<[Arc<str>]>,
    pub priority: u8,
    pub phase: Phase,
    pub status: Option<Arc<str>>,
    pub version: u64,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
    pub ended_at: Option<Timestamp>,
    pub wait: Option<ShownWait>,
    /// The next instant at which it has to be woken.
    pub due: Option<Timestamp>,
    /// It has to be woken after a crash.
    pub owes: bool,
    /// Services that its calls are parked behind.
    pub parked: Vec<Parked>,
    /// Services that its calls are repeated at after failures, under a closed breaker.
    pub repeating: Vec<Parked>,
    pub listening: Vec<Listening>,
    /// Children whose end it waits for.
    pub children: Vec<CaseId>,
    pub parent: Option<Parent>,
    pub dead: Option<DeadLetter>,
    /// What it looks for people for.
    pub seeking: Vec<Sought>,
    /// CSRs who have something to do in it.
    pub csrs: Vec<Arc<str>>,
    /// Its jobs that stand in a queue, or that a worker has.
    pub jobs: Vec<JobRow>,
    /// Documents that it refers to.
    pub documents: Vec<DocumentId>,
    /// Its human tasks; they have rows of their own.
    pub assignments: Vec<Assigned>,
}

/// A task for which nobody was found.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Sought {
    pub skill: Arc<str>,
    pub due: Option<Timestamp>,
    pub since: Timestamp,
}

/// The wait that is shown of a case.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct ShownWait {
    pub kind: WaitKind,
    pub on: Option<Arc<str>>,
    /// Reference of the task.
    pub task: Option<Arc<str>>,
    pub since: Timestamp,
    pub until: Option<Timestamp>,
    /// When it is tried again, as far as that is known.
    pub next_attempt_at: Option<Timestamp>,
    pub detail: Option<Arc<str>>,
}

/// A call parked behind a service.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Parked {
    pub service: Arc<str>,
    pub since: Timestamp,
}

/// A task that listens for events.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Listening {
    pub task: TaskId,
    pub iteration: u32,
    pub on: Vec<Listened>,
}

/// One kind of event that a task listens for.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Listened {
    /// None: events of every type.
    pub event_type: Option<Arc<str>>,
    /// Which filter of the task it is.
    pub filter: u16,
    /// The values that its correlations expect, [in short](correlated); none where events cannot be
    /// looked up by them: nothing in particular is expected, or it takes long to find.
    pub expected: Option<[u8; 8]>,
}

/// What a dead letter says of its case.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct DeadLetter {
    pub id: DeadId,
    pub cause: Arc<str>,
    pub task: Option<Arc<str>>,
    pub since: Timestamp,
    pub error: Option<Problem>,
    /// The task's input.
    pub input: Data,
    /// Its last failed attempts.
    pub attempts: Vec<FailedAttempt>,
}

/// How a call was answered, for the numbers of its service.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Answered {
    Answered,
    Failed,
    Unknown,
}

impl Summary {
    /// A case of which nothing is known but that it was there.
    pub fn unreadable(id: CaseId, now: Timestamp) -> Self {
        let unknown = || Arc::from("unknown");
        Self {
            id,
            definition: DefinitionId {
                namespace: unknown(),
                name: unknown(),
                version: "0.0.0".into(),
            },
            subject: None,
            tags: Arc::from([]),
            priority: 0,
            phase: Phase::Suspended,
            status: None,
            version: 0,
            created_at: now,
            updated_at: now,
            ended_at: None,
            wait: None,
            due: None,
            owes: false,
            parked: Vec::new(),
            repeating: Vec::new(),
            listening: Vec::new(),
            children: Vec::new(),
            parent: None,
            dead: None,
            seeking: Vec::new(),
            csrs: Vec::new(),
            jobs: Vec::new(),
            documents: Vec::new(),
            assignments: Vec::new(),
        }
    }

    /// Looks at a state.
    pub fn of(definition: &Definition, state: &State) -> Self {
        let waits = derive::waits(definition, state);
        let held = derive::holds(state) && state.unwinding.is_none();
        let mut parked = Vec::new();
        let mut repeating = Vec::new();
        let mut listening = Vec::new();
        let mut children = Vec::new();
        state.walk(&mut |activation| {
            if activation.failed.is_some() {
                return;
            }
            match &activation.body {
                Body::Call(call) => match &call.stage {
                    Stage::Parked { since, wait } if wait.kind != WaitKind::Timer => {
                        if let Some(service) = &call.service {
                            parked.push(Parked { service: service.clone(), since: *since });
                        }
                    }
                    Stage::Pausing { .. } => {
                        let since = call.waiting_since.unwrap_or(activation.started_at);
                        let service = call.service.clone();
                        repeating.extend(service.map(|service| Parked { service, since }));
                    }
                    Stage::Child { case, .. } => children.push(*case),
                    Stage::Parked { .. }
                    | Stage::Ready
                    | Stage::Preparing { .. }
                    | Stage::InFlight { .. }
                    | Stage::Person { .. }
                    | Stage::Queued { .. }
                    | Stage::Leased { .. } => {}
                },
                Body::Listen { taken, expected } => {
                    let (task, iteration) = (activation.task, activation.iteration);
                    let on = listened(definition, task, taken, expected);
                    listening.push(Listening { task, iteration, on });
                }
                _ => {}
            }
        });
        // those who stand in line for their notices have a flow that goes on
        let mut parked = if held { Vec::new() } else { parked };
        parked.extend(
            notices::parked(state)
                .map(|(service, since)| Parked { service: service.clone(), since }),
        );
        Self {
            id: state.id,
            definition: state.definition.clone(),
            subject: state.subject.clone(),
            tags: state.tags.clone(),
            priority: state.priority,
            phase: state.phase,
            status: state.status.clone(),
            version: state.version,
            created_at: state.created_at,
            updated_at: state.updated_at,
            ended_at: state.ended_at,
            wait: shown_wait(definition, state, waits),
            due: derive::next_due(state),
            owes: derive::owes(state),
            // whoever is held stands in no line, and asks again when it goes on
            parked: each_once(parked),
            repeating: if held { Vec::new() } else { each_once(repeating) },
            listening,
            children,
            parent: state.parent.clone(),
            dead: dead_letter(definition, state),
            seeking: staff::waiting(state).map(|(_, item)| sought(item)).collect(),
            csrs: csrs(state),
            jobs: job::rows(state),
            documents: state.documents.clone(),
            assignments: Assigned::of(definition, state),
        }
    }
}

fn sought(item: &Item) -> Sought {
    Sought { skill: item.wanted.skill.clone(), due: item.due, since: item.since }
}

/// CSRs who have something to do, each once.
fn csrs(state: &State) -> Vec<Arc<str>> {
    let items = state.plans.iter().flat_map(|plan| &plan.items);
    let open = items.filter(|item| item.phase.is_open());
    let mut all: Vec<Arc<str>> =
        open.filter_map(|item| Some(item.csr()?.id.as_str().into())).collect();
    all.sort_unstable();
    all.dedup();
    all
}

/// What a listening task still looks for.
pub fn listened(
    definition: &Definition,
    task: TaskId,
    taken: &[Option<Received>],
    expected: &Data,
) -> Vec<Listened> {
    let Kind::Listen(listen) = &definition.task(task).kind else { return Vec::new() };
    if listen.filters.is_empty() {
        return vec![Listened { event_type: None, filter: 0, expected: None }];
    }
    let open = listen.filters.iter().enumerate().filter(|(n, _)| taken[*n].is_none());
    let one = |(n, filter): (usize, &EventFilter)| {
        let values = expected.get(n).and_then(Json::as_array);
        let values: Option<Option<Vec<Json>>> =
            values.map(|all| all.iter().map(|one| one.get(0).cloned()).collect());
        let looked_up = !filter.correlate.is_empty()
            && !filter.correlate.iter().any(|correlation| correlation.from.runs_apart());
        Listened {
            event_type: filter.event_type.clone(),
            filter: n as u16,
            expected: values
                .flatten()
                .filter(|_| looked_up)
                .map(|values| correlated(&Json::Array(values))),
        }
    };
    open.map(one).collect()
}

/// The values that correlations expect or find, as a list in their order, in so few bytes that every
/// listener can be found by them.
pub fn correlated(values: &Json) -> [u8; 8] {
    let hash = Bits::derived(&[canonical(values).as_bytes()]).0;
    std::array::from_fn(|place| hash[place])
}

/// Services, each once: with the earliest wait before it.
fn each_once(mut all: Vec<Parked>) -> Vec<Parked> {
    all.sort_by(|a, b| (&a.service, a.since).cmp(&(&b.service, b.since)));
    all.dedup_by(|later, kept| later.service == kept.service);
    all
}

/// The wait to show: none while something moves.
fn shown_wait(definition: &Definition, state: &State, waits: Vec<TaskWait>) -> Option<ShownWait> {
    if state.phase == Phase::Running || state.phase.ended() {
        return None;
    }
    let by_person = state.hold.is_some();
    let TaskWait { task, wait, since, next, .. } = derive::shown(waits)?;
    let of_a_task = !(by_person && wait.kind == WaitKind::Person);
    let reference = of_a_task.then(|| definition.task(task).reference.clone());
    Some(ShownWait {
        kind: wait.kind,
        on: wait.on,
        task: reference,
        since,
        until: wait.until,
        next_attempt_at: next,
        detail: wait.detail,
    })
}

fn dead_letter(definition: &Definition, state: &State) -> Option<DeadLetter> {
    let alert = state.alert.as_ref()?;
    let failing = failing(state);
    let error = failing.and_then(|activation| match &activation.failed {
        Some(failed) => Some(failed.error.clone()),
        None => activation.call()?.notes.last().map(|note| note.error.clone()),
    });
    let mut attempts = Vec::new();
    if let Some(failing) = failing {
        // the error may have left the call for a task around it
        failing.walk(&mut |a| attempts.extend(a.call().iter().flat_map(|c| c.notes.clone())));
    }
    Some(DeadLetter {
        id: DeadId::of_case(state.id, alert.version),
        cause: alert.cause.clone(),
        task: failing.map(|a| definition.task(a.task).reference.clone()),
        since: alert.at,
        error: error.or_else(|| state.flow.failed.clone()),
        input: failing.map_or_else(|| state.input.clone(), |a| a.input.clone()),
        attempts,
    })
}

/// The task that waits for a person.
pub fn failing(state: &State) -> Option<&Activation> {
    let mut found = None;
    state.walk(&mut |activation| {
        let person = match &activation.failed {
            Some(failed) => failed.uncaught,
            None => activation.call().is_some_and(|c| matches!(c.stage, Stage::Person { .. })),
        };
        if found.is_none() && person {
            found = Some(activation);
        }
    });
    found
}

/// How the mail server answered.
fn answered_notice(event: &NoticeEvent) -> Option<Answered> {
    match event {
        NoticeEvent::Sent | NoticeEvent::Failed { .. } => Some(Answered::Answered),
        NoticeEvent::Delayed { came, .. } => match came {
            notices::Came::NotSent => None,
            notices::Came::NotDone => Some(Answered::Failed),
            notices::Came::PutOff | notices::Came::Refused => Some(Answered::Answered),
            notices::Came::Unknown => Some(Answered::Unknown),
        },
        NoticeEvent::Begun { .. } | NoticeEvent::Parked { .. } | NoticeEvent::Unparked => None,
    }
}

/// Which calls these events settled, by service. `before` is the state before them.
pub fn answered(
    definition: &Definition,
    before: Option<&State>,
    events: &[Event],
) -> Vec<(Arc<str>, Answered)> {
    let mut counts = Vec::new();
    let mut started: Vec<((TaskId, u32), Arc<str>)> = Vec::new();
    for event in events {
        if let Event::Notice(event) = event {
            counts.extend(answered_notice(event).map(|how| (Arc::from(MAIL), how)));
        }
        let Event::Task(event) = event else { continue };
        let key = (event.task, event.iteration);
        let answer = match &event.change {
            Change::Started { service: Some(service), .. } => {
                started.push((key, service.clone()));
                continue;
            }
            // what never left us says nothing of the service
            Change::Retried { outcome: Some(Came::NotSent), .. } => continue,
            Change::Faulted { error, .. } if error.is_configuration() => continue,
            Change::Completed { .. } => Answered::Answered,
            Change::Faulted { error, .. } if error.status >= 400 => Answered::Answered,
            Change::Retried { .. } | Change::Faulted { .. } => Answered::Failed,
            Change::Unknown { .. } => Answered::Unknown,
            _ => continue,
        };
        // an attempt that began in the same commit has not been answered in it
        if started.iter().any(|(other, _)| *other == key) {
            continue;
        }
        let call = before.and_then(|s| s.find(definition, key.0, key.1)?.call());
        if let Some(call) = call
            && let Stage::InFlight { service: Some(service), .. } = &call.stage
        {
            counts.push((service.clone(), answer));
        }
    }
    counts
}
