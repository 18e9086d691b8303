//! CloudEvents of the last days and who listens for them: an event is matched by lookup, never by
//! asking every case that listens.
//!
//! All cases at the same listening task of a definition look for events by the same correlations:
//! that is a shape. For every shape an event is found by the values that its correlations have.

use std::ops::Bound;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

pub use super::keys::{ListenerKey, Short};
use super::{TableError, Views, keys};
use crate::domain::ids::{CaseId, EventCursor};
use crate::domain::time::{DAY, Timestamp};
use crate::domain::workflow::model::{DefinitionId, TaskId};
use crate::store::codec;

/// Milliseconds that events are kept for.
pub const KEPT: i64 = 7 * DAY;

/// Milliseconds by which the times of events may differ from their order: engine time goes forward
/// alone, also from one run to the next.
const OUT_OF_ORDER: i64 = 10 * 60 * 1000;

/// A filter of a listening task of a definition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shape {
    pub definition: DefinitionId,
    pub task: TaskId,
    pub filter: u16,
    /// The event type that it takes; none: any.
    pub event_type: Option<std::sync::Arc<str>>,
}

impl Shape {
    /// What it is found by.
    pub fn key(&self) -> Short {
        keys::shape(&self.definition, self.task, self.filter)
    }
}

/// An event's row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventRow {
    pub at: Timestamp,
    pub kind: String,
    /// The case that its subject names.
    pub subject: Option<CaseId>,
    /// The values that it has for each shape of its type.
    pub values: Vec<(Short, Short)>,
}

/// What the shape of a filter of a listening task is found by.
pub fn shape_of(definition: &DefinitionId, task: TaskId, filter: u16) -> Short {
    keys::shape(definition, task, filter)
}

/// What correlations have found in an event, as a key; none: nothing in particular.
pub fn correlated(values: Option<&serde_json::Value>) -> Short {
    keys::correlated(values)
}

impl Views {
    /// All shapes that were ever listened to.
    ///
    /// # Errors
    /// When sled fails; so for all below.
    pub fn shapes(&self) -> Result<Vec<Shape>, TableError> {
        let rows = self.table.scan(&[keys::SHAPE], Bound::Unbounded);
        rows.filter_map(|e| e.and_then(|(_, value)| self.decoded(Some(value))).transpose())
            .collect()
    }

    /// Keeps a shape.
    pub fn put_shape(&self, shape: &Shape) -> Result<(), TableError> {
        self.table.put(&keys::key(keys::SHAPE, &[&shape.key()]), &codec::encode(shape))
    }

    /// Keeps an event, under everything that it is looked up by.
    pub fn put_event(&self, place: EventCursor, row: &EventRow) -> Result<(), TableError> {
        for key in keys_of(place, row) {
            self.table.put(&key, &[])?;
        }
        let key = keys::key(keys::EVENT, &[&place.0.to_be_bytes()]);
        self.table.put(&key, &codec::encode(row))
    }

    /// An event's row.
    pub fn event(&self, place: EventCursor) -> Result<Option<EventRow>, TableError> {
        self.decoded(self.table.get(&keys::key(keys::EVENT, &[&place.0.to_be_bytes()]))?)
    }

    /// Forgets events that are older than an instant, at most so many. How many were.
    pub fn forget_events(&self, before: Timestamp, most: usize) -> Result<usize, TableError> {
        let mut forgotten = 0;
        for entry in self.table.scan(&[keys::EVENT], Bound::Unbounded).take(most) {
            let (key, value) = entry?;
            let (Some(place), Some(row)) =
                (place_at(&key, 1), self.decoded::<EventRow>(Some(value))?)
            else {
                continue;
            };
            if row.at >= before {
                break;
            }
            for key in keys_of(place, &row) {
                self.table.remove(&key)?;
            }
            self.table.remove(&key)?;
            forgotten += 1;
        }
        Ok(forgotten)
    }

    /// Places of events since an instant, and behind a place, that this listener may take.
    pub fn events_for(
        &self,
        listener: &ListenerKey,
        since: Timestamp,
        after: EventCursor,
        most: usize,
    ) -> Result<Vec<EventCursor>, TableError> {
        let any_value = listener.values == [0; 8];
        let prefix = match (any_value, listener.event_type == [0; 8]) {
            (true, true) => vec![keys::EVENT],
            (true, false) => keys::key(keys::EVENT_TYPE, &[&listener.event_type]),
            (false, _) => keys::key(keys::EVENT_VALUE, &[&listener.shape, &listener.values]),
        };
        let addressed = keys::key(keys::EVENT_SUBJECT, &[&listener.case.0.0]);
        let mut found = self.places_since(&prefix, since, after, most)?;
        found.extend(self.places_since(&addressed, since, after, most)?);
        found.sort_unstable();
        found.dedup();
        Ok(found)
    }

    /// Up to where this listener's case was offered events for it.
    pub fn offered(&self, listener: &ListenerKey) -> Result<EventCursor, TableError> {
        let bytes = self.table.get(&keys::offered(listener))?;
        let place = bytes.and_then(|bytes| Some(u64::from_be_bytes(*bytes.first_chunk()?)));
        Ok(EventCursor(place.unwrap_or(0)))
    }

    /// All events up to there were offered to this listener's case.
    pub fn put_offered(&self, listener: &ListenerKey, to: EventCursor) -> Result<(), TableError> {
        self.table.put(&keys::offered(listener), &to.0.to_be_bytes())
    }

    /// A case is offered nothing any more, or everything once more.
    pub fn forget_offered(&self, case: CaseId) -> Result<(), TableError> {
        let prefix = keys::key(keys::OFFERED, &[&case.0.0]);
        for entry in self.table.scan(&prefix, Bound::Unbounded) {
            self.table.remove(&entry?.0)?;
        }
        Ok(())
    }

    /// Places of events of a type (none: all) since an instant, the newest first.
    pub fn events_of_type(
        &self,
        kind: Option<&str>,
        since: Timestamp,
        most: usize,
    ) -> Result<Vec<EventCursor>, TableError> {
        let prefix = match kind {
            Some(_) => keys::key(keys::EVENT_TYPE, &[&keys::event_type(kind)]),
            None => vec![keys::EVENT],
        };
        self.places_since(&prefix, since, EventCursor(0), most)
    }

    /// Places of events behind a place, in order, whose type is one of these (none: any); of so many that
    /// are looked at. The second part is where to go on from.
    pub fn events_behind(
        &self,
        after: EventCursor,
        types: &[Option<Arc<str>>],
        most: usize,
    ) -> Result<(Vec<EventCursor>, EventCursor), TableError> {
        let (mut found, mut through) = (Vec::new(), after);
        let behind = keys::key(keys::EVENT, &[&after.0.to_be_bytes()]);
        for entry in self.table.scan(&[keys::EVENT], Bound::Excluded(&behind)).take(most) {
            let (key, value) = entry?;
            let (Some(place), Some(row)) =
                (place_at(&key, 1), self.decoded::<EventRow>(Some(value))?)
            else {
                continue;
            };
            through = place;
            let fits = |wanted: &Option<Arc<str>>| {
                wanted.as_deref().is_none_or(|wanted| wanted == row.kind)
            };
            if types.is_empty() || types.iter().any(fits) {
                found.push(place);
            }
        }
        Ok((found, through))
    }

    fn places_since(
        &self,
        prefix: &[u8],
        since: Timestamp,
        after: EventCursor,
        most: usize,
    ) -> Result<Vec<EventCursor>, TableError> {
        let mut found = Vec::new();
        for entry in self.table.backwards(prefix).take(most) {
            let (key, _) = entry?;
            let Some(place) = place_at(&key, prefix.len()) else { continue };
            if place <= after {
                break;
            }
            match self.event(place)? {
                Some(row) if row.at >= since => found.push(place),
                // what was stored at the same time may stand in another order, nothing else
                Some(row) if row.at < since.plus(-OUT_OF_ORDER) => break,
                Some(_) | None => {}
            }
        }
        Ok(found)
    }

    /// Who listens for an event of this kind and these values.
    pub fn listeners_of(&self, kind: &str, row: &EventRow) -> Result<Vec<ListenerKey>, TableError> {
        let mut found = Vec::new();
        for event_type in [keys::event_type(Some(kind)), keys::event_type(None)] {
            for (shape, values) in &row.values {
                let nothing = (*values != [0; 8]).then_some([0; 8]);
                for values in [Some(*values), nothing].into_iter().flatten() {
                    let prefix = keys::key(keys::LISTENER, &[&event_type, shape, &values]);
                    for entry in self.table.scan(&prefix, Bound::Unbounded) {
                        found.extend(keys::listener_of(&entry?.0));
                    }
                }
            }
        }
        Ok(found)
    }
}

fn place_at(key: &[u8], from: usize) -> Option<EventCursor> {
    keys::number_at(key, from).map(EventCursor)
}

/// Everything that an event is looked up by, apart from its place.
fn keys_of(place: EventCursor, row: &EventRow) -> Vec<Vec<u8>> {
    let place = place.0.to_be_bytes();
    let kind = keys::event_type(Some(&row.kind));
    let mut all = vec![keys::key(keys::EVENT_TYPE, &[&kind, &place])];
    if let Some(case) = row.subject {
        all.push(keys::key(keys::EVENT_SUBJECT, &[&case.0.0, &place]));
    }
    for (shape, values) in &row.values {
        all.push(keys::key(keys::EVENT_VALUE, &[shape, values, &place]));
    }
    all
}
