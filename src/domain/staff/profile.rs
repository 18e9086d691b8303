//! What is known of a CSR: who they are, what they can do, and when they work.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::civil::{Hours, Moment, Zone, weekly};
use super::holidays::HolidayCalendar;
use super::intervals::{Intervals, Span};
use crate::domain::ids::Bits;
use crate::domain::time::Timestamp;
use crate::domain::workflow::schema::Violation;

/// Skills of one CSR at the most.
pub const SKILLS_MAX: usize = 64;

/// Spans of weekly hours, of extra hours and of time off, each, at the most.
const SPANS_MAX: usize = 500;

/// Characters of a name, an address, a reason.
const TEXT_MAX: usize = 200;

/// Time that a CSR works beside the weekly hours, also on holidays.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Extra {
    #[serde(default)]
    pub id: String,
    pub from: Moment,
    pub to: Moment,
}

/// Time that a CSR is away.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TimeOff {
    #[serde(default)]
    pub id: String,
    pub from: Moment,
    pub to: Moment,
    /// For that CSR and admins alone.
    #[serde(default)]
    pub reason: String,
}

/// From when on a skill holds, and until when; a day is included.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Validity {
    #[serde(default)]
    pub from: Option<Moment>,
    #[serde(default)]
    pub until: Option<Moment>,
}

/// A CSR as an admin describes them.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Profile {
    pub name: String,
    pub email: String,
    #[serde(rename = "timeZone")]
    pub zone: Zone,
    #[serde(default)]
    pub hours: Vec<Hours>,
    #[serde(default)]
    pub extra: Vec<Extra>,
    #[serde(default)]
    pub time_off: Vec<TimeOff>,
    /// Name of the holiday calendar that they go by.
    #[serde(default)]
    pub holidays: Option<Arc<str>>,
    #[serde(default)]
    pub skills: Vec<Arc<str>>,
    #[serde(default)]
    pub skill_dates: BTreeMap<Arc<str>, Validity>,
    /// Minutes of booked work on one of their days at the most.
    #[serde(default)]
    pub max_minutes_per_day: Option<u32>,
    /// Open tasks at the most, booked and queued ones together.
    #[serde(default)]
    pub max_open: Option<u32>,
    /// From when on they are there, and until when; a day is included.
    #[serde(default)]
    pub from: Option<Moment>,
    #[serde(default)]
    pub until: Option<Moment>,
    /// They get nothing new; what they have stays.
    #[serde(default)]
    pub paused: bool,
    #[serde(default)]
    pub language: Option<String>,
    /// Their name as the identity provider knows it.
    #[serde(default)]
    pub user: Option<String>,
}

impl Profile {
    /// The instants at which the CSR works, as far as a span goes: left > time off > extra hours >
    /// holidays > weekly hours. `holidays` is the calendar that they go by.
    pub fn working(&self, holidays: Option<&HolidayCalendar>, within: Span) -> Intervals {
        let zone = &self.zone;
        let Some(within) = self.there().common(within) else { return Intervals::default() };
        let span = |from: Moment, to: Moment| Span::new(from.begins(zone), to.ends(zone));
        let extra = self.extra.iter().filter_map(|e| span(e.from, e.to)?.common(within));
        let off = self.time_off.iter().filter_map(|off| span(off.from, off.to)?.common(within));
        weekly(zone, &self.hours, within)
            .without(&holidays.map(|calendar| calendar.within(within)).unwrap_or_default())
            .union(&extra.collect())
            .without(&off.collect())
    }

    /// From when until when they are there.
    pub fn there(&self) -> Span {
        Span {
            start: self.from.map_or(Timestamp::MIN, |from| from.begins(&self.zone)),
            end: self.until.map_or(Timestamp::MAX, |until| until.ends(&self.zone)),
        }
    }

    /// Whether they have a skill for as long as a span lasts.
    pub fn has_skill(&self, skill: &str, during: Span) -> bool {
        let valid = || {
            let Some(dates) = self.skill_dates.get(skill) else { return true };
            dates.from.is_none_or(|from| from.begins(&self.zone) <= during.start)
                && dates.until.is_none_or(|until| during.end <= until.ends(&self.zone))
        };
        self.skills.iter().any(|known| **known == *skill) && valid()
    }

    /// Gives absences and extra hours an id that were said without one: the same gets the same.
    pub fn name_spans(&mut self) {
        let name = |id: &mut String, from: Moment, to: Moment| {
            if id.is_empty() {
                let (from, to) = (String::from(from), String::from(to));
                let bits = Bits::derived(&[from.as_bytes(), to.as_bytes()]);
                *id = format!("{bits:?}")[..12].to_owned();
            }
        };
        self.extra.iter_mut().for_each(|one| name(&mut one.id, one.from, one.to));
        self.time_off.iter_mut().for_each(|one| name(&mut one.id, one.from, one.to));
    }

    /// What is wrong with it, each with its place.
    pub fn violations(&self) -> Vec<Violation> {
        let mut found = Vec::new();
        let mut wrong = |wrong: bool, pointer: String, detail: &str| {
            if wrong {
                found.push(Violation { pointer, detail: detail.to_owned() });
            }
        };
        let text = format!("1 to {TEXT_MAX} characters on one line");
        wrong(!is_text(&self.name), "/name".to_owned(), &text);
        wrong(!is_address(&self.email), "/email".to_owned(), "an address such as mia@example.com");
        let skills = format!("at most {SKILLS_MAX}");
        wrong(self.skills.len() > SKILLS_MAX, "/skills".to_owned(), &skills);
        for (place, skill) in self.skills.iter().enumerate() {
            wrong(!is_word(skill), format!("/skills/{place}"), WORD);
        }
        for skill in self.skill_dates.keys() {
            let unknown = !self.skills.contains(skill);
            wrong(unknown, format!("/skillDates/{skill}"), "it is none of `skills`");
        }
        let spans = format!("at most {SPANS_MAX}");
        wrong(self.hours.len() > SPANS_MAX, "/hours".to_owned(), &spans);
        wrong(self.extra.len() > SPANS_MAX, "/extra".to_owned(), &spans);
        wrong(self.time_off.len() > SPANS_MAX, "/timeOff".to_owned(), &spans);
        let zone = &self.zone;
        let ends = |from: Moment, to: Moment| from.begins(zone) < to.ends(zone);
        for (place, extra) in self.extra.iter().enumerate() {
            let at = format!("/extra/{place}");
            wrong(!ends(extra.from, extra.to), at.clone(), "it ends before it begins");
            wrong(!is_word(&extra.id), format!("{at}/id"), WORD);
        }
        for (place, off) in self.time_off.iter().enumerate() {
            let at = format!("/timeOff/{place}");
            wrong(!ends(off.from, off.to), at.clone(), "it ends before it begins");
            wrong(!is_word(&off.id), format!("{at}/id"), WORD);
            let twice = self.time_off[..place].iter().any(|other| other.id == off.id);
            wrong(twice, format!("{at}/id"), "another one has it");
            let long = off.reason.chars().count() > TEXT_MAX;
            wrong(long, format!("{at}/reason"), &format!("at most {TEXT_MAX} characters"));
        }
        let language = self.language.as_deref().unwrap_or("en");
        wrong(!is_language(language), "/language".to_owned(), "a language tag such as de or en-GB");
        let user = self.user.as_deref().unwrap_or("x");
        wrong(!is_text(user), "/user".to_owned(), &text);
        let over = self.from.zip(self.until).is_some_and(|(from, until)| !ends(from, until));
        wrong(over, "/until".to_owned(), "it is before `from`");
        found
    }
}

const WORD: &str = "1 to 40 characters of a-z, 0-9, - and _";

/// Whether it may be a name of something of ours: a skill, a calendar, an absence.
pub fn is_word(text: &str) -> bool {
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_');
    (1..=40).contains(&text.len()) && text.chars().all(fits)
}

fn is_text(text: &str) -> bool {
    let length = text.chars().count();
    let shown = text.chars().any(char::is_alphanumeric);
    (1..=TEXT_MAX).contains(&length) && shown && !text.chars().any(char::is_control)
}

fn is_language(text: &str) -> bool {
    let mut parts = text.split('-');
    let letters = |part: &str| part.chars().all(|c| c.is_ascii_alphabetic());
    let first = parts.next().is_some_and(|part| (2..=8).contains(&part.len()) && letters(part));
    let fits = |part: &str| {
        (1..=8).contains(&part.len()) && part.chars().all(|c| c.is_ascii_alphanumeric())
    };
    text.len() <= 35 && first && parts.all(fits)
}

/// Whether it looks like an address that mail can go to; the mail server has the last word.
pub fn is_address(text: &str) -> bool {
    let parts = text.split_once('@');
    let plain = !text.chars().any(|c| c.is_control() || "<>,;".contains(c));
    let fits = |at: &str| !at.is_empty() && !at.contains('@') && !at.contains(char::is_whitespace);
    text.len() <= 254 && plain && parts.is_some_and(|(who, at)| !who.is_empty() && fits(at))
}
