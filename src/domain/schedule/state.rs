//! A schedule, folded from its events.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::event::{Cause, KeptEvent, Outcome, Run, ScheduleEvent, Skip};
use crate::domain::ids::{CaseId, EventCursor, Fingerprint};
use crate::domain::time::Timestamp;

/// Runs that are shown.
const SHOWN: usize = 10;

/// Events that wait for others.
pub const KEPT_MAX: usize = 500;

/// A schedule.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct State {
    /// Version of its last event.
    pub revision: u64,
    /// The workflow's version that rules; none: none does.
    pub version: Option<Arc<str>>,
    /// The kind and what it says, of that version or the last one.
    pub timing: Arc<str>,
    /// Which events begin cases, of that version.
    pub filters: Option<Fingerprint>,
    /// The version that ended it.
    pub ended: Option<Arc<str>>,
    /// What periods are counted from.
    pub anchor: Timestamp,
    /// What is due until then was decided.
    pub through: Timestamp,
    /// What is due until then was decided before an operator had it decided again.
    pub decided_before: Timestamp,
    /// What the next run's delay is counted from.
    pub after: Timestamp,
    /// When the last run was due.
    pub previous: Option<Timestamp>,
    /// Why nothing runs, and who said so.
    pub paused: Option<(Arc<str>, Arc<str>)>,
    /// Events behind the first place, up to the second where there is one, pass by.
    pub pauses: Vec<(EventCursor, Option<EventCursor>)>,
    /// Runs under way that were due or triggered.
    pub open: BTreeMap<CaseId, Run>,
    /// A run that waits until none is.
    pub waiting: Option<Timestamp>,
    /// Runs that events began and that may not be there yet: those of one record.
    pub owed: Vec<Run>,
    /// Events up to there were looked at.
    pub heard: EventCursor,
    /// Events that wait for others.
    pub kept: Vec<KeptEvent>,
    /// What was decided last, the latest first.
    pub last: VecDeque<Decided>,
}

/// What was decided of a due instant.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Decided {
    pub due: Timestamp,
    pub at: Option<Timestamp>,
    pub case: Option<CaseId>,
    pub outcome: Option<Outcome>,
    pub skipped: Option<(Skip, u64)>,
}

impl State {
    /// The word for how it stands.
    pub fn word(&self) -> &'static str {
        match (&self.version, &self.paused) {
            (None, _) => "ended",
            (Some(_), Some(_)) => "paused",
            (Some(_), None) => "active",
        }
    }

    /// Takes over what happened.
    pub fn evolve(&mut self, event: &ScheduleEvent) {
        self.revision += 1;
        match event {
            ScheduleEvent::Set(set) => {
                let goes_on = self.version.is_some();
                if !goes_on || self.timing != set.timing || self.filters != set.filters {
                    self.after = self.after.max(set.through);
                    // events that waited by another version's filters wait no more
                    self.kept.clear();
                }
                if !goes_on || !self.timing.starts_with("on ") {
                    self.heard = self.heard.max(set.events);
                }
                self.version = Some(set.version.clone());
                self.timing = set.timing.clone();
                self.filters = set.filters;
                self.ended = None;
                self.anchor = set.anchor;
                self.through = self.through.max(set.through);
            }
            ScheduleEvent::Ended { version } => {
                (self.version, self.ended) = (None, Some(version.clone()));
                self.waiting = None;
                self.kept.clear();
            }
            ScheduleEvent::Fired(run) => self.fired(run),
            ScheduleEvent::Skipped { due, why, count } => {
                self.through = self.through.max(*due);
                self.after = self.after.max(*due);
                self.waiting = self.waiting.filter(|waiting| waiting != due);
                self.show(Decided {
                    due: *due,
                    at: None,
                    case: None,
                    outcome: None,
                    skipped: Some((*why, *count)),
                });
            }
            ScheduleEvent::Waits { due } => {
                self.through = self.through.max(*due);
                self.waiting = Some(*due);
            }
            ScheduleEvent::Kept { event } => {
                self.heard = self.heard.max(event.place);
                if self.kept.len() >= KEPT_MAX {
                    self.kept.remove(0);
                }
                self.kept.push(event.clone());
            }
            ScheduleEvent::Heard { through } => {
                self.heard = self.heard.max(*through);
                self.owed.clear();
                self.pauses.retain(|(_, end)| end.is_none_or(|end| end > self.heard));
            }
            ScheduleEvent::Closed { case, at, outcome } => self.closed(*case, *at, outcome),
            ScheduleEvent::Paused { reason, by, events } => {
                if self.paused.is_none() {
                    self.pauses.push((*events, None));
                }
                self.paused = Some((reason.clone(), by.clone()));
            }
            ScheduleEvent::Resumed { from, at, events } => {
                self.paused = None;
                if let Some(pause) = self.pauses.last_mut() {
                    pause.1.get_or_insert(*events);
                }
                if let Some(from) = from {
                    self.decided_before = self.decided_before.max(self.through);
                    self.through = *from;
                    // what periods were counted from may lie ahead, as the clock did
                    for counted in [&mut self.anchor, &mut self.after] {
                        if *counted > *at {
                            *counted = *from;
                        }
                    }
                }
            }
        }
    }

    /// Whether an event at this place passes by.
    pub fn passes_by(&self, place: EventCursor) -> bool {
        let within = |(from, end): &(EventCursor, Option<EventCursor>)| {
            place > *from && end.is_none_or(|end| place <= end)
        };
        self.pauses.iter().any(within)
    }

    fn fired(&mut self, run: &Run) {
        match &run.cause {
            Cause::Due { .. } => {
                self.through = self.through.max(run.due);
                self.previous = Some(run.due);
                self.waiting = self.waiting.filter(|due| *due != run.due);
                self.open.insert(run.case, run.clone());
            }
            Cause::Triggered { .. } => drop(self.open.insert(run.case, run.clone())),
            Cause::Events { places } => {
                let last = places.iter().copied().max().unwrap_or_default();
                self.heard = self.heard.max(last);
                self.kept.retain(|kept| !places.contains(&kept.place));
                self.owed.push(run.clone());
            }
        }
        self.show(Decided {
            due: run.due,
            at: Some(run.at),
            case: Some(run.case),
            outcome: None,
            skipped: None,
        });
    }

    fn closed(&mut self, case: CaseId, at: Timestamp, outcome: &Outcome) {
        if let Some(run) = self.open.remove(&case)
            && run.was_due()
        {
            self.after = self.after.max(at);
        }
        self.owed.retain(|run| run.case != case);
        if let Some(shown) = self.last.iter_mut().find(|shown| shown.case == Some(case)) {
            shown.outcome = Some(outcome.clone());
        }
    }

    fn show(&mut self, decided: Decided) {
        self.last.push_front(decided);
        self.last.truncate(SHOWN);
    }
}
