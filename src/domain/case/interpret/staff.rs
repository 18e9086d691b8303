//! Tasks that have to do with people: what is asked for, what is found, and what comes of it.

use std::sync::Arc;

use serde_json::{Value as Json, json};

use super::evaluate::Place as Where;
use super::finish::bounded;
use super::{BYTES_MAX, Halt, Interpreter, Key, Trouble};
use crate::domain::case::derive;
use crate::domain::case::event::Event;
use crate::domain::case::problem::{Problem, Standard};
use crate::domain::case::staff;
use crate::domain::data::Data;
use crate::domain::ids::{BookingId, CsrId, PlanId};
use crate::domain::staff::csr::command::Answer;
use crate::domain::staff::csr::{Displacement, MINUTE, Refusal};
use crate::domain::staff::notice::Notices;
use crate::domain::staff::plan::event::{Begun, BegunTask, PlanEvent};
use crate::domain::staff::plan::place::Choice;
use crate::domain::staff::plan::wanted::{Booked, Performed, Restated, Wanted};
use crate::domain::staff::plan::{Debt, Item, Owed, Phase, Place, Plan, REFUSALS_MAX};
use crate::domain::time::DAY;
use crate::domain::workflow::model::Template;

/// Minutes that a task which goes on into the next one's time is believed to take at least.
const OVERRUN_MIN: i64 = 30;

/// Milliseconds after a start in which nothing is taken from anybody who has not begun with it.
const LEASE_GRACE: i64 = 10 * MINUTE;

/// Tasks for people that a case may have open at the same time.
const OPEN_MAX: usize = 1000;

impl Interpreter<'_> {
    pub(super) fn plan_event(&mut self, event: PlanEvent) -> Result<(), Halt> {
        self.emit(Event::Plan(event))
    }

    /// `call: book`
    pub(super) fn book(
        &mut self,
        key: Key,
        with: &Template,
        input: &Data,
        place: &Where,
    ) -> Result<(), Trouble> {
        let with = self.render(with, input, place)?;
        bounded(&with, "what is asked for")?;
        let (booked, is_list) = Booked::read(&with).map_err(invalid)?;
        let contact = booked.contact();
        let Booked { tasks, customer, sticky, .. } = booked;
        let plan = self.plan_id(key);
        let (tasks, single, queued) = (self.begun_tasks(plan, tasks, false)?, !is_list, false);
        let notices = self.notices();
        let begun =
            Begun { plan, task: key, queued, single, customer, contact, sticky, notices, tasks };
        Ok(self.plan_event(PlanEvent::Begun(Box::new(begun)))?)
    }

    /// `call: perform`
    pub(super) fn perform_task(
        &mut self,
        key: Key,
        with: &Template,
        input: &Data,
        place: &Where,
    ) -> Result<(), Trouble> {
        let with = self.render(with, input, place)?;
        bounded(&with, "what is asked for")?;
        let (performed, restated) = Performed::read(&with).map_err(invalid)?;
        let (plan, only) = match performed {
            Performed::Plan(plan) => (self.plan_to_perform(|known| known.id == plan)?, None),
            Performed::Booking(booking) => {
                let plan = self.plan_to_perform(|known| known.item(booking).is_some())?;
                (plan, Some(booking))
            }
            Performed::Queued(wanted) => {
                let plan = self.plan_id(key);
                let begun = Begun {
                    plan,
                    task: key,
                    queued: true,
                    single: true,
                    customer: None,
                    contact: None,
                    sticky: Default::default(),
                    notices: self.notices(),
                    tasks: self.begun_tasks(plan, vec![wanted], true)?,
                };
                self.plan_event(PlanEvent::Begun(Box::new(begun)))?;
                (plan, None)
            }
        };
        let restated: Restated = restated;
        Ok(self.plan_event(PlanEvent::Performed { plan, task: key, only, restated })?)
    }

    /// Who is told of a plan that begins now.
    fn notices(&self) -> Notices {
        match self.definition.notices {
            true => self.ctx.notices(),
            false => Notices::Off,
        }
    }

    fn plan_id(&self, (task, iteration): Key) -> PlanId {
        let reference = &self.task(task).reference;
        PlanId::of(self.state.id, reference, iteration, self.state.plans_begun)
    }

    /// The tasks of a plan as it begins. What is queued is not due before it is given to somebody, unless it
    /// is due at a time.
    fn begun_tasks(
        &self,
        plan: PlanId,
        tasks: Vec<Arc<Wanted>>,
        queued: bool,
    ) -> Result<Vec<BegunTask>, Problem> {
        let items = self.state.plans.iter().flat_map(|plan| &plan.items);
        let open = items.filter(|item| item.phase.is_open()).count();
        if open + tasks.len() > OPEN_MAX {
            let detail = format!("a case has at most {OPEN_MAX} open tasks for people");
            return Err(Problem::new(Standard::Runtime, detail));
        }
        let business = self.ctx.business();
        let begun = |(place, wanted): (u32, Arc<Wanted>)| {
            let due = match &wanted.due {
                None => None,
                Some(due) => Some(due.at(self.now, &business).ok_or_else(|| {
                    invalid(format!("/tasks/{place}/due is no time that will come"))
                })?),
            };
            let later = queued && wanted.due.as_ref().is_some_and(|due| !due.is_a_time());
            let due = due.filter(|_| !later);
            Ok(BegunTask { booking: BookingId::of(plan, place), wanted, due })
        };
        (0..).zip(tasks).map(begun).collect()
    }

    /// A plan of the case that nobody performs.
    fn plan_to_perform(&self, fits: impl Fn(&Plan) -> bool) -> Result<PlanId, Problem> {
        let plan = self.state.plans.iter().find(|plan| fits(plan));
        let Some(plan) = plan else {
            return Err(invalid("the case has booked no such plan or task".to_owned()));
        };
        let busy = plan.performer.filter(|performer| {
            let open = self.state.find(self.definition, performer.task.0, performer.task.1);
            open.is_some_and(|open| open.plan() == Some(plan.id))
        });
        match busy {
            Some(_) => Err(invalid("it is performed by another task already".to_owned())),
            None => Ok(plan.id),
        }
    }

    /// A task has the people, or the outcomes, that it waited for.
    pub(super) fn end_staff(&mut self, key: Key) -> Result<(), Halt> {
        let plan = self.open(key)?.plan();
        let plan = self.state.plans.iter().find(|known| Some(known.id) == plan);
        let output = match plan {
            Some(plan) if plan.performer.is_some_and(|performer| performer.task == key) => {
                outcomes(plan)
            }
            Some(plan) => bookings(plan),
            None => Json::Null,
        };
        let output = Data::from(output);
        match bounded(&output, "what came of it") {
            Ok(()) => self.complete(key, Some(output), None),
            Err(problem) => self.fault(key, problem),
        }
    }

    /// Somebody has looked for people and times.
    pub(super) fn propose(&mut self, plan: PlanId, choices: &[Choice]) -> Result<(), Halt> {
        let held = derive::holds(&self.state);
        let waits = !held && staff::waiting(&self.state).any(|(known, _)| known.id == plan);
        if !waits && !staff::to_plan(&self.state).any(|known| known.id == plan) {
            return Ok(());
        }
        for choice in choices {
            // the rest is looked for again, once these are answered
            if self.bytes >= BYTES_MAX / 2 {
                return Ok(());
            }
            let known = self.state.plans.iter().find(|known| known.id == plan);
            let item = known.and_then(|plan| plan.item(choice.booking)).filter(|item| {
                let same = item.number == choice.number && item.proposed.is_none();
                same && matches!(item.phase, Phase::Unplaced | Phase::Planned)
            });
            // it has moved on meanwhile: who looked, looked at something else
            let Some(item) = item else { return Ok(()) };
            let (booking, verdicts) = (choice.booking, choice.verdicts.clone());
            if choice.gives_way {
                self.plan_event(PlanEvent::GaveWay { booking })?;
                continue;
            }
            let Some(found) = &choice.place else {
                // said once a day, so that it is known when it was looked for last
                let today = item.nobody_at.is_some_and(|at| self.now.since(at) < DAY);
                if item.nobody.as_ref() != Some(&choice.why) || !today {
                    let why = choice.why.clone();
                    self.plan_event(PlanEvent::Unplaced { booking, why, verdicts })?;
                }
                continue;
            };
            let place = Place {
                number: item.number + 1,
                csr: found.csr.clone(),
                slot: found.slot,
                at: self.now,
                why: choice.why.clone(),
                by_person: false,
            };
            self.plan_event(PlanEvent::Proposed { booking, place, verdicts })?;
        }
        Ok(())
    }

    /// A CSR has answered.
    pub(super) fn answered(
        &mut self,
        csr: &CsrId,
        (booking, number): (BookingId, u32),
        what: Option<Debt>,
        answer: &Answer,
    ) -> Result<(), Halt> {
        let item = self.state.plans.iter().find_map(|plan| plan.item(booking));
        let Some(item) = item else { return Ok(()) };
        if let Some(what) = what {
            let owed = Owed { csr: csr.clone(), number, what };
            return match item.owed.contains(&owed) {
                true => {
                    let csr = csr.clone();
                    self.plan_event(PlanEvent::Settled { booking, csr, number, what })
                }
                false => Ok(()),
            };
        }
        if item.proposed.as_ref().is_none_or(|place| place.number != number) {
            return Ok(());
        }
        match answer {
            Answer::Reserved => {
                // of queued work it counts from when it is given
                let due = item.wanted.due.as_ref().filter(|_| item.due.is_none());
                let due = due.and_then(|due| due.at(self.now, &self.ctx.business()));
                self.plan_event(PlanEvent::Made { booking, number, due })
            }
            Answer::Refused(why) => self.refused(booking, number, *why),
            Answer::Changed(_) | Answer::Released | Answer::Noted => Ok(()),
        }
    }

    fn refused(&mut self, booking: BookingId, number: u32, why: Refusal) -> Result<(), Halt> {
        self.plan_event(PlanEvent::Refused { booking, number, why })?;
        let item = self.state.plans.iter().find_map(|plan| plan.item(booking));
        let Some(item) = item.filter(|item| item.phase.is_open()) else { return Ok(()) };
        if item.refusals < REFUSALS_MAX || item.phase != Phase::Unplaced {
            return Ok(());
        }
        let why =
            format!("{REFUSALS_MAX} proposals in a row were refused, the last: {}", why.name());
        let (why, verdicts) = (why.into(), item.verdicts.clone());
        self.plan_event(PlanEvent::Unplaced { booking, why, verdicts })
    }

    /// A reservation does not fit any more.
    pub(super) fn displaced(
        &mut self,
        booking: BookingId,
        number: u32,
        why: Displacement,
    ) -> Result<(), Halt> {
        let item = self.state.plans.iter().find_map(|plan| plan.item(booking));
        let made = |item: &&Item| item.made.as_ref().is_some_and(|made| made.number == number);
        // one that is told of it again has answered already
        let told = |item: &&Item| item.owed.iter().any(|owed| owed.number == number);
        match item.filter(made).filter(|item| item.phase.is_open() && !told(item)) {
            Some(_) => self.plan_event(PlanEvent::Displaced { booking, number, why }),
            None => Ok(()),
        }
    }

    /// The turn of a task has come.
    pub(super) fn ready(&mut self, booking: BookingId) -> Result<(), Halt> {
        let item = self.state.plans.iter().find_map(|plan| plan.item(booking));
        let slot = item.and_then(|item| item.made.as_ref()?.slot);
        let from = slot.map_or(self.now, |slot| slot.start.max(self.now));
        let lease = self.ctx.business().days_after(from, 1);
        self.plan_event(PlanEvent::Ready { booking, lease })
    }

    /// Something of a plan is due.
    pub(super) fn plan_due(&mut self, due: staff::Due) -> Result<(), Halt> {
        let find = |booking| self.state.plans.iter().find_map(|plan: &Plan| plan.item(booking));
        match due {
            staff::Due::Overdue(booking) => self.plan_event(PlanEvent::Overdue { booking }),
            staff::Due::Overrun(booking) => {
                let minutes = find(booking).map_or(0, |item| item.wanted.minutes);
                let more = i64::from(minutes / 2).max(OVERRUN_MIN) * MINUTE;
                let until = self.now.plus(more);
                self.plan_event(PlanEvent::Overrun { booking, until })
            }
            staff::Due::Silent(booking) if find(booking).is_some_and(|item| item.silent) => {
                // whoever could not begin while the process was away has a moment for it
                let grace = self.taken_over.plus(LEASE_GRACE);
                match self.now < grace {
                    true => self.plan_event(PlanEvent::Silent { booking, lease: grace }),
                    false => self.plan_event(PlanEvent::TakenBack { booking }),
                }
            }
            staff::Due::Silent(booking) => {
                let lease = self.ctx.business().days_after(self.now, 1);
                let lease = lease.unwrap_or(self.now.plus(DAY));
                self.plan_event(PlanEvent::Silent { booking, lease })
            }
        }
    }

    /// Before the case ends, what is reserved for it is given back. True: that is not done yet.
    pub(super) fn gives_back(&mut self) -> Result<bool, Halt> {
        if !self.state.closing && staff::has_to_give_back(&self.state) {
            self.emit(Event::Closing)?;
        }
        Ok(staff::gives_back(&self.state))
    }
}

fn invalid(detail: String) -> Problem {
    Problem::new(Standard::Validation, detail)
}

/// What `book` leaves.
fn bookings(plan: &Plan) -> Json {
    let one = |item: &Item| {
        let made = item.made.as_ref();
        let slot = made.and_then(|made| made.slot);
        json!({
            "booking": item.booking.to_string(),
            "title": item.wanted.title(),
            "csr": made.map(|made| &made.csr),
            "start": slot.map(|slot| slot.start.to_string()),
            "end": slot.map(|slot| slot.end.to_string()),
            "why": made.map(|made| &made.why),
        })
    };
    let all: Vec<Json> = plan.items.iter().map(one).collect();
    match (plan.single, all.into_iter().next()) {
        (true, Some(mut first)) => {
            if let Some(fields) = first.as_object_mut() {
                fields.remove("title");
            }
            first
        }
        _ => {
            let tasks: Vec<Json> = plan.items.iter().map(one).collect();
            json!({"plan": plan.id.to_string(), "tasks": tasks})
        }
    }
}

/// What `perform` leaves.
fn outcomes(plan: &Plan) -> Json {
    let single = plan.single || plan.performer.is_some_and(|performer| performer.only.is_some());
    let outcome = |item: &Item| match &item.skipped {
        Some(reason) => json!({"skipped": true, "reason": reason}),
        None => item.outcome.as_deref().cloned().unwrap_or_default(),
    };
    if single {
        return plan.performed().next().map(outcome).unwrap_or_default();
    }
    let one = |item: &Item| {
        json!({
            "booking": item.booking.to_string(),
            "title": item.wanted.title(),
            "csr": item.csr(),
            "outcome": item.outcome,
            "skipped": item.skipped.is_some(),
            "startedAt": item.started_at.map(|at| at.to_string()),
            "endedAt": item.ended_at.map(|at| at.to_string()),
        })
    };
    Json::Array(plan.performed().map(one).collect())
}
