//! What lists, timers and lines hold is what looking at every row would give.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::Views;
use super::lists::CaseFilter;
use super::services::Calls;
use crate::domain::case::event::WaitKind;
use crate::domain::case::phase::Phase;
use crate::domain::case::summary::{DeadLetter, Parked, ShownWait, Summary};
use crate::domain::data::Data;
use crate::domain::ids::{Bits, CaseId, DeadId};
use crate::domain::service::line::QueueEntry;
use crate::domain::time::Timestamp;
use crate::domain::workflow::model::DefinitionId;
use crate::store::journal::RecordCursor;

const SERVICES: [&str; 2] = ["bobs-post", "crm"];

const CSRS: [&str; 2] = ["ann", "ben"];

fn summary() -> impl Strategy<Value = Summary> {
    let what = (0u8..12, 0usize..2, 0u8..3, prop::sample::select(Phase::ALL.to_vec()));
    let words = (prop::option::of(0u8..3), prop::option::of(0u8..3), 0u8..10);
    let waits = (prop::option::of((0usize..10, prop::option::of(0usize..2))), 0u8..4);
    let times = (0i64..50, prop::option::of(0i64..100), any::<bool>(), 0u64..100);
    (what, words, waits, times).prop_map(|(what, words, waits, times)| {
        let (id, workflow, version, phase) = what;
        let (status, subject, priority) = words;
        let (wait, parked) = waits;
        let (since, due, owes, seen) = times;
        let created_at = Timestamp(i64::from(id) * 10);
        Summary {
            documents: Vec::new(),
            id: CaseId(Bits([id; 16])),
            definition: DefinitionId {
                namespace: "test".into(),
                name: ["order", "signup"][workflow].into(),
                version: format!("1.0.{version}").into(),
            },
            subject: subject.map(|n| format!("subject {n}").into()),
            tags: Vec::new().into(),
            priority,
            phase,
            status: status.map(|n| format!("status {n}").into()),
            version: seen,
            created_at,
            updated_at: created_at,
            ended_at: None,
            wait: wait.map(|(kind, on)| ShownWait {
                next_attempt_at: None,
                kind: WaitKind::ALL[kind],
                on: on.map(|on| SERVICES[on].into()),
                task: None,
                since: Timestamp(since),
                until: None,
                detail: None,
            }),
            due: due.map(Timestamp),
            owes,
            repeating: Vec::new(),
            parked: (0..2)
                .filter(|n| parked & (1 << n) != 0)
                .map(|n| Parked { service: SERVICES[n].into(), since: Timestamp(since) })
                .collect(),
            listening: Vec::new(),
            children: Vec::new(),
            parent: None,
            dead: None,
            seeking: Vec::new(),
            jobs: Vec::new(),
            csrs: (0..2).filter(|n| seen & (1 << n) != 0).map(|n| CSRS[n].into()).collect(),
            assignments: Vec::new(),
        }
    })
}

fn filter() -> impl Strategy<Value = CaseFilter> {
    let words = |all: Vec<&'static str>| {
        prop::collection::vec(prop::sample::select(all).prop_map(str::to_owned), 0..3)
    };
    let wait = (0usize..10, prop::option::of(0usize..2))
        .prop_map(|(kind, on)| (WaitKind::ALL[kind], on.map(|on| SERVICES[on].to_owned())));
    let times = (prop::option::of(0i64..130), prop::option::of(0i64..130));
    (
        words(vec!["test/order", "test/signup", "test/order/1.0.1"]),
        prop::collection::vec(prop::sample::select(Phase::ALL.to_vec()), 0..3),
        words(vec!["status 0", "status 1"]),
        words(vec!["subject 0", "subject 1"]),
        (words(SERVICES.to_vec()), words(CSRS.to_vec())),
        prop::collection::vec(wait, 0..2),
        times,
    )
        .prop_map(
            |(workflow, phase, status, subject, (service, csr), wait, (since, until))| CaseFilter {
                workflow,
                phase,
                status,
                subject,
                service,
                csr,
                wait,
                since: since.map(Timestamp),
                until: until.map(Timestamp),
            },
        )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn indexes_hold_what_the_rows_say(
        puts in prop::collection::vec(summary(), 1..40),
        filters in prop::collection::vec(filter(), 1..8),
        page in 1usize..5,
        until in 0i64..120,
    ) {
        let home = tempfile::tempdir().unwrap();
        let views = Views::open(home.path(), "machine", Timestamp(0), RecordCursor(0)).unwrap();
        let writer = views.writer().unwrap();
        let mut rows: BTreeMap<CaseId, Summary> = BTreeMap::new();
        for summary in puts {
            writer.put_case(&summary).unwrap();
            rows.insert(summary.id, summary);
            if rows.len().is_multiple_of(3) {
                writer.commit(RecordCursor(1), None).unwrap();
            }
        }
        writer.commit(RecordCursor(1), None).unwrap();
        // a running row that only moved on keeps its version
        for (id, row) in &mut rows {
            let stored = views.case(*id).unwrap().unwrap();
            row.version = stored.version;
            prop_assert_eq!(&stored, row);
        }
        for filter in filters {
            let mut expected: Vec<&Summary> = rows.values().filter(|r| filter.accepts(r)).collect();
            expected.sort_by_key(|row| (std::cmp::Reverse(row.created_at), row.id));
            let (mut found, mut after) = (Vec::new(), None);
            loop {
                let page = views.cases(&filter, after.as_deref(), page).unwrap();
                found.extend(page.items);
                after = page.next;
                if after.is_none() {
                    break;
                }
            }
            prop_assert_eq!(found.iter().collect::<Vec<_>>(), expected, "{:?}", filter);
        }
        let until = Timestamp(until);
        let due = rows.values().filter_map(|r| Some((r.due.filter(|d| *d <= until)?, r.id)));
        let mut due: Vec<_> = due.collect();
        due.sort();
        prop_assert_eq!(views.due(until, 100).unwrap(), due);
        for service in SERVICES {
            let waiting = rows.values().flat_map(|row| {
                let here = row.parked.iter().filter(|p| &*p.service == service);
                here.map(|p| QueueEntry::new(row.priority, p.since, row.id))
            });
            let mut line: Vec<QueueEntry> = waiting.collect();
            line.sort();
            prop_assert_eq!(views.line(service, 100).unwrap(), line.clone());
            let oldest = line.iter().map(|ticket| ticket.since).min();
            prop_assert_eq!(views.lines().unwrap().iter().any(|s| &**s == service), !line.is_empty());
            prop_assert_eq!(views.count_line(service).unwrap(), (line.len() as u64, oldest));
        }
        let owing: Vec<CaseId> = rows.values().filter(|r| r.owes).map(|r| r.id).collect();
        prop_assert_eq!(views.owing(None, 100).unwrap(), owing);
        let pending = rows.values().filter(|row| row.phase == Phase::Pending).count();
        prop_assert_eq!(views.count_pending(), pending as u64);
        // a new writer finds the counts that the last one left
        let again = views.writer().unwrap();
        prop_assert_eq!(again.count_pending(), pending as u64);
    }
}

#[test]
fn views_of_another_run_or_journal_are_made_anew() {
    let home = tempfile::tempdir().unwrap();
    let open = |boot: &str, minute: i64, last: u64| {
        let views =
            Views::open(home.path(), boot, Timestamp(minute * 60_000), RecordCursor(last)).unwrap();
        (views.position().unwrap().0, views)
    };
    let commit = |views: &Views, at| {
        views.writer().unwrap().commit(RecordCursor(at), Some([at as u8; 16])).unwrap()
    };
    let (position, views) = open("monday", 0, 9);
    assert_eq!(position, 0);
    commit(&views, 7);
    drop(views);
    let (position, views) = open("monday", 2, 9);
    assert_eq!(position, 7, "a kill loses nothing");
    drop(views);
    let (position, views) = open("tuesday", 4, 9);
    assert_eq!(position, 0, "a power cut may have lost anything");
    commit(&views, 8);
    views.close().unwrap();
    drop(views);
    let (position, views) = open("wednesday", 6, 9);
    assert_eq!(position, 8, "closed in good order");
    drop(views);
    assert_eq!(open("wednesday", 8, 5).0, 0, "of another journal");
}

#[test]
fn a_row_that_cannot_be_read_is_damage_wherever_it_is_met() {
    let home = tempfile::tempdir().unwrap();
    let views = Views::open(home.path(), "machine", Timestamp(0), RecordCursor(0)).unwrap();
    let case = CaseId(Bits([7; 16]));
    views.table.put(&super::keys::of_case(super::keys::CASE, case), b"nonsense").unwrap();
    assert!(views.case(case).is_err());
    assert!(views.are_damaged() && views.progress().is_some());
    views.begin_anew().unwrap();
    assert!(!views.are_damaged());
    assert_eq!(views.case(case).unwrap(), None);
    assert!(views.progress().is_some(), "nothing may be concluded before it is filled");
    views.filled();
    assert!(views.progress().is_none());
}

#[test]
fn names_of_any_length_and_letters_of_any_size_find_room() {
    let folder = tempfile::tempdir().unwrap();
    let last = RecordCursor(9);
    let views = Views::open(folder.path(), "machine", Timestamp(0), last).unwrap();
    let writer = views.writer().unwrap();
    let host = "a".repeat(5000);
    let calls = Calls { answered: 1, failed: 2, unknown: 3 };
    writer.put_calls(&host, calls).unwrap();
    let case = CaseId(Bits([1; 16]));
    let large = "x".repeat(300_000);
    let dead = DeadLetter {
        id: DeadId::of_case(case, 1),
        cause: "it failed".into(),
        task: None,
        since: Timestamp(0),
        error: None,
        input: Data::from(serde_json::json!(large)),
        attempts: Vec::new(),
    };
    let row = Summary { dead: Some(dead), ..Summary::unreadable(case, Timestamp(0)) };
    writer.put_case(&row).unwrap();
    writer.commit(last, None).unwrap();
    assert_eq!(views.calls(&host).unwrap(), calls);
    let row = views.case(case).unwrap().unwrap();
    assert!(row.dead.unwrap().input.is_null(), "its own row alone has what is large");
    // what no engine takes is left out: made anew, the views would come to the same
    writer.table.put(&[b'Z'; 600], &[]).unwrap();
    writer.table.put(b"Z", &vec![0; 5 << 20]).unwrap();
    writer.commit(last, None).unwrap();
    assert!(!views.are_damaged());
}
