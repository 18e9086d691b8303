//! Human tasks of one case on a moved clock: the people are a board that the test keeps.

use std::sync::Arc;

use serde_json::{Value as Json, json};

use super::office::{HOUR, Office};
use super::world::START;
use crate::domain::case::command::{
    AssignmentConflict, Command, PlanChange, PlannedTask, Rejection, Verb,
};
use crate::domain::case::phase::Phase as CasePhase;
use crate::domain::data::Data;
use crate::domain::staff::csr::MINUTE;
use crate::domain::staff::plan::{Attention, Phase};
use crate::domain::time::DAY;

const ORDERED: &str = "
do:
  - plan: { call: book, with: { tasks: [{skill: a, minutes: 60}, {skill: a, minutes: 60}, {skill: a, minutes: 60}] } }
  - perform: { call: perform, with: { plan: '${ .plan }' }, metadata: { statusOnStart: InProgress } }
";

#[test]
fn what_overruns_moves_those_behind_it_and_the_second_time_they_wait() {
    let mut office = Office::begin(ORDERED, &["ann"]);
    assert_eq!(office.world.shown_wait().unwrap().on.as_deref(), Some("csr:ann"));
    let (second, third) = (office.start_of(1), office.start_of(2));
    office.pass_until(office.start_of(0));
    office.act(0, Verb::Start).unwrap();
    assert_eq!(office.world.statuses(), ["InProgress"]);
    office.pass_until(second.plus(-1));
    assert_eq!(office.start_of(1), second);
    office.pass_until(second);
    assert_eq!(office.start_of(1), second.plus(30 * MINUTE), "half of what overruns");
    assert_eq!(office.start_of(2), third.plus(30 * MINUTE), "and those behind it");
    assert_eq!(office.item(0).attention, Some(Attention::Late));
    office.pass_until(second.plus(30 * MINUTE));
    let phases: Vec<Phase> = office.plan().items.iter().map(|item| item.phase).collect();
    assert_eq!(phases, [Phase::Started, Phase::Unplaced, Phase::Unplaced]);
    assert!(office.csrs[0].busy.len() == 1, "their time is free: {:?}", office.csrs[0].busy);
    office.complete(0);
    assert_eq!(office.item(1).phase, Phase::Ready, "{}", office.world.told());
    assert!(office.start_of(1) >= office.world.now);
    office.complete(1);
    office.complete(2);
    let output = office.world.output();
    assert_eq!(output[2]["outcome"], json!({"n": 2}), "{output:#}");
}

#[test]
fn who_is_silent_is_told_and_then_loses_it() {
    let body = "do:\n  - review: { call: perform, with: { skill: a, minutes: 20 } }\n";
    let mut office = Office::begin(body, &["ann", "ben"]);
    let first = office.item(0).csr().unwrap().id.clone();
    let lease = office.item(0).lease.unwrap();
    assert!(lease > START && lease < START.plus(4 * DAY));
    office.pass_until(lease);
    assert_eq!(office.item(0).attention, Some(Attention::Late));
    assert_eq!(office.item(0).csr().unwrap().id, first, "told once before");
    let lease = office.item(0).lease.unwrap();
    office.pass_until(lease);
    assert_ne!(office.item(0).csr().unwrap().id, first, "{}", office.world.told());
    assert_eq!(office.item(0).phase, Phase::Ready);
    office.act(0, Verb::Start).unwrap();
    let second = office.item(0).csr().unwrap().id.clone();
    office.pass_until(START.plus(30 * DAY));
    assert_eq!(office.item(0).csr().unwrap().id, second, "started work never moves by itself");
}

#[test]
fn what_is_late_is_marked_and_the_customers_time_does_not_count() {
    let body = "do:\n  - review: { call: perform, with: { skill: a, minutes: 20, due: PT26H } }\n";
    let mut office = Office::begin(body, &["ann"]);
    office.act(0, Verb::Start).unwrap();
    let due = office.item(0).due.unwrap();
    assert_eq!(due, START.plus(26 * HOUR));
    office.pass_until(START.plus(10 * HOUR));
    office.act(0, Verb::Block { reason: "a passport is missing".into() }).unwrap();
    assert_eq!(office.world.shown_wait().unwrap().on.as_deref(), Some("customer"));
    // the business day from nine to five (UTC) is within
    office.pass_until(START.plus(20 * HOUR));
    assert_eq!(office.item(0).attention, None);
    office.act(0, Verb::Unblock).unwrap();
    let later = office.item(0).due.unwrap();
    assert!(later > due, "{later} {due}");
    office.pass_until(later.plus(-1));
    assert_eq!(office.item(0).attention, None);
    office.pass_until(later);
    assert_eq!(office.item(0).attention, Some(Attention::Overdue));
    office.complete(0);
    assert_eq!(office.item(0).attention, None);
}

#[test]
fn a_suspended_case_records_what_was_started_and_nothing_else() {
    let mut office = Office::begin(ORDERED, &["ann"]);
    office.act(0, Verb::Start).unwrap();
    office.world.tell(Command::Suspend { reason: "a look".into() });
    let conflict = |rejection: Rejection| match rejection {
        Rejection::Assignment { why, .. } => why,
        other => panic!("{other:?}"),
    };
    let early = office.act(1, Verb::Skip { reason: "no".into() }).unwrap_err();
    assert_eq!(conflict(early), AssignmentConflict::CaseSuspended);
    office.complete(0);
    assert_eq!(office.item(1).phase, Phase::Planned, "its turn comes when the case goes on");
    office.pass_until(START.plus(2 * DAY));
    office.world.tell(Command::Resume { reason: "on".into() });
    office.settle();
    assert_eq!(office.item(1).phase, Phase::Ready);
    assert!(office.start_of(1) >= office.world.now, "what has passed is planned anew");
    let order = office.act(2, Verb::Complete { outcome: Data::null() }).unwrap_err();
    assert_eq!(conflict(order), AssignmentConflict::PredecessorOpen);
}

#[test]
fn what_ends_gives_back_what_it_has() {
    let mut office = Office::begin(ORDERED, &["ann"]);
    assert_eq!(office.csrs[0].busy.len(), 3);
    office.world.tell(Command::Cancel { reason: "gone".into() });
    assert_ne!(office.world.phase(), CasePhase::Cancelled, "not before all is given back");
    office.settle();
    assert_eq!((office.world.phase(), office.csrs[0].busy.len()), (CasePhase::Cancelled, 0));
    let failing = "
do:
  - book: { call: book, with: { skill: a, minutes: 60 } }
  - raise: { raise: { error: { type: 'https://x/y', status: 418 } } }
";
    let mut office = Office::begin(failing, &["ann"]);
    office.settle();
    assert_eq!((office.world.phase(), office.csrs[0].busy.len()), (CasePhase::Faulted, 0));
    let wrong = "do:\n  - perform: { call: perform, with: { plan: '${ \"plan_00000000000000000000000000\" }' } }\n";
    let office = Office::begin(wrong, &["ann"]);
    assert!(office.world.error().detail.unwrap().contains("no such plan"));
    let wrong = "do:\n  - book: { call: book, with: { skill: a, minutes: '${ \"x\" }' } }\n";
    let office = Office::begin(wrong, &["ann"]);
    assert_eq!(office.world.error().status, 400);
}

#[test]
fn the_same_once_more_changes_nothing_and_a_plan_of_many_fits_into_records() {
    let body = "do:\n  - review: { call: perform, with: { skill: a, minutes: 20 } }\n";
    let mut office = Office::begin(body, &["ann", "ben", "cai"]);
    let back = || Verb::HandBack { reason: "no time".into() };
    office.act(0, back()).unwrap();
    let next = office.item(0).csr().unwrap().id.clone();
    office.act(0, back()).unwrap();
    assert_eq!(office.item(0).csr().unwrap().id, next, "it was handed back once");
    for n in 0..2 {
        let reason = format!("no time either, the {n}. time").into();
        office.act(0, Verb::HandBack { reason }).unwrap();
    }
    let waits = office.item(0).nobody.clone().unwrap();
    assert_eq!(&*waits, "all 3 with the skill a handed it back");
    let title = "x".repeat(150);
    let task = json!({"skill": "a", "minutes": 15, "title": title});
    let tasks: Vec<&Json> = (0..100).map(|_| &task).collect();
    let body = format!("do:\n  - plan: {{ call: book, with: {} }}\n", json!({"tasks": tasks}));
    let names: Vec<String> = (0..60).map(|n| format!("csr-{n}-{}", "x".repeat(30))).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let office = Office::begin(&body, &names);
    assert_eq!(office.world.phase(), CasePhase::Completed);
}

#[test]
fn what_a_person_wants_in_vain_is_refused() {
    let mut office = Office::begin(ORDERED, &["ann", "ben"]);
    let reason: Arc<str> = "they asked".into();
    let start = office.world.now.plus(-HOUR);
    let past = office.act(0, Verb::Move { start, to: None, reason: reason.clone() }).unwrap_err();
    assert!(matches!(past, Rejection::Invalid(_)), "{past:?}");
    let start = office.start_of(0);
    let early = office.act(1, Verb::Move { start, to: None, reason: reason.clone() }).unwrap_err();
    assert!(matches!(early, Rejection::Invalid(_)), "{early:?}");
    // what has begun goes to whoever a person says, whatever their hours
    office.pass_until(office.start_of(0).plus(MINUTE));
    office.act(0, Verb::Start).unwrap();
    let other = usize::from(office.item(0).csr().unwrap().id.as_str() == "ann");
    let to = crate::domain::staff::plan::Person::of(&office.csrs[other]);
    office.act(0, Verb::Reassign { to: Some(to.clone()), reason }).unwrap();
    assert_eq!(office.item(0).csr(), Some(&to), "{}", office.world.told());
}

#[test]
fn an_admin_adds_skips_and_reorders_what_is_still_to_be_done() {
    let mut office = Office::begin(ORDERED, &["ann"]);
    office.act(0, Verb::Start).unwrap();
    let booking = |office: &Office, n: usize| PlannedTask::Kept(office.item(n).booking);
    let wanted = json!({"skill": "a", "minutes": 15, "title": "more"});
    let more = PlannedTask::New(Arc::new(serde_json::from_value(wanted).unwrap()));
    let change = |tasks| {
        let (plan, customer, reason) = (None, None, "the customer asked for it".into());
        Command::ChangePlan(Box::new(PlanChange { plan, tasks, customer, reason }))
    };
    let begun = vec![booking(&office, 0)];
    let refused = office.world.try_tell(change(begun)).unwrap_err();
    assert!(matches!(refused, Rejection::Invalid(_)), "{refused:?}");
    let tasks = vec![booking(&office, 2), more];
    office.world.tell(change(tasks));
    office.settle();
    let titles: Vec<_> = office.plan().items.iter().map(|item| item.wanted.title()).collect();
    assert_eq!(titles.iter().map(|t| &**t).collect::<Vec<_>>(), ["a", "a", "a", "more"]);
    let phases: Vec<Phase> = office.plan().items.iter().map(|item| item.phase).collect();
    assert_eq!(phases, [Phase::Started, Phase::Skipped, Phase::Planned, Phase::Planned]);
    assert!(office.start_of(3) >= office.item(2).ends().unwrap());
    assert_eq!(office.csrs[0].reservations.len(), 3, "what is skipped is given back");
    office.complete(0);
    // another one goes first, although the turn of this one has come
    let tasks = vec![booking(&office, 3), booking(&office, 2)];
    office.world.tell(change(tasks));
    office.settle();
    let phases: Vec<Phase> = office.plan().items.iter().map(|item| item.phase).collect();
    assert_eq!(phases, [Phase::Done, Phase::Skipped, Phase::Ready, Phase::Planned]);
    office.complete(2);
    office.complete(3);
    let output = office.world.output();
    assert_eq!(output[1]["skipped"], true, "{output:#}");
}

#[test]
fn a_person_says_who_and_when() {
    let mut office = Office::begin(ORDERED, &["ann", "ben"]);
    let other = if office.item(1).csr().unwrap().id.as_str() == "ann" { 1 } else { 0 };
    let to = crate::domain::staff::plan::Person::of(&office.csrs[other]);
    let slot = office.item(1).made.as_ref().unwrap().slot;
    let reason: Arc<str> = "they know the customer".into();
    office.act(1, Verb::Reassign { to: Some(to.clone()), reason: reason.clone() }).unwrap();
    assert_eq!(
        (office.item(1).csr(), office.item(1).made.as_ref().unwrap().slot),
        (Some(&to), slot)
    );
    assert_eq!(
        &*office.item(1).made.as_ref().unwrap().why,
        "a person wanted it so: they know the customer"
    );
    let start = office.start_of(2).plus(5 * HOUR);
    office.act(2, Verb::Move { start, to: None, reason }).unwrap();
    assert_eq!(office.start_of(2), start);
    let reserved: usize = office.csrs.iter().map(|csr| csr.reservations.len()).sum();
    assert_eq!(reserved, 3, "what it had before is given back");
    let value: Json = json!(office.world.told());
    assert!(value.as_str().unwrap().contains("Reassigned"));
}

#[test]
fn nothing_is_taken_back_in_the_first_minutes_after_a_start() {
    let body = "
do:
  - perform: { call: perform, with: { skill: a, minutes: 20 } }
";
    let mut office = Office::begin(body, &["ann", "ben"]);
    let first = office.item(0).csr().unwrap().id.clone();
    office.pass_until(START.plus(DAY));
    assert!(office.item(0).silent);
    // the process was away over the second day, and has just begun again
    office.world.now = START.plus(4 * DAY);
    office.world.taken_over = office.world.now;
    office.world.tell(Command::Recover);
    office.world.tell(Command::Timer);
    office.settle();
    office.pass_until(START.plus(4 * DAY + 9 * MINUTE));
    assert_eq!(
        (office.item(0).csr().map(|csr| &csr.id), office.item(0).phase),
        (Some(&first), Phase::Ready)
    );
    office.pass_until(START.plus(4 * DAY + 10 * MINUTE));
    assert_ne!(office.item(0).csr().unwrap().id, first);
}

#[test]
fn queued_work_is_due_from_when_it_is_given() {
    let body = "
do:
  - perform: { call: perform, with: { skill: a, minutes: 20, due: PT10H } }
";
    let mut office = Office::begin_unanswered(body, &["ann"]);
    assert_eq!(office.item(0).due, None);
    office.world.now = START.plus(5 * HOUR);
    office.settle();
    assert_eq!(office.item(0).due, Some(START.plus(15 * HOUR)));
    // whoever gets it next has no more time for it
    office.act(0, Verb::HandBack { reason: "no time".into() }).unwrap();
    office.pass_until(START.plus(6 * HOUR));
    assert_eq!(office.item(0).due, Some(START.plus(15 * HOUR)));
    let fixed = body.replace("PT10H", "'2023-11-20T00:00:00Z'");
    let office = Office::begin_unanswered(&fixed, &["ann"]);
    assert_eq!(
        office.item(0).due.map(|due| due.to_string()),
        Some("2023-11-20T00:00:00.000Z".into())
    );
}

#[test]
fn what_is_blocked_stays_blocked_for_its_reason() {
    let mut office = Office::begin(ORDERED, &["ann"]);
    office.act(0, Verb::Start).unwrap();
    office.act(0, Verb::Block { reason: "a paper is missing".into() }).unwrap();
    office.act(0, Verb::Block { reason: "a paper is missing".into() }).unwrap();
    let other = office.act(0, Verb::Block { reason: "another".into() }).unwrap_err();
    assert!(
        matches!(other, Rejection::Assignment { why: AssignmentConflict::Phase, .. }),
        "{other:?}"
    );
}

#[test]
fn a_long_plan_moves_as_a_whole() {
    let tasks = vec!["{skill: a, minutes: 60}"; 120].join(", ");
    let body = ORDERED.replace(
        "{skill: a, minutes: 60}, {skill: a, minutes: 60}, {skill: a, minutes: 60}",
        &tasks,
    );
    let mut office = Office::begin(&body, &["ann"]);
    assert_eq!(office.plan().items.len(), 120);
    // two days of it do not take place, and all behind them has to move
    let day = |at: crate::domain::time::Timestamp| at.to_string()[..10].parse().unwrap();
    let (from, to) = (day(START), day(START.plus(2 * DAY)));
    let off = crate::domain::staff::profile::TimeOff {
        id: "off".into(),
        from,
        to,
        reason: String::new(),
    };
    office.tell_csr(&crate::domain::staff::csr::command::Command::Away { off });
    office.settle();
    let starts: Vec<_> = (0..120).map(|n| office.start_of(n)).collect();
    assert!(starts.windows(2).all(|two| two[1] >= two[0].plus(HOUR)), "{starts:?}");
    let refused = office.world.told().matches("Refused").count();
    assert_eq!(refused, 0, "nobody asks for a time that the case has itself");
}
