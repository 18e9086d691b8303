//! `staff.toml`: the first roster, how work is given to people, and the catalogue of tasks.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Deserialize;
use toml::Spanned;

use super::ConfigError;
use super::place::{line_and_column, read};
use super::values::{Span, Text};
use crate::clock::Clock;
use crate::domain::ids::CsrId;
use crate::domain::staff::business::Business;
use crate::domain::staff::catalogue::{Catalogue, TaskType, Template};
use crate::domain::staff::civil::{Hours, Zone};
use crate::domain::staff::holidays::{Holiday, HolidayCalendar, ics};
use crate::domain::staff::plan::wanted::Wanted;
use crate::domain::staff::profile::{Profile, is_address};
use crate::domain::staff::settings::Settings;
use crate::domain::time::DAY;

/// What the file says.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Roster {
    pub settings: Settings,
    /// CSRs that are added where they do not exist yet.
    pub csrs: Vec<(CsrId, Profile)>,
    pub calendars: Vec<HolidayCalendar>,
    pub catalogue: Catalogue,
    /// What looks like a slip.
    pub warnings: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct File {
    business: Option<BusinessSection>,
    staff: StaffSection,
    csrs: Vec<Spanned<toml::Table>>,
    calendars: Vec<Spanned<CalendarEntry>>,
    tasks: Vec<Spanned<TaskType>>,
    templates: Vec<Template>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct BusinessSection {
    time_zone: Zone,
    hours: Vec<Hours>,
    #[serde(default)]
    holidays: Option<String>,
}

/// A holiday calendar: its days, or a calendar file beside this one.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct CalendarEntry {
    name: String,
    time_zone: Option<Zone>,
    #[serde(default)]
    days: Vec<Holiday>,
    file: Option<PathBuf>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct StaffSection {
    notice: Option<Span>,
    grid: Option<Span>,
    horizon: Option<Span>,
    tolerance: Option<Span>,
    patience: Option<Span>,
    lead: Option<Text>,
}

impl Roster {
    /// Reads a file; without one there is nobody.
    ///
    /// # Errors
    /// What is wrong, each with its key, file and line.
    pub fn load(file: Option<&Path>) -> Result<Self, ConfigError> {
        let Some(file) = file else { return Ok(Self::default()) };
        let text = std::fs::read_to_string(file)
            .map_err(|error| ConfigError::new(file.display(), error))?;
        Self::parse(&text, &file.display().to_string())
    }

    /// Reads a file's text.
    ///
    /// # Errors
    /// What is wrong, each with its key, file and line.
    pub fn parse(text: &str, file: &str) -> Result<Self, ConfigError> {
        let read: File = read(text, file)?;
        let mut errors = Vec::new();
        let mut fault = |byte: usize, detail: String| {
            let (line, column) = line_and_column(text, byte);
            errors.push(ConfigError::new(format!("{file}:{line}:{column}"), detail));
        };
        let mut calendars: Vec<HolidayCalendar> = Vec::new();
        for entry in read.calendars {
            let place = entry.span().start;
            match calendar(entry.into_inner(), Path::new(file)) {
                Ok(one) if calendars.iter().any(|known| known.name == one.name) => {
                    fault(place, format!("calendars: there are two of the name `{}`", one.name));
                }
                Ok(one) => calendars.push(one),
                Err(detail) => fault(place, detail),
            }
        }
        let mut csrs: Vec<(CsrId, Profile)> = Vec::new();
        for entry in read.csrs {
            let place = entry.span().start;
            match csr(entry.into_inner(), &calendars) {
                Ok((id, _)) if csrs.iter().any(|(known, _)| *known == id) => {
                    fault(place, format!("csrs: there are two of the id `{id}`"));
                }
                Ok(csr) => csrs.push(csr),
                Err(details) => details.into_iter().for_each(|detail| fault(place, detail)),
            }
        }
        for task in &read.tasks {
            let wanted = Wanted {
                skill: task.get_ref().skill.clone(),
                minutes: task.get_ref().minutes,
                title: Some(task.get_ref().name.clone()),
                not_before: None,
                due: task.get_ref().due.clone(),
                gap_minutes: 0,
                buffer_minutes: 0,
                instructions: task.get_ref().instructions.clone(),
                form: task.get_ref().form.clone(),
            };
            if let Err(wrong) = wanted.check() {
                fault(task.span().start, format!("tasks: `{}`: {wrong}", task.get_ref().name));
            }
        }
        let settings = settings(read.business, read.staff, &calendars);
        let settings = settings.map_err(|detail| ConfigError::new(file, detail))?;
        let mut errors = errors.into_iter();
        if let Some(first) = errors.next() {
            return Err(ConfigError { others: errors.collect(), ..first });
        }
        let tasks = read.tasks.into_iter().map(Spanned::into_inner).collect();
        let catalogue = Catalogue { tasks, templates: read.templates };
        let warnings = warnings(&catalogue, &csrs);
        Ok(Self { settings, csrs, calendars, catalogue, warnings })
    }
}

/// One entry of `[[calendars]]` in a staff file.
fn calendar(entry: CalendarEntry, staff: &Path) -> Result<HolidayCalendar, String> {
    let CalendarEntry { name, time_zone, days, file } = entry;
    let wrong = |detail: String| format!("calendars: `{name}`: {detail}");
    let (zone, days) = match file {
        None => (time_zone, days),
        Some(_) if !days.is_empty() => {
            return Err(wrong("`days` or a `file`, not both".to_owned()));
        }
        Some(file) => {
            let file = staff.parent().unwrap_or(Path::new("")).join(file);
            let failed =
                |error: &dyn std::fmt::Display| wrong(format!("file: {}: {error}", file.display()));
            let text = std::fs::read_to_string(&file).map_err(|error| failed(&error))?;
            let utc: Zone = "UTC".parse().expect("it is built in");
            let today = utc.local(Clock::engine().wall()).date();
            let read = ics::read(&text, today).map_err(|error| failed(&error))?;
            (time_zone.or(read.zone), read.days)
        }
    };
    let zone = zone.ok_or_else(|| wrong("`timeZone` is missing".to_owned()))?;
    let calendar = HolidayCalendar { name: name.clone(), zone, days };
    match calendar.check() {
        Ok(()) => Ok(calendar),
        Err((pointer, detail)) => Err(wrong(format!("{pointer}: {detail}"))),
    }
}

/// One entry of `[[csrs]]`.
fn csr(
    mut entry: toml::Table,
    calendars: &[HolidayCalendar],
) -> Result<(CsrId, Profile), Vec<String>> {
    let id = entry.remove("id");
    let id = id.as_ref().and_then(|id| id.as_str()).unwrap_or_default().to_owned();
    let named = |detail: String| vec![format!("csrs: `{id}`: {detail}")];
    let parsed: CsrId = id.parse().map_err(|error| named(format!("{error}")))?;
    let mut profile: Profile =
        entry.try_into().map_err(|error: toml::de::Error| named(error.message().to_owned()))?;
    profile.name_spans();
    let violations = profile.violations();
    if !violations.is_empty() {
        let say = |one: &crate::domain::workflow::schema::Violation| {
            format!("csrs: `{id}`: {}: {}", one.pointer, one.detail)
        };
        return Err(violations.iter().map(say).collect());
    }
    if let Some(name) = &profile.holidays
        && !calendars.iter().any(|calendar| calendar.name == **name)
    {
        return Err(named(format!("holidays: no calendar of the file is called `{name}`")));
    }
    Ok((parsed, profile))
}

fn settings(
    business: Option<BusinessSection>,
    staff: StaffSection,
    calendars: &[HolidayCalendar],
) -> Result<Settings, String> {
    let default = Settings::default();
    let business = match business {
        None => default.business,
        Some(BusinessSection { time_zone: zone, hours, holidays }) => {
            let known = |name: &String| calendars.iter().find(|one| one.name == *name).cloned();
            let holidays = match &holidays {
                None => None,
                Some(name) => Some(known(name).ok_or_else(|| {
                    format!("business.holidays: no calendar of the file is called `{name}`")
                })?),
            };
            Business { zone, hours, holidays }
        }
    };
    let span = |given: Option<Span>, default: i64| given.map_or(default, |span| span.0);
    let horizon = span(staff.horizon, default.horizon);
    if !(DAY..=366 * DAY).contains(&horizon) {
        return Err("staff.horizon: 1d to 366d".to_owned());
    }
    let lead = staff.lead.map(|lead| lead.0);
    if lead.as_deref().is_some_and(|lead| !is_address(lead)) {
        return Err("staff.lead: an address such as lead@example.com".to_owned());
    }
    let patience = staff.patience.map(|patience| patience.0 / DAY);
    Ok(Settings {
        business,
        notice: span(staff.notice, default.notice),
        grid: span(staff.grid, default.grid).max(60_000),
        horizon,
        tolerance: span(staff.tolerance, default.tolerance),
        patience: patience.map_or(default.patience, |days| usize::try_from(days).unwrap_or(0)),
        lead,
    })
}

/// A skill that nobody has, and a template that names an unknown task.
fn warnings(catalogue: &Catalogue, csrs: &[(CsrId, Profile)]) -> Vec<String> {
    let skills: BTreeSet<&Arc<str>> = csrs.iter().flat_map(|(_, csr)| &csr.skills).collect();
    let tasks = catalogue.tasks.iter().filter(|task| !skills.contains(&task.skill));
    let unskilled = tasks.map(|task| {
        format!(
            "the task `{}` needs the skill `{}`, which no CSR of the file has",
            task.name, task.skill
        )
    });
    let known = |name: &Arc<str>| catalogue.tasks.iter().any(|task| task.name == *name);
    let unknown = catalogue.templates.iter().flat_map(|template| {
        let missing = template.tasks.iter().filter(|name| !known(name));
        missing.map(|name| format!("the template `{}` names no task: `{name}`", template.name))
    });
    unskilled.chain(unknown).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHIPPED: &str = include_str!("../../config/staff.toml");

    #[test]
    fn the_shipped_file_has_no_faults_and_no_warnings() {
        let roster = Roster::parse(SHIPPED, "staff.toml").unwrap();
        assert_eq!((roster.csrs.len(), roster.warnings.len()), (4, 0), "{:?}", roster.warnings);
        assert!(!roster.catalogue.templates.is_empty());
    }

    #[test]
    fn a_calendar_may_lie_in_a_file_beside_this_one() {
        let folder = tempfile::tempdir().unwrap();
        let event = "BEGIN:VEVENT\nDTSTART;VALUE=DATE:20261225\nSUMMARY:Christmas\nEND:VEVENT\n";
        let file = format!("BEGIN:VCALENDAR\n{event}END:VCALENDAR\n");
        std::fs::write(folder.path().join("berlin.ics"), file).unwrap();
        let staff = folder.path().join("staff.toml");
        let read = |text: &str| Roster::parse(text, staff.to_str().unwrap());
        let entry = "[[calendars]]\nname = \"berlin\"\ntimeZone = \"Europe/Berlin\"\nfile = \"berlin.ics\"\n";
        assert_eq!(read(entry).unwrap().calendars[0].days[0].name, "Christmas");
        let zone = entry.replace("timeZone = \"Europe/Berlin\"\n", "");
        assert!(read(&zone).unwrap_err().to_string().contains("`timeZone` is missing"));
        std::fs::write(folder.path().join("berlin.ics"), "BEGIN:VCALENDAR\nEND:VEVENT\n").unwrap();
        let said = read(entry).unwrap_err().to_string();
        assert!(said.contains("staff.toml:1") && said.contains("berlin.ics: line 2"), "{said}");
    }

    #[test]
    fn all_faults_are_told_at_once_with_their_lines() {
        let wrong = "[[csrs]]\nid = \"Mia\"\n\n[[csrs]]\nid = \"ben\"\nname = \"Ben\"\nemail = \"x\"\n\
            timeZone = \"Europe/Berlin\"\nskills = [\"No\"]\n\n[[tasks]]\nname = \"a\"\nskill = \"id\"\nminutes = 0\n";
        let error = Roster::parse(wrong, "staff.toml").unwrap_err().to_string();
        for part in
            ["staff.toml:1", "staff.toml:4", "/email", "/skills/0", "staff.toml:11", "/minutes"]
        {
            assert!(error.contains(part), "{part} in {error}");
        }
        let zone = "[business]\ntimeZone = \"Europe/Atlantis\"\nhours = []\n";
        let error = Roster::parse(zone, "staff.toml").unwrap_err().to_string();
        assert!(error.contains("staff.toml:2") && error.contains("Atlantis"), "{error}");
        let slips = "[[tasks]]\nname = \"a\"\nskill = \"id\"\nminutes = 5\n[[templates]]\nname = \"t\"\ntasks = [\"b\"]\n";
        assert_eq!(Roster::parse(slips, "staff.toml").unwrap().warnings.len(), 2);
    }
}
