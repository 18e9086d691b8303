//! The oracles: what the parties' books, and the case's history, have to say in the end.

use std::collections::{BTreeSet, HashMap};

use super::{CANARY, EVENTS_MAX, LEDGER_MAX, Run};
use crate::domain::case::event::{Change, Event};
use crate::domain::case::phase::Phase;
use crate::domain::time::Timestamp;
use crate::domain::workflow::model::{Kind, TaskId};

impl Run {
    /// A case that completed goes by what stands, and what a branch did that lost is undone.
    fn races_are_settled(&self) {
        // whether the flow goes by what a call came to, or its branch has lost
        let mut lost: HashMap<(TaskId, u32), (usize, bool)> = HashMap::new();
        let mut began: HashMap<TaskId, usize> = HashMap::new();
        let (mut open, mut seen) = (BTreeSet::new(), BTreeSet::new());
        let below = |known: &(TaskId, u32), around: TaskId| {
            self.world.definition.task(known.0).path.contains(&around)
        };
        for (place, (_, event)) in self.world.history.iter().enumerate() {
            let Event::Task(event) = event else { continue };
            let key = (event.task, event.iteration);
            match &event.change {
                Change::Started { attempt, .. } => {
                    if *attempt == 0 || seen.insert(key) {
                        open.insert(key);
                        lost.remove(&key);
                        began.insert(event.task, place);
                    }
                    seen.insert(key);
                }
                Change::Waiting { entry: Some(_), .. } | Change::Queued { entry: Some(_), .. } => {
                    open.insert(key);
                    began.insert(event.task, place);
                }
                // what has left the flow is told of as well
                Change::Completed { skipped: false, .. } if open.remove(&key) => {
                    lost.insert(key, (place, false));
                }
                Change::Cancelled { unsettled, .. } => {
                    open.retain(|known| !below(known, event.task));
                    if *unsettled {
                        // what the branch did since it began
                        let since = began.get(&event.task).copied().unwrap_or(0);
                        lost.insert(key, (place, true));
                        lost.iter_mut()
                            .filter(|(known, (at, _))| below(known, event.task) && *at >= since)
                            .for_each(|(_, (_, lost))| *lost = true);
                    }
                }
                // a failed branch is dropped where others run, else the error goes on outwards
                Change::Faulted { .. } => {
                    open.retain(|known| !below(known, event.task));
                    lost.retain(|known, _| !below(known, event.task));
                }
                _ => {}
            }
        }
        for act in &self.books.acts {
            let metadata = &self.world.definition.task(act.place.0).metadata;
            let others = self.books.acts.iter().filter(|other| other.place == act.place);
            let stands = others.clone().any(|other| other.undone.is_empty());
            let can_be_undone = metadata.compensate.is_some();
            if self.is_harmless(act.place.0) || self.books.erred.contains(&act.key) {
                continue;
            }
            let (told, key) = (|| self.world.told(), &act.key);
            match lost.get(&act.place).map(|(_, lost)| *lost) {
                Some(true) if can_be_undone => {
                    assert!(!act.undone.is_empty(), "{key} stands, and has lost\n{}", told());
                }
                Some(false) => assert!(stands, "{key} was undone, and counts\n{}", told()),
                Some(true) | None => {}
            }
        }
    }

    /// Whether nothing undoes what a task did: neither its own compensation, nor one around it.
    fn is_harmless(&self, task: TaskId) -> bool {
        let undoes = |id: &TaskId| self.world.definition.task(*id).metadata.compensate.is_some();
        !self.world.definition.task(task).path.iter().any(undoes)
    }

    /// Outside of loops a task is entered under one key, however often it is taken up again.
    fn entries_keep_their_keys(&self) {
        let definition = &self.world.definition;
        for (_, event) in self.world.history.iter() {
            let Event::Task(event) = event else { continue };
            let task = definition.task(event.task);
            let is_loop = |id: &TaskId| matches!(definition.task(*id).kind, Kind::For { .. });
            let turns = task.path.iter().any(is_loop) || task.undoing.is_some();
            let (iteration, told) = (event.iteration, || self.world.told());
            assert!(turns || iteration <= 1, "{} has a new key\n{}", task.reference, told());
        }
    }

    /// A call that has just been sent is not timed out at the same instant: whoever takes something up
    /// again gives it its time.
    fn timeouts_take_their_time(&self) {
        let mut sent: HashMap<(TaskId, u32), Timestamp> = HashMap::new();
        // what goes on beside the flow has no time of its own
        let mut beside = BTreeSet::new();
        for (at, event) in self.world.history.iter() {
            let Event::Task(event) = event else { continue };
            let (key, task) =
                ((event.task, event.iteration), self.world.definition.task(event.task));
            match &event.change {
                Change::Started { attempt: 0, .. } => drop(beside.remove(&key)),
                Change::Retried { outcome: None, .. } => drop(beside.remove(&key)),
                Change::Started { .. } if beside.contains(&key) || task.undoing.is_some() => {}
                Change::Started { .. } => drop(sent.insert(key, *at)),
                Change::Faulted { error, .. } => {
                    // its own time is up, rather than that of a task within
                    let timed_out = error.status == 408;
                    if timed_out && error.instance.as_deref() == Some(&*task.reference) {
                        for ((other, _), begun) in &sent {
                            let within =
                                self.world.definition.task(*other).path.contains(&event.task);
                            let told = || self.world.told();
                            assert!(!within || begun < at, "no time for {}\n{}", other.0, told());
                        }
                    }
                    sent.remove(&key);
                    beside.insert(key);
                }
                Change::Cancelled { .. } => {
                    sent.remove(&key);
                    beside.insert(key);
                }
                Change::Completed { .. } => drop(sent.remove(&key)),
                _ => {}
            }
        }
    }

    /// What the books have to say in the end.
    pub(super) fn check(&self) {
        let state = self.world.state();
        if matches!(state.phase, Phase::Cancelled | Phase::Faulted) {
            for act in self.books.acts.iter().filter(|act| act.undone.is_empty()) {
                let can_be_undone =
                    self.world.definition.task(act.place.0).metadata.compensate.is_some();
                let erred = self.books.erred.contains(&act.key);
                assert!(
                    !can_be_undone || erred,
                    "{} stands after all was undone\n{}",
                    act.key,
                    self.world.told()
                );
            }
        }
        if state.phase == Phase::Completed {
            self.races_are_settled();
        }
        self.entries_keep_their_keys();
        self.timeouts_take_their_time();
        let told = self.world.told();
        assert!(!told.contains("is not known any more"), "{told}");
        assert!(!told.contains(CANARY), "a secret is told: {told}");
        assert!(self.world.history.len() < EVENTS_MAX, "{} events", self.world.history.len());
        assert!(state.ledger.iter().count() < LEDGER_MAX, "{:#?}", state.ledger);
    }
}
