//! Instants at which cases have to be woken. One sleeper serves them all: the near ones are kept in
//! memory, the others are rows of an index that is read in time.
//!
//! Parent: the root. When the actor crashes, it begins again with what the index holds; an instant
//! that comes twice does no harm.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ractor::{Actor, ActorProcessingErr, ActorRef};
use tokio::sync::Notify;

use super::office::Office;
use crate::domain::case::command::Command;
use crate::domain::ids::CaseId;
use crate::domain::time::Timestamp;

/// Milliseconds that the memory looks ahead.
const AHEAD: i64 = 60_000;

/// After which the index is read again where it could not be.
const AGAIN: Duration = Duration::from_secs(1);

/// Instants kept in memory at the most; the horizon comes nearer when there are more.
const KEPT: usize = 50_000;

/// The instants that are near.
pub struct Timers {
    near: Mutex<Near>,
    /// The first instant has changed.
    sooner: Notify,
}

struct Near {
    instants: BTreeSet<(Timestamp, CaseId)>,
    /// All instants before this one are here.
    horizon: Timestamp,
}

impl Default for Timers {
    fn default() -> Self {
        let near = Near { instants: BTreeSet::new(), horizon: Timestamp(0) };
        Self { near: Mutex::new(near), sooner: Notify::new() }
    }
}

impl Timers {
    /// A case has to be woken at this instant. Those beyond the horizon are left to the index.
    pub fn note(&self, due: Timestamp, case: CaseId) {
        let mut near = self.lock();
        if due >= near.horizon {
            return;
        }
        let first = near.instants.first().copied();
        near.instants.insert((due, case));
        near.keep_bound();
        drop(near);
        if first.is_none_or(|(at, _)| due < at) {
            self.sooner.notify_one();
        }
    }

    /// The cases that are due.
    fn take_due(&self, now: Timestamp, most: usize) -> Vec<CaseId> {
        let mut near = self.lock();
        let mut due = Vec::new();
        while due.len() < most
            && let Some(first) = near.instants.first().copied().filter(|(at, _)| *at <= now)
        {
            near.instants.remove(&first);
            due.push(first.1);
        }
        due
    }

    /// When to look again.
    fn next(&self) -> Timestamp {
        let near = self.lock();
        let refill = near.horizon.plus(-AHEAD / 2);
        match near.instants.first() {
            Some((at, _)) if near.is_rather_full() => *at,
            Some((at, _)) => (*at).min(refill),
            None => refill,
        }
    }

    fn wants_more(&self, now: Timestamp) -> bool {
        let near = self.lock();
        near.horizon <= now.plus(AHEAD / 2) && !near.is_rather_full()
    }

    /// What the index holds up to the new horizon.
    fn refill(&self, instants: Vec<(Timestamp, CaseId)>, horizon: Timestamp) {
        let mut near = self.lock();
        near.horizon = horizon;
        near.instants.extend(instants);
        near.keep_bound();
    }

    fn lock(&self) -> MutexGuard<'_, Near> {
        self.near.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Near {
    /// Enough is here: the index is read again when half of it is gone.
    fn is_rather_full(&self) -> bool {
        self.instants.len() > KEPT / 2
    }

    fn keep_bound(&mut self) {
        while self.instants.len() > KEPT
            && let Some((at, _)) = self.instants.pop_last()
        {
            self.horizon = self.horizon.min(at);
        }
    }
}

/// The actor.
pub struct TimersActor;

/// What it is told, by itself alone.
pub enum TimersMsg {
    Look,
}

impl Actor for TimersActor {
    type Msg = TimersMsg;
    type State = Arc<Office>;
    type Arguments = Arc<Office>;

    async fn pre_start(
        &self,
        myself: ActorRef<TimersMsg>,
        office: Arc<Office>,
    ) -> Result<Arc<Office>, ActorProcessingErr> {
        myself.cast(TimersMsg::Look)?;
        Ok(office)
    }

    async fn handle(
        &self,
        myself: ActorRef<TimersMsg>,
        TimersMsg::Look: TimersMsg,
        office: &mut Arc<Office>,
    ) -> Result<(), ActorProcessingErr> {
        let timers = &office.timers;
        let now = office.clock.now();
        if timers.wants_more(now) {
            let (views, until) = (office.views.clone(), now.plus(AHEAD));
            let read = tokio::task::spawn_blocking(move || views.due(until, KEPT)).await?;
            let instants = match read {
                Ok(instants) => instants,
                Err(error) => {
                    // the views are made anew
                    tracing::warn!(%error, "the index of instants cannot be read");
                    tokio::time::sleep(AGAIN).await;
                    myself.cast(TimersMsg::Look)?;
                    return Ok(());
                }
            };
            let horizon = match instants.last() {
                Some((at, _)) if instants.len() == KEPT => *at,
                _ => until.plus(1),
            };
            timers.refill(instants, horizon);
        }
        let due = timers.take_due(now, 1000);
        for case in &due {
            office.wake_soon(*case, Command::Timer).await;
        }
        if due.is_empty() {
            tokio::select! {
                () = office.clock.sleep_until(timers.next()) => {}
                () = timers.sooner.notified() => {}
            }
        }
        myself.cast(TimersMsg::Look)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ids::Bits;

    fn case(n: u8) -> CaseId {
        CaseId(Bits([n; 16]))
    }

    #[test]
    fn near_instants_are_kept_and_far_ones_left_to_the_index() {
        let timers = Timers::default();
        assert!(timers.wants_more(Timestamp(1000)));
        timers.refill(vec![(Timestamp(2000), case(1))], Timestamp(61_000));
        timers.note(Timestamp(1500), case(2));
        timers.note(Timestamp(61_000), case(3));
        assert_eq!(timers.next(), Timestamp(1500));
        assert_eq!(timers.take_due(Timestamp(1999), 10), [case(2)]);
        assert_eq!(timers.take_due(Timestamp(70_000), 10), [case(1)]);
        assert!(timers.wants_more(Timestamp(31_000)));
    }

    #[test]
    fn the_horizon_comes_nearer_when_there_is_too_much() {
        let timers = Timers::default();
        timers.refill(Vec::new(), Timestamp(1_000_000));
        for n in 0..KEPT as i64 + 10 {
            timers.note(Timestamp(n), CaseId::default());
        }
        assert_eq!(timers.lock().instants.len(), KEPT);
        assert_eq!(timers.lock().horizon, Timestamp(KEPT as i64));
        timers.note(Timestamp(KEPT as i64 + 5), case(1));
        assert_eq!(timers.lock().instants.len(), KEPT);
    }
}
