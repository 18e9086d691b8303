//! Goes through the journal from where the views end. Every case is folded once and written once
//! for each page.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tokio::runtime::Handle;

use crate::actors::cases::load::{Fold, LoadError, load_before};
use crate::actors::context::Context;
use crate::actors::projection::ProjectError;
use crate::actors::projection::rows::Rows;
use crate::actors::projection::shapes::Shapes;
use crate::domain::case::derive;
use crate::domain::case::phase::Phase;
use crate::domain::case::summary::{Answered, Summary, answered};
use crate::domain::case::worked::{Worked, worked};
use crate::domain::ids::{CaseId, Entity, EntityKind};
use crate::domain::time::Timestamp;
use crate::store::commit_note::CommitNote;
use crate::store::journal::{Journal, RecordCursor};
use crate::store::record;
use crate::store::snapshots::Snapshot;
use crate::store::views::Views;

/// How often it is said how far the views are.
const TELL: Duration = Duration::from_secs(2);

/// Records in one page.
const PAGE: usize = 4096;

/// Cases kept folded from page to page, and bytes of their records; more are loaded anew.
const KEPT: usize = 20_000;
const KEPT_BYTES: usize = 64 << 20;

/// Events after which a case that is at rest leaves a snapshot.
const SNAPSHOT_AT_REST: u64 = 16;

/// A case while its records pass by.
struct Passing {
    fold: Fold,
    /// Bytes of its records so far: it holds no more than that.
    bytes: usize,
    /// Where its last record in this page stands; none: it has none.
    at: Option<RecordCursor>,
    answered: Vec<(Arc<str>, Answered)>,
    worked: Vec<Worked>,
}

/// Brings the views up to the journal's end.
///
/// # Errors
/// When the journal cannot be read or the views cannot be written.
pub fn catch_up(
    context: &Arc<Context>,
    views: &Views,
    handle: &Handle,
) -> Result<(), ProjectError> {
    let mut cases = HashMap::new();
    // each is said and noted once, and its further records tell nothing
    let mut broken = HashSet::new();
    let mut shapes = Shapes::load(views)?;
    let mut told = Instant::now();
    loop {
        if context.stopping.load(Ordering::Acquire) {
            return Err(ProjectError::Stopped);
        }
        let after = views.position()?;
        let page = handle.block_on(context.journal.tail(after, PAGE))?;
        if page.next == after {
            return Ok(());
        }
        if let (Some(first), Some(last)) = (page.lost.first(), page.lost.last()) {
            let lost = page.lost.len();
            let (first, last) = (first.at.0, last.at.0);
            tracing::error!(first, last, lost, "records of the journal cannot be read");
        }
        if told.elapsed() > TELL
            && let Some((done, all)) = views.progress()
        {
            tracing::info!(done, all, "the views are being filled from the journal");
            told = Instant::now();
        }
        let mut rows = Rows::new(context, views, handle, &mut shapes);
        for (at, bytes) in &page.records {
            let Some(case) = case_of(bytes) else {
                rows.record(*at, bytes)?;
                continue;
            };
            if broken.contains(&case) {
                continue;
            }
            match pass(context, handle, &mut cases, case, *at, bytes) {
                Ok(()) => {}
                Err(error) if error.is_of_the_case() => {
                    cases.remove(&case);
                    broken.insert(case);
                    rows.unreadable(case, &error.to_string())?;
                }
                // the disk's trouble is nobody's fault: the position stays before it
                Err(error) => return Err(ProjectError::Case(error)),
            }
        }
        for lost in &page.lost {
            if let Some(Entity { kind: EntityKind::Case, bits }) = lost.entity {
                cases.remove(&CaseId(bits));
                broken.insert(CaseId(bits));
                rows.unreadable(CaseId(bits), "a record of it in the journal is damaged")?;
            }
        }
        let mut passed: Vec<&mut Passing> = cases.values_mut().filter(|p| p.at.is_some()).collect();
        passed.sort_unstable_by_key(|passing| passing.at);
        for passing in passed {
            let Some(at) = passing.at.take() else { continue };
            let answered = std::mem::take(&mut passing.answered);
            let worked = std::mem::take(&mut passing.worked);
            if let Some(note) = note_of(&passing.fold, answered, worked) {
                rows.case(at, note)?;
            }
        }
        let last = page.records.last().filter(|(at, _)| *at == page.next);
        rows.finish(page.next, last.map(|(_, bytes)| record::hash(bytes)))?;
        cases.retain(|_, p| p.fold.state.as_ref().is_some_and(|s| !s.phase.ended()));
        let bytes = |cases: &HashMap<_, Passing>| cases.values().map(|p| p.bytes).sum::<usize>();
        if cases.len() > KEPT || bytes(&cases) > KEPT_BYTES {
            // most that are at rest are not met again
            cases.retain(|_, p| p.fold.state.as_ref().is_some_and(|s| s.phase == Phase::Running));
        }
        if cases.len() > KEPT || bytes(&cases) > KEPT_BYTES {
            cases.clear();
        }
    }
}

fn case_of(bytes: &[u8]) -> Option<CaseId> {
    let (header, _) = record::decode(bytes).ok()?;
    (header.entity.kind == EntityKind::Case).then_some(CaseId(header.entity.bits))
}

fn pass(
    context: &Arc<Context>,
    handle: &Handle,
    cases: &mut HashMap<CaseId, Passing>,
    case: CaseId,
    at: RecordCursor,
    bytes: &[u8],
) -> Result<(), LoadError> {
    let passing = match cases.entry(case) {
        std::collections::hash_map::Entry::Occupied(known) => known.into_mut(),
        std::collections::hash_map::Entry::Vacant(free) => {
            let version = record::decode(bytes).map_or(1, |(header, _)| header.version);
            let fold = match version {
                1 => Fold::new(case),
                _ => {
                    let snapshot = context.snapshot(case);
                    let (journal, definitions) = (&context.journal, &context.definitions);
                    handle.block_on(load_before(journal, definitions, case, snapshot, version))?
                }
            };
            let (answered, worked) = (Vec::new(), Vec::new());
            free.insert(Passing { fold, bytes: 0, at: None, answered, worked })
        }
    };
    let before = passing.fold.state.clone();
    let events = handle.block_on(passing.fold.record(&context.definitions, bytes))?;
    passing.at = Some(at);
    passing.bytes += bytes.len();
    if let Some(definition) = &passing.fold.definition {
        passing.answered.extend(answered(definition, before.as_ref(), &events));
        let at = passing.fold.state.as_ref().map_or(Timestamp::MIN, |state| state.updated_at);
        passing.worked.extend(worked(definition, before.as_ref(), &events, at));
    }
    Ok(())
}

fn note_of(
    fold: &Fold,
    answered: Vec<(Arc<str>, Answered)>,
    worked: Vec<Worked>,
) -> Option<CommitNote> {
    let (definition, state) = (fold.definition.as_ref()?, fold.state.as_ref()?);
    let summary = Summary::of(definition, state);
    let long = state.version >= SNAPSHOT_AT_REST && !state.phase.ended();
    let rests = derive::rests(state);
    let snapshot =
        (long && rests).then(|| Snapshot { state: state.clone(), hash: fold.hash }.encode());
    Some(CommitNote { summary: Box::new(summary), rests, answered, worked, snapshot })
}
