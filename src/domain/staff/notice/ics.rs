//! Calendar files (RFC 5545), as mails carry them and feeds serve them. Times are in UTC, so that no reader
//! needs our zones.

use std::fmt::Write as _;

use crate::domain::time::Timestamp;

/// Octets of a line at the most.
const LINE: usize = 75;

/// An appointment in a calendar file.
#[derive(Clone, PartialEq, Debug)]
pub struct Entry {
    /// Never changes for the same appointment.
    pub uid: String,
    /// Rises with every change.
    pub sequence: u32,
    pub start: Timestamp,
    pub end: Timestamp,
    pub summary: String,
    pub description: String,
    pub off: bool,
}

/// A calendar file: what it says replaces what its reader has under the same UID with a lower SEQUENCE. One
/// that is sent has somebody who sends it.
pub fn file(entries: &[Entry], sender: Option<&str>, now: Timestamp) -> String {
    let mut out = String::new();
    let mut line = |name: &str, value: &str| fold(&mut out, &format!("{name}:{value}"));
    line("BEGIN", "VCALENDAR");
    line("VERSION", "2.0");
    line("PRODID", "-//Caseworker//EN");
    if sender.is_some() {
        // nobody is asked whether it suits them: the time is booked
        line("METHOD", "PUBLISH");
    }
    for entry in entries {
        line("BEGIN", "VEVENT");
        line("UID", &text(&entry.uid));
        line("SEQUENCE", &entry.sequence.to_string());
        line("DTSTAMP", &utc(now));
        if let Some(sender) = sender {
            line("ORGANIZER", &format!("mailto:{sender}"));
        }
        line("DTSTART", &utc(entry.start));
        line("DTEND", &utc(entry.end));
        line("SUMMARY", &text(&entry.summary));
        line("DESCRIPTION", &text(&entry.description));
        line("STATUS", if entry.off { "CANCELLED" } else { "CONFIRMED" });
        line("END", "VEVENT");
    }
    line("END", "VCALENDAR");
    out
}

fn utc(at: Timestamp) -> String {
    at.jiff().strftime("%Y%m%dT%H%M%SZ").to_string()
}

/// A text whose characters end nothing.
fn text(plain: &str) -> String {
    let mut out = String::with_capacity(plain.len());
    for c in plain.chars() {
        match c {
            '\\' | ';' | ',' => {
                let _ = write!(out, "\\{c}");
            }
            '\n' => out.push_str("\\n"),
            c if c.is_control() => {}
            c => out.push(c),
        }
    }
    out
}

/// A line, cut where it is too long: what follows a line break and a space belongs to it.
fn fold(out: &mut String, line: &str) {
    let mut room = LINE;
    for c in line.chars() {
        if c.len_utf8() > room {
            out.push_str("\r\n ");
            room = LINE - 1;
        }
        room -= c.len_utf8();
        out.push(c);
    }
    out.push_str("\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_ends_a_line_or_a_file() {
        let entry = Entry {
            uid: "book_1@example.com".into(),
            sequence: 4,
            start: Timestamp(1_700_000_000_000),
            end: Timestamp(1_700_003_600_000),
            summary: format!("Größe; \r\nEND:VEVENT {}", "ä".repeat(5_000)),
            description: "a\\b, c".into(),
            off: false,
        };
        let file = file(&[entry], Some("desk@example.com"), Timestamp(0));
        assert!(file.contains("\r\nORGANIZER:mailto:desk@example.com\r\n"), "{file}");
        assert!(file.contains("\r\nUID:book_1@example.com\r\nSEQUENCE:4\r\n"), "{file}");
        assert!(file.contains("\r\nDTSTART:20231114T221320Z\r\nDTEND:20231114T231320Z\r\n"));
        assert!(file.contains("\r\nDESCRIPTION:a\\\\b\\, c\r\n"), "{file}");
        assert!(file.lines().all(|line| line.len() <= LINE), "{file}");
        assert_eq!(file.matches("\nEND:VEVENT\r\n").count(), 1);
        let unfolded = file.replace("\r\n ", "");
        assert!(unfolded.contains("SUMMARY:Größe\\; \\nEND:VEVENT ää"), "{unfolded}");
    }
}
