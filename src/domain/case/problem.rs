//! Errors of workflows: problem details (RFC 9457) with the DSL's standard types.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use crate::domain::data::Data;
use crate::domain::workflow::expr::json::size_of_text;
use crate::domain::workflow::model::ErrorFilter;

/// What the DSL's own error types begin with.
const STANDARD: &str = "https://serverlessworkflow.io/spec/1.0.0/errors/";

/// Other spellings of [`STANDARD`] that definitions filter on: older ones, and the one that the
/// specification moves to.
const SPELLINGS: [&str; 4] = [
    "https://open-workflow-specification.org/spec/1.0.0/errors/",
    "https://serverlessworkflow.io/spec/1.0.0/errors/",
    "https://serverlessworkflow.io/dsl/errors/types/",
    "https://serverlessworkflow.io/errors/types/",
];

/// The DSL's standard errors.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Standard {
    Configuration,
    Validation,
    Expression,
    Authentication,
    Authorization,
    Timeout,
    Communication,
    Runtime,
}

impl Standard {
    fn name(self) -> &'static str {
        match self {
            Self::Configuration => "configuration",
            Self::Validation => "validation",
            Self::Expression => "expression",
            Self::Authentication => "authentication",
            Self::Authorization => "authorization",
            Self::Timeout => "timeout",
            Self::Communication => "communication",
            Self::Runtime => "runtime",
        }
    }

    fn title(self) -> &'static str {
        match self {
            Self::Configuration => "Configuration Error",
            Self::Validation => "Validation Error",
            Self::Expression => "Expression Error",
            Self::Authentication => "Authentication Error",
            Self::Authorization => "Authorization Error",
            Self::Timeout => "Timeout",
            Self::Communication => "Communication Error",
            Self::Runtime => "Runtime Error",
        }
    }

    fn status(self) -> i64 {
        match self {
            Self::Configuration | Self::Validation | Self::Expression => 400,
            Self::Authentication => 401,
            Self::Authorization => 403,
            Self::Timeout => 408,
            Self::Communication | Self::Runtime => 500,
        }
    }
}

/// An error of a task.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Problem {
    #[serde(rename = "type")]
    pub kind: Arc<str>,
    pub status: i64,
    pub title: Option<Arc<str>>,
    pub detail: Option<Arc<str>>,
    /// The reference of the task that it comes from.
    pub instance: Option<Arc<str>>,
}

/// The type of the error of a case that runs away.
const RUNAWAY: &str = "/problems/runaway";

/// The type of the error of a job that its workers do not survive.
const POISON: &str = "/problems/poison";

/// The type of the error of a job that was taken out of its queue.
const PURGED: &str = "/problems/purged";

/// Types that are causes by themselves, each with its word.
const CAUSES: [(&str, &str); 3] = [(RUNAWAY, "runaway"), (POISON, "poison"), (PURGED, "purged")];

impl Problem {
    /// Whether it was met before anything left us: it is of the configuration, or of what was to be sent.
    pub fn is_of_ours(&self) -> bool {
        let ours = [Standard::Configuration, Standard::Validation];
        ours.into_iter().any(|kind| *self.kind == *Self::new(kind, String::new()).kind)
    }

    /// Bytes that it takes as JSON, near enough.
    pub fn size(&self) -> usize {
        let texts = [&self.title, &self.detail, &self.instance];
        let text = |text: &&Arc<str>| size_of_text(text);
        150 + size_of_text(&self.kind)
            + texts.iter().filter_map(|t| t.as_ref()).map(|t| text(&t)).sum::<usize>()
    }

    /// The error of a case that only moves itself.
    pub fn runaway(detail: String) -> Self {
        Self {
            kind: RUNAWAY.into(),
            status: Standard::Runtime.status(),
            title: Some("The case runs away".into()),
            detail: Some(detail.into()),
            instance: None,
        }
    }

    /// The error of a job that was lost too often.
    pub fn poison(detail: String) -> Self {
        Self {
            kind: POISON.into(),
            status: Standard::Runtime.status(),
            title: Some("The job is lost again and again".into()),
            detail: Some(detail.into()),
            instance: None,
        }
    }

    /// The error of a job that was taken out of its queue.
    pub fn purged(queue: &str) -> Self {
        Self {
            kind: PURGED.into(),
            status: Standard::Runtime.status(),
            title: Some("The queue was purged".into()),
            detail: Some(format!("the queue {queue} was purged while the job stood in it").into()),
            instance: None,
        }
    }

    /// Whether nothing of the workflow may catch it: a person has to have a look.
    pub fn is_for_a_person(&self) -> bool {
        [POISON, PURGED].contains(&&*self.kind)
    }

    /// A standard error with its usual status and title.
    pub fn new(standard: Standard, detail: impl Into<String>) -> Self {
        Self {
            kind: format!("{STANDARD}{}", standard.name()).into(),
            status: standard.status(),
            title: Some(standard.title().into()),
            detail: Some(detail.into().into()),
            instance: None,
        }
    }

    /// The same with another status.
    #[must_use]
    pub fn with_status(mut self, status: i64) -> Self {
        self.status = status;
        self
    }

    /// The same with another title.
    #[must_use]
    pub fn with_title(mut self, title: &str) -> Self {
        self.title = Some(title.into());
        self
    }

    /// The same, said to come from this task unless it says so already.
    #[must_use]
    pub fn at(mut self, reference: &Arc<str>) -> Self {
        self.instance.get_or_insert_with(|| reference.clone());
        self
    }

    /// The error as expressions and readers of a case see it; every property is there.
    pub fn to_json(&self) -> Json {
        serde_json::to_value(self).unwrap_or_default()
    }

    /// The error as shared JSON.
    pub fn to_data(&self) -> Data {
        Data::from(self.to_json())
    }

    /// Whether the error has every property that the filter names.
    pub fn matches(&self, filter: &ErrorFilter) -> bool {
        let equal = |wanted: &Option<String>, value: &Option<Arc<str>>| {
            wanted.as_deref().is_none_or(|w| value.as_deref() == Some(w))
        };
        filter.kind.as_deref().is_none_or(|wanted| same_type(wanted, &self.kind))
            && filter.status.is_none_or(|wanted| wanted == self.status)
            && equal(&filter.instance, &self.instance)
            && equal(&filter.title, &self.title)
            && equal(&filter.detail, &self.detail)
    }

    /// Whether it is an error of the definition or the configuration, not of a service.
    pub fn is_configuration(&self) -> bool {
        SPELLINGS.iter().any(|spelling| {
            self.kind.strip_prefix(spelling) == Some(Standard::Configuration.name())
        })
    }

    /// What groups dead letters: errors of the same cause, whatever case they belong to.
    pub fn cause(&self) -> String {
        if let Some((_, word)) = CAUSES.iter().find(|(kind, _)| **kind == *self.kind) {
            return (*word).to_owned();
        }
        let name = SPELLINGS.iter().find_map(|s| self.kind.strip_prefix(s)).unwrap_or(&self.kind);
        match (name, &self.detail) {
            // what an expression or a check says is its cause; what differs from case to case is not
            ("expression" | "validation" | "configuration" | "runtime", Some(detail)) => {
                format!("{name} {}: {}", self.status, in_general(detail))
            }
            // an error of the author's own is told by its title; standard ones are called alike
            _ if name == &*self.kind => match &self.title {
                Some(title) => format!("{name} {}: {}", self.status, in_general(title)),
                None => format!("{name} {}", self.status),
            },
            _ => format!("{name} {}", self.status),
        }
    }
}

/// A message without its numbers and quotations.
fn in_general(detail: &str) -> String {
    const MAX: usize = 120;
    let mut general = String::new();
    let mut quoted = false;
    for c in detail.chars() {
        match c {
            '"' => {
                quoted = !quoted;
                general.push_str(if quoted { "\"" } else { "…\"" });
            }
            _ if quoted => {}
            '0'..='9' if general.ends_with('#') => {}
            '0'..='9' => general.push('#'),
            c => general.push(c),
        }
        if general.len() >= MAX {
            break;
        }
    }
    general
}

fn same_type(a: &str, b: &str) -> bool {
    let name = |text: &str| SPELLINGS.iter().find_map(|s| text.strip_prefix(s).map(str::to_owned));
    a == b || name(a).is_some_and(|n| name(b) == Some(n))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn older_spellings_are_the_same_type() {
        let problem = Problem::new(Standard::Communication, "x").with_status(404);
        let filter = |kind: &str| ErrorFilter { kind: Some(kind.into()), ..Default::default() };
        for kind in SPELLINGS {
            assert!(problem.matches(&filter(&format!("{kind}communication"))));
            assert!(!problem.matches(&filter(&format!("{kind}timeout"))));
        }
        assert!(!problem.matches(&ErrorFilter { status: Some(503), ..Default::default() }));
    }
}
