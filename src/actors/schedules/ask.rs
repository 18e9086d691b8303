//! What operators ask of schedules.

use std::sync::Arc;

use tokio::sync::oneshot;

use super::handle::ScheduleHandle;
use super::message::{ScheduleError, ScheduleMsg, Triggered};
use crate::actors::handles::Handle;
use crate::domain::ids::CaseId;
use crate::domain::time::Timestamp;
use crate::store::record::By;

impl Handle {
    /// All schedules, by id.
    pub fn schedules(&self) -> Vec<Arc<ScheduleHandle>> {
        self.context.schedules.list()
    }

    /// The schedule of this id.
    pub fn schedule(&self, id: &str) -> Option<Arc<ScheduleHandle>> {
        self.context.schedules.find(id)
    }

    /// The time that schedules go by.
    pub fn schedules_now(&self) -> Timestamp {
        let context = &self.context;
        context.schedules.now(&context.clock)
    }

    /// Nothing runs from now on.
    ///
    /// # Errors
    /// When it cannot be stored; so for all below.
    pub async fn pause_schedule(
        &self,
        schedule: &ScheduleHandle,
        reason: String,
        by: By,
    ) -> Result<(), ScheduleError> {
        ask(schedule, |reply| ScheduleMsg::Pause { reason, by, reply }).await
    }

    /// It goes on, with what is due after an instant where one is given.
    pub async fn resume_schedule(
        &self,
        schedule: &ScheduleHandle,
        from: Option<Timestamp>,
        by: By,
    ) -> Result<(), ScheduleError> {
        ask(schedule, |reply| ScheduleMsg::Resume { from, by, reply }).await
    }

    /// A run is wanted now; under the same key of the same client it is one.
    pub async fn trigger_schedule(
        &self,
        schedule: &ScheduleHandle,
        (client, key): (&str, &str),
        by: By,
    ) -> Result<(CaseId, Triggered), ScheduleError> {
        let case = CaseId::of_trigger(&schedule.id, client, key);
        let triggered = ask(schedule, |reply| ScheduleMsg::Trigger { case, by, reply }).await?;
        Ok((case, triggered))
    }
}

async fn ask<T>(
    schedule: &ScheduleHandle,
    message: impl FnOnce(oneshot::Sender<Result<T, ScheduleError>>) -> ScheduleMsg,
) -> Result<T, ScheduleError> {
    let gone = || {
        ScheduleError::Unavailable("the schedule's actor begins again; ask once more".to_owned())
    };
    let (reply, answer) = oneshot::channel();
    let actor = schedule.actor().ok_or_else(gone)?;
    actor.cast(message(reply)).map_err(|_| gone())?;
    answer.await.map_err(|_| gone())?
}
