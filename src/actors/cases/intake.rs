//! What lets submissions in: only where there is room.
//!
//! Bounds: up to `[cases] live_max` cases move at once; beyond that they are accepted and wait,
//! stored and without memory, up to `[cases] pending_max`; beyond that, or while the views lag, the
//! submission is refused before anything is stored.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Instant;

/// Milliseconds between two looks at the disk.
const LOOK_EVERY: u64 = 20;

/// What the intake knows of the room that is left.
pub struct Intake {
    /// Cases that may wait to be started.
    pub pending_max: usize,
    /// Cases that were accepted and not started, as far as known.
    pending: AtomicUsize,
    /// The disk holds less than `[data] min_free`.
    disk_full: AtomicBool,
    /// Milliseconds since the start at which that was looked at last.
    looked: AtomicU64,
    begun: Instant,
    /// The process is ending.
    closed: AtomicBool,
}

impl Intake {
    /// An intake with so much room.
    pub fn new(pending_max: usize) -> Self {
        Self {
            pending_max,
            pending: AtomicUsize::new(0),
            disk_full: AtomicBool::new(false),
            looked: AtomicU64::new(0),
            begun: Instant::now(),
            closed: AtomicBool::new(false),
        }
    }

    /// So many cases wait to be started.
    pub fn set_pending(&self, count: usize) {
        self.pending.store(count, Ordering::Relaxed);
    }

    /// Another case waits to be started.
    pub fn add_pending(&self) {
        self.pending.fetch_add(1, Ordering::Relaxed);
    }

    /// Cases that wait to be started.
    pub fn pending(&self) -> usize {
        self.pending.load(Ordering::Relaxed)
    }

    /// Whether the disk holds less than it should.
    pub fn set_disk_full(&self, full: bool) {
        let before = self.disk_full.swap(full, Ordering::Relaxed);
        match (before, full) {
            (false, true) => tracing::error!(
                "the disk holds less than `[data] min_free`: nothing is accepted until it has room"
            ),
            (true, false) => tracing::info!("the disk has room again"),
            _ => {}
        }
    }

    /// Whether it is time to look at the disk again: a second is long where much comes in.
    pub fn looks_at_disk(&self) -> bool {
        let now = u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        let last = self.looked.load(Ordering::Relaxed);
        now.saturating_sub(last) >= LOOK_EVERY
            && self.looked.compare_exchange(last, now, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }

    /// Nothing more is let in.
    pub fn close(&self) {
        self.closed.store(true, Ordering::Relaxed);
    }

    /// Why nothing can be stored now, if so.
    pub fn refusal(&self) -> Option<&'static str> {
        if self.closed.load(Ordering::Relaxed) {
            Some("the process is ending")
        } else if self.disk_full.load(Ordering::Relaxed) {
            Some("the disk holds less than `[data] min_free`")
        } else {
            None
        }
    }
}
