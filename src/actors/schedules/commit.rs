//! What a schedule decides becomes durable.

use super::actor::Live;
use super::message::ScheduleError;
use crate::domain::ids::Entity;
use crate::domain::schedule::event::{Cause, ScheduleEvent};
use crate::store::journal::{Append, Journal, LEFT_OPEN, Settled, append_until_known};
use crate::store::record::{self, By, Header};
use crate::store::schedule_events::{self, Batch, WRITTEN_EVERY};

impl Live {
    /// Commits events, and goes by them.
    ///
    /// # Errors
    /// When they are not there; what is not known ends the actor, which reads them anew.
    pub(super) async fn commit(
        &mut self,
        events: Vec<ScheduleEvent>,
        by: By,
    ) -> Result<(), ScheduleError> {
        let unavailable = |error: String| ScheduleError::Unavailable(error);
        let (journal, id) = (&self.context.journal, self.schedule.id.clone());
        let entity = Entity::schedule(&id);
        let last = journal.last(entity).await.map_err(|e| unavailable(e.to_string()))?;
        let bytes = last.as_ref().map(|last| &last.record[..]);
        let header = Header::following(bytes, entity, self.context.clock.now(), by);
        let header = header.map_err(|e| unavailable(e.to_string()))?;
        let state = self.schedule.with(|seen| seen.state.clone());
        if header.version != state.revision + 1 {
            self.is_behind = true;
            return Err(unavailable("somebody else wrote of this schedule".to_owned()));
        }
        let is_written = header.version >= self.base + WRITTEN_EVERY;
        let base = if is_written { header.version } else { self.base };
        let written = is_written.then_some(state);
        let batch = Batch { schedule: id, base, state: written, events };
        let count = u64::try_from(batch.events.len()).unwrap_or(1);
        let header = Header { count, ..header };
        let record = record::encode(&header, &schedule_events::encode(&batch)).into();
        let fence = last.map(|last| last.fence);
        let append = Append { entity, fence, first: header.version, record, note: None };
        match append_until_known(journal, append).await {
            Settled::Committed(_) => {
                self.base = base;
                for event in &batch.events {
                    if let ScheduleEvent::Fired(run) = event
                        && !matches!(run.cause, Cause::Events { .. })
                    {
                        // before it is begun, so that its end is not missed
                        self.context.schedules.waits_for(run.case, self.schedule.clone());
                    }
                }
                self.schedule.with(|seen| {
                    batch.events.iter().for_each(|event| seen.state.evolve(event));
                });
                Ok(())
            }
            Settled::Refused(refused) => Err(unavailable(refused.to_string())),
            Settled::Conflict => {
                self.is_behind = true;
                Err(unavailable("somebody else wrote of this schedule".to_owned()))
            }
            Settled::LeftOpen => {
                self.is_behind = true;
                Err(unavailable(LEFT_OPEN.to_owned()))
            }
        }
    }
}
