//! Proposals that something comes between: an end, a hold, a crash, an absence, a clock that is set.

use std::sync::Arc;

use serde_json::json;

use super::office::{HOUR, Office};
use super::world::START;
use crate::domain::case::command::Command;
use crate::domain::case::phase::Phase as CasePhase;
use crate::domain::case::staff;
use crate::domain::staff::csr::command::{Answer, Command as Told};
use crate::domain::staff::csr::decide::{Facts, decide};
use crate::domain::staff::csr::{Displacement, MINUTE, Refusal, Standing};
use crate::domain::staff::holidays::HolidayCalendar;
use crate::domain::staff::plan::Phase;
use crate::domain::staff::plan::owed::Asked;
use crate::domain::time::{DAY, Timestamp};

const ONE: &str = "
do:
  - book: { call: book, with: { skill: a, minutes: 60 } }
  - perform: { call: perform, with: { booking: '${ .booking }' } }
";

/// A case that has proposed a time, and has not heard yet.
fn proposed() -> (Office, Asked) {
    let mut office = Office::begin_unanswered(ONE, &["ann"]);
    office.look();
    let asked = staff::asks(office.world.state()).remove(0);
    (office, asked)
}

impl Office {
    /// The CSR decides, at a time, with what the wall shows.
    fn csr_decides(&mut self, command: &Told, now: Timestamp, wall: Timestamp) -> Answer {
        let csr = &mut self.csrs[0];
        let decided = decide(Some(csr), &csr.id.clone(), command, Facts { now, wall }).unwrap();
        *csr = decided.csr.unwrap();
        decided.answer
    }

    fn answer(&mut self, asked: Asked, answer: Answer) {
        let Asked { csr, booking, number, what, .. } = asked;
        self.world.tell(Command::Answered { csr, booking, number, what, answer });
    }

    fn reservations(&self) -> usize {
        let live = |standing: Standing| standing.is_open();
        self.csrs[0].reservations.values().filter(|one| live(one.standing)).count()
    }
}

#[test]
fn a_case_that_is_cancelled_meanwhile_waits_for_the_answer_and_gives_back() {
    let (mut office, asked) = proposed();
    let now = office.world.now;
    let answer = office.csr_decides(&asked.command, now, now);
    office.world.tell(Command::Cancel { reason: "off".into() });
    assert!(!office.world.phase().ended(), "it may have been reserved");
    office.answer(asked, answer);
    assert!(!office.world.phase().ended(), "it is reserved still");
    office.settle();
    assert_eq!((office.world.phase(), office.reservations()), (CasePhase::Cancelled, 0));
}

#[test]
fn a_refusal_lets_a_cancelled_case_end_at_once() {
    let (mut office, asked) = proposed();
    office.world.tell(Command::Cancel { reason: "off".into() });
    office.answer(asked, Answer::Refused(Refusal::Away));
    office.settle();
    assert_eq!(office.world.phase(), CasePhase::Cancelled);
}

#[test]
fn a_suspended_case_records_the_answer_and_begins_no_proposal() {
    let (mut office, asked) = proposed();
    office.world.tell(Command::Suspend { reason: "a look".into() });
    office.answer(asked.clone(), Answer::Refused(Refusal::Away));
    office.settle();
    assert_eq!(office.item(0).phase, Phase::Unplaced);
    assert!(staff::asks(office.world.state()).is_empty());
    office.world.tell(Command::Resume { reason: "on".into() });
    office.settle();
    assert_eq!((office.item(0).phase, office.item(0).number), (Phase::Ready, 2));
    assert_eq!(office.reservations(), 1);
}

#[test]
fn after_a_crash_the_same_proposal_is_sent_and_gets_the_same_answer() {
    let (mut office, asked) = proposed();
    let now = office.world.now;
    let first = office.csr_decides(&asked.command, now, now);
    let revision = office.csrs[0].revision;
    // the answer is lost with whoever waited for it
    let length = office.world.history.len();
    office.world = office.world.replayed(length);
    office.world.tell(Command::Recover);
    let again = staff::asks(office.world.state()).remove(0);
    assert_eq!(again, asked);
    let second = office.csr_decides(&again.command, now.plus(HOUR), now.plus(HOUR));
    assert_eq!((first, office.csrs[0].revision), (second.clone(), revision));
    office.answer(again, second);
    office.settle();
    assert_eq!((office.item(0).phase, office.reservations()), (Phase::Ready, 1));
}

#[test]
fn a_calendar_that_comes_first_refuses_and_one_that_comes_later_displaces() {
    let date = START.plus(MINUTE).to_string()[..10].to_owned();
    let calendar: HolidayCalendar = serde_json::from_value(json!({
        "name": "all", "timeZone": "UTC", "days": [{"date": date, "name": "none"}]
    }))
    .unwrap();
    let holidays = Told::Holidays { calendar: Some(Arc::new(calendar)) };
    let (mut office, asked) = proposed();
    let now = office.world.now;
    office.csr_decides(&holidays, now, now);
    let refused = office.csr_decides(&asked.command, now, now);
    assert_eq!(refused, Answer::Refused(Refusal::Away));
    office.answer(asked, refused);
    office.settle();
    // it is planned behind the holiday
    assert!(office.start_of(0).since(now) > HOUR, "{}", office.start_of(0));

    let (mut office, asked) = proposed();
    let reserved = office.csr_decides(&asked.command, now, now);
    assert_eq!(reserved, Answer::Reserved);
    let displaced = office.csr_decides(&holidays, now, now);
    assert_eq!(displaced, Answer::Changed(vec![(asked.booking, Displacement::Holiday)]));
    let (booking, number) = (asked.booking, asked.number);
    // the news may overtake the answer
    let news = || Command::Displaced { booking, number, why: Displacement::Holiday };
    office.world.tell(news());
    office.answer(asked, reserved);
    office.world.tell(news());
    office.settle();
    assert!(office.start_of(0).since(now) > HOUR, "{}", office.start_of(0));
    assert_eq!(office.reservations(), 1);
}

#[test]
fn slots_go_by_the_wall_and_the_age_of_a_proposal_by_the_engine() {
    let (mut office, asked) = proposed();
    let now = office.world.now;
    // the wall was set two hours ahead: the slot is over
    let past = office.csr_decides(&asked.command, now, now.plus(2 * HOUR));
    assert_eq!(past, Answer::Refused(Refusal::Past));
    office.answer(asked, past);
    office.look();
    let asked = staff::asks(office.world.state()).remove(0);
    // the wall stands still, and a week has passed
    let stale = office.csr_decides(&asked.command, now.plus(7 * DAY), now);
    assert_eq!(stale, Answer::Refused(Refusal::Stale));
    office.answer(asked, stale);
    office.settle();
    assert_eq!(office.reservations(), 1);
}

#[test]
fn who_was_away_over_slots_plans_those_behind_them_once() {
    let mut office = Office::begin(
        "
do:
  - plan: { call: book, with: { tasks: [{skill: a, minutes: 60}, {skill: a, minutes: 60}, {skill: a, minutes: 60}] } }
  - perform: { call: perform, with: { plan: '${ .plan }' } }
",
        &["ann"],
    );
    let before = office.world.history.len();
    office.world.now = START.plus(DAY);
    office.world.taken_over = office.world.now;
    office.world.tell(Command::Recover);
    office.world.tell(Command::Timer);
    office.settle();
    let now = office.world.now;
    assert!(office.start_of(1) >= now && office.start_of(2) >= office.start_of(1).plus(HOUR));
    let told: Vec<String> =
        office.world.history[before..].iter().map(|(_, event)| format!("{event:?}")).collect();
    let overruns = told.iter().filter(|event| event.contains("Overrun")).count();
    assert_eq!(overruns, 1, "{told:#?}");
    assert_eq!(office.reservations(), 3);
}
