//! Who is told what of a plan, when, and how often.

mod trouble;

use serde_json::json;

use super::office::{HOUR, MailServer, Office};
use super::world::START;
use crate::domain::case::command::{Command, PlanChange, PlannedTask, Verb};
use crate::domain::case::phase::Phase as CasePhase;
use crate::domain::case::summary::Summary;
use crate::domain::staff::csr::MINUTE;
use crate::domain::staff::notice::{Mark, Reader, Who};
use crate::domain::staff::plan::Phase;
use crate::domain::staff::plan::wanted::Customer;
use crate::domain::time::DAY;

pub const PLAN: &str = "
do:
  - plan: { call: book, with: { tasks: [{skill: a, minutes: 60, title: first}, {skill: a, minutes: 60, title: second}],
      customer: {name: Ada, email: ada@example.com, timeZone: Europe/Paris, language: de} } }
  - perform: { call: perform, with: { plan: '${ .plan }' } }
";

/// A plan that was told a minute ago.
pub fn office() -> Office {
    let mut office = Office::begin(PLAN, &["ann"]);
    office.pass_until(START.plus(MINUTE));
    office
}

pub fn move_to(office: &mut Office, n: usize, hours: i64) {
    let start = office.world.now.plus(hours * HOUR);
    let (to, reason) = (None, "so it is".into());
    office.act(n, Verb::Move { start, to, reason }).unwrap();
}

#[test]
fn everybody_is_told_once_when_the_plan_is_complete() {
    let mut office = office();
    assert_eq!(office.told(), ["customer planned", "ann planned"]);
    office.complete(0);
    office.complete(1);
    office.pass_until(START.plus(DAY));
    assert_eq!(office.told(), Vec::<String>::new());
    assert_eq!(office.world.phase(), CasePhase::Completed);
}

#[test]
fn a_change_is_told_five_minutes_after_the_last_one_and_once() {
    let mut office = office();
    let first = office.mails[0].0.lines[1].clone();
    office.told();
    move_to(&mut office, 1, 30);
    office.pass_until(office.world.now.plus(4 * MINUTE));
    move_to(&mut office, 1, 40);
    office.pass_until(office.world.now.plus(4 * MINUTE));
    assert_eq!(office.told(), Vec::<String>::new());
    office.pass_until(office.world.now.plus(MINUTE));
    let (mail, _) = office.mails[0].clone();
    assert_eq!(office.told(), ["customer changed", "ann changed"]);
    let [line] = &mail.lines[..] else { panic!("{mail:?}") };
    assert_eq!((&line.was, &*line.title), (&first.now, "second"));
    let start = office.start_of(1);
    assert_eq!(line.now.as_ref().unwrap().time, Some((start, start.plus(HOUR))));
    assert!(line.sequence > first.sequence, "{} > {}", line.sequence, first.sequence);
}

#[test]
fn what_is_as_it_was_when_it_has_settled_is_not_told() {
    let mut office = office();
    office.told();
    let before = office.start_of(1);
    move_to(&mut office, 1, 30);
    let (to, reason) = (None, "back".into());
    office.act(1, Verb::Move { start: before, to, reason }).unwrap();
    office.pass_until(START.plus(HOUR));
    assert_eq!(office.told(), Vec::<String>::new());
}

#[test]
fn a_mail_server_that_is_away_for_two_days_costs_one_mail_of_the_latest_state() {
    let mut office = office();
    office.told();
    office.act(0, Verb::Start).unwrap();
    office.mail_server = MailServer::Down;
    for hours in [60, 70, 80] {
        move_to(&mut office, 1, hours);
        office.pass_until(office.world.now.plus(10 * HOUR));
    }
    office.pass_until(START.plus(2 * DAY));
    assert_eq!(office.told(), Vec::<String>::new());
    // the flow has not waited for it
    assert_eq!(office.item(0).phase, Phase::Started);
    office.mail_server = MailServer::Up;
    office.pass_until(START.plus(2 * DAY + HOUR));
    let start = office.start_of(1);
    let times: Vec<_> =
        office.mails.iter().flat_map(|(mail, _)| mail.lines.clone()).map(|line| line.now).collect();
    assert!(times.iter().all(|now| now.as_ref().unwrap().time.unwrap().0 == start), "{times:?}");
    assert_eq!(office.told(), ["customer changed", "ann changed"]);
}

#[test]
fn a_breaker_that_is_open_parks_the_notices_beside_the_flow() {
    let mut office = office();
    office.told();
    office.world.ctx.open.insert("mail".into());
    move_to(&mut office, 1, 30);
    office.pass_until(START.plus(HOUR));
    let summary = Summary::of(&office.world.definition, office.world.state());
    assert_eq!(&*summary.parked[0].service, "mail");
    assert_eq!(office.world.shown_wait().unwrap().on.as_deref(), Some("csr:ann"));
    office.complete(0);
    office.world.ctx.open.clear();
    office.world.tell(Command::Admit { service: "mail".into() });
    office.settle();
    assert_eq!(office.told(), ["customer changed", "ann changed"]);
}

#[test]
fn a_mail_of_which_nobody_knows_is_sent_again_under_its_message_id() {
    let mut office = office();
    office.told();
    office.mail_server = MailServer::Silent;
    move_to(&mut office, 1, 30);
    office.pass_until(office.world.now.plus(5 * MINUTE));
    office.mail_server = MailServer::Up;
    office.pass_until(office.world.now.plus(HOUR));
    let keys: Vec<&String> = office.mails.iter().map(|(_, key)| key).collect();
    assert_eq!(keys.len(), 4, "{keys:?}");
    assert_eq!((keys[0], keys[1]), (keys[2], keys[3]));
    let each = ["customer changed", "ann changed"];
    assert_eq!(office.told(), [each, each].concat());
}

#[test]
fn a_crash_while_a_mail_is_under_way_repeats_it() {
    let mut office = office();
    office.told();
    move_to(&mut office, 1, 30);
    office.world.now = office.world.now.plus(5 * MINUTE);
    office.world.tell(Command::Timer);
    let lost = office.world.effects.pop_front().unwrap();
    office.world.tell(Command::Recover);
    office.settle();
    assert_eq!(office.mails[0].1, lost.key);
    assert_eq!(office.told(), ["customer changed", "ann changed"]);
}

#[test]
fn what_the_mail_server_refuses_is_given_up_and_shown() {
    let mut office = office();
    office.told();
    office.act(0, Verb::Start).unwrap();
    office.mail_server = MailServer::Refuses;
    move_to(&mut office, 1, 90);
    office.pass_until(START.plus(30 * HOUR));
    assert!(office.world.state().desk.unreached.is_empty(), "whoever set it up may mend it");
    office.pass_until(START.plus(32 * HOUR));
    let unreached = &office.world.state().desk.unreached;
    let who: Vec<&str> = unreached.iter().map(|one| one.who.name()).collect();
    assert_eq!((who, unreached[0].error.status), (vec!["customer", "ann"], 550));
    // with the next mail that gets through it is over
    office.mail_server = MailServer::Up;
    move_to(&mut office, 1, 60);
    office.pass_until(START.plus(33 * HOUR));
    assert_eq!(office.told(), ["customer changed", "ann changed"]);
    assert!(office.world.state().desk.unreached.is_empty());
}

#[test]
fn whoever_was_told_is_told_that_it_is_off() {
    let mut office = office();
    office.told();
    office.world.tell(Command::Cancel { reason: "off".into() });
    office.settle();
    assert_eq!(office.world.phase(), CasePhase::Cancelled);
    office.pass_until(START.plus(HOUR));
    assert!(office.mails[0].0.lines.iter().all(|line| line.ended && line.was.is_some()));
    assert_eq!(office.told(), ["customer cancelled", "ann cancelled"]);
}

#[test]
fn nobody_is_told_of_a_plan_that_was_never_complete() {
    let mut office = Office::begin(
        &PLAN.replace("skill: a, minutes: 60, title: second", "skill: b, minutes: 60"),
        &["ann"],
    );
    office.pass_until(START.plus(59 * MINUTE));
    assert_eq!(office.told(), Vec::<String>::new());
    office.pass_until(START.plus(60 * MINUTE));
    assert_eq!(office.told(), ["lead escalation"]);
    office.world.tell(Command::Cancel { reason: "off".into() });
    office.settle();
    office.pass_until(START.plus(DAY));
    assert_eq!(office.told(), Vec::<String>::new());
}

#[test]
fn who_loses_a_task_and_who_gets_it_are_told_each_their_part() {
    let mut office = Office::begin(PLAN, &["ann", "ben"]);
    office.told();
    let had = office.item(1).csr().unwrap().id.clone();
    let reason = "no time".into();
    office.act(1, Verb::HandBack { reason }).unwrap();
    office.pass_until(START.plus(HOUR));
    let has = office.item(1).csr().unwrap().id.clone();
    assert_ne!(had, has);
    let of = |who: &Who| {
        let mail = office.mails.iter().find(|(notice, _)| notice.reader.who() == *who);
        let line = mail.unwrap().0.lines[0].clone();
        (line.was.is_some(), line.now.is_some())
    };
    assert_eq!(of(&Who::Csr(had)), (true, false));
    assert!(of(&Who::Csr(has)).1);
    assert_eq!(of(&Who::Customer), (true, true));
}

#[test]
fn a_corrected_address_is_told_everything() {
    let mut office = office();
    office.told();
    let (plan, reason) = (Some(office.plan().id), "a typo".into());
    let tasks = office.plan().items.iter().map(|item| PlannedTask::Kept(item.booking)).collect();
    let customer = office.plan().customer.clone().unwrap();
    let customer = Some(Customer { email: "ada@example.org".into(), ..customer });
    let change = PlanChange { plan, tasks, customer, reason };
    office.world.tell(Command::ChangePlan(Box::new(change)));
    office.settle();
    office.pass_until(START.plus(HOUR));
    let [(mail, _)] = &office.mails[..] else { panic!("{:?}", office.mails) };
    assert_eq!((mail.reader.email(), mail.lines.len()), ("ada@example.org", 2));
    assert_eq!(office.told(), ["customer planned"]);
}

#[test]
fn marks_on_the_way_to_the_due_date_are_told_once_each() {
    let body = "
do:
  - perform: { call: perform, with: { skill: a, minutes: 20, due: PT10H, title: call } }
";
    let mut office = Office::begin(body, &["ann"]);
    assert_eq!(office.told(), ["ann assigned"]);
    let mut told = Vec::new();
    for hour in 1..=30 {
        office.pass_until(START.plus(hour * HOUR));
        let marks = office.mails.iter().map(|(mail, _)| mail.lines[0].mark);
        let marks: Vec<_> = marks.collect();
        let kinds = office.told();
        told.extend(kinds.into_iter().zip(marks).map(|(kind, mark)| (hour, kind, mark.unwrap())));
    }
    let expected = [
        (5, "ann reminder".to_owned(), Mark::Half),
        (8, "ann reminder".to_owned(), Mark::Most),
        (10, "ann reminder".to_owned(), Mark::Due),
        (10, "lead escalation".to_owned(), Mark::Due),
    ];
    assert_eq!(told[..4], expected, "{told:?}");
}

#[test]
fn of_marks_that_passed_while_nobody_was_there_the_latest_is_told() {
    let body = "
do:
  - perform: { call: perform, with: { skill: a, minutes: 20, due: PT10H } }
";
    let mut office = Office::begin(body, &["ann"]);
    office.told();
    office.world.now = START.plus(9 * HOUR);
    office.world.tell(Command::Timer);
    office.settle();
    let marks: Vec<_> = office.mails.iter().map(|(mail, _)| mail.lines[0].mark).collect();
    assert_eq!(marks, [Some(Mark::Most)]);
    office.told();
    office.complete(0);
    office.pass_until(START.plus(DAY));
    assert_eq!(office.told(), Vec::<String>::new());
}

#[test]
fn a_task_that_nobody_begins_is_told_to_its_csr_and_the_lead_and_then_taken_back() {
    let body = "
do:
  - perform: { call: perform, with: { skill: a, minutes: 20 } }
";
    let mut office = Office::begin(body, &["ann", "ben"]);
    let first = office.item(0).csr().unwrap().id.to_string();
    office.told();
    office.pass_until(START.plus(DAY));
    assert_eq!(office.told(), [format!("{first} reminder"), "lead escalation".to_owned()]);
    office.pass_until(START.plus(2 * DAY));
    let second = office.item(0).csr().unwrap().id.to_string();
    assert_ne!(first, second);
    let told = office.told();
    assert!(told.contains(&format!("{second} assigned")), "{told:?}");
    assert!(told.contains(&format!("{first} cancelled")), "{told:?}");
}

#[test]
fn a_definition_can_leave_it_to_its_own_mails() {
    let quiet = format!(
        "document: {{ dsl: '1.0.3', namespace: t, name: t, version: '1.0.0', metadata: {{ notices: false }} }}{PLAN}"
    );
    let mut office = Office::begin(&quiet, &["ann"]);
    office.world.tell(Command::Cancel { reason: "off".into() });
    office.settle();
    office.pass_until(START.plus(DAY));
    assert_eq!(office.told(), Vec::<String>::new());
}

#[test]
fn a_suspended_case_tells_nobody_until_it_goes_on() {
    let mut office = office();
    office.told();
    move_to(&mut office, 1, 30);
    office.world.tell(Command::Suspend { reason: "a look".into() });
    office.pass_until(START.plus(HOUR));
    assert_eq!(office.told(), Vec::<String>::new());
    office.world.tell(Command::Resume { reason: "on".into() });
    office.settle();
    office.pass_until(START.plus(2 * HOUR));
    assert_eq!(office.told(), ["customer changed", "ann changed"]);
}

#[test]
fn a_notice_carries_who_it_is_for() {
    let office = office();
    let Reader::Customer(customer) = &office.mails[0].0.reader else { panic!() };
    assert_eq!(customer.language.as_deref(), Some("de"));
    assert_eq!(office.mails[1].0.customer.as_deref(), Some("Ada"));
    assert_eq!(json!(office.mails[0].0.kind), json!("planned"));
}
