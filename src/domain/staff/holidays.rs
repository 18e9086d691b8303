//! Holiday calendars: days on which nobody works who goes by them, whole or in part.

pub mod ics;

use jiff::civil::{Date, Time};
use serde::{Deserialize, Serialize};

use super::civil::{Zone, clock_time};
use super::intervals::{Intervals, Span};
use super::profile::is_word;

/// A holiday; without times it is the whole day.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Holiday {
    pub date: Date,
    #[serde(default)]
    pub name: String,
    #[serde(with = "clock_time::optional", default)]
    pub start: Option<Time>,
    #[serde(with = "clock_time::optional", default)]
    pub end: Option<Time>,
}

/// A calendar of them.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HolidayCalendar {
    pub name: String,
    #[serde(rename = "timeZone")]
    pub zone: Zone,
    pub days: Vec<Holiday>,
}

/// Days of one calendar at the most.
const DAYS_MAX: usize = 2000;

/// Bytes of one, as it is stored.
const BYTES_MAX: usize = 512 * 1024;

impl HolidayCalendar {
    /// What is wrong with it, and where.
    ///
    /// # Errors
    /// The first thing.
    pub fn check(&self) -> Result<(), (String, String)> {
        let wrong = |pointer: &str, detail: String| Err((pointer.to_owned(), detail));
        if !is_word(&self.name) {
            return wrong("/name", "1 to 40 characters of a-z, 0-9, - and _".to_owned());
        }
        let long = |name: &str| name.chars().count() > 200 || name.chars().any(char::is_control);
        if let Some(place) = self.days.iter().position(|day| long(&day.name)) {
            let pointer = format!("/days/{place}/name");
            return wrong(&pointer, "at most 200 characters on one line".to_owned());
        }
        if self.days.len() > DAYS_MAX {
            return wrong("/days", format!("at most {DAYS_MAX}"));
        }
        let bytes = serde_json::to_vec(self).map_or(0, |text| text.len());
        if bytes > BYTES_MAX {
            return wrong("/days", format!("at most {} KiB with their names", BYTES_MAX / 1024));
        }
        Ok(())
    }
}

impl Holiday {
    fn span(&self, zone: &Zone) -> Option<Span> {
        let day = zone.day(self.date);
        let at = |time: Option<Time>| time.map(|time| zone.instant(self.date.to_datetime(time)));
        Span::new(at(self.start).unwrap_or(day.start), at(self.end).unwrap_or(day.end))
    }
}

impl HolidayCalendar {
    /// The instants that are free by it, as far as a span goes.
    pub fn within(&self, within: Span) -> Intervals {
        let (first, last) =
            (self.zone.local(within.start).date(), self.zone.local(within.end).date());
        let near = self.days.iter().filter(|day| (first..=last).contains(&day.date));
        near.filter_map(|day| day.span(&self.zone)?.common(within)).collect()
    }
}
