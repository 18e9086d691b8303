//! A task is entered: its activation comes into being where the definition has it.

use super::{CorruptHistory, corrupt};
use crate::domain::case::event::Entry;
use crate::domain::case::state::{
    Activation, Body, Branch, Call, Deadline, Seq, State, Try, TryStage,
};
use crate::domain::data::Data;
use crate::domain::time::Timestamp;
use crate::domain::workflow::expr::Arg;
use crate::domain::workflow::model::{self, Definition, Kind, Task, TaskId};

/// Enters a task.
pub fn enter(
    definition: &Definition,
    state: &mut State,
    (task_id, iteration): (TaskId, u32),
    entry: &Entry,
    at: Timestamp,
) -> Result<(), CorruptHistory> {
    let task = definition.task(task_id);
    let raw = make_room(definition, state, task, iteration, entry)?;
    let input = entry.input.clone().unwrap_or_else(|| raw.clone());
    let asked_since = take_doubt(state, task, (task_id, iteration));
    let mut body = body(definition, state, task, &input, entry, asked_since);
    // one key is one call: what was left unsettled under it is taken up where it stands
    let known = state.unsettled.iter().position(|a| (a.task, a.iteration) == (task_id, iteration));
    if let Some(place) = known {
        body = state.unsettled.remove(place).body;
    }
    let activation = Activation {
        task: task_id,
        iteration,
        context: pinned_context(task).then(|| state.context.clone()),
        body,
        raw,
        input,
        started_at: at,
        deadline: entry.deadline.map(|at| Deadline {
            at,
            wall: task.metadata.wall_deadline,
            parked: 0,
            standing_since: None,
        }),
        failed: None,
    };
    state.entries.insert(task_id, iteration);
    place(definition, state, task, activation)
}

/// When the call was last attempted, if nobody knows whether it was done and it can be asked for:
/// then it is asked for before it is repeated.
pub fn take_doubt(state: &mut State, task: &Task, key: (TaskId, u32)) -> Option<Timestamp> {
    task.metadata.reconcile.as_ref()?;
    let place = state.unsure.iter().position(|u| (u.task, u.iteration) == key)?;
    Some(state.unsure.remove(place).attempted_at)
}

/// Makes the place for the task's activation, and gives its raw input.
fn make_room(
    definition: &Definition,
    state: &mut State,
    task: &Task,
    iteration: u32,
    entry: &Entry,
) -> Result<Data, CorruptHistory> {
    if task.is_undo() {
        let undone = task.parent();
        let found =
            state.undo.iter().rposition(|u| Some(u.task) == undone && u.iteration == iteration);
        let Some(found) = found else {
            return corrupt("it undoes what was not done");
        };
        return Ok(state.undo.remove(found).output);
    }
    let Some(parent_id) = task.parent() else {
        let seq = &mut state.flow.seq;
        seq.at = place_in(&definition.root, task)?;
        return Ok(seq.data.clone());
    };
    let saved = restart_of(definition, state, parent_id, task);
    if let Some(saved) = saved {
        let below = |id: &TaskId| definition.task(*id).path.contains(&parent_id);
        state.entries.retain(|id, _| !below(id) || *id == parent_id);
        state.entries.extend(saved);
    }
    let Some(parent) = state.find_any_mut(definition, parent_id) else {
        return corrupt(format!("{} is entered outside of its parent", task.reference));
    };
    let kind = &definition.task(parent_id).kind;
    if let Kind::Fork { branches, .. } = kind {
        place_in(branches, task)?;
        return Ok(parent.input.clone());
    }
    enter_stage(parent, kind, task, entry)?;
    let Some(list) = list_of(parent, kind) else {
        return corrupt(format!("{} has no subtasks", definition.task(parent_id).reference));
    };
    let place = place_in(&list, task)?;
    let Some(seq) = parent.seq_mut() else {
        return corrupt("the parent pauses");
    };
    if seq.child.is_some() {
        return corrupt(format!("{} begins before its brother has ended", task.reference));
    }
    seq.at = place;
    Ok(seq.data.clone())
}

/// When a try's body begins again, how often its tasks had been entered before it.
fn restart_of(
    definition: &Definition,
    state: &State,
    parent: TaskId,
    task: &Task,
) -> Option<Vec<(TaskId, u32)>> {
    let Kind::Try { body, .. } = &definition.task(parent).kind else {
        return None;
    };
    let activation = state.find_any(definition, parent)?;
    let Body::Try(inner) = &activation.body else {
        return None;
    };
    let restarts = matches!(inner.stage, TryStage::Pause { .. }) && body.contains(&task.id);
    restarts.then(|| inner.entries.clone())
}

/// Moves the parent to the stage that the task belongs to: a try into its catch or back into its
/// body, a loop into its next turn.
fn enter_stage(
    parent: &mut Activation,
    kind: &Kind,
    task: &Task,
    entry: &Entry,
) -> Result<(), CorruptHistory> {
    let input = parent.input.clone();
    match (&mut parent.body, kind) {
        (Body::Try(inner), Kind::Try { body, catch }) => {
            let catching = catch.body.as_ref().is_some_and(|list| list.contains(&task.id));
            match &inner.stage {
                TryStage::Pause { .. } if body.contains(&task.id) => {
                    inner.stage = TryStage::Body(Seq::begin(input));
                }
                TryStage::Body(seq) if catching => {
                    let failed = seq.child.as_ref().and_then(|child| child.failed.as_ref());
                    let Some(failed) = failed else {
                        return corrupt("it catches no error");
                    };
                    let error = failed.error.to_data();
                    inner.stage = TryStage::Catch { seq: Seq::begin(input), error };
                    inner.deadline = None;
                }
                TryStage::Body(_) | TryStage::Catch { .. } | TryStage::Pause { .. } => {}
            }
        }
        (Body::For { turn, .. }, Kind::For { .. }) => *turn = entry.turn.or(*turn),
        _ => {}
    }
    Ok(())
}

/// The list that the parent works through now.
fn list_of(parent: &Activation, kind: &Kind) -> Option<model::List> {
    match kind {
        Kind::Do(list) | Kind::For { body: list, .. } => Some(list.clone()),
        Kind::Function { body, .. } => Some(vec![*body]),
        Kind::Try { body, catch } => match &parent.body {
            Body::Try(inner) => match inner.stage {
                TryStage::Catch { .. } => catch.body.clone(),
                TryStage::Body(_) | TryStage::Pause { .. } => Some(body.clone()),
            },
            _ => None,
        },
        _ => None,
    }
}

fn place_in(list: &[TaskId], task: &Task) -> Result<u32, CorruptHistory> {
    match list.iter().position(|&id| id == task.id) {
        Some(place) => Ok(place as u32),
        None => corrupt(format!("{} is not of this list", task.reference)),
    }
}

fn place(
    definition: &Definition,
    state: &mut State,
    task: &Task,
    activation: Activation,
) -> Result<(), CorruptHistory> {
    let activation = Box::new(activation);
    if task.is_undo() {
        if state.undoing.is_some() {
            return corrupt("two compensations at a time");
        }
        state.undoing = Some(activation);
        return Ok(());
    }
    let Some(parent_id) = task.parent() else {
        if state.flow.seq.child.is_some() {
            return corrupt(format!("{} begins before its brother has ended", task.reference));
        }
        state.flow.seq.child = Some(activation);
        return Ok(());
    };
    let Some(parent) = state.find_any_mut(definition, parent_id) else {
        return corrupt("the parent is gone");
    };
    if let Kind::Fork { branches, .. } = &definition.task(parent_id).kind
        && let Body::Fork(running) = &mut parent.body
    {
        let place = place_in(branches, task)? as usize;
        running[place] = Branch::Running(activation);
    } else if let Some(seq) = parent.seq_mut() {
        seq.child = Some(activation);
    }
    Ok(())
}

fn body(
    definition: &Definition,
    state: &State,
    task: &Task,
    input: &Data,
    entry: &Entry,
    asked_since: Option<Timestamp>,
) -> Body {
    let work = || entry.work.clone().unwrap_or_else(|| input.clone());
    match &task.kind {
        Kind::Set(_) | Kind::Switch(_) | Kind::Raise(_) => Body::Instant,
        Kind::Do(_) => Body::List(Seq::begin(input.clone())),
        Kind::Function { .. } => Body::List(Seq::begin(work())),
        Kind::For { .. } => Body::For { items: work(), turn: None, seq: Seq::begin(input.clone()) },
        Kind::Fork { branches, .. } => Body::Fork(vec![Branch::Ready; branches.len()]),
        Kind::Try { .. } => {
            let below =
                |id: &TaskId| *id != task.id && definition.task(*id).path.contains(&task.id);
            let entries = state.entries.iter().filter(|(id, _)| below(id));
            let entries = entries.map(|(id, n)| (*id, *n)).collect();
            Body::Try(Box::new(Try {
                stage: TryStage::Body(Seq::begin(input.clone())),
                retries: 0,
                first_error_at: None,
                deadline: None,
                entries,
            }))
        }
        Kind::Wait(_) => Body::Wait { until: None },
        Kind::Listen(listen) => {
            let taken = vec![None; listen.filters.len().max(1)];
            Body::Listen { taken, expected: Data::null() }
        }
        Kind::Emit(_) | Kind::Call(_) | Kind::Run(_) => {
            let mut call = Call::new(asked_since.is_some());
            call.attempted_at = asked_since;
            Body::Call(Box::new(call))
        }
    }
}

/// Whether what the task sends depends on the context, so that a repeat must see the same one.
fn pinned_context(task: &Task) -> bool {
    use model::Template;
    let uses = |template: &Option<Template>| {
        template.iter().flat_map(Template::exprs).any(|expr| expr.uses(Arg::Context))
    };
    let endpoint = |endpoint: &model::Endpoint| match &endpoint.uri {
        model::Uri::Expr(expr) => expr.uses(Arg::Context),
        model::Uri::Template(_) => false,
    };
    let template = |template: &Template| template.exprs().iter().any(|e| e.uses(Arg::Context));
    match &task.kind {
        Kind::Call(call) => match &**call {
            model::Call::Http(http) => {
                endpoint(&http.endpoint)
                    || uses(&http.headers)
                    || uses(&http.query)
                    || uses(&http.body)
            }
            model::Call::OpenApi(openapi) => uses(&openapi.parameters),
            model::Call::Email(with) => template(with),
            model::Call::Echo(with) => uses(with),
        },
        Kind::Emit(emit) => emit.attributes.iter().any(|(_, value)| template(value)),
        Kind::Run(run) => uses(&run.input),
        _ => false,
    }
}
