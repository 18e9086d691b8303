//! Cases that are taken out of service, so that they stop nobody else: noted in the journal beside
//! the case's own records, which may be what is broken.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::office::Office;
use crate::domain::ids::{CaseId, Entity, EntityKind};
use crate::store::embedded::{Append, ReadError};
use crate::store::record::{self, By, Header};

/// What a record of a quarantine says.
#[derive(Debug, Clone, PartialEq)]
pub enum Quarantined {
    Taken(String),
    Released,
}

#[derive(Serialize, Deserialize, Default)]
struct Rest {
    #[serde(skip_serializing_if = "String::is_empty", default)]
    reason: String,
}

/// Reads the events of a record of a quarantine.
pub fn read(events: &[u8]) -> Option<Quarantined> {
    let [(word, rest)]: [(String, Rest); 1] = serde_json::from_slice(events).ok()?;
    match word.as_str() {
        "quarantined" => Some(Quarantined::Taken(rest.reason)),
        "released" => Some(Quarantined::Released),
        _ => None,
    }
}

impl Office {
    /// Takes a case out of service.
    pub async fn quarantine(&self, case: CaseId, reason: Arc<str>) {
        if self.cases.quarantined(case).is_some() {
            return;
        }
        self.cases.quarantine(case, reason.clone());
        // whatever it was let through to is somebody else's turn
        for served in self.services.list() {
            served.decline(case);
        }
        metrics::counter!("caseworker_alerts_total").increment(1);
        tracing::error!(case.id = %case, %reason, "a case is taken out of service");
        let rest = Rest { reason: reason.to_string() };
        if let Err(error) = self.note_quarantine(case, "quarantined", rest, By::engine()).await {
            tracing::error!(case.id = %case, error, "a quarantine was not noted");
        }
    }

    /// Takes a case back into service. False: it was in service.
    ///
    /// # Errors
    /// When it cannot be noted.
    pub async fn release(&self, case: CaseId, by: By) -> Result<bool, String> {
        let Some(reason) = self.cases.quarantined(case) else { return Ok(false) };
        // before it is noted, or the views would show the mark that is about to go
        self.cases.release(case);
        let noted = self.note_quarantine(case, "released", Rest::default(), by).await;
        if noted.is_err() {
            self.cases.quarantine(case, reason);
        }
        noted.map(|()| true)
    }

    /// The quarantines that the journal holds.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub fn load_quarantines(&self) -> Result<(), ReadError> {
        for entity in self.journal.entities(EntityKind::Quarantine)? {
            let last = self.journal.last_of(entity)?;
            let said = last.and_then(|bytes| read(record::decode(&bytes).ok()?.1));
            if let Some(Quarantined::Taken(reason)) = said {
                self.cases.quarantine(CaseId(entity.bits), reason.into());
            }
        }
        Ok(())
    }

    async fn note_quarantine(
        &self,
        case: CaseId,
        word: &str,
        rest: Rest,
        by: By,
    ) -> Result<(), String> {
        let entity = Entity::quarantine(case);
        let last = self.journal.last_of(entity).map_err(|e| e.to_string())?;
        let header = Header::following(last.as_deref(), entity, self.clock.now(), by);
        let header = header.map_err(|e| e.to_string())?;
        let expected = header.version - 1;
        let events = serde_json::to_vec(&[(word, rest)]).map_err(|e| e.to_string())?;
        let record = record::encode(&header, &events);
        let append = Append { entity, expected, count: 1, record, note: None };
        self.journal.append(append).await.map_err(|e| e.to_string())?;
        Ok(())
    }
}
