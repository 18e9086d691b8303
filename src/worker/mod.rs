//! `caseworker worker`: does jobs of queues by programs that know nothing of us: a child for each job, or one
//! child for many. It speaks the API as any worker would, and needs nothing else of this crate.

mod attend;
mod child;
mod documents;
mod group;
mod health;
mod job;
mod looping;
mod process;
mod said;
mod server;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::task::JoinSet;

use attend::attend;
use job::{Doer, Job};
pub use server::Server;
use server::{Asked, Refusal};

/// How long one waits for a job where there are several queues, all empty, and where there is one.
const WAIT_IN_TURN: u64 = 2;
const WAIT: u64 = 20;

/// Between two tries to reach a server, at first and at the most.
const AGAIN: Duration = Duration::from_millis(200);
const AGAIN_MOST: Duration = Duration::from_secs(5);

/// What a worker runs for definitions, which nobody does unasked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Allowed {
    Shell,
    Script,
    Container,
    /// Containers have the network.
    Network,
}

impl Allowed {
    /// The queue of such jobs.
    pub fn queue(self) -> Option<&'static str> {
        match self {
            Self::Shell => Some("shell"),
            Self::Script => Some("script"),
            Self::Container => Some("container"),
            Self::Network => None,
        }
    }
}

/// What a worker does, and how.
#[derive(Debug, Clone)]
pub struct Settings {
    pub queues: Vec<String>,
    pub concurrency: usize,
    pub name: String,
    pub host: String,
    /// Seconds of a lease; none: the job's, else the queue's.
    pub lease: Option<u64>,
    /// How long a job may take.
    pub timeout: Duration,
    /// Bytes of memory that a process of a job may have.
    pub memory: Option<u64>,
    /// How long jobs may go on when the worker is told to end.
    pub grace: Duration,
    /// Variables that jobs get of ours, beside PATH, HOME, LANG and TZ.
    pub env: Vec<String>,
    pub health: Option<SocketAddr>,
    /// One child does many jobs.
    pub looping: bool,
    pub allow: Vec<Allowed>,
    /// Nothing: all that it does is what it allows.
    pub command: Vec<String>,
}

/// How a worker ended.
#[derive(Debug, PartialEq, Eq)]
pub enum End {
    /// It was told to, and has nothing any more.
    Drained,
    /// The server does not let it.
    NotAllowed(String),
    NeverReached(String),
    /// It could not begin.
    Failed(String),
}

/// How far the end is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd)]
pub enum Phase {
    Working,
    /// Nothing more is leased.
    Draining,
    /// What is under way is ended and given back.
    Killing,
}

/// What all hands share.
struct Shared {
    settings: Settings,
    server: Server,
    phase: watch::Sender<Phase>,
    /// Whether the server ever answered.
    reached: AtomicBool,
    /// Seconds since the beginning at which it answered last.
    contact: AtomicU64,
    begun: Instant,
    in_hand: AtomicUsize,
}

impl Shared {
    fn has_reached(&self) {
        self.reached.store(true, Ordering::Relaxed);
        self.contact.store(self.begun.elapsed().as_secs(), Ordering::Relaxed);
    }

    fn is_draining(&self) -> bool {
        *self.phase.borrow() != Phase::Working
    }
}

/// Works until `stop` says otherwise.
pub async fn run(settings: Settings, server: Server, stop: impl Future<Output = ()>) -> End {
    let health = settings.health;
    let shared = Arc::new(Shared {
        settings,
        server,
        phase: watch::Sender::new(Phase::Working),
        reached: AtomicBool::new(false),
        contact: AtomicU64::new(0),
        begun: Instant::now(),
        in_hand: AtomicUsize::new(0),
    });
    if let Some(address) = health
        && let Err(error) = health::serve(address, shared.clone()).await
    {
        return End::Failed(format!("--health {address}: {error}"));
    }
    let mut hands = JoinSet::new();
    for number in 0..shared.settings.concurrency {
        hands.spawn(hand(shared.clone(), number));
    }
    tokio::pin!(stop);
    let mut grace = None;
    let mut refused = None;
    loop {
        let over = async {
            match grace {
                Some(until) => tokio::time::sleep_until(until).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            ended = hands.join_next() => match ended {
                None => break,
                Some(Ok(Ok(()))) => {}
                Some(Ok(Err(why))) => {
                    refused.get_or_insert(why);
                    shared.phase.send_replace(Phase::Draining);
                }
                Some(Err(error)) => tracing::error!(%error, "a hand of the worker has crashed"),
            },
            () = &mut stop, if grace.is_none() => {
                tracing::info!("the worker leases nothing more");
                shared.phase.send_if_modified(|phase| {
                    let working = *phase == Phase::Working;
                    if working { *phase = Phase::Draining; }
                    working
                });
                grace = Some(tokio::time::Instant::now() + shared.settings.grace);
            }
            () = over, if *shared.phase.borrow() != Phase::Killing => {
                tracing::warn!("the time is up: what is under way is given back");
                shared.phase.send_replace(Phase::Killing);
            }
        }
    }
    match refused {
        Some(why) => End::NotAllowed(why),
        None if shared.reached.load(Ordering::Relaxed) => End::Drained,
        None => End::NeverReached(shared.server.address()),
    }
}

/// One hand: leases a job, has it done, says what became of it, and so on. An error: it is not let.
async fn hand(shared: Arc<Shared>, number: usize) -> Result<(), String> {
    let settings = &shared.settings;
    let mut doer = Doer::new(settings);
    let mut phase = shared.phase.subscribe();
    let queues = settings.queues.len();
    let (mut turn, mut pause, mut empty) = (number, AGAIN, 0);
    while !shared.is_draining() {
        let queue = &settings.queues[turn % queues];
        turn += 1;
        let wait = match queues {
            1 => WAIT,
            // one waits at none before all were found empty
            _ if empty < queues => 0,
            _ => WAIT_IN_TURN,
        };
        tokio::select! {
            () = doer.rest() => {}
            _ = phase.wait_for(|phase| *phase != Phase::Working) => break,
        }
        let asked = tokio::select! {
            asked = shared.server.lease(settings, queue, wait) => asked,
            // an answer that nobody takes is given back by the server
            _ = phase.wait_for(|phase| *phase != Phase::Working) => break,
        };
        match asked {
            Ok(Asked::Job(job)) => {
                (pause, _, empty) = (AGAIN, shared.has_reached(), 0);
                work(&shared, &mut doer, *job).await;
            }
            Ok(Asked::Nothing) => {
                (pause, _) = (AGAIN, shared.has_reached());
                empty = if wait == 0 { empty + 1 } else { 0 };
            }
            Err(Refusal::NotAllowed(why)) => {
                shared.has_reached();
                return Err(why);
            }
            Err(Refusal::Later(why)) => {
                tracing::warn!(queue, why, "no job could be leased; it is tried again");
                if shared.server.has_answered(&why) {
                    shared.has_reached();
                }
                tokio::select! {
                    () = tokio::time::sleep(pause) => {}
                    _ = phase.wait_for(|phase| *phase != Phase::Working) => break,
                }
                pause = (pause * 2).min(AGAIN_MOST);
            }
        }
    }
    doer.end(settings.grace).await;
    Ok(())
}

/// Does a job and says what became of it.
async fn work(shared: &Arc<Shared>, doer: &mut Doer, job: Job) {
    let begun = Instant::now();
    let held = shared.in_hand.fetch_add(1, Ordering::Relaxed) + 1;
    metrics::gauge!("caseworker_worker_in_hand").set(held as f64);
    let outcome = attend(shared, doer, &job).await;
    let word = outcome.word();
    metrics::counter!("caseworker_worker_jobs_total", "outcome" => word).increment(1);
    metrics::histogram!("caseworker_worker_job_seconds").record(begun.elapsed().as_secs_f64());
    tracing::info!(job = job.id, queue = job.queue, outcome = word, "a job has ended");
    shared.server.end(&job, &outcome, &shared.phase).await;
    let held = shared.in_hand.fetch_sub(1, Ordering::Relaxed) - 1;
    metrics::gauge!("caseworker_worker_in_hand").set(held as f64);
}
