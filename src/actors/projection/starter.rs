//! The starter: starts cases that were accepted when there was no place for them.
//!
//! Parent: the root. It reads pages of rows that last until their cases have started.

use std::sync::Arc;

use futures_util::StreamExt;
use futures_util::stream;
use ractor::{Actor, ActorProcessingErr, ActorRef};

use super::notifier::{AGAIN, PAGE, SIDE_BY_SIDE, readable};
use crate::actors::context::Context;
use crate::domain::case::command::Command;

/// The actor.
pub struct StarterActor;

/// What it is told, by itself alone.
pub enum StarterMsg {
    Look,
}

impl Actor for StarterActor {
    type Msg = StarterMsg;
    type State = Arc<Context>;
    type Arguments = Arc<Context>;

    async fn pre_start(
        &self,
        myself: ActorRef<StarterMsg>,
        context: Arc<Context>,
    ) -> Result<Arc<Context>, ActorProcessingErr> {
        myself.cast(StarterMsg::Look)?;
        Ok(context)
    }

    async fn handle(
        &self,
        myself: ActorRef<StarterMsg>,
        StarterMsg::Look: StarterMsg,
        context: &mut Arc<Context>,
    ) -> Result<(), ActorProcessingErr> {
        let mut projected = context.projected.subscribe();
        projected.mark_unchanged();
        let Some(pending) = readable(context.views.pending(PAGE)) else {
            tokio::time::sleep(AGAIN).await;
            myself.cast(StarterMsg::Look)?;
            return Ok(());
        };
        stream::iter(pending)
            .for_each_concurrent(SIDE_BY_SIDE, |case| {
                let context = context.clone();
                async move {
                    if context.cases.quarantined(case).is_none() {
                        // a "no" means that it was started or cancelled meanwhile
                        let _ = context.wake(case, Command::Start(None)).await;
                    }
                }
            })
            .await;
        // what was started leaves the list with the next batch
        let _ = projected.changed().await;
        myself.cast(StarterMsg::Look)?;
        Ok(())
    }
}
