//! Clocks of tasks stand still while their call is parked.

use crate::domain::case::state::{Call, State};
use crate::domain::case::tree::strand_path;
use crate::domain::time::Timestamp;
use crate::domain::workflow::model::{Definition, TaskId};

pub fn is_parked(definition: &Definition, state: &State, (task, iteration): (TaskId, u32)) -> bool {
    let in_tree = state.find_any(definition, task).filter(|a| a.iteration == iteration);
    in_tree.is_some_and(|activation| {
        activation.failed.is_none() && activation.call().is_some_and(Call::is_parked)
    })
}

/// Stops or starts the clocks of the task and of those around it, as their call is parked or let
/// go. Clocks that count always (`deadline: wall`) go on.
pub fn move_clocks(
    definition: &Definition,
    state: &mut State,
    task: TaskId,
    parked: bool,
    at: Timestamp,
) {
    for id in strand_path(definition, task) {
        let Some(activation) = state.find_any_mut(definition, *id) else {
            continue;
        };
        let Some(deadline) = &mut activation.deadline else {
            continue;
        };
        if parked {
            deadline.parked += 1;
        } else {
            deadline.parked = deadline.parked.saturating_sub(1);
        }
        match (deadline.parked, deadline.standing_since) {
            (0, Some(since)) => {
                deadline.at = deadline.at.plus(at.since(since));
                deadline.standing_since = None;
            }
            (1.., None) if !deadline.wall => deadline.standing_since = Some(at),
            _ => {}
        }
    }
}
