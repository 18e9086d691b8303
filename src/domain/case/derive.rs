//! What follows from a state: whether it stands still, what it waits for, when it has to be looked
//! at again, and what it owes. Computed, never stored beside the state.

use std::sync::Arc;

use super::event::{Wait, WaitKind};
use super::ledger::Fate;
use super::notices;
use super::phase::Phase;
use super::staff;
use super::state::{Activation, Body, Branch, Call, Stage, State, TryStage};
use crate::domain::time::Timestamp;
use crate::domain::workflow::model::{Definition, Kind, TaskId};

/// A wait of one task, as it is shown and indexed.
#[derive(Clone, PartialEq, Debug)]
pub struct TaskWait {
    pub task: TaskId,
    pub iteration: u32,
    pub wait: Wait,
    pub since: Timestamp,
    /// When it is tried again, as far as the case itself decides it.
    pub next: Option<Timestamp>,
}

/// How a case, or a part of it, moves; of several parts the greatest counts.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Motion {
    /// Nothing moves until something comes from outside.
    Rests,
    /// A worker outside has it; whoever keeps the clocks of leases tells of its end.
    WithWorker,
    /// It goes on by itself, or has an attempt of this process under way.
    Moves,
}

/// Whether nothing moves until something comes from outside, and nobody outside works on it.
pub fn idle(state: &State) -> bool {
    motion(state) == Motion::Rests
}

fn motion(state: &State) -> Motion {
    let unwinding = state.unwinding.is_some();
    let flow = match &state.flow.seq.child {
        _ if staff::gives_back(state) => Motion::Rests,
        Some(child) if state.flow.ending.is_none() => motion_below(state, child),
        Some(_) => Motion::Moves,
        None => {
            let waits =
                state.undoing.is_some() || !state.detached.is_empty() || !staff::is_settled(state);
            if unwinding && waits { Motion::Rests } else { Motion::Moves }
        }
    };
    let undo_waits = state.undo_due().is_none() || state.undoing.is_some();
    let undo_waits = undo_waits || (unwinding && !state.detached.is_empty());
    if !undo_waits {
        return Motion::Moves;
    }
    let beside = state.undoing.as_deref().into_iter().chain(&state.detached);
    beside.map(|root| motion_below(state, root)).fold(flow, Motion::max)
}

/// Whether a task that is entered again has to wait until what it did before is undone.
pub fn waits_for_undo(state: &State, activation: &Activation) -> bool {
    let entry = state.ledger.get((activation.task, activation.iteration));
    activation.failed.is_none() && entry.is_some_and(|entry| entry.fate == Fate::Undoing)
}

fn motion_below(state: &State, activation: &Activation) -> Motion {
    let rests = |rests: bool| if rests { Motion::Rests } else { Motion::Moves };
    let below = |child: Option<&Activation>| {
        child.map_or(Motion::Moves, |child| motion_below(state, child))
    };
    if let Some(failed) = &activation.failed {
        return rests(failed.uncaught);
    }
    if waits_for_undo(state, activation) {
        return Motion::Rests;
    }
    match &activation.body {
        Body::Instant => Motion::Moves,
        Body::Wait { until } => rests(until.is_some()),
        Body::Staff { .. } => rests(staff::rests(state, activation)),
        Body::Listen { expected, .. } => rests(!expected.is_null()),
        Body::List(seq) | Body::For { seq, .. } => below(seq.child.as_deref()),
        Body::Try(inner) => match &inner.stage {
            TryStage::Pause { .. } => Motion::Rests,
            TryStage::Body(seq) | TryStage::Catch { seq, .. } => below(seq.child.as_deref()),
        },
        Body::Fork(branches) => {
            let one = |branch: &Branch| match branch {
                Branch::Ready => Some(Motion::Moves),
                Branch::Running(child) => Some(motion_below(state, child)),
                Branch::Done(_) | Branch::Dropped => None,
            };
            branches.iter().filter_map(one).max().unwrap_or(Motion::Moves)
        }
        Body::Call(call) => match &call.stage {
            Stage::Ready | Stage::Preparing { .. } | Stage::InFlight { .. } => Motion::Moves,
            Stage::Leased { .. } => Motion::WithWorker,
            Stage::Parked { .. }
            | Stage::Pausing { .. }
            | Stage::Child { .. }
            | Stage::Person { .. }
            | Stage::Queued { .. } => Motion::Rests,
        },
    }
}

/// Every wait of the case, one for each task that stands still.
pub fn waits(definition: &Definition, state: &State) -> Vec<TaskWait> {
    let mut found = Vec::new();
    if state.ended_at.is_some() && state.detached.is_empty() && state.undoing.is_none() {
        return found;
    }
    if let Some(reason) = &state.hold {
        let wait = wait(WaitKind::Person, None, None, Some(reason.clone()));
        let (task, since) = (TaskId(0), state.updated_at);
        found.push(TaskWait { task, iteration: 0, wait, since, next: None });
    }
    if let Some(error) = &state.flow.failed {
        let detail = error.title.clone().or_else(|| error.detail.clone());
        let wait = wait(WaitKind::Person, None, None, detail);
        let (task, since) = (TaskId(0), state.updated_at);
        found.push(TaskWait { task, iteration: 0, wait, since, next: None });
    }
    if let Some((wait, since)) = staff::giving_back(state) {
        let (task, iteration) = (TaskId(0), 0);
        found.push(TaskWait { task, iteration, wait, since, next: None });
    }
    state.walk(&mut |activation| {
        if let Some((wait, since)) = wait_of(definition, state, activation) {
            let (task, iteration) = (activation.task, activation.iteration);
            let next = next_attempt(activation);
            found.push(TaskWait { task, iteration, wait, since, next });
        }
    });
    found
}

/// When a task that waits is tried again by itself.
fn next_attempt(activation: &Activation) -> Option<Timestamp> {
    match &activation.body {
        Body::Call(call) => match &call.stage {
            Stage::Pausing { until } => Some(*until),
            Stage::Queued { from } => (call.misses > 0).then_some(*from),
            Stage::Ready
            | Stage::Preparing { .. }
            | Stage::InFlight { .. }
            | Stage::Parked { .. }
            | Stage::Child { .. }
            | Stage::Person { .. }
            | Stage::Leased { .. } => None,
        },
        Body::Try(inner) => match &inner.stage {
            TryStage::Pause { until } => Some(*until),
            TryStage::Body(_) | TryStage::Catch { .. } => None,
        },
        _ => None,
    }
}

/// The one wait that is shown of a case: by kind, then the oldest.
pub fn shown(mut waits: Vec<TaskWait>) -> Option<TaskWait> {
    waits.sort_by_key(|w| (w.wait.kind, w.since));
    waits.into_iter().next()
}

fn wait(
    kind: WaitKind,
    on: Option<Arc<str>>,
    until: Option<Timestamp>,
    detail: Option<Arc<str>>,
) -> Wait {
    Wait { kind, on, until, detail }
}

fn wait_of(
    definition: &Definition,
    state: &State,
    activation: &Activation,
) -> Option<(Wait, Timestamp)> {
    let started = activation.started_at;
    if let Some(failed) = &activation.failed {
        let detail = failed.error.title.clone().or_else(|| failed.error.detail.clone());
        return failed.uncaught.then(|| (wait(WaitKind::Person, None, None, detail), started));
    }
    if waits_for_undo(state, activation) {
        let on = activation.call().and_then(|call| call.service.clone());
        let detail = Some("what it did before is being undone".into());
        return Some((wait(WaitKind::Service, on, None, detail), started));
    }
    match &activation.body {
        Body::Wait { until: Some(until) } => {
            Some((wait(WaitKind::Timer, None, Some(*until), None), started))
        }
        Body::Listen { .. } => {
            let on = listened_type(definition, activation.task);
            Some((wait(WaitKind::Event, on, None, None), started))
        }
        Body::Try(inner) => match &inner.stage {
            TryStage::Pause { until } => {
                let detail = Some("the retry policy's delay".into());
                let since = inner.first_error_at.unwrap_or(started);
                Some((wait(WaitKind::Timer, None, Some(*until), detail), since))
            }
            TryStage::Body(_) | TryStage::Catch { .. } => None,
        },
        Body::Call(call) => wait_of_call(call, started),
        Body::Staff { .. } => staff::wait_of(state, activation),
        Body::Instant
        | Body::Wait { until: None }
        | Body::List(_)
        | Body::For { .. }
        | Body::Fork(_) => None,
    }
}

fn wait_of_call(call: &Call, started: Timestamp) -> Option<(Wait, Timestamp)> {
    let last = call
        .notes
        .last()
        .and_then(|note| note.error.detail.clone().or_else(|| note.error.title.clone()));
    match &call.stage {
        Stage::Parked { wait, since } => Some((wait.clone(), *since)),
        Stage::Pausing { until } => {
            let since = call.waiting_since.or(call.missing_since).unwrap_or(started);
            let until = call.missing_until.or(Some(*until));
            Some((wait(WaitKind::Service, call.service.clone(), until, last), since))
        }
        Stage::Child { case, since } => {
            let on = Some(case.to_string().into());
            Some((wait(WaitKind::Case, on, None, None), *since))
        }
        Stage::Person { since } => {
            let detail = "whether the call was done is not known".into();
            Some((wait(WaitKind::Person, call.service.clone(), None, Some(detail)), *since))
        }
        Stage::Queued { from } => {
            let job = call.job.as_deref()?;
            let on = Some(format!("queue:{}", job.queue).into());
            let since = call.waiting_since.unwrap_or(*from);
            Some((wait(WaitKind::Job, on, job.expires_at, last), since))
        }
        Stage::Ready | Stage::Preparing { .. } | Stage::InFlight { .. } | Stage::Leased { .. } => {
            None
        }
    }
}

/// The type that a listening task is shown to wait for: the first that its filters name.
fn listened_type(definition: &Definition, task: TaskId) -> Option<Arc<str>> {
    match &definition.task(task).kind {
        Kind::Listen(listen) => listen.filters.iter().find_map(|f| f.event_type.clone()),
        _ => None,
    }
}

/// Why a person has to look at the case, if one has to; what its dead letter is grouped by.
pub fn cause_for_a_person(state: &State) -> Option<String> {
    if let Some(error) = &state.flow.failed {
        return Some(error.cause());
    }
    let mut cause = None;
    state.walk(&mut |activation| {
        let uncaught = activation.failed.as_ref().filter(|failed| failed.uncaught);
        let unknown = activation.call().filter(|call| {
            activation.failed.is_none() && matches!(call.stage, Stage::Person { .. })
        });
        let last = |call: &Call| call.notes.last().map(|note| note.error.cause());
        let found = match (uncaught, unknown) {
            (Some(failed), _) => Some(failed.error.cause()),
            (None, Some(call)) => {
                Some(format!("unknown outcome: {}", last(call).unwrap_or_default()))
            }
            (None, None) => None,
        };
        if cause.is_none() {
            cause = found;
        }
    });
    cause
}

/// Whether timers start anything: not while a person holds the case or has to act.
pub fn holds(state: &State) -> bool {
    state.hold.is_some() || state.stuck
}

/// The next instant at which the case has to be looked at.
pub fn next_due(state: &State) -> Option<Timestamp> {
    let mut due: Option<Timestamp> = None;
    let mut note = |at: Option<Timestamp>| {
        if let Some(at) = at {
            due = Some(due.map_or(at, |d| d.min(at)));
        }
    };
    let held = holds(state);
    let open = state.ended_at.is_none();
    // a case that unwinds, or that a person has to look at, has no deadline any more
    if open && !held && state.unwinding.is_none() {
        note(state.clock.and_then(|clock| clock.due()));
    }
    if open && !held {
        note(staff::next_due(state).map(|(at, _)| at));
        note(staff::look_again_at(state));
    }
    note(notices::next_due(state));
    let flow = state.flow.seq.child.as_deref().into_iter().chain(state.undoing.as_deref());
    flow.for_each(|root| root.walk(&mut |activation| note(due_of(activation, held))));
    // while the case undoes what it did, an error does not hold up what is settled before
    let held = state.hold.is_some() || (state.stuck && state.unwinding.is_none());
    state.detached.iter().for_each(|a| a.walk(&mut |activation| note(due_of(activation, held))));
    due
}

/// The next instant of one activation, without those below it.
pub fn due_of(activation: &Activation, held: bool) -> Option<Timestamp> {
    if activation.failed.is_some() {
        return None;
    }
    if held {
        return match &activation.body {
            Body::Wait { until } => *until,
            _ => None,
        };
    }
    let deadline = activation.clock.and_then(|clock| clock.due());
    let own = match &activation.body {
        Body::Wait { until } => *until,
        Body::Try(inner) => match &inner.stage {
            TryStage::Pause { until } => Some(*until),
            TryStage::Body(_) => inner.clock.and_then(|clock| clock.due()),
            TryStage::Catch { .. } => None,
        },
        Body::Call(call) => match &call.stage {
            Stage::Parked { wait, .. } => wait.until,
            Stage::Pausing { until } => Some(*until),
            Stage::Queued { .. } => expires(call),
            Stage::Ready
            | Stage::Preparing { .. }
            | Stage::InFlight { .. }
            | Stage::Child { .. }
            | Stage::Person { .. }
            | Stage::Leased { .. } => None,
        },
        Body::Instant
        | Body::List(_)
        | Body::For { .. }
        | Body::Fork(_)
        | Body::Listen { .. }
        | Body::Staff { .. } => None,
    };
    match (deadline, own) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}

/// When a job that is queued is not to be leased any more. One that is repeated is looked at when its pause is
/// over.
pub fn expires(call: &Call) -> Option<Timestamp> {
    let Stage::Queued { from } = &call.stage else { return None };
    call.job.as_deref()?.expires_at.map(|at| at.max(*from))
}

/// Whether somebody has to wake the case after a crash: it moves, or owes a child that is not wanted
/// any more its end.
pub fn owes(state: &State) -> bool {
    let child = |activation: &Activation| {
        activation.call().is_some_and(|call| matches!(call.stage, Stage::Child { .. }))
    };
    moves(state) || staff::owes(state) || state.detached.iter().any(child)
}

/// Whether nothing happens of it before something comes from outside: it needs no place in memory.
pub fn rests(state: &State) -> bool {
    let stands = state.phase != Phase::Running || motion(state) == Motion::WithWorker;
    stands && !moves(state) && !staff::owes(state)
}

/// Whether the case has an attempt without a result, or stands where it could go on. Ended cases are no
/// exception.
pub fn moves(state: &State) -> bool {
    let open = state.started_at.is_some() && state.ended_at.is_none() && !holds(state);
    if open && motion(state) == Motion::Moves {
        return true;
    }
    let mut owes = state.undo_due().is_some() && state.unwinding.is_none();
    owes |= state.desk.is_sending();
    // a compensation beside the flow that was cut off
    let beside = state.unwinding.is_none() && state.hold.is_none() && !state.stuck;
    let moves = |root: &Activation| motion_below(state, root) == Motion::Moves;
    owes |= beside && state.undoing.as_deref().is_some_and(moves);
    // a question that has to be begun for what an ended case has to undo
    owes |= state.ended_at.is_some() && state.detached.iter().any(moves);
    state.walk(&mut |activation| {
        owes |= activation.call().is_some_and(|call| {
            matches!(call.stage, Stage::InFlight { .. } | Stage::Preparing { .. })
        });
    });
    owes
}
