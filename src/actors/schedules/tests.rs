//! Schedules after a crash between two steps, met from inside: nothing outside can crash just there.

use crate::actors::tests::{until, world};
use crate::domain::ids::{CaseId, Entity};
use crate::domain::schedule::event::{Cause, Run, ScheduleEvent};
use crate::domain::time::Timestamp;
use crate::domain::workflow::source::Format;
use crate::store::EngineJournal;
use crate::store::journal::{Append, Appended, Journal};
use crate::store::record::{self, By, Header};
use crate::store::schedule_events::{self, Batch, WRITTEN_EVERY};

const YEARLY: &str = "
document: { dsl: '1.0.3', namespace: test, name: yearly, version: '1.0.0' }
schedule: { cron: 0 0 1 1 * }
do: [ { done: { set: { ok: true } } } ]
";

/// Appends an event as the actor would, and nothing else happens.
async fn append(journal: &EngineJournal, event: ScheduleEvent) {
    let entity = Entity::schedule("test.yearly");
    let last = journal.last(entity).await.expect("a read").expect("it is set");
    let header = Header::following(Some(&last.record), entity, Timestamp(1), By::engine());
    let header = header.expect("a header");
    let batch = Batch { schedule: "test.yearly".into(), base: 1, state: None, events: vec![event] };
    let record = record::encode(&header, &schedule_events::encode(&batch)).into();
    let append =
        Append { entity, fence: Some(last.fence), first: header.version, record, note: None };
    assert!(matches!(journal.append(append).await, Appended::Committed(_)));
}

fn fired(due: i64) -> (CaseId, ScheduleEvent) {
    let due = Timestamp(due);
    let case = CaseId::of_schedule("test.yearly", due);
    let cause = Cause::Due { previous: None };
    (case, ScheduleEvent::Fired(Run { due, at: due, case, version: "1.0.0".into(), cause }))
}

#[tokio::test]
async fn a_run_that_was_committed_begins_after_a_crash() {
    let folder = tempfile::tempdir().expect("a folder");
    let first = world(folder.path()).await;
    first.handle.register(YEARLY.to_owned(), Format::Yaml, By::engine()).await.expect("it fits");
    let (case, event) = fired(1_000);
    append(&first.handle.context().journal, event).await;
    first.running.stop().await;
    drop(first.handle);
    let second = world(folder.path()).await;
    let state = || second.handle.schedule("test.yearly").expect("it is there").seen();
    until("it has run, and is seen off", || {
        state().is_some_and(|seen| seen.state.last[0].outcome.is_some())
    })
    .await;
    let found = second.handle.case(case).await.expect("the case");
    assert!(found.state.phase.ended());
    second.running.stop().await;
}

#[tokio::test]
async fn a_long_story_is_read_from_where_it_was_written_down() {
    let folder = tempfile::tempdir().expect("a folder");
    let first = world(folder.path()).await;
    first.handle.register(YEARLY.to_owned(), Format::Yaml, By::engine()).await.expect("it fits");
    let schedule = first.handle.schedule("test.yearly").expect("it is there");
    let by = || By { who: "ops".to_owned(), from: String::new(), why: String::new() };
    for _ in 0..WRITTEN_EVERY {
        let paused = first.handle.pause_schedule(&schedule, "busy".to_owned(), by()).await;
        paused.expect("it is stored");
    }
    let known = schedule.seen().expect("it was set").state;
    assert!(known.revision > WRITTEN_EVERY);
    let context = first.handle.context();
    let (read, base) = context.load_schedule(&schedule.id).await.expect("a read");
    assert_eq!((read, base), (known, WRITTEN_EVERY + 1));
    first.running.stop().await;
}
