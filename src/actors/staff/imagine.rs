//! What would become of a case: decided in memory, with answers as people would give them, up to the first
//! thing that is no booking. Nothing is stored, asked for or held.

use std::sync::Arc;

use crate::actors::cases::make::make_imagined;
use crate::actors::context::Context;
use crate::domain::case::command::Command;
use crate::domain::case::interpret::Halt;
use crate::domain::case::staff;
use crate::domain::case::state::State;
use crate::domain::ids::CaseId;
use crate::domain::staff::csr::Csr;
use crate::domain::staff::csr::command::Answer;
use crate::domain::staff::plan::place::{Request, owners, place};
use crate::domain::workflow::model::Definition;

/// Decisions that are made at the most.
const ROUNDS: usize = 1000;

impl Context {
    /// A case after a command, and after all that people would answer. What is found for one plan is taken on
    /// the board for the next.
    ///
    /// # Errors
    /// When the command is not allowed, or its decision cannot be made now.
    pub async fn imagine(
        &self,
        (id, definition): (CaseId, &Definition),
        mut state: Option<State>,
        command: Command,
        board: &mut [Arc<Csr>],
    ) -> Result<Option<State>, Halt> {
        let mut next = Some(command);
        for _ in 0..ROUNDS {
            let Some(command) = next.take() else { break };
            // its effects go nowhere
            let decided = make_imagined(self, definition, id, state.as_ref(), &command).await?;
            next = match decided.more {
                true => Some(Command::Continue),
                false => self.answer_of_people(&decided.state, board),
            };
            state = Some(decided.state);
        }
        Ok(state)
    }

    /// What people would answer; none: nobody is asked.
    fn answer_of_people(&self, state: &State, board: &mut [Arc<Csr>]) -> Option<Command> {
        if let Some(asked) = staff::asks(state).into_iter().next() {
            let (csr, booking, number, what) = (asked.csr, asked.booking, asked.number, asked.what);
            let answer = if what.is_none() { Answer::Reserved } else { Answer::Noted };
            return Some(Command::Answered { csr, booking, number, what, answer });
        }
        let plan = staff::to_plan(state).next()?;
        let owner =
            state.subject.as_ref().and_then(|customer| owners(board).get(customer).cloned());
        let request = Request { plan, owner, now: self.clock.wall() };
        let choices = place(&request, board, self.staff.settings());
        Some(Command::Propose { plan: plan.id, choices })
    }
}
