//! The roster as a table for spreadsheets: `caseworker csrs export`, `caseworker csrs import <file>`.
//!
//! A row is a CSR. Absences, extra hours and dates of skills have no column: an import leaves them as they
//! are. Nothing is changed before all rows are right.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Map, Value as Json, json};

use super::Exit;
use super::client::{Failure, Remote};
use crate::domain::ids::CsrId;

/// The columns, in this order.
const COLUMNS: [&str; 14] = [
    "id",
    "name",
    "email",
    "timeZone",
    "language",
    "user",
    "skills",
    "hours",
    "holidays",
    "maxMinutesPerDay",
    "maxOpen",
    "from",
    "until",
    "paused",
];

const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];

/// Writes all CSRs to standard output.
///
/// # Errors
/// When they cannot be read.
pub async fn export(remote: &Remote) -> Result<Exit, Failure> {
    let (csrs, _) = remote.some("/v1/csrs?", usize::MAX).await?;
    let failed = |error: csv::Error| Failure::new(Exit::Failed, error.to_string());
    let mut out = csv::Writer::from_writer(std::io::stdout());
    out.write_record(COLUMNS).map_err(failed)?;
    for csr in &csrs {
        out.write_record(COLUMNS.map(|column| plain(&cell(csr, column)))).map_err(failed)?;
    }
    out.flush().map_err(|error| Failure::new(Exit::Failed, error.to_string()))?;
    Ok(Exit::Ok)
}

/// Adds and changes the CSRs of a file.
///
/// # Errors
/// Everything that is wrong, each with its line; nothing is changed then.
pub async fn import(remote: &Remote, file: &Path, dry_run: bool) -> Result<Exit, Failure> {
    let text = std::fs::read_to_string(file);
    let text = text.map_err(|e| Failure::new(Exit::Failed, format!("{}: {e}", file.display())))?;
    let (known, _) = remote.some("/v1/csrs?", usize::MAX).await?;
    let known: BTreeMap<&str, &Json> =
        known.iter().filter_map(|csr| Some((csr["id"].as_str()?, csr))).collect();
    let (rows, mut faults) = rows(&text, &known);
    for (line, id, csr) in &rows {
        // the server alone knows calendars, and what it takes
        let path = format!("/v1/csrs/{id}?dryRun=true");
        let request = remote.request(reqwest::Method::PUT, &path).json(csr);
        if let Err(failure) = remote.send(request).await {
            faults.push((*line, format!("`{id}`: {}", failure.message)));
        }
    }
    if !faults.is_empty() {
        faults.sort();
        let all: Vec<String> = faults
            .iter()
            .map(|(line, detail)| format!("{}:{line}: {detail}", file.display()))
            .collect();
        return Err(Failure::new(Exit::Failed, all.join("\n")));
    }
    let (mut added, mut changed, mut same) = (0, 0, 0);
    for (_, id, csr) in &rows {
        match known.get(id.as_str()) {
            None => added += 1,
            Some(before) if COLUMNS.iter().all(|c| cell(before, c) == cell(csr, c)) => {
                same += 1;
                continue;
            }
            Some(_) => changed += 1,
        }
        if !dry_run {
            let request = remote.request(reqwest::Method::PUT, &format!("/v1/csrs/{id}")).json(csr);
            if let Err(failure) = remote.send(request).await {
                let stored = added + changed - 1;
                let message =
                    format!("`{id}`: {}; {stored} were stored before it", failure.message);
                return Err(Failure::new(Exit::PartlyDone, message));
            }
        }
    }
    let would = if dry_run { "would be " } else { "" };
    println!("{added} {would}added, {changed} {would}changed, {same} are as they were");
    Ok(Exit::Ok)
}

/// A CSR of a row, and the line that it stands in.
type Row = (u64, String, Json);

/// The rows of a file as CSRs, and what is wrong, each with its line.
fn rows(text: &str, known: &BTreeMap<&str, &Json>) -> (Vec<Row>, Vec<(u64, String)>) {
    let (mut rows, mut faults): (Vec<Row>, Vec<(u64, String)>) = (Vec::new(), Vec::new());
    let mut reader = csv::ReaderBuilder::new()
        .trim(csv::Trim::All)
        .from_reader(text.trim_start_matches('\u{feff}').as_bytes());
    let head = match reader.headers() {
        Ok(head) => head.clone(),
        Err(error) => return (rows, vec![(1, error.to_string())]),
    };
    let wrong: Vec<&str> = head.iter().filter(|name| !COLUMNS.contains(name)).collect();
    let twice =
        head.iter().enumerate().find(|(n, name)| head.iter().take(*n).any(|other| other == *name));
    if let Some((_, name)) = twice {
        return (rows, vec![(1, format!("there are two columns `{name}`"))]);
    }
    if !wrong.is_empty() || !head.iter().any(|name| name == "id") {
        let detail = match wrong.first() {
            Some(name) => format!("there is no column `{name}`: {}", COLUMNS.join(", ")),
            None => "the column `id` is missing".to_owned(),
        };
        return (rows, vec![(1, detail)]);
    }
    for record in reader.records() {
        let record = match record {
            Ok(record) => record,
            Err(error) => {
                let line = error.position().map_or(0, csv::Position::line);
                faults.push((line, error.to_string()));
                continue;
            }
        };
        let line = record.position().map_or(0, csv::Position::line);
        let cells: BTreeMap<&str, &str> = head.iter().zip(record.iter()).collect();
        let id = cells.get("id").copied().unwrap_or_default().to_owned();
        if let Err(error) = id.parse::<CsrId>() {
            faults.push((line, format!("id: {error}")));
            continue;
        }
        if rows.iter().any(|(_, other, _)| *other == id) {
            faults.push((line, format!("there are two of the id `{id}`")));
        }
        match csr(&cells, known.get(id.as_str()).copied()) {
            Ok(csr) => rows.push((line, id, csr)),
            Err(detail) => faults.push((line, format!("`{id}`: {detail}"))),
        }
    }
    (rows, faults)
}

/// The CSR of a row, over what is known of them.
fn csr(cells: &BTreeMap<&str, &str>, known: Option<&Json>) -> Result<Json, String> {
    let mut fields = known.and_then(Json::as_object).cloned().unwrap_or_else(Map::new);
    for told in ["state", "load", "revision"] {
        fields.remove(told);
    }
    for (column, text) in cells {
        let text = &unplain(text);
        let value = match *column {
            "id" => continue,
            "skills" => json!(text.split_whitespace().collect::<Vec<_>>()),
            "hours" => Json::Array(hours(text)?),
            "paused" => json!(match *text {
                "" | "false" => false,
                "true" => true,
                other => return Err(format!("paused: `{other}` is neither true nor false")),
            }),
            _ if text.is_empty() => Json::Null,
            "maxMinutesPerDay" | "maxOpen" => {
                let number: Result<u32, _> = text.parse();
                json!(number.map_err(|_| format!("{column}: `{text}` is no number"))?)
            }
            _ => json!(text),
        };
        match value.is_null() {
            true => drop(fields.remove(*column)),
            false => drop(fields.insert((*column).to_owned(), value)),
        }
    }
    Ok(Json::Object(fields))
}

/// What a spreadsheet would take for a formula.
const FORMULA: [char; 7] = ['=', '+', '-', '@', '\t', '\r', '\''];

/// A cell that no spreadsheet takes for a formula.
fn plain(text: &str) -> String {
    match text.starts_with(FORMULA) {
        true => format!("'{text}"),
        false => text.to_owned(),
    }
}

/// The same back.
fn unplain(text: &str) -> &str {
    text.strip_prefix('\'').filter(|rest| rest.starts_with(FORMULA)).unwrap_or(text)
}

/// A cell of a CSR.
fn cell(csr: &Json, column: &str) -> String {
    match &csr[column] {
        Json::Null => String::new(),
        Json::String(text) => text.clone(),
        Json::Array(all) if column == "hours" => hours_text(all),
        Json::Array(all) => all.iter().filter_map(Json::as_str).collect::<Vec<_>>().join(" "),
        Json::Bool(false) => String::new(),
        other => other.to_string(),
    }
}

/// Hours as people write them: `mon-thu 09:00-17:00; fri 09:00-14:00`.
fn hours(text: &str) -> Result<Vec<Json>, String> {
    let mut all = Vec::new();
    for part in text.split(';').map(str::trim).filter(|part| !part.is_empty()) {
        let wrong = || format!("hours: `{part}` is not like `mon-fri 09:00-17:00`");
        let (days, times) = part.split_once(' ').ok_or_else(wrong)?;
        let (start, end) = times.trim().split_once('-').ok_or_else(wrong)?;
        let (first, last) = days.split_once('-').unwrap_or((days, days));
        let day = |name: &str| DAYS.iter().position(|day| *day == name).ok_or_else(wrong);
        let (first, last) = (day(first)?, day(last)?);
        if last < first {
            return Err(wrong());
        }
        let one = |day: &&str| json!({"day": day, "start": start.trim(), "end": end.trim()});
        all.extend(DAYS[first..=last].iter().map(one));
    }
    Ok(all)
}

/// The same back: days in a row with the same times are one part.
fn hours_text(all: &[Json]) -> String {
    let mut parts: Vec<(usize, usize, String)> = Vec::new();
    for one in all {
        let Some(day) = DAYS.iter().position(|day| one["day"] == *day) else { continue };
        let text = |name: &str| one[name].as_str().unwrap_or_default().to_owned();
        let times = format!("{}-{}", text("start"), text("end"));
        match parts.last_mut().filter(|(_, last, known)| *last + 1 == day && *known == times) {
            Some((_, last, _)) => *last = day,
            None => parts.push((day, day, times)),
        }
    }
    let part = |(first, last, times): &(usize, usize, String)| match first == last {
        true => format!("{} {times}", DAYS[*first]),
        false => format!("{}-{} {times}", DAYS[*first], DAYS[*last]),
    };
    parts.iter().map(part).collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hours_come_back_as_they_were_written() {
        for text in ["mon-thu 09:00-17:00; fri 09:00-14:00", "mon 08:00-12:00; mon 13:00-17:00", ""]
        {
            assert_eq!(hours_text(&hours(text).unwrap()), text);
        }
        for wrong in ["mon", "mon 9", "fri-mon 09:00-17:00", "day 09:00-17:00"] {
            assert!(hours(wrong).unwrap_err().contains(wrong), "{wrong}");
        }
    }

    #[test]
    fn a_row_lies_over_what_is_known_and_faults_have_their_lines() {
        let known = json!({"id": "ann", "name": "Ann", "timeOff": [{"id": "x"}], "maxOpen": 3,
            "state": "active", "skills": ["a"]});
        let known = BTreeMap::from([("ann", &known)]);
        let text = "id,name,skills,maxOpen\nann,Ann B,a b,\nben,Ben,,x\nann,Ann,,\n";
        let (rows, faults) = rows(text, &known);
        let ann = &rows[0].2;
        assert_eq!((&ann["name"], &ann["skills"]), (&json!("Ann B"), &json!(["a", "b"])));
        assert!(
            ann["timeOff"].is_array() && ann.get("maxOpen").is_none() && ann.get("state").is_none()
        );
        let lines: Vec<u64> = faults.iter().map(|(line, _)| *line).collect();
        assert_eq!(lines, [3, 4], "{faults:?}");
        let (_, faults) = super::rows("id,shoe size\n", &known);
        assert!(faults[0].1.contains("shoe size"), "{faults:?}");
    }
}
