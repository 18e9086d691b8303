//! What is due: runs, skips, waits.

use std::sync::Arc;

use super::event::{Cause, Run, ScheduleEvent, Set, Skip};
use super::state::State;
use crate::domain::ids::{CaseId, EventCursor};
use crate::domain::time::Timestamp;
use crate::domain::workflow::model::{Missed, Overlap, Schedule, Timing};

/// Milliseconds after which a run that has not begun was missed.
pub const MISSED_AFTER: i64 = 60_000;

/// Runs of one schedule under way.
pub const OPEN_MAX: usize = 100;

/// Runs that were missed and are run all the same.
const MISSED_MAX: usize = 100;

/// What is decided in one go; the rest follows.
const EVENTS_MAX: usize = 200;

/// Runs that were skipped, as far as they are counted.
const COUNTED_MAX: u64 = 10_000;

/// A version's rules.
pub struct Rule<'a> {
    /// The schedule's id, `<namespace>.<name>`.
    pub id: &'a str,
    pub version: &'a Arc<str>,
    pub schedule: &'a Schedule,
}

impl Rule<'_> {
    /// What has to be decided now.
    pub fn decide(&self, state: &State, now: Timestamp) -> Vec<ScheduleEvent> {
        let mut decision = Decision { rule: self, state: state.clone(), events: Vec::new(), now };
        if state.paused.is_none() {
            decision.waiting();
            decision.due(Start::InTime);
        }
        decision.events
    }

    /// When there is something to decide next; none: nothing that comes with time.
    pub fn next_look(&self, state: &State, now: Timestamp) -> Option<Timestamp> {
        if state.paused.is_some() {
            return None;
        }
        let due = match &self.schedule.timing {
            Timing::After(_) => self.schedule.next(state, Timestamp(i64::MIN)),
            _ => self.schedule.next(state, state.through),
        }?;
        Some(self.schedule.start(self.id, due).max(now))
    }

    /// Another version takes over: what was due before it is decided by this one, at once.
    pub fn hand_over(&self, state: &State, at: Timestamp) -> Vec<ScheduleEvent> {
        let mut decision =
            Decision { rule: self, state: state.clone(), events: Vec::new(), now: at };
        match state.paused {
            None => decision.due(Start::AtOnce),
            Some(_) => decision.skip_all(at, Skip::Paused),
        }
        decision.events
    }

    /// How this version takes over, which was registered at an instant.
    pub fn set(&self, state: &State, registered: Timestamp, events: EventCursor) -> ScheduleEvent {
        let timing: Arc<str> =
            format!("{} {}", self.schedule.timing.kind(), self.schedule.timing.spec()).into();
        let same = state.timing == timing;
        ScheduleEvent::Set(Set {
            version: self.version.clone(),
            anchor: if same { state.anchor } else { registered },
            timing,
            through: registered,
            events,
        })
    }

    /// A run that an operator wants now.
    ///
    /// # Errors
    /// Why there can be none now.
    pub fn trigger(
        &self,
        state: &State,
        case: CaseId,
        now: Timestamp,
    ) -> Result<ScheduleEvent, String> {
        match (&self.schedule.timing, self.schedule.overlap) {
            (Timing::On(_), _) => return Err("its cases begin with events: send one".to_owned()),
            (_, Overlap::Skip | Overlap::Wait) if !state.open.is_empty() => {
                return Err("a run is under way, and its runs do not overlap".to_owned());
            }
            _ if state.open.len() >= OPEN_MAX => {
                return Err(format!("{OPEN_MAX} of its runs are under way"));
            }
            _ => {}
        }
        Ok(ScheduleEvent::Fired(Run {
            due: now,
            at: now,
            case,
            version: self.version.clone(),
            cause: Cause::Triggered { previous: state.previous },
        }))
    }
}

/// Whether runs that are to start a little later wait for that.
#[derive(Clone, Copy, PartialEq)]
enum Start {
    InTime,
    AtOnce,
}

struct Decision<'a> {
    rule: &'a Rule<'a>,
    /// With what was decided so far.
    state: State,
    events: Vec<ScheduleEvent>,
    now: Timestamp,
}

impl Decision<'_> {
    fn emit(&mut self, event: ScheduleEvent) {
        self.state.evolve(&event);
        self.events.push(event);
    }

    /// The run that waits for others to end.
    fn waiting(&mut self) {
        if let Some(due) = self.state.waiting
            && self.state.open.is_empty()
        {
            self.fire(due);
        }
    }

    fn due(&mut self, start: Start) {
        let schedule = self.rule.schedule;
        if let Timing::After(_) = schedule.timing {
            return self.after(start);
        }
        // what may be late by its jitter alone is not missed
        self.missed(self.now.plus(-MISSED_AFTER - schedule.jitter - 1));
        while self.events.len() < EVENTS_MAX
            && let Some(due) = schedule.next(&self.state, self.state.through)
            && due <= self.now
            && (start == Start::AtOnce || schedule.start(self.rule.id, due) <= self.now)
        {
            self.run(due);
        }
    }

    /// The one run after another's end.
    fn after(&mut self, start: Start) {
        let schedule = self.rule.schedule;
        while let Some(due) = schedule.next(&self.state, Timestamp(i64::MIN))
            && due <= self.now
            && (start == Start::AtOnce || schedule.start(self.rule.id, due) <= self.now)
        {
            let late = due < self.now.plus(-MISSED_AFTER - schedule.jitter);
            match schedule.missed {
                // the next is due a period after this one would have begun: the last that is over, at once
                Missed::Skip if late => {
                    self.emit(ScheduleEvent::Skipped {
                        due: self.now,
                        why: Skip::Missed,
                        count: 1,
                    });
                }
                _ => self.run(due),
            }
        }
    }

    /// What was due until an instant, and has not run.
    fn missed(&mut self, until: Timestamp) {
        let runs = match self.rule.schedule.missed {
            Missed::Skip => 0,
            Missed::Once => 1,
            Missed::All => MISSED_MAX,
        };
        let mut late = Vec::new();
        let mut from = until;
        while late.len() < runs
            && let Some(due) = self.latest(from)
        {
            late.push(due);
            from = due.plus(-1);
        }
        self.skip_all(from, Skip::Missed);
        for due in late.into_iter().rev() {
            self.run(due);
        }
    }

    /// Everything that was due until an instant is skipped.
    fn skip_all(&mut self, until: Timestamp, why: Skip) {
        let Some(latest) = self.latest(until) else { return };
        let (mut count, mut from) = (1, latest.plus(-1));
        while count < COUNTED_MAX
            && let Some(due) = self.latest(from)
        {
            count += 1;
            from = due.plus(-1);
        }
        self.emit(ScheduleEvent::Skipped { due: latest, why, count });
    }

    /// The last due instant until one that was not decided.
    fn latest(&self, until: Timestamp) -> Option<Timestamp> {
        let latest = self.rule.schedule.latest(&self.state, until)?;
        (latest > self.state.through).then_some(latest)
    }

    /// A run is due: it begins, unless others are under way.
    fn run(&mut self, due: Timestamp) {
        let under_way = !self.state.open.is_empty();
        match self.rule.schedule.overlap {
            Overlap::Skip if under_way => {
                self.emit(ScheduleEvent::Skipped { due, why: Skip::Overlap, count: 1 });
            }
            Overlap::Wait if under_way => {
                if let Some(other) = self.state.waiting {
                    let why = Skip::Overlap;
                    self.emit(ScheduleEvent::Skipped { due: other, why, count: 1 });
                }
                self.emit(ScheduleEvent::Waits { due });
            }
            _ if self.state.open.len() >= OPEN_MAX => {
                self.emit(ScheduleEvent::Skipped { due, why: Skip::Bound, count: 1 });
            }
            _ => self.fire(due),
        }
    }

    fn fire(&mut self, due: Timestamp) {
        self.emit(ScheduleEvent::Fired(Run {
            due,
            at: self.now,
            case: CaseId::of_schedule(self.rule.id, due),
            version: self.rule.version.clone(),
            cause: Cause::Due { previous: self.state.previous },
        }));
    }
}
