//! The stretch of a case: what it did since something from outside last moved it. Folded, so that the
//! brake survives a crash.

use crate::domain::case::event::{Answer, Change, Event, TaskEvent, WaitKind};
use crate::domain::case::state::{Body, Stage, State, Stretch};
use crate::domain::time::Timestamp;
use crate::domain::workflow::expr::json::size_of;
use crate::domain::workflow::model::Definition;

/// Milliseconds of a wait that end a stretch.
const WAIT: i64 = 1000;

/// Events from which on their bytes are counted.
const WEIGHED_FROM: u32 = 1000;

/// Counts an event, before it is folded.
pub fn count(definition: &Definition, state: &mut State, event: &Event, at: Timestamp) {
    // what people are told is beside the flow, and waits as long as it has to
    if matches!(event, Event::Notice(_)) {
        return;
    }
    if ends(definition, state, event, at) {
        state.stretch = Stretch::default();
    }
    state.stretch.events = state.stretch.events.saturating_add(1);
    if state.stretch.events > WEIGHED_FROM {
        state.stretch.bytes = state.stretch.bytes.saturating_add(weight(event));
    }
    let retries = matches!(event, Event::Task(TaskEvent { task, iteration, change: Change::Retried { .. } })
        if state.find(definition, *task, *iteration).is_some_and(|a| matches!(a.body, Body::Try(_))));
    state.stretch.jumps = state.stretch.jumps.saturating_add(u32::from(retries));
}

/// Whether something from outside moves the case with this event, or time goes by.
fn ends(definition: &Definition, state: &State, event: &Event, at: Timestamp) -> bool {
    match event {
        Event::Suspended { error: None, .. } | Event::Resumed { .. } => true,
        Event::Task(TaskEvent { task, iteration, change }) => match change {
            // what it told itself is nothing from outside
            Change::Received { event, .. } => !is_own(state, &event.id),
            Change::Waiting { wait, .. } => {
                wait.kind == WaitKind::Timer
                    && wait.until.is_some_and(|until| until.since(at) >= WAIT)
            }
            Change::Retried { at: until, .. } if until.since(at) >= WAIT => true,
            Change::Completed { .. }
            | Change::Faulted { .. }
            | Change::Retried { .. }
            | Change::Unknown { .. }
            | Change::Reconciled { .. } => {
                let call = state.find(definition, *task, *iteration).and_then(|a| a.call());
                call.is_some_and(|call| {
                    matches!(
                        &call.stage,
                        Stage::InFlight { service: Some(_), .. }
                            | Stage::Child { .. }
                            | Stage::Leased { .. }
                    )
                })
            }
            Change::Started { .. }
            | Change::Queued { .. }
            | Change::Preparing { .. }
            | Change::Turned { .. }
            | Change::ReadBack { .. }
            | Change::Listening { .. }
            | Change::Cancelled { .. } => false,
        },
        Event::Accepted(_)
        | Event::Started(_)
        | Event::Suspended { .. }
        | Event::Cancelled { .. }
        | Event::Faulted { .. }
        | Event::Completed { .. }
        | Event::Status { .. }
        | Event::Referred { .. }
        | Event::Alerted { .. }
        | Event::UnwindingStarted { .. }
        | Event::UnwindingEnded
        | Event::Closing
        | Event::Notice(_)
        | Event::Trimmed { .. } => false,
        // what people do; what CSRs' actors answer is our own
        Event::Plan(event) => event.is_by_person(),
    }
}

/// Whether an event is one that the case has emitted: its id is the effect's key.
fn is_own(state: &State, event: &str) -> bool {
    event.strip_prefix(&*state.id.to_string()).is_some_and(|rest| rest.starts_with('/'))
}

/// Bytes that an event takes, near enough.
fn weight(event: &Event) -> u64 {
    let size = |data: &Option<crate::domain::data::Data>| data.as_ref().map_or(0, |d| size_of(d));
    let data = match event {
        Event::Task(TaskEvent { change, .. }) => match change {
            Change::Completed { output, context, .. } => size(output) + size(context),
            Change::Started { entry: Some(entry), .. }
            | Change::Queued { entry: Some(entry), .. } => size(&entry.input) + size(&entry.work),
            Change::Faulted { answer: Some(Answer::Kept(answer)), .. } => size_of(answer),
            Change::Received { event, .. } => size_of(&event.value),
            Change::ReadBack { output } => size_of(output),
            _ => 0,
        },
        Event::Status { status } => status.len(),
        _ => 0,
    };
    data as u64 + 100
}
