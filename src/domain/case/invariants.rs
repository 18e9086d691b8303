//! What holds for every state, whatever commands led to it. Checked by tests after each decision.

use std::collections::HashSet;

use super::derive;
use super::phase::Phase;
use super::state::{Body, Stage, State};
use crate::domain::case::ledger::{Kept, Knowledge};
use crate::domain::workflow::model::Definition;

/// Checks a state.
///
/// # Errors
/// The first invariant that does not hold.
pub fn check(definition: &Definition, state: &State) -> Result<(), String> {
    ended_cases_hold_nothing(state)?;
    one_activation_for_each_key(state)?;
    phases_follow_from_the_state(definition, state)?;
    clocks_stand_while_calls_do(state)?;
    the_ledger_knows_what_is_under_way(state)?;
    if state.version == 0 {
        return Err("a state without events".to_owned());
    }
    Ok(())
}

fn ended_cases_hold_nothing(state: &State) -> Result<(), String> {
    let final_phase = matches!(state.phase, Phase::Completed | Phase::Cancelled);
    if state.phase.ended() != state.ended_at.is_some() {
        return Err("phase and end differ".to_owned());
    }
    if final_phase && state.flow.seq.child.is_some() {
        return Err("an ended case has open tasks".to_owned());
    }
    if state.phase == Phase::Completed && state.output.is_none() {
        return Err("a completed case has no output".to_owned());
    }
    if state.phase == Phase::Faulted && state.error.is_none() {
        return Err("a faulted case has no error".to_owned());
    }
    Ok(())
}

/// Idempotency keys are made of task and entry: two open calls with one key would be one call. Only
/// the task that failed may stand beside its call that goes on.
fn one_activation_for_each_key(state: &State) -> Result<(), String> {
    let mut seen = HashSet::new();
    let mut twice = None;
    state.walk(&mut |activation| {
        if activation.failed.is_some() {
            return;
        }
        if !seen.insert((activation.task, activation.iteration)) {
            twice = Some((activation.task, activation.iteration));
        }
    });
    match twice {
        Some(key) => Err(format!("two activations of {key:?}")),
        None => Ok(()),
    }
}

fn phases_follow_from_the_state(definition: &Definition, state: &State) -> Result<(), String> {
    if state.phase.ended() || state.phase == Phase::Pending {
        return Ok(());
    }
    let suspended = state.hold.is_some() || state.stuck;
    if suspended != (state.phase == Phase::Suspended) {
        return Err("suspended without a reason, or the other way round".to_owned());
    }
    // an open case that is not running always says what it waits for
    if state.phase == Phase::Waiting && derive::waits(definition, state).is_empty() {
        return Err("it waits for nothing".to_owned());
    }
    if state.stuck && state.alert.is_none() {
        return Err("it needs a person, and no person was told".to_owned());
    }
    Ok(())
}

fn clocks_stand_while_calls_do(state: &State) -> Result<(), String> {
    let held = derive::holds(state);
    let mut wrong = None;
    let flow = state.flow.seq.child.as_deref();
    for root in flow.into_iter().chain(state.undoing.as_deref()) {
        root.walk(&mut |activation| {
            let mut stands = held;
            activation.walk(&mut |below| {
                let call = below.call().filter(|_| below.failed.is_none());
                stands |= call.is_some_and(|call| call.stands());
            });
            if let Some(clock) = activation.clock.filter(|clock| !clock.wall)
                && clock.since.is_none() != stands
            {
                wrong = Some(format!("a clock of {:?} runs, or stands, wrongly", activation.task));
            }
            if let Body::Call(call) = &activation.body
                && matches!(call.stage, Stage::InFlight { .. })
                && call.attempt == 0
            {
                wrong = Some("a call in flight that never started".to_owned());
            }
        });
    }
    wrong.map_or(Ok(()), Err)
}

/// What is under way has its entry in the ledger, and only that; what it keeps is bounded.
fn the_ledger_knows_what_is_under_way(state: &State) -> Result<(), String> {
    let mut wrong = None;
    if !state.ledger.is_bound() {
        wrong = Some("the ledger keeps too much".to_owned());
    }
    state.walk(&mut |activation| {
        let key = (activation.task, activation.iteration);
        if let Some(call) = activation.call().filter(|_| activation.failed.is_none())
            && matches!(call.stage, Stage::InFlight { .. })
            && !call.asking
            && state.ledger.get(key).and_then(|entry| entry.running) != Some(call.attempt)
        {
            wrong = Some(format!("the attempt of {key:?} is not in the ledger"));
        }
    });
    for entry in state.ledger.iter() {
        // only what may be done again is asked again for an answer that is gone
        let gone = entry.knowledge == Knowledge::Done(Kept::Gone);
        if entry.is_done() && !gone && entry.running.is_some() {
            wrong = Some(format!("{:?} is done and runs", entry.key()));
        }
    }
    wrong.map_or(Ok(()), Err)
}
