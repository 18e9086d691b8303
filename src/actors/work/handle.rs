//! The handle of one queue: polls are served here without a message; its actor hears only that there is
//! something to do.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ractor::ActorRef;

use super::message::QueueMsg;
use super::poll::Poll;
use crate::domain::time::Timestamp;
use crate::domain::work::desk::Desk;
use crate::domain::work::queue::{Said, Settings};
use crate::domain::work::waiting::Waiting;
use crate::domain::work::worker::Workers;

/// One queue.
pub struct QueueHandle {
    pub name: Arc<str>,
    inner: Mutex<Inner>,
    actor: Mutex<Option<ActorRef<QueueMsg>>>,
    poked: AtomicBool,
}

struct Inner {
    desk: Desk,
    polls: VecDeque<Poll>,
    /// Jobs that are being purged, near enough.
    purging: u64,
}

/// A poll, and the jobs that it is to get.
pub struct Served {
    pub poll: Poll,
    pub jobs: Vec<Waiting>,
}

impl QueueHandle {
    /// A queue of which this was said.
    pub fn new(name: Arc<str>, settings: Settings, said: Said) -> Self {
        let inner = Inner { desk: Desk::new(settings, said), polls: VecDeque::new(), purging: 0 };
        let (actor, poked) = (Mutex::default(), AtomicBool::new(false));
        Self { name, inner: Mutex::new(inner), actor, poked }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks at its desk, or tells it something.
    pub fn desk<T>(&self, look: impl FnOnce(&mut Desk) -> T) -> T {
        look(&mut self.lock().desk)
    }

    /// Jobs that are being purged, near enough.
    pub fn purging(&self) -> u64 {
        self.lock().purging
    }

    /// So many are being purged.
    pub fn set_purging(&self, jobs: u64) {
        self.lock().purging = jobs;
    }

    /// A worker waits from now on.
    pub fn wait(&self, poll: Poll) {
        self.lock().polls.push_back(poll);
    }

    /// A worker waits again, before all others.
    pub fn wait_first(&self, poll: Poll) {
        self.lock().polls.push_front(poll);
    }

    /// A worker does not wait any more. False: it is being given something just now.
    pub fn withdraw(&self, number: u64) -> bool {
        let mut inner = self.lock();
        let before = inner.polls.len();
        inner.polls.retain(|poll| poll.number != number);
        inner.polls.len() < before
    }

    /// Whether any worker waits.
    pub fn is_waited_for(&self) -> bool {
        !self.lock().polls.is_empty()
    }

    /// Takes jobs out for the workers that wait, in the order in which they came.
    pub fn serve(&self, workers: &Mutex<Workers>, now: Timestamp) -> Vec<Served> {
        let mut inner = self.lock();
        let Inner { desk, polls, .. } = &mut *inner;
        let mut served = Vec::new();
        if polls.is_empty() {
            return served;
        }
        let mut workers = workers.lock().unwrap_or_else(PoisonError::into_inner);
        for poll in std::mem::take(polls) {
            if poll.reply.is_closed() {
                continue;
            }
            let jobs = desk.take(&poll.worker, poll.most, &mut workers, now);
            match jobs.is_empty() {
                true => polls.push_back(poll),
                false => served.push(Served { poll, jobs }),
            }
        }
        drop(workers);
        let ready = desk.knows_leases();
        if ready && !polls.is_empty() && (desk.wants_line() || desk.wants_repeats()) {
            drop(inner);
            self.poke();
        }
        served
    }

    /// The process is ending: who waits gets nothing.
    pub fn send_home(&self) {
        self.lock().polls.clear();
    }

    /// Who looks after this queue from now on.
    pub fn attach(&self, actor: ActorRef<QueueMsg>) {
        *self.actor.lock().unwrap_or_else(PoisonError::into_inner) = Some(actor);
        self.poked.store(false, Ordering::Release);
    }

    /// The actor that looks after it.
    pub fn actor(&self) -> Option<ActorRef<QueueMsg>> {
        self.actor.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Tells the actor that there may be something to do; once until it has looked.
    pub fn poke(&self) {
        if !self.poked.swap(true, Ordering::AcqRel)
            && let Some(actor) = self.actor()
        {
            // an error means that it is about to begin again, and looks then
            let _ = actor.cast(QueueMsg::Look);
        }
    }

    /// The actor looks now.
    pub fn looked(&self) {
        self.poked.store(false, Ordering::Release);
    }
}
