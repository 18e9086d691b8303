//! Holidays of a calendar file (RFC 5545): events with dates, once or every year. What is not understood is
//! refused with its line, so that no holiday is missing without a word.

use jiff::ToSpan;
use jiff::civil::Date;

use super::Holiday;
use crate::domain::staff::civil::Zone;

/// Years before and behind this one for which a yearly holiday is written out.
const YEARS: (i16, i16) = (1, 10);

/// Days of one event at the most.
const LASTS_MAX: usize = 366;

/// Holidays of one file at the most.
const DAYS_MAX: usize = 20_000;

/// What a file says.
#[derive(Clone, PartialEq, Debug)]
pub struct HolidayFile {
    /// As `X-WR-TIMEZONE` has it.
    pub zone: Option<Zone>,
    pub days: Vec<Holiday>,
}

/// A line that is not understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {detail}")]
pub struct BadLine {
    pub line: usize,
    pub detail: String,
}

/// A content line, unfolded, and where it begins.
struct Line {
    number: usize,
    name: String,
    parameters: Vec<String>,
    value: String,
}

/// An event while it is read.
#[derive(Default)]
struct Event {
    begun: usize,
    start: Option<Date>,
    /// The day behind the last one.
    end: Option<Date>,
    yearly: bool,
    cancelled: bool,
    name: String,
}

/// Reads the holidays of a calendar file. `today` says which years a yearly one is written out for.
///
/// # Errors
/// The first line that is not understood.
pub fn read(text: &str, today: Date) -> Result<HolidayFile, BadLine> {
    let (mut file, mut open) = (HolidayFile { zone: None, days: Vec::new() }, Vec::new());
    let mut event = Event::default();
    let mut complete = false;
    for line in lines(text)? {
        let bad = |detail: String| Err(BadLine { line: line.number, detail });
        match (line.name.as_str(), open.last().map(String::as_str)) {
            (_, None) if complete => {
                return bad("there is something behind the calendar".to_owned());
            }
            ("BEGIN", around) => {
                let inner = line.value.to_ascii_uppercase();
                match (around, inner.as_str()) {
                    (None, "VCALENDAR") | (Some("VCALENDAR" | "VTIMEZONE"), _) => {}
                    (Some("VEVENT"), "VALARM") => {}
                    _ => return bad(format!("`{inner}` cannot stand here")),
                }
                if around == Some("VCALENDAR") && !matches!(&*inner, "VEVENT" | "VTIMEZONE") {
                    return bad(format!("`{inner}` is no holiday: only VEVENT is read"));
                }
                if inner == "VEVENT" {
                    event = Event { begun: line.number, ..Event::default() };
                }
                open.push(inner);
            }
            ("END", Some(around)) => {
                if !around.eq_ignore_ascii_case(&line.value) {
                    return bad(format!("`{}` ends, and `{around}` is open", line.value));
                }
                if around == "VEVENT" {
                    write_out(&event, today, &mut file.days)?;
                }
                complete |= around == "VCALENDAR";
                open.pop();
            }
            ("X-WR-TIMEZONE", Some("VCALENDAR")) => match line.value.parse() {
                Ok(zone) => file.zone = Some(zone),
                Err(error) => return bad(format!("{error}")),
            },
            ("DTSTART", Some("VEVENT")) if event.start.is_some() => {
                return bad("there are two DTSTART".to_owned());
            }
            ("DTSTART", Some("VEVENT")) => event.start = Some(line.date()?),
            ("DTEND", Some("VEVENT")) => event.end = Some(line.date()?),
            ("SUMMARY", Some("VEVENT")) => event.name = line.text(),
            ("STATUS", Some("VEVENT")) => {
                event.cancelled = line.value.eq_ignore_ascii_case("CANCELLED");
            }
            ("RRULE", Some("VEVENT")) => {
                if !line.value.eq_ignore_ascii_case("FREQ=YEARLY") {
                    return bad("only `RRULE:FREQ=YEARLY` is understood".to_owned());
                }
                event.yearly = true;
            }
            ("RDATE" | "EXDATE" | "RECURRENCE-ID" | "DURATION" | "EXRULE", Some("VEVENT")) => {
                return bad(format!(
                    "`{}` is not understood: write an event of its own",
                    line.name
                ));
            }
            (_, None) => return bad("it has to begin with BEGIN:VCALENDAR".to_owned()),
            // what describes it changes no day
            _ => {}
        }
    }
    match complete && open.is_empty() {
        true => Ok(file),
        false => {
            let line = text.lines().count().max(1);
            Err(BadLine { line, detail: "END:VCALENDAR is missing".to_owned() })
        }
    }
}

fn write_out(event: &Event, today: Date, days: &mut Vec<Holiday>) -> Result<(), BadLine> {
    let bad = |detail: &str| BadLine { line: event.begun, detail: detail.to_owned() };
    let start = event.start.ok_or_else(|| bad("the event has no DTSTART"))?;
    let lasts = match event.end {
        None => 1,
        Some(end) => {
            let days = start.until(end).map_or(0, |span| span.get_days());
            usize::try_from(days).unwrap_or(0)
        }
    };
    if !(1..=LASTS_MAX).contains(&lasts) {
        return Err(bad("DTEND is the day behind the last one, at most a year after DTSTART"));
    }
    if event.cancelled {
        return Ok(());
    }
    let years = match event.yearly {
        false => vec![start.year()],
        true => {
            let (first, last) = (today.year() - YEARS.0, today.year() + YEARS.1);
            // one that begins later is there at least once
            (first.max(start.year())..=last.max(start.year())).collect()
        }
    };
    for year in years {
        // the 29th of February is not there in every year
        let Ok(first) = Date::new(year, start.month(), start.day()) else { continue };
        for n in 0..lasts {
            if days.len() >= DAYS_MAX {
                return Err(bad("these are too many days"));
            }
            let date = first.saturating_add((n as i64).days());
            days.push(Holiday { date, name: event.name.clone(), start: None, end: None });
        }
    }
    Ok(())
}

/// The content lines: what begins with a space or a tab goes on with the line before.
fn lines(text: &str) -> Result<Vec<Line>, BadLine> {
    let mut all: Vec<(usize, String)> = Vec::new();
    for (n, line) in text.trim_start_matches('\u{feff}').lines().enumerate() {
        let goes_on = line.strip_prefix([' ', '\t']);
        match (goes_on, all.last_mut()) {
            (Some(rest), Some((_, last))) => last.push_str(rest),
            _ if line.trim().is_empty() => {}
            _ => all.push((n + 1, line.to_owned())),
        }
    }
    let one = |(number, line): (usize, String)| {
        let bad = || BadLine { line: number, detail: "it is no `NAME:value`".to_owned() };
        // a colon in quotes belongs to a parameter
        let mut quoted = false;
        let colon = line.find(|c| {
            quoted ^= c == '"';
            c == ':' && !quoted
        });
        let (head, value) = line.split_at(colon.ok_or_else(bad)?);
        let value = &value[1..];
        let mut parts = head.split(';').map(str::to_ascii_uppercase);
        let name = parts.next().unwrap_or_default();
        let parameters = parts.collect();
        Ok(Line { number, name, parameters, value: value.to_owned() })
    };
    all.into_iter().map(one).collect()
}

impl Line {
    fn date(&self) -> Result<Date, BadLine> {
        let bad = |detail: String| BadLine { line: self.number, detail };
        let is_date = self.parameters.iter().any(|parameter| parameter == "VALUE=DATE");
        if !is_date && self.value.len() != 8 {
            let detail =
                format!("`{}` has a time: only whole days (VALUE=DATE) are read", self.name);
            return Err(bad(detail));
        }
        Date::strptime("%Y%m%d", &self.value)
            .map_err(|_| bad(format!("`{}` is no date such as 20261225", self.value)))
    }

    /// A text without its escapes, on one line.
    fn text(&self) -> String {
        let (mut out, mut escaped) = (String::new(), false);
        for c in self.value.chars() {
            match (escaped, c) {
                (false, '\\') => escaped = true,
                (true, 'n' | 'N') => {
                    out.push(' ');
                    escaped = false;
                }
                (_, c) => {
                    out.push(if c.is_control() { ' ' } else { c });
                    escaped = false;
                }
            }
        }
        out.chars().take(200).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_at(text: &str) -> Result<HolidayFile, BadLine> {
        read(text, jiff::civil::date(2026, 11, 28))
    }

    #[test]
    fn days_once_and_every_year() {
        let file = "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nX-WR-TIMEZONE:Europe/Berlin\r\n\
            BEGIN:VEVENT\r\nUID:1\r\nDTSTART;VALUE=DATE:20261224\r\nDTEND;VALUE=DATE:20261227\r\n\
            SUMMARY:Weihnachten\\, \r\n drei Tage\r\nEND:VEVENT\r\n\
            BEGIN:VEVENT\r\nDTSTART;VALUE=DATE:20100501\r\nRRULE:FREQ=YEARLY\r\nSUMMARY:1. Mai\r\n\
            END:VEVENT\r\nEND:VCALENDAR\r\n";
        let HolidayFile { zone, days } = read_at(file).unwrap();
        assert_eq!(zone.unwrap().to_string(), "Europe/Berlin");
        let of = |name: &str| -> Vec<String> {
            let named = days.iter().filter(|day| day.name == name);
            named.map(|day| day.date.to_string()).collect()
        };
        assert_eq!(of("Weihnachten, drei Tage"), ["2026-12-24", "2026-12-25", "2026-12-26"]);
        let odd = "BEGIN:VCALENDAR\nBEGIN:VEVENT\nDTSTART;VALUE=DATE:99991231\nRRULE:FREQ=YEARLY\n\
            SUMMARY;ALTREP=\"http://x\":Late\nEND:VEVENT\nBEGIN:VEVENT\nDTSTART:20270101\nSTATUS:CANCELLED\n\
            END:VEVENT\nEND:VCALENDAR\n";
        let odd = read_at(odd).unwrap().days;
        assert_eq!((odd.len(), &*odd[0].name, odd[0].date.year()), (1, "Late", 9999));
        let may = of("1. Mai");
        assert_eq!((may.len(), &*may[0], &*may[11]), (12, "2025-05-01", "2036-05-01"));
    }

    #[test]
    fn what_is_not_understood_is_refused_with_its_line() {
        let event = |inner: &str| {
            format!("BEGIN:VCALENDAR\nBEGIN:VEVENT\n{inner}\nEND:VEVENT\nEND:VCALENDAR\n")
        };
        for (text, line, expected) in [
            (String::new(), 1, "END:VCALENDAR"),
            ("nonsense\n".into(), 1, "NAME:value"),
            ("VERSION:2.0\n".into(), 1, "BEGIN:VCALENDAR"),
            (event("DTSTART:20261224T100000Z"), 3, "has a time"),
            (event("DTSTART;VALUE=DATE:20261324"), 3, "no date"),
            (event("DTSTART;VALUE=DATE:20261224\nRRULE:FREQ=YEARLY;BYMONTH=5"), 4, "FREQ=YEARLY"),
            (event("DTSTART;VALUE=DATE:20261224\nEXDATE:20271224"), 4, "EXDATE"),
            (event("SUMMARY:x"), 2, "no DTSTART"),
            (event("DTSTART;X=\":"), 3, "NAME:value"),
            (event("DTSTART;VALUE=DATE:20261224\nDTEND;VALUE=DATE:20261224"), 2, "DTEND"),
            ("BEGIN:VCALENDAR\nBEGIN:VTODO\n".into(), 2, "VTODO"),
            ("BEGIN:VCALENDAR\nEND:VEVENT\n".into(), 2, "is open"),
        ] {
            let bad = read_at(&text).unwrap_err();
            assert!(bad.line == line && bad.detail.contains(expected), "{text}: {bad}");
        }
    }
}
