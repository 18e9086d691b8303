//! How a case out of service is shown.

use std::sync::Arc;

use crate::domain::case::event::WaitKind;
use crate::domain::case::phase::Phase;
use crate::domain::case::summary::{ShownWait, Summary};
use crate::domain::work::row::JobAt;

/// A case out of service waits for a person, whatever it was at.
pub fn show(summary: &mut Summary, reason: Arc<str>) {
    if summary.phase.ended() {
        return;
    }
    summary.phase = Phase::Suspended;
    summary.jobs.retain(|row| matches!(row.at, JobAt::Leased(_)));
    let since = summary.wait.as_ref().map_or(summary.updated_at, |wait| wait.since);
    let detail = Some(reason);
    let kind = WaitKind::Quarantine;
    let (on, task, until, next_attempt_at) = (None, None, None, None);
    summary.wait = Some(ShownWait { kind, on, task, since, until, next_attempt_at, detail });
}
