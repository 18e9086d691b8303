//! CSRs and holiday calendars as they lie in the journal.

use std::sync::Arc;

use super::board::Kept;
use super::kind::CsrKey;
use crate::actors::context::Context;
use crate::domain::ids::{CsrId, Entity, EntityKind};
use crate::domain::staff::csr::{Csr, begin, evolve};
use crate::store::journal::{Journal, ReadError};
use crate::store::record::{self, BadRecord};
use crate::store::staff_events;

/// Records read in one go.
const PAGE: usize = 512;

/// Why a CSR cannot be loaded.
#[derive(Debug, Clone, thiserror::Error)]
pub enum LoadError {
    /// It is this CSR's own fault, and stays with them.
    #[error("the record at revision {revision} cannot be used: {why}")]
    Record { revision: u64, why: String },
    #[error(transparent)]
    Read(#[from] ReadError),
}

impl Context {
    /// Reads all CSRs and calendars. One that cannot be read is quarantined alone.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub async fn load_staff(&self) -> Result<(), ReadError> {
        for entity in self.journal.entities(EntityKind::HolidayCalendar).await? {
            let last = self.journal.last(entity).await?;
            let read = last.map(|last| staff_events::calendar(&last.record));
            match read {
                Some(Ok(calendar)) => self.staff.put_calendar(Arc::new(calendar)),
                Some(Err(why)) => tracing::error!(why, "a holiday calendar cannot be read"),
                None => {}
            }
        }
        for entity in self.journal.entities(EntityKind::Csr).await? {
            match self.load_csr(entity, None).await {
                Ok(Some(kept)) => self.staff.put(kept),
                Ok(None) => {}
                Err(LoadError::Read(error)) if !error.damaged => return Err(error),
                Err(error) => {
                    tracing::error!(%error, "a CSR cannot be read, and is out of service");
                    let reason = error.to_string().into();
                    self.staff.registry.quarantine(CsrKey(entity.bits), reason);
                }
            }
        }
        Ok(())
    }

    /// A CSR as the journal has them, from what is known already.
    ///
    /// # Errors
    /// When they cannot be read.
    pub async fn load_csr(
        &self,
        entity: Entity,
        known: Option<Kept>,
    ) -> Result<Option<Kept>, LoadError> {
        let (mut csr, mut hash, mut fence) = match known {
            Some(Kept { csr, hash, fence }) => (Some((*csr).clone()), hash, fence),
            None => (None, [0; 16], None),
        };
        loop {
            let from = csr.as_ref().map_or(0, |csr: &Csr| csr.revision) + 1;
            let page = self.journal.read(entity, from, PAGE).await?;
            for bytes in &page.records {
                let revision = csr.as_ref().map_or(0, |csr: &Csr| csr.revision) + 1;
                let bad = |why: String| LoadError::Record { revision, why };
                let (header, events) = record::decode(bytes).map_err(|e| bad(e.to_string()))?;
                if (header.entity, header.version, header.previous) != (entity, revision, hash) {
                    return Err(bad(BadRecord::Chain.to_string()));
                }
                for event in staff_events::decode(&header, events).map_err(bad)? {
                    match &mut csr {
                        None => csr = Some(begin(&event).map_err(|e| bad(e.to_string()))?),
                        Some(csr) => {
                            evolve(csr, &event, header.at).map_err(|e| bad(e.to_string()))?;
                        }
                    }
                }
                hash = record::hash(bytes);
            }
            fence = page.fence.or(fence);
            if page.all {
                return Ok(csr.map(|csr| Kept { csr: Arc::new(csr), hash, fence }));
            }
        }
    }

    /// Reads on from what the board has of a CSR.
    ///
    /// # Errors
    /// When they cannot be read.
    pub async fn reload_csr(&self, id: &CsrId) -> Result<Option<Kept>, LoadError> {
        self.load_csr(Entity::csr(id), self.staff.kept(id)).await
    }
}
