//! CloudEvents: stored once for each `source` and `id`, then matched by the projector.

use std::sync::Arc;

use super::office::Office;
use crate::domain::case::command::{Health, Incoming, Outcome};
use crate::domain::case::problem::{Problem, Standard};
use crate::domain::cloud_event::CloudEvent;
use crate::domain::data::Data;
use crate::domain::ids::Entity;
use crate::store::embedded::{Append, AppendError, ReadError};
use crate::store::note::Note;
use crate::store::record::{self, By, Header};
use crate::store::views::events::KEPT;

impl Office {
    /// Stores events, all or none. How many were new: the same one within seven days is one event.
    ///
    /// # Errors
    /// When none was stored.
    pub async fn store_events(&self, events: &[CloudEvent], by: By) -> Result<usize, String> {
        if let Some(refusal) = self.intake.refusal() {
            return Err(refusal.to_owned());
        }
        let mut appends = Vec::with_capacity(events.len());
        for event in events {
            appends.extend(self.append_of(event, by.clone()).map_err(|e| e.to_string())?);
        }
        let answers = self.journal.append_all(appends).await.map_err(|e| e.to_string())?;
        let mut stored = 0;
        for answer in answers {
            match answer {
                Ok(_) => stored += 1,
                // somebody stored the same event just now
                Err(AppendError::Conflict) => {}
                Err(error) => return Err(error.to_string()),
            }
        }
        Ok(stored)
    }

    /// The append of an event; none: it is there already.
    fn append_of(&self, event: &CloudEvent, by: By) -> Result<Option<Append<Note>>, ReadError> {
        let entity = Entity::from(event.id);
        let now = self.clock.now();
        let last = self.journal.last_of(entity)?;
        if let Some(Ok((known, _))) = last.as_deref().map(record::decode)
            && now.since(known.at) < KEPT
        {
            return Ok(None);
        }
        // one that cannot be read was there, whatever it said
        let Ok(header) = Header::following(last.as_deref(), entity, now, by) else {
            return Ok(None);
        };
        let expected = header.version - 1;
        let words = ("event", &event.attributes);
        let events = serde_json::to_vec(&[words]).unwrap_or_default();
        let record = record::encode(&header, &events);
        Ok(Some(Append { entity, expected, count: 1, record, note: None }))
    }

    /// Stores an event that a case emits.
    pub async fn emit(self: &Arc<Self>, event: &Data) -> Outcome {
        let checked = match CloudEvent::check((**event).clone()) {
            Ok(checked) => checked,
            Err(violations) => {
                let wrong: Vec<String> =
                    violations.iter().map(|v| format!("{}: {}", v.pointer, v.detail)).collect();
                let error = Problem::new(Standard::Validation, wrong.join("; "));
                return Outcome::Failed { error, server: false };
            }
        };
        match self.store_events(&[checked], By::engine()).await {
            Ok(_) => Outcome::Done(event.clone()),
            Err(detail) => {
                let error = Problem::new(Standard::Runtime, detail);
                Outcome::NotDone { error, retry_after: None, health: Health::default() }
            }
        }
    }

    /// The event at a position, as cases take it.
    pub fn incoming(&self, position: u64) -> Option<Incoming> {
        let record = self.journal.at(position).ok().flatten()?;
        Some(Incoming { event: event_in(&record)?.1, position })
    }
}

/// The header and the event of a record.
pub fn event_in(record: &[u8]) -> Option<(Header, Data)> {
    let (header, events) = record::decode(record).ok()?;
    let [(word, event)]: [(String, Data); 1] = serde_json::from_slice(events).ok()?;
    (word == "event").then_some((header, event))
}
