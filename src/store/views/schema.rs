//! Every kind of row, byte for byte: where one changes its shape, the schema's number has to change
//! with it, so that older views are made anew instead of misread.

use std::fmt::Write;
use std::path::PathBuf;

use serde_json::json;

use super::Views;
use super::dead_letters::{DeadRow, DeadState};
use super::events::{EventRow, ListenerKey, Shape, correlated};
use super::meta::SCHEMA;
use super::services::Calls;
use super::wakes::{News, Wake};
use crate::domain::case::assignments::Assigned;
use crate::domain::case::event::{Parent, WaitKind};
use crate::domain::case::phase::Phase;
use crate::domain::case::problem::{Problem, Standard};
use crate::domain::case::state::FailedAttempt;
use crate::domain::case::summary::{
    DeadLetter, Listened, Listening, Parked, ShownWait, Sought, Summary,
};
use crate::domain::case::worked::{How, Worked};
use crate::domain::data::Data;
use crate::domain::document::DocumentId;
use crate::domain::ids::{
    Bits, BookingId, CaseId, DeadId, EventCursor, LeaseDigest, PlanId, TemplateHash,
};
use crate::domain::staff::plan::{Attention, Phase as TaskPhase};
use crate::domain::time::Timestamp;
use crate::domain::work::job::JobKey;
use crate::domain::work::lease::Lease;
use crate::domain::work::row::{JobAt, JobRow};
use crate::domain::workflow::model::{DefinitionId, TaskId};
use crate::store::journal::RecordCursor;

const AT: Timestamp = Timestamp(1_732_183_200_000);

fn case(n: u8) -> CaseId {
    CaseId(Bits([n; 16]))
}

fn definition() -> DefinitionId {
    DefinitionId { namespace: "orders".into(), name: "order".into(), version: "1.0.0".into() }
}

fn error() -> Problem {
    Problem::new(Standard::Communication, "answered 503").at(&"/do/0/a".into()).with_status(503)
}

fn failed() -> Vec<FailedAttempt> {
    vec![FailedAttempt { at: AT, error: error(), millis: 12 }]
}

/// A case with everything that a row can say.
fn summary() -> Summary {
    let parked = || vec![Parked { service: "bobs-post".into(), since: AT }];
    let on = Listened { event_type: Some("shipped".into()), filter: 1, expected: Some([4; 8]) };
    Summary {
        id: case(1),
        definition: definition(),
        subject: Some("4711".into()),
        tags: ["vip".into()].into(),
        priority: 7,
        phase: Phase::Suspended,
        status: Some("Shipped".into()),
        version: 12,
        created_at: AT,
        updated_at: AT.plus(1),
        ended_at: Some(AT.plus(2)),
        wait: Some(ShownWait {
            kind: WaitKind::Service,
            on: Some("bobs-post".into()),
            task: Some("/do/0/ship".into()),
            since: AT,
            until: Some(AT.plus(3)),
            next_attempt_at: Some(AT.plus(4)),
            detail: Some("no connection".into()),
        }),
        due: Some(AT.plus(5)),
        owes: true,
        parked: parked(),
        repeating: parked(),
        listening: vec![Listening { task: TaskId(3), iteration: 2, on: vec![on] }],
        children: vec![case(2)],
        parent: Some(Parent {
            case: case(3),
            task: TaskId(4),
            iteration: 1,
            awaits: true,
            depth: 2,
        }),
        dead: Some(DeadLetter {
            id: DeadId::of_case(case(1), 9),
            cause: "communication 503".into(),
            task: Some("/do/0/ship".into()),
            since: AT,
            error: Some(error()),
            input: Data::from(json!({"n": 1})),
            attempts: failed(),
        }),
        seeking: vec![Sought { skill: "id".into(), due: Some(AT.plus(6)), since: AT }],
        csrs: vec!["mia".into()],
        jobs: jobs(),
        documents: vec![DocumentId([3; 32])],
        assignments: Vec::new(),
    }
}

/// A job in each of its places.
fn jobs() -> Vec<JobRow> {
    let job = |key, lost, at| JobRow {
        key: JobKey(key),
        task: TaskId(2),
        iteration: 1,
        attempt: 3,
        queue: "scoring".into(),
        priority: 7,
        place: AT.plus(20),
        queued_at: AT,
        lost,
        at,
    };
    let lease = Lease {
        worker: "w1".into(),
        host: Some("h1".into()),
        millis: 60_000,
        digest: LeaseDigest(Bits([8; 16])),
        template: Some(TemplateHash(Bits([2; 16]))),
    };
    vec![
        job(1, 0, JobAt::Queued { from: AT, repeats: false }),
        job(2, 1, JobAt::Queued { from: AT.plus(9), repeats: true }),
        job(3, 2, JobAt::Leased(lease)),
    ]
}

/// A human task with everything that a row can say.
fn assigned() -> Assigned {
    Assigned {
        id: BookingId(Bits([7; 16])).assignment(),
        case: case(1),
        workflow: "customers/onboarding".into(),
        task: "/do/2/perform".into(),
        plan: PlanId(Bits([9; 16])),
        title: "Check".into(),
        skill: "id".into(),
        phase: TaskPhase::Planned,
        csr: Some("mia".into()),
        start: Some(AT.plus(7)),
        end: Some(AT.plus(8)),
        minutes: 30,
        due: Some(AT.plus(9)),
        attention: Some(Attention::Absent),
        customer: Some("Ada".into()),
        after: Some(BookingId(Bits([6; 16])).assignment()),
        number: 2,
        why: Some("the only one".into()),
        revision: 4,
        since: AT,
        place: 1,
    }
}

fn put_one_of_each(views: &Views) {
    views.put_case(&summary()).unwrap();
    views.put_assignments(&[assigned()]).unwrap();
    let pending =
        Summary { id: case(5), phase: Phase::Pending, ..Summary::unreadable(case(5), AT) };
    views.put_case(&pending).unwrap();
    let letter = DeadRow {
        id: DeadId::of_case(case(1), 9),
        case: case(1),
        task: Some("/do/0/ship".into()),
        workflow: "orders/order".to_owned(),
        cause: "communication 503".into(),
        group: "0123456789ab".to_owned(),
        error: Some(error()),
        input: Data::from(json!({"n": 1})),
        attempts: failed(),
        since: AT,
        state: DeadState::Open,
    };
    views.put_dead_letter(&letter).unwrap();
    let shape = Shape {
        definition: definition(),
        task: TaskId(3),
        filter: 1,
        event_type: Some("shipped".into()),
    };
    views.put_shape(&shape).unwrap();
    let values = vec![(shape.key(), correlated(Some(&json!(["s1"]))))];
    let row = EventRow { at: AT, kind: "shipped".to_owned(), subject: Some(case(1)), values };
    views.put_event(EventCursor(77), &row).unwrap();
    let listener =
        ListenerKey { event_type: [1; 8], shape: shape.key(), values: [4; 8], case: case(1) };
    views.put_offered(&listener, EventCursor(76)).unwrap();
    let (place, shape, values) = (EventCursor(77), listener.shape, listener.values);
    for news in [News::Event { place, shape, values }, News::Child(case(2))] {
        views.put_wake(&Wake { case: case(1), news, noted: RecordCursor(78) }).unwrap();
    }
    let worked =
        Worked { queue: "scoring".into(), worker: Some("w1".into()), how: How::Done, at: AT };
    views.count_work(&worked).unwrap();
    views.put_calls("bobs-post", Calls { answered: 1, failed: 2, unknown: 3 }).unwrap();
    views.commit(RecordCursor(5), Some([6; 16])).unwrap();
}

#[test]
fn rows_change_their_shape_only_with_the_schema() {
    let folder = tempfile::tempdir().unwrap();
    let views = Views::open(folder.path(), "machine", AT, RecordCursor(9)).unwrap();
    put_one_of_each(&views.writer().unwrap());
    let hex = |bytes: &[u8]| {
        bytes.iter().fold(String::new(), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
    };
    let mut rows = String::new();
    for kind in 1..=u8::MAX {
        for row in views.table.scan(&[kind], std::ops::Bound::Unbounded) {
            let (key, value) = row.unwrap();
            rows.push_str(&format!("{} {}\n", hex(&key), hex(&value)));
        }
    }
    let golden = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join(format!("tests/golden/views/schema-{SCHEMA}.txt"));
    let known = std::fs::read_to_string(&golden).unwrap_or_default();
    assert!(
        rows == known,
        "the rows of the views are not those of {}: raise SCHEMA in views/meta.rs, and write a file \
         of the new number (and remove the old one):\n{rows}",
        golden.display()
    );
}
