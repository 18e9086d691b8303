//! Cases that are taken out of service, so that they stop nobody else: noted in the journal beside
//! the case's own records, which may be what is broken.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::actors::context::Context;
use crate::domain::ids::{CaseId, Entity, EntityKind};
use crate::store::journal::{Append, Journal, LEFT_OPEN, ReadError, Settled, append_until_known};
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

impl Context {
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
    pub async fn load_quarantines(&self) -> Result<(), ReadError> {
        for entity in self.journal.entities(EntityKind::Quarantine).await? {
            let last = match self.journal.last(entity).await {
                Err(error) if error.damaged => {
                    // the more careful reading
                    let case = CaseId(entity.bits);
                    tracing::error!(case.id = %case, %error, "its quarantine cannot be read");
                    self.cases.quarantine(case, "what is noted of it is damaged".into());
                    continue;
                }
                last => last?,
            };
            let said = last.and_then(|last| read(record::decode(&last.record).ok()?.1));
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
        let last = self.journal.last(entity).await.map_err(|e| e.to_string())?;
        let bytes = last.as_ref().map(|last| &last.record[..]);
        let header = Header::following(bytes, entity, self.clock.now(), by);
        let header = header.map_err(|e| e.to_string())?;
        let events = serde_json::to_vec(&[(word, rest)]).map_err(|e| e.to_string())?;
        let record = record::encode(&header, &events).into();
        let fence = last.map(|last| last.fence);
        let append = Append { entity, fence, first: header.version, record, note: None };
        match append_until_known(&self.journal, append).await {
            Settled::Committed(_) => Ok(()),
            Settled::Conflict => Err("somebody else noted something of it just now".to_owned()),
            Settled::Refused(refused) => Err(refused.to_string()),
            Settled::LeftOpen => Err(LEFT_OPEN.to_owned()),
        }
    }
}
