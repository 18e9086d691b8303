//! Something happened to a call: an attempt, a wait, doubt, a repeat.

use super::clocks;
use super::counts;
use super::effects::{self, Begun};
use super::job;
use super::open::open;
use super::stuck::settle_stuck;
use super::{CorruptHistory, corrupt};
use crate::domain::case::clock::Clock;
use crate::domain::case::event::{Came, Doubt, Wait, WaitKind};
use crate::domain::case::ledger::{Fate, Kept, Knowledge};
use crate::domain::case::problem::Problem;
use crate::domain::case::repeat::safe_by_definition;
use crate::domain::case::state::{
    Activation, Body, Branch, Call, FailedAttempt, NOTES_KEPT, Stage, State, TryStage,
};
use crate::domain::case::tree::strand_path;
use crate::domain::time::Timestamp;
use crate::domain::workflow::model::{Definition, Kind, TaskId};

pub fn open_call<'s>(
    definition: &Definition,
    state: &'s mut State,
    key: (TaskId, u32),
) -> Result<&'s mut Call, CorruptHistory> {
    match &mut open(definition, state, key)?.body {
        Body::Call(call) => Ok(call),
        _ => corrupt("a task without an effect is said to have one"),
    }
}

pub fn attempt_started(
    definition: &Definition,
    state: &mut State,
    key: (TaskId, u32),
    begun: &Begun<'_>,
) -> Result<(), CorruptHistory> {
    let call = open_call(definition, state, key)?;
    call.attempt = begun.attempt;
    call.service.clone_from(begun.service);
    call.stage = match begun.lease {
        Some(lease) => Stage::Leased { lease: Box::new(lease.clone()), at: begun.at },
        None => Stage::InFlight { service: begun.service.clone(), at: begun.at },
    };
    if call.asking {
        if let Some(entry) = state.ledger.get_mut(key) {
            entry.attempts = begun.attempt;
        }
    } else {
        effects::begin(definition, state, key, begun);
    }
    Ok(())
}

pub fn waiting(
    definition: &Definition,
    state: &mut State,
    key: (TaskId, u32),
    (wait, outcome): (&Wait, Option<Came>),
    at: Timestamp,
) -> Result<(), CorruptHistory> {
    let activation = open(definition, state, key)?;
    match &mut activation.body {
        Body::Wait { until } => {
            *until = wait.until;
            return Ok(());
        }
        Body::Call(_) => {}
        Body::Instant
        | Body::List(_)
        | Body::For { .. }
        | Body::Fork(_)
        | Body::Try(_)
        | Body::Listen { .. }
        | Body::Staff { .. } => {
            return corrupt("a task waits that has nothing to wait for");
        }
    }
    let call = open_call(definition, state, key)?;
    let (was_under_way, asking) = (matches!(call.stage, Stage::InFlight { .. }), call.asking);
    call.service.clone_from(&wait.on);
    let missed = wait.kind == WaitKind::Rate && outcome.is_some();
    if wait.kind == WaitKind::Service || missed {
        call.missing_since.get_or_insert(at);
    }
    if missed {
        // the attempt that it follows was told to pause
        call.misses += 1;
    }
    call.stage = match (wait.kind, &wait.on) {
        (WaitKind::Case, Some(case)) => match case.parse() {
            Ok(case) => Stage::Child { case, since: at },
            Err(_) => return corrupt("it waits for something that is no case"),
        },
        (WaitKind::Person, _) => Stage::Person { since: at },
        _ => {
            let since = *call.waiting_since.get_or_insert(at);
            Stage::Parked { wait: wait.clone(), since }
        }
    };
    if was_under_way && !asking && wait.kind != WaitKind::Case {
        attempt_ended(definition, state, key, outcome);
    }
    Ok(())
}

/// An attempt of the call itself has ended without a result.
fn attempt_ended(
    definition: &Definition,
    state: &mut State,
    key: (TaskId, u32),
    outcome: Option<Came>,
) {
    let task = definition.task(key.0);
    let Some(entry) = state.ledger.get_mut(key) else { return };
    entry.running = None;
    let safe = entry.safe || safe_by_definition(task);
    match outcome {
        Some(Came::Unknown) => entry.doubt(Doubt::Silent),
        Some(Came::NotDone | Came::NotSent) => {}
        // histories that do not say it: the more careful reading
        None if safe && task.metadata.compensate.is_some() => entry.doubt(Doubt::Silent),
        None => {}
    }
}

pub fn unknown(
    definition: &Definition,
    state: &mut State,
    key: (TaskId, u32),
    error: &Problem,
    at: Timestamp,
) -> Result<(), CorruptHistory> {
    let reconciles = definition.task(key.0).metadata.reconcile.is_some();
    let call = open_call(definition, state, key)?;
    note(call, error, at);
    let (was_asking, lease) = (call.asking, call.lease().map(|lease| lease.digest));
    if reconciles && !was_asking {
        call.asking = true;
        call.misses = 0;
        call.missing_since = None;
        call.missing_until = None;
        call.stage = Stage::Ready;
    } else {
        call.stage = Stage::Person { since: at };
    }
    if let Some(entry) = state.ledger.get_mut(key) {
        entry.running = None;
        // a question without an answer says nothing of the call
        if !was_asking {
            entry.doubt(Doubt::Silent);
        }
    }
    job::lost(state, key, lease);
    Ok(())
}

pub fn reconciled(
    definition: &Definition,
    state: &mut State,
    key: (TaskId, u32),
    found: bool,
) -> Result<(), CorruptHistory> {
    let call = open_call(definition, state, key)?;
    call.asking = false;
    call.misses = 0;
    call.missing_since = None;
    call.missing_until = None;
    if !found {
        call.stage = Stage::Ready;
        if let Some(entry) = state.ledger.get_mut(key) {
            entry.was_not_done();
        }
    }
    settle_stuck(state);
    Ok(())
}

/// What a `retry` says beside its error.
pub struct Again {
    pub until: Timestamp,
    pub deadline: Option<Timestamp>,
    pub outcome: Option<Came>,
    pub waits_until: Option<Timestamp>,
}

pub fn retried(
    definition: &Definition,
    state: &mut State,
    key: (TaskId, u32),
    error: &Problem,
    again: &Again,
    at: Timestamp,
) -> Result<(), CorruptHistory> {
    let failed = state.find_any(definition, key.0).filter(|a| a.iteration == key.1);
    if failed.is_some_and(|activation| activation.failed.is_some()) && again.outcome.is_none() {
        return taken_up_again(definition, state, key, at);
    }
    let activation = open(definition, state, key)?;
    let (mut ended, mut lease) = (false, None);
    // this round is over, whatever was open in it
    let reached = counts::of_all_rounds(activation);
    match &mut activation.body {
        Body::Try(inner) => {
            activation.reached = reached;
            inner.stage = TryStage::Pause { until: again.until };
            inner.retries += 1;
            inner.first_error_at.get_or_insert(at);
            inner.lasting.get_or_insert(Clock::counting(at));
            inner.limit = again.deadline.map(|deadline| deadline.since(again.until));
            inner.clock = None;
        }
        Body::Call(call) => {
            let not_sent = again.outcome == Some(Came::NotSent);
            if !not_sent {
                note(call, error, at);
                call.misses += 1;
                call.missing_since.get_or_insert(at);
                call.missing_until = again.waits_until;
            }
            call.waiting_since.get_or_insert(at);
            ended = !call.asking;
            lease = call.lease().map(|lease| lease.digest);
            call.stage = match call.job.is_some() && !call.asking {
                true => Stage::Queued { from: again.until },
                false => Stage::Pausing { until: again.until },
            };
        }
        _ => {}
    }
    if ended {
        attempt_ended(definition, state, key, again.outcome);
    }
    if again.outcome == Some(Came::Unknown) {
        job::lost(state, key, lease);
    }
    Ok(())
}

/// A person takes a failed task up again, and with it everything around it.
fn taken_up_again(
    definition: &Definition,
    state: &mut State,
    key: (TaskId, u32),
    at: Timestamp,
) -> Result<(), CorruptHistory> {
    let path = strand_path(definition, key.0);
    for id in path.iter().rev() {
        let Some(activation) = state.find_any_mut(definition, *id) else { continue };
        activation.failed = None;
        let is_fork = matches!(activation.body, Body::Fork(_));
        if is_fork && *id != key.0 {
            begin_dropped_again(definition, state, *id);
        }
    }
    clocks::begin_anew(definition, state, path, at);
    let beside = state.detached_place(key).map(|place| state.detached.remove(place).body);
    let asks = definition.task(key.0).metadata.reconcile.is_some();
    let entry = state.ledger.get_mut(key);
    let open = entry.is_some_and(|entry| {
        if matches!(entry.fate, Fate::Detached | Fate::Due) {
            entry.fate = Fate::Wanted;
        }
        // losses and time to live are counted anew
        (entry.lost, entry.queued_at) = (0, None);
        matches!(entry.knowledge, Knowledge::Unknown(_) | Knowledge::Done(Kept::Gone))
    });
    let Some(activation) = state.find_any_mut(definition, key.0) else {
        return corrupt("what is taken up again is gone");
    };
    match (&mut activation.body, beside) {
        // the attempt that went on without the task is the task's again
        (body @ Body::Call(_), Some(beside)) => *body = beside,
        (Body::Call(call), None) => {
            call.misses = 0;
            call.missing_since = None;
            call.missing_until = None;
            call.waiting_since = None;
            call.stage = Stage::Ready;
            call.asking = open && asks;
            call.job = None;
        }
        (Body::Staff { plan }, None) => *plan = None,
        (_, _) => {}
    }
    settle_stuck(state);
    Ok(())
}

/// A fork that failed and is taken up again runs the branches that were dropped for it, each as the
/// same entry as before.
fn begin_dropped_again(definition: &Definition, state: &mut State, fork: TaskId) {
    let Kind::Fork { compete: false, branches: tasks } = &definition.task(fork).kind else {
        return;
    };
    let Some(activation) = state.find_any_mut(definition, fork) else { return };
    let before = activation.before.clone();
    let Body::Fork(branches) = &mut activation.body else { return };
    let mut again = Vec::new();
    for (task, branch) in tasks.iter().zip(branches) {
        if matches!(branch, Branch::Dropped) {
            *branch = Branch::Ready;
            again.push(*task);
        }
    }
    for task in again {
        let more = counts::restore(definition, state, task, &before);
        if let Some(fork) = state.find_any_mut(definition, fork) {
            counts::add(&mut fork.reached, more);
        }
    }
}

pub fn note(call: &mut Call, error: &Problem, at: Timestamp) {
    let started = match call.stage {
        Stage::InFlight { at, .. } | Stage::Leased { at, .. } => at,
        _ => at,
    };
    call.notes.push(FailedAttempt { at, error: error.clone(), millis: at.since(started) });
    if call.notes.len() > NOTES_KEPT {
        call.notes.remove(0);
    }
}

/// Whether a failed task's call is still under way in a way that somebody has to hear of.
pub fn goes_on(activation: &Activation) -> bool {
    activation.call().is_some_and(|call| match call.stage {
        Stage::InFlight { .. } | Stage::Leased { .. } | Stage::Child { .. } => true,
        Stage::Person { .. } | Stage::Queued { .. } => false,
        Stage::Ready | Stage::Preparing { .. } | Stage::Parked { .. } | Stage::Pausing { .. } => {
            call.asking
        }
    })
}
