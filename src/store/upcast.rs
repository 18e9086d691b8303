//! Older shapes of events, brought to the one of today. Golden files of every schema keep being read.

use super::events;
use super::record::{BadRecord, Header, SCHEMA};
use crate::domain::case::event::Event;

/// Reads the events of a record, whatever schema they were written in.
///
/// # Errors
/// When they are damaged or from a later version.
pub fn events(header: &Header, bytes: &[u8]) -> Result<Vec<Event>, BadRecord> {
    // each later schema only adds facts, whose absence means what it meant
    if !(1..=SCHEMA).contains(&header.schema) {
        let detail =
            format!("they are of schema {}, this version reads up to {SCHEMA}", header.schema);
        return Err(BadRecord::Events(detail));
    }
    let events = events::decode(bytes).map_err(BadRecord::Events)?;
    if events.len() as u64 != header.count {
        let detail = format!("there are {}, the record says {}", events.len(), header.count);
        return Err(BadRecord::Events(detail));
    }
    Ok(events)
}
