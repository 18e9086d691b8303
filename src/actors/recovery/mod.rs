//! What is owed from before the start: every case that owes something is woken once. After two
//! unclean ends within a minute the start is careful (see [`careful_start`]); a case that was the noted
//! one at two unclean ends is taken out of service.

pub mod careful_start;
pub mod run_file;

use std::sync::Arc;
use std::time::Duration;

use run_file::CLOSE;

use crate::actors::cases::tell::Woken;
use crate::actors::context::Context;
use crate::domain::case::command::Command;
use crate::store::views::TableError;

/// Cases read in one go.
const PAGE: usize = 500;

/// After which what is owed is read again, where it could not be.
const AGAIN: Duration = Duration::from_secs(1);

/// Wakes every case that owes something; a careful start is over when that is done and a while has
/// passed.
pub async fn recover(context: Arc<Context>) {
    let careful = context.careful_start.is_taken();
    let over = tokio::time::Instant::now() + Duration::from_millis(CLOSE.unsigned_abs());
    let woken = loop {
        context.views_filled().await;
        match wake_all(&context).await {
            Ok(Some(woken)) => break woken,
            // they were made anew meanwhile, and had not all yet
            Ok(None) => {}
            Err(error) => tracing::warn!(%error, "what is owed cannot be read; it is read again"),
        }
        tokio::time::sleep(AGAIN).await;
    };
    if woken > 0 {
        tracing::info!(cases = woken, careful, "cases that owed something are woken");
    }
    if careful {
        tokio::time::sleep_until(over).await;
        context.careful_start.is_over();
        tracing::info!("the careful start is over");
    }
}

/// Wakes what the views say is owed. How many; none: they were not the same, or not complete, throughout.
async fn wake_all(context: &Arc<Context>) -> Result<Option<usize>, TableError> {
    let (generation, mut last, mut woken) = (context.views.generation(), None, 0);
    loop {
        let page = context.views.owing(last, PAGE)?;
        let Some(newest) = page.last() else { break };
        last = Some(*newest);
        for case in page {
            woken += 1;
            if context.careful_start.is_taken() {
                // one at a time, each noted while it wakes; a "no" means that it came too late
                let _ = context.wake(case, Command::Recover).await;
                continue;
            }
            while context.wake_soon(case, Command::Recover) == Woken::NoRoom {
                tokio::time::sleep(AGAIN).await;
            }
        }
    }
    let same = context.views.generation() == generation && context.views.progress().is_none();
    Ok(same.then_some(woken))
}
