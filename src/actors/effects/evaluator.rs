//! Expressions that may run for long: threads of their own, few of them, with a deep stack and a
//! time after which they are left behind. Definitions take turns, so that one with many slow
//! expressions does not hold up the others.
//!
//! Fuel and memory end nearly all of them in time. One that does not (a single step that takes for
//! ever) is abandoned with its thread; it is counted, and its expression is not evaluated again.

use std::collections::{HashMap, HashSet, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::Value as Json;
use tokio::sync::{Semaphore, oneshot};

use crate::domain::data::Data;
use crate::domain::time::Timestamp;
use crate::domain::workflow::expr::meter::{Limits, Overrun};
use crate::domain::workflow::expr::{Expr, Failure, Used};
use crate::domain::workflow::model::DefinitionId;

/// Threads that evaluate.
const THREADS: usize = 2;

/// Threads that may be left behind; from then on nothing is evaluated here any more.
const ABANDONED_MAX: usize = 4;

/// Evaluations that wait for a thread at the most; who comes then waits for its place.
const QUEUED: usize = 1024;

/// How long one evaluation may take, from when it begins.
const PATIENCE: Duration = Duration::from_secs(10);

/// Parts in which that time is waited through.
const SLICES: u32 = 20;

/// An evaluation to be made.
#[derive(Clone)]
pub struct Job {
    pub definition: DefinitionId,
    pub expr: Expr,
    pub input: Data,
    pub bound: Vec<(Used, Arc<Json>)>,
    /// The time of the decision.
    pub now: Timestamp,
}

type Evaluated = Result<Json, Failure>;

struct Work {
    job: Job,
    begun: oneshot::Sender<()>,
    answer: oneshot::Sender<Evaluated>,
}

/// What waits, by definition, and whose turn it is.
#[derive(Default)]
struct Queue {
    waiting: HashMap<DefinitionId, VecDeque<Work>>,
    turns: VecDeque<DefinitionId>,
}

#[derive(Default)]
struct Shared {
    queue: Mutex<Queue>,
    more: Condvar,
}

/// The threads and what they were given.
pub struct Evaluator {
    shared: Arc<Shared>,
    places: Semaphore,
    abandoned: Mutex<usize>,
    blocked: Mutex<HashSet<(DefinitionId, Arc<str>)>>,
}

impl Evaluator {
    /// Starts the threads.
    pub fn start() -> Self {
        let shared = Arc::new(Shared::default());
        for _ in 0..THREADS {
            spawn(shared.clone());
        }
        Self {
            shared,
            places: Semaphore::new(QUEUED),
            abandoned: Mutex::new(0),
            blocked: Mutex::default(),
        }
    }

    /// Evaluates. An overrun is a failure of the expression.
    pub async fn evaluate(&self, job: Job) -> Evaluated {
        let key = (job.definition.clone(), job.expr.source.clone());
        let blocked = || self.blocked.lock().unwrap_or_else(PoisonError::into_inner);
        if blocked().contains(&key) {
            return Err(Failure::Overrun(Overrun::Time));
        }
        if self.abandoned() > ABANDONED_MAX {
            return Err(Failure::Error("nothing is evaluated any more".to_owned()));
        }
        let broke_off = || Failure::Error("the evaluation broke off".to_owned());
        let Ok(_place) = self.places.acquire().await else { return Err(broke_off()) };
        let (begun, begins) = oneshot::channel();
        let (answer, answered) = oneshot::channel();
        self.shared.push(Work { job, begun, answer });
        begins.await.map_err(|_| broke_off())?;
        // in slices: while the whole process stands still, no more than one of them is counted
        let mut answered = answered;
        for _ in 0..SLICES {
            match tokio::time::timeout(PATIENCE / SLICES, &mut answered).await {
                Ok(Ok(evaluated)) => return evaluated,
                Ok(Err(_)) => return Err(broke_off()),
                Err(_) => {}
            }
        }
        blocked().insert(key.clone());
        self.abandon(&key.0, &key.1);
        Err(Failure::Overrun(Overrun::Time))
    }

    /// Threads that were left behind.
    pub fn abandoned(&self) -> usize {
        *self.abandoned.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn abandon(&self, definition: &DefinitionId, source: &str) {
        let mut abandoned = self.abandoned.lock().unwrap_or_else(PoisonError::into_inner);
        *abandoned += 1;
        tracing::error!(%definition, source, abandoned = *abandoned, "an expression does not end");
        if *abandoned <= ABANDONED_MAX {
            spawn(self.shared.clone());
        } else {
            // whoever waits is told, since nobody will come to it
            self.shared.lock().waiting.clear();
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, work: Work) {
        let mut queue = self.lock();
        let definition = work.job.definition.clone();
        let waiting = queue.waiting.entry(definition.clone()).or_default();
        waiting.push_back(work);
        if waiting.len() == 1 {
            queue.turns.push_back(definition);
        }
        drop(queue);
        self.more.notify_one();
    }

    /// The next piece of work, as soon as there is one.
    fn take(&self) -> Work {
        let mut queue = self.lock();
        loop {
            if let Some(definition) = queue.turns.pop_front() {
                let waiting = queue.waiting.get_mut(&definition);
                let work = waiting.and_then(VecDeque::pop_front);
                match queue.waiting.get(&definition) {
                    Some(rest) if !rest.is_empty() => queue.turns.push_back(definition),
                    _ => {
                        queue.waiting.remove(&definition);
                    }
                }
                if let Some(work) = work {
                    return work;
                }
                continue;
            }
            queue = self.more.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

fn spawn(shared: Arc<Shared>) {
    let run = move || {
        loop {
            let Work { job, begun, answer } = shared.take();
            if begun.send(()).is_err() {
                // nobody waits for it any more
                continue;
            }
            let bind = |wanted: &Used| {
                let found = job.bound.iter().find(|(used, _)| used == wanted);
                found.map(|(_, value)| value.clone()).unwrap_or_default()
            };
            let evaluate = || job.expr.evaluate(&job.input, bind, Limits::APART.at(job.now.0));
            // a fault of ours in one expression leaves the thread to the others
            let evaluated = catch_unwind(AssertUnwindSafe(evaluate))
                .unwrap_or_else(|_| Err(Failure::Error("the evaluation broke off".to_owned())));
            let _ = answer.send(evaluated);
        }
    };
    let spawned = std::thread::Builder::new()
        .name("expression".to_owned())
        .stack_size(Limits::APART_STACK)
        .spawn(run);
    if let Err(error) = spawned {
        tracing::error!(%error, "no thread for expressions");
    }
}
