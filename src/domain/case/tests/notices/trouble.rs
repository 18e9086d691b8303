//! Mail servers that are away, put off, refuse and say nothing, and what changes meanwhile.

use serde_json::json;

use super::super::office::{HOUR, MailServer, Office};
use super::super::world::START;
use super::{PLAN, move_to, office};
use crate::domain::case::command::{Command, PlanChange, PlannedTask, Verb};
use crate::domain::case::phase::Phase as CasePhase;
use crate::domain::case::summary::Summary;
use crate::domain::staff::plan::wanted::Customer;
use crate::domain::time::DAY;

#[test]
fn what_stood_in_line_asks_again_when_the_case_goes_on() {
    let mut office = office();
    office.told();
    office.world.ctx.open.insert("mail".into());
    move_to(&mut office, 1, 30);
    office.pass_until(START.plus(HOUR));
    office.world.tell(Command::Suspend { reason: "a look".into() });
    // the line has passed by it meanwhile
    office.world.ctx.open.clear();
    office.world.tell(Command::Admit { service: "mail".into() });
    office.settle();
    assert_eq!(office.told(), Vec::<String>::new());
    office.world.tell(Command::Resume { reason: "on".into() });
    office.settle();
    assert_eq!(office.told(), ["customer changed", "ann changed"]);
}

#[test]
fn a_case_that_has_ended_is_let_in_for_its_notices() {
    let mut office = office();
    office.told();
    office.world.ctx.open.insert("mail".into());
    office.world.tell(Command::Cancel { reason: "off".into() });
    office.settle();
    office.pass_until(START.plus(HOUR));
    let parked =
        |office: &Office| Summary::of(&office.world.definition, office.world.state()).parked.len();
    assert_eq!((office.world.phase(), parked(&office)), (CasePhase::Cancelled, 1));
    office.world.ctx.open.clear();
    office.world.tell(Command::Admit { service: "mail".into() });
    office.settle();
    assert_eq!(office.told(), ["customer cancelled", "ann cancelled"]);
    assert_eq!(parked(&office), 0);
}

/// Services that the case stands in line before.
fn lines(office: &Office) -> usize {
    Summary::of(&office.world.definition, office.world.state()).parked.len()
}

#[test]
fn who_is_owed_nothing_any_more_takes_nobodys_place_in_the_line() {
    let mut office = Office::begin_unanswered(PLAN, &["ann"]);
    office.world.ctx.open.insert("mail".into());
    office.settle();
    assert_eq!(lines(&office), 1);
    office.world.tell(Command::Cancel { reason: "off".into() });
    office.settle();
    assert_eq!((office.world.phase(), lines(&office)), (CasePhase::Cancelled, 0));

    let mut office = Office::begin_unanswered(PLAN, &["ann"]);
    office.world.ctx.open.insert("mail".into());
    office.settle();
    office.complete(0);
    assert_eq!(lines(&office), 1);
    office.complete(1);
    assert_eq!((office.world.phase(), lines(&office)), (CasePhase::Completed, 0));

    // what is owed later has no place to ask for now
    let mut office = super::office();
    office.told();
    let before = office.start_of(1);
    office.world.ctx.open.insert("mail".into());
    move_to(&mut office, 1, 30);
    office.pass_until(START.plus(HOUR));
    assert_eq!(lines(&office), 1);
    let start = before.plus(3 * HOUR);
    office.act(1, Verb::Move { start, to: None, reason: "another".into() }).unwrap();
    office.world.ctx.open.clear();
    office.world.tell(Command::Admit { service: "mail".into() });
    office.settle();
    assert_eq!((lines(&office), office.told()), (0, Vec::new()));
    office.pass_until(START.plus(2 * HOUR));
    assert_eq!(office.told(), ["customer changed", "ann changed"]);
}

#[test]
fn a_reader_whom_the_mail_server_puts_off_holds_back_nobody_else() {
    let mut office = office();
    office.told();
    office.act(0, Verb::Start).unwrap();
    office.mail_server = MailServer::Picky;
    move_to(&mut office, 1, 90);
    office.pass_until(START.plus(HOUR));
    assert_eq!(office.told(), ["ann changed"]);
    office.pass_until(START.plus(3 * DAY));
    let unreached = &office.world.state().desk.unreached;
    assert_eq!((unreached.len(), unreached[0].error.status), (1, 452));
    let tries = office.world.told().matches("came: PutOff").count();
    assert_eq!(tries, 48, "it is tried for some two days, ever more seldom");
}

#[test]
fn what_may_have_reached_somebody_is_called_off_with_its_time() {
    let mut office = Office::begin_unanswered(PLAN, &["ann"]);
    office.mail_server = MailServer::Silent;
    office.settle();
    let planned = office.mails[0].0.lines[0].now.clone();
    office.mails.clear();
    office.mail_server = MailServer::Up;
    office.world.tell(Command::Cancel { reason: "off".into() });
    office.settle();
    office.pass_until(START.plus(HOUR));
    let (mail, _) = &office.mails[0];
    assert_eq!((&mail.lines[0].was, &mail.lines[0].now), (&planned, &None));
    assert_eq!(office.told(), ["customer cancelled", "ann cancelled"]);
}

#[test]
fn whoever_was_promised_another_time_hears_that_there_is_none() {
    let mut office = office();
    office.told();
    // ann leaves, and there is nobody else
    let on = crate::domain::staff::civil::Moment::Instant(office.world.now);
    let leave = crate::domain::staff::csr::command::Command::Leave { on, reason: "gone".into() };
    office.tell_csr(&leave);
    office.settle();
    office.pass_until(START.plus(HOUR));
    assert_eq!(office.told()[..2], ["customer cancelled", "ann cancelled"]);
    office.world.tell(Command::Cancel { reason: "off".into() });
    office.settle();
    office.pass_until(START.plus(2 * HOUR));
    assert!(office.mails.last().unwrap().0.lines.iter().all(|line| line.ended));
    assert_eq!(office.told().last().unwrap(), "customer cancelled");
}

#[test]
fn a_start_without_a_mail_server_loses_nothing() {
    let mut office = office();
    office.told();
    office.world.ctx.mailless = true;
    move_to(&mut office, 1, 30);
    office.pass_until(START.plus(10 * HOUR));
    assert_eq!(office.told(), Vec::<String>::new());
    office.world.ctx.mailless = false;
    office.pass_until(START.plus(20 * HOUR));
    assert_eq!(office.told()[..2], ["customer changed", "ann changed"]);
}

#[test]
fn a_name_of_any_length_leaves_room_in_the_record() {
    let long = PLAN.replace("name: Ada", &format!("name: '{}'", "é\"".repeat(10_000)));
    let titles: Vec<String> = (0..200)
        .map(|n| format!("{{skill: a, minutes: 5, title: '{}{n}'}}", "\u{1f600}".repeat(190)))
        .collect();
    let (head, tail) = long.split_once("[{").unwrap();
    let (_, tail) = tail.split_once("}],").unwrap();
    let many = format!("{head}[{}],{tail}", titles.join(", "));
    let office = Office::begin(&many, &["ann"]);
    let sizes = office.mails.iter().map(|(mail, _)| json!(mail).to_string().len());
    let sizes: Vec<usize> = sizes.collect();
    assert!(sizes.len() == 2 && sizes.iter().all(|size| *size < 250_000), "{sizes:?}");
}

#[test]
fn a_corrected_address_is_not_made_to_wait_for_the_wrong_one() {
    let mut office = Office::begin_unanswered(PLAN, &["ann"]);
    office.mail_server = MailServer::Refuses;
    office.settle();
    assert_eq!(office.world.state().desk.delays.len(), 2);
    office.mail_server = MailServer::Up;
    let (plan, reason) = (Some(office.plan().id), "a typo".into());
    let tasks = office.plan().items.iter().map(|item| PlannedTask::Kept(item.booking)).collect();
    let customer = office.plan().customer.clone().unwrap();
    let customer = Some(Customer { email: "ada@example.org".into(), ..customer });
    let change = PlanChange { plan, tasks, customer, reason };
    office.world.tell(Command::ChangePlan(Box::new(change)));
    office.settle();
    office.pass_until(START.plus(10 * 60_000));
    assert_eq!(office.told(), ["customer planned"]);
    // the other one is tried again in an hour
    office.pass_until(START.plus(61 * 60_000));
    assert_eq!(office.told(), ["ann planned"]);
}

#[test]
fn a_plan_of_which_nobody_has_heard_is_not_told_in_part() {
    let mut office = Office::begin_unanswered(PLAN, &["ann"]);
    office.mail_server = MailServer::Down;
    office.settle();
    let leave = crate::domain::staff::csr::command::Command::Leave {
        on: crate::domain::staff::civil::Moment::Instant(office.world.now),
        reason: "gone".into(),
    };
    office.tell_csr(&leave);
    office.settle();
    office.mail_server = MailServer::Up;
    office.pass_until(START.plus(30 * 60_000));
    assert_eq!(office.told(), Vec::<String>::new());
}
