//! Civil time and free time: what the clocks' changes, nights, holidays and absences make of hours.

use jiff::civil::{Time, Weekday};
use proptest::prelude::*;

use super::business::Business;
use super::civil::{Hours, Moment, Zone};
use super::holidays::{Holiday, HolidayCalendar};
use super::intervals::Span;
use super::profile::{Extra, Profile, TimeOff};
use crate::domain::time::{DAY, Timestamp};

const HOUR: i64 = 60 * 60 * 1000;

fn zone(name: &str) -> Zone {
    name.parse().unwrap()
}

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn moment(text: &str) -> Moment {
    text.parse().unwrap()
}

fn span(start: &str, end: &str) -> Span {
    Span { start: at(start), end: at(end) }
}

const WORKDAYS: [Weekday; 5] =
    [Weekday::Monday, Weekday::Tuesday, Weekday::Wednesday, Weekday::Thursday, Weekday::Friday];

fn hours(days: &[Weekday], start: &str, end: &str) -> Vec<Hours> {
    let time = |text: &str| text.parse::<Time>().unwrap();
    days.iter().map(|day| Hours { day: *day, start: time(start), end: time(end) }).collect()
}

fn schedule(name: &str, hours: Vec<Hours>) -> Profile {
    Profile {
        name: "Mia".to_owned(),
        email: "mia@example.com".to_owned(),
        zone: zone(name),
        hours,
        extra: Vec::new(),
        time_off: Vec::new(),
        holidays: None,
        skills: Vec::new(),
        skill_dates: Default::default(),
        max_minutes_per_day: None,
        max_open: None,
        from: None,
        until: None,
        paused: false,
        language: None,
        user: None,
    }
}

fn berlin() -> Profile {
    schedule("Europe/Berlin", hours(&WORKDAYS, "09:00", "17:00"))
}

fn holiday(date: &str) -> HolidayCalendar {
    let (name, start, end) = ("a holiday".to_owned(), None, None);
    let day = Holiday { date: date.parse().unwrap(), name, start, end };
    HolidayCalendar { name: "de".to_owned(), zone: zone("Europe/Berlin"), days: vec![day] }
}

/// One-hour slots, one behind the other.
fn slots(schedule: &Profile, within: Span) -> i64 {
    schedule.working(None, within).spans().iter().map(|span| span.length() / HOUR).sum()
}

#[test]
fn nine_stays_nine_when_the_clocks_change() {
    let working = berlin().working(None, span("2026-03-27T00:00:00Z", "2026-03-31T00:00:00Z"));
    let expected = [
        span("2026-03-27T08:00:00Z", "2026-03-27T16:00:00Z"),
        span("2026-03-30T07:00:00Z", "2026-03-30T15:00:00Z"),
    ];
    assert_eq!(working.spans(), expected);
}

#[test]
fn a_night_has_five_hours_or_seven_when_the_clocks_change() {
    let nights = schedule("Europe/Berlin", hours(&[Weekday::Sunday], "00:00", "06:00"));
    let berlin = zone("Europe/Berlin");
    let day = |date: &str| berlin.day(date.parse().unwrap());
    assert_eq!(slots(&nights, day("2026-03-29")), 5);
    assert_eq!(slots(&nights, day("2026-10-25")), 7);
    assert_eq!(berlin.instant("2026-03-29T02:30".parse().unwrap()), at("2026-03-29T01:30:00Z"));
    assert_eq!(berlin.instant("2026-10-25T02:30".parse().unwrap()), at("2026-10-25T00:30:00Z"));
}

#[test]
fn hours_over_midnight_belong_to_the_day_on_which_they_begin() {
    let late = schedule("Europe/Berlin", hours(&[Weekday::Friday], "22:00", "02:00"));
    let saturday = zone("Europe/Berlin").day("2026-06-06".parse().unwrap());
    let working = late.working(None, saturday);
    assert_eq!(working.spans(), [span("2026-06-05T22:00:00Z", "2026-06-06T00:00:00Z")]);
    let friday = zone("Europe/Berlin").day("2026-06-05".parse().unwrap());
    assert_eq!(late.working(None, friday).length(), 2 * HOUR);
    let whole = schedule("Europe/Berlin", hours(&[Weekday::Friday], "00:00", "00:00"));
    assert_eq!(whole.working(None, friday).length(), DAY, "an end that is not after the start");
}

#[test]
fn a_customer_abroad_is_called_when_both_are_awake() {
    let customer = schedule("America/New_York", hours(&WORKDAYS, "09:00", "17:00"));
    let first = |date: &str| {
        let day = zone("Europe/Berlin").day(date.parse().unwrap());
        let both = berlin().working(None, day).intersection(&customer.working(None, day));
        zone("Europe/Berlin").local(both.spans()[0].start).to_string()
    };
    // the clocks of the United States change first
    assert_eq!(first("2026-03-18"), "2026-03-18T14:00:00");
    assert_eq!(first("2026-04-01"), "2026-04-01T15:00:00");
}

#[test]
fn due_dates_count_business_hours() {
    let holidays = Some(holiday("2026-12-25"));
    let team = Business {
        zone: zone("Europe/Berlin"),
        hours: hours(&WORKDAYS, "09:00", "17:00"),
        holidays,
    };
    let from = at("2026-12-24T15:00:00Z");
    assert_eq!(team.after(from, 4 * HOUR), Some(at("2026-12-28T11:00:00Z")));
    // two hours that a task was blocked on the customer are added
    assert_eq!(team.after(from, 6 * HOUR), Some(at("2026-12-28T13:00:00Z")));
    assert_eq!(team.after(from, 0), Some(from));
    assert_eq!(team.days_after(from, 2), Some(at("2026-12-29T16:00:00Z")));
    assert_eq!(team.between(from, at("2026-12-28T11:00:00Z")), 4 * HOUR);
    let closed = Business { hours: Vec::new(), ..team };
    assert_eq!((closed.after(from, 1), closed.days_after(from, 1)), (None, None));
}

#[test]
fn what_says_more_about_a_day_counts() {
    let within = span("2026-12-24T00:00:00Z", "2026-12-26T00:00:00Z");
    let (extra, off) = (
        Extra {
            id: "a".to_owned(),
            from: moment("2026-12-25T10:00"),
            to: moment("2026-12-25T14:00"),
        },
        TimeOff {
            id: "b".to_owned(),
            from: moment("2026-12-25T13:00+01:00"),
            to: moment("2026-12-25"),
            reason: "ill".to_owned(),
        },
    );
    let mut csr = Profile { extra: vec![extra], time_off: vec![off], ..berlin() };
    let holidays = holiday("2026-12-25");
    let working = csr.working(Some(&holidays), within);
    let expected = [
        span("2026-12-24T08:00:00Z", "2026-12-24T16:00:00Z"),
        span("2026-12-25T09:00:00Z", "2026-12-25T12:00:00Z"),
    ];
    assert_eq!(working.spans(), expected, "extra hours on a holiday, and time off over both");
    csr.until = Some(moment("2026-12-24"));
    assert_eq!(csr.working(Some(&holidays), within).spans(), &expected[..1]);
    csr.until = Some(moment("2026-12-23"));
    assert_eq!(csr.working(Some(&holidays), within).length(), 0);
}

#[test]
fn days_end_with_the_last_one_that_there_is() {
    let tokyo = zone("Asia/Tokyo");
    let last = Span { start: Timestamp::MAX.plus(-2 * DAY), end: Timestamp::MAX };
    assert!((2..5).contains(&tokyo.days(last).count()));
    let team =
        Business { zone: zone("UTC"), hours: hours(&WORKDAYS, "09:00", "17:00"), holidays: None };
    let from = at("2026-12-24T15:00:00Z");
    assert_eq!((team.days_after(from, 0), team.days_after(from, 4_000_000)), (Some(from), None));
}

#[test]
fn moments_are_written_as_people_write_them() {
    for text in ["2026-12-24", "2026-12-24T09:00:00", "2026-12-24T08:00:00.000Z"] {
        assert_eq!(String::from(moment(text)), text);
    }
    for text in ["", "tomorrow", "2026-13-01", "2026-12-24T25:00", "09:00"] {
        assert!(text.parse::<Moment>().is_err(), "{text}");
    }
    assert!("Europe/Atlantis".parse::<Zone>().is_err());
}

/// Zones whose clocks change at other hours, by half an hour, over midnight, or not at all.
const ZONES: [&str; 7] = [
    "Europe/Berlin",
    "America/New_York",
    "Australia/Lord_Howe",
    "America/Havana",
    "Africa/Casablanca",
    "Asia/Kolkata",
    "Pacific/Apia",
];

proptest! {
    /// What is worked in a span is what is worked in its parts.
    #[test]
    fn free_time_does_not_depend_on_how_it_is_asked_for(
        name in prop::sample::select(&ZONES[..]),
        day in 0..7i8,
        start in 0..24i8,
        end in 0..24i8,
        from in 1_767_225_600i64..1_798_761_600,
        first in 0..20 * DAY,
        second in 0..20 * DAY,
    ) {
        let day = Weekday::from_monday_zero_offset(day).unwrap();
        let time = |hour| Time::new(hour, 0, 0, 0).unwrap();
        let csr = schedule(name, vec![Hours { day, start: time(start), end: time(end) }]);
        let start = Timestamp(from * 1000);
        let (middle, end) = (start.plus(first), start.plus(first + second));
        let whole = csr.working(None, Span { start, end });
        let parts = [Span { start, end: middle }, Span { start: middle, end }];
        let [one, other] = parts.map(|part| csr.working(None, part));
        prop_assert_eq!(whole, one.union(&other));
    }
}

#[test]
fn names_of_the_data_that_are_no_places_are_no_zones() {
    for name in ["Factory", "etc/unknown", "Europe/Atlantis", ""] {
        assert!(name.parse::<Zone>().is_err(), "{name}");
    }
    assert_eq!("europe/berlin".parse::<Zone>().unwrap().to_string(), "Europe/Berlin");
}
