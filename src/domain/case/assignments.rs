//! Human tasks of a case as others see them, for lists.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::state::State;
use crate::domain::ids::{AssignmentId, CaseId, PlanId};
use crate::domain::staff::plan::{Attention, Item, Phase, Plan};
use crate::domain::time::Timestamp;
use crate::domain::workflow::model::Definition;

/// A human task as lists show it.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Assigned {
    pub id: AssignmentId,
    pub case: CaseId,
    pub workflow: Arc<str>,
    /// Reference of the task that performs it, or booked it.
    pub task: Arc<str>,
    pub plan: PlanId,
    pub title: Arc<str>,
    pub skill: Arc<str>,
    pub phase: Phase,
    pub csr: Option<Arc<str>>,
    pub start: Option<Timestamp>,
    pub end: Option<Timestamp>,
    pub minutes: u32,
    pub due: Option<Timestamp>,
    pub attention: Option<Attention>,
    /// The customer's name.
    pub customer: Option<Arc<str>>,
    /// The task that has to be done before it.
    pub after: Option<AssignmentId>,
    pub number: u32,
    pub why: Option<Arc<str>>,
    /// Count of what happened to it.
    pub revision: u64,
    /// Since when it is in its phase.
    pub since: Timestamp,
    /// Its place in the plan, from 0.
    pub place: u32,
}

impl Assigned {
    /// All of a case.
    pub fn of(definition: &Definition, state: &State) -> Vec<Self> {
        let all = |plan: &Plan| {
            let mut before = None;
            let mut rows = Vec::with_capacity(plan.items.len());
            for (place, item) in (0..).zip(&plan.items) {
                rows.push(Self::one(definition, state, plan, item, (place, before)));
                before = Some(item.booking.assignment());
            }
            rows
        };
        state.plans.iter().flat_map(all).collect()
    }

    /// One task of a plan.
    pub fn one(
        definition: &Definition,
        state: &State,
        plan: &Plan,
        item: &Item,
        (place, after): (u32, Option<AssignmentId>),
    ) -> Self {
        let task = plan.performer.map_or(plan.task, |performer| performer.task).0;
        let made = item.made.as_ref();
        let slot = made.and_then(|made| made.slot);
        Self {
            id: item.booking.assignment(),
            case: state.id,
            workflow: definition.id.workflow().into(),
            task: definition.task(task).reference.clone(),
            plan: plan.id,
            title: item.wanted.title(),
            skill: item.wanted.skill.clone(),
            phase: item.phase,
            csr: made.map(|made| made.csr.id.as_str().into()),
            start: slot.map(|slot| slot.start),
            end: slot.map(|slot| slot.end),
            minutes: item.wanted.minutes,
            due: item.due,
            attention: item.attention,
            customer: plan.customer.as_ref().map(|customer| customer.name.as_str().into()),
            after,
            number: item.number,
            why: made.map(|made| made.why.clone()).or_else(|| item.nobody.clone()),
            revision: item.revision,
            since: item.since,
            place,
        }
    }
}
