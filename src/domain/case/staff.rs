//! What follows from the plans of a case: what comes next, what it waits for, and what CSRs are asked.

use std::sync::Arc;

use super::derive;
use super::event::{Wait, WaitKind};
use super::state::{Activation, State};
use crate::domain::ids::{AssignmentId, BookingId};
use crate::domain::staff::plan::owed::Asked;
use crate::domain::staff::plan::{Item, Phase, Plan};
use crate::domain::time::{DAY, Timestamp};

/// What comes next of a task that has to do with people.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Next {
    /// Something from outside.
    Wait,
    /// The turn of this one has come.
    Ready(BookingId),
    /// The task has what it waited for.
    End,
}

/// What comes next.
pub fn next(state: &State, activation: &Activation) -> Next {
    let key = (activation.task, activation.iteration);
    let Some(plan) = activation.plan().and_then(|id| state.plans.iter().find(|p| p.id == id))
    else {
        return Next::Wait;
    };
    if plan.performer.is_none_or(|performer| performer.task != key) {
        return if plan.is_placed() { Next::End } else { Next::Wait };
    }
    match plan.current() {
        None => Next::End,
        Some(item) if item.phase == Phase::Planned && item.proposed.is_none() => {
            Next::Ready(item.booking)
        }
        Some(_) => Next::Wait,
    }
}

/// Whether nothing of the task goes on by itself.
pub fn rests(state: &State, activation: &Activation) -> bool {
    activation.plan().is_some() && next(state, activation) == Next::Wait
}

/// Whether no CSR has anything for the case that is not wanted, nor may get it.
pub fn is_settled(state: &State) -> bool {
    state.plans.iter().all(Plan::is_settled)
}

/// Whether something has to be given back before the case can end.
pub fn has_to_give_back(state: &State) -> bool {
    let open = |plan: &Plan| !plan.closed && plan.items.iter().any(|item| item.phase.is_open());
    state.plans.iter().any(|plan| open(plan) || !plan.is_settled())
}

/// Whether the case ends as soon as it has given back what was reserved for it.
pub fn gives_back(state: &State) -> bool {
    state.closing && state.ended_at.is_none() && !is_settled(state)
}

/// The wait of a case that gives back what was reserved for it.
pub fn giving_back(state: &State) -> Option<(Wait, Timestamp)> {
    let ends = state.closing || state.unwinding.is_some();
    if !ends || state.ended_at.is_some() {
        return None;
    }
    let items = state.plans.iter().flat_map(|plan| &plan.items);
    let csr = items.into_iter().find_map(|item| {
        let owed = item.owed.first().map(|owed| &owed.csr);
        owed.or_else(|| item.proposed.as_ref().map(|place| &place.csr.id))
    })?;
    let detail = Some("what was reserved is given back".into());
    let on = Some(format!("csr:{csr}").into());
    Some((Wait { kind: WaitKind::Staff, on, until: None, detail }, state.updated_at))
}

/// What a task that has to do with people waits for.
pub fn wait_of(state: &State, activation: &Activation) -> Option<(Wait, Timestamp)> {
    let plan = activation.plan()?;
    let plan = state.plans.iter().find(|known| known.id == plan)?;
    let unplaced = || {
        let wants = |item: &&Item| item.phase == Phase::Unplaced || item.proposed.is_some();
        plan.waits().or_else(|| plan.items.iter().find(wants))
    };
    let Some(item) = plan.current().or_else(unplaced) else {
        let wait = Wait { kind: WaitKind::Staff, on: None, until: None, detail: None };
        return Some((wait, activation.started_at));
    };
    let on = match (item.phase, item.csr()) {
        (Phase::Blocked, _) => "customer".to_owned(),
        (Phase::Unplaced, _) | (_, None) => format!("skill:{}", item.wanted.skill),
        (_, Some(csr)) => format!("csr:{}", csr.id),
    };
    let detail = match item.phase {
        Phase::Unplaced => item.nobody.clone(),
        _ => Some(item.wanted.title()),
    };
    let wait = Wait { kind: WaitKind::Staff, on: Some(on.into()), until: item.due, detail };
    Some((wait, item.since))
}

/// Plans for which somebody has to look for people.
pub fn to_plan(state: &State) -> impl Iterator<Item = &Plan> {
    let open = state.ended_at.is_none() && !derive::holds(state) && !state.closing;
    let open = open && state.unwinding.is_none();
    state.plans.iter().filter(move |plan| open && plan.wants_planning())
}

/// Plans that wait because nobody was found.
pub fn waiting(state: &State) -> impl Iterator<Item = (&Plan, &Item)> {
    let open = state.ended_at.is_none() && !state.closing && state.unwinding.is_none();
    let open = open && !derive::holds(state);
    let plans = state.plans.iter().filter(move |_| open);
    plans.filter_map(|plan| plan.waits().map(|item| (plan, item)))
}

/// When those for whom nobody was found are looked for again by themselves: a new day has come into the
/// horizon by then.
pub fn look_again_at(state: &State) -> Option<Timestamp> {
    let since = |(_, item): (&Plan, &Item)| item.nobody_at.map(|at| at.plus(DAY));
    waiting(state).filter_map(since).min()
}

/// What CSRs are asked, until they have answered.
pub fn asks(state: &State) -> Vec<Asked> {
    let customer: Option<&Arc<str>> = state.subject.as_ref();
    state.plans.iter().flat_map(|plan| plan.asks(state.id, customer)).collect()
}

/// What is due of the plans of a case.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Due {
    /// The next task was to begin, and this one goes on.
    Overrun(BookingId),
    Overdue(BookingId),
    /// Nobody has begun with it.
    Silent(BookingId),
}

/// What comes due next of the plans of a case, and when.
pub fn next_due(state: &State) -> Option<(Timestamp, Due)> {
    let open = state.ended_at.is_none() && !state.closing && state.unwinding.is_none();
    let plans = state.plans.iter().filter(|plan| open && !plan.closed);
    plans.flat_map(dues).min_by_key(|(at, _)| *at)
}

fn dues(plan: &Plan) -> Vec<(Timestamp, Due)> {
    let mut all = Vec::new();
    for item in plan.items.iter().filter(|item| item.phase.is_open()) {
        let booking = item.booking;
        // what waits for the customer is not late
        let counts = !item.overdue && item.phase != Phase::Blocked;
        all.extend(item.due.filter(|_| counts).map(|due| (due, Due::Overdue(booking))));
        let lease = item.lease.filter(|_| item.phase == Phase::Ready);
        all.extend(lease.map(|lease| (lease, Due::Silent(booking))));
    }
    let current = plan.current().filter(|item| !item.holds_up());
    let behind =
        plan.performed().skip_while(|item| Some(item.booking) != current.map(|c| c.booking));
    let next = behind.skip(1).find(|item| item.phase == Phase::Planned && item.proposed.is_none());
    let start = next.and_then(|item| item.made.as_ref()?.slot).map(|slot| slot.start);
    if let (Some(current), Some(start)) = (current, start) {
        // where that was said already, those behind it are about to move
        let at = start.max(current.overrun.unwrap_or(start));
        all.push((at, Due::Overrun(current.booking)));
    }
    all
}

/// Whether a proposal waits for its answer.
pub fn is_asking(state: &State) -> bool {
    state.plans.iter().flat_map(|plan| &plan.items).any(|item| item.proposed.is_some())
}

/// Whether somebody outside has to be asked something.
pub fn owes(state: &State) -> bool {
    !is_settled(state) || to_plan(state).next().is_some()
}

/// The plan and the task of an assignment.
pub fn assignment(state: &State, id: AssignmentId) -> Option<(&Plan, &Item)> {
    state.plans.iter().find_map(|plan| plan.item(id.booking()).map(|item| (plan, item)))
}
