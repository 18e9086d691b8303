//! Events and listeners find each other, whichever comes first.

use std::sync::Arc;

use serde_json::Value as Json;

use crate::actors::projection::ProjectError;
use crate::actors::projection::rows::Rows;
use crate::domain::case::summary::Summary;
use crate::domain::data::Data;
use crate::domain::ids::{CaseId, EventCursor};
use crate::domain::time::Timestamp;
use crate::domain::workflow::expr::meter::Limits;
use crate::domain::workflow::model::{Kind, Matcher};
use crate::store::journal::RecordCursor;
use crate::store::views::events::{
    EventRow, KEPT, ListenerKey, Shape, Short, correlated, shape_of as keys_shape,
};
use crate::store::views::wakes::{News, Wake};

/// Earlier events that a new listener is told of at the most; the newest count.
const EARLIER: usize = 100_000;

/// Earlier events that a new shape is applied to at the most.
const EARLIER_SHAPED: usize = 100_000;

impl Rows<'_> {
    /// An event: kept, and whoever listens for it is told.
    pub(super) fn event(
        &mut self,
        place: EventCursor,
        at: Timestamp,
        event: &Data,
    ) -> Result<(), ProjectError> {
        let kind = event.get("type").and_then(Json::as_str).unwrap_or_default();
        let subject = event.get("subject").and_then(Json::as_str);
        let fits = |shape: &&Shape| shape.event_type.as_deref().is_none_or(|t| t == kind);
        let values = self.shapes.0.values().filter(fits);
        let values = values.map(|shape| (shape.key(), self.value(shape, event))).collect();
        let subject = subject.and_then(|s| s.parse::<CaseId>().ok());
        let row = EventRow { at, kind: kind.to_owned(), subject, values };
        let views = self.views;
        views.put_event(place, &row)?;
        for ListenerKey { case, shape, values, .. } in views.listeners_of(kind, &row)? {
            let (news, noted) = (News::Event { place, shape, values }, RecordCursor(place.0));
            self.wake(Wake { case, news, noted })?;
        }
        // whom it is addressed to may take it whatever the correlations say
        let addressed = subject.map(|case| views.case(case)).transpose()?.flatten();
        for listening in addressed.iter().flat_map(|row| &row.listening) {
            for on in &listening.on {
                if on.event_type.as_deref().is_none_or(|wanted| wanted == kind)
                    && let Some(row) = &addressed
                {
                    let shape = keys_shape(&row.definition, listening.task, on.filter);
                    let values = on.expected.unwrap_or_default();
                    let news = News::Event { place, shape, values };
                    let noted = RecordCursor(place.0);
                    self.wake(Wake { case: row.id, news, noted })?;
                }
            }
        }
        Ok(())
    }

    /// A case listens: it is told of what came since it began, as far as it was not told before. What it
    /// did not want while it listened for something else stays noted until it listens again.
    pub(super) fn listeners(
        &mut self,
        at: RecordCursor,
        summary: &Summary,
        listeners: &[ListenerKey],
    ) -> Result<(), ProjectError> {
        for listening in &summary.listening {
            for on in &listening.on {
                let shape = Shape {
                    definition: summary.definition.clone(),
                    task: listening.task,
                    filter: on.filter,
                    event_type: on.event_type.clone(),
                };
                self.shape(shape)?;
            }
        }
        let now = self.context.clock.now();
        let since = summary.created_at.max(now.plus(-KEPT));
        let views = self.views;
        for listener in listeners {
            let wants_the_same = self.wants_the_same(summary, listener);
            let after = match wants_the_same {
                true => views.offered(listener)?,
                false => EventCursor(0),
            };
            for place in views.events_for(listener, since, after, EARLIER)? {
                let (shape, values) = (listener.shape, listener.values);
                let news = News::Event { place, shape, values };
                self.wake(Wake { case: summary.id, news, noted: at })?;
            }
            if wants_the_same {
                // what stands there is this case's own record, and every event before it is known
                views.put_offered(listener, EventCursor(at.0.saturating_sub(1)))?;
            }
        }
        Ok(())
    }

    /// Whether the listener wants the same each time that the case listens so: nothing that it asks of
    /// an event depends on what the case has come to meanwhile.
    fn wants_the_same(&self, summary: &Summary, listener: &ListenerKey) -> bool {
        let definition = self.context.definitions.get(&summary.definition);
        let Ok(Some(definition)) = self.handle.block_on(definition) else { return false };
        summary.listening.iter().any(|listening| {
            let Kind::Listen(listen) = &definition.task(listening.task).kind else { return false };
            listening.on.iter().any(|on| {
                let shape = keys_shape(&summary.definition, listening.task, on.filter);
                let filter = listen.filters.get(usize::from(on.filter));
                let same = filter.is_none_or(|filter| {
                    let looked_up = filter.correlate.is_empty() || on.expected.is_some();
                    let literal =
                        |(_, matcher): &(_, Matcher)| matches!(matcher, Matcher::Literal(_));
                    looked_up && filter.attributes.iter().all(literal)
                });
                shape == listener.shape && same
            })
        })
    }

    /// A shape that is new is applied to the events that are there.
    fn shape(&mut self, shape: Shape) -> Result<(), ProjectError> {
        let key = shape.key();
        if self.shapes.0.contains_key(&key) {
            return Ok(());
        }
        let views = self.views;
        // no case of the definition is older than its registration
        let registered = self.context.definitions.registered_at(&shape.definition);
        let since = self.handle.block_on(registered)?.unwrap_or(Timestamp(0));
        for place in views.events_of_type(shape.event_type.as_deref(), since, EARLIER_SHAPED)? {
            let read = self.handle.block_on(self.context.event_at(place))?;
            let (Some(mut row), Some(event)) = (views.event(place)?, read) else { continue };
            if !row.values.iter().any(|(known, _)| *known == key) {
                row.values.push((key, self.value(&shape, &event)));
                views.put_event(place, &row)?;
            }
        }
        views.put_shape(&shape)?;
        self.shapes.0.insert(key, shape);
        Ok(())
    }

    /// What a shape's correlations find in an event; zeros where they find nothing to look up by.
    fn value(&self, shape: &Shape, event: &Data) -> Short {
        let definition = self.handle.block_on(self.context.definitions.get(&shape.definition));
        let definition = definition.ok().flatten();
        let found = definition.and_then(|definition| {
            let Kind::Listen(listen) = &definition.task(shape.task).kind else { return None };
            let correlate = &listen.filters.get(usize::from(shape.filter))?.correlate;
            if correlate.is_empty() || correlate.iter().any(|c| c.from.runs_apart()) {
                return None;
            }
            let nothing = |_: &_| Arc::new(Json::Null);
            let one = |c: &crate::domain::workflow::model::Correlation| {
                c.from.evaluate(event, nothing, Limits::INLINE).ok()
            };
            correlate.iter().map(one).collect::<Option<Vec<Json>>>()
        });
        correlated(found.map(Json::Array).as_ref())
    }
}
