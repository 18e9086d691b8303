//! The notifier: tells cases what the views found for them: events, ended children.
//!
//! Parent: the root. It reads pages of rows that last until they were dealt with, so a crash loses
//! none. Cases are told side by side, each its own news in order.

use std::sync::Arc;
use std::time::{Duration, Instant};

use ractor::{Actor, ActorProcessingErr, ActorRef};

use crate::actors::cases::load::LoadError;
use crate::actors::cases::message::CommandError;
use crate::actors::context::Context;
use crate::actors::projection::side_by_side::SideBySide;
use crate::domain::case::command::{Command, Rejection};
use crate::store::views::wakes::{News, Wake};
use crate::store::views::{TableError, Views};

/// Rows read in one go.
pub const PAGE: usize = 500;

/// After which what could not be read or told is tried again.
pub const AGAIN: Duration = Duration::from_secs(1);

/// Before which nobody looks again for those that are busy.
pub const SOON: Duration = Duration::from_millis(100);

/// How long a case that was told something may take until it listens again.
const RELISTENS: Duration = Duration::from_millis(100);

/// Rows that are gone through with every batch of the projector.
const NOTED_FEW: usize = 1000;

/// Cases told at the same time.
const TOLD_AT_ONCE: usize = 1000;

/// The actor.
pub struct NotifierActor;

/// What it is told, by itself alone.
pub enum NotifierMsg {
    Look,
}

/// What it lives on.
pub struct NotifierState {
    context: Arc<Context>,
    telling: SideBySide,
}

impl Actor for NotifierActor {
    type Msg = NotifierMsg;
    type State = NotifierState;
    type Arguments = Arc<Context>;

    async fn pre_start(
        &self,
        myself: ActorRef<NotifierMsg>,
        context: Arc<Context>,
    ) -> Result<NotifierState, ActorProcessingErr> {
        myself.cast(NotifierMsg::Look)?;
        Ok(NotifierState { context, telling: SideBySide::new(TOLD_AT_ONCE) })
    }

    async fn handle(
        &self,
        myself: ActorRef<NotifierMsg>,
        NotifierMsg::Look: NotifierMsg,
        state: &mut NotifierState,
    ) -> Result<(), ActorProcessingErr> {
        let mut projected = state.context.projected.subscribe();
        projected.mark_unchanged();
        match state.tell_all().await {
            Some(true) => {
                // an error means that the process is ending
                let _ = projected.changed().await;
            }
            // some are being told something already: what is there for them beside is looked for again
            Some(false) => tokio::time::sleep(SOON).await,
            None => tokio::time::sleep(AGAIN).await,
        }
        myself.cast(NotifierMsg::Look)?;
        Ok(())
    }
}

impl NotifierState {
    /// Begins to tell every case its news. Whether all were begun; none: the views cannot be read.
    async fn tell_all(&self) -> Option<bool> {
        let (mut last, mut all, mut rows) = (None, true, 0);
        loop {
            let wakes = readable(self.context.views.wakes(last, PAGE))?;
            let full = wakes.len() == PAGE;
            last = wakes.last().copied();
            rows += wakes.len();
            for wakes in by_case(wakes) {
                let case = wakes[0].case;
                all &= self.telling.begin(case, tell(self.context.clone(), wakes)).await;
            }
            if !full {
                // where much stays noted, it is not gone through with every batch
                return Some(all && rows <= NOTED_FEW);
            }
        }
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

/// Tells a case its news. Where it could not be told it is told again, after a while; meanwhile nothing
/// else is begun for the case.
async fn tell(context: Arc<Context>, wakes: Vec<Wake>) {
    let mut all = true;
    let mut projected = context.projected.subscribe();
    let mut patience = RELISTENS;
    for wake in wakes {
        // a case that has just taken one event may listen for the next in a moment
        let wanted = loop {
            let wanted = readable(is_wanted_now(&context.views, &wake)) == Some(true);
            if wanted || patience.is_zero() {
                break wanted;
            }
            let begun = Instant::now();
            let _ = tokio::time::timeout(patience, projected.changed()).await;
            patience = patience.saturating_sub(begun.elapsed());
        };
        if !wanted {
            // it stays noted until the case listens for it, or has ended
            continue;
        }
        patience = RELISTENS;
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
    if !all {
        tokio::time::sleep(AGAIN).await;
    }
}

/// Whether a case can take its news now, as its row shows it: an event only while it listens for any of
/// its type. One that has ended is told too, and wants nothing.
fn is_wanted_now(views: &Views, wake: &Wake) -> Result<bool, TableError> {
    let News::Event(place) = wake.news else { return Ok(true) };
    let (Some(row), Some(event)) = (views.case(wake.case)?, views.event(place)?) else {
        return Ok(true);
    };
    let mut on = row.listening.iter().flat_map(|listening| &listening.on);
    let fits = on.any(|on| on.event_type.as_deref().is_none_or(|kind| kind == event.kind));
    Ok(fits || row.phase.ended())
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
        Some(
            CommandError::Unavailable(_)
                | CommandError::Unknown(_)
                | CommandError::Busy(_)
                | CommandError::Rejected(Rejection::NotListening)
        )
    )
}
