//! Asking a CSR's actor: for cases until it has answered, for clients once; and telling cases what does
//! not fit any more until they have.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use tokio::sync::oneshot;

use super::kind::CsrKey;
use super::message::{CsrError, CsrMsg, CsrReply, CsrRequest};
use crate::actors::cases::message::CommandError;
use crate::actors::context::Context;
use crate::domain::case::command::Command as CaseCommand;
use crate::domain::ids::{CaseId, CsrId};
use crate::domain::staff::csr::Standing;
use crate::domain::staff::csr::command::{Answer, Command};
use crate::domain::staff::plan::owed::Asked;
use crate::store::record::By;

/// After which what could not be asked is asked again.
const AGAIN: Duration = Duration::from_secs(1);

/// The same where somebody is out of service.
const MUCH_LATER: Duration = Duration::from_secs(5);

/// How often it is looked whether somebody's time is over.
const LOOK_EVERY: Duration = Duration::from_secs(10);

/// Cases that one CSR tells at the same time.
const TOLD_AT_ONCE: usize = 16;

/// How a client wants it.
pub struct Terms {
    pub by: By,
    pub if_match: Option<u64>,
    pub dry_run: bool,
}

impl Context {
    /// Tells a CSR what a client asks of them.
    ///
    /// # Errors
    /// When it is not carried out.
    pub async fn ask_csr(
        &self,
        id: &CsrId,
        command: Command,
        terms: Terms,
    ) -> Result<CsrReply, CsrError> {
        let Terms { by, if_match, dry_run } = terms;
        let (reply, answer) = oneshot::channel();
        let registry = &self.staff.registry;
        let handed = registry.ask(CsrKey::from(id), |turn| {
            let id = id.clone();
            CsrMsg::Request(Box::new(CsrRequest {
                id,
                command,
                by,
                if_match,
                dry_run,
                reply,
                turn,
            }))
        });
        if !handed {
            return Err(CsrError::Busy);
        }
        let crashed = |_| CsrError::Unavailable("the CSR's actor has crashed".to_owned());
        answer.await.map_err(crashed)?
    }

    /// Asks a CSR for a case until there is an answer, and tells the case.
    pub async fn ask_for_case(self: Arc<Self>, case: CaseId, asked: Asked) {
        let answer = self.answer_to(&asked).await;
        let Asked { csr, booking, number, what, .. } = asked;
        self.tell_until_heard(case, CaseCommand::Answered { csr, booking, number, what, answer })
            .await;
    }

    async fn answer_to(&self, asked: &Asked) -> Answer {
        let key = CsrKey::from(&asked.csr);
        loop {
            let (reply, answer) = oneshot::channel();
            let (id, command, by) = (asked.csr.clone(), asked.command.clone(), By::engine());
            let (if_match, dry_run, turn) = (None, false, None);
            let request = CsrRequest { id, command, by, if_match, dry_run, reply, turn };
            self.staff.registry.tell(key, None, CsrMsg::Request(Box::new(request)));
            let later = match answer.await {
                Ok(Ok(told)) => return told.answer,
                // what they were asked waits until they are back in service
                Ok(Err(CsrError::Quarantined(_))) => MUCH_LATER,
                Ok(Err(_)) | Err(_) => AGAIN,
            };
            tokio::time::sleep(later).await;
        }
    }

    /// Tells a case something until it has taken it.
    pub async fn tell_until_heard(self: &Arc<Self>, case: CaseId, command: CaseCommand) {
        loop {
            let later = match self.wake(case, command.clone()).await {
                Err(CommandError::Quarantined(_) | CommandError::Broken(_)) => MUCH_LATER,
                Err(
                    CommandError::Unavailable(_) | CommandError::Unknown(_) | CommandError::Busy(_),
                ) => AGAIN,
                // any other "no" means that it came too late
                Ok(_) | Err(_) => return,
            };
            tokio::time::sleep(later).await;
        }
    }

    /// A CSR is another one now: whoever looks for people hears of it, and cases of what does not fit any
    /// more.
    pub fn csr_has_changed(self: &Arc<Self>, id: &CsrId, frees: bool) {
        if frees && let Some(csr) = self.staff.csr(id) {
            self.staff.planner.freed(&csr);
        }
        self.tell_displaced(id.clone());
    }

    /// Tells everybody who goes by a calendar what it says now: until they have taken it.
    pub fn tell_of_calendar(self: &Arc<Self>, name: &str) {
        for csr in self.staff.all() {
            if csr.profile.holidays.as_deref() == Some(name) {
                let context = self.clone();
                self.runtime.spawn(async move { context.bring_up_to_date(&csr.id).await });
            }
        }
    }

    /// Tells a CSR what their calendar says now, where they do not know.
    async fn bring_up_to_date(self: Arc<Self>, id: &CsrId) {
        loop {
            let Some(csr) = self.staff.csr(id) else { return };
            let calendar =
                csr.profile.holidays.as_deref().and_then(|name| self.staff.calendar(name));
            if csr.calendar == calendar {
                return;
            }
            let terms = Terms { by: By::engine(), if_match: None, dry_run: false };
            let told = self.ask_csr(id, Command::Holidays { calendar }, terms).await;
            if told.is_err() {
                tokio::time::sleep(AGAIN).await;
            }
        }
    }

    /// Has those go whose time is over, with all that they have.
    pub async fn see_off(self: Arc<Self>) {
        loop {
            let now = self.clock.wall();
            for csr in self.staff.all() {
                let live = csr.reservations.values().any(|one| one.standing == Standing::Live);
                if csr.profile.there().end <= now && live {
                    let terms = Terms { by: By::engine(), if_match: None, dry_run: false };
                    // it is looked at again in a moment
                    let _ = self.ask_csr(&csr.id, Command::Depart, terms).await;
                }
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Tells every case what no CSR has got an answer to: after a start, or a crash.
    pub fn tell_all_displaced(self: &Arc<Self>) {
        for csr in self.staff.all() {
            self.tell_displaced(csr.id.clone());
        }
        for calendar in self.staff.calendars() {
            self.tell_of_calendar(&calendar.name);
        }
    }

    /// What the cases of a CSR have to be told.
    fn displaced(&self, id: &CsrId) -> Vec<(CaseId, CaseCommand)> {
        let csr = self.staff.csr(id);
        let owed = csr.iter().flat_map(|csr| csr.owes());
        let news = owed.map(|(booking, one, why)| {
            let number = one.number;
            (one.case, CaseCommand::Displaced { booking, number, why })
        });
        news.collect()
    }

    /// Tells the cases of a CSR what does not fit any more, until each has said what becomes of it.
    fn tell_displaced(self: &Arc<Self>, id: CsrId) {
        // one who tells already goes on until there is nothing more to tell
        if self.displaced(&id).is_empty() || !self.staff.begins_telling(&id) {
            return;
        }
        let context = self.clone();
        self.runtime.spawn(async move {
            loop {
                let owed = context.displaced(&id);
                if owed.is_empty() {
                    context.staff.ends_telling(&id);
                    if context.displaced(&id).is_empty() || !context.staff.begins_telling(&id) {
                        return;
                    }
                    continue;
                }
                let tell = |(case, command)| {
                    let context = context.clone();
                    async move { drop(context.wake(case, command).await) }
                };
                futures_util::stream::iter(owed).for_each_concurrent(TOLD_AT_ONCE, tell).await;
                // they answer by commands of their own
                tokio::time::sleep(AGAIN).await;
            }
        });
    }
}
