//! Writes what a batch brought: rows of cases, events, transitions, and whom to wake.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::runtime::Handle;

use super::out_of_service::show;
use crate::actors::cases::message::CaseMsg;
use crate::actors::context::Context;
use crate::actors::events::event_in;
use crate::actors::projection::ProjectError;
use crate::actors::projection::feed::{Changed, FeedChange};
use crate::actors::projection::fresh;
use crate::actors::projection::shapes::Shapes;
use crate::domain::case::summary::{DeadLetter, Summary};
use crate::domain::ids::{CaseId, EntityKind, EventCursor};
use crate::domain::time::Timestamp;
use crate::domain::work::row::JobRow;
use crate::store::commit_note::CommitNote;
use crate::store::journal::RecordCursor;
use crate::store::record::{self, Hash};
use crate::store::transitions::{self, Stored};
use crate::store::views::dead_letters::{DeadRow, DeadState, group};
use crate::store::views::services::Calls;
use crate::store::views::wakes::{News, Wake};
use crate::store::views::{TableError, Views};

/// Changes after which a batch is written although there is more to come.
const BATCH_MAX: usize = 100_000;

/// Versions from which on a case may have left a snapshot.
const SNAPSHOT_FROM: u64 = 16;

/// One batch.
pub struct Rows<'a> {
    pub(super) context: &'a Arc<Context>,
    /// The views with this batch.
    pub(super) views: &'a Views,
    pub(super) handle: &'a Handle,
    pub(super) shapes: &'a mut Shapes,
    calls: HashMap<Arc<str>, Calls>,
    changes: Vec<FeedChange>,
    /// Cases at rest that may leave the memory once the batch is complete.
    resting: Vec<(CaseId, u64)>,
    /// Cases that wait for a service from now on: whoever reads the index has to find them there.
    parked: Vec<(Arc<str>, CaseId)>,
    /// Cases that have to be woken at an instant.
    due: Vec<(Timestamp, CaseId)>,
    /// Cases that there is news for.
    news: Vec<CaseId>,
    /// Jobs that stand elsewhere from now on.
    jobs: Vec<(CaseId, JobRow)>,
    /// There are events that were not there.
    has_events: bool,
}

impl<'a> Rows<'a> {
    /// An empty batch.
    pub fn new(
        context: &'a Arc<Context>,
        views: &'a Views,
        handle: &'a Handle,
        shapes: &'a mut Shapes,
    ) -> Self {
        let (calls, changes) = (HashMap::new(), Vec::new());
        let (resting, parked) = (Vec::new(), Vec::new());
        let (due, news, jobs) = (Vec::new(), Vec::new(), Vec::new());
        Self {
            context,
            views,
            handle,
            shapes,
            calls,
            changes,
            resting,
            parked,
            due,
            news,
            jobs,
            has_events: false,
        }
    }

    /// A case has come so far.
    pub fn case(&mut self, at: RecordCursor, note: CommitNote) -> Result<(), ProjectError> {
        let CommitNote { summary, rests, answered, worked, snapshot } = note;
        let mut summary = *summary;
        let views = self.views;
        if let Some(reason) = self.context.cases.quarantined(summary.id) {
            show(&mut summary, reason);
        }
        let assignments = views.put_assignments(&summary.assignments)?;
        let put = views.put_case(&summary)?;
        let before = put.before.as_ref();
        if summary.phase.ended() {
            if summary.version >= SNAPSHOT_FROM {
                self.context.snapshots.remove(summary.id);
            }
        } else if let Some(snapshot) = snapshot {
            self.context.snapshots.put(summary.id, snapshot);
        }
        for (service, how) in answered {
            self.calls(&service)?.add(how);
        }
        for worked in &worked {
            views.count_work(worked)?;
        }
        if !put.listeners.is_empty() {
            // there may be news that it did not listen for until now
            self.has_news(summary.id);
            self.listeners(at, &summary, &put.listeners)?;
        }
        if summary.phase.ended() {
            views.forget_offered(summary.id)?;
        }
        self.family(at, &summary, before)?;
        for parked in &summary.parked {
            let known = before.is_some_and(|before| before.parked.contains(parked));
            if !known {
                self.parked.push((parked.service.clone(), summary.id));
            }
        }
        for row in &summary.jobs {
            if !before.is_some_and(|before| before.jobs.contains(row)) {
                self.jobs.push((summary.id, row.clone()));
            }
        }
        self.dead_letter(at, &summary, before)?;
        if let Some(due) = summary.due {
            self.due.push((due, summary.id));
        }
        if !summary.phase.ended() && rests {
            self.resting.push((summary.id, summary.version));
        }
        for assigned in assignments {
            let what = Changed::Assignment(Box::new(assigned));
            self.changes.push(FeedChange { at, what });
        }
        self.change(at, summary);
        self.spill()
    }

    /// Anything but a case.
    pub fn record(&mut self, at: RecordCursor, bytes: &[u8]) -> Result<(), ProjectError> {
        let Ok((header, events)) = record::decode(bytes) else {
            tracing::error!(at = at.0, "a record in the journal is damaged");
            return Ok(());
        };
        match header.entity.kind {
            EntityKind::CloudEvent => {
                if let Some((header, event)) = event_in(bytes) {
                    self.event(EventCursor(at.0), header.at, &event)?;
                    self.has_events = true;
                }
            }
            EntityKind::Service => {
                if let Ok(Stored { service: name, .. }) = transitions::decode(events)
                    && let Some(served) = self.context.services.find(&name)
                {
                    let state = served.gate().circuit().name();
                    let what = Changed::Service { name, state, at: header.at };
                    self.changes.push(FeedChange { at, what });
                }
            }
            EntityKind::Quarantine => self.quarantine(at, &header, events)?,
            EntityKind::Case
            | EntityKind::Workflow
            | EntityKind::Csr
            | EntityKind::HolidayCalendar
            | EntityKind::Queue
            | EntityKind::Schedule => {}
        }
        self.spill()
    }

    /// Writes what the batch has come to where that is very much, as one event may that very many listen
    /// for. The place stays, so that a crash has all of it written again.
    fn spill(&self) -> Result<(), ProjectError> {
        if self.views.batched() > BATCH_MAX {
            self.views.commit(self.views.position()?, self.views.hash()?)?;
        }
        Ok(())
    }

    /// Writes the batch, and tells everybody.
    pub fn finish(mut self, through: RecordCursor, hash: Option<Hash>) -> Result<(), ProjectError> {
        for (service, calls) in &self.calls {
            self.views.put_calls(service, *calls)?;
        }
        self.views.commit(through, hash)?;
        self.context.projected.send_replace(through);
        for (case, version) in self.resting {
            // most are not live any more
            let _ = self.context.cases.tell_live(case, CaseMsg::Projected(version));
        }
        let now = self.context.clock.now();
        let filling = self.views.progress().is_some();
        for (due, case) in self.due {
            // what is filled in passes by what was: an instant that is over may long be dealt with
            if !filling || due > now {
                self.context.timers.note(due, case);
            }
        }
        if filling {
            // all else is looked for once they are complete
            return Ok(());
        }
        for (service, case) in self.parked {
            if let Some(served) = self.context.services.find(&service) {
                served.shown(case);
            }
        }
        for (case, row) in self.jobs {
            if let Some(queue) = self.context.work.shown(case, &row, now) {
                self.context.serve_queue(&queue);
            }
        }
        if self.has_events {
            self.context.schedules.events_came();
        }
        self.context.fresh_news.came(self.news);
        self.changes.sort_by_key(|change| change.at);
        self.context.feed.push(self.changes);
        Ok(())
    }

    fn calls(&mut self, service: &Arc<str>) -> Result<&mut Calls, TableError> {
        if !self.calls.contains_key(service) {
            let known = self.views.calls(service)?;
            self.calls.insert(service.clone(), known);
        }
        Ok(self.calls.entry(service.clone()).or_default())
    }

    /// Notes that a case has to be told.
    pub(super) fn wake(&mut self, wake: Wake) -> Result<(), TableError> {
        self.has_news(wake.case);
        self.views.put_wake(&wake)
    }

    /// There is news for a case, as far as there is room to say so.
    fn has_news(&mut self, case: CaseId) {
        if self.news.len() < fresh::ROOM && self.news.last() != Some(&case) {
            self.news.push(case);
        }
    }

    /// Parents hear of children that have ended, whichever row came first.
    fn family(
        &mut self,
        noted: RecordCursor,
        summary: &Summary,
        before: Option<&Summary>,
    ) -> Result<(), TableError> {
        let views = self.views;
        if summary.phase.ended() && !before.is_some_and(|b| b.phase.ended()) {
            for parent in views.parents_of(summary.id)? {
                self.wake(Wake { case: parent, news: News::Child(summary.id), noted })?;
            }
        }
        for child in &summary.children {
            let known = before.is_some_and(|before| before.children.contains(child));
            if !known && views.case(*child)?.is_some_and(|child| child.phase.ended()) {
                self.wake(Wake { case: summary.id, news: News::Child(*child), noted })?;
            }
        }
        Ok(())
    }

    fn dead_letter(
        &mut self,
        at: RecordCursor,
        summary: &Summary,
        before: Option<&Summary>,
    ) -> Result<(), TableError> {
        let old = before.and_then(|before| before.dead.as_ref()).map(|dead| dead.id);
        let new = summary.dead.as_ref().map(|dead| dead.id);
        if old == new {
            return Ok(());
        }
        let views = self.views;
        if let Some(old) = old {
            let cancelled = summary.phase == crate::domain::case::phase::Phase::Cancelled;
            let state = if cancelled { DeadState::Archived } else { DeadState::Redriven };
            views.settle_dead_letter(old, state)?;
        }
        if let Some(dead) = &summary.dead {
            self.put_dead(at, summary, dead)?;
        }
        Ok(())
    }

    pub(super) fn put_dead(
        &mut self,
        at: RecordCursor,
        summary: &Summary,
        dead: &DeadLetter,
    ) -> Result<(), TableError> {
        let workflow = summary.definition.workflow();
        let row = DeadRow {
            id: dead.id,
            case: summary.id,
            task: dead.task.clone(),
            group: group(&workflow, dead.task.as_deref(), &dead.cause),
            workflow: workflow.clone(),
            cause: dead.cause.clone(),
            error: dead.error.clone(),
            input: dead.input.clone(),
            attempts: dead.attempts.clone(),
            since: dead.since,
            state: DeadState::Open,
        };
        self.views.put_dead_letter(&row)?;
        let state = row.state.name();
        let what =
            Changed::DeadLetter { id: dead.id, case: summary.id, workflow, state, at: dead.since };
        self.changes.push(FeedChange { at, what });
        Ok(())
    }

    pub(super) fn change(&mut self, at: RecordCursor, mut summary: Summary) {
        summary.dead = None;
        summary.listening = Vec::new();
        summary.children = Vec::new();
        summary.assignments = Vec::new();
        summary.jobs = Vec::new();
        summary.documents = Vec::new();
        self.changes.push(FeedChange { at, what: Changed::Case(Box::new(summary)) });
    }
}
