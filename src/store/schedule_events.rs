//! What happened to a schedule, as it lies in the journal: `[{"schedule": "billing.invoice-daily", "base": 1,
//! "event": {"fired": {…}}}, …]`.
//!
//! A schedule may run each second for years. So that nobody has to read all of that, its state is written down
//! again and again, in the first event of a record: `base` is the version of the last such event.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::record;
use crate::domain::schedule::event::ScheduleEvent;
use crate::domain::schedule::state::State;

/// Events after which the state is written down again.
pub const WRITTEN_EVERY: u64 = 500;

/// Events of one record.
#[derive(Clone, PartialEq, Debug)]
pub struct Batch {
    /// The schedule's id, which the entity's own hides.
    pub schedule: Arc<str>,
    /// Version of the event that has the state before it.
    pub base: u64,
    /// The state before these events.
    pub state: Option<State>,
    pub events: Vec<ScheduleEvent>,
}

#[derive(Serialize, Deserialize)]
struct Wire {
    schedule: Arc<str>,
    base: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    state: Option<State>,
    event: ScheduleEvent,
}

/// Writes events as those of a record.
pub fn encode(batch: &Batch) -> Vec<u8> {
    let wire = batch.events.iter().enumerate().map(|(n, event)| Wire {
        schedule: batch.schedule.clone(),
        base: batch.base,
        state: batch.state.clone().filter(|_| n == 0),
        event: event.clone(),
    });
    serde_json::to_vec(&wire.collect::<Vec<_>>()).expect("events of schedules are plain JSON")
}

/// Reads a record: its last version, and its events.
///
/// # Errors
/// What cannot be read.
pub fn decode(record: &[u8]) -> Result<(u64, Batch), String> {
    let (header, events) = record::decode(record).map_err(|e| e.to_string())?;
    let wire: Vec<Wire> = serde_json::from_slice(events).map_err(|e| e.to_string())?;
    let mut wire = wire.into_iter();
    let Wire { schedule, base, state, event } = wire.next().ok_or("it has no event")?;
    let events = std::iter::once(event).chain(wire.map(|wire| wire.event)).collect();
    Ok((header.last_version(), Batch { schedule, base, state, events }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ids::{Bits, CaseId, Entity, EventCursor, EventId, Fingerprint};
    use crate::domain::schedule::event::{Cause, KeptEvent, Outcome, Run, Set, Skip};
    use crate::domain::time::Timestamp;
    use crate::store::record::{By, Header, encode as record};

    const AT: Timestamp = Timestamp(1_732_183_200_000);

    fn golden(name: &str) -> String {
        let path = format!("{}/tests/golden/v8/{name}.json", env!("CARGO_MANIFEST_DIR"));
        std::fs::read_to_string(path).unwrap_or_default().trim_end().to_owned()
    }

    fn run(cause: Cause) -> ScheduleEvent {
        let (case, version) = (CaseId(Bits([7; 16])), "1.0.0".into());
        ScheduleEvent::Fired(Run { due: AT, at: AT.plus(3), case, version, cause })
    }

    fn events() -> Vec<(&'static str, ScheduleEvent)> {
        let case = CaseId(Bits([7; 16]));
        let closed = |outcome| ScheduleEvent::Closed { case, at: AT.plus(9), outcome };
        let set = Set {
            version: "1.0.0".into(),
            timing: "every PT5M".into(),
            filters: Some(Fingerprint(Bits([4; 16]))),
            anchor: AT,
            through: AT.plus(1),
            events: EventCursor(12),
        };
        let kept = KeptEvent {
            filter: 1,
            place: EventCursor(13),
            id: EventId(Bits([8; 16])),
            values: [("order".into(), Fingerprint(Bits([9; 16])))].into(),
        };
        let places = vec![EventCursor(13), EventCursor(14)];
        vec![
            ("schedule-set", ScheduleEvent::Set(set)),
            ("schedule-ended", ScheduleEvent::Ended { version: "2.0.0".into() }),
            ("schedule-fired", run(Cause::Due { previous: Some(AT.plus(-5)) })),
            ("schedule-triggered", run(Cause::Triggered { previous: None })),
            ("schedule-fired-by-events", run(Cause::Events { places })),
            ("schedule-skipped", ScheduleEvent::Skipped { due: AT, why: Skip::Missed, count: 3 }),
            ("schedule-waits", ScheduleEvent::Waits { due: AT }),
            ("schedule-kept", ScheduleEvent::Kept { event: kept }),
            ("schedule-heard", ScheduleEvent::Heard { through: EventCursor(15) }),
            ("schedule-closed", closed(Outcome::Completed)),
            ("schedule-refused", closed(Outcome::Refused("no customer".into()))),
            (
                "schedule-paused",
                ScheduleEvent::Paused {
                    reason: "holidays".into(),
                    by: "ops".into(),
                    events: EventCursor(16),
                },
            ),
            (
                "schedule-resumed",
                ScheduleEvent::Resumed { from: Some(AT), at: AT.plus(7), events: EventCursor(17) },
            ),
        ]
    }

    #[test]
    fn what_was_written_once_is_read_for_ever() {
        let mut state = State::default();
        let entity = Entity::schedule("billing.daily");
        let of = |name: &str, batch: &Batch| {
            let bytes = encode(batch);
            assert_eq!(String::from_utf8(bytes.clone()).unwrap(), golden(name), "{name}");
            let header = Header::following(None, entity, AT, By::engine()).unwrap();
            assert_eq!(decode(&record(&header, &bytes)), Ok((1, batch.clone())));
        };
        let schedule: Arc<str> = "billing.daily".into();
        for (name, event) in events() {
            state.evolve(&event);
            let events = vec![event];
            of(name, &Batch { schedule: schedule.clone(), base: 1, state: None, events });
        }
        // with everything that a state can hold
        for (_, event) in events() {
            let ends = matches!(
                event,
                ScheduleEvent::Ended { .. }
                    | ScheduleEvent::Closed { .. }
                    | ScheduleEvent::Heard { .. }
                    | ScheduleEvent::Resumed { .. }
            );
            if !ends {
                state.evolve(&event);
            }
        }
        let events = vec![
            ScheduleEvent::Waits { due: AT },
            ScheduleEvent::Resumed { from: None, at: AT, events: EventCursor(17) },
        ];
        of("schedule-state", &Batch { schedule, base: 501, state: Some(state), events });
    }
}
