//! What waits for a person.

use crate::domain::case::derive;
use crate::domain::case::state::{Activation, Stage, State};
use crate::domain::workflow::model::TaskId;

/// After something was taken up again: the case is stuck, and its dead letter open, only while
/// something else waits for a person.
pub fn settle_stuck(state: &mut State) {
    state.stuck = still_stuck(state);
    if derive::cause_for_a_person(state).is_none() {
        state.alert = None;
    }
}

/// A compensation that failed beside the flow waits for a person from the alert on.
pub fn leave_undo_to_person(state: &mut State) {
    fn mark(activation: &mut Activation) {
        if let Some(failed) = &mut activation.failed {
            failed.uncaught = true;
        }
        let children: Vec<TaskId> = activation.children().iter().map(|c| c.task).collect();
        for child in children {
            if let Some(child) = activation.child_mut(child) {
                mark(child);
            }
        }
    }
    if state.unwinding.is_none()
        && let Some(undoing) = &mut state.undoing
    {
        mark(undoing);
    }
}

/// Whether anything still waits for a person.
pub fn still_stuck(state: &State) -> bool {
    let mut stuck = state.flow.failed.is_some();
    let undoing = state.undoing.as_deref().filter(|_| state.unwinding.is_some());
    let roots = state.flow.seq.child.as_deref().into_iter().chain(undoing);
    for root in roots {
        root.walk(&mut |activation| {
            let uncaught = activation.failed.as_ref().is_some_and(|failed| failed.uncaught);
            let person = activation.call().is_some_and(|c| matches!(c.stage, Stage::Person { .. }));
            stuck |= uncaught || person;
        });
    }
    stuck
}
