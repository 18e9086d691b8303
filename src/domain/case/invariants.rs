//! What holds for every state, whatever commands led to it. Checked by tests after each decision.

use std::collections::HashSet;

use super::derive;
use super::phase::Phase;
use super::state::{Body, Stage, State};
use crate::domain::workflow::model::Definition;

/// Checks a state.
///
/// # Errors
/// The first invariant that does not hold.
pub fn check(definition: &Definition, state: &State) -> Result<(), String> {
    ended_cases_hold_nothing(state)?;
    one_activation_for_each_key(state)?;
    phases_follow_from_the_state(definition, state)?;
    clocks_stand_only_while_parked(state)?;
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

/// Idempotency keys are made of task and entry: two open calls with one key would be one call.
fn one_activation_for_each_key(state: &State) -> Result<(), String> {
    let mut seen = HashSet::new();
    let mut twice = None;
    state.walk(&mut |activation| {
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

fn clocks_stand_only_while_parked(state: &State) -> Result<(), String> {
    let mut wrong = None;
    state.walk(&mut |activation| {
        let mut parked = 0;
        activation.walk(&mut |below| {
            let call = below.call().filter(|_| below.failed.is_none());
            parked += u32::from(call.is_some_and(|call| call.is_parked()));
        });
        if let Some(deadline) = &activation.deadline
            && deadline.parked != parked
        {
            wrong = Some(format!("{} parked calls counted as {}", parked, deadline.parked));
        }
        if let Body::Call(call) = &activation.body
            && matches!(call.stage, Stage::InFlight { .. })
            && call.attempt == 0
        {
            wrong = Some("a call in flight that never started".to_owned());
        }
    });
    wrong.map_or(Ok(()), Err)
}
