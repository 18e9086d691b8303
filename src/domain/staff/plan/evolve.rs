//! What an event makes of the plans of a case.

use std::sync::Arc;

use super::event::{Begun, Changed, ChangedTask, PlanEvent};
use super::wanted::{Restated, Wanted};
use super::{Attention, Debt, Item, Owed, Performer, Phase, Place, Plan};
use crate::domain::ids::BookingId;
use crate::domain::staff::csr::{Displacement, Refusal};
use crate::domain::staff::notice::Mark;
use crate::domain::time::Timestamp;

/// An event that the plans cannot have led to: the history is damaged.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the history of the plan does not fit: {0}")]
pub struct CorruptPlan(pub &'static str);

/// Folds an event into the plans of a case.
///
/// # Errors
/// When it does not fit.
pub fn evolve(plans: &mut Vec<Plan>, event: &PlanEvent, at: Timestamp) -> Result<(), CorruptPlan> {
    match event {
        PlanEvent::Begun(begun) => {
            plans.push(plan(begun, at));
            return Ok(());
        }
        PlanEvent::Performed { plan, task, only, restated } => {
            let known = plans.iter_mut().find(|known| known.id == *plan);
            let plan = known.ok_or(CorruptPlan("a plan is performed that is not there"))?;
            plan.open_again(at);
            plan.performer = Some(Performer { task: *task, only: *only, since: at });
            for item in &mut plan.items {
                if only.is_none_or(|only| only == item.booking) {
                    restate(item, restated);
                }
            }
            return Ok(());
        }
        PlanEvent::Changed(changed) => {
            let known = plans.iter_mut().find(|known| known.id == changed.plan);
            known.ok_or(CorruptPlan("a plan is changed that is not there"))?.change(changed, at);
            return Ok(());
        }
        PlanEvent::Closed { plan } => {
            let known = plans.iter_mut().find(|known| known.id == *plan);
            known.ok_or(CorruptPlan("a plan is closed that is not there"))?.close(at);
            return Ok(());
        }
        _ => {}
    }
    let booking = event.booking();
    let found = plans.iter_mut().find_map(|plan| {
        let closed = plan.closed;
        booking.and_then(|booking| plan.item_mut(booking)).map(|item| (item, closed))
    });
    let Some((item, closed)) = found else {
        return Err(CorruptPlan("something happened to a booking that is not there"));
    };
    item.revision += 1;
    change(item, closed, event, at)?;
    if let PlanEvent::Overrun { booking, .. } = event {
        give_back_behind(plans, *booking, at);
    }
    Ok(())
}

/// A task has gone on for too long: those behind it are planned once it is done.
fn give_back_behind(plans: &mut [Plan], booking: BookingId, at: Timestamp) {
    let Some(plan) = plans.iter_mut().find(|plan| plan.item(booking).is_some()) else { return };
    let mut behind = plan.items.iter_mut().skip_while(|item| item.booking != booking);
    if behind.next().is_some_and(|item| item.holds_up()) {
        behind.filter(|item| item.phase == Phase::Planned).for_each(|item| item.lose_place(at));
    }
}

fn change(
    item: &mut Item,
    closed: bool,
    event: &PlanEvent,
    at: Timestamp,
) -> Result<(), CorruptPlan> {
    match event {
        PlanEvent::Proposed { place, verdicts, .. } => {
            if place.number <= item.number || item.proposed.is_some() {
                return Err(CorruptPlan("a number is used twice"));
            }
            item.number = place.number;
            item.proposed = Some(place.clone());
            item.verdicts = verdicts.clone();
            item.nobody = None;
        }
        PlanEvent::Made { number, due, .. } => {
            let proposed = item.proposed.take().filter(|place| place.number == *number);
            let made = proposed.ok_or(CorruptPlan("a booking is made that was not proposed"))?;
            if closed || !item.phase.is_open() {
                // it came too late; a move within one CSR has replaced what was done
                let same = item.made.as_ref().is_some_and(|before| before.csr.id == made.csr.id);
                let done = same && item.phase == Phase::Done;
                item.owe(&made, if done { Debt::Done } else { Debt::Release });
                if done {
                    item.made = Some(made);
                }
                return Ok(());
            }
            if let Some(before) = item.made.take() {
                // a move within one CSR has replaced it
                let other = before.csr.id != made.csr.id;
                if other {
                    item.owe(&before, Debt::Release);
                }
                if item.phase == Phase::Ready || (other && item.phase.has_begun()) {
                    // its turn comes again, at its new time
                    item.enter(Phase::Planned, at);
                }
            }
            item.refusals = 0;
            item.had = None;
            if due.is_some() {
                (item.due, item.due_from) = (*due, at);
            }
            item.attention = late(&made, item.due);
            item.said.retain(|(_, mark)| *mark != Mark::Unplaced);
            if item.phase == Phase::Unplaced {
                item.enter(Phase::Planned, at);
            }
            item.made = Some(made);
        }
        PlanEvent::Refused { number, why, .. } => {
            if item.proposed.take().is_none_or(|place| place.number != *number) {
                return Err(CorruptPlan("a proposal is refused that was not made"));
            }
            if *why != Refusal::Released {
                item.refusals += 1;
            }
        }
        PlanEvent::Unplaced { why, verdicts, .. } => {
            if item.made.is_some() {
                item.lose_place(at);
            }
            item.nobody = Some(why.clone());
            item.nobody_at = Some(at);
            item.verdicts = verdicts.clone();
            item.attention = Some(Attention::Unplaced);
            item.refusals = 0;
        }
        PlanEvent::GaveWay { .. } => {
            let had = item.made.clone();
            item.lose_place(at);
            item.had = had;
        }
        PlanEvent::Displaced { number, why, .. } => {
            let Some(made) = item.made.clone().filter(|made| made.number == *number) else {
                return Err(CorruptPlan("a booking is displaced that was not made"));
            };
            item.attention = Some(match why {
                Displacement::Left => Attention::Left,
                Displacement::Absent | Displacement::Hours | Displacement::Holiday => {
                    Attention::Absent
                }
            });
            match item.phase {
                Phase::Started | Phase::Blocked => item.owe(&made, Debt::Keep),
                _ => {
                    item.lose_place(at);
                    item.had = Some(made);
                }
            }
        }
        PlanEvent::Settled { csr, number, what, .. } => {
            let owed = Owed { csr: csr.clone(), number: *number, what: *what };
            item.owed.retain(|known| *known != owed);
        }
        PlanEvent::Ready { lease, .. } => {
            (item.lease, item.silent) = (*lease, false);
            item.said.retain(|(_, mark)| *mark != Mark::Silent);
            item.enter(Phase::Ready, at);
        }
        PlanEvent::Started { .. } => {
            item.started_at.get_or_insert(at);
            item.enter(Phase::Started, at);
        }
        PlanEvent::Unblocked { due, .. } => {
            if let Some((before, due)) = item.due.zip(*due) {
                item.due_from = item.due_from.plus(due.since(before));
            }
            item.due = due.or(item.due);
            item.enter(Phase::Started, at);
        }
        PlanEvent::Overrun { until, .. } => {
            item.overrun = Some(*until);
            item.overruns += 1;
            item.attention = Some(Attention::Late);
        }
        PlanEvent::Overdue { .. } => {
            item.overdue = true;
            item.attention = Some(Attention::Overdue);
        }
        PlanEvent::Silent { lease, .. } => {
            (item.lease, item.silent) = (Some(*lease), true);
            item.attention = Some(Attention::Late);
        }
        PlanEvent::TakenBack { .. } => {
            item.silent_ones.extend(item.made.as_ref().map(|made| made.csr.id.clone()));
            item.lose_place(at);
        }
        PlanEvent::Blocked { reason, .. } => {
            item.blocked = Some(reason.clone());
            item.enter(Phase::Blocked, at);
        }
        PlanEvent::Completed { outcome, .. } => {
            item.outcome = Some(outcome.clone());
            item.end(Phase::Done, at);
        }
        PlanEvent::HandedBack { reason, .. } => {
            item.back = Some(reason.clone());
            item.handed_back.extend(item.made.as_ref().map(|made| made.csr.id.clone()));
            item.lose_place(at);
        }
        PlanEvent::Reassigned { to: None, .. } => item.lose_place(at),
        // what it has stays until the other one has it
        PlanEvent::Reassigned { to: Some(_), .. } => {}
        PlanEvent::Skipped { reason, .. } => {
            item.skipped = Some(reason.clone());
            item.end(Phase::Skipped, at);
        }
        PlanEvent::Begun(_)
        | PlanEvent::Performed { .. }
        | PlanEvent::Changed(_)
        | PlanEvent::Closed { .. } => {}
    }
    Ok(())
}

fn plan(begun: &Begun, at: Timestamp) -> Plan {
    let tasks = begun.tasks.iter();
    Plan {
        id: begun.plan,
        task: begun.task,
        performer: None,
        customer: begun.customer.clone(),
        contact: begun.contact.clone(),
        sticky: begun.sticky,
        queued: begun.queued,
        single: begun.single,
        items: tasks.map(|t| Item::new(t.booking, t.wanted.clone(), t.due, at)).collect(),
        count: begun.tasks.len() as u32,
        closed: false,
        notices: begun.notices,
        told: None,
    }
}

/// A place that is not in time.
fn late(made: &Place, due: Option<Timestamp>) -> Option<Attention> {
    let late = made.slot.zip(due).is_some_and(|(slot, due)| due < slot.end);
    late.then_some(Attention::Late)
}

impl Plan {
    /// Nothing of it is wanted any more.
    pub fn close(&mut self, at: Timestamp) {
        self.closed = true;
        for item in &mut self.items {
            if item.phase.is_open() {
                item.end(Phase::Cancelled, at);
            }
        }
    }

    /// What nobody has begun with is in another order, or not to be done, and more may be.
    fn change(&mut self, changed: &Changed, at: Timestamp) {
        if let Some(customer) = &changed.customer {
            self.customer = Some(customer.clone());
        }
        let fixed = |item: &Item| !item.phase.is_open() || item.phase.has_begun();
        let (mut items, mut open): (Vec<Item>, Vec<Item>) =
            std::mem::take(&mut self.items).into_iter().partition(fixed);
        let mut behind = Vec::new();
        for task in &changed.tasks {
            match task {
                ChangedTask::Kept(booking) => {
                    let place = open.iter().position(|item| item.booking == *booking);
                    behind.extend(place.map(|place| open.remove(place)));
                }
                ChangedTask::New(task) => {
                    self.count += 1;
                    let (booking, wanted) = (task.booking, task.wanted.clone());
                    behind.push(Item::new(booking, wanted, task.due, at));
                }
            }
        }
        for mut item in open {
            item.skipped = Some(changed.reason.clone());
            item.end(Phase::Skipped, at);
            item.revision += 1;
            items.push(item);
        }
        let current = items.iter().any(|item| item.phase.is_open());
        for (place, item) in behind.iter_mut().enumerate() {
            // its turn has come, and now another one goes first
            if item.phase == Phase::Ready && (current || place > 0) {
                item.lease = None;
                item.enter(Phase::Planned, at);
                item.revision += 1;
            }
        }
        items.append(&mut behind);
        self.items = items;
    }

    /// What has passed without its turn is planned anew.
    pub fn give_up_passed(&mut self, at: Timestamp) {
        let passed = |item: &Item| {
            item.phase == Phase::Planned && item.slot().is_some_and(|slot| slot.start < at)
        };
        for item in self.items.iter_mut().filter(|item| passed(item)) {
            let had = item.made.clone();
            item.lose_place(at);
            item.had = had;
        }
    }

    /// Nobody performs this task any more; it stays booked.
    pub fn leave(&mut self, booking: BookingId, at: Timestamp) {
        self.performer = None;
        if let Some(item) = self.item_mut(booking).filter(|item| item.phase == Phase::Ready) {
            item.lease = None;
            item.enter(Phase::Planned, at);
        }
    }

    /// What was given back is wanted after all.
    fn open_again(&mut self, at: Timestamp) {
        if !std::mem::take(&mut self.closed) {
            return;
        }
        for item in self.items.iter_mut().filter(|item| item.phase == Phase::Cancelled) {
            (item.ended_at, item.started_at) = (None, None);
            (item.overrun, item.overruns) = (None, 0);
            (item.overdue, item.silent) = (false, false);
            item.enter(Phase::Unplaced, at);
        }
    }
}

fn restate(item: &mut Item, restated: &Restated) {
    if *restated == Restated::default() {
        return;
    }
    let Restated { title, instructions, form } = restated.clone();
    let known = (*item.wanted).clone();
    item.wanted = Arc::new(Wanted {
        title: title.or(known.title),
        instructions: instructions.or(known.instructions),
        form: form.or(known.form),
        ..known
    });
}

impl Item {
    fn enter(&mut self, phase: Phase, at: Timestamp) {
        (self.phase, self.since) = (phase, at);
    }

    fn owe(&mut self, place: &super::Place, what: Debt) {
        let owed = Owed { csr: place.csr.id.clone(), number: place.number, what };
        if !self.owed.contains(&owed) {
            self.owed.push(owed);
        }
    }

    /// Somebody else, or another time, has to be found.
    fn lose_place(&mut self, at: Timestamp) {
        if let Some(made) = self.made.take() {
            self.owe(&made, Debt::Release);
        }
        (self.nobody, self.had) = (None, None);
        self.lease = None;
        self.enter(Phase::Unplaced, at);
    }

    fn end(&mut self, phase: Phase, at: Timestamp) {
        if let Some(made) = self.made.clone() {
            let done = phase == Phase::Done || self.phase.has_begun();
            self.owe(&made, if done { Debt::Done } else { Debt::Release });
            if !done {
                self.made = None;
            }
        }
        self.attention = None;
        self.nobody = None;
        self.ended_at = Some(at);
        self.enter(phase, at);
    }
}
