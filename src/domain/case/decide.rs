//! `decide`: a command to a case, in the state that it is in, becomes events and effects; or the
//! business "no".

use super::command::{Command, Facts, Rejection};
use super::decision_context::DecisionContext;
use super::interpret::{Decided, Halt, Interpreter};
use super::state::{COMMANDS_KEPT, State};
use crate::domain::ids::{CaseId, CommandId};
use crate::domain::workflow::model::Definition;

/// Decides a command.
///
/// `state` is none for a case that does not exist yet; only submissions make one. The same
/// arguments and the same answers from the context give the same decision.
///
/// # Errors
/// [`Halt::Rejected`] when the state does not allow it, [`Halt::Evaluating`] when the context has to
/// be asked again later, [`Halt::Corrupt`] when the interpreter contradicts itself.
pub fn decide(
    definition: &Definition,
    id: CaseId,
    state: Option<&State>,
    command: &Command,
    facts: Facts,
    ctx: &mut dyn DecisionContext,
) -> Result<Decided, Halt> {
    match (state, command) {
        (Some(state), _) => {
            Interpreter::over(definition, state.clone(), facts, ctx).carry_out(command)
        }
        (None, Command::Accept(submission) | Command::Start(Some(submission))) => {
            Interpreter::blank(definition, id, submission, facts, ctx).carry_out(command)
        }
        (None, _) => {
            let detail = "there is no such case".to_owned();
            Err(Rejection::Conflict { detail, allowed: Vec::new() }.into())
        }
    }
}

/// Remembers a command from outside, so that its repetition does nothing.
pub fn remember(state: &mut State, command: CommandId) {
    state.commands.push(command);
    if state.commands.len() > COMMANDS_KEPT {
        state.commands.remove(0);
    }
}
