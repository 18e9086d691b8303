//! Business time: hours and days as a team counts them.

use super::civil::{Hours, Zone, next, weekly};
use super::holidays::HolidayCalendar;
use super::intervals::{Intervals, Span};
use crate::domain::time::{DAY, Timestamp};

/// Days that are looked at for business time: some ten years.
const DAYS: usize = 3650;

/// Milliseconds that are looked at in one go.
const WINDOW: i64 = 30 * DAY;

/// The hours by which due dates are counted.
#[derive(Clone, PartialEq, Debug)]
pub struct Business {
    pub zone: Zone,
    pub hours: Vec<Hours>,
    pub holidays: Option<HolidayCalendar>,
}

impl Business {
    /// The instants that count, as far as a span goes.
    pub fn open(&self, within: Span) -> Intervals {
        let closed = self.holidays.as_ref().map(|calendar| calendar.within(within));
        weekly(&self.zone, &self.hours, within).without(&closed.unwrap_or_default())
    }

    /// When so many milliseconds of business time have passed; none: there is too little of it.
    pub fn after(&self, from: Timestamp, millis: i64) -> Option<Timestamp> {
        let (mut left, mut start) = (millis, from);
        for _ in 0..DAYS / 30 {
            let window = Span { start, end: start.plus(WINDOW) };
            for span in self.open(window).spans() {
                if left <= span.length() {
                    return Some(span.start.plus(left));
                }
                left -= span.length();
            }
            start = window.end;
        }
        None
    }

    /// The end of the business day on which so many of them have passed; `from`'s own day is not counted.
    pub fn days_after(&self, from: Timestamp, days: usize) -> Option<Timestamp> {
        let today = self.zone.local(from).date();
        let dates = std::iter::successors(Some(next(today)), |date| Some(next(*date)));
        let ends = dates.take(DAYS).filter_map(|date| {
            let open = self.open(self.zone.day(date));
            open.spans().last().map(|last| last.end)
        });
        let Some(place) = days.checked_sub(1) else { return Some(from) };
        ends.take(DAYS).nth(place)
    }

    /// Milliseconds of business time from one instant to another.
    pub fn between(&self, from: Timestamp, to: Timestamp) -> i64 {
        Span::new(from, to).map_or(0, |span| self.open(span).length())
    }
}
