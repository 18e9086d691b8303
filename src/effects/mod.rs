//! The hands: each sends one kind of effect and says what came of it. They decide nothing.

pub mod email;
pub mod http;
pub mod names;

use std::time::Instant;

/// An effect that may leave until an instant of the monotonic clock, and not a moment later:
/// whoever asks whether it was done relies on that.
#[derive(Debug, Clone, Copy)]
pub struct SendBy(pub Instant);

impl SendBy {
    /// Whether it is too late. The last thing that is looked at before anything is sent.
    pub fn is_past(self) -> bool {
        Instant::now() > self.0
    }
}
