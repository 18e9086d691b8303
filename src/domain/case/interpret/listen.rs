//! Listening: which events a task takes, and what it makes of them.

use std::sync::Arc;

use serde_json::{Value as Json, json};

use super::{Halt, Interpreter, Key, SPENT_MAX, Trouble};
use crate::domain::case::command::{Incoming, Listener, Rejection};
use crate::domain::case::event::{Change, Received};
use crate::domain::case::problem::{Problem, Standard};
use crate::domain::case::state::Body;
use crate::domain::case::summary::{Listened, listened};
use crate::domain::data::Data;
use crate::domain::workflow::expr::json::{SIZE_MAX, size_of};
use crate::domain::workflow::expr::truthy;
use crate::domain::workflow::model::{EventFilter, Kind, Listen, ReadAs};

/// What correlations found, by their names.
type Found = Vec<(Arc<str>, Data)>;

impl Interpreter<'_> {
    /// Hears of events in order, up to the first one that is taken: what comes behind it meets another
    /// state. Those that nobody takes change nothing, so many of them are one decision.
    pub(super) fn deliver(&mut self, all: &[Incoming]) -> Result<(), Halt> {
        for incoming in all {
            let taken = match self.hear(incoming) {
                Ok(taken) => taken,
                // those before it were heard; what takes long does not hold up who comes in between
                Err(Halt::Rejected(_) | Halt::Evaluating) if self.heard > 0 => return Ok(()),
                Err(halt) => return Err(halt),
            };
            self.heard += 1;
            if taken || self.spent >= SPENT_MAX {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Hands an event to the first listening task that takes it. Each event is taken once.
    fn hear(&mut self, incoming: &Incoming) -> Result<bool, Halt> {
        if self.state.taken.contains(incoming.position) {
            return Ok(false);
        }
        let mut listening = Vec::new();
        self.state.walk(&mut |activation| {
            if matches!(activation.body, Body::Listen { .. }) && activation.failed.is_none() {
                listening.push((activation.task, activation.iteration));
            }
        });
        let mut stands = self.state.phase.ended();
        for key in listening {
            stands |= self.stands(key, &incoming.wanted_by)?;
            if let Some((filter, received)) = self.taken_by(key, incoming)? {
                let event = Box::new(received);
                self.emit_task(key, Change::Received { filter: filter as u16, event })?;
                return Ok(true);
            }
        }
        if stands { Ok(false) } else { Err(Rejection::NotListening.into()) }
    }

    /// Whether a listening task is the one that an event was found for, and still looks for it.
    fn stands(&self, key: Key, listener: &Listener) -> Result<bool, Halt> {
        let Body::Listen { taken, expected } = &self.open(key)?.body else { return Ok(false) };
        let mut on = listened(self.definition, key.0, taken, expected).into_iter();
        let same = |on: Listened| (on.filter, on.expected) == (listener.filter, listener.expected);
        Ok(key.0 == listener.task && on.any(same))
    }

    /// The filter of a listening task that takes the event.
    fn taken_by(
        &mut self,
        key: Key,
        incoming: &Incoming,
    ) -> Result<Option<(usize, Received)>, Halt> {
        let Body::Listen { taken: slots, expected } = self.open(key)?.body.clone() else {
            return Ok(None);
        };
        let Kind::Listen(listen) = &self.task(key.0).kind else { return Ok(None) };
        if listen.filters.is_empty() {
            return Ok(Some((0, received(listen, incoming, Vec::new()))));
        }
        for (place, filter) in listen.filters.iter().enumerate() {
            if slots.get(place).is_some_and(Option::is_some) {
                continue;
            }
            let taken: Vec<&Received> = slots.iter().flatten().collect();
            let expected = expected.get(place).cloned().unwrap_or_default();
            match self.matches(key, filter, incoming, &taken, &expected) {
                Ok(Some(found)) => return Ok(Some((place, received(listen, incoming, found)))),
                // a filter that cannot be evaluated over this event does not match it
                Ok(None) | Err(Trouble::Problem(_)) => {}
                Err(Trouble::Halt(halt)) => return Err(halt),
            }
        }
        Ok(None)
    }

    /// What the correlations found, if the event is one that the filter looks for.
    fn matches(
        &mut self,
        key: Key,
        filter: &EventFilter,
        incoming: &Incoming,
        taken: &[&Received],
        expected: &Json,
    ) -> Result<Option<Found>, Trouble> {
        let event = &incoming.event;
        let place = self.place(key)?;
        let fits = filter
            .fits(event, |expr, value| self.holds(expr, &Data::from(value.clone()), &place))?;
        if !fits {
            return Ok(None);
        }
        let subject = event.get("subject").and_then(Json::as_str);
        let addressed = subject == Some(&self.state.id.to_string());
        let mut found = Vec::new();
        for (n, correlation) in filter.correlate.iter().enumerate() {
            let value = self.evaluate(&correlation.from, event, &Default::default())?;
            let expected = expected.get(n).and_then(|one| one.get(0));
            let fits = match expected {
                Some(expected) => *expected == value,
                None => {
                    let other = taken.iter().flat_map(|r| &r.correlated);
                    let mut other = other.filter(|(name, _)| *name == correlation.name);
                    truthy(&value) && other.all(|(_, known)| **known == value)
                }
            };
            if !fits && !addressed {
                return Ok(None);
            }
            found.push((correlation.name.clone(), Data::from(value)));
        }
        let size: usize = found.iter().map(|(_, value)| size_of(value)).sum();
        if size > SIZE_MAX {
            let detail = "the correlations find too much";
            return Err(Problem::new(Standard::Runtime, detail).into());
        }
        Ok(Some(found))
    }

    /// A listening task that was entered: what its correlations expect is fixed now.
    pub(super) fn listen(&mut self, key: Key, listen: &Listen) -> Result<(), Trouble> {
        let place = self.place(key)?;
        let input = place.input.clone().unwrap_or_default();
        let mut all = Vec::new();
        for filter in &listen.filters {
            let mut values = Vec::new();
            for correlation in &filter.correlate {
                values.push(match &correlation.expect {
                    Some(expect) => json!([*self.render(expect, &input, &place)?]),
                    None => json!([]),
                });
            }
            all.push(Json::Array(values));
        }
        let on = listen.filters.iter().find_map(|f| f.event_type.clone());
        let expected = Data::from(Json::Array(all));
        super::finish::bounded(&expected, "what the task listens for")?;
        Ok(self.emit_task(key, Change::Listening { on, expected })?)
    }

    /// The events taken, in the order in which they came, become the output.
    pub(super) fn end_listen(&mut self, key: Key) -> Result<(), Halt> {
        let Body::Listen { taken: slots, .. } = self.open(key)?.body.clone() else {
            return Ok(());
        };
        let mut taken: Vec<Received> = slots.into_iter().flatten().collect();
        taken.sort_by_key(|received| received.position);
        let values = taken.into_iter().map(|received| (*received.value).clone());
        let output = Json::Array(values.collect());
        self.complete(key, Some(Data::from(output)), None)
    }
}

fn received(listen: &Listen, incoming: &Incoming, correlated: Vec<(Arc<str>, Data)>) -> Received {
    let event = &incoming.event;
    let text = |name: &str| event.get(name).and_then(Json::as_str).unwrap_or_default().into();
    let value = match listen.read {
        ReadAs::Data | ReadAs::Raw => Data::from(event.get("data").cloned().unwrap_or_default()),
        ReadAs::Envelope => event.clone(),
    };
    Received {
        source: text("source"),
        id: text("id"),
        kind: text("type"),
        position: incoming.position,
        value,
        correlated,
    }
}
