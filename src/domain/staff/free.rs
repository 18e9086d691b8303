//! When a CSR works: left > time off > extra hours > holidays > weekly hours.

use super::civil::{Hours, Moment, Zone, weekly};
use super::holidays::HolidayCalendar;
use super::intervals::{Intervals, Span};

/// Time that a CSR works beside the weekly hours, also on holidays.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Extra {
    pub id: String,
    pub from: Moment,
    pub to: Moment,
}

/// Time that a CSR is away.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TimeOff {
    pub id: String,
    pub from: Moment,
    pub to: Moment,
    /// For that CSR and admins alone.
    pub reason: String,
}

/// What says when a CSR works.
#[derive(Clone, PartialEq, Debug)]
pub struct Schedule {
    pub zone: Zone,
    pub hours: Vec<Hours>,
    pub extra: Vec<Extra>,
    pub time_off: Vec<TimeOff>,
    /// From when on they are there, and until when; a day is included.
    pub from: Option<Moment>,
    pub until: Option<Moment>,
}

impl Schedule {
    /// The instants at which the CSR works, as far as a span goes; `holidays` is the calendar that they go
    /// by.
    pub fn working(&self, holidays: Option<&HolidayCalendar>, within: Span) -> Intervals {
        let zone = &self.zone;
        let there = Span {
            start: self.from.map_or(within.start, |from| from.begins(zone)),
            end: self.until.map_or(within.end, |until| until.ends(zone)),
        };
        let Some(within) = there.common(within) else { return Intervals::default() };
        let span = |from: Moment, to: Moment| Span::new(from.begins(zone), to.ends(zone));
        let extra = self.extra.iter().filter_map(|e| span(e.from, e.to)?.common(within));
        let off = self.time_off.iter().filter_map(|off| span(off.from, off.to)?.common(within));
        weekly(zone, &self.hours, within)
            .without(&holidays.map(|calendar| calendar.within(within)).unwrap_or_default())
            .union(&extra.collect())
            .without(&off.collect())
    }
}
