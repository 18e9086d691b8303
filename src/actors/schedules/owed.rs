//! The cases that a schedule owes: begun, and followed to their end.

use std::sync::Arc;

use futures_util::future::join_all;
use serde_json::{Value as Json, json};

use super::actor::Live;
use crate::actors::cases::submit::{Begun, RunOfSchedule};
use crate::actors::context::Context;
use crate::domain::case::command::ChildOutcome;
use crate::domain::data::Data;
use crate::domain::ids::CaseId;
use crate::domain::schedule::event::{Cause, Outcome, Run, ScheduleEvent};
use crate::domain::workflow::model::DefinitionId;
use crate::store::record::By;

impl Live {
    /// Begins every case that is not known to be there. False: some are owed still.
    pub(super) async fn begin_owed(&mut self) -> bool {
        let runs: Vec<Run> = self.schedule.with(|seen| {
            let owed = seen.state.open.values().chain(&seen.state.owed);
            owed.filter(|run| !self.begun.contains(&run.case)).cloned().collect()
        });
        let begun = join_all(runs.iter().map(|run| self.begin(run))).await;
        let (mut closed, mut all, mut held_up) = (Vec::new(), true, None);
        for (run, begun) in runs.into_iter().zip(begun) {
            match begun {
                Begun::There { ended } => {
                    if ended && self.schedule.with(|seen| seen.state.open.contains_key(&run.case)) {
                        // nobody tells of an end that was before
                        self.ended.push(run.case);
                    }
                    self.begun.insert(run.case);
                }
                Begun::Refused(why) => {
                    tracing::error!(
                        schedule = %self.schedule.id, case.id = %run.case, why,
                        "a run does not begin: the workflow does not take its input"
                    );
                    closed.push((run.case, Outcome::Refused(why.into())));
                }
                Begun::NotNow(why) => held_up = Some(why),
            }
        }
        if held_up != self.held_up {
            // once, however many and however often
            if let Some(why) = &held_up {
                tracing::warn!(schedule = %self.schedule.id, why, "runs that are owed cannot begin now");
            }
            self.held_up.clone_from(&held_up);
        }
        all &= held_up.is_none();
        for (case, outcome) in closed {
            all &= self.close(case, outcome).await;
        }
        all
    }

    async fn begin(&self, run: &Run) -> Begun {
        let definition = DefinitionId {
            namespace: self.schedule.namespace.clone(),
            name: self.schedule.name.clone(),
            version: run.version.clone(),
        };
        let known = self.context.definitions.get(&definition).await;
        let zone = match &known {
            Ok(Some(known)) => known.schedule.as_ref().map(|schedule| schedule.zone.to_string()),
            Ok(None) => return Begun::Refused(format!("{definition} cannot be used")),
            Err(error) => return Begun::NotNow(error.to_string()),
        };
        let zone = zone.unwrap_or_else(|| "UTC".to_owned());
        let input = match input_of(&self.context, &self.schedule.id, run, zone).await {
            Ok(input) => input,
            Err(error) => return Begun::NotNow(error),
        };
        let run = RunOfSchedule { case: run.case, definition, input };
        self.context.begin_run(run, &self.schedule.id).await
    }

    /// Asks after the runs under way that may have ended. False: it has to be asked again.
    pub(super) async fn see_off(&mut self, cases: Vec<CaseId>) -> bool {
        let mut all = true;
        for case in cases {
            if !self.schedule.with(|seen| seen.state.open.contains_key(&case)) {
                continue;
            }
            let outcome = match self.context.child_outcome(case).await {
                Ok(Some(ChildOutcome::Completed(_))) => Outcome::Completed,
                Ok(Some(ChildOutcome::Faulted(_))) => Outcome::Faulted,
                Ok(Some(ChildOutcome::Cancelled)) => Outcome::Cancelled,
                Ok(Some(ChildOutcome::Refused(problem))) => {
                    Outcome::Refused(problem.detail.unwrap_or_default())
                }
                Ok(None) => continue,
                Err(error) => {
                    tracing::warn!(case.id = %case, %error, "whether a run has ended cannot be read");
                    self.ended.push(case);
                    all = false;
                    continue;
                }
            };
            if !self.close(case, outcome).await {
                self.ended.push(case);
                all = false;
            }
        }
        all
    }

    async fn close(&mut self, case: CaseId, outcome: Outcome) -> bool {
        let at = self.context.schedules.now(&self.context.clock);
        let closed = self.commit(vec![ScheduleEvent::Closed { case, at, outcome }], By::engine());
        let closed = closed.await.is_ok();
        if closed {
            self.begun.remove(&case);
            self.context.schedules.forget(case);
        }
        closed
    }
}

/// The input of a run: the same, however often it is begun.
async fn input_of(
    context: &Arc<Context>,
    id: &str,
    run: &Run,
    zone: String,
) -> Result<Data, String> {
    let previous = match &run.cause {
        Cause::Due { previous } | Cause::Triggered { previous } => previous,
        Cause::Events { places } => {
            let mut events: Vec<Json> = Vec::new();
            for place in places {
                let event = context.event_at(*place).await.map_err(|e| e.to_string())?;
                events.extend(event.map(|event| (*event).clone()));
            }
            return Ok(Data::from(Json::Array(events)));
        }
    };
    let previous = previous.map(|previous| previous.to_string());
    let due = run.due.to_string();
    let input = json!({"schedule": id, "due": due, "previous": previous, "timeZone": zone});
    Ok(Data::from(input))
}
