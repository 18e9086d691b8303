//! The projector: reads the journal's tail and keeps the views; the one who writes them.
//!
//! Parent: the root. What it reads is bounded by the tail, which drops what is too much; the
//! projector then goes back to the journal. It writes rows first and its position last, so that a
//! crash in between makes it write the same rows again.

mod catch_up;
pub mod feed;
pub mod fresh;
mod matching;
pub mod notifier;
mod out_of_service;
mod quarantine;
mod rows;
mod shapes;
mod side_by_side;
pub mod starter;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use ractor::{Actor, ActorProcessingErr, ActorRef};
use tokio::runtime::Handle;
use tokio::sync::oneshot;

use catch_up::catch_up;

use crate::actors::cases::load::LoadError;
use crate::actors::context::Context;
use crate::domain::ids::EntityKind;
use crate::store::commit_note::CommitNote;
use crate::store::journal::{Journal, RecordCursor};
use crate::store::notes::{Committed, Content, Taken};
use crate::store::record;
use crate::store::views::events::KEPT;
use crate::store::views::{TableError, Views};
use rows::Rows;
use shapes::Shapes;

/// How often the projector looks whether somebody has met damage.
const LOOK: Duration = Duration::from_secs(1);

/// Old events forgotten in one go, beside twice as many as a batch brought.
const FORGOTTEN: usize = 200;

/// The actor. The work is done on a thread of its own: the views block.
pub struct ProjectorActor;

/// What it is told, by its thread alone.
pub enum ProjectorMsg {
    /// The thread has ended, and why.
    Ended(String),
}

/// Why the views cannot be kept.
#[derive(Debug, thiserror::Error)]
pub enum ProjectError {
    #[error(transparent)]
    Views(#[from] TableError),
    #[error(transparent)]
    Journal(#[from] crate::store::journal::ReadError),
    #[error("a case cannot be read now: {0}")]
    Case(LoadError),
    #[error("the process is ending")]
    Stopped,
}

impl Actor for ProjectorActor {
    type Msg = ProjectorMsg;
    /// Dropped, it stops the thread.
    type State = oneshot::Sender<()>;
    type Arguments = Arc<Context>;

    async fn pre_start(
        &self,
        myself: ActorRef<ProjectorMsg>,
        context: Arc<Context>,
    ) -> Result<oneshot::Sender<()>, ActorProcessingErr> {
        let (stop, stopped) = oneshot::channel();
        let (end, ended) = oneshot::channel();
        let handle = Handle::current();
        let work = move || {
            // a panic drops `end` as well
            let _ = end.send(run(&context, &handle, stopped));
        };
        std::thread::Builder::new().name("projector".to_owned()).spawn(work)?;
        tokio::spawn(async move {
            let reason = match ended.await {
                Ok(Ok(())) => return,
                Ok(Err(error)) => error.to_string(),
                Err(_) => "its thread panicked".to_owned(),
            };
            // an error means that the process is ending
            let _ = myself.cast(ProjectorMsg::Ended(reason));
        });
        Ok(stop)
    }

    async fn handle(
        &self,
        _: ActorRef<ProjectorMsg>,
        ProjectorMsg::Ended(reason): ProjectorMsg,
        _: &mut oneshot::Sender<()>,
    ) -> Result<(), ActorProcessingErr> {
        Err(reason.into())
    }
}

fn run(
    context: &Arc<Context>,
    handle: &Handle,
    mut stopped: oneshot::Receiver<()>,
) -> Result<(), ProjectError> {
    let notes = context.journal.notes();
    if context.views.progress().is_some() {
        match bring_up(context, handle) {
            Err(ProjectError::Stopped) => return Ok(()),
            brought => brought?,
        }
    }
    let mut writer = context.views.writer()?;
    loop {
        if context.views.are_damaged() {
            writer = match make_anew(context, handle) {
                Err(ProjectError::Stopped) => return Ok(()),
                made => made?,
            };
        }
        let next = async {
            tokio::select! {
                taken = notes.take() => Next::Taken(taken),
                // somebody else may have met damage
                () = tokio::time::sleep(LOOK) => Next::Look,
                _ = &mut stopped => Next::Stop,
            }
        };
        let projected = match handle.block_on(next) {
            Next::Taken(taken) => project(context, &writer, handle, taken),
            Next::Look => forget(context, &writer, 0),
            Next::Stop => return Ok(()),
        };
        match projected {
            // noted where it was met
            Err(ProjectError::Views(_)) => {}
            Err(ProjectError::Stopped) => return Ok(()),
            other => other?,
        }
    }
}

/// What the projector does next.
enum Next {
    Taken(Taken<CommitNote>),
    Look,
    Stop,
}

/// Views that are damaged are filled again from the journal; meanwhile lists are refused, all else
/// goes on.
fn make_anew(context: &Arc<Context>, handle: &Handle) -> Result<Views, ProjectError> {
    context.views.begin_anew()?;
    bring_up(context, handle)?;
    tracing::info!("the views are made anew");
    Ok(context.views.writer()?)
}

/// Brings the views up to the journal's end before anybody concludes from them that there is none.
///
/// # Errors
/// When the journal cannot be read or the views cannot be written even anew.
fn bring_up(context: &Arc<Context>, handle: &Handle) -> Result<(), ProjectError> {
    for _ in 0..2 {
        context.views.fill_up_to(handle.block_on(context.journal.end())?);
        if !are_of_this_journal(context, handle)? {
            tracing::warn!("the views are of another journal, and are made anew");
            context.views.begin_anew()?;
        }
        let writer = context.views.writer()?;
        let (from, to) = context.views.progress().unwrap_or_default();
        let caught_up = catch_up(context, &writer, handle);
        if context.stopping.load(Ordering::Acquire) {
            // the files are being closed
            return Err(ProjectError::Stopped);
        }
        match caught_up {
            Ok(()) if !context.views.are_damaged() => {
                conclude(context)?;
                if to > from {
                    tracing::info!(records = to - from, "the views were filled from the journal");
                }
                return Ok(());
            }
            Ok(()) | Err(ProjectError::Views(_)) => {}
            Err(error) => return Err(error),
        }
        context.views.begin_anew()?;
    }
    Err(TableError::new("they cannot be filled").into())
}

/// They are complete: whoever concludes from them begins with what they hold now.
fn conclude(context: &Context) -> Result<(), TableError> {
    context.views.filled();
    // also before services that are not configured any more, or never were
    for service in context.views.lines()? {
        context.services.served(&service);
    }
    context.services.expect_lines();
    context.work.views_are_filled(&context.views, context.clock.now())?;
    context.timers.start_over();
    context.feed.start_over();
    context.projected.send_modify(|_| {});
    Ok(())
}

/// Whether the record up to which the views go is the one that the journal has there: it may be an older
/// copy that was written on.
fn are_of_this_journal(context: &Context, handle: &Handle) -> Result<bool, ProjectError> {
    let (Ok(place), Ok(Some(known))) = (context.views.position(), context.views.hash()) else {
        // damage is met again by whoever reads next
        return Ok(true);
    };
    let before = RecordCursor(place.0.saturating_sub(1));
    let tail = handle.block_on(context.journal.tail(before, 1))?;
    let there = tail.records.first().filter(|(at, _)| *at == place);
    Ok(there.is_none_or(|(_, bytes)| record::hash(bytes) == known))
}

/// Brings the views up to what was taken.
fn project(
    context: &Arc<Context>,
    views: &Views,
    handle: &Handle,
    taken: Taken<CommitNote>,
) -> Result<(), ProjectError> {
    let Taken { after, through, hash, items, .. } = taken;
    let position = views.position()?;
    if position >= through {
        // it was read from the journal while the views were filled
        return Ok(());
    }
    if position < after {
        // the tail was cut, or the projector crashed between taking and writing
        return catch_up(context, views, handle);
    }
    let is_case = |item: &Committed<CommitNote>| item.entity.kind == EntityKind::Case;
    if items.iter().any(|item| is_case(item) && matches!(item.content, Content::Record(_))) {
        // a case's record without a note, as after an outcome that was unknown, is folded
        return catch_up(context, views, handle);
    }
    let brought = items.len();
    let mut shapes = Shapes::load(views)?;
    let mut rows = Rows::new(context, views, handle, &mut shapes);
    // what was read from the journal meanwhile is there already
    for item in items.into_iter().filter(|item| item.at > position) {
        match item.content {
            Content::Note(note) => rows.case(item.at, note)?,
            Content::Record(record) if item.entity.kind != EntityKind::Case => {
                rows.record(item.at, &record)?;
            }
            Content::Record(_) => {}
        }
    }
    rows.finish(through, Some(hash))?;
    forget(context, views, brought)
}

/// Forgets events that are old enough: more than came meanwhile, so that they do not pile up.
fn forget(context: &Context, views: &Views, brought: usize) -> Result<(), ProjectError> {
    let old = context.clock.now().plus(-KEPT);
    if views.forget_events(old, FORGOTTEN + 2 * brought)? > 0 {
        views.commit(views.position()?, views.hash()?)?;
    }
    Ok(())
}
