//! Tasks for which nobody was found: they are looked for again when somebody has time or a skill that they
//! did not have, by priority, due and age, one after the other; never by polling.
//!
//! The views have all of them, after a while; whoever has just begun to wait is known here, and whoever
//! looked before something came free looks again at once.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, oneshot};

use crate::actors::context::Context;
use crate::domain::case::command::Command;
use crate::domain::ids::CaseId;

/// Cases that are read from the index in one go.
const AT_ONCE: usize = 8;

/// How long the next one waits for the one before it at the longest.
const LOOKS: Duration = Duration::from_millis(500);

/// Cases that have just begun to wait, at the most; the oldest are in the views by then.
const FRESH: usize = 10_000;

/// Between two looks at what cannot be read.
const AGAIN: Duration = Duration::from_secs(1);

/// What is known of those who wait.
#[derive(Default)]
pub struct Waiting {
    shared: Mutex<Shared>,
    more: Notify,
}

#[derive(Default)]
struct Shared {
    /// Counts what came free.
    freed: u64,
    /// When something of a skill came free last.
    by_skill: HashMap<Arc<str>, u64>,
    /// Skills of which something has come free and nobody has looked.
    due: Vec<Arc<str>>,
    /// Those who have just begun to wait.
    fresh: VecDeque<(Arc<str>, CaseId)>,
    /// The one whose turn it is, and who waits for it.
    looking: Option<(CaseId, oneshot::Sender<()>)>,
}

impl Waiting {
    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How much has come free so far.
    pub fn seen(&self) -> u64 {
        self.lock().freed
    }

    /// Waits until somebody has looked for people for a case.
    fn looks(&self, case: CaseId) -> oneshot::Receiver<()> {
        let (told, looked) = oneshot::channel();
        self.lock().looking = Some((case, told));
        looked
    }

    /// Somebody has looked for people for a case, and holds what was found.
    pub fn has_looked(&self, case: CaseId) {
        let mut shared = self.lock();
        if shared.looking.as_ref().is_some_and(|(known, _)| *known == case)
            && let Some((_, told)) = shared.looking.take()
        {
            // nobody who waits is no fault
            let _ = told.send(());
        }
    }

    /// Something of these skills has come free.
    pub fn freed(&self, skills: &[Arc<str>]) {
        let mut shared = self.lock();
        shared.freed += 1;
        let now = shared.freed;
        for skill in skills {
            shared.by_skill.insert(skill.clone(), now);
            if !shared.due.contains(skill) {
                shared.due.push(skill.clone());
            }
        }
        drop(shared);
        self.more.notify_one();
    }

    /// A case waits from now on; it looked when so much had come free.
    pub fn waits(&self, case: CaseId, skill: Arc<str>, seen: u64) {
        let mut shared = self.lock();
        if !shared.fresh.contains(&(skill.clone(), case)) {
            shared.fresh.push_back((skill.clone(), case));
        }
        if shared.fresh.len() > FRESH {
            shared.fresh.pop_front();
        }
        // what came free meanwhile may be what it needs
        let missed = shared.by_skill.get(&skill).is_some_and(|freed| *freed > seen);
        if missed && !shared.due.contains(&skill) {
            shared.due.push(skill);
        }
        drop(shared);
        if missed {
            self.more.notify_one();
        }
    }

    /// The next skill of which something has come free.
    async fn next(&self) -> Arc<str> {
        loop {
            let more = self.more.notified();
            if let Some(skill) = self.lock().due.pop() {
                return skill;
            }
            more.await;
        }
    }

    /// Takes those who have just begun to wait for a skill.
    fn take_fresh(&self, skill: &str) -> Vec<CaseId> {
        let mut shared = self.lock();
        let (of_skill, others): (VecDeque<_>, VecDeque<_>) =
            std::mem::take(&mut shared.fresh).into_iter().partition(|(known, _)| **known == *skill);
        shared.fresh = others;
        of_skill.into_iter().map(|(_, case)| case).collect()
    }
}

/// Has those who wait look again, as things come free.
pub async fn serve(context: Arc<Context>) {
    // what came free before the start, and who was about to look, is not known any more
    for csr in context.staff.all() {
        context.staff.planner.freed(&csr);
    }
    loop {
        let skill = context.staff.planner.waiting.next().await;
        context.views_filled().await;
        while let Err(error) = look_again(&context, &skill).await {
            tracing::warn!(%error, "who waits for people cannot be read; it is read again");
            tokio::time::sleep(AGAIN).await;
        }
    }
}

/// All who wait for a skill look again: one behind another may need less, or another time.
async fn look_again(
    context: &Arc<Context>,
    skill: &Arc<str>,
) -> Result<(), crate::store::views::TableError> {
    let waiting = &context.staff.planner.waiting;
    let mut fresh = waiting.take_fresh(skill);
    let mut told = HashSet::new();
    loop {
        let indexed = context.views.seeking(skill, told.len() + AT_ONCE)?;
        let next = indexed.into_iter().chain(fresh.drain(..));
        let next: Vec<CaseId> = next.filter(|case| told.insert(*case)).collect();
        if next.is_empty() {
            return Ok(());
        }
        // one after the other: whoever comes first is to have what came free
        for case in next {
            let looked = waiting.looks(case);
            let woken = context.wake(case, Command::LookAgain).await.is_ok();
            if woken {
                // one that does not wait any more does not look
                let _ = tokio::time::timeout(LOOKS, looked).await;
            }
        }
    }
}
