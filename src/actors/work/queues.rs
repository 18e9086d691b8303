//! All queues, and who works for them. What cases commit of their jobs comes in here.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use tokio::sync::mpsc;

use super::answered::Answered;
use super::handle::QueueHandle;
use crate::actors::context::Context;
use crate::domain::case::decision_context::Queue;
use crate::domain::ids::{CaseId, Entity, EntityKind};
use crate::domain::time::Timestamp;
use crate::domain::work::job::JobId;
use crate::domain::work::queue::{PDF, QUEUES_MAX, Said, Settings};
use crate::domain::work::row::{JobAt, JobRow};
use crate::domain::work::worker::Workers;
use crate::store::journal::{Journal, ReadError};
use crate::store::queue_events;
use crate::store::views::{TableError, Views};

/// All queues.
pub struct Queues {
    configured: BTreeMap<Arc<str>, Settings>,
    all: RwLock<BTreeMap<Arc<str>, Arc<QueueHandle>>>,
    workers: Mutex<Workers>,
    /// In which queue a job is leased.
    leased: Mutex<HashMap<JobId, Arc<QueueHandle>>>,
    /// Workers that wait.
    pub waiting: AtomicUsize,
    /// What was given under keys.
    pub answered: Answered,
    /// The views were complete once, so that leases of before the start are known.
    filled: AtomicBool,
    /// Told of queues that want an actor.
    added: mpsc::UnboundedSender<Arc<QueueHandle>>,
}

impl Queues {
    /// The configured queues. The second part names every queue that wants an actor, now and later.
    pub fn new(
        configured: BTreeMap<Arc<str>, Settings>,
    ) -> (Self, mpsc::UnboundedReceiver<Arc<QueueHandle>>) {
        let (added, wanted) = mpsc::unbounded_channel();
        let queues = Self {
            all: RwLock::default(),
            workers: Mutex::default(),
            leased: Mutex::default(),
            waiting: AtomicUsize::new(0),
            answered: Answered::default(),
            filled: AtomicBool::new(false),
            added,
            configured,
        };
        (queues, wanted)
    }

    /// Workers, and what they have.
    pub fn workers(&self) -> MutexGuard<'_, Workers> {
        self.workers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The lock of the workers, for whoever holds a queue's already.
    pub(super) fn workers_lock(&self) -> &Mutex<Workers> {
        &self.workers
    }

    /// The queue of this name, if there is one.
    pub fn find(&self, name: &str) -> Option<Arc<QueueHandle>> {
        self.all.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }

    /// All queues, by name.
    pub fn list(&self) -> Vec<Arc<QueueHandle>> {
        self.all.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    /// The queue of this name; one is made where there is none. None: there are too many.
    pub fn served(&self, name: &str) -> Option<Arc<QueueHandle>> {
        if let Some(known) = self.find(name) {
            return Some(known);
        }
        self.add(name, Said::default())
    }

    fn add(&self, name: &str, said: Said) -> Option<Arc<QueueHandle>> {
        let mut all = self.all.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = all.get(name) {
            return Some(known.clone());
        }
        if all.len() >= QUEUES_MAX {
            return None;
        }
        let name: Arc<str> = name.into();
        let settings = self.configured.get(&name).copied().unwrap_or_default();
        let queue = Arc::new(QueueHandle::new(name.clone(), settings, said));
        if self.filled.load(Ordering::Acquire) {
            queue.desk(|desk| desk.is_ready());
        }
        // an error means that the process is ending
        let _ = self.added.send(queue.clone());
        all.insert(name, queue.clone());
        Some(queue)
    }

    /// A queue, as a decision sees it.
    pub fn seen(&self, name: &str) -> Option<Queue> {
        let queue = self.served(name)?;
        Some(queue.desk(|desk| Queue { aging: desk.settings().aging, purged: desk.said().purged }))
    }

    /// In which queue a job is leased.
    pub fn leasing(&self, job: JobId) -> Option<Arc<QueueHandle>> {
        self.lock_leased().get(&job).cloned()
    }

    fn lock_leased(&self) -> MutexGuard<'_, HashMap<JobId, Arc<QueueHandle>>> {
        self.leased.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A case has committed what becomes of its jobs. The queues in which somebody may be served now.
    pub fn committed(
        &self,
        case: CaseId,
        (before, after): (&[JobRow], &[JobRow]),
        now: Timestamp,
    ) -> Vec<Arc<QueueHandle>> {
        let mut queues: Vec<Arc<QueueHandle>> = Vec::new();
        let mut concerned = |queue: Arc<QueueHandle>| {
            if !queues.iter().any(|known| known.name == queue.name) {
                queues.push(queue);
            }
        };
        for row in before {
            let goes_on = after.iter().any(|now| now.key == row.key);
            if !goes_on && let Some(queue) = self.find(&row.queue) {
                let id = row.id(case);
                self.lock_leased().remove(&id);
                queue.desk(|desk| desk.gone(id, &mut self.workers(), now));
                concerned(queue);
            }
        }
        for row in after.iter().filter(|row| !before.contains(row)) {
            let Some(queue) = self.served(&row.queue) else { continue };
            let id = row.id(case);
            match &row.at {
                JobAt::Leased(_) => drop(self.lock_leased().insert(id, queue.clone())),
                JobAt::Queued { .. } => drop(self.lock_leased().remove(&id)),
            }
            let is_new = !before.iter().any(|known| known.key == row.key);
            queue.desk(|desk| {
                if is_new {
                    desk.came(now);
                }
                desk.committed(case, row, &mut self.workers(), now);
            });
            concerned(queue);
        }
        queues
    }

    /// What the views show of a job from now on.
    pub fn shown(&self, case: CaseId, row: &JobRow, now: Timestamp) -> Option<Arc<QueueHandle>> {
        let queue = self.served(&row.queue)?;
        queue.desk(|desk| desk.shown(case, row, &mut self.workers(), now));
        if queue.desk(|desk| desk.leases().contains_key(&row.id(case))) {
            self.lock_leased().insert(row.id(case), queue.clone());
        }
        Some(queue)
    }

    /// The views are complete: they know all jobs, and whoever has one.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn views_are_filled(&self, views: &Views, now: Timestamp) -> Result<(), TableError> {
        for name in views.queues_with_jobs()? {
            self.served(&name);
        }
        self.read_leases(views, now)?;
        // a queue that is new from now on has no lease of before
        self.filled.store(true, Ordering::Release);
        self.read_leases(views, now)?;
        for queue in self.list() {
            queue.desk(|desk| desk.expect_more());
            queue.poke();
        }
        Ok(())
    }

    fn read_leases(&self, views: &Views, now: Timestamp) -> Result<(), TableError> {
        for queue in self.list() {
            if !queue.desk(|desk| desk.knows_leases()) {
                for (case, row) in views.jobs_leased(&queue.name)? {
                    self.shown(case, &row, now);
                }
                queue.desk(|desk| desk.is_ready());
            }
        }
        Ok(())
    }
}

impl Context {
    /// Makes the queues that the configuration or the journal names.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub async fn load_queues(&self) -> Result<(), ReadError> {
        for entity in self.journal.entities(EntityKind::Queue).await? {
            match self.load_queue(entity).await {
                Ok(Some((name, said))) => drop(self.work.add(&name, said)),
                Ok(None) => {}
                Err(error) if !error.damaged => return Err(error),
                Err(error) => {
                    tracing::error!(%error, "what was said of a queue is damaged");
                }
            }
        }
        // whoever renders documents waits there before a definition names it
        self.work.served(PDF);
        let configured = self.work.configured.keys().cloned();
        for name in configured.chain(self.definitions.queues().await?) {
            self.work.served(&name);
        }
        Ok(())
    }

    /// What was said of a queue, and its name.
    async fn load_queue(&self, entity: Entity) -> Result<Option<(Arc<str>, Said)>, ReadError> {
        const PAGE: usize = 256;
        let (mut said, mut name, mut from) = (Said::default(), None, 1);
        loop {
            let page = self.journal.read(entity, from, PAGE).await?;
            for record in &page.records {
                match queue_events::decode(record) {
                    Ok((version, queue, event)) => {
                        said.evolve(&event);
                        (name, from) = (Some(queue), version + 1);
                    }
                    Err(why) => {
                        tracing::error!(why, "what was said of a queue cannot be read");
                        return Ok(name.map(|name| (name, said)));
                    }
                }
            }
            if page.all {
                return Ok(name.map(|name| (name, said)));
            }
        }
    }
}
