//! Holiday calendars: days on which nobody works who goes by them, whole or in part.

pub mod ics;

use jiff::civil::{Date, Time};
use serde::{Deserialize, Serialize};

use super::civil::{Zone, clock_time};
use super::intervals::{Intervals, Span};

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
