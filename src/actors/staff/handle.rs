//! What the API may ask of people's actors, and read of the board.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use super::ask::Terms;
use super::dry_run::DryRun;
use super::message::{CsrError, CsrReply};
use crate::actors::handles::{By, CommandError, Handle, SubmitError, Submitted};
use crate::domain::case::command::PlanChange;
use crate::domain::ids::{BookingId, CaseId, CsrId};
use crate::domain::staff::catalogue::Catalogue;
use crate::domain::staff::civil::Zone;
use crate::domain::staff::csr::Csr;
use crate::domain::staff::csr::command::{Answer, Command};
use crate::domain::staff::csr::event::Displaced;
use crate::domain::staff::holidays::HolidayCalendar;
use crate::domain::staff::plan::difference::Difference;
use crate::domain::staff::profile::Profile;

/// How long a client waits for what becomes of what it asked for.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

const NO_ANSWER: &str = "it is not known yet what became of it; read, or ask again";

impl Handle {
    /// All CSRs, by id.
    pub fn csrs(&self) -> Vec<Arc<Csr>> {
        self.context.staff.all()
    }

    /// A CSR.
    pub fn csr(&self, id: &CsrId) -> Option<Arc<Csr>> {
        self.context.staff.csr(id)
    }

    /// What an admin picks tasks from.
    pub fn catalogue(&self) -> &Catalogue {
        &self.context.staff.catalogue
    }

    /// Bookings whose time of day is another one, since the rules of their time zone have changed.
    pub fn moved_by_rules(&self) -> HashSet<BookingId> {
        let csrs = self.csrs();
        csrs.iter().flat_map(|csr| csr.moved_by_rules()).map(|(booking, _)| *booking).collect()
    }

    /// Whether this one's is.
    pub fn is_moved_by_rules(&self, csr: &str, booking: BookingId) -> bool {
        let csr = csr.parse().ok().and_then(|id| self.csr(&id));
        csr.is_some_and(|csr| csr.is_moved_by_rules(booking))
    }

    /// The plan that a submission would get; nothing is stored.
    ///
    /// # Errors
    /// When it would not be taken.
    pub async fn dry_run(&self, submitted: Submitted) -> Result<DryRun, SubmitError> {
        let context = self.context.clone();
        let running = self.context.runtime.spawn(async move { context.dry_run(submitted).await });
        running.await.unwrap_or_else(|_| Err(SubmitError::Unavailable("it broke off".to_owned())))
    }

    /// The time zone of the business.
    pub fn business_zone(&self) -> Zone {
        self.context.staff.business().zone.clone()
    }

    /// What the UIDs of appointments end with.
    pub fn mail_domain(&self) -> String {
        self.context.dispatcher.mail_domain().unwrap_or("caseworker.localhost").to_owned()
    }

    /// All holiday calendars.
    pub fn calendars(&self) -> Vec<Arc<HolidayCalendar>> {
        self.context.staff.calendars()
    }

    /// A holiday calendar.
    pub fn calendar(&self, name: &str) -> Option<Arc<HolidayCalendar>> {
        self.context.staff.calendar(name)
    }

    /// Says what is known of a CSR, who is added where there is none of this id.
    ///
    /// # Errors
    /// When it is not carried out.
    pub async fn put_csr(
        &self,
        id: &CsrId,
        profile: Profile,
        terms: Terms,
    ) -> Result<CsrReply, CsrError> {
        let calendar = profile.holidays.as_deref().and_then(|name| self.calendar(name));
        self.ask_csr(id, Command::Put { profile: Arc::new(profile), calendar }, terms).await
    }

    /// Tells a CSR's actor what somebody asks of it.
    ///
    /// # Errors
    /// When it is not carried out.
    pub async fn ask_csr(
        &self,
        id: &CsrId,
        command: Command,
        terms: Terms,
    ) -> Result<CsrReply, CsrError> {
        let (context, id) = (self.context.clone(), id.clone());
        // what is committed is taken up, whether or not whoever asked still listens
        let asking =
            self.context.runtime.spawn(async move { context.ask_csr(&id, command, terms).await });
        match tokio::time::timeout(ANSWER_WITHIN, asking).await {
            Ok(Ok(told)) => told,
            Ok(Err(_)) => Err(CsrError::Unavailable("it broke off".to_owned())),
            Err(_) => Err(CsrError::Unknown(NO_ANSWER)),
        }
    }

    /// What a calendar would displace, of each who goes by it.
    ///
    /// # Errors
    /// When a CSR does not say.
    pub async fn try_calendar(&self, calendar: HolidayCalendar) -> Result<Difference, CsrError> {
        let calendar = Arc::new(calendar);
        let mut all = Vec::new();
        for csr in self.csrs() {
            if csr.profile.holidays.as_deref() != Some(&calendar.name) {
                continue;
            }
            let command = Command::Holidays { calendar: Some(calendar.clone()) };
            let terms = Terms { by: By::engine(), if_match: None, dry_run: true };
            let told = self.ask_csr(&csr.id, command, terms).await?;
            if let (Some(csr), Answer::Changed(displaced)) = (told.csr, told.answer) {
                all.push((csr, displaced));
            }
        }
        self.try_displacing(all).await
    }

    /// What would become of what these CSRs have, once they are as they are here.
    ///
    /// # Errors
    /// When it takes too long.
    pub async fn try_displacing(
        &self,
        changed: Vec<(Arc<Csr>, Displaced)>,
    ) -> Result<Difference, CsrError> {
        let context = self.context.clone();
        let trying =
            self.context.runtime.spawn(async move { context.try_displacing(changed).await });
        let broken = |_| CsrError::Unavailable("it broke off".to_owned());
        trying.await.map_err(broken)
    }

    /// What would become of a case's tasks if its plan were changed.
    ///
    /// # Errors
    /// When it would not be.
    pub async fn try_plan(
        &self,
        case: CaseId,
        change: PlanChange,
        if_match: Option<u64>,
    ) -> Result<Difference, CommandError> {
        let context = self.context.clone();
        let trying = self
            .context
            .runtime
            .spawn(async move { context.try_plan(case, change, if_match).await });
        let broken = |_| Err(CommandError::Unavailable("it broke off".to_owned()));
        trying.await.unwrap_or_else(broken)
    }

    /// Stores what a calendar says from now on, and tells everybody who goes by it.
    ///
    /// # Errors
    /// When it cannot be stored.
    pub async fn put_calendar(&self, calendar: HolidayCalendar, by: By) -> Result<(), String> {
        let name: Arc<str> = calendar.name.as_str().into();
        self.context.store_calendar(calendar, by).await?;
        self.context.tell_of_calendar(&name);
        Ok(())
    }
}
