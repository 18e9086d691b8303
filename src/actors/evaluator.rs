//! Expressions that may run for long: threads of their own, few of them, with a deep stack and a
//! time after which they are left behind.
//!
//! Fuel ends nearly all of them in time. One that does not (a single step that takes for ever) is
//! abandoned with its thread; it is counted, and its expression is not evaluated again.

use std::collections::HashSet;
use std::sync::mpsc;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::Value as Json;
use tokio::sync::oneshot;

use crate::domain::data::Data;
use crate::domain::workflow::expr::meter::{Limits, Overrun};
use crate::domain::workflow::expr::{Expr, Failure, Used};
use crate::domain::workflow::model::DefinitionId;

/// Threads that evaluate.
const THREADS: usize = 2;

/// Threads that may be left behind; from then on nothing is evaluated here any more.
const ABANDONED_MAX: usize = 4;

/// How long one evaluation may take, its wait for a thread included.
const PATIENCE: Duration = Duration::from_secs(10);

/// An evaluation to be made.
#[derive(Clone)]
pub struct Job {
    pub definition: DefinitionId,
    pub expr: Expr,
    pub input: Data,
    pub bound: Vec<(Used, Arc<Json>)>,
}

type Evaluated = Result<Json, Failure>;

struct Work {
    job: Job,
    answer: oneshot::Sender<Evaluated>,
}

/// The threads and what they were given.
pub struct Evaluator {
    work: mpsc::SyncSender<Work>,
    queue: Arc<Mutex<mpsc::Receiver<Work>>>,
    abandoned: Mutex<usize>,
    blocked: Mutex<HashSet<(DefinitionId, Arc<str>)>>,
}

impl Evaluator {
    /// Starts the threads.
    pub fn start() -> Self {
        // a decision waits for its evaluation, so the queue is as long as there are live cases
        let (work, queue) = mpsc::sync_channel(64);
        let queue = Arc::new(Mutex::new(queue));
        for _ in 0..THREADS {
            spawn(queue.clone());
        }
        let blocked = Mutex::new(HashSet::new());
        Self { work, queue, abandoned: Mutex::new(0), blocked }
    }

    /// Evaluates. An overrun is a failure of the expression.
    pub async fn evaluate(&self, job: Job) -> Evaluated {
        let key = (job.definition.clone(), job.expr.source.clone());
        let blocked = || self.blocked.lock().unwrap_or_else(PoisonError::into_inner);
        if blocked().contains(&key) {
            return Err(Failure::Overrun(Overrun::Fuel));
        }
        let (answer, answered) = oneshot::channel();
        let mut work = Work { job, answer };
        loop {
            match self.work.try_send(work) {
                Ok(()) => break,
                Err(mpsc::TrySendError::Full(back)) => {
                    work = back;
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
                Err(mpsc::TrySendError::Disconnected(_)) => {
                    return Err(Failure::Error("nothing is evaluated any more".to_owned()));
                }
            }
        }
        match tokio::time::timeout(PATIENCE, answered).await {
            Ok(Ok(evaluated)) => evaluated,
            Ok(Err(_)) => Err(Failure::Error("the evaluation broke off".to_owned())),
            Err(_) => {
                blocked().insert(key.clone());
                self.abandon(&key.0, &key.1);
                Err(Failure::Overrun(Overrun::Fuel))
            }
        }
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
            spawn(self.queue.clone());
        }
    }
}

fn spawn(queue: Arc<Mutex<mpsc::Receiver<Work>>>) {
    let run = move || {
        loop {
            let next = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
            let Ok(Work { job, answer }) = next else { return };
            let bind = |wanted: &Used| {
                let found = job.bound.iter().find(|(used, _)| used == wanted);
                found.map(|(_, value)| value.clone()).unwrap_or_default()
            };
            let evaluated = job.expr.evaluate(&job.input, bind, Limits::APART);
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
