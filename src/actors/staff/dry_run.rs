//! The plan that a submission would get: decided in memory, up to the first thing that is no booking.
//! Nothing is stored, asked for or held.

use std::sync::Arc;

use crate::actors::cases::execute::make;
use crate::actors::cases::message::CommandError;
use crate::actors::cases::submit::{SubmitError, Submitted};
use crate::actors::context::Context;
use crate::domain::case::assignments::Assigned;
use crate::domain::case::command::Command;
use crate::domain::case::history::open_tasks;
use crate::domain::case::interpret::Halt;
use crate::domain::case::staff;
use crate::domain::case::state::State;
use crate::domain::ids::{Bits, CaseId};
use crate::domain::staff::csr::command::Answer;
use crate::domain::staff::plan::place::{Request, place};

/// Decisions that are made at the most.
const ROUNDS: usize = 100;

/// What a submission would get.
pub struct DryRun {
    /// Its human tasks, placed or not.
    pub tasks: Vec<Assigned>,
    /// The task at which it would stand then.
    pub stops_at: Option<Arc<str>>,
}

impl Context {
    /// Plans what a submission would book.
    ///
    /// # Errors
    /// When it would not be taken.
    pub async fn dry_run(&self, submitted: Submitted) -> Result<DryRun, SubmitError> {
        let Submitted { namespace, name, version, .. } = &submitted;
        let id = self.definitions.resolve(namespace, name, version.as_deref());
        let definition = self.definition(&id.ok_or(SubmitError::NoWorkflow)?).await?;
        let case = CaseId(Bits::default());
        let customer = submitted.subject.as_deref().map(Arc::from);
        let submission = Box::new(submitted.into_submission(&definition));
        let mut next = Some(Command::Start(Some(submission)));
        let mut state: Option<State> = None;
        // what is found for one plan is taken for the next
        let mut board = self.staff.all();
        for _ in 0..ROUNDS {
            let Some(command) = next.take() else { break };
            let made = make(self, &definition, case, state.as_ref(), &command).await;
            // its permits are given back, and its effects go nowhere
            let decided = match made {
                Ok(made) => made.decided,
                Err(Halt::Rejected(rejection)) => {
                    return Err(CommandError::Rejected(rejection).into());
                }
                Err(halt) => return Err(SubmitError::Unavailable(format!("{halt:?}"))),
            };
            next = match decided.more {
                true => Some(Command::Continue),
                false => self.answer(&decided.state, customer.as_ref(), &mut board),
            };
            state = Some(decided.state);
        }
        let Some(state) = state else { return Ok(DryRun { tasks: Vec::new(), stops_at: None }) };
        // the innermost one
        let open = open_tasks(&definition, &state).into_iter().next_back();
        let stops_at = open.map(|task| task.reference);
        Ok(DryRun { tasks: Assigned::of(&definition, &state), stops_at })
    }

    /// What people would answer; none: nobody is asked.
    fn answer(
        &self,
        state: &State,
        customer: Option<&Arc<str>>,
        board: &mut [Arc<crate::domain::staff::csr::Csr>],
    ) -> Option<Command> {
        if let Some(asked) = staff::asks(state).into_iter().next() {
            let (csr, booking, number, what) = (asked.csr, asked.booking, asked.number, asked.what);
            let answer = if what.is_none() { Answer::Reserved } else { Answer::Noted };
            return Some(Command::Answered { csr, booking, number, what, answer });
        }
        let plan = staff::to_plan(state).next()?;
        let owner = customer.and_then(|customer| {
            crate::domain::staff::plan::place::owners(board).get(customer).cloned()
        });
        let request = Request { plan, owner, now: self.clock.wall() };
        let choices = place(&request, board, self.staff.settings());
        Some(Command::Propose { plan: plan.id, choices })
    }
}
