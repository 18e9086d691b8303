//! What is due: runs, skips, waits.

use std::collections::BTreeSet;
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

/// What is decided again is looked at so far in one go.
const AGAIN_MAX: usize = 1000;

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
    /// What has to be decided now. `ran` are cases that are there, of what is decided again.
    pub fn decide(
        &self,
        state: &State,
        now: Timestamp,
        ran: &BTreeSet<CaseId>,
    ) -> Vec<ScheduleEvent> {
        let mut decision = self.decision(state, now, ran);
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
        let start = self.schedule.start(self.id, due);
        // one that finds no room waits for it as long as it is not missed
        let waits = state.open.len() >= OPEN_MAX && start <= now;
        let at = if waits { due.plus(MISSED_AFTER + self.schedule.jitter + 2) } else { start };
        Some(at.max(now))
    }

    /// The due instants that are to be decided again, as far as that goes in one go: whoever decides has to
    /// know which of them have their cases.
    pub fn decided_again(&self, state: &State, now: Timestamp) -> Vec<CaseId> {
        let (mut found, mut due) = (Vec::new(), state.through);
        let until = state.decided_before.min(now);
        while found.len() < AGAIN_MAX
            && let Some(next) = self.schedule.next(state, due)
            && next <= until
        {
            found.push(CaseId::of_schedule(self.id, next));
            due = next;
        }
        found
    }

    fn decision<'a>(
        &'a self,
        state: &State,
        now: Timestamp,
        ran: &'a BTreeSet<CaseId>,
    ) -> Decision<'a> {
        Decision { rule: self, state: state.clone(), events: Vec::new(), now, ran }
    }

    /// Another version takes over: what was due before it is decided by this one, at once. To be asked again
    /// until there is nothing left.
    pub fn hand_over(
        &self,
        state: &State,
        at: Timestamp,
        next: Option<&Schedule>,
    ) -> Vec<ScheduleEvent> {
        let ran = BTreeSet::new();
        let mut decision = self.decision(state, at, &ran);
        match state.paused {
            None => decision.due(Start::AtOnce),
            Some(_) => decision.skip_all(at, Skip::Paused),
        }
        let is_timed = next.is_some_and(|next| !matches!(next.timing, Timing::On(..)));
        if let Some(due) = decision.state.waiting.filter(|_| !is_timed) {
            // whoever comes does not know how to run it
            decision.emit(ScheduleEvent::Skipped { due, why: Skip::Overlap, count: 1 });
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
            filters: match &self.schedule.timing {
                Timing::On(_, said) => Some(*said),
                _ => None,
            },
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
            (Timing::On(..), _) => return Err("its cases begin with events: send one".to_owned()),
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
    /// Cases that are there, of what is decided again.
    ran: &'a BTreeSet<CaseId>,
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
            && (start == Start::AtOnce || self.has_room())
        {
            self.run(due);
        }
    }

    /// Whether another run finds room. One that is not missed yet waits for it: those that have just begun
    /// may end in a moment.
    fn has_room(&self) -> bool {
        self.state.open.len() < OPEN_MAX
    }

    /// The one run after another's end.
    fn after(&mut self, start: Start) {
        let schedule = self.rule.schedule;
        let Some(due) = schedule.next(&self.state, Timestamp(i64::MIN)) else { return };
        let is_due = start == Start::AtOnce || schedule.start(self.rule.id, due) <= self.now;
        if due > self.now || !is_due {
            return;
        }
        let late = due < self.now.plus(-MISSED_AFTER - schedule.jitter);
        let overlaps = schedule.overlap == Overlap::Skip && !self.state.open.is_empty();
        let why = match schedule.missed {
            Missed::Skip if late => Skip::Missed,
            _ if overlaps => Skip::Overlap,
            _ if !self.has_room() => Skip::Bound,
            _ => return self.run(due),
        };
        // the next one is due a period from now on
        self.emit(ScheduleEvent::Skipped { due: self.now, why, count: 1 });
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
        if self.ran.contains(&CaseId::of_schedule(self.rule.id, due)) {
            return self.emit(ScheduleEvent::Skipped { due, why: Skip::Ran, count: 1 });
        }
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
