//! What a case wants of people: CSRs are asked what its state says, and plans are looked for. All of it
//! follows from the state, so that after a crash the same is asked again.

use super::state::CaseState;
use crate::actors::staff::planner::Wanted;
use crate::domain::case::command::Command;
use crate::domain::case::staff;
use crate::domain::staff::plan::Plan;

impl CaseState {
    /// A command has come that answers what was asked.
    pub(super) fn hears(&mut self, command: &Command) {
        match command {
            Command::Propose { plan, .. } => drop(self.planning.remove(plan)),
            Command::Answered { booking, number, what, .. } => {
                self.asked.remove(&(*booking, *number, *what));
            }
            _ => {}
        }
    }

    /// Asks for whatever the case wants of people and has not asked for.
    pub(super) fn ask_for_people(&mut self, command: &Command) {
        let Some(case) = &self.case else {
            // whoever loads it asks again
            self.asked.clear();
            self.planning.clear();
            return;
        };
        let state = &case.state;
        if state.plans.is_empty() {
            return;
        }
        for asked in staff::asks(state) {
            if self.asked.insert((asked.booking, asked.number, asked.what)) {
                let asking = self.context.clone().ask_for_case(self.id, asked);
                self.context.runtime.spawn(asking);
            }
        }
        let now = self.context.clock.now();
        let a_day_ago = staff::look_again_at(state).is_some_and(|at| at <= now);
        let timer = matches!(command, Command::Timer) && a_day_ago;
        self.look_again |= matches!(
            command,
            Command::LookAgain | Command::Recover | Command::Resume { .. } | Command::Retry { .. }
        ) || timer;
        // it waits until nobody looks any more, and whoever was asked has answered
        let again = self.look_again && self.planning.is_empty() && !staff::is_asking(state);
        self.look_again &= !again;
        let waiting = staff::waiting(state).map(|(plan, _)| plan).filter(|_| again);
        let plans: Vec<Plan> = staff::to_plan(state).chain(waiting).cloned().collect();
        let customer = state.subject.clone();
        for plan in plans {
            if self.planning.insert(plan.id) {
                let wanted = Wanted { customer: customer.clone(), plan };
                self.context.runtime.spawn(self.context.clone().look_for_people(self.id, wanted));
            }
        }
    }
}
