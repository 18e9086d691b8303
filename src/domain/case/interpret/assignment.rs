//! What people do with the tasks that are theirs. The first of two that compete wins; the same once more
//! changes nothing.

use std::sync::Arc;

use super::{Halt, Interpreter, Trouble};
use crate::domain::case::command::{AssignmentConflict, Rejection, Verb};
use crate::domain::case::derive;
use crate::domain::case::staff;
use crate::domain::data::Data;
use crate::domain::ids::AssignmentId;
use crate::domain::staff::csr::{MINUTE, Slot};
use crate::domain::staff::plan::event::PlanEvent;
use crate::domain::staff::plan::{Item, Person, Phase, Place, Plan};
use crate::domain::time::Timestamp;
use crate::domain::workflow::expr::json::{SIZE_MAX, shallow_enough, size_of};
use crate::domain::workflow::schema::{Schema, Violation};

/// Bytes that a task takes in the output of its plan beside its outcome.
const FRAME: usize = 400;

impl Interpreter<'_> {
    pub(super) fn assignment(
        &mut self,
        id: AssignmentId,
        verb: &Verb,
        if_match: Option<u64>,
    ) -> Result<(), Halt> {
        let Some((plan, item)) = staff::assignment(&self.state, id) else {
            return Err(Rejection::NoSuchAssignment.into());
        };
        if is_done_so(item, verb) {
            return Ok(());
        }
        if if_match.is_some_and(|revision| revision != item.revision) {
            return Err(Rejection::StaleAssignment(item.revision).into());
        }
        self.may(plan, item, verb)?;
        let (booking, item, plan) = (item.booking, item.clone(), plan.clone());
        match verb {
            Verb::Start => self.begin_assignment(&plan, &item),
            Verb::Complete { outcome } => {
                check_outcome(&plan, &item, outcome)?;
                if item.phase == Phase::Ready {
                    self.begin_assignment(&plan, &item)?;
                }
                let outcome = outcome.clone();
                self.plan_event(PlanEvent::Completed { booking, outcome })
            }
            Verb::HandBack { reason } => {
                let reason = reason.clone();
                self.plan_event(PlanEvent::HandedBack { booking, reason })
            }
            Verb::Reassign { to: None, reason } => {
                let reason = reason.clone();
                self.plan_event(PlanEvent::Reassigned { booking, to: None, reason })
            }
            Verb::Reassign { to: Some(person), reason } => {
                // what has begun is theirs from now on
                let slot = item.slot().filter(|slot| slot.start >= self.now);
                let to = Some(person.id.clone());
                let event = PlanEvent::Reassigned { booking, to, reason: reason.clone() };
                self.plan_event(event)?;
                self.place_by_person(&item, person.clone(), slot, reason)
            }
            Verb::Move { start, to, reason } => {
                let Some(made) = &item.made else { return Ok(()) };
                check_start(&plan, &item, *start, self.now)?;
                let person = to.clone().unwrap_or_else(|| made.csr.clone());
                let slot = slot_of(&item, *start);
                self.place_by_person(&item, person, Some(slot), reason)
            }
            Verb::Block { reason } => {
                let reason = reason.clone();
                self.plan_event(PlanEvent::Blocked { booking, reason })
            }
            Verb::Unblock => {
                // the time that the customer took does not count
                let business = self.ctx.business();
                let took = business.between(item.since, self.now);
                let due = item.due.and_then(|due| business.after(due, took));
                self.plan_event(PlanEvent::Unblocked { booking, due })
            }
            Verb::Skip { reason } => {
                let reason = reason.clone();
                self.plan_event(PlanEvent::Skipped { booking, reason })
            }
        }
    }

    /// Somebody begins with it; with the first of them, the task that performs the plan has its status.
    fn begin_assignment(&mut self, plan: &Plan, item: &Item) -> Result<(), Halt> {
        let first = plan.performed().all(|item| item.started_at.is_none());
        self.plan_event(PlanEvent::Started { booking: item.booking })?;
        let Some(performer) = plan.performer.filter(|_| first) else { return Ok(()) };
        let task = self.task(performer.task.0);
        let Some(status) = &task.metadata.status_on_start else { return Ok(()) };
        let (place, input) =
            (self.place(performer.task)?, self.open(performer.task)?.input.clone());
        match self.render_status(status, &input, &place) {
            Ok(status) => self.set_status(&status),
            Err(Trouble::Halt(halt)) => Err(halt),
            Err(Trouble::Problem(problem)) => self.fault(performer.task, problem),
        }
    }

    /// A person says who, and when.
    fn place_by_person(
        &mut self,
        item: &Item,
        csr: Person,
        slot: Option<Slot>,
        reason: &Arc<str>,
    ) -> Result<(), Halt> {
        let (booking, number, at) = (item.booking, item.number + 1, self.now);
        let why = format!("a person wanted it so: {reason}").into();
        let place = Place { number, csr, slot, at, why, by_person: true };
        self.plan_event(PlanEvent::Proposed { booking, place, verdicts: Arc::default() })
    }

    /// Whether the assignment allows the verb now.
    fn may(&self, plan: &Plan, item: &Item, verb: &Verb) -> Result<(), Rejection> {
        let no = |why, detail: String| {
            Err(Rejection::Assignment { why, detail, allowed: allowed(item) })
        };
        if !item.phase.is_open() || self.state.phase.ended() {
            let detail = format!("the task is {} already", item.phase.name());
            return no(AssignmentConflict::AlreadyDone, detail);
        }
        let completes = matches!(verb, Verb::Complete { .. }) && item.phase.has_begun();
        if derive::holds(&self.state) && !completes {
            let detail = "the case is suspended: only what was started can be completed".to_owned();
            let allowed = if item.phase.has_begun() { vec!["complete"] } else { Vec::new() };
            let why = AssignmentConflict::CaseSuspended;
            return Err(Rejection::Assignment { why, detail, allowed });
        }
        if allowed(item).contains(&verb.name()) && !is_moving(item, verb) {
            return Ok(());
        }
        let works = matches!(verb, Verb::Start | Verb::Complete { .. });
        if let Some(before) = plan.predecessor_of(item.booking).filter(|_| works) {
            let detail = format!("`{}` comes before it and is not done", before.wanted.title());
            return no(AssignmentConflict::PredecessorOpen, detail);
        }
        let detail = match is_moving(item, verb) {
            true => "a person or a time is being looked for; try again in a moment".to_owned(),
            false => {
                format!("a task that is {} does not allow `{}`", item.phase.name(), verb.name())
            }
        };
        no(AssignmentConflict::Phase, detail)
    }
}

/// A proposal is under way: another one has to wait for its answer.
fn is_moving(item: &Item, verb: &Verb) -> bool {
    let proposes =
        matches!(verb, Verb::Reassign { .. } | Verb::Move { .. } | Verb::HandBack { .. });
    proposes && item.proposed.is_some()
}

/// The verbs that an assignment allows.
pub fn allowed(item: &Item) -> Vec<&'static str> {
    match item.phase {
        Phase::Unplaced => vec!["reassign", "skip"],
        Phase::Planned => vec!["hand-back", "reassign", "move", "skip"],
        Phase::Ready => vec!["start", "complete", "hand-back", "reassign", "move", "skip"],
        Phase::Started => vec!["complete", "hand-back", "reassign", "block", "skip"],
        Phase::Blocked => vec!["complete", "hand-back", "reassign", "unblock", "skip"],
        Phase::Done | Phase::Skipped | Phase::Cancelled => Vec::new(),
    }
}

/// Whether what is asked for is so already.
fn is_done_so(item: &Item, verb: &Verb) -> bool {
    match verb {
        Verb::Start => item.phase == Phase::Started,
        Verb::Complete { outcome } => {
            item.phase == Phase::Done && item.outcome.as_ref() == Some(outcome)
        }
        Verb::Block { reason } => {
            item.phase == Phase::Blocked && item.blocked.as_ref() == Some(reason)
        }
        Verb::Unblock => item.phase == Phase::Started,
        Verb::Skip { .. } => item.phase == Phase::Skipped,
        Verb::HandBack { reason } => item.back.as_ref() == Some(reason) && !item.phase.has_begun(),
        Verb::Reassign { to: Some(person), .. } => {
            let wanted = item.proposed.as_ref().or(item.made.as_ref());
            wanted.is_some_and(|place| place.csr.id == person.id && place.by_person)
        }
        Verb::Move { start, to, .. } => {
            let wanted = item.proposed.as_ref().or(item.made.as_ref());
            wanted.is_some_and(|place| {
                let same = to.as_ref().is_none_or(|to| to.id == place.csr.id);
                same && place.slot.is_some_and(|slot| slot.start == *start)
            })
        }
        Verb::Reassign { to: None, .. } => false,
    }
}

fn slot_of(item: &Item, start: Timestamp) -> Slot {
    let end = start.plus(i64::from(item.wanted.minutes) * MINUTE);
    Slot { start, end, buffer_end: end.plus(i64::from(item.wanted.buffer_minutes) * MINUTE) }
}

/// A person moves a task to what is still to come, behind what has to be done before it.
fn check_start(
    plan: &Plan,
    item: &Item,
    start: Timestamp,
    now: Timestamp,
) -> Result<(), Rejection> {
    let wrong = |detail: String| {
        let pointer = "/start".to_owned();
        Err(Rejection::Invalid(vec![Violation { pointer, detail }]))
    };
    if start < now {
        return wrong("it is over".to_owned());
    }
    let before = plan.items.iter().take_while(|other| other.booking != item.booking);
    let ends = before.filter(|other| other.phase.is_open()).filter_map(Item::ends).max();
    let gap = i64::from(item.wanted.gap_minutes) * MINUTE;
    match ends.map(|ends| ends.plus(gap)).filter(|first| start < *first) {
        Some(first) => wrong(format!("what comes before it ends later: {first} at the earliest")),
        None => Ok(()),
    }
}

/// An outcome has to fit its form, and a record.
fn check_outcome(plan: &Plan, item: &Item, outcome: &Data) -> Result<(), Rejection> {
    let invalid = |pointer: String, detail: String| {
        Rejection::Invalid(vec![Violation { pointer: format!("/outcome{pointer}"), detail }])
    };
    if !shallow_enough(outcome) {
        return Err(invalid(String::new(), "it is nested too deep".to_owned()));
    }
    // all of a plan are one output in the end
    let others = plan.items.iter().filter_map(|item| item.outcome.as_ref());
    let others: usize = others.map(|outcome| size_of(outcome)).sum();
    let frames = plan.items.len() * FRAME;
    if size_of(outcome) + others + frames > SIZE_MAX {
        return Err(Rejection::TooLarge(format!(
            "the outcomes of a plan are larger than {} KiB",
            SIZE_MAX / 1024
        )));
    }
    let Some(form) = &item.wanted.form else { return Ok(()) };
    let schema = Schema::compile(form).map_err(|detail| invalid(String::new(), detail))?;
    let found = schema.violations(outcome).into_iter();
    let found: Vec<Violation> = found
        .map(|one| Violation { pointer: format!("/outcome{}", one.pointer), detail: one.detail })
        .collect();
    if found.is_empty() { Ok(()) } else { Err(Rejection::Invalid(found)) }
}
