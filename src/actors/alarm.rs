//! The one instant at which an actor has to look by itself.

use ractor::{ActorRef, Message};
use tokio::task::JoinHandle;

use crate::clock::Clock;
use crate::domain::time::Timestamp;

/// An alarm of an actor; it goes with its actor.
#[derive(Default)]
pub struct Alarm(Option<JoinHandle<()>>);

impl Alarm {
    /// Says this to the actor at an instant, and what it was set to before no more; none: never.
    pub fn set<M: Message>(
        &mut self,
        clock: &Clock,
        actor: &ActorRef<M>,
        at: Option<Timestamp>,
        say: fn() -> M,
    ) {
        self.stop();
        let Some(at) = at else { return };
        let (clock, actor) = (clock.clone(), actor.clone());
        self.0 = Some(tokio::spawn(async move {
            clock.sleep_until(at).await;
            // an error means that it has ended
            let _ = actor.cast(say());
        }));
    }

    fn stop(&mut self) {
        if let Some(set) = self.0.take() {
            set.abort();
        }
    }
}

impl Drop for Alarm {
    fn drop(&mut self) {
        self.stop();
    }
}
