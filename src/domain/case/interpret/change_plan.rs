//! An admin adds, skips or re-orders what is still to be done of a plan.

use std::collections::HashSet;

use super::evaluate::plan_size;
use super::{Halt, Interpreter};
use crate::domain::case::command::{PlanChange, PlannedTask, Rejection};
use crate::domain::ids::BookingId;
use crate::domain::staff::plan::Plan;
use crate::domain::staff::plan::event::{BegunTask, Changed, ChangedTask, PlanEvent};
use crate::domain::staff::plan::wanted::{TASKS_MAX, Wanted};
use crate::domain::workflow::expr::json::SIZE_MAX;
use crate::domain::workflow::schema::Violation;

impl Interpreter<'_> {
    pub(super) fn change_plan(&mut self, change: &PlanChange) -> Result<(), Halt> {
        if self.state.phase.ended() || self.state.closing || self.state.unwinding.is_some() {
            return Err(self.conflict("planned anew").into());
        }
        let fits = |plan: &&Plan| match change.plan {
            Some(id) => plan.id == id && !plan.closed,
            None => !plan.closed && !plan.queued,
        };
        let Some(plan) = self.state.plans.iter().rev().find(fits) else {
            let detail = "the case has no such plan that is open".to_owned();
            return Err(Rejection::Conflict { detail, allowed: self.allowed() }.into());
        };
        if let Some(customer) = &change.customer
            && let Err((pointer, detail)) = customer.check()
        {
            return Err(wrong(pointer, &detail).into());
        }
        let ended = plan.items.iter().filter(|item| !item.phase.is_open()).count();
        if ended + change.tasks.len() > TASKS_MAX {
            let detail =
                format!("a plan has at most {TASKS_MAX} tasks, those that are done among them");
            return Err(wrong("/tasks", &detail).into());
        }
        let business = self.ctx.business();
        let mut seen: HashSet<BookingId> = HashSet::new();
        let (mut tasks, mut count) = (Vec::new(), plan.count);
        for (place, task) in change.tasks.iter().enumerate() {
            let at = |field: &str| format!("/tasks/{place}{field}");
            tasks.push(match task {
                PlannedTask::Kept(booking) => {
                    let known = plan.item(*booking);
                    let open = known.filter(|i| i.phase.is_open() && !i.phase.has_begun());
                    if open.is_none() || !seen.insert(*booking) {
                        let detail =
                            "no open task of the plan that nobody has begun with, or named twice";
                        return Err(wrong(&at("/booking"), detail).into());
                    }
                    ChangedTask::Kept(*booking)
                }
                PlannedTask::New(wanted) => {
                    wanted.check().map_err(|detail| wrong(&at(""), &detail))?;
                    let due = match &wanted.due {
                        None => None,
                        Some(due) => {
                            let at = due.at(self.now, &business).ok_or_else(|| {
                                wrong(&at("/due"), "it is no time that will come")
                            })?;
                            Some(at)
                        }
                    };
                    let booking = BookingId::of(plan.id, count);
                    count += 1;
                    ChangedTask::New(BegunTask { booking, wanted: wanted.clone(), due })
                }
            });
        }
        let known: usize = plan.items.iter().map(|item| size_of_wanted(&item.wanted)).sum();
        let more = tasks.iter().map(|task| match task {
            ChangedTask::New(task) => size_of_wanted(&task.wanted),
            ChangedTask::Kept(_) => 0,
        });
        if known + more.sum::<usize>() > PLAN_MAX {
            let detail = format!("the plan would be larger than {} KiB", PLAN_MAX / 1024);
            return Err(Rejection::TooLarge(detail).into());
        }
        let (plan, customer, reason) = (plan.id, change.customer.clone(), change.reason.clone());
        let changed = Changed { plan, tasks, customer, reason };
        let event = PlanEvent::Changed(Box::new(changed));
        // as much as `book` may ask for
        if plan_size(&event) > SIZE_MAX {
            let detail = format!("the plan is larger than {} KiB", SIZE_MAX / 1024);
            return Err(Rejection::TooLarge(detail).into());
        }
        self.plan_event(event)
    }
}

/// Bytes of a plan, all that was ever in it included.
const PLAN_MAX: usize = 2 * 1024 * 1024;

fn size_of_wanted(wanted: &Wanted) -> usize {
    serde_json::to_vec(wanted).map_or(0, |text| text.len())
}

fn wrong(pointer: &str, detail: &str) -> Rejection {
    let (pointer, detail) = (pointer.to_owned(), detail.to_owned());
    Rejection::Invalid(vec![Violation { pointer, detail }])
}
