//! Events that a definition emits and listens to.

use std::sync::Arc;

use serde_json::Value as Json;

use super::Template;
use crate::domain::workflow::expr::Expr;

/// `emit`: the attributes of the CloudEvent.
#[derive(Debug)]
pub struct Emit {
    pub attributes: Vec<(String, Template)>,
}

/// `listen`.
#[derive(Debug)]
pub struct Listen {
    pub strategy: Strategy,
    pub filters: Vec<EventFilter>,
    pub read: ReadAs,
}

/// Which events end the listening.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Strategy {
    One,
    /// The first that any filter matches; without filters, the first of all.
    Any,
    /// One for each filter.
    All,
}

/// What of an event the output holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum ReadAs {
    #[default]
    Data,
    Envelope,
    Raw,
}

/// What an event must look like.
#[derive(Debug, Default)]
pub struct EventFilter {
    /// The literal type, by which events are looked up; none: events of every type are tried.
    pub event_type: Option<Arc<str>>,
    /// The other attributes, and the type where it is an expression.
    pub attributes: Vec<(String, Matcher)>,
    pub correlate: Vec<Correlation>,
}

impl EventFilter {
    /// Whether an event has the type and the attributes.
    ///
    /// # Errors
    /// The first error of `holds`, which tells whether an expression is true of a value.
    pub fn fits<E>(
        &self,
        event: &Json,
        mut holds: impl FnMut(&Expr, &Json) -> Result<bool, E>,
    ) -> Result<bool, E> {
        const NOTHING: &Json = &Json::Null;
        if let Some(kind) = &self.event_type
            && event.get("type").and_then(Json::as_str) != Some(kind)
        {
            return Ok(false);
        }
        for (name, matcher) in &self.attributes {
            let value = event.get(name).unwrap_or(NOTHING);
            let fits = match matcher {
                Matcher::Literal(literal) => literal == value,
                Matcher::Predicate(expr) => holds(expr, value)?,
            };
            if !fits {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// What one attribute must be.
#[derive(Debug)]
pub enum Matcher {
    /// Equal to this.
    Literal(Json),
    /// The expression, over the attribute, must be true.
    Predicate(Expr),
}

/// Ties an event to the case: what `from` finds in the event must be what is expected.
#[derive(Debug)]
pub struct Correlation {
    pub name: Arc<str>,
    /// Over the event.
    pub from: Expr,
    /// Over the task's input; none: the first event's value is expected of the others.
    pub expect: Option<Template>,
}
