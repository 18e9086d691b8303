//! Stored shapes: what was written once is read for ever.

use std::sync::Arc;

use serde_json::json;

use super::{decode, encode};
use crate::domain::case::event::{
    Answer, Came, Change, Doubt, Entry, Event, Parent, Received, Start, Submission, TaskEvent,
    Wait, WaitKind,
};
use crate::domain::case::job::Job;
use crate::domain::case::problem::{Problem, Standard};
use crate::domain::data::Data;
use crate::domain::document::DocumentId;
use crate::domain::ids::{Bits, CaseId, EventCursor, Fingerprint, LeaseDigest, TemplateHash};
use crate::domain::time::Timestamp;
use crate::domain::work::job::JobKey;
use crate::domain::work::lease::Lease;
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
        priority: Some(7),
        fingerprint: Some(Fingerprint(Bits([9; 16]))),
        parent: Some(Parent {
            case: CaseId(Bits([1; 16])),
            task: TaskId(3),
            iteration: 2,
            awaits: true,
            depth: 0,
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
        attempt_deadline: None,
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
        position: EventCursor(77),
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
            task(Change::Started {
                entry,
                attempt: 1,
                service: Some("bobs-post".into()),
                generation: 0,
                safe: false,
                lease: None,
            }),
        ),
        ("task-prepare", task(Change::Preparing { entry: None, service: "docs".into() })),
        ("task-wait", task(Change::Waiting { entry: None, wait, outcome: None })),
        ("task-wait-timer", task(Change::Waiting { entry: None, wait: timer, outcome: None })),
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
                outcome: None,
                until: None,
            }),
        ),
        (
            "task-fault",
            task(Change::Faulted {
                error: error(),
                doubt: Some(Doubt::Answered),
                answer: None,
                keep: false,
            }),
        ),
        (
            "task-done",
            task(Change::Completed {
                output: Some(Data::from(json!({"id": "s1"}))),
                context: Some(Data::null()),
                then: Some(Then::To(4)),
                skipped: false,
                recalled: false,
            }),
        ),
        (
            "task-skip",
            task(Change::Completed {
                output: None,
                context: None,
                then: None,
                skipped: true,
                recalled: false,
            }),
        ),
        ("task-cancel", task(Change::Cancelled { unsettled: true, keep: false })),
        ("task-take", task(Change::Received { filter: 1, event: Box::new(received) })),
    ]
}

/// What the second schema says beside that; each has a golden file of its name.
fn one_of_each_since_v2() -> Vec<(&'static str, Event)> {
    let entry = Some(Box::new(Entry {
        attempt_deadline: Some(Timestamp(1_732_183_200_000)),
        ..Entry::default()
    }));
    let wait = Wait {
        kind: WaitKind::Service,
        on: Some("bobs-post".into()),
        until: Some(Timestamp(1_732_183_200_000)),
        detail: None,
    };
    let fault = |answer, keep| {
        task(Change::Faulted { error: error(), doubt: Some(Doubt::Silent), answer, keep })
    };
    let mut child = submission();
    child.parent = child.parent.map(|parent| Parent { depth: 3, ..parent });
    vec![
        ("accepted-child", Event::Accepted(Box::new(child))),
        ("task-start-try", task(Change::entered(entry))),
        (
            "task-start-again",
            task(Change::Started {
                entry: None,
                attempt: 4,
                service: Some("bobs-post".into()),
                generation: 1,
                safe: true,
                lease: None,
            }),
        ),
        (
            "task-wait-unknown",
            task(Change::Waiting { entry: None, wait, outcome: Some(Came::Unknown) }),
        ),
        (
            "task-retry-not-sent",
            task(Change::Retried {
                error: error(),
                at: Timestamp(6),
                deadline: None,
                outcome: Some(Came::NotSent),
                until: Some(Timestamp(9)),
            }),
        ),
        ("task-fault-answer", fault(Some(Answer::Kept(Data::null())), false)),
        ("task-fault-gone", fault(Some(Answer::Gone), false)),
        ("task-fault-keep", fault(None, true)),
        (
            "task-done-recalled",
            task(Change::Completed {
                output: Some(Data::from(json!(1))),
                context: None,
                then: None,
                skipped: false,
                recalled: true,
            }),
        ),
        ("task-cancel-keep", task(Change::Cancelled { unsettled: false, keep: true })),
    ]
}

/// What jobs have added.
fn one_of_each_of_jobs() -> Vec<(&'static str, Event)> {
    let job = Job {
        key: JobKey(0x0123_4567_89ab_cdef),
        queue: "scoring".into(),
        priority: 7,
        place: Timestamp(1_732_184_400_000),
        queued_at: Timestamp(1_732_183_200_000),
        expires_at: Some(Timestamp(1_732_186_800_000)),
        lease: Some(30_000),
        attempts: 5,
    };
    let plain = Job { expires_at: None, lease: None, ..job.clone() };
    let lease = Lease {
        worker: "scorer-1".into(),
        host: Some("h1".into()),
        millis: 60_000,
        digest: LeaseDigest(Bits([5; 16])),
        template: None,
    };
    let entry = Some(Box::new(Entry { input: Some(Data::null()), ..Entry::default() }));
    vec![
        ("task-queue", task(Change::Queued { entry, job: Box::new(job) })),
        ("task-queue-plain", task(Change::Queued { entry: None, job: Box::new(plain) })),
        (
            "task-start-lease",
            task(Change::Started {
                entry: None,
                attempt: 2,
                service: None,
                generation: 0,
                safe: false,
                lease: Some(Box::new(lease)),
            }),
        ),
    ]
}

/// What documents have added.
fn one_of_each_of_documents() -> Vec<(&'static str, Event)> {
    let lease = Lease {
        worker: "pdf".into(),
        host: None,
        millis: 60_000,
        digest: LeaseDigest(Bits([5; 16])),
        template: Some(TemplateHash(Bits([6; 16]))),
    };
    let started = Change::Started {
        entry: None,
        attempt: 1,
        service: None,
        generation: 0,
        safe: false,
        lease: Some(Box::new(lease)),
    };
    vec![
        ("task-start-document", task(started)),
        ("referred", Event::Referred { documents: vec![DocumentId([7; 32])] }),
    ]
}

#[test]
fn golden_files_are_read_and_written_as_they_are() {
    let turned = vec![("task-turn", task(Change::Turned { turn: 17 }))];
    let back = task(Change::ReadBack { output: Data::from(json!({"id": "s1"})) });
    let back = vec![("task-back", back), ("trimmed", Event::Trimmed { through: None })];
    let through = vec![("trimmed-through", Event::Trimmed { through: Some(17) })];
    for (version, events) in [
        ("v1", one_of_each()),
        ("v2", one_of_each_since_v2()),
        ("v3", turned),
        ("v4", back),
        ("v5", through),
        ("v8", one_of_each_of_jobs()),
        ("v9", one_of_each_of_documents()),
    ] {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
        let folder = folder.join("tests/golden").join(version);
        for (name, event) in &events {
            let path = folder.join(format!("{name}.json"));
            let new = encode(std::slice::from_ref(event));
            let golden = std::fs::read_to_string(&path).unwrap_or_else(|e| {
                let new = String::from_utf8_lossy(&new);
                panic!("{}: {e}; a new event needs a golden file:\n{new}", path.display())
            });
            let golden = golden.trim_end().as_bytes();
            assert_eq!(decode(golden), Ok(vec![event.clone()]), "{name}");
            assert_eq!(new, golden, "{name}");
        }
        // those of queues and schedules are beside them
        let of_case = |name: &str| !name.starts_with("queue-") && !name.starts_with("schedule-");
        let files = std::fs::read_dir(&folder).unwrap().map(|file| file.unwrap().file_name());
        let files = files.filter(|name| of_case(&name.to_string_lossy())).count();
        assert_eq!(files, events.len(), "a golden file without its event");
    }
}

#[test]
fn null_is_a_value() {
    let with = |output| {
        let (context, then) = (None, None);
        task(Change::Completed { output, context, then, skipped: false, recalled: false })
    };
    for event in [with(Some(Data::null())), with(None)] {
        assert_eq!(decode(&encode(std::slice::from_ref(&event))), Ok(vec![event]));
    }
}

#[test]
fn the_short_form_is_short() {
    let started = task(Change::entered(None));
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
