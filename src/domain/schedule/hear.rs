//! Events that begin cases.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;

use serde_json::Value as Json;

use super::decide::Rule;
use super::event::{Cause, KeptEvent, Run, ScheduleEvent, Skip};
use super::state::{KEPT_MAX, State};
use crate::domain::data::{Data, canonical};
use crate::domain::ids::{Bits, CaseId, EventCursor, EventId, Fingerprint};
use crate::domain::time::Timestamp;
use crate::domain::workflow::expr::meter::Limits;
use crate::domain::workflow::expr::{Expr, truthy};
use crate::domain::workflow::model::{EventFilter, Listen, Strategy, Template, Timing};

/// A stored event.
#[derive(Clone, Debug)]
pub struct Incoming {
    pub place: EventCursor,
    pub at: Timestamp,
    pub id: EventId,
    pub event: Data,
}

impl Rule<'_> {
    /// The types of events that it looks at (none: any); none where no events begin cases.
    pub fn hears(&self) -> Option<Vec<Option<Arc<str>>>> {
        match &self.schedule.timing {
            Timing::On(listen, _) => {
                Some(listen.filters.iter().map(|filter| filter.event_type.clone()).collect())
            }
            _ => None,
        }
    }

    /// What these events begin, which are all up to a place that may begin something. Whoever commits it
    /// has begun what was committed before.
    pub fn hear(
        &self,
        state: &State,
        events: &[Incoming],
        through: EventCursor,
        now: Timestamp,
    ) -> Vec<ScheduleEvent> {
        let Timing::On(listen, _) = &self.schedule.timing else { return Vec::new() };
        let mut hearing = Hearing { rule: self, state: state.clone(), now, events: Vec::new() };
        hearing.emit(ScheduleEvent::Heard { through: state.heard });
        let (mut skipped, mut last) = (0, Timestamp(0));
        for event in events {
            let found = fitting(listen, &event.event);
            match state.passes_by(event.place) {
                _ if found.is_empty() => {}
                true => (skipped, last) = (skipped + 1, last.max(event.at)),
                false => hearing.take(listen, event, &found),
            }
        }
        if skipped > 0 {
            let why = Skip::Paused;
            hearing.emit(ScheduleEvent::Skipped { due: last, why, count: skipped });
            hearing.emit(ScheduleEvent::Heard { through });
        }
        match hearing.events.len() {
            // nothing but how far it is: that is worth a record only now and then
            1 => vec![ScheduleEvent::Heard { through }],
            _ => hearing.events,
        }
    }
}

/// What the correlations found, by name.
type Values = BTreeMap<Arc<str>, Fingerprint>;

/// The filters that an event fits, and what their correlations find in it.
fn fitting(listen: &Listen, event: &Json) -> Vec<(usize, Values)> {
    if listen.filters.is_empty() {
        return vec![(0, Values::new())];
    }
    let all = listen.filters.iter().enumerate();
    all.filter_map(|(n, filter)| Some((n, values(filter, event)?))).collect()
}

fn values(filter: &EventFilter, event: &Json) -> Option<Values> {
    let holds = |expr: &Expr, value: &Json| {
        // one that cannot be evaluated is not true of it
        Ok::<_, Infallible>(evaluate(expr, value).is_some_and(|found| truthy(&found)))
    };
    if !filter.fits(event, holds).unwrap_or(false) {
        return None;
    }
    let mut found = Values::new();
    for correlation in &filter.correlate {
        let value = evaluate(&correlation.from, event)?;
        match &correlation.expect {
            Some(Template::Literal(expected)) if **expected != value => return None,
            None if !truthy(&value) => return None,
            _ => {}
        }
        let bits = Bits::derived(&[canonical(&value).as_bytes()]);
        found.insert(correlation.name.clone(), Fingerprint(bits));
    }
    Some(found)
}

fn evaluate(expr: &Expr, value: &Json) -> Option<Json> {
    expr.evaluate(value, |_| Arc::new(Json::Null), Limits::INLINE).ok()
}

struct Hearing<'a> {
    rule: &'a Rule<'a>,
    /// With what was decided so far.
    state: State,
    now: Timestamp,
    events: Vec<ScheduleEvent>,
}

impl Hearing<'_> {
    fn emit(&mut self, event: ScheduleEvent) {
        self.state.evolve(&event);
        self.events.push(event);
    }

    fn take(&mut self, listen: &Listen, event: &Incoming, found: &[(usize, Values)]) {
        if listen.strategy != Strategy::All {
            return self.fire(event.at, &[(event.place, event.id)]);
        }
        // where it fits several filters, it is for the one that has waited in vain for longest
        let kept = |filter: usize| {
            self.state.kept.iter().filter(|kept| usize::from(kept.filter) == filter).count()
        };
        let Some((filter, values)) = found.iter().min_by_key(|(filter, _)| kept(*filter)) else {
            return;
        };
        let mut chosen = vec![(event.place, event.id)];
        let mut known = values.clone();
        for other in (0..listen.filters.len()).filter(|other| other != filter) {
            let fits = self.state.kept.iter().find_map(|kept| {
                let mut values = kept.values.iter();
                let agrees =
                    values.all(|(name, value)| known.get(name).is_none_or(|known| known == value));
                let fits = usize::from(kept.filter) == other && agrees;
                fits.then(|| (kept.place, kept.id, kept.values.clone()))
            });
            let Some((place, id, values)) = fits else {
                let kept = KeptEvent {
                    filter: u16::try_from(*filter).unwrap_or(u16::MAX),
                    place: event.place,
                    id: event.id,
                    values: values.clone(),
                };
                if self.state.kept.len() >= KEPT_MAX {
                    // the oldest makes room
                    let (due, why) = (event.at, Skip::Bound);
                    self.emit(ScheduleEvent::Skipped { due, why, count: 1 });
                }
                return self.emit(ScheduleEvent::Kept { event: kept });
            };
            chosen.push((place, id));
            known.extend(values);
        }
        self.fire(event.at, &chosen);
    }

    fn fire(&mut self, due: Timestamp, events: &[(EventCursor, EventId)]) {
        let ids: Vec<EventId> = events.iter().map(|(_, id)| *id).collect();
        let mut places: Vec<EventCursor> = events.iter().map(|(place, _)| *place).collect();
        places.sort_unstable();
        self.emit(ScheduleEvent::Fired(Run {
            due,
            at: self.now,
            case: CaseId::of_events(self.rule.id, &ids),
            version: self.rule.version.clone(),
            cause: Cause::Events { places },
        }));
    }
}
