//! The notifier: tells cases what the views found for them: events, ended children.
//!
//! Parent: the root. It reads pages of rows that last until they were dealt with, so a crash loses
//! none. Cases are told side by side, each its own news in order.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use ractor::{Actor, ActorProcessingErr, ActorRef};
use tokio::task::JoinSet;

use crate::actors::cases::message::CommandError;
use crate::actors::context::Context;
use crate::actors::projection::side_by_side::{Room, SideBySide};
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

/// Cases told at the same time of what is new, and of what was noted before: there may be so much of that
/// that whoever else wants to be served would wait behind it.
const TOLD_AT_ONCE: usize = 1000;
const TOLD_BESIDE: usize = 16;

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
    /// What goes on beside, and ends with the actor.
    _beside: JoinSet<()>,
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
        let telling = SideBySide::new(1);
        let telling_new = telling.beside(1);
        let mut beside = JoinSet::new();
        beside.spawn(tell_what_is_new(context.clone(), telling_new.clone()));
        beside.spawn(widen(context.clone(), telling.clone(), telling_new));
        Ok(NotifierState { context, telling, _beside: beside })
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
                    // one that crashes each time is no reason to be busy
                    () = state.telling.failed() => tokio::time::sleep(SOON).await,
                }
                if begun.cases > NOTED_FEW {
                    // it is not gone through with every batch: what is new is told at once
                    tokio::time::sleep(AGAIN).await;
                }
            }
            // some are being told something already: what is there for them beside is looked for again
            Some(begun) if begun.cases <= NOTED_FEW => tokio::time::sleep(SOON).await,
            Some(_) | None => tokio::time::sleep(AGAIN).await,
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
                let context = self.context.clone();
                let telling = move |room| tell(context.clone(), case, room);
                begun.all &= self.telling.begin(case, telling).await;
            }
            if !full {
                return Some(begun);
            }
        }
    }
}

/// Tells cases their news as it comes.
async fn tell_what_is_new(context: Arc<Context>, telling: SideBySide) {
    loop {
        let case = context.fresh_news.next().await;
        let of_case = context.clone();
        telling.begin(case, move |room| tell(of_case.clone(), case, room)).await;
    }
}

/// In a careful start one case is told at a time: whoever else has to be woken finds a turn soon.
async fn widen(context: Arc<Context>, telling: SideBySide, telling_new: SideBySide) {
    while context.careful_start.is_taken() {
        tokio::time::sleep(AGAIN).await;
    }
    telling.widen(TOLD_BESIDE - 1);
    telling_new.widen(TOLD_AT_ONCE - 1);
}

/// News, and for whom in the case it is.
type Wanted = (Wake, Option<Listener>);

/// Tells a case its news, as long as it listens for some. False: it has to be told again.
async fn tell(context: Arc<Context>, case: CaseId, room: Room) -> bool {
    let mut projected = context.projected.subscribe();
    let mut patience = Duration::ZERO;
    loop {
        projected.mark_unchanged();
        let Some(news) = readable(news_of(&context.views, case)) else { return failed(room).await };
        match tell_each(&context, &news).await {
            Told::All if !news.is_empty() => patience = RELISTENS,
            // a case that has just taken one event may listen for the next in a moment
            Told::All | Told::NotListening if !patience.is_zero() => {
                let begun = Instant::now();
                room.leave();
                let _ = tokio::time::timeout(patience, projected.changed()).await;
                patience = patience.saturating_sub(begun.elapsed());
                room.enter().await;
            }
            // a row that is behind is followed by another batch
            Told::All | Told::NotListening => {
                return match readable(forget_what_nobody_wants(&context.views, case)) {
                    Some(()) => true,
                    None => failed(room).await,
                };
            }
            Told::Failed => return failed(room).await,
        }
    }
}

/// After a while it is told again.
async fn failed(room: Room) -> bool {
    room.leave();
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
    // what is noted from here on is for a case that has begun to listen again
    let news = views.news_of_all_events(case, PAGE)?;
    let row = views.case(case)?;
    match row.is_some_and(|row| row.phase.ended() && row.listening.is_empty()) {
        true => views.remove_wakes(news.iter()),
        false => Ok(()),
    }
}

/// Tells a case its news in order.
async fn tell_each(context: &Arc<Context>, news: &[Wanted]) -> Told {
    let mut rest = news;
    while let Some((wake, listener)) = rest.first() {
        let told = match (wake.news, listener) {
            (News::Child(child), _) => tell_of_child(context, wake, child).await,
            (News::Event { .. }, Some(listener)) => {
                tell_of_events(context, wake.case, rest, *listener).await
            }
            (News::Event { .. }, None) => forget(context, &rest[..1]),
        };
        match told {
            Ok(dealt_with) => rest = &rest[dealt_with..],
            Err(why) => return why,
        }
    }
    Told::All
}

/// Tells a case that a child has ended. How much of the news is dealt with; so below.
async fn tell_of_child(context: &Arc<Context>, wake: &Wake, child: CaseId) -> Result<usize, Told> {
    let outcome = context.child_outcome(child).await;
    if let Some(outcome) = outcome.map_err(|error| failure(context, wake.case, &error))? {
        let ended = Command::ChildEnded { child, outcome };
        context.wake(wake.case, ended).await.map(drop).or_else(refused)?;
    }
    forget(context, &[(*wake, None)])
}

/// Tells a case of the first events, all those for the same listener, as far as they go in one go. Whenever
/// it has taken one, it is told of the others anew.
async fn tell_of_events(
    context: &Arc<Context>,
    case: CaseId,
    news: &[Wanted],
    listener: Listener,
) -> Result<usize, Told> {
    let same = news.iter().take_while(|(_, other)| *other == Some(listener));
    let places: Vec<EventCursor> =
        same.take(TOLD_AT_A_TIME).filter_map(|(wake, _)| place_of(wake)).collect();
    let in_hand = context.incoming(&places, listener).await;
    let in_hand = in_hand.map_err(|error| failure(context, case, &error))?;
    let mut rest = &in_hand.events[..];
    if rest.is_empty() {
        return forget(context, &news[..places.len()]);
    }
    let mut dealt_with = 0;
    while !rest.is_empty() {
        let heard = match context.wake(case, Command::Deliver(Arc::new(rest.to_vec()))).await {
            Ok(told) => told.heard.clamp(1, rest.len()),
            Err(error) => {
                refused(error)?;
                rest.len()
            }
        };
        let last = rest[heard - 1].position;
        let through = places.iter().take_while(|place| **place <= last).count();
        dealt_with += forget(context, &news[dealt_with..through])?;
        rest = &rest[heard..];
    }
    Ok(dealt_with)
}

/// What a case was told of is not told again, unless it was noted again meanwhile.
fn forget(context: &Arc<Context>, told: &[Wanted]) -> Result<usize, Told> {
    let Some((first, _)) = told.first() else { return Ok(0) };
    let removed = context.views.remove_wakes(told.iter().map(|(wake, _)| wake));
    // told again it changes nothing, but not at once
    removed.map(|()| told.len()).map_err(|error| failure(context, first.case, &error))
}

/// What a case is to be told could not be read, or not removed. At the end of the process that is no news.
fn failure(context: &Arc<Context>, case: CaseId, error: &dyn std::error::Error) -> Told {
    if !context.stopping.load(Ordering::Acquire) {
        tracing::error!(case.id = %case, %error, "a case cannot be told its news");
    }
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
