//! A case as it lies in the journal: its snapshot, if there is one, and the records since, each
//! checked against the one before it.

use std::sync::Arc;

use crate::actors::definitions::Definitions;
use crate::domain::case::decide::remember;
use crate::domain::case::event::Event;
use crate::domain::case::evolve::{self, CorruptHistory};
use crate::domain::case::state::State;
use crate::domain::ids::{CaseId, Entity};
use crate::domain::workflow::model::{Definition, DefinitionId};
use crate::store::journal::{Journal, ReadError};
use crate::store::record::{self, BadRecord, Hash};
use crate::store::snapshots::Snapshot;
use crate::store::{EngineFence, EngineJournal, upcast};

/// Records read in one go.
const PAGE: usize = 256;

/// A case as the journal has it.
#[derive(Clone)]
pub struct Loaded {
    pub definition: Arc<Definition>,
    pub state: State,
    /// Hash of the last record.
    pub hash: Hash,
    /// What the next append has to bring.
    pub fence: Option<EngineFence>,
}

/// Why a case cannot be loaded.
#[derive(Debug, Clone, thiserror::Error)]
pub enum LoadError {
    #[error("there is no such case")]
    NotFound,
    /// It is the case's own fault, and stays with it.
    #[error("the record at version {version} cannot be used: {bad}")]
    Record { version: u64, bad: BadRecord },
    #[error("the record at version {version} does not fit: {corrupt}")]
    History { version: u64, corrupt: CorruptHistory },
    #[error("its definition {0} cannot be read")]
    Definition(DefinitionId),
    /// It is the disk's.
    #[error(transparent)]
    Read(#[from] ReadError),
}

impl LoadError {
    /// Whether only this case is affected.
    pub fn is_of_the_case(&self) -> bool {
        match self {
            Self::Record { .. } | Self::History { .. } | Self::Definition(_) => true,
            // one damaged block is the fault of nobody else's case
            Self::Read(error) => error.damaged,
            Self::NotFound => false,
        }
    }
}

/// Loads a case; `snapshot` saves the folding of what it covers.
///
/// # Errors
/// When there is no such case, or it cannot be read.
pub async fn load(
    journal: &EngineJournal,
    definitions: &Definitions,
    id: CaseId,
    snapshot: Option<Snapshot>,
) -> Result<Loaded, LoadError> {
    let believed = match snapshot {
        Some(snapshot) => {
            let hash = snapshot.hash;
            match load_before(journal, definitions, id, Some(snapshot), u64::MAX).await {
                // a record that follows it bears it out by its hash
                Ok(fold) if fold.hash != hash => Some(fold),
                // a snapshot that the records do not bear out is as good as none
                Ok(fold) => fold.borne_out(journal).await?,
                Err(LoadError::Record { .. } | LoadError::History { .. }) => None,
                Err(error) => return Err(error),
            }
        }
        None => None,
    };
    let fold = match believed {
        Some(fold) => fold,
        None => load_before(journal, definitions, id, None, u64::MAX).await?,
    };
    let (Some(definition), Some(state)) = (fold.definition, fold.state) else {
        return Err(LoadError::NotFound);
    };
    Ok(Loaded { definition, state, hash: fold.hash, fence: fold.fence })
}

/// Folds the records of a case that come before a version.
///
/// # Errors
/// When they cannot be read.
pub async fn load_before(
    journal: &EngineJournal,
    definitions: &Definitions,
    id: CaseId,
    snapshot: Option<Snapshot>,
    before: u64,
) -> Result<Fold, LoadError> {
    let mut fold = match snapshot.filter(|snapshot| snapshot.state.version < before) {
        Some(Snapshot { state, hash }) => {
            let definition = definition_of(definitions, &state.definition).await?;
            Fold { id, definition: Some(definition), state: Some(state), hash, fence: None }
        }
        None => Fold::new(id),
    };
    loop {
        let from = fold.next_version();
        let page = journal.read(Entity::from(id), from, PAGE).await?;
        for bytes in page.records {
            // a record that reaches the version is folded by whoever shows its events one by one
            let reaches = record::decode(&bytes)
                .is_ok_and(|(header, _)| header.version + header.count > before);
            if reaches || fold.next_version() >= before {
                return Ok(fold);
            }
            fold.record(definitions, &bytes).await?;
        }
        fold.fence = page.fence.or(fold.fence);
        if page.all {
            return Ok(fold);
        }
    }
}

async fn definition_of(
    definitions: &Definitions,
    id: &DefinitionId,
) -> Result<Arc<Definition>, LoadError> {
    definitions.get(id).await?.ok_or_else(|| LoadError::Definition(id.clone()))
}

/// A case while its records are folded.
pub struct Fold {
    pub id: CaseId,
    pub definition: Option<Arc<Definition>>,
    pub state: Option<State>,
    pub hash: Hash,
    /// What an append behind the last record has to bring, where that is known.
    pub fence: Option<EngineFence>,
}

impl Fold {
    /// Before the first record.
    pub fn new(id: CaseId) -> Self {
        Self { id, definition: None, state: None, hash: [0; 16], fence: None }
    }

    /// The fold, where the entity's last record is the one that was folded last.
    async fn borne_out(self, journal: &EngineJournal) -> Result<Option<Self>, LoadError> {
        let last = journal.last(Entity::from(self.id)).await?;
        let last = last.filter(|last| record::hash(&last.record) == self.hash);
        Ok(last.map(|last| Self { fence: Some(last.fence), ..self }))
    }

    /// Version of the next event.
    pub fn next_version(&self) -> u64 {
        self.state.as_ref().map_or(0, |state| state.version) + 1
    }

    /// Folds the next record, after checking that it is whole and follows the one before.
    ///
    /// # Errors
    /// When it does not.
    pub async fn record(
        &mut self,
        definitions: &Definitions,
        bytes: &[u8],
    ) -> Result<Vec<Event>, LoadError> {
        let version = self.next_version();
        let bad = |bad| LoadError::Record { version, bad };
        let (header, events) = record::decode(bytes).map_err(bad)?;
        let expected = (Entity::from(self.id), version, self.hash);
        if (header.entity, header.version, header.previous) != expected {
            return Err(bad(BadRecord::Chain));
        }
        let events = upcast::events(&header, events).map_err(bad)?;
        if self.state.is_none() {
            let Some(submission) = events.first().and_then(submission_in) else {
                return Err(bad(BadRecord::Events("it begins without a submission".to_owned())));
            };
            self.definition = Some(definition_of(definitions, &submission.definition).await?);
            self.state = Some(evolve::blank(self.id, submission, header.at));
        }
        let (Some(definition), Some(state)) = (&self.definition, &mut self.state) else {
            return Err(LoadError::NotFound);
        };
        for event in &events {
            evolve::evolve(definition, state, event, header.at)
                .map_err(|corrupt| LoadError::History { version, corrupt })?;
        }
        if let Some(command) = header.command {
            remember(state, command);
        }
        self.hash = record::hash(bytes);
        Ok(events)
    }
}

/// The submission that a first event holds.
pub fn submission_in(event: &Event) -> Option<&crate::domain::case::event::Submission> {
    match event {
        Event::Accepted(submission) => Some(submission),
        Event::Started(start) => start.submission.as_ref(),
        _ => None,
    }
}
