//! Days and times as people of a language write them, in their own zone.

use crate::domain::staff::civil::Zone;
use crate::domain::time::Timestamp;

/// A language that notices are written in.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Language {
    English,
    German,
}

const DAYS: [[&str; 7]; 2] = [
    ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"],
    ["Montag", "Dienstag", "Mittwoch", "Donnerstag", "Freitag", "Samstag", "Sonntag"],
];

const MONTHS: [[&str; 12]; 2] = [
    [
        "January",
        "February",
        "March",
        "April",
        "May",
        "June",
        "July",
        "August",
        "September",
        "October",
        "November",
        "December",
    ],
    [
        "Januar",
        "Februar",
        "März",
        "April",
        "Mai",
        "Juni",
        "Juli",
        "August",
        "September",
        "Oktober",
        "November",
        "Dezember",
    ],
];

impl Language {
    /// All languages.
    pub const ALL: [Self; 2] = [Self::English, Self::German];

    /// The language of a tag such as `de-AT`; English where it is none of ours.
    pub fn of(tag: Option<&str>) -> Self {
        let primary = tag.and_then(|tag| tag.split(['-', '_']).next()).unwrap_or_default();
        let known = Self::ALL.into_iter().find(|known| known.tag().eq_ignore_ascii_case(primary));
        known.unwrap_or(Self::English)
    }

    /// Its tag, and the name of the folder with its templates.
    pub fn tag(self) -> &'static str {
        match self {
            Self::English => "en",
            Self::German => "de",
        }
    }

    /// A day: `Tuesday, 1 December 2026`.
    fn day(self, at: jiff::civil::Date) -> String {
        let language = self as usize;
        let day = DAYS[language][at.weekday().to_monday_zero_offset().unsigned_abs() as usize];
        let month = MONTHS[language][usize::from(at.month().unsigned_abs()) - 1];
        match self {
            Self::English => format!("{day}, {} {month} {}", at.day(), at.year()),
            Self::German => format!("{day}, {}. {month} {}", at.day(), at.year()),
        }
    }

    /// From when until when: `Tuesday, 1 December 2026, 09:00–10:00 (Europe/Paris)`. What ends on another
    /// day says which.
    pub fn span(self, zone: &Zone, start: Timestamp, end: Timestamp) -> String {
        let (from, to) = (zone.local(start), zone.local(end));
        let o_clock = match self {
            Self::English => "",
            Self::German => " Uhr",
        };
        let (day, begins) = (self.day(from.date()), from.strftime("%H:%M"));
        let ends = to.strftime("%H:%M");
        match from.date() == to.date() {
            true => format!("{day}, {begins}–{ends}{o_clock} ({zone})"),
            false => {
                format!(
                    "{day}, {begins}{o_clock} – {}, {ends}{o_clock} ({zone})",
                    self.day(to.date())
                )
            }
        }
    }

    /// An instant: `Tuesday, 1 December 2026, 17:00 (Europe/Paris)`.
    pub fn instant(self, zone: &Zone, at: Timestamp) -> String {
        let local = zone.local(at);
        let (day, time) = (self.day(local.date()), local.strftime("%H:%M"));
        match self {
            Self::English => format!("{day}, {time} ({zone})"),
            Self::German => format!("{day}, {time} Uhr ({zone})"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_written_as_its_reader_writes_it() {
        let zone: Zone = "Europe/Berlin".parse().unwrap();
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let (start, end) = (at("2026-03-28T23:30:00Z"), at("2026-03-29T01:30:00Z"));
        let english = Language::of(Some("en-GB")).span(&zone, start, end);
        assert_eq!(english, "Sunday, 29 March 2026, 00:30–03:30 (Europe/Berlin)");
        let late = at("2026-03-29T22:15:00Z");
        assert_eq!(
            Language::of(Some("de-AT")).span(&zone, end, late),
            "Sonntag, 29. März 2026, 03:30 Uhr – Montag, 30. März 2026, 00:15 Uhr (Europe/Berlin)"
        );
        assert_eq!(
            Language::of(Some("fr")).instant(&zone, end),
            "Sunday, 29 March 2026, 03:30 (Europe/Berlin)"
        );
    }
}
