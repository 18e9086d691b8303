//! Stored shapes: what was written once is read for ever.

use std::sync::Arc;

use serde_json::json;

use super::{decode, encode};
use crate::domain::case::event::{
    Change, Doubt, Entry, Event, Parent, Received, Start, Submission, TaskEvent, Wait, WaitKind,
};
use crate::domain::case::problem::{Problem, Standard};
use crate::domain::data::Data;
use crate::domain::ids::{Bits, CaseId, Fingerprint};
use crate::domain::time::Timestamp;
use crate::domain::workflow::model::{DefinitionId, TaskId, Then};

fn error() -> Problem {
    Problem::new(Standard::Communication, "answered 503").at(&"/do/0/a".into())
}

fn submission() -> Submission {
    Submission {
        definition: DefinitionId {
            namespace: "orders".into(),
            name: "order".into(),
            version: "1.0.0".into(),
        },
        input: Data::from(json!({"customerId": "c1"})),
        subject: Some("4711".into()),
        tags: Arc::new(["vip".into()]),
        priority: 7,
        fingerprint: Some(Fingerprint(Bits([9; 16]))),
        parent: Some(Parent {
            case: CaseId(Bits([1; 16])),
            task: TaskId(3),
            iteration: 2,
            awaits: true,
        }),
    }
}

fn task(change: Change) -> Event {
    Event::Task(TaskEvent { task: TaskId(9), iteration: 12, change })
}

/// One of every event, and of every change of a task; each has a golden file of its name.
pub fn one_of_each() -> Vec<(&'static str, Event)> {
    let entry = Some(Box::new(Entry {
        input: Some(Data::from(json!({"n": 1}))),
        work: Some(Data::null()),
        turn: Some(2),
        deadline: Some(Timestamp(1_732_183_200_000)),
    }));
    let wait = Wait {
        kind: WaitKind::Service,
        on: Some("bobs-post".into()),
        until: Some(Timestamp(1_732_183_200_000)),
        detail: Some("no connection".into()),
    };
    let timer = Wait {
        kind: WaitKind::Timer,
        on: None,
        until: Some(Timestamp(1_732_183_200_000)),
        detail: None,
    };
    let start = Start {
        submission: Some(submission()),
        data: Some(Data::from(json!([1]))),
        deadline: Some(Timestamp(5)),
    };
    let received = Received {
        source: "https://bobs-post".into(),
        id: "e1".into(),
        kind: "shipped".into(),
        position: 77,
        value: Data::from(json!({"tracking": "T1"})),
        correlated: vec![("shipment".into(), Data::from(json!("s1")))],
    };
    let reason = || "a person said so".to_owned();
    let error_at = Some((TaskId(9), 12));
    vec![
        ("accepted", Event::Accepted(Box::new(submission()))),
        ("started", Event::Started(Box::new(start))),
        ("suspended", Event::Suspended { reason: reason(), error: Some(error()), task: error_at }),
        ("resumed", Event::Resumed { reason: reason(), retried: true }),
        ("cancelled", Event::Cancelled { reason: reason() }),
        ("faulted", Event::Faulted { error: error() }),
        ("completed", Event::Completed { output: Some(Data::null()) }),
        ("status", Event::Status { status: "Shipped".into() }),
        ("alerted", Event::Alerted { cause: "communication 503".into() }),
        ("unwinding", Event::UnwindingStarted { reason: reason(), error: Some(error()) }),
        ("unwound", Event::UnwindingEnded),
        (
            "task-start",
            task(Change::Started { entry, attempt: 1, service: Some("bobs-post".into()) }),
        ),
        ("task-prepare", task(Change::Preparing { entry: None, service: "docs".into() })),
        ("task-wait", task(Change::Waiting { entry: None, wait })),
        ("task-wait-timer", task(Change::Waiting { entry: None, wait: timer })),
        (
            "task-listen",
            task(Change::Listening {
                on: Some("shipped".into()),
                expected: Data::from(json!([[["s1"], []]])),
            }),
        ),
        ("task-unknown", task(Change::Unknown { error: error() })),
        ("task-reconciled", task(Change::Reconciled { found: true })),
        (
            "task-retry",
            task(Change::Retried {
                error: error(),
                at: Timestamp(6),
                deadline: Some(Timestamp(7)),
            }),
        ),
        ("task-fault", task(Change::Faulted { error: error(), doubt: Some(Doubt::Answered) })),
        (
            "task-done",
            task(Change::Completed {
                output: Some(Data::from(json!({"id": "s1"}))),
                context: Some(Data::null()),
                then: Some(Then::To(4)),
                skipped: false,
            }),
        ),
        (
            "task-skip",
            task(Change::Completed { output: None, context: None, then: None, skipped: true }),
        ),
        ("task-cancel", task(Change::Cancelled { unsettled: true })),
        ("task-take", task(Change::Received { filter: 1, event: Box::new(received) })),
    ]
}

#[test]
fn golden_files_are_read_and_written_as_they_are() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/v1");
    for (name, event) in one_of_each() {
        let path = folder.join(format!("{name}.json"));
        let golden = std::fs::read_to_string(&path).unwrap_or_else(|e| {
            let new = String::from_utf8(encode(std::slice::from_ref(&event))).unwrap();
            panic!("{}: {e}; a new event needs a golden file:\n{new}", path.display())
        });
        assert_eq!(decode(golden.trim_end().as_bytes()), Ok(vec![event.clone()]), "{name}");
        assert_eq!(encode(&[event]), golden.trim_end().as_bytes(), "{name}");
    }
    let files = std::fs::read_dir(&folder).unwrap().count();
    assert_eq!(files, one_of_each().len(), "a golden file without its event");
}

#[test]
fn null_is_a_value() {
    let with =
        |output| task(Change::Completed { output, context: None, then: None, skipped: false });
    for event in [with(Some(Data::null())), with(None)] {
        assert_eq!(decode(&encode(std::slice::from_ref(&event))), Ok(vec![event]));
    }
}

#[test]
fn the_short_form_is_short() {
    let started = task(Change::Started { entry: None, attempt: 0, service: None });
    assert_eq!(encode(&[started]), br#"[["start",9,12]]"#);
}

#[test]
fn what_is_not_understood_is_refused() {
    for bad in [
        r#"[["start"]]"#,
        r#"[["start",1,1,{"colour":"red"}]]"#,
        r#"[["dance"]]"#,
        r#"[["fault",1,1]]"#,
        r#"[["unwound",{},1]]"#,
        r#"{}"#,
    ] {
        assert!(decode(bad.as_bytes()).is_err(), "{bad}");
    }
}
