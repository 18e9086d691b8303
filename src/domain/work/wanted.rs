//! The arguments of `call: work`: which queue, with what, and how long.

use std::sync::Arc;

use serde_json::{Map, Value as Json};

use super::lease;
use super::queue::{PDF, check_name};
use crate::domain::data::Data;
use crate::domain::time::Duration;

/// Attempts where nothing else is said.
const ATTEMPTS: u32 = 5;

/// Attempts at the most.
const ATTEMPTS_MAX: i64 = 100;

/// The names of the arguments.
pub const ARGUMENTS: [&str; 6] = ["queue", "input", "leaseSeconds", "ttl", "priority", "attempts"];

/// Queues whose jobs are not `work`: who submits data must never command a worker that runs commands.
const RESERVED: [&str; 4] = ["shell", "script", "container", PDF];

/// What is asked of a worker.
#[derive(Clone, PartialEq, Debug)]
pub struct Work {
    pub queue: Arc<str>,
    pub input: Data,
    /// Milliseconds of a lease; none: the queue's.
    pub lease: Option<i64>,
    /// How long it may stand in the queue.
    pub ttl: Option<Duration>,
    /// None: the case's.
    pub priority: Option<u8>,
    /// How often it is tried in all.
    pub attempts: u32,
}

impl Work {
    /// Reads the arguments.
    ///
    /// # Errors
    /// What is wrong, and where.
    pub fn read(with: &Json) -> Result<Self, String> {
        let Some(fields) = with.as_object() else {
            return Err("the arguments of `work` have to be an object".to_owned());
        };
        for (name, value) in fields {
            check(name, value)?;
        }
        let text = |name: &str| fields.get(name).and_then(Json::as_str);
        let number = |name: &str| fields.get(name).and_then(Json::as_i64);
        let queue = text("queue").ok_or("`queue` is missing: a worker asks for jobs by it")?;
        Ok(Self {
            queue: queue.into(),
            input: Data::from(fields.get("input").cloned().unwrap_or_default()),
            lease: number("leaseSeconds").map(|seconds| seconds * 1000),
            ttl: fields.get("ttl").filter(|ttl| !ttl.is_null()).map(duration).transpose()?,
            priority: number("priority").and_then(|priority| u8::try_from(priority).ok()),
            attempts: number("attempts").map_or(ATTEMPTS, |n| u32::try_from(n).unwrap_or(ATTEMPTS)),
        })
    }
}

/// Checks one argument, as far as its value is known. What may be left out may be null.
///
/// # Errors
/// What is wrong with it.
pub fn check(name: &str, value: &Json) -> Result<(), String> {
    let within = |range: std::ops::RangeInclusive<i64>| match value.as_i64() {
        _ if value.is_null() => Ok(()),
        Some(number) if range.contains(&number) => Ok(()),
        _ => Err(format!("`{name}` has to be a number from {} to {}", range.start(), range.end())),
    };
    match name {
        "queue" => match value.as_str() {
            Some(queue) if RESERVED.contains(&queue) => {
                Err(format!("`{queue}` is the queue of another kind of task: no work is put there"))
            }
            Some(queue) => check_name(queue),
            None => Err("`queue` has to be the name of a queue".to_owned()),
        },
        "input" => Ok(()),
        "leaseSeconds" => within(lease::SECONDS),
        "priority" => within(0..=9),
        "attempts" => within(1..=ATTEMPTS_MAX),
        "ttl" if value.is_null() => Ok(()),
        "ttl" => duration(value).map(drop),
        _ => Err(format!("`work` has no argument `{name}`: {}", ARGUMENTS.join(", "))),
    }
}

/// A duration as ISO 8601 has it, or by units as the DSL has it.
fn duration(value: &Json) -> Result<Duration, String> {
    const UNITS: [(&str, f64); 5] = [
        ("days", 86_400_000.0),
        ("hours", 3_600_000.0),
        ("minutes", 60_000.0),
        ("seconds", 1000.0),
        ("milliseconds", 1.0),
    ];
    let wrong = || "`ttl` has to be a duration such as PT1H or {\"hours\": 1}".to_owned();
    let of_units = |fields: &Map<String, Json>| {
        let mut millis = 0.0;
        for (name, amount) in fields {
            let (_, unit) = UNITS.iter().find(|(known, _)| known == name)?;
            millis += amount.as_f64().filter(|amount| *amount >= 0.0)? * unit;
        }
        (millis.is_finite() && millis <= 3e13).then(|| Duration::millis(millis as i64))
    };
    match value {
        Json::String(text) => text.parse().map_err(|_| wrong()),
        Json::Object(fields) if !fields.is_empty() => of_units(fields).ok_or_else(wrong),
        _ => Err(wrong()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn no_work_is_put_into_the_queues_of_commands() {
        for queue in RESERVED {
            let wrong = Work::read(&json!({"queue": queue})).unwrap_err();
            assert!(wrong.contains(queue) && wrong.contains("another kind of task"), "{wrong}");
        }
    }

    #[test]
    fn what_is_left_out_has_its_default() {
        let work = Work::read(&json!({"queue": "scoring", "input": {"n": 1}})).unwrap();
        assert_eq!((work.lease, work.ttl, work.priority, work.attempts), (None, None, None, 5));
        let nulls = json!({"queue": "a", "ttl": null, "priority": null, "leaseSeconds": null});
        assert_eq!(Work::read(&nulls).unwrap().attempts, 5);
        let hour = Work::read(&json!({"queue": "a", "ttl": {"minutes": 60}})).unwrap();
        assert_eq!(hour.ttl, Some(Duration::millis(3_600_000)));
    }

    #[test]
    fn each_argument_is_checked() {
        for (wrong, word) in [
            (json!([]), "object"),
            (json!({"input": 1}), "queue"),
            (json!({"queue": "No Name"}), "a-z"),
            (json!({"queue": "a", "leaseSeconds": 4}), "leaseSeconds"),
            (json!({"queue": "a", "priority": 10}), "priority"),
            (json!({"queue": "a", "priority": 1.5}), "priority"),
            (json!({"queue": "a", "attempts": 0}), "attempts"),
            (json!({"queue": "a", "ttl": "1 hour"}), "ttl"),
            (json!({"queue": "a", "ttl": {"hour": 1}}), "ttl"),
            (json!({"queue": "a", "ttl": {"hours": -1}}), "ttl"),
            (json!({"queue": "a", "delay": 1}), "delay"),
        ] {
            let error = Work::read(&wrong).unwrap_err();
            assert!(error.contains(word), "{wrong}: {error}");
        }
    }
}
