//! A schedule, read from the journal.

use std::sync::Arc;

use crate::actors::context::Context;
use crate::domain::ids::Entity;
use crate::domain::schedule::state::State;
use crate::store::journal::{Journal, ReadError};
use crate::store::schedule_events;

/// Records in one page.
const PAGE: usize = 256;

impl Context {
    /// How a schedule stands, and the version of the last event that has a state written down with it.
    ///
    /// # Errors
    /// When that cannot be read, now or ever.
    pub(super) async fn load_schedule(&self, id: &Arc<str>) -> Result<(State, u64), ReadError> {
        let damaged = |error: String| ReadError { error, damaged: true };
        let entity = Entity::schedule(id);
        let Some(last) = self.journal.last(entity).await? else { return Ok((State::default(), 1)) };
        let (_, batch) = schedule_events::decode(&last.record).map_err(damaged)?;
        let (mut state, mut from) = (State::default(), batch.base);
        loop {
            let page = self.journal.read(entity, from, PAGE).await?;
            for record in &page.records {
                let (version, batch) = schedule_events::decode(record).map_err(damaged)?;
                if let Some(written) = batch.state {
                    state = written;
                }
                batch.events.iter().for_each(|event| state.evolve(event));
                from = version + 1;
            }
            if page.all || page.records.is_empty() {
                break;
            }
        }
        Ok((state, batch.base))
    }
}
