//! Events read for cases that are told of them: how many bytes of them there are at a time, and the latest
//! of them, which very many may listen for.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit};

use crate::domain::case::command::Incoming;
use crate::domain::data::Data;
use crate::domain::ids::EventCursor;

/// Who may read at a time: what they have found is not counted yet.
const READING: usize = 4;

/// KiB of records whose events are in hand at a time. Parsed they may take ten times that.
const ROOM: usize = 16 * 1024;

/// Events that are kept, and bytes of their records.
const KEPT: usize = 64;
const KEPT_BYTES: usize = 4 << 20;

/// Events while a case is told of them.
pub struct InHand {
    pub events: Vec<Incoming>,
    _room: Option<OwnedSemaphorePermit>,
}

/// What bounds them.
pub struct EventsInHand {
    reading: Semaphore,
    room: Arc<Semaphore>,
    latest: Mutex<Latest>,
}

#[derive(Default)]
struct Latest {
    /// Each with the bytes of its record.
    events: VecDeque<(EventCursor, (Data, usize))>,
    bytes: usize,
}

impl Default for EventsInHand {
    fn default() -> Self {
        let (reading, room) = (Semaphore::new(READING), Arc::new(Semaphore::new(ROOM)));
        Self { reading, room, latest: Mutex::default() }
    }
}

impl EventsInHand {
    /// A turn to read.
    pub async fn read(&self) -> Option<SemaphorePermit<'_>> {
        self.reading.acquire().await.ok()
    }

    /// Takes events whose records have so many bytes in hand, once there is room for them.
    pub async fn hold(&self, events: Vec<Incoming>, bytes: usize) -> InHand {
        let room = u32::try_from(bytes.div_ceil(1024).min(ROOM)).unwrap_or(u32::MAX);
        // nobody closes it
        let room = self.room.clone().acquire_many_owned(room).await.ok();
        InHand { events, _room: room }
    }

    /// An event that somebody was told of lately, and the bytes of its record.
    pub fn known(&self, place: EventCursor) -> Option<(Data, usize)> {
        let latest = self.latest();
        let found = latest.events.iter().find(|(known, _)| *known == place);
        found.map(|(_, event)| event.clone())
    }

    /// Keeps one for the next who is told of it.
    pub fn keep(&self, place: EventCursor, event: (Data, usize)) {
        let mut latest = self.latest();
        latest.bytes += event.1;
        latest.events.push_back((place, event));
        while latest.events.len() > KEPT || latest.bytes > KEPT_BYTES {
            let Some((_, (_, bytes))) = latest.events.pop_front() else { return };
            latest.bytes -= bytes;
        }
    }

    fn latest(&self) -> MutexGuard<'_, Latest> {
        self.latest.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_are_kept_within_their_bounds() {
        let events = EventsInHand::default();
        let event = |bytes| (Data::null(), bytes);
        for n in 0..=KEPT as u64 {
            events.keep(EventCursor(n), event(10));
        }
        assert_eq!(events.known(EventCursor(0)), None);
        assert_eq!(events.known(EventCursor(1)), Some(event(10)));
        events.keep(EventCursor(500), event(KEPT_BYTES));
        assert_eq!(events.known(EventCursor(KEPT as u64)), None);
        assert_eq!(events.known(EventCursor(500)), Some(event(KEPT_BYTES)));
    }

    #[tokio::test]
    async fn who_finds_no_room_waits_until_others_have_told() {
        let events = EventsInHand::default();
        let first = events.hold(Vec::new(), ROOM * 1024).await;
        // one that is larger than all there is goes alone
        let mut second = Box::pin(events.hold(Vec::new(), 10 * ROOM * 1024));
        assert!(futures_util::poll!(&mut second).is_pending());
        drop(first);
        assert!(futures_util::poll!(&mut second).is_ready());
    }
}
