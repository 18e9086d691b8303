//! CloudEvents: stored once for each `source` and `id`, then matched by the projector.

use std::collections::HashSet;
use std::sync::Arc;

use crate::actors::cases::submit::LAGGING;
use crate::actors::context::Context;
use crate::actors::events_in_hand::InHand;
use crate::domain::case::command::{Health, Incoming, Listener, Outcome};
use crate::domain::case::problem::{Problem, Standard};
use crate::domain::cloud_event::CloudEvent;
use crate::domain::data::Data;
use crate::domain::ids::{Entity, EventCursor, EventId};
use crate::domain::time::Timestamp;
use crate::store::EngineFence;
use crate::store::commit_note::CommitNote;
use crate::store::journal::{Append, Appended, Journal, ReadError};
use crate::store::record::{self, By, Header};
use crate::store::views::events::KEPT;

/// Bytes of events that a case is told of in one go, but for the last of them.
const TOLD_BYTES: usize = 1 << 20;

/// Records looked at in one go where several events are wanted that stand close together.
const LOOKED_AT: u64 = 16;

/// Times that events are stored anew because somebody else stored one of them.
const TRIES: usize = 5;

type EventAppend = Append<EngineFence, CommitNote>;

impl Context {
    /// Stores events, all or none. How many were new: the same one within seven days is one event.
    ///
    /// # Errors
    /// When none was stored.
    pub async fn store_events(&self, events: &[CloudEvent], by: By) -> Result<usize, String> {
        if let Some(refusal) = self.intake.refusal() {
            return Err(refusal.to_owned());
        }
        if self.views_lag() {
            return Err(LAGGING.to_owned());
        }
        for _ in 0..TRIES {
            let mut appends: Vec<EventAppend> = Vec::with_capacity(events.len());
            let mut among = HashSet::new();
            for event in events {
                if among.insert(event.id) {
                    let append = self.append_of(event, by.clone()).await;
                    appends.extend(append.map_err(|e| e.to_string())?);
                }
            }
            if appends.is_empty() {
                return Ok(0);
            }
            match self.journal.append_all_or_none(appends).await {
                Appended::Committed(stored) => return Ok(stored.len()),
                // somebody stored one of them just now; or we did, and were not told
                Appended::Conflict | Appended::Unknown => {}
                Appended::Refused(refused) => return Err(refused.to_string()),
            }
        }
        Err("it is not known whether the events were stored; send them again".to_owned())
    }

    /// The append of an event; none: it is there already.
    async fn append_of(
        &self,
        event: &CloudEvent,
        by: By,
    ) -> Result<Option<EventAppend>, ReadError> {
        let entity = Entity::from(event.id);
        let now = self.clock.now();
        let last = self.journal.last(entity).await?;
        let bytes = last.as_ref().map(|last| &last.record[..]);
        if let Some(Ok((known, _))) = bytes.map(record::decode)
            && now.since(known.at) < KEPT
        {
            return Ok(None);
        }
        // one that cannot be read was there, whatever it said
        let Ok(header) = Header::following(bytes, entity, now, by) else {
            return Ok(None);
        };
        let words = ("event", &event.attributes);
        let events = serde_json::to_vec(&[words]).unwrap_or_default();
        let record = record::encode(&header, &events).into();
        let fence = last.map(|last| last.fence);
        Ok(Some(Append { entity, fence, first: header.version, record, note: None }))
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

    /// The event at a place; none: there is none, or it is damaged.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub async fn event_at(&self, place: EventCursor) -> Result<Option<Data>, ReadError> {
        Ok(self.stored_event(place).await?.map(|(_, _, event)| event))
    }

    /// The event at a place with its identity, and when it was stored; none: there is none, or it is damaged.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub async fn stored_event(
        &self,
        place: EventCursor,
    ) -> Result<Option<(Timestamp, EventId, Data)>, ReadError> {
        let tail = self.journal.events(place.before(), 1).await?;
        let found = tail.records.first().filter(|(at, _)| *at == place);
        Ok(found.and_then(|(_, record)| {
            let (header, event) = event_in(record)?;
            Some((header.at, EventId(header.entity.bits), event))
        }))
    }

    /// The events at these places, in order, as a case takes them. Those that are gone or damaged are left
    /// out, and those behind [`TOLD_BYTES`]. Waits until there is room for them.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub async fn incoming(
        &self,
        places: &[EventCursor],
        wanted_by: Listener,
    ) -> Result<InHand, ReadError> {
        let reads = self.events_in_hand.read().await;
        let (mut found, mut bytes, mut wanted) = (Vec::new(), 0, places.iter().copied().peekable());
        while let Some(first) = wanted.peek().copied()
            && bytes < TOLD_BYTES
        {
            let mut take = |position, (event, size): (Data, usize)| {
                bytes += size;
                found.push(Incoming { event, position, wanted_by });
                bytes < TOLD_BYTES
            };
            if let Some(known) = self.events_in_hand.known(first) {
                wanted.next();
                take(first, known);
                continue;
            }
            let tail = self.journal.events(first.before(), span(places, first)).await?;
            let read = tail.next.max(first);
            while let Some(place) = wanted.next_if(|place| *place <= read) {
                let record = tail.records.iter().find(|(at, _)| *at == place);
                let Some((event, size)) =
                    record.and_then(|(_, record)| Some((event_in(record)?.1, record.len())))
                else {
                    continue;
                };
                self.events_in_hand.keep(place, (event.clone(), size));
                if !take(place, (event, size)) {
                    break;
                }
            }
        }
        let in_hand = self.events_in_hand.hold(found, bytes).await;
        drop(reads);
        Ok(in_hand)
    }
}

/// Records to be read for the event at `first`, and for those of the places in order that stand close
/// behind it.
fn span(places: &[EventCursor], first: EventCursor) -> usize {
    let behind = places.iter().filter_map(|place| place.0.checked_sub(first.0));
    let last = behind.take_while(|ahead| *ahead < LOOKED_AT).last();
    last.map_or(1, |ahead| ahead as usize + 1)
}

/// The header and the event of a record.
pub fn event_in(record: &[u8]) -> Option<(Header, Data)> {
    let (header, events) = record::decode(record).ok()?;
    let [(word, event)]: [(String, Data); 1] = serde_json::from_slice(events).ok()?;
    (word == "event").then_some((header, event))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sparse_events_are_read_singly_and_dense_ones_together() {
        let span = |places: &[u64], first: u64| {
            let places: Vec<_> = places.iter().copied().map(EventCursor).collect();
            span(&places, EventCursor(first))
        };
        assert_eq!(span(&[7], 7), 1);
        assert_eq!(span(&[7, 1000, 2000], 7), 1, "what stands between is not read");
        assert_eq!(span(&[7, 1000, 2000], 1000), 1);
        assert_eq!(span(&[3, 7, 8, 12, 40], 7), 6, "up to the last that is close");
        assert_eq!(span(&[1, 16, 17], 1), 16, "no more than that in one go");
    }
}
