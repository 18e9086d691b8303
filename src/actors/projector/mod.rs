//! The projector: reads the journal's tail and keeps the views; the one who writes them.
//!
//! Parent: the root. What it reads is bounded by the tail, which drops what is too much; the
//! projector then goes back to the journal. It writes rows first and its position last, so that a
//! crash in between makes it write the same rows again.

mod catch_up;
mod matching;
mod quarantine;
mod rows;

use std::sync::Arc;

use ractor::{Actor, ActorProcessingErr, ActorRef};
use tokio::runtime::Handle;

pub use catch_up::catch_up;

use super::office::Office;
use crate::domain::ids::EntityKind;
use crate::store::note::Note;
use crate::store::tail::{Content, Taken};
use crate::store::views::TableError;
use crate::store::views::events::KEPT;
use matching::Shapes;
use rows::Rows;

/// Old events forgotten after one batch at the most.
const FORGOTTEN: usize = 200;

/// The actor.
pub struct ProjectorActor;

/// What it is told, by itself alone.
pub enum ProjectorMsg {
    Look,
}

/// Why the views cannot be kept.
#[derive(Debug, thiserror::Error)]
pub enum ProjectError {
    #[error(transparent)]
    Views(#[from] TableError),
    #[error(transparent)]
    Journal(#[from] crate::store::embedded::ReadError),
}

impl Actor for ProjectorActor {
    type Msg = ProjectorMsg;
    type State = Arc<Office>;
    type Arguments = Arc<Office>;

    async fn pre_start(
        &self,
        myself: ActorRef<ProjectorMsg>,
        office: Arc<Office>,
    ) -> Result<Arc<Office>, ActorProcessingErr> {
        myself.cast(ProjectorMsg::Look)?;
        Ok(office)
    }

    async fn handle(
        &self,
        myself: ActorRef<ProjectorMsg>,
        ProjectorMsg::Look: ProjectorMsg,
        office: &mut Arc<Office>,
    ) -> Result<(), ActorProcessingErr> {
        let taken = office.journal.tail().take().await;
        let (office, handle) = (office.clone(), Handle::current());
        tokio::task::spawn_blocking(move || project(&office, &handle, taken)).await??;
        myself.cast(ProjectorMsg::Look)?;
        Ok(())
    }
}

/// Brings the views up to what was taken.
fn project(office: &Arc<Office>, handle: &Handle, taken: Taken<Note>) -> Result<(), ProjectError> {
    let Taken { after, through, items, .. } = taken;
    if office.views.position()? < after {
        // the tail was cut, or the projector crashed between taking and writing
        return catch_up(office, handle);
    }
    let mut shapes = Shapes::load(&office.views)?;
    let mut rows = Rows::new(office, handle, &mut shapes);
    for item in items {
        match item.content {
            Content::Note(note) => rows.case(item.position, note)?,
            Content::Record(record) if item.entity.kind != EntityKind::Case => {
                rows.record(item.position, &record)?;
            }
            Content::Record(_) => {}
        }
    }
    rows.finish(through)?;
    let old = office.clock.now().plus(-KEPT);
    office.views.forget_events(old, FORGOTTEN)?;
    Ok(())
}
