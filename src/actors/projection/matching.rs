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
use crate::domain::workflow::model::Kind;
use crate::store::views::events::{EventRow, KEPT, ListenerKey, Shape, Short, correlated};
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
        for case in views.listeners_of(kind, &row)? {
            views.put_wake(&Wake { case, news: News::Event(place) })?;
        }
        Ok(())
    }

    /// A case listens: it is told of what came since it began.
    pub(super) fn listeners(
        &mut self,
        summary: &Summary,
        listeners: &[ListenerKey],
    ) -> Result<(), ProjectError> {
        if listeners.is_empty() {
            return Ok(());
        }
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
            for place in views.events_for(listener, since, EARLIER)? {
                views.put_wake(&Wake { case: summary.id, news: News::Event(place) })?;
            }
        }
        Ok(())
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
