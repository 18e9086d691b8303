//! The notifier: tells cases what the views found for them: events, ended children.
//!
//! Parent: the root. It reads pages of rows that last until they were dealt with, so a crash loses
//! none. Cases are told side by side, each its own news in order.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream;
use ractor::{Actor, ActorProcessingErr, ActorRef};

use crate::actors::cases::load::LoadError;
use crate::actors::cases::message::CommandError;
use crate::actors::context::Context;
use crate::domain::case::command::Command;
use crate::store::views::TableError;
use crate::store::views::wakes::{News, Wake};

/// Rows read in one go.
pub const PAGE: usize = 500;

/// After which what could not be read or told is tried again.
pub const AGAIN: Duration = Duration::from_secs(1);

/// Cases told at the same time.
pub const SIDE_BY_SIDE: usize = 64;

/// The actor.
pub struct NotifierActor;

/// What it is told, by itself alone.
pub enum NotifierMsg {
    Look,
}

impl Actor for NotifierActor {
    type Msg = NotifierMsg;
    type State = Arc<Context>;
    type Arguments = Arc<Context>;

    async fn pre_start(
        &self,
        myself: ActorRef<NotifierMsg>,
        context: Arc<Context>,
    ) -> Result<Arc<Context>, ActorProcessingErr> {
        myself.cast(NotifierMsg::Look)?;
        Ok(context)
    }

    async fn handle(
        &self,
        myself: ActorRef<NotifierMsg>,
        NotifierMsg::Look: NotifierMsg,
        context: &mut Arc<Context>,
    ) -> Result<(), ActorProcessingErr> {
        let mut projected = context.projected.subscribe();
        projected.mark_unchanged();
        let Some(wakes) = readable(context.views.wakes(PAGE)) else {
            tokio::time::sleep(AGAIN).await;
            myself.cast(NotifierMsg::Look)?;
            return Ok(());
        };
        let full = wakes.len() == PAGE;
        let all_told = stream::iter(by_case(wakes))
            .map(|wakes| tell(context.clone(), wakes))
            .buffer_unordered(SIDE_BY_SIDE)
            .fold(true, |all, told| async move { all & told });
        if !all_told.await {
            tokio::time::sleep(AGAIN).await;
        } else if !full {
            // an error means that the process is ending
            let _ = projected.changed().await;
        }
        myself.cast(NotifierMsg::Look)?;
        Ok(())
    }
}

/// The rows of each case, which lie side by side.
fn by_case(wakes: Vec<Wake>) -> Vec<Vec<Wake>> {
    let mut grouped: Vec<Vec<Wake>> = Vec::new();
    for wake in wakes {
        match grouped.last_mut() {
            Some(last) if last[0].case == wake.case => last.push(wake),
            _ => grouped.push(vec![wake]),
        }
    }
    grouped
}

/// Tells a case its news. False: some of it has to be told again.
async fn tell(context: Arc<Context>, wakes: Vec<Wake>) -> bool {
    let mut all = true;
    for wake in wakes {
        let done = match command(&context, wake.news).await {
            Ok(Some(command)) => was_told(context.wake(wake.case, command).await.err()),
            Ok(None) => true,
            Err(error) => {
                tracing::error!(case.id = %wake.case, %error, "what a case is to be told");
                false
            }
        };
        if done && let Err(error) = context.views.remove_wake(&wake) {
            tracing::error!(%error, "a wake cannot be removed");
        }
        all &= done;
    }
    all
}

/// What the views hold; none: they are damaged, and are made anew.
pub fn readable<T>(read: Result<T, TableError>) -> Option<T> {
    read.inspect_err(|error| tracing::warn!(%error, "who is to be woken cannot be read")).ok()
}

async fn command(context: &Arc<Context>, news: News) -> Result<Option<Command>, LoadError> {
    match news {
        News::Event(place) => {
            let incoming = context.incoming(place).await?;
            Ok(incoming.map(|incoming| Command::Deliver(Arc::new(incoming))))
        }
        News::Child(child) => {
            let outcome = context.child_outcome(child).await?;
            Ok(outcome.map(|outcome| Command::ChildEnded { child, outcome }))
        }
    }
}

/// Whether there is nothing left to tell: the case has heard it, or does not want to. One that is
/// out of service is told of everything when it comes back.
fn was_told(error: Option<CommandError>) -> bool {
    !matches!(
        error,
        Some(CommandError::Unavailable(_) | CommandError::Unknown(_) | CommandError::Busy(_))
    )
}
