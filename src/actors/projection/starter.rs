//! The starter: starts cases that were accepted when there was no place for them.
//!
//! Parent: the root. It reads pages of rows that last until their cases have started.

use std::sync::Arc;

use ractor::{Actor, ActorProcessingErr, ActorRef};

use super::notifier::{AGAIN, PAGE, readable, was_told};
use super::side_by_side::SideBySide;
use crate::actors::context::Context;
use crate::domain::case::command::Command;
use crate::domain::ids::CaseId;

/// Cases that wait for a place, or are being started, at the same time.
const STARTED_AT_ONCE: usize = 64;

/// The actor.
pub struct StarterActor;

/// What it is told, by itself alone.
pub enum StarterMsg {
    Look,
}

/// What it lives on.
pub struct StarterState {
    context: Arc<Context>,
    starting: SideBySide,
}

impl Actor for StarterActor {
    type Msg = StarterMsg;
    type State = StarterState;
    type Arguments = Arc<Context>;

    async fn pre_start(
        &self,
        myself: ActorRef<StarterMsg>,
        context: Arc<Context>,
    ) -> Result<StarterState, ActorProcessingErr> {
        myself.cast(StarterMsg::Look)?;
        Ok(StarterState { context, starting: SideBySide::new(STARTED_AT_ONCE) })
    }

    async fn handle(
        &self,
        myself: ActorRef<StarterMsg>,
        StarterMsg::Look: StarterMsg,
        state: &mut StarterState,
    ) -> Result<(), ActorProcessingErr> {
        let context = &state.context;
        context.views_filled().await;
        let mut projected = context.projected.subscribe();
        projected.mark_unchanged();
        let Some(pending) = readable(context.views.pending(PAGE)) else {
            tokio::time::sleep(AGAIN).await;
            myself.cast(StarterMsg::Look)?;
            return Ok(());
        };
        for case in pending {
            if context.cases.quarantined(case).is_none() {
                let context = context.clone();
                state.starting.begin(case, move |_room| start(context.clone(), case)).await;
            }
        }
        // what was started leaves the list with the next batch
        tokio::select! {
            _ = projected.changed() => {}
            () = state.starting.failed() => {}
        }
        myself.cast(StarterMsg::Look)?;
        Ok(())
    }
}

/// Starts a case as soon as there is a place for it.
async fn start(context: Arc<Context>, case: CaseId) -> bool {
    let told = context.wake(case, Command::Start(None)).await;
    let started = was_told(told.as_ref().err());
    if !started {
        tokio::time::sleep(AGAIN).await;
    }
    // a "no" means that it was started or cancelled meanwhile
    started
}
