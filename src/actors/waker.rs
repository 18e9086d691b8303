//! The waker: tells cases what the views found for them (events, ended children), and starts those
//! that wait for a place.
//!
//! Parent: the root. It reads pages of rows that last until they were dealt with, so a crash loses
//! none. Cases are told side by side, each its own news in order.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream;
use ractor::{Actor, ActorProcessingErr, ActorRef};

use super::case::TellError;
use super::load::LoadError;
use super::office::Office;
use crate::domain::case::command::Command;
use crate::store::views::TableError;
use crate::store::views::wakes::{News, Wake};

/// Rows read in one go.
const PAGE: usize = 500;

/// After which what could not be read or told is tried again.
const AGAIN: Duration = Duration::from_secs(1);

/// Cases told at the same time.
const SIDE_BY_SIDE: usize = 64;

/// The actor.
pub struct WakerActor;

/// What it is told, by itself alone.
pub enum WakerMsg {
    Look,
}

impl Actor for WakerActor {
    type Msg = WakerMsg;
    type State = Arc<Office>;
    type Arguments = Arc<Office>;

    async fn pre_start(
        &self,
        myself: ActorRef<WakerMsg>,
        office: Arc<Office>,
    ) -> Result<Arc<Office>, ActorProcessingErr> {
        myself.cast(WakerMsg::Look)?;
        Ok(office)
    }

    async fn handle(
        &self,
        myself: ActorRef<WakerMsg>,
        WakerMsg::Look: WakerMsg,
        office: &mut Arc<Office>,
    ) -> Result<(), ActorProcessingErr> {
        let mut projected = office.projected.subscribe();
        projected.mark_unchanged();
        let Some(wakes) = readable(office.views.wakes(PAGE)) else {
            tokio::time::sleep(AGAIN).await;
            myself.cast(WakerMsg::Look)?;
            return Ok(());
        };
        let full = wakes.len() == PAGE;
        let all_told = stream::iter(by_case(wakes))
            .map(|wakes| tell(office.clone(), wakes))
            .buffer_unordered(SIDE_BY_SIDE)
            .fold(true, |all, told| async move { all & told });
        if !all_told.await {
            tokio::time::sleep(AGAIN).await;
        } else if !full {
            // an error means that the process is ending
            let _ = projected.changed().await;
        }
        myself.cast(WakerMsg::Look)?;
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
async fn tell(office: Arc<Office>, wakes: Vec<Wake>) -> bool {
    let mut all = true;
    for wake in wakes {
        let done = match command(&office, wake.news).await {
            Ok(Some(command)) => was_told(office.wake(wake.case, command).await.err()),
            Ok(None) => true,
            Err(error) => {
                tracing::error!(case.id = %wake.case, %error, "what a case is to be told");
                false
            }
        };
        if done && let Err(error) = office.views.remove_wake(&wake) {
            tracing::error!(%error, "a wake cannot be removed");
        }
        all &= done;
    }
    all
}

/// What the views hold; none: they are damaged, and are made anew.
fn readable<T>(read: Result<T, TableError>) -> Option<T> {
    read.inspect_err(|error| tracing::warn!(%error, "who is to be woken cannot be read")).ok()
}

async fn command(office: &Arc<Office>, news: News) -> Result<Option<Command>, LoadError> {
    match news {
        News::Event(place) => {
            let incoming = office.incoming(place).await?;
            Ok(incoming.map(|incoming| Command::Deliver(Arc::new(incoming))))
        }
        News::Child(child) => {
            let outcome = office.child_outcome(child).await?;
            Ok(outcome.map(|outcome| Command::ChildEnded { child, outcome }))
        }
    }
}

/// Whether there is nothing left to tell: the case has heard it, or does not want to. One that is
/// out of service is told of everything when it comes back.
fn was_told(error: Option<TellError>) -> bool {
    !matches!(error, Some(TellError::Unavailable(_) | TellError::Unknown(_) | TellError::Busy(_)))
}

/// The starter: starts cases that were accepted when there was no place for them.
pub struct StarterActor;

/// What it is told, by itself alone.
pub enum StarterMsg {
    Look,
}

impl Actor for StarterActor {
    type Msg = StarterMsg;
    type State = Arc<Office>;
    type Arguments = Arc<Office>;

    async fn pre_start(
        &self,
        myself: ActorRef<StarterMsg>,
        office: Arc<Office>,
    ) -> Result<Arc<Office>, ActorProcessingErr> {
        myself.cast(StarterMsg::Look)?;
        Ok(office)
    }

    async fn handle(
        &self,
        myself: ActorRef<StarterMsg>,
        StarterMsg::Look: StarterMsg,
        office: &mut Arc<Office>,
    ) -> Result<(), ActorProcessingErr> {
        let mut projected = office.projected.subscribe();
        projected.mark_unchanged();
        let Some(pending) = readable(office.views.pending(PAGE)) else {
            tokio::time::sleep(AGAIN).await;
            myself.cast(StarterMsg::Look)?;
            return Ok(());
        };
        stream::iter(pending)
            .for_each_concurrent(SIDE_BY_SIDE, |case| {
                let office = office.clone();
                async move {
                    if office.cases.quarantined(case).is_none() {
                        // a "no" means that it was started or cancelled meanwhile
                        let _ = office.wake(case, Command::Start(None)).await;
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
