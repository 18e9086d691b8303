//! The engine: builds what the actors share, brings the views up to date, starts the tree, and
//! stops it again in order.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use ractor::{ActorRef, ActorRuntime};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use super::disk::free_bytes;
use crate::actors::cases::cancelling::Cancelling;
use crate::actors::cases::intake::Intake;
use crate::actors::cases::kind::CaseRegistry;
use crate::actors::cases::submit::random;
use crate::actors::cases::wants::Wants;
use crate::actors::cases::watches::Watches;
use crate::actors::context::Context;
use crate::actors::definitions::{Around, Definitions};
use crate::actors::effects::attempts::Attempts;
use crate::actors::effects::call_resources::{self, CallResources};
use crate::actors::effects::dispatcher::Dispatcher;
use crate::actors::effects::evaluator::Evaluator;
use crate::actors::events_in_hand::EventsInHand;
use crate::actors::handles::Handle;
use crate::actors::housekeeper::HousekeeperArgs;
use crate::actors::projection::feed::Feed;
use crate::actors::projection::fresh::FreshNews;
use crate::actors::recovery::careful_start::CarefulStart;
use crate::actors::recovery::run_file::{RunFile, Start};
use crate::actors::root::{RootActor, RootArgs, RootMsg};
use crate::actors::schedules::handle::ScheduleHandle;
use crate::actors::schedules::registry::Schedules;
use crate::actors::services::handle::ServiceHandle;
use crate::actors::services::registry::Services;
use crate::actors::staff::board::Staff;
use crate::actors::timers::near::Timers;
use crate::actors::work::handle::QueueHandle;
use crate::actors::work::queues::Queues;
use crate::clock::Clock;
use crate::domain::ids::Entity;
use crate::domain::service::circuit::Standing;
use crate::domain::service::settings::Settings;
use crate::domain::time::Timestamp;
use crate::effects::email::Post;
use crate::effects::http::Http;
use crate::store::EngineJournal;
use crate::store::documents::Documents;
use crate::store::journal::{Journal, ReadError, RecordCursor};
use crate::store::logs::Logs;
use crate::store::record;
use crate::store::snapshots::Snapshots;
use crate::store::transitions::{self, Stored};
use crate::store::views::Views;

/// How long calls under way may take to end when the process does.
const DRAIN: Duration = Duration::from_millis(1200);

/// What the engine is built of.
pub struct Parts {
    pub clock: Clock,
    pub journal: EngineJournal,
    pub views: Views,
    pub snapshots: Snapshots,
    pub services: Vec<Settings>,
    pub allow_unknown_hosts: bool,
    pub http: Http,
    pub post: Option<Post>,
    /// Calls under way at the same time, over all services.
    pub max_requests: usize,
    pub secrets: Option<PathBuf>,
    /// The data folder.
    pub folder: PathBuf,
    pub min_free: u64,
    /// How tasks are given to people.
    pub staff: crate::domain::staff::settings::Settings,
    pub logs: Logs,
    /// Queues that the configuration names.
    pub documents: Documents,
    /// What documents are made by.
    pub documents_by: crate::store::templates::Templates,
    pub queues: BTreeMap<Arc<str>, crate::domain::work::queue::Settings>,
    /// What an admin picks tasks from.
    pub catalogue: crate::domain::staff::catalogue::Catalogue,
    /// What notices are written by.
    pub templates: crate::domain::staff::notice::letter::Templates,
    pub live_max: usize,
    pub pending_max: usize,
    /// Told when the process has to end, and why.
    pub fatal: mpsc::UnboundedSender<String>,
}

/// The engine, built and not started.
pub struct Engine {
    context: Arc<Context>,
    parts: HousekeeperArgs,
    wanted: mpsc::UnboundedReceiver<Arc<ServiceHandle>>,
    wanted_queues: mpsc::UnboundedReceiver<Arc<QueueHandle>>,
    wanted_schedules: mpsc::UnboundedReceiver<Arc<ScheduleHandle>>,
    fatal: mpsc::UnboundedSender<String>,
}

/// The engine while it runs.
pub struct Running {
    context: Arc<Context>,
    root: ActorRef<RootMsg>,
    tree: tokio::task::JoinHandle<()>,
}

impl Engine {
    /// Builds what the actors share.
    ///
    /// # Errors
    /// Why it cannot start.
    pub async fn build(parts: Parts) -> Result<Self, String> {
        let Parts { clock, journal, views, snapshots, services, allow_unknown_hosts, .. } = parts;
        let named =
            as_they_stood(&journal, services, clock.now()).await.map_err(|e| e.to_string())?;
        let lines = views.clone();
        let waits = move |name: &str| lines.line(name, 1).is_ok_and(|line| !line.is_empty());
        let (services, wanted) =
            Services::new(named, allow_unknown_hosts, clock.clone(), Box::new(waits));
        let hosts: Vec<String> =
            services.list().iter().flat_map(|s| s.settings.hosts.clone()).collect();
        let secrets = parts.secrets.clone();
        let around = Around {
            serves: Box::new(move |host| hosts.iter().any(|h| h == host)),
            has_secret: Box::new(move |name| {
                secrets
                    .as_deref()
                    .is_some_and(|folder| call_resources::secret(folder, name).is_some())
            }),
        };
        let services = Arc::new(services);
        let (work, wanted_queues) = Queues::new(parts.queues);
        let (schedules, wanted_schedules) = Schedules::new();
        let resources = Arc::new(CallResources::new(clock.clone(), parts.secrets));
        let hands = (parts.http, parts.post);
        let (of_services, of_calls) = (services.clone(), resources.clone());
        let dispatcher = Dispatcher::new(
            clock.clone(),
            of_services,
            of_calls,
            hands,
            parts.max_requests,
            parts.documents.clone(),
        );
        let definitions = Definitions::open(journal.clone(), clock.clone(), around).await;
        let seed = u64::from_le_bytes(random()[..8].try_into().unwrap_or_default());
        let context = Arc::new(Context {
            runtime: tokio::runtime::Handle::current(),
            journal,
            views,
            snapshots,
            definitions: definitions.map_err(|e| e.to_string())?,
            services,
            evaluator: Evaluator::start(),
            resources,
            dispatcher,
            watches: Watches::default(),
            timers: Timers::default(),
            feed: Feed::default(),
            fresh_news: FreshNews::default(),
            cases: Arc::new(CaseRegistry::new(parts.live_max)),
            staff: Staff::new(parts.staff, parts.catalogue, parts.templates),
            logs: parts.logs,
            documents: parts.documents,
            templates: parts.documents_by,
            work,
            schedules,
            wants: Wants::default(),
            cancelling: Cancelling::default(),
            events_in_hand: EventsInHand::default(),
            attempts: Attempts::default(),
            careful_start: CarefulStart::default(),
            disk: (parts.folder.clone(), parts.min_free),
            begun: clock.now(),
            started: AtomicBool::new(false),
            stopping: AtomicBool::new(false),
            intake: Intake::new(parts.pending_max),
            projected: watch::Sender::new(RecordCursor::default()),
            seeds: AtomicU64::new(seed),
            clock,
        });
        let (folder, min_free, fatal) = (parts.folder, parts.min_free, parts.fatal);
        let free = free_bytes(&folder).map_err(|e| e.to_string())?;
        context.intake.set_disk_full(free < min_free);
        context.load_quarantines().await.map_err(|e| e.to_string())?;
        context.load_staff().await.map_err(|e| e.to_string())?;
        context.load_queues().await.map_err(|e| e.to_string())?;
        context.load_schedules().await.map_err(|e| e.to_string())?;
        let parts = HousekeeperArgs { context: context.clone(), folder, min_free };
        Ok(Self { context, parts, wanted, wanted_queues, wanted_schedules, fatal })
    }

    /// What the API may use.
    pub fn handle(&self) -> Handle {
        Handle::new(self.context.clone())
    }

    /// Does not start after all: the files are closed in good order.
    pub async fn give_up(self) {
        if let Err(error) = close_files(&self.context).await {
            tracing::warn!(error, "the files were not closed in good order");
        }
    }

    /// Starts the actors.
    ///
    /// # Errors
    /// Why they cannot be started.
    pub async fn start(self) -> Result<Running, String> {
        let Self { context, parts, wanted, wanted_queues, wanted_schedules, fatal } = self;
        let begun = RunFile::begin(&parts.folder, context.clock.now());
        let (run, Start { careful, culprit }) = begun.map_err(|e| e.to_string())?;
        if let Some(case) = culprit {
            let reason = "it was being woken when the process ended uncleanly, twice";
            context.quarantine(case, reason.into()).await;
        }
        context.careful_start.begin(run, careful).await;
        let args = RootArgs { housekeeper: parts, wanted, wanted_queues, wanted_schedules, fatal };
        let spawned = ActorRuntime::spawn(Some("root".to_owned()), RootActor, args).await;
        let (root, tree) = spawned.map_err(|e| e.to_string())?;
        context.started.store(true, Ordering::Release);
        Ok(Running { context, root, tree })
    }
}

impl Running {
    /// Stops: nothing more comes in, calls under way end, then the actors, then the files.
    pub async fn stop(self) {
        self.context.stopping.store(true, Ordering::Release);
        self.context.intake.close();
        self.context.services.close();
        self.context.work.list().iter().for_each(|queue| queue.send_home());
        let until = Instant::now() + DRAIN;
        while self.context.services.in_flight() > 0 && Instant::now() < until {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        self.root.stop(None);
        let _ = tokio::time::timeout(Duration::from_millis(500), self.tree).await;
        if let Err(error) = close_files(&self.context).await {
            tracing::warn!(error, "the files were not closed in good order");
        } else if let Err(error) = self.context.careful_start.end().await {
            tracing::warn!(%error, "the end of the run cannot be noted");
        }
    }
}

/// Closes the journal, then the views, so that the next start believes them.
async fn close_files(context: &Context) -> Result<(), String> {
    context.journal.close().await;
    let logs = context.logs.clone();
    let _ = tokio::task::spawn_blocking(move || logs.close()).await;
    let views = context.views.clone();
    let closed = tokio::task::spawn_blocking(move || views.close()).await;
    closed.map_err(|e| e.to_string())?.map_err(|e| e.to_string())
}

/// The services with their breakers in the states that the journal has of them.
async fn as_they_stood(
    journal: &EngineJournal,
    services: Vec<Settings>,
    now: Timestamp,
) -> Result<Vec<(Settings, Standing)>, ReadError> {
    let mut named = Vec::new();
    for settings in services {
        let mut standing = Standing::default();
        match journal.last(Entity::service(&settings.name)).await {
            Ok(Some(last)) => {
                if let Ok((header, events)) = record::decode(&last.record)
                    && let Ok(Stored { transition, paused_until, .. }) = transitions::decode(events)
                {
                    let times = (header.at, now);
                    standing = Standing::of(&transition, paused_until, times, &settings.breaker);
                } else {
                    tracing::error!(service = %settings.name, "its last transition cannot be read");
                }
            }
            Ok(None) => {}
            Err(error) if error.damaged => {
                tracing::error!(service = %settings.name, %error, "its last transition is damaged");
            }
            Err(error) => return Err(error),
        }
        named.push((settings, standing));
    }
    Ok(named)
}
