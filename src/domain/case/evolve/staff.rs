//! What an event of a plan makes of the case.

use super::open::open;
use super::{CorruptHistory, corrupt};
use crate::domain::case::state::{Body, State};
use crate::domain::ids::PlanId;
use crate::domain::staff::plan::event::PlanEvent;
use crate::domain::staff::plan::{self, CorruptPlan, Plan};
use crate::domain::time::Timestamp;
use crate::domain::workflow::model::{Definition, TaskId};

/// Tasks of plans that a case remembers, beside those that are still to be done.
const TASKS_KEPT: usize = 400;

/// Folds an event of a plan.
pub fn apply(
    definition: &Definition,
    state: &mut State,
    event: &PlanEvent,
    at: Timestamp,
) -> Result<(), CorruptHistory> {
    plan::evolve(&mut state.plans, event, at)
        .map_err(|CorruptPlan(why)| CorruptHistory(why.to_owned()))?;
    let (key, known) = match event {
        PlanEvent::Begun(begun) => {
            state.plans_begun += 1;
            // what was asked for before under the same key is not wanted any more
            let others = state.plans.iter_mut().filter(|other| other.task == begun.task);
            let others = others.filter(|other| other.id != begun.plan && !other.closed);
            others.for_each(|other| other.close(at));
            forget(definition, state);
            (begun.task, begun.plan)
        }
        PlanEvent::Performed { plan, task, .. } => (*task, *plan),
        _ => return Ok(()),
    };
    match &mut open(definition, state, key)?.body {
        Body::Staff { plan } => {
            *plan = Some(known);
            Ok(())
        }
        _ => corrupt("a plan belongs to a task that asks for no people"),
    }
}

/// Nothing of any plan is wanted any more.
pub fn close_all(state: &mut State, at: Timestamp) {
    state.plans.iter_mut().filter(|plan| !plan.closed).for_each(|plan| plan.close(at));
}

/// A task that has to do with people ends without a result: so does what it asked for.
pub fn left(state: &mut State, plan: Option<PlanId>) {
    let at = state.updated_at;
    let left = state.plans.iter_mut().find(|known| Some(known.id) == plan && !known.closed);
    let Some(left) = left else { return };
    match left.performer.and_then(|performer| performer.only) {
        // the others of the plan are nothing to it
        Some(only) => left.leave(only, at),
        None => left.close(at),
    }
}

/// A branch has lost: what was booked in it since it began is given back. `before` says how often the
/// tasks in it had been entered until then.
pub fn lost(definition: &Definition, state: &mut State, branch: TaskId, before: &[(TaskId, u32)]) {
    let at = state.updated_at;
    for plan in state.plans.iter_mut().filter(|plan| !plan.closed) {
        let (task, iteration) = plan.task;
        let below = definition.task(task).path.contains(&branch);
        let earlier = before.iter().find(|(id, _)| *id == task).map_or(0, |(_, count)| *count);
        if below && iteration > earlier {
            plan.close(at);
        }
    }
}

/// Drops the oldest plans that are over, where there are many: nobody has anything of them, nor will.
fn forget(definition: &Definition, state: &mut State) {
    let tasks = |state: &State| state.plans.iter().map(|plan| plan.items.len()).sum::<usize>();
    while tasks(state) > TASKS_KEPT {
        let is_over = |plan: &Plan| {
            let performer = plan.performer.map(|performer| performer.task);
            let is_open =
                performer.is_some_and(|key| state.find(definition, key.0, key.1).is_some());
            let ended = plan.items.iter().all(|item| !item.phase.is_open());
            let again = |other: &Plan| other.task.0 == plan.task.0 && other.id != plan.id;
            let again = state.plans.iter().any(again);
            plan.is_settled() && ended && !is_open && (again || !plan.closed)
        };
        let Some(place) = state.plans.iter().position(is_over) else { return };
        state.plans.remove(place);
    }
}
