//! Clocks stand still while nothing of ours is under way below them, and go on.

use crate::domain::case::derive;
use crate::domain::case::state::{Activation, Body, Call, State};
use crate::domain::time::Timestamp;
use crate::domain::workflow::model::{Definition, TaskId};

/// Stops and starts all clocks as the state has it now. Those that count always go on.
pub fn refresh(state: &mut State, at: Timestamp) {
    let held = derive::holds(state);
    let flow = state.flow.seq.child.as_deref_mut();
    for root in flow.into_iter().chain(state.undoing.as_deref_mut()) {
        refresh_below(root, held, at);
    }
}

/// Whether a call at or below the activation stands still.
fn refresh_below(activation: &mut Activation, held: bool, at: Timestamp) -> bool {
    let mut stands = activation.failed.is_none() && activation.call().is_some_and(Call::stands);
    for child in activation.children_mut() {
        stands |= refresh_below(child, held, at);
    }
    let still = held || stands;
    if let Some(clock) = &mut activation.clock {
        clock.stand(still, at);
    }
    if let Body::Try(inner) = &mut activation.body {
        for clock in inner.clock.iter_mut().chain(&mut inner.lasting) {
            clock.stand(still, at);
        }
    }
    stands
}

/// A person takes a task up again: its clocks and those around it begin anew.
pub fn begin_anew(definition: &Definition, state: &mut State, path: &[TaskId], at: Timestamp) {
    for id in path {
        let Some(activation) = state.find_any_mut(definition, *id) else { continue };
        if let Some(clock) = &mut activation.clock {
            clock.reset(at);
        }
        if let Body::Try(inner) = &mut activation.body {
            inner.lasting = None;
            if let Some(clock) = &mut inner.clock {
                clock.reset(at);
            }
        }
    }
}
