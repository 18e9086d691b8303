//! The notifier: tells cases what the views found for them: events, ended children.
//!
//! Parent: the root. It reads pages of rows that last until they were dealt with, so a crash loses
//! none. Cases are told side by side, each its own news in order.

use std::sync::Arc;
use std::time::{Duration, Instant};

use ractor::{Actor, ActorProcessingErr, ActorRef};

use crate::actors::cases::message::CommandError;
use crate::actors::context::Context;
use crate::actors::projection::side_by_side::SideBySide;
use crate::domain::case::command::{Command, Listener, Rejection};
use crate::domain::ids::{CaseId, EventCursor};
use crate::store::views::events::shape_of;
use crate::store::views::wakes::{News, Wake};
use crate::store::views::{TableError, Views};

/// Cases, and rows of one, read in one go.
pub const PAGE: usize = 500;

/// After which what could not be read or told is tried again.
pub const AGAIN: Duration = Duration::from_secs(1);

/// Before which nobody looks again for those that are busy.
pub const SOON: Duration = Duration::from_millis(100);

/// How long a case that was told something may take until it listens again.
const RELISTENS: Duration = Duration::from_millis(100);

/// Cases that are gone through with every batch of the projector.
const NOTED_FEW: usize = 1000;

/// Events that a case is told of in one go.
const TOLD_AT_A_TIME: usize = 200;

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
        state.context.views_filled().await;
        let mut projected = state.context.projected.subscribe();
        projected.mark_unchanged();
        match state.tell_all().await {
            Some(begun) if begun.all => {
                tokio::select! {
                    // an error means that the process is ending
                    _ = projected.changed() => {}
                    () = state.telling.failed() => {}
                }
                if begun.cases > NOTED_FEW {
                    // it is not gone through with every batch
                    tokio::time::sleep(SOON).await;
                }
            }
            // some are being told something already: what is there for them beside is looked for again
            Some(_) => tokio::time::sleep(SOON).await,
            None => tokio::time::sleep(AGAIN).await,
        }
        myself.cast(NotifierMsg::Look)?;
        Ok(())
    }
}

/// How many cases have news, and whether all of them are being told.
struct Begun {
    cases: usize,
    all: bool,
}

impl NotifierState {
    /// Begins to tell every case its news; none: the views cannot be read.
    async fn tell_all(&self) -> Option<Begun> {
        let (mut last, mut begun) = (None, Begun { cases: 0, all: true });
        loop {
            let cases = readable(self.context.views.to_be_told(last, PAGE))?;
            let full = cases.len() == PAGE;
            last = cases.last().copied();
            begun.cases += cases.len();
            for case in cases {
                begun.all &= self.telling.begin(case, tell(self.context.clone(), case)).await;
            }
            if !full {
                return Some(begun);
            }
        }
    }
}

/// News, and for whom in the case it is.
type Wanted = (Wake, Option<Listener>);

/// Tells a case its news, as long as it listens for some. False: it has to be told again.
async fn tell(context: Arc<Context>, case: CaseId) -> bool {
    let mut projected = context.projected.subscribe();
    let mut patience = Duration::ZERO;
    loop {
        projected.mark_unchanged();
        let Some(news) = readable(news_of(&context.views, case)) else { return failed().await };
        match tell_each(&context, &news).await {
            Told::All if !news.is_empty() => patience = RELISTENS,
            // a case that has just taken one event may listen for the next in a moment
            Told::All | Told::NotListening if !patience.is_zero() => {
                let begun = Instant::now();
                let _ = tokio::time::timeout(patience, projected.changed()).await;
                patience = patience.saturating_sub(begun.elapsed());
            }
            // a row that is behind is followed by another batch
            Told::All | Told::NotListening => {
                return match readable(forget_what_nobody_wants(&context.views, case)) {
                    Some(()) => true,
                    None => failed().await,
                };
            }
            Told::Failed => return failed().await,
        }
    }
}

/// After a while it is told again.
async fn failed() -> bool {
    tokio::time::sleep(AGAIN).await;
    false
}

/// What became of the news.
enum Told {
    All,
    /// The case has gone on since its row was read.
    NotListening,
    Failed,
}

/// What a case can take now, as its row shows it: of events those for which it listens. What it does not
/// listen for stays noted until it does, or has ended.
fn news_of(views: &Views, case: CaseId) -> Result<Vec<Wanted>, TableError> {
    let mut news = Vec::new();
    news.extend(views.news_of_children(case, PAGE)?.into_iter().map(|wake| (wake, None)));
    let Some(row) = views.case(case)? else { return Ok(news) };
    for listening in &row.listening {
        for on in &listening.on {
            let (task, filter, expected) = (listening.task, on.filter, on.expected);
            let so = (shape_of(&row.definition, task, filter), expected.unwrap_or_default());
            let listener = Some(Listener { task, filter, expected });
            let found = views.news_of_events(case, so, PAGE)?;
            news.extend(found.into_iter().map(|wake| (wake, listener)));
        }
    }
    news.sort_by_key(|(wake, _)| match wake.news {
        News::Child(_) => None,
        News::Event { place, .. } => Some(place),
    });
    Ok(news)
}

/// A case that has ended, and listens for nothing to take back what it did, wants no events any more.
fn forget_what_nobody_wants(views: &Views, case: CaseId) -> Result<(), TableError> {
    let row = views.case(case)?;
    match row.is_some_and(|row| row.phase.ended() && row.listening.is_empty()) {
        true => views.forget_news_of_events(case),
        false => Ok(()),
    }
}

/// Tells a case its news in order.
async fn tell_each(context: &Arc<Context>, news: &[Wanted]) -> Told {
    let mut rest = news;
    while let Some((wake, listener)) = rest.first() {
        let told = match (wake.news, listener) {
            (News::Child(child), _) => tell_of_child(context, wake.case, child).await,
            (News::Event { .. }, Some(listener)) => {
                tell_of_events(context, wake.case, rest, *listener).await
            }
            (News::Event { .. }, None) => Ok(1),
        };
        let (told, later) = match told {
            Ok(dealt_with) => rest.split_at(dealt_with),
            Err(why) => return why,
        };
        if let Err(error) = context.views.remove_wakes(told.iter().map(|(wake, _)| wake)) {
            // told again it changes nothing, but not at once
            tracing::error!(case.id = %wake.case, %error, "a wake cannot be removed");
            return Told::Failed;
        }
        rest = later;
    }
    Told::All
}

/// Tells a case that a child has ended. How much of the news is dealt with.
async fn tell_of_child(context: &Arc<Context>, case: CaseId, child: CaseId) -> Result<usize, Told> {
    let outcome = context.child_outcome(child).await.map_err(|error| unreadable(case, &error))?;
    if let Some(outcome) = outcome {
        let ended = Command::ChildEnded { child, outcome };
        context.wake(case, ended).await.map(drop).or_else(refused)?;
    }
    Ok(1)
}

/// Tells a case of the first events, all those for the same listener, as far as they go in one go. How much
/// of the news is dealt with: what the case has not heard of these is told again.
async fn tell_of_events(
    context: &Arc<Context>,
    case: CaseId,
    news: &[Wanted],
    listener: Listener,
) -> Result<usize, Told> {
    let same = news.iter().take_while(|(_, other)| *other == Some(listener));
    let places: Vec<EventCursor> =
        same.take(TOLD_AT_A_TIME).filter_map(|(wake, _)| place_of(wake)).collect();
    let events = context.incoming(&places, listener).await;
    let events = Arc::new(events.map_err(|error| unreadable(case, &error))?);
    if events.is_empty() {
        return Ok(places.len());
    }
    let heard = match context.wake(case, Command::Deliver(events.clone())).await {
        Ok(told) => told.heard.clamp(1, events.len()),
        Err(error) => {
            refused(error)?;
            return Ok(places.len());
        }
    };
    let last = events[heard - 1].position;
    Ok(places.iter().take_while(|place| **place <= last).count())
}

fn unreadable(case: CaseId, error: &dyn std::error::Error) -> Told {
    tracing::error!(case.id = %case, %error, "what a case is to be told cannot be read");
    Told::Failed
}

/// What a "no" means: the case does not want to hear of it, unless it could not be told or listens later.
fn refused(error: CommandError) -> Result<(), Told> {
    match error {
        CommandError::Rejected(Rejection::NotListening) => Err(Told::NotListening),
        error if was_told(Some(&error)) => Ok(()),
        _ => Err(Told::Failed),
    }
}

fn place_of(wake: &Wake) -> Option<EventCursor> {
    match wake.news {
        News::Event { place, .. } => Some(place),
        News::Child(_) => None,
    }
}

/// What the views hold; none: they are damaged, and are made anew.
pub fn readable<T>(read: Result<T, TableError>) -> Option<T> {
    read.inspect_err(|error| tracing::warn!(%error, "who is to be woken cannot be read")).ok()
}

/// Whether there is nothing left to tell: the case has heard it, or does not want to. One that is
/// out of service is told of everything when it comes back.
pub fn was_told(error: Option<&CommandError>) -> bool {
    !matches!(
        error,
        Some(CommandError::Unavailable(_) | CommandError::Unknown(_) | CommandError::Busy(_))
    )
}
