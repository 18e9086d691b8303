//! Instants and durations as values: milliseconds since 1970 UTC, and ISO 8601 durations.
//! There is no `now` here; whoever decides is told the time.

use std::fmt;
use std::str::FromStr;

use jiff::{Span, ToSpan};
use serde::{Deserialize, Serialize};

/// One day in milliseconds.
pub const DAY: i64 = 24 * 60 * 60 * 1000;

/// An instant in milliseconds since 1970-01-01T00:00:00Z.
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// The last instant that RFC 3339 can write (year 9999), in milliseconds.
    pub const MAX: Self = Self(253_402_207_200_000);

    /// Before everything that happens here (1970).
    pub const MIN: Self = Self(0);

    /// This instant and `millis` more, never beyond [`Timestamp::MAX`].
    pub fn plus(self, millis: i64) -> Self {
        Self(self.0.saturating_add(millis).min(Self::MAX.0))
    }

    /// Milliseconds from `earlier` to this instant; negative when it is later.
    pub fn since(self, earlier: Self) -> i64 {
        self.0.saturating_sub(earlier.0)
    }

    /// Whole seconds since 1970.
    pub fn seconds(self) -> i64 {
        self.0.div_euclid(1000)
    }

    /// The same for whoever reckons with calendars.
    pub fn jiff(self) -> jiff::Timestamp {
        jiff::Timestamp::from_millisecond(self.0.clamp(-Self::MAX.0, Self::MAX.0))
            .expect("clamped to the range that jiff knows")
    }
}

impl fmt::Display for Timestamp {
    /// RFC 3339, UTC, with milliseconds: `2026-11-21T09:30:00.125Z`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.3}", self.jiff())
    }
}

impl FromStr for Timestamp {
    type Err = NotATime;

    fn from_str(text: &str) -> Result<Self, NotATime> {
        let at: jiff::Timestamp = text.parse().map_err(|_| NotATime)?;
        Ok(Self(at.as_millisecond()))
    }
}

/// A text that is no RFC 3339 date and time with an offset.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not an RFC 3339 time such as 2026-11-21T09:30:00Z")]
pub struct NotATime;

/// A duration as a definition gives it: calendar months, which differ in length, and milliseconds.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Duration {
    pub months: i32,
    pub millis: i64,
}

/// A text that is no ISO 8601 duration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not an ISO 8601 duration such as PT30S or P30D")]
pub struct NotADuration;

impl Duration {
    /// A duration without calendar parts.
    pub fn millis(millis: i64) -> Self {
        Self { months: 0, millis }
    }

    /// The instant this duration after `from`, counted in UTC, never beyond [`Timestamp::MAX`].
    pub fn after(self, from: Timestamp) -> Timestamp {
        if self.months == 0 {
            return from.plus(self.millis);
        }
        let span: Span = i64::from(self.months).months();
        from.jiff()
            .to_zoned(jiff::tz::TimeZone::UTC)
            .checked_add(span)
            .map_or(Timestamp::MAX, |z| Timestamp(z.timestamp().as_millisecond()))
            .plus(self.millis)
    }

    /// Its length in milliseconds, months counted as 30 days; for delays that have no anchor.
    pub fn nominal_millis(self) -> i64 {
        self.millis.saturating_add(i64::from(self.months).saturating_mul(30 * DAY))
    }
}

impl FromStr for Duration {
    type Err = NotADuration;

    /// Reads `P[nY][nM][nW][nD][T[nH][nM][nS]]`; fractions are allowed everywhere but in years
    /// and months, whose length varies.
    fn from_str(text: &str) -> Result<Self, NotADuration> {
        let rest = text.strip_prefix('P').ok_or(NotADuration)?;
        let (date, time) = match rest.split_once('T') {
            Some((_, "")) => return Err(NotADuration),
            Some((date, time)) => (date, time),
            None => (rest, ""),
        };
        if date.is_empty() && time.is_empty() {
            return Err(NotADuration);
        }
        let mut months = 0.0;
        let mut millis = 0.0;
        read_parts(date, &["Y", "M", "W", "D"], |unit, n| match unit {
            "Y" => months += n * 12.0,
            "M" => months += n,
            "W" => millis += n * 7.0 * DAY as f64,
            _ => millis += n * DAY as f64,
        })?;
        read_parts(time, &["H", "M", "S"], |unit, n| match unit {
            "H" => millis += n * 3_600_000.0,
            "M" => millis += n * 60_000.0,
            _ => millis += n * 1000.0,
        })?;
        if months.fract() != 0.0 || months > 120_000.0 || millis > Timestamp::MAX.0 as f64 {
            return Err(NotADuration);
        }
        Ok(Self { months: months as i32, millis: millis.round() as i64 })
    }
}

/// Reads `12H30M`-like parts, each unit at most once and in the given order.
fn read_parts(
    mut text: &str,
    units: &[&str],
    mut each: impl FnMut(&str, f64),
) -> Result<(), NotADuration> {
    let mut allowed = units;
    while !text.is_empty() {
        let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or(NotADuration)?;
        let number = &text[..digits];
        if number.is_empty() || number.starts_with('.') || number.ends_with('.') {
            return Err(NotADuration);
        }
        let amount: f64 = number.parse().map_err(|_| NotADuration)?;
        let unit = text.get(digits..=digits).ok_or(NotADuration)?;
        let place = allowed.iter().position(|&u| u == unit).ok_or(NotADuration)?;
        each(unit, amount);
        allowed = &allowed[place + 1..];
        text = &text[digits + 1..];
    }
    Ok(())
}

impl fmt::Display for Duration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("P")?;
        if self.months != 0 {
            write!(f, "{}M", self.months)?;
        }
        if self.millis % DAY == 0 && self.millis != 0 {
            return write!(f, "{}D", self.millis / DAY);
        }
        if self.millis != 0 || self.months == 0 {
            write!(f, "T{}S", self.millis as f64 / 1000.0)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(text: &str, months: i32, millis: i64) {
        assert_eq!(text.parse::<Duration>(), Ok(Duration { months, millis }), "{text}");
    }

    #[test]
    fn reads_iso_8601() {
        check("PT30S", 0, 30_000);
        check("P30D", 0, 30 * DAY);
        check("PT0.2S", 0, 200);
        check("P1Y2M", 14, 0);
        check("P1W", 0, 7 * DAY);
        check("P1DT2H3M4.5S", 0, DAY + 7_384_500);
        check("PT0S", 0, 0);
    }

    #[test]
    fn refuses_the_rest() {
        for text in [
            "", "P", "PT", "P1", "1D", "P1S", "PT1D", "P-1D", "PT1H1H", "PT.5S", "P1.5M", "P1H",
            "PTé",
        ] {
            assert_eq!(text.parse::<Duration>(), Err(NotADuration), "{text}");
        }
    }

    #[test]
    fn months_follow_the_calendar() {
        let january: Timestamp = "2027-01-31T12:00:00Z".parse().unwrap();
        let month: Duration = "P1M".parse().unwrap();
        assert_eq!(month.after(january).to_string(), "2027-02-28T12:00:00.000Z");
    }

    #[test]
    fn writes_rfc_3339() {
        assert_eq!(Timestamp(0).to_string(), "1970-01-01T00:00:00.000Z");
        assert_eq!(Timestamp::MAX.plus(DAY), Timestamp::MAX);
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "P?[0-9.YMWDTHS]{0,12}") {
            let _ = text.parse::<Duration>();
        }

        #[test]
        fn times_round_trip(millis in 0i64..253_402_207_200_000) {
            let at = Timestamp(millis);
            prop_assert_eq!(at.to_string().parse::<Timestamp>().unwrap(), at);
        }

        #[test]
        fn durations_round_trip(millis in 0i64..400 * DAY, months in 0i32..40) {
            let d = Duration { months, millis };
            prop_assert_eq!(d.to_string().parse::<Duration>().unwrap(), d);
        }
    }
}
