//! Cron expressions over the clocks of a time zone.
//!
//! A fixed time (neither `*` nor a step in the hours) that the clocks skip comes at the end of the gap, and one
//! that they repeat comes once, at the first. Where the hours have a `*` or a step, real time counts: nothing
//! comes in a gap, and both passes of a repeated hour do.

use std::fmt;

use croner::parser::{CronParser, Seconds, Year};
use jiff::ToSpan;
use jiff::civil::DateTime;

use crate::domain::staff::civil::Zone;
use crate::domain::time::Timestamp;

/// Settings of the clocks that are looked beyond for the next instant, or the one before: 200 years of two.
const SHIFTS: usize = 400;

/// Instants that are looked at for how close they come to each other.
const CLOSEST: usize = 100;

/// A cron expression.
#[derive(Clone)]
pub struct Cron {
    text: String,
    pattern: croner::Cron,
    /// Its hours are named, each.
    is_fixed: bool,
}

impl fmt::Debug for Cron {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Display for Cron {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Cron {
    /// Reads one: five fields, or six with seconds before them, or a nickname such as `@daily`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn read(text: &str) -> Result<Self, String> {
        let parser =
            CronParser::builder().seconds(Seconds::Optional).year(Year::Disallowed).build();
        let pattern = parser.parse(text).map_err(|error| error.to_string())?;
        let fields: Vec<&str> = text.split_whitespace().collect();
        let hours = match fields[..] {
            [_, hours, _, _, _] | [_, _, hours, _, _, _] => hours,
            // which names none
            [nickname] if nickname.eq_ignore_ascii_case("@hourly") => "*",
            _ => "0",
        };
        let is_fixed = !hours.contains(['*', '/', '?']);
        let cron = Self { text: text.to_owned(), pattern, is_fixed };
        match cron.next_local(DateTime::constant(2000, 1, 1, 0, 0, 0, 0), true) {
            Some(_) => Ok(cron),
            None => Err("there is no such day".to_owned()),
        }
    }

    /// The first instant after this one.
    pub fn next(&self, zone: &Zone, after: Timestamp) -> Option<Timestamp> {
        let after = Timestamp(after.seconds() * 1000);
        if self.is_fixed {
            let mut local = zone.local(after);
            loop {
                local = self.next_local(local, false)?;
                let at = zone.first_instant(local);
                if at > after {
                    return Some(at);
                }
            }
        }
        let (mut from, mut inclusive) = (after, false);
        for _ in 0..SHIFTS {
            let found = at_offset(zone, from, self.next_local(zone.local(from), inclusive)?);
            match zone.shift_after(from) {
                Some(shift) if found >= shift => (from, inclusive) = (shift, true),
                _ => return Some(found),
            }
        }
        None
    }

    /// Milliseconds between two instants that are close to each other, of the first hundred of some year.
    pub fn closest(&self, zone: &Zone) -> i64 {
        let mut last = Timestamp(1_798_761_600_000);
        let mut closest = i64::MAX;
        for n in 0..CLOSEST {
            let Some(next) = self.next(zone, last) else { break };
            if n > 0 {
                closest = closest.min(next.since(last));
            }
            last = next;
        }
        closest
    }

    /// The last instant until this one.
    pub fn latest(&self, zone: &Zone, until: Timestamp) -> Option<Timestamp> {
        let until = Timestamp(until.seconds() * 1000);
        if self.is_fixed {
            // what is repeated came in the first pass, also what lies behind the second's time of day
            let first_pass = zone.shift_until(until).map(|shift| zone.local(shift.plus(-1000)));
            let from = zone.local(until).max(first_pass.unwrap_or(DateTime::MIN));
            return Some(zone.first_instant(self.latest_local(from)?));
        }
        let mut from = until;
        for _ in 0..SHIFTS {
            let found = at_offset(zone, from, self.latest_local(zone.local(from))?);
            match zone.shift_until(from) {
                Some(shift) if found < shift => from = shift.plus(-1000),
                _ => return Some(found),
            }
        }
        None
    }

    fn next_local(&self, from: DateTime, inclusive: bool) -> Option<DateTime> {
        self.pattern.find_next_occurrence(&from, inclusive).ok()
    }

    fn latest_local(&self, until: DateTime) -> Option<DateTime> {
        self.pattern.find_previous_occurrence(&until, true).ok()
    }
}

/// The instant of a local time by the offset that is in force at another.
fn at_offset(zone: &Zone, in_force: Timestamp, local: DateTime) -> Timestamp {
    let utc = local.saturating_sub(zone.offset(in_force).seconds());
    let at = utc.to_zoned(jiff::tz::TimeZone::UTC);
    at.map_or(Timestamp::MAX, |at| Timestamp(at.timestamp().as_millisecond()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn berlin() -> Zone {
        "Europe/Berlin".parse().unwrap()
    }

    /// The next instants after one.
    fn next(cron: &str, after: &str, most: usize) -> Vec<String> {
        let cron = Cron::read(cron).unwrap();
        let mut last = at(after);
        let mut all = Vec::new();
        for _ in 0..most {
            last = cron.next(&berlin(), last).unwrap();
            all.push(last.to_string().replace(":00.000Z", ""));
        }
        all
    }

    #[test]
    fn a_fixed_time_in_a_gap_comes_at_its_end() {
        // 2:00 to 3:00 on 29 March 2026 is skipped
        assert_eq!(
            next("30 2 * * *", "2026-03-27T12:00:00Z", 4),
            ["2026-03-28T01:30", "2026-03-29T01:00", "2026-03-30T00:30", "2026-03-31T00:30"]
        );
        // two in it come together, with what is due at its end
        assert_eq!(
            next("15,45 2,3 * * *", "2026-03-29T00:00:00Z", 3),
            ["2026-03-29T01:00", "2026-03-29T01:15", "2026-03-29T01:45"]
        );
    }

    #[test]
    fn a_fixed_time_that_is_repeated_comes_once() {
        // 2:00 to 3:00 on 25 October 2026 comes twice
        assert_eq!(
            next("30 2 * * *", "2026-10-24T12:00:00Z", 2),
            ["2026-10-25T00:30", "2026-10-26T01:30"]
        );
        assert_eq!(
            next("0,30 1,2,3 * * *", "2026-10-24T23:30:00Z", 4),
            ["2026-10-25T00:00", "2026-10-25T00:30", "2026-10-25T02:00", "2026-10-25T02:30"]
        );
    }

    #[test]
    fn where_all_hours_count_real_time_does() {
        assert_eq!(
            next("30 * * * *", "2026-03-29T00:00:00Z", 3),
            ["2026-03-29T00:30", "2026-03-29T01:30", "2026-03-29T02:30"]
        );
        for hourly in ["@hourly", "@HOURLY"] {
            assert_eq!(
                next(hourly, "2026-10-24T23:45:00Z", 3),
                ["2026-10-25T00:00", "2026-10-25T01:00", "2026-10-25T02:00"]
            );
        }
        assert_eq!(
            next("30 */1 * * *", "2026-10-24T23:45:00Z", 4),
            ["2026-10-25T00:30", "2026-10-25T01:30", "2026-10-25T02:30", "2026-10-25T03:30"]
        );
    }

    #[test]
    fn what_is_no_cron_says_why() {
        for text in ["", "* * *", "61 * * * *", "0 0 30 2 *", "0 0 * * * * 2030", "now"] {
            assert!(Cron::read(text).is_err(), "{text}");
        }
        for text in ["@daily", "*/5 * * * * *", "0 9 * * MON-FRI", "0 0 L * *"] {
            assert!(Cron::read(text).is_ok(), "{text}");
        }
    }

    proptest! {
        /// Back and forth finds the same instants, over both changes of the clocks.
        #[test]
        fn what_is_next_is_the_latest_then(
            cron in prop::sample::select(vec![
                "30 2 * * *", "*/20 * * * *", "15 1,2,3 * * *", "0 */2 * * *", "0 0 * * MON", "30 0-5 * * *",
            ]),
            start in prop::sample::select(vec![1_774_700_000i64, 1_792_850_000]),
            minutes in 0..4000i64,
        ) {
            let (cron, zone) = (Cron::read(cron).unwrap(), berlin());
            let from = Timestamp((start + minutes * 60) * 1000);
            let next = cron.next(&zone, from).unwrap();
            prop_assert!(next > from);
            prop_assert_eq!(cron.latest(&zone, next), Some(next));
            let before = cron.latest(&zone, next.plus(-1)).unwrap();
            prop_assert!(before <= from, "{} lies between", before);
            prop_assert_eq!(cron.next(&zone, before), Some(next));
        }
    }
}
