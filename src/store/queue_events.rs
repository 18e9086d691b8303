//! What was said of a queue, as it lies in the journal: `[{"paused": {…}, "queue": "scoring"}]`.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::record;
use crate::domain::work::queue::QueueEvent;

/// An event and the name of its queue, which the entity's id hides.
#[derive(Serialize, Deserialize)]
struct Wire {
    queue: Arc<str>,
    event: QueueEvent,
}

/// Writes an event as the events of a record.
pub fn encode(queue: &Arc<str>, event: &QueueEvent) -> Vec<u8> {
    let wire = [Wire { queue: queue.clone(), event: event.clone() }];
    serde_json::to_vec(&wire).expect("events of queues are plain JSON")
}

/// Reads a record: its version, the queue's name and the event.
///
/// # Errors
/// What cannot be read.
pub fn decode(record: &[u8]) -> Result<(u64, Arc<str>, QueueEvent), String> {
    let (header, events) = record::decode(record).map_err(|e| e.to_string())?;
    let [Wire { queue, event }]: [Wire; 1] =
        serde_json::from_slice(events).map_err(|e| e.to_string())?;
    Ok((header.last_version(), queue, event))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ids::Entity;
    use crate::domain::time::Timestamp;
    use crate::store::record::{By, Header, encode as record};

    fn golden(name: &str) -> String {
        let path = format!("{}/tests/golden/v8/{name}.json", env!("CARGO_MANIFEST_DIR"));
        std::fs::read_to_string(path).unwrap_or_default().trim_end().to_owned()
    }

    #[test]
    fn what_was_written_once_is_read_for_ever() {
        let (reason, by) = (Arc::from("maintenance"), Arc::from("ops"));
        let events = [
            ("queue-paused", QueueEvent::Paused { reason, by }),
            ("queue-resumed", QueueEvent::Resumed),
            (
                "queue-purged",
                QueueEvent::Purged { at: Timestamp(1_732_183_200_000), reason: "wrong".into() },
            ),
        ];
        for (name, event) in events {
            let queue = Arc::from("scoring");
            let bytes = encode(&queue, &event);
            assert_eq!(String::from_utf8(bytes.clone()).unwrap(), golden(name), "{name}");
            let entity = Entity::queue("scoring");
            let header = Header::following(None, entity, Timestamp(5), By::engine()).unwrap();
            assert_eq!(decode(&record(&header, &bytes)), Ok((1, queue, event)));
        }
    }
}
