//! Decisions, made until everything that takes long is known.

use crate::actors::cases::decision_context::{CaseDecisionContext, Missing};
use crate::actors::context::Context;
use crate::actors::services::handle::CallPermit;
use crate::domain::case::command::{Command, Facts};
use crate::domain::case::decide::decide;
use crate::domain::case::evolve::CorruptHistory;
use crate::domain::case::interpret::{Decided, Halt};
use crate::domain::case::state::State;
use crate::domain::ids::CaseId;
use crate::domain::time::Timestamp;
use crate::domain::workflow::model::Definition;

/// A decision that was made and is not committed yet.
pub struct Made {
    pub decided: Decided,
    pub permits: Vec<CallPermit>,
    pub at: Timestamp,
}

/// Makes a decision, again and again until everything that takes long is known.
///
/// # Errors
/// Why there is none.
pub async fn make(
    context: &Context,
    definition: &Definition,
    id: CaseId,
    state: Option<&State>,
    command: &Command,
) -> Result<Made, Halt> {
    let facts = facts(context);
    let ctx = CaseDecisionContext::new(context, id, definition.id.clone(), state, facts.now);
    make_in(ctx, (definition, id), state, command, facts).await
}

/// A decision of which nothing will be carried out.
///
/// # Errors
/// Why there is none.
pub async fn make_imagined(
    context: &Context,
    definition: &Definition,
    id: CaseId,
    state: Option<&State>,
    command: &Command,
) -> Result<Decided, Halt> {
    let facts = facts(context);
    let ctx = CaseDecisionContext::new(context, id, definition.id.clone(), state, facts.now);
    let made = make_in(ctx.imagined(), (definition, id), state, command, facts).await?;
    Ok(made.decided)
}

fn facts(context: &Context) -> Facts {
    Facts { now: context.clock.now(), seed: context.seed(), taken_over: context.begun }
}

async fn make_in(
    mut ctx: CaseDecisionContext<'_>,
    (definition, id): (&Definition, CaseId),
    state: Option<&State>,
    command: &Command,
    facts: Facts,
) -> Result<Made, Halt> {
    loop {
        match decide(definition, id, state, command, facts, &mut ctx) {
            Ok(decided) => {
                let at = state.map_or(facts.now, |s| facts.now.max(s.updated_at));
                return Ok(Made { decided, permits: ctx.into_permits(), at });
            }
            Err(Halt::Evaluating) => ctx.get_wanted().await.map_err(|missing| match missing {
                Missing::Broken(detail) => Halt::Corrupt(CorruptHistory(detail)),
                Missing::Unreadable(error) => {
                    tracing::warn!(case.id = %id, %error, "what a decision needs cannot be read");
                    Halt::Evaluating
                }
            })?,
            Err(halt) => return Err(halt),
        }
    }
}
