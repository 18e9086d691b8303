//! What would come of something that somebody has in mind: a submission, a change of people or of a plan.

use std::sync::Arc;

use crate::actors::cases::message::CommandError;
use crate::actors::cases::submit::{SubmitError, Submitted};
use crate::actors::context::Context;
use crate::domain::case::assignments::Assigned;
use crate::domain::case::command::{Command, PlanChange};
use crate::domain::case::history::open_tasks;
use crate::domain::case::interpret::Halt;
use crate::domain::case::problem::Problem;
use crate::domain::case::summary::failing;
use crate::domain::ids::{Bits, CaseId};
use crate::domain::staff::csr::Csr;
use crate::domain::staff::csr::event::Displaced;
use crate::domain::staff::plan::difference::{Difference, Move, difference};

/// Cases that are looked at for one change at the most; the tasks of others are shown as they are.
const CASES_MAX: usize = 500;

/// What a submission would get.
pub struct DryRun {
    /// Its human tasks, placed or not.
    pub tasks: Vec<Assigned>,
    /// The task at which it would stand then.
    pub stops_at: Option<Arc<str>>,
    /// Why it would fail.
    pub error: Option<Problem>,
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
        let submission = Box::new(submitted.into_submission(&definition));
        let (start, mut board) = (Command::Start(Some(submission)), self.staff.all());
        let state = self.imagine((case, &definition), None, start, &mut board).await;
        let state = match state {
            Ok(Some(state)) => state,
            Ok(None) => return Ok(DryRun { tasks: Vec::new(), stops_at: None, error: None }),
            Err(Halt::Rejected(rejection)) => return Err(CommandError::Rejected(rejection).into()),
            Err(halt) => return Err(SubmitError::Unavailable(format!("{halt:?}"))),
        };
        // the innermost one
        let open = open_tasks(&definition, &state).into_iter().next_back();
        let stops_at = open.map(|task| task.reference);
        let failed = failing(&state).and_then(|task| Some(task.failed.as_ref()?.error.clone()));
        let error = state.error.clone().or(failed);
        Ok(DryRun { tasks: Assigned::of(&definition, &state), stops_at, error })
    }

    /// What would become of what these CSRs have, once they are as they are here: case by case, in the order
    /// in which it was reserved.
    pub async fn try_displacing(&self, changed: Vec<(Arc<Csr>, Displaced)>) -> Difference {
        let mut board = self.staff.all();
        for (csr, _) in &changed {
            if let Some(known) = board.iter_mut().find(|known| known.id == csr.id) {
                *known = csr.clone();
            }
        }
        let mut cases: Vec<(CaseId, Vec<Command>)> = Vec::new();
        let mut all = Difference::default();
        for (csr, displaced) in &changed {
            for (booking, why) in displaced {
                let Some(one) = csr.reservations.get(booking) else { continue };
                let (booking, number, why) = (*booking, one.number, *why);
                let command = Command::Displaced { booking, number, why };
                let known = cases.iter().position(|(case, _)| *case == one.case);
                match known {
                    Some(place) => cases[place].1.push(command),
                    None if cases.len() < CASES_MAX => cases.push((one.case, vec![command])),
                    None => all.attention.push(Move {
                        booking,
                        from: Some((csr.id.clone(), one.slot.map(|slot| slot.start))),
                        to: None,
                        why: why.name().into(),
                    }),
                }
            }
        }
        for (case, commands) in cases {
            let Ok(loaded) = self.load(case).await else {
                all.attention.extend(commands.iter().filter_map(|command| {
                    let Command::Displaced { booking, .. } = command else { return None };
                    let why = "its case cannot be read now".into();
                    Some(Move { booking: *booking, from: None, to: None, why })
                }));
                continue;
            };
            let mut after = Some(loaded.state.clone());
            for command in commands {
                let imagined =
                    self.imagine((case, &loaded.definition), after.clone(), command, &mut board);
                after = imagined.await.unwrap_or(after);
            }
            let plans = after.map(|state| state.plans).unwrap_or_default();
            all.add(difference(&loaded.state.plans, &plans));
        }
        all
    }

    /// What would become of a case's tasks if its plan were changed.
    ///
    /// # Errors
    /// When it would not be.
    pub async fn try_plan(
        &self,
        case: CaseId,
        change: PlanChange,
        if_match: Option<u64>,
    ) -> Result<Difference, CommandError> {
        let unavailable = |error: String| CommandError::Unavailable(error);
        let loaded = self.load(case).await.map_err(|error| unavailable(error.to_string()))?;
        if if_match.is_some_and(|version| version != loaded.state.version) {
            return Err(CommandError::Stale(loaded.state.version));
        }
        let (before, mut board) = (loaded.state.plans.clone(), self.staff.all());
        let change = Command::ChangePlan(Box::new(change));
        let after =
            self.imagine((case, &loaded.definition), Some(loaded.state), change, &mut board);
        match after.await {
            Ok(after) => Ok(difference(&before, &after.map(|s| s.plans).unwrap_or_default())),
            Err(Halt::Rejected(rejection)) => Err(CommandError::Rejected(rejection)),
            Err(halt) => Err(unavailable(format!("{halt:?}"))),
        }
    }
}
