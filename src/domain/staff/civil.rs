//! Civil time: days and times of day in a time zone, and the instants that they are.
//!
//! A local time that the clock skips moves forward by the gap; one that it repeats means its first
//! occurrence (RFC 5545). Times are kept as people say them and become instants day by day, so that 9:00
//! stays 9:00 when the clocks change.

use std::fmt;
use std::str::FromStr;
use std::sync::LazyLock;

use jiff::ToSpan;
use jiff::civil::{Date, DateTime, Time, Weekday};
use jiff::tz::TimeZoneDatabase;
use serde::{Deserialize, Serialize};

use super::intervals::{Intervals, Span};
use crate::domain::time::Timestamp;

/// An IANA time zone, such as `Europe/Berlin`, of the data that is built in.
#[derive(Clone, PartialEq, Debug)]
pub struct Zone {
    name: String,
    rules: jiff::tz::TimeZone,
}

/// A name that no time zone has.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no IANA time zone such as Europe/Berlin")]
pub struct NoZone(pub String);

impl FromStr for Zone {
    type Err = NoZone;

    fn from_str(name: &str) -> Result<Self, NoZone> {
        // what is built in, whatever the machine has: every node decides alike
        static KNOWN: LazyLock<TimeZoneDatabase> = LazyLock::new(TimeZoneDatabase::bundled);
        let rules = KNOWN.get(name).map_err(|_| NoZone(name.to_owned()))?;
        // as the data spells it
        let name = rules.iana_name().unwrap_or(name).to_owned();
        Ok(Self { name, rules })
    }
}

impl fmt::Display for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

impl Zone {
    /// The instant of a local time.
    pub fn instant(&self, local: DateTime) -> Timestamp {
        let at = self.rules.to_ambiguous_timestamp(local).compatible();
        at.map_or(Timestamp::MAX, |at| Timestamp(at.as_millisecond()))
    }

    /// The local time of an instant.
    pub fn local(&self, at: Timestamp) -> DateTime {
        self.rules.to_datetime(at.jiff())
    }

    /// A whole day.
    pub fn day(&self, date: Date) -> Span {
        Span { start: self.instant(midnight(date)), end: self.instant(midnight(next(date))) }
    }

    /// The days that a span touches, in order.
    pub fn days(&self, span: Span) -> impl Iterator<Item = Date> {
        let last = self.local(span.end.plus(-1)).date();
        std::iter::successors(Some(self.local(span.start).date()), |date| Some(next(*date)))
            .take_while(move |date| *date <= last)
    }
}

fn midnight(date: Date) -> DateTime {
    date.to_datetime(Time::midnight())
}

/// The day after; the last day that there is has none but itself.
pub fn next(date: Date) -> Date {
    date.saturating_add(1.day())
}

/// The day before.
pub fn previous(date: Date) -> Date {
    date.saturating_sub(1.day())
}

/// Hours of one weekday: an end that is not after the start is on the next day.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Hours {
    pub day: Weekday,
    pub start: Time,
    pub end: Time,
}

/// The instants of weekly hours, as far as a span goes.
pub fn weekly(zone: &Zone, hours: &[Hours], within: Span) -> Intervals {
    let of_day = |date: Date| {
        let today = hours.iter().filter(move |hours| hours.day == date.weekday());
        today.filter_map(move |hours| {
            let over_midnight = hours.end <= hours.start;
            let end = if over_midnight { next(date) } else { date };
            let start = zone.instant(date.to_datetime(hours.start));
            Span::new(start, zone.instant(end.to_datetime(hours.end)))?.common(within)
        })
    };
    // what began the evening before
    let before = previous(zone.local(within.start).date());
    std::iter::once(before).chain(zone.days(within)).flat_map(of_day).collect()
}

/// An instant as a person writes it: a whole day, a local time, or one with its offset.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Moment {
    Day(Date),
    Local(DateTime),
    Instant(Timestamp),
}

/// A text that is none of them.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "no date (2026-12-24), local time (2026-12-24T09:00) or time with offset (2026-12-24T09:00+01:00)"
)]
pub struct NoMoment;

impl FromStr for Moment {
    type Err = NoMoment;

    fn from_str(text: &str) -> Result<Self, NoMoment> {
        if let Ok(at) = text.parse::<Timestamp>() {
            return Ok(Self::Instant(at));
        }
        match text.contains(['T', 't', ' ']) {
            true => text.parse().map(Self::Local).map_err(|_| NoMoment),
            false => text.parse().map(Self::Day).map_err(|_| NoMoment),
        }
    }
}

impl TryFrom<String> for Moment {
    type Error = NoMoment;

    fn try_from(text: String) -> Result<Self, NoMoment> {
        text.parse()
    }
}

impl From<Moment> for String {
    fn from(moment: Moment) -> Self {
        match moment {
            Moment::Day(date) => date.to_string(),
            Moment::Local(local) => local.to_string(),
            Moment::Instant(at) => at.to_string(),
        }
    }
}

impl Moment {
    /// Where a span begins that begins with it.
    pub fn begins(self, zone: &Zone) -> Timestamp {
        match self {
            Self::Day(date) => zone.instant(midnight(date)),
            Self::Local(local) => zone.instant(local),
            Self::Instant(at) => at,
        }
    }

    /// Where a span ends that ends with it: a day is included.
    pub fn ends(self, zone: &Zone) -> Timestamp {
        match self {
            Self::Day(date) => zone.day(date).end,
            Self::Local(_) | Self::Instant(_) => self.begins(zone),
        }
    }
}
