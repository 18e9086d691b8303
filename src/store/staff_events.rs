//! Events of CSRs and holiday calendars, as they lie in the journal: a JSON array of them, each an object
//! with one field, its word.

use super::record::{self, Header, SCHEMA};
use crate::domain::staff::csr::event::Event;
use crate::domain::staff::holidays::HolidayCalendar;

/// The schema that CSRs came with.
const FIRST: u8 = 6;

/// Writes events of a CSR.
pub fn encode(events: &[Event]) -> Vec<u8> {
    serde_json::to_vec(events).expect("events are plain JSON")
}

/// Reads events of a CSR.
///
/// # Errors
/// What cannot be read.
pub fn decode(header: &Header, bytes: &[u8]) -> Result<Vec<Event>, String> {
    if !(FIRST..=SCHEMA).contains(&header.schema) {
        return Err(format!(
            "they are of schema {}, this version reads up to {SCHEMA}",
            header.schema
        ));
    }
    serde_json::from_slice(bytes).map_err(|error| error.to_string())
}

/// Writes what a calendar says from now on.
pub fn encode_calendar(calendar: &HolidayCalendar) -> Vec<u8> {
    serde_json::to_vec(&[("set", calendar)]).expect("calendars are plain JSON")
}

/// Reads what a calendar says, from its last record.
///
/// # Errors
/// What cannot be read.
pub fn calendar(bytes: &[u8]) -> Result<HolidayCalendar, String> {
    let (_, events) = record::decode(bytes).map_err(|error| error.to_string())?;
    let [(word, calendar)]: [(String, HolidayCalendar); 1] =
        serde_json::from_slice(events).map_err(|error| error.to_string())?;
    match word.as_str() {
        "set" => Ok(calendar),
        _ => Err(format!("the word `{word}` is not known")),
    }
}

#[cfg(test)]
mod tests;
