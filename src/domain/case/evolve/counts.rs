//! How often tasks were entered: where something begins again they are counted as before, so that it
//! keeps its keys; what comes after it gets others, whichever round came further.

use crate::domain::case::state::{Activation, State};
use crate::domain::workflow::model::{Definition, Kind, Task, TaskId};

/// How often each of some tasks was entered.
pub type Counts = Vec<(TaskId, u32)>;

/// How often a task had been entered, by counts that were saved.
pub fn count_in(saved: &[(TaskId, u32)], task: TaskId) -> u32 {
    saved.iter().find(|(known, _)| *known == task).map_or(0, |(_, n)| *n)
}

/// How often the tasks below this one were entered so far.
pub fn below(definition: &Definition, state: &State, task: &Task) -> Counts {
    match &task.kind {
        Kind::Do(_)
        | Kind::For { .. }
        | Kind::Fork { .. }
        | Kind::Try { .. }
        | Kind::Function { .. } => {}
        Kind::Set(_)
        | Kind::Switch(_)
        | Kind::Raise(_)
        | Kind::Wait(_)
        | Kind::Listen(_)
        | Kind::Emit(_)
        | Kind::Call(_)
        | Kind::Run(_)
        | Kind::Book(_)
        | Kind::Perform(_) => return Vec::new(),
    }
    let below = |id: &TaskId| *id != task.id && definition.task(*id).path.contains(&task.id);
    state.entries.iter().filter(|(id, _)| below(id)).map(|(id, n)| (*id, *n)).collect()
}

/// How often a task and those below it had been entered before it was.
pub fn before(activation: &Activation) -> Counts {
    let mut before = activation.before.clone();
    before.push((activation.task, activation.iteration.saturating_sub(1)));
    before
}

/// Counts a task and those below it as they were counted before; not those of compensations, of which
/// each undoes something else. What was counted beyond that is given back: it has to be reached again
/// by [`reach`] when the last round is over.
pub fn restore(
    definition: &Definition,
    state: &mut State,
    task: TaskId,
    saved: &[(TaskId, u32)],
) -> Counts {
    let strand = definition.task(task).undoing;
    let below = |id: &TaskId| {
        let other = definition.task(*id);
        other.undoing == strand && other.path.contains(&task)
    };
    let beyond = |(id, n): &(&TaskId, &u32)| below(id) && **n > count_in(saved, **id);
    let reached = state.entries.iter().filter(beyond).map(|(id, n)| (*id, *n)).collect();
    state.entries.retain(|id, _| !below(id));
    state.entries.extend(saved.iter().copied().filter(|(id, n)| below(id) && *n > 0));
    reached
}

/// What the rounds of a task and of those open below it have reached.
pub fn of_all_rounds(activation: &Activation) -> Counts {
    let mut reached = Vec::new();
    activation.walk(&mut |open| add(&mut reached, open.reached.clone()));
    reached
}

/// Adds to what earlier rounds have reached.
pub fn add(reached: &mut Counts, more: Counts) {
    for (task, n) in more {
        match reached.iter_mut().find(|(known, _)| *known == task) {
            Some((_, known)) => *known = n.max(*known),
            None => reached.push((task, n)),
        }
    }
}

/// A task with rounds is over: nothing that comes later may get a key of any of them.
pub fn reach(state: &mut State, reached: &Counts) {
    for (task, n) in reached {
        let count = state.entries.entry(*task).or_default();
        *count = (*count).max(*n);
    }
}
