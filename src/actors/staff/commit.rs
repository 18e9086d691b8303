//! One command to a CSR, from the state to the answer: decided, committed, then shown to everybody.

use std::sync::Arc;

use super::board::{CSRS_MAX, Kept};
use super::load::LoadError;
use super::message::{CsrError, CsrReply, CsrRequest};
use crate::actors::context::Context;
use crate::domain::ids::{CsrId, Entity};
use crate::domain::staff::csr::command::Command;
use crate::domain::staff::csr::decide::{Decided, Facts, decide};
use crate::store::journal::{Append, Journal, LEFT_OPEN, Settled, append_until_known};
use crate::store::record::{self, By, Header, SCHEMA};
use crate::store::staff_events;

/// Times that a decision is made anew because somebody else wrote first.
const CONFLICTS: usize = 3;

impl Context {
    /// Carries out a command to a CSR. Only their actor calls this.
    ///
    /// # Errors
    /// Why it is not carried out.
    pub async fn carry_out_csr(&self, request: &CsrRequest) -> Result<CsrReply, CsrError> {
        let CsrRequest { id, command, by, if_match, dry_run, .. } = request;
        for _ in 0..CONFLICTS {
            let kept = self.staff.kept(id);
            let csr = kept.as_ref().map(|kept| &*kept.csr);
            if let Some(wanted) = if_match
                && csr.map_or(0, |csr| csr.revision) != *wanted
            {
                return Err(CsrError::Stale(csr.map_or(0, |csr| csr.revision)));
            }
            let adds = csr.is_none() && matches!(command, Command::Put { .. });
            if adds && self.staff.count() >= CSRS_MAX {
                return Err(CsrError::Unavailable(format!("there are {CSRS_MAX} CSRs already")));
            }
            let facts = Facts { now: self.clock.now(), wall: self.clock.wall() };
            let Decided { csr, events, answer } = decide(csr, id, command, facts)?;
            if events.is_empty() || *dry_run {
                let csr = csr.map(Arc::new);
                return Ok(CsrReply { csr, answer });
            }
            let Some(csr) = csr else { return Ok(CsrReply { csr: None, answer }) };
            let count = events.len() as u64;
            let header = Header {
                schema: SCHEMA,
                entity: Entity::csr(id),
                version: csr.revision - count + 1,
                count,
                at: facts.now,
                previous: kept.as_ref().map_or([0; 16], |kept| kept.hash),
                command: None,
                by: by.clone(),
            };
            let record = record::encode(&header, &staff_events::encode(&events));
            let hash = record::hash(&record);
            let fence = kept.and_then(|kept| kept.fence);
            let (entity, first, record) = (header.entity, header.version, record.into());
            let append = Append { entity, fence, first, record, note: None };
            match append_until_known(&self.journal, append).await {
                Settled::Committed(fence) => {
                    let csr = Arc::new(csr);
                    self.staff.put(Kept { csr: csr.clone(), hash, fence: Some(fence) });
                    return Ok(CsrReply { csr: Some(csr), answer });
                }
                Settled::Conflict => self.reload(id).await?,
                Settled::Refused(refused) => {
                    return Err(CsrError::Unavailable(refused.to_string()));
                }
                Settled::LeftOpen => return Err(CsrError::Unknown(LEFT_OPEN)),
            }
        }
        Err(CsrError::Unavailable("the CSR is being written by somebody else".to_owned()))
    }

    /// Takes over what the journal has of a CSR beyond the board.
    ///
    /// # Errors
    /// When they cannot be read.
    pub async fn reload(&self, id: &CsrId) -> Result<(), CsrError> {
        match self.reload_csr(id).await {
            Ok(Some(kept)) => {
                self.staff.put(kept);
                Ok(())
            }
            Ok(None) => Ok(()),
            Err(error @ LoadError::Record { .. }) => {
                Err(CsrError::Quarantined(error.to_string().into()))
            }
            Err(error) => Err(CsrError::Unavailable(error.to_string())),
        }
    }

    /// Stores what a calendar says from now on.
    ///
    /// # Errors
    /// When it cannot be stored.
    pub async fn store_calendar(
        &self,
        calendar: crate::domain::staff::holidays::HolidayCalendar,
        by: By,
    ) -> Result<(), String> {
        let entity = Entity::holiday_calendar(&calendar.name);
        let last = self.journal.last(entity).await.map_err(|e| e.to_string())?;
        let bytes = last.as_ref().map(|last| &last.record[..]);
        let header = Header::following(bytes, entity, self.clock.now(), by);
        let header = header.map_err(|e| e.to_string())?;
        let record = record::encode(&header, &staff_events::encode_calendar(&calendar)).into();
        let fence = last.map(|last| last.fence);
        let append = Append { entity, fence, first: header.version, record, note: None };
        match append_until_known(&self.journal, append).await {
            Settled::Committed(_) => {
                self.staff.put_calendar(Arc::new(calendar));
                Ok(())
            }
            Settled::Conflict => Err("somebody else changed it just now".to_owned()),
            Settled::Refused(refused) => Err(refused.to_string()),
            Settled::LeftOpen => Err(LEFT_OPEN.to_owned()),
        }
    }
}
