//! What the API may name of the actors: one handle, and the shapes that go in and out.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

pub use super::cases::message::{CaseReply, CommandError, CommandMeta};
pub use super::cases::submit::{SubmitError, Submitted, random};
pub use super::cases::watches::Watch;
pub use super::definitions::{Listed, Refused, Registration, TEXT_MAX};
pub use super::documents::{DocumentError, Kept, NamingError};
pub use super::histories::{Entry, History};
pub use super::projection::feed::{Changed, FeedChange, FeedCursor, RecordCursor, Since};
pub use super::schedules::handle::{ScheduleHandle, Seen as ScheduleSeen};
pub use super::schedules::message::ScheduleError;
pub use super::services::handle::ServiceHandle;
pub use super::staff::ask::Terms;
pub use super::staff::dry_run::DryRun;
pub use super::staff::message::{CsrError, CsrReply};
pub use super::work::handle::QueueHandle;
pub use super::work::handover::Handover;
pub use super::work::poll::Handed;
pub use super::work::results::{Asking, JobReply, Saying};
pub use crate::store::logs::{Attempt, Batch, Line, Progress, Stream};
pub use crate::store::record::By;

use tokio::task::JoinSet;

use super::cases::load::{LoadError, load_before};
use super::context::Context;
use super::histories::stories;
use super::projection::feed::Feed;
use super::services::message::BreakerMsg;
use crate::clock::Clock;
use crate::domain::case::command::{Command, Rejection};
use crate::domain::case::state::State;
use crate::domain::case::story::Story;
use crate::domain::cloud_event::CloudEvent;
use crate::domain::ids::{CaseId, CommandId, Entity, EventCursor};
use crate::domain::time::Timestamp;
use crate::domain::workflow::model::{Definition, DefinitionId};
use crate::domain::workflow::source::Format;
use crate::store::journal::{Journal, ReadError};
use crate::store::views::Views;

/// The handle.
#[derive(Clone)]
pub struct Handle {
    pub(super) context: Arc<Context>,
}

/// A case as it stands.
pub struct Case {
    pub definition: Arc<Definition>,
    pub state: State,
    /// Why it is out of service, if it is.
    pub quarantined: Option<Arc<str>>,
}

/// Why a case cannot be shown.
#[derive(Debug, Clone, thiserror::Error)]
pub enum CaseError {
    #[error("there is no such case")]
    NotFound,
    #[error("the case is out of service: {0}")]
    Quarantined(String),
    #[error("{0}")]
    Unavailable(String),
}

/// How long a client waits for what becomes of what it asked for.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

const NO_ANSWER: &str =
    "it is not known yet what became of it; ask again with the same key, or read";

/// Why the process takes nothing in now.
pub type NotReady = &'static str;

impl Handle {
    /// What workers have written of a case, the oldest first.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn logs(&self, case: CaseId) -> Result<Vec<Batch>, String> {
        let logs = self.context.logs.clone();
        let read = tokio::task::spawn_blocking(move || logs.read(case));
        read.await.map_err(|e| e.to_string())?.map_err(|e| e.to_string())
    }

    /// A handle on an context.
    pub(super) fn new(context: Arc<Context>) -> Self {
        Self { context }
    }

    /// What is behind it.
    #[cfg(test)]
    pub(super) fn context(&self) -> &Arc<Context> {
        &self.context
    }

    /// The clock.
    pub fn clock(&self) -> &Clock {
        &self.context.clock
    }

    /// The views.
    pub fn views(&self) -> &Views {
        &self.context.views
    }

    /// What an acknowledgement means here, in one word.
    pub fn receipt(&self) -> &'static str {
        self.context.journal.promise().name()
    }

    /// The live feed.
    pub fn feed(&self) -> &Feed {
        &self.context.feed
    }

    /// Whether the start goes on.
    pub fn is_starting(&self) -> bool {
        !self.context.started.load(Ordering::Acquire)
    }

    /// Whether cases wake one at a time, after two unclean ends.
    pub fn is_careful(&self) -> bool {
        self.context.careful_start.is_taken()
    }

    /// How far the views are filled, while they are: records taken into them, and all of them.
    pub fn filling(&self) -> Option<(u64, u64)> {
        self.context.views.progress()
    }

    /// Waits until the views are filled.
    pub async fn views_filled(&self) {
        self.context.views_filled().await;
    }

    /// How far the wall clock is ahead of the engine's, in milliseconds; steps of the wall show.
    pub fn wall_ahead(&self) -> i64 {
        self.context.clock.wall_ahead()
    }

    /// Why nothing is taken in now, if so.
    pub fn not_ready(&self) -> Option<NotReady> {
        self.context.intake.refusal()
    }

    /// Submits. Answers once it is durable.
    ///
    /// # Errors
    /// When nothing was stored, and why.
    pub async fn submit(&self, submitted: Submitted, by: By) -> Result<CaseReply, SubmitError> {
        let context = self.context.clone();
        let submitting = carry_through(async move { context.submit(submitted, by).await });
        match tokio::time::timeout(ANSWER_WITHIN, submitting).await {
            Ok(submitted) => {
                submitted.unwrap_or_else(|broken| Err(SubmitError::Unavailable(broken)))
            }
            Err(_) => Err(SubmitError::Unknown(NO_ANSWER)),
        }
    }

    /// Watches a case from now on.
    pub fn watch(&self, case: CaseId) -> Watch {
        self.context.watches.watch(case)
    }

    /// A case, never behind what was acknowledged.
    ///
    /// # Errors
    /// When there is none, or it cannot be read.
    pub async fn case(&self, case: CaseId) -> Result<Case, CaseError> {
        // a long history is folded on the engine's threads: the door's serve others. It ends when nobody
        // waits for it any more
        let (context, mut loading) = (self.context.clone(), JoinSet::new());
        loading.spawn_on(async move { context.load(case).await }, &self.context.runtime);
        let broken = || CaseError::Unavailable("the read broke off".to_owned());
        let loaded = loading.join_next().await.and_then(Result::ok).ok_or_else(broken)?;
        let loaded = match loaded {
            Ok(loaded) => loaded,
            Err(error) => {
                if error.is_of_the_case() {
                    // whoever meets it first has a person told
                    self.context.quarantine(case, error.to_string().into()).await;
                }
                return Err(case_error(error));
            }
        };
        let quarantined = self.context.cases.quarantined(case);
        Ok(Case { definition: loaded.definition, state: loaded.state, quarantined })
    }

    /// Why a case is out of service, if it is.
    pub fn quarantined(&self, case: CaseId) -> Option<Arc<str>> {
        self.context.cases.quarantined(case)
    }

    /// Tells a case what somebody asks of it.
    ///
    /// # Errors
    /// When it does not carry it out.
    pub async fn command(
        &self,
        case: CaseId,
        command: Command,
        meta: CommandMeta,
    ) -> Result<CaseReply, CommandError> {
        let carrying_out = self.carry_out(case, command, meta);
        let told = tokio::time::timeout(ANSWER_WITHIN, carrying_out).await;
        told.unwrap_or(Err(CommandError::Unknown(NO_ANSWER)))
    }

    async fn carry_out(
        &self,
        case: CaseId,
        command: Command,
        meta: CommandMeta,
    ) -> Result<CaseReply, CommandError> {
        let retry = matches!(command, Command::Retry { .. });
        if !retry || self.context.cases.quarantined(case).is_none() {
            return self.context.tell(case, command, meta).await;
        }
        if !matches!(command, Command::Retry { task: None, outcome: None, output: None, .. }) {
            let detail =
                "the case is out of service: take it back first by a retry that says no more";
            let detail = detail.to_owned();
            return Err(Rejection::Conflict { detail, allowed: vec!["retry"] }.into());
        }
        // taken back into service, it goes on where it stands
        let context = self.context.clone();
        let releasing = carry_through(async move { context.release(case, meta.by).await });
        let released = releasing.await.unwrap_or_else(Err);
        released.map_err(CommandError::Unavailable)?;
        self.context.tell(case, Command::Recover, CommandMeta::engine()).await
    }

    /// A case's history from a version on.
    ///
    /// # Errors
    /// When there is no such case, or what comes before cannot be read.
    pub async fn history(&self, case: CaseId, from: u64) -> Result<History, CaseError> {
        let context = self.context.clone();
        let snapshot = context.snapshot(case);
        let (journal, definitions) = (&context.journal, &context.definitions);
        let fold = load_before(journal, definitions, case, snapshot, from).await;
        let fold = fold.map_err(case_error)?;
        if fold.state.is_none() {
            let first = context.journal.read(Entity::from(case), 1, 1).await;
            if first.map_err(|e| CaseError::Unavailable(e.to_string()))?.records.is_empty() {
                return Err(CaseError::NotFound);
            }
        }
        Ok(History::new(context, fold, from))
    }

    /// The stories of a case's tasks, ended ones too.
    ///
    /// # Errors
    /// When there is no such case, or it cannot be read.
    pub async fn stories(&self, case: CaseId) -> Result<Vec<Story>, CaseError> {
        let context = self.context.clone();
        let mut reading = JoinSet::new();
        reading.spawn_on(async move { stories(&context, case).await }, &self.context.runtime);
        let broken = || CaseError::Unavailable("the read broke off".to_owned());
        reading.join_next().await.and_then(Result::ok).ok_or_else(broken)?
    }

    /// Registers a definition.
    ///
    /// # Errors
    /// Every fault of the text, or that the version is taken.
    pub async fn register(
        &self,
        text: String,
        format: Format,
        by: By,
    ) -> Result<Registration, Refused> {
        if let Some(refusal) = self.context.intake.refusal() {
            return Err(Refused::Failed(refusal.to_owned()));
        }
        let context = self.context.clone();
        let registering = async move {
            let end = context.journal.end().await;
            let end = end.map_err(|error| Refused::Failed(error.to_string()))?;
            let admit = |definition: &Definition| context.schedules.admit(definition);
            let registered = context.definitions.register(text, format, by, admit).await?;
            let definition = context.definitions.get(&registered.id).await.ok().flatten();
            for queue in definition.iter().flat_map(|known| &known.queues) {
                context.work.served(queue);
            }
            if let Some(definition) = &definition {
                let waits = context.started.load(Ordering::Acquire);
                context.schedules.registered(definition, EventCursor(end.0), waits).await;
            }
            Ok(registered)
        };
        carry_through(registering).await.unwrap_or_else(|broken| Err(Refused::Failed(broken)))
    }

    /// All definitions, by namespace, name and version.
    pub fn definitions(&self) -> Vec<Listed> {
        self.context.definitions.list()
    }

    /// The identity that a namespace, name and version (none: the latest) stand for.
    pub fn resolve(
        &self,
        namespace: &str,
        name: &str,
        version: Option<&str>,
    ) -> Option<DefinitionId> {
        self.context.definitions.resolve(namespace, name, version)
    }

    /// A definition; none: it is stored, and cannot be read.
    ///
    /// # Errors
    /// When it cannot be read now.
    pub async fn definition(
        &self,
        id: &DefinitionId,
    ) -> Result<Option<Arc<Definition>>, ReadError> {
        self.context.definitions.get(id).await
    }

    /// Stores events, all or none. How many were new.
    ///
    /// # Errors
    /// When none was stored.
    pub async fn store_events(&self, events: &[CloudEvent], by: By) -> Result<usize, String> {
        self.context.store_events(events, by).await
    }

    /// All services, by name.
    pub fn services(&self) -> Vec<Arc<ServiceHandle>> {
        self.context.services.list()
    }

    /// A service.
    pub fn service(&self, name: &str) -> Option<Arc<ServiceHandle>> {
        self.context.services.find(name)
    }

    /// An operator holds a service.
    ///
    /// # Errors
    /// When it cannot be stored.
    pub async fn isolate(
        &self,
        served: &ServiceHandle,
        reason: String,
        until: Timestamp,
        by: By,
    ) -> Result<(), String> {
        ask(served, |reply| BreakerMsg::Isolate { reason, until, by, reply }).await?
    }

    /// An operator ends a hold; `false`: there is none.
    ///
    /// # Errors
    /// When it cannot be stored.
    pub async fn release(&self, served: &ServiceHandle, by: By) -> Result<bool, String> {
        ask(served, |reply| BreakerMsg::Release { by, reply }).await?
    }

    /// An operator wants a service tried now; `false`: it is not open.
    ///
    /// # Errors
    /// When its breaker does not answer.
    pub async fn probe(&self, served: &ServiceHandle) -> Result<bool, String> {
        ask(served, |reply| BreakerMsg::Probe { reply }).await
    }

    /// An id for a command from outside.
    pub fn command_id(&self, client: &str, key: &str) -> CommandId {
        let parts: [&[u8]; 3] = [b"command", client.as_bytes(), key.as_bytes()];
        CommandId(crate::domain::ids::Bits::derived(&parts))
    }
}

/// Carries something through to its end, whether or not whoever asked for it still listens: what is
/// committed has to be taken up.
async fn carry_through<T: Send + 'static>(
    work: impl Future<Output = T> + Send + 'static,
) -> Result<T, String> {
    tokio::spawn(work).await.map_err(|_| "it broke off".to_owned())
}

async fn ask<T>(
    served: &ServiceHandle,
    message: impl FnOnce(tokio::sync::oneshot::Sender<T>) -> BreakerMsg,
) -> Result<T, String> {
    let gone = || "the service's breaker begins again; ask once more".to_owned();
    let (reply, answer) = tokio::sync::oneshot::channel();
    let breaker = served.breaker().ok_or_else(gone)?;
    breaker.cast(message(reply)).map_err(|_| gone())?;
    answer.await.map_err(|_| gone())
}

/// Why a case cannot be shown that cannot be loaded.
pub(super) fn case_error(error: LoadError) -> CaseError {
    match error {
        LoadError::NotFound => CaseError::NotFound,
        error if error.is_of_the_case() => CaseError::Quarantined(error.to_string()),
        error => CaseError::Unavailable(error.to_string()),
    }
}
