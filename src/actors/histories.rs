//! A case's history, read record by record, and the stories of its tasks.

use std::sync::Arc;

use super::cases::load::{Fold, submission_in};
use super::context::Context;
use super::handles::{CaseError, case_error};
use crate::domain::case::evolve;
use crate::domain::case::history::{self, HistoryEntry};
use crate::domain::case::state::State;
use crate::domain::case::story::{Stories, Story};
use crate::domain::ids::{CaseId, Entity};
use crate::domain::time::Timestamp;
use crate::domain::workflow::model::Definition;
use crate::store::journal::Journal;
use crate::store::record::{self, By};
use crate::store::upcast;

/// Records read in one go for a history.
const PAGE: usize = 64;

/// An entry of a history.
#[derive(Debug, Clone)]
pub struct Entry {
    pub version: u64,
    pub at: Timestamp,
    pub by: By,
    pub told: HistoryEntry,
}

/// A history, read from a version on.
pub struct History {
    context: Arc<Context>,
    fold: Fold,
    /// Entries from this version on are wanted.
    from: u64,
}

impl History {
    /// A history from a version on, over what comes before.
    pub(super) fn new(context: Arc<Context>, fold: Fold, from: u64) -> Self {
        Self { context, fold, from }
    }

    /// The next entries; fewer than a page's records only where the history ends for now.
    ///
    /// # Errors
    /// When a record cannot be read.
    pub async fn next(&mut self) -> Result<Vec<Entry>, CaseError> {
        let Self { context, fold, from } = self;
        let page = context.journal.read(Entity::from(fold.id), fold.next_version(), PAGE).await;
        let page = page.map_err(|e| CaseError::Unavailable(e.to_string()))?;
        let mut entries = Vec::new();
        for bytes in page.records {
            let before = fold.state.clone();
            fold.record(&context.definitions, &bytes).await.map_err(case_error)?;
            let Some(definition) = &fold.definition else { continue };
            entries.extend(entries_of(definition, before, &bytes, *from)?);
        }
        Ok(entries)
    }

    /// Whether the case had ended by the last entry that was read.
    pub fn ended(&self) -> bool {
        self.fold.state.as_ref().is_some_and(|state| state.phase.ended())
    }

    /// Version of the last entry that was read.
    pub fn version(&self) -> u64 {
        self.fold.next_version() - 1
    }
}

/// The stories of a case's tasks.
///
/// # Errors
/// When there is no such case, or it cannot be read.
pub async fn stories(context: &Context, case: CaseId) -> Result<Vec<Story>, CaseError> {
    let broken = |e: String| CaseError::Quarantined(e);
    let (mut stories, mut definition, mut from) = (Stories::default(), None, 1);
    loop {
        let page = context.journal.read(Entity::from(case), from, PAGE).await;
        let page = page.map_err(|e| CaseError::Unavailable(e.to_string()))?;
        for bytes in &page.records {
            let (header, events) = record::decode(bytes).map_err(|e| broken(e.to_string()))?;
            let events = upcast::events(&header, events).map_err(|e| broken(e.to_string()))?;
            for event in &events {
                if definition.is_none()
                    && let Some(submission) = submission_in(event)
                {
                    let known = context.definitions.get(&submission.definition).await;
                    definition = known.map_err(|e| CaseError::Unavailable(e.to_string()))?;
                }
                if let Some(definition) = &definition {
                    stories.take(definition, header.at, event);
                }
            }
            from = header.last_version() + 1;
        }
        if page.records.is_empty() && from == 1 {
            return Err(CaseError::NotFound);
        }
        if page.all {
            return Ok(stories.into_all());
        }
    }
}

/// The entries of a record, each told over the state that it came to.
fn entries_of(
    definition: &Definition,
    before: Option<State>,
    bytes: &[u8],
    from: u64,
) -> Result<Vec<Entry>, CaseError> {
    let broken = |e: String| CaseError::Quarantined(e);
    let (header, events) = record::decode(bytes).map_err(|e| broken(e.to_string()))?;
    let events = upcast::events(&header, events).map_err(|e| broken(e.to_string()))?;
    let mut state = before;
    let mut entries = Vec::new();
    for (version, event) in (header.version..).zip(&events) {
        if version >= from {
            let told = history::tell(definition, state.as_ref(), event);
            entries.push(Entry { version, at: header.at, by: header.by.clone(), told });
        }
        state = match state {
            None => {
                let begun = evolve::begin(definition, CaseId(header.entity.bits), event, header.at);
                Some(begun.map_err(|e| broken(e.to_string()))?)
            }
            Some(mut state) => {
                let folded = evolve::evolve(definition, &mut state, event, header.at);
                folded.map_err(|e| broken(e.to_string()))?;
                Some(state)
            }
        };
    }
    Ok(entries)
}
