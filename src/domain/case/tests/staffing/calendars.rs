//! What the calendars have to say in the end.

use std::sync::Arc;

use super::Run;
use crate::domain::case::event::Event;
use crate::domain::case::phase::Phase as CasePhase;
use crate::domain::case::staff;
use crate::domain::staff::csr::{Csr, Standing};
use crate::domain::staff::plan::event::PlanEvent;
use crate::domain::staff::plan::place::{Request, place};
use crate::domain::staff::plan::{Phase, Plan};
use crate::domain::time::Timestamp;

impl Run {
    /// What the calendars have to say in the end.
    pub(super) fn check(&self) {
        for csr in &self.csrs {
            let mut last = Timestamp::MIN;
            for (span, booking) in &csr.busy {
                assert!(last <= span.start, "{booking} overlaps\n{}", self.told());
                last = span.end;
            }
            for (booking, one) in &csr.reservations {
                let case = self.cases.iter().find(|world| world.id == one.case).unwrap();
                let state = case.state();
                let item = state.plans.iter().find_map(|plan| plan.item(*booking)).unwrap();
                let made = item.made.as_ref();
                let same = made.is_some_and(|made| {
                    (&made.csr.id, made.number, made.slot) == (&csr.id, one.number, one.slot)
                });
                assert!(same, "{booking} is reserved and not the case's\n{}", self.told());
                match one.standing {
                    Standing::Done => assert!(!item.phase.is_open(), "{}", self.told()),
                    Standing::Live | Standing::Kept => {
                        assert!(item.phase.is_open(), "{booking} has ended\n{}", self.told());
                        assert!(!state.phase.ended(), "its case has ended\n{}", self.told());
                    }
                    Standing::Displaced(_) => panic!("{booking} is displaced\n{}", self.told()),
                }
            }
        }
        for world in &self.cases {
            let state = world.state();
            assert!(!staff::owes(state), "{} owes\n{}", world.id, self.told());
            for item in state.plans.iter().flat_map(|plan| &plan.items) {
                let Some(made) = item.made.as_ref().filter(|_| item.phase.is_open()) else {
                    continue;
                };
                let csr = self.csrs.iter().find(|csr| csr.id == made.csr.id).unwrap();
                let one = csr.reservations.get(&item.booking);
                let same =
                    one.is_some_and(|one| (one.number, one.slot) == (made.number, made.slot));
                assert!(same, "{} is placed and not reserved\n{}", item.booking, self.told());
            }
            if state.phase == CasePhase::Suspended {
                continue;
            }
            for (plan, item) in staff::waiting(state) {
                let mut board: Vec<Arc<Csr>> = self.csrs.iter().cloned().map(Arc::new).collect();
                let request = Request { plan, owner: None, now: self.now };
                let found = place(&request, &mut board, &self.settings);
                let nobody = found.iter().all(|choice| choice.place.is_none());
                assert!(nobody, "{} waits, and somebody is free\n{}", item.booking, self.told());
            }
            // the definition itself says the order of tasks that it performs one at a time
            let single = |plan: &&Plan| {
                world.history.iter().any(|(_, event)| match event {
                    Event::Plan(PlanEvent::Performed { plan: id, only, .. }) => {
                        *id == plan.id && only.is_some()
                    }
                    _ => false,
                })
            };
            let whole = state.plans.iter().filter(|plan| !single(plan));
            for two in whole.flat_map(|plan| plan.items.windows(2)) {
                let begun = two[1].phase.has_begun() || two[1].phase == Phase::Done;
                let wrong = begun && two[0].phase.is_open();
                assert!(!wrong, "a task was begun before its turn\n{}", self.told());
            }
        }
    }
}
