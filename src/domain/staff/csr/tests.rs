//! What a CSR accepts and refuses: bookings, releases, moves, profiles; in whatever order they come.

use std::sync::Arc;

use proptest::prelude::*;

use super::command::{Answer, Command, Proposal, Rejection};
use super::decide::{Facts, decide};
use super::event::Event;
use super::fit::Wish;
use super::{Csr, Displacement, MINUTE, Refusal, Slot, Stage, Standing, begin, evolve};
use crate::domain::ids::{Bits, BookingId, CaseId, CsrId};
use crate::domain::staff::civil::Moment;
use crate::domain::staff::intervals::Span;
use crate::domain::staff::profile::{Profile, TimeOff};
use crate::domain::time::{DAY, Timestamp};

const HOUR: i64 = 60 * MINUTE;

/// Monday, 7 September 2026, 06:00 in Berlin.
const MONDAY: Timestamp = Timestamp(1_788_753_600_000);

fn profile(text: &str) -> Arc<Profile> {
    let day = |day| serde_json::json!({"day": day, "start": "09:00", "end": "17:00"});
    let mut all = serde_json::json!({
        "name": "Mia", "email": "mia@example.com", "timeZone": "Europe/Berlin", "skills": ["id"],
        "hours": (["mon", "tue", "wed", "thu", "fri"].map(day)),
    });
    let more: serde_json::Map<_, _> = serde_json::from_str(text).unwrap();
    all.as_object_mut().unwrap().extend(more);
    Arc::new(serde_json::from_value(all).unwrap())
}

fn booking(n: u8) -> BookingId {
    BookingId(Bits([n; 16]))
}

fn slot(start: i64, minutes: i64) -> Slot {
    let start = MONDAY.plus(start);
    let end = start.plus(minutes * MINUTE);
    Slot { start, end, buffer_end: end }
}

/// A CSR, told one thing after the other.
struct Told {
    csr: Option<Csr>,
    history: Vec<(Event, Timestamp)>,
    now: Timestamp,
}

impl Told {
    fn new() -> Self {
        Self { csr: None, history: Vec::new(), now: MONDAY }
    }

    fn mia(more: &str) -> Self {
        let mut told = Self::new();
        told.asked(Command::Put { profile: profile(more), calendar: None });
        told
    }

    fn try_ask(&mut self, command: &Command) -> Result<Answer, Rejection> {
        let facts = Facts { now: self.now, wall: self.now };
        let id: CsrId = "mia".parse().unwrap();
        let decided = decide(self.csr.as_ref(), &id, command, facts)?;
        self.csr = decided.csr;
        self.history.extend(decided.events.into_iter().map(|event| (event, self.now)));
        Ok(decided.answer)
    }

    fn asked(&mut self, command: Command) -> Answer {
        self.try_ask(&command).unwrap()
    }

    fn reserved(&mut self, n: u8, number: u32, slot: Option<Slot>) -> Answer {
        self.asked(proposal(n, number, slot, self.now, false))
    }

    fn csr(&self) -> &Csr {
        self.csr.as_ref().unwrap()
    }
}

fn proposal(n: u8, number: u32, slot: Option<Slot>, at: Timestamp, by_person: bool) -> Command {
    Command::Reserve(Proposal {
        booking: booking(n),
        number,
        case: CaseId(Bits([n; 16])),
        customer: None,
        title: "check".into(),
        skill: "id".into(),
        slot,
        proposed_at: at,
        by_person,
    })
}

#[test]
fn of_two_who_want_one_slot_one_gets_it() {
    let mut mia = Told::mia("{}");
    assert_eq!(mia.reserved(1, 1, Some(slot(3 * HOUR, 60))), Answer::Reserved);
    assert_eq!(mia.reserved(2, 1, Some(slot(3 * HOUR, 60))), Answer::Refused(Refusal::Booked));
    let before = mia.csr().revision;
    assert_eq!(mia.reserved(1, 1, Some(slot(3 * HOUR, 60))), Answer::Reserved, "once more");
    assert_eq!(mia.reserved(2, 1, Some(slot(3 * HOUR, 60))), Answer::Refused(Refusal::Booked));
    assert_eq!(mia.csr().revision, before, "what was answered is not decided again");
    mia.asked(Command::Release { booking: booking(1), number: 1 });
    let again = mia.reserved(2, 1, Some(slot(3 * HOUR, 60)));
    assert_eq!(again, Answer::Refused(Refusal::Booked), "a number that was refused stays refused");
    assert_eq!(mia.reserved(2, 2, Some(slot(3 * HOUR, 60))), Answer::Reserved);
    assert_eq!(mia.reserved(2, 1, Some(slot(5 * HOUR, 60))), Answer::Refused(Refusal::Booked));
}

#[test]
fn a_release_that_comes_first_is_remembered() {
    let mut mia = Told::mia("{}");
    let release = || Command::Release { booking: booking(1), number: 3 };
    assert_eq!(mia.asked(release()), Answer::Released);
    assert_eq!(mia.asked(release()), Answer::Released);
    assert_eq!(mia.csr().revision, 2, "once is enough");
    for number in 1..=3 {
        let late = mia.reserved(1, number, Some(slot(3 * HOUR, 60)));
        assert_eq!(late, Answer::Refused(Refusal::Released));
    }
    assert_eq!(mia.reserved(1, 4, Some(slot(3 * HOUR, 60))), Answer::Reserved);
    mia.now = mia.now.plus(8 * DAY);
    let late = proposal(5, 1, Some(slot(9 * DAY, 60)), MONDAY, false);
    assert_eq!(mia.asked(late), Answer::Refused(Refusal::Stale), "its memory may be gone");
}

#[test]
fn a_move_is_one_event_and_a_persons_word_goes_over_hours_but_not_over_bookings() {
    let mut mia = Told::mia(r#"{"maxOpen": 2}"#);
    mia.reserved(1, 1, Some(slot(3 * HOUR, 60)));
    mia.reserved(2, 1, Some(slot(5 * HOUR, 60)));
    assert_eq!(mia.reserved(1, 2, Some(slot(3 * HOUR + HOUR / 2, 60))), Answer::Reserved);
    assert_eq!(mia.csr().reservations.len(), 2);
    assert_eq!(mia.csr().busy.len(), 2);
    assert_eq!(mia.reserved(3, 1, Some(slot(7 * HOUR, 60))), Answer::Refused(Refusal::Open));
    let evening = Some(slot(15 * HOUR, 60));
    assert_eq!(mia.reserved(2, 2, evening), Answer::Refused(Refusal::Away));
    let at = mia.now;
    assert_eq!(mia.asked(proposal(3, 2, evening, at, true)), Answer::Reserved);
    let taken = mia.asked(proposal(4, 1, Some(slot(5 * HOUR, 60)), at, true));
    assert_eq!(taken, Answer::Refused(Refusal::Booked));
}

#[test]
fn buffers_minutes_skills_and_the_past() {
    let mut mia =
        Told::mia(r#"{"maxMinutesPerDay": 120, "skillDates": {"id": {"until": "2026-09-08"}}}"#);
    let first = slot(3 * HOUR, 60);
    let with_buffer = Slot { buffer_end: first.end.plus(HOUR), ..first };
    mia.reserved(1, 1, Some(with_buffer));
    assert_eq!(mia.reserved(2, 1, Some(slot(4 * HOUR, 30))), Answer::Refused(Refusal::Booked));
    assert_eq!(mia.reserved(3, 1, Some(slot(5 * HOUR, 90))), Answer::Refused(Refusal::Minutes));
    assert_eq!(mia.reserved(4, 1, Some(slot(5 * HOUR, 60))), Answer::Reserved);
    let thursday = Some(slot(3 * DAY + 5 * HOUR, 60));
    assert_eq!(mia.reserved(5, 1, thursday), Answer::Refused(Refusal::Skill));
    mia.now = mia.now.plus(4 * HOUR);
    assert_eq!(mia.reserved(6, 1, Some(slot(3 * HOUR, 60))), Answer::Refused(Refusal::Past));
}

#[test]
fn what_does_not_fit_any_more_is_named_until_its_case_has_answered() {
    let mut mia = Told::mia("{}");
    for (n, hour) in [(1, 3), (2, 5), (3, 27)] {
        mia.reserved(n, 1, Some(slot(hour * HOUR, 60)));
    }
    let moment = |text: &str| text.parse::<Moment>().unwrap();
    let (id, day) = ("ill".to_owned(), moment("2026-09-07"));
    let off = TimeOff { id: id.clone(), from: day, to: day, reason: "a cold".to_owned() };
    let absent = |n| (booking(n), Displacement::Absent);
    let away = Command::Away { off };
    assert_eq!(mia.asked(away.clone()), Answer::Changed(vec![absent(1), absent(2)]));
    assert_eq!(mia.asked(away), Answer::Changed(Vec::new()), "once is enough");
    assert_eq!(mia.csr().owes().count(), 2);
    assert_eq!(mia.csr().busy.len(), 3, "their time stays taken");
    mia.asked(Command::Keep { booking: booking(1), number: 1 });
    mia.asked(Command::Release { booking: booking(2), number: 1 });
    assert_eq!(mia.csr().owes().count(), 0);
    assert_eq!(mia.csr().reservations[&booking(1)].standing, Standing::Kept);
    mia.asked(Command::Back { id });
    assert_eq!(mia.csr().reservations.len(), 2, "hours that come back take nothing back");
    let (on, reason) = (moment("2026-09-07"), "a new job".into());
    let left = (booking(3), Displacement::Left);
    assert_eq!(mia.asked(Command::Leave { on, reason }), Answer::Changed(vec![left]));
    assert_eq!(mia.csr().stage(mia.now), Stage::Leaving);
    assert_eq!(mia.csr().stage(mia.now.plus(DAY)), Stage::Left);
    assert_eq!(mia.reserved(4, 1, Some(slot(27 * HOUR, 60))), Answer::Refused(Refusal::NotThere));
}

#[test]
fn an_early_end_frees_the_rest_and_its_minutes_stay() {
    let mut mia = Told::mia("{}");
    mia.reserved(1, 1, Some(slot(3 * HOUR, 60)));
    mia.now = MONDAY.plus(3 * HOUR + 20 * MINUTE);
    mia.asked(Command::Done { booking: booking(1), number: 1 });
    assert_eq!(mia.reserved(2, 1, Some(slot(3 * HOUR + HOUR / 2, 60))), Answer::Reserved);
    let today = mia.csr().profile.zone.local(MONDAY).date();
    assert_eq!((mia.csr().minutes_on(today), mia.csr().open()), (120, 1));
    mia.asked(Command::Done { booking: booking(2), number: 1 });
    mia.now = mia.now.plus(40 * DAY);
    mia.reserved(3, 1, Some(slot(42 * DAY + 5 * HOUR, 60)));
    assert_eq!(mia.csr().reservations.len(), 1, "what is long done is only counted");
    assert_eq!(mia.csr().minutes_on(today), 120);
}

#[test]
fn what_is_wrong_with_a_profile_is_said_with_its_place() {
    let wrong = r#"{"name": "a\nb", "email": "x", "skills": ["No"], "skillDates": {"other": {}},
        "extra": [{"id": "a", "from": "2026-09-08", "to": "2026-09-07"}], "from": "2026-09-08", "until": "2026-09-01"}"#;
    let put = Command::Put { profile: profile(wrong), calendar: None };
    let Err(Rejection::Invalid(found)) = Told::new().try_ask(&put) else { panic!() };
    let places: Vec<_> = found.iter().map(|violation| &*violation.pointer).collect();
    let all = ["/name", "/email", "/skills/0", "/skillDates/other", "/extra/0", "/until"];
    assert_eq!(places, all);
    let mut mia = Told::mia(r#"{"maxOpen": 1}"#);
    mia.reserved(1, 1, None);
    mia.reserved(2, 2, None);
    mia.asked(Command::Release { booking: booking(1), number: 1 });
    mia.asked(Command::Release { booking: booking(2), number: 1 });
    assert_eq!(mia.reserved(2, 2, None), Answer::Refused(Refusal::Open), "it was refused");
    let mut mia = Told::mia("{}");
    mia.reserved(1, 1, None);
    mia.asked(Command::Done { booking: booking(1), number: 1 });
    let late = mia.reserved(1, 1, None);
    assert_eq!(late, Answer::Refused(Refusal::Released), "what is done is not taken once more");
    let release = Command::Release { booking: booking(1), number: 1 };
    assert_eq!(Told::new().asked(release), Answer::Released, "nobody has it");
    let away = Command::Back { id: "x".to_owned() };
    assert_eq!(Told::new().try_ask(&away), Err(Rejection::NotFound));
}

fn any_command() -> impl Strategy<Value = (Command, i64)> {
    let slots =
        prop::option::of((-8..80i64, 1..5i64, 0..3i64).prop_map(|(start, length, buffer)| {
            let mut slot = slot(start * HOUR / 2, length * 30);
            slot.buffer_end = slot.end.plus(buffer * 15 * MINUTE);
            slot
        }));
    let numbers = || (1..6u8, 1..4u32);
    let reserve = (numbers(), slots, 0..2i64, prop::bool::weighted(0.1));
    let reserve = reserve.prop_map(|((n, number), slot, age, by_person)| {
        proposal(n, number, slot, MONDAY.plus(-age * 4 * DAY), by_person)
    });
    let at = |(n, number): (u8, u32)| (booking(n), number);
    const DAYS: [&str; 3] = ["2026-09-07", "2026-09-08", "2026-09-09T12:00"];
    let away = (prop::sample::select(&DAYS[..]), prop::sample::select(&DAYS[..])).prop_map(
        |(from, to)| Command::Away {
            off: TimeOff {
                id: from[..10].to_owned(),
                from: from.parse().unwrap(),
                to: to.parse().unwrap(),
                reason: String::new(),
            },
        },
    );
    let put = prop::sample::select(
        &[
            "{}",
            r#"{"maxOpen": 2}"#,
            r#"{"maxMinutesPerDay": 120}"#,
            r#"{"timeZone": "Asia/Kolkata"}"#,
            r#"{"paused": true}"#,
            r#"{"hours": [{"day": "tue", "start": "22:00", "end": "06:00"}]}"#,
        ][..],
    );
    let command = prop_oneof![
        8 => reserve,
        3 => numbers().prop_map(at).prop_map(|(booking, number)| Command::Release { booking, number }),
        1 => numbers().prop_map(at).prop_map(|(booking, number)| Command::Keep { booking, number }),
        1 => numbers().prop_map(at).prop_map(|(booking, number)| Command::Done { booking, number }),
        1 => away,
        1 => put.prop_map(|more| Command::Put { profile: profile(more), calendar: None }),
        1 => prop::sample::select(&DAYS[..]).prop_map(|on| Command::Leave {
            on: on.parse().unwrap(), reason: "left".into() }),
    ];
    (command, 0..8 * HOUR)
}

/// Nothing overlaps; what is counted is what is there.
fn check(csr: &Csr) -> Result<(), TestCaseError> {
    let mut slots: Vec<Span> = csr.busy.iter().map(|(span, _)| *span).collect();
    slots.sort_unstable();
    prop_assert!(slots.windows(2).all(|two| two[0].end <= two[1].start), "{:?}", slots);
    let open = csr.reservations.iter().filter(|(_, one)| one.standing.is_open());
    for (booking, one) in open {
        let known = csr.busy.iter().filter(|(_, of)| of == booking).count();
        prop_assert_eq!(known, usize::from(one.slot.is_some()));
    }
    let mut minutes = std::collections::BTreeMap::new();
    for slot in csr.reservations.values().filter_map(|one| one.slot) {
        for (date, share) in csr.days_of(slot.span()) {
            *minutes.entry(date).or_insert(0) += share;
        }
    }
    prop_assert_eq!(&minutes, &csr.minutes);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]
    #[test]
    fn whatever_comes_in_whatever_order(commands in prop::collection::vec(any_command(), 1..60)) {
        let mut mia = Told::mia("{}");
        for (command, later) in commands {
            mia.now = mia.now.plus(later);
            let Ok(answer) = mia.try_ask(&command) else { continue };
            check(mia.csr())?;
            let before = mia.csr().revision;
            if !matches!(command, Command::Put { .. } | Command::Away { .. } | Command::Leave { .. }) {
                prop_assert_eq!(mia.try_ask(&command), Ok(answer), "{:?} again", command);
                prop_assert_eq!(mia.csr().revision, before, "{:?} again", command);
            }
        }
        let ((first, _), rest) = mia.history.split_first().unwrap();
        let mut folded = begin(first).unwrap();
        for (event, at) in rest {
            let text = serde_json::to_string(event).unwrap();
            let read: Event = serde_json::from_str(&text).unwrap();
            prop_assert_eq!(&read, event);
            evolve(&mut folded, &read, *at).unwrap();
        }
        prop_assert_eq!(&folded, mia.csr());
    }

    #[test]
    fn the_first_time_that_fits_is_found(
        taken in prop::collection::vec((0..100i64, 1..6i64, 0..2i64), 0..12),
        from in 0..60i64,
        length in 1..6i64,
        buffer in 0..3i64,
        most in prop::option::of(60..240u32),
    ) {
        let mut mia = Told::mia(&match most {
            Some(most) => format!(r#"{{"maxMinutesPerDay": {most}}}"#),
            None => "{}".to_owned(),
        });
        for (n, (start, length, buffer)) in taken.into_iter().enumerate() {
            let mut slot = slot(start * HOUR / 2, length * 30);
            slot.buffer_end = slot.end.plus(buffer * 15 * MINUTE);
            mia.reserved(n as u8 + 10, 1, Some(slot));
        }
        let (grid, length, buffer) = (15 * MINUTE, length * 30 * MINUTE, buffer * 15 * MINUTE);
        let start = MONDAY.plus(from * HOUR / 2);
        let within = Span { start, end: start.plus(9 * DAY) };
        let wish = Wish { booking: booking(1), skill: "id", within, length, buffer, grid, contact: None };
        let tried = (0..9 * DAY / grid).map(|n| {
            let start = start.plus(n * grid);
            let end = start.plus(length);
            Slot { start, end, buffer_end: end.plus(buffer) }
        });
        let csr = mia.csr();
        let first = tried.filter(|slot| slot.end <= within.end)
            .find(|slot| csr.fits(booking(1), "id", *slot).is_ok());
        prop_assert_eq!(csr.first_fit(&wish).ok(), first);
    }
}

#[test]
fn new_rules_of_a_time_zone_move_nothing_and_are_shown() {
    let mut mia = Told::mia("{}");
    mia.reserved(1, 1, Some(slot(3 * HOUR, 60)));
    mia.reserved(2, 1, Some(slot(5 * HOUR, 60)));
    assert_eq!(mia.csr().moved_by_rules().count(), 0);
    // as if it had been reserved when Berlin was to be without summer time
    let history = std::mem::take(&mut mia.history).into_iter().map(|(event, at)| match event {
        Event::Reserved { booking: id, mut reservation, by_person } if id == booking(1) => {
            assert_eq!(reservation.offset, Some(7200));
            reservation.offset = Some(3600);
            (Event::Reserved { booking: id, reservation, by_person }, at)
        }
        event => (event, at),
    });
    let history: Vec<_> = history.collect();
    let mut csr = begin(&history[0].0).unwrap();
    history[1..].iter().for_each(|(event, at)| evolve(&mut csr, event, *at).unwrap());
    let moved: Vec<_> = csr.moved_by_rules().map(|(id, _)| *id).collect();
    assert_eq!(moved, [booking(1)]);
    assert!(csr.is_moved_by_rules(booking(1)) && !csr.is_moved_by_rules(booking(2)));
    // who moves to another zone keeps the instants, and knows it
    let event =
        Event::Changed { profile: profile(r#"{"timeZone": "Asia/Tokyo"}"#), displaced: Vec::new() };
    evolve(&mut csr, &event, MONDAY).unwrap();
    assert_eq!(csr.moved_by_rules().count(), 0);
}

#[test]
fn the_day_on_which_somebody_leaves_can_be_corrected_until_they_have_left() {
    let mut mia = Told::mia("{}");
    let day = |text: &str| Moment::Day(text.parse().unwrap());
    let leave = |on| Command::Leave { on, reason: "a new job".into() };
    mia.asked(leave(day("2026-09-18")));
    mia.asked(leave(day("2026-09-25")));
    assert_eq!(mia.csr().profile.there().end, day("2026-09-25").ends(&mia.csr().profile.zone));
    let revision = mia.csr().revision;
    mia.asked(leave(day("2026-09-25")));
    assert_eq!(mia.csr().revision, revision);
    mia.now = MONDAY.plus(30 * DAY);
    assert_eq!(mia.try_ask(&leave(day("2026-12-31"))), Err(Rejection::HasLeft));
    mia.asked(leave(Moment::Instant(mia.now)));
    assert_eq!(mia.csr().stage(mia.now), Stage::Left);
    let mut ben = Told::mia("{}");
    assert!(matches!(ben.try_ask(&leave(day("2020-01-01"))), Err(Rejection::Invalid(_))));
}
