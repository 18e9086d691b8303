//! A task is entered: its activation comes into being where the definition has it.

use super::counts::{self, Counts, restore};
use super::{CorruptHistory, corrupt, effects};
use crate::domain::case::clock::Clock;
use crate::domain::case::event::Entry;
use crate::domain::case::ledger::{Fate, Kept, Knowledge};
use crate::domain::case::state::{Activation, Body, Branch, Call, Seq, State, Try, TryStage};
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
    let key = (task_id, iteration);
    let task = definition.task(task_id);
    let (mut raw, reached) = make_room(definition, state, task, iteration, entry, at)?;
    let mut input = entry.input.clone().unwrap_or_else(|| raw.clone());
    let mut context = pinned_context(task).then(|| state.context.clone());
    let mut started_at = at;
    let mut body = body(definition, state, key, &input, entry, at);
    // one key is one call: what goes on under it is taken up where it stands, and what may have been
    // done is repeated as it was
    if let Some(place) = state.detached_place(key) {
        let known = state.detached.remove(place);
        (raw, input, context, body) = (known.raw, known.input, known.context, known.body);
    } else if let Some(known) = state.ledger.get(key)
        && matches!(known.knowledge, Knowledge::Unknown(_))
        && let Some(pinned) = known.pinned.clone()
    {
        (raw, input, context) = (pinned.raw, pinned.input, pinned.context);
        started_at = pinned.started_at;
    }
    if let Some(known) = state.ledger.get_mut(key)
        && matches!(known.fate, Fate::Detached | Fate::Due)
    {
        known.fate = Fate::Wanted;
    }
    let wall = task.counts_always();
    let activation = Activation {
        task: task_id,
        iteration,
        context,
        body,
        raw,
        input,
        started_at,
        version: state.version,
        before: counts::below(definition, state, task),
        reached,
        clock: entry.deadline.map(|deadline| Clock::begin(deadline.since(at), at, wall)),
        failed: None,
    };
    state.entries.insert(task_id, iteration);
    place(definition, state, task, activation)
}

impl State {
    /// How often tasks had been entered before, where this task is not entered once more but again: a
    /// try's body begins again, or it was broken off at this place.
    fn entered_again(
        &self,
        definition: &Definition,
        task: &Task,
        turn: Option<u32>,
    ) -> Option<&[(TaskId, u32)]> {
        let Some(parent) = task.parent() else {
            let cut = self.flow.seq.cut.as_ref()?;
            return (cut.task == task.id).then_some(&*cut.before);
        };
        let around = self.find_any(definition, parent)?;
        if let (Body::Try(inner), Kind::Try { body, .. }) =
            (&around.body, &definition.task(parent).kind)
            && matches!(inner.stage, TryStage::Pause { .. })
            && body.contains(&task.id)
        {
            return Some(&around.before);
        }
        let same_turn = match (&around.body, turn) {
            (Body::For { turn: Some(runs), .. }, Some(turn)) => *runs == turn,
            _ => true,
        };
        let cut = around.seq()?.cut.as_ref().filter(|_| same_turn)?;
        (cut.task == task.id).then_some(&*cut.before)
    }

    /// Which entry of the task it is, if it is entered now. A turn of a loop that begins again with
    /// another item is another entry: what the ledger knows of the earlier one is not its own.
    pub fn next_iteration(&self, definition: &Definition, task: &Task, turn: Option<u32>) -> u32 {
        let before = match self.entered_again(definition, task, turn) {
            Some(saved) => saved.iter().find(|(id, _)| *id == task.id).map(|(_, n)| *n),
            None => self.entries.get(&task.id).copied(),
        };
        let latest = before.unwrap_or(0);
        let items = effects::items_at(definition, self, task.id, turn);
        if items == 0 || task.undoing.is_some() {
            return latest + 1;
        }
        let same_turn = self.ledger.get((task.id, latest)).is_some_and(|e| e.items == items);
        let ancestry = self.ancestry(definition, task.id);
        let around = ancestry.iter().rev().find(|a| matches!(a.body, Body::For { .. }));
        let begun = around.and_then(|a| a.before.iter().find(|(id, _)| *id == task.id));
        let floor = if same_turn { latest } else { begun.map_or(0, |(_, n)| *n) };
        let known = || self.ledger.iter().filter(|entry| entry.task == task.id);
        let again = known().filter(|e| e.items == items && e.iteration > floor);
        let highest = known().map(|entry| entry.iteration).max().unwrap_or(0);
        let again = again.map(|entry| entry.iteration).min();
        let free = self.ledger.get((task.id, latest + 1)).is_none().then_some(latest + 1);
        again.or(free).unwrap_or_else(|| latest.max(highest) + 1)
    }
}

/// Makes the place for the task's activation, and gives its raw input and what it had reached before it
/// was broken off.
fn make_room(
    definition: &Definition,
    state: &mut State,
    task: &Task,
    iteration: u32,
    entry: &Entry,
    at: Timestamp,
) -> Result<(Data, Counts), CorruptHistory> {
    if task.is_undo() {
        let key = task.parent().map(|id| (id, iteration));
        // a person was to say what it had answered, in histories that undid it all the same
        if let Some(place) = key.and_then(|key| state.detached_place(key)) {
            state.detached.remove(place);
        }
        let undone = key.and_then(|key| state.ledger.get_mut(key));
        let Some(undone) = undone.filter(|undone| undone.is_done()) else {
            return corrupt("it undoes what was not done");
        };
        undone.fate = Fate::Undoing;
        return match undone.undo_input() {
            Some(input) => Ok((input, Vec::new())),
            None => corrupt("what is undone was not read back"),
        };
    }
    let saved = state.entered_again(definition, task, entry.turn).map(<[_]>::to_vec);
    let Some(parent_id) = task.parent() else {
        let again = saved.map(|saved| restore(definition, state, task.id, &saved));
        let seq = &mut state.flow.seq;
        seq.at = place_in(&definition.root, task)?;
        seq.cut = None;
        return Ok((seq.data.clone(), again.unwrap_or_default()));
    };
    let mut reached = Vec::new();
    if let Some(saved) = saved {
        let pauses = state.find_any(definition, parent_id).is_some_and(|around| {
            matches!(&around.body, Body::Try(inner) if matches!(inner.stage, TryStage::Pause { .. }))
        });
        match &definition.task(parent_id).kind {
            // the whole body begins again
            Kind::Try { body, .. } if pauses => {
                for id in body.iter() {
                    let more = restore(definition, state, *id, &saved);
                    if let Some(around) = state.find_any_mut(definition, parent_id) {
                        counts::add(&mut around.reached, more);
                    }
                }
            }
            _ => reached = restore(definition, state, task.id, &saved),
        }
    }
    Ok((enter_below(definition, state, task, entry, at)?, reached))
}

fn enter_below(
    definition: &Definition,
    state: &mut State,
    task: &Task,
    entry: &Entry,
    at: Timestamp,
) -> Result<Data, CorruptHistory> {
    let Some(parent_id) = task.parent() else {
        return corrupt("a task of the outermost list has no parent");
    };
    let Some(parent) = state.find_any_mut(definition, parent_id) else {
        return corrupt(format!("{} is entered outside of its parent", task.reference));
    };
    let kind = &definition.task(parent_id).kind;
    if let Kind::Fork { branches, .. } = kind {
        place_in(branches, task)?;
        return Ok(parent.input.clone());
    }
    enter_stage(parent, kind, task, entry, at)?;
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
    seq.cut = None;
    Ok(seq.data.clone())
}

/// Moves the parent to the stage that the task belongs to: a try into its catch or back into its
/// body, a loop into its next turn.
fn enter_stage(
    parent: &mut Activation,
    kind: &Kind,
    task: &Task,
    entry: &Entry,
    at: Timestamp,
) -> Result<(), CorruptHistory> {
    let (input, reached) = (parent.input.clone(), counts::of_all_rounds(parent));
    match (&mut parent.body, kind) {
        (Body::Try(inner), Kind::Try { body, catch }) => {
            let catching = catch.body.as_ref().is_some_and(|list| list.contains(&task.id));
            match &inner.stage {
                TryStage::Pause { .. } if body.contains(&task.id) => {
                    inner.stage = TryStage::Body(Seq::begin(input));
                    inner.clock = inner.limit.map(|limit| Clock::begin(limit, at, false));
                }
                TryStage::Body(seq) if catching => {
                    let failed = seq.child.as_ref().and_then(|child| child.failed.as_ref());
                    let Some(failed) = failed else {
                        return corrupt("it catches no error");
                    };
                    let error = failed.error.to_data();
                    inner.stage = TryStage::Catch { seq: Seq::begin(input), error };
                    parent.reached = reached;
                    inner.clock = None;
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
    key: (TaskId, u32),
    input: &Data,
    entry: &Entry,
    at: Timestamp,
) -> Body {
    let task = definition.task(key.0);
    let work = || entry.work.clone().unwrap_or_else(|| input.clone());
    match &task.kind {
        Kind::Set(_) | Kind::Switch(_) | Kind::Raise(_) => Body::Instant,
        Kind::Do(_) => Body::List(Seq::begin(input.clone())),
        Kind::Function { .. } => Body::List(Seq::begin(work())),
        Kind::For { .. } => Body::For { items: work(), turn: None, seq: Seq::begin(input.clone()) },
        Kind::Fork { branches, .. } => Body::Fork(vec![Branch::Ready; branches.len()]),
        Kind::Try { .. } => {
            let limit = entry.attempt_deadline.map(|deadline| deadline.since(at));
            Body::Try(Box::new(Try {
                stage: TryStage::Body(Seq::begin(input.clone())),
                retries: 0,
                first_error_at: None,
                lasting: None,
                limit,
                clock: limit.map(|limit| Clock::begin(limit, at, false)),
            }))
        }
        Kind::Wait(_) => Body::Wait { until: None },
        Kind::Listen(listen) => {
            let taken = vec![None; listen.filters.len().max(1)];
            Body::Listen { taken, expected: Data::null() }
        }
        Kind::Book(_) | Kind::Perform(_) => Body::Staff { plan: None },
        Kind::Emit(_) | Kind::Call(_) | Kind::Run(_) => {
            let known = state.ledger.get(key);
            // what may have been done, or was done without a trace here, is asked for first
            let open = known.is_some_and(|known| {
                known.fate != Fate::Undone
                    && matches!(
                        known.knowledge,
                        Knowledge::Unknown(_) | Knowledge::Done(Kept::Gone)
                    )
            });
            let asking = open && task.metadata.reconcile.is_some();
            Body::Call(Box::new(Call::new(asking, known.map_or(0, |known| known.attempts))))
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
    let call_uses = |call: &model::Call| match call {
        model::Call::Http(http) => {
            endpoint(&http.endpoint) || uses(&http.headers) || uses(&http.query) || uses(&http.body)
        }
        model::Call::OpenApi(openapi) => uses(&openapi.parameters),
        model::Call::Email(with) | model::Call::Work(with) | model::Call::Pdf(with) => {
            template(with)
        }
        model::Call::Process(process) => template(&process.input),
        model::Call::Echo(with) => uses(with),
    };
    let asked = task.metadata.reconcile.as_ref().is_some_and(|question| {
        call_uses(&question.call) || question.found.uses(Arg::Context) || template(&question.output)
    });
    if asked {
        return true;
    }
    match &task.kind {
        Kind::Call(call) => call_uses(call),
        Kind::Emit(emit) => emit.attributes.iter().any(|(_, value)| template(value)),
        Kind::Run(run) => uses(&run.input) || uses(&task.metadata.key),
        _ => false,
    }
}
