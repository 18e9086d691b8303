//! Instants at which cases have to be woken. One sleeper serves them all: the near ones are kept in
//! memory, the others are rows of an index that is read in time.
//!
//! Parent: the root. When the actor crashes, it begins again with what the index holds; an instant
//! that comes twice does no harm.

pub mod near;

use std::sync::Arc;
use std::time::Duration;

use ractor::{Actor, ActorProcessingErr, ActorRef};

use super::cases::tell::Woken;
use super::context::Context;
use crate::domain::case::command::Command;

/// After which the index is read again where it could not be.
const AGAIN: Duration = Duration::from_secs(1);

/// The actor.
pub struct TimersActor;

/// What it is told, by itself alone.
pub enum TimersMsg {
    Look,
}

impl Actor for TimersActor {
    type Msg = TimersMsg;
    type State = Arc<Context>;
    type Arguments = Arc<Context>;

    async fn pre_start(
        &self,
        myself: ActorRef<TimersMsg>,
        context: Arc<Context>,
    ) -> Result<Arc<Context>, ActorProcessingErr> {
        myself.cast(TimersMsg::Look)?;
        Ok(context)
    }

    async fn handle(
        &self,
        myself: ActorRef<TimersMsg>,
        TimersMsg::Look: TimersMsg,
        context: &mut Arc<Context>,
    ) -> Result<(), ActorProcessingErr> {
        let timers = &context.timers;
        let now = context.clock.now();
        // until the views are filled they hold instants that are long over, and not all
        let filling = context.views.progress().is_some();
        if filling {
            timers.keep_all();
        }
        if timers.wants_more(now) && !filling {
            let (views, read) = (context.views.clone(), timers.reads(now));
            let (until, most) = (read.until, read.most);
            let found = tokio::task::spawn_blocking(move || views.due(until, most)).await?;
            match found {
                Ok(instants) => timers.refill(read, instants),
                Err(error) => {
                    // the views are made anew
                    tracing::warn!(%error, "the index of instants cannot be read");
                    tokio::time::sleep(AGAIN).await;
                    myself.cast(TimersMsg::Look)?;
                    return Ok(());
                }
            }
        }
        if !context.wants.has_room() {
            tokio::time::sleep(AGAIN).await;
            myself.cast(TimersMsg::Look)?;
            return Ok(());
        }
        let due = timers.take_due(now, 1000);
        for case in &due {
            if context.wake_soon(*case, Command::Timer) == Woken::NoRoom {
                timers.note(now, *case);
            }
        }
        if due.is_empty() {
            let next = if filling { timers.first() } else { Some(timers.next()) };
            tokio::select! {
                () = context.clock.sleep_until(next.unwrap_or_default()), if next.is_some() => {}
                () = timers.sooner.notified() => {}
            }
        }
        myself.cast(TimersMsg::Look)?;
        Ok(())
    }
}
