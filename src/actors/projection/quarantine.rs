//! Cases out of service, as the views show them.

use super::out_of_service::show;
use crate::actors::cases::quarantine::{Quarantined, read};
use crate::actors::projection::ProjectError;
use crate::actors::projection::rows::Rows;
use crate::domain::case::summary::{DeadLetter, Summary};
use crate::domain::data::Data;
use crate::domain::ids::{CaseId, DeadId};
use crate::store::commit_note::CommitNote;
use crate::store::journal::RecordCursor;
use crate::store::record::Header;
use crate::store::views::dead_letters::DeadState;

/// The dead letter of a case that was taken out of service by this version of its quarantine.
fn dead_id(case: CaseId, version: u64) -> DeadId {
    DeadId::of_case(case, u64::MAX - version)
}

impl Rows<'_> {
    /// A case was taken out of service, or back.
    pub(super) fn quarantine(
        &mut self,
        at: RecordCursor,
        header: &Header,
        events: &[u8],
    ) -> Result<(), ProjectError> {
        let case = CaseId(header.entity.bits);
        let views = self.views;
        match read(events) {
            Some(Quarantined::Taken(reason)) => {
                let known = views.case(case)?;
                let mut summary = known.unwrap_or_else(|| Summary::unreadable(case, header.at));
                show(&mut summary, reason.as_str().into());
                views.put_case(&summary)?;
                let dead = DeadLetter {
                    id: dead_id(case, header.version),
                    cause: format!("quarantine: {reason}").into(),
                    task: None,
                    since: header.at,
                    error: None,
                    input: Data::null(),
                    attempts: Vec::new(),
                };
                self.put_dead(at, &summary, &dead)?;
                self.change(at, summary);
            }
            Some(Quarantined::Released) => {
                let taken = dead_id(case, header.version.saturating_sub(1));
                views.settle_dead_letter(taken, DeadState::Redriven)?;
                self.rearm(at, case)?;
            }
            None => tracing::error!(at = at.0, "a record of a quarantine cannot be read"),
        }
        Ok(())
    }

    /// A case of which a record cannot be read is taken out of service. It is shown even where nothing
    /// else of it is known.
    pub(super) fn unreadable(&mut self, case: CaseId, reason: &str) -> Result<(), ProjectError> {
        if self.views.case(case)?.is_none() {
            self.views.put_case(&Summary::unreadable(case, self.context.clock.now()))?;
        }
        self.handle.block_on(self.context.quarantine(case, reason.into()));
        Ok(())
    }

    /// Puts everything that may wake a case where it is looked for, from its state in the journal:
    /// what came while nobody told it (events, ends of children, room at a service, instants) finds
    /// it again. What it finds twice does no harm.
    fn rearm(&mut self, at: RecordCursor, case: CaseId) -> Result<(), ProjectError> {
        // as if its row were new, and nothing had been offered
        self.views.forget_offered(case)?;
        if let Some(mut summary) = self.views.case(case)? {
            summary.listening.clear();
            summary.children.clear();
            summary.parked.clear();
            summary.jobs.clear();
            self.views.put_case(&summary)?;
        }
        match self.handle.block_on(self.context.load(case)) {
            Ok(loaded) => {
                let summary = Box::new(Summary::of(&loaded.definition, &loaded.state));
                self.case(
                    at,
                    CommitNote {
                        summary,
                        rests: false,
                        answered: Vec::new(),
                        worked: Vec::new(),
                        snapshot: None,
                    },
                )
            }
            Err(error) => {
                tracing::error!(case.id = %case, %error, "a case cannot be read");
                Ok(())
            }
        }
    }
}
