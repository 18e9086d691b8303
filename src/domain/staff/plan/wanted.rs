//! What a definition asks of people: the arguments of `book` and `perform`, checked.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use crate::domain::data::Data;
use crate::domain::ids::PlanId;
use crate::domain::staff::business::Business;
use crate::domain::staff::civil::{Hours, Zone};
use crate::domain::staff::csr::MINUTE;
use crate::domain::staff::csr::fit::Contact;
use crate::domain::staff::profile::{is_address, is_word};
use crate::domain::time::{Duration, Timestamp};
use crate::domain::workflow::expr::json::size_of;
use crate::domain::workflow::schema::Schema;

/// Tasks of one plan at the most.
pub const TASKS_MAX: usize = 200;

/// Minutes of one task, its gap and its buffer, each, at the most.
const MINUTES_MAX: u32 = 24 * 60;

/// Bytes of a language tag.
const LANGUAGE_MAX: usize = 35;

/// Characters of a customer's name: whatever a form took for one.
const NAME_MAX: usize = 20_000;

/// Characters of a title and of instructions.
const TITLE_MAX: usize = 200;
const INSTRUCTIONS_MAX: usize = 10_000;

/// Bytes of a form.
const FORM_MAX: usize = 16 * 1024;

/// Spans of contact hours.
const CONTACT_MAX: usize = 64;

/// Business hours and days until something is due.
const DUE_MAX: u32 = 20_000;

/// A task for a person.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Wanted {
    pub skill: Arc<str>,
    pub minutes: u32,
    #[serde(alias = "name", skip_serializing_if = "Option::is_none", default)]
    pub title: Option<Arc<str>>,
    #[serde(with = "rfc3339", skip_serializing_if = "Option::is_none", default)]
    pub not_before: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub due: Option<Due>,
    #[serde(skip_serializing_if = "is_zero", default)]
    pub gap_minutes: u32,
    #[serde(skip_serializing_if = "is_zero", default)]
    pub buffer_minutes: u32,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub instructions: Option<Arc<str>>,
    /// A JSON Schema of the outcome.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub form: Option<Data>,
}

fn is_zero(minutes: &u32) -> bool {
    *minutes == 0
}

/// Instants as texts, where there may be none.
mod rfc3339 {
    use serde::de::Error as _;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use crate::domain::time::Timestamp;

    pub fn serialize<S: Serializer>(at: &Option<Timestamp>, to: S) -> Result<S::Ok, S::Error> {
        at.map(|at| at.to_string()).serialize(to)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Timestamp>, D::Error> {
        let text = Option::<String>::deserialize(from)?;
        text.map(|text| text.parse().map_err(D::Error::custom)).transpose()
    }
}

/// When a task has to be done.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Due {
    /// A time, or an ISO 8601 duration.
    Text(String),
    #[serde(rename_all = "camelCase")]
    Hours { business_hours: u32 },
    #[serde(rename_all = "camelCase")]
    Days { business_days: u32 },
}

impl Due {
    /// Whether it says when, not how long.
    pub fn is_a_time(&self) -> bool {
        matches!(self, Self::Text(text) if text.parse::<Timestamp>().is_ok())
    }

    /// The instant that is meant, from a moment on; none: what is said cannot be understood.
    pub fn at(&self, from: Timestamp, business: &Business) -> Option<Timestamp> {
        match self {
            Self::Text(text) => match text.parse::<Timestamp>() {
                Ok(at) => Some(at),
                Err(_) => text.parse::<Duration>().ok().map(|span| span.after(from)),
            },
            Self::Hours { business_hours: count } | Self::Days { business_days: count }
                if *count > DUE_MAX =>
            {
                None
            }
            Self::Hours { business_hours } => {
                business.after(from, i64::from(*business_hours) * 60 * MINUTE)
            }
            Self::Days { business_days } => business.days_after(from, *business_days as usize),
        }
    }
}

/// Whom the tasks are for.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Customer {
    pub name: String,
    pub email: String,
    #[serde(rename = "timeZone")]
    pub zone: Zone,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub language: Option<String>,
}

impl Customer {
    /// What is wrong with what is said of a customer, and where.
    ///
    /// # Errors
    /// The first thing.
    pub fn check(&self) -> Result<(), (&'static str, String)> {
        if self.name.chars().count() > NAME_MAX {
            return Err(("/customer/name", format!("at most {NAME_MAX} characters")));
        }
        if !is_address(&self.email) {
            return Err(("/customer/email", "an address such as ada@example.com".to_owned()));
        }
        // one that is not known is written to in the default one
        if self.language.as_ref().is_some_and(|language| language.len() > LANGUAGE_MAX) {
            return Err(("/customer/language", "a language tag such as de or en-GB".to_owned()));
        }
        Ok(())
    }
}

/// Who should have the tasks, other things being nearly equal.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Sticky {
    #[default]
    None,
    /// Whoever has others of the case.
    Case,
    /// Whoever was last booked for the customer.
    Customer,
}

/// The arguments of `book`.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Booked {
    pub tasks: Vec<Arc<Wanted>>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub customer: Option<Customer>,
    /// The zone of the contact hours, where it is not the customer's.
    #[serde(rename = "timeZone", skip_serializing_if = "Option::is_none", default)]
    pub zone: Option<Zone>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub contact_hours: Option<Arc<[Hours]>>,
    #[serde(default)]
    pub sticky: Sticky,
}

/// What goes for all tasks of a list, as it may also stand beside a single one.
const OF_ALL: [&str; 4] = ["customer", "timeZone", "contactHours", "sticky"];

impl Booked {
    /// Reads the arguments: one task, or an ordered list of them. True: it is a list.
    ///
    /// # Errors
    /// What is wrong, and where.
    pub fn read(with: &Json) -> Result<(Self, bool), String> {
        let Some(fields) = with.as_object() else {
            return Err("the arguments of `book` have to be an object".to_owned());
        };
        let is_list = fields.contains_key("tasks");
        let read: Self = if is_list {
            serde_json::from_value(with.clone())
        } else {
            let (all, one): (Vec<_>, Vec<_>) =
                fields.clone().into_iter().partition(|(name, _)| OF_ALL.contains(&&**name));
            let one: serde_json::Map<_, _> = one.into_iter().collect();
            let mut all: serde_json::Map<_, _> = all.into_iter().collect();
            all.insert("tasks".to_owned(), Json::Array(vec![Json::Object(one)]));
            serde_json::from_value(Json::Object(all))
        }
        .map_err(|error| format!("the arguments of `book`: {error}"))?;
        read.check()?;
        Ok((read, is_list))
    }

    fn check(&self) -> Result<(), String> {
        if self.tasks.is_empty() || self.tasks.len() > TASKS_MAX {
            return Err(format!("`tasks` has to hold 1 to {TASKS_MAX} tasks"));
        }
        for (place, task) in self.tasks.iter().enumerate() {
            task.check().map_err(|wrong| format!("/tasks/{place}{wrong}"))?;
        }
        if let Some(customer) = &self.customer {
            customer.check().map_err(|(pointer, wrong)| format!("{pointer}: {wrong}"))?;
        }
        if self.contact_hours.as_ref().is_some_and(|hours| hours.len() > CONTACT_MAX) {
            return Err(format!("`contactHours` has more than {CONTACT_MAX} spans"));
        }
        if self.contact_hours.is_some() && self.zone.is_none() && self.customer.is_none() {
            return Err("`contactHours` need a `timeZone`, or the customer's".to_owned());
        }
        Ok(())
    }

    /// When the customer can be met, where that is limited.
    pub fn contact(&self) -> Option<Contact> {
        let hours = self.contact_hours.clone()?;
        let zone = self.zone.clone().or_else(|| Some(self.customer.as_ref()?.zone.clone()))?;
        Some(Contact { zone, hours })
    }
}

impl Wanted {
    /// What the task is called.
    pub fn title(&self) -> Arc<str> {
        self.title.clone().unwrap_or_else(|| self.skill.clone())
    }

    /// What is wrong with it, and where.
    ///
    /// # Errors
    /// The first thing.
    pub fn check(&self) -> Result<(), String> {
        if !is_word(&self.skill) {
            return Err("/skill has to be a word of a-z, 0-9, - and _".to_owned());
        }
        if !(1..=MINUTES_MAX).contains(&self.minutes) {
            return Err(format!("/minutes has to be 1 to {MINUTES_MAX}"));
        }
        for (name, minutes) in
            [("gapMinutes", self.gap_minutes), ("bufferMinutes", self.buffer_minutes)]
        {
            if minutes > MINUTES_MAX {
                return Err(format!("/{name} has to be 0 to {MINUTES_MAX}"));
            }
        }
        let title = self.title.as_deref().unwrap_or("x");
        let length = title.chars().count();
        if !(1..=TITLE_MAX).contains(&length) || title.chars().any(char::is_control) {
            return Err(format!("/title has to be 1 to {TITLE_MAX} characters on one line"));
        }
        let instructions = self.instructions.as_deref().unwrap_or_default();
        if instructions.chars().count() > INSTRUCTIONS_MAX {
            return Err(format!("/instructions has more than {INSTRUCTIONS_MAX} characters"));
        }
        check_form(self.form.as_ref())
    }
}

/// Whether a form is a JSON Schema.
fn check_form(form: Option<&Data>) -> Result<(), String> {
    let Some(form) = form else { return Ok(()) };
    // an outcome is checked while others wait: what it takes has to be bounded by what the form says
    if size_of(form) > FORM_MAX {
        return Err(format!("/form is larger than {} KiB", FORM_MAX / 1024));
    }
    if refers(form) {
        return Err("/form may not refer to other schemas ($ref)".to_owned());
    }
    Schema::compile(form).map(drop).map_err(|error| format!("/form is no JSON Schema: {error}"))
}

/// Whether a schema refers to others, anywhere.
fn refers(schema: &Json) -> bool {
    match schema {
        Json::Object(fields) => fields.iter().any(|(name, value)| {
            matches!(name.as_str(), "$ref" | "$dynamicRef" | "$recursiveRef") || refers(value)
        }),
        Json::Array(items) => items.iter().any(refers),
        _ => false,
    }
}

/// The arguments of `perform`.
#[derive(Clone, PartialEq, Debug)]
pub enum Performed {
    /// All of a plan, in order.
    Plan(PlanId),
    /// One task that was booked.
    Booking(crate::domain::ids::BookingId),
    /// A task without a time.
    Queued(Arc<Wanted>),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct PerformArguments {
    plan: Option<PlanId>,
    booking: Option<crate::domain::ids::BookingId>,
    skill: Option<Arc<str>>,
    minutes: Option<u32>,
    title: Option<Arc<str>>,
    instructions: Option<Arc<str>>,
    form: Option<Data>,
    due: Option<Due>,
}

/// What `perform` says anew of what was booked.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Restated {
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub title: Option<Arc<str>>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub instructions: Option<Arc<str>>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub form: Option<Data>,
}

impl Performed {
    /// Reads the arguments.
    ///
    /// # Errors
    /// What is wrong, and where.
    pub fn read(with: &Json) -> Result<(Self, Restated), String> {
        let read: PerformArguments = serde_json::from_value(with.clone())
            .map_err(|error| format!("the arguments of `perform`: {error}"))?;
        let PerformArguments { plan, booking, skill, minutes, title, instructions, form, due } =
            read;
        check_form(form.as_ref())?;
        let restated = Restated { title, instructions, form };
        match (plan, booking, skill) {
            (Some(plan), None, None) => Ok((Self::Plan(plan), restated)),
            (None, Some(booking), None) => Ok((Self::Booking(booking), restated)),
            (None, None, Some(skill)) => {
                let Restated { title, instructions, form } = restated;
                let wanted = Wanted {
                    skill,
                    minutes: minutes.unwrap_or(30),
                    title,
                    not_before: None,
                    due,
                    gap_minutes: 0,
                    buffer_minutes: 0,
                    instructions,
                    form,
                };
                wanted.check()?;
                Ok((Self::Queued(Arc::new(wanted)), Restated::default()))
            }
            _ => Err("`perform` needs one of `plan`, `booking` and `skill`".to_owned()),
        }
    }
}
